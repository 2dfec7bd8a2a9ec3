// Package chart draws numbers with characters: sparklines, areas, bars, heatmaps
// and axes of time. It returns plain runes; whoever shows them adds colours and
// knows how wide the terminal is. Unknown values are NaN and stay blank, which is
// not what zero looks like.
package chart

import "math"

// blocks are the eighths of a character's height.
var blocks = []rune(" ▁▂▃▄▅▆▇█")

// Spark draws values on one line, one column each; top is the value of a full
// block, 0 the largest of them.
func Spark(values []float64, top float64) string {
	top = orLargest(top, values)
	out := make([]rune, len(values))
	for i, v := range values {
		switch {
		case math.IsNaN(v):
			out[i] = ' '
		case v <= 0 || top <= 0:
			out[i] = '▁'
		default:
			out[i] = blocks[min(1+int(v/top*7), 8)]
		}
	}
	return string(out)
}

// Area draws the area below values, one column each, on height lines from top to
// bottom; top is the value of a full column, 0 the largest of them. A value above
// zero shows at least an eighth of a line.
func Area(values []float64, height int, top float64) []string {
	top = orLargest(top, values)
	lines := make([]string, height)
	row := make([]rune, len(values))
	for y := range height {
		base := 8 * (height - 1 - y)
		for i, v := range values {
			eighths := 0
			if v > 0 && top > 0 {
				eighths = min(max(int(math.Round(v/top*float64(8*height))), 1), 8*height)
			}
			row[i] = blocks[min(max(eighths-base, 0), 8)]
		}
		lines[y] = string(row)
	}
	return lines
}

// Braille draws the area below values with two of them a column and four steps a
// line, the last value at the right end. It returns lines from top to bottom; top
// is the value of a full column, 0 the largest of those that fit.
func Braille(values []float64, width, height int, top float64) []string {
	n := 2 * width
	if len(values) > n {
		values = values[len(values)-n:]
	}
	top = orLargest(top, values)
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

// Bar draws a share (0 to 1) of a width, in eighths of a column. A share above
// zero shows at least one of them.
func Bar(share float64, width int) string {
	if math.IsNaN(share) || width <= 0 {
		return ""
	}
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

// HeatLevels is how many levels of heat there are above none.
const HeatLevels = 4

var shades = [HeatLevels + 1]rune{'·', '░', '▒', '▓', '█'}

// Heat is the level of a value, 1 to HeatLevels, on a scale of decades that ends
// at top, so that small values beside large ones can be seen; 0 is nothing, or
// unknown.
func Heat(v, top float64) int {
	if !(v > 0) || !(top > 0) {
		return 0
	}
	below := math.Log10(top / v)
	return min(max(HeatLevels-int(below), 1), HeatLevels)
}

// HeatFrom is the smallest value of a level.
func HeatFrom(level int, top float64) float64 {
	if level <= 1 {
		return 0
	}
	return top / math.Pow(10, float64(HeatLevels+1-level))
}

// Shade is the character of a level; unknown values are a blank.
func Shade(v float64, level int) rune {
	if math.IsNaN(v) {
		return ' '
	}
	return shades[min(max(level, 0), HeatLevels)]
}

// widest is how many columns one value takes at most.
const widest = 12

// Fit spreads values over at most width columns: each over several where there are
// few, neighbours together where there are many, and then the largest of each, so
// that no peak vanishes. per is how many a column stands for at most.
func Fit(values []float64, width int) (columns []float64, per int) {
	n := len(values)
	if n == 0 || width <= 0 {
		return nil, 1
	}
	columns = make([]float64, min(width, n*widest))
	w := len(columns)
	for i := range columns {
		first := i * n / w
		last := max((i+1)*n/w, first+1)
		columns[i] = math.NaN()
		for _, v := range values[first:last] {
			if math.IsNaN(columns[i]) || v > columns[i] {
				columns[i] = v
			}
		}
	}
	return columns, (n + w - 1) / w
}

// Largest is the largest of the known values, 0 if there is none above.
func Largest(values []float64) float64 {
	m := 0.0
	for _, v := range values {
		if v > m { // false for NaN
			m = v
		}
	}
	return m
}

func orLargest(top float64, values []float64) float64 {
	if top > 0 {
		return top
	}
	return Largest(values)
}
