package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/capture"
)

// row is what the tests read of a line of JSON.
type analyzedRow struct {
	Stream      int    `json:"stream"`
	ID          string `json:"id"`
	Source      string `json:"source"`
	Direction   string `json:"direction"`
	LocalIP     string `json:"local_ip"`
	RemoteIP    string `json:"remote_ip"`
	RemotePort  int    `json:"remote_port"`
	Sent        int    `json:"bytes_sent"`
	Received    int    `json:"bytes_received"`
	PacketsSent int    `json:"packets_sent"`
	PacketsRecv int    `json:"packets_received"`
	Retransmits *int   `json:"retransmits"`
	Retrans     int    `json:"retransmissions"`
	ConnState   string `json:"conn_state"`
	Reason      string `json:"close_reason"`
	InitialRTT  int    `json:"initial_rtt_us"`
	Duration    int    `json:"duration_us"`
	Opened      string `json:"opened"`
	State       string `json:"state"`
}

func analyzedRows(tb testing.TB, r result) []analyzedRow {
	tb.Helper()
	var rows []analyzedRow
	for line := range strings.Lines(r.stdout) {
		var row analyzedRow
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			tb.Fatalf("%q: %v", line, err)
		}
		rows = append(rows, row)
	}
	return rows
}

func mustSucceed(tb testing.TB, r result) result {
	tb.Helper()
	if r.code != exitOK {
		tb.Fatal(r)
	}
	return r
}

func TestAnalyzeConnections(t *testing.T) {
	for _, format := range []capture.Format{capture.FormatPcapng, capture.FormatPcap} {
		path := threeConns().file(t, "three.cap", format)
		rows := analyzedRows(t, mustSucceed(t, inProcess(t, "analyze", path, "-o", "jsonl")))
		if len(rows) != 3 {
			t.Fatalf("%d connections", len(rows))
		}
		clean, lossy, refused := rows[0], rows[1], rows[2]
		if clean.Stream != 0 || clean.Source != "capture" || clean.LocalIP != "192.0.2.1" || clean.RemoteIP != "198.51.100.7" ||
			clean.Sent != 100 || clean.Received != 1000 || clean.PacketsSent != 5 || clean.PacketsRecv != 3 ||
			clean.Retrans != 0 || clean.ConnState != "SF" || clean.Reason != "fin" || clean.InitialRTT != 20_000 ||
			clean.Duration != 70_000 || clean.State != "TIME_WAIT" || clean.Opened != "2023-11-14T22:13:20.000000000Z" {
			t.Errorf("clean: %+v", clean)
		}
		if lossy.Stream != 1 || lossy.Sent != 100 || lossy.Retrans != 1 || lossy.Retransmits == nil || *lossy.Retransmits != 1 {
			t.Errorf("lossy: %+v", lossy)
		}
		if refused.ConnState != "REJ" || refused.Reason != "refused" || refused.RemoteIP != "2001:db8::2" || refused.Sent != 0 {
			t.Errorf("refused: %+v", refused)
		}
		if clean.ID == lossy.ID || len(clean.ID) != 14 {
			t.Errorf("ids %q, %q", clean.ID, lossy.ID)
		}
	}
}

func TestAnalyzeChoice(t *testing.T) {
	path := threeConns().file(t, "three.pcapng", capture.FormatPcapng)
	for _, tt := range []struct {
		args []string
		want []int
	}{
		{[]string{"retransmissions > 0"}, []int{1}},
		{[]string{"tcp.stream", "==", "2"}, []int{2}},
		{[]string{"--filter", "dport = :443"}, []int{0, 1}},
		{[]string{"--stream", "0"}, []int{0}},
		{[]string{"not", "port", "443"}, []int{2}},
		{[]string{"--sort", "retransmissions"}, []int{1, 0, 2}},
		{[]string{"--sort", "retransmissions", "--limit", "1"}, []int{1}},
		{[]string{"--reverse"}, []int{2, 1, 0}},
		{[]string{"--limit", "2"}, []int{0, 1}},
		{[]string{"family = ipv6"}, []int{2}},
		{[]string{"pid = 1"}, nil},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			r := mustSucceed(t, inProcess(t, append([]string{"analyze", path, "-o", "jsonl"}, tt.args...)...))
			var got []int
			for _, row := range analyzedRows(t, r) {
				got = append(got, row.Stream)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("streams %v, want %v", got, tt.want)
			}
		})
	}
	if r := inProcess(t, "analyze", path, "pid = 1", "--fail-empty"); r.code != exitEmpty {
		t.Errorf("nothing matches: %v", r)
	}
}

// TestAnalyzeLocal: an address of the local network makes its end the local one.
func TestAnalyzeLocal(t *testing.T) {
	path := threeConns().file(t, "three.pcapng", capture.FormatPcapng)
	r := mustSucceed(t, inProcess(t, "analyze", path, "-o", "jsonl", "--local-net", "198.51.100.0/24", "--stream", "0"))
	row := analyzedRows(t, r)[0]
	if row.LocalIP != "198.51.100.7" || row.Sent != 1000 || row.Received != 100 || row.Direction != "inbound" || row.PacketsSent != 3 {
		t.Errorf("got %+v", row)
	}
	r = mustSucceed(t, inProcess(t, "analyze", path, "--packets", "-o", "jsonl", "--local-net", "198.51.100.7", "--stream", "0", "--limit", "2"))
	if !strings.Contains(r.stdout, `"from":"remote"`) || !strings.Contains(r.stdout, `"from":"local"`) ||
		strings.Index(r.stdout, "remote") > strings.Index(r.stdout, "local\"") {
		t.Errorf("packets: %s", r.stdout)
	}
}

func TestAnalyzeFormats(t *testing.T) {
	path := threeConns().file(t, "three.pcapng", capture.FormatPcapng)
	table := mustSucceed(t, inProcess(t, "analyze", path)).stdout
	lines := strings.Split(strings.TrimSpace(table), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[0], "STREAM") || !strings.Contains(lines[2], "198.51.100.8:443") || !strings.Contains(lines[3], "REJ") {
		t.Errorf("table:\n%s", table)
	}
	wide := mustSucceed(t, inProcess(t, "analyze", path, "-o", "wide", "--stream", "1")).stdout
	for _, want := range []string{"stream 1  192.0.2.1:40002 -> 198.51.100.8:443", "sent again (our verdict)", "SYN to SYN-ACK 10.0ms", "initiator", "responder"} {
		if !strings.Contains(wide, want) {
			t.Errorf("wide lacks %q:\n%s", want, wide)
		}
	}
	var array []analyzedRow
	if err := json.Unmarshal([]byte(mustSucceed(t, inProcess(t, "analyze", path, "-o", "json")).stdout), &array); err != nil || len(array) != 3 {
		t.Errorf("json: %d objects, %v", len(array), err)
	}
	if err := json.Unmarshal([]byte(mustSucceed(t, inProcess(t, "analyze", path, "-o", "json", "pid = 1")).stdout), &array); err != nil || len(array) != 0 {
		t.Errorf("empty json: %d objects, %v", len(array), err)
	}
	records, err := csv.NewReader(strings.NewReader(mustSucceed(t, inProcess(t, "analyze", path, "-o", "csv", "--columns", "stream,remote,retransmissions")).stdout)).ReadAll()
	if diff := cmp.Diff([][]string{
		{"stream", "remote_ip", "remote_port", "retransmissions"},
		{"0", "198.51.100.7", "443", "0"},
		{"1", "198.51.100.8", "443", "1"},
		{"2", "2001:db8::2", "81", "0"},
	}, records); diff != "" || err != nil {
		t.Errorf("csv: %v\n%s", err, diff)
	}
	summary := mustSucceed(t, inProcess(t, "analyze", path, "--summary")).stdout
	for _, want := range []string{"3 connections", "1 segments sent again", "conn_state", "SF 2", "REJ 1", "refused 1", "busiest addresses", "responder 1"} {
		if !strings.Contains(summary, want) {
			t.Errorf("summary lacks %q:\n%s", want, summary)
		}
	}
	var object struct {
		Connections   int            `json:"connections"`
		Retransmitted int            `json:"retransmitted"`
		States        map[string]int `json:"conn_states"`
	}
	if err := json.Unmarshal([]byte(mustSucceed(t, inProcess(t, "analyze", path, "--summary", "-o", "json")).stdout), &object); err != nil ||
		object.Connections != 3 || object.Retransmitted != 1 || object.States["SF"] != 2 {
		t.Errorf("summary: %+v, %v", object, err)
	}
}

// packetLine is what the tests read of a packet.
type packetLine struct {
	File     string   `json:"file"`
	Frame    int      `json:"frame"`
	Time     string   `json:"time"`
	Stream   int      `json:"stream"`
	From     string   `json:"from"`
	Flags    string   `json:"flags"`
	Seq      int      `json:"seq"`
	Ack      int      `json:"ack"`
	Len      int      `json:"len"`
	Window   int      `json:"window"`
	WireLen  int      `json:"wire_len"`
	CapLen   int      `json:"captured_len"`
	Analysis []string `json:"analysis"`
	Verdict  string   `json:"verdict"`
	Reason   string   `json:"verdict_reason"`
}

func packetLines(tb testing.TB, r result) []packetLine {
	tb.Helper()
	var ps []packetLine
	for line := range strings.Lines(mustSucceed(tb, r).stdout) {
		var p packetLine
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			tb.Fatalf("%q: %v", line, err)
		}
		ps = append(ps, p)
	}
	return ps
}

func TestAnalyzePackets(t *testing.T) {
	m := threeConns()
	path := m.file(t, "three.pcap", capture.FormatPcap)
	all := packetLines(t, inProcess(t, "analyze", path, "--packets", "-o", "jsonl"))
	if len(all) != len(m.frames) {
		t.Fatalf("%d packets of %d", len(all), len(m.frames))
	}
	want := packetLine{
		File: path, Frame: 2, Time: "2023-11-14T22:13:20.010000000Z", From: "remote", Flags: "SYN,ACK",
		Seq: 5000, Ack: 1001, Window: 65000, WireLen: 40, CapLen: 40, Analysis: []string{}, Verdict: "new",
	}
	if diff := cmp.Diff(want, all[1]); diff != "" {
		t.Errorf("the SYN-ACK (-want +got):\n%s", diff)
	}
	again := all[8+4]
	if again.Verdict != "retransmission" || !slices.Contains(again.Analysis, "retransmission") || again.Reason == "" || again.Len != 100 {
		t.Errorf("the repeated segment: %+v", again)
	}

	// src and dst are of the packet; what only a connection has is that of its end.
	for _, tt := range []struct {
		filter string
		frames []int
	}{
		{"sport = :443 and tcp.flags.syn", []int{2, 10}},
		{"tcp.flags.reset", []int{19}},
		{"retransmissions > 0 and tcp.flags.syn", []int{9, 10}},
		{"conn_state = REJ", []int{18, 19}},
	} {
		for _, stdin := range []bool{false, true} {
			var r result
			if stdin {
				r = inProcessWith(t, string(m.bytes(t, capture.FormatPcapng)), "analyze", "-", tt.filter, "--packets", "-o", "jsonl")
			} else {
				r = inProcess(t, "analyze", path, tt.filter, "--packets", "-o", "jsonl")
			}
			var got []int
			for _, p := range packetLines(t, r) {
				got = append(got, p.Frame)
			}
			if !slices.Equal(got, tt.frames) {
				t.Errorf("%s (stdin %v): frames %v, want %v", tt.filter, stdin, got, tt.frames)
			}
		}
	}

	ladder := mustSucceed(t, inProcess(t, "analyze", path, "--packets", "--stream", "0")).stdout
	if !strings.Contains(ladder, "192.0.2.1:40001") || !strings.Contains(ladder, "SYN seq=0 -") || !strings.Contains(ladder, "- SYN,ACK seq=0 ack=1") {
		t.Errorf("ladder:\n%s", ladder)
	}
	lines := mustSucceed(t, inProcess(t, "analyze", path, "--packets")).stdout
	if !strings.Contains(lines, "verdict: retransmission") || strings.Count(lines, "\n") != len(m.frames)+1 {
		t.Errorf("lines:\n%s", lines)
	}
	records, err := csv.NewReader(strings.NewReader(mustSucceed(t, inProcess(t, "analyze", path, "--packets", "-o", "csv")).stdout)).ReadAll()
	if err != nil || len(records) != len(m.frames)+1 {
		t.Errorf("csv: %d lines, %v", len(records), err)
	}
	if r := mustSucceed(t, inProcess(t, "analyze", path, "--packets", "-o", "json", "pid = 1")); r.stdout != "[]\n" {
		t.Errorf("no packets: %q", r.stdout)
	}
}

func TestAnalyzeWrite(t *testing.T) {
	m := threeConns()
	path := m.file(t, "three.pcapng", capture.FormatPcapng)
	for _, name := range []string{"out.pcapng", "out.pcap"} {
		out := filepath.Join(t.TempDir(), name)
		r := mustSucceed(t, inProcess(t, "analyze", path, "retransmissions > 0", "-w", out))
		if !strings.Contains(r.stderr, "payload of 3 packets") || !strings.Contains(r.stderr, "wrote 9 packets of 1 connection ") || r.stdout != "" {
			t.Errorf("%v", r)
		}
		frames, _ := readFrames(t, out)
		var want []capture.Frame
		for _, f := range m.frames[8:17] {
			f.Number = uint64(len(want) + 1)
			want = append(want, f)
		}
		for i := range frames {
			if name == "out.pcapng" && (i == 0) != strings.Contains(frames[i].Comment, "connection c") {
				t.Errorf("comment of frame %d: %q", i, frames[i].Comment)
			}
			frames[i].Comment = ""
		}
		if diff := cmp.Diff(want, frames); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}

	if r := inProcess(t, "analyze", path, "-w", path); r.code != exitUsage || !strings.Contains(r.stderr, "being read") {
		t.Errorf("onto itself: %v", r)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "headers.pcapng")
	mustSucceed(t, inProcess(t, "analyze", path, "-w", out, "--headers-only"))
	frames, _ := readFrames(t, out)
	for i, f := range frames {
		if bytes.Contains(f.Data, []byte("xxx")) || f.WireLen != m.frames[i].WireLen {
			t.Errorf("frame %d: %d of %d bytes", i, len(f.Data), f.WireLen)
		}
	}
	r := mustSucceed(t, inProcess(t, "analyze", path, "-w", "-"))
	if len(r.stdout) < 1000 {
		t.Errorf("standard output has %d bytes", len(r.stdout))
	}
	if r := inProcess(t, "analyze", path, "-w", filepath.Join(t.TempDir(), "no", "such", "dir.pcap")); r.code != exitFailure {
		t.Errorf("no directory: %v", r)
	}
}

func TestAnalyzeAnonymize(t *testing.T) {
	m := threeConns()
	path := m.file(t, "three.pcapng", capture.FormatPcapng)
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	var first []byte
	for i, name := range []string{"a.pcapng", "b.pcapng"} {
		out := filepath.Join(dir, name)
		mustSucceed(t, inProcess(t, "analyze", path, "-w", out, "--anonymize", "--anonymize-key", key))
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = b
		} else if !bytes.Equal(first, b) {
			t.Error("the same key gave another file")
		}
		for _, secret := range []string{"xxx", path, "three", "\xc0\x00\x02\x01", "\xc6\x33\x64\x07", "c" + "000"} {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("the file holds %q", secret)
			}
		}
		_, tuples := readFrames(t, out)
		if len(tuples) != len(m.frames) || tuples[0].Local != tuples[8].Local || tuples[0].Remote == tuples[8].Remote || tuples[0].RemotePort != 443 {
			t.Errorf("tuples %v", tuples)
		}
	}
	if err := os.WriteFile(key, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := inProcess(t, "analyze", path, "-w", filepath.Join(dir, "c.pcapng"), "--anonymize", "--anonymize-key", key); r.code != exitUsage {
		t.Errorf("a short key: %v", r)
	}
}

// TestAnalyzeBroken: what stands before the broken place is used, and the exit
// code says that it was not all.
func TestAnalyzeBroken(t *testing.T) {
	m := threeConns()
	whole := m.bytes(t, capture.FormatPcap)
	path := filepath.Join(t.TempDir(), "cut.pcap")
	if err := os.WriteFile(path, whole[:len(whole)-30], 0o600); err != nil {
		t.Fatal(err)
	}
	r := inProcess(t, "analyze", path, "-o", "jsonl")
	if rows := analyzedRows(t, r); len(rows) != 3 || r.code != exitFailure || !strings.Contains(r.stderr, "cut.pcap: ") || !strings.Contains(r.stderr, "offset") {
		t.Errorf("%v", r)
	}
	// The other file is read all the same.
	r = inProcess(t, "analyze", path, m.file(t, "three.pcapng", capture.FormatPcapng), "-o", "jsonl")
	if rows := analyzedRows(t, r); len(rows) < 3 || r.code != exitFailure {
		t.Errorf("%v", r)
	}
	if err := os.WriteFile(path, []byte("this is no capture"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r = inProcess(t, "analyze", path); r.code != exitFailure || r.stdout != "" || !strings.Contains(r.stderr, "cut.pcap") {
		t.Errorf("%v", r)
	}
}

func TestAnalyzeInterrupted(t *testing.T) {
	path := threeConns().file(t, "three.pcapng", capture.FormatPcapng)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	code := run(ctx, []string{"analyze", path, "-o", "jsonl"}, env{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr})
	if code != exitInterrupted {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
}

func TestAnalyzeReport(t *testing.T) {
	path := threeConns().file(t, "three.pcapng", capture.FormatPcapng)
	out := filepath.Join(t.TempDir(), "report.html")
	r := mustSucceed(t, inProcess(t, "analyze", path, "--html", out))
	page, err := os.ReadFile(out)
	if err != nil || r.stdout != "" || !strings.Contains(r.stderr, "wrote the report") {
		t.Fatalf("%v: %v", err, r)
	}
	for _, want := range []string{"<!doctype html", "198.51.100.8", "three.pcapng", "Content-Security-Policy"} {
		if !strings.Contains(strings.ToLower(string(page)), strings.ToLower(want)) {
			t.Errorf("the report lacks %q", want)
		}
	}
}

func TestSplitFiles(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for _, p := range []string{a, b} {
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, rest, err := splitFiles([]string{a, "-", b, "port", "443", a})
	if err != nil || !slices.Equal(files, []string{a, "-", b}) || !slices.Equal(rest, []string{"port", "443", a}) {
		t.Errorf("%q, %q, %v", files, rest, err)
	}
	for _, args := range [][]string{nil, {dir}, {filepath.Join(dir, "none.pcap")}} {
		if _, _, err := splitFiles(args); err == nil {
			t.Errorf("%q taken", args)
		}
	}
}
