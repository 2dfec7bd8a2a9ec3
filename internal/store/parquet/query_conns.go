package parquet

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// connections answers in two steps. The first one reads what chooses and orders
// connections; most have one row, of which only the place is remembered, and no
// more of them than the limit asks for. The second one makes records of those
// that are shown, some at a time.
func (q *querier) connections(ctx context.Context, query *store.Query, fn func(*store.Record) error) (*store.Answer, error) {
	a := &store.Answer{Resolution: store.Raw}
	if err := check(query); err != nil {
		return a, err
	}
	s := spanOf(query.From, query.To)
	m, err := q.take(ctx, s.uses)
	if err != nil {
		return a, err
	}
	defer m.release()
	if err := m.gaps(ctx, s, a); err != nil {
		return a, err
	}
	c := &connScan{q: query, s: s, a: a, test: compileFilter(query.Filter), mem: &memory{query: query, what: "connections"}}
	c.mem.left.Store(budget(query))
	c.prepare()
	if err = c.find(ctx, m); err == nil {
		err = c.show(ctx, m, fn)
	}
	sortGaps(a)
	return a, err
}

// A connScan is a query of connections on its way.
type connScan struct {
	q    *store.Query
	s    span
	a    *store.Answer
	test *rowFilter
	mem  *memory
	// columns are those of the records shown, order those that Query.OrderBy
	// needs, at its place if it is a number of its own.
	columns, order []bool
	at             int
	chunks         []chunk

	mu     sync.Mutex
	single []candidate
	multi  []candidate
	// worst, if not nil, is the last of as many connections as the limit asks for:
	// what comes after it is not shown.
	worst *candidate
}

// A candidate is a row of a connection that may be shown.
type candidate struct {
	start int64
	id    tcp.ID
	// key is what it is ordered by, if known; conn has it when it is no number.
	key        uint64
	known      bool
	conn       *tcp.Conn
	chunk, row uint32
}

func (c *connScan) prepare() {
	fields := c.q.Fields
	c.at = -1
	if f := c.q.OrderBy; f != nil {
		if fields != nil {
			fields = append(slices.Clone(fields), f)
		}
		c.order = columnsOfFields([]*tcp.Field{f}, nil)
		t := tables[store.Connections]
		if c.at = t.place(f.Name); c.at >= 0 && textual(t.columns[c.at].typ) {
			c.at = -1
		}
	}
	c.columns = projection(&store.Query{Fields: fields})
}

// compare orders candidates as the answer is.
func (c *connScan) compare(x, y *candidate) int {
	newest := cmp.Or(cmp.Compare(y.start, x.start), cmp.Compare(x.id, y.id))
	f := c.q.OrderBy
	switch {
	case f == nil && c.q.Reverse:
		return cmp.Or(cmp.Compare(x.start, y.start), cmp.Compare(x.id, y.id))
	case f == nil:
		return newest
	case x.known != y.known:
		if x.known {
			return -1
		}
		return 1
	case !x.known:
		return newest
	}
	n := cmp.Compare(x.key, y.key)
	if f.Num == nil {
		n = f.Compare(x.conn, y.conn)
	}
	if c.q.Reverse {
		n = -n
	}
	return cmp.Or(n, newest)
}

// find reads the candidates.
func (c *connScan) find(ctx context.Context, m *moment) error {
	c.chunks = m.chunksOf(store.Connections, c.s.covers, c.a)
	if err := m.retainLog(c.a); err != nil {
		return err
	}
	tails, err := m.tails()
	if err != nil {
		return err
	}
	if tails != nil {
		c.chunks = append(c.chunks, chunk{blocks: []block{*tails}, tails: true})
	}
	return m.eachChunk(ctx, store.Connections, c.chunks, c.s, c.a, c.chunk, nil)
}

func (c *connScan) chunk(i int, r *chunkRows) error {
	c.mu.Lock()
	worst := c.worst
	c.mu.Unlock()
	if worst != nil && c.q.OrderBy == nil && !c.q.Reverse && r.info != nil && r.info.Last < worst.start {
		return nil // all of it was opened before those that are shown
	}
	from, sel, err := pickRows(r, c.s, c.test)
	if err != nil || len(sel) == 0 {
		return err
	}
	v, err := r.columnsAt(atTime, atKind, atSince, atID, atOpened, atDuration)
	if err != nil {
		return err
	}
	times, kinds, since, ids, opened, duration := v[0], v[1], v[2], v[3], v[4], v[5]
	end := kinds.codeOfText(store.Close.String())
	var key *vec
	var conn func(int) *store.Record
	if c.at >= 0 {
		key, err = r.col(c.at)
	} else if c.q.OrderBy != nil {
		conn, err = r.connections(c.order)
	}
	if err != nil {
		return err
	}
	var single, multi []candidate
	for _, row := range sel {
		x := candidate{chunk: uint32(i), row: row, id: tcp.ID(ids.nums[row])}
		x.start = min(from[row], startOf(times, since, opened, duration, int(row)))
		whole := !r.tails && !since.known[row] && kinds.codes[row] == end && int64(times.nums[row]) < c.s.to
		switch {
		case x.id != 0 && !whole:
			multi = append(multi, x)
			continue
		case key != nil:
			x.key, x.known = key.nums[row], key.known[row]
		case conn != nil:
			x.read(c.q.OrderBy, conn(int(row)).Conn)
		}
		if worst != nil && c.compare(&x, worst) > 0 {
			continue
		}
		single = append(single, x)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.multi = append(c.multi, multi...)
	c.single = append(c.single, single...)
	size := int64(candidateBytes)
	if conn != nil {
		size = connBytes
	}
	spent := int64(len(multi))*candidateBytes + int64(len(single))*size
	if limit := c.q.Limit; limit > 0 && len(c.single) > 2*limit+1<<12 {
		spent -= int64(len(c.single)-limit) * size
		c.cut(limit)
	}
	return c.mem.take(spent)
}

// candidateBytes is what a candidate takes.
const candidateBytes = 56

// read takes what a connection is ordered by.
func (x *candidate) read(f *tcp.Field, conn *tcp.Conn) {
	if f.Num != nil {
		x.key, x.known = f.Num(conn)
		return
	}
	x.conn, x.known = conn, f.Known(conn)
}

// cut keeps the first of the connections of one row.
func (c *connScan) cut(limit int) {
	slices.SortFunc(c.single, func(x, y candidate) int { return c.compare(&x, &y) })
	clear(c.single[limit:])
	c.single = c.single[:limit]
	worst := c.single[limit-1]
	c.worst = &worst
}

// A shown is a connection of the answer with its rows.
type shown struct {
	candidate
	rows []candidate
}

// show makes the records, as many at a time as memory holds.
func (c *connScan) show(ctx context.Context, m *moment, fn func(*store.Record) error) error {
	list := make([]shown, 0, len(c.single))
	for _, x := range c.single {
		list = append(list, shown{candidate: x})
	}
	c.single = nil
	several, err := c.several(ctx, m)
	if err != nil {
		return err
	}
	list = append(list, several...)
	slices.SortFunc(list, func(x, y shown) int { return c.compare(&x.candidate, &y.candidate) })
	if c.q.Limit > 0 && len(list) > c.q.Limit {
		list = list[:c.q.Limit]
	}
	atOnce := int(max(budget(c.q)/2/connBytes, 1))
	for len(list) > 0 {
		part := list[:min(atOnce, len(list))]
		list = list[len(part):]
		merged, err := c.records(ctx, m, part, c.columns)
		if err != nil {
			return err
		}
		for i := range merged {
			if merged[i].rec.Conn == nil {
				continue // its segment turned out to be damaged
			}
			merged[i].finish(c.s)
			if err := fn(&merged[i].rec); err != nil {
				return err
			}
		}
	}
	return nil
}

// several puts the rows of connections that have several together.
func (c *connScan) several(ctx context.Context, m *moment) ([]shown, error) {
	slices.SortFunc(c.multi, func(x, y candidate) int { return cmp.Compare(x.id, y.id) })
	var out []shown
	for i := 0; i < len(c.multi); {
		j := i
		x := shown{candidate: c.multi[i]}
		for ; j < len(c.multi) && c.multi[j].id == x.id; j++ {
			x.start = min(x.start, c.multi[j].start)
		}
		x.rows = c.multi[i:j:j]
		out = append(out, x)
		i = j
	}
	if c.q.OrderBy == nil || len(out) == 0 {
		return out, nil
	}
	if err := c.mem.take(connBytes * int64(len(out))); err != nil {
		return nil, err
	}
	merged, err := c.records(ctx, m, out, c.order)
	if err != nil {
		return nil, err
	}
	for i := range merged {
		if merged[i].rec.Conn != nil {
			merged[i].finish(c.s)
			out[i].read(c.q.OrderBy, merged[i].rec.Conn)
		}
	}
	return out, nil
}

// records reads the rows of connections and merges them.
func (c *connScan) records(ctx context.Context, m *moment, list []shown, columns []bool) ([]mergedConn, error) {
	type wanted struct {
		row uint32
		to  int
	}
	byChunk := make(map[uint32][]wanted)
	merged := make([]mergedConn, len(list))
	for i := range list {
		merged[i].from = math.MaxInt64
		if list[i].rows == nil {
			byChunk[list[i].chunk] = append(byChunk[list[i].chunk], wanted{list[i].row, i})
		}
		for _, r := range list[i].rows {
			byChunk[r.chunk] = append(byChunk[r.chunk], wanted{r.row, i})
		}
	}
	var numbers []uint32
	var chunks []chunk
	for n := range c.chunks {
		if byChunk[uint32(n)] != nil {
			numbers, chunks = append(numbers, uint32(n)), append(chunks, c.chunks[n])
		}
	}
	var scratch store.Answer
	var mu sync.Mutex
	err := m.eachChunk(ctx, store.Connections, chunks, c.s, &scratch, func(i int, r *chunkRows) error {
		of := byChunk[numbers[i]]
		slices.SortFunc(of, func(x, y wanted) int { return cmp.Compare(x.row, y.row) })
		rows := make([]uint32, len(of))
		for j, w := range of {
			rows[j] = w.row
		}
		rec, err := r.some(columns, rows)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		for j, w := range of {
			x := covering{rec: *rec(j), tail: r.tails}
			x.from = coverOf(&x.rec)
			merged[w.to].add(&x, c.s)
		}
		return nil
	}, nil)
	c.a.Gaps = append(c.a.Gaps, scratch.Gaps...) // found in columns not read before
	return merged, err
}

// pickRows finds the rows that cover a part of a range and meet a filter, and
// from when each row covers.
func pickRows(r *chunkRows, s span, test *rowFilter) (from []int64, sel []uint32, err error) {
	if no, err := r.lacks(test); no || err != nil {
		return nil, nil, err
	}
	in := sized(&r.room.in, r.n)
	var out []bool
	if test != nil && len(test.must) > 0 {
		// Few rows have what is looked for: mostly none, and no more is read.
		fill(in, true)
		if out, err = test.test(r, in); err != nil || !slices.Contains(out, true) {
			return nil, nil, err
		}
	}
	times, err := r.col(atTime)
	if err != nil {
		return nil, nil, err
	}
	if from, err = r.covers(); err != nil {
		return nil, nil, err
	}
	some := false
	for i, t := range times.nums {
		t := int64(t)
		if in[i] = t >= s.from && from[i] < s.to; r.tails {
			in[i] = t < s.to
		}
		some = some || in[i]
	}
	if !some {
		return nil, nil, nil
	}
	if test != nil {
		if out == nil {
			if out, err = test.test(r, in); err != nil {
				return nil, nil, err
			}
		}
		for i := range in {
			in[i] = in[i] && out[i]
		}
	}
	return from, r.room.selected(in), nil
}

// columnsAt returns several columns.
func (r *chunkRows) columnsAt(places ...int) ([]*vec, error) {
	out := make([]*vec, len(places))
	for i, p := range places {
		v, err := r.col(p)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}
