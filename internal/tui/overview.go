package tui

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/viewtcp/viewtcp/internal/chart"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/text"
)

// overviewLen is how many samples the charts keep: ten minutes of the usual pace.
const overviewLen = 600

// point is one sample of the whole host.
type point struct {
	// at is when, in nanoseconds of the boot clock.
	at int64

	open, halfOpen, opened, closed, retransmits, resets, rx, tx, loopback, overflows float64
}

// overview keeps what the charts show.
type overview struct {
	points []point // a ring
	n      int     // points ever taken
	// ports are the rows of the heatmap; bucket is that of the last sample, began
	// the first one.
	ports         map[uint16]*portHeat
	bucket, began int64

	kernel  Counters
	counted bool
	err     error

	newByPort map[uint16]uint32 // connections since the last sample

	top, lines int
}

func (o *overview) reset() {
	o.points = make([]point, overviewLen)
	o.ports = make(map[uint16]*portHeat)
	o.newByPort = make(map[uint16]uint32)
}

// servicePort is the port that says what a connection is for: the server's.
func servicePort(c *tcp.Conn) uint16 {
	switch c.Direction {
	case tcp.Inbound, tcp.Listening:
		return c.LocalPort
	case tcp.Outbound:
		return c.RemotePort
	default:
		return min(c.LocalPort, c.RemotePort)
	}
}

func (o *overview) happened(e *tcp.Event) {
	if e.Type == tcp.EventOpened && len(o.newByPort) < maxPorts {
		o.newByPort[servicePort(e.Conn)]++
	}
}

// sample takes a point of the charts.
func (o *overview) sample(m *Model, was *tcp.Snapshot) {
	is := m.snap
	secs := is.Time.Sub(was.Time).Seconds()
	if was.Seq == 0 || secs <= 0 {
		secs = 0
	}
	t := &m.live.totals
	p := point{
		at: is.Time.Boot, open: float64(is.Stats.Open), halfOpen: float64(is.Stats.HalfOpen + t.states[tcp.SynSent]),
		rx: float64(t.rx), tx: float64(t.tx), loopback: float64(t.lo), opened: m.pace.opened, closed: m.pace.closed,
		retransmits: m.pace.retransmits, resets: m.pace.resets,
	}
	o.sampleKernel(m, &p, secs)
	o.points[o.n%overviewLen] = p
	o.n++
	o.heat(m, secs)
}

// sampleKernel reads the kernel's counts, which know of more than the sockets
// that are there.
func (o *overview) sampleKernel(m *Model, p *point, secs float64) {
	if m.cfg.Counters == nil {
		return
	}
	k, err := m.cfg.Counters()
	if o.err = err; err != nil {
		return
	}
	if o.counted && secs > 0 {
		p.retransmits = max(p.retransmits, float64(k.RetransSegs-o.kernel.RetransSegs)/secs)
		p.resets = max(p.resets, float64(k.OutRsts-o.kernel.OutRsts)/secs)
		p.overflows = float64(max(k.ListenOverflows-o.kernel.ListenOverflows, k.ListenDrops-o.kernel.ListenDrops)) / secs
	}
	o.kernel, o.counted = k, true
}

// first is the number of the oldest point that is kept.
func (o *overview) first() int { return max(o.n-overviewLen, 0) }

// span is the time that the charts show.
func (o *overview) span() time.Duration {
	return time.Duration(o.latest().at - o.points[o.first()%overviewLen].at)
}

// series are values of the points in order of time.
func (o *overview) series(get func(*point) float64) []float64 {
	vs := make([]float64, 0, min(o.n, overviewLen))
	for i := o.first(); i < o.n; i++ {
		vs = append(vs, get(&o.points[i%overviewLen]))
	}
	return vs
}

// latest is the last point.
func (o *overview) latest() point {
	if o.n == 0 {
		return point{}
	}
	return o.points[(o.n-1)%overviewLen]
}

// panel is a titled part of the screen; each line draws itself at a place that
// the canvas is clipped to.
type panel struct {
	title, right string
	lines        []func(c *canvas, width int)
}

// panelHeights are the heights of charts and of lists of bars, titles apart: what
// fits above the heatmap, and not less than can be read.
func panelHeights(columns, height int) (rows, bars int) {
	const (
		charts, panels      = 4, 8 // the first ones are charts
		heatLines           = 12
		leastRows, mostRows = 3, 10
		leastBars, mostBars = 6, 16
	)
	fits := func(rows, bars int) bool {
		n := heatLines
		for i := 0; i < panels; i += columns {
			h := 0
			if i < charts {
				h = rows
			}
			if i+columns > charts {
				h = max(h, bars)
			}
			n += h + 1
		}
		return n <= height
	}
	rows, bars = leastRows, leastBars
	for grew := true; grew; {
		grew = false
		if bars < mostBars && fits(rows, bars+1) {
			bars, grew = bars+1, true
		}
		if rows < mostRows && fits(rows+1, bars) {
			rows, grew = rows+1, true
		}
	}
	return rows, bars
}

// draw fills the body: panels, side by side where there is room.
func (o *overview) draw(m *Model, c *canvas, height int) {
	columns := 1
	if c.width >= 96 {
		columns = 2
	}
	if c.width >= 200 {
		columns = 3
	}
	width := (c.width - columns + 1) / columns
	rows, bars := panelHeights(columns, height)
	ps := []panel{
		o.open(rows, width),
		o.churn(rows, width),
		o.traffic(rows, width),
		o.trouble(rows, width),
		o.states(m, bars),
		o.waiting(m, bars),
		o.tops(m, bars, "Top processes", "process"),
		o.tops(m, bars, "Top remotes", "remote_ip"),
	}
	sub := newCanvas(c.width, m.theme, m.cfg.ASCII)
	for i := 0; i < len(ps); i += columns {
		line := ps[i:min(i+columns, len(ps))]
		h := 0
		for _, p := range line {
			h = max(h, len(p.lines)+1)
		}
		for y := range h {
			for j, p := range line {
				at := j * (width + 1)
				sub.to(sNormal, at)
				sub.clip = at + width
				p.draw(sub, y, at, width)
				sub.clip = 0
			}
			sub.end(sNormal)
		}
	}
	o.drawHeat(sub)
	o.lines = sub.lines
	o.top = c.window(sub, o.top, height)
}

func (p *panel) draw(c *canvas, y, at, width int) {
	switch {
	case y == 0:
		c.str(sHead, " "+p.title+" ")
		c.str(sNormal, p.right)
	case y <= len(p.lines):
		c.str(sNormal, " ")
		p.lines[y-1](c, width-2)
	}
	c.to(sNormal, at+width)
}

// chart draws the series of a panel so that all of it fits the width.
func (o *overview) chart(vs []float64, width, rows int, top float64) []string {
	return chart.Braille(squeeze(vs, o.first(), 2*(width-2)), width-2, rows, top)
}

func chartLines(s style, lines []string) (ls []func(*canvas, int)) {
	for _, l := range lines {
		ls = append(ls, func(c *canvas, _ int) { c.str(s, l) })
	}
	return ls
}

// mirrored draws one series upwards and another one downwards.
func (o *overview) mirrored(rows, width int, up []float64, upAs style, upTop float64, down []float64, downAs style, downTop float64) []func(*canvas, int) {
	above := (rows + 1) / 2
	return append(chartLines(upAs, o.chart(up, width, above, upTop)),
		chartLines(downAs, flip(o.chart(down, width, max(rows-above, 1), downTop)))...)
}

func (o *overview) open(rows, width int) panel {
	vs := o.series(func(p *point) float64 { return p.open })
	right := countText(int(o.latest().open)) + ", at most " + countText(int(chart.Largest(vs)))
	if o.n > 1 {
		right += " in " + durationText(o.span())
	}
	return panel{"Open connections", right, chartLines(sGood, o.chart(vs, width, rows, 0))}
}

// churn is new connections above and ended ones below.
func (o *overview) churn(rows, width int) panel {
	p := o.latest()
	opened, closed := o.series(func(p *point) float64 { return p.opened }), o.series(func(p *point) float64 { return p.closed })
	top := max(chart.Largest(opened), chart.Largest(closed))
	ls := o.mirrored(rows, width, opened, sGood, top, closed, sClosed, top)
	return panel{"Churn", "+" + perSecond(p.opened) + " −" + perSecond(p.closed) + "/s, at most " + perSecond(top), ls}
}

// flip turns a chart upside down.
func flip(lines []string) []string {
	out := make([]string, 0, len(lines))
	for _, l := range slices.Backward(lines) {
		b := []rune(l)
		for i, r := range b {
			if r < 0x2800 {
				continue
			}
			d := r - 0x2800
			f := rune(0)
			for _, p := range [][2]rune{{0x40, 0x01}, {0x04, 0x02}, {0x80, 0x08}, {0x20, 0x10}} {
				if d&p[0] != 0 {
					f |= p[1]
				}
				if d&p[1] != 0 {
					f |= p[0]
				}
			}
			b[i] = 0x2800 + f
		}
		out = append(out, string(b))
	}
	return out
}

func (o *overview) traffic(rows, width int) panel {
	p := o.latest()
	rx, tx := o.series(func(p *point) float64 { return p.rx }), o.series(func(p *point) float64 { return p.tx })
	top := max(chart.Largest(rx), chart.Largest(tx))
	ls := o.mirrored(rows, width, rx, sReceive, top, tx, sSend, top)
	right := "↓" + rateText(uint64(p.rx)) + " ↑" + rateText(uint64(p.tx)) + ", at most " + rateText(uint64(top))
	if p.loopback > 0 {
		right += "; loopback " + rateText(uint64(p.loopback))
	}
	return panel{"Traffic", right, ls}
}

// trouble is retransmissions above and resets below.
func (o *overview) trouble(rows, width int) panel {
	p := o.latest()
	re, rst := o.series(func(p *point) float64 { return p.retransmits }), o.series(func(p *point) float64 { return p.resets })
	ls := o.mirrored(rows, width, re, sWarn, 0, rst, sClosed, 0)
	return panel{"Retransmissions, resets", perSecond(p.retransmits) + ", " + perSecond(p.resets) + "/s, at most " + perSecond(chart.Largest(re)) + ", " + perSecond(chart.Largest(rst)), ls}
}

// drawnLine is a line of a panel: a label, what is drawn in the columns left for
// it, and a value.
func drawnLine(label string, s style, drawing func(columns int) string, value string) func(*canvas, int) {
	return func(c *canvas, width int) {
		const labels, values = 20, 17
		end := c.x + width
		c.cell(sNormal, label, min(labels, width/2), false)
		c.spaces(1)
		room := max(end-c.x-values-1, 1)
		at := c.x
		c.str(s, drawing(room))
		c.to(sNormal, at+room)
		c.cell(sNormal, value, end-c.x, true)
	}
}

func barLine(label string, s style, share float64, value string) func(*canvas, int) {
	return drawnLine(label, s, func(columns int) string { return chart.Bar(share, columns) }, value)
}

func (o *overview) states(m *Model, bars int) panel {
	type entry struct {
		s tcp.State
		n int
	}
	var es []entry
	for _, s := range stateLine {
		if n := m.live.totals.states[s]; n > 0 {
			es = append(es, entry{s, n})
		}
	}
	slices.SortStableFunc(es, func(a, b entry) int { return b.n - a.n })
	p := panel{title: "States", right: countText(m.live.totals.all) + " sockets"}
	for _, e := range es[:min(len(es), bars)] {
		st := stateStyle(e.s)
		p.lines = append(p.lines, barLine(e.s.String(), st, float64(e.n)/float64(max(es[0].n, 1)), countText(e.n)))
	}
	return p.padded(bars)
}

func (p panel) padded(lines int) panel {
	for len(p.lines) < lines {
		p.lines = append(p.lines, func(*canvas, int) {})
	}
	return p
}

// waiting is what waits for the application: half-open connections and full
// accept queues.
func (o *overview) waiting(m *Model, bars int) panel {
	last := o.latest()
	overflows := o.series(func(p *point) float64 { return p.overflows })
	right := countText(int(last.halfOpen)) + " half-open"
	p := panel{title: "Waiting", right: right}
	half := o.series(func(p *point) float64 { return p.halfOpen })
	spark := func(label string, vs []float64, s style, now string) {
		drawing := func(columns int) string { return sparkline(squeeze(vs, o.first(), columns), columns) }
		p.lines = append(p.lines, drawnLine(label, s, drawing, now))
	}
	spark("half-open", half, sWarn, countText(int(last.halfOpen)))
	if m.cfg.Counters != nil && o.err == nil {
		spark("queue overflows/s", overflows, sBad, perSecond(last.overflows))
	}
	var ls []*tcp.Conn
	for _, r := range m.live.all {
		c := r.conn
		if r.rank == rankListener && r.closed == 0 && c.Has&tcp.HasAcceptQueue != 0 && c.Has&tcp.HasBacklog != 0 {
			ls = append(ls, c)
		}
	}
	slices.SortStableFunc(ls, func(a, b *tcp.Conn) int { return cmp.Compare(queueShare(b), queueShare(a)) })
	for _, c := range ls[:min(len(ls), bars-len(p.lines))] {
		st := sListen
		if full(c) {
			st = sBad
		}
		label := ":" + strconv.Itoa(int(c.LocalPort)) + " " + processName(c)
		p.lines = append(p.lines, barLine(label, st, queueShare(c), "queue "+countText(uint64(c.Metrics.AcceptQueue))+"/"+countText(uint64(c.Metrics.Backlog))))
	}
	return p.padded(bars)
}

func processName(c *tcp.Conn) string {
	if c.Process == nil {
		return text.Unknown
	}
	return c.Process.Name
}

func queueShare(c *tcp.Conn) float64 {
	return float64(c.Metrics.AcceptQueue) / float64(max(c.Metrics.Backlog, 1))
}

// tops are the groups with the most traffic, or else connections.
func (o *overview) tops(m *Model, bars int, title, field string) panel {
	by := groupings[slices.IndexFunc(groupings, func(g grouping) bool { return g.field == field })]
	index := make(map[groupKey]*group)
	var list []*group
	for _, r := range m.live.all {
		if r.closed != 0 || r.rank != rankConn {
			continue
		}
		k := by.key(r.conn)
		x := index[k]
		if x == nil {
			x = &group{key: k}
			index[k] = x
			list = append(list, x)
		}
		x.conns++
		x.sum(groupRX, r.conn.Has&tcp.HasReceiveRate != 0, r.rx)
		x.sum(groupTX, r.conn.Has&tcp.HasSendRate != 0, r.tx)
		if len(x.rows) == 0 {
			x.rows = append(x.rows, r)
		}
	}
	traffic := func(x *group) uint64 { return x.sums[groupRX] + x.sums[groupTX] }
	slices.SortFunc(list, func(a, b *group) int {
		return cmp.Or(cmp.Compare(traffic(b), traffic(a)), cmp.Compare(b.conns, a.conns), cmp.Compare(a.key.label(by), b.key.label(by)))
	})
	p := panel{title: title, right: countText(len(list))}
	for _, x := range list[:min(len(list), bars)] {
		x.finish(m, by)
		share := float64(traffic(x)) / float64(max(traffic(list[0]), 1))
		rate := text.Unknown
		if x.known[groupRX] || x.known[groupTX] {
			rate = rateText(traffic(x))
		}
		p.lines = append(p.lines, barLine(x.label, sAccent, share, rate+" "+countText(x.conns)+"×"))
	}
	return p.padded(bars)
}
