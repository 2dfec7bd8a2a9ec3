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
	top := q.Top > 0 && len(q.GroupBy) > 0
	fold := top && addsUp(q)
	if top && !fold {
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
			keep[string(groupText(nil, all[i].Key))] = true
		}
	}
	found, err := m.run(ctx, q, s, keep, together, a)
	if fold {
		found = foldGroups(q, found)
	}
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

// foldGroups keeps the largest groups of the whole range and adds the others up.
func foldGroups(q *store.Query, found []store.Group) []store.Group {
	index := make(map[string]int)
	var whole []store.Group
	of := make([]int, len(found))
	for i := range found {
		g := &found[i]
		text := groupText(nil, g.Key)
		n, ok := index[string(text)]
		if !ok {
			n = len(whole)
			index[string(text)] = n
			whole = append(whole, store.Group{Key: g.Key, Values: []float64{0}, Known: []bool{false}, At: int64(n)})
		}
		of[i] = n
		whole[n].Values[0] += g.Values[0]
		whole[n].Known[0] = whole[n].Known[0] || g.Known[0]
	}
	ranked := slices.DeleteFunc(slices.Clone(whole), func(g store.Group) bool {
		return g.Values[0] == 0 && (!g.Known[0] || q.Aggregates[0].Field == nil)
	})
	sortGroups(ranked)
	keep := make([]bool, len(whole))
	for _, g := range ranked[:min(q.Top, len(ranked))] {
		keep[g.At] = true // its place in whole
	}
	out := found[:0]
	others := make(map[int64]*store.Group)
	for i, g := range found {
		if keep[of[i]] {
			out = append(out, g)
			continue
		}
		o := others[g.Time]
		if o == nil {
			o = &store.Group{Time: g.Time, Other: true, Key: make([]string, len(g.Key)), Values: make([]float64, len(g.Values)), Known: make([]bool, len(g.Known))}
			others[g.Time] = o
		}
		for j := range g.Values {
			o.Values[j] += g.Values[j]
			o.Known[j] = o.Known[j] || g.Known[j]
		}
	}
	for _, o := range others {
		out = append(out, *o)
	}
	sortGroups(out)
	return out
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
