package parquet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

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
	a := &store.Answer{Resolution: store.Raw}
	s := spanOf(q.From, q.To)
	columns := projection(q)
	err := e.eachSource(ctx, store.Connections, s, a, func(src source) error {
		return eachRow(ctx, src, store.RecordColumns(), columns, s, a, func(r *store.Record) error {
			if q.Filter != nil && (r.Conn == nil || !q.Filter.Match(r.Conn)) {
				return nil
			}
			return fn(r)
		})
	})
	return a, err
}

// Samples calls fn for the samples of a connection in the range, by time; see
// store.Querier.
func (e *Engine) Samples(ctx context.Context, id tcp.ID, from, to time.Time, fn func(*store.Sample) error) (*store.Answer, error) {
	a := &store.Answer{Resolution: store.Raw}
	s := spanOf(from, to)
	var found []store.Sample
	err := e.eachSource(ctx, store.Samples, s, a, func(src source) error {
		return eachRow(ctx, src, store.SampleColumns(), nil, s, a, func(r *store.Sample) error {
			if r.ID == id {
				found = append(found, *r)
			}
			return nil
		})
	})
	slices.SortFunc(found, func(a, b store.Sample) int { return compareTimes(a.Time, b.Time) })
	return a, errors.Join(err, each1(found, fn))
}

// Events calls fn for the events of the range, by time; see store.Querier.
func (e *Engine) Events(ctx context.Context, from, to time.Time, types []string, fn func(*store.Event) error) (*store.Answer, error) {
	a := &store.Answer{Resolution: store.Raw}
	s := spanOf(from, to)
	var found []store.Event
	err := e.eachSource(ctx, store.Events, s, a, func(src source) error {
		return eachRow(ctx, src, store.EventColumns(), nil, s, a, func(r *store.Event) error {
			if len(types) == 0 || slices.Contains(types, r.Type) {
				found = append(found, *r)
			}
			return nil
		})
	})
	slices.SortStableFunc(found, func(a, b store.Event) int { return compareTimes(a.Time, b.Time) })
	return a, errors.Join(err, each1(found, fn))
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
// and for the batches of the log, all of one moment. A segment that cannot be
// read becomes a gap of the answer.
func (e *Engine) eachSource(ctx context.Context, t store.Table, s span, a *store.Answer, fn func(source) error) error {
	v := e.acquire()
	defer e.release(v)
	for i := range v.segments {
		g := &v.segments[i]
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
		if err := e.withSegment(g, fn); err != nil {
			if !errors.Is(err, store.ErrDamaged) {
				return err
			}
			e.report(g.name(), 0, g.Bytes, "segment cannot be read: "+err.Error(), "")
			a.Gaps = append(a.Gaps, store.Gap{From: max(g.First, s.from), To: min(g.Last+1, s.to), Reason: "a segment is damaged"})
		}
	}
	at := tableIndex(t)
	if at < 0 {
		return nil
	}
	for _, b := range v.unsealed {
		if bl := b.blocks[at]; bl != nil {
			if err := fn(blockSource{[]block{*bl}}); err != nil {
				return err
			}
		}
	}
	return nil
}

// withSegment opens a segment for fn.
func (e *Engine) withSegment(g *segmentInfo, fn func(source) error) error {
	f, err := e.fs.Open(g.name())
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	if size != g.Bytes {
		return fmt.Errorf("segment has %d bytes, the manifest says %d: %w", size, g.Bytes, store.ErrDamaged)
	}
	sum, err := footerChecksum(f, size)
	if err != nil {
		return err
	}
	if sum != g.Footer {
		return fmt.Errorf("checksum of footer: %w", store.ErrDamaged)
	}
	s, err := openSegment(f, size)
	if err != nil {
		return err
	}
	return fn(s)
}

// projection says which columns a query needs, by their place; nil is all.
func projection(q *store.Query) []bool {
	if q.Fields == nil {
		return nil
	}
	fields := slices.Clone(q.Fields)
	if q.Filter != nil {
		fields = q.Filter.Fields(fields)
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
		if err := fn(&r); err != nil {
			return err
		}
	}
	return nil
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
