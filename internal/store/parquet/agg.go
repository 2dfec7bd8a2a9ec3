package parquet

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// aggRow is what aggregates read of one row.
type aggRow struct {
	id         tcp.ID
	group      int
	from, time int64
	end, tail  bool
	opened     bool // the row covers the opening
	start      int64
	values     []aggValue
}

type aggValue struct {
	v     uint64
	known bool
}

func (q *querier) aggregate(ctx context.Context, query *store.Query, fn func(*store.Group) error) (*store.Answer, error) {
	a := &store.Answer{Resolution: store.Raw}
	if err := check(query); err != nil {
		return a, err
	}
	s := spanOf(query.From, query.To)
	m, err := q.take(s.uses)
	if err != nil {
		return a, err
	}
	defer m.release()
	if err := m.gaps(ctx, s, a); err != nil {
		return a, err
	}
	fields := slices.Clone(query.GroupBy)
	for _, g := range query.Aggregates {
		if g.Field != nil {
			fields = append(fields, g.Field)
		}
	}
	if fields == nil {
		fields = []*tcp.Field{}
	}
	columns := columnsOfFields(fields, query.Filter)
	index := make(map[string]int)
	var keys [][]string
	var rows []aggRow
	memory := budget(query)
	var text []byte
	err = m.eachCovering(ctx, query, s, columns, a, func(c *covering) error {
		text = text[:0]
		for _, f := range query.GroupBy {
			text, _ = f.AppendText(text, c.rec.Conn)
			text = append(text, 0)
		}
		g, ok := index[string(text)]
		if !ok {
			g = len(keys)
			index[string(text)] = g
			keys = append(keys, strings.Split(string(text), "\x00")[:len(query.GroupBy)])
			if memory -= int64(len(text)) + 200; memory < 0 {
				return refuse(query, "groups")
			}
		}
		r := aggRow{
			id: c.rec.Conn.ID, group: g, from: c.from, time: c.rec.Time, end: c.rec.Kind == store.Close, tail: c.tail,
			start: c.rec.Start(), values: make([]aggValue, len(query.Aggregates)),
		}
		_, r.opened = c.rec.Conn.Duration()
		r.opened = r.opened && c.rec.Since == 0
		for i := range query.Aggregates {
			f := query.Aggregates[i].Field
			switch {
			case f == nil:
			case query.Aggregates[i].Func == store.Sum:
				r.values[i].v, r.values[i].known = c.rec.Delta(counterOf(f))
			default:
				r.values[i].v, r.values[i].known = f.Num(c.rec.Conn)
			}
		}
		rows = append(rows, r)
		if memory -= 80 + 16*int64(len(r.values)); memory < 0 {
			return refuse(query, "rows")
		}
		return nil
	})
	sortGaps(a)
	if err != nil {
		return a, err
	}
	return a, answerGroups(query, s, keys, rows, fn)
}

// answerGroups computes each bucket by itself.
func answerGroups(q *store.Query, s span, keys [][]string, rows []aggRow, fn func(*store.Group) error) error {
	if q.Every > 0 && (s.from == math.MinInt64 || s.to == math.MaxInt64) {
		lo, hi := int64(math.MaxInt64), int64(math.MinInt64)
		for i := range rows {
			lo, hi = min(lo, rows[i].time, rows[i].from), max(hi, rows[i].time+1)
		}
		s = span{max(s.from, lo), min(s.to, max(hi, lo))}
	}
	kept := make([]int, len(keys)) // the group that each counts to
	for i := range kept {
		kept[i] = i
	}
	if q.Top > 0 && len(keys) > q.Top {
		whole := bucketGroups(q, s, keys, rows, kept)
		for i := range kept {
			kept[i] = -1
		}
		for _, g := range whole[:min(q.Top, len(whole))] {
			kept[g.index] = g.index
		}
	}
	every := int64(q.Every)
	if every == 0 {
		every = math.MaxInt64
	}
	for at := s.from; at < s.to; {
		next := s.to
		if q.Every > 0 {
			next = min(next, at-floorMod(at, every)+every)
		}
		begin := at
		if q.Every > 0 {
			begin = at - floorMod(at, every)
		} else if q.From.IsZero() {
			begin = 0
		}
		for _, g := range bucketGroups(q, span{at, next}, keys, rows, kept) {
			g.Time = begin
			if err := fn(&g.Group); err != nil {
				return err
			}
		}
		at = next
	}
	return nil
}

type indexedGroup struct {
	store.Group
	index int
}

// bucketGroups computes the groups of one bucket, largest first.
func bucketGroups(q *store.Query, s span, keys [][]string, rows []aggRow, kept []int) []indexedGroup {
	byGroup := make(map[int][]*aggRow)
	for i := range rows {
		r := &rows[i]
		if r.from >= s.to || r.tail && r.time >= s.to || !r.tail && r.time < s.from {
			continue
		}
		byGroup[kept[r.group]] = append(byGroup[kept[r.group]], r)
	}
	var out []indexedGroup
	for g, rows := range byGroup {
		x := indexedGroup{index: g}
		if g < 0 {
			x.Other, x.Key = true, make([]string, len(q.GroupBy))
		} else {
			x.Key = keys[g]
		}
		x.Values, x.Known = make([]float64, len(q.Aggregates)), make([]bool, len(q.Aggregates))
		for i := range q.Aggregates {
			x.Values[i], x.Known[i] = aggregateRows(&q.Aggregates[i], i, s, rows, &x.At)
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(x, y indexedGroup) int {
		if x.Other != y.Other {
			if x.Other {
				return 1
			}
			return -1
		}
		return cmp.Or(compareFirst(&x.Group, &y.Group), slices.Compare(x.Key, y.Key))
	})
	return out
}

// compareFirst puts the group with the larger first aggregate first, those that do
// not know it last.
func compareFirst(x, y *store.Group) int {
	if len(x.Values) == 0 {
		return 0
	}
	if x.Known[0] != y.Known[0] {
		if x.Known[0] {
			return -1
		}
		return 1
	}
	return cmp.Compare(y.Values[0], x.Values[0])
}

// aggregateRows computes one aggregate of the rows of a group.
func aggregateRows(g *store.Aggregate, i int, s span, rows []*aggRow, at *int64) (float64, bool) {
	n := uint64(0)
	switch g.Func {
	case store.Count:
		ids := make(map[tcp.ID]bool)
		for _, r := range rows {
			if r.id == 0 {
				n++
			} else {
				ids[r.id] = true
			}
		}
		return float64(n) + float64(len(ids)), true
	case store.Opened:
		for _, r := range rows {
			if !r.tail && r.opened && s.has(r.start) {
				n++
			}
		}
		return float64(n), true
	case store.Closed:
		for _, r := range rows {
			if r.end && s.has(r.time) {
				n++
			}
		}
		return float64(n), true
	case store.Sum:
		known := false
		for _, r := range rows {
			if !r.tail && s.has(r.time) && r.values[i].known {
				n, known = n+r.values[i].v, true
			}
		}
		return float64(n), known
	case store.MaxOpen:
		peak, when := sweepRows(rows, s)
		*at = when
		return float64(peak), true
	default:
		return gauge(g, newest(rows, i, s))
	}
}

// newest returns the value of each connection by its newest row in the range.
func newest(rows []*aggRow, i int, s span) (values []uint64) {
	last := make(map[tcp.ID]*aggRow)
	for _, r := range rows {
		if r.tail || !s.has(r.time) {
			continue
		}
		if r.id == 0 {
			if r.values[i].known {
				values = append(values, r.values[i].v)
			}
			continue
		}
		if o := last[r.id]; o == nil || r.time >= o.time {
			last[r.id] = r
		}
	}
	for _, r := range last {
		if r.values[i].known {
			values = append(values, r.values[i].v)
		}
	}
	return values
}

func gauge(g *store.Aggregate, values []uint64) (float64, bool) {
	if len(values) == 0 {
		return 0, false
	}
	slices.Sort(values)
	switch g.Func { //nolint:exhaustive // the others are no gauges
	case store.Min:
		return float64(values[0]), true
	case store.Max:
		return float64(values[len(values)-1]), true
	case store.Avg:
		sum := 0.0
		for _, v := range values {
			sum += float64(v)
		}
		return sum / float64(len(values)), true
	default:
		return float64(values[int(g.Q*float64(len(values)-1))]), true
	}
}

// sweepRows is the most connections that were open at one moment, and the first
// moment when they were.
func sweepRows(rows []*aggRow, s span) (peak, at int64) {
	type edge struct {
		at    int64
		delta int64
	}
	var edges []edge
	for _, r := range rows {
		lo, hi := r.from, r.time
		if r.tail {
			lo, hi = r.time, s.to
		}
		lo, hi = max(lo, s.from), min(hi, s.to)
		if lo < hi {
			edges = append(edges, edge{lo, 1}, edge{hi, -1})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.delta, b.delta)) })
	open := int64(0)
	for _, e := range edges {
		if open += e.delta; open > peak {
			peak, at = open, e.at
		}
	}
	return peak, at
}
