package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/chart"
	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/store"
)

// A series is one number of one group over the pieces of a range.
type series struct {
	group  string
	number store.Aggregate
	// values are one for each piece; NaN is unknown.
	values []float64
}

// A timeGrid is how --every cuts a range.
type timeGrid struct {
	from, to, first, every int64
	n                      int
}

func gridOf(q *store.Query) timeGrid {
	g := timeGrid{from: q.From.UnixNano(), to: q.To.UnixNano(), every: int64(q.Every)}
	g.first = g.from - ((g.from%g.every)+g.every)%g.every
	g.n = int((g.to - g.first + g.every - 1) / g.every)
	return g
}

// at is the piece that a time is in, -1 if it is in none.
func (g timeGrid) at(t int64) int {
	if t < g.first || t >= g.to {
		return -1
	}
	return int((t - g.first) / g.every)
}

// piece is the part of the range that is in a piece.
func (g timeGrid) piece(i int) (from, to int64) {
	from = g.first + int64(i)*g.every
	return max(from, g.from), min(from+g.every, g.to)
}

// unwatched says of each piece that nothing of it is known.
func (g timeGrid) unwatched(a *store.Answer) []bool {
	out := make([]bool, g.n)
	for i := range out {
		from, to := g.piece(i)
		out[i] = a.Retained != 0 && to <= a.Retained
		for _, gap := range a.Gaps {
			out[i] = out[i] || gap.From <= from && gap.To >= to && gap.To > gap.From
		}
	}
	return out
}

// seriesOf turns groups in pieces into series, in the order of their first group.
// A piece without a row has 0 of what can be counted, unless nobody watched.
func seriesOf(q *store.Query, groups []*store.Group, a *store.Answer) []series {
	grid := gridOf(q)
	unwatched := grid.unwatched(a)
	index := make(map[string]int)
	var all []series
	for _, g := range groups {
		at := grid.at(max(g.Time, grid.first))
		if at < 0 {
			continue
		}
		first, ok := index[keyOf(g)]
		if !ok {
			first = len(all)
			index[keyOf(g)] = first
			for _, n := range q.Aggregates {
				s := series{group: label(g, len(q.GroupBy)), number: n, values: make([]float64, grid.n)}
				for i := range s.values {
					if unwatched[i] || !zeroWithout(n.Func) {
						s.values[i] = math.NaN()
					}
				}
				all = append(all, s)
			}
		}
		for i := range q.Aggregates {
			if g.Known[i] {
				all[first+i].values[at] = g.Values[i]
			}
		}
	}
	return orderSeries(all, len(q.Aggregates))
}

// orderSeries puts the groups whose first number is largest in all first, and the
// group of all others last.
func orderSeries(all []series, per int) []series {
	type block struct {
		s     []series
		total float64
	}
	var blocks []block
	for i := 0; i+per <= len(all); i += per {
		b := block{s: all[i : i+per]}
		for _, v := range all[i].values {
			if !math.IsNaN(v) {
				b.total += v
			}
		}
		if all[i].group == otherGroup {
			b.total = -1
		}
		blocks = append(blocks, b)
	}
	var out []series
	for len(blocks) > 0 {
		best := 0
		for i := range blocks {
			if blocks[i].total > blocks[best].total {
				best = i
			}
		}
		out = append(out, blocks[best].s...)
		blocks = append(blocks[:best], blocks[best+1:]...)
	}
	return out
}

const (
	// tallCharts is how many charts get areaHeight lines each; more get one.
	tallCharts = 4
	areaHeight = 5
)

// appendCharts draws the groups that were kept.
func (l *groupList) appendCharts(b []byte, a *store.Answer) []byte {
	all := seriesOf(&l.x.q, l.groups, a)
	color := ""
	if l.x.h.useColor(l.x.e.stdout) {
		color = output.Blue
	}
	return appendCharts(b, &l.x.q, all, max(l.x.width, 20), color)
}

// appendCharts draws series on a terminal.
func appendCharts(b []byte, q *store.Query, all []series, width int, color string) []byte {
	if len(all) == 0 {
		return append(b, "nothing to draw\n"...)
	}
	if len(all) <= tallCharts {
		for _, s := range all {
			b = appendArea(b, q, s, width, color)
		}
		return b
	}
	return appendSparks(b, q, all, width, color)
}

// summary says in words what a chart shows.
func (s *series) summary(q *store.Query) string {
	grid := gridOf(q)
	most, at, last := math.NaN(), -1, math.NaN()
	for i, v := range s.values {
		if math.IsNaN(v) {
			continue
		}
		if last = v; math.IsNaN(most) || v > most {
			most, at = v, i
		}
	}
	if at < 0 {
		return "nothing is known"
	}
	from, _ := grid.piece(at)
	layout := "15:04:05"
	if q.To.Sub(q.From) > 24*time.Hour {
		layout = "Jan _2 15:04"
	}
	return fmt.Sprintf("most %s (%s), last %s", humanNumber(s.number, most, true),
		time.Unix(0, from).In(q.From.Location()).Format(layout), humanNumber(s.number, last, true))
}

// axis is the line of times below a chart of so many columns.
func axis(q *store.Query, columns int) string {
	grid := gridOf(q)
	return chart.Axis(time.Unix(0, grid.first).In(q.From.Location()),
		time.Unix(0, grid.first+grid.every*int64(grid.n)).In(q.From.Location()), columns)
}

// labelWidth is the room for the scale beside an area.
const labelWidth = 8

func appendArea(b []byte, q *store.Query, s series, width int, color string) []byte {
	title := headOf(s.number)
	if s.group != "" {
		title = s.group + "  " + title
	}
	columns, per := chart.Fit(s.values, width-labelWidth-2)
	title += "  " + s.summary(q)
	if per > 1 {
		title += fmt.Sprintf("; a column is the largest of up to %d pieces", per)
	}
	b = append(append(b, output.Cut(title, width)...), '\n')
	top := chart.Largest(columns)
	for i, line := range chart.Area(columns, areaHeight, top) {
		scale := ""
		switch i {
		case 0:
			scale = humanNumber(s.number, top, top > 0)
		case areaHeight - 1:
			scale = humanNumber(s.number, 0, true)
		}
		b = fmt.Appendf(b, "%s%s ", strings.Repeat(" ", max(labelWidth-output.Width(scale), 0)), scale)
		b = append(b, painted(color, strings.TrimRight(line, " "))...)
		b = append(b, '\n')
	}
	if line := axis(q, len(columns)); line != "" {
		b = append(append(b, strings.Repeat(" ", labelWidth+1)...), line...)
		b = append(b, '\n')
	}
	return b
}

func painted(color, s string) string {
	if color == "" || s == "" {
		return s
	}
	return color + s + output.Off
}

func appendSparks(b []byte, q *store.Query, all []series, width int, color string) []byte {
	names := make([]string, len(all))
	texts := make([]string, len(all))
	left, right := 0, 0
	for i, s := range all {
		group := s.group
		if i > 0 && all[i-1].group == group {
			group = ""
		}
		number := headOf(s.number)
		room := max(width/3-output.Width(number)-1, 4)
		names[i] = output.Cut(group, room) + "\x00" + number
		texts[i] = s.summary(q)
		right = max(right, output.Width(texts[i]))
	}
	groupWidth, numberWidth := 0, 0
	for _, n := range names {
		group, number, _ := strings.Cut(n, "\x00")
		groupWidth, numberWidth = max(groupWidth, output.Width(group)), max(numberWidth, output.Width(number))
	}
	left = groupWidth + 1 + numberWidth + 2
	if width-left-right-2 < 20 {
		right = 0 // the chart before the words
	}
	room := max(width-left-right-2, 4)
	columns, per := 0, 1
	for i, s := range all {
		group, number, _ := strings.Cut(names[i], "\x00")
		var values []float64
		values, per = chart.Fit(s.values, room)
		columns = len(values)
		line := padded(group, groupWidth) + " " + padded(number, numberWidth) + "  "
		b = append(b, line...)
		b = append(b, painted(color, chart.Spark(values, 0))...)
		if right > 0 {
			b = append(append(b, "  "...), texts[i]...)
		}
		b = append(b, '\n')
	}
	if line := axis(q, columns); line != "" {
		b = append(append(b, strings.Repeat(" ", left)...), line...)
		b = append(b, '\n')
	}
	if per > 1 {
		note := fmt.Sprintf("a column is the largest of up to %d pieces", per)
		b = append(b, strings.Repeat(" ", min(left, max(width-output.Width(note), 0)))...)
		b = append(append(b, output.Cut(note, width)...), '\n')
	}
	return b
}

// padded fills a text with blanks.
func padded(s string, width int) string {
	return s + strings.Repeat(" ", max(width-output.Width(s), 0))
}
