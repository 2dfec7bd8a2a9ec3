package text

import (
	"slices"
	"strconv"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Unknown is what people see of a value that is not known.
const Unknown = "--"

// AppendHuman appends a field as people read it: with a unit and three or four
// digits, and Unknown if it is not known.
func AppendHuman(b []byte, f *tcp.Field, c *tcp.Conn) []byte {
	switch {
	case f.Str != nil:
		s, ok := f.Str(c)
		if !ok {
			return append(b, Unknown...)
		}
		return AppendClean(b, s)
	case f.Addr != nil:
		a, ok := f.Addr(c)
		if !ok {
			return append(b, Unknown...)
		}
		return a.AppendTo(b)
	}
	v, ok := f.Num(c)
	if !ok {
		return append(b, Unknown...)
	}
	switch f.Kind {
	case tcp.KindDuration:
		return AppendMicros(b, v)
	case tcp.KindBytes:
		return AppendBytes(b, v)
	case tcp.KindRate:
		return append(AppendBytes(b, v), "/s"...)
	case tcp.KindTime:
		return appendLocalTime(b, int64(v))
	case tcp.KindBool:
		if v != 0 {
			return append(b, "yes"...)
		}
		return append(b, "no"...)
	default:
		return f.AppendNum(b, v)
	}
}

// AppendMicros appends a duration given in microseconds: 850µs, 12.3ms, 4.56s,
// 3m12s, 2h05m, 11d04h.
func AppendMicros(b []byte, us uint64) []byte {
	const ms, s = 1000, 1000_000
	switch {
	case us < ms:
		return append(strconv.AppendUint(b, us, 10), "µs"...)
	case us < s:
		return append(appendThree(b, us, ms), "ms"...)
	case us < 60*s:
		return append(appendThree(b, us, s), 's')
	}
	secs := us / s
	switch {
	case secs < 3600:
		return appendPair(b, secs/60, 'm', secs%60, 's')
	case secs < 86400:
		return appendPair(b, secs/3600, 'h', secs/60%60, 'm')
	default:
		return appendPair(b, secs/86400, 'd', secs/3600%24, 'h')
	}
}

func appendPair(b []byte, big uint64, bigUnit byte, small uint64, smallUnit byte) []byte {
	b = append(strconv.AppendUint(b, big, 10), bigUnit, byte('0'+small/10), byte('0'+small%10))
	return append(b, smallUnit)
}

// AppendCount appends a number with commas between its thousands: 1,234,567.
func AppendCount(b []byte, n int64) []byte {
	first := len(b)
	b = strconv.AppendInt(b, n, 10)
	if n < 0 {
		first++
	}
	for i := len(b) - 3; i > first; i -= 3 {
		b = slices.Insert(b, i, ',')
	}
	return b
}

// AppendBytes appends a size in powers of 1024: 512, 1.5K, 20.1M.
func AppendBytes(b []byte, n uint64) []byte {
	if n < 1024 {
		return strconv.AppendUint(b, n, 10)
	}
	unit := uint64(1024)
	i := 0
	for n/unit >= 1024 && i < len(units)-1 {
		unit *= 1024
		i++
	}
	return append(appendThree(b, n, unit), units[i])
}

const units = "KMGTPE"

// appendThree appends n/unit with three significant digits, rounded down: a
// value never looks like more than it is.
func appendThree(b []byte, n, unit uint64) []byte {
	whole := n / unit
	b = strconv.AppendUint(b, whole, 10)
	// Below 1 whatever the rounding of the division.
	part := min(float64(n%unit)/float64(unit), 0.999)
	switch {
	case whole >= 100:
		return b
	case whole >= 10:
		return append(b, '.', byte('0'+int(part*10)))
	default:
		h := int(part * 100)
		return append(b, '.', byte('0'+h/10), byte('0'+h%10))
	}
}

// appendLocalTime appends a wall time in the local zone, to the millisecond.
func appendLocalTime(b []byte, wall int64) []byte {
	return time.Unix(0, wall).AppendFormat(b, "2006-01-02 15:04:05.000")
}

// AppendEnd appends ADDRESS:PORT, [ADDRESS]:PORT for IPv6, and * for what is
// not bound or not known yet.
func AppendEnd(b []byte, a tcp.Addr, port uint16) []byte {
	switch {
	case a.IsUnspecified():
		b = append(b, '*')
	case a.Is4():
		b = a.AppendTo(b)
	default:
		b = append(a.AppendTo(append(b, '[')), ']')
	}
	b = append(b, ':')
	if port == 0 {
		return append(b, '*')
	}
	return strconv.AppendUint(b, uint64(port), 10)
}
