package tui

import (
	"strconv"
	"time"

	"github.com/viewtcp/viewtcp/internal/text"
)

// countText is a number with commas.
func countText[T int | uint64](n T) string {
	return string(text.AppendCount(nil, int64(n)))
}

// counted is a number of things.
func counted[T int | uint64](n T, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return countText(n) + " " + many
}

func connsText(n int) string { return counted(n, "connection", "connections") }

func bytesText(n uint64) string { return string(text.AppendBytes(nil, n)) }

func rateText(n uint64) string { return bytesText(n) + "/s" }

// perSecond is a number of events a second, with one digit where it is small.
func perSecond(n float64) string {
	if n != 0 && n < 10 {
		return strconv.FormatFloat(n, 'f', 1, 64)
	}
	return strconv.FormatFloat(n, 'f', 0, 64)
}

func microsText(us uint64) string { return string(text.AppendMicros(nil, us)) }

func durationText(d time.Duration) string { return microsText(uint64(max(d.Microseconds(), 0))) }
