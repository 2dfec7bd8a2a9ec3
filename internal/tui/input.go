package tui

import (
	"slices"
	"strconv"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
)

// scope is where keys go to at the moment.
func (m *Model) scope() scope {
	switch m.view {
	case viewGroups:
		return inGroups
	case viewDetail:
		return inDetail
	case viewOverview:
		return inChart
	default:
		return inTable
	}
}

// keyPress takes a key: key is its name, typed the text that it stands for.
func (m *Model) keyPress(key, typed string) tea.Cmd {
	m.note = ""
	switch {
	case m.overlay != nil:
		if key == "ctrl+c" {
			m.overlay = nil
			return nil
		}
		cmd, done := m.overlay.key(m, key, typed)
		if done {
			m.overlay = nil
		}
		return cmd
	case m.bar.editing:
		m.filterKey(key, typed)
		m.scrollTo()
		return nil
	}
	return m.do(m.keys.find(m.scope(), key))
}

func (m *Model) paste(t string) {
	switch o := m.overlay.(type) {
	case nil:
		if m.bar.editing {
			m.bar.edit.insert(t)
			m.tryFilter()
			m.complete()
		}
	case *prompt:
		o.edit.insert(t)
	}
}

// do performs an action.
func (m *Model) do(a action) tea.Cmd {
	if n, ok := strings.CutPrefix(string(a), actSortPrefix); ok {
		i, _ := strconv.Atoi(n)
		m.sortByNumber(i - 1)
		return nil
	}
	switch a {
	case actQuit:
		return tea.Quit
	case actSuspend:
		if m.cfg.CanSuspend != nil && !m.cfg.CanSuspend() {
			m.say(sWarn, "there is no shell to go back to")
			return nil
		}
		return tea.Suspend
	case actRedraw:
		return tea.ClearScreen
	case actHelp:
		m.overlay = newHelp(m)
	case actNextView, actPrevView:
		m.cycleView(a == actNextView)
	case actConns:
		m.show(viewConns)
	case actGroupsView, actGroup:
		m.show(viewGroups)
	case actOverview:
		m.show(viewOverview)
	case actFilter:
		if m.view == viewDetail || m.view == viewOverview {
			m.show(viewConns)
		}
		m.editFilter()
	case actInverse:
		m.bar.inverse = !m.bar.inverse
		m.useFilter(m.live.filter)
	case actSavedFilters:
		m.chooseFilter()
	case actBack:
		m.goBack()
	case actFreeze:
		m.freeze()
	case actTheme:
		m.nextTheme()
	case actNames:
		m.toggleNames()
	case actFaster, actSlower:
		m.pacing(a == actSlower)
	case actKeepClosed:
		m.live.keep = !m.live.keep
		m.say(sAccent, map[bool]string{true: "closed connections stay", false: "closed connections go after a few seconds"}[m.live.keep])
		m.layoutChanged()
	case actColumns:
		m.overlay = newPicker(m)
	case actSortNext:
		m.sortNext()
	case actSortReverse:
		m.sortBy(m.live.sorter.col, !m.live.sorter.reverse)
	case actLeft, actRight:
		m.shiftColumns(a == actRight)
	case actExport:
		m.askExport()
	case actOpen:
		return m.open()
	case actClose, actDetailClose:
		m.askClose()
	case actCopy, actDetailCopy:
		return m.copy()
	case actCapture:
		if cmd := m.open(); m.view == viewDetail {
			return tea.Batch(cmd, m.toggleCapture())
		}
	case actDetailCapture:
		return m.toggleCapture()
	case actExpand, actNextGrouping, actPrevGrouping, actGroupSort, actGroupReverse:
		m.groups.do(m, a)
	default:
		m.move(a)
	}
	return nil
}

// move moves the cursor, or what is in sight.
func (m *Model) move(a action) {
	page := max(m.tableHeight()-1, 1)
	at, n := m.place()
	switch a {
	case actUp:
		at--
	case actDown:
		at++
	case actPageUp:
		at -= page
	case actPageDown:
		at += page
	case actTop:
		at = 0
	case actBottom:
		at = n - 1
	default:
		return
	}
	m.placeAt(max(min(at, n-1), 0))
	if a == actTop && m.view == viewConns {
		m.sel = nil // the cursor stays at the top, whatever row is there
	}
}

// place is the line of the cursor and how many there are.
func (m *Model) place() (at, n int) {
	switch m.view {
	case viewGroups:
		return m.groups.cursor, len(m.groups.lines)
	case viewDetail:
		return m.detail.top, m.detail.lines - m.bodyHeight() + 1
	case viewOverview:
		return m.over.top, max(m.over.lines-m.bodyHeight()+1, 1)
	default:
		return m.cursor, len(m.set().shown)
	}
}

func (m *Model) placeAt(i int) {
	switch m.view {
	case viewGroups:
		m.groups.cursor = i
		m.groups.bind()
	case viewDetail:
		m.detail.top = i
	case viewOverview:
		m.over.top = i
	default:
		m.moveTo(i)
	}
}

func (m *Model) show(v view) {
	if m.view == viewDetail && v != viewDetail {
		m.stopCapture()
	}
	m.view = v
	m.groups.stale = true
	m.scrollTo()
}

func (m *Model) cycleView(forth bool) {
	v := m.view
	if v == viewDetail {
		v = m.back
	}
	by := 1
	if !forth {
		by = len(viewTitles) - 1
	}
	m.show(view((int(v) + by) % len(viewTitles)))
}

// goBack leaves what was opened last: a detail, a view, the filter.
func (m *Model) goBack() {
	switch {
	case m.view == viewDetail:
		m.show(m.back)
	case m.view != viewConns:
		m.show(viewConns)
	case m.frozen != nil:
		m.freeze()
	case m.bar.text != "" || m.bar.inverse:
		m.bar.inverse = false
		m.setFilter("")
	default:
		m.sel = nil
		m.cursor, m.top = 0, 0
	}
}

// freeze keeps the rows as they are, or lets them go on.
func (m *Model) freeze() {
	var id *row
	if r := m.current(); r != nil && m.sel != nil {
		id = r
	}
	if m.frozen == nil {
		m.frozen = m.live.freeze()
	} else {
		m.frozen = nil
	}
	if m.sel = nil; id != nil {
		m.sel = m.set().rows[id.conn.ID]
	}
	m.groups.stale = true
	m.keepCursor()
}

func (m *Model) nextTheme() {
	m.theme = nextTheme(m.theme).with(m.cfg.Colors)
	m.cfg.Layout.Theme = m.theme.name
	m.say(sAccent, "theme "+m.theme.name)
	m.layoutChanged()
}

func (m *Model) toggleNames() {
	if m.cfg.Name == nil {
		m.say(sWarn, "names are switched off (-n)")
		return
	}
	m.named = !m.named
	m.useNames()
	m.say(sAccent, map[bool]string{true: "asking DNS for names", false: "no names"}[m.named])
}

// pacing chooses the next interval.
func (m *Model) pacing(slower bool) {
	i := slices.Index(intervalSteps, m.interval)
	if slower {
		i++
	} else {
		i--
	}
	m.interval = intervalSteps[max(min(i, len(intervalSteps)-1), 0)]
	select {
	case m.intervals <- m.interval:
	default: // the one before was not taken yet
	}
	m.say(sAccent, "a refresh every "+m.interval.Round(time.Second).String())
}

// sortByNumber sorts by one of the columns, whether or not there is room for it; by
// the one that already is in force, the other way round.
func (m *Model) sortByNumber(i int) {
	cols := m.available()
	if i < 0 || i >= len(cols) {
		return
	}
	by := m.live.sorter
	m.sortBy(cols[i], by.col.name == cols[i].name && !by.reverse)
}

// sortNext sorts by the column after the one in force, of those in sight.
func (m *Model) sortNext() {
	cols := m.shownColumns()
	i := slices.IndexFunc(cols, func(c *column) bool { return c.name == m.live.sorter.col.name })
	m.sortBy(cols[(i+1)%len(cols)], false)
}

func (m *Model) sortBy(col *column, reverse bool) {
	by := sorter{col: col, reverse: reverse}
	m.live.setSorter(by)
	if m.frozen != nil {
		m.frozen.setSorter(by)
	}
	if m.sel == nil {
		m.cursor, m.top = 0, 0
	}
	m.keepCursor()
	m.layoutChanged()
}

func (m *Model) shiftColumns(right bool) {
	if right {
		if len(m.shownColumns()) < len(m.columns)-m.shift {
			m.shift++
		}
	} else {
		m.shift = max(m.shift-1, 0)
	}
	m.wide = nil
}

// open shows all about what the cursor is on.
func (m *Model) open() tea.Cmd {
	switch m.view {
	case viewGroups:
		return m.groups.open(m)
	case viewConns:
		if r := m.current(); r != nil {
			m.moveTo(m.cursor)
			return m.openDetail(r)
		}
	default:
	}
	return nil
}

// click takes a press of the mouse.
func (m *Model) click(e tea.Mouse) tea.Cmd {
	if e.Button != tea.MouseLeft || m.overlay != nil {
		return nil
	}
	if e.Y == 0 {
		if v, ok := tabAt(e.X); ok {
			m.show(v)
		}
		return nil
	}
	body := e.Y - m.bodyTop()
	switch m.view {
	case viewConns:
		switch i := m.top + body - 1; {
		case body == 0:
			m.sortByNumber(m.columnAt(e.X))
		case body > 0 && body <= m.tableHeight() && i < len(m.set().shown):
			if m.sel != nil && i == m.cursor {
				return m.open()
			}
			m.moveTo(i)
		}
	case viewGroups:
		if body == 0 {
			return nil
		}
		return m.groups.click(m, body-1)
	default:
	}
	return nil
}

func (m *Model) wheel(e tea.Mouse) {
	m.dirty = true
	by := 3
	if e.Button == tea.MouseWheelUp {
		by = -3
	} else if e.Button != tea.MouseWheelDown {
		return
	}
	if m.overlay != nil {
		return
	}
	at, n := m.place()
	m.placeAt(max(min(at+by, n-1), 0))
}
