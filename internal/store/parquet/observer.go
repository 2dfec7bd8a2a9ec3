package parquet

import (
	"slices"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Rows with an observer are what a tap saw of connections that may have sockets
// here as well: they are listed, but never summed with those of sockets unless
// the query speaks of observers.

// apart returns the filter of a query of aggregates, which leaves rows with an
// observer out unless they are asked for.
func apart(q *store.Query) *rowFilter {
	c := compileFilter(q.Filter)
	asked := slices.Clone(q.GroupBy)
	if q.Filter != nil {
		asked = q.Filter.Fields(asked)
	}
	if slices.ContainsFunc(asked, func(f *tcp.Field) bool { return f.Name == "observer" }) {
		return c
	}
	if c == nil {
		return &rowFilter{test: bySocket}
	}
	c.test = allOf([]rowTest{bySocket, c.test})
	return c
}

var atObserver = placed(store.Connections, "observer")

// bySocket is the test for rows without an observer.
func bySocket(r *chunkRows, _ []bool) ([]bool, error) {
	v, err := r.col(atObserver)
	if err != nil {
		return nil, err
	}
	out := make([]bool, r.n)
	for i := range out {
		out[i] = !v.has(i)
	}
	return out, nil
}

// socketRows is the rows of a source that have no observer: those that roll-ups
// are made of.
func socketRows(src source) (source, error) {
	c := tables[store.Connections].named("observer")
	scratch := new(vec)
	scratch.reset(c.typ)
	v, err := src.read(scratch, c)
	if err != nil {
		return nil, err
	}
	if v.unknown == v.len() {
		return src, nil
	}
	keep := make([]uint32, 0, v.unknown)
	for i := range v.len() {
		if !v.has(i) {
			keep = append(keep, uint32(i))
		}
	}
	return pickedSource{src, keep}, nil
}

// pickedSource is some rows of a source.
type pickedSource struct {
	src  source
	keep []uint32
}

func (s pickedSource) read(v *vec, c *column) (*vec, error) {
	scratch := new(vec)
	scratch.reset(c.typ)
	all, err := s.src.read(scratch, c)
	if err != nil {
		return nil, err
	}
	for _, i := range s.keep {
		v.appendFrom(all, int(i))
	}
	return v, nil
}

func (s pickedSource) complete(c *column) bool { return s.src.complete(c) }
