package parquet

import (
	"math"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// A reading is a row of a connection that has several. Its values are at place; while
// its chunk is read, that is the row.
type reading struct {
	id            tcp.ID
	group, bucket uint32
	place         uint32
	time          int64
	// start is when the connection began, the least time if nobody asks.
	start int64
}

// newestReadings keeps the newest reading of each connection in a group and bucket.
type newestReadings struct {
	all []reading
	// slots are places in all, and one, by a hash of the id.
	slots []uint32
}

func (n *newestReadings) add(r reading) {
	if 2*len(n.all) >= len(n.slots) {
		n.grow()
	}
	for at := n.slot(r.id); ; at++ {
		at &= uint64(len(n.slots) - 1)
		if n.slots[at] == 0 {
			n.all = append(n.all, r)
			n.slots[at] = uint32(len(n.all))
			return
		}
		if o := &n.all[n.slots[at]-1]; o.id == r.id && o.group == r.group && o.bucket == r.bucket {
			r.start = min(r.start, o.start)
			if o.start = r.start; r.time > o.time {
				*o = r
			}
			return
		}
	}
}

// slot is where to begin to look for an id.
func (n *newestReadings) slot(id tcp.ID) uint64 {
	return uint64(id) * idFactor >> 20
}

func (n *newestReadings) grow() {
	n.slots = make([]uint32, max(4*len(n.all), 1<<10))
	for i := range n.all {
		at := n.slot(n.all[i].id) & uint64(len(n.slots)-1)
		for n.slots[at] != 0 {
			at = (at + 1) & uint64(len(n.slots)-1)
		}
		n.slots[at] = uint32(i + 1)
	}
}

// idFactor is 2^64 divided by the golden ratio: its product spreads ids, in its upper
// bits.
const idFactor = 0x9e3779b97f4a7c15

// readingParts is how many parts readings are looked at in, so that each fits the
// processor's cache.
const readingParts = 256

// compact keeps the newest reading of each connection in a bucket, and counts those
// that no row to come can be newer or older than.
func (g *gauges) compact(x *aggregation) error {
	var ends [readingParts + 1]int
	part := func(r *reading) uint64 { return uint64(r.id) * idFactor >> 56 }
	for i := range g.multi {
		ends[part(&g.multi[i])+1]++
	}
	for i := range readingParts {
		ends[i+1] += ends[i]
	}
	next := ends
	parted := make([]reading, len(g.multi))
	for i := range g.multi {
		at := &next[part(&g.multi[i])]
		parted[*at] = g.multi[i]
		*at++
	}
	kept := g.multi[:0]
	var newest newestReadings
	for i := range readingParts {
		newest.all = newest.all[:0]
		clear(newest.slots)
		for _, r := range parted[ends[i]:ends[i+1]] {
			newest.add(r)
		}
		x.mem.left.Add(g.size * int64(ends[i+1]-ends[i]-len(newest.all)))
		for j := range newest.all {
			r := &newest.all[j]
			if g.ends == nil || !g.ends.passed(r.start) && !g.ends.passed(x.begin(r.bucket)) {
				kept = append(kept, *r)
				continue
			}
			x.mem.left.Add(g.size)
			if err := g.count(x, r); err != nil {
				return err
			}
		}
	}
	values := make([]gaugeValue, 0, len(kept)*len(g.fields))
	for i := range kept {
		at := int(kept[i].place) * len(g.fields)
		kept[i].place = uint32(i)
		values = append(values, g.values[at:at+len(g.fields)]...)
	}
	g.multi, g.values, g.sorted = kept, values, len(kept)
	return nil
}

// count adds the values of a reading to their cells.
func (g *gauges) count(x *aggregation, r *reading) error {
	for f := range g.fields {
		v := g.values[int(r.place)*len(g.fields)+f]
		if !v.known {
			continue
		}
		c, err := g.cell(x, f, cellID{r.group, r.bucket})
		if err != nil {
			return err
		}
		if g.keeps[f] {
			if err := x.mem.take(4); err != nil {
				return err
			}
		}
		if c.add(v.v, g.keeps[f]); len(c.kept.small) > bagMany {
			if err := c.kept.merge(&valueBag{}, x.mem); err != nil {
				return err
			}
		}
	}
	return nil
}

// room takes memory for readings, if need be by counting others first.
func (g *gauges) room(x *aggregation, n int) error {
	size := g.size * int64(n)
	err := x.mem.take(size)
	if err == nil {
		return nil
	}
	x.mem.left.Add(size)
	if err := g.compact(x); err != nil {
		return err
	}
	return x.mem.take(size)
}

// prepare decides for so many rows whether readings have to be let go before the
// end: that costs two columns more.
func (g *gauges) prepare(x *aggregation, chunks []chunk) {
	rows := int64(0)
	for i := range chunks {
		if chunks[i].info != nil {
			rows += int64(chunks[i].info.Rows)
		}
	}
	// One row in five being the newest of a connection that has several is much.
	if g.size*rows/5 > x.mem.left.Load() {
		g.ends = &progress{chunks: chunks, finished: make([]bool, len(chunks)), last: math.MaxInt64}
	}
}

// done takes note that a chunk was read. It is called without the aggregation's
// lock.
func (g *gauges) done(x *aggregation, i int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if g.ends != nil {
		g.ends.done(i)
	}
}

// starts returns when the connections of rows began; only if that is of use.
func (g *gauges) starts(p *picked) (func(row uint32) int64, error) {
	if g.ends == nil {
		return func(uint32) int64 { return math.MinInt64 }, nil
	}
	v, err := p.columnsAt(atOpened, atDuration)
	if err != nil {
		return nil, err
	}
	opened, duration := v[0], v[1]
	return func(row uint32) int64 {
		if !duration.known[row] {
			return math.MinInt64
		}
		return store.StartOf(int64(p.times[row]), int64(opened.nums[row]), int64(duration.nums[row]))
	}, nil
}

// progress follows chunks that are read, newest first, by several workers.
type progress struct {
	chunks   []chunk
	finished []bool
	prefix   int // chunks before it are finished
	// last is the greatest time that a row to come can have.
	last int64
}

func (p *progress) done(i int) {
	p.finished[i] = true
	for p.prefix < len(p.chunks) && p.finished[p.prefix] {
		p.prefix++
	}
	switch {
	case p.prefix == len(p.chunks):
		p.last = math.MinInt64
	case p.chunks[p.prefix].info != nil:
		p.last = p.chunks[p.prefix].info.Last
	}
}

// passed reports whether no row to come is of t or later.
func (p *progress) passed(t int64) bool { return t > p.last }
