package parquet

import (
	"context"
	"errors"
	"math"
	"runtime"
	"slices"
	"sync"

	"github.com/viewtcp/viewtcp/internal/store"
)

// A chunk is a part of the rows of a table that is read at once.
type chunk struct {
	// info is a segment; without one the rows are those of blocks.
	info   *segmentInfo
	blocks []block
	// tails says that the rows are the last ones of connections that are open: they
	// tell of the time after them.
	tails bool
}

// chunkRows are the columns of a chunk, decoded when they are first asked for.
type chunkRows struct {
	ctx   context.Context
	src   source
	table *table
	n     int
	cols  []*vec // by place in the table
	idle  *vecPool
	room  *chunkRoom
	tails bool
	// info is the segment that the rows are of, nil for those of the log.
	info *segmentInfo
}

// chunkRoom is memory that a worker uses for one chunk after the other: what is made
// of one is of use only while it is read.
type chunkRoom struct {
	in                []bool
	from              []int64
	sel, local, codes []uint32
}

// selected lists the rows that are in.
func (r *chunkRoom) selected(in []bool) []uint32 {
	sel := slices.Grow(r.sel[:0], len(in))
	for i, ok := range in {
		if ok {
			sel = append(sel, uint32(i))
		}
	}
	r.sel = sel
	return sel
}

// sized makes a slice of so many elements, of which nothing is known, out of one
// that is of no use any more.
func sized[T any](s *[]T, n int) []T {
	*s = slices.Grow((*s)[:0], n)[:n]
	return *s
}

// lacks reports whether no row can meet a filter, without reading any.
func (r *chunkRows) lacks(f *rowFilter) (bool, error) {
	s, ok := r.src.(*segmentFile)
	if f == nil || !ok {
		return false, nil
	}
	return s.lacks(r.info, f.must)
}

// col returns the column at a place of the table. Nobody may change it.
func (r *chunkRows) col(place int) (*vec, error) {
	if v := r.cols[place]; v != nil {
		return v, nil
	}
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	c := &r.table.columns[place]
	v := r.idle.get(c.typ)
	v.reserve(r.n)
	got, err := r.src.read(v, c)
	if err != nil {
		return nil, err
	}
	r.cols[place] = got
	return got, nil
}

// release gives the memory of all columns back.
func (r *chunkRows) release() {
	for i, v := range r.cols {
		if v != nil {
			r.idle.put(v)
			r.cols[i] = nil
		}
	}
}

// place finds the place of a column by its name, -1 if the table has none.
func (t *table) place(name string) int {
	return slices.IndexFunc(t.columns, func(c column) bool { return c.name == name })
}

// placed is place of a column that there is.
func placed(t store.Table, name string) int { return max(tables[t].place(name), 0) }

// Columns of connections that queries read by themselves.
var (
	atKind     = placed(store.Connections, "kind")
	atTime     = placed(store.Connections, "time")
	atSince    = placed(store.Connections, "since")
	atID       = placed(store.Connections, "id")
	atOpened   = placed(store.Connections, "opened")
	atDuration = placed(store.Connections, "duration_us")
)

// eachChunk calls fn for all chunks, several at once but each worker's one after
// the other and begun in their order. done, if not nil, is called after each,
// whatever became of it. A chunk that is damaged becomes a gap of the answer; fn
// must have changed nothing before it has all columns that it needs.
func (m *moment) eachChunk(ctx context.Context, t store.Table, chunks []chunk, s span, a *store.Answer, fn func(i int, r *chunkRows) error, done func(i int)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		mu     sync.Mutex
		next   int
		failed error
		wg     sync.WaitGroup
	)
	work := func() {
		pool, room := new(vecPool), new(chunkRoom)
		for {
			mu.Lock()
			i := next
			next++
			stop := failed != nil || i >= len(chunks)
			mu.Unlock()
			if stop {
				return
			}
			c := &chunks[i]
			err := m.withChunk(ctx, t, c, pool, room, func(r *chunkRows) error {
				mu.Lock()
				a.Rows += uint64(r.n)
				mu.Unlock()
				return fn(i, r)
			})
			if done != nil {
				done(i)
			}
			if err == nil {
				continue
			}
			mu.Lock()
			if c.info != nil {
				err = m.damage(c.info, err, s, a)
			}
			if failed == nil && err != nil {
				failed = err
				cancel()
			}
			mu.Unlock()
		}
	}
	workers := min(runtime.GOMAXPROCS(0), len(chunks))
	for range workers - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
	if failed == nil {
		return ctx.Err()
	}
	return failed
}

// withChunk opens a chunk for fn.
func (m *moment) withChunk(ctx context.Context, t store.Table, c *chunk, pool *vecPool, room *chunkRoom, fn func(*chunkRows) error) error {
	r := &chunkRows{ctx: ctx, table: tables[t], cols: make([]*vec, len(tables[t].columns)), idle: pool, room: room, tails: c.tails}
	defer r.release()
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.info == nil {
		src := blockSource{c.blocks}
		for i := range c.blocks {
			r.n += c.blocks[i].rows
		}
		r.src = src
		return fn(r)
	}
	return m.withSegment(c.info, func(f *segmentFile) error {
		r.src, r.n, r.info = f, int(f.footer.Rows), c.info
		return fn(r)
	})
}

// chunksOf lists what of a table may have rows for use, the newest first, and
// counts it in the answer.
func (m *moment) chunksOf(t store.Table, use func(*segmentInfo) bool, a *store.Answer) (chunks []chunk) {
	var log chunk
	if at := tableIndex(t); at >= 0 {
		for _, b := range m.view.unsealed {
			if b.blocks[at] != nil {
				log.blocks = append(log.blocks, *b.blocks[at])
			}
		}
	}
	if len(log.blocks) > 0 {
		chunks = append(chunks, log)
	}
	first := len(chunks)
	for i := range m.view.segments {
		g := &m.view.segments[i]
		if g.Table != t.String() {
			continue
		}
		if a.Retained == 0 || g.First < a.Retained {
			a.Retained = g.First
		}
		if !use(g) {
			a.Pruned++
			continue
		}
		a.Segments++
		chunks = append(chunks, chunk{info: g})
	}
	slices.SortStableFunc(chunks[first:], func(x, y chunk) int { return compareTimes(y.info.Last, x.info.Last) })
	return chunks
}

// retainLog lets the rows of the log count to what is retained, when nothing is
// sealed yet.
func (m *moment) retainLog(a *store.Answer) error {
	if a.Retained != 0 {
		return nil
	}
	for _, b := range m.view.unsealed {
		if b.blocks[0] == nil {
			continue
		}
		v := new(vec)
		v.reset(store.Time)
		if err := b.blocks[0].decode(v, store.TagTime); err != nil {
			return err
		}
		for _, t := range v.nums {
			if a.Retained == 0 || int64(t) < a.Retained {
				a.Retained = int64(t)
			}
		}
	}
	return nil
}

// covers computes from when each row tells of its connection.
func (r *chunkRows) covers() ([]int64, error) {
	var v [4]*vec
	for i, place := range [...]int{atTime, atSince, atOpened, atDuration} {
		var err error
		if v[i], err = r.col(place); err != nil {
			return nil, err
		}
	}
	dst := sized(&r.room.from, r.n)
	times, since, opened, duration := v[0].nums[:r.n], v[1], v[2], v[3]
	allSince := since.unknown == r.n
	for i := range dst {
		t := int64(times[i])
		from := t
		switch {
		case !allSince && since.known[i]:
			from = int64(since.nums[i])
		case duration.known[i]:
			from = store.StartOf(t, int64(opened.nums[i]), int64(duration.nums[i]))
		}
		dst[i] = min(from, t)
	}
	return dst, nil
}

// codeOfText finds the code of a text in a column; noCode if no row has it.
func (v *vec) codeOfText(s string) uint32 {
	for i, d := range v.dict {
		if d == s {
			return uint32(i)
		}
	}
	return noCode
}

// bounds is the range that there is anything of, for queries without one: no bound
// is left open. Roll-ups and peaks are often kept for longer than rows.
func (m *moment) bounds(s span) (span, error) {
	if s.from != math.MinInt64 && s.to != math.MaxInt64 {
		return s, nil
	}
	lo, hi := int64(math.MaxInt64), int64(math.MinInt64)
	for i := range m.view.segments {
		g := &m.view.segments[i]
		switch g.Table {
		case store.Connections.String(), store.Rollups1m.String(), store.Rollups1h.String(), store.Peaks.String():
			lo, hi = min(lo, g.First), max(hi, g.Last)
			if g.Cover != 0 {
				lo = min(lo, g.Cover)
			}
		}
	}
	var blocks []block
	for _, b := range m.view.unsealed {
		if b.blocks[0] != nil {
			blocks = append(blocks, *b.blocks[0])
		}
	}
	err := m.withChunk(context.Background(), store.Connections, &chunk{blocks: blocks}, new(vecPool), new(chunkRoom), func(r *chunkRows) error {
		if r.n == 0 {
			return nil
		}
		from, err := r.covers()
		if err != nil {
			return err
		}
		times, err := r.col(atTime)
		if err != nil {
			return err
		}
		for i, t := range times.nums {
			lo, hi = min(lo, from[i]), max(hi, int64(t))
		}
		return nil
	})
	if err != nil {
		return s, err
	}
	if hi < lo {
		lo, hi = 0, 0
	}
	if s.from == math.MinInt64 {
		s.from = min(lo, s.to)
	}
	if s.to == math.MaxInt64 {
		s.to = max(hi+1, s.from)
	}
	return s, nil
}

var errNoAggregate = errors.New("no aggregate is asked for")
