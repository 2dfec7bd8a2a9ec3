package tui

import (
	tea "charm.land/bubbletea/v2"
)

// help is the table of keys, built from the key map.
type help struct {
	lines []HelpKey // an empty Action is a heading
	top   int
	page  int
}

func newHelp(m *Model) *help {
	h := &help{}
	last := ""
	for _, k := range m.keys.help() {
		if k.Scope != last {
			if last != "" {
				h.lines = append(h.lines, HelpKey{})
			}
			h.lines = append(h.lines, HelpKey{Scope: k.Scope})
			last = k.Scope
		}
		h.lines = append(h.lines, k)
	}
	return h
}

func (h *help) key(m *Model, key, _ string) (tea.Cmd, bool) {
	switch a := m.keys.find(inAll, key); a {
	case actUp:
		h.top--
	case actDown:
		h.top++
	case actPageUp:
		h.top -= h.page
	case actPageDown:
		h.top += h.page
	case actTop:
		h.top = 0
	case actBottom:
		h.top = len(h.lines)
	default:
		if key == "space" {
			h.top += h.page
			return nil, false
		}
		return nil, true
	}
	return nil, false
}

func (h *help) draw(m *Model, c *canvas, height int) {
	h.page = height - 1
	h.top = max(min(h.top, len(h.lines)-height), 0)
	end := min(h.top+height, len(h.lines))
	for i, l := range h.lines[h.top:end] {
		switch {
		case l.Action == "" && l.Scope != "":
			c.str(sHead, " "+l.Scope)
			if i == 0 && h.top == 0 {
				c.str(sDim, "   ViewTCP "+m.cfg.Version+"; any other key closes this")
			}
		case l.Action != "":
			c.cell(sKey, "   "+l.Keys, 22, false)
			width := max(c.room()-24, 20)
			c.cell(sNormal, l.Doc, width, false)
			if c.room() > 8 {
				c.cell(sDim, "  "+l.Action, c.room(), false)
			}
		}
		if c.lines >= 0 && i == height-1 && h.top+height < len(h.lines) {
			c.rightStr(sDim, " more ▾")
		}
		c.end(sNormal)
	}
}
