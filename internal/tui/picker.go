package tui

import (
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// picker chooses the columns of the table out of all fields.
type picker struct {
	// items are all columns: the chosen ones in their order, then the rest.
	items  []*column
	chosen map[string]bool
	search string
	cursor int
	top    int
	page   int
}

func newPicker(m *Model) *picker {
	p := &picker{chosen: make(map[string]bool)}
	for _, c := range m.columns {
		p.items = append(p.items, c)
		p.chosen[c.name] = true
	}
	add := func(name string) {
		if !p.chosen[name] {
			p.items = append(p.items, columnByName(name))
		}
	}
	add("remote")
	add("local")
	for _, f := range tcp.Fields() {
		add(f.Name)
	}
	return p
}

// found are the items that the typed text is in.
func (p *picker) found() []*column {
	if p.search == "" {
		return p.items
	}
	var cs []*column
	for _, c := range p.items {
		if strings.Contains(c.name, p.search) || strings.Contains(strings.ToLower(c.head), p.search) {
			cs = append(cs, c)
		}
	}
	return cs
}

func (p *picker) key(m *Model, key, typed string) (tea.Cmd, bool) {
	found := p.found()
	at := min(p.cursor, len(found)-1)
	switch key {
	case "enter":
		p.apply(m)
		return nil, true
	case "esc":
		if p.search != "" {
			p.search = ""
			return nil, false
		}
		return nil, true
	case "space":
		if at >= 0 {
			p.chosen[found[at].name] = !p.chosen[found[at].name]
		}
	case "up":
		p.cursor = max(at-1, 0)
	case "down":
		p.cursor = min(at+1, len(found)-1)
	case "pgup":
		p.cursor = max(at-p.page, 0)
	case "pgdown":
		p.cursor = min(at+p.page, len(found)-1)
	case "home":
		p.cursor = 0
	case "end":
		p.cursor = len(found) - 1
	case "left", "right", "shift+up", "shift+down":
		if p.search == "" && at >= 0 {
			p.swap(at, key == "right" || key == "shift+down")
		}
	case "backspace":
		p.search = p.search[:max(len(p.search)-1, 0)]
		p.cursor = 0
	case "ctrl+r":
		m.columns = columnsByName(defaultColumns)
		*p = *newPicker(m)
		p.apply(m)
	default:
		if len(typed) == 1 && len(p.search) < 32 {
			p.search += strings.ToLower(typed)
			p.cursor = 0
		}
	}
	return nil, false
}

// swap moves an item forth or back.
func (p *picker) swap(at int, down bool) {
	to := at - 1
	if down {
		to = at + 1
	}
	if to < 0 || to >= len(p.items) {
		return
	}
	p.items[at], p.items[to] = p.items[to], p.items[at]
	p.cursor = to
}

// apply makes the chosen columns those of the table; at least one stays.
func (p *picker) apply(m *Model) {
	cols := slices.DeleteFunc(slices.Clone(p.items), func(c *column) bool { return !p.chosen[c.name] })
	if len(cols) == 0 {
		cols = columnsByName(defaultColumns[:1])
	}
	m.columns, m.wide, m.shift = cols, nil, 0
	m.layoutChanged()
}

func (p *picker) draw(m *Model, c *canvas, height int) {
	found := p.found()
	c.str(sHead, " Columns ")
	c.str(sDim, "Space chooses, Left and Right move, letters search, Enter takes, Ctrl-R resets, Esc goes back")
	c.end(sNormal)
	c.str(sDim, " search: ")
	c.str(sBold, p.search)
	c.end(sNormal)
	h := max(height-2, 1)
	p.page = h - 1
	p.cursor = max(min(p.cursor, len(found)-1), 0)
	p.top = max(min(min(max(p.top, p.cursor-h+1), p.cursor), len(found)-h), 0)
	for i := p.top; i < min(p.top+h, len(found)); i++ {
		col := found[i]
		c.row = i == p.cursor
		box, st := " [ ] ", sNormal
		if p.chosen[col.name] {
			box, st = " [x] ", sGood
		}
		c.str(st, box)
		c.cell(st, col.head, 12, false)
		c.cell(sNormal, col.name, 26, false)
		c.cell(sDim, col.doc, c.room(), false)
		c.end(sNormal)
	}
	if len(found) == 0 {
		c.str(sDim, " no field has that in its name")
		c.end(sNormal)
	}
}
