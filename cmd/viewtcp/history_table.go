package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/chart"
	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/store"
)

// barWidth is how wide the bars of a table are.
const barWidth = 20

// table lays groups out for people.
func (l *groupList) table(before map[string]*store.Group) *output.Grid {
	x := l.x
	grid := &output.Grid{NoHeader: x.h.noHeader}
	bars := x.h.format == formatTable && x.width > 0 && x.q.Every == 0 && !x.h.compare
	if x.h.format == formatTable {
		grid.Width = x.width
	}
	if x.q.Every > 0 {
		grid.Columns = append(grid.Columns, output.GridColumn{Head: "TIME"})
	}
	for _, f := range x.q.GroupBy {
		grid.Columns = append(grid.Columns, output.GridColumn{Head: f.Column})
	}
	for i, a := range x.q.Aggregates {
		// Bars go first, then the last numbers; the first one stays.
		drop, dropAt := len(x.q.Aggregates)+3-i, len(x.q.Aggregates)+4-i
		if i == 0 {
			drop, dropAt = 0, 2
		}
		grid.Columns = append(grid.Columns, output.GridColumn{Head: headOf(a), Right: true, Drop: drop})
		if a.Func == store.MaxOpen && l.hasMoments() {
			grid.Columns = append(grid.Columns, output.GridColumn{Head: "AT", Drop: dropAt})
		}
		if x.h.compare {
			grid.Columns = append(grid.Columns,
				output.GridColumn{Head: "BEFORE", Right: true, Drop: drop}, output.GridColumn{Head: "CHANGE", Right: true, Drop: drop},
				output.GridColumn{Head: "%", Right: true, Drop: drop})
		}
	}
	if bars {
		grid.Columns = append(grid.Columns, output.GridColumn{Drop: 1})
	}
	top := 0.0
	for _, g := range l.groups {
		if g.Known[0] {
			top = max(top, g.Values[0])
		}
	}
	for _, g := range l.groups {
		cells := l.cells(g, before[keyOf(g)])
		if bars && g.Known[0] && top > 0 {
			cells = append(cells, chart.Bar(g.Values[0]/top, barWidth))
		}
		grid.Add(cells...)
	}
	return grid
}

// hasMoments reports whether it is known of any peak when it was. Of those that
// were measured in the meantime only the interval is.
func (l *groupList) hasMoments() bool {
	return slices.ContainsFunc(l.groups, func(g *store.Group) bool { return g.At != 0 })
}

func (l *groupList) cells(g, before *store.Group) []string {
	x := l.x
	var cells []string
	if x.q.Every > 0 {
		cells = append(cells, momentText(x.local(g.Time)))
	}
	cells = append(cells, labels(g, len(x.q.GroupBy))...)
	for i, a := range x.q.Aggregates {
		cells = append(cells, humanNumber(a, g.Values[i], g.Known[i]))
		if a.Func == store.MaxOpen && l.hasMoments() {
			at := output.Unknown
			if g.At != 0 {
				at = momentText(x.local(g.At))
			}
			cells = append(cells, at)
		}
		if !x.h.compare {
			continue
		}
		if before == nil {
			cells = append(cells, output.Unknown, output.Unknown, output.Unknown)
			continue
		}
		cells = append(cells, humanNumber(a, before.Values[i], before.Known[i]))
		diff, percent, known, hasPercent := change(g, before, i)
		text, share := output.Unknown, output.Unknown
		if known {
			text = signOf(diff) + humanNumber(a, math.Abs(diff), true)
		}
		if hasPercent {
			share = fmt.Sprintf("%+.1f", percent)
		}
		cells = append(cells, text, share)
	}
	return cells
}

func signOf(v float64) string {
	switch {
	case v > 0:
		return "+"
	case v < 0:
		return "-"
	default:
		return ""
	}
}

// labels name a group by its n fields.
func labels(g *store.Group, n int) []string {
	out := make([]string, n)
	for i := range out {
		switch {
		case g.Other && i == 0:
			out[i] = otherGroup
		case g.Other:
		case i >= len(g.Key) || g.Key[i] == "":
			out[i] = output.Unknown
		default:
			out[i] = output.Clean(g.Key[i])
		}
	}
	return out
}

// label names a group on one line.
func label(g *store.Group, n int) string {
	return strings.TrimSpace(strings.Join(labels(g, n), " "))
}

// local is a moment in the zone of the question.
func (x *question) local(nanos int64) time.Time {
	return time.Unix(0, nanos).In(x.q.From.Location())
}
