package capture_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
)

// linked are two namespaces with a virtual cable between them.
type linked struct {
	a, b         *tcptest.NetNS
	nameA, nameB string
}

func link(tb testing.TB) linked {
	tb.Helper()
	v := linked{a: tcptest.NewNetNS(tb), b: tcptest.NewNetNS(tb)}
	tcptest.VethPair(tb, v.a, v.b, netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("192.0.2.2/24"))
	v.nameA, v.nameB = fmt.Sprintf("to%d", v.b.Inode()), fmt.Sprintf("to%d", v.a.Inode())
	return v
}

func ip(tb testing.TB, ns *tcptest.NetNS, args ...string) {
	tb.Helper()
	if _, err := ns.Run(context.WithoutCancel(tb.Context()), "", append([]string{"ip"}, args...)...); err != nil {
		tb.Fatal(err)
	}
}

// onBoth counts the packets of the two interfaces of the captured namespace: what
// is sent over loopback is received there too, and captured once.
func onBoth(t *testing.T, v linked) uint64 {
	t.Helper()
	veth := counters(t, v.b, v.nameB)
	return counters(t, v.b, "lo").received + veth.received + veth.sent
}

// captureBoth captures a stream within the captured namespace, to a listener at addr,
// and one from the other, and checks that nothing was missed. The tuples are those of
// the two.
func captureBoth(t *testing.T, v linked, l *capture.Live, addr string) (c collected, own, other tcp.Tuple) {
	t.Helper()
	both := func() uint64 { return onBoth(t, v) }
	captured, before := balance(t, both, l)
	out := collect(l, nil)
	own = stream(t, v.b, v.b, addr, 1<<20)
	other = stream(t, v.a, v.b, "192.0.2.2:0", 1<<20)
	all, on := balance(t, both, l)
	c = finish(t, l, out)
	if all-captured != on-before {
		t.Errorf("%d captured or dropped, but the interfaces carried %d: %+v", all-captured, on-before, l.Stats())
	}
	return c, own, other
}

func TestLiveSeveralInterfaces(t *testing.T) {
	v := link(t)
	l := openLive(t, v.b, on("lo", v.nameB))
	if ifs := l.Interfaces(); len(ifs) != 2 || ifs[0].Name != "lo" || !ifs[0].Loopback || ifs[1].Name != v.nameB || ifs[1].Loopback || !ifs[1].Up {
		t.Errorf("interfaces %+v", ifs)
	}
	c, own, other := captureBoth(t, v, l, "127.0.0.1:0")
	var by [2]uint64
	for _, s := range c.segments {
		want := own
		if s.iface == 1 {
			want = other
		}
		if s.tuple != want && s.tuple != want.Reverse() {
			t.Errorf("interface %d: %+v", s.iface, s)
		}
		by[s.iface]++
	}
	if by[0] == 0 || by[1] == 0 {
		t.Errorf("%v segments by interface", by)
	}
}

func TestLiveAny(t *testing.T) {
	v := link(t)
	l := openLive(t, v.b, on(capture.AnyInterface))
	c, own, other := captureBoth(t, v, l, "[::1]:0")
	var syns int
	for _, s := range c.segments {
		if s.link != capture.LinkLinuxSLL2 {
			t.Fatalf("unexpected: %+v", s)
		}
		if s.tuple == own && s.flags&capture.SYN != 0 {
			syns++
		}
		if s.tuple == other && s.way != capture.WayIn || s.tuple == other.Reverse() && s.way != capture.WayOut {
			t.Errorf("the wrong way: %+v", s)
		}
	}
	if syns != 1 {
		t.Errorf("the SYN on lo is there %d times", syns)
	}
}

func TestLiveNoSuchInterface(t *testing.T) {
	v := link(t)
	cfg := capture.DefaultLiveConfig()
	cfg.Do = v.b.Do
	typo := v.nameB[:len(v.nameB)-1]
	cfg.Interfaces = []string{typo}
	_, err := capture.OpenLive(cfg)
	var no *capture.NoInterfaceError
	if !errors.As(err, &no) || no.Name != typo || no.Nearest != v.nameB || len(no.Have) != 2 {
		t.Errorf("%v, %+v", err, no)
	}
	cfg.Interfaces = []string{"a-name-that-is-too-long"}
	if _, err := capture.OpenLive(cfg); !errors.As(err, &no) {
		t.Error(err)
	}
	for name, bad := range map[string]func(*capture.LiveConfig){
		"twice":    on("lo", "lo"),
		"any more": on("any", "lo"),
		"block":    func(c *capture.LiveConfig) { c.BlockBytes = 5000 },
		"ring":     func(c *capture.LiveConfig) { c.RingBytes = 4096 },
		"timeout":  func(c *capture.LiveConfig) { c.BlockTimeout = time.Hour },
		"fd":       func(c *capture.LiveConfig) { c.FilterFD = -1 },
	} {
		cfg := capture.DefaultLiveConfig()
		cfg.Do = v.b.Do
		bad(&cfg)
		if l, err := capture.OpenLive(cfg); err == nil {
			t.Errorf("%s: no error", name)
			_ = l.Close()
		}
	}
}

func TestLiveDownUpGone(t *testing.T) {
	v := link(t)
	l := openLive(t, v.b, on(v.nameB))
	out := collect(l, nil)
	stream(t, v.a, v.b, "192.0.2.2:0", 1000)
	ip(t, v.b, "link", "set", v.nameB, "down")
	time.Sleep(50 * time.Millisecond)
	ip(t, v.b, "link", "set", v.nameB, "up")
	again := stream(t, v.a, v.b, "192.0.2.2:0", 1000)
	ip(t, v.b, "link", "del", v.nameB)
	select {
	case c := <-out:
		var gone *capture.InterfaceGoneError
		if !errors.As(c.err, &gone) || gone.Name != v.nameB {
			t.Errorf("%v", c.err)
		}
		found := false
		for _, s := range c.segments {
			found = found || s.tuple == again
		}
		if !found {
			t.Error("nothing was captured after the interface was up again")
		}
	case <-time.After(10 * time.Second):
		l.Stop()
		<-out
		t.Fatal("nothing told that the interface is gone")
	}
	if st := l.Stats(); st.Downs < 1 {
		t.Errorf("%+v", st)
	}
}
