package tui

import (
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// gapFor is the space between columns.
func gapFor(width int) int {
	if width < 110 {
		return 1
	}
	return 2
}

// gutter is the first column of the table: a mark for rows that are new, changed
// or closed, for those who see no colors.
const gutter = 1

// available are the columns that are not scrolled away; the first ones, who a
// connection belongs to, stay.
func (m *Model) available() []*column {
	const pinned = 1
	m.shift = max(min(m.shift, len(m.columns)-pinned-1), 0)
	if m.shift == 0 {
		return m.columns
	}
	return append(append([]*column(nil), m.columns[:pinned]...), m.columns[pinned+m.shift:]...)
}

// fitted are the available columns, the widths of those that there is room for,
// and the space between them: less where that shows more of them.
func (m *Model) fitted() (cols []*column, ws []int, gap int) {
	cols = m.available()
	want := m.want(cols)
	gap = gapFor(m.width)
	if ws = fit(cols, want, m.width-gutter, gap); len(ws) < len(cols) {
		gap = 1
		ws = fit(cols, want, m.width-gutter, gap)
	}
	return cols, ws, gap
}

// shownColumns are those that there is room for.
func (m *Model) shownColumns() []*column {
	cols, ws, _ := m.fitted()
	return cols[:len(ws)]
}

// want is how wide columns would like to be: as the widest cell that was seen
// since the screen or the columns changed.
func (m *Model) want(cols []*column) []int {
	if len(m.wide) != len(cols) {
		m.wide = nil
		m.measureColumns(cols)
	}
	return m.wide
}

// measure widens columns for the rows in sight.
func (m *Model) measure() {
	if m.view == viewConns && m.overlay == nil {
		m.measureColumns(m.available())
	}
}

func (m *Model) measureColumns(cols []*column) {
	if len(m.wide) != len(cols) {
		m.wide = make([]int, len(cols))
		for i, c := range cols {
			m.wide[i] = max(c.least, len(c.head))
		}
	}
	s, h := m.set(), m.tableHeight()
	var b []byte
	for i := m.top; i < min(m.top+h, len(s.shown)); i++ {
		conn := m.shownConn(s.shown[i].conn)
		for j, c := range cols {
			if c.least == c.most || m.wide[j] >= c.most {
				continue
			}
			b = c.value(b[:0], conn)
			if len(b) > m.wide[j] {
				m.wide[j] = max(m.wide[j], cells(string(b)))
			}
		}
	}
}

// columnAt is the number of the shown column at a place of a line; -1 if there is
// none.
func (m *Model) columnAt(x int) int {
	_, ws, gap := m.fitted()
	at := gutter
	for i, w := range ws {
		if x >= at && x < at+w+gap {
			return i
		}
		at += w + gap
	}
	return -1
}

// drawTable draws the heads and the rows in sight.
func (m *Model) drawTable(c *canvas) {
	m.measure()
	cols, ws, gap := m.fitted()
	s := m.set()
	m.drawHeads(c, cols, ws, gap)
	h := m.tableHeight()
	if len(s.shown) == 0 {
		m.drawNothing(c)
		return
	}
	var b []byte
	for i := m.top; i < min(m.top+h, len(s.shown)); i++ {
		r := s.shown[i]
		c.row = i == m.cursor
		mark, all := s.mark(r)
		if c.row && mark == " " {
			mark = "▸"
		}
		c.str(all, mark)
		conn := m.shownConn(r.conn)
		for j, w := range ws {
			if j > 0 {
				c.spaces(gap)
			}
			b = cols[j].value(b[:0], conn)
			st := all
			if all == sNormal {
				st = s.cellStyle(r, cols[j])
			}
			if cols[j].end {
				c.endCell(st, string(b), w)
			} else {
				c.cell(st, string(b), w, cols[j].right)
			}
		}
		c.end(all)
	}
}

func (m *Model) drawHeads(c *canvas, cols []*column, ws []int, gap int) {
	by := m.set().sorter
	c.str(sHead, " ")
	for j, w := range ws {
		if j > 0 {
			c.str(sHead, "  "[:gap])
		}
		st, head := sHead, cols[j].head
		if cols[j].name == by.col.name {
			arrow := by.arrow()
			st = sHeadSort
			if len(head) < w {
				head += arrow
			} else {
				head = head[:w-1] + arrow
			}
		}
		c.cell(st, head, w, cols[j].right)
	}
	if more := len(cols) - len(ws); more > 0 && c.room() >= 2 {
		c.rightStr(sDim, "▸")
	}
	c.end(sHead)
}

// drawNothing says why there are no rows.
func (m *Model) drawNothing(c *canvas) {
	c.end(sNormal)
	switch t := m.set().totals.all; {
	case t == 0:
		c.str(sDim, "  no connections yet")
	case m.bar.err != nil:
		c.str(sDim, "  nothing matches the filter as it was before the mistake")
	default:
		c.str(sDim, "  none of "+connsText(t)+" match; "+m.keys.label(actBack)+" clears the filter")
	}
	c.end(sNormal)
}

// mark is how a whole row stands out.
func (s *rowSet) mark(r *row) (string, style) {
	switch {
	case r.closed != 0:
		return "×", sClosed
	case r.born != 0 && s.now-r.born < newFor:
		return "+", sNew
	case r.turned != 0 && s.now-r.turned < changedFor:
		return "*", sChanged
	case r.rank == rankRemnant:
		return " ", sDim
	}
	return " ", sNormal
}

// cellStyle is how a cell of an ordinary row looks.
func (s *rowSet) cellStyle(r *row, col *column) style {
	c := r.conn
	switch col.name {
	case "state":
		return stateStyle(c.State)
	case "remote":
		if c.State == tcp.Listen {
			if full(c) {
				return sBad
			}
			return sDim
		}
		return sNormal
	case "local", "local_ip", "process":
		return sNormal
	case "retransmits":
		if c.Has&tcp.HasRetransmits != 0 && c.Metrics.Retransmits > 0 {
			return sWarn
		}
	case "receive_rate":
		if r.rx > 0 {
			return sReceive
		}
	case "send_rate":
		if r.tx > 0 {
			return sSend
		}
	}
	if r.changed == s.pass && r.prev != nil && col.changed(r.prev, c) {
		return sFresh
	}
	if col.field != nil && col.field.Num != nil {
		if v, ok := col.field.Num(c); !ok || v == 0 {
			return sDim
		}
	} else if col.field != nil && !col.field.Known(c) {
		return sDim
	}
	return sNormal
}

// full reports whether the accept queue of a listener is, or nearly.
func full(c *tcp.Conn) bool {
	const both = tcp.HasAcceptQueue | tcp.HasBacklog
	return c.Has&both == both && c.Metrics.AcceptQueue > 0 && c.Metrics.AcceptQueue*10 >= c.Metrics.Backlog*8
}

func stateStyle(s tcp.State) style {
	switch s {
	case tcp.Established:
		return sGood
	case tcp.Listen:
		return sListen
	case tcp.SynSent, tcp.SynRecv, tcp.CloseWait:
		return sWarn
	case tcp.Closed:
		return sClosed
	default:
		return sDim
	}
}
