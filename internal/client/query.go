package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/api"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

var _ store.Querier = (*Client)(nil)

// rows asks for rows a line and calls fn for each, until the answer.
func (c *Client) rows(ctx context.Context, path string, v url.Values, fn func(row []byte) error) (*store.Answer, error) {
	v.Set("format", "ndjson")
	if !v.Has("limit") && !strings.HasSuffix(path, "/samples") {
		v.Set("limit", "0") // a line at a time, all of them
	}
	resp, err := c.get(ctx, path, v)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	var (
		answer   *store.Answer
		callback error
	)
	err = lines(resp.Body, func(line []byte) error {
		end, last, err := api.ReadEnd(line)
		switch {
		case err != nil:
			return err
		case !last:
			callback = fn(line)
			return callback
		case end.Error != nil:
			callback = c.problem(end.Error)
			return callback
		}
		answer, err = end.Answer.Store()
		return err
	})
	switch {
	case callback != nil:
		return nil, callback
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err == nil && answer == nil:
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("reading the answer of the daemon at %s: %w", c.base.Host, err)
	}
	return answer, nil
}

// Connections implements store.Querier.
func (c *Client) Connections(ctx context.Context, q *store.Query, fn func(*store.Record) error) (*store.Answer, error) {
	return c.records(ctx, q, "connections", fn)
}

// Records implements store.Querier.
func (c *Client) Records(ctx context.Context, q *store.Query, fn func(*store.Record) error) (*store.Answer, error) {
	return c.records(ctx, q, "records", fn)
}

func (c *Client) records(ctx context.Context, q *store.Query, rows string, fn func(*store.Record) error) (*store.Answer, error) {
	plain := *q
	plain.GroupBy, plain.Aggregates, plain.Every, plain.Top = nil, nil, 0, 0
	v := api.QueryValues(&plain)
	v.Set("rows", rows)
	v.Set("whole", "true") // with what the engine fills in anyway
	r := api.NewRowReader()
	return c.rows(ctx, "/api/v1/history", v, func(row []byte) error {
		rec, err := r.Record(row)
		if err != nil {
			return fmt.Errorf("reading a row of the daemon at %s: %w", c.base.Host, err)
		}
		return fn(rec)
	})
}

// Aggregate implements store.Querier.
func (c *Client) Aggregate(ctx context.Context, q *store.Query, fn func(*store.Group) error) (*store.Answer, error) {
	v := api.QueryValues(q)
	v.Set("rows", "groups")
	codec := api.NewGroupCodec(q)
	return c.rows(ctx, "/api/v1/history", v, func(row []byte) error {
		g, err := codec.Read(row)
		if err != nil {
			return fmt.Errorf("reading a row of the daemon at %s: %w", c.base.Host, err)
		}
		return fn(g)
	})
}

// Samples implements store.Querier.
func (c *Client) Samples(ctx context.Context, id tcp.ID, from, to time.Time, fn func(*store.Sample) error) (*store.Answer, error) {
	return columns(ctx, c, "/api/v1/connections/"+id.String()+"/samples", api.RangeValues(from, to), store.SampleColumns(), fn)
}

// Events implements store.Querier.
func (c *Client) Events(ctx context.Context, from, to time.Time, types []string, fn func(*store.Event) error) (*store.Answer, error) {
	v := api.RangeValues(from, to)
	if len(types) > 0 {
		v.Set("types", strings.Join(types, ","))
	}
	return columns(ctx, c, "/api/v1/history/events", v, store.EventColumns(), fn)
}

func columns[T any](ctx context.Context, c *Client, path string, v url.Values, cols []store.Column[T], fn func(*T) error) (*store.Answer, error) {
	return c.rows(ctx, path, v, func(row []byte) error {
		var out T
		if err := api.ReadColumns(cols, row, &out); err != nil {
			return fmt.Errorf("reading a row of the daemon at %s: %w", c.base.Host, err)
		}
		return fn(&out)
	})
}

// List is the connections of a moment.
type List struct {
	// Time is when the rows were true.
	Time  time.Time
	Conns []*tcp.Conn
	// Total is how many sockets there were, of which the filter chose Conns.
	Total int
	// Warning says in one sentence what is hidden; empty if nothing is.
	Warning string
	// Answer is that of history, for a moment in the past.
	Answer *store.Answer
}

// listMax is the most rows of a list that are asked for.
const listMax = 1_000_000

// List asks for the connections that a filter chooses, now or, if at is not zero,
// as they were then.
func (c *Client) List(ctx context.Context, filter string, at time.Time) (*List, error) {
	v := url.Values{"limit": {strconv.Itoa(listMax)}}
	if filter != "" {
		v.Set("filter", filter)
	}
	if !at.IsZero() {
		v.Set("at", at.UTC().Format(time.RFC3339Nano))
	}
	resp, err := c.get(ctx, "/api/v1/connections", v)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	list, err := readList(resp)
	if err != nil {
		return nil, fmt.Errorf("reading the answer of the daemon at %s: %w", c.base.Host, err)
	}
	return list, nil
}

// readList reads the head of the list as JSON and the rows one by one: the server
// sends each on a line of its own.
func readList(resp *http.Response) (*List, error) {
	var (
		head  api.List
		out   = &List{}
		rows  = api.NewRowReader()
		began bool
		ended bool
	)
	err := lines(resp.Body, func(line []byte) error {
		if len(line) == 0 {
			return nil
		}
		if !began {
			began = true
			text := string(line)
			if !strings.HasSuffix(text, "]}") {
				text += "]}"
			}
			return json.Unmarshal([]byte(text), &head)
		}
		if string(line) == "]}" {
			ended = true
			return nil
		}
		if line[len(line)-1] == ',' {
			line = line[:len(line)-1]
		}
		conn, err := rows.Conn(line, head.Boot)
		if err != nil {
			return err
		}
		out.Conns = append(out.Conns, conn)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !ended {
		return nil, io.ErrUnexpectedEOF
	}
	out.Time, out.Total, out.Warning = head.Time, head.Total, head.Warning
	if head.Answer != nil {
		if out.Answer, err = head.Answer.Store(); err != nil {
			return nil, err
		}
	}
	if len(out.Conns) < head.Matched && len(out.Conns) >= listMax {
		return nil, errors.New("there are more connections than one list can have: use a filter")
	}
	return out, nil
}
