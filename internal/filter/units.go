package filter

import (
	"math/bits"
	"strings"
	"time"
)

// decimal is an unsigned decimal number, exactly: mant / 10^frac.
type decimal struct {
	mant uint64
	frac int
}

// cutDecimal splits s into a leading number and the rest. ok is false when s
// does not begin with a digit or the digits do not fit 64 bits.
func cutDecimal(s string) (d decimal, rest string, ok bool) {
	digits, dot, i := 0, false, 0
	for ; i < len(s); i++ {
		c := s[i]
		if c == '.' && !dot && i > 0 && i+1 < len(s) && isDigit(s[i+1]) {
			dot = true
			continue
		}
		if !isDigit(c) {
			break
		}
		hi, lo := bits.Mul64(d.mant, 10)
		lo, carry := bits.Add64(lo, uint64(c-'0'), 0)
		if digits++; hi != 0 || carry != 0 {
			return d, s, false
		}
		d.mant = lo
		if dot {
			d.frac++
		}
	}
	return d, s[i:], digits > 0
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// scale returns d × mul ÷ div, rounded to the nearest integer. exact is false
// when it had to be rounded, ok when it does not fit.
func (d decimal) scale(mul, div uint64) (v uint64, exact, ok bool) {
	for range d.frac {
		hi, lo := bits.Mul64(div, 10)
		if hi != 0 {
			return 0, false, false
		}
		div = lo
	}
	hi, lo := bits.Mul64(d.mant, mul)
	if hi >= div {
		return 0, false, false
	}
	q, r := bits.Div64(hi, lo, div)
	if r == 0 {
		return q, true, true
	}
	if r >= div-r {
		q++
	}
	return q, false, q != 0 || r < div-r
}

// durationUnits are microseconds, except those of nanoseconds in parseDuration.
var durationUnits = map[string]uint64{
	"us": 1, "µs": 1, "μs": 1, "usec": 1, "ms": 1e3, "msec": 1e3, "s": 1e6, "sec": 1e6,
	"m": 60e6, "min": 60e6, "h": 3600e6, "d": 86400e6, "w": 7 * 86400e6,
}

// Hints of what a literal of a kind looks like, for messages.
const (
	durationHint = "50ms, 1.5s, 2h30m"
	bytesHint    = "1500, 64KiB, 10MB"
	rateHint     = "10MB/s, 100Mbit/s"
	timeHint     = "2026-01-31T08:00:00Z, now-10m, today, yesterday"
)

// parseDuration reads microseconds: numbers with units, such as 50ms or 1h30m.
// msg says what is wrong, and is empty when nothing is.
func parseDuration(s string) (us uint64, msg string) {
	if s == "" {
		return 0, "a duration is missing, such as " + durationHint
	}
	for rest := s; rest != ""; {
		d, tail, ok := cutDecimal(rest)
		if !ok {
			return 0, quote(s) + " is not a duration, such as " + durationHint
		}
		unit := tail
		for i := range len(tail) {
			if isDigit(tail[i]) {
				unit = tail[:i]
				break
			}
		}
		rest = tail[len(unit):]
		mul, div := durationUnits[unit], uint64(1)
		if unit == "ns" {
			mul, div = 1, 1000
		}
		if unit == "" && d.mant != 0 || unit != "" && mul == 0 {
			if unit != "" {
				return 0, quote(unit) + " is not a unit of time: use us, ms, s, m, h or d"
			}
			return 0, quote(s) + " needs a unit: us, ms, s, m, h or d"
		}
		v, exact, ok := d.scale(mul, div)
		if !ok || us+v < us || us+v > 1<<63 {
			return 0, quote(s) + " is too long a duration"
		}
		if !exact {
			return 0, quote(s) + " is finer than a microsecond, the resolution of durations"
		}
		us += v
	}
	return us, ""
}

// parseBytes reads a size in bytes, or a rate in bytes per second: KB, MB and GB
// are powers of 1000, KiB, MiB and GiB of 1024, and Kbit, Mbit and Mbps are bits.
func parseBytes(s string, rate bool) (v uint64, msg string) {
	hint := bytesHint
	if rate {
		hint = rateHint
	}
	d, unit, ok := cutDecimal(s)
	if !ok {
		return 0, quote(s) + " is not a size, such as " + hint
	}
	mul, div, msg := byteUnit(unit, rate)
	if msg != "" {
		return 0, msg + ": write it as in " + hint
	}
	v, _, ok = d.scale(mul, div)
	if !ok {
		return 0, quote(s) + " is too large"
	}
	return v, ""
}

func byteUnit(unit string, rate bool) (mul, div uint64, msg string) {
	bad := quote(unit) + " is not a unit of size"
	if rate {
		bad = quote(unit) + " is not a unit of rates"
	}
	u := unit
	bit := false
	if rate {
		if t, ok := strings.CutSuffix(u, "/s"); ok {
			u = t
		} else if t, ok := strings.CutSuffix(u, "ps"); ok && t != "" {
			u = t
			if t[len(t)-1] == 'b' { // Mbps is bits
				bit, u = true, t[:len(t)-1]
			}
		}
	}
	base := uint64(1000)
	mul = 1
	prefix := 0
	if u != "" {
		if n := strings.IndexByte("kmgtp", u[0]|0x20); n >= 0 {
			prefix, u = n+1, u[1:]
			if u != "" && u[0] == 'i' {
				base, u = 1024, u[1:]
			}
		}
	}
	for range prefix {
		mul *= base
	}
	if bit {
		if u != "" {
			return 0, 0, bad
		}
		return mul, 8, ""
	}
	switch u {
	case "", "B", "byte", "bytes":
		return mul, 1, ""
	case "bit", "bits":
		return mul, 8, ""
	case "b":
		// kb and mb are written for bytes; Kb and Mb could be either.
		if prefix == 0 || unit[0] >= 'a' {
			return mul, 1, ""
		}
		return 0, 0, quote(unit) + " could be bytes or bits"
	}
	return 0, 0, bad
}

// parseCount reads a number, decimal or hexadecimal, perhaps in thousands.
func parseCount(s string) (v uint64, msg string) {
	if h, ok := cutHex(s); ok {
		for i := range len(h) {
			d := unhex(h[i])
			if d > 15 || v > 1<<60-1 {
				return 0, quote(s) + " is not a number"
			}
			v = v<<4 | uint64(d)
		}
		return v, ""
	}
	d, unit, ok := cutDecimal(s)
	if !ok {
		if len(s) > 1 && s[0] == '-' && isDigit(s[1]) {
			return 0, "numbers cannot be negative here"
		}
		return 0, quote(s) + " is not a number"
	}
	mul := uint64(1)
	switch unit {
	case "":
	case "k", "K":
		mul = 1e3
	case "M":
		mul = 1e6
	case "G":
		mul = 1e9
	default:
		return 0, quote(s) + " is not a number"
	}
	v, exact, ok := d.scale(mul, 1)
	if !ok || !exact {
		return 0, quote(s) + " is not a whole number below 2^64"
	}
	return v, ""
}

func cutHex(s string) (string, bool) {
	if len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x' {
		return s[2:], true
	}
	return s, false
}

// parsePercent reads thousandths of a percent from a number without its sign.
func parsePercent(s string) (v uint64, msg string) {
	d, rest, ok := cutDecimal(s)
	if !ok || rest != "" {
		return 0, quote(s+"%") + " is not a percentage"
	}
	v, exact, ok := d.scale(1000, 1)
	if !ok || !exact || v > 1e12 {
		return 0, quote(s+"%") + " has more than three decimals or is too large"
	}
	return v, ""
}

// timeLayouts are the forms of a moment besides RFC 3339.
var timeLayouts = []string{
	"2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04", "2006-01-02 15:04",
}

// parseTime reads a moment, or a day as its first and last nanosecond, in wall
// nanoseconds since 1970.
func parseTime(s string, now time.Time) (lo, hi uint64, msg string) {
	zone := time.UTC
	if !now.IsZero() {
		zone = now.Location()
	}
	low := strings.ToLower(s)
	relative := strings.HasPrefix(low, "now") || low == "today" || low == "yesterday"
	if relative && now.IsZero() {
		return 0, 0, quote(s) + " has no meaning here, where no current time is given"
	}
	switch {
	case low == "today", low == "yesterday":
		day := now.Day()
		if low == "yesterday" {
			day--
		}
		return daySpan(time.Date(now.Year(), now.Month(), day, 0, 0, 0, 0, zone), s)
	case strings.HasPrefix(low, "now"):
		rest := low[len("now"):]
		if rest == "" {
			return moment(now, s)
		}
		us, msg := parseDuration(rest[1:])
		if rest[0] != '-' && rest[0] != '+' || msg != "" || us > 1<<62/1000 {
			return 0, 0, quote(s) + " is not a time, such as " + timeHint
		}
		d := time.Duration(us) * time.Microsecond
		if rest[0] == '-' {
			d = -d
		}
		return moment(now.Add(d), s)
	}
	if t, err := time.ParseInLocation(time.DateOnly, s, zone); err == nil {
		return daySpan(t, s)
	}
	if t, err := time.Parse(time.RFC3339Nano, strings.ToUpper(s)); err == nil {
		return moment(t, s)
	}
	for _, l := range timeLayouts {
		if t, err := time.ParseInLocation(l, s, zone); err == nil {
			return moment(t, s)
		}
	}
	return 0, 0, quote(s) + " is not a time, such as " + timeHint
}

func daySpan(t time.Time, s string) (lo, hi uint64, msg string) {
	lo, _, msg = moment(t, s)
	if msg == "" {
		hi, _, msg = moment(t.AddDate(0, 0, 1).Add(-1), s)
	}
	return lo, hi, msg
}

func moment(t time.Time, s string) (lo, hi uint64, msg string) {
	if t.Year() < 1970 || t.Year() > 2261 || t.UnixNano() < 0 {
		return 0, 0, quote(s) + " is outside the years 1970 to 2261"
	}
	n := uint64(t.UnixNano())
	return n, n, ""
}
