package output

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/text"
)

// hostileTexts is what a process may call itself.
func hostileTexts() []string {
	texts := []string{
		"\x1b]0;owned\a", "\x1b[2J\x1b[H", "a\nb", "a\r\nb", "tab\there", "\u202eevil", "a\u2066b\u2069",
		"\u200bzero", "\ufeffbom", "\u009b31m", "\x9b31m", "\xff\xfe", "\x7f", "é\x80", "\u2028line",
		"=cmd|'/c calc'!A0", "+1", "-1", "@x", `"quoted"`, `back\slash`, "comma,comma", "\U000e0001tag",
		"日本語", "smile 😀", "", "nul\x00nul", strings.Repeat("x", 5000),
	}
	for c := range 0xa0 {
		texts = append(texts, "x"+string(rune(c))+"y", "x"+string([]byte{byte(c)})+"y")
	}
	return texts
}

// wantHarmless fails when b holds a byte or rune that acts on a terminal, the
// given newlines apart.
func wantHarmless(t *testing.T, b []byte) {
	t.Helper()
	for i, r := range strings.ReplaceAll(string(b), "\n", "") {
		if r == utf8.RuneError || text.Hostile(r) {
			t.Fatalf("%q at %d of %.80q", r, i, b)
		}
	}
}

func hostileConn(s string) *tcp.Conn {
	return &tcp.Conn{
		ID: 1, State: tcp.Established, Complete: true,
		Process: &tcp.Process{ProcessID: tcp.ProcessID{PID: 7}, Name: s, Exe: s, Cmdline: s, User: s, Container: s, Unit: s, Cgroup: s},
		Names:   &tcp.Names{Host: s, RemoteName: s, SNI: s, HTTPHost: s, Service: s, ASOrg: s},
	}
}

func TestHostileTextIsHarmlessAtEverySink(t *testing.T) {
	fields := tcp.Fields()
	var all []Column
	for _, f := range fields {
		all = append(all, fieldColumn(f))
	}
	all = append(all, endColumns...)
	for _, s := range hostileTexts() {
		c := hostileConn(s)
		j := NewJSON(fields).AppendConn(nil, c)
		wantHarmless(t, j)
		var back map[string]any
		if err := json.Unmarshal(j, &back); err != nil {
			t.Fatalf("%q makes invalid JSON %s: %v", s, j, err)
		}
		if want := strings.ToValidUTF8(s, "\ufffd"); s != "" && utf8.ValidString(s) && back["exe"] != want {
			t.Errorf("%q came back as %q", s, back["exe"])
		}
		line := NewCSV(fields).AppendConn(nil, c)
		wantHarmless(t, line)
		if n := strings.Count(string(line), "\n"); n != 1 {
			t.Fatalf("%q makes %d CSV lines", s, n)
		}
		rows, err := csv.NewReader(strings.NewReader(string(line))).ReadAll()
		if err != nil || len(rows) != 1 || len(rows[0]) != len(fields) {
			t.Fatalf("%q makes invalid CSV %q: %v", s, line, err)
		}
		for i, cell := range rows[0] {
			if fields[i].Str != nil && cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
				t.Errorf("%q is a formula in column %s: %q", s, fields[i].Name, cell)
			}
		}
		table := (&Table{Columns: all}).Append(nil, []*tcp.Conn{c})
		wantHarmless(t, table)
		if n := strings.Count(string(table), "\n"); n != 2 {
			t.Fatalf("%q makes a table of %d lines", s, n)
		}
		ev := (&EventLine{Columns: all}).Append(nil, &tcp.Event{Type: tcp.EventClosed, Conn: c})
		wantHarmless(t, ev)
	}
}

func FuzzString(f *testing.F) {
	for _, s := range hostileTexts() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		j := appendString(nil, s)
		wantHarmless(t, j)
		var back string
		if err := json.Unmarshal(j, &back); err != nil {
			t.Fatalf("%s: %v", j, err)
		}
		if utf8.ValidString(s) && back != s {
			t.Errorf("%q came back as %q", s, back)
		}
	})
}

func fullConn() *tcp.Conn {
	c := &tcp.Conn{
		Key: tcp.Key{NetNS: 4026531840, Tuple: tcp.Tuple{
			Local: tcp.AddrFrom4([4]byte{192, 0, 2, 1}), Remote: tcp.Addr{0: 0x20, 1: 1, 2: 0xd, 3: 0xb8, 15: 1},
			LocalPort: 40000, RemotePort: 443,
		}},
		ID: 0x123456789, Cookie: 1 << 60, State: tcp.Established, Complete: true,
		Has:    tcp.HasCookie | tcp.HasRTT | tcp.HasBytesSent | tcp.HasRetransmits | tcp.HasSendRate,
		Opened: tcp.Stamp{Wall: 1_700_000_000_123_456_789, Boot: 5},
	}
	c.Metrics.RTT, c.Metrics.BytesSent, c.Metrics.SendRate = 12_345, 1<<40, 1536
	return c
}

func TestJSONValues(t *testing.T) {
	var got map[string]any
	dec := json.NewDecoder(strings.NewReader(string(NewJSON(tcp.Fields()).AppendConn(nil, fullConn()))))
	dec.UseNumber()
	if err := dec.Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"id": tcp.ID(0x123456789).String(), "netns": json.Number("4026531840"), "cookie": "1152921504606846976",
		"family": "ipv4", "direction": "unknown", "complete": true, "attribution": "unknown", "state": "ESTABLISHED",
		"local_ip": "192.0.2.1", "local_port": json.Number("40000"), "remote_ip": "2001:db8::1", "remote_port": json.Number("443"),
		"rtt_us": json.Number("12345"), "rttvar_us": json.Number("0"), "bytes_sent": json.Number("1099511627776"),
		"retransmits": json.Number("0"), "send_rate": json.Number("1536"), "opened": "2023-11-14T22:13:20.123456789Z",
		"opened_exact": false,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("object (-want +got):\n%s", diff)
	}
}

func TestEventJSON(t *testing.T) {
	j := NewJSON([]*tcp.Field{tcp.FieldByName("state")})
	for want, e := range map[string]tcp.Event{
		`{"event":"reset","seq":5,"time":"1970-01-01T00:00:01.000000000Z","reset_by":"remote","state":"ESTABLISHED"}`:                                                                                                {Seq: 5, Time: tcp.Stamp{Wall: 1e9}, Type: tcp.EventReset, By: tcp.SideRemote, Conn: fullConn()},
		`{"event":"gap","seq":6,"time":"1970-01-01T00:00:01.000000000Z","source":"ebpf","where":"ring","lost_closes":1,"lost_bytes_sent":2,"lost_bytes_received":3,"lost_events":4,"skipped_events":0,"exact":true}`: {Seq: 6, Time: tcp.Stamp{Wall: 1e9}, Type: tcp.EventGap, Gap: &tcp.Gap{Loss: tcp.Loss{Closes: 1, BytesSent: 2, BytesReceived: 3, Events: 4}, Source: tcp.SourceEBPF, Where: "ring"}},
	} {
		if got := string(j.AppendEvent(nil, &e)); got != want {
			t.Errorf("event\n got %s\nwant %s", got, want)
		}
	}
}

func TestUnknownIsNeverZero(t *testing.T) {
	table := string((&Table{Columns: DefaultColumns()}).Append(nil, []*tcp.Conn{{State: tcp.Established}}))
	row := strings.Fields(strings.Split(table, "\n")[1])
	if n := strings.Count(strings.Join(row, " "), Unknown); n != 9 {
		t.Errorf("%d unknown values in %q, want 9", n, row)
	}
	if slices.Contains(row, "0") {
		t.Errorf("a zero in a row that knows nothing: %q", row)
	}
}

func TestTableFitsTheTerminal(t *testing.T) {
	conns := []*tcp.Conn{fullConn(), hostileConn("日本語の名前がとても長い")}
	heads := map[int]string{}
	for limit := 1; limit <= 200; limit++ {
		out := string((&Table{Columns: DefaultColumns(), Width: limit}).Append(nil, conns))
		for line := range strings.Lines(out) {
			if w := textWidth([]byte(strings.TrimSuffix(line, "\n"))); w > limit && limit >= 11 {
				t.Fatalf("a line of %d columns on a terminal of %d: %q", w, limit, line)
			}
		}
		heads[limit] = strings.Join(strings.Fields(strings.SplitN(out, "\n", 2)[0]), " ")
	}
	for limit, want := range map[int]string{
		200: "STATE RECVQ SENDQ LOCAL REMOTE RTT RETR TX RX AGE PID PROCESS",
		110: "STATE LOCAL REMOTE RTT TX RX PID PROCESS",
		15:  "STATE",
	} {
		if diff := cmp.Diff(want, heads[limit]); diff != "" {
			t.Errorf("columns at width %d (-want +got):\n%s", limit, diff)
		}
	}
}

func TestTableGolden(t *testing.T) {
	c := fullConn()
	listener := &tcp.Conn{State: tcp.Listen, Key: tcp.Key{Tuple: tcp.Tuple{LocalPort: 22}}}
	cols := []Column{}
	for _, n := range []string{"state", "local", "remote", "rtt", "tx"} {
		col, ok := ColumnByName(n)
		if !ok {
			t.Fatal(n)
		}
		cols = append(cols, col)
	}
	got := string((&Table{Columns: cols}).Append(nil, []*tcp.Conn{listener, c}))
	want := "" +
		"STATE        LOCAL            REMOTE                RTT     TX\n" +
		"LISTEN       *:22             *                      --     --\n" +
		"ESTABLISHED  192.0.2.1:40000  [2001:db8::1]:443  12.3ms  1.00T\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestColorsAddNothingButColor(t *testing.T) {
	plain := string((&Table{Columns: DefaultColumns()}).Append(nil, []*tcp.Conn{fullConn()}))
	colored := string((&Table{Columns: DefaultColumns(), Color: true}).Append(nil, []*tcp.Conn{fullConn()}))
	for _, c := range []string{colorOff, colorGreen, colorYellow, colorRed, colorBlue, colorDim} {
		colored = strings.ReplaceAll(colored, c, "")
	}
	if plain != colored {
		t.Errorf("%q\n%q", plain, colored)
	}
}

func BenchmarkJSON(b *testing.B) {
	j, c := NewJSON(tcp.Fields()), fullConn()
	c.Has = 1<<40 - 1
	c.Process = &tcp.Process{ProcessID: tcp.ProcessID{PID: 4711}, Name: "nginx", Exe: "/usr/sbin/nginx", Cmdline: "nginx: worker process", User: "www-data"}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = j.AppendConn(buf[:0], c)
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkTable(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			conns := slices.Repeat([]*tcp.Conn{fullConn()}, n)
			b.ReportAllocs()
			for b.Loop() {
				(&Table{Columns: DefaultColumns(), Width: 120}).Append(nil, conns)
			}
		})
	}
}
