package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/api"
	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// allEvents is --events without types.
const allEvents = "all"

// eventTypes are the types of events that --events knows.
var eventTypes = []string{
	store.EventMark, store.EventObserver, tcp.EventGap.String(), tcp.EventReset.String(), tcp.EventRetransmit.String(),
}

// eventsView lists what happened, by time.
func (x *question) eventsView() (func(context.Context) error, error) {
	h := x.h
	var types []string
	for name := range strings.SplitSeq(h.events, ",") {
		name = strings.TrimSpace(name)
		switch {
		case name == allEvents || name == "":
		case slices.Contains(eventTypes, name):
			types = append(types, name)
		default:
			hint := ""
			if s := filter.Nearest(name, eventTypes); s != "" {
				hint = fmt.Sprintf(", did you mean --events=%s?", s)
			}
			return nil, usagef("--events=%s: the types are %s%s", name, strings.Join(eventTypes, ", "), hint)
		}
	}
	switch {
	case h.columns != "":
		return nil, usagef("--columns chooses what is shown of connections: leave it out with --events")
	case h.sorted:
		return nil, usagef("--events go by time: leave --sort out, or write --reverse for the newest first")
	}
	return func(ctx context.Context) error {
		about, err := x.chosenIDs(ctx)
		if err != nil {
			return err
		}
		l := &rowList[store.Event]{x: x, cols: store.EventColumns(), table: x.eventTable}
		l.begin()
		a, err := x.ask.Events(ctx, x.q.From, x.q.To, types, func(ev *store.Event) error {
			x.ask.progress.row()
			if about != nil && ev.ID != 0 && !about[ev.ID] {
				return nil
			}
			return l.add(ev)
		})
		if err != nil {
			return err
		}
		if err := l.finish(); err != nil {
			return err
		}
		return x.foot(a, l.n, "events")
	}, nil
}

// chosenIDs are the connections that the filter chooses; nil is all.
func (x *question) chosenIDs(ctx context.Context) (map[tcp.ID]bool, error) {
	if x.q.Filter == nil {
		return nil, nil //nolint:nilnil // no filter chooses all
	}
	q := x.q
	q.Fields = []*tcp.Field{tcp.FieldByName("id")}
	about := make(map[tcp.ID]bool)
	_, err := x.ask.Connections(ctx, &q, func(r *store.Record) error {
		x.ask.progress.row()
		about[r.Conn.ID] = true
		return nil
	})
	return about, err
}

// A rowList prints rows of a table of the store: in tables when all are known, in
// other formats as they come.
type rowList[T any] struct {
	x    *question
	cols []store.Column[T]
	// table lays rows out for people.
	table func([]T) *output.Grid

	rows []T
	buf  []byte
	n    int
}

func (l *rowList[T]) keeps() bool {
	c := &l.x.h.common
	return c.format == formatTable || c.format == formatWide || c.reverse
}

func (l *rowList[T]) begin() {
	c := &l.x.h.common
	switch {
	case c.format == formatJSON:
		l.buf = append(l.buf, '[')
	case c.format == formatCSV && !c.noHeader:
		for i := range l.cols {
			if i > 0 {
				l.buf = append(l.buf, ',')
			}
			l.buf = append(l.buf, l.cols[i].Name...)
		}
		l.buf = append(l.buf, '\n')
	}
}

func (l *rowList[T]) add(row *T) error {
	if l.keeps() {
		l.rows = append(l.rows, *row)
		return nil
	}
	return l.write(row)
}

func (l *rowList[T]) write(row *T) error {
	c := &l.x.h.common
	if c.limit > 0 && l.n >= c.limit {
		return nil
	}
	l.n++
	switch c.format {
	case formatCSV:
		l.buf = appendCSVRow(l.buf, l.cols, row)
	case formatJSON:
		l.buf = api.AppendColumns(appendElement(l.buf, l.n-1), l.cols, row)
	default:
		l.buf = append(api.AppendColumns(l.buf, l.cols, row), '\n')
	}
	if len(l.buf) < flushAt {
		return nil
	}
	_, err := l.x.e.stdout.Write(l.buf)
	l.buf = l.buf[:0]
	return err
}

// finish prints what was kept, and the end.
func (l *rowList[T]) finish() error {
	l.x.ask.progress.stop()
	c := &l.x.h.common
	if l.keeps() {
		if c.reverse {
			slices.Reverse(l.rows)
		}
		if c.limit > 0 && len(l.rows) > c.limit {
			l.rows = l.rows[:c.limit]
		}
		if c.format == formatTable || c.format == formatWide {
			l.n = len(l.rows)
			l.buf = l.table(l.rows).Append(l.buf)
		} else {
			for i := range l.rows {
				if err := l.write(&l.rows[i]); err != nil {
					return err
				}
			}
		}
	}
	if c.format == formatJSON {
		l.buf = appendArrayEnd(l.buf, l.n)
	}
	_, err := l.x.e.stdout.Write(l.buf)
	return err
}

// appendCSVRow appends a row of a table of the store.
func appendCSVRow[T any](b []byte, cols []store.Column[T], row *T) []byte {
	for i := range cols {
		c := &cols[i]
		if i > 0 {
			b = append(b, ',')
		}
		switch {
		case c.Str != nil:
			if s, ok := c.Str(row); ok {
				b = output.AppendCSVText(b, s)
			}
		case c.Addr != nil:
			if a, ok := c.Addr(row); ok {
				b = a.AppendTo(b)
			}
		default:
			v, ok := c.Num(row)
			switch {
			case !ok:
			case c.Type == store.Time:
				b = tcp.AppendTime(b, int64(v))
			case c.Type == store.ID:
				b = tcp.ID(v).AppendTo(b)
			case c.Type == store.Bool:
				b = fmt.Appendf(b, "%t", v != 0)
			default:
				b = fmt.Append(b, v)
			}
		}
	}
	return append(b, '\n')
}

// eventTable lays events out for people.
func (x *question) eventTable(rows []store.Event) *output.Grid {
	grid := &output.Grid{
		Columns: []output.GridColumn{
			{Head: "TIME"}, {Head: "EVENT"}, {Head: "CONNECTION", Drop: 2}, {Head: "HOST", Drop: 1}, {Head: "WHAT"},
		},
		NoHeader: x.h.noHeader,
	}
	if x.h.format == formatTable {
		grid.Width = x.width
	}
	paint := x.h.useColor(x.e.stdout)
	for i := range rows {
		ev := &rows[i]
		id, color := "", ""
		if ev.ID != 0 {
			id = ev.ID.String()
		}
		if paint {
			color = eventPaint(ev.Type)
		}
		grid.AddColored(color, x.local(ev.Time).Format(time.DateTime+".000"), ev.Type, id, ev.Host, x.eventText(ev))
	}
	return grid
}

func eventPaint(kind string) string {
	switch kind {
	case tcp.EventGap.String(), tcp.EventReset.String():
		return output.Red
	case tcp.EventRetransmit.String():
		return output.Yellow
	case store.EventMark:
		return output.Green
	default:
		return ""
	}
}

// eventText says in words what an event tells.
func (x *question) eventText(ev *store.Event) string {
	var parts []string
	switch ev.Type {
	case tcp.EventReset.String():
		parts = append(parts, "reset")
		if ev.By != "" {
			parts[0] += " by the " + ev.By + " end"
		}
	case tcp.EventRetransmit.String():
		parts = append(parts, fmt.Sprintf("%d retransmissions within moments", ev.Count))
	case tcp.EventGap.String():
		if ev.Where != "observer" {
			parts = append(parts, gapWords(ev))
		}
	case store.EventMark:
		parts = append(parts, ev.Text)
		if ev.Source != "" {
			parts = append(parts, "("+ev.Source+")")
		}
		return strings.Join(parts, " ")
	case store.EventObserver:
		switch ev.Text {
		case "start":
			return "observation began"
		case "stop":
			return "observation ended"
		}
	}
	if ev.Text != "" {
		parts = append(parts, ev.Text)
	}
	if ev.Since != 0 {
		parts = append(parts, "since "+momentText(x.local(ev.Since)))
	}
	return strings.Join(parts, ", ")
}

// gapWords says what a gap lost.
func gapWords(ev *store.Event) string {
	lost := "lost"
	if ev.Where != "" {
		lost += " in " + ev.Where
	}
	if ev.Unknown {
		return lost + ": nobody knows how much"
	}
	return fmt.Sprintf("%s: %d closes with %s sent and %s received", lost, ev.Closes,
		output.AppendBytes(nil, ev.BytesSent), output.AppendBytes(nil, ev.BytesReceived))
}
