package tui

import (
	"context"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/text"
)

// confirm asks a question that y answers with yes, and any other key with no.
type confirm struct {
	title string
	lines []string
	yes   func(m *Model) tea.Cmd
}

func (q *confirm) key(m *Model, key, _ string) (tea.Cmd, bool) {
	if key == "y" || key == "Y" {
		return q.yes(m), true
	}
	m.say(sDim, "nothing done")
	return nil, true
}

func (q *confirm) draw(_ *Model, c *canvas, height int) {
	c.blank(c.lines + max((height-len(q.lines)-4)/2, 0))
	c.str(sBad, "   "+q.title)
	c.end(sNormal)
	c.end(sNormal)
	for _, l := range q.lines {
		c.str(sNormal, "   "+l)
		c.end(sNormal)
	}
	c.end(sNormal)
	c.str(sKey, "   y")
	c.str(sNormal, " yes   ")
	c.str(sKey, "any other key")
	c.str(sNormal, " no")
	c.end(sNormal)
}

// prompt asks for a line of text.
type prompt struct {
	title string
	lines []string
	edit  lineEdit
	done  func(m *Model, t string) tea.Cmd
}

func (p *prompt) key(m *Model, key, typed string) (tea.Cmd, bool) {
	switch key {
	case "enter":
		return p.done(m, p.edit.text), true
	case "esc":
		return nil, true
	}
	p.edit.key(key, typed)
	return nil, false
}

const promptMark = "   > "

func (p *prompt) column() int { return cells(promptMark) + cells(p.edit.text[:p.edit.pos]) }

func (p *prompt) draw(_ *Model, c *canvas, height int) {
	bottom := c.lines + height
	c.blank(max(bottom-len(p.lines)-2, c.lines))
	c.str(sHead, " "+p.title)
	c.end(sNormal)
	for _, l := range p.lines {
		c.str(sDim, "   "+l)
		c.end(sNormal)
	}
	c.str(sKey, promptMark)
	c.str(sBold, p.edit.text)
	c.end(sNormal)
}

// menu chooses one of several texts.
type menu struct {
	title  string
	items  []string
	cursor int
	// fixed is how many at the beginning cannot be removed.
	fixed  int
	choose func(m *Model, item string)
	remove func(m *Model, item string)
}

func (n *menu) key(m *Model, key, _ string) (tea.Cmd, bool) {
	switch key {
	case "up", "k":
		n.cursor = max(n.cursor-1, 0)
	case "down", "j":
		n.cursor = min(n.cursor+1, len(n.items)-1)
	case "enter":
		n.choose(m, n.items[n.cursor])
		return nil, true
	case "delete", "x":
		if n.cursor >= n.fixed {
			n.remove(m, n.items[n.cursor])
			n.items = slices.Delete(n.items, n.cursor, n.cursor+1)
			n.cursor = min(n.cursor, len(n.items)-1)
		}
	default:
		if len(key) == 1 && key[0] >= '1' && key[0] <= '9' && int(key[0]-'1') < len(n.items) {
			n.choose(m, n.items[key[0]-'1'])
			return nil, true
		}
		return nil, key == "esc" || key == "q"
	}
	return nil, false
}

func (n *menu) draw(_ *Model, c *canvas, height int) {
	c.str(sHead, " "+n.title)
	c.str(sDim, "   Enter or the number takes one, x removes a saved one, Esc goes back")
	c.end(sNormal)
	first := max(n.cursor-height+2, 0)
	for i := first; i < min(first+height-1, len(n.items)); i++ {
		c.row = i == n.cursor
		label := "   "
		if i < 9 {
			label = " " + string(rune('1'+i)) + " "
		}
		c.str(sKey, label)
		c.str(sNormal, n.items[i])
		c.end(sNormal)
	}
}

// usualFilters are what people look for when a machine misbehaves.
var usualFilters = []string{
	"state close-wait",
	"retransmits > 0",
	"state half-open",
	"rtt > 200ms",
	"state listen and accept_queue > 0",
	"recv_queue > 0 or send_queue > 0",
}

// chooseFilter offers the usual filters and those that were saved.
func (m *Model) chooseFilter() {
	m.overlay = &menu{
		title: "Filters", items: slices.Concat(usualFilters, m.bar.saved), fixed: len(usualFilters),
		choose: func(m *Model, t string) {
			m.bar.inverse = false
			m.setFilter(t)
		},
		remove: func(m *Model, t string) {
			m.bar.saved = slices.DeleteFunc(m.bar.saved, func(s string) bool { return s == t })
			m.layoutChanged()
		},
	}
}

// chosenConn is the connection that actions are about; nil if there is none.
func (m *Model) chosenConn() *tcp.Conn {
	if m.view == viewDetail {
		return m.detail.row.conn
	}
	if r := m.current(); r != nil {
		m.moveTo(m.cursor)
		return r.conn
	}
	return nil
}

// askClose asks before it closes the socket.
func (m *Model) askClose() {
	c := m.chosenConn()
	switch {
	case c == nil:
		return
	case m.cfg.Close == nil:
		m.say(sWarn, "closing sockets is not possible here")
		return
	case c.State == tcp.Closed || !c.Closed.IsZero() && !c.Remnant:
		m.say(sWarn, "it is closed already")
		return
	}
	m.overlay = &confirm{
		title: "Close this socket?",
		lines: []string{
			processLabel(c) + "  " + string(columnByName("local").value(nil, c)) + "  " + string(columnByName("remote").value(nil, c)) + "  " + c.State.String(),
			"",
			"The process gets ECONNABORTED, the peer a RST (SOCK_DESTROY).",
		},
		yes: func(m *Model) tea.Cmd {
			return m.run(func(ctx context.Context) func(*Model) {
				err := m.cfg.Close(ctx, c)
				return func(m *Model) {
					if err != nil {
						m.say(sBad, "not closed: "+err.Error())
						return
					}
					m.say(sGood, "closed")
				}
			})
		},
	}
}

// copy puts the connection into the clipboard (OSC 52).
func (m *Model) copy() tea.Cmd {
	c := m.chosenConn()
	if c == nil {
		return nil
	}
	c = m.shownConn(c)
	if m.view == viewDetail {
		m.say(sGood, "all fields copied, if the terminal allows it")
		return tea.SetClipboard(detailText(c))
	}
	var cells []string
	for _, col := range m.columns {
		cells = append(cells, text.Clean(string(col.value(nil, c))))
	}
	m.say(sGood, "the row copied, if the terminal allows it")
	return tea.SetClipboard(strings.Join(cells, "\t"))
}

// askExport asks for the file that the rows are written to.
func (m *Model) askExport() {
	if m.cfg.Export == nil {
		m.say(sWarn, "writing files is not possible here")
		return
	}
	s := m.set()
	if len(s.shown) == 0 {
		m.say(sWarn, "there are no rows to write")
		return
	}
	conns := make([]*tcp.Conn, len(s.shown))
	for i, r := range s.shown {
		conns[i] = m.shownConn(r.conn)
	}
	p := &prompt{
		title: "Write " + connsText(len(conns)) + " to a file",
		lines: []string{"with all fields: .csv, .json or .jsonl; an existing file is not overwritten"},
		done: func(m *Model, t string) tea.Cmd {
			if t = strings.TrimSpace(t); t == "" {
				return nil
			}
			return m.run(func(context.Context) func(*Model) {
				err := m.cfg.Export(t, conns, tcp.Fields())
				return func(m *Model) {
					if err != nil {
						m.say(sBad, "not written: "+err.Error())
						return
					}
					m.say(sGood, "wrote "+connsText(len(conns))+" to "+t)
				}
			})
		},
	}
	p.edit.set("viewtcp-" + m.snap.Time.Time().Local().Format("20060102-150405") + ".csv")
	m.overlay = p
}
