package storetest

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// A Reference answers queries out of rows in memory, as slowly as the definitions
// are written: each bucket by itself, each group by itself, every row looked at
// each time. Engines are held against it.
//
// A row covers the time from the connection's row before, or its opening, to its
// own time, which is not included when it is asked what was open at a moment. The
// last row of a connection that has no end covers the time after it as well.
type Reference struct {
	Records []store.Record
}

// cover is from when a row tells of its connection.
func cover(r *store.Record) int64 {
	from := r.Since
	if from == 0 {
		from = r.Start()
	}
	return min(from, r.Time)
}

// A stretch is the time that a row speaks for.
type stretch struct {
	*store.Record
	from, to int64
	// after says that it is the time after the last row of an open connection.
	after bool
}

// stretches are those that meet the filter of q.
func (x *Reference) stretches(q *store.Query) []stretch {
	last := make(map[tcp.ID]*store.Record)
	for i := range x.Records {
		r := &x.Records[i]
		if o := last[r.Conn.ID]; o == nil || o.Kind != store.Close && (r.Time >= o.Time || r.Kind == store.Close) {
			last[r.Conn.ID] = r
		}
	}
	var out []stretch
	for i := range x.Records {
		r := &x.Records[i]
		c := *r.Conn
		n := tcp.Names{}
		if c.Names != nil {
			n = *c.Names
		}
		n.Host = r.Host
		if r.Host != "" {
			c.Names = &n
		}
		named := *r
		named.Conn = &c
		if q.Filter != nil && !q.Filter.Match(&c) {
			continue
		}
		out = append(out, stretch{Record: &named, from: cover(r), to: r.Time})
		if last[r.Conn.ID] == r && r.Kind != store.Close {
			out = append(out, stretch{Record: &named, from: r.Time, to: math.MaxInt64, after: true})
		}
	}
	return out
}

func rangeOf(q *store.Query) (from, to int64) {
	from, to = math.MinInt64, math.MaxInt64
	if !q.From.IsZero() {
		from = q.From.UnixNano()
	}
	if !q.To.IsZero() {
		to = q.To.UnixNano()
	}
	return from, to
}

// touches reports whether a stretch tells of a range.
func (s *stretch) touches(from, to int64) bool { return s.from < to && s.to >= from }

// moved reports whether what moved in the stretch counts to a range.
func (s *stretch) moved(from, to int64) bool { return !s.after && s.Time >= from && s.Time < to }

// Aggregate returns the groups of q in their order.
func (x *Reference) Aggregate(q *store.Query) []store.Group {
	rows := x.stretches(q)
	from, to := rangeOf(q)
	name := func(s *stretch) string {
		var key []byte
		for _, f := range q.GroupBy {
			key, _ = f.AppendText(key, s.Conn)
			key = append(key, 0)
		}
		return string(key)
	}
	const other = "\xffother"
	kept := func(s string) string { return s }
	if q.Top > 0 && len(q.GroupBy) > 0 {
		first := *q
		first.Aggregates = q.Aggregates[:1]
		whole := groupsOf(&first, rows, from, to, name)
		sortGroups(whole)
		top := make(map[string]bool)
		for _, g := range whole[:min(q.Top, len(whole))] {
			top[strings.Join(append(g.Key, ""), "\x00")] = true
		}
		kept = func(s string) string {
			if top[s] {
				return s
			}
			return other
		}
	}
	call := func(s *stretch) string { return kept(name(s)) }
	if q.Every == 0 {
		out := groupsOf(q, rows, from, to, call)
		sortGroups(out)
		for i := range out {
			if out[i].Time = from; q.From.IsZero() {
				out[i].Time = 0
			}
		}
		return out
	}
	var out []store.Group
	every := int64(q.Every)
	for begin := from - from%every; begin < to; begin += every {
		part := groupsOf(q, rows, max(begin, from), min(begin+every, to), call)
		sortGroups(part)
		for i := range part {
			part[i].Time = begin
		}
		out = append(out, part...)
	}
	return out
}

func sortGroups(gs []store.Group) {
	slices.SortFunc(gs, func(a, b store.Group) int {
		rank := func(g *store.Group) int {
			switch {
			case g.Other:
				return 2
			case !g.Known[0]:
				return 1
			default:
				return 0
			}
		}
		return cmp.Or(cmp.Compare(rank(&a), rank(&b)), cmp.Compare(b.Values[0], a.Values[0]), slices.Compare(a.Key, b.Key))
	})
}

// groupsOf computes the groups of one bucket. A group that no aggregate has
// anything to say of is not there.
func groupsOf(q *store.Query, rows []stretch, from, to int64, name func(*stretch) string) []store.Group {
	groups := make(map[string][]*stretch)
	for i := range rows {
		if s := &rows[i]; s.touches(from, to) {
			groups[name(s)] = append(groups[name(s)], s)
		}
	}
	var out []store.Group
	for key, rows := range groups {
		g := store.Group{Key: strings.Split(key, "\x00")}
		if g.Key = g.Key[:len(g.Key)-1]; len(g.Key) != len(q.GroupBy) {
			g.Other, g.Key = true, make([]string, len(q.GroupBy))
		}
		something := false
		for i := range q.Aggregates {
			v, known, at := aggregate(&q.Aggregates[i], rows, from, to)
			g.Values, g.Known = append(g.Values, v), append(g.Known, known)
			something = something || v != 0 || known && q.Aggregates[i].Field != nil
			if at != 0 {
				g.At = at
			}
		}
		if something {
			out = append(out, g)
		}
	}
	return out
}

func aggregate(g *store.Aggregate, rows []*stretch, from, to int64) (v float64, known bool, at int64) {
	in := func(t int64) bool { return from <= t && t < to }
	switch g.Func {
	case store.Count:
		ids := make(map[tcp.ID]bool)
		for _, s := range rows {
			ids[s.Conn.ID] = true
		}
		return float64(len(ids)), true, 0
	case store.Opened:
		for _, s := range rows {
			if _, ok := s.Conn.Duration(); ok && !s.after && s.Since == 0 && in(s.Start()) {
				v++
			}
		}
		return v, true, 0
	case store.Closed:
		for _, s := range rows {
			if s.moved(from, to) && s.Kind == store.Close {
				v++
			}
		}
		return v, true, 0
	case store.Sum:
		sum := uint64(0)
		for _, s := range rows {
			for i := range store.NumCounters {
				if store.CounterField(i) != g.Field.Name || !s.moved(from, to) {
					continue
				}
				if d, ok := s.Delta(i); ok {
					sum, known = sum+d, true
				}
			}
		}
		return float64(sum), known, 0
	case store.MaxOpen:
		peak, at := most(rows, from, to)
		return float64(peak), true, at
	default:
		v, known = newestValue(g, rows, from, to)
		return v, known, 0
	}
}

// newestValue takes each connection once, by its newest row.
func newestValue(g *store.Aggregate, rows []*stretch, from, to int64) (v float64, known bool) {
	last := make(map[tcp.ID]*stretch)
	for _, s := range rows {
		if o := last[s.Conn.ID]; s.moved(from, to) && (o == nil || s.Time >= o.Time) {
			last[s.Conn.ID] = s
		}
	}
	var values []uint64
	sum := uint64(0)
	for _, s := range last {
		if n, ok := g.Field.Num(s.Conn); ok {
			values = append(values, n)
			sum += n
		}
	}
	if len(values) == 0 {
		return 0, false
	}
	slices.Sort(values)
	switch g.Func {
	case store.Min:
		return float64(values[0]), true
	case store.Max:
		return float64(values[len(values)-1]), true
	case store.Avg:
		return float64(sum) / float64(len(values)), true
	default:
		return float64(values[int(g.Q*float64(len(values)-1))]), true
	}
}

// most counts what was open whenever something was opened, and at the beginning.
func most(rows []*stretch, from, to int64) (peak int, at int64) {
	moments := []int64{from}
	for _, s := range rows {
		if s.from > from && s.from < to {
			moments = append(moments, s.from)
		}
	}
	slices.Sort(moments)
	for _, t := range slices.Compact(moments) {
		open := 0
		for _, s := range rows {
			if s.from <= t && t < s.to {
				open++
			}
		}
		if open > peak {
			peak, at = open, t
		}
	}
	return peak, at
}

// A Seen is what a query of connections shows of one.
type Seen struct {
	ID          tcp.ID
	Start, Time int64
	Closed      bool
	Counters    store.Counters
	Has         tcp.Has // of counters
	State       tcp.State
	RTT         uint32
}

// SeenOf reads what is compared of a record.
func SeenOf(r *store.Record) Seen {
	s := Seen{ID: r.Conn.ID, Start: r.Start(), Time: r.Time, Closed: !r.Conn.Closed.IsZero(), State: r.Conn.State}
	for i := range s.Counters {
		bit := tcp.FieldByName(store.CounterField(i)).Bit
		if v, ok := r.Delta(i); ok {
			s.Counters[i] = v
			s.Has |= bit
		}
	}
	if r.Conn.Has&tcp.HasRTT != 0 {
		s.RTT = r.Conn.Metrics.RTT
	}
	return s
}

// Connections returns what q shows, by start, newest first.
func (x *Reference) Connections(q *store.Query) []Seen {
	from, to := rangeOf(q)
	byID := make(map[tcp.ID][]stretch)
	for _, s := range x.stretches(q) {
		if s.touches(from, to) {
			byID[s.Conn.ID] = append(byID[s.Conn.ID], s)
		}
	}
	var out []Seen
	for id, rows := range byID {
		slices.SortStableFunc(rows, func(a, b stretch) int { return cmp.Compare(a.Time, b.Time) })
		e := Seen{ID: id, Start: math.MaxInt64}
		var newest, next *stretch
		for i := range rows {
			s := &rows[i]
			if e.Start = min(e.Start, s.Start(), s.from); s.Time < to {
				newest = s
			} else if next == nil {
				next = s
			}
			if !s.moved(from, to) {
				continue
			}
			for c := range e.Counters {
				if d, ok := s.Delta(c); ok {
					e.Counters[c] += d
					e.Has |= tcp.FieldByName(store.CounterField(c)).Bit
				}
			}
		}
		if newest != nil {
			e.Time, e.Closed, e.State = newest.Time, newest.Kind == store.Close, newest.Conn.State
			if newest.Conn.Has&tcp.HasRTT != 0 {
				e.RTT = newest.Conn.Metrics.RTT
			}
		} else {
			e.Time = to
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Seen) int { return cmp.Or(cmp.Compare(b.Start, a.Start), cmp.Compare(a.ID, b.ID)) })
	return out
}
