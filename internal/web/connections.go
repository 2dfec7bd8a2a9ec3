package web

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/viewtcp/viewtcp/internal/api"
	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// wanted reads which connections a request is about, all without a filter, and
// which fields of them.
func (s *Server) wanted(r *request) (*filter.Filter, []*tcp.Field, error) {
	f, err := filter.ParseWith(r.query.Get("filter"), s.cfg.FilterOptions())
	if err != nil {
		return nil, nil, err
	}
	fields, err := api.ParseFields(r.query, "columns")
	return f, fields, err
}

// connections lists connections now, or as they were.
func (s *Server) connections(w *response, r *request) error {
	f, fields, err := s.wanted(r)
	if err != nil {
		return err
	}
	limit, err := api.ParseCount(r.query, "limit", s.cfg.Limits.Rows, int64(s.cfg.Limits.MaxRows))
	if err != nil {
		return err
	}
	if limit == 0 {
		limit = s.cfg.Limits.MaxRows
	}
	reverse, err := api.ParseBool(r.query, "reverse")
	if err != nil {
		return err
	}
	sorts, err := api.ParseFields(r.query, "sort")
	if err != nil {
		return err
	}
	if len(sorts) > 1 {
		return api.BadParameter("sort", "one field orders a list")
	}
	var (
		list  api.List
		conns []*tcp.Conn
	)
	if r.query.Get("at") != "" {
		at, err := api.ParseMoment(r.query, "at", r.now, r.now)
		if err != nil {
			return err
		}
		if conns, list.Answer, err = s.pastConnections(r.Context(), at, f, limit); err != nil {
			return err
		}
		list.Time, list.Total = at.UTC(), len(conns)
	} else {
		if s.cfg.View == nil {
			return absent("this daemon follows no connections")
		}
		snap := s.cfg.View.Snapshot()
		list.Time, list.Boot, list.Total = snap.Time.Time(), snap.Time.Boot, len(snap.Conns)
		match := f.Predicate()
		for _, c := range snap.Conns {
			if match(c) {
				conns = append(conns, c)
			}
		}
		if s.cfg.Health != nil {
			h := s.cfg.Health()
			list.Warning = h.Warning
		}
	}
	list.Matched = len(conns)
	if len(sorts) == 1 {
		slices.SortStableFunc(conns, sorts[0].Order(reverse))
	} else if reverse {
		slices.Reverse(conns)
	}
	conns = conns[:min(limit, len(conns))]
	return writeList(w, &list, conns, fields)
}

func writeList(w *response, list *api.List, conns []*tcp.Conn, fields []*tcp.Field) error {
	w.Header().Set("Content-Type", "application/json")
	b, err := list.AppendHead(nil)
	if err != nil {
		return err
	}
	rows := api.NewRowWriter(fields)
	for i, c := range conns {
		if i > 0 {
			b = append(b, ',')
		}
		b = rows.AppendLive(append(b, '\n'), c)
		if len(b) >= writeAt {
			if _, err := w.Write(b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	_, err = w.Write(append(b, "\n]}\n"...))
	return err
}

// writeAt is how much is gathered before it is written, bytes.
const writeAt = 64 << 10

// pastConnections asks the store which connections were open at a moment.
func (s *Server) pastConnections(ctx context.Context, at time.Time, f *filter.Filter, limit int) ([]*tcp.Conn, *api.Answer, error) {
	if s.cfg.Store == nil {
		return nil, nil, errNoStore
	}
	ctx, release, err := s.query(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer release()
	var conns []*tcp.Conn
	q := &store.Query{From: at, To: at.Add(1), Filter: matching(f), Limit: limit, Memory: s.cfg.Limits.QueryMemory}
	answer, err := s.cfg.Store.Connections(ctx, q, func(rec *store.Record) error {
		conns = append(conns, ownConn(rec))
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return conns, api.AnswerOf(answer), nil
}

// matching is nil for a filter that every connection meets, which costs less.
func matching(f *filter.Filter) *filter.Filter {
	if f == nil || f.MatchesAll() {
		return nil
	}
	return f
}

// ownConn copies the connection of a record that its engine uses again.
func ownConn(rec *store.Record) *tcp.Conn {
	c := rec.Conn.Clone()
	if rec.Host != "" {
		if c.Names == nil {
			c.Names = new(tcp.Names)
		}
		c.Names.Host = rec.Host
	}
	return c
}

var errNoStore = absent("this daemon keeps no history: start viewtcp serve with a data directory that it can write")

// pathID reads the id of a connection out of the path.
func pathID(r *request) (tcp.ID, error) {
	text := r.PathValue("id")
	id, ok := tcp.ParseID(text)
	if !ok {
		return 0, api.NewProblem(http.StatusNotFound, api.ProblemNotFound, quote(text)+" is no id of a connection: c and 13 characters")
	}
	return id, nil
}

// longAgo is how far back one connection is looked for unless since says
// otherwise.
const longAgo = 90 * 24 * time.Hour

// connection shows one connection, alive or past.
func (s *Server) connection(w *response, r *request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	fields, err := api.ParseFields(r.query, "columns")
	if err != nil {
		return err
	}
	from, to, err := api.ParseRange(r.query, r.now, longAgo)
	if err != nil {
		return err
	}
	if s.cfg.View != nil {
		for _, c := range s.cfg.View.Snapshot().Conns {
			if c.ID == id {
				return writeConn(w, api.NewRowWriter(fields).AppendLive(nil, c))
			}
		}
	}
	if s.cfg.Store == nil {
		return api.NewProblem(http.StatusNotFound, api.ProblemNotFound, "there is no connection "+id.String()+" now, and this daemon keeps no history")
	}
	f, err := filter.Parse("id == " + id.String())
	if err != nil {
		return err
	}
	ctx, release, err := s.query(r.Context())
	if err != nil {
		return err
	}
	defer release()
	var row []byte
	rows := api.NewRecordWriter(fields)
	_, err = s.cfg.Store.Connections(ctx, &store.Query{From: from, To: to, Filter: f, Limit: 1, Memory: s.cfg.Limits.QueryMemory}, func(rec *store.Record) error {
		row = rows.AppendRecord(row[:0], rec)
		return nil
	})
	if err != nil {
		return err
	}
	if row == nil {
		return api.NewProblem(http.StatusNotFound, api.ProblemNotFound, "there is no connection "+id.String()+", now or in history")
	}
	return writeConn(w, row)
}

func writeConn(w *response, row []byte) error {
	w.Header().Set("Content-Type", "application/json")
	_, err := w.Write(append(row, '\n'))
	return err
}

// samples shows the points of a connection's graphs.
func (s *Server) samples(w *response, r *request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	from, to, err := api.ParseRange(r.query, r.now, longAgo)
	if err != nil {
		return err
	}
	return s.rows(w, r, func(ctx context.Context, out *rowStream) (*store.Answer, error) {
		return s.cfg.Store.Samples(ctx, id, from, to, func(sample *store.Sample) error {
			return out.row(api.AppendColumns(out.next(), store.SampleColumns(), sample))
		})
	})
}
