package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/output"
)

// progress draws how far a long reading is, on a terminal, once a second has
// passed. The zero value and nil draw nothing.
type progress struct {
	out   io.Writer
	width int
	start time.Time
	next  time.Time
	drawn bool
}

const (
	progressAfter = time.Second
	progressEvery = 200 * time.Millisecond
)

// newProgress returns nil where nobody would see it.
func newProgress(e env) *progress {
	if !isTerminal(e.stderr) {
		return nil
	}
	now := time.Now()
	return &progress{out: e.stderr, width: max(width(e.stderr), 40), start: now, next: now.Add(progressAfter)}
}

// update draws the state: done of total bytes (total below 0 is unknown), and
// how many packets that were. It is cheap to call too often.
func (p *progress) update(done, total int64, packets uint64) {
	if p == nil {
		return
	}
	now := time.Now()
	if now.Before(p.next) {
		return
	}
	p.next = now.Add(progressEvery)
	p.drawn = true
	line := progressLine(done, total, packets, now.Sub(p.start), p.width)
	fmt.Fprintf(p.out, "\r%s\x1b[K", line)
}

// clear removes what was drawn.
func (p *progress) clear() {
	if p != nil && p.drawn {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.drawn = false
	}
}

// progressLine is the text: a bar with share, speed and the time that is left,
// where the total is known.
func progressLine(done, total int64, packets uint64, took time.Duration, width int) string {
	seconds := max(took.Seconds(), 0.001)
	rate := float64(done) / seconds
	text := string(output.AppendBytes(nil, uint64(max(done, 0)))) + ", " + countShort(packets) + " packets, " +
		string(output.AppendBytes(nil, uint64(rate))) + "/s"
	if total <= 0 || done > total {
		return cut(text, width-1)
	}
	share := float64(done) / float64(total)
	if rate > 0 {
		left := time.Duration(float64(total-done) / rate * float64(time.Second))
		text += ", " + left.Round(time.Second).String() + " left"
	}
	text = fmt.Sprintf("%3.0f%%  %s", 100*share, text)
	if room := width - len(text) - 5; room >= 10 {
		bar := min(room, 40)
		full := int(share * float64(bar))
		text = "[" + strings.Repeat("#", full) + strings.Repeat(".", bar-full) + "] " + text
	}
	return cut(text, width-1)
}

// countShort is a number of three digits and a unit of thousands.
func countShort(n uint64) string {
	switch {
	case n < 10_000:
		return fmt.Sprint(n)
	case n < 10_000_000:
		return fmt.Sprintf("%.0fk", float64(n)/1e3)
	default:
		return fmt.Sprintf("%.1fM", float64(n)/1e6)
	}
}

func cut(s string, width int) string {
	if len(s) > width {
		return s[:max(width, 0)]
	}
	return s
}
