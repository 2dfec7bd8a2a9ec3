package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/viewtcp/viewtcp/internal/api"
	"github.com/viewtcp/viewtcp/internal/chart"
	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

const (
	// heatmapRows is how many groups a heatmap has unless --top says how many.
	heatmapRows = 20
	// heatmapWidth is how wide it is where there is no terminal.
	heatmapWidth = 100
	// heatLabel is the most room for the name of a row.
	heatLabel = 24
)

// A heatmap is a map of groups over time.
type heatmap struct {
	x *question
	// parts are the questions whose groups become rows: of ports there are two,
	// because it depends on the direction which end's port says what a connection
	// is for.
	parts  []heatPart
	number store.Aggregate
	// groups are those of all parts, in the order in which they came.
	groups  []heatGroup
	answers []*store.Answer
	ports   bool
}

type heatPart struct {
	q     store.Query
	label func(*store.Group) string
	codec *api.GroupCodec
}

type heatGroup struct {
	part  *heatPart
	label string
	*store.Group
}

// heatmapView draws a map of groups over time.
func (x *question) heatmapView() (func(context.Context) error, error) {
	h := x.h
	m := &heatmap{x: x, number: store.Aggregate{Func: store.Count}}
	var err error
	switch {
	case h.by != "" && (h.peak || h.count):
		return nil, usagef("--heatmap shows one number: --by %s, --peak or --count", h.by)
	case h.peak && h.count:
		return nil, usagef("--heatmap shows one number: --peak or --count")
	case h.by != "":
		m.number, err = numberBy(h.by)
	case h.peak:
		m.number.Func = store.MaxOpen
	}
	if err != nil {
		return nil, err
	}
	switch {
	case h.columns != "":
		return nil, usagef("--columns chooses what is shown of connections: leave it out with --heatmap")
	case h.sorted || h.reverse:
		return nil, usagef("--heatmap has its busiest row on top: leave --sort and --reverse out")
	case h.limit > 0:
		return nil, usagef("--limit %d: of --heatmap write --top %d, the busiest rows", h.limit, h.limit)
	}
	x.q.Aggregates = []store.Aggregate{m.number}
	if x.q.Top = h.top; x.q.Top == 0 {
		x.q.Top = heatmapRows
	}
	if x.q.Every, err = x.pieces(h.every); err != nil {
		return nil, err
	}
	if x.q.Every == 0 {
		x.q.Every = chart.Step(x.q.To.Sub(x.q.From), m.room()-1)
	}
	if h.groupBy != "" {
		if x.q.GroupBy, err = fieldsOf("--group-by", h.groupBy); err != nil {
			return nil, err
		}
		m.parts = []heatPart{{q: x.q, label: func(g *store.Group) string { return label(g, len(x.q.GroupBy)) }}}
	} else {
		m.ports = true
		if m.parts, err = x.portParts(); err != nil {
			return nil, err
		}
	}
	for i := range m.parts {
		m.parts[i].codec = api.NewGroupCodec(&m.parts[i].q)
	}
	return m.run, nil
}

// portParts are the questions for the ports of services: the local ones of inbound
// connections, the remote ones of outbound ones.
func (x *question) portParts() ([]heatPart, error) {
	var parts []heatPart
	for _, p := range []struct{ direction, field, mark string }{
		{"inbound", "local_port", "in"}, {"outbound", "remote_port", "out"},
	} {
		text := "direction = " + p.direction
		if x.q.Filter != nil {
			text = "(" + x.q.Filter.String() + ") and " + text
		}
		f, err := filter.ParseWith(text, filter.Options{Now: x.now, Services: filter.SystemServices()})
		if err != nil {
			return nil, err
		}
		q := x.q
		q.Filter = f
		q.GroupBy = []*tcp.Field{tcp.FieldByName("direction"), tcp.FieldByName(p.field)}
		parts = append(parts, heatPart{q: q, label: func(g *store.Group) string {
			switch {
			case g.Other:
				return otherGroup + " " + p.mark
			case g.Key[1] == "":
				return output.Unknown + " " + p.mark
			}
			return ":" + output.Clean(g.Key[1]) + " " + p.mark
		}})
	}
	return parts, nil
}

// room is how many columns the map has.
func (m *heatmap) room() int {
	w := m.x.width
	if w == 0 {
		w = heatmapWidth
	}
	return max(w-heatLabel-2, 10)
}

func (m *heatmap) run(ctx context.Context) error {
	x := m.x
	for i := range m.parts {
		p := &m.parts[i]
		a, err := x.ask.Aggregate(ctx, &p.q, func(g *store.Group) error {
			x.ask.progress.row()
			m.groups = append(m.groups, heatGroup{p, p.label(g), keptGroup(g)})
			return nil
		})
		if err != nil {
			return err
		}
		m.answers = append(m.answers, a)
	}
	x.ask.progress.stop()
	rows := m.rows()
	if err := m.print(rows); err != nil {
		return err
	}
	a := *m.answers[0]
	for _, b := range m.answers[1:] {
		a.Rows += b.Rows
	}
	return x.foot(&a, len(rows), "groups")
}

// print writes the map, or its groups as rows.
func (m *heatmap) print(rows []heatRow) error {
	c := &m.x.h.common
	var b []byte
	switch c.format {
	case formatTable, formatWide:
		b = m.draw(rows, m.room(), c.useColor(m.x.e.stdout))
	case formatCSV:
		if !c.noHeader {
			b = append(b, "time,group,"+m.parts[0].codec.Names()[0]+"\n"...)
		}
		for _, g := range m.groups {
			b = append(tcp.AppendTime(b, g.Time), ',')
			b = append(output.AppendCSVText(b, g.label), ',')
			if g.Known[0] {
				b = append(b, plainNumber(g.Values[0])...)
			}
			b = append(b, '\n')
		}
	default:
		for i, g := range m.groups {
			if c.format == formatJSON {
				b = append(b, [2]string{"[\n", ",\n"}[min(i, 1)]...)
			}
			b = g.part.codec.Append(b, g.Group)
			if c.format == formatJSONL {
				b = append(b, '\n')
			}
		}
		switch {
		case c.format == formatJSONL:
		case len(m.groups) == 0:
			b = append(b, "[]\n"...)
		default:
			b = append(b, "\n]\n"...)
		}
	}
	_, err := m.x.e.stdout.Write(b)
	return err
}

// A heatRow is one line of the map.
type heatRow struct {
	label  string
	values []float64
	total  float64
	other  bool
}

// rows turns groups into lines, the busiest first.
func (m *heatmap) rows() []heatRow {
	q := &m.x.q
	grid := gridOf(q)
	unwatched := grid.unwatched(m.answers[0])
	index := make(map[string]int)
	var rows []heatRow
	for _, g := range m.groups {
		i, ok := index[g.label]
		if !ok {
			i = len(rows)
			index[g.label] = i
			r := heatRow{label: g.label, values: make([]float64, grid.n), other: g.Other}
			for j := range r.values {
				if unwatched[j] || !zeroWithout(m.number.Func) {
					r.values[j] = math.NaN()
				}
			}
			rows = append(rows, r)
		}
		if at := grid.at(max(g.Time, grid.first)); at >= 0 && g.Known[0] {
			rows[i].values[at] = g.Values[0]
			rows[i].total += g.Values[0]
		}
	}
	slices.SortStableFunc(rows, func(a, b heatRow) int {
		if a.other != b.other {
			return turnIf(a.other)
		}
		return cmp.Compare(b.total, a.total)
	})
	busiest := 0
	return slices.DeleteFunc(rows, func(r heatRow) bool {
		busiest++
		return !r.other && busiest > q.Top
	})
}

// heatColors are the colours of levels, where there are colours.
var heatColors = [chart.HeatLevels + 1]string{"", "\x1b[34m", output.Blue, output.Yellow, output.Red}

// draw draws lines of at most so many columns.
func (m *heatmap) draw(rows []heatRow, room int, color bool) []byte {
	q := &m.x.q
	head := headOf(m.number)
	what := "of connections open in each"
	if m.number.Func != store.Count {
		what = "in each"
	}
	b := fmt.Appendf(nil, "%s %s %s\n", head, what, lengthText(q.Every))
	if len(rows) == 0 {
		return append(b, "nothing to draw\n"...)
	}
	top, left := 0.0, 0
	for i := range rows {
		rows[i].label = output.Cut(rows[i].label, heatLabel)
		left = max(left, output.Width(rows[i].label))
		if !rows[i].other {
			top = max(top, chart.Largest(rows[i].values))
		}
	}
	if top == 0 {
		top = chart.Largest(rows[0].values)
	}
	columns, per := 0, 1
	for _, r := range rows {
		var values []float64
		values, per = chart.Fit(r.values, room)
		columns = len(values)
		b = append(append(b, padded(r.label, left)...), ' ')
		b = append(appendHeat(b, values, top, color), '\n')
	}
	if line := axis(q, columns); line != "" {
		b = append(append(b, strings.Repeat(" ", left+1)...), line...)
		b = append(b, '\n')
	}
	return append(m.legend(b, top, per, color), '\n')
}

// appendHeat appends one line of shades.
func appendHeat(b []byte, values []float64, top float64, color bool) []byte {
	painted := ""
	for _, v := range values {
		level := chart.Heat(v, top)
		if want := heatColors[level]; color && want != painted {
			if painted != "" {
				b = append(b, output.Off...)
			}
			b = append(b, want...)
			painted = want
		}
		b = append(b, string(chart.Shade(v, level))...)
	}
	if painted != "" {
		b = append(b, output.Off...)
	}
	return b
}

// legend says what shades mean.
func (m *heatmap) legend(b []byte, top float64, per int, color bool) []byte {
	b = append(b, "· none"...)
	for level := 1; level <= chart.HeatLevels; level++ {
		// Numbers here are whole: a level may be without any.
		from := math.Floor(chart.HeatFrom(level, top)) + 1
		if level < chart.HeatLevels && math.Floor(chart.HeatFrom(level+1, top))+1 <= from {
			continue
		}
		paint := ""
		if color {
			paint = heatColors[level]
		}
		b = append(append(b, "  "...), painted(paint, string(chart.Shade(1, level)))...)
		b = fmt.Appendf(b, " from %s", humanNumber(m.number, from, true))
	}
	b = append(b, "  blank: unknown"...)
	if per > 1 {
		b = fmt.Appendf(b, "; a column is the largest of up to %d", per)
	}
	return b
}
