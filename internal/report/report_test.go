package report

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// page is a report taken apart.
type page struct {
	text   string
	policy string
	data   struct {
		Title, Version, Base string
		Files                []struct {
			Name        string
			Size        int64
			Packets     uint64
			First, Last int64
			Reasons     [][2]any
		}
		Conns, Packets, Captured, WireBytes, Payload, Retransmissions, ResetConns uint64
		Resets                                                                    [2]uint64
		States, ConnStates                                                        [][2]any
		Hosts, Ports                                                              [][]any
		Timeline                                                                  struct {
			From, Width int64
			Bins        [][4]uint64
		}
		Findings []struct {
			Kind       string
			Total, Sum uint64
			Worst      [][2]uint64
		}
		Fields []struct {
			Name, Column, Kind, Group, Doc string
			Shown                          int
		}
		Rows  [][]any
		Plots []uint32
	}
	plots map[string]struct {
		Count, Packets, Missed uint64
		SackStride             int
		Points, Sacks          string
	}
}

func render(t *testing.T, c *Collector) *page {
	t.Helper()
	var b bytes.Buffer
	n, err := c.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("wrote %d of %d bytes: %v", n, b.Len(), err)
	}
	p := &page{text: b.String()}
	if m := regexp.MustCompile(`http-equiv="Content-Security-Policy" content="([^"]*)"`).FindStringSubmatch(p.text); m != nil {
		p.policy = m[1]
	}
	p.plots = make(map[string]struct {
		Count, Packets, Missed uint64
		SackStride             int
		Points, Sacks          string
	})
	for _, m := range regexp.MustCompile(`(?s)<script type="application/json" id="([^"]*)">(.*?)</script>`).FindAllStringSubmatch(p.text, -1) {
		if m[1] == "data" {
			d := json.NewDecoder(strings.NewReader(m[2]))
			if err := d.Decode(&p.data); err != nil {
				t.Fatalf("data: %v", err)
			}
			continue
		}
		plot := p.plots[m[1]]
		if err := json.Unmarshal([]byte(m[2]), &plot); err != nil {
			t.Fatalf("%s: %v", m[1], err)
		}
		p.plots[m[1]] = plot
	}
	return p
}

func (p *page) column(t *testing.T, name string) int {
	t.Helper()
	for i, f := range p.data.Fields {
		if f.Name == name {
			return i + 2
		}
	}
	t.Fatalf("no field %s", name)
	return 0
}

func TestPage(t *testing.T) {
	w := newWorld(2)
	w.showpiece(400_000)
	w.populate(200)
	p := render(t, w.collect(Options{Version: "v1.2.3", Title: "A & B"}))

	for _, want := range []string{"default-src 'none'", "script-src 'sha256-", "style-src 'sha256-", "base-uri 'none'", "form-action 'none'", "require-trusted-types-for 'script'"} {
		if !strings.Contains(p.policy, want) {
			t.Errorf("the policy %q lacks %q", p.policy, want)
		}
	}
	if strings.Contains(p.policy, "unsafe") {
		t.Errorf("the policy %q allows what is unsafe", p.policy)
	}
	// The hashes are those of what is there.
	js := regexp.MustCompile(`(?s)<script>(.*?)</script>`).FindAllStringSubmatch(p.text, -1)
	css := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindAllStringSubmatch(p.text, -1)
	if len(js) != 1 || len(css) != 1 || !strings.Contains(p.policy, "script-src "+digest(js[0][1])) || !strings.Contains(p.policy, "style-src "+digest(css[0][1])) {
		t.Errorf("%d scripts and %d styles, or their hashes are not in %q", len(js), len(css), p.policy)
	}
	// Nothing is loaded, and nothing bypasses text nodes.
	for _, bad := range []string{
		`(?i)https?:`, `(?i)url\(`, `(?i)@import`, `(?i)innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser`,
		`(?i)\bfetch\(|XMLHttpRequest|WebSocket|EventSource|sendBeacon|\bimport\(`, `(?i)\ssrc=`, `(?i)\son[a-z]+=["']`, `(?i)\sstyle=["']`,
	} {
		if m := regexp.MustCompile(bad).FindString(p.text); m != "" {
			t.Errorf("the page has %q", m)
		}
	}
	if n := len(js[0][1]); n > 60<<10 {
		t.Errorf("the script has %d bytes", n)
	}

	d := &p.data
	if d.Title != "A & B" || d.Version != "v1.2.3" || d.Conns != 201 || d.Packets != uint64(len(w.points)) || len(d.Rows) != 201 {
		t.Errorf("%q %q %d conns %d packets %d rows", d.Title, d.Version, d.Conns, d.Packets, len(d.Rows))
	}
	if !strings.Contains(p.text, "<title>A &amp; B · ViewTCP</title>") {
		t.Error("the title is not escaped")
	}
	if len(d.Plots) != 201 || len(p.plots) != 201 {
		t.Errorf("%d plots named, %d there", len(d.Plots), len(p.plots))
	}
	var want uint64
	for i := range w.points {
		if w.points[i].Verdict == 1 {
			want++
		}
	}
	if d.Retransmissions != want {
		t.Errorf("%d retransmissions, want %d", d.Retransmissions, want)
	}
	var bins, opened uint64
	for _, b := range d.Timeline.Bins {
		bins += b[0]
		opened += b[3]
	}
	if bins != d.Packets || opened != d.Conns {
		t.Errorf("the timeline has %d of %d packets and %d of %d connections", bins, d.Packets, opened, d.Conns)
	}
}

// TestRows holds the cells of the page against the registry.
func TestRows(t *testing.T) {
	w := newWorld(3)
	w.populate(80)
	p := render(t, w.collect(Options{}))
	for _, row := range p.data.Rows {
		c := w.conns[int(row[0].(float64))]
		for i, f := range p.data.Fields {
			field := tcp.FieldByName(f.Name)
			var got any
			if i+2 < len(row) {
				got = row[i+2]
			}
			text, known := field.AppendText(nil, c)
			if known != (got != nil) {
				t.Fatalf("stream %v: %s is %v, known %v", row[0], f.Name, got, known)
			}
			if !known {
				continue
			}
			want := string(text)
			switch field.Kind {
			case tcp.KindTime:
				v, _ := field.Num(c)
				var base int64
				_, _ = fmt.Sscan(p.data.Base, &base)
				want = fmt.Sprint(float64(int64(v) - base))
			case tcp.KindBool:
				want = map[string]string{"true": "1", "false": "0"}[want]
			default:
			}
			if s, ok := got.(string); ok && s != want {
				t.Errorf("stream %v: %s is %q, want %q", row[0], f.Name, s, want)
			} else if n, ok := got.(float64); ok && field.Kind != tcp.KindTime && fmt.Sprintf("%.0f", n) != want {
				t.Errorf("stream %v: %s is %v, want %s", row[0], f.Name, n, want)
			}
		}
	}
}

func TestDeterminism(t *testing.T) {
	var first string
	for range 2 {
		w := newWorld(4)
		w.populate(300)
		c := w.collect(Options{MaxConns: 40, MaxRows: 100})
		var a, b bytes.Buffer
		if _, err := c.WriteTo(&a); err != nil {
			t.Fatal(err)
		}
		if _, err := c.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		if a.String() != b.String() {
			t.Error("writing twice gives two pages")
		}
		if first == "" {
			first = a.String()
		} else if first != a.String() {
			t.Error("the same packets give two pages")
		}
	}
}

func TestHostileNames(t *testing.T) {
	w := newWorld(5)
	w.names = hostileNames
	w.populate(60)
	name := hostileNames[0] + "\u202e\n"
	p := render(t, w.collect(Options{Title: name, Files: []FileInfo{{Name: name, Reasons: map[string]uint64{hostileNames[1]: 1}}}}))
	// Of all that could end an element or begin one, only ours is there.
	rest := p.text
	for _, ours := range []string{bodyHTML, styleCSS, pageScript()} {
		rest = strings.Replace(rest, ours, "", 1)
	}
	rest = regexp.MustCompile(`<script type="application/json" id="(data|plot-\d+)">|</?(html|head|body|style|title|script)( lang="en")?>|<(meta|link)[^<>]*>|<!DOCTYPE html>`).ReplaceAllString(rest, "")
	if i := strings.IndexAny(rest, "<>"); i >= 0 {
		t.Errorf("an element of others: %q", rest[max(0, i-40):min(len(rest), i+80)])
	}
	for _, r := range p.text {
		if hostile(r) && r != '\n' && r != '\t' {
			t.Fatalf("the page has %U", r)
		}
	}
	if got, want := p.data.Title, `</script><script>window.pwned=1</script>\u202e\u000a`; got != want {
		t.Errorf("title %q, want %q", got, want)
	}
	if !strings.Contains(p.text, "<title>"+html.EscapeString(clean(name))) {
		t.Error("the title is not escaped")
	}
	sni := p.column(t, "sni")
	seen := make(map[string]bool)
	for _, row := range p.data.Rows {
		if sni < len(row) && row[sni] != nil {
			seen[row[sni].(string)] = true
		}
	}
	for _, want := range []string{hostileNames[1], `\u202egpj.exe`, `a\u0000b\u001b[31m`, `\xff\xfe</SCRIPT >`, strings.Repeat("0", maxText)} {
		if !seen[want] {
			t.Errorf("no SNI %q", want)
		}
	}
}

// TestLimits feeds more than the limits allow.
func TestLimits(t *testing.T) {
	w := newWorld(6)
	w.showpiece(3_000_000)
	w.populate(600)
	c := w.collect(Options{MaxConns: 30, MaxPoints: 300, MaxRows: 100})
	p := render(t, c)
	if len(p.data.Plots) != 30 || len(p.data.Rows) != 100 || p.data.Conns != 601 {
		t.Errorf("%d plots, %d rows of %d", len(p.data.Plots), len(p.data.Rows), p.data.Conns)
	}
	listed := make(map[uint32]bool)
	for i, row := range p.data.Rows {
		listed[uint32(row[0].(float64))] = true
		if i > 0 && row[0].(float64) <= p.data.Rows[i-1][0].(float64) {
			t.Error("rows are out of order")
		}
	}
	for _, s := range p.data.Plots {
		if !listed[s] {
			t.Errorf("stream %d has a plot and no row", s)
		}
	}
	for name, pl := range p.plots {
		if pl.Count > 300 {
			t.Errorf("%s has %d points", name, pl.Count)
		}
	}
	for _, f := range p.data.Findings {
		for _, it := range f.Worst {
			if !listed[uint32(it[0])] {
				t.Errorf("stream %d, among the worst %s, has no row", it[0], f.Kind)
			}
		}
	}
	if !slices.Contains(p.data.Plots, 0) {
		t.Error("the largest connection has no plot")
	}
}

// TestMemory keeps many long connections alive at once.
func TestMemory(t *testing.T) {
	const budget = 1 << 20
	c := New(Options{MaxConns: 20, MaxMemory: budget})
	const streams = 3000
	peak := 0
	for i := range 60 {
		for s := range uint32(streams) {
			n := uint32(10)
			if s < 10 {
				n = 1000 // larger, from the start
			}
			c.Packet(Point{Stream: s, Time: worldBase + int64(i)*1e6 + int64(s), Seq: uint64(i) * uint64(n), Len: n, Flags: flagACK})
			peak = max(peak, c.used)
		}
	}
	if peak > budget+64*pointSize*8 {
		t.Errorf("points took %d bytes, the budget is %d", peak, budget)
	}
	sum := 0
	for i := range c.plots {
		sum += c.plots[i].memory()
	}
	if sum != c.used {
		t.Errorf("%d bytes are counted, %d are there", c.used, sum)
	}
	for s := range uint32(streams) {
		c.Conn(s, &tcp.Conn{Packets: &tcp.PacketStats{Stream: s}, Metrics: tcp.Metrics{BytesSent: uint64(s)}})
	}
	if len(c.index) > 2*20 || c.ended > 2*20 {
		t.Errorf("%d connections are kept after their end", len(c.index))
	}
	c.Drop(9999)
}

// TestDrop forgets a connection that a filter left out.
func TestDrop(t *testing.T) {
	c := New(Options{})
	for s := range uint32(3) {
		c.Packet(Point{Stream: s, Time: 1, Flags: flagACK})
	}
	c.Drop(1)
	c.Conn(0, &tcp.Conn{Packets: &tcp.PacketStats{Packets: [2]uint64{1, 0}}})
	p := render(t, c)
	if diff := gocmp.Diff([]uint32{0}, p.data.Plots); diff != "" || p.data.Packets != 1 || p.data.Captured != 3 {
		t.Errorf("%s%d of %d packets", diff, p.data.Packets, p.data.Captured)
	}
}

func TestWriteError(t *testing.T) {
	w := newWorld(8)
	w.populate(5)
	full := errors.New("disk full")
	for _, room := range []int{0, 100, 40_000, 90_000} {
		n, err := w.collect(Options{}).WriteTo(&smallDisk{room: room, err: full})
		if !errors.Is(err, full) || n > int64(room) {
			t.Errorf("with room for %d: %d, %v", room, n, err)
		}
	}
}

type smallDisk struct {
	room int
	err  error
}

func (d *smallDisk) Write(b []byte) (int, error) {
	if len(b) > d.room {
		return 0, d.err
	}
	d.room -= len(b)
	return len(b), nil
}

func TestEmpty(t *testing.T) {
	p := render(t, New(Options{}))
	if p.data.Title != "TCP report" || p.data.Conns != 0 || len(p.data.Rows) != 0 {
		t.Errorf("%+v", p.data)
	}
}

func TestSizes(t *testing.T) {
	for _, s := range []struct {
		v    any
		want int
	}{{point{}, pointSize}, {sackMark{}, sackSize}} {
		if got := reflect.TypeOf(s.v).Size(); got > uintptr(s.want) {
			t.Errorf("%T takes %d bytes, not %d", s.v, got, s.want)
		}
	}
}

// decodePoints is what assets/points.js does.
func decodePoints(t *testing.T, text string, numbered bool) []point {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	uvar := func() uint64 { v, n := binary.Uvarint(b); b = b[n:]; return v }
	svar := func() int64 { v, n := binary.Varint(b); b = b[n:]; return v }
	var ps []point
	var next, ack, win [2]int64
	var at, frame int64
	for len(b) > 0 {
		h := b[0]
		b = b[1:]
		d := h & bitFrom
		p := point{from: d, verdict: h >> 1 & 3, n: 1, flags: flagACK}
		at += svar()
		p.time, p.seq = at, next[d]+svar()
		ack[d] += svar()
		p.ack, p.len = ack[d], uint32(uvar())
		if numbered {
			frame += svar()
			p.frame = uint64(frame)
		}
		if p.len > 0 {
			p.inFlight = uint32(uvar())
		}
		if h&bitFlags != 0 {
			p.flags = uint16(uvar())
		}
		if h&bitAnalysis != 0 {
			p.analysis = uint16(uvar())
		}
		if h&bitRTT != 0 {
			p.rttMax = uint32(uvar())
		}
		if h&bitWindow != 0 {
			win[d] += svar()
		}
		p.winMax, p.winMin, p.rttMin = uint32(win[d]), uint32(win[d]), p.rttMax
		if h&bitRun != 0 {
			p.span, p.n = uint32(uvar()), uint32(uvar())
			p.rttMin -= uint32(uvar())
			p.winMin -= uint32(uvar())
		}
		next[d] = p.seq + int64(p.len)
		ps = append(ps, p)
	}
	return ps
}

func TestPointsRoundTrip(t *testing.T) {
	w := newWorld(9)
	w.showpiece(800_000)
	for _, limit := range []int{100_000, 400} {
		c := w.collect(Options{MaxPoints: limit})
		pl := &c.plots[c.index[0]]
		pl.shrink(limit)
		p := render(t, c)
		got := decodePoints(t, p.plots["plot-0"].Points, true)
		want := slices.Clone(pl.points)
		var base int64
		_, _ = fmt.Sscan(p.data.Base, &base)
		for i := range want {
			want[i].time -= base
			if want[i].len == 0 {
				want[i].inFlight = 0
			}
		}
		if diff := gocmp.Diff(want, got, gocmp.AllowUnexported(point{})); diff != "" {
			t.Errorf("limit %d: %s", limit, diff)
		}
	}
}

func TestString(t *testing.T) {
	for _, tt := range []struct{ in, json string }{
		{"", `""`},
		{"a.example", `"a.example"`},
		{`say "\"`, `"say \"\\\""`},
		{"</script>", `"\u003c/script\u003e"`},
		{"a&b'c", `"a\u0026b\u0027c"`},
		{"tab\tnul\x00del\x7f", `"tab\\u0009nul\\u0000del\\u007f"`},
		{"bidi \u202e\u2066", `"bidi \\u202e\\u2066"`},
		{"sep \u2028\u2029", `"sep \\u2028\\u2029"`},
		{"zero\u200bwidth\ufeff", `"zero\\u200bwidth\\ufeff"`},
		{"tag \U000e0041", `"tag \\U000e0041"`},
		{"bad \xff", `"bad \\xff"`},
		{"bücher.例え", `"bücher.例え"`},
	} {
		if got := string(appendString(nil, tt.in)); got != tt.json {
			t.Errorf("%q becomes %s, want %s", tt.in, got, tt.json)
		}
	}
}

func FuzzString(f *testing.F) {
	for _, s := range hostileNames {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b := appendString(nil, s)
		if bytes.ContainsAny(b, "<>&'") {
			t.Errorf("%q becomes %s", s, b)
		}
		var back string
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatalf("%q becomes %s: %v", s, b, err)
		}
		if back != clean(s) {
			t.Errorf("%q is %q in JSON and %q in HTML", s, back, clean(s))
		}
		for _, r := range back {
			if hostile(r) {
				t.Errorf("%q keeps %U", s, r)
			}
		}
	})
}

func BenchmarkPacket(b *testing.B) {
	w := newWorld(10)
	w.showpiece(20_000_000)
	w.populate(2000)
	slices.SortStableFunc(w.points, func(a, b Point) int { return cmp.Compare(a.Time, b.Time) })
	c := New(Options{})
	b.ReportAllocs()
	i, round := 0, int64(0)
	for b.Loop() {
		p := w.points[i]
		p.Time += round * 60e9
		c.Packet(p)
		if i++; i == len(w.points) {
			i = 0
			round++
		}
	}
}

func BenchmarkConn(b *testing.B) {
	w := newWorld(11)
	w.populate(1000)
	c := New(Options{})
	b.ReportAllocs()
	i := uint32(0)
	for b.Loop() {
		c.Conn(i, w.conns[i%1000])
		i++
	}
}

func BenchmarkWriteTo(b *testing.B) {
	w := newWorld(12)
	w.populate(1000)
	c := w.collect(Options{})
	b.ReportAllocs()
	for b.Loop() {
		var n smallDisk
		n.room = 1 << 30
		if _, err := c.WriteTo(&n); err != nil {
			b.Fatal(err)
		}
	}
}
