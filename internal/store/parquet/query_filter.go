package parquet

import (
	"slices"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// A rowTest says which rows of a chunk meet a part of a filter. in are the rows
// that are asked about, of the others the outcome has no meaning; the outcome is
// the caller's.
type rowTest func(r *chunkRows, in []bool) ([]bool, error)

// A rowFilter is a filter compiled for columns. A test of one column looks at each
// distinct text once, and at numbers as they stand; only what compares columns
// with each other needs a connection made of the row.
type rowFilter struct {
	test rowTest
	// conn are the columns that a connection needs for the whole filter, nil is
	// all.
	conn []bool
	// must is what rows have that meet the filter.
	must []mustHave
}

func compileFilter(f *filter.Filter) *rowFilter {
	if f == nil || f.MatchesAll() {
		return nil
	}
	c := &rowFilter{conn: columnsOfFields(nil, f), must: mustHaves(f.Node())}
	c.test = c.compile(f.Node())
	return c
}

func (c *rowFilter) compile(n filter.Node) rowTest {
	switch n := n.(type) {
	case *filter.And:
		return allOf(c.compileAll(n.Nodes))
	case *filter.Or:
		return anyOf(c.compileAll(n.Nodes))
	case *filter.Xor:
		a, b := c.compile(n.A), c.compile(n.B)
		return func(r *chunkRows, in []bool) ([]bool, error) {
			x, err := a(r, in)
			if err != nil {
				return nil, err
			}
			y, err := b(r, in)
			for i := range y {
				y[i] = x[i] != y[i]
			}
			return y, err
		}
	case *filter.Not:
		t := c.compile(n.Node)
		return func(r *chunkRows, in []bool) ([]bool, error) {
			out, err := t(r, in)
			for i := range out {
				out[i] = !out[i]
			}
			return out, err
		}
	case *filter.Compare:
		if n.Ref.End == filter.EndEither && n.Op != filter.Ne && n.Op != filter.AllEq {
			a, b := *n, *n
			a.Ref.End, b.Ref.End = filter.EndSrc, filter.EndDst
			return anyOf([]rowTest{c.compile(&a), c.compile(&b)})
		}
		if place := placeOf(n.Ref); place >= 0 {
			return columnTest(place, n, func(v uint64) bool { return compareNum(n.Op, v, n.Value.Num) })
		}
	case *filter.In:
		if n.Ref.End == filter.EndEither && !n.Negate {
			a, b := *n, *n
			a.Ref.End, b.Ref.End = filter.EndSrc, filter.EndDst
			return anyOf([]rowTest{c.compile(&a), c.compile(&b)})
		}
		if place := placeOf(n.Ref); place >= 0 {
			return columnTest(place, n, func(v uint64) bool {
				for _, s := range n.Items {
					if s.Lo.Num <= v && v <= s.Hi.Num {
						return !n.Negate
					}
				}
				return n.Negate
			})
		}
	case *filter.Match:
		if place := placeOf(n.Ref); place >= 0 {
			return columnTest(place, n, nil)
		}
	case *filter.Contains:
		if place := placeOf(n.Ref); place >= 0 {
			return columnTest(place, n, nil)
		}
	case *filter.Has:
		if place := placeOf(n.Ref); place >= 0 {
			return columnTest(place, n, func(uint64) bool { return true })
		}
	case *filter.StateIn:
		return columnTest(placed(store.Connections, "state"), n, nil)
	}
	return c.connTest(n)
}

func (c *rowFilter) compileAll(nodes []filter.Node) (ts []rowTest) {
	// Those that look at columns come first: what they leave out, the others need
	// not make a connection of.
	order := slices.Clone(nodes)
	slices.SortStableFunc(order, func(a, b filter.Node) int { return testCost(a) - testCost(b) })
	for _, n := range order {
		ts = append(ts, c.compile(n))
	}
	return ts
}

func testCost(n filter.Node) int {
	cost := 0
	filter.Walk(n, func(n filter.Node) bool {
		switch n := n.(type) {
		case *filter.Ratio, *filter.Flags:
			cost = 9
		case *filter.Compare:
			if placeOf(n.Ref) < 0 {
				cost = max(cost, 5)
			}
		case *filter.In:
			if placeOf(n.Ref) < 0 {
				cost = max(cost, 5)
			}
		}
		return true
	})
	return cost
}

// placeOf finds the column that a test reads; -1 when it reads several or what
// follows from several.
func placeOf(r filter.Ref) int {
	name := ""
	switch {
	case r.Field != nil:
		name = r.Field.Name
	case r.End == filter.EndSrc && r.Port:
		name = "local_port"
	case r.End == filter.EndDst && r.Port:
		name = "remote_port"
	case r.End == filter.EndSrc:
		name = "local_ip"
	case r.End == filter.EndDst:
		name = "remote_ip"
	default:
		return -1
	}
	return tables[store.Connections].place(name)
}

func compareNum(op filter.Op, v, with uint64) bool {
	switch op {
	case filter.Eq, filter.AllEq:
		return v == with
	case filter.Ne, filter.AnyNe:
		return v != with
	case filter.Lt:
		return v < with
	case filter.Le:
		return v <= with
	case filter.Gt:
		return v > with
	default:
		return v >= with
	}
}

func allOf(ts []rowTest) rowTest {
	return func(r *chunkRows, in []bool) ([]bool, error) {
		var out []bool
		for i, t := range ts {
			got, err := t(r, in)
			if err != nil {
				return nil, err
			}
			left := false
			for j := range got {
				got[j] = got[j] && in[j]
				left = left || got[j]
			}
			if out, in = got, got; !left && i < len(ts)-1 {
				break
			}
		}
		return out, nil
	}
}

func anyOf(ts []rowTest) rowTest {
	return func(r *chunkRows, in []bool) ([]bool, error) {
		var out []bool
		for _, t := range ts {
			got, err := t(r, in)
			if err != nil {
				return nil, err
			}
			if out == nil {
				out = got
				continue
			}
			for j := range got {
				out[j] = out[j] || got[j]
			}
		}
		return out, nil
	}
}

// columnTest tests one column. What a test says of a text is found by asking the
// filter about a connection that has nothing but it.
func columnTest(place int, n filter.Node, num func(uint64) bool) rowTest {
	ask := filter.PredicateOf(n)
	addr, single := singleAddr(n)
	return func(r *chunkRows, _ []bool) ([]bool, error) {
		v, err := r.col(place)
		if err != nil {
			return nil, err
		}
		out := make([]bool, r.n)
		if !textual(v.typ) {
			for i, x := range v.nums {
				out[i] = v.known[i] && num(x)
			}
			return out, nil
		}
		says := make([]bool, len(v.dict))
		for i, s := range v.dict {
			if single && v.typ == store.Addr {
				says[i] = s == addr
			} else {
				says[i] = ask(connOf(place, v.typ, s))
			}
		}
		// Only listeners lack a remote address.
		unknown := ask(&tcp.Conn{State: tcp.Listen})
		if store.RecordColumns()[place].Name == "state" {
			unknown = ask(&tcp.Conn{})
		}
		for i, code := range v.codes {
			if code == noCode {
				out[i] = unknown
			} else {
				out[i] = says[code]
			}
		}
		return out, nil
	}
}

// singleAddr is the address that a test compares with, if it is of one: there are
// many to compare, and a connection made of each would take long.
func singleAddr(n filter.Node) (text string, ok bool) {
	c, ok := n.(*filter.Compare)
	if !ok || c.Op != filter.Eq && c.Op != filter.AllEq || !c.Value.Prefix.IsValid() || !c.Value.Prefix.IsSingleIP() {
		return "", false
	}
	a := tcp.AddrFrom(c.Value.Prefix.Addr())
	return string(a[:]), true
}

// connOf makes a connection of one text.
func connOf(place int, t store.Type, s string) *tcp.Conn {
	r := store.Record{Conn: new(tcp.Conn)}
	c := &store.RecordColumns()[place]
	if t == store.Addr {
		c.SetAddr(&r, addrOf(s))
	} else {
		c.SetStr(&r, s)
	}
	nameHost(&r)
	if c.Name == "nat_remote_ip" {
		r.Conn.Names.NATPort = 1 // known by its port
	}
	return r.Conn
}

// connTest tests what needs a connection.
func (c *rowFilter) connTest(n filter.Node) rowTest {
	ask := filter.PredicateOf(n)
	return func(r *chunkRows, in []bool) ([]bool, error) {
		out := make([]bool, r.n)
		conn, err := r.connections(c.conn)
		if err != nil {
			return nil, err
		}
		for i := range out {
			if in[i] {
				if i%1024 == 0 && r.ctx.Err() != nil {
					return nil, r.ctx.Err()
				}
				rec := conn(i)
				out[i] = ask(rec.Conn)
			}
		}
		return out, nil
	}
}

// connections returns what makes records out of rows, with some columns; nil is
// all.
func (r *chunkRows) connections(want []bool) (func(i int) *store.Record, error) {
	var p recordParts
	for i := range store.RecordColumns() {
		if want != nil && !want[i] {
			continue
		}
		v, err := r.col(i)
		if err != nil {
			return nil, err
		}
		p.add(i, v)
	}
	return p.record, nil
}

// some is connections for a few rows, in their order and named by their place in
// rows: of a segment it reads the pages that have them, of the log one column as a
// whole at a time.
func (r *chunkRows) some(want []bool, rows []uint32) (func(i int) *store.Record, error) {
	var p recordParts
	segment, sealed := r.src.(*segmentFile)
	for i := range store.RecordColumns() {
		if want != nil && !want[i] {
			continue
		}
		few := new(vec)
		few.reset(r.table.columns[i].typ)
		if sealed {
			if err := r.ctx.Err(); err != nil {
				return nil, err
			}
			if err := segment.fillSome(few, &r.table.columns[i], rows); err != nil {
				return nil, err
			}
			p.add(i, few)
			continue
		}
		v, err := r.col(i)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			few.appendFrom(v, int(row))
		}
		p.add(i, few)
		r.cols[i] = nil
		r.idle.put(v)
	}
	return p.record, nil
}

// recordParts are the columns that records are made of.
type recordParts struct {
	places []int
	vecs   []*vec
}

func (p *recordParts) add(place int, v *vec) {
	if v.unknown < v.len() {
		p.places, p.vecs = append(p.places, place), append(p.vecs, v)
	}
}

func (p *recordParts) record(row int) *store.Record {
	cols := store.RecordColumns()
	rec := &store.Record{Conn: new(tcp.Conn)}
	for i, place := range p.places {
		scatter(p.vecs[i], &cols[place], rec, row)
	}
	nameHost(rec)
	return rec
}
