package tcptest

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// readSS reads the recorded output of ss; see testdata/README.md.
func readSS(tb testing.TB) []SSRow {
	tb.Helper()
	b, err := os.ReadFile("testdata/ss-6.1.txt")
	if err != nil {
		tb.Fatal(err)
	}
	rows, err := ParseSS(b)
	if err != nil {
		tb.Fatal(err)
	}
	for i := range rows {
		rows[i].NetNS = 4026531840
	}
	return rows
}

func TestParseSS(t *testing.T) {
	ap := netip.MustParseAddrPort
	for _, test := range []struct {
		name, line string
		want       SSRow
	}{
		{
			"established", `ESTAB 0 0 127.0.0.1:53970 127.0.0.1:41333 ino:36682 uid:1000 sk:1001 cgroup:/ <-> ts sack bbr wscale:10,10 rto:204 rtt:0.058/0.033 bytes_sent:100 bbr:(bw:21845328120bps,mrtt:0.012) send 49716965517bps pacing_rate 115161738368bps delivery_rate 21845333328bps app_limited minrtt:0.012`,
			SSRow{
				State: tcp.Established, Local: ap("127.0.0.1:53970"), Remote: ap("127.0.0.1:41333"),
				Inode: 36682, UID: 1000, Cookie: 0x1001, CC: "bbr", AppLimited: true,
				Tokens: map[string]string{
					"wscale": "10,10", "rto": "204", "rtt": "0.058/0.033", "bytes_sent": "100", "bbr": "(bw:21845328120bps,mrtt:0.012)",
					"send": "49716965517bps", "pacing_rate": "115161738368bps", "delivery_rate": "21845333328bps", "minrtt": "0.012",
				},
			},
		},
		{
			"listener of both families", `LISTEN 1 5 *:41333 *:* ino:36681 sk:1004 cgroup:/ v6only:0 <-> cubic cwnd:10 unacked:1`,
			SSRow{
				State: tcp.Listen, RecvQ: 1, SendQ: 5, Local: ap("[::]:41333"), Remote: ap("[::]:0"), IPv6: true,
				Inode: 36681, Cookie: 0x1004, CC: "cubic", Tokens: map[string]string{"cwnd": "10", "unacked": "1"},
			},
		},
		{
			"bound to an interface", `LISTEN 0 128 127.0.0.53%lo:53 0.0.0.0:* ino:5 sk:a`,
			SSRow{State: tcp.Listen, SendQ: 128, Local: ap("127.0.0.53:53"), Remote: ap("0.0.0.0:0"), Inode: 5, Cookie: 10},
		},
		{
			"mapped", `TIME-WAIT 0 0 [::ffff:192.0.2.1]:22 [::ffff:192.0.2.2]:5 timer:(timewait,59sec,0) ino:0 sk:1002`,
			SSRow{State: tcp.TimeWait, Local: ap("192.0.2.1:22"), Remote: ap("192.0.2.2:5"), IPv6: true, Cookie: 0x1002},
		},
		{
			"single state closing", `CLOSING 0 1 [2001:db8::1]:1 [2001:db8::2]:2 sk:3`,
			SSRow{State: tcp.Closing, SendQ: 1, Local: ap("[2001:db8::1]:1"), Remote: ap("[2001:db8::2]:2"), IPv6: true, Cookie: 3},
		},
		{
			"users", `ESTAB 0 0 192.0.2.1:1 192.0.2.2:2 users:(("tmux: server",pid=12,fd=3),("a) b",pid=13,fd=4)) ino:9 sk:1`,
			SSRow{
				State: tcp.Established, Local: ap("192.0.2.1:1"), Remote: ap("192.0.2.2:2"), Inode: 9, Cookie: 1,
				Users: []SSUser{{"tmux: server", 12, 3}, {"a) b", 13, 4}},
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParseSS([]byte("\n" + test.line + "  \n"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]SSRow{test.want}, got, cmpopts.EquateComparable(netip.AddrPort{}), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseSSErrors(t *testing.T) {
	for _, line := range []string{
		"ESTAB 0 0 127.0.0.1:1",
		"NONSENSE 0 0 127.0.0.1:1 127.0.0.1:2",
		"connected 0 0 127.0.0.1:1 127.0.0.1:2",
		"ESTAB x 0 127.0.0.1:1 127.0.0.1:2",
		"ESTAB 0 x 127.0.0.1:1 127.0.0.1:2",
		"ESTAB 0 0 127.0.0.1 127.0.0.1:2",
		"ESTAB 0 0 127.0.0.1:99999 127.0.0.1:2",
		"ESTAB 0 0 127.0.0:1 127.0.0.1:2",
		"ESTAB 0 0 127.0.0.1:1 host:2",
		"ESTAB 0 0 127.0.0.1:1 127.0.0.1:2 sk:xyz",
		"ESTAB 0 0 127.0.0.1:1 127.0.0.1:2 ino:x",
		"ESTAB 0 0 127.0.0.1:1 127.0.0.1:2 send",
		`ESTAB 0 0 127.0.0.1:1 127.0.0.1:2 users:(("a",pid=x,fd=1))`,
		`ESTAB 0 0 127.0.0.1:1 127.0.0.1:2 users:(("a",pid=1`,
	} {
		if rows, err := ParseSS([]byte(line)); err == nil {
			t.Errorf("%s: no error, but %+v", line, rows)
		}
	}
}

// TestRowRoundTrip prints each value of the recording the way that Compare
// does.
func TestRowRoundTrip(t *testing.T) {
	rows := readSS(t)
	printed := 0
	for i := range rows {
		r := &rows[i]
		row := r.Row()
		if r.State == tcp.Listen || r.Mini() {
			continue
		}
		var fin uint64
		if finStates.Has(r.State) {
			fin = 1
		}
		for j := range ssTokens {
			tok := &ssTokens[j]
			want := tok.said(r)
			if tok.name == "reordering" && want == "" {
				continue // ss leaves the default out, so that the row has none
			}
			if got := tok.print(row, fin); got != want {
				t.Errorf("%s: %s: got %q, want %q", r.Key(), tok.name, got, want)
			}
			if want != "" {
				printed++
			}
		}
	}
	if printed < 500 {
		t.Errorf("only %d values in the recording", printed)
	}
}

// ours is what a perfect list would print for the recording.
func ours(tb testing.TB, rows []SSRow) []Row {
	tb.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for i := range rows {
		row := rows[i].Row()
		if !rows[i].Mini() && rows[i].State != tcp.Listen {
			if !row.has("reordering") {
				row["reordering"] = uint64(3)
			}
			row["app_limited"] = rows[i].AppLimited
		}
		if err := enc.Encode(row); err != nil {
			tb.Fatal(err)
		}
	}
	got, err := ParseRows(&b)
	if err != nil {
		tb.Fatal(err)
	}
	return got
}

func TestCompare(t *testing.T) {
	index := func(rows []SSRow, s tcp.State) int {
		for i := range rows {
			if rows[i].State == s && !rows[i].Mini() || rows[i].State == s && s == tcp.TimeWait {
				return i
			}
		}
		t.Fatalf("no %s in the recording", s)
		return -1
	}
	set := func(s tcp.State, key string, value any) func([]SSRow, []Row) []Row {
		return func(ss []SSRow, got []Row) []Row {
			got[index(ss, s)][key] = value
			return got
		}
	}
	for _, test := range []struct {
		name   string
		opts   CompareOptions
		change func(ss []SSRow, got []Row) []Row
		after  func(after []SSRow)
		want   string // Field of the one difference; empty is none
	}{
		{name: "equal"},
		{name: "equal without cookies", opts: CompareOptions{NoCookies: true}, change: func(_ []SSRow, got []Row) []Row {
			for _, row := range got {
				delete(row, "cookie")
			}
			return got
		}},
		{name: "one is missing", change: func(_ []SSRow, got []Row) []Row { return got[1:] }, want: "socket"},
		{name: "one is missing and went", change: func(_ []SSRow, got []Row) []Row { return got[1:] }, after: func(after []SSRow) {
			after[0].Cookie = 1 << 40
		}},
		{name: "one is missing and ignored", opts: CompareOptions{Ignore: func(Row) bool { return true }}, change: func([]SSRow, []Row) []Row { return nil }},
		{name: "one too many", change: func(_ []SSRow, got []Row) []Row {
			return append(got, Row{"netns": 1, "cookie": "99", "state": "LISTEN"})
		}, want: "socket"},
		{name: "listed twice", change: func(_ []SSRow, got []Row) []Row { return append(got, got[0]) }, want: "socket"},
		{name: "state", change: set(tcp.Established, "state", "CLOSE_WAIT"), want: "state"},
		{name: "address", change: set(tcp.Established, "local_ip", "192.0.2.9"), want: "local_ip"},
		{name: "port", change: set(tcp.Established, "remote_port", json.Number("1")), want: "remote_port"},
		{name: "uid", change: set(tcp.Established, "uid", json.Number("77")), want: "uid"},
		{name: "queue", change: set(tcp.Established, "recv_queue", json.Number("77")), want: "recv_queue"},
		{name: "queue is unknown", change: set(tcp.Established, "recv_queue", nil), want: "recv_queue"},
		{name: "queue need not be known", opts: CompareOptions{KnownOnly: true}, change: set(tcp.Established, "recv_queue", nil)},
		{name: "rtt", change: set(tcp.Established, "rtt_us", json.Number("999")), want: "rtt"},
		{name: "rtt need not be compared", opts: CompareOptions{SkipValues: true}, change: set(tcp.Established, "rtt_us", json.Number("999"))},
		{name: "rtt is unknown", change: set(tcp.Established, "rtt_us", nil), want: "rtt"},
		{name: "rtt changed", change: set(tcp.Established, "rtt_us", json.Number("999")), after: func(after []SSRow) {
			after[index(after, tcp.Established)].Tokens["rtt"] = "5/5"
		}},
		{name: "counter", change: set(tcp.Established, "bytes_sent", json.Number("7")), want: "bytes_sent"},
		{name: "counter between the two", change: set(tcp.Established, "bytes_received", json.Number("123456780")), after: func(after []SSRow) {
			after[index(after, tcp.Established)].Tokens["bytes_received"] = "123456789"
		}},
		{name: "counter beyond the two", change: set(tcp.Established, "bytes_received", json.Number("123456790")), after: func(after []SSRow) {
			after[index(after, tcp.Established)].Tokens["bytes_received"] = "123456789"
		}, want: "bytes_received"},
		{name: "FIN counted", change: func(ss []SSRow, got []Row) []Row {
			row := got[index(ss, tcp.CloseWait)]
			row["bytes_received"] = row.num("bytes_received") + 1
			return got
		}, want: "bytes_received"},
		{name: "backlog", change: set(tcp.Listen, "backlog", json.Number("1234")), want: "backlog"},
		{name: "metric of TIME_WAIT", change: set(tcp.TimeWait, "cwnd", json.Number("0")), want: "cwnd"},
		{name: "congestion control", change: set(tcp.Established, "congestion_control", "vegas"), want: "congestion_control"},
		{name: "application limited", change: func(ss []SSRow, got []Row) []Row {
			i := index(ss, tcp.Established)
			got[i]["app_limited"] = !ss[i].AppLimited
			return got
		}, want: "app_limited"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before, after := readSS(t), readSS(t)
			got := ours(t, before)
			if test.change != nil {
				got = test.change(before, got)
			}
			if test.after != nil {
				test.after(after)
			}
			diffs := Compare(got, before, after, test.opts)
			switch {
			case test.want == "" && len(diffs) > 0, test.want != "" && (len(diffs) != 1 || diffs[0].Field != test.want):
				t.Errorf("got %d differences %v, want %q", len(diffs), diffs, test.want)
			}
		})
	}
}

func TestParseRowsError(t *testing.T) {
	if _, err := ParseRows(strings.NewReader(`{"a":1}` + "\n" + `{"a":`)); err == nil {
		t.Error("no error for half an object")
	}
}

func FuzzParseSS(f *testing.F) {
	b, err := os.ReadFile("testdata/ss-6.1.txt")
	if err != nil {
		f.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		rows, err := ParseSS(line)
		if err != nil {
			return
		}
		// Whatever was read can be compared, and agrees with itself.
		for i := range rows {
			rows[i].Row()
		}
		Compare(nil, rows, rows, CompareOptions{})
	})
}
