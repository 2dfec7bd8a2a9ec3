package tui

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/text"
)

// grouping is a way to put connections together.
type grouping struct {
	title string
	field string // of the filter for one group
	key   func(c *tcp.Conn) groupKey
}

// groupKey is what the connections of a group have in common.
type groupKey struct {
	text  string
	addr  tcp.Addr
	num   uint64
	known bool
}

var groupings = []grouping{
	{"process", "process", textKey("process")},
	{"remote host", "remote_ip", func(c *tcp.Conn) groupKey { return groupKey{addr: c.Remote, known: c.State != tcp.Listen} }},
	{"remote port", "remote_port", numKey("remote_port")},
	{"local port", "local_port", numKey("local_port")},
	{"country", "country", textKey("country")},
	{"ASN", "asn", numKey("asn")},
	{"container", "container", textKey("container")},
	{"state", "state", func(c *tcp.Conn) groupKey { return groupKey{num: uint64(c.State), known: c.State != 0} }},
}

func textKey(field string) func(*tcp.Conn) groupKey {
	f := tcp.FieldByName(field)
	return func(c *tcp.Conn) groupKey {
		t, ok := f.Str(c)
		return groupKey{text: t, known: ok}
	}
}

func numKey(field string) func(*tcp.Conn) groupKey {
	f := tcp.FieldByName(field)
	return func(c *tcp.Conn) groupKey {
		n, ok := f.Num(c)
		return groupKey{num: n, known: ok}
	}
}

// group is the sums of its connections.
type group struct {
	key   groupKey
	label string
	rows  []*row
	conns int
	sums  [numGroupColumns]uint64
	// known says that at least one connection has the value: a sum of nothing
	// known is not 0.
	known [numGroupColumns]bool
	rtts  []uint32
}

// The columns of the groups.
const (
	groupName = iota
	groupConns
	groupRX
	groupTX
	groupBytesReceived
	groupBytesSent
	groupRetransmits
	groupRTT50
	groupRTT95
	groupRTTMax
	numGroupColumns
)

var groupHeads = [numGroupColumns]string{"", "CONNS", "RX/s", "TX/s", "RX", "TX", "RETR", "RTTp50", "RTTp95", "RTTmax"}

// groupLine is a group, or a row of one that is unfolded.
type groupLine struct {
	g *group
	r *row
}

// groups is the view of connections put together.
type groups struct {
	by       int
	sort     int
	reverse  bool
	stale    bool
	unfolded map[groupKey]bool
	list     []*group
	lines    []groupLine
	cursor   int
	top      int
	selKey   groupKey
	selRow   tcp.ID
	bound    bool
}

func (g *groups) reset() {
	*g = groups{by: g.by, sort: groupConns, unfolded: make(map[groupKey]bool), stale: true}
}

// build puts the rows together again, if they changed.
func (g *groups) build(m *Model) {
	if !g.stale {
		return
	}
	g.stale = false
	by := groupings[g.by]
	index := make(map[groupKey]*group, len(g.list))
	list := g.list[:0]
	for _, r := range m.set().shown {
		if r.closed != 0 {
			continue
		}
		k := by.key(r.conn)
		if !k.known {
			k = groupKey{}
		}
		x := index[k]
		if x == nil {
			x = &group{key: k}
			index[k] = x
			list = append(list, x)
		}
		x.add(r)
	}
	for _, x := range list {
		x.finish(m, by)
	}
	slices.SortFunc(list, g.compare)
	g.list = list
	g.layOut()
}

func (x *group) add(r *row) {
	c := r.conn
	x.rows = append(x.rows, r)
	x.conns++
	x.sum(groupRX, c.Has&tcp.HasReceiveRate != 0, r.rx)
	x.sum(groupTX, c.Has&tcp.HasSendRate != 0, r.tx)
	x.sum(groupBytesReceived, c.Has&tcp.HasBytesReceived != 0, c.Metrics.BytesReceived)
	x.sum(groupBytesSent, c.Has&tcp.HasBytesSent != 0, c.Metrics.BytesSent)
	x.sum(groupRetransmits, c.Has&tcp.HasRetransmits != 0, uint64(c.Metrics.Retransmits))
	if c.Has&tcp.HasRTT != 0 {
		x.rtts = append(x.rtts, c.Metrics.RTT)
	}
}

func (x *group) sum(column int, known bool, v uint64) {
	if known {
		x.sums[column] += v
		x.known[column] = true
	}
}

func (x *group) finish(m *Model, by grouping) {
	x.label = x.key.label(by)
	if by.field == "remote_ip" && m.named && x.key.known && len(x.rows) > 0 {
		if c := m.shownConn(x.rows[0].conn); c.Names != nil && c.Names.RemoteName != "" {
			x.label = c.Names.RemoteName + " (" + x.label + ")"
		}
	}
	x.sum(groupConns, true, uint64(x.conns))
	slices.Sort(x.rtts)
	for col, p := range map[int]int{groupRTT50: 50, groupRTT95: 95, groupRTTMax: 100} {
		x.sum(col, len(x.rtts) > 0, percentile(x.rtts, p))
	}
}

// percentile is the nearest-rank percentile of sorted values; 0 without any.
func percentile(sorted []uint32, p int) uint64 {
	if len(sorted) == 0 {
		return 0
	}
	return uint64(sorted[max((len(sorted)*p+99)/100-1, 0)])
}

func (k groupKey) label(by grouping) string {
	switch {
	case !k.known:
		return text.Unknown
	case by.field == "remote_ip":
		return k.addr.String()
	case by.field == "state":
		return tcp.State(k.num).String()
	case k.text != "":
		return k.text
	case by.field == "asn":
		return "AS" + strconv.FormatUint(k.num, 10)
	}
	return strconv.FormatUint(k.num, 10)
}

func (g *groups) compare(a, b *group) int {
	d := 0
	if g.sort == groupName {
		d = strings.Compare(a.label, b.label)
	} else {
		d = -cmp.Compare(a.sums[g.sort], b.sums[g.sort])
	}
	if g.reverse {
		d = -d
	}
	if g.sort != groupName && a.known[g.sort] != b.known[g.sort] { // the unknown last, whichever way
		d = 1
		if a.known[g.sort] {
			d = -1
		}
	}
	if d == 0 {
		d = strings.Compare(a.label, b.label)
	}
	return d
}

// layOut makes the lines: groups, and the rows of those that are unfolded. The
// cursor follows what it was on.
func (g *groups) layOut() {
	g.lines = g.lines[:0]
	at := -1
	for _, x := range g.list {
		if g.bound && x.key == g.selKey && (at < 0 || g.selRow == 0) {
			at = len(g.lines)
		}
		g.lines = append(g.lines, groupLine{g: x})
		if !g.unfolded[x.key] {
			continue
		}
		for _, r := range x.rows {
			if g.bound && x.key == g.selKey && g.selRow != 0 && r.conn.ID == g.selRow {
				at = len(g.lines)
			}
			g.lines = append(g.lines, groupLine{g: x, r: r})
		}
	}
	if at >= 0 {
		g.top += at - g.cursor
		g.cursor = at
	}
	g.cursor = max(min(g.cursor, len(g.lines)-1), 0)
}

// bind has the cursor follow what it is on.
func (g *groups) bind() {
	if g.cursor >= len(g.lines) {
		return
	}
	l := g.lines[g.cursor]
	g.bound, g.selKey, g.selRow = true, l.g.key, 0
	if l.r != nil {
		g.selRow = l.r.conn.ID
	}
}

// do performs an action of the view.
func (g *groups) do(m *Model, a action) {
	switch a {
	case actNextGrouping, actPrevGrouping:
		by := 1
		if a == actPrevGrouping {
			by = len(groupings) - 1
		}
		g.by = (g.by + by) % len(groupings)
		g.reset()
	case actGroupSort:
		g.sort = (g.sort + 1) % numGroupColumns
		g.reverse = false
	case actGroupReverse:
		g.reverse = !g.reverse
	case actExpand:
		g.build(m)
		g.bind()
		if g.cursor < len(g.lines) {
			k := g.lines[g.cursor].g.key
			if g.unfolded[k] = !g.unfolded[k]; !g.unfolded[k] {
				g.selRow = 0
			}
		}
	default:
	}
	g.stale = true
	g.build(m)
}

// open shows the connections of a group in the table, or all about one.
func (g *groups) open(m *Model) tea.Cmd {
	g.build(m)
	if g.cursor >= len(g.lines) {
		return nil
	}
	l := g.lines[g.cursor]
	if l.r != nil {
		return m.openDetail(l.r)
	}
	t := l.g.key.filter(groupings[g.by])
	if old := strings.TrimSpace(m.bar.text); old != "" {
		if m.bar.inverse {
			old = "not (" + old + ")"
			m.bar.inverse = false
		} else {
			old = "(" + old + ")"
		}
		t = old + " and " + t
	}
	m.setFilter(t)
	m.show(viewConns)
	return nil
}

func (g *groups) click(m *Model, line int) tea.Cmd {
	i := g.top + line
	if line < 0 || i >= len(g.lines) {
		return nil
	}
	if g.bound && i == g.cursor {
		return g.open(m)
	}
	g.cursor = i
	g.bind()
	return nil
}

// filter is the expression that a group's connections match.
func (k groupKey) filter(by grouping) string {
	switch {
	case !k.known:
		return "not has(" + by.field + ")"
	case by.field == "remote_ip":
		return by.field + " == " + k.addr.String()
	case by.field == "state":
		return "state == " + tcp.State(k.num).String()
	case k.text != "":
		return by.field + " == " + quoteText(k.text)
	}
	return by.field + " == " + strconv.FormatUint(k.num, 10)
}

// quoteText quotes a text for a filter.
func quoteText(t string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(t) + `"`
}

// draw fills the body.
func (g *groups) draw(m *Model, c *canvas, height int) {
	g.build(m)
	ws := g.widths(c.width)
	gap := gapFor(c.width)
	for i, w := range ws {
		head, st := groupHeads[i], sHead
		if i == groupName {
			head = " BY " + strings.ToUpper(groupings[g.by].title) + " (" + countText(len(g.list)) + ")"
		}
		if i == g.sort {
			st = sHeadSort
			if arrow := "▾"; cells(head) < w {
				if g.reverse != (i == groupName) {
					arrow = "▴"
				}
				head += arrow
			}
		}
		if i > 0 {
			c.str(sHead, "  "[:gap])
		}
		c.cell(st, head, w, i > 0)
	}
	c.end(sHead)
	h := height - 1
	g.top = min(max(g.top, g.cursor-h+1), g.cursor)
	g.top = max(min(g.top, len(g.lines)-h), 0)
	for i := g.top; i < min(g.top+h, len(g.lines)); i++ {
		c.row = i == g.cursor
		g.drawLine(m, c, g.lines[i], ws, gap)
	}
	if len(g.lines) == 0 {
		m.drawNothing(c)
	}
}

// widths are those of the columns that there is room for.
func (g *groups) widths(width int) []int {
	const number = 7
	name := 40
	if width >= 110 {
		name = 44
	}
	gap := gapFor(width)
	n := min(max((width-name)/(number+gap), 0), numGroupColumns-1)
	ws := []int{width - n*(number+gap)}
	for range n {
		ws = append(ws, number)
	}
	return ws
}

func (g *groups) drawLine(m *Model, c *canvas, l groupLine, ws []int, gap int) {
	if l.r != nil {
		g.drawRow(m, c, l.r, ws, gap)
		return
	}
	mark := " ▸ "
	if g.unfolded[l.g.key] {
		mark = " ▾ "
	}
	c.str(sDim, mark)
	st := sBold
	if !l.g.key.known {
		st = sDim
	}
	c.cell(st, l.g.label, ws[0]-3, false)
	for i := 1; i < len(ws); i++ {
		c.spaces(gap)
		t, st := l.g.cell(i)
		c.cell(st, t, ws[i], true)
	}
	c.end(sNormal)
}

func (x *group) cell(i int) (string, style) {
	if !x.known[i] {
		return text.Unknown, sDim
	}
	v := x.sums[i]
	st := sNormal
	if v == 0 {
		st = sDim
	}
	switch i {
	case groupConns:
		return countText(v), st
	case groupRetransmits:
		return countText(v), styleOr(v > 0, sWarn, st)
	case groupRX:
		return bytesText(v), styleOr(v > 0, sReceive, st)
	case groupTX:
		return bytesText(v), styleOr(v > 0, sSend, st)
	case groupBytesReceived, groupBytesSent:
		return bytesText(v), st
	}
	return microsText(v), st
}

func styleOr(yes bool, s, other style) style {
	if yes {
		return s
	}
	return other
}

// drawRow draws a connection of a group that is unfolded.
func (g *groups) drawRow(m *Model, c *canvas, r *row, ws []int, gap int) {
	conn := m.shownConn(r.conn)
	_, all := m.set().mark(r)
	c.str(sDim, "     ")
	var b []byte
	if groupings[g.by].field != "process" {
		b = append(append(b, processLabel(conn)...), "  "...)
	}
	if conn.State == tcp.Listen {
		b = append(columnByName("local").value(b, conn), "  "...)
	} else {
		b = strconv.AppendUint(append(b, ':'), uint64(conn.LocalPort), 10)
		b = append(b, directionArrow(conn.Direction)...)
	}
	b = columnByName("remote").value(b, conn)
	left := ws[0] - 5 - 12
	c.endCell(all, string(b), max(left, 10))
	c.spaces(1)
	c.cell(styleOr(all == sNormal, stateStyle(conn.State), all), conn.State.String(), min(11, ws[0]-c.x), false)
	c.to(all, ws[0])
	one := group{}
	one.add(r)
	if len(one.rtts) > 0 {
		one.sum(groupRTT50, true, uint64(one.rtts[0]))
	}
	for i := 1; i < len(ws); i++ {
		c.spaces(gap)
		t, st := one.cell(i)
		if i == groupConns || i > groupRTT50 {
			t = ""
		}
		c.cell(styleOr(all == sNormal, st, all), t, ws[i], true)
	}
	c.end(all)
}

// directionArrow points to the end that was called.
func directionArrow(d tcp.Direction) string {
	switch d {
	case tcp.Outbound:
		return " → "
	case tcp.Inbound:
		return " ← "
	case tcp.Listening:
		return "  "
	default:
		return " ↔ "
	}
}

func processLabel(c *tcp.Conn) string {
	if c.Process == nil {
		return text.Unknown
	}
	return c.Process.Name + "[" + strconv.Itoa(int(c.Process.PID)) + "]"
}
