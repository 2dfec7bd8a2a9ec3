package parquet

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/viewtcp/viewtcp/internal/store"
)

// recover brings the directory into the state that the last acknowledgement left:
// manifest, then log. Before anything is changed, all versions are looked at.
func (e *Engine) recover() error {
	m, lost, err := e.readManifest()
	if err != nil {
		return err
	}
	old := m
	logs, err := e.listNumbered(logDir, logSuffix)
	if err != nil {
		return err
	}
	files := make([]logBytes, len(logs))
	for i, n := range logs {
		if files[i], err = e.readLog(n); err != nil {
			return err
		}
	}
	found, err := e.listSegments()
	if err != nil {
		return err
	}
	if m == nil {
		if m, err = e.rebuildManifest(found, files); err != nil {
			return err
		}
	}
	// From here on files are changed.
	for _, dir := range [...]string{logDir, damagedDir} {
		if err := e.fs.MkdirAll(dir); err != nil {
			return fmt.Errorf("making %q: %w", dir, err)
		}
	}
	if lost != nil {
		e.setAside(manifestName, 0, lost, "manifest did not match its checksum; it was built again from the segments")
	}
	e.manifest = *m
	e.manifest.Next = max(e.manifest.Next, 1)
	e.dropOrphans(found, files)
	e.dropMissing(found)
	e.dropUnfinished()
	e.nextSeq = e.manifest.Sealed + 1
	for _, a := range e.manifest.Agents {
		e.keepAgent(a)
	}
	v := &view{segments: e.manifest.Segments, sealed: e.manifest.Sealed, open: e.manifest.Open}
	for i := range files {
		e.replay(&files[i], v)
		files[i].data = nil
	}
	e.status.Replayed = v.rows
	e.view.Store(v)
	// Frames may stand in the log that nobody was told of.
	e.nextSeq += maxGroupFrames
	if old == nil || len(old.Segments) != len(e.manifest.Segments) {
		if err := e.saveManifest(); err != nil {
			// The disk may be full: the next seal tries again.
			e.log.Warn("manifest not written", "err", err)
		}
	}
	return nil
}

// logBytes is one file of the log as it was read.
type logBytes struct {
	number uint64
	data   []byte
	first  uint64
	salt   uint32
	// broken says that the header cannot be read: nothing of the file can.
	broken bool
}

// maxLogFile is larger than any file of the log: one that is full when the
// largest frame comes.
const maxLogFile = 1 << 30

func (e *Engine) readLog(number uint64) (logBytes, error) {
	l := logBytes{number: number}
	b, err := readFile(e.fs, logName(number), maxLogFile)
	if err != nil {
		return l, fmt.Errorf("reading the log: %w", err)
	}
	l.data = b
	l.first, l.salt, err = parseLogHeader(b)
	if errors.Is(err, store.ErrVersion) {
		return l, fmt.Errorf("%q: %w", logName(number), err)
	}
	l.broken = err != nil
	return l, nil
}

// readManifest returns nil when there is none, or none that can be read: then
// lost is what stood there.
func (e *Engine) readManifest() (m *manifest, lost []byte, err error) {
	b, err := readFile(e.fs, manifestName, 1<<30)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading the manifest: %w", err)
	}
	m, err = parseManifest(b)
	if errors.Is(err, store.ErrVersion) {
		return nil, nil, err
	}
	if err != nil {
		return nil, b, nil
	}
	return m, nil, nil
}

func (e *Engine) saveManifest() error {
	e.manifest.Serial++
	b, err := e.manifest.encode()
	if err == nil {
		err = writeFile(e.fs, manifestName, b)
	}
	if err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	return nil
}

// listNumbered returns the numbers of a directory's files with a suffix, rising.
func (e *Engine) listNumbered(dir, suffix string) ([]uint64, error) {
	entries, err := e.fs.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing %q: %w", dir, err)
	}
	var numbers []uint64
	for _, entry := range entries {
		if n, ok := numberOf(entry.Name(), suffix); ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

func numberOf(name, suffix string) (uint64, bool) {
	base, ok := strings.CutSuffix(name, suffix)
	if !ok || len(base) < 10 {
		return 0, false
	}
	n, err := strconv.ParseUint(base, 10, 64)
	return n, err == nil
}

// listSegments finds all files of segments, by number.
func (e *Engine) listSegments() (map[uint64]segmentInfo, error) {
	found := make(map[uint64]segmentInfo)
	for _, t := range store.Tables() {
		days, err := e.fs.ReadDir(t.String())
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("listing %q: %w", t, err)
		}
		for _, d := range days {
			name, ok := strings.CutPrefix(d.Name(), "day=")
			if !ok {
				continue
			}
			numbers, err := e.listNumbered(t.String()+"/"+d.Name(), segmentSuffix)
			if err != nil {
				return nil, err
			}
			for _, n := range numbers {
				found[n] = segmentInfo{Number: n, Table: t.String(), Day: name}
			}
		}
	}
	return found, nil
}

// replay reads one file of the log into the view. Whatever is no intact frame is
// set aside, and the file made whole.
func (e *Engine) replay(l *logBytes, v *view) {
	name := logName(l.number)
	info := logFile{number: l.number, first: e.nextSeq, last: e.nextSeq - 1}
	if l.broken {
		torn := len(l.data) <= logHeaderSize
		what := "header of log file cannot be read"
		if torn {
			what = "log file ends within its header, as after a crash"
		}
		if e.setAside(name, 0, l.data, what) {
			e.removeAll([]string{name})
		}
		return
	}
	scratch := new(vec)
	var damaged []cut
	good := appendLogHeader(nil, l.first, e.cfg.Now().UnixNano(), l.salt)
	at := logHeaderSize
	next := l.first
	cuts := parseFrames(l.data, l.salt, next, func(seq uint64, payload []byte) {
		at += frameHeader + len(payload)
		info.last = max(info.last, seq)
		if seq <= v.sealed {
			return
		}
		b, err := parseBatch(seq, payload)
		if err == nil {
			err = b.check(scratch)
		}
		if err != nil {
			e.report(name, 0, int64(len(payload)), "frame cannot be read: "+err.Error(), "")
			return
		}
		good = appendFrame(good, l.salt, seq, payload)
		e.nextSeq = max(e.nextSeq, seq+1)
		if k := (agentKey{b.id.Agent, b.id.Epoch}); b.id.Agent != "" && b.id.Sequence <= e.agents[k].Sequence {
			return // sent again after an error that had not undone it
		}
		e.keepAgent(agentState{b.id.Agent, b.id.Epoch, b.id.Sequence, b.time})
		v.unsealed = append(v.unsealed, b)
		v.rows += b.rows()
	})
	for _, c := range cuts {
		damaged = append(damaged, c)
		what := "bytes that are no frame"
		switch {
		case c.bytes == 0:
			what = "frames are missing"
		case c.torn:
			what = "log file ends within a frame, as after a crash"
		}
		if !e.setAside(name, int64(c.offset), l.data[c.offset:c.offset+c.bytes], what) {
			damaged = nil // leave the file as it is
			break
		}
	}
	e.mend(name, l, damaged, good)
	e.logs = append(e.logs, info)
}

// mend makes a file of the log whole after what was wrong with it was set aside.
func (e *Engine) mend(name string, l *logBytes, cuts []cut, good []byte) {
	if len(cuts) == 0 {
		return
	}
	var err error
	if last := cuts[len(cuts)-1]; len(cuts) == 1 && last.offset+last.bytes == len(l.data) && last.bytes > 0 {
		err = e.truncate(name, int64(last.offset))
	} else {
		err = writeFile(e.fs, name, good)
	}
	if err != nil {
		e.log.Warn("damaged log file stays as it is", "file", name, "err", err)
	}
}

func (e *Engine) truncate(name string, size int64) error {
	f, err := e.fs.OpenWrite(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Sync(), f.Close())
}

// setAside keeps bytes that were damaged and reports them. It reports whether
// they are kept.
func (e *Engine) setAside(name string, offset int64, b []byte, what string) bool {
	kept := ""
	ok := true
	if len(b) > 0 {
		kept = damagedDir + "/" + strings.ReplaceAll(name, "/", "_") + "." + strconv.FormatInt(offset, 10)
		if err := writeFile(e.fs, kept, b); err != nil {
			e.log.Warn("damaged bytes cannot be kept", "file", name, "err", err)
			kept, ok = "", false
		}
	}
	e.report(name, offset, int64(len(b)), what, kept)
	return ok
}

// maxDamage is how many damages a status tells of.
const maxDamage = 100

// report makes damage known.
func (e *Engine) report(name string, offset, size int64, what, kept string) {
	e.log.Error("stored data is damaged", "file", name, "offset", offset, "bytes", size, "what", what, "kept", kept)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status.Damages++
	if len(e.status.Damage) < maxDamage {
		e.status.Damage = append(e.status.Damage, store.Damage{
			Found: e.cfg.Now(), File: name, Offset: offset, Bytes: size, What: what, Kept: kept,
		})
	}
}

// dropOrphans removes segments that the manifest does not name: those of a seal or
// a merge that did not end, whose rows are in the log or in other segments. What
// is neither is set aside.
func (e *Engine) dropOrphans(found map[uint64]segmentInfo, logs []logBytes) {
	named := make(map[uint64]bool)
	for i := range e.manifest.Segments {
		named[e.manifest.Segments[i].Number] = true
	}
	firstLogged := firstFrame(logs)
	for n, s := range found {
		e.manifest.Next = max(e.manifest.Next, n+1)
		if named[n] {
			continue
		}
		f, info, err := e.openInfo(s)
		merged := false
		if err == nil {
			merged = len(f.footer.Replaces) > 0
			for _, r := range f.footer.Replaces {
				merged = merged && named[r]
			}
		}
		if err == nil && (merged || info.From > e.manifest.Sealed && info.From >= firstLogged) {
			e.removeAll([]string{s.name()})
			continue
		}
		kept := damagedDir + "/" + strings.ReplaceAll(s.name(), "/", "_")
		if err := e.fs.Rename(s.name(), kept); err != nil {
			e.log.Warn("segment cannot be set aside", "file", s.name(), "err", err)
			kept = ""
		}
		e.report(s.name(), 0, info.Bytes, "segment that the manifest does not name", kept)
	}
	opens, err := e.listNumbered(logDir, openSuffix)
	if err != nil {
		e.log.Warn("looking for files left over", "err", err)
	}
	for _, n := range opens {
		e.manifest.Next = max(e.manifest.Next, n+1)
		if n != e.manifest.Open {
			e.removeAll([]string{openName(n)})
		}
	}
}

// firstFrame is the first frame that the log may have.
func firstFrame(logs []logBytes) uint64 {
	first := ^uint64(0)
	for i := range logs {
		if !logs[i].broken {
			first = min(first, logs[i].first)
		}
	}
	return first
}

// dropUnfinished removes files that were being written.
func (e *Engine) dropUnfinished() {
	dirs := []string{".", logDir, damagedDir}
	for _, t := range store.Tables() {
		days, err := e.fs.ReadDir(t.String())
		if err != nil {
			continue
		}
		for _, d := range days {
			dirs = append(dirs, t.String()+"/"+d.Name())
		}
	}
	for _, dir := range dirs {
		entries, err := e.fs.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, entry := range entries {
			if strings.HasSuffix(entry.Name(), tmpSuffix) {
				e.removeAll([]string{dir + "/" + entry.Name()})
			}
		}
	}
}

// dropMissing reports segments that the manifest names and that are gone.
func (e *Engine) dropMissing(found map[uint64]segmentInfo) {
	e.manifest.Segments = slices.DeleteFunc(e.manifest.Segments, func(s segmentInfo) bool {
		if _, ok := found[s.Number]; ok {
			return false
		}
		e.report(s.name(), 0, s.Bytes, fmt.Sprintf("segment of %d rows is gone", s.Rows), "")
		return true
	})
}

// rebuildManifest makes a manifest out of what segments say of themselves, when
// there is none or it cannot be read.
func (e *Engine) rebuildManifest(found map[uint64]segmentInfo, logs []logBytes) (*manifest, error) {
	m := &manifest{Next: 1}
	replaced := make(map[uint64]bool)
	firstLogged := firstFrame(logs)
	for n, s := range found {
		m.Next = max(m.Next, n+1)
		f, info, err := e.openInfo(s)
		if errors.Is(err, store.ErrVersion) {
			return nil, fmt.Errorf("%q: %w", s.name(), err)
		}
		if err != nil {
			e.report(s.name(), 0, 0, "segment cannot be read: "+err.Error(), "")
			continue
		}
		if info.From >= firstLogged {
			continue // the seal may not have ended, and the log has it all
		}
		for _, r := range f.footer.Replaces {
			replaced[r] = true
		}
		m.Segments = append(m.Segments, info)
		m.Sealed = max(m.Sealed, info.To)
	}
	m.Segments = slices.DeleteFunc(m.Segments, func(s segmentInfo) bool { return replaced[s.Number] })
	sortSegments(m.Segments)
	return m, nil
}

// openInfo reads what a segment says of itself. The file is closed on return.
func (e *Engine) openInfo(s segmentInfo) (*segmentFile, segmentInfo, error) {
	f, err := e.fs.Open(s.name())
	if err != nil {
		return nil, s, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, s, err
	}
	sf, err := openSegment(f, size)
	if err != nil {
		return nil, s, err
	}
	s.Rows, s.Bytes, s.First, s.Last = sf.footer.Rows, size, sf.footer.First, sf.footer.Last
	s.Start, s.Cover, s.From, s.To = sf.footer.Start, sf.footer.Cover, sf.footer.From, sf.footer.To
	s.Footer, err = footerChecksum(f, size)
	return sf, s, err
}

func sortSegments(s []segmentInfo) {
	slices.SortFunc(s, func(a, b segmentInfo) int {
		switch {
		case a.Number < b.Number:
			return -1
		case a.Number > b.Number:
			return 1
		default:
			return 0
		}
	})
}
