package main

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/viewtcp/viewtcp/internal/output"
)

// newLogger writes messages as configured. What strangers chose, such as names in
// errors, cannot act on a terminal and cannot forge a line.
func newLogger(w io.Writer, c *logConfig, level slog.Leveler) *slog.Logger {
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		switch v := a.Value.Any().(type) {
		case string:
			a.Value = slog.StringValue(output.Clean(v))
		case error:
			a.Value = slog.StringValue(output.Clean(v.Error()))
		case time.Duration:
			a.Value = slog.StringValue(v.String())
		}
		return a
	}}
	if c.format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// logLines takes the warnings of parts that print them, a line each. One that
// begins as the last did, up to a number, is not told again for a while.
type logLines struct {
	log *slog.Logger

	mu   sync.Mutex
	last string    // guarded by mu; a line without what changes
	at   time.Time // guarded by mu; when it was told
}

// sameLine is how long a line is not told again.
const sameLine = time.Minute

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(b) {
		s := strings.TrimPrefix(strings.TrimSpace(string(line)), "viewtcp: ")
		if s == "" {
			continue
		}
		stem := s
		if i := strings.IndexAny(s, ",0123456789"); i > 0 {
			stem = s[:i]
		}
		now := time.Now()
		if stem == l.last && now.Sub(l.at) < sameLine {
			l.log.Debug("capture", "text", s)
			continue
		}
		l.last, l.at = stem, now
		l.log.Warn("capture", "text", s)
	}
	return len(b), nil
}
