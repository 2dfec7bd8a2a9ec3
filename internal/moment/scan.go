package moment

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

// units are what durations are counted in. There are no months and years: their
// length differs.
var units = map[string]time.Duration{
	"ms": time.Millisecond,
	"s":  time.Second, "sec": time.Second, "secs": time.Second, "second": time.Second, "seconds": time.Second,
	"m": time.Minute, "min": time.Minute, "mins": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hrs": time.Hour, "hour": time.Hour, "hours": time.Hour,
	"d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour,
	"w": 7 * 24 * time.Hour, "week": 7 * 24 * time.Hour, "weeks": 7 * 24 * time.Hour,
}

// varying are units that a duration cannot have.
var varying = []string{"mo", "mon", "month", "months", "y", "yr", "yrs", "year", "years"}

// Duration reads a length of time: 90s, 5m, 1h30m, 1d, 2 weeks. A day has 24
// hours.
func Duration(s string) (time.Duration, error) {
	d, err := parseDuration(strings.Join(strings.Fields(strings.ToLower(s)), ""))
	if err == nil && d <= 0 {
		err = errors.New("is not a length of time, such as 90s, 5m, 1h30m, 1d")
	}
	if err != nil {
		return 0, errors.New(strconv.Quote(s) + " " + err.Error())
	}
	return d, nil
}

// parseDuration reads numbers with units; -1 is none, without an error.
func parseDuration(s string) (time.Duration, error) {
	const most = 200 * 365 * 24 * time.Hour
	total := time.Duration(0)
	for rest := s; rest != ""; {
		n := strings.IndexFunc(rest, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
		if n == 0 {
			return -1, nil
		}
		if n < 0 {
			return 0, errors.New("lacks a unit: ms, s, m, h, d or w, as in 90s or 2h")
		}
		v, err := strconv.ParseFloat(rest[:n], 64)
		if err != nil {
			return -1, nil //nolint:nilerr // the caller says what would be right
		}
		rest = rest[n:]
		n = strings.IndexFunc(rest, func(r rune) bool { return r < 'a' || r > 'z' })
		if n < 0 {
			n = len(rest)
		}
		unit, ok := units[rest[:n]]
		switch {
		case !ok && slices.Contains(varying, rest[:n]):
			return 0, errors.New("has a unit without a fixed length: say it in days, as in 90d")
		case !ok:
			return -1, nil
		}
		part := v * float64(unit)
		if part > float64(most) || total+time.Duration(part) > most {
			return 0, errors.New("is longer than 200 years")
		}
		total += time.Duration(part)
		rest = rest[n:]
	}
	if s == "" {
		return -1, nil
	}
	return total, nil
}

// parseUnix reads seconds since 1970: a number of nine digits or more, perhaps
// with a fraction.
func parseUnix(s string) (time.Time, bool) {
	whole, frac, _ := strings.Cut(s, ".")
	if len(whole) < 9 || len(whole) > 12 || len(frac) > 9 {
		return time.Time{}, false
	}
	sec, err := strconv.ParseUint(whole, 10, 63)
	if err != nil {
		return time.Time{}, false
	}
	var nanos uint64
	if frac != "" {
		if nanos, err = strconv.ParseUint((frac + "000000000")[:9], 10, 63); err != nil {
			return time.Time{}, false
		}
	}
	return time.Unix(int64(sec), int64(nanos)), true
}

// parseDate reads 2026-11-20.
func parseDate(s string) (y int, m time.Month, d int, ok bool) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return 0, 0, 0, false
	}
	y, m, d = t.Date()
	return y, m, d, true
}

// parseClock reads 14:05, 14:05:30, 14:05:30.25, each perhaps with z, utc or
// +01:00 behind it. zone is nil without one.
func parseClock(s string) (c clockTime, zone *time.Location, ok bool) {
	for _, name := range []string{"z", "utc"} {
		if rest, is := strings.CutSuffix(s, name); is {
			s, zone = rest, time.UTC
			break
		}
	}
	if i := strings.LastIndexAny(s, "+-"); i > 0 && zone == nil {
		off, err := time.Parse("-07:00", s[i:])
		if err != nil {
			if off, err = time.Parse("-0700", s[i:]); err != nil {
				return c, nil, false
			}
		}
		s, zone = s[:i], off.Location()
	}
	for _, layout := range []string{"15:04", "15:04:05"} { // the latter takes fractions too
		if t, err := time.Parse(layout, s); err == nil {
			return clockTime{t.Hour(), t.Minute(), t.Second(), t.Nanosecond()}, zone, true
		}
	}
	return c, nil, false
}
