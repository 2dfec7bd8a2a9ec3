package sockdiag

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// newSource makes a source that looks at nothing but the given namespaces (nil
// is the own one), so that what else runs on the host does not matter.
func newSource(tb testing.TB, change func(*Config), namespaces ...*tcptest.NetNS) *Source {
	tb.Helper()
	cfg := DefaultConfig()
	for _, n := range namespaces {
		cfg.Namespaces = append(cfg.Namespaces, namespace(tb, n))
	}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
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

func namespace(tb testing.TB, n *tcptest.NetNS) netns.Namespace {
	tb.Helper()
	ns, err := netns.Self()
	if n != nil {
		ns, err = netns.Open(n.Path())
	}
	if err != nil {
		tb.Fatal(err)
	}
	return ns
}

// once returns all observations of one pass, and how it ended.
func once(tb testing.TB, s *Source) ([]tcp.Observation, tcp.Pass) {
	tb.Helper()
	var (
		all []tcp.Observation
		end tcp.Pass
	)
	err := s.Once(tb.Context(), func(b *tcp.Batch) error {
		if b.Pass.Kind != tcp.PassFull || end.End {
			tb.Errorf("batch of pass %+v after %+v", b.Pass, end)
		}
		all = append(all, b.Observations...)
		if b.Pass.End {
			end = b.Pass
			end.Namespaces = slices.Clone(end.Namespaces)
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	if !end.End {
		tb.Error("the pass did not end")
	}
	return all, end
}

// TestAgreesWithSS holds a dump of more than 500 real sockets, in five
// namespaces, all families and states, against ss.
func TestAgreesWithSS(t *testing.T) {
	scene := tcptest.NewScene(t, 500)
	s := newSource(t, nil, scene.Namespaces...)
	var obs []tcp.Observation
	rows := tcptest.AgreesWithSS(t, scene.Namespaces, tcptest.CompareOptions{}, func() ([]tcptest.Row, error) {
		var end tcp.Pass
		obs, end = once(t, s)
		if end.Incomplete != "" || len(end.Namespaces) != len(scene.Namespaces) {
			t.Errorf("pass ended with %+v", end)
		}
		rows := make([]tcptest.Row, len(obs))
		for i := range obs {
			rows[i] = tcptest.RowOfObservation(&obs[i])
		}
		return rows, nil
	})
	if len(rows) < 500 {
		t.Errorf("%d sockets, want 500", len(rows))
	}

	byCookie := make(map[uint64]*tcp.Observation, len(obs))
	states := map[tcp.State]int{}
	for i := range obs {
		byCookie[obs[i].Cookie] = &obs[i]
		states[obs[i].State]++
	}
	t.Log(states)
	known := 0
	for _, e := range scene.Ledger {
		o := byCookie[e.Cookie]
		if o == nil {
			t.Errorf("%+v is missing", e)
			continue
		}
		if o.Metrics.BytesSent != e.Sent || o.Metrics.BytesReceived != e.Received {
			t.Errorf("%+v: %d sent, %d received", e, o.Metrics.BytesSent, o.Metrics.BytesReceived)
		}
		want := tcp.Outbound
		if e.Side == "server" {
			want = tcp.Inbound
		}
		switch o.Direction {
		case want:
			known++
		case tcp.DirectionUnknown:
		default:
			t.Errorf("%+v: direction %v", e, o.Direction)
		}
	}
	if known < len(scene.Ledger)*9/10 {
		t.Errorf("direction known of %d connections of %d", known, len(scene.Ledger))
	}
	for _, want := range scene.Sockets {
		if want.Cookie == 0 {
			continue
		}
		if o := byCookie[want.Cookie]; o == nil || o.State.String() != want.State {
			t.Errorf("%+v: seen as %+v", want, o)
		}
	}
	for s := tcp.State(1); s < tcp.NumStates; s++ {
		if s != tcp.Closed && states[s] == 0 {
			t.Errorf("no socket in %v", s)
		}
	}
}

// TestOlderRequests makes sure that both requests show the same sockets.
func TestOlderRequests(t *testing.T) {
	n := tcptest.NewNetNS(t)
	tcptest.States(t, n)
	c, err := dial(namespace(t, n), unix.NETLINK_SOCK_DIAG, newReceiver(1, dumpBuffer))
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	list := func(typ uint16, request []byte) (l []string) {
		t.Helper()
		err := c.dumpOne(t.Context(), typ, request, func(m *diagMessage) error {
			var o tcp.Observation
			m.observe(&o, true)
			l = append(l, tcptest.RowOfObservation(&o).Key())
			return nil
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	var id sockID
	both := list(tcpDiagGetSock, appendBothRequest(nil, extInfo|extCong, allStates))
	each := list(sockDiagByFamily, appendRequest(nil, afInet, extInfo|extCong, allStates, &id))
	each = append(each, list(sockDiagByFamily, appendRequest(nil, afInet6, extInfo|extCong, allStates, &id))...)
	slices.Sort(both)
	slices.Sort(each)
	if len(both) == 0 || !slices.Equal(both, each) {
		t.Errorf("%d sockets by one request, %d by two: %v\n%v", len(both), len(each), both, each)
	}
	if err := c.dumpOne(t.Context(), 99, appendBothRequest(nil, 0, 0), nil, nil); !errors.Is(err, errRefused) {
		t.Errorf("unknown request: %v", err)
	}
}

// TestNamespaceGoes makes sure that a source keeps no namespace alive, says
// that what was in it is gone, and leaks no descriptor.
func TestNamespaceGoes(t *testing.T) {
	need.Root(t)
	before := descriptors(t)
	n, err := tcptest.MakeNetNS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	inode := n.Inode()
	s := newSource(t, func(c *Config) { c.DumpEvery = 20 * time.Millisecond })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var covered, uncovered int
	closed := false
	err = s.Run(ctx, func(b *tcp.Batch) error {
		switch {
		case !b.Pass.End:
		case slices.Contains(b.Pass.Namespaces, inode):
			covered++
			if covered == 3 {
				closed = true
				return n.Close()
			}
		case closed:
			uncovered++
			if uncovered == 3 {
				cancel()
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if covered < 3+goneFor-1 {
		t.Errorf("listed %d times", covered)
	}
	if list, _, err := netns.List(); err != nil || slices.ContainsFunc(list, func(ns netns.Namespace) bool { return ns.Inode == inode }) {
		t.Errorf("namespace %d is still there (%v)", inode, err)
	}
	// Others' namespaces come and go; our own id table shows only the living.
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors open, %d before", after, before)
	}
}

func descriptors(tb testing.TB) int {
	tb.Helper()
	l, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Fatal(err)
	}
	n := 0
	for _, e := range l {
		// The runtime's epoll descriptors come with first use and stay.
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil && to[0] != 'a' {
			n++
		}
	}
	return n
}

func TestSelfOnly(t *testing.T) {
	s := newSource(t, nil, nil)
	_, end := once(t, s)
	self := namespace(t, nil)
	if !slices.Equal(end.Namespaces, []uint32{self.Inode}) || end.AllNamespaces || end.Incomplete != "" {
		t.Errorf("pass ended with %+v", end)
	}
}

func TestGoneNamespace(t *testing.T) {
	need.Root(t)
	n, err := tcptest.MakeNetNS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := newSource(t, nil, n)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	obs, end := once(t, s)
	if len(obs) != 0 || len(end.Namespaces) != 0 || end.AllNamespaces || end.Incomplete != "" {
		t.Errorf("%d sockets, pass %+v", len(obs), end)
	}
}

func TestSinkError(t *testing.T) {
	s := newSource(t, nil, nil)
	stop := errors.New("stop")
	sink := func(*tcp.Batch) error { return stop }
	if err := s.Once(t.Context(), sink); !errors.Is(err, stop) {
		t.Errorf("Once: %v", err)
	}
	if err := s.Run(t.Context(), sink); !errors.Is(err, stop) {
		t.Errorf("Run: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx, sink); err != nil {
		t.Errorf("Run, cancelled: %v", err)
	}
}

func TestFeatures(t *testing.T) {
	need.Root(t)
	s := newSource(t, nil)
	for _, f := range s.Features() {
		t.Logf("%+v", f)
		if !f.Available {
			t.Errorf("%s: %s", f.Name, f.Reason)
		}
	}
}
