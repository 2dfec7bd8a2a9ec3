package parquet

import (
	"math"
	"slices"
	"sync"

	"github.com/viewtcp/viewtcp/internal/store"
)

// A sweeper finds the most connections that were open at one moment, by group and
// bucket.
//
// It goes from the newest day to the oldest, because rows lie in the day of their
// end: once all segments of a day and of those after it are read, all that was
// open in that day is known but what began before it, which needs no more than to
// be counted. So it holds a few days at a time. Days are swept independently, each
// from the number of connections that were open at its end.
type sweeper struct {
	x      *aggregation
	s      span
	chunks []chunk

	mu       sync.Mutex
	finished []bool
	prefix   int // chunks before it are finished
	days     map[int64]*sweepDay
	err      error
}

const dayNanos = 24 * store.Hour

// A sweepDay is what of a day has been read.
type sweepDay struct {
	number int64
	parts  []*sweepPart
	// starts and ends are those of connections that were open at midnight too;
	// open counts those that were open at the day's end.
	starts, ends []sweepEdge
	open         map[uint32]int64
	held         int64 // bytes of memory, given back when it is swept
}

const (
	edgeBytes = 24 // of a sweepEdge, in a list that grows
	partBytes = 16 // of a connection of a sweepPart
)

type sweepEdge struct {
	group uint32
	at    uint64 // nanoseconds of the day
}

// A sweepPart is the connections of a chunk that began and ended within its day,
// by group.
type sweepPart struct {
	gids         []uint32
	starts, ends [][]uint64
}

func newSweeper(x *aggregation, s span, chunks []chunk) *sweeper {
	return &sweeper{x: x, s: s, chunks: chunks, finished: make([]bool, len(chunks)), days: make(map[int64]*sweepDay)}
}

// dayNumber counts days from 1970.
func dayNumber(t int64) int64 { return (t - floorMod(t, dayNanos)) / dayNanos }

// dayOfChunk is the day that all rows of a chunk end in; that of the log is after
// all.
func (w *sweeper) dayOfChunk(i int) int64 {
	if g := w.chunks[i].info; g != nil {
		return dayNumber(g.Last)
	}
	return math.MaxInt64
}

// add takes the rows of a chunk.
func (w *sweeper) add(i int, p *picked) error {
	type crossing struct {
		group    uint32
		from, to int64
	}
	var crossings []crossing
	day := w.dayOfChunk(i)
	part := &sweepPart{gids: p.gids, starts: make([][]uint64, len(p.gids)), ends: make([][]uint64, len(p.gids))}
	begin := int64(0)
	if day != math.MaxInt64 {
		begin = day * dayNanos
		sizes := make([]int, len(p.gids))
		for _, l := range p.local {
			sizes[l]++
		}
		starts, ends := make([]uint64, len(p.sel)), make([]uint64, len(p.sel))
		at := 0
		for l, n := range sizes {
			part.starts[l], part.ends[l] = starts[at:at:at+n], ends[at:at:at+n]
			at += n
		}
	}
	for j, row := range p.sel {
		from, to := p.from[row], int64(p.times[row])
		if p.tails {
			from, to = to, w.s.to
		}
		from, to = max(from, w.s.from), min(to, w.s.to)
		if from >= to {
			continue
		}
		if day != math.MaxInt64 && from >= begin && to < begin+dayNanos {
			l := p.local[j]
			part.starts[l] = append(part.starts[l], uint64(from-begin))
			part.ends[l] = append(part.ends[l], uint64(to-begin))
			continue
		}
		crossings = append(crossings, crossing{p.gids[p.local[j]], from, to})
	}
	held := int64(0)
	if day != math.MaxInt64 {
		held = partBytes * int64(len(p.sel)-len(crossings))
	}
	if err := w.x.mem.take(held + 2*edgeBytes*int64(len(crossings))); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if day != math.MaxInt64 {
		d := w.day(day)
		d.parts = append(d.parts, part)
		d.held += held
	}
	for _, c := range crossings {
		first, last := dayNumber(c.from), dayNumber(c.to)
		d := w.day(first)
		d.starts = append(d.starts, sweepEdge{c.group, uint64(c.from - first*dayNanos)})
		d.held += edgeBytes
		for n := first; n < last; n++ {
			w.day(n).open[c.group]++
		}
		d = w.day(last)
		d.ends = append(d.ends, sweepEdge{c.group, uint64(c.to - last*dayNanos)})
		d.held += edgeBytes
	}
	return nil
}

// day finds what has been read of a day. It is called with mu held.
func (w *sweeper) day(n int64) *sweepDay {
	d := w.days[n]
	if d == nil {
		d = &sweepDay{number: n, open: make(map[uint32]int64)}
		w.days[n] = d
	}
	return d
}

// done sweeps the days that nothing can be added to any more, now that a chunk was
// read.
func (w *sweeper) done(i int) {
	w.mu.Lock()
	w.finished[i] = true
	for w.prefix < len(w.chunks) && w.finished[w.prefix] {
		w.prefix++
	}
	newest := int64(math.MinInt64)
	if w.prefix < len(w.chunks) {
		newest = w.dayOfChunk(w.prefix)
	}
	var ready []*sweepDay
	for n, d := range w.days {
		if n > newest {
			ready = append(ready, d)
			delete(w.days, n)
		}
	}
	w.mu.Unlock()
	for _, d := range ready {
		if err := w.sweep(d); err != nil {
			w.mu.Lock()
			w.err = err
			w.mu.Unlock()
		}
		w.x.mem.left.Add(d.held)
	}
}

func (w *sweeper) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// A sweptPeak is the peak of a group in a bucket of a day.
type sweptPeak struct {
	id    cellID
	n, at int64
}

// sweep finds the peaks of a day.
func (w *sweeper) sweep(d *sweepDay) error {
	type edges struct{ starts, ends [][]uint64 }
	byGroup := make(map[uint32]*edges)
	of := func(g uint32) *edges {
		e := byGroup[g]
		if e == nil {
			e = new(edges)
			byGroup[g] = e
		}
		return e
	}
	for _, p := range d.parts {
		for l, g := range p.gids {
			if len(p.starts[l]) > 0 {
				e := of(g)
				e.starts, e.ends = append(e.starts, p.starts[l]), append(e.ends, p.ends[l])
			}
		}
	}
	for g, at := range edgesOf(d.starts) {
		of(g).starts = append(of(g).starts, at)
	}
	for g, at := range edgesOf(d.ends) {
		of(g).ends = append(of(g).ends, at)
	}
	for g := range d.open {
		of(g)
	}
	var peaks []sweptPeak
	var starts, ends, scratch []uint64
	for g, e := range byGroup {
		starts, ends = starts[:0], ends[:0]
		for _, s := range e.starts {
			starts = append(starts, s...)
		}
		for _, s := range e.ends {
			ends = append(ends, s...)
		}
		scratch = sortTimes(starts, scratch)
		scratch = sortTimes(ends, scratch)
		peaks = w.sweepGroup(peaks, d, g, starts, ends)
	}
	w.x.mu.Lock()
	defer w.x.mu.Unlock()
	for _, p := range peaks {
		if err := w.x.cells.peak(p.id, p.n, p.at); err != nil {
			return err
		}
	}
	return nil
}

func edgesOf(es []sweepEdge) map[uint32][]uint64 {
	m := make(map[uint32][]uint64)
	for _, e := range es {
		m[e.group] = append(m[e.group], e.at)
	}
	return m
}

// sweepGroup goes through a group's day from its end to its beginning. Peaks begin
// where a connection begins, or at the beginning of a bucket or of the day.
func (w *sweeper) sweepGroup(peaks []sweptPeak, d *sweepDay, g uint32, starts, ends []uint64) []sweptPeak {
	x := w.x
	dayBegin := d.number * dayNanos
	from := max(w.s.from, dayBegin) // what was open before counts from here
	to := min(w.s.to, dayBegin+dayNanos)
	if from >= to {
		return peaks // only ends, of what the day before tells
	}
	open := d.open[g]
	bucket := x.bucket(to - 1)
	begin := from
	if x.q.Every > 0 {
		begin = max(from, x.begin(bucket))
	}
	var most, at int64
	see := func(t int64) {
		if open > 0 && open >= most {
			most, at = open, t
		}
	}
	i, j := len(starts)-1, len(ends)-1
	for i >= 0 || j >= 0 {
		// Starts before ends of the same moment: who ends is not open any more.
		isStart := i >= 0 && (j < 0 || starts[i] >= ends[j])
		var t int64
		if isStart {
			t = dayBegin + int64(starts[i])
		} else {
			t = dayBegin + int64(ends[j])
		}
		for t < begin || t == begin && !isStart {
			see(begin)
			if most > 0 {
				peaks = append(peaks, sweptPeak{cellID{g, bucket}, most, at})
			}
			most, at = 0, 0
			if begin == from {
				return peaks
			}
			bucket--
			begin = max(from, x.begin(bucket))
		}
		if isStart {
			see(t)
			open--
			i--
		} else {
			open++
			j--
		}
	}
	for {
		see(begin)
		if most > 0 {
			peaks = append(peaks, sweptPeak{cellID{g, bucket}, most, at})
		}
		if begin == from {
			return peaks
		}
		most, at = 0, 0
		bucket--
		begin = max(from, x.begin(bucket))
	}
}

// sortTimes sorts nanoseconds of a day. They are often in order already.
func sortTimes(a, scratch []uint64) []uint64 {
	if slices.IsSorted(a) {
		return scratch
	}
	if len(a) < 512 {
		slices.Sort(a)
		return scratch
	}
	// By digits of 12 bits, of which a day has four.
	const digit = 12
	scratch = slices.Grow(scratch[:0], len(a))[:len(a)]
	src, dst := a, scratch
	for shift := uint(0); shift < 48; shift += digit {
		var counts [1 << digit]uint32
		for _, v := range src {
			counts[v>>shift&(1<<digit-1)]++
		}
		sum := uint32(0)
		for i, n := range counts {
			counts[i] = sum
			sum += n
		}
		for _, v := range src {
			c := &counts[v>>shift&(1<<digit-1)]
			dst[*c] = v
			*c++
		}
		src, dst = dst, src
	}
	return scratch // four passes: the result is in a
}
