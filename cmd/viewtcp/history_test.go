package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/store/parquet"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

// storeBatches makes a data directory with rows.
func storeBatches(tb testing.TB, batches ...*store.Batch) (dir string) {
	tb.Helper()
	dir = tb.TempDir()
	cfg := parquet.DefaultConfig()
	cfg.Dir = filepath.Join(dir, storeDir)
	cfg.Retention = nil // rows of any time
	e, err := parquet.Open(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	for _, b := range batches {
		if err := e.Append(tb.Context(), b); err != nil {
			tb.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// noon is the day that the records made by hand are of.
var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// clock is a time of that day.
func clock(s string) int64 {
	t, err := time.Parse(time.TimeOnly, s)
	if err != nil {
		panic(err)
	}
	h, m, sec := t.Clock()
	return noon.Add(time.Duration(h-12)*time.Hour + time.Duration(m)*time.Minute + time.Duration(sec)*time.Second).UnixNano()
}

// A life is a connection in short: what records are made of.
type life struct {
	id             tcp.ID
	process        string
	service        string
	direction      tcp.Direction
	remote         byte // of 192.0.2.0/24
	port           uint16
	opened, closed string
	reason         tcp.CloseReason
	by             tcp.Side
	sent, received uint64
	rtt            uint32 // microseconds; 0 is unknown
}

func (l life) conn(at int64) *tcp.Conn {
	const boot = 1_700_000_000_000_000_000
	opened := clock(l.opened)
	c := &tcp.Conn{
		ID: l.id, Key: tcp.Key{NetNS: 4026531840, Tuple: tcp.Tuple{
			Local: tcp.AddrFrom4([4]byte{10, 0, 0, 1}), Remote: tcp.AddrFrom4([4]byte{192, 0, 2, l.remote}),
			LocalPort: l.port, RemotePort: 40000 + uint16(l.remote),
		}},
		State: tcp.Established, Direction: l.direction, Source: tcp.SourceEBPF, OpenedExact: true, Complete: true,
		Process: &tcp.Process{ProcessID: tcp.ProcessID{PID: 700 + int32(l.remote)}, Name: l.process},
		Names:   &tcp.Names{Service: l.service},
		Opened:  tcp.Stamp{Wall: opened, Boot: opened - boot}, Updated: tcp.Stamp{Wall: at, Boot: at - boot},
		Has: tcp.HasBytesSent | tcp.HasBytesReceived | tcp.HasRetransmits | tcp.HasHandshake, Handshake: 2000,
	}
	if l.direction == tcp.Outbound {
		c.LocalPort, c.RemotePort = c.RemotePort, c.LocalPort
	}
	c.Metrics.BytesSent, c.Metrics.BytesReceived = l.sent, l.received
	if l.rtt != 0 {
		c.Has |= tcp.HasRTT
		c.Metrics.RTT = l.rtt
	}
	return c
}

// end is the record of the connection's end.
func (l life) end() store.Record {
	at := clock(l.closed)
	c := l.conn(at)
	c.State, c.Reason, c.ClosedBy, c.Closed = tcp.Closed, l.reason, l.by, c.Updated
	return store.Record{Kind: store.Close, Time: at, Host: "web-1", BootID: "boot", Conn: c}
}

const hostile = "\x1b]0;owned\a=evil\u202e"

var lives = map[string]life{
	"first": {id: 1, process: "nginx", service: "nginx.service", direction: tcp.Inbound, remote: 1, port: 443, opened: "11:50:00", closed: "12:10:00", reason: tcp.CloseFIN, by: tcp.SideLocal, sent: 1000, received: 100, rtt: 10_000},
	"short": {id: 2, process: "nginx", service: "nginx.service", direction: tcp.Inbound, remote: 2, port: 443, opened: "12:05:00", closed: "12:06:00", reason: tcp.CloseFIN, by: tcp.SideRemote, sent: 500, received: 50, rtt: 20_000},
	"reset": {id: 3, process: "curl", service: "https", direction: tcp.Outbound, remote: 3, port: 443, opened: "12:05:30", closed: "12:05:40", reason: tcp.CloseRSTReceived, by: tcp.SideRemote, sent: 10, received: 2000, rtt: 40_000},
	"evil":  {id: 5, process: hostile, service: hostile, direction: tcp.Inbound, remote: 5, port: 22, opened: "12:20:00", closed: "12:21:00", reason: tcp.CloseTimeout, sent: 1, received: 1},
}

// pooled is a connection of a pool that never ends: two rows.
func pooled() []store.Record {
	l := life{id: 4, process: "postgres", service: "postgresql.service", direction: tcp.Inbound, remote: 4, port: 5432, opened: "11:00:00", sent: 1_000_000, received: 500, rtt: 1000}
	before, after := clock("11:59:00"), clock("12:04:00")
	first := store.Record{Kind: store.Snapshot, Time: before, Host: "web-1", BootID: "boot", Conn: l.conn(before)}
	l.sent, l.rtt = 1_000_200, 3000
	d := store.Counters{store.BytesSent: 200}
	return []store.Record{first, {Kind: store.Snapshot, Time: after, Since: before, Host: "web-1", BootID: "boot", Conn: l.conn(after), Deltas: &d}}
}

// byHand is the history of half an hour that is known to the last byte.
func byHand(tb testing.TB) string {
	tb.Helper()
	b := &store.Batch{Time: clock("12:30:00"), Records: pooled()}
	for _, name := range []string{"first", "short", "reset", "evil"} {
		b.Records = append(b.Records, lives[name].end())
	}
	b.Events = []store.Event{
		{Time: clock("11:00:00"), Type: store.EventObserver, Host: "web-1", Text: "start", Count: 1},
		{Time: clock("12:05:40"), Type: tcp.EventReset.String(), ID: 3, Host: "web-1", By: "remote", Count: 1},
		{Time: clock("12:06:30"), Type: tcp.EventRetransmit.String(), ID: 1, Host: "web-1", Count: 7},
		store.Mark{Time: clock("12:07:00"), Host: "web-1", Text: "deploy " + hostile, From: "ci"}.Event(),
		{Time: clock("12:16:00"), Since: clock("12:12:00"), Type: tcp.EventGap.String(), Host: "web-1", Where: "observer", Unknown: true, Text: "nobody was watching"},
	}
	for i := range 6 {
		b.Samples = append(b.Samples, store.Sample{
			Time: clock("11:50:00") + int64(i+1)*10e9, Span: 10_000_000, ID: 1, Host: "web-1",
			SendRate: uint64(i * 10), ReceiveRate: 1, RTT: 10_000 + uint64(i)*100, CWND: 10,
		})
	}
	return storeBatches(tb, b)
}

// asked is what history answers to a question at the end of the day by hand.
func asked(tb testing.TB, dir string, args ...string) result {
	tb.Helper()
	return inProcess(tb, append([]string{"history", "--data", dir, "--since", "2026-11-20T12:00:00Z", "--until", "2026-11-20T12:30:00Z"}, args...)...)
}

// objects reads JSON Lines.
func objects(tb testing.TB, r result) []map[string]any {
	tb.Helper()
	if r.code != exitOK {
		tb.Fatal(r)
	}
	var rows []map[string]any
	for line := range strings.Lines(r.stdout) {
		var row map[string]any
		dec := json.NewDecoder(strings.NewReader(line))
		dec.UseNumber()
		if err := dec.Decode(&row); err != nil {
			tb.Fatalf("%q: %v", line, err)
		}
		rows = append(rows, row)
	}
	return rows
}

// column is one value of each row, as text; "-" where it is absent.
func column(rows []map[string]any, name string) string {
	var out []string
	for _, r := range rows {
		v := "-"
		if x, ok := r[name]; ok {
			v = fmt.Sprint(x)
		}
		out = append(out, v)
	}
	return strings.Join(out, " ")
}

func TestHistoryConnections(t *testing.T) {
	dir := byHand(t)
	rows := objects(t, asked(t, dir, "-o", "jsonl"))
	ids := make([]string, 0, len(rows))
	for _, n := range []tcp.ID{5, 3, 2, 1, 4} { // newest first
		ids = append(ids, n.String())
	}
	for name, want := range map[string]string{
		"id":           strings.Join(ids, " "),
		"bytes_sent":   "1 10 500 1000 200", // of the pool what moved in the range
		"state":        "CLOSED CLOSED CLOSED CLOSED ESTABLISHED",
		"closed":       "2026-11-20T12:21:00.000000000Z 2026-11-20T12:05:40.000000000Z 2026-11-20T12:06:00.000000000Z 2026-11-20T12:10:00.000000000Z -",
		"close_reason": "timeout rst_received fin fin -",
		"host":         "web-1 web-1 web-1 web-1 web-1",
		"rtt_us":       "- 40000 20000 10000 3000",
	} {
		if got := column(rows, name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	for _, tt := range []struct {
		args []string
		want string // remote ports or such, to know them by
	}{
		{[]string{"process", "nginx"}, "500 1000"},
		{[]string{"--filter", "rtt > 15ms"}, "10 500"},
		{[]string{"--sort", "bytes_sent"}, "1000 500 200 10 1"},
		{[]string{"--sort", "bytes_sent", "--reverse"}, "1 10 200 500 1000"},
		{[]string{"--sort", "rtt", "--limit", "2"}, "10 500"},
		{[]string{"--sort", "rtt", "--reverse"}, "200 1000 500 10 1"}, // unknown stays last
		{[]string{"--reverse", "--limit", "2"}, "200 1000"},
		{[]string{"--top", "2", "--by", "bytes_received"}, "10 1000"},
		{[]string{tcp.ID(2).String()}, "500"},
		{[]string{"host", "192.0.2.3"}, "10"},
		{[]string{"process", "nobody"}, ""},
	} {
		if got := column(objects(t, asked(t, dir, append(tt.args, "-o", "jsonl", "--columns", "id,bytes_sent")...)), "bytes_sent"); got != tt.want {
			t.Errorf("%q: got %s, want %s", tt.args, got, tt.want)
		}
	}
}

func TestHistoryNumbers(t *testing.T) {
	dir := byHand(t)
	for _, tt := range []struct {
		args string
		want map[string]string // columns
	}{
		{"--group-by process", map[string]string{
			"process": "nginx " + hostile + " curl postgres", "count": "2 1 1 1", "bytes_sent_sum": "1500 1 10 200",
			"bytes_received_sum": "150 1 2000 0", "retransmits_sum": "0 0 0 0", "time": strings.TrimSpace(strings.Repeat("2026-11-20T12:00:00.000000000Z ", 4)),
		}},
		{"--group-by process --peak --sort process", map[string]string{
			"process": hostile + " curl nginx postgres", "max_open": "1 1 2 1",
			"max_open_at": "2026-11-20T12:20:00.000000000Z 2026-11-20T12:05:30.000000000Z 2026-11-20T12:05:00.000000000Z 2026-11-20T12:00:00.000000000Z",
		}},
		{"--peak", map[string]string{"max_open": "4", "max_open_at": "2026-11-20T12:05:30.000000000Z"}},
		{"--count", map[string]string{"count": "5", "opened_count": "3", "closed_count": "4"}},
		{"--sum bytes_sent,bytes_received", map[string]string{"bytes_sent_sum": "1711", "bytes_received_sum": "2151", "count": "-"}},
		{"--percentiles rtt", map[string]string{
			"count": "5", "rtt_us_min": "3000", "rtt_us_p50": "10000", "rtt_us_max": "40000",
		}},
		{"--group-by service --top 1 --by bytes_received", map[string]string{
			"service": "https -", "other": "- true", "bytes_received_sum": "2000 151", "count": "1 4",
		}},
		{"--group-by service --top 2 --by max:rtt", map[string]string{
			"service": "https nginx.service -", "rtt_us_max": "40000 20000 3000",
		}},
		{"--group-by remote_ip --top 9 --sum bytes_sent", map[string]string{"bytes_sent_sum": "1000 500 200 10 1", "other": "- - - - -"}},
		{"--every 10m --count process nginx", map[string]string{
			"time": "2026-11-20T12:00:00.000000000Z 2026-11-20T12:10:00.000000000Z", "count": "2 1", "closed_count": "1 1",
		}},
		{"--group-by process --sum bytes_sent --sort bytes_sent --reverse --limit 2", map[string]string{"bytes_sent_sum": "1 10"}},
		{"--group-by direction,local_port process nginx or process postgres", map[string]string{"local_port": "443 5432", "direction": "inbound inbound"}},
		{"--group-by process --sum bytes_sent --resolution raw host 192.0.2.4", map[string]string{"process": "postgres", "bytes_sent_sum": "200"}},
	} {
		rows := objects(t, asked(t, dir, append(strings.Fields(tt.args), "-o", "jsonl")...))
		for name, want := range tt.want {
			got := column(rows, name)
			if name == "process" && !strings.Contains(tt.args, "--sort") {
				// Groups that are as large have no order.
				got, want = sortedWords(got), sortedWords(want)
			}
			if name != "process" && !strings.Contains(tt.args, "--sort") && strings.Contains(tt.args, "--group-by process") {
				got, want = sortedWords(got), sortedWords(want)
			}
			if got != want {
				t.Errorf("%s: %s is %q, want %q", tt.args, name, got, want)
			}
		}
	}
}

func sortedWords(s string) string {
	words := strings.Fields(s)
	slices.Sort(words)
	return strings.Join(words, " ")
}

// TestHistoryGenerated compares numbers of many records with those that the test
// reckons itself, one by one.
func TestHistoryGenerated(t *testing.T) {
	const n = 4000
	recs := storetest.NewGenerator(7, n, storetest.Begin, 1).Next(nil, n)
	dir := storeBatches(t, &store.Batch{Records: recs, Time: storetest.Begin.Add(24 * time.Hour).UnixNano()})
	from, to := storetest.Begin.Add(6*time.Hour), storetest.Begin.Add(18*time.Hour)
	type span struct{ from, to int64 }
	type sums struct {
		sent  uint64
		conns map[tcp.ID]*span
	}
	want := make(map[string]*sums)
	for i := range recs {
		r := &recs[i]
		g := want[r.Conn.Process.Name]
		if g == nil {
			g = &sums{conns: make(map[tcp.ID]*span)}
			want[r.Conn.Process.Name] = g
		}
		s := g.conns[r.Conn.ID]
		if s == nil {
			s = &span{from: r.Start(), to: 1 << 62}
			g.conns[r.Conn.ID] = s
		}
		s.from = min(s.from, r.Start())
		if r.Kind == store.Close {
			s.to = r.Time
		}
		if r.Time >= from.UnixNano() && r.Time < to.UnixNano() {
			v, _ := r.Delta(store.BytesSent)
			g.sent += v
		}
	}
	rows := objects(t, inProcess(t, "history", "--data", dir, "--since", from.Format(time.RFC3339), "--until", to.Format(time.RFC3339),
		"--group-by", "process", "--peak", "--count", "--sum", "bytes_sent", "-o", "jsonl"))
	seen := 0
	for _, row := range rows {
		name := row["process"].(string)
		g := want[name]
		count, peak := 0, 0
		for _, s := range g.conns {
			if s.from >= to.UnixNano() || s.to < from.UnixNano() {
				continue
			}
			count++
			// The most are open at the opening of one of them, or at the beginning.
			at, open := max(s.from, from.UnixNano()), 0
			for _, o := range g.conns {
				if o.from <= at && o.to > at {
					open++
				}
			}
			peak = max(peak, open)
		}
		got := fmt.Sprintf("%s %v %v %v", name, row["count"], row["max_open"], row["bytes_sent_sum"])
		if w := fmt.Sprintf("%s %d %d %d", name, count, peak, g.sent); got != w {
			t.Errorf("got %s, want %s", got, w)
		}
		if count > 0 {
			seen++
		}
	}
	if seen != len(rows) || seen < 10 {
		t.Errorf("%d groups, of which %d have connections", len(rows), seen)
	}
}

// TestHistoryTimeline checks the objects of a story and their order.
func TestHistoryTimeline(t *testing.T) {
	dir := byHand(t)
	rows := objects(t, inProcess(t, "history", "--data", dir, "--timeline", tcp.ID(3).String(), "-o", "jsonl"))
	for name, want := range map[string]string{
		"event":        "opened established row reset closed",
		"time":         "2026-11-20T12:05:30.000000000Z 2026-11-20T12:05:30.002000000Z 2026-11-20T12:05:40.000000000Z 2026-11-20T12:05:40.000000000Z 2026-11-20T12:05:40.000000000Z",
		"kind":         "- - close - -",
		"bytes_sent":   "- - 10 - -",
		"by":           "- - - remote -",
		"close_reason": "- - rst_received - rst_received",
		"closed_by":    "- - remote - remote",
	} {
		if got := column(rows, name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	// Samples are told too, with what they measured.
	rows = objects(t, inProcess(t, "history", "--data", dir, "--timeline", tcp.ID(1).String(), "-o", "jsonl"))
	if got := column(rows, "send_rate"); strings.Join(strings.Fields(strings.ReplaceAll(got, "-", "")), " ") != "0 10 20 30 40 50" {
		t.Errorf("send_rate is %s", got)
	}
}

func TestHistoryCompare(t *testing.T) {
	dir := byHand(t)
	r := inProcess(t, "history", "--data", dir, "--since", "2026-11-20T12:05:50Z", "--until", "2026-11-20T12:30:00Z",
		"--group-by", "service", "--sum", "bytes_sent", "--count", "--compare", "-o", "jsonl", "--sort", "service")
	rows := objects(t, r)
	for name, want := range map[string]string{
		// No row of the range tells of the pool's bytes, and none before of nginx's.
		"bytes_sent_sum":                "1 0 1500 -",
		"bytes_sent_sum_before":         "0 10 - 1000200",
		"bytes_sent_sum_change":         "1 -10 - -",
		"bytes_sent_sum_change_percent": "- -100.00 - -",
		"count":                         "1 0 2 1",
		"count_before":                  "0 1 2 1",
	} {
		if got := column(rows, name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if !strings.Contains(r.stderr, "compared with") {
		t.Error(r)
	}
}

func TestHistoryFormats(t *testing.T) {
	dir := byHand(t)
	for _, args := range [][]string{
		{},
		{"--group-by", "process"},
		{"--group-by", "process", "--every", "10m", "--peak"},
		{"--events"},
		{"--heatmap"},
		{"--heatmap", "--group-by", "process"},
		{"--group-by", "process", "--compare", "--top", "1"},
		{"--timeline", tcp.ID(1).String()},
	} {
		for _, format := range formats {
			r := asked(t, dir, append(args, "-o", format)...)
			if r.code != exitOK || r.stdout == "" {
				t.Errorf("%q -o %s: %v", args, format, r)
				continue
			}
			if all := strings.ReplaceAll(r.stdout+r.stderr, "\n", ""); output.Clean(all) != all {
				t.Errorf("%q -o %s prints what acts on a terminal: %q", args, format, all)
			}
			switch format {
			case formatJSON:
				var rows []map[string]any
				if err := json.Unmarshal([]byte(r.stdout), &rows); err != nil || len(rows) == 0 {
					t.Errorf("%q: %v: %s", args, err, r.stdout)
				}
			case formatJSONL:
				if rows := objects(t, r); len(rows) == 0 {
					t.Errorf("%q: no rows", args)
				}
			case formatCSV:
				rows, err := csv.NewReader(strings.NewReader(r.stdout)).ReadAll()
				if err != nil || len(rows) < 2 {
					t.Errorf("%q: %v: %s", args, err, r.stdout)
				}
				headless := asked(t, dir, append(args, "-o", format, "--no-header")...)
				if want := strings.SplitN(r.stdout, "\n", 2)[1]; headless.stdout != want {
					t.Errorf("%q without header:\n%s", args, cmp.Diff(want, headless.stdout))
				}
			}
		}
	}
}

func TestHistoryRefuses(t *testing.T) {
	dir := byHand(t)
	for args, want := range map[string]string{
		"--events --heatmap":                    "two views",
		"--events --group-by process":           "--events does not go with --group-by",
		"--heatmap --sum bytes_sent":            "--by FIELD",
		"--heatmap --by rtt --peak":             "one number",
		"--heatmap --limit 3":                   "--top 3",
		"--by rtt":                              "--top N",
		"--top -1":                              "negative",
		"--top 3":                               "--by bytes_sent",
		"--top 3 --by nothing":                  "no such field",
		"--top 3 --limit 4 --by rtt":            "--limit",
		"--top 3 --by rtt --sort pid":           "--by pid",
		"--group-by nothing":                    "no field",
		"--group-by procces":                    "did you mean process?",
		"--group-by ,":                          "names of fields",
		"--sum rtt":                             "--percentiles rtt_us",
		"--percentiles process":                 "--group-by process",
		"--group-by process --columns id":       "--columns",
		"--group-by process --sort rtt":         "bytes_sent_sum",
		"--top 3 --by sum:rtt --group-by pid":   "max:rtt_us",
		"--top 3 --by process --group-by pid":   "--by count",
		"--top 3 --by p200:rtt --group-by pid":  "FUNCTION:FIELD",
		"--every 5":                             "unit",
		"--every 1ms":                           "least",
		"--every 1s --since 90d":                "longer",
		"--every 1h --compare --since 1h":       "leave --every out",
		"--events=rest":                         "did you mean --events=reset?",
		"--events --sort rtt":                   "--reverse",
		"--timeline x":                          "no id",
		"--timeline c6qm2doitf2qbf process ssh": "leave the filter",
		"--timeline c6qm2doitf2qbf --limit 1":   "a story",
		"--resolution 5m":                       "auto, raw, 1m or 1h",
		"--since soon":                          "--since: \"soon\" is not a time",
		"--since 2099-01-01":                    "still to come",
		"--since 1h --until 2h":                 "not before",
		"-o yaml":                               "formats",
		"--columns nothing":                     "no field",
		"--compare":                             "--since 1d",
	} {
		r := inProcess(t, append([]string{"history", "--data", dir}, strings.Fields(args)...)...)
		if r.code != exitUsage || !strings.Contains(r.stderr, want) || r.stdout != "" {
			t.Errorf("%s: %v, want exit code 2 and %q", args, r, want)
		}
	}
	if r := inProcess(t, "history", "--data", dir, "procces", "curl"); r.code != exitUsage || !strings.Contains(r.stderr, "process") {
		t.Errorf("a wrong filter: %v", r)
	}
}

func TestHistoryWithoutHistory(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	for _, args := range [][]string{{"history", "--data", none}, {"list", "--at", "1h", "--data", none}} {
		r := inProcess(t, args...)
		if r.code != exitFailure || !strings.Contains(r.stderr, "viewtcp serve") {
			t.Errorf("%q: %v, want how to get a history", args, r)
		}
	}
	empty := storeBatches(t)
	r := inProcess(t, "history", "--data", empty)
	if r.code != exitOK || !strings.Contains(r.stderr, "nothing is stored yet") {
		t.Errorf("an empty history: %v", r)
	}
	for _, args := range []string{"", "--group-by process", "--events", "--heatmap", "--peak --every 1m"} {
		r := inProcess(t, append([]string{"history", "--data", empty, "--fail-empty", "-o", "json"}, strings.Fields(args)...)...)
		if r.code != exitEmpty || r.stdout != "[]\n" {
			t.Errorf("%q of nothing: %v", args, r)
		}
	}
	r = inProcess(t, "history", "--data", empty, "--timeline", "c6qm2doitf2qbf", "-o", "json", "--fail-empty")
	if r.code != exitEmpty || r.stdout != "[]\n" {
		t.Errorf("the story of nothing: %v", r)
	}
}

func TestHistoryInterrupted(t *testing.T) {
	dir := byHand(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range []string{"", "--group-by process", "--events process nginx", "--heatmap", "--timeline c6qm2doitf2qbf"} {
		var stdout, stderr bytes.Buffer
		code := run(ctx, append([]string{"history", "--data", dir}, strings.Fields(args)...),
			env{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr})
		if code != exitInterrupted {
			t.Errorf("%q: exit code %d, want %d; %s", args, code, exitInterrupted, &stderr)
		}
	}
}

func TestHistoryFoot(t *testing.T) {
	dir := byHand(t)
	r := asked(t, dir)
	for _, want := range []string{
		"5 connections of ", "(30m00s)", "rows of connections read", "gap of ", "(4m00s): nobody was watching",
	} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("the foot lacks %q: %s", want, r.stderr)
		}
	}
	if strings.Contains(r.stderr, "nothing of the range was missed") {
		t.Errorf("a range with a gap is called whole: %s", r.stderr)
	}
	whole := inProcess(t, "history", "--data", dir, "--since", "2026-11-20T12:05:00Z", "--until", "2026-11-20T12:10:00Z")
	if !strings.Contains(whole.stderr, "nothing of the range was missed") || strings.Contains(whole.stderr, "gap") {
		t.Errorf("a range without a gap: %s", whole.stderr)
	}
}

// TestUnwatched: only a range of which nothing at all is known has no numbers.
func TestUnwatched(t *testing.T) {
	gap := func(from, to int64) store.Gap { return store.Gap{From: from, To: to} }
	for _, tt := range []struct {
		name     string
		retained int64
		gaps     []store.Gap
		want     bool
	}{
		{"all of it", 0, nil, false},
		{"before the first row", 200, nil, true},
		{"up to the end", 150, nil, false},
		{"a gap", 0, []store.Gap{gap(100, 200)}, true},
		{"two gaps", 0, []store.Gap{gap(90, 150), gap(150, 210)}, true},
		{"the first row, then a gap", 150, []store.Gap{gap(140, 200)}, true},
		{"a moment between", 0, []store.Gap{gap(90, 150), gap(151, 210)}, false},
		{"gaps elsewhere", 0, []store.Gap{gap(0, 100), gap(200, 300)}, false},
	} {
		if got := unwatched(&store.Answer{Retained: tt.retained, Gaps: tt.gaps}, 100, 200); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
