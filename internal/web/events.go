package web

import (
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/api"
	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// eventsAtOnce is how many events are written before the reader is waited for.
const eventsAtOnce = 512

// eventTypes reads the types of events that are wanted; gaps always are.
func eventTypes(text string) (types [16]bool, err error) {
	if text == "" {
		text = "all"
	}
	types[tcp.EventGap] = true
	for name := range strings.SplitSeq(text, ",") {
		name = strings.TrimSpace(name)
		if name == "all" {
			for i := range types {
				types[i] = true
			}
			continue
		}
		t, ok := tcp.ParseEventType(name)
		if !ok {
			p := api.BadParameter("events", "there is no event "+quote(name)+": they are "+strings.Join(tcp.EventTypeNames(), ", ")+" and all")
			p.Suggestion = filter.Nearest(cutName(name), tcp.EventTypeNames())
			return types, p
		}
		types[t] = true
	}
	return types, nil
}

// events streams what happens to connections.
func (s *Server) events(w *response, r *request) error {
	if s.hub == nil {
		return absent("this daemon follows no connections")
	}
	f, fields, err := s.wanted(r)
	if err != nil {
		return err
	}
	types, err := eventTypes(r.query.Get("events"))
	if err != nil {
		return err
	}
	last := lastEventID(r)
	at, known := s.hub.place(last)
	if !known {
		at = s.hub.now()
	}
	return s.stream(w, r, s.hub.id(at), func(out *sse) error {
		reader := &eventReader{s: s, out: out, rows: api.NewRowWriter(fields), match: f.Predicate(), types: types, at: at}
		if last != "" && !known {
			// What happened since that id, nobody here knows.
			reader.gap(&tcp.Gap{Loss: tcp.Loss{Unknown: true}, Where: "replay"})
		}
		return reader.run(r)
	})
}

// lastEventID is where a reader was: the header of browsers that come back, or the
// parameter of those that cannot set it.
func lastEventID(r *request) string {
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		return id
	}
	return r.query.Get("last_event_id")
}

// eventReader is one reader of the stream.
type eventReader struct {
	s     *Server
	out   *sse
	rows  *api.RowWriter
	match func(*tcp.Conn) bool
	types [16]bool
	// at is the place of the event that comes next.
	at   uint64
	data []byte
}

// run writes events until the reader or the server has had enough.
func (e *eventReader) run(r *request) error {
	var (
		events []tcp.Event
		hub    = e.s.hub
		beat   = time.NewTimer(e.s.cfg.Limits.Heartbeat)
	)
	defer beat.Stop()
	for {
		from := e.at
		var (
			missed uint64
			news   <-chan struct{}
		)
		clear(events)
		events, missed, e.at, news = hub.read(events[:0], from, eventsAtOnce)
		if missed > 0 {
			e.gap(&tcp.Gap{Loss: tcp.Loss{Unknown: true}, Where: "reader", Skipped: missed})
		}
		place := e.at - uint64(len(events))
		for i := range events {
			place++
			e.event(&events[i], place)
		}
		if err := e.out.send(); err != nil {
			return err
		}
		// Events that this reader does not want are no sign of life.
		silent := time.Since(e.out.last)
		if silent >= e.s.cfg.Limits.Heartbeat {
			if err := e.out.beat(hub.id(e.at)); err != nil {
				return err
			}
			silent = 0
		}
		if len(events) > 0 {
			continue
		}
		if news == nil {
			return errClosing // the tracker has ended
		}
		beat.Reset(e.s.cfg.Limits.Heartbeat - silent)
		select {
		case <-news:
		case <-beat.C:
		case <-r.Context().Done():
			return r.Context().Err()
		case <-e.s.done.Done():
			return nil
		}
	}
}

// event adds an event if it is wanted; next is the place after it.
func (e *eventReader) event(ev *tcp.Event, next uint64) {
	if !e.types[ev.Type] || ev.Conn != nil && !e.match(ev.Conn) {
		return
	}
	e.data = e.rows.AppendEvent(e.data[:0], ev)
	e.out.add(e.s.hub.id(next), ev.Type.String(), e.data)
}

// gap adds a gap of the stream itself.
func (e *eventReader) gap(g *tcp.Gap) {
	e.s.counts.gaps.Add(1)
	now := time.Now()
	e.data = e.rows.AppendEvent(e.data[:0], &tcp.Event{Type: tcp.EventGap, Time: tcp.Stamp{Wall: now.UnixNano()}, Gap: g})
	e.out.add("", tcp.EventGap.String(), e.data)
}
