package report

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// The parts of the page. The scripts share one scope, in this order.
var (
	//go:embed assets/page.html
	bodyHTML string
	//go:embed assets/style.css
	styleCSS string

	//go:embed assets/base.js
	baseJS string
	//go:embed assets/summary.js
	summaryJS string
	//go:embed assets/table.js
	tableJS string
	//go:embed assets/points.js
	pointsJS string
	//go:embed assets/axes.js
	axesJS string
	//go:embed assets/plots.js
	plotsJS string
	//go:embed assets/detail.js
	detailJS string
	//go:embed assets/main.js
	mainJS string
)

// pageScript is the one script of the page, without indentation and comments:
// every report carries it. No string of it spans lines.
func pageScript() string {
	var b strings.Builder
	b.WriteString("'use strict';\n(() => {\n")
	for _, part := range [...]string{baseJS, summaryJS, tableJS, pointsJS, axesJS, plotsJS, detailJS, mainJS} {
		for line := range strings.Lines(part) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
				b.WriteString(line)
				b.WriteByte('\n')
			}
		}
	}
	b.WriteString("})();\n")
	return b.String()
}

// digest names an inline script or style in a Content-Security-Policy.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// WriteTo writes the page. The same packets and connections give the same
// bytes. The collector stays as it is and may go on.
func (c *Collector) WriteTo(w io.Writer) (int64, error) {
	out := &counter{w: w}
	js := pageScript()
	title := clean(cmp.Or(c.o.Title, c.firstFile(), "TCP report"))
	policy := "default-src 'none'; script-src " + digest(js) + "; style-src " + digest(styleCSS) +
		"; img-src data:; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
	out.text("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n" +
		"<meta http-equiv=\"Content-Security-Policy\" content=\"" + policy + "\">\n" +
		"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n" +
		"<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n" +
		"<link rel=\"icon\" href=\"data:,\">\n" +
		"<title>" + html.EscapeString(title) + " · ViewTCP</title>\n<style>" + styleCSS + "</style>\n</head>\n")
	out.text(bodyHTML)

	slots := c.chosen()
	rows := c.listed()
	base := c.base()
	b := c.appendData(nil, title, base, rows, slots)
	out.text("<script type=\"application/json\" id=\"data\">")
	out.bytes(b)
	out.text("</script>\n")
	for _, slot := range slots {
		if out.err != nil {
			break
		}
		b = c.appendPlot(b[:0], &c.plots[slot], base)
		out.bytes(b)
	}
	out.text("<script>" + js + "</script>\n</body>\n</html>\n")
	if out.err != nil {
		return out.n, fmt.Errorf("writing the report: %w", out.err)
	}
	return out.n, nil
}

// counter keeps the first error and the number of bytes.
type counter struct {
	w   io.Writer
	n   int64
	err error
}

func (c *counter) bytes(b []byte) {
	if c.err != nil {
		return
	}
	n, err := c.w.Write(b)
	c.n += int64(n)
	c.err = err
}

func (c *counter) text(s string) { c.bytes([]byte(s)) }

func (c *Collector) firstFile() string {
	if len(c.o.Files) == 0 {
		return ""
	}
	return c.o.Files[0].Name
}

// base is the time that all times of the page are counted from.
func (c *Collector) base() int64 {
	base := c.sum.timeline.base
	for _, f := range c.o.Files {
		if f.First != 0 && (base == 0 || f.First < base) {
			base = f.First
		}
	}
	return base
}

// listed returns the rows of the table, in the order of their streams.
func (c *Collector) listed() []row {
	if len(c.rows) > c.o.MaxRows {
		c.pruneRows()
	}
	rows := slices.Clone(c.rows)
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(a.interest.stream, b.interest.stream) })
	return rows
}

// appendData appends the JSON of everything but the points.
func (c *Collector) appendData(b []byte, title string, base int64, rows []row, slots []int32) []byte {
	b = append(b, `{"title":`...)
	b = appendString(b, title)
	b = append(b, `,"version":`...)
	b = appendString(b, c.o.Version)
	b = append(b, `,"base":"`...)
	b = appendInt(b, base)
	b = append(b, `","files":[`...)
	for i := range c.o.Files {
		b = appendFile(comma(b, i), &c.o.Files[i], base)
	}
	b = append(b, ']')
	b = c.sum.append(b, base)

	// Fields that no connection has would only be empty columns.
	used := make([]int, len(c.fields))
	for i := range rows {
		rows[i].each(c.fields, func(f int, _ uint64, _ []byte) { used[f] = 1 })
	}
	b = append(b, `,"fields":[`...)
	n := 0
	for i, f := range c.fields {
		if used[i] == 0 || f.Name == "stream" { // which every row begins with
			used[i] = 0
			continue
		}
		b = append(comma(b, n), `{"name":"`...)
		b = append(b, f.Name...)
		b = append(b, `","column":`...)
		b = appendString(b, f.Column)
		b = append(b, `,"kind":"`...)
		b = append(b, f.Kind.String()...)
		b = append(b, `","group":"`...)
		b = append(b, f.Group.String()...)
		b = append(b, `","doc":`...)
		b = appendString(b, f.Doc)
		if slices.Contains(defaultColumns, f.Name) {
			b = append(b, `,"shown":1`...)
		}
		b = append(b, '}')
		n++
		used[i] = n // the place in a row, after the two that begin it
	}
	b = append(b, `],"rows":[`...)
	for i := range rows {
		b = append(comma(b, i), '[')
		b = appendUint(b, uint64(rows[i].interest.stream))
		b = appendUint(append(b, ','), uint64(rows[i].interest.retransmissions))
		at := 0
		rows[i].each(c.fields, func(f int, num uint64, text []byte) {
			if used[f] == 0 {
				return
			}
			for ; at < used[f]; at++ {
				b = append(b, ',')
				if at < used[f]-1 {
					b = append(b, "null"...)
				}
			}
			b = appendCell(b, c.fields[f], num, text, base)
		})
		b = append(b, ']')
	}
	b = append(b, `],"plots":[`...)
	for i, s := range slots {
		b = appendUint(comma(b, i), uint64(c.plots[s].stream))
	}
	return append(b, `]}`...)
}

func comma(b []byte, i int) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	return b
}

func appendFile(b []byte, f *FileInfo, base int64) []byte {
	b = append(b, `{"name":`...)
	b = appendString(b, f.Name)
	b = append(b, `,"size":`...)
	b = appendInt(b, f.Size)
	b = append(b, `,"packets":`...)
	b = appendUint(b, f.Packets)
	if f.First != 0 || f.Last != 0 {
		b = append(b, `,"first":`...)
		b = appendInt(b, f.First-base)
		b = append(b, `,"last":`...)
		b = appendInt(b, f.Last-base)
	}
	b = append(b, `,"reasons":`...)
	b = appendCounts(b, f.Reasons)
	return append(b, '}')
}

// appendCounts appends pairs of name and count, most first.
func appendCounts(b []byte, m map[string]uint64) []byte {
	names := slices.SortedFunc(maps.Keys(m), func(x, y string) int {
		return cmp.Or(cmp.Compare(m[y], m[x]), cmp.Compare(x, y))
	})
	b = append(b, '[')
	for i, name := range names {
		b = appendString(append(comma(b, i), '['), name)
		b = appendUint(append(b, ','), m[name])
		b = append(b, ']')
	}
	return append(b, ']')
}

// topShown is how many hosts and ports the summary lists.
const topShown = 10

func (s *summary) append(b []byte, base int64) []byte {
	number := func(name string, v uint64) {
		b = append(append(append(b, `,"`...), name...), `":`...)
		b = appendUint(b, v)
	}
	number("conns", s.conns)
	number("packets", cmp.Or(s.wirePackets, s.packets))
	number("captured", s.packets)
	number("wireBytes", s.wireBytes)
	number("payload", s.payload)
	number("retransmissions", s.retransmissions)
	number("resetConns", s.resetConns)
	b = append(b, `,"resets":[`...)
	b = appendUint(append(appendUint(b, s.resets[0]), ','), s.resets[1])
	b = append(b, `],"states":`...)
	b = appendCounts(b, s.states)
	b = append(b, `,"connStates":`...)
	b = appendCounts(b, s.connStates)
	b = append(b, `,"reasons":`...)
	b = appendCounts(b, s.reasons)

	b = append(b, `,"hosts":[`...)
	for i, h := range topTraffic(s.hosts, topShown, func(x, y tcp.Addr) int { return slices.Compare(x[:], y[:]) }) {
		b = append(comma(b, i), `["`...)
		b = h.key.AppendTo(b)
		b = append(b, '"')
		b = h.append(b)
	}
	b = append(b, `],"hostCount":`...)
	b = appendUint(b, uint64(len(s.hosts)))
	if s.hostsLost {
		b = append(b, `,"hostsLost":1`...)
	}
	b = append(b, `,"ports":[`...)
	for i, p := range topTraffic(s.ports, topShown, cmp.Compare[uint16]) {
		b = append(comma(b, i), '[')
		b = appendUint(b, uint64(p.key))
		b = p.append(b)
	}
	b = append(b, `],"portCount":`...)
	b = appendUint(b, uint64(len(s.ports)))

	b = append(b, `,"timeline":{"from":`...)
	b = appendInt(b, s.timeline.base-base)
	b = append(b, `,"width":`...)
	b = appendUint(b, 1<<s.timeline.shift)
	b = append(b, `,"bins":[`...)
	for i, t := range s.timeline.bins {
		b = append(comma(b, i), '[')
		for j, v := range [...]uint64{t.packets, t.bytes, t.retransmissions, t.opened} {
			b = appendUint(comma(b, j), v)
		}
		b = append(b, ']')
	}
	b = append(b, `]},"handshakes":`...)
	b = s.handshakes.append(b)
	b = append(b, `,"acks":`...)
	b = s.acks.append(b)
	b = append(b, `,"findings":[`...)
	for i := range s.findings {
		f := &s.findings[i]
		b = append(comma(b, i), `{"kind":"`...)
		b = append(b, findingKinds[i].name...)
		b = append(b, `","total":`...)
		b = appendUint(b, f.total)
		b = append(b, `,"sum":`...)
		b = appendUint(b, f.sum)
		b = append(b, `,"worst":[`...)
		for j, it := range f.worst {
			b = appendUint(append(comma(b, j), '['), uint64(it.stream))
			b = appendUint(append(b, ','), it.value)
			b = append(b, ']')
		}
		b = append(b, `]}`...)
	}
	return append(b, ']')
}

// append appends the rest of an entry: connections, bytes, packets.
func (t *traffic) append(b []byte) []byte {
	for _, v := range [...]uint64{t.conns, t.bytes, t.packets} {
		b = appendUint(append(b, ','), v)
	}
	return append(b, ']')
}

// append appends the bins that are not empty as pairs of index and count.
func (h *histogram) append(b []byte) []byte {
	b = append(b, '[')
	n := 0
	for i, v := range h {
		if v != 0 {
			b = appendUint(append(comma(b, n), '['), uint64(i))
			b = appendUint(append(b, ','), v)
			b = append(b, ']')
			n++
		}
	}
	return append(b, ']')
}

// appendPlot appends the element with the points of one connection. Each is an
// element of its own, so that a browser decodes only what is looked at.
func (c *Collector) appendPlot(b []byte, pl *plot, base int64) []byte {
	ps := pl.points
	if len(ps) > c.limit {
		// A compaction that is due would come with the next packets.
		tmp := plot{points: slices.Clone(ps), width: pl.width / 2, how: pl.how}
		tmp.compact(c.limit)
		ps = tmp.points
	}
	numbered := slices.ContainsFunc(ps, func(p point) bool { return p.frame != 0 })
	b = append(b, `<script type="application/json" id="plot-`...)
	b = appendUint(b, uint64(pl.stream))
	b = append(b, `">{"count":`...)
	b = appendUint(b, uint64(len(ps)))
	b = append(b, `,"packets":`...)
	b = appendUint(b, pl.packets)
	b = append(b, `,"missed":`...)
	b = appendUint(b, pl.missed)
	b = append(b, `,"sackStride":`...)
	b = appendUint(b, uint64(max(pl.sackStride, 1)))
	b = append(b, `,"numbered":`...)
	if numbered {
		b = append(b, '1')
	} else {
		b = append(b, '0')
	}
	b = append(b, `,"points":"`...)
	c.scratch = appendPoints(c.scratch[:0], ps, base, numbered)
	b = base64.StdEncoding.AppendEncode(b, c.scratch)
	b = append(b, `","sacks":"`...)
	c.scratch = appendSACKs(c.scratch[:0], pl.sacks, base)
	b = base64.StdEncoding.AppendEncode(b, c.scratch)
	return append(b, "\"}</script>\n"...)
}
