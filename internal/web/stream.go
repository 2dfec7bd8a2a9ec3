package web

import (
	"errors"
	"net/http"
	"os"
	"time"
)

// stream answers with a stream, in a place for streams: run writes it, and returns
// why it ended. at is the id of the place where the reader begins; empty for none.
func (s *Server) stream(w *response, r *request, at string, run func(out *sse) error) error {
	if s.done.Err() != nil {
		return errClosing
	}
	defer s.streams.Add(-1)
	if n := s.streams.Add(1); n > int64(s.cfg.Limits.Streams) {
		return s.busy("all %d places for streams are taken", s.cfg.Limits.Streams)
	}
	out := startSSE(w)
	if r.Method == http.MethodHead {
		return nil
	}
	err := out.hello(at)
	if err == nil {
		err = run(out)
	}
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) { // of a write
			s.counts.dropped.Add(1)
		}
		s.log.Debug("reader of a stream left", "path", r.URL.Path, "remote", r.RemoteAddr, "error", err.Error())
	}
	return nil
}

// sse writes server-sent events (the HTML standard, section 9.2).
type sse struct {
	w   *response
	buf []byte
	// last is when something was written.
	last time.Time
}

// startSSE sends the header of a stream.
func startSSE(w *response) *sse {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("X-Accel-Buffering", "no") // proxies that would gather it
	w.WriteHeader(http.StatusOK)
	return &sse{w: w}
}

// retryMillis is how long a browser waits before it comes back.
const retryMillis = "2000"

// hello says how to come back, and from where.
func (e *sse) hello(id string) error {
	e.buf = append(append(e.buf[:0], "retry: "...), retryMillis...)
	e.buf = append(e.buf, '\n')
	e.place(id)
	e.buf = append(e.buf, '\n')
	return e.send()
}

// place tells the reader where it is, without an event.
func (e *sse) place(id string) {
	if id != "" {
		e.buf = append(append(e.buf, "id: "...), id...)
		e.buf = append(e.buf, '\n')
	}
}

// add appends an event; data is one line.
func (e *sse) add(id, name string, data []byte) {
	e.place(id)
	e.buf = append(append(e.buf, "event: "...), name...)
	e.buf = append(append(e.buf, "\ndata: "...), data...)
	e.buf = append(e.buf, "\n\n"...)
}

// beat says that the stream is alive.
func (e *sse) beat(id string) error {
	e.buf = append(e.buf, ": alive\n"...)
	e.place(id)
	e.buf = append(e.buf, '\n')
	return e.send()
}

// send sends what was added.
func (e *sse) send() error {
	if len(e.buf) == 0 {
		return nil
	}
	e.last = time.Now()
	_, err := e.w.Write(e.buf)
	e.buf = e.buf[:0]
	if err != nil {
		return err
	}
	return e.w.Flush()
}
