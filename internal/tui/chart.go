package tui

import "math"

// blocks are the eighths of a character's height.
var blocks = []rune(" ▁▂▃▄▅▆▇█")

// sparkline draws values on one line, the last at the right end; top is the value
// of a full block, 0 the largest of them. Unknown values (NaN) stay blank.
func sparkline(values []float64, width int, top float64) string {
	if len(values) > width {
		values = values[len(values)-width:]
	}
	if top <= 0 {
		top = largest(values)
	}
	out := make([]rune, 0, width)
	for range width - len(values) {
		out = append(out, ' ')
	}
	for _, v := range values {
		switch {
		case math.IsNaN(v):
			out = append(out, ' ')
		case v <= 0 || top <= 0:
			out = append(out, '▁')
		default:
			out = append(out, blocks[min(1+int(v/top*7), 8)])
		}
	}
	return string(out)
}

func largest(values []float64) float64 {
	m := 0.0
	for _, v := range values {
		if v > m { // false for NaN
			m = v
		}
	}
	return m
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

// braille draws the area below values with two of them a column and four steps a
// line, the last value at the right end. It returns lines from top to bottom.
func braille(values []float64, width, height int, top float64) []string {
	n := 2 * width
	if len(values) > n {
		values = values[len(values)-n:]
	}
	if top <= 0 {
		top = largest(values)
	}
	steps := make([]int, n) // filled quarters of a line, from below
	for i, v := range values {
		if v > 0 && top > 0 {
			steps[n-len(values)+i] = min(max(int(math.Ceil(v/top*float64(4*height))), 1), 4*height)
		}
	}
	// The dots of a column of Braille from below (Unicode, chapter 21.1).
	left, right := [4]rune{0x40, 0x04, 0x02, 0x01}, [4]rune{0x80, 0x20, 0x10, 0x08}
	lines := make([]string, height)
	for y := range height {
		base := 4 * (height - 1 - y)
		line := make([]rune, width)
		for x := range width {
			r := rune(0x2800)
			for d := range 4 {
				if steps[2*x] > base+d {
					r |= left[d]
				}
				if steps[2*x+1] > base+d {
					r |= right[d]
				}
			}
			if r == 0x2800 {
				r = ' '
			}
			line[x] = r
		}
		lines[y] = string(line)
	}
	return lines
}

// bar draws a share of a width in eighths of a column.
func bar(share float64, width int) string {
	eighths := int(math.Round(min(max(share, 0), 1) * float64(8*width)))
	if share > 0 && eighths == 0 {
		eighths = 1
	}
	out := make([]rune, 0, width)
	for range eighths / 8 {
		out = append(out, '█')
	}
	if rest := eighths % 8; rest > 0 {
		out = append(out, []rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return string(out)
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
