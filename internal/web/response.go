package web

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// response is the writer of one answer: it gives each write a deadline, counts,
// and compresses what is worth it. Nothing is sent before heldBytes were written
// or Flush was called, so that until then an error can still take its place.
type response struct {
	http.ResponseWriter
	s        *Server
	rc       *http.ResponseController
	encoding string // that the reader wants; "" is none
	coder    coder
	held     []byte
	status   int
	sent     bool
}

// heldBytes is how much is gathered before anything is sent: less than that is
// not worth compressing.
const heldBytes = 1 << 10

// coder is a compressing writer.
type coder interface {
	io.WriteCloser
	Flush() error
	Reset(io.Writer)
}

// coders are compressing writers that can be used again.
type coders struct{ gzip, zstd *sync.Pool }

func newCoders() coders {
	return coders{
		gzip: &sync.Pool{New: func() any {
			z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is one that there is
			return z
		}},
		zstd: &sync.Pool{New: func() any {
			z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(512<<10))
			if err != nil {
				return nil
			}
			return z
		}},
	}
}

func (c coders) get(encoding string) coder {
	pool := c.gzip
	if encoding == "zstd" {
		pool = c.zstd
	}
	z, _ := pool.Get().(coder)
	return z
}

func (c coders) put(encoding string, z coder) {
	z.Reset(nil)
	if encoding == "zstd" {
		c.zstd.Put(z)
	} else {
		c.gzip.Put(z)
	}
}

// wantedEncoding chooses among what a reader accepts (RFC 9110, section 12.5.3).
func wantedEncoding(accept string) string {
	best, bestQ := "", 0.0
	for part := range strings.SplitSeq(accept, ",") {
		name, params, _ := strings.Cut(part, ";")
		name = strings.ToLower(strings.TrimSpace(name))
		if name != "gzip" && name != "zstd" {
			continue
		}
		q := 1.0
		if v, ok := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q="); ok {
			var err error
			if q, err = strconv.ParseFloat(v, 64); err != nil {
				q = 0
			}
		}
		if q > bestQ || q == bestQ && q > 0 && name == "zstd" {
			best, bestQ = name, q
		}
	}
	return best
}

func (s *Server) newResponse(w http.ResponseWriter, r *http.Request) *response {
	return &response{
		ResponseWriter: w, s: s, rc: http.NewResponseController(w),
		encoding: wantedEncoding(r.Header.Get("Accept-Encoding")),
	}
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// Write implements io.Writer.
func (w *response) Write(b []byte) (int, error) {
	if !w.sent {
		w.held = append(w.held, b...)
		if len(w.held) < heldBytes {
			return len(b), nil
		}
		return len(b), w.send()
	}
	return len(b), w.out(b)
}

// send sends the header and what was held.
func (w *response) send() error {
	w.sent = true
	h := w.Header()
	if w.encoding != "" && compressible(h.Get("Content-Type")) && h.Get("Content-Encoding") == "" {
		if w.coder = w.s.coders.get(w.encoding); w.coder != nil {
			h.Set("Content-Encoding", w.encoding)
			h.Del("Content-Length")
			w.coder.Reset(raw{w})
		}
	}
	w.writeHeader()
	b := w.held
	w.held = nil
	return w.out(b)
}

func (w *response) writeHeader() {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.s.counts.classes[min(max(w.status/100, 0), 5)].Add(1)
	w.ResponseWriter.WriteHeader(w.status)
}

func (w *response) out(b []byte) error {
	if w.coder != nil {
		_, err := w.coder.Write(b)
		return err
	}
	_, err := raw{w}.Write(b)
	return err
}

// raw writes without compression.
type raw struct{ w *response }

func (r raw) Write(b []byte) (int, error) {
	// Not each writer has deadlines; those that do not are in memory.
	_ = r.w.rc.SetWriteDeadline(time.Now().Add(r.w.s.cfg.Limits.Write))
	n, err := r.w.ResponseWriter.Write(b)
	r.w.s.counts.written.Add(uint64(n))
	return n, err
}

// Flush sends all that was written.
func (w *response) Flush() error {
	if !w.sent {
		if err := w.send(); err != nil {
			return err
		}
	}
	if w.coder != nil {
		if err := w.coder.Flush(); err != nil {
			return err
		}
	}
	return w.rc.Flush()
}

// finish sends what is left. An answer that was held to its end goes without
// compression and with its length.
func (w *response) finish() {
	if !w.sent {
		w.sent = true
		if w.status != http.StatusNoContent && w.status != http.StatusNotModified {
			w.Header().Set("Content-Length", strconv.Itoa(len(w.held)))
		}
		w.writeHeader()
		if len(w.held) > 0 {
			_, _ = raw{w}.Write(w.held)
		}
		return
	}
	if w.coder != nil {
		_ = w.coder.Close()
		w.s.coders.put(w.encoding, w.coder)
		w.coder = nil
	}
}

// restart forgets what was held, so that an error can take its place; it reports
// false when something was sent already.
func (w *response) restart() bool {
	if w.sent {
		return false
	}
	w.held, w.status = nil, 0
	for _, name := range []string{"Content-Type", "Content-Length", "Content-Disposition", "Trailer"} {
		w.Header().Del(name)
	}
	return true
}

func compressible(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	switch {
	case strings.HasPrefix(kind, "text/"), strings.HasSuffix(kind, "json"), kind == "image/svg+xml":
		return true
	default:
		return false
	}
}

// writeJSON writes a small answer.
func writeJSON(w *response, status int, v any) error {
	return writeTyped(w, status, "application/json", v)
}

func writeTyped(w *response, status int, contentType string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, err = w.Write(append(b, '\n'))
	return err
}
