//go:build 386 || amd64 || arm64

package bpf

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// patience bounds every wait: many times what is needed on a loaded machine.
const patience = 60 * time.Second

// newSource returns a source that ends with the test.
func newSource(tb testing.TB, change func(*Config)) *Source {
	tb.Helper()
	need.Root(tb)
	cfg := DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if errors.Is(err, tcp.ErrNotSupported) {
		need.That(tb, false, "a kernel with eBPF and BTF ("+err.Error()+")")
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("Close: %v", err)
		}
	})
	return s
}

// newSpace makes a namespace that a source can be held to.
func newSpace(tb testing.TB) (*tcptest.NetNS, netns.Namespace) {
	tb.Helper()
	ns := tcptest.NewNetNS(tb)
	space, err := netns.Open(ns.Path())
	if err != nil {
		tb.Fatal(err)
	}
	return ns, space
}

func TestConformance(t *testing.T) {
	tcptest.TestSource(t, func(t *testing.T) tcp.Source {
		t.Helper()
		cfg := DefaultConfig()
		s, err := New(cfg)
		if errors.Is(err, tcp.ErrNotSupported) {
			need.That(t, false, "a kernel with eBPF and BTF ("+err.Error()+")")
		}
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

// A watch runs a source and keeps what it says.
type watch struct {
	stop func()

	mu      sync.Mutex
	changed chan struct{} // guarded by mu; closed at every batch
	closed  map[uint64]tcp.Observation
	latest  map[uint64]tcp.Observation
	events  []tcp.Observation // in order, of batches that are no walk
	doubled int
	fulls   int
	deltas  int
	shown   int // full sockets in the last finished delta
	showing int
	sockets int // of the last finished delta, as it says itself
	lost    tcp.Loss
	// stall blocks the sink.
	stall chan struct{}
}

func startWatch(tb testing.TB, s *Source) *watch {
	tb.Helper()
	w := &watch{
		changed: make(chan struct{}),
		closed:  make(map[uint64]tcp.Observation), latest: make(map[uint64]tcp.Observation),
	}
	ctx, cancel := context.WithCancel(tb.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, w.sink) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("Run: %v", err)
		}
	})
	tb.Cleanup(w.stop)
	w.until(tb, "the first full pass", func() bool { return w.fulls > 0 })
	return w
}

func (w *watch) sink(b *tcp.Batch) error {
	w.mu.Lock()
	stall := w.stall
	for i := range b.Observations {
		o := b.Observations[i]
		if b.Pass.Kind == tcp.PassEvents {
			w.events = append(w.events, o)
		} else if !o.Mini {
			w.showing++
		}
		if o.Kind == tcp.SeenClosed && !o.WasListening {
			if _, ok := w.closed[o.Cookie]; ok {
				w.doubled++
			}
			w.closed[o.Cookie] = o
		} else if !o.Mini && o.Time.Boot >= w.latest[o.Cookie].Time.Boot {
			// What happened before a walk may be told after it.
			w.latest[o.Cookie] = o
		}
	}
	if b.Pass.End {
		if b.Pass.Kind == tcp.PassFull {
			w.fulls++
		} else {
			w.deltas++
			w.shown = w.showing
			w.sockets = b.Pass.Sockets
		}
		w.showing = 0
	}
	w.lost.Closes += b.Lost.Closes
	w.lost.BytesSent += b.Lost.BytesSent
	w.lost.BytesReceived += b.Lost.BytesReceived
	w.lost.Events += b.Lost.Events
	w.lost.Unknown = w.lost.Unknown || b.Lost.Unknown
	close(w.changed)
	w.changed = make(chan struct{})
	w.mu.Unlock()
	if stall != nil {
		<-stall
	}
	return nil
}

// until waits for a condition on what was said.
func (w *watch) until(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	timeout := time.After(patience)
	for {
		w.mu.Lock()
		met, changed := ok(), w.changed
		w.mu.Unlock()
		if met {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			w.mu.Lock()
			defer w.mu.Unlock()
			tb.Fatalf("not seen in %s: %s (%d closed, lost %+v, %d full passes, %d deltas)",
				patience, what, len(w.closed), w.lost, w.fulls, w.deltas)
		}
	}
}

// final waits for the final record of a socket.
func (w *watch) final(tb testing.TB, cookie uint64) tcp.Observation {
	tb.Helper()
	var o tcp.Observation
	w.until(tb, fmt.Sprintf("the end of socket %d", cookie), func() bool {
		var ok bool
		o, ok = w.closed[cookie]
		return ok
	})
	return o
}

// ends reports whether the final record of a socket comes within d.
func (w *watch) ends(cookie uint64, d time.Duration) bool {
	timeout := time.After(d)
	for {
		w.mu.Lock()
		_, ok := w.closed[cookie]
		changed := w.changed
		w.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-timeout:
			return false
		}
	}
}

// seen waits until the last observation of a socket meets a condition.
func (w *watch) seen(tb testing.TB, cookie uint64, what string, ok func(*tcp.Observation) bool) tcp.Observation {
	tb.Helper()
	var o tcp.Observation
	w.until(tb, what, func() bool {
		o = w.latest[cookie]
		return o.Cookie != 0 && ok(&o)
	})
	return o
}

// all returns the last observation of every full socket.
func (w *watch) all() []tcp.Observation {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Values(w.latest))
}

// forget drops what was said so far.
func (w *watch) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.closed)
	w.events, w.lost, w.doubled = nil, tcp.Loss{}, 0
}

// pick returns the observations of one kind and socket, in order.
func (w *watch) pick(cookie uint64, kind tcp.ObservationKind) []tcp.Observation {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []tcp.Observation
	for _, o := range w.events {
		if o.Cookie == cookie && o.Kind == kind {
			list = append(list, o)
		}
	}
	return list
}

// opening waits until a socket's opening was told, which may be after a walk
// showed it.
func (w *watch) opening(tb testing.TB, cookie uint64) []tcp.Observation {
	tb.Helper()
	w.until(tb, "the opening", func() bool {
		return slices.ContainsFunc(w.events, func(o tcp.Observation) bool {
			return o.Cookie == cookie && o.Kind == tcp.SeenOpened
		})
	})
	return w.pick(cookie, tcp.SeenOpened)
}

// TestStorm: every one of many short connections is reported twice (both ends
// are here), with its process, its exact payload and how it ended.
func TestStorm(t *testing.T) {
	// In a namespace, so that what else happens on the machine is no part of it.
	ns, space := newSpace(t)
	// Nor is how often the race detector and other tests let the reader run.
	s := newSource(t, func(c *Config) { c.Namespace, c.RingBytes = &space, 32<<20 })
	n := 20_000
	if testing.Short() {
		n = 2_000
	}
	for _, cfg := range []tcptest.StormConfig{
		{Connections: n, Clients: 2, Workers: 8},
		{
			Connections: n / 4, Clients: 2, Family: tcptest.IPv6, GoListener: true,
			Sent: [2]int{20, 3000}, Reply: [2]int{0, 9000}, Modes: tcptest.CloseModes(),
		},
	} {
		t.Run(fmt.Sprint(cfg.Connections), func(t *testing.T) {
			storm, err := tcptest.StartStorm(cfg, tcptest.InNetNS(ns))
			if err != nil {
				t.Fatal(err)
			}
			defer storm.Close()
			w := startWatch(t, s)
			result, err := storm.Run()
			if err != nil {
				t.Fatal(err)
			}
			w.mu.Lock()
			deltas := w.deltas
			w.mu.Unlock()
			w.until(t, fmt.Sprint(len(result.Ledger), " ends"), func() bool {
				return len(w.closed) >= len(result.Ledger) || w.lost.Any() || w.deltas > skippedAfter+deltas
			})
			w.stop()
			if w.lost.Any() || w.doubled > 0 {
				t.Errorf("lost %+v, %d twice", w.lost, w.doubled)
			}
			var sent, received uint64
			bad, skipped := 0, 0
			for i := range result.Ledger {
				e := &result.Ledger[i]
				o, ok := w.closed[e.Cookie]
				if !ok {
					skipped++
					continue
				}
				sent, received = sent+o.Metrics.BytesSent, received+o.Metrics.BytesReceived
				if err := checkEnd(e, &o); err != nil {
					if bad++; bad < 10 {
						t.Errorf("%s %s -> %s closed by %s: %v", e.Side, e.Local, e.Remote, e.Close, err)
					}
				}
			}
			if bad > 0 {
				t.Errorf("%d of %d are wrong", bad, len(result.Ledger))
			}
			checkSkipped(t, skipped, len(result.Ledger))
			t.Logf("%d ends of %d, %d bytes sent, %d received, in %v", len(w.closed), len(result.Ledger), sent, received, result.Elapsed)
		})
	}
}

// skippedAfter is how many walks after a storm its ends are waited for.
const skippedAfter = 5

// checkSkipped judges ends that nothing told of. Some hosts run no programs
// while they have interrupted a task of their own that they protect: such a
// kernel calls the tracepoint (ftrace shows it), but neither runs our programs
// nor counts that it did not. That took at most 11 of 40,000 ends, on a busy
// machine. The walks show that these are gone; anything more is our fault.
func checkSkipped(t *testing.T, skipped, of int) {
	t.Helper()
	switch {
	case skipped > of/1000:
		t.Errorf("%d of %d ends were not reported", skipped, of)
	case skipped > 0:
		t.Logf("the kernel left the programs out for %d of %d ends", skipped, of)
	}
}

// checkEnd holds a final record against the process's own words.
func checkEnd(e *tcptest.End, o *tcp.Observation) error {
	if o.Kind != tcp.SeenClosed {
		return errors.New("not reported")
	}
	if int(o.Owner.PID) != e.PID || o.Attribution != tcp.AttributionExact {
		return fmt.Errorf("pid %d (%s), want %d", o.Owner.PID, o.Attribution, e.PID)
	}
	if o.Metrics.BytesSent != e.Sent || o.Metrics.BytesReceived != e.Received {
		return fmt.Errorf("%d bytes sent and %d received, want %d and %d",
			o.Metrics.BytesSent, o.Metrics.BytesReceived, e.Sent, e.Received)
	}
	local, remote := netip.AddrPortFrom(o.Local.IP(), o.LocalPort), netip.AddrPortFrom(o.Remote.IP(), o.RemotePort)
	if local != e.Local || remote != e.Remote {
		return fmt.Errorf("ends %s -> %s", local, remote)
	}
	direction := tcp.Outbound
	if e.Side == "server" {
		direction = tcp.Inbound
	}
	if o.Direction != direction || o.State != tcp.Closed {
		return fmt.Errorf("%s %s", o.Direction, o.State)
	}
	if o.Opened.IsZero() || o.Opened.Boot > o.Time.Boot || o.Has&tcp.HasHandshake == 0 {
		return fmt.Errorf("opened %d, closed %d, handshake %d", o.Opened.Boot, o.Time.Boot, o.Handshake)
	}
	return checkClose(e, o)
}

// checkClose holds how a connection ended against what its process did.
func checkClose(e *tcptest.End, o *tcp.Observation) error {
	mine := strings.HasPrefix(string(e.Close), e.Side)
	want, side := tcp.CloseFIN, tcp.SideUnknown
	if e.Close == tcptest.ClientRST || e.Close == tcptest.ServerRST {
		want, side = tcp.CloseRSTReceived, tcp.SideRemote
		if mine {
			want, side = tcp.CloseRSTSent, tcp.SideLocal
		}
	}
	if o.Reason != want || o.Reset != side {
		return fmt.Errorf("reason %s, RST by %q; want %s, %q", o.Reason, o.Reset, want, side)
	}
	if want != tcp.CloseFIN {
		return nil
	}
	first := tcp.SideRemote
	if mine {
		first = tcp.SideLocal
	}
	if o.FirstFIN != first {
		return fmt.Errorf("first FIN by %q, want %q", o.FirstFIN, first)
	}
	return nil
}

// TestDrops: with a tiny ring and a reader that stands still, what is reported
// and what is counted as dropped are together exactly what happened.
func TestDrops(t *testing.T) {
	n := 20_000
	if testing.Short() {
		n = 2_000
	}
	ns, space := newSpace(t)
	s := newSource(t, func(c *Config) { c.Namespace, c.RingBytes = &space, 64<<10 })
	storm, err := tcptest.StartStorm(tcptest.StormConfig{
		Connections: n, Clients: 2, Sent: [2]int{20, 500}, Reply: [2]int{0, 900},
	}, tcptest.InNetNS(ns))
	if err != nil {
		t.Fatal(err)
	}
	defer storm.Close()
	w := startWatch(t, s)
	w.forget()
	stall := make(chan struct{})
	w.mu.Lock()
	w.stall = stall
	w.mu.Unlock()
	result, err := storm.Run()
	w.mu.Lock()
	w.stall = nil
	w.mu.Unlock()
	close(stall)
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	fulls, deltas := w.fulls, w.deltas
	w.mu.Unlock()
	w.until(t, "every end, as a record or as a drop", func() bool {
		return len(w.closed)+int(w.lost.Closes) >= len(result.Ledger) || w.deltas > skippedAfter+deltas
	})
	w.until(t, "a full pass after the loss", func() bool { return w.fulls > fulls })
	w.stop()
	sent, received := w.lost.BytesSent, w.lost.BytesReceived
	for _, o := range w.closed {
		sent, received = sent+o.Metrics.BytesSent, received+o.Metrics.BytesReceived
	}
	wantSent, wantReceived := result.Ledger.Bytes()
	skipped := len(result.Ledger) - len(w.closed) - int(w.lost.Closes)
	if skipped < 0 {
		t.Errorf("%d reported + %d dropped of %d", len(w.closed), w.lost.Closes, len(result.Ledger))
	}
	checkSkipped(t, skipped, len(result.Ledger))
	if skipped == 0 && (sent != wantSent || received != wantReceived) {
		t.Errorf("%d bytes sent and %d received, want %d and %d", sent, received, wantSent, wantReceived)
	}
	if w.lost.Closes == 0 || w.lost.Events == 0 || w.lost.Unknown {
		t.Errorf("lost %+v: the test wants a loss that is counted", w.lost)
	}
	t.Logf("%d reported + %d dropped of %d; %d events dropped", len(w.closed), w.lost.Closes, len(result.Ledger), w.lost.Events)
}

// TestLife: what is reported of one connection in which order.
func TestLife(t *testing.T) {
	s := newSource(t, func(c *Config) { c.DeltaEvery = 100 * time.Millisecond })
	w := startWatch(t, s)
	server := tcptest.Start(t, "server", tcptest.ServerConfig{Plain: true})
	var at tcptest.Listening
	if err := server.Recv(&at); err != nil {
		t.Fatal(err)
	}
	w.until(t, "the new listener", func() bool {
		return slices.ContainsFunc(w.events, func(o tcp.Observation) bool {
			return o.State == tcp.Listen && o.LocalPort == at.Addr.Port() && o.Kind == tcp.SeenOpened &&
				o.Direction == tcp.Listening && int(o.Owner.PID) == server.PID && o.Attribution == tcp.AttributionExact &&
				o.Metrics.Backlog > 0
		})
	})
	client := tcptest.Start(t, "client", tcptest.ClientConfig{To: at.Addr, Count: 1, Send: 1000})
	var mine, theirs tcptest.Ledger
	if err := client.Recv(&mine); err != nil {
		t.Fatal(err)
	}
	if err := server.Call(tcptest.Op{Op: "ledger"}, &theirs); err != nil {
		t.Fatal(err)
	}
	full := func(o *tcp.Observation) bool { return o.Metrics.BytesSent == 1000 }
	for i, e := range []tcptest.End{mine[0], theirs[0]} {
		o := w.seen(t, e.Cookie, "the bytes of a live connection", full)
		if o.State != tcp.Established || o.Has&tcp.HasRTT == 0 || o.Metrics.CC == (tcp.CC{}) || o.Metrics.MSS == 0 {
			t.Errorf("end %d: %+v", i, o)
		}
		// A walk may show the connection before its opening is read.
		w.until(t, "the opening", func() bool {
			return slices.ContainsFunc(w.events, func(o tcp.Observation) bool {
				return o.Cookie == e.Cookie && o.Kind == tcp.SeenOpened
			})
		})
		opened := w.opening(t, e.Cookie)
		if len(opened) != 1 || opened[0].State != tcp.Established || opened[0].Opened.IsZero() ||
			opened[0].Opened.Boot > opened[0].Time.Boot || opened[0].Has&tcp.HasHandshake == 0 {
			t.Errorf("end %d opened: %+v", i, opened)
		}
		checkProcess(t, &o, e.PID)
	}
	for _, x := range []*tcptest.Child{client, server} {
		if err := x.Call(tcptest.Op{Op: "close"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for i, e := range []tcptest.End{mine[0], theirs[0]} {
		if o := w.final(t, e.Cookie); o.Reason != tcp.CloseFIN || o.Metrics.BytesReceived != 1000 {
			t.Errorf("end %d: %+v", i, o)
		}
	}
	if err := server.Call(tcptest.Op{Op: "unlisten"}, nil); err != nil {
		t.Fatal(err)
	}
	w.until(t, "the end of the listener", func() bool {
		return slices.ContainsFunc(w.events, func(o tcp.Observation) bool {
			return o.Kind == tcp.SeenClosed && o.WasListening && o.LocalPort == at.Addr.Port()
		})
	})
	w.stop()
	if w.fulls != 1 {
		t.Errorf("%d full passes", w.fulls)
	}
}

// checkProcess holds an owner against /proc.
func checkProcess(t *testing.T, o *tcp.Observation, pid int) {
	t.Helper()
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	comm, rest, _ := strings.Cut(string(stat[strings.IndexByte(string(stat), '(')+1:]), ") ")
	// After pid and comm, field 22 is the 20th.
	start, err := strconv.ParseUint(strings.Fields(rest)[19], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	want := tcp.Owner{
		PID: int32(pid), Start: start * tcp.StartGranularity,
		Comm: tcp.MakeComm(comm), CgroupID: o.Owner.CgroupID,
	}
	if o.Owner != want || o.Owner.CgroupID == 0 {
		t.Errorf("owner %+v, /proc says %+v", o.Owner, want)
	}
}

// TestDelta: a walk between two full ones shows what changed, and nothing else.
func TestDelta(t *testing.T) {
	ns, space := newSpace(t)
	s := newSource(t, func(c *Config) {
		c.DeltaEvery, c.Namespace = 50*time.Millisecond, &space
	})
	server := tcptest.Start(t, "server", tcptest.ServerConfig{}, tcptest.InNetNS(ns))
	var at tcptest.Listening
	if err := server.Recv(&at); err != nil {
		t.Fatal(err)
	}
	const quiet = 50
	if err := tcptest.Start(t, "client", tcptest.ClientConfig{To: at.Addr, Count: quiet, Send: 10}, tcptest.InNetNS(ns)).Recv(nil); err != nil {
		t.Fatal(err)
	}
	busy := tcptest.Start(t, "client", tcptest.ClientConfig{To: at.Addr, Count: 1, Send: 10}, tcptest.InNetNS(ns))
	if err := busy.Recv(nil); err != nil {
		t.Fatal(err)
	}
	w := startWatch(t, s)
	sockets := w.all()
	for _, o := range sockets {
		if o.NetNS != space.Inode {
			t.Fatalf("a socket of namespace %d", o.NetNS)
		}
	}
	if want := 2*quiet + 3; len(sockets) != want {
		t.Errorf("%d sockets, want %d", len(sockets), want)
	}
	wait := func(shown int) {
		t.Helper()
		w.until(t, fmt.Sprint("a walk of ", shown), func() bool { return w.shown == shown && w.deltas > 0 })
	}
	wait(0)
	for range 3 {
		if err := busy.Call(tcptest.Op{Op: "send", Bytes: 10}, nil); err != nil {
			t.Fatal(err)
		}
	}
	changed := 0
	w.until(t, "the connection that moved", func() bool {
		changed = 0
		for _, o := range w.latest {
			if o.Metrics.BytesSent == 40 {
				changed++
			}
		}
		return changed == 2
	})
	wait(0)
}
