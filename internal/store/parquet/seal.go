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

// seal turns the oldest unsealed batches into segments: at most about twice
// SealRows rows. It reports whether there is more to do. It is called with
// maintaining held.
func (e *Engine) seal() (more bool, err error) {
	v := e.view.Load()
	batches, rows := v.unsealed, uint64(0)
	for i, b := range batches {
		if rows += b.rows(); rows >= 2*uint64(e.cfg.SealRows) {
			batches = batches[:i+1]
			break
		}
	}
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
	if len(keep) == 0 && len(e.logs) > 0 {
		// Numbers of files do not come back.
		last := e.logs[len(e.logs)-1]
		keep = append(keep, logFile{number: last.number, first: e.nextSeq, last: e.nextSeq - 1})
	}
	e.logs = keep
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
		if err := s.table(tables[t], src); err != nil {
			return fmt.Errorf("sealing %s: %w", t, err)
		}
		if t != store.Connections {
			continue
		}
		minutes, hours, err := rollUp(src)
		if err != nil {
			return fmt.Errorf("rolling up: %w", err)
		}
		if err := s.table(tables[store.Rollups1m], newRows(store.RollupColumns(), minutes)); err != nil {
			return fmt.Errorf("sealing roll-ups: %w", err)
		}
		if err := s.table(tables[store.Rollups1h], newRows(store.RollupColumns(), hours)); err != nil {
			return fmt.Errorf("sealing roll-ups: %w", err)
		}
		if s.open, err = s.e.saveOpen(src, s.open, s.to); err != nil {
			return fmt.Errorf("saving open connections: %w", err)
		}
		s.created = s.open != 0
	}
	return nil
}

// table writes the segments of one table, one for each day.
func (s *sealing) table(t *table, src source) error {
	days, err := orderRows(t, src)
	if err != nil {
		return err
	}
	for _, d := range days {
		info, err := s.e.writeSegmentFile(t, src, d, footer{From: s.from, To: s.to})
		if info.Number != 0 {
			s.segments = append(s.segments, info)
		}
		if err != nil {
			return err
		}
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
	v := new(vec)
	var times []int64
	for i, tag := range t.sort {
		c := t.column(tag)
		v.reset(c.typ)
		if err := src.fill(v, c); err != nil {
			return nil, fmt.Errorf("column %s: %w", c.name, err)
		}
		last := i == len(t.sort)-1
		k.add(v, last)
		if last { // it is the time
			times = make([]int64, len(v.nums))
			for i, n := range v.nums {
				times[i] = int64(n)
			}
		}
	}
	order := k.order()
	if len(order) == 0 {
		return nil, nil
	}
	const dayNanos = 24 * store.Hour
	var days []dayRows
	index := make(map[int64]int)
	for _, row := range order {
		d := times[row] - floorMod(times[row], dayNanos)
		at, ok := index[d]
		if !ok {
			at = len(days)
			index[d] = at
			days = append(days, dayRows{day: dayOf(d)})
		}
		days[at].order = append(days[at].order, row)
	}
	return days, nil
}

// writeSegmentFile writes one segment, reads it back, and gives it its name. A
// number in the result says that a file of that name may be there.
func (e *Engine) writeSegmentFile(t *table, src source, rows dayRows, ft footer) (segmentInfo, error) {
	info := segmentInfo{Number: e.manifest.Next, Table: t.String(), Day: rows.day, From: ft.From, To: ft.To}
	e.manifest.Next++
	name := info.name()
	if err := e.fs.MkdirAll(dirOf(name)); err != nil {
		return segmentInfo{}, err
	}
	tmp := name + tmpSuffix
	f, err := e.fs.Create(tmp)
	if err != nil {
		return segmentInfo{}, err
	}
	err = e.fillSegmentFile(f, t, src, rows.order, &ft, &info)
	if err = errors.Join(err, f.Close()); err != nil {
		return segmentInfo{}, errors.Join(err, e.fs.Remove(tmp))
	}
	if err := e.fs.Rename(tmp, name); err != nil {
		return segmentInfo{}, errors.Join(err, e.fs.Remove(tmp))
	}
	return info, errors.Join(e.fs.SyncDir(dirOf(name)), e.fs.SyncDir(t.String()))
}

func (e *Engine) fillSegmentFile(f file, t *table, src source, order []uint32, ft *footer, info *segmentInfo) error {
	if t.Table == store.Connections {
		start, err := firstStart(t, src, order)
		if err != nil {
			return err
		}
		ft.Start = start
	}
	w := bufio.NewWriterSize(f, 256<<10)
	err := writeSegment(w, t, src, order, ft)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err != nil {
		return err
	}
	// What is compared is what was meant to be written with what the disk, or at
	// least the kernel, has of it.
	s, err := openSegment(f, size)
	if err == nil {
		err = s.verify()
	}
	if err != nil {
		return fmt.Errorf("reading back: %w", err)
	}
	for name, sum := range ft.Checksums {
		if s.footer.Checksums[name] != sum {
			return fmt.Errorf("reading back: column %s: %w", name, store.ErrDamaged)
		}
	}
	info.Rows, info.Bytes, info.First, info.Last, info.Start = ft.Rows, size, ft.First, ft.Last, ft.Start
	info.Footer, err = footerChecksum(f, size)
	return err
}

// firstStart is the least start of the connections of some rows.
func firstStart(t *table, src source, order []uint32) (int64, error) {
	var time, since, duration vec
	for _, x := range []struct {
		v   *vec
		tag uint16
	}{{&time, store.TagTime}, {&since, store.TagSince}, {&duration, store.TagDuration}} {
		c := t.column(x.tag)
		x.v.reset(c.typ)
		if err := src.fill(x.v, c); err != nil {
			return 0, err
		}
	}
	first := int64(1<<63 - 1)
	for _, row := range order {
		first = min(first, startOf(&time, &since, &duration, int(row)))
	}
	return first, nil
}

// startOf is store.Record.Start of a row.
func startOf(time, since, duration *vec, row int) int64 {
	t := int64(time.nums[row])
	switch {
	case duration.known[row]:
		return t - int64(duration.nums[row])*1000
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

func (s rowSource[T]) fill(v *vec, c *column) error {
	gather(v, s.columns[c.tag], s.rows)
	return nil
}

func (s rowSource[T]) complete(c *column) bool {
	v := new(vec)
	gather(v, s.columns[c.tag], s.rows)
	return v.unknown == 0
}
