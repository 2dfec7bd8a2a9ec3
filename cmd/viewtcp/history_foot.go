package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/store"
)

// mostGaps is how many gaps a foot lists.
const mostGaps = 8

// foot says on stderr where an answer came from and what is missing of it. n is
// how many of what were found.
func (x *question) foot(a *store.Answer, n int, what string) error {
	x.ask.progress.stop()
	for _, line := range x.footLines(a, n, what) {
		x.e.warn(line)
	}
	if x.h.failEmpty && n == 0 {
		return exitError{exitEmpty}
	}
	return nil
}

func (x *question) footLines(a *store.Answer, n int, what string) []string {
	first := fmt.Sprintf("%s of %s; %s", counted(n, what), spanText(x.q.From, x.q.To), x.readText(a, what))
	switch {
	case !a.Complete():
	case a.Retained > x.q.From.UnixNano():
		first += "; from the oldest row on nothing was missed"
	default:
		first += "; nothing of the range was missed"
	}
	lines := []string{first}
	switch {
	case a.Retained == 0 && n == 0 && a.Rows == 0 && what != "events":
		lines = append(lines, "nothing is stored yet in "+x.ask.where)
	case a.Retained > x.q.From.UnixNano():
		lines = append(lines, "the oldest row is of "+momentText(time.Unix(0, a.Retained).In(x.q.From.Location()))+": what was before is not known")
	}
	if a.UpperBound {
		lines = append(lines, "max_open is an upper bound: it is a sum of peaks that need not have been at the same moment; --resolution raw counts exactly")
	}
	if a.Resolution != store.Raw && hasPeaks(&x.q) && x.q.Every == 0 {
		lines = append(lines, "when the peaks were is not measured: --resolution raw finds it, --every 1h the hour")
	}
	if a.Bucketed {
		lines = append(lines, "percentiles are bounds of buckets, which are at most 25 % wide; --resolution raw is exact")
	}
	for i, g := range a.Gaps {
		if i == mostGaps {
			lines = append(lines, fmt.Sprintf("%d more gaps: --events=gap,observer lists them all", len(a.Gaps)-i))
			break
		}
		lines = append(lines, x.gapText(g))
	}
	return lines
}

// counted is a number with what it counts.
func counted(n int, what string) string {
	if n == 1 {
		what = strings.TrimSuffix(what, "s")
	}
	return fmt.Sprintf("%d %s", n, what)
}

// readText says what an answer was made of.
func (x *question) readText(a *store.Answer, what string) string {
	from := "rows of connections"
	peaks := len(x.q.Aggregates) > 0
	for _, g := range x.q.Aggregates {
		peaks = peaks && g.Func == store.MaxOpen
	}
	interval := map[store.Resolution]string{store.ByMinute: "minute", store.ByHour: "hour"}[a.Resolution]
	switch {
	case what == "events":
		from = "rows"
	case interval != "" && peaks:
		from = "peaks measured each " + interval
	case interval != "":
		from = "roll-ups of 1 " + interval
	}
	return fmt.Sprintf("%d %s read", a.Rows, from)
}

func (x *question) gapText(g store.Gap) string {
	zone := x.q.From.Location()
	from, to := time.Unix(0, g.From).In(zone), time.Unix(0, g.To).In(zone)
	if g.From == g.To {
		return fmt.Sprintf("gap at %s: %s", momentText(from), g.Reason)
	}
	return fmt.Sprintf("gap of %s: %s", spanText(from, to), g.Reason)
}

// spanText is a range of times for people: the day of its end only where it is
// another one.
func spanText(from, to time.Time) string {
	end := momentText(to)
	if y, m, d := from.Date(); to.Year() == y && to.Month() == m && to.Day() == d {
		end = clockText(to)
	}
	return fmt.Sprintf("%s to %s (%s)", momentText(from), end, lengthText(to.Sub(from)))
}

// momentText is a time for people, with as much of the second as there is.
func momentText(t time.Time) string { return t.Format(time.DateOnly) + " " + clockText(t) }

func clockText(t time.Time) string {
	if t.Nanosecond() != 0 {
		return t.Format("15:04:05.000")
	}
	return t.Format(time.TimeOnly)
}

// lengthText is a length of time for people.
func lengthText(d time.Duration) string {
	return string(output.AppendMicros(nil, uint64(max(d, 0)/time.Microsecond)))
}

// interrupted removes what is drawn of progress, and tells of Ctrl-C by the exit
// code alone.
func (h *historian) interrupted(ctx context.Context, err error) error {
	h.progress.stop()
	if err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return exitError{exitInterrupted}
	}
	return err
}
