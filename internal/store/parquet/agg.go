package parquet

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// memory is what a query may hold.
type memory struct {
	left  atomic.Int64
	query *store.Query
	what  string
}

// take takes a part of the memory; an error says that there is not as much.
func (m *memory) take(n int64) error {
	if m.left.Add(-n) < 0 {
		return refuse(m.query, m.what)
	}
	return nil
}

// An aggregation computes the aggregates of a query. Chunks are read several at
// once; what each found is added under mu.
type aggregation struct {
	q    *store.Query
	s    span
	mem  *memory
	gs   *groups
	a    *store.Answer
	rows *grouper
	test *rowFilter

	// every and first turn times into buckets: of so many nanoseconds, counted
	// from first.
	every, first int64
	buckets      int

	mu    sync.Mutex
	cells cells

	counts *counter // Count
	gauges *gauges  // Min, Max, Avg, Percentile
	sweep  *sweeper // MaxOpen
}

// A cell is a group in a bucket.
type cellID struct{ group, bucket uint32 }

// cells are the numbers of all groups in all buckets.
type cells struct {
	index map[cellID]uint32
	ids   []cellID
	// sums are those of each aggregate that adds up, by cell; known says which
	// have a value.
	sums  [][]uint64
	known [][]bool
	// peaks and at are those of MaxOpen.
	peaks, at []int64
	mem       *memory
}

func (c *cells) at1(id cellID) (uint32, error) {
	if n, ok := c.index[id]; ok {
		return n, nil
	}
	if err := c.mem.take(64 + 18*int64(len(c.sums))); err != nil {
		return 0, err
	}
	n := uint32(len(c.ids))
	c.index[id] = n
	c.ids = append(c.ids, id)
	for i := range c.sums {
		c.sums[i] = append(c.sums[i], 0)
		c.known[i] = append(c.known[i], false)
	}
	c.peaks, c.at = append(c.peaks, 0), append(c.at, 0)
	return n, nil
}

// peak keeps the higher peak of a cell, the earlier one of equal ones.
func (c *cells) peak(id cellID, n, at int64) error {
	i, err := c.at1(id)
	if err != nil {
		return err
	}
	if n > c.peaks[i] || n == c.peaks[i] && n > 0 && at < c.at[i] {
		c.peaks[i], c.at[i] = n, at
	}
	return nil
}

func newAggregation(q *store.Query, s span, keep map[string]bool, mem *memory, a *store.Answer) *aggregation {
	x := &aggregation{q: q, s: s, mem: mem, gs: newGroups(mem, keep), a: a, every: math.MaxInt64, buckets: 1}
	x.rows, x.test = newGrouper(tables[store.Connections], q.GroupBy), compileFilter(q.Filter)
	if q.Every > 0 {
		x.every = int64(q.Every)
		x.first = s.from - floorMod(s.from, x.every)
		x.buckets = int(min((s.to-x.first+x.every-1)/x.every, math.MaxInt32))
	}
	x.cells = cells{index: make(map[cellID]uint32), mem: mem}
	for range q.Aggregates {
		x.cells.sums, x.cells.known = append(x.cells.sums, nil), append(x.cells.known, nil)
	}
	return x
}

// bucket is the bucket of a time that is in the range.
func (x *aggregation) bucket(t int64) uint32 {
	if x.buckets == 1 {
		return 0
	}
	return uint32((t - x.first) / x.every)
}

// begin is when a bucket begins.
func (x *aggregation) begin(b uint32) int64 { return x.first + int64(b)*x.every }

// aggregate answers a query of aggregates.
func (q *querier) aggregate(ctx context.Context, query *store.Query, fn func(*store.Group) error) (*store.Answer, error) {
	a := &store.Answer{Resolution: store.Raw}
	if err := check(query); err != nil {
		return a, err
	}
	if len(query.Aggregates) == 0 {
		return a, fmt.Errorf("%w: %w", errNoAggregate, store.ErrInvalid)
	}
	s := spanOf(query.From, query.To)
	m, err := q.take(s.uses)
	if err != nil {
		return a, err
	}
	defer m.release()
	if err := m.gaps(ctx, s, a); err != nil {
		return a, err
	}
	found, err := m.groupsOf(ctx, query, s, a)
	sortGaps(a)
	if err != nil {
		return a, err
	}
	for i := range found {
		if err := fn(&found[i]); err != nil {
			return a, err
		}
	}
	return a, nil
}

// groupsOf computes the groups of a query in their order.
func (m *moment) groupsOf(ctx context.Context, q *store.Query, s span, a *store.Answer) ([]store.Group, error) {
	unbounded := s.from == math.MinInt64
	s, err := m.bounds(s)
	if err != nil {
		return nil, err
	}
	var keep map[string]bool
	if q.Top > 0 && len(q.GroupBy) > 0 {
		// Which groups are largest over the whole range has to be known first: what
		// the others have in common, connections and peaks, cannot be told from the
		// numbers of each.
		whole := *q
		whole.Every, whole.Top, whole.Aggregates = 0, 0, q.Aggregates[:1]
		scratch := *a
		all, err := m.run(ctx, &whole, s, nil, &scratch)
		if err != nil {
			return nil, err
		}
		keep = make(map[string]bool, q.Top)
		for i := range all[:min(q.Top, len(all))] {
			keep[string(groupText(nil, all[i].Key))] = true
		}
	}
	found, err := m.run(ctx, q, s, keep, a)
	if unbounded && q.Every == 0 {
		for i := range found {
			found[i].Time = 0
		}
	}
	return found, err
}

// run computes the groups of a query, those in keep apart if it is not nil.
func (m *moment) run(ctx context.Context, q *store.Query, s span, keep map[string]bool, a *store.Answer) ([]store.Group, error) {
	mem := &memory{query: q, what: "groups"}
	mem.left.Store(budget(q))
	x := newAggregation(q, s, keep, mem, a)
	if s.from >= s.to {
		return nil, nil
	}
	if int64(x.buckets) > budget(q)/8 {
		return nil, refuse(q, "groups")
	}
	if err := m.raw(ctx, x, s); err != nil {
		return nil, err
	}
	return x.finish()
}

// finish makes groups of the cells.
func (x *aggregation) finish() ([]store.Group, error) {
	if x.counts != nil {
		if err := x.counts.finish(x); err != nil {
			return nil, err
		}
	}
	if x.gauges != nil {
		if err := x.gauges.finish(x); err != nil {
			return nil, err
		}
	}
	out := make([]store.Group, 0, len(x.cells.ids))
	for i, id := range x.cells.ids {
		g := store.Group{Time: x.s.from, Key: x.gs.keys[id.group], Other: int(id.group) == x.gs.other}
		if x.q.Every > 0 {
			g.Time = x.begin(id.bucket)
		}
		g.Values = make([]float64, len(x.q.Aggregates))
		g.Known = make([]bool, len(x.q.Aggregates))
		something := false
		for j := range x.q.Aggregates {
			agg := &x.q.Aggregates[j]
			switch agg.Func {
			case store.MaxOpen:
				g.Values[j], g.Known[j], g.At = float64(x.cells.peaks[i]), true, x.cells.at[i]
			case store.Sum:
				g.Values[j], g.Known[j] = float64(x.cells.sums[j][i]), x.cells.known[j][i]
			case store.Count, store.Opened, store.Closed:
				g.Values[j], g.Known[j] = float64(x.cells.sums[j][i]), true
			default:
				g.Values[j], g.Known[j] = x.gauges.value(uint32(i), agg)
			}
			something = something || g.Values[j] != 0 || g.Known[j] && agg.Field != nil
		}
		if something {
			out = append(out, g)
		}
	}
	slices.SortFunc(out, func(a, b store.Group) int {
		n := cmp.Compare(a.Time, b.Time)
		if n == 0 && a.Other != b.Other {
			if n = -1; a.Other {
				n = 1
			}
		}
		return cmp.Or(n, compareFirst(&a, &b), slices.Compare(a.Key, b.Key))
	})
	return out, nil
}

// compareFirst puts the group with the larger first aggregate first, those that do
// not know it last.
func compareFirst(x, y *store.Group) int {
	if x.Known[0] != y.Known[0] {
		if x.Known[0] {
			return -1
		}
		return 1
	}
	return cmp.Compare(y.Values[0], x.Values[0])
}

// raw computes what follows from the rows of connections in a part of the range.
func (m *moment) raw(ctx context.Context, x *aggregation, s span) error {
	r := &rawScan{x: x, s: s}
	for i := range x.q.Aggregates {
		switch x.q.Aggregates[i].Func {
		case store.Count:
			r.covers, r.counts = true, true
			if x.counts == nil {
				x.counts = &counter{}
			}
		case store.Opened:
			r.covers = true
		case store.MaxOpen:
			r.covers, r.sweeps = true, true
		case store.Sum, store.Closed:
		default:
			if x.gauges == nil {
				x.gauges = newGauges(x)
			}
		}
	}
	use := s.overlaps
	if r.covers {
		use = s.covers
	}
	chunks := m.chunksOf(store.Connections, use, x.a)
	if err := m.retainLog(x.a); err != nil {
		return err
	}
	if r.counts || r.sweeps {
		tails, err := m.tails()
		if err != nil {
			return err
		}
		if tails != nil {
			chunks = slices.Insert(chunks, 0, chunk{blocks: []block{*tails}, tails: true})
		}
	}
	var done func(int)
	if r.sweeps {
		x.sweep = newSweeper(x, s, chunks)
		done = x.sweep.done
	}
	if err := m.eachChunk(ctx, store.Connections, chunks, s, x.a, r.chunk, done); err != nil {
		return err
	}
	if x.sweep != nil {
		return x.sweep.failure()
	}
	return nil
}

// A rawScan reads rows of connections for an aggregation.
type rawScan struct {
	x *aggregation
	s span
	// covers says that rows count that tell of a part of the range; otherwise only
	// those whose time is in it.
	covers, counts, sweeps bool
}

// A picked is what of a chunk an aggregation reads.
type picked struct {
	*chunkRows
	sel         []uint32 // rows
	local, gids []uint32 // the group of each, by gids
	times       []uint64 // of all rows
	from        []int64  // of all rows, when covers are asked for
	// cell is the place in cells of each row whose time is in the range, noCode
	// else.
	cell  []uint32
	cells []cellID // with numbers of groups in gids
}

func (r *rawScan) chunk(i int, rows *chunkRows) error {
	p := &picked{chunkRows: rows}
	times, err := rows.col(atTime)
	if err != nil {
		return err
	}
	p.times = times.nums
	in := make([]bool, rows.n)
	some := false
	if r.covers {
		if p.from, err = rows.covers(nil); err != nil {
			return err
		}
	}
	for i, t := range p.times {
		t := int64(t)
		switch {
		case rows.tails:
			in[i] = t < r.s.to
		case r.covers:
			in[i] = t >= r.s.from && p.from[i] < r.s.to
		default:
			in[i] = t >= r.s.from && t < r.s.to
		}
		some = some || in[i]
	}
	if !some {
		return nil
	}
	if r.x.test != nil {
		out, err := r.x.test.test(rows, in)
		if err != nil {
			return err
		}
		for i := range in {
			in[i] = in[i] && out[i]
		}
	}
	for i, ok := range in {
		if ok {
			p.sel = append(p.sel, uint32(i))
		}
	}
	if len(p.sel) == 0 {
		return nil
	}
	if p.local, p.gids, err = r.x.rows.of(rows, p.sel, r.x.gs.number); err != nil {
		return err
	}
	if err := r.add(p); err != nil {
		return err
	}
	if r.sweeps {
		return r.x.sweep.add(i, p)
	}
	return nil
}

// place finds the cells of the rows.
func (r *rawScan) place(p *picked, at func(row uint32) (int64, bool)) (cell []uint32, ids []cellID) {
	cell = make([]uint32, len(p.sel))
	lo, hi := uint32(math.MaxUint32), uint32(0)
	for i, row := range p.sel {
		cell[i] = noCode
		if t, ok := at(row); ok {
			b := r.x.bucket(t)
			cell[i] = b
			lo, hi = min(lo, b), max(hi, b)
		}
	}
	if lo > hi {
		return cell, nil
	}
	n := int(hi-lo) + 1
	if n == 1 && len(p.gids) <= 1<<20 {
		for i := range cell {
			if cell[i] != noCode {
				cell[i] = p.local[i]
			}
		}
		for g := range p.gids {
			ids = append(ids, cellID{uint32(g), lo})
		}
		return cell, ids
	}
	if size := n * len(p.gids); size <= 1<<20 {
		seen := make([]uint32, size)
		for i, b := range cell {
			if b == noCode {
				continue
			}
			at := int(p.local[i])*n + int(b-lo)
			if seen[at] == 0 {
				ids = append(ids, cellID{p.local[i], b})
				seen[at] = uint32(len(ids))
			}
			cell[i] = seen[at] - 1
		}
		return cell, ids
	}
	seen := make(map[cellID]uint32)
	for i, b := range cell {
		if b == noCode {
			continue
		}
		id := cellID{p.local[i], b}
		at, ok := seen[id]
		if !ok {
			at = uint32(len(ids))
			ids = append(ids, id)
			seen[id] = at
		}
		cell[i] = at
	}
	return cell, ids
}

// add computes all but peaks.
func (r *rawScan) add(p *picked) error {
	x := r.x
	kinds, err := p.col(atKind)
	if err != nil {
		return err
	}
	end := kinds.codeOfText(store.Close.String())
	p.cell, p.cells = r.place(p, func(row uint32) (int64, bool) {
		t := int64(p.times[row])
		return t, !p.tails && r.s.has(t)
	})
	sums := make([][]uint64, len(x.q.Aggregates))
	known := make([][]bool, len(x.q.Aggregates))
	ids := make([][]cellID, len(x.q.Aggregates))
	for j := range x.q.Aggregates {
		switch g := &x.q.Aggregates[j]; g.Func { //nolint:exhaustive // the others do not add up
		case store.Sum:
			if sums[j], known[j], err = p.sum(counterOf(g.Field)); err != nil {
				return err
			}
			ids[j] = p.cells
		case store.Closed:
			sums[j] = make([]uint64, len(p.cells))
			for i, row := range p.sel {
				if c := p.cell[i]; c != noCode && kinds.codes[row] == end {
					sums[j][c]++
				}
			}
			ids[j] = p.cells
		case store.Opened:
			if sums[j], ids[j], err = r.opened(p); err != nil {
				return err
			}
		}
	}
	multi, err := p.multi(end)
	if err != nil {
		return err
	}
	var more []func() error
	if r.counts {
		add, err := x.counts.chunk(x, r.s, p, multi)
		if err != nil {
			return err
		}
		more = append(more, add)
	}
	if x.gauges != nil && !p.tails {
		add, err := x.gauges.chunk(x, p, multi)
		if err != nil {
			return err
		}
		more = append(more, add)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for j := range sums {
		for i, v := range sums[j] {
			ok := v != 0 || known[j] != nil && known[j][i]
			if !ok {
				continue
			}
			id := ids[j][i]
			at, err := x.cells.at1(cellID{p.gids[id.group], id.bucket})
			if err != nil {
				return err
			}
			x.cells.sums[j][at] += v
			x.cells.known[j][at] = true
		}
	}
	for _, add := range more {
		if err := add(); err != nil {
			return err
		}
	}
	return nil
}

// sum adds up how far a counter went, by cell.
func (p *picked) sum(counter int) (sums []uint64, known []bool, err error) {
	name := store.CounterField(counter)
	total, err := p.col(placed(store.Connections, name))
	if err != nil {
		return nil, nil, err
	}
	delta, err := p.col(placed(store.Connections, name+"_delta"))
	if err != nil {
		return nil, nil, err
	}
	sums, known = make([]uint64, len(p.cells)), make([]bool, len(p.cells))
	noDelta := delta.unknown == p.n
	for i, row := range p.sel {
		c := p.cell[i]
		switch {
		case c == noCode:
		case !noDelta && delta.known[row]:
			sums[c] += delta.nums[row]
			known[c] = true
		case total.known[row]:
			sums[c] += total.nums[row]
			known[c] = true
		}
	}
	return sums, known, nil
}

// opened counts the rows that cover their connection's opening, by when that was.
func (r *rawScan) opened(p *picked) ([]uint64, []cellID, error) {
	since, err := p.col(atSince)
	if err != nil {
		return nil, nil, err
	}
	duration, err := p.col(atDuration)
	if err != nil {
		return nil, nil, err
	}
	opened, err := p.col(atOpened)
	if err != nil {
		return nil, nil, err
	}
	cell, ids := r.place(p, func(row uint32) (int64, bool) {
		if p.tails || since.known[row] || !duration.known[row] {
			return 0, false
		}
		start := store.StartOf(int64(p.times[row]), int64(opened.nums[row]), int64(duration.nums[row]))
		return start, r.s.has(start)
	})
	sums := make([]uint64, len(ids))
	for _, c := range cell {
		if c != noCode {
			sums[c]++
		}
	}
	return sums, ids, nil
}

// multi says which rows are not all that there is of their connection.
func (p *picked) multi(end uint32) (func(row uint32) bool, error) {
	kinds, err := p.col(atKind)
	if err != nil {
		return nil, err
	}
	since, err := p.col(atSince)
	if err != nil {
		return nil, err
	}
	ids, err := p.ids()
	if err != nil {
		return nil, err
	}
	return func(row uint32) bool {
		return (since.known[row] || kinds.codes[row] != end) && ids(row) != 0
	}, nil
}

// ids returns the ids of rows, decoded when one is asked for. 0 is none: such a
// row is a connection of its own.
func (p *picked) ids() (func(row uint32) tcp.ID, error) {
	v, err := p.col(atID)
	if err != nil {
		return nil, err
	}
	return func(row uint32) tcp.ID {
		if !v.known[row] {
			return 0
		}
		return tcp.ID(v.nums[row])
	}, nil
}
