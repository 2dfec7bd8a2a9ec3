package web

import (
	"cmp"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/viewtcp/viewtcp/internal/api"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// topNow answers with the largest groups of this moment. Rates and other gauges
// add up here, because all of them are of the same moment.
func (s *Server) topNow(w *response, r *request, q *store.Query) error {
	if s.cfg.View == nil {
		return absent("this daemon follows no connections")
	}
	out, err := s.newRows(w, r)
	if err != nil {
		return err
	}
	by := &q.Aggregates[0]
	switch by.Func {
	case store.Max:
		by.Func = store.Sum
	case store.Count, store.Sum:
	default:
		return api.BadParameter("by", "of this moment there are sums and counts; give since for the rest")
	}
	snap := s.cfg.View.Snapshot()
	q.From = snap.Time.Time()
	if r.Method == http.MethodHead {
		return nil
	}
	codec := api.NewGroupCodec(q)
	match := func(*tcp.Conn) bool { return true }
	if q.Filter != nil {
		match = q.Filter.Predicate()
	}
	groups := groupNow(snap, q, match)
	for i := range groups {
		if err := out.row(codec.Append(out.next(), &groups[i])); err != nil {
			return err
		}
	}
	return out.end(&store.Answer{Resolution: store.Raw, Rows: uint64(len(snap.Conns))}, nil)
}

// groupNow groups the open connections of a snapshot and keeps the largest groups;
// all others are one, the last.
func groupNow(snap *tcp.Snapshot, q *store.Query, match func(*tcp.Conn) bool) []store.Group {
	byKey := make(map[string]int)
	var (
		groups []store.Group
		key    []byte
	)
	for _, c := range snap.Conns {
		if !c.Open() || !match(c) {
			continue
		}
		key = key[:0]
		for _, f := range q.GroupBy {
			key, _ = f.AppendText(key, c)
			key = append(key, 0)
		}
		i, ok := byKey[string(key)]
		if !ok {
			i = len(groups)
			byKey[string(key)] = i
			groups = append(groups, store.Group{
				Time: snap.Time.Wall, Key: strings.Split(strings.TrimSuffix(string(key), "\x00"), "\x00"),
				Values: make([]float64, len(q.Aggregates)), Known: make([]bool, len(q.Aggregates)),
			})
		}
		count(&groups[i], q, c)
	}
	return largest(groups, q)
}

// count adds a connection to its group.
func count(g *store.Group, q *store.Query, c *tcp.Conn) {
	for i, a := range q.Aggregates {
		if a.Field == nil {
			g.Values[i]++
			g.Known[i] = true
		} else if v, ok := a.Field.Num(c); ok {
			g.Values[i] += float64(v)
			g.Known[i] = true
		}
	}
}

// largest keeps the groups that are largest by the first aggregate, and puts the
// rest together.
func largest(groups []store.Group, q *store.Query) []store.Group {
	first := func(g *store.Group) float64 {
		if !g.Known[0] {
			return math.Inf(-1)
		}
		return g.Values[0]
	}
	slices.SortStableFunc(groups, func(a, b store.Group) int {
		return cmp.Or(cmp.Compare(first(&b), first(&a)), slices.Compare(a.Key, b.Key))
	})
	if q.Top == 0 || len(groups) <= q.Top {
		return groups
	}
	other := store.Group{
		Time: groups[0].Time, Other: true, Key: make([]string, len(q.GroupBy)),
		Values: make([]float64, len(q.Aggregates)), Known: make([]bool, len(q.Aggregates)),
	}
	for _, g := range groups[q.Top:] {
		for i := range g.Values {
			other.Values[i] += g.Values[i]
			other.Known[i] = other.Known[i] || g.Known[i]
		}
	}
	return append(groups[:q.Top:q.Top], other)
}
