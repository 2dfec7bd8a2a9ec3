package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/api"
	"github.com/viewtcp/viewtcp/internal/chart"
	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// A timeline is the story of one connection.
type timeline struct {
	x       *question
	id      tcp.ID
	rows    []store.Record
	samples []store.Sample
	events  []store.Event
}

// A scene is one line of a timeline.
type scene struct {
	time        int64
	event, text string
	// json is the object of the scene.
	json []byte
}

// timelineView tells the story of a connection.
func (x *question) timelineView() (func(context.Context) error, error) {
	h := x.h
	id, ok := tcp.ParseID(h.timeline)
	switch {
	case !ok:
		return nil, usagef("--timeline %s: that is no id of a connection, which is c and 13 letters and digits: the column of --columns +id", h.timeline)
	case x.q.Filter != nil:
		return nil, usagef("--timeline names the connection: leave the filter %s out", x.q.Filter.Text())
	case h.columns != "":
		return nil, usagef("--columns chooses what is shown of connections: leave it out with --timeline")
	case h.sorted || h.reverse || h.limit > 0:
		return nil, usagef("--timeline tells a story from its beginning to its end: leave --sort, --reverse and --limit out")
	}
	if h.since == "" {
		x.q.From = time.Unix(0, 0).In(x.q.To.Location())
	}
	var err error
	if x.q.Filter, err = filter.Parse("id = " + id.String()); err != nil {
		return nil, err
	}
	t := &timeline{x: x, id: id}
	return t.run, nil
}

func (t *timeline) run(ctx context.Context) error {
	x := t.x
	a, err := x.ask.Records(ctx, &x.q, func(r *store.Record) error {
		x.ask.progress.row()
		kept := *r
		kept.Conn = keptConn(&x.h.common, r)
		if r.Deltas != nil {
			d := *r.Deltas
			kept.Deltas = &d
		}
		t.rows = append(t.rows, kept)
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortStableFunc(t.rows, func(a, b store.Record) int { return cmp.Compare(a.Time, b.Time) })
	if len(t.rows) == 0 {
		x.ask.progress.stop()
		if x.h.format == formatJSON {
			if _, err := x.e.stdout.Write([]byte("[]\n")); err != nil {
				return err
			}
		}
		x.e.warn("nothing is stored of " + t.id.String() + " in that range: a connection has rows once it has ended or is ten seconds old")
		if x.h.failEmpty {
			return exitError{exitEmpty}
		}
		return nil
	}
	x.q.From = x.local(max(t.rows[0].Start(), x.q.From.UnixNano()))
	if last := &t.rows[len(t.rows)-1]; last.Kind == store.Close {
		x.q.To = x.local(min(last.Time+1, x.q.To.UnixNano()))
	}
	if err := t.around(ctx); err != nil {
		return err
	}
	x.ask.progress.stop()
	if err := t.print(); err != nil {
		return err
	}
	a.Gaps = slices.DeleteFunc(a.Gaps, func(g store.Gap) bool {
		return g.To < x.q.From.UnixNano() || g.From > x.q.To.UnixNano()
	})
	return x.foot(a, len(t.rows), "rows")
}

// around reads what else is known of the time of the connection.
func (t *timeline) around(ctx context.Context) error {
	x := t.x
	_, err := x.ask.Samples(ctx, t.id, x.q.From, x.q.To, func(s *store.Sample) error {
		t.samples = append(t.samples, *s)
		return nil
	})
	if err != nil {
		return err
	}
	_, err = x.ask.Events(ctx, x.q.From, x.q.To, nil, func(ev *store.Event) error {
		if ev.ID == 0 || ev.ID == t.id {
			t.events = append(t.events, *ev)
		}
		return nil
	})
	return err
}

// scenes are the lines of the story, by time.
func (t *timeline) scenes() []scene {
	var all []scene
	first, last := t.rows[0].Conn, &t.rows[len(t.rows)-1]
	if first.Opened.Wall != 0 {
		text := "seen for the first time"
		if first.OpenedExact {
			text = "SYN sent or received"
		}
		all = append(all, t.life(t.rows[0].Start(), "opened", text, ""))
		if d, ok := tcp.FieldByName("handshake_us").Num(last.Conn); ok && first.OpenedExact {
			all = append(all, t.life(t.rows[0].Start()+int64(d)*1000, "established",
				"handshake took "+string(output.AppendMicros(nil, d)), ""))
		}
	}
	w := api.NewRecordWriter(nil)
	for i := range t.rows {
		r := &t.rows[i]
		all = append(all, scene{r.Time, "row", t.rowText(r), append([]byte(`{"event":"row",`), w.AppendRecord(nil, r)[1:]...)})
	}
	for i := range t.samples {
		s := &t.samples[i]
		b := append([]byte(`{"event":"sample",`), api.AppendColumns(nil, store.SampleColumns(), s)[1:]...)
		all = append(all, scene{s.Time, "sample", sampleText(s), b})
	}
	for i := range t.events {
		ev := &t.events[i]
		all = append(all, scene{ev.Time, ev.Type, t.x.eventText(ev), api.AppendColumns(nil, store.EventColumns(), ev)})
	}
	if last.Kind == store.Close {
		reason, by := "", ""
		if s, ok := tcp.FieldByName("close_reason").Str(last.Conn); ok {
			reason = s
		}
		if s, ok := tcp.FieldByName("closed_by").Str(last.Conn); ok {
			by = s
		}
		text, members := "the reason is not known", ""
		if reason != "" {
			text = reason
			members += `,"close_reason":"` + reason + `"`
		}
		if by != "" {
			text += ", first by the " + by + " end"
			members += `,"closed_by":"` + by + `"`
		}
		if d, ok := last.Conn.Duration(); ok {
			text += ", after " + lengthText(d)
		}
		all = append(all, t.life(last.Time, "closed", text, members))
	}
	slices.SortStableFunc(all, func(a, b scene) int { return cmp.Compare(a.time, b.time) })
	return all
}

// life is a scene of the connection itself. members go into its object.
func (t *timeline) life(at int64, event, text, members string) scene {
	b := fmt.Appendf(nil, `{"event":%q,"time":"`, event)
	b = append(tcp.AppendTime(b, at), `","id":"`...)
	b = append(t.id.AppendTo(b), '"')
	return scene{at, event, text, append(append(b, members...), '}')}
}

// rowText says what moved in the time of a row, and how the connection was then.
func (t *timeline) rowText(r *store.Record) string {
	var parts []string
	moved := func(counter int, unit string, human func(b []byte, n uint64) []byte) {
		if v, ok := r.Delta(counter); ok {
			parts = append(parts, string(human(nil, v))+" "+unit)
		}
	}
	moved(store.BytesSent, "sent", output.AppendBytes)
	moved(store.BytesReceived, "received", output.AppendBytes)
	if v, ok := r.Delta(store.Retransmits); ok && v > 0 {
		parts = append(parts, fmt.Sprintf("%d retransmissions", v))
	}
	since := r.Since
	if since == 0 {
		since = r.Start()
	}
	text := strings.Join(parts, ", ")
	if d := r.Time - since; d > 0 && text != "" {
		text += " in " + lengthText(time.Duration(d))
	}
	for _, name := range []string{"rtt_us", "cwnd"} {
		f := tcp.FieldByName(name)
		if f.Known(r.Conn) {
			text += fmt.Sprintf("; %s %s", strings.ToLower(f.Column), output.AppendHuman(nil, f, r.Conn))
		}
	}
	if r.Kind == store.Snapshot && r.Conn.State != tcp.StateUnknown && r.Conn.State != tcp.Established {
		text += "; " + r.Conn.State.String()
	}
	return strings.TrimPrefix(text, "; ")
}

func sampleText(s *store.Sample) string {
	text := fmt.Sprintf("%s/s sent, %s/s received", output.AppendBytes(nil, s.SendRate), output.AppendBytes(nil, s.ReceiveRate))
	if s.Retransmits > 0 {
		text += fmt.Sprintf(", %d retransmissions", s.Retransmits)
	}
	if s.RTT > 0 {
		text += "; rtt " + string(output.AppendMicros(nil, s.RTT))
	}
	return text
}

// print writes the story.
func (t *timeline) print() error {
	c := &t.x.h.common
	all := t.scenes()
	var b []byte
	switch c.format {
	case formatTable, formatWide:
		b = t.draw(b, all)
	case formatCSV:
		if !c.noHeader {
			b = append(b, "time,event,text\n"...)
		}
		for _, s := range all {
			b = append(tcp.AppendTime(b, s.time), ',')
			b = append(append(b, s.event...), ',')
			b = append(output.AppendCSVText(b, s.text), '\n')
		}
	case formatJSON:
		for i, s := range all {
			b = append(append(b, [2]string{"[\n", ",\n"}[min(i, 1)]...), s.json...)
		}
		b = append(b, "\n]\n"...)
	default:
		for _, s := range all {
			b = append(append(b, s.json...), '\n')
		}
	}
	_, err := t.x.e.stdout.Write(b)
	return err
}

// draw writes the story for people: who it is about, what happened, and charts.
// Samples are in the charts; -o wide lists them too.
func (t *timeline) draw(b []byte, all []scene) []byte {
	x := t.x
	limit := x.width
	b = t.heading(b, limit)
	grid := &output.Grid{Columns: []output.GridColumn{{Head: "TIME"}, {Head: "EVENT"}, {Head: "WHAT"}}, NoHeader: x.h.noHeader}
	if x.h.format == formatTable {
		grid.Width = limit
	}
	paint := x.h.useColor(x.e.stdout)
	for _, s := range all {
		if s.event == "sample" && x.h.format == formatTable {
			continue
		}
		color := ""
		if paint {
			color = eventPaint(s.event)
		}
		grid.AddColored(color, x.local(s.time).Format(time.DateTime+".000"), s.event, s.text)
	}
	b = grid.Append(b)
	if limit == 0 {
		limit = heatmapWidth
	}
	color := ""
	if paint {
		color = output.Blue
	}
	return t.appendGraphs(b, limit, color)
}

// heading says which connection it is.
func (t *timeline) heading(b []byte, limit int) []byte {
	last := t.rows[len(t.rows)-1].Conn
	line := func(names ...string) {
		var parts []string
		for _, n := range names {
			col, ok := output.ColumnByName(n)
			if !ok || col.Field != nil && !col.Field.Known(last) {
				continue
			}
			parts = append(parts, n+" "+string(col.Append(nil, last)))
		}
		room := 0
		for _, p := range parts {
			w := output.Width(p)
			switch {
			case room == 0:
			case limit > 0 && room+2+w > limit:
				b, room = append(b, '\n'), 0
			default:
				b, room = append(b, "  "...), room+2
			}
			if limit > 0 {
				p = output.Cut(p, limit)
			}
			b, room = append(b, p...), room+w
		}
		if len(parts) > 0 {
			b = append(b, '\n')
		}
	}
	line("id", "host", "direction", "local", "remote")
	line("process", "pid", "user", "container", "unit", "service", "sni", "country", "asn")
	return append(b, '\n')
}

// appendGraphs draws the samples.
func (t *timeline) appendGraphs(b []byte, limit int, color string) []byte {
	if len(t.samples) < 2 {
		return b
	}
	const left = 6
	columns := max(limit-left-40, 20)
	from := t.samples[0].Time - int64(t.samples[0].Span)*1000
	to := t.samples[len(t.samples)-1].Time
	b = append(b, '\n')
	for _, g := range []struct {
		head string
		kind tcp.Kind
		of   func(*store.Sample) uint64
	}{
		{"TX/s", tcp.KindRate, func(s *store.Sample) uint64 { return s.SendRate }},
		{"RX/s", tcp.KindRate, func(s *store.Sample) uint64 { return s.ReceiveRate }},
		{"RTT", tcp.KindDuration, func(s *store.Sample) uint64 { return s.RTT }},
		{"CWND", tcp.KindUint, func(s *store.Sample) uint64 { return s.CWND }},
	} {
		values := spread(t.samples, from, to, columns, func(s *store.Sample) float64 {
			v := g.of(s)
			if v == 0 && g.kind != tcp.KindRate {
				return math.NaN()
			}
			return float64(v)
		})
		number := store.Aggregate{Func: store.Max, Field: &tcp.Field{Kind: g.kind}}
		least, most := math.NaN(), math.NaN()
		for _, v := range values {
			if !math.IsNaN(v) {
				least, most = minKnown(least, v), -minKnown(-most, -v)
			}
		}
		if math.IsNaN(most) {
			continue
		}
		b = append(append(b, padded(g.head, left)...), painted(color, chart.Spark(values, 0))...)
		b = fmt.Appendf(b, "  %s to %s\n", humanNumber(number, least, true), humanNumber(number, most, true))
	}
	if line := chart.Axis(t.x.local(from), t.x.local(to), columns); line != "" {
		b = append(append(b, strings.Repeat(" ", left)...), line...)
		b = append(b, '\n')
	}
	return b
}

// minKnown is the smaller of a value and what may not be known yet.
func minKnown(known, v float64) float64 {
	if math.IsNaN(known) || v < known {
		return v
	}
	return known
}

// spread puts samples into columns of equal time: the largest of those that tell
// of a part of it, unknown where none does.
func spread(samples []store.Sample, from, to int64, columns int, of func(*store.Sample) float64) []float64 {
	values := make([]float64, columns)
	for i := range values {
		values[i] = math.NaN()
	}
	if to <= from {
		return values
	}
	at := func(t int64) int { return int(float64(t-from) / float64(to-from) * float64(columns)) }
	for i := range samples {
		s := &samples[i]
		v := of(s)
		first, last := max(at(s.Time-int64(s.Span)*1000), 0), min(at(s.Time-1), columns-1)
		for c := first; c <= last; c++ {
			if math.IsNaN(values[c]) || v > values[c] {
				values[c] = v
			}
		}
	}
	return values
}
