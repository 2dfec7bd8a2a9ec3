package filter

import (
	"errors"
	"time"
)

// ParseTime reads a moment as filters write it: 2026-07-31T10:15:00Z,
// "2026-07-31 10:15", now-10m. A day (2026-07-31, today) gives its first and its
// last nanosecond; else from and to are the same. They count from 1970. now is
// what Options.Now is.
func ParseTime(s string, now time.Time) (from, to int64, err error) {
	lo, hi, msg := parseTime(s, now)
	if msg != "" {
		return 0, 0, errors.New(msg)
	}
	return int64(lo), int64(hi), nil
}
