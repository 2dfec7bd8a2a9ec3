package web

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/api"
	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// question reads what a request asks of the store, within the limits.
func (s *Server) question(r *request) (*store.Query, error) {
	q, err := api.ParseQuery(r.query, r.now, s.cfg.FilterOptions())
	if err != nil {
		return nil, err
	}
	q.Filter = matching(q.Filter)
	if q.Memory <= 0 || q.Memory > s.cfg.Limits.QueryMemory {
		q.Memory = s.cfg.Limits.QueryMemory
	}
	return q, nil
}

// history answers with stored connections, rows or groups.
func (s *Server) history(w *response, r *request) error {
	q, err := s.question(r)
	if err != nil {
		return err
	}
	whole, err := api.ParseBool(r.query, "whole")
	if err != nil {
		return err
	}
	records := false
	groups := len(q.GroupBy) > 0 || len(q.Aggregates) > 0 || q.Every > 0
	switch text := r.query.Get("rows"); text {
	case "":
		if groups && len(q.Aggregates) == 0 {
			q.Aggregates = []store.Aggregate{{Func: store.Count}}
		}
	case "groups":
		groups = true
	case "connections", "records":
		if groups {
			return api.BadParameter("rows", text+" are not grouped: leave rows out")
		}
		records = text == "records"
	default:
		return api.BadParameter("rows", quote(text)+" is none of connections, records and groups")
	}
	if groups {
		return s.groups(w, r, q)
	}
	fields := q.Fields
	if whole {
		fields = nil
	}
	rows := api.NewRecordWriter(fields)
	return s.rows(w, r, func(ctx context.Context, out *rowStream) (*store.Answer, error) {
		s.limit(q, out, r)
		each := func(rec *store.Record) error {
			if out.full() {
				return errEnough
			}
			return out.row(rows.AppendRecord(out.next(), rec))
		}
		if records {
			return s.cfg.Store.Records(ctx, q, each)
		}
		return s.cfg.Store.Connections(ctx, q, each)
	})
}

// limit bounds the rows of an answer to those asked for.
func (s *Server) limit(q *store.Query, out *rowStream, r *request) {
	if r.query.Has("limit") {
		out.bound(q.Limit)
	} else {
		out.bound(s.cfg.Limits.Rows)
	}
	if out.limit > 0 && out.limit != q.Limit {
		// One more shows that there are more.
		q.Limit = out.limit + 1
	}
}

// pastEvents answers with stored events.
func (s *Server) pastEvents(w *response, r *request) error {
	var types []string
	for t := range strings.SplitSeq(r.query.Get("types"), ",") {
		if t = strings.TrimSpace(t); t != "" {
			types = append(types, t)
		}
	}
	return s.eventRows(w, r, types, time.Hour)
}

// marks answers with the notes on the timeline.
func (s *Server) marks(w *response, r *request) error {
	return s.eventRows(w, r, []string{store.EventMark}, longAgo)
}

func (s *Server) eventRows(w *response, r *request, types []string, usual time.Duration) error {
	from, to, err := api.ParseRange(r.query, r.now, usual)
	if err != nil {
		return err
	}
	limit, err := api.ParseCount(r.query, "limit", s.cfg.Limits.Rows, 1<<40)
	if err != nil {
		return err
	}
	return s.rows(w, r, func(ctx context.Context, out *rowStream) (*store.Answer, error) {
		out.bound(limit)
		return s.cfg.Store.Events(ctx, from, to, types, func(e *store.Event) error {
			if out.full() {
				return errEnough
			}
			return out.row(api.AppendColumns(out.next(), store.EventColumns(), e))
		})
	})
}

// peaks answers with the most connections that were open at one moment.
func (s *Server) peaks(w *response, r *request) error {
	q, err := s.question(r)
	if err != nil {
		return err
	}
	q.Aggregates = []store.Aggregate{{Func: store.MaxOpen}}
	return s.groups(w, r, q)
}

// groups answers with the groups of a question.
func (s *Server) groups(w *response, r *request, q *store.Query) error {
	return s.rows(w, r, func(ctx context.Context, out *rowStream) (*store.Answer, error) {
		s.limit(q, out, r)
		codec := api.NewGroupCodec(q)
		return s.cfg.Store.Aggregate(ctx, q, func(g *store.Group) error {
			if out.full() {
				return errEnough
			}
			return out.row(codec.Append(out.next(), g))
		})
	})
}

// counterFields are the fields that only grow, whose sums mean something.
var counterFields = func() []string {
	var names []string
	for i := range store.NumCounters {
		names = append(names, store.CounterField(i))
	}
	return names
}()

// measure reads what a top list or a heat map is by: an aggregate, or a field,
// which is summed where it counts and else the largest.
func measure(name, text string) (store.Aggregate, error) {
	if text == "" {
		return store.Aggregate{Func: store.Count}, nil
	}
	if f := tcp.FieldByName(text); f != nil && f.Num != nil && text != "opened" && text != "closed" {
		if slices.Contains(counterFields, f.Name) {
			return store.Aggregate{Func: store.Sum, Field: f}, nil
		}
		return store.Aggregate{Func: store.Max, Field: f}, nil
	}
	as, err := api.ParseAggregates(text)
	if err != nil {
		p := problemOf(err)
		p.Parameter = name
		p.Suggestion = filter.Nearest(cutName(text), tcp.FieldNames())
		return store.Aggregate{}, p
	}
	if len(as) != 1 {
		return store.Aggregate{}, api.BadParameter(name, "one number is wanted")
	}
	return as[0], nil
}

// usualTop is how many groups a top list has, usualRows how many a heat map.
const (
	usualTop  = 10
	usualRows = 20
	maxTop    = 10_000
)

// top answers with the groups that are largest by something: of the range, or
// without one of this moment.
func (s *Server) top(w *response, r *request) error {
	past := r.query.Has("since") || r.query.Has("until")
	q, err := s.question(r)
	if err != nil {
		return err
	}
	by, err := measure("by", r.query.Get("by"))
	if err != nil {
		return err
	}
	if q.Top, err = api.ParseCount(r.query, "n", usualTop, maxTop); err != nil {
		return err
	}
	if len(q.GroupBy) == 0 {
		q.GroupBy = []*tcp.Field{tcp.FieldByName("process")}
	}
	q.Aggregates = []store.Aggregate{by}
	if by.Func != store.Count {
		q.Aggregates = append(q.Aggregates, store.Aggregate{Func: store.Count})
	}
	if past {
		return s.groups(w, r, q)
	}
	return s.topNow(w, r, q)
}

// heatmap is a field by time.
type heatmap struct {
	Field string `json:"field"`
	Value string `json:"value"`
	// EverySeconds is the width of a column.
	EverySeconds float64     `json:"every_s"`
	Times        []time.Time `json:"times"`
	Rows         []heatRow   `json:"rows"`
	Max          float64     `json:"max"`
	Answer       *api.Answer `json:"answer"`
}

// heatRow is the row of one value; Other is that of all values left out.
type heatRow struct {
	Key    string     `json:"key"`
	Other  bool       `json:"other,omitempty"`
	Values []*float64 `json:"values"`
}

// usualColumns is how many columns a heat map has, maxCells how many cells at most.
const (
	usualColumns = 60
	maxCells     = 200_000
)

// heatmap answers with the values of a field by time, largest first.
func (s *Server) heatmap(w *response, r *request) error {
	q, err := s.question(r)
	if err != nil {
		return err
	}
	name := r.query.Get("field")
	if name == "" {
		name = "remote_port"
	}
	f := tcp.FieldByName(name)
	if f == nil {
		p := api.BadParameter("field", "there is no field "+quote(name))
		p.Suggestion = filter.Nearest(cutName(name), tcp.FieldNames())
		return p
	}
	value, err := measure("value", r.query.Get("value"))
	if err != nil {
		return err
	}
	if q.Top, err = api.ParseCount(r.query, "n", usualRows, maxTop); err != nil {
		return err
	}
	if q.Every == 0 {
		q.Every = max(q.To.Sub(q.From)/usualColumns, time.Second).Truncate(time.Second)
	}
	first := q.From.Truncate(q.Every)
	columns := int(q.To.Sub(first)/q.Every) + 1
	if !first.Add(time.Duration(columns-1) * q.Every).Before(q.To) {
		columns--
	}
	if columns*(q.Top+1) > maxCells {
		return api.BadParameter("every", "the map would have more than 200,000 cells: take longer pieces or fewer rows")
	}
	if s.cfg.Store == nil {
		return errNoStore
	}
	q.GroupBy, q.Aggregates = []*tcp.Field{f}, []store.Aggregate{value}
	h := &heatmap{Field: f.Name, Value: api.AggregateKey(value), EverySeconds: q.Every.Seconds(), Rows: []heatRow{}}
	for i := range columns {
		h.Times = append(h.Times, first.Add(time.Duration(i)*q.Every).UTC())
	}
	if r.Method == http.MethodHead {
		return writeJSON(w, http.StatusOK, h)
	}
	ctx, release, err := s.query(r.Context())
	if err != nil {
		return err
	}
	defer release()
	rows := make(map[string]int)
	answer, err := s.cfg.Store.Aggregate(ctx, q, func(g *store.Group) error {
		column := int((g.Time - first.UnixNano()) / int64(q.Every))
		if column < 0 || column >= columns || !g.Known[0] || math.IsNaN(g.Values[0]) || math.IsInf(g.Values[0], 0) {
			return nil
		}
		key := ""
		if len(g.Key) > 0 {
			key = g.Key[0]
		}
		name := key
		if g.Other {
			name = "\x00other" // no value has a zero byte: it ends the kernel's texts
		}
		i, ok := rows[name]
		if !ok {
			i = len(h.Rows)
			rows[name] = i
			h.Rows = append(h.Rows, heatRow{Key: key, Other: g.Other, Values: make([]*float64, columns)})
		}
		v := g.Values[0]
		h.Rows[i].Values[column] = &v
		h.Max = max(h.Max, v)
		return nil
	})
	if err != nil {
		return err
	}
	h.order()
	h.Answer = api.AnswerOf(answer)
	return writeJSON(w, http.StatusOK, h)
}

// order sorts the rows by their sums, largest first, and Other last.
func (h *heatmap) order() {
	sum := func(r *heatRow) (n float64) {
		for _, v := range r.Values {
			if v != nil {
				n += *v
			}
		}
		return n
	}
	slices.SortStableFunc(h.Rows, func(a, b heatRow) int {
		if a.Other != b.Other {
			if a.Other {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(sum(&b), sum(&a)), strings.Compare(a.Key, b.Key))
	})
}
