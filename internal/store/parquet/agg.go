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
	dists  *dists   // the same, where roll-ups answer
	sweep  *sweeper // MaxOpen
}

// A cell is a group in a bucket.
type cellID struct{ group, bucket uint32 }

// cells are the numbers of all groups in all buckets.
type cells struct {
	index map[cellID]uint32
	// places are those of the groups' cells, and one, of the bucket 0; most queries
	// have no other.
	places []uint32
	ids    []cellID
	// sums are those of each aggregate that adds up, by cell; known says which
	// have a value.
	sums  [][]uint64
	known [][]bool
	// peaks and at are those of MaxOpen.
	peaks, at []int64
	mem       *memory
}

func (c *cells) at1(id cellID) (uint32, error) {
	if id.bucket == 0 {
		if int(id.group) < len(c.places) && c.places[id.group] > 0 {
			return c.places[id.group] - 1, nil
		}
	} else if n, ok := c.index[id]; ok {
		return n, nil
	}
	if err := c.mem.take(64 + 18*int64(len(c.sums))); err != nil {
		return 0, err
	}
	n := uint32(len(c.ids))
	if id.bucket > 0 {
		c.index[id] = n
	} else {
		for int(id.group) >= len(c.places) {
			c.places = append(c.places, 0)
		}
		c.places[id.group] = n + 1
	}
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
	x := &aggregation{q: q, s: s, mem: mem, gs: newGroups(mem, keep, q.GroupBy), a: a, every: math.MaxInt64, buckets: 1}
	x.rows, x.test = newGrouper(tables[store.Connections], q.GroupBy), apart(q)
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

// spanOf is the range of a bucket.
func (x *aggregation) spanOf(b uint32) span {
	if x.buckets == 1 {
		return span{math.MinInt64, math.MaxInt64}
	}
	return span{x.begin(b), x.begin(b) + x.every}
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
	m, err := q.take(ctx, s.usesCoarse)
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
	together := false
	if q.Top > 0 && len(q.GroupBy) > 0 && !addsUp(q) {
		// Which groups are largest over the whole range has to be known first: what
		// the others have in common, connections and peaks, cannot be told from the
		// numbers of each.
		whole := *q
		whole.Every, whole.Top, whole.Aggregates = 0, 0, q.Aggregates[:1]
		scratch := *a
		all, err := m.run(ctx, &whole, s, nil, false, &scratch)
		if err != nil {
			return nil, err
		}
		together = len(all) > q.Top
		keep = make(map[string]bool, q.Top)
		for i := range all[:min(q.Top, len(all))] {
			name, err := nameOf(q.GroupBy, all[i].Key)
			if err != nil {
				return nil, err
			}
			keep[name] = true
		}
	}
	found, err := m.run(ctx, q, s, keep, together, a)
	if unbounded && q.Every == 0 {
		for i := range found {
			found[i].Time = 0
		}
	}
	return found, err
}

// run computes the groups of a query, those in keep apart if it is not nil. exact
// says that there are others.
func (m *moment) run(ctx context.Context, q *store.Query, s span, keep map[string]bool, exact bool, a *store.Answer) ([]store.Group, error) {
	mem := &memory{query: q, what: "groups"}
	mem.left.Store(budget(q))
	x := newAggregation(q, s, keep, mem, a)
	if s.from >= s.to {
		return nil, nil
	}
	if int64(x.buckets) > budget(q)/8 {
		return nil, refuse(q, "groups")
	}
	p, err := planOf(q, s, exact)
	if err != nil {
		return nil, err
	}
	if a.Resolution = p.resolution; p.interval == 0 {
		err = m.raw(ctx, x, s, rawParts{sums: true, peaks: true, segments: true, log: true})
	} else {
		err = m.coarse(ctx, x, &p)
	}
	if err != nil {
		return nil, err
	}
	return x.finish()
}

// coarse computes what roll-ups and peaks tell, and the rest from rows.
func (m *moment) coarse(ctx context.Context, x *aggregation, p *plan) error {
	sums := false
	for i := range x.q.Aggregates {
		switch g := &x.q.Aggregates[i]; g.Func {
		case store.MaxOpen:
		case store.Sum, store.Closed:
			sums = true
		default:
			sums = true
			x.a.Bucketed = x.a.Bucketed || g.Func == store.Percentile
			x.dists = new(dists)
		}
	}
	if p.set != 0 {
		if err := m.peaks(ctx, x, p); err != nil {
			return err
		}
	}
	if !sums {
		return nil
	}
	if err := m.rollUps(ctx, x, p); err != nil {
		return err
	}
	for _, r := range x.s.rest(p.inner) {
		if err := m.raw(ctx, x, r, rawParts{sums: true, segments: true}); err != nil {
			return err
		}
	}
	// Roll-ups are made when the log is sealed.
	return m.raw(ctx, x, x.s, rawParts{sums: true, log: true})
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
	if x.q.Top > 0 && len(x.q.GroupBy) > 0 && addsUp(x.q) {
		x.fold()
	}
	keys := make([][]string, len(x.gs.names))
	out := make([]store.Group, 0, len(x.cells.ids))
	for i, id := range x.cells.ids {
		if keys[id.group] == nil {
			keys[id.group] = x.gs.key(id.group)
		}
		g := store.Group{Time: x.s.from, Key: keys[id.group], Other: int(id.group) == x.gs.other}
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
				if x.dists != nil {
					g.Values[j], g.Known[j] = x.dists.value(uint32(i), agg)
				} else {
					g.Values[j], g.Known[j] = x.gauges.value(uint32(i), agg)
				}
			}
			something = something || g.Values[j] != 0 || g.Known[j] && agg.Field != nil
		}
		if something {
			out = append(out, g)
		}
	}
	sortGroups(out)
	return out, nil
}

// sortGroups puts groups in the order of an answer.
func sortGroups(gs []store.Group) {
	slices.SortFunc(gs, func(a, b store.Group) int {
		n := cmp.Compare(a.Time, b.Time)
		if n == 0 && a.Other != b.Other {
			if n = -1; a.Other {
				n = 1
			}
		}
		return cmp.Or(n, compareFirst(&a, &b), slices.Compare(a.Key, b.Key))
	})
}

// addsUp reports whether the numbers of several groups together are the sums of
// theirs.
func addsUp(q *store.Query) bool {
	for i := range q.Aggregates {
		if f := q.Aggregates[i].Func; f != store.Sum && f != store.Closed && f != store.Opened {
			return false
		}
	}
	return true
}

// fold keeps the largest groups of the whole range apart and adds the others up. It
// is for numbers that add up, and before groups are made of the cells: there may be
// very many.
func (x *aggregation) fold() {
	keep := x.largest()
	c := &x.cells
	others := make(map[uint32]int) // by bucket, the place in sums and known
	sums, known := make([][]uint64, len(c.sums)), make([][]bool, len(c.sums))
	n := 0
	for i, id := range c.ids {
		if keep[id.group] {
			c.ids[n] = id
			for j := range c.sums {
				c.sums[j][n], c.known[j][n] = c.sums[j][i], c.known[j][i]
			}
			n++
			continue
		}
		o, ok := others[id.bucket]
		if !ok {
			o = len(others)
			others[id.bucket] = o
			for j := range sums {
				sums[j], known[j] = append(sums[j], 0), append(known[j], false)
			}
		}
		for j := range sums {
			sums[j][o] += c.sums[j][i]
			known[j][o] = known[j][o] || c.known[j][i]
		}
	}
	ids := make([]cellID, len(others))
	for bucket, o := range others {
		ids[o] = cellID{x.gs.others(), bucket}
	}
	c.ids = append(c.ids[:n], ids...)
	for j := range sums {
		c.sums[j], c.known[j] = append(c.sums[j][:n], sums[j]...), append(c.known[j][:n], known[j]...)
	}
}

// largest says which groups stay apart: as many as Query.Top of those that have
// something, by the first aggregate.
func (x *aggregation) largest() []bool {
	n := len(x.gs.names)
	totals, known := make([]float64, n), make([]bool, n)
	for i, id := range x.cells.ids {
		totals[id.group] += float64(x.cells.sums[0][i])
		known[id.group] = known[id.group] || x.cells.known[0][i]
	}
	isSum := x.q.Aggregates[0].Field != nil // what is counted is known, but 0 of it is nothing
	compare := func(a, b uint32) int {
		if n := cmp.Compare(totals[b], totals[a]); n != 0 {
			return n
		}
		return slices.Compare(x.gs.key(a), x.gs.key(b))
	}
	var best []uint32
	cut := func() {
		slices.SortFunc(best, compare)
		best = best[:min(len(best), x.q.Top)]
	}
	least := math.Inf(-1) // of as many as are asked for
	for g := range uint32(n) {
		something := totals[g] != 0 || isSum && known[g]
		if !something || totals[g] < least {
			continue
		}
		if best = append(best, g); len(best) >= 2*x.q.Top+1<<10 {
			cut()
			least = totals[best[len(best)-1]]
		}
	}
	cut()
	keep := make([]bool, n)
	for _, g := range best {
		keep[g] = true
	}
	return keep
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
