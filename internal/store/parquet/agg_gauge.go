package parquet

import (
	"math"
	"math/bits"
	"slices"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// gauges are the values of fields of which each connection counts once, by its
// newest row of a bucket.
type gauges struct {
	fields []*tcp.Field
	places []int
	// keeps says of each field that all its values are needed, for percentiles.
	keeps []bool
	conn  []bool
	cells [][]*gaugeCell // by field and cell
	multi []reading
	// sorted is how many of multi are of connections that are in it once.
	sorted int
	size   int64 // of a reading
	values []gaugeValue
	// ends is what lets readings go before all rows were read, if memory asks for
	// it.
	ends *progress
}

// A gaugeCell is the values of a field in a cell.
type gaugeCell struct {
	n, min, max, high, low uint64 // high and low are the sum
	kept                   valueBag
}

type gaugeValue struct {
	v     uint64
	known bool
}

func newGauges(x *aggregation) *gauges {
	g := &gauges{}
	for i := range x.q.Aggregates {
		agg := &x.q.Aggregates[i]
		if agg.Func < store.Min || agg.Func > store.Percentile {
			continue
		}
		at := slices.Index(g.fields, agg.Field)
		if at < 0 {
			at = len(g.fields)
			g.fields = append(g.fields, agg.Field)
			place := tables[store.Connections].place(agg.Field.Name)
			if place >= 0 && textual(tables[store.Connections].columns[place].typ) {
				place = -1
			}
			g.places = append(g.places, place)
			g.keeps = append(g.keeps, false)
			g.cells = append(g.cells, nil)
		}
		g.keeps[at] = g.keeps[at] || agg.Func == store.Percentile
	}
	g.conn = columnsOfFields(append([]*tcp.Field{}, g.fields...), nil)
	g.size = 2 * (40 + 16*int64(len(g.fields))) // twice, while they are put in order
	return g
}

// column returns the values of a field for rows.
func (g *gauges) column(p *picked, i int) (func(row uint32) (uint64, bool), error) {
	if g.places[i] >= 0 {
		v, err := p.col(g.places[i])
		if err != nil {
			return nil, err
		}
		return func(row uint32) (uint64, bool) { return v.nums[row], v.known[row] }, nil
	}
	rec, err := p.connections(g.conn)
	if err != nil {
		return nil, err
	}
	return func(row uint32) (uint64, bool) { return g.fields[i].Num(rec(int(row)).Conn) }, nil
}

// chunk reads the values of a chunk; what it returns adds them, with the
// aggregation's lock held.
func (g *gauges) chunk(x *aggregation, p *picked, multi func(uint32) bool) (func() error, error) {
	ids, err := p.ids()
	if err != nil {
		return nil, err
	}
	start, err := g.starts(p)
	if err != nil {
		return nil, err
	}
	var newest newestReadings
	single := make([]uint32, 0, len(p.sel)) // places in sel
	for i, row := range p.sel {
		c := p.cell[i]
		switch {
		case c == noCode:
		case multi(row):
			id := p.cells[c]
			newest.add(reading{ids(row), p.gids[id.group], id.bucket, row, int64(p.times[row]), start(row)})
		default:
			single = append(single, uint32(i))
		}
	}
	readings := newest.all
	values := make([]gaugeValue, len(readings)*len(g.fields))
	found := make([][]gaugeCell, len(g.fields))
	for f := range g.fields {
		get, err := g.column(p, f)
		if err != nil {
			return nil, err
		}
		for i := range readings {
			v := &values[i*len(g.fields)+f]
			v.v, v.known = get(readings[i].place)
		}
		found[f] = make([]gaugeCell, len(p.cells))
		if g.keeps[f] {
			reserveBags(found[f], p.cell, single)
		}
		for _, i := range single {
			if v, ok := get(p.sel[i]); ok {
				found[f][p.cell[i]].add(v, g.keeps[f])
			}
		}
	}
	return func() error {
		for f := range found {
			for i := range found[f] {
				c := &found[f][i]
				if c.n == 0 {
					continue
				}
				id := p.cells[i]
				to, err := g.cell(x, f, cellID{p.gids[id.group], id.bucket})
				if err != nil {
					return err
				}
				if err := to.merge(c, x.mem); err != nil {
					return err
				}
			}
		}
		if err := g.room(x, len(readings)); err != nil {
			return err
		}
		first := uint32(len(g.values) / max(len(g.fields), 1))
		for i := range readings {
			readings[i].place = first + uint32(i)
		}
		g.multi, g.values = append(g.multi, readings...), append(g.values, values...)
		if len(g.multi) > 2*g.sorted+1<<18 {
			return g.compact(x)
		}
		return nil
	}, nil
}

// reserveBags makes room for the values of each cell, in one piece.
func reserveBags(cells []gaugeCell, cell, places []uint32) {
	sizes := make([]uint32, len(cells))
	for _, i := range places {
		sizes[cell[i]]++
	}
	room := make([]uint32, len(places))
	for i, n := range sizes {
		cells[i].kept.small, room = room[:0:n], room[n:]
	}
}

// cell finds the values of a field in a cell.
func (g *gauges) cell(x *aggregation, f int, id cellID) (*gaugeCell, error) {
	at, err := x.cells.at1(id)
	if err != nil {
		return nil, err
	}
	for int(at) >= len(g.cells[f]) {
		g.cells[f] = append(g.cells[f], nil)
	}
	if g.cells[f][at] == nil {
		if err := x.mem.take(100); err != nil {
			return nil, err
		}
		g.cells[f][at] = new(gaugeCell)
	}
	return g.cells[f][at], nil
}

func (g *gauges) finish(x *aggregation) error {
	if err := g.compact(x); err != nil {
		return err
	}
	for i := range g.multi {
		if err := g.count(x, &g.multi[i]); err != nil {
			return err
		}
	}
	return nil
}

// value computes an aggregate of a cell.
func (g *gauges) value(cell uint32, agg *store.Aggregate) (float64, bool) {
	f := slices.Index(g.fields, agg.Field)
	if int(cell) >= len(g.cells[f]) || g.cells[f][cell] == nil {
		return 0, false
	}
	c := g.cells[f][cell]
	switch agg.Func {
	case store.Min:
		return float64(c.min), true
	case store.Max:
		return float64(c.max), true
	case store.Avg:
		return (float64(c.high)*math.Exp2(64) + float64(c.low)) / float64(c.n), true
	default:
		return float64(c.kept.quantile(agg.Q)), true
	}
}

func (c *gaugeCell) add(v uint64, keep bool) {
	if c.n == 0 {
		c.min, c.max = v, v
	}
	c.n++
	c.min, c.max = min(c.min, v), max(c.max, v)
	var carry uint64
	c.low, carry = bits.Add64(c.low, v, 0)
	c.high += carry
	if keep {
		c.kept.add(v)
	}
}

func (c *gaugeCell) merge(o *gaugeCell, mem *memory) error {
	if c.n == 0 {
		c.min, c.max = o.min, o.max
	}
	c.n += o.n
	c.min, c.max = min(c.min, o.min), max(c.max, o.max)
	var carry uint64
	c.low, carry = bits.Add64(c.low, o.low, 0)
	c.high += o.high + carry
	return c.kept.merge(&o.kept, mem)
}

// A valueBag is values of which quantiles are asked for. Many small ones, as
// durations are, are counted instead of kept.
type valueBag struct {
	small  []uint32
	large  []uint64
	counts []uint32 // of values below bagCounts, once there are many
}

const (
	// bagMany is how many values are counted from then on; bagCounts is the first
	// value that is not.
	bagMany   = 1 << 20
	bagCounts = 1 << 20
)

func (b *valueBag) add(v uint64) {
	switch {
	case v < uint64(len(b.counts)):
		b.counts[v]++
	case v <= math.MaxUint32:
		b.small = append(b.small, uint32(v))
	default:
		b.large = append(b.large, v)
	}
}

func (b *valueBag) merge(o *valueBag, mem *memory) error {
	if b.counts == nil && len(b.small)+len(o.small) > bagMany {
		if err := mem.take(4 * (bagCounts - int64(len(b.small)))); err != nil {
			return err
		}
		b.counts = make([]uint32, bagCounts)
		old := b.small
		b.small = nil
		for _, v := range old {
			b.add(uint64(v))
		}
	}
	if b.counts == nil {
		b.small = append(b.small, o.small...)
		if err := mem.take(4 * int64(len(o.small))); err != nil {
			return err
		}
	} else {
		counts, large := b.counts[:bagCounts], len(b.small)
		for _, v := range o.small {
			if v < bagCounts {
				counts[v]++
			} else {
				b.small = append(b.small, v)
			}
		}
		if err := mem.take(4 * int64(len(b.small)-large)); err != nil {
			return err
		}
	}
	b.large = append(b.large, o.large...)
	return mem.take(8 * int64(len(o.large)))
}

// quantile returns the value at a place of the order, the lower of two.
func (b *valueBag) quantile(q float64) uint64 {
	counted := 0
	for _, n := range b.counts {
		counted += int(n)
	}
	at := int(q * float64(counted+len(b.small)+len(b.large)-1))
	if at < counted {
		for v, n := range b.counts {
			if at -= int(n); at < 0 {
				return uint64(v)
			}
		}
	}
	if at -= counted; at < len(b.small) {
		return uint64(nth(b.small, at))
	}
	slices.Sort(b.large)
	return b.large[at-len(b.small)]
}

// nth returns the value that stands at a place when values are in order: it finds
// the upper and then the lower half of its bits.
func nth(values []uint32, at int) uint32 {
	if len(values) < 1<<14 {
		slices.Sort(values)
		return values[at]
	}
	var counts [1 << 16]uint32
	for _, v := range values {
		counts[v>>16]++
	}
	high := uint32(0)
	for ; at >= int(counts[high]); high++ {
		at -= int(counts[high])
	}
	clear(counts[:])
	for _, v := range values {
		if v>>16 == high {
			counts[v&0xffff]++
		}
	}
	low := uint32(0)
	for ; at >= int(counts[low]); low++ {
		at -= int(counts[low])
	}
	return high<<16 | low
}
