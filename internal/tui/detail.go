package tui

import (
	"context"
	"strconv"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/viewtcp/viewtcp/internal/chart"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/text"
)

// detail is the view of one connection.
type detail struct {
	id tcp.ID
	// row is the connection as it was seen last: it stays when the table has
	// dropped it.
	row     *row
	parents []Parent
	top     int
	lines   int
}

// openDetail shows all about a row.
func (m *Model) openDetail(r *row) tea.Cmd {
	if m.view != viewDetail {
		m.back = m.view
	}
	m.detail = detail{id: r.conn.ID, row: r}
	m.view = viewDetail
	m.hist.add(r, m.snap.Time.Boot, m.pace.interval())
	p := r.conn.Process
	if m.cfg.Parents == nil || p == nil {
		return nil
	}
	id, pid := m.detail.id, p.PID
	return m.run(func(context.Context) func(*Model) {
		parents := m.cfg.Parents(pid)
		return func(m *Model) {
			if m.detail.id == id {
				m.detail.parents = parents
			}
		}
	})
}

// follow takes the newest view of the connection.
func (d *detail) follow(m *Model) {
	if r := m.live.rows[d.id]; r != nil && m.frozen == nil {
		d.row = r
	}
}

// draw fills the body with the part of all lines that is in sight.
func (d *detail) draw(m *Model, c *canvas, height int) {
	all := newCanvas(c.width, m.theme, m.cfg.ASCII)
	conn := m.shownConn(d.row.conn)
	d.drawIdentity(m, all, conn)
	d.drawLife(m, all)
	d.drawSparklines(m, all)
	m.capture.draw(m, all)
	drawFields(all, conn)
	d.lines = all.lines
	d.top = c.window(all, d.top, height)
}

func heading(c *canvas, t string) {
	c.end(sNormal)
	c.str(sHead, " "+t)
	c.end(sNormal)
}

func (d *detail) drawIdentity(m *Model, c *canvas, conn *tcp.Conn) {
	c.str(sBold, " "+processLabel(conn))
	c.str(sDim, "  ")
	c.str(sBold, string(columnByName("local").value(nil, conn)))
	c.str(sDim, directionArrow(conn.Direction))
	c.str(sBold, string(columnByName("remote").value(nil, conn)))
	c.str(stateStyle(conn.State), "  "+conn.State.String())
	switch {
	case conn.Reason != tcp.CloseUnknown:
		c.str(sClosed, " ("+conn.Reason.String()+sidePart(conn.ClosedBy)+")")
	case d.row.closed != 0:
		c.str(sClosed, " (gone)")
	}
	c.str(sDim, "  "+conn.ID.String())
	c.end(sNormal)

	p := conn.Process
	if p == nil {
		c.str(sDim, "   the process is not known")
		c.end(sNormal)
		return
	}
	c.str(sNormal, "  ")
	for _, v := range []struct{ name, value string }{{"user", p.User}, {"unit", p.Unit}, {"container", p.Container}} {
		if v.value != "" {
			c.str(sDim, " "+v.name+" ")
			c.str(sNormal, v.value+" ")
		}
	}
	sep := " started by "
	for _, up := range d.parents { // the nearest first: the line may be too short
		c.str(sDim, sep+up.Name+"["+strconv.Itoa(int(up.PID))+"]")
		sep = " ‹ "
	}
	c.end(sNormal)
	if p.Cmdline != "" {
		c.str(sDim, "   $ ")
		c.str(sNormal, p.Cmdline)
		c.end(sNormal)
	}
}

func sidePart(s tcp.Side) string {
	if s == tcp.SideUnknown {
		return ""
	}
	return ", " + s.String() + " end first"
}

// A span is a state and how long it lasted.
type span struct {
	state  tcp.State
	lasted time.Duration
	// known says that the beginning was seen, open that it lasts.
	known, open bool
}

// timeline is the life of a connection: what its own times tell, and then the
// states that were seen.
func timeline(r *row, now int64) []span {
	c := r.conn
	var marks []lifeMark
	if c.OpenedExact && !c.Opened.IsZero() {
		first := tcp.SynSent
		if c.Direction == tcp.Inbound {
			first = tcp.SynRecv
		}
		if c.Has&tcp.HasHandshake != 0 {
			marks = append(marks, lifeMark{first, c.Opened}, lifeMark{tcp.Established, c.Opened.Add(time.Duration(c.Handshake) * time.Microsecond)})
		} else if len(r.life) > 0 && r.life[0].state != tcp.Established {
			marks = append(marks, lifeMark{r.life[0].state, c.Opened})
		} else {
			marks = append(marks, lifeMark{first, c.Opened})
		}
	}
	for _, l := range r.life {
		n := len(marks)
		switch {
		case n > 0 && marks[n-1].state == l.state:
			continue
		case n > 0 && stateOrder[l.state] < stateOrder[marks[n-1].state]:
			continue // told by the connection's own times already
		}
		marks = append(marks, l)
	}
	if !c.Closed.IsZero() && (len(marks) == 0 || marks[len(marks)-1].state != tcp.Closed && !c.Remnant) {
		marks = append(marks, lifeMark{tcp.Closed, c.Closed})
	}
	var spans []span
	for i, k := range marks {
		s := span{state: k.state, known: i > 0 || c.OpenedExact, open: i == len(marks)-1}
		end := now
		if !s.open {
			end = marks[i+1].at.Boot
		}
		if k.at.Boot == 0 {
			s.known = false
		} else {
			s.lasted = time.Duration(max(end-k.at.Boot, 0))
		}
		spans = append(spans, s)
	}
	return spans
}

func (d *detail) drawLife(m *Model, c *canvas) {
	heading(c, "Life")
	c.str(sDim, "   ")
	for i, s := range timeline(d.row, m.live.now) {
		if i > 0 {
			c.str(sDim, " → ")
		}
		name := s.state.String()
		t := durationText(s.lasted)
		switch {
		case s.state == tcp.Closed || s.state == tcp.Listen && !s.known:
			t = ""
		case !s.known && s.open:
			t = "since before ViewTCP began"
		case !s.known:
			t = "?"
		}
		if cells(name)+cells(t)+5 > c.room() {
			c.end(sNormal)
			c.str(sDim, "     ")
		}
		c.str(stateStyle(s.state), name)
		if t != "" {
			c.str(sNormal, " "+t)
		}
	}
	c.end(sNormal)
}

// sparkTitles are the series of the detail view.
var sparkTitles = [numSeries]struct {
	title string
	style style
	unit  func(uint64) string
}{
	{"RX/s", sReceive, rateText},
	{"TX/s", sSend, rateText},
	{"RTT", sAccent, microsText},
	{"CWND", sGood, countText[uint64]},
	{"RETR", sWarn, countText[uint64]},
}

func (d *detail) drawSparklines(m *Model, c *canvas) {
	h := m.hist.byID[d.id]
	if h == nil || d.row.conn.State == tcp.Listen {
		return
	}
	var values []float64
	c.end(sNormal)
	c.str(sHead, " Last minutes")
	if h.n > 1 {
		c.str(sDim, "  over "+durationText(h.span(m.snap.Time.Boot)))
	}
	c.end(sNormal)
	columns := 1
	if c.width >= 120 {
		columns = 2
	}
	cellWidth := c.width / columns
	n := 0
	for i := range sparkTitles {
		s := &sparkTitles[i]
		values = h.values(values[:0], i)
		latest, known := 0.0, false
		for _, v := range values {
			if v == v { // not NaN
				latest, known = v, true
			}
		}
		if !known {
			continue
		}
		at := (n % columns) * cellWidth
		c.to(sNormal, at)
		c.cell(sDim, "   "+s.title, 9, false)
		width := max(min(cellWidth-9-11-11-2, historyLen), 10)
		c.str(s.style, sparkline(squeeze(values, h.first(), width), width))
		c.cell(sNormal, " "+s.unit(uint64(latest)), 11, false)
		c.cell(sDim, "max "+s.unit(uint64(chart.Largest(values))), 12, false)
		if n++; n%columns == 0 {
			c.end(sNormal)
		}
	}
	if n%columns != 0 {
		c.end(sNormal)
	}
}

// fieldText is a value as people read it, with all its digits where that form
// drops some.
func fieldText(f *tcp.Field, c *tcp.Conn) string {
	const fewBytes = 100_000 // so many are read as easily in digits
	t := string(text.AppendHuman(nil, f, c))
	if f.Num == nil {
		return t
	}
	v, _ := f.Num(c)
	switch f.Kind {
	case tcp.KindUint:
		switch f.Group {
		case tcp.GroupVolume, tcp.GroupPath, tcp.GroupWindows, tcp.GroupPackets:
			return countText(v)
		default:
		}
	case tcp.KindBytes:
		if v < fewBytes {
			return countText(v) + " B"
		}
		return t + " (" + countText(v) + " B)"
	case tcp.KindRate:
		if v >= 1024 {
			return t + " (" + countText(v) + " B)"
		}
	case tcp.KindDuration:
		if v >= 1000 {
			return t + " (" + countText(v) + " µs)"
		}
	default:
	}
	return t
}

// detailGroups is the order of the groups of fields: what moves comes first.
var detailGroups = []tcp.Group{
	tcp.GroupVolume, tcp.GroupPath, tcp.GroupWindows, tcp.GroupPackets, tcp.GroupLife, tcp.GroupEnds, tcp.GroupProcess, tcp.GroupIdentity,
}

// drawFields lists every known field by its group, with its meaning.
func drawFields(c *canvas, conn *tcp.Conn) {
	const nameWidth, valueWidth = 22, 26
	for _, g := range detailGroups {
		first := true
		for _, f := range tcp.Fields() {
			if f.Group != g || !f.Known(conn) {
				continue
			}
			if first {
				first = false
				t := g.String()
				heading(c, strings.ToUpper(t[:1])+t[1:])
			}
			c.cell(sAccent, "   "+f.Name, max(nameWidth, len(f.Name)+1)+3, false)
			value := fieldText(f, conn)
			c.cell(sNormal, value, min(max(cells(value), valueWidth), max(c.room(), 1)), false)
			if c.room() > 20 {
				c.str(sDim, "  ")
				c.cell(sDim, f.Doc, c.room(), false)
			}
			c.end(sNormal)
		}
	}
}

// detailText is what copying a connection copies.
func detailText(c *tcp.Conn) string {
	var b []byte
	for _, f := range tcp.Fields() {
		if !f.Known(c) {
			continue
		}
		b = append(b, f.Name...)
		b = append(b, ": "...)
		b = text.AppendHuman(b, f, c)
		b = append(b, '\n')
	}
	return string(b)
}
