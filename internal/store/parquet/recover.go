package parquet

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
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
	rebuilt := m == nil
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
	if m != nil {
		_, err := loadOpen(e.fs, m.Open)
		if errors.Is(err, store.ErrVersion) || ioFailed(err) && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("reading open connections: %w", err)
		}
	}
	found, err := e.listSegments()
	if err != nil {
		return err
	}
	if rebuilt {
		if m, err = e.rebuildManifest(found, files); err != nil {
			return err
		}
	}
	named := len(m.Segments)
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
	if err := e.dropOrphans(found, files, rebuilt); err != nil {
		return err
	}
	e.dropMissing(found)
	e.dropUnfinished()
	e.nextSeq = e.manifest.Sealed + 1
	for _, a := range e.manifest.Agents {
		e.keepAgent(a)
	}
	v := &view{segments: e.manifest.Segments, sealed: e.manifest.Sealed, open: e.manifest.Open}
	for i := range files {
		e.replay(&files[i], v)
		files[i] = logBytes{} // what is sealed can go
	}
	e.status.Replayed, e.status.Log = v.rows, e.logBytes()
	e.view.Store(v)
	// Frames may stand in the log that nobody was told of.
	e.nextSeq += maxGroupFrames
	if rebuilt || named != len(e.manifest.Segments) {
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
	frames []loggedFrame
	cuts   []cut
}

// A loggedFrame is an intact frame with the batch that it holds, or why that
// cannot be read.
type loggedFrame struct {
	seq     uint64
	offset  int
	payload []byte
	batch   *loggedBatch
	err     error
}

// maxLogFile is larger than any file of the log: one that is full when the
// largest frame comes.
const maxLogFile = 1 << 30

// readLog reads a file of the log with all its batches. Its error wraps
// ErrVersion if one of them was written by a later program.
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
	if err != nil {
		l.broken = true
		return l, nil
	}
	scratch := new(vec)
	end := logHeaderSize
	l.cuts = parseFrames(b, l.salt, l.first, func(seq uint64, payload []byte) {
		f := loggedFrame{seq: seq, payload: payload}
		if f.batch, f.err = parseBatch(seq, payload); f.err == nil {
			f.err = f.batch.check(scratch)
		}
		l.frames = append(l.frames, f)
	})
	// Frames and cuts cover the file without a hole.
	cuts := l.cuts
	for i := range l.frames {
		f := &l.frames[i]
		for len(cuts) > 0 && cuts[0].offset == end {
			end += cuts[0].bytes
			cuts = cuts[1:]
		}
		f.offset = end
		end += frameHeader + len(f.payload)
		if errors.Is(f.err, store.ErrVersion) {
			return l, fmt.Errorf("%q, offset %d: %w", logName(number), f.offset, f.err)
		}
	}
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

// replay takes one file of the log into the view. Whatever is no intact frame is
// set aside, and the file made whole.
func (e *Engine) replay(l *logBytes, v *view) {
	name := logName(l.number)
	e.lastLog = max(e.lastLog, l.number)
	if l.broken {
		what := "header of log file cannot be read"
		if len(l.data) <= logHeaderSize {
			what = "log file ends within its header, as after a crash"
		}
		if e.setAside(name, 0, l.data, what) {
			e.removeAll([]string{name})
		}
		return
	}
	info := logFile{number: l.number, first: e.nextSeq, last: e.nextSeq - 1, size: int64(len(l.data))}
	good := appendLogHeader(nil, l.first, e.cfg.Now().UnixNano(), l.salt)
	damaged := l.cuts
	for i := range l.frames {
		f := &l.frames[i]
		info.last = max(info.last, f.seq)
		e.nextSeq = max(e.nextSeq, f.seq+1)
		if f.seq <= v.sealed {
			continue
		}
		if f.err != nil {
			damaged = append(damaged, cut{offset: f.offset, bytes: frameHeader + len(f.payload)})
			continue
		}
		good = appendFrame(good, l.salt, f.seq, f.payload)
		b := f.batch
		if k := (agentKey{b.id.Agent, b.id.Epoch}); b.id.Agent != "" && b.id.Sequence <= e.agents[k].Sequence {
			continue // sent again after an error that had not undone it
		}
		e.keepAgent(agentState{b.id.Agent, b.id.Epoch, b.id.Sequence, b.time})
		v.unsealed = append(v.unsealed, b)
		v.rows += b.rows()
	}
	e.logs = append(e.logs, info)
	for _, c := range damaged {
		what := "bytes that are no frame"
		switch {
		case c.bytes == 0:
			what = "frames are missing"
		case c.torn:
			what = "log file ends within a frame, as after a crash"
		}
		if !e.setAside(name, int64(c.offset), l.data[c.offset:c.offset+c.bytes], what) {
			return // leave the file as it is
		}
	}
	e.mend(name, l, damaged, good)
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

// dropOrphans removes segments that the manifest does not name. A manifest that
// was written names all whose rows count, so the others are of a seal or a merge
// that did not end, or were merged or expired and could not be removed. What
// cannot be told is set aside: segments that cannot be read, and such of frames
// that neither the manifest nor the log knows.
func (e *Engine) dropOrphans(found map[uint64]segmentInfo, logs []logBytes, rebuilt bool) error {
	named := make(map[uint64]bool)
	replaced := make(map[uint64]bool)
	for i := range e.manifest.Segments {
		named[e.manifest.Segments[i].Number] = true
		for _, n := range e.manifest.Segments[i].replaces {
			replaced[n] = true
		}
	}
	for _, n := range slices.Sorted(maps.Keys(found)) {
		s := found[n]
		e.manifest.Next = max(e.manifest.Next, n+1)
		if named[n] {
			continue
		}
		_, info, err := e.openInfo(s)
		switch {
		case ioFailed(err):
			return fmt.Errorf("reading %q: %w", s.name(), err)
		case err != nil:
		case replaced[n], !rebuilt && info.To <= e.manifest.Sealed, hasAll(logs, info.From, info.To):
			e.removeAll([]string{s.name()})
			continue
		}
		kept := damagedDir + "/" + strings.ReplaceAll(s.name(), "/", "_")
		if err := e.fs.Rename(s.name(), kept); err != nil {
			e.log.Warn("segment cannot be set aside", "file", s.name(), "err", err)
			kept = ""
		}
		what := "segment of rows that nothing else knows of"
		if err != nil {
			what = "segment cannot be read: " + err.Error()
		}
		e.report(s.name(), 0, info.Bytes, what, kept)
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
	return nil
}

// hasAll reports whether the log has all frames from one to another, which are
// those of a seal. Of files that were removed any may come back with a power cut.
func hasAll(logs []logBytes, from, to uint64) bool {
	within := false
	for i := range logs {
		l := &logs[i]
		if within && l.number != logs[i-1].number+1 {
			return false
		}
		for j := range l.frames {
			within = within || l.frames[j].seq == from
			if within && l.frames[j].seq == to {
				return true
			}
		}
		if within && len(l.cuts) > 0 {
			return false
		}
	}
	return false
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
// there is none or it cannot be read. What the log still has is sealed again, so
// that a seal that did not end does no harm.
func (e *Engine) rebuildManifest(found map[uint64]segmentInfo, logs []logBytes) (*manifest, error) {
	m := &manifest{Next: 1}
	replaced := make(map[uint64]bool)
	for n, s := range found {
		m.Next = max(m.Next, n+1)
		f, info, err := e.openInfo(s)
		if errors.Is(err, store.ErrVersion) || ioFailed(err) {
			return nil, fmt.Errorf("reading %q: %w", s.name(), err)
		}
		if err != nil {
			continue // it is set aside as nobody names it
		}
		if !hasAll(logs, info.From, info.To) {
			m.Sealed = max(m.Sealed, info.To)
		}
		info.replaces = f.footer.Replaces
		for _, r := range info.replaces {
			replaced[r] = true
		}
		m.Segments = append(m.Segments, info)
	}
	m.Segments = slices.DeleteFunc(m.Segments, func(s segmentInfo) bool {
		return replaced[s.Number] || s.From > m.Sealed
	})
	sortSegments(m.Segments)
	var err error
	m.Open, err = e.findOpen(m.Sealed)
	return m, err
}

// findOpen looks for the file of the connections that were open at a frame; 0 is
// none.
func (e *Engine) findOpen(sealed uint64) (uint64, error) {
	numbers, err := e.listNumbered(logDir, openSuffix)
	if err != nil {
		return 0, err
	}
	for _, n := range slices.Backward(numbers) {
		b, err := readFile(e.fs, openName(n), maxLogFile)
		if err != nil {
			return 0, fmt.Errorf("reading %q: %w", openName(n), err)
		}
		first, _, err := parseLogHeader(b)
		if errors.Is(err, store.ErrVersion) {
			return 0, fmt.Errorf("%q: %w", openName(n), err)
		}
		if err == nil && first == sealed {
			return n, nil
		}
	}
	return 0, nil
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
	if s.Blooms, err = sf.bloomSums(); err != nil {
		return nil, s, err
	}
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
