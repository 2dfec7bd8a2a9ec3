package parquet

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/viewtcp/viewtcp/internal/disk"
	"github.com/viewtcp/viewtcp/internal/store"
)

const (
	// tick is how often seals by age, merges and expiry are looked for. After a
	// failure they are tried again after retry, then twice as long, up to tick.
	tick  = 30 * time.Second
	retry = 2 * time.Second
	// minFew is how many small segments of a day that goes on are merged.
	minFew = 8
)

// maintain is the goroutine that seals, merges and expires.
func (e *Engine) maintain() {
	defer e.running.Done()
	timer := time.NewTimer(tick)
	defer timer.Stop()
	pause, last := time.Duration(0), ""
	for {
		select {
		case <-e.stop:
			return
		case <-e.wake:
		case <-timer.C:
		}
		if pause > 0 {
			// Do not let a full disk make us write segments in a circle.
			select {
			case <-e.stop:
				return
			case <-time.After(pause): //nolint:forbidigo // pause after a failure
			}
		}
		err := e.Maintain(false)
		switch {
		case errors.Is(err, store.ErrClosed):
			return
		case err != nil:
			pause = min(max(2*pause, retry), tick)
			if s := err.Error(); s != last { // the same again is only counted
				e.log.Error("maintenance failed", "err", err)
				last = s
			}
			e.wakeUp()
		case pause > 0:
			pause, last = 0, ""
			e.log.Info("maintenance goes on")
		}
		timer.Reset(tick)
	}
}

// Maintain seals what is due, or all there is, merges small segments and expires
// what is beyond its retention. The engine does so by itself; tools and tests
// need not wait. After Close it returns ErrClosed.
func (e *Engine) Maintain(all bool) error {
	e.maintaining.Lock()
	defer e.maintaining.Unlock()
	err := e.maintainAll(all)
	e.stuck.Store(err != nil)
	if err != nil && !errors.Is(err, store.ErrClosed) {
		e.mu.Lock()
		e.status.SealErrors++
		e.mu.Unlock()
	}
	return err
}

func (e *Engine) maintainAll(all bool) error {
	if e.stopped() {
		return store.ErrClosed
	}
	// Expiry first: it makes room for the rest.
	err := errors.Join(e.expire(), e.expireDamaged())
	for e.sealDue(all) {
		more, serr := e.seal()
		if serr != nil {
			return errors.Join(err, serr)
		}
		if !more && !all {
			break
		}
		if e.stopped() {
			// What is not sealed stays in the log. Close waits for us.
			return errors.Join(err, store.ErrClosed)
		}
	}
	return errors.Join(err, e.compact())
}

func (e *Engine) stopped() bool {
	select {
	case <-e.stop:
		return true
	default:
		return false
	}
}

func (e *Engine) sealDue(all bool) bool {
	v := e.view.Load()
	if len(v.unsealed) == 0 {
		return false
	}
	return all || v.rows >= uint64(e.cfg.SealRows) || e.cfg.SealAge > 0 && e.age(v) >= e.cfg.SealAge
}

// age is how long ago the oldest batch of a view was made that says when it was;
// less than 0 if the clock went back since.
func (e *Engine) age(v *view) time.Duration {
	for _, b := range v.unsealed {
		if b.time != 0 {
			return e.cfg.Now().Sub(time.Unix(0, b.time))
		}
	}
	return 0
}

// compact merges small segments of a table and a day.
func (e *Engine) compact() error {
	type partition struct{ table, day string }
	small := make(map[partition][]segmentInfo)
	var order []partition
	for _, s := range e.manifest.Segments {
		if s.Rows >= uint64(e.cfg.CompactRows) {
			continue
		}
		p := partition{s.Table, s.Day}
		if small[p] == nil {
			order = append(order, p)
		}
		small[p] = append(small[p], s)
	}
	var errs []error
	today := dayOf(e.cfg.Now().UnixNano())
	for _, p := range order {
		few := minFew
		if p.day < today {
			few = 2
		}
		list := small[p]
		for len(list) >= few && !e.stopped() {
			n, rows := 0, uint64(0)
			for n < len(list) && rows < 4*uint64(e.cfg.CompactRows) {
				rows += list[n].Rows
				n++
			}
			if n < 2 || n < minFew && lopsided(list[:n], rows) {
				break
			}
			if err := e.merge(list[:n]); err != nil {
				// Others may still be merged; of a full disk all would say the same.
				errs = append(errs, fmt.Errorf("merging segments of %s, %s: %w", p.table, p.day, err))
				if disk.IsFull(err) {
					return errors.Join(errs...)
				}
				break
			}
			list = list[n:]
		}
	}
	return errors.Join(errs...)
}

// lopsided reports whether segments are one, of so many rows in all, and little
// else: what is gained is not worth writing it again.
func lopsided(list []segmentInfo, rows uint64) bool {
	most := uint64(0)
	for i := range list {
		most = max(most, list[i].Rows)
	}
	return 8*most > 7*rows
}

// merge replaces segments of one table and day by one. A segment that is damaged
// is set aside and reported; one that cannot be read now is left for later.
func (e *Engine) merge(list []segmentInfo) error {
	t := tableByName(list[0].Table)
	var src segmentsSource
	ft := footer{From: list[0].From}
	var drop []string
	defer func() {
		for _, f := range src.files {
			_ = f.Close() // only read
		}
	}()
	for _, s := range list {
		err := src.add(e, s)
		if errors.Is(err, store.ErrDamaged) && !ioFailed(err) {
			return e.quarantine(s, err)
		}
		if err != nil {
			return err
		}
		ft.Replaces = append(ft.Replaces, s.Number)
		ft.From, ft.To = min(ft.From, s.From), max(ft.To, s.To)
		drop = append(drop, s.name())
	}
	days, err := orderRows(t, src)
	if err != nil {
		return err
	}
	if len(days) != 1 || days[0].day != list[0].Day {
		return fmt.Errorf("segments of %s have rows of another day: %w", list[0].Day, store.ErrDamaged)
	}
	infos, err := e.writeSegmentFiles(t, src, days, ft)
	undo := func() error {
		var errs []error
		for i := range infos {
			errs = append(errs, e.fs.Remove(infos[i].name()))
		}
		return errors.Join(errs...)
	}
	if err != nil {
		return errors.Join(err, undo())
	}
	err = e.changeManifest(func(m *manifest) {
		m.Segments = append(slices.Clone(without(m.Segments, ft.Replaces)), infos...)
		sortSegments(m.Segments)
	}, undo)
	if err != nil {
		return err
	}
	e.publish(func(v *view) { v.segments = e.manifest.Segments }, drop...)
	e.mu.Lock()
	e.status.Compactions++
	e.mu.Unlock()
	return nil
}

func without(list []segmentInfo, numbers []uint64) []segmentInfo {
	var keep []segmentInfo
	for _, s := range list {
		if !slices.Contains(numbers, s.Number) {
			keep = append(keep, s)
		}
	}
	return keep
}

// quarantine takes a damaged segment out of the manifest; its file is kept.
func (e *Engine) quarantine(s segmentInfo, cause error) error {
	kept := damagedDir + "/" + s.Table + "_" + s.Day + "_" + numbered(s.Number) + segmentSuffix
	err := e.changeManifest(func(m *manifest) {
		m.Segments = without(m.Segments, []uint64{s.Number})
	}, func() error { return nil })
	if err != nil {
		return err
	}
	e.publish(func(v *view) { v.segments = e.manifest.Segments })
	if err := e.fs.Rename(s.name(), kept); err != nil {
		e.log.Warn("segment cannot be set aside", "file", s.name(), "err", err)
		kept = ""
	}
	e.report(s.name(), 0, s.Bytes, fmt.Sprintf("segment of %d rows cannot be read: %v", s.Rows, cause), kept)
	return nil
}

// segmentsSource is the rows of several segments, one after the other.
type segmentsSource struct {
	files    []file
	segments []*segmentFile
}

// add opens a segment and checks all of it.
func (s *segmentsSource) add(e *Engine, info segmentInfo) error {
	f, err := e.fs.Open(info.name())
	if err != nil {
		return err
	}
	s.files = append(s.files, f)
	size, err := f.Size()
	if err != nil {
		return err
	}
	sf, err := openSegment(f, size)
	if err == nil {
		err = sf.verify()
	}
	if err != nil {
		return err
	}
	s.segments = append(s.segments, sf)
	return nil
}

func (s segmentsSource) read(v *vec, c *column) (*vec, error) {
	for _, f := range s.segments {
		if err := f.fill(v, c); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func (s segmentsSource) complete(c *column) bool {
	for _, f := range s.segments {
		if !f.complete(c) {
			return false
		}
	}
	return true
}

// A pace keeps expiry by age slow: a clock that jumps years ahead must not empty
// the store before somebody sees it. One day of a table goes at once, the next
// one an hour later.
type pace struct {
	day string
	at  time.Time // with its monotonic reading
}

// expire drops segments that are too old, and the oldest of tables that are too
// large.
func (e *Engine) expire() error {
	now := e.cfg.Now()
	var gone []segmentInfo
	for _, t := range store.Tables() {
		bound, ok := e.cfg.Retention[t]
		if !ok {
			continue
		}
		var list []segmentInfo
		var size int64
		for _, s := range e.manifest.Segments {
			if s.Table == t.String() {
				list = append(list, s)
				size += s.Bytes
			}
		}
		slices.SortStableFunc(list, func(a, b segmentInfo) int {
			switch {
			case a.Last < b.Last:
				return -1
			case a.Last > b.Last:
				return 1
			default:
				return 0
			}
		})
		for _, s := range list {
			old := bound.Age > 0 && s.Last < now.Add(-bound.Age).UnixNano()
			large := bound.Bytes > 0 && size > bound.Bytes
			if !large && (!old || !e.mayExpire(t, s.Day, now)) {
				break
			}
			gone = append(gone, s)
			size -= s.Bytes
		}
	}
	if len(gone) == 0 {
		return nil
	}
	var numbers []uint64
	var drop []string
	for _, s := range gone {
		numbers = append(numbers, s.Number)
		drop = append(drop, s.name())
	}
	change := func(m *manifest) { m.Segments = without(m.Segments, numbers) }
	nothing := func() error { return nil }
	err := e.changeManifest(change, nothing)
	if disk.IsFull(err) {
		// No room for a manifest: make some. After a crash right here the next
		// start misses segments that were to go anyway.
		e.removeAll(drop)
		drop = nil
		err = e.changeManifest(change, nothing)
	}
	if err != nil {
		return fmt.Errorf("expiring segments: %w", err)
	}
	e.publish(func(v *view) { v.segments = e.manifest.Segments }, drop...)
	e.mu.Lock()
	e.status.Expired += uint64(len(gone))
	e.mu.Unlock()
	return nil
}

func (e *Engine) mayExpire(t store.Table, day string, now time.Time) bool {
	p, ok := e.paces[t]
	if ok && p.day == day {
		return true
	}
	if ok && now.Sub(p.at) < time.Hour {
		return false
	}
	e.paces[t] = pace{day, now}
	return true
}

// Status implements store.Appender.
func (e *Engine) Status() store.Status {
	v := e.view.Load()
	e.mu.Lock()
	s := e.status
	s.Damage = slices.Clone(s.Damage)
	e.mu.Unlock()
	s.Unsealed = v.rows
	for _, t := range store.Tables() {
		ts := store.TableStatus{Table: t}
		for i := range v.segments {
			if g := &v.segments[i]; g.Table == t.String() {
				ts.Segments++
				ts.Rows += g.Rows
				ts.Bytes += g.Bytes
				if ts.Segments == 1 {
					ts.First, ts.Last = g.First, g.Last
				}
				ts.First, ts.Last = min(ts.First, g.First), max(ts.Last, g.Last)
			}
		}
		s.Tables = append(s.Tables, ts)
	}
	return s
}
