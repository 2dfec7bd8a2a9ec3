package tui

import (
	"context"
	"slices"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// view is what fills the screen.
type view uint8

const (
	viewConns view = iota
	viewGroups
	viewOverview
	viewDetail
)

var viewTitles = [...]string{"Connections", "Groups", "Overview"}

// Model is the whole state. What the screen shows follows from it alone.
type Model struct {
	cfg    Config
	keys   *keyMap
	theme  *theme
	ctx    context.Context //nolint:containedctx // that of Run: what actions started ends with it
	width  int
	height int

	live   *rowSet
	frozen *rowSet // what is shown while it is not nil
	snap   *tcp.Snapshot
	status Status
	pace   pace
	over   overview
	hist   histories
	groups groups
	detail detail

	view    view
	back    view // where a detail view was opened from
	overlay overlay
	bar     filterBar
	columns []*column
	// cursor is the line of the table; sel is its row once the user has moved:
	// then the cursor follows it.
	cursor, top int
	sel         *row
	shift       int // columns scrolled away
	wide        []int
	named       bool

	note   string
	noteAs style
	// noteFrom is when the data first moved on after the note, 0 before that.
	noteFrom int64

	interval  time.Duration
	intervals chan<- time.Duration
	// running are the actions at work outside of Update.
	running sync.WaitGroup
	send    func(tea.Msg)
	saves   int        // layouts that were to be saved
	saving  sync.Mutex // guards saved, the number of the last one that was
	saved   int
	capture *capturing

	content string
	caretAt *tea.Cursor
	dirty   bool
	// failed is the mistake of the program that ends it.
	failed error
}

// overlay is something that has the keys and the body of the screen for itself.
type overlay interface {
	// key takes a key; done says that the overlay ends.
	key(m *Model, key, typed string) (cmd tea.Cmd, done bool)
	// draw fills the body.
	draw(m *Model, c *canvas, height int)
}

func newModel(ctx context.Context, cfg Config) (*Model, error) {
	keys, err := newKeyMap(cfg.Keys)
	if err != nil {
		return nil, err
	}
	m := &Model{
		cfg: cfg, keys: keys, ctx: ctx, width: 80, height: 24, live: newRowSet(), interval: intervalSteps[0],
		snap: &tcp.Snapshot{}, dirty: true, named: cfg.Resolve && cfg.Name != nil,
	}
	m.theme = themeByName(cfg.Layout.Theme)
	if m.theme == nil {
		m.theme = themeDark
	}
	m.theme = m.theme.with(cfg.Colors)
	if m.columns = columnsByName(cfg.Layout.Columns); len(m.columns) == 0 {
		m.columns = columnsByName(defaultColumns)
	}
	if col := columnByName(cfg.Layout.Sort); col != nil {
		m.live.setSorter(sorter{col: col, reverse: cfg.Layout.Reverse})
	}
	m.live.keep = cfg.Layout.KeepClosed
	m.bar.history = append(m.bar.history, cfg.Layout.History...)
	m.bar.saved = append(m.bar.saved, cfg.Layout.Filters...)
	m.groups.reset()
	m.over.reset()
	m.useNames()
	if cfg.Filter != "" {
		f, err := filter.ParseWith(cfg.Filter, cfg.FilterOptions())
		if err != nil {
			return nil, err
		}
		m.bar.text = cfg.Filter
		m.useFilter(f)
	}
	return m, nil
}

// Init implements tea.Model.
func (m *Model) Init() tea.Cmd {
	if m.cfg.Layout.Theme == "" && m.cfg.Colors == Colors256 {
		return tea.RequestBackgroundColor
	}
	return nil
}

// Update implements tea.Model. The screen is drawn here and not in View, so that a
// mistake in either ends the program in an orderly way.
func (m *Model) Update(msg tea.Msg) (_ tea.Model, cmd tea.Cmd) {
	if m.failed == nil {
		m.failed = guard(func() {
			cmd = m.take(msg)
			m.refresh()
		})
	}
	if m.failed != nil {
		cmd = tea.Quit
	}
	return m, cmd
}

// take takes a message and returns what it leads to.
func (m *Model) take(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		m.wide = nil
		m.scrollTo()
	case tea.BackgroundColorMsg:
		if m.cfg.Layout.Theme == "" && m.theme == themeDark && !msg.IsDark() {
			m.theme = themeLight
		}
	case feedMsg:
		m.feed(&msg)
	case tea.KeyPressMsg:
		m.dirty = true
		return m.keyPress(msg.String(), msg.Key().Text)
	case tea.PasteMsg:
		m.paste(msg.Content)
	case tea.MouseClickMsg:
		m.dirty = true
		return m.click(tea.Mouse(msg))
	case tea.MouseWheelMsg:
		m.wheel(tea.Mouse(msg))
	case doneMsg:
		msg.done(m)
	case captureMsg:
		if m.capture.active() {
			m.dirty = true
			return m.captureTick()
		}
	case tea.ResumeMsg:
	default:
		return nil
	}
	m.dirty = true
	return nil
}

// doneMsg ends an action that ran outside of Update.
type doneMsg struct{ done func(*Model) }

// run does something that may block, and has what it returns called by Update.
func (m *Model) run(do func(ctx context.Context) func(*Model)) tea.Cmd {
	result := make(chan func(*Model), 1)
	m.running.Go(func() {
		then := func(*Model) {}
		if err := guard(func() { then = do(m.ctx) }); err != nil {
			then = func(m *Model) { m.say(sBad, err.Error()) }
		}
		result <- then
	})
	return func() tea.Msg {
		select {
		case then := <-result:
			return doneMsg{then}
		case <-m.ctx.Done():
			return nil
		}
	}
}

// refresh draws the screen, if it may have changed.
func (m *Model) refresh() {
	if m.dirty {
		m.content, m.dirty, m.caretAt = m.draw(), false, nil
		if x, y, ok := m.caret(); ok {
			m.caretAt = tea.NewCursor(x, y)
		}
	}
}

// View implements tea.Model.
func (m *Model) View() tea.View {
	v := tea.NewView(m.content)
	v.AltScreen = true
	v.MouseMode = tea.MouseModeCellMotion
	v.Cursor = m.caretAt
	return v
}

// set is the rows on the screen: those of now, or of when it was frozen.
func (m *Model) set() *rowSet {
	if m.frozen != nil {
		return m.frozen
	}
	return m.live
}

// noteFor is how long a note stays.
const noteFor = int64(6 * time.Second)

// say shows a sentence at the bottom for a while.
func (m *Model) say(s style, t string) {
	m.note, m.noteAs, m.noteFrom = t, s, 0
}

// ageNote takes a note away that was there long enough. Time comes with the data,
// which may be late: it counts from the first news after the note.
func (m *Model) ageNote() {
	switch {
	case m.note == "":
	case m.noteFrom == 0:
		m.noteFrom = max(m.live.now, 1)
	case m.live.now-m.noteFrom > noteFor:
		m.note = ""
	}
}

// useNames has names of remote ends used, or not.
func (m *Model) useNames() {
	m.live.name = nil
	if m.named {
		m.live.name = m.cfg.Name
	}
	if m.frozen != nil {
		m.frozen.name = m.live.name
	}
}

// shownConn is a connection as it is shown: with its names where those are asked
// for.
func (m *Model) shownConn(c *tcp.Conn) *tcp.Conn {
	if m.named && c.State != tcp.Listen {
		return m.cfg.Name(c)
	}
	return c
}

// layoutChanged has the layout saved, outside of Update: disks may be slow.
func (m *Model) layoutChanged() {
	l := m.layout()
	m.cfg.Layout = l
	if m.cfg.SaveLayout == nil {
		return
	}
	m.saves++
	number := m.saves
	m.running.Go(func() {
		m.saving.Lock()
		defer m.saving.Unlock()
		if number < m.saved {
			return // a later one was quicker
		}
		m.saved = number
		if err := m.cfg.SaveLayout(l); err != nil {
			m.send(doneMsg{func(m *Model) { m.say(sBad, "the layout was not saved: "+err.Error()) }})
		}
	})
}

func (m *Model) layout() Layout {
	l := Layout{
		Sort: m.live.sorter.col.name, Reverse: m.live.sorter.reverse, KeepClosed: m.live.keep,
		Filters: slices.Clone(m.bar.saved), History: slices.Clone(m.bar.history), Theme: m.cfg.Layout.Theme,
	}
	for _, c := range m.columns {
		l.Columns = append(l.Columns, c.name)
	}
	return l
}

// feed takes news in.
func (m *Model) feed(msg *feedMsg) {
	m.status = msg.status
	for i := range msg.events {
		m.pace.happened(&msg.events[i])
		m.over.happened(&msg.events[i])
	}
	m.pace.skipped += msg.skipped
	was, changed := m.snap, false
	if msg.snap != nil {
		m.snap, changed = msg.snap, true
		m.live.take(msg.snap)
		m.pace.took(was, msg.snap)
	}
	for i := range msg.events {
		changed = m.live.happened(&msg.events[i]) || changed
	}
	if changed {
		m.live.arrange()
		m.groups.stale = true
	}
	m.ageNote()
	m.keepCursor()
	if msg.snap != nil {
		m.keepSamples(was)
	}
}

// keepSamples keeps what charts are drawn from.
func (m *Model) keepSamples(was *tcp.Snapshot) {
	m.over.sample(m, was)
	m.measure()
	if m.view == viewDetail {
		m.detail.follow(m)
	}
	for _, r := range m.sampled() {
		m.hist.add(r, m.snap.Time.Boot, m.pace.interval())
	}
}

// sampled are the rows that samples are taken of: all, or if those are too many
// the ones in sight.
func (m *Model) sampled() []*row {
	switch {
	case len(m.live.all) <= maxHistories:
		return m.live.all
	case m.view == viewDetail:
		if r := m.live.rows[m.detail.id]; r != nil {
			return []*row{r}
		}
	case m.view == viewConns && m.frozen == nil:
		shown := m.live.shown
		return shown[min(m.top, len(shown)):min(m.top+m.tableHeight(), len(shown))]
	default:
	}
	return nil
}

// keepCursor has the cursor stay with its row, and the row on its line, when rows
// have come, gone or moved.
func (m *Model) keepCursor() {
	s := m.set()
	if m.sel != nil {
		if i := s.index(m.sel); i >= 0 {
			m.top += i - m.cursor
			m.cursor = i
		} else if m.cursor = min(m.cursor, len(s.shown)-1); m.cursor >= 0 {
			m.sel = s.shown[m.cursor]
		}
	}
	m.scrollTo()
}

// scrollTo keeps the cursor within the rows, and in sight.
func (m *Model) scrollTo() {
	n, h := len(m.set().shown), m.tableHeight()
	m.cursor = max(min(m.cursor, n-1), 0)
	m.top = min(max(m.top, m.cursor-h+1), m.cursor)
	m.top = max(min(m.top, n-h), 0)
}

// moveTo puts the cursor on a line; its row is followed from then on.
func (m *Model) moveTo(i int) {
	s := m.set()
	m.cursor = max(min(i, len(s.shown)-1), 0)
	if m.sel = nil; m.cursor < len(s.shown) {
		m.sel = s.shown[m.cursor]
	}
	m.scrollTo()
}

// current is the row of the cursor; nil if there is none.
func (m *Model) current() *row {
	s := m.set()
	if m.cursor < len(s.shown) {
		return s.shown[m.cursor]
	}
	return nil
}
