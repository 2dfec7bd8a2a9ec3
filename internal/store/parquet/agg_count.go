package parquet

import (
	"cmp"
	"slices"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// A counter counts connections by bucket. Connections of one row are counted at
// once; the rows of others are put together by their ids.
type counter struct {
	// diffs are, for each group, how many more connections there are than in the
	// bucket before.
	diffs  [][]int32
	multi  []stay
	sorted int // how many of multi are in order and put together
}

// A stay is the buckets, from and to included, in which a row shows its
// connection.
type stay struct {
	id       tcp.ID
	group    uint32
	from, to uint32
}

// diff returns that of a group.
func (c *counter) diff(x *aggregation, group uint32) ([]int32, error) {
	for int(group) >= len(c.diffs) {
		c.diffs = append(c.diffs, nil)
	}
	if c.diffs[group] == nil {
		if err := x.mem.take(4*int64(x.buckets+1) + 24); err != nil {
			return nil, err
		}
		c.diffs[group] = make([]int32, x.buckets+1)
	}
	return c.diffs[group], nil
}

// chunk counts the connections of a chunk; what it returns adds them, with the
// aggregation's lock held.
func (c *counter) chunk(x *aggregation, s span, p *picked, multi func(uint32) bool) (func() error, error) {
	ids, err := p.ids()
	if err != nil {
		return nil, err
	}
	type edge struct {
		local, bucket uint32
		n             int32
	}
	var stays []stay
	var edges []edge
	whole := make([]int32, len(p.gids))
	for i, row := range p.sel {
		from, to := max(p.from[row], s.from), min(int64(p.times[row]), s.to-1)
		if p.tails {
			from, to = max(int64(p.times[row]), s.from), s.to-1
		}
		a, b := x.bucket(from), x.bucket(max(to, from))
		switch {
		case p.tails || multi(row):
			stays = append(stays, stay{ids(row), p.gids[p.local[i]], a, b})
		case x.buckets == 1:
			whole[p.local[i]]++
		default:
			edges = append(edges, edge{p.local[i], a, 1}, edge{p.local[i], b + 1, -1})
		}
	}
	return func() error {
		for i, n := range whole {
			if n == 0 {
				continue
			}
			d, err := c.diff(x, p.gids[i])
			if err != nil {
				return err
			}
			d[0] += n
		}
		for _, e := range edges {
			d, err := c.diff(x, p.gids[e.local])
			if err != nil {
				return err
			}
			d[e.bucket] += e.n
		}
		if err := x.mem.take(24 * int64(len(stays))); err != nil {
			return err
		}
		c.multi = append(c.multi, stays...)
		if len(c.multi) > 2*c.sorted+1<<18 {
			before := len(c.multi)
			c.compact()
			x.mem.left.Add(24 * int64(before-len(c.multi)))
		}
		return nil
	}, nil
}

// compact puts stays of one connection together that touch or follow one another.
func (c *counter) compact() {
	slices.SortFunc(c.multi, func(a, b stay) int {
		return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.group, b.group), cmp.Compare(a.from, b.from))
	})
	n := 0
	for _, s := range c.multi {
		if n > 0 {
			if l := &c.multi[n-1]; l.id == s.id && l.group == s.group && s.from <= l.to+1 && s.id != 0 {
				l.to = max(l.to, s.to)
				continue
			}
		}
		c.multi[n] = s
		n++
	}
	c.multi, c.sorted = c.multi[:n], n
}

func (c *counter) finish(x *aggregation) error {
	c.compact()
	for _, s := range c.multi {
		d, err := c.diff(x, s.group)
		if err != nil {
			return err
		}
		d[s.from]++
		d[s.to+1]--
	}
	var at []int
	for j := range x.q.Aggregates {
		if x.q.Aggregates[j].Func == store.Count {
			at = append(at, j)
		}
	}
	for g, d := range c.diffs {
		n := int32(0)
		for b := range len(d) - min(1, len(d)) {
			if n += d[b]; n == 0 {
				continue
			}
			i, err := x.cells.at1(cellID{uint32(g), uint32(b)})
			if err != nil {
				return err
			}
			for _, j := range at {
				x.cells.sums[j][i] = uint64(n)
			}
		}
	}
	return nil
}
