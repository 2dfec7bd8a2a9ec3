package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestServeLog: what strangers chose cannot act on a terminal nor forge a line, and
// what repeats is told once.
func TestServeLog(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		var b strings.Builder
		c := logConfig{format: format}
		log := newLogger(&b, &c, levelOf(&serveConfig{log: c}))
		log.Info("saw", "process", "evil\n\x1b[2Jlevel=ERROR", "err", errors.New("\u202eabc\r"))
		log.Debug("not asked for")
		got := b.String()
		if strings.Count(got, "\n") != 1 || strings.ContainsAny(got, "\x1b\r\u202e") || !strings.Contains(got, "evil") {
			t.Errorf("%s: %q", format, got)
		}
		b.Reset()
		lines := &logLines{log: log}
		for i := range 3 {
			fmt.Fprintf(lines, "viewtcp: gap: recording stands still, %d packets are lost\n", i)
		}
		fmt.Fprint(lines, "viewtcp: recording goes on\n\n")
		if got := b.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "0 packets are lost") || !strings.Contains(got, "goes on") {
			t.Errorf("%s: %q", format, got)
		}
	}
}

// TestExposition: values and labels as the text format has them.
func TestExposition(t *testing.T) {
	var x exposition
	x.family("a", "gauge", "Help.")
	x.sample("a", 1.5, "l", "q\"b\\s\nn")
	x.sample("a", 12345678901)
	x.counter("b_total", "Count.", 7)
	want := "# HELP a Help.\n# TYPE a gauge\na{l=\"q\\\"b\\\\s\\\\nn\"} 1.5\na 12345678901\n# HELP b_total Count.\n# TYPE b_total counter\nb_total 7\n"
	if got := x.b.String(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
