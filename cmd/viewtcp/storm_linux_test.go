package main

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcptest"
)

// stormSize is how many short connections a storm has; each has two ends here.
func stormSize() int {
	if testing.Short() {
		return 2000
	}
	return 20000
}

// storm starts the processes of a storm inside a namespace.
func storm(tb testing.TB, ns *tcptest.NetNS, cfg tcptest.StormConfig) *tcptest.Storm {
	tb.Helper()
	s, err := tcptest.StartStorm(cfg, tcptest.InNetNS(ns))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func rage(tb testing.TB, s *tcptest.Storm) *tcptest.StormResult {
	tb.Helper()
	r, err := s.Run()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Logf("%d connections in %v, the longest took %v", len(r.Ledger)/2, r.Elapsed.Round(time.Millisecond), r.Longest.Round(time.Microsecond))
	return r
}

// TestStormEBPF: every one of many short connections is reported, both ends,
// with its process and its exact bytes.
func TestStormEBPF(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	n := stormSize()
	s := storm(t, ns, tcptest.StormConfig{
		Connections: n, Clients: 2, Sent: [2]int{9, 3000}, Reply: [2]int{1, 5000}, Modes: tcptest.CloseModes(),
	})
	w := watching(t, nil, "--source", "ebpf", "--netns", ns.Path())
	r := rage(t, s)
	w.until(t, fmt.Sprintf("%d closes", 2*n), func() bool { return w.closes >= 2*n })
	if got := w.interrupt(t); got.code != exitInterrupted {
		t.Errorf("%v", got.stderr)
	}
	l := checkStorm(t, w.events(t), r.Ledger, stormExact)
	if l.gaps != 0 || l.opened != 2*n || l.established != 2*n {
		t.Errorf("%d opened and %d established of %d, %d gaps", l.opened, l.established, 2*n, l.gaps)
	}
}

// TestStormRingOverrun: what a stopped reader of a tiny ring misses is counted,
// to the connection and to the byte.
func TestStormRingOverrun(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	n := stormSize()
	s := storm(t, ns, tcptest.StormConfig{
		Connections: n, Clients: 2, Sent: [2]int{9, 3000}, Reply: [2]int{1, 5000}, Modes: tcptest.CloseModes(),
	})
	w := watching(t, nil, "--source", "ebpf", "--netns", ns.Path(), "--ring", "4KiB", "--events", "closed")
	w.signal(t, syscall.SIGSTOP)
	r := rage(t, s)
	time.Sleep(settle)
	w.signal(t, syscall.SIGCONT)
	checkLossy(t, w, r.Ledger, 2*n)
}

// TestStormStalledReader: the same where the program runs, but nobody reads
// what it prints.
func TestStormStalledReader(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	n := stormSize()
	n += n / 4 // more events than a reader's queue holds
	s := storm(t, ns, tcptest.StormConfig{Connections: n, Clients: 2, Sent: [2]int{9, 3000}, Reply: [2]int{1, 5000}})
	w := watching(t, nil, "--source", "ebpf", "--netns", ns.Path())
	w.mu.Lock() // the reader of the pipe waits for it
	r, err := s.Run()
	time.Sleep(settle)
	w.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	l := checkLossy(t, w, r.Ledger, 2*n)
	if !testing.Short() && l.skipped == 0 {
		t.Error("no event was skipped: the reader was not slow enough for this test")
	}
}

// settle is how long the last connections of a storm may take to leave the
// kernel after both processes are done with them.
const settle = 300 * time.Millisecond

// checkLossy holds reported and lost closes together against the ledger.
func checkLossy(t *testing.T, w *program, ledger tcptest.Ledger, want int) stormSum {
	t.Helper()
	complete := func() bool {
		l := sum(w.events(t))
		return l.closes+l.lostCloses >= uint64(want)
	}
	for deadline := time.Now().Add(patience); !complete() && time.Now().Before(deadline); {
		time.Sleep(200 * time.Millisecond)
	}
	w.interrupt(t)
	l := checkStorm(t, w.events(t), ledger, stormLossy)
	sent, received := ledger.Bytes()
	if l.closes+l.lostCloses != uint64(want) {
		t.Errorf("%d closes reported and %d counted as lost are %d, want %d", l.closes, l.lostCloses, l.closes+l.lostCloses, want)
	}
	if l.sent+l.lostSent != sent || l.received+l.lostReceived != received {
		t.Errorf("sent %d + %d lost, want %d; received %d + %d lost, want %d",
			l.sent, l.lostSent, sent, l.received, l.lostReceived, received)
	}
	if l.lostCloses == 0 && !testing.Short() {
		t.Error("nothing was lost: this test needs a loss")
	}
	t.Logf("%d closes reported, %d lost and counted in %d gaps; bytes sent %d + %d, received %d + %d; %d events skipped",
		l.closes, l.lostCloses, l.gaps, l.sent, l.lostSent, l.received, l.lostReceived, l.skipped)
	return l
}

// TestStormNetlink: without eBPF all closes are reported too; what is said of
// processes and bytes is never wrong.
func TestStormNetlink(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	n := stormSize()
	s := storm(t, ns, tcptest.StormConfig{
		Connections: n, Clients: 2, Sent: [2]int{9, 3000}, Reply: [2]int{1, 5000}, Modes: tcptest.CloseModes(),
	})
	w := watching(t, nil, "--source", "netlink", "--netns", ns.Path())
	r := rage(t, s)
	w.until(t, fmt.Sprintf("%d closes", 2*n), func() bool { return w.closes >= 2*n })
	w.interrupt(t)
	l := checkStorm(t, w.events(t), r.Ledger, stormNetlink)
	if l.gaps != 0 {
		t.Errorf("%d gaps", l.gaps)
	}
	t.Logf("%d closes, %d with a process, %d with bytes", l.closes, l.withPID, l.withBytes)
}

// stormMode says what of a storm must be known.
type stormMode int

const (
	stormExact stormMode = iota
	stormLossy
	stormNetlink
)

// stormSum is what a stream of events adds up to.
type stormSum struct {
	closes, sent, received                        uint64
	lostCloses, lostSent, lostReceived, skipped   uint64
	gaps, opened, established, withPID, withBytes int
}

func sum(evs []event) (l stormSum) {
	for i := range evs {
		e := &evs[i]
		switch e.Event {
		case "opened":
			l.opened++
		case "established":
			l.established++
		case "gap":
			l.gaps++
			l.lostCloses += e.LostCloses
			l.lostSent += e.LostSent
			l.lostReceived += e.LostReceived
			l.skipped += e.Skipped
		case "closed":
			l.closes++
			if e.PID != 0 {
				l.withPID++
			}
			if e.BytesSent != nil && e.BytesReceived != nil {
				l.withBytes++
				l.sent += *e.BytesSent
				l.received += *e.BytesReceived
			}
		}
	}
	return l
}

// checkStorm holds each close against the ledger of the processes.
func checkStorm(t *testing.T, evs []event, ledger tcptest.Ledger, mode stormMode) stormSum {
	t.Helper()
	want := make(map[string]*tcptest.End, len(ledger))
	for i := range ledger {
		want[decimal(ledger[i].Cookie)] = &ledger[i]
	}
	ids := make(map[string]bool, len(ledger))
	seen := make(map[string]bool, len(ledger))
	wrong := 0
	bad := func(e *event, format string, args ...any) {
		if wrong++; wrong <= 10 {
			t.Errorf("%s\n%.1200s", fmt.Sprintf(format, args...), e.raw)
		}
	}
	var last uint64
	for i := range evs {
		e := &evs[i]
		if e.Event != "gap" && e.Seq <= last {
			bad(e, "sequence number %d after %d", e.Seq, last)
		}
		last = max(last, e.Seq)
		if e.Event != "closed" {
			continue
		}
		end := want[e.Cookie]
		switch {
		case end == nil:
			bad(e, "a connection that nobody made")
			continue
		case seen[e.Cookie] || ids[e.ID]:
			bad(e, "closed twice")
		}
		seen[e.Cookie], ids[e.ID] = true, true
		if e.PID != end.PID && (e.PID != 0 || mode != stormNetlink) {
			bad(e, "pid %d, the ledger says %d (%s)", e.PID, end.PID, end.Side)
		}
		if mode == stormNetlink {
			checkInexact(e, end, bad)
			continue
		}
		if e.BytesSent == nil || e.BytesReceived == nil || *e.BytesSent != end.Sent || *e.BytesReceived != end.Received {
			bad(e, "bytes: the ledger says %d sent and %d received", end.Sent, end.Received)
		}
		if mode == stormExact {
			checkEnd(e, end, bad)
		}
	}
	if mode != stormLossy && len(seen) != len(ledger) {
		t.Errorf("%d of %d ends were reported", len(seen), len(ledger))
	}
	if wrong > 10 {
		t.Errorf("%d events are wrong", wrong)
	}
	return sum(evs)
}

// checkEnd holds who ended the connection and how against the ledger.
func checkEnd(e *event, end *tcptest.End, bad func(*event, string, ...any)) {
	local := end.Side
	first, reason := "client", "fin"
	switch end.Close {
	case tcptest.ClientFIN:
	case tcptest.ServerFIN:
		first = "server"
	case tcptest.ClientRST, tcptest.ServerRST:
		if end.Close == tcptest.ServerRST {
			first = "server"
		}
		reason = "rst_received"
		if first == local {
			reason = "rst_sent"
		}
	}
	by := "remote"
	if first == local {
		by = "local"
	}
	if e.ClosedBy != by || e.CloseReason != reason {
		bad(e, "%s of the %s: closed by %q for reason %q, want %q and %q", end.Close, local, e.ClosedBy, e.CloseReason, by, reason)
	}
	if !e.Complete {
		bad(e, "not complete")
	}
}

// checkInexact: netlink's last record cannot say whether a FIN was counted, and
// is missing where the process aborted the connection: then the values are
// unknown.
func checkInexact(e *event, end *tcptest.End, bad func(*event, string, ...any)) {
	for _, v := range []struct {
		what  string
		got   *uint64
		want  uint64
		extra uint64
	}{{"sent", e.BytesSent, end.Sent, 0}, {"received", e.BytesReceived, end.Received, 1}} {
		switch {
		case v.got == nil || *v.got == v.want:
		case !e.Complete && *v.got == v.want+v.extra:
		default:
			bad(e, "%d bytes %s, the ledger says %d", *v.got, v.what, v.want)
		}
	}
}
