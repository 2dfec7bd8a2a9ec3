package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/api"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

const (
	// silence is how long a stream may be silent before it is taken for dead; the
	// server says that it is alive four times as often.
	silence = time.Minute
	// A stream that broke is opened again after firstWait, and then after up to
	// lastWait.
	firstWait = 200 * time.Millisecond
	lastWait  = 5 * time.Second
	// readyWait is how long a daemon may take to show that it is ready again.
	readyWait = 10 * time.Second
)

// errBroken wraps the error of a stream that had begun.
var errBroken = errors.New("the stream broke")

// stream reads server-sent events until ctx ends; begun is called once the server
// has begun. id is the last id that was read, and where to go on from.
func (c *Client) stream(ctx context.Context, path string, v url.Values, id *string, begun func(), fn func(name string, data []byte) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r, err := c.request(ctx, http.MethodGet, path, v, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "text/event-stream")
	if *id != "" {
		r.Header.Set("Last-Event-ID", *id)
	}
	alive := time.AfterFunc(silence, func() { cancel(fmt.Errorf("the daemon at %s said nothing for %v", c.base.Host, silence)) })
	defer alive.Stop()
	resp, err := c.do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if kind := resp.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") {
		return fmt.Errorf("%s is no ViewTCP daemon: it answers %q to %s", c.base.Host, kind, path)
	}
	first := true
	e := event{id: id}
	err = lines(resp.Body, func(line []byte) error {
		alive.Reset(silence)
		name, data, whole := e.line(line)
		if first && len(line) == 0 {
			first = false
			begun()
		}
		if !whole {
			return nil
		}
		return fn(name, data)
	})
	if cause := context.Cause(ctx); cause != nil && err != nil {
		err = cause
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("following the daemon at %s: %w: %w", c.base.Host, errBroken, err)
}

// event gathers the lines of one event (the HTML standard, section 9.2.6).
type event struct {
	id   *string
	name string
	data []byte
	has  bool
}

// line takes a line; whole says that an event ended, whose data are valid until
// the next line.
func (e *event) line(line []byte) (name string, data []byte, whole bool) {
	if len(line) == 0 {
		name, whole = e.name, e.has
		data = e.data
		e.name, e.data, e.has = "", e.data[:0], false
		return name, data, whole
	}
	field, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(field) {
	case "event":
		e.name = string(value)
	case "id":
		*e.id = string(value)
	case "data":
		if e.has {
			e.data = append(e.data, '\n')
		}
		e.data, e.has = append(e.data, value...), true
	}
	return "", nil, false
}

// forever reports whether an error will not go away by asking again.
func forever(err error) bool {
	var p *api.Problem
	return errors.Is(err, tcp.ErrPermission) || errors.Is(err, tcp.ErrNotSupported) ||
		errors.As(err, &p) && p.Status/100 == 4 && p.Status != http.StatusTooManyRequests && !errors.Is(err, store.ErrUnavailable)
}
