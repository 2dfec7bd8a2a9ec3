// Package moment reads moments and ranges of time as people write them: 2h,
// yesterday 14:00, monday, 2026-11-20, now-30m, RFC 3339, seconds since 1970. It
// has no clock; callers say when now is, and in which zone days begin.
package moment

import (
	"fmt"
	"strings"
	"time"
)

// A Span is what a text names: a moment, of which From and To are the same, or a
// whole day from its first moment to the first of the next. A time of day that
// came twice, when clocks were set back, has the first of both in From and the
// second in To.
type Span struct {
	From, To time.Time
	// Day says that a whole day is meant.
	Day bool
}

// Hint shows the forms of a text, for messages.
const Hint = `2h (ago), "yesterday 14:00", monday, 2026-11-20, "2026-11-20 14:05", 2026-11-20T14:05:00Z, seconds since 1970`

// Parse reads a text. Words and times without a zone count in the zone of now.
//
//	now, now-10m       10m, -10m, 10m ago, 1h30m, 2 days ago
//	today, yesterday   monday, mon: the latest one, today included
//	14:05, 14:05:30    today at that time
//	yesterday 14:05    and so with each day
//	2026-11-20, 2026-11-20 14:05, 2026-11-20T14:05:30.5+01:00
//	1795147200, 1795147200.25
//
// A day as a unit has 24 hours, whatever the clocks did.
func Parse(s string, now time.Time) (Span, error) {
	words := strings.Fields(strings.ToLower(s))
	if len(words) == 0 {
		return Span{}, fmt.Errorf("a time is missing, such as %s", Hint)
	}
	p := parser{text: s, now: now}
	sp, err := p.parse(words)
	if err != nil {
		return Span{}, err
	}
	if outside(sp.From) || outside(sp.To) {
		return Span{}, fmt.Errorf("%q is outside the years 1970 to 2261", s)
	}
	return sp, nil
}

// At reads a text that names one moment.
func At(s string, now time.Time) (time.Time, error) {
	sp, err := Parse(s, now)
	if err == nil && sp.Day {
		err = fmt.Errorf("%q is a whole day: add the time, as in %q", s, s+" 14:00")
	}
	return sp.From, err
}

// Range reads a range of time: since its first moment, until the end of what until
// says, which is now if it is empty. length is how long the range is if since is
// empty.
func Range(since, until string, length time.Duration, now time.Time) (from, to time.Time, err error) {
	if from, to, err = Bounds(since, until, now); err != nil {
		return from, to, err
	}
	if until == "" {
		to = now
	}
	if since == "" {
		from = to.Add(-length)
	}
	if !from.Before(to) {
		return from, to, fmt.Errorf("--since %s is now: nothing lies between", since)
	}
	return from, to, nil
}

// Bounds is Range without a length: an end that is not said is the zero time, and
// bounds nothing.
func Bounds(since, until string, now time.Time) (from, to time.Time, err error) {
	if until != "" {
		sp, err := Parse(until, now)
		if err != nil {
			return from, to, fmt.Errorf("--until: %w", err)
		}
		to = sp.To
	}
	if since != "" {
		sp, err := Parse(since, now)
		if err != nil {
			return from, to, fmt.Errorf("--since: %w", err)
		}
		from = sp.From
	}
	switch {
	case from.After(now):
		return from, to, fmt.Errorf("--since %s is %s, which is still to come", since, from.Format(time.DateTime))
	case since != "" && until != "" && !from.Before(to):
		return from, to, fmt.Errorf("--since (%s) is not before --until (%s)", from.Format(time.DateTime), to.Format(time.DateTime))
	}
	return from, to, nil
}

// outside reports whether a moment cannot be counted in nanoseconds since 1970.
func outside(t time.Time) bool { return t.Unix() < 0 || t.Year() > 2261 }

type parser struct {
	text string
	now  time.Time
}

func (p *parser) wrong() error { return fmt.Errorf("%q is not a time, such as %s", p.text, Hint) }

func (p *parser) parse(words []string) (Span, error) {
	first, rest := words[0], words[1:]
	if y, m, d, ok := p.day(first); ok {
		switch len(rest) {
		case 0:
			return Span{From: startOf(y, m, d, p.now.Location()), To: startOf(y, m, d+1, p.now.Location()), Day: true}, nil
		case 1, 2:
			return p.clock(y, m, d, strings.Join(rest, ""))
		}
		return Span{}, p.wrong()
	}
	if date, clock, ok := strings.Cut(first, "t"); ok && len(rest) == 0 {
		if y, m, d, ok := parseDate(date); ok {
			return p.clock(y, m, d, clock)
		}
	}
	if strings.Contains(first, ":") && len(words) <= 2 {
		y, m, d := p.now.Date()
		return p.clock(y, m, d, strings.Join(words, ""))
	}
	return p.relative(strings.Join(words, ""))
}

// relative reads what counts from now, and seconds since 1970.
func (p *parser) relative(s string) (Span, error) {
	if t, ok := parseUnix(s); ok {
		t = t.In(p.now.Location())
		return Span{From: t, To: t}, nil
	}
	rest, named := strings.CutPrefix(s, "now")
	if named && rest == "" {
		return Span{From: p.now, To: p.now}, nil
	}
	sign := time.Duration(-1)
	switch ago, is := strings.CutSuffix(rest, "ago"); {
	case is && !named:
		rest = ago
	case strings.HasPrefix(rest, "-"):
		rest = rest[1:]
	case named && strings.HasPrefix(rest, "+"):
		sign, rest = 1, rest[1:]
	case named:
		return Span{}, p.wrong()
	}
	d, err := parseDuration(rest)
	if err != nil {
		return Span{}, fmt.Errorf("%q %w", p.text, err)
	}
	if d < 0 {
		return Span{}, p.wrong()
	}
	t := p.now.Add(sign * d)
	return Span{From: t, To: t}, nil
}

var weekdays = [...]string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}

// day reads a word that names a day.
func (p *parser) day(word string) (y int, m time.Month, d int, ok bool) {
	y, m, d = p.now.Date()
	switch word {
	case "today":
		return y, m, d, true
	case "yesterday":
		return y, m, d - 1, true
	}
	for i, name := range weekdays {
		if word == name || word == name[:3] {
			return y, m, d - (int(p.now.Weekday())-i+7)%7, true
		}
	}
	return parseDate(word)
}

// clock reads a time of a day, with or without a zone.
func (p *parser) clock(y int, m time.Month, d int, s string) (Span, error) {
	c, zone, ok := parseClock(s)
	if !ok {
		return Span{}, p.wrong()
	}
	if zone != nil {
		t := time.Date(y, m, d, c.hour, c.minute, c.second, c.nanos, zone).In(p.now.Location())
		return Span{From: t, To: t}, nil
	}
	at := instants(y, m, d, c, p.now.Location())
	if len(at) == 0 {
		return Span{}, fmt.Errorf("%q was no time of that day: clocks were set forward then", p.text)
	}
	return Span{From: at[0], To: at[len(at)-1]}, nil
}

// clockTime is a time of day.
type clockTime struct{ hour, minute, second, nanos int }

// instants returns the moments when clocks of a zone showed a time of a day: one,
// none when they were set forward over it, two when they were set back.
func instants(y int, m time.Month, d int, c clockTime, zone *time.Location) []time.Time {
	utc := time.Date(y, m, d, c.hour, c.minute, c.second, c.nanos, time.UTC)
	var at []time.Time
	for _, off := range offsets(utc, zone) {
		t := utc.Add(-off).In(zone)
		if _, is := t.Zone(); time.Duration(is)*time.Second == off {
			at = append(at, t)
		}
	}
	return at
}

// startOf returns the first moment of a day: midnight, or the end of the gap if
// clocks were set forward over it.
func startOf(y int, m time.Month, d int, zone *time.Location) time.Time {
	if at := instants(y, m, d, clockTime{}, zone); len(at) > 0 {
		return at[0]
	}
	midnight := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	offs := offsets(midnight, zone)
	// The gap begins when midnight comes by the offset before it, the smaller.
	return midnight.Add(-offs[len(offs)-1]).In(zone)
}

// offsets returns how far a zone's clocks may be ahead of UTC around a wall time,
// the largest first: it comes to a wall time first.
func offsets(wall time.Time, zone *time.Location) []time.Duration {
	const around = 26 * time.Hour // beyond any offset
	_, before := wall.Add(-around).In(zone).Zone()
	_, after := wall.Add(around).In(zone).Zone()
	a, b := time.Duration(before)*time.Second, time.Duration(after)*time.Second
	if a == b {
		return []time.Duration{a}
	}
	return []time.Duration{max(a, b), min(a, b)}
}
