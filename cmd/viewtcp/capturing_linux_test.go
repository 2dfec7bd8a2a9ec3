package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// capturingIn starts a capture and returns when it sees packets and processes.
func capturingIn(tb testing.TB, ns *tcptest.NetNS, hows []how, args ...string) *program {
	tb.Helper()
	p := start(tb, hows, append([]string{"capture", "--netns", ns.Path()}, args...)...)
	p.until(tb, "that the capture has begun", func() bool { return p.said("capturing on ") })
	return p
}

// writtenFrame is one frame of a file, with what Decode makes of it.
type writtenFrame struct {
	capture.Frame
	seg capture.Segment
	tcp bool
}

// framesOf reads a capture whole.
func framesOf(tb testing.TB, path string) []writtenFrame {
	tb.Helper()
	r, err := capture.Open(path, capture.ReadOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Close()
	var all []writtenFrame
	for {
		var f writtenFrame
		err := r.Next(&f.Frame)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			tb.Fatalf("%s: frame %d: %v", path, len(all)+1, err)
		}
		f.Data = bytes.Clone(f.Data)
		f.tcp = capture.Decode(&f.Frame, &f.seg) == capture.TCP
		f.seg.Payload = nil
		all = append(all, f)
	}
}

// tshark reads a capture and fails at the first word on stderr that is none of
// those it says to root.
func tshark(tb testing.TB, args ...string) string {
	tb.Helper()
	need.Programs(tb, "tshark")
	cmd := exec.CommandContext(tb.Context(), "tshark", args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = append(os.Environ(), "HOME="+tb.TempDir(), "XDG_CONFIG_HOME="+tb.TempDir())
	if err := cmd.Run(); err != nil {
		tb.Fatalf("tshark %q: %v: %s", args, err, stderr.String())
	}
	for line := range strings.Lines(stderr.String()) {
		if !strings.HasPrefix(line, "Running as user") {
			tb.Errorf("tshark %q: %s", args, line)
		}
	}
	return stdout.String()
}

// wireCount is how many packets an interface of a namespace has received, by
// /proc/net/dev.
func wireCount(tb testing.TB, ns *tcptest.NetNS, name string) (packets uint64) {
	tb.Helper()
	out, err := ns.Run(tb.Context(), "", "cat", "/proc/net/dev")
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if before, after, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(before) == name {
			n, err := strconv.ParseUint(strings.Fields(after)[1], 10, 64)
			if err != nil {
				tb.Fatal(err)
			}
			return n
		}
	}
	tb.Fatalf("no interface %s in %s", name, out)
	return 0
}

// captured are the numbers of the summary.
type captured struct{ seen, written, dropped, unjoined uint64 }

func summaryOf(tb testing.TB, r result) (c captured) {
	tb.Helper()
	for _, line := range r.warnings() {
		if !strings.Contains(line, " packets seen, ") {
			continue
		}
		for part := range strings.SplitSeq(strings.TrimPrefix(line, "viewtcp: "), ", ") {
			number, what, _ := strings.Cut(part, " ")
			n, err := strconv.ParseUint(number, 10, 64)
			if err != nil {
				tb.Fatalf("%q: %v", line, err)
			}
			switch what {
			case "packets seen":
				c.seen = n
			case "written", "printed", "analysed":
				c.written = n
			case "dropped by the kernel":
				c.dropped = n
			case "without a process":
				c.unjoined = n
			}
		}
		return c
	}
	tb.Fatalf("no summary: %v", r)
	return c
}

// commentBothEnds is a comment that names both ends.
var commentBothEnds = regexp.MustCompile(
	`^viewtcp: process \S+ \(pid (\d+)\), connection (c[0-9a-v]{13}).*; to process \S+ \(pid (\d+)\), connection (c[0-9a-v]{13})`)

// TestCaptureShortConnections: every packet of every short connection, the SYN
// included, says which processes it came from and went to.
func TestCaptureShortConnections(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	n := stormSize() / 4
	s := storm(t, ns, tcptest.StormConfig{
		Connections: n, Clients: 2, Sent: [2]int{9, 3000}, Reply: [2]int{1, 5000}, Modes: tcptest.CloseModes(), Rate: 2000,
	})
	path := filepath.Join(t.TempDir(), "storm.pcapng")
	p := capturingIn(t, ns, nil, "-i", "lo", "-w", path, "--buffer", "128MiB")
	before := wireCount(t, ns, "lo")
	r := rage(t, s)
	got := p.interrupt(t)
	after := wireCount(t, ns, "lo")
	sum := summaryOf(t, got)
	if got.code != exitOK || sum.written+sum.dropped != after-before || sum.unjoined != 0 || sum.dropped != 0 {
		t.Errorf("%d packets on the wire, counted %+v: %v", after-before, sum, got)
	}
	// Not by addresses: a reset frees a port, and the next client may get it.
	boot := tcp.NewIDs(bootID())
	ends := make(map[string]*tcptest.End, len(r.Ledger))
	for i := range r.Ledger {
		ends[boot.Socket(ns.Inode(), r.Ledger[i].Cookie).String()] = &r.Ledger[i]
	}
	wrong, frames, ids := 0, framesOf(t, path), map[string]bool{}
	now := make(map[[2]netip.AddrPort]string) // the socket that has a tuple
	for i := range frames {
		f := &frames[i]
		if !f.tcp {
			t.Fatalf("frame %d is no TCP", f.Number)
		}
		from := netip.AddrPortFrom(f.seg.Tuple.Local.IP(), f.seg.Tuple.LocalPort)
		to := netip.AddrPortFrom(f.seg.Tuple.Remote.IP(), f.seg.Tuple.RemotePort)
		if f.seg.Flags&(capture.SYN|capture.ACK) == capture.SYN {
			delete(now, [2]netip.AddrPort{from, to})
			delete(now, [2]netip.AddrPort{to, from})
		}
		what := commentBothEnds.FindStringSubmatch(f.Comment)
		ok := what != nil
		for i, tuple := range [][2]netip.AddrPort{{from, to}, {to, from}} {
			if !ok {
				break
			}
			pid, id := what[1+2*i], what[2+2*i]
			end, was := ends[id], now[tuple]
			ok = end != nil && pid == strconv.Itoa(end.PID) && end.Local == tuple[0] && end.Remote == tuple[1] &&
				(was == id || was == "" && !ids[id])
			now[tuple], ids[id] = id, true
		}
		if !ok {
			if wrong++; wrong <= 5 {
				t.Errorf("frame %d, %s to %s, flags %#x: comment %q is not of these ends", f.Number, from, to, f.seg.Flags, f.Comment)
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d packets have a wrong comment", wrong, len(frames))
	}
	if len(frames) != int(sum.written) || len(ids) != 2*n {
		t.Errorf("%d frames in the file, %d written; %d connections, want %d", len(frames), sum.written, len(ids), 2*n)
	}
	out := strings.Split(tshark(t, "-r", path, "-c", "50", "-T", "fields", "-e", "frame.comment"), "\n")
	for i := range 50 {
		if out[i] != frames[i].Comment {
			t.Errorf("tshark shows %q beside frame %d, want %q", out[i], i+1, frames[i].Comment)
		}
	}
}

// floodSize is how much goes over loopback to be captured.
func floodSize() int {
	if testing.Short() {
		return 64 << 20
	}
	return 1 << 30
}

// TestCaptureFlood: what is not written was dropped and counted, to the packet.
func TestCaptureFlood(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	server, at := serve(t, ns, tcptest.ServerConfig{Plain: true, Sink: true})
	client, _ := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 1, Send: 1, NoEcho: true})
	for _, tt := range []struct {
		name string
		args []string
		// tight says that drops are expected.
		tight bool
	}{
		{"all", []string{"--buffer", "256MiB"}, false},
		{"headers", []string{"-s", "128"}, false},
		{"tiny ring", []string{"--buffer", "256KiB"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "flood.pcapng")
			p := capturingIn(t, ns, nil, append(tt.args, "-i", "lo", "-w", path)...)
			before := wireCount(t, ns, "lo")
			if err := client.Call(tcptest.Op{Op: "send", Bytes: floodSize()}, nil); err != nil {
				t.Fatal(err)
			}
			received := uint64(0)
			eventually(func() bool {
				received = ledgerOf(t, server)[0].Received
				return received%uint64(floodSize()) == 1
			})
			r := p.interrupt(t)
			wire, sum := wireCount(t, ns, "lo")-before, summaryOf(t, r)
			t.Logf("%d packets on the wire: %+v", wire, sum)
			if r.code != exitOK || sum.written+sum.dropped != wire || sum.seen != sum.written {
				t.Errorf("%d packets on the wire, counted %+v: %v", wire, sum, r)
			}
			if sum.dropped > 0 && !strings.Contains(r.stderr, "viewtcp: gap: the kernel dropped ") {
				t.Errorf("drops were not told: %v", r)
			}
			if tt.tight && sum.dropped == 0 {
				t.Logf("nothing was dropped, which this was to show")
			}
			if got := strings.Count(tshark(t, "-r", path, "-T", "fields", "-e", "frame.number"), "\n"); got != int(sum.written) {
				t.Errorf("tshark reads %d frames, %d were written", got, sum.written)
			}
		})
	}
}

// TestCaptureText: packets as text, with a filter on the process, of both ends
// of a connection.
func TestCaptureText(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	_, at := serve(t, ns, tcptest.ServerConfig{Plain: true})
	name := "chatty"
	p := capturingIn(t, ns, nil, "-o", "jsonl", "--for", "1h", "process", name)
	client, _ := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 2, Send: 100, Name: name})
	connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 3, Send: 100, Name: "others"})
	if err := client.Call(tcptest.Op{Op: "close"}, nil); err != nil {
		t.Fatal(err)
	}
	type line struct {
		ID, From, Process, Flags string
		PID, Frame, Stream       int
		Peer                     string `json:"peer_process"`
		PeerID                   string `json:"peer_id"`
		DestinationPort          uint16 `json:"destination_port"`
	}
	var lines []line
	parse := func() {
		for _, s := range p.lines[len(lines):] {
			var l line
			if err := json.Unmarshal([]byte(s), &l); err != nil {
				t.Fatalf("%q: %v", s, err)
			}
			lines = append(lines, l)
		}
	}
	p.until(t, "the ends of both connections", func() bool {
		parse()
		fins := 0
		for _, l := range lines {
			if strings.Contains(l.Flags, "FIN") {
				fins++
			}
		}
		return fins == 4
	})
	r := p.interrupt(t)
	if r.code != exitOK || summaryOf(t, r).written < 2*9 {
		t.Errorf("%v", r)
	}
	syns := 0
	for _, l := range lines {
		if l.ID == "" || l.PeerID == "" || l.From != "local" {
			t.Errorf("%+v", l)
		}
		toServer := l.DestinationPort == at.Addr.Port()
		if toServer && (l.Process != name || l.PID != client.PID) || !toServer && l.Peer != name {
			t.Errorf("not of %s: %+v", name, l)
		}
		if l.Flags == "SYN" {
			syns++
		}
	}
	if syns != 2 {
		t.Errorf("%d SYNs, want 2", syns)
	}
}

// TestCaptureConnections: connections show what their sockets and their packets
// tell, each end for itself.
func TestCaptureConnections(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	_, at := serve(t, ns, tcptest.ServerConfig{Plain: true})
	p := capturingIn(t, ns, nil, "--connections", "-o", "jsonl", "-i", "lo")
	client, ledger := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 3, Send: 5000})
	if err := client.Call(tcptest.Op{Op: "close"}, nil); err != nil {
		t.Fatal(err)
	}
	p.until(t, "three connections, both ends", func() bool { return len(p.lines) == 6 })
	still, ends := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 1, Send: 300})
	ledger = append(ledger, ends...)
	r := p.interrupt(t)
	rows, err := tcptest.ParseRows(strings.NewReader(r.stdout))
	if err != nil || len(rows) != 8 || r.code != exitOK {
		t.Fatalf("%d rows, %v: %v", len(rows), err, r)
	}
	cookies := byCookie(rows)
	for _, e := range ledger {
		row := cookies[decimal(e.Cookie)]
		if row == nil {
			t.Fatalf("no row for %+v", e)
		}
		want := map[string]string{
			"source": "ebpf", "interface": "lo", "pid": strconv.Itoa(e.PID), "direction": "outbound",
			"local_port": strconv.Itoa(int(e.Local.Port())), "syns_sent": "1", "syns_received": "1",
		}
		if e.PID == still.PID {
			want["state"] = "ESTABLISHED"
		} else {
			want["state"], want["close_reason"], want["conn_state"] = "CLOSED", "fin", "SF"
			want["bytes_sent"], want["bytes_received"] = decimal(e.Sent), decimal(e.Received)
		}
		for key, value := range want {
			if got := text(row, key); got != value {
				t.Errorf("%s is %q, want %q: %v", key, got, value, row)
			}
		}
		peer := cookies[text(rowOf(rows, text(row, "peer_id")), "cookie")]
		if peer == nil || text(peer, "packets_sent") != text(row, "packets_received") || text(peer, "packets_received") != text(row, "packets_sent") || text(row, "packets_sent") == "0" {
			t.Errorf("the two ends do not agree: %v and %v", row, peer)
		}
	}
}

// TestCaptureConnectionsFilter: a filter asks for what a connection is in the end.
func TestCaptureConnectionsFilter(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	_, at := serve(t, ns, tcptest.ServerConfig{Plain: true})
	p := capturingIn(t, ns, nil, "--connections", "-o", "csv", "--no-header", "--columns", "local_port,packets_sent,close_reason,closed_by",
		"close_reason", "=", "fin", "and", "bytes_sent > 1KB", "and", "direction", "outbound", "and", "tcp.flags.fin == 1")
	client, ledger := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 1, Send: 3000})
	other, _ := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 1, Send: 30})
	if err := errors.Join(client.Call(tcptest.Op{Op: "close"}, nil), other.Call(tcptest.Op{Op: "abort"}, nil)); err != nil {
		t.Fatal(err)
	}
	p.until(t, "the connection", func() bool { return len(p.lines) > 0 })
	r := p.interrupt(t)
	port, rest, _ := strings.Cut(strings.TrimSpace(r.stdout), ",")
	sent, rest, _ := strings.Cut(rest, ",")
	if n, err := strconv.Atoi(sent); err != nil || n < 4 || port != strconv.Itoa(int(ledger[0].Local.Port())) || rest != "fin,local" {
		t.Errorf("%v", r)
	}
}

func rowOf(rows []tcptest.Row, id string) tcptest.Row {
	for _, row := range rows {
		if text(row, "id") == id {
			return row
		}
	}
	return nil
}

// TestCaptureEnds: --count, --for, a reader that has seen enough, and pipes.
func TestCaptureEnds(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	_, at := serve(t, ns, tcptest.ServerConfig{Plain: true})
	client, _ := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 1, Send: 1})
	talk := func() {
		t.Helper()
		if err := client.Call(tcptest.Op{Op: "send", Bytes: 20 << 10}, nil); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("count", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "x.pcap")
		p := capturingIn(t, ns, nil, "-w", path, "-c", "3")
		talk()
		r := p.wait(t)
		if frames := framesOf(t, path); r.code != exitOK || len(frames) != 3 || frames[0].Link != capture.LinkLinuxSLL2 {
			t.Errorf("%d frames: %v", len(frames), r)
		}
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", st.Mode(), err)
		}
	})
	t.Run("for", func(t *testing.T) {
		p := capturingIn(t, ns, nil, "--for", "300ms", "--no-process", "--fail-empty")
		if r := p.wait(t); r.code != exitEmpty || summaryOf(t, r) != (captured{}) {
			t.Errorf("%v", r)
		}
	})
	t.Run("head", func(t *testing.T) {
		cmd := command(t, nil, "capture", "--netns", ns.Path(), "--no-process", "-o", "csv")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		one := make([]byte, 100)
		var talking sync.WaitGroup
		defer talking.Wait()
		talking.Go(func() {
			for range 30 {
				talk()
				waitABit()
			}
		})
		if _, err := io.ReadFull(out, one); err != nil || !bytes.HasPrefix(one, []byte("file,frame,time,stream,from")) {
			t.Errorf("%q, %v", one, err)
		}
		_ = out.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("after its reader was gone: %v", err)
		}
	})
	t.Run("pipe to tshark", func(t *testing.T) {
		need.Programs(t, "tshark")
		from := command(t, nil, "capture", "--netns", ns.Path(), "-i", "lo", "-w", "-", "-c", "6", "--no-process")
		to := exec.CommandContext(t.Context(), "tshark", "-r", "-", "-T", "fields", "-e", "tcp.dstport")
		pipe, err := from.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		to.Stdin, to.Stdout = pipe, &out
		if err := errors.Join(from.Start(), to.Start()); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			talk()
			waitABit()
		}
		if err := errors.Join(to.Wait(), from.Wait()); err != nil || strings.Count(out.String(), "\n") != 6 {
			t.Errorf("%v: %q", err, out.String())
		}
	})
	t.Run("interrupt", func(t *testing.T) {
		p := capturingIn(t, ns, nil, "--no-process", "-i", "lo")
		p.signal(t, syscall.SIGTERM)
		if r := p.wait(t); r.code != exitOK {
			t.Errorf("%v", r)
		}
	})
}

// TestCaptureRotates: files get numbers, and the oldest go.
func TestCaptureRotates(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	_, at := serve(t, ns, tcptest.ServerConfig{Plain: true})
	client, _ := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 1, Send: 1})
	dir := t.TempDir()
	p := capturingIn(t, ns, nil, "-i", "lo", "-w", filepath.Join(dir, "ring.pcapng"), "-C", "100KiB", "-W", "3")
	if err := client.Call(tcptest.Op{Op: "send", Bytes: 4 << 20}, nil); err != nil {
		t.Fatal(err)
	}
	r := p.interrupt(t)
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 3 || r.code != exitOK || !strings.Contains(r.stderr, "the last is "+files[2]) {
		t.Fatalf("%q, %v: %v", files, err, r)
	}
	last := uint64(0)
	for i, path := range files {
		n := len(framesOf(t, path))
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "ring-"), ".pcapng")
		number, err := strconv.ParseUint(name, 10, 64)
		if err != nil || i > 0 && number != last+1 || n == 0 {
			t.Errorf("%s follows number %d, with %d frames", path, last, n)
		}
		last = number
		tshark(t, "-r", path, "-c", "1")
	}
	if last <= 3 {
		t.Errorf("the last file has number %d", last)
	}
}

// TestCaptureRights: without the right there is one sentence that says which.
func TestCaptureRights(t *testing.T) {
	need.Root(t)
	path := filepath.Join(t.TempDir(), "x.pcapng")
	r := viewtcpWith(t, []how{as(nobody)}, "capture", "-w", path)
	if r.code != exitPermission || len(r.warnings()) != 1 || !strings.Contains(r.stderr, "CAP_NET_RAW") || !strings.Contains(r.stderr, "setcap") {
		t.Errorf("%v", r)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file was left: %v", err)
	}
	// The right to capture alone is enough for packets.
	ns := tcptest.NewNetNS(t)
	_, at := serve(t, ns, tcptest.ServerConfig{Plain: true})
	var p *program
	inside(t, ns, func() {
		p = start(t, []how{as(nobody, capNetRaw)}, "capture", "-i", "lo", "-c", "4")
	})
	p.until(t, "that the capture has begun", func() bool { return p.said("capturing on lo") })
	connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 1, Send: 10})
	if r := p.wait(t); r.code != exitOK || len(p.lines) != 5 {
		t.Errorf("%v", r)
	}
}

// capNetRaw is CAP_NET_RAW of include/uapi/linux/capability.h.
const capNetRaw = 13

// TestCaptureInterfaces: a name that is none, several, and all namespaces.
func TestCaptureInterfaces(t *testing.T) {
	ns, other := tcptest.NewNetNS(t), tcptest.NewNetNS(t)
	r := inProcess(t, "capture", "--netns", ns.Path(), "-i", "l0")
	if r.code != exitUsage || !strings.HasSuffix(r.stderr, "no interface \"l0\", did you mean \"lo\"?\n") {
		t.Errorf("%v", r)
	}
	tcptest.VethPair(t, ns, other, netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("192.0.2.2/24"))
	_, at := serve(t, other, tcptest.ServerConfig{Plain: true, Addr: "192.0.2.2:0"})
	path := filepath.Join(t.TempDir(), "both.pcapng")
	p := start(t, nil, "capture", "--netns", "all", "-w", path, "port", strconv.Itoa(int(at.Addr.Port())))
	p.until(t, "that the capture has begun", func() bool { return p.said("network namespaces, processes from") })
	client, _ := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 1, Send: 1000})
	if err := client.Call(tcptest.Op{Op: "close"}, nil); err != nil {
		t.Fatal(err)
	}
	waitABit()
	if r := p.interrupt(t); r.code != exitOK {
		t.Fatalf("%v", r)
	}
	frames := framesOf(t, path)
	seen := map[uint32]int{}
	for i := range frames {
		f := &frames[i]
		seen[f.Interface]++
		// CPUs that stamp at the same time need not be in order.
		if i > 0 && f.Time < frames[i-1].Time-int64(time.Millisecond) {
			t.Errorf("frame %d is earlier than the one before", f.Number)
		}
		if want := fmt.Sprintf("(pid %d)", client.PID); !strings.Contains(f.Comment, want) {
			t.Errorf("frame %d: %q lacks %q", f.Number, f.Comment, want)
		}
	}
	if len(seen) != 2 || len(frames) < 16 {
		t.Errorf("%d frames, by interface %v", len(frames), seen)
	}
	tshark(t, "-r", path, "-c", "1")
}

// TestCaptureDump: the program is printed, and nothing is captured.
func TestCaptureDump(t *testing.T) {
	r := inProcess(t, "capture", "--bpf-dump", "-i", "lo", "-s", "96", "port", "443")
	if r.code != exitOK || r.stderr != "" || !strings.HasPrefix(r.stdout, "(000) ") || !strings.Contains(r.stdout, "#0x1bb") || !strings.Contains(r.stdout, "ret") {
		t.Errorf("%v", r)
	}
	if r := inProcess(t, "capture", "--bpf-dump", "-i", "lo", "process", "curl"); r.code != exitOK || strings.Contains(r.stdout, "#0x1bb") {
		t.Errorf("what only the connection tells is left to us: %v", r)
	}
}

// TestCaptureInProcess runs captures of all kinds where the race detector sees
// them.
func TestCaptureInProcess(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	_, at := serve(t, ns, tcptest.ServerConfig{Plain: true})
	client, _ := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 1, Send: 1})
	dir := t.TempDir()
	for _, args := range [][]string{
		{"-o", "csv"},
		{"-w", filepath.Join(dir, "x.pcapng"), "-C", "50KiB", "-o", "json"},
		{"--connections", "-o", "csv", "bytes_sent > 10"},
		{"--record", filepath.Join(dir, "rec"), "--cut-off", "4", "-o", "jsonl"},
		{"--netns", "all", "process client"},
	} {
		t.Run(strings.Join(args[:2], " "), func(t *testing.T) {
			done := make(chan struct{})
			var talking sync.WaitGroup
			talking.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
					}
					connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 3, Send: 100, Name: "client"})
					if err := client.Call(tcptest.Op{Op: "send", Bytes: 10_000}, nil); err != nil {
						t.Error(err)
						return
					}
					waitABit()
				}
			})
			r := inProcess(t, append([]string{"capture", "--netns", ns.Path(), "--for", "3s"}, args...)...)
			close(done)
			talking.Wait()
			if r.code != exitOK || summaryOf(t, r).seen == 0 {
				t.Errorf("%v", r)
			}
		})
	}
}
