package tui

import (
	"math"
	"strings"

	"github.com/viewtcp/viewtcp/internal/chart"
)

// sparkline draws values on one line, the last at the right end; the largest is a
// full block. Unknown values (NaN) stay blank.
func sparkline(values []float64, width int) string {
	if len(values) > width {
		values = values[len(values)-width:]
	}
	return strings.Repeat(" ", width-len(values)) + chart.Spark(values, 0)
}

// squeeze makes at most width values out of any number: each is the largest of as
// many. before is how many values there were before the first; groups begin at
// multiples of their size counted from there, so that peaks keep their shape
// while time goes on.
func squeeze(values []float64, before, width int) []float64 {
	per := (len(values) + width - 1) / max(width, 1)
	if per <= 1 {
		return values
	}
	if (before+len(values)-1)/per-before/per >= width {
		per++ // groups that are cut at both ends need one more
	}
	var out []float64
	for i := 0; i < len(values); {
		end := min(((before+i)/per+1)*per-before, len(values))
		most := math.NaN()
		for _, v := range values[i:end] {
			if math.IsNaN(most) || v > most {
				most = v
			}
		}
		out = append(out, most)
		i = end
	}
	return out
}

// heat is the style of a value's share on a scale of decades, and whether there
// is anything.
func heat(v, top float64) (style, bool) {
	if v <= 0 || top <= 0 {
		return sDim, false
	}
	share := 1 - math.Log10(top/v)/4 // four decades
	return sHeat1 + style(min(max(int(share*5), 0), 4)), true
}
