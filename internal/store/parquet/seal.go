package parquet

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/viewtcp/viewtcp/internal/store"
)

// seal turns the oldest unsealed batches into segments. It reports whether there is
// more to do. It is called with maintaining held.
func (e *Engine) seal() (more bool, err error) {
	v := e.view.Load()
	batches := e.toSeal(v.unsealed)
	if len(batches) == 0 {
		return false, nil
	}
	s := sealing{e: e, from: batches[0].seq, to: batches[len(batches)-1].seq, open: v.open}
	if err := s.run(batches); err != nil {
		return false, errors.Join(err, s.undo())
	}
	err = e.changeManifest(func(m *manifest) {
		m.Segments = slices.Concat(m.Segments, s.segments)
		sortSegments(m.Segments)
		m.Sealed, m.Open = s.to, s.open
		m.Agents = agentsUpTo(batches, m.Agents)
	}, s.undo)
	if err != nil {
		return false, err
	}
	var drop []string
	if v.open != 0 && v.open != s.open {
		drop = append(drop, openName(v.open))
	}
	e.publish(func(v *view) {
		v.segments, v.sealed, v.open = e.manifest.Segments, s.to, s.open
		v.unsealed = slices.Clone(v.unsealed[len(batches):])
		v.rows -= min(v.rows, rowsOf(batches))
	}, drop...)
	e.dropLogs()
	e.mu.Lock()
	e.status.Seals++
	e.mu.Unlock()
	return e.view.Load().rows >= uint64(e.cfg.SealRows), nil
}

// toSeal returns the oldest of some batches that make a segment: SealRows rows, or
// those up to the end of a day when that is most of a segment, so that the next day
// does not begin with a remainder that is merged later.
func (e *Engine) toSeal(batches []*loggedBatch) []*loggedBatch {
	rows, full := uint64(0), uint64(e.cfg.SealRows)
	for i, b := range batches {
		if i > 0 && rows > full/2 && dayOf(b.time) != dayOf(batches[i-1].time) {
			return batches[:i]
		}
		if rows += b.rows(); rows >= full {
			return batches[:i+1]
		}
	}
	return batches
}

func rowsOf(batches []*loggedBatch) (n uint64) {
	for _, b := range batches {
		n += b.rows()
	}
	return n
}

// dropLogs removes files of the log that are sealed as a whole.
func (e *Engine) dropLogs() {
	e.writing.Lock()
	defer e.writing.Unlock()
	sealed := e.view.Load().sealed
	if n := len(e.logs); e.current != nil && e.logs[n-1].last <= sealed && e.logs[n-1].last >= e.logs[n-1].first {
		if err := e.closeLog(); err != nil {
			e.log.Warn("closing a file of the log", "err", err)
		}
	}
	keep := e.logs[:0]
	for i, l := range e.logs {
		if l.last <= sealed && (e.current == nil || i < len(e.logs)-1) {
			e.removeAll([]string{logName(l.number)})
			continue
		}
		keep = append(keep, l)
	}
	e.logs = keep
	logged := e.logBytes()
	e.mu.Lock()
	e.status.Log = logged
	e.mu.Unlock()
}

// changeManifest writes a changed manifest. When that fails and the old one is
// still there, undo removes what the new one would have named. When nobody can
// tell which of the two a restart would find, the files of both stay; those that
// turn out to be in no manifest go at the next start.
func (e *Engine) changeManifest(change func(m *manifest), undo func() error) error {
	old := e.manifest
	change(&e.manifest)
	err := e.saveManifest()
	if err == nil {
		return nil
	}
	old.Next = max(old.Next, e.manifest.Next)
	e.manifest = old
	if m, _, rerr := e.readManifest(); rerr == nil && (m == nil || m.Serial == old.Serial) {
		err = errors.Join(err, undo())
	}
	return err
}

// maxEpochs is how many runs of one agent are remembered.
const maxEpochs = 8

// agentsUpTo returns the newest batch of each agent in segments.
func agentsUpTo(batches []*loggedBatch, old []agentState) []agentState {
	newest := make(map[agentKey]agentState, len(old))
	for _, a := range old {
		newest[agentKey{a.Agent, a.Epoch}] = a
	}
	for _, b := range batches {
		newest[agentKey{b.id.Agent, b.id.Epoch}] = agentState{b.id.Agent, b.id.Epoch, b.id.Sequence, b.time}
	}
	agents := make([]agentState, 0, len(newest))
	for _, a := range newest {
		agents = append(agents, a)
	}
	slices.SortFunc(agents, func(a, b agentState) int {
		switch {
		case a.Agent != b.Agent:
			return bytes.Compare([]byte(a.Agent), []byte(b.Agent))
		case a.Epoch > b.Epoch: // newest first
			return -1
		default:
			return 1
		}
	})
	count, last := 0, ""
	return slices.DeleteFunc(agents, func(a agentState) bool {
		if a.Agent != last {
			count, last = 0, a.Agent
		}
		count++
		return count > maxEpochs
	})
}

// A sealing is one seal on its way.
type sealing struct {
	e        *Engine
	from, to uint64
	segments []segmentInfo
	// open is the file of open connections, made anew if created.
	open    uint64
	created bool
	// vecs are columns that are at work: they go with the sealing, which comes
	// once an hour on most hosts.
	vecs vecPool
}

// run writes all segments of some batches.
func (s *sealing) run(batches []*loggedBatch) error {
	for i, t := range loggedTables {
		var src blockSource
		for _, b := range batches {
			if b.blocks[i] != nil {
				src.blocks = append(src.blocks, *b.blocks[i])
			}
		}
		if len(src.blocks) == 0 {
			continue
		}
		if t != store.Connections {
			if err := s.table(tables[t], src); err != nil {
				return err
			}
			continue
		}
		cached := newCachedSource(src, &s.vecs, twiceRead...)
		err := s.connections(cached, src)
		cached.release()
		if err != nil {
			return err
		}
	}
	return nil
}

// connections writes the segments of connections and what follows from them.
func (s *sealing) connections(src source, blocks blockSource) error {
	if err := s.table(tables[store.Connections], src); err != nil {
		return err
	}
	minutes, hours, err := rollUp(src, &s.vecs)
	if err != nil {
		return fmt.Errorf("rolling up: %w", err)
	}
	if err := s.table(tables[store.Rollups1m], newRows(store.RollupColumns(), minutes)); err != nil {
		return err
	}
	if err := s.table(tables[store.Rollups1h], newRows(store.RollupColumns(), hours)); err != nil {
		return err
	}
	if s.open, err = s.e.saveOpen(src, blocks, s.open, s.to); err != nil {
		return fmt.Errorf("saving open connections: %w", err)
	}
	s.created = s.open != 0
	return nil
}

// table writes the segments of one table, one for each day.
func (s *sealing) table(t *table, src source) error {
	days, err := orderRows(t, src)
	if err == nil && len(days) > 0 { // roll-ups of taps' rows alone are none
		var infos []segmentInfo
		infos, err = s.e.writeSegmentFiles(t, src, days, footer{From: s.from, To: s.to})
		s.segments = append(s.segments, infos...)
	}
	if err != nil {
		return fmt.Errorf("sealing %s: %w", t, err)
	}
	return nil
}

// undo removes what was written.
func (s *sealing) undo() error {
	var errs []error
	for i := range s.segments {
		if err := s.e.fs.Remove(s.segments[i].name()); err != nil {
			errs = append(errs, err)
		}
	}
	if s.created {
		errs = append(errs, s.e.fs.Remove(openName(s.open)))
	}
	return errors.Join(errs...)
}

// A dayRows is the rows of one day, in order.
type dayRows struct {
	day   string
	order []uint32
}

// orderRows splits rows by day and puts those of each in order.
func orderRows(t *table, src source) ([]dayRows, error) {
	var k sortKey
	scratch := new(vec)
	last := len(t.sort) - 1
	for i, tag := range t.sort {
		c := t.column(tag)
		scratch.reset(c.typ)
		v, err := src.read(scratch, c)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", c.name, err)
		}
		if i == last { // it is the time
			return splitDays(k.order(v), v.nums), nil
		}
		k.add(v)
	}
	return nil, nil
}

// splitDays splits rows, which are in order, by the days of their times.
func splitDays(order []uint32, times []uint64) []dayRows {
	codes, n := intervalCodes(times, dayNanos)
	if n == 1 {
		return []dayRows{{dayOf(int64(times[0])), order}}
	}
	days, rows := make([]dayRows, n), make([]int, n)
	for row, c := range codes {
		if rows[c]++; rows[c] == 1 {
			days[c].day = dayOf(int64(times[row]))
		}
	}
	for i := range days {
		days[i].order = make([]uint32, 0, rows[i])
	}
	for _, row := range order {
		d := &days[codes[row]]
		d.order = append(d.order, row)
	}
	return days
}

// writeSegmentFiles writes a segment for each day, reads them back, and gives them
// their names. What it returns may be there, after an error too.
func (e *Engine) writeSegmentFiles(t *table, src source, days []dayRows, ft footer) (infos []segmentInfo, err error) {
	parts := make([]*part, len(days))
	files := make([]file, len(days))
	names := make([]string, len(days))
	buffers := make([]*bufio.Writer, len(days))
	done := 0 // renamed
	defer func() {
		for i, f := range files {
			if f != nil {
				err = errors.Join(err, f.Close())
			}
			if f != nil && i >= done {
				err = errors.Join(err, e.fs.Remove(names[i]+tmpSuffix))
			}
		}
	}()
	for i, d := range days {
		info := segmentInfo{Number: e.manifest.Next, Table: t.String(), Day: d.day, From: ft.From, To: ft.To}
		e.manifest.Next++
		infos = append(infos, info)
		names[i] = info.name()
		if err := e.fs.MkdirAll(dirOf(names[i])); err != nil {
			return nil, err
		}
		if files[i], err = e.fs.Create(names[i] + tmpSuffix); err != nil {
			files[i] = nil
			return nil, err
		}
		buffers[i] = bufio.NewWriterSize(files[i], 64<<10)
		parts[i] = &part{out: buffers[i], order: d.order, footer: ft}
	}
	if t.Table == store.Connections {
		if err := firstStarts(t, src, parts); err != nil {
			return nil, err
		}
	}
	if err := writeSegments(t, src, parts); err != nil {
		return nil, err
	}
	for i := range days {
		if err := buffers[i].Flush(); err != nil {
			return nil, err
		}
		if err := files[i].Sync(); err != nil {
			return nil, err
		}
		if err := e.readBack(files[i], &parts[i].footer, &infos[i]); err != nil {
			return nil, fmt.Errorf("reading back: %w", err)
		}
	}
	for i := range days {
		if err := e.fs.Rename(names[i]+tmpSuffix, names[i]); err != nil {
			return infos[:done], err
		}
		done++
		if err := e.fs.SyncDir(dirOf(names[i])); err != nil {
			return infos[:done], err
		}
	}
	return infos, nil
}

// readBack compares what was meant to be written with what the disk, or at least
// the kernel, has of it.
func (e *Engine) readBack(f file, ft *footer, info *segmentInfo) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	s, err := openSegment(f, size)
	if err == nil {
		err = s.verify()
	}
	if err != nil {
		return err
	}
	for name, sum := range ft.Checksums {
		if s.footer.Checksums[name] != sum {
			return fmt.Errorf("column %s: %w", name, store.ErrDamaged)
		}
	}
	info.Rows, info.Bytes, info.First, info.Last = ft.Rows, size, ft.First, ft.Last
	info.Start, info.Cover = ft.Start, ft.Cover
	if info.Blooms, err = s.bloomSums(); err != nil {
		return err
	}
	info.Footer, err = footerChecksum(f, size)
	return err
}

// firstStarts finds the least start of the connections of each part.
func firstStarts(t *table, src source, parts []*part) error {
	var v [4]*vec
	for i, tag := range [...]uint16{store.TagTime, store.TagSince, store.TagOpened, store.TagDuration} {
		c := t.column(tag)
		scratch := new(vec)
		scratch.reset(c.typ)
		var err error
		if v[i], err = src.read(scratch, c); err != nil {
			return err
		}
	}
	for _, p := range parts {
		p.Start, p.Cover = int64(1<<63-1), int64(1<<63-1)
		for _, row := range p.order {
			start := startOf(v[0], v[1], v[2], v[3], int(row))
			p.Start = min(p.Start, start)
			if v[1].known[row] {
				start = int64(v[1].nums[row])
			}
			p.Cover = min(p.Cover, start, int64(v[0].nums[row]))
		}
	}
	return nil
}

// startOf is store.Record.Start of a row.
func startOf(time, since, opened, duration *vec, row int) int64 {
	t := int64(time.nums[row])
	switch {
	case duration.known[row]:
		return store.StartOf(t, int64(opened.nums[row]), int64(duration.nums[row]))
	case since.known[row]:
		return int64(since.nums[row])
	default:
		return t
	}
}

func footerChecksum(r io.ReaderAt, size int64) (uint32, error) {
	b := make([]byte, min(size, footerBytes))
	if _, err := r.ReadAt(b, size-int64(len(b))); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	return crc32.Checksum(b, castagnoli), nil
}

// rowSource is rows in memory.
type rowSource[T any] struct {
	columns map[uint16]*store.Column[T]
	rows    []T
}

func newRows[T any](cols []store.Column[T], rows []T) rowSource[T] {
	s := rowSource[T]{columns: make(map[uint16]*store.Column[T], len(cols)), rows: rows}
	for i := range cols {
		s.columns[cols[i].Tag] = &cols[i]
	}
	return s
}

func (s rowSource[T]) read(v *vec, c *column) (*vec, error) {
	gather(v, s.columns[c.tag], s.rows)
	return v, nil
}

func (s rowSource[T]) complete(c *column) bool {
	col := s.columns[c.tag]
	for i := range s.rows {
		ok := false
		switch {
		case col.Num != nil:
			_, ok = col.Num(&s.rows[i])
		case col.Str != nil:
			_, ok = col.Str(&s.rows[i])
		default:
			_, ok = col.Addr(&s.rows[i])
		}
		if !ok {
			return false
		}
	}
	return true
}
