package tui

import (
	"slices"
	"strings"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// The least size of a screen that anything can be shown on.
const (
	leastWidth  = 30
	leastHeight = 8
)

// draw makes the screen.
func (m *Model) draw() string {
	c := newCanvas(m.width, m.theme, m.cfg.ASCII)
	if m.width < leastWidth || m.height < leastHeight {
		c.str(sNormal, "too small")
		c.end(sNormal)
		return c.content()
	}
	m.drawTitle(c)
	if m.banner() != "" {
		c.str(sBanner, " "+m.banner()+" ")
		c.end(sBanner)
	}
	if m.view != viewDetail {
		m.drawFilter(c)
	}
	bottom := m.height - footerLines
	body := bottom - c.lines
	switch {
	case m.overlay != nil:
		m.overlay.draw(m, c, body)
	case m.view == viewGroups:
		m.groups.draw(m, c, body)
	case m.view == viewOverview:
		m.over.draw(m, c, body)
	case m.view == viewDetail:
		m.detail.draw(m, c, body)
	default:
		m.drawTable(c)
	}
	c.blank(bottom)
	m.drawFooter(c)
	return c.content()
}

// banner is what must not be overlooked.
func (m *Model) banner() string {
	switch {
	case m.status.Err != nil:
		return "collecting has ended: " + m.status.Err.Error()
	case m.status.Warning != "":
		return m.status.Warning
	}
	return ""
}

// bodyTop is the first line below title, banner and filter.
func (m *Model) bodyTop() int {
	n := 1
	if m.banner() != "" {
		n++
	}
	if m.view != viewDetail {
		n += m.filterLines()
	}
	return n
}

func (m *Model) bodyHeight() int { return max(m.height-footerLines-m.bodyTop(), 0) }

// tableHeight is the number of rows in sight, the line of heads apart.
func (m *Model) tableHeight() int { return max(m.bodyHeight()-1, 1) }

// caret is where the text cursor stands, if a text is typed.
func (m *Model) caret() (x, y int, ok bool) {
	if p, is := m.overlay.(*prompt); is {
		return min(p.column(), m.width-1), m.height - footerLines - 1, true
	}
	if !m.bar.editing || m.overlay != nil || m.view == viewDetail || m.height < leastHeight {
		return 0, 0, false
	}
	_, x = m.editView()
	return min(x, m.width-1), m.bodyTop() - m.filterLines(), true
}

const productName = " ViewTCP "

func (m *Model) drawTitle(c *canvas) {
	c.str(sBarStrong, productName)
	c.str(sBar, " ")
	active := m.view
	if active == viewDetail {
		active = m.back
	}
	for i, t := range viewTitles {
		s := sBarDim
		if view(i) == active {
			s = sBarStrong
		}
		c.str(s, " "+t+" ")
	}
	var right []string
	if m.frozen != nil {
		right = append(right, "FROZEN")
	}
	if by := m.live.sorter; m.view == viewConns && !slices.ContainsFunc(m.shownColumns(), func(c *column) bool { return c.name == by.col.name }) {
		right = append(right, "by "+by.col.head+by.arrow())
	}
	if m.capture.active() {
		right = append(right, "CAPTURING")
	}
	if m.cfg.Host != "" {
		right = append(right, m.cfg.Host)
	}
	if m.status.Source != tcp.SourceUnknown {
		right = append(right, m.status.Source.String())
	}
	if !m.snap.Time.IsZero() {
		right = append(right, m.snap.Time.Time().Local().Format("15:04:05"))
	}
	for len(right) > 0 {
		t := strings.Join(right, " · ") + " "
		if cells(t) <= c.room() {
			c.to(sBar, c.width-cells(t))
			c.str(sBar, t)
			break
		}
		right = right[1:]
	}
	c.end(sBar)
}

// tabAt is the view whose title stands in a column of the title line.
func tabAt(x int) (view, bool) {
	at := len(productName) + 1
	for i, t := range viewTitles {
		if x >= at && x < at+len(t)+2 {
			return view(i), true
		}
		at += len(t) + 2
	}
	return 0, false
}

// footerLines are the two lines at the bottom: states, and rates.
const footerLines = 2

// stateLine is the order of states in the footer.
var stateLine = []tcp.State{
	tcp.Established, tcp.Listen, tcp.SynSent, tcp.SynRecv, tcp.CloseWait, tcp.FinWait1, tcp.FinWait2,
	tcp.Closing, tcp.LastAck, tcp.TimeWait,
}

func (m *Model) drawFooter(c *canvas) {
	t := &m.live.totals
	c.str(sBar, " ")
	some := false
	for _, s := range stateLine {
		n := t.states[s]
		if n == 0 {
			continue
		}
		if some {
			c.str(sBarDim, "  ")
		}
		some = true
		c.str(sBarDim, s.String()+" ")
		c.str(sBar, countText(n))
	}
	switch {
	case some:
	case m.snap.Seq == 0:
		c.str(sBarDim, "waiting for the first look at the sockets")
	default:
		c.str(sBarDim, "no sockets")
	}
	if t.lo > 0 {
		m.right(c, "loopback "+rateText(t.lo))
	}
	c.end(sBar)

	if m.note != "" {
		c.str(m.noteAs, " "+m.note)
		c.end(sNormal)
		return
	}
	c.str(sReceive, " ↓"+rateText(t.rx))
	c.str(sSend, " ↑"+rateText(t.tx))
	part := func(s style, t string) {
		if cells(t)+2 <= c.room() {
			c.str(s, "  "+t)
		}
	}
	part(sGood, "+"+perSecond(m.pace.opened))
	if c.room() > 10 {
		c.str(sClosed, " −"+perSecond(m.pace.closed))
		c.str(sDim, "/s")
	}
	part(styleOr(m.pace.retransmits > 0, sWarn, sDim), "retr "+perSecond(m.pace.retransmits)+"/s")
	part(styleOr(m.pace.resets > 0, sWarn, sDim), "rst "+perSecond(m.pace.resets)+"/s")
	if l := m.pace.lost; l.Any() || m.pace.skipped > 0 {
		s := "lost " + countText(l.Closes+l.Events+m.pace.skipped)
		if l.Unknown {
			s += "+?"
		}
		part(sBad, s)
	} else {
		part(sDim, "lost 0")
	}
	if m.pace.gaps > 0 {
		part(sBad, "gaps "+countText(m.pace.gaps))
	}
	if every := "every " + m.interval.String(); m.interval != intervalSteps[0] || c.room() > len(every)+roomForHints {
		part(sDim, every)
	}
	m.hints(c)
	c.end(sNormal)
}

// roomForHints is what is kept free for hints before the usual refresh rate, which
// is no news, gets its place.
const roomForHints = 22

func (m *Model) right(c *canvas, t string) {
	if c.room() > cells(t)+2 {
		c.to(sBar, c.width-cells(t)-1)
		c.str(sBarDim, t)
	}
}

// hint is a key that is named at the bottom, and what it does in a word.
type hint struct {
	a action
	t string
}

// moreBelow reports whether lines of a view without a cursor are out of sight.
func (m *Model) moreBelow() bool {
	switch h := m.bodyHeight(); {
	case m.overlay != nil:
		return false
	case m.view == viewOverview:
		return m.over.top+h < m.over.lines
	case m.view == viewDetail:
		return m.detail.top+h < m.detail.lines
	default:
		return false
	}
}

// hints are the keys that matter most, as many as there is room for.
func (m *Model) hints(c *canvas) {
	as := []hint{
		{actHelp, "help"},
		{actFilter, "filter"},
		{actOpen, "details"},
		{actGroup, "groups"},
		{actFreeze, "freeze"},
		{actSortNext, "sort"},
		{actColumns, "columns"},
		{actClose, "close"},
	}
	switch m.view {
	case viewGroups:
		as[2].t, as[3].a, as[3].t = "show", actNextGrouping, "next grouping"
		as = append(as[:4:4], hint{actExpand, "unfold"})
	case viewOverview:
		as = as[:2]
	case viewDetail:
		as = []hint{{actHelp, "help"}, {actBack, "back"}, {actDetailCapture, "packets"}, {actDetailCopy, "copy"}, {actDetailClose, "close"}}
	default:
	}
	if m.moreBelow() {
		as = append([]hint{{actDown, "more"}}, as...)
	}
	width, n := 1, 0
	for _, h := range as {
		w := cells(m.keys.label(h.a)) + 1 + len(h.t) + 2
		if width+w > c.room()-1 {
			break
		}
		width += w
		n++
	}
	if n == 0 {
		return
	}
	c.to(sNormal, c.width-width+1)
	for i, h := range as[:n] {
		if i > 0 {
			c.str(sNormal, "  ")
		}
		c.str(sKey, m.keys.label(h.a))
		c.str(sDim, " "+h.t)
	}
}
