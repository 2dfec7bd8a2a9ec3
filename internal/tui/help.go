package tui

import (
	tea "charm.land/bubbletea/v2"
)

// The widths of the columns of keys and of actions. What keys do is told in full
// on the narrowest usual screen; there the names of actions, which only matter
// for the configuration, have no room.
const (
	helpKeys        = 20
	helpActions     = 24
	helpActionsFrom = 100
	helpMore        = "  more ▾"
)

// help is the table of keys, built from the key map: those of the view at hand
// first, because they are looked for most.
type help struct {
	lines []HelpKey // an empty Action is a heading
	top   int
	page  int
}

func newHelp(m *Model) *help {
	h := &help{}
	keys, here := m.keys.help(), scopeTitles[m.scope()]
	for _, wanted := range []bool{true, false} {
		for _, k := range keys {
			if (k.Scope == here) == wanted {
				h.add(k)
			}
		}
	}
	return h
}

// add appends a key, below a heading where another scope begins.
func (h *help) add(k HelpKey) {
	if n := len(h.lines); n == 0 || h.lines[n-1].Scope != k.Scope {
		if n > 0 {
			h.lines = append(h.lines, HelpKey{})
		}
		h.lines = append(h.lines, HelpKey{Scope: k.Scope})
	}
	h.lines = append(h.lines, k)
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
	actions := 0
	if c.width >= helpActionsFrom {
		actions = helpActions
	}
	for i, l := range h.lines[h.top:end] {
		c.clip = c.width - cells(helpMore)
		switch {
		case l.Action == "" && l.Scope != "":
			c.str(sHead, " "+l.Scope)
			if i == 0 && h.top == 0 {
				c.str(sDim, "   ViewTCP "+m.cfg.Version+"; any other key closes this")
			}
		case l.Action != "":
			c.cell(sKey, "   "+l.Keys, helpKeys, false)
			c.cell(sNormal, l.Doc, c.room()-actions, false)
			if actions > 0 {
				c.cell(sDim, "  "+l.Action, actions, false)
			}
		}
		c.clip = 0
		if i == height-1 && h.top+height < len(h.lines) {
			c.rightStr(sDim, helpMore)
		}
		c.end(sNormal)
	}
}
