package main

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
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

// logLines takes the warnings of parts that print them, a line each.
type logLines struct{ log *slog.Logger }

func (l *logLines) Write(b []byte) (int, error) {
	for line := range bytes.Lines(b) {
		if s := strings.TrimPrefix(strings.TrimSpace(string(line)), "viewtcp: "); s != "" {
			l.log.Warn("told", "text", s)
		}
	}
	return len(b), nil
}
