package sockdiag

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// running is a source's Run beside the test.
type running struct {
	cancel context.CancelFunc
	done   chan error
	passes atomic.Int64
	heard  atomic.Int64 // closes, and closes lost
}

// run starts s and returns when its first pass has ended.
func run(tb testing.TB, s *Source, sink func(*tcp.Batch)) *running {
	tb.Helper()
	return start(tb, s.Run, sink)
}

// runInside is run by a process whose own namespace is n: it hears of nothing
// else, so that even what the kernel drops can be counted on.
func runInside(tb testing.TB, n *tcptest.NetNS, s *Source, sink func(*tcp.Batch)) *running {
	tb.Helper()
	s.self = namespace(tb, n)
	s.self.Self = true
	s.cfg.Namespaces = []netns.Namespace{s.self}
	return start(tb, func(ctx context.Context, sink tcp.Sink) (err error) {
		if errDo := n.Do(func() { err = s.Run(ctx, sink) }); errDo != nil {
			return errDo
		}
		return err
	}, sink)
}

func start(tb testing.TB, run func(context.Context, tcp.Sink) error, sink func(*tcp.Batch)) *running {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	r := &running{cancel: cancel, done: make(chan error, 1)}
	go func() {
		r.done <- run(ctx, func(b *tcp.Batch) error {
			sink(b)
			for i := range b.Observations {
				if b.Observations[i].Kind == tcp.SeenClosed {
					r.heard.Add(1)
				}
			}
			r.heard.Add(int64(b.Lost.Closes))
			if b.Pass.End {
				r.passes.Add(1)
			}
			return nil
		})
	}()
	tb.Cleanup(func() { r.stop(tb) })
	r.await(tb, "the first pass", func() bool { return r.passes.Load() > 0 })
	return r
}

// await waits for what the kernel and the source do in their own time.
func (r *running) await(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("waited in vain for %s", what)
		}
	}
}

func (r *running) awaitPasses(tb testing.TB, n int64) {
	tb.Helper()
	n += r.passes.Load()
	r.await(tb, "another pass", func() bool { return r.passes.Load() >= n })
}

// stop ends the run; what the sink wrote may be read after it.
func (r *running) stop(tb testing.TB) {
	tb.Helper()
	if r.cancel == nil {
		return
	}
	r.cancel()
	r.cancel = nil
	if err := <-r.done; err != nil {
		tb.Errorf("Run: %v", err)
	}
}

// collect keeps copies of the closes in n, and the losses.
type collect struct {
	netns  uint32
	closed []tcp.Observation
	lost   tcp.Loss
}

func (c *collect) take(b *tcp.Batch) {
	c.lost.Closes += b.Lost.Closes
	c.lost.Unknown = c.lost.Unknown || b.Lost.Unknown
	for i := range b.Observations {
		if o := &b.Observations[i]; o.Kind == tcp.SeenClosed && o.NetNS == c.netns {
			c.closed = append(c.closed, *o)
		}
	}
}

// TestShortConnections makes sure that each end of 20,000 short connections in
// another namespace is heard of once, with its bytes.
func TestShortConnections(t *testing.T) {
	n := tcptest.NewNetNS(t)
	const connections = 20000
	storm, err := tcptest.StartStorm(tcptest.StormConfig{
		Connections: connections, Sent: [2]int{100, 1700}, Reply: [2]int{0, 900}, Modes: tcptest.CloseModes(),
	}, tcptest.InNetNS(n))
	if err != nil {
		t.Fatal(err)
	}
	defer storm.Close()
	c := collect{netns: n.Inode()}
	r := run(t, newSource(t, nil, n), c.take)
	used := cpu(t)
	result, err := storm.Run()
	if err != nil {
		t.Fatal(err)
	}
	r.await(t, "40,000 closes", func() bool { return r.heard.Load() >= 2*connections })
	r.stop(t)
	if c.lost.Any() {
		t.Errorf("lost %+v", c.lost)
	}
	t.Logf("%d closes in %v, %v CPU here", len(c.closed), result.Elapsed, cpu(t)-used)
	checkLedger(t, result.Ledger, c.closed)
	if len(c.closed) != 2*connections {
		t.Errorf("%d closes, want %d", len(c.closed), 2*connections)
	}
}

// checkLedger holds closes against what the processes say: bytes sent exactly,
// bytes received exactly or, where the observation says that it may be so, one
// more. It returns how many ends were closed.
func checkLedger(t *testing.T, l tcptest.Ledger, closed []tcp.Observation) {
	t.Helper()
	ends := l.ByCookie()
	seen := make(map[uint64]bool, len(closed))
	var exact, high, cleared int
	for i := range closed {
		o := &closed[i]
		e := ends[o.Cookie]
		if e == nil || seen[o.Cookie] {
			t.Fatalf("close of cookie %d: in the ledger %v, before %v", o.Cookie, e, seen[o.Cookie])
		}
		seen[o.Cookie] = true
		if o.Has&tcp.HasSegmentsSent == 0 {
			// It was aborted by SO_LINGER 0.
			if o.Metrics.BytesSent > e.Sent || o.Metrics.BytesReceived > e.Received || !o.Inexact || o.WasListening || (e.Close != tcptest.ClientRST && e.Close != tcptest.ServerRST) {
				t.Errorf("%+v: closed as %+v", e, o)
			}
			cleared++
			continue
		}
		if o.Local != tcp.AddrFrom(e.Local.Addr()) || o.LocalPort != e.Local.Port() ||
			(e.Remote.IsValid() && (o.Remote != tcp.AddrFrom(e.Remote.Addr()) || o.RemotePort != e.Remote.Port())) {
			t.Fatalf("%+v: closed as %+v", e, o.Tuple)
		}
		const need = tcp.HasBytesSent | tcp.HasBytesReceived | tcp.HasCookie | tcp.HasSegmentsSent
		if o.Has&need != need || o.State != tcp.Closed || o.WasListening || o.Mini {
			t.Fatalf("%+v: %+v", e, o)
		}
		if o.Metrics.BytesSent != e.Sent {
			t.Errorf("%+v: %d sent", e, o.Metrics.BytesSent)
		}
		switch o.Metrics.BytesReceived {
		case e.Received:
			exact++
		case e.Received + 1:
			if high++; !o.Inexact {
				t.Errorf("%+v: %d received, and said to be exact", e, o.Metrics.BytesReceived)
			}
		default:
			t.Errorf("%+v: %d received", e, o.Metrics.BytesReceived)
		}
		if want := map[string]tcp.Direction{"client": tcp.Outbound, "server": tcp.Inbound}[e.Side]; o.Direction != want && o.Direction != tcp.DirectionUnknown {
			t.Errorf("%+v: direction %v", e, o.Direction)
		}
	}
	t.Logf("bytes received: %d exact, %d one high, %d cleared", exact, high, cleared)
}

// TestStalledReader makes sure that what a full buffer drops is counted, and
// that a dump follows at once.
func TestStalledReader(t *testing.T) {
	n := tcptest.NewNetNS(t)
	const connections = 3000
	storm, err := tcptest.StartStorm(tcptest.StormConfig{Connections: connections}, tcptest.InNetNS(n))
	if err != nil {
		t.Fatal(err)
	}
	defer storm.Close()
	c := collect{netns: n.Inode()}
	var stall atomic.Pointer[chan struct{}]
	stalled := make(chan struct{}, 1)
	s := newSource(t, func(c *Config) {
		c.ReceiveBuffer = 128 << 10
		c.DumpEvery = 500 * time.Millisecond
	}, n)
	lostAt, walkedAt := int64(0), int64(0)
	r := runInside(t, n, s, func(b *tcp.Batch) {
		c.take(b)
		if b.Lost.Unknown && lostAt == 0 {
			lostAt = b.Time.Boot
		}
		if b.Pass.End && lostAt != 0 && walkedAt == 0 && b.Pass.Begin.Boot >= lostAt {
			walkedAt = b.Time.Boot
		}
		if p := stall.Load(); p != nil {
			select {
			case stalled <- struct{}{}:
			default:
			}
			<-*p
		}
	})
	release := make(chan struct{})
	stall.Store(&release)
	<-stalled // the next dump's end is in the sink
	result, err := storm.Run()
	if err != nil {
		t.Fatal(err)
	}
	stall.Store(nil)
	close(release)
	r.await(t, "all closes", func() bool { return r.heard.Load() >= 2*connections })
	r.awaitPasses(t, 2)
	r.stop(t)
	t.Logf("%d closes reported, %d counted as lost", len(c.closed), c.lost.Closes)
	if !c.lost.Unknown || c.lost.Closes == 0 {
		t.Errorf("lost %+v", c.lost)
	}
	if got := len(c.closed) + int(c.lost.Closes); got != 2*connections {
		t.Errorf("%d closes reported and %d lost, want %d in all", len(c.closed), c.lost.Closes, 2*connections)
	}
	if walkedAt == 0 {
		t.Error("no dump after the loss")
	}
	checkLedger(t, result.Ledger, c.closed)
}

// TestKnownSockets makes sure of what a dump before the close adds to it: the
// owner, the direction, the exact bytes, and that a listener was one.
func TestKnownSockets(t *testing.T) {
	n := tcptest.NewNetNS(t)
	server := tcptest.Start(t, "server", tcptest.ServerConfig{Addr: "127.0.0.1:0"}, tcptest.InNetNS(n))
	var at tcptest.Listening
	if err := server.Recv(&at); err != nil {
		t.Fatal(err)
	}
	client := tcptest.Start(t, "client", tcptest.ClientConfig{To: at.Addr, Count: 10, Send: 77}, tcptest.InNetNS(n))
	var ledger tcptest.Ledger
	if err := client.Recv(&ledger); err != nil {
		t.Fatal(err)
	}
	c := collect{netns: n.Inode()}
	owners := &fakeOwners{}
	s := newSource(t, func(c *Config) {
		c.Owners = owners
		c.DumpEvery = 50 * time.Millisecond
	}, n)
	r := run(t, s, c.take)
	// Kill the client: its ends close by FIN, the server's follow.
	if err := client.Close(); err != nil {
		t.Log(err)
	}
	r.await(t, "the closes of the client", func() bool { return r.heard.Load() >= 10 })
	if err := server.Close(); err != nil {
		t.Log(err)
	}
	r.await(t, "the other closes", func() bool { return r.heard.Load() >= 21 })
	r.stop(t)
	var inbound, outbound, listeners int
	for i := range c.closed {
		o := &c.closed[i]
		switch {
		case o.WasListening:
			listeners++
		case o.Direction == tcp.Inbound:
			inbound++
		case o.Direction == tcp.Outbound:
			outbound++
		}
		if o.Has&tcp.HasInode == 0 || o.Owner != ownerOf(o.Inode) || o.Attribution != tcp.AttributionScan {
			t.Errorf("closed without its owner: %+v", o)
		}
	}
	if listeners != 1 || inbound != 10 || outbound != 10 {
		t.Errorf("%d listeners, %d inbound, %d outbound", listeners, inbound, outbound)
	}
}

// TestNewNamespaces makes sure that closes are heard in namespaces that come
// while the source runs, and are not laid to an earlier one: the kernel gives
// out ids and inode numbers again.
func TestNewNamespaces(t *testing.T) {
	need.Root(t)
	var (
		mu     sync.Mutex
		walked map[uint32]bool
		ended  = map[uint64]uint32{}
	)
	s := newSource(t, func(c *Config) { c.DumpEvery = 20 * time.Millisecond })
	r := run(t, s, func(b *tcp.Batch) {
		mu.Lock()
		defer mu.Unlock()
		for i := range b.Observations {
			if o := &b.Observations[i]; o.Kind == tcp.SeenClosed {
				ended[o.Cookie] = o.NetNS
			}
		}
		if b.Pass.End {
			walked = map[uint32]bool{}
			for _, ns := range b.Pass.Namespaces {
				walked[ns] = true
			}
		}
	})
	inodes := map[uint32]int{}
	for range 3 {
		n, err := tcptest.MakeNetNS(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		inodes[n.Inode()]++
		r.awaitPasses(t, 2)
		r.await(t, "a dump of the new namespace", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return walked[n.Inode()]
		})
		var cookies [2]uint64
		if err := n.Do(func() {
			l, at := listenOn(t, &loopback4, unix.AF_INET, nil)
			client, server := connectTo(t, l, at, unix.AF_INET, nil)
			cookies = [2]uint64{client.cookie(t), server.cookie(t)}
			client.close()
			server.close()
			l.close()
		}); err != nil {
			t.Fatal(err)
		}
		r.await(t, "the closes", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return ended[cookies[0]] != 0 && ended[cookies[1]] != 0
		})
		mu.Lock()
		for _, c := range cookies {
			if ended[c] != n.Inode() {
				t.Errorf("socket of namespace %d ended in %d", n.Inode(), ended[c])
			}
		}
		mu.Unlock()
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	r.stop(t)
	t.Log(inodes)
}

// TestNotConnections makes sure that sockets which never were in a connection
// are no closes, and that refused connections are.
func TestNotConnections(t *testing.T) {
	n := tcptest.NewNetNS(t)
	c := collect{netns: n.Inode()}
	r := run(t, newSource(t, nil, n), c.take)
	var cookies []uint64
	if err := n.Do(func() { cookies = notConnections(t) }); err != nil {
		t.Fatal(err)
	}
	r.await(t, "two closes", func() bool { return r.heard.Load() >= 2 })
	r.awaitPasses(t, 1)
	r.stop(t)
	var got []uint64
	for i := range c.closed {
		o := &c.closed[i]
		got = append(got, o.Cookie)
		if o.WasListening || o.Metrics.BytesReceived != 0 || !o.Remote.IsLoopback() {
			t.Errorf("refused connection closed as %+v", o)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, cookies) {
		t.Errorf("closes of %d, want %d", got, cookies)
	}
}
