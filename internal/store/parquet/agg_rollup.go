package parquet

import (
	"context"
	"math"
	"math/bits"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// dists are distributions by cell, for queries that roll-ups answer: of each
// connection that ended, once.
type dists struct {
	cells [len(distributionNames)][]*dist
}

type dist struct {
	n, min, max, high, low uint64
	histogram              store.Histogram
}

func (d *dist) add(v uint64) {
	if d.n == 0 {
		d.min, d.max = v, v
	}
	d.n++
	d.min, d.max = min(d.min, v), max(d.max, v)
	d.sum(v)
	d.histogram[store.Bucket(v)]++
}

func (d *dist) sum(v uint64) {
	var carry uint64
	d.low, carry = bits.Add64(d.low, v, 0)
	d.high += carry
}

// value computes an aggregate; the quantile is the greatest value of its bucket
// that there was.
func (d *dist) value(agg *store.Aggregate) (float64, bool) {
	if d == nil || d.n == 0 {
		return 0, false
	}
	switch agg.Func {
	case store.Min:
		return float64(d.min), true
	case store.Max:
		return float64(d.max), true
	case store.Avg:
		return (float64(d.high)*math.Exp2(64) + float64(d.low)) / float64(d.n), true
	default:
		_, high, ok := d.histogram.Quantile(agg.Q)
		return float64(max(min(high-1, d.max), d.min)), ok
	}
}

// at finds a distribution of a cell.
func (d *dists) at(x *aggregation, which int, id cellID) (*dist, error) {
	i, err := x.cells.at1(id)
	if err != nil {
		return nil, err
	}
	for int(i) >= len(d.cells[which]) {
		d.cells[which] = append(d.cells[which], nil)
	}
	if d.cells[which][i] == nil {
		if err := x.mem.take(4*store.NumBuckets + 64); err != nil {
			return nil, err
		}
		d.cells[which][i] = new(dist)
	}
	return d.cells[which][i], nil
}

func (d *dists) value(cell uint32, agg *store.Aggregate) (float64, bool) {
	which := distributionOf(agg.Field)
	if int(cell) >= len(d.cells[which]) {
		return 0, false
	}
	return d.cells[which][cell].value(agg)
}

// ofDistribution reports whether an aggregate is of one.
func ofDistribution(agg *store.Aggregate) bool {
	return agg.Func >= store.Min && agg.Func <= store.Percentile
}

// wanted says which distributions the aggregates need.
func (x *aggregation) wanted() (w [len(distributionNames)]bool) {
	for i := range x.q.Aggregates {
		if g := &x.q.Aggregates[i]; ofDistribution(g) {
			w[distributionOf(g.Field)] = true
		}
	}
	return w
}

// chunk adds the connections of a chunk that ended; what it returns does so, with
// the aggregation's lock held.
func (d *dists) chunk(x *aggregation, p *picked, end uint32) (func() error, error) {
	kinds, err := p.col(atKind)
	if err != nil {
		return nil, err
	}
	type found struct {
		which, cell int
		v           uint64
	}
	var all []found
	for which, ok := range x.wanted() {
		if !ok {
			continue
		}
		v, err := p.col(placed(store.Connections, distributionNames[which]+"_us"))
		if err != nil {
			return nil, err
		}
		for i, row := range p.sel {
			if c := p.cell[i]; c != noCode && kinds.codes[row] == end && v.known[row] {
				all = append(all, found{which, int(c), v.nums[row]})
			}
		}
	}
	return func() error {
		for _, f := range all {
			id := p.cells[f.cell]
			to, err := d.at(x, f.which, cellID{p.gids[id.group], id.bucket})
			if err != nil {
				return err
			}
			to.add(f.v)
		}
		return nil
	}, nil
}

// numberIf numbers groups by the fields of a query, if they meet its filter: rows
// of roll-ups and peaks are told by the fields of both.
func (x *aggregation) numberIf() (fields []*tcp.Field, number func([]string) (uint32, error)) {
	fields = append(fields, x.q.GroupBy...)
	n := len(fields)
	if x.q.Filter != nil {
		fields = x.q.Filter.Fields(fields)
	}
	return fields, func(key []string) (uint32, error) {
		if x.q.Filter != nil && !x.q.Filter.Match(connOfKey(fields, key)) {
			return noCode, nil
		}
		return x.gs.number(key[:n:n])
	}
}

// connOfKey makes a connection of what roll-ups tell apart.
func connOfKey(fields []*tcp.Field, key []string) *tcp.Conn {
	c := &tcp.Conn{Names: new(tcp.Names), Process: new(tcp.Process)}
	for i, f := range fields {
		switch f.Name {
		case "host":
			c.Names.Host = key[i]
		case "service":
			c.Names.Service = key[i]
		case "process":
			c.Process.Name = key[i]
		case "direction":
			for d := tcp.DirectionUnknown; d <= tcp.Transit; d++ {
				if d.String() == key[i] {
					c.Direction = d
				}
			}
		}
	}
	return c
}

// rollUps adds what roll-ups tell of whole intervals.
func (m *moment) rollUps(ctx context.Context, x *aggregation, p *plan) error {
	t := store.Rollups1h
	if p.interval == store.Minute {
		t = store.Rollups1m
	}
	if p.inner.from >= p.inner.to {
		return nil
	}
	fields, number := x.numberIf()
	g := newGrouper(tables[t], fields)
	chunks := m.chunksOf(t, p.inner.overlaps, x.a)
	return m.eachChunk(ctx, t, chunks, p.inner, x.a, func(_ int, r *chunkRows) error {
		return x.rollUpChunk(t, g, number, p.inner, r)
	}, nil)
}

func (x *aggregation) rollUpChunk(t store.Table, g *grouper, number func([]string) (uint32, error), s span, r *chunkRows) error {
	times, err := r.col(placed(t, "time"))
	if err != nil {
		return err
	}
	sel := make([]uint32, 0, len(times.nums))
	for i, at := range times.nums {
		if s.has(int64(at)) {
			sel = append(sel, uint32(i))
		}
	}
	if len(sel) == 0 {
		return nil
	}
	local, gids, err := g.of(r, sel, number)
	if err != nil {
		return err
	}
	counters := make([]*vec, len(x.q.Aggregates))
	var segments *vec
	for j := range x.q.Aggregates {
		name := "closed"
		switch agg := &x.q.Aggregates[j]; agg.Func {
		case store.Sum:
			name = agg.Field.Name
		case store.Closed:
		default:
			continue
		}
		if counters[j], err = r.col(placed(t, name)); err != nil {
			return err
		}
		// Where nothing moved and no segment was sent, nothing was counted.
		if segments, err = r.col(placed(t, "segments_sent")); err != nil {
			return err
		}
	}
	columns, err := x.distColumns(t, r)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	cell := make([]uint32, len(sel)) // rows of a group and time lie together
	last, lastCell := cellID{noCode, 0}, noCode
	for i, row := range sel {
		id := cellID{gids[local[i]], x.bucket(int64(times.nums[row]))}
		switch {
		case id.group == noCode:
			cell[i] = noCode
		case id == last:
			cell[i] = lastCell
		default:
			if lastCell, err = x.cells.at1(id); err != nil {
				return err
			}
			cell[i], last = lastCell, id
		}
	}
	for j, v := range counters {
		if v == nil {
			continue
		}
		sums, known := x.cells.sums[j], x.cells.known[j]
		for i, row := range sel {
			if c := cell[i]; c != noCode {
				sums[c] += v.nums[row]
				known[c] = known[c] || v.nums[row]|segments.nums[row] != 0
			}
		}
	}
	if x.dists == nil {
		return nil
	}
	for which := range columns {
		if err := x.addDists(which, &columns[which], sel, cell); err != nil {
			return err
		}
	}
	return nil
}

// distColumns are the columns of a distribution in roll-ups. Those that the
// aggregates do not need are nil.
type distColumns struct{ count, sum, min, max, buckets *vec }

func (x *aggregation) distColumns(t store.Table, r *chunkRows) (all [len(distributionNames)]distColumns, err error) {
	for i := range x.q.Aggregates {
		agg := &x.q.Aggregates[i]
		if !ofDistribution(agg) {
			continue
		}
		which := distributionOf(agg.Field)
		c := &all[which]
		parts := map[string]**vec{"_count": &c.count}
		switch agg.Func {
		case store.Min:
			parts["_min_us"] = &c.min
		case store.Max:
			parts["_max_us"] = &c.max
		case store.Avg:
			parts["_sum_us"] = &c.sum
		default: // bounds of percentiles
			parts["_min_us"], parts["_max_us"], parts["_buckets"] = &c.min, &c.max, &c.buckets
		}
		for part, v := range parts {
			if *v, err = r.col(placed(t, distributionNames[which]+part)); err != nil {
				return all, err
			}
		}
	}
	return all, nil
}

// addDists adds the distributions of some rows to those of their cells.
func (x *aggregation) addDists(which int, c *distColumns, sel, cell []uint32) error {
	if c.count == nil {
		return nil
	}
	last, to := noCode, (*dist)(nil)
	for i, row := range sel {
		n := c.count.nums[row]
		if cell[i] == noCode || n == 0 {
			continue
		}
		if cell[i] != last {
			var err error
			if to, err = x.dists.at(x, which, x.cells.ids[cell[i]]); err != nil {
				return err
			}
			last = cell[i]
		}
		if to.n == 0 {
			to.min = math.MaxUint64
		}
		to.n += n
		if c.sum != nil {
			to.sum(c.sum.nums[row])
		}
		if c.min != nil {
			to.min = min(to.min, c.min.nums[row])
		}
		if c.max != nil {
			to.max = max(to.max, c.max.nums[row])
		}
		if c.buckets == nil || c.buckets.codes[row] == noCode {
			continue
		}
		if err := to.histogram.AddEncoded(c.buckets.dict[c.buckets.codes[row]]); err != nil {
			return err
		}
	}
	return nil
}
