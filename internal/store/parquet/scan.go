package parquet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// A span is a range of times, to not included.
type span struct{ from, to int64 }

// spanOf is the range of a query; a zero time is no bound.
func spanOf(from, to time.Time) span {
	s := span{-1 << 63, 1<<63 - 1}
	if !from.IsZero() {
		s.from = from.UnixNano()
	}
	if !to.IsZero() {
		s.to = to.UnixNano()
	}
	return s
}

func (s span) has(t int64) bool { return s.from <= t && t < s.to }

// overlaps reports whether a segment may have rows of the range.
func (s span) overlaps(g *segmentInfo) bool { return g.First < s.to && g.Last >= s.from }

// Records calls fn for each stored row of connections whose time is in the range
// of q and whose connection meets its filter, in no particular order; see
// store.Querier.
func (e *Engine) Records(ctx context.Context, q *store.Query, fn func(*store.Record) error) (*store.Answer, error) {
	return e.queries().records(ctx, q, fn)
}

// Samples calls fn for the samples of a connection in the range, by time; see
// store.Querier.
func (e *Engine) Samples(ctx context.Context, id tcp.ID, from, to time.Time, fn func(*store.Sample) error) (*store.Answer, error) {
	return e.queries().samples(ctx, id, from, to, fn)
}

// Events calls fn for the events of the range, by time; see store.Querier.
func (e *Engine) Events(ctx context.Context, from, to time.Time, types []string, fn func(*store.Event) error) (*store.Answer, error) {
	return e.queries().events(ctx, from, to, types, fn)
}

// Connections calls fn once for each connection that was open at some moment of
// the range; see store.Querier.
func (e *Engine) Connections(ctx context.Context, q *store.Query, fn func(*store.Record) error) (*store.Answer, error) {
	return e.queries().connections(ctx, q, fn)
}

// Aggregate groups rows and calls fn for each group and bucket; see
// store.Querier.
func (e *Engine) Aggregate(ctx context.Context, q *store.Query, fn func(*store.Group) error) (*store.Answer, error) {
	return e.queries().aggregate(ctx, q, fn)
}

// queries answers out of what is stored now.
func (e *Engine) queries() *querier { return &querier{take: e.take} }

// take holds the present view for a query.
func (e *Engine) take(context.Context, func(*segmentInfo) bool) (*moment, error) {
	select {
	case <-e.stop:
		return nil, store.ErrClosed
	default:
	}
	v := e.acquire()
	before, err := loadOpen(e.fs, v.open)
	if err != nil {
		e.reportOnce(openName(v.open), 0, "open connections cannot be read: "+err.Error())
	}
	return &moment{
		view: v, fs: e.fs, metas: &e.metas, release: func() { e.release(v) }, before: before, lost: err != nil,
		report: func(g *segmentInfo, err error) {
			e.reportOnce(g.name(), g.Bytes, "segment cannot be read: "+err.Error())
		},
	}, nil
}

// reportOnce is report for what each query meets again.
func (e *Engine) reportOnce(name string, size int64, what string) {
	e.mu.Lock()
	known := slices.ContainsFunc(e.status.Damage, func(d store.Damage) bool { return d.File == name && d.What == what })
	e.mu.Unlock()
	if !known {
		e.report(name, 0, size, what, "")
	}
}

// A moment is what was stored at one moment. Its files stay until release.
type moment struct {
	view  *view
	fs    fileSystem
	metas *segmentCache
	// files are segments that were opened beforehand; they are closed by release.
	files map[uint64]file
	// report makes it known that a segment is damaged.
	report  func(g *segmentInfo, err error)
	release func()
	// before are the last rows of the connections that were open when the log was
	// sealed; nil if there are none.
	before *block
	// lost says that a part of the log could not be read.
	lost bool
}

func (q *querier) records(ctx context.Context, query *store.Query, fn func(*store.Record) error) (*store.Answer, error) {
	a := &store.Answer{Resolution: store.Raw}
	s := spanOf(query.From, query.To)
	m, err := q.take(ctx, func(g *segmentInfo) bool { return g.Table == store.Connections.String() && s.overlaps(g) })
	if err != nil {
		return a, err
	}
	defer m.release()
	if err := m.gaps(ctx, s, a); err != nil {
		return a, err
	}
	columns := projection(query)
	err = m.eachSource(ctx, store.Connections, s, a, func(src source) error {
		return eachRow(ctx, src, store.RecordColumns(), columns, s, a, func(r *store.Record) error {
			if query.Filter != nil && (r.Conn == nil || !query.Filter.Match(r.Conn)) {
				return nil
			}
			return fn(r)
		})
	})
	sortGaps(a)
	return a, err
}

func (q *querier) samples(ctx context.Context, id tcp.ID, from, to time.Time, fn func(*store.Sample) error) (*store.Answer, error) {
	a := &store.Answer{Resolution: store.Raw}
	s := spanOf(from, to)
	m, err := q.take(ctx, func(g *segmentInfo) bool {
		return (g.Table == store.Samples.String() || g.Table == store.Events.String()) && s.overlaps(g)
	})
	if err != nil {
		return a, err
	}
	defer m.release()
	if err := m.gaps(ctx, s, a); err != nil {
		return a, err
	}
	var found []store.Sample
	err = m.eachSource(ctx, store.Samples, s, a, func(src source) error {
		return eachRow(ctx, src, store.SampleColumns(), nil, s, a, func(r *store.Sample) error {
			if r.ID == id {
				found = append(found, *r)
			}
			return nil
		})
	})
	sortGaps(a)
	if err != nil {
		return a, err
	}
	slices.SortStableFunc(found, func(a, b store.Sample) int { return compareTimes(a.Time, b.Time) })
	return a, each1(found, fn)
}

func (q *querier) events(ctx context.Context, from, to time.Time, types []string, fn func(*store.Event) error) (*store.Answer, error) {
	a := &store.Answer{Resolution: store.Raw}
	s := spanOf(from, to)
	m, err := q.take(ctx, func(g *segmentInfo) bool { return g.Table == store.Events.String() && s.overlaps(g) })
	if err != nil {
		return a, err
	}
	defer m.release()
	if err := m.gaps(ctx, s, a); err != nil {
		return a, err
	}
	a.Segments, a.Pruned, a.Rows, a.Retained = 0, 0, 0, 0
	var found []store.Event
	err = m.eachSource(ctx, store.Events, s, a, func(src source) error {
		return eachRow(ctx, src, store.EventColumns(), nil, s, a, func(r *store.Event) error {
			if len(types) == 0 || slices.Contains(types, r.Type) {
				found = append(found, *r)
			}
			return nil
		})
	})
	sortGaps(a)
	if err != nil {
		return a, err
	}
	slices.SortStableFunc(found, func(a, b store.Event) int { return compareTimes(a.Time, b.Time) })
	return a, each1(found, fn)
}

func compareTimes(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}

func each1[T any](rows []T, fn func(*T) error) error {
	for i := range rows {
		if err := fn(&rows[i]); err != nil {
			return err
		}
	}
	return nil
}

// eachSource calls fn for each segment of a table that may have rows of the range,
// and for the batches of the log. A segment that cannot be read becomes a gap of
// the answer.
func (m *moment) eachSource(ctx context.Context, t store.Table, s span, a *store.Answer, fn func(source) error) error {
	for i := range m.view.segments {
		g := &m.view.segments[i]
		if g.Table != t.String() {
			continue
		}
		if a.Retained == 0 || g.First < a.Retained {
			a.Retained = g.First
		}
		if !s.overlaps(g) {
			a.Pruned++
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		a.Segments++
		err := m.withSegment(g, func(f *segmentFile) error { return fn(f) })
		if err := m.damage(g, err, s, a); err != nil {
			return err
		}
	}
	at := tableIndex(t)
	if at < 0 {
		return nil
	}
	for _, b := range m.view.unsealed {
		if bl := b.blocks[at]; bl != nil {
			if err := fn(blockSource{[]block{*bl}}); err != nil {
				return err
			}
		}
	}
	return nil
}

// damage makes a gap of the answer out of a segment that is damaged; other errors
// it returns.
func (m *moment) damage(g *segmentInfo, err error, s span, a *store.Answer) error {
	if err == nil || !errors.Is(err, store.ErrDamaged) {
		return err
	}
	m.report(g, err)
	a.Gaps = append(a.Gaps, store.Gap{From: max(g.First, s.from), To: min(g.Last+1, s.to), Reason: "a segment is damaged"})
	return nil
}

// withSegment opens a segment for fn.
func (m *moment) withSegment(g *segmentInfo, fn func(*segmentFile) error) error {
	f, kept := m.files[g.Number]
	if !kept {
		var err error
		if f, err = m.fs.Open(g.name()); err != nil {
			return err
		}
		defer f.Close()
	}
	s, err := openNamed(f, g, m.metas)
	if err != nil {
		return err
	}
	return fn(s)
}

// openNamed reads the metadata of a segment that a manifest names, or takes it from
// the cache when the file is still the one that it is of.
func openNamed(f file, g *segmentInfo, cache *segmentCache) (*segmentFile, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size != g.Bytes {
		return nil, fmt.Errorf("segment has %d bytes, the manifest says %d: %w", size, g.Bytes, store.ErrDamaged)
	}
	sum, err := footerChecksum(f, size)
	if err != nil {
		return nil, err
	}
	if sum != g.Footer {
		return nil, fmt.Errorf("checksum of footer: %w", store.ErrDamaged)
	}
	if meta := cache.get(g); meta != nil {
		return &segmentFile{segmentMeta: meta, r: f}, nil
	}
	s, err := openSegment(f, size)
	if err == nil {
		cache.put(g, s.segmentMeta)
	}
	return s, err
}

// withSegment opens a segment for fn.
func (e *Engine) withSegment(g *segmentInfo, fn func(source) error) error {
	m := moment{fs: e.fs, metas: &e.metas}
	return m.withSegment(g, func(f *segmentFile) error { return fn(f) })
}

// projection says which columns a query needs, by their place; nil is all.
func projection(q *store.Query) []bool {
	if q.Fields == nil {
		return nil
	}
	return columnsOfFields(slices.Clone(q.Fields), q.Filter)
}

// columnsOfFields says which columns fields and a filter need, by their place,
// with those that identify a row; nil is all.
func columnsOfFields(fields []*tcp.Field, f *filter.Filter) []bool {
	if f != nil {
		fields = f.Fields(fields)
		flags := false
		filter.Walk(f.Node(), func(n filter.Node) bool {
			_, is := n.(*filter.Flags)
			flags = flags || is
			return !flags
		})
		if flags {
			return nil // they follow from many columns
		}
	}
	cols := store.RecordColumns()
	want := make([]bool, len(cols))
	for i := range cols {
		switch cols[i].Name {
		// What identifies a row, and what fields that are not stored follow from.
		case "kind", "time", "since", "boot_id", "host", "id", "opened", "duration_us", "direction", "state",
			"local_ip", "local_port", "remote_ip", "remote_port", "close_reason":
			want[i] = true
		}
	}
	for _, f := range fields {
		known := f.Name == "family" || f.Name == "closed"
		for i := range cols {
			n := cols[i].Name
			if f.Name == "nat_remote_ip" && n == "nat_remote_port" { // known by the port
				want[i] = true
			}
			if n == f.Name || n == f.Name+"_delta" || n == f.Name+"_sent" || n == f.Name+"_received" {
				want[i], known = true, true
			}
		}
		if !known {
			return nil
		}
	}
	return want
}

// eachRow calls fn for the rows of a source whose time is in the range, with the
// columns wanted; nil is all. The row is valid during the call only.
func eachRow[T any](ctx context.Context, src source, cols []store.Column[T], want []bool, s span, a *store.Answer, fn func(*T) error) error {
	t := tableOf(cols)
	vecs := make([]*vec, len(cols))
	times := (*vec)(nil)
	for i := range cols {
		c := &t.columns[i]
		if want != nil && !want[i] {
			continue
		}
		scratch := new(vec)
		scratch.reset(c.typ)
		v, err := src.read(scratch, c)
		if err != nil {
			return err
		}
		if vecs[i] = v; c.tag == t.timeTag() {
			times = v
		}
	}
	for row := range times.len() {
		if row%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if !times.known[row] || !s.has(int64(times.nums[row])) {
			continue
		}
		a.Rows++
		var r T
		for i, v := range vecs {
			if v != nil {
				scatter(v, &cols[i], &r, row)
			}
		}
		if rec, ok := any(&r).(*store.Record); ok {
			nameHost(rec)
		}
		if err := fn(&r); err != nil {
			return err
		}
	}
	return nil
}

// nameHost lets fields of the registry, and so filters, read the host.
func nameHost(r *store.Record) {
	if r.Host == "" || r.Conn == nil {
		return
	}
	if r.Conn.Names == nil {
		r.Conn.Names = new(tcp.Names)
	}
	r.Conn.Names.Host = r.Host
}

// tableOf finds the table that has these columns.
func tableOf[T any](cols []store.Column[T]) *table {
	for _, t := range tables {
		if len(t.columns) == len(cols) && t.columns[0].name == cols[0].Name && t.columns[len(cols)-1].name == cols[len(cols)-1].Name {
			return t
		}
	}
	return nil
}
