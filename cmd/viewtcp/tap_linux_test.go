package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/store/parquet"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// fixedView shows one snapshot.
type fixedView struct{ s *tcp.Snapshot }

func (v *fixedView) Snapshot() *tcp.Snapshot        { return v.s }
func (v *fixedView) Subscribe(int) tcp.Subscription { return nil }

// TestTap: connections that pass by on an interface become rows with exact bytes,
// carry it as observer, and stand beside the host's own.
func TestTap(t *testing.T) {
	need.Root(t)
	a, b := tcptest.NewNetNS(t), tcptest.NewNetNS(t)
	tcptest.VethPair(t, a, b, netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("192.0.2.2/24"))
	var name string
	if err := b.Do(func() {
		list, err := net.Interfaces()
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range list {
			if i.Flags&net.FlagLoopback == 0 {
				name = i.Name
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	cfg := parquet.DefaultConfig()
	cfg.Dir = filepath.Join(t.TempDir(), storeDir)
	engine, err := parquet.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	tp, err := newTap(tapConfig{iface: name, localNets: []string{"192.0.2.2/32"}}, engine, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	tp.do = func(fn func()) error { return b.Do(fn) }
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { tp.run(ctx) })
	defer func() { stop(); running.Wait() }()

	// The server is in b, which the tap watches from its side of the pair.
	ln := listenIn(t, b, "192.0.2.2:0")
	var served sync.WaitGroup
	defer served.Wait()
	defer ln.Close()
	served.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				defer c.Close()
				_, _ = io.Copy(io.Discard, c)
				_, _ = c.Write(make([]byte, 5000))
			})
		}
	})
	// The capture begins when it does: knock until something is seen.
	var knocks int
	eventually(func() bool {
		speak(t, a, ln.Addr(), 10)
		knocks++
		tp.mu.Lock()
		defer tp.mu.Unlock()
		return tp.counts.segments > 0
	})
	const conns, sent = 8, 3000
	var ports []uint16
	for range conns {
		ports = append(ports, speak(t, a, ln.Addr(), sent))
	}
	long := dialIn(t, a, ln.Addr())
	defer long.Close()

	rows := func() map[uint16]store.Record {
		all := make(map[uint16]store.Record)
		_, err := engine.Records(t.Context(), &store.Query{}, func(r *store.Record) error {
			own := *r
			all[r.Conn.RemotePort] = own
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		return all
	}
	if !soon(func() bool {
		all := rows()
		for _, p := range ports {
			if all[p].Kind != store.Close {
				return false
			}
		}
		return true
	}) {
		t.Fatalf("%d rows after waiting; %+v", len(rows()), tp.counts)
	}
	all := rows()
	tp.mu.Lock()
	lost := tp.counts.lost
	tp.mu.Unlock()
	for _, p := range ports {
		if lost > 0 {
			break // a machine that stood still: the gap says so, see below
		}
		c := all[p].Conn
		if c.Names == nil || c.Names.Observer != name || c.Source != tcp.SourceCapture || c.Direction != tcp.Inbound || c.Process != nil {
			t.Errorf("port %d: %+v, names %+v", p, c, c.Names)
			continue
		}
		if c.Metrics.BytesReceived != sent || c.Metrics.BytesSent != 5000 || !c.Complete || c.Reason != tcp.CloseFIN {
			t.Errorf("port %d: %d bytes received and %d sent, complete %v, %v", p, c.Metrics.BytesReceived, c.Metrics.BytesSent, c.Complete, c.Reason)
		}
		if c.Local.String() != "192.0.2.2" {
			t.Errorf("port %d: the local end is %v", p, c.Local)
		}
	}
	own := &tcp.Snapshot{Seq: 5, Conns: []*tcp.Conn{{State: tcp.Established}}}
	own.Stats.Open = 1
	view := &fixedView{own}
	both := &tappedView{View: view, taps: []*tap{tp}}
	port := netip.MustParseAddrPort(long.LocalAddr().String()).Port()
	if !soon(func() bool {
		view.s = &tcp.Snapshot{Seq: view.s.Seq + 1, Conns: own.Conns, Stats: own.Stats}
		for _, c := range both.Snapshot().Conns[1:] {
			if c.RemotePort == port && c.Names.Observer == name && c.State == tcp.Established {
				return true
			}
		}
		return false
	}) {
		t.Errorf("the connection that is open is not shown among %d", len(both.Snapshot().Conns))
	}
	if s := both.Snapshot(); s.Stats.Open != 1 || s != both.Snapshot() || len(view.s.Conns) != 1 {
		t.Errorf("the host's totals are %+v", s.Stats)
	}

	// What is open at the end gets its row, not complete.
	stop()
	running.Wait()
	last, ok := rows()[port]
	if !ok || last.Kind != store.Close || last.Conn.Complete {
		t.Errorf("the connection that was open at the end: %v, %+v", ok, last)
	}
	var events []string
	_, err = engine.Events(t.Context(), time.Time{}, time.Time{}, nil, func(e *store.Event) error {
		events = append(events, e.Type+" "+e.Where)
		return nil
	})
	if n := tp.counts.lost; err != nil || (len(events) > 0) != (n > 0) {
		t.Errorf("events of a tap that lost %d packets: %q, %v", n, events, err)
	}
	for _, ts := range engine.Status().Tables {
		if ts.Table == store.Peaks && ts.Rows > 0 {
			t.Errorf("a tap made %d rows of the host's peaks", ts.Rows)
		}
	}
	if n := tp.counts; n.frames != n.segments+n.others || n.opened != n.ended {
		t.Errorf("%+v after %d knocks", n, knocks)
	}
}

// listenIn listens inside a namespace.
func listenIn(tb testing.TB, ns *tcptest.NetNS, addr string) net.Listener {
	tb.Helper()
	var ln net.Listener
	var err error
	if derr := ns.Do(func() { ln, err = (&net.ListenConfig{}).Listen(tb.Context(), "tcp", addr) }); derr != nil {
		tb.Fatal(derr)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return ln
}

// dialIn connects from inside a namespace.
func dialIn(tb testing.TB, ns *tcptest.NetNS, to net.Addr) *net.TCPConn {
	tb.Helper()
	var c net.Conn
	var err error
	// One address, so that the dialer starts no goroutine outside.
	if derr := ns.Do(func() {
		c, err = (&net.Dialer{FallbackDelay: -1}).DialContext(context.Background(), "tcp4", to.String())
	}); derr != nil {
		tb.Fatal(derr)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// speak sends n bytes, reads the answer to its end, and returns its port.
func speak(tb testing.TB, ns *tcptest.NetNS, to net.Addr, n int) uint16 {
	tb.Helper()
	c := dialIn(tb, ns, to)
	defer c.Close()
	_, err := c.Write(make([]byte, n))
	if err == nil {
		err = c.CloseWrite()
	}
	if err == nil {
		_, err = io.Copy(io.Discard, c)
	}
	if err != nil {
		tb.Fatal(fmt.Errorf("talking: %w", err))
	}
	return uint16(c.LocalAddr().(*net.TCPAddr).Port)
}

// TestTapConfig refuses what could not be told apart.
func TestTapConfig(t *testing.T) {
	for text, want := range map[string]string{
		"tap: span0\n":                                    "serve.yaml:1: tap: it wants a list",
		"tap:\n- any\n":                                   "serve.yaml:2: tap: a tap is one interface",
		"tap:\n- x\n- x\n":                                "serve.yaml:3: tap: the tap x is there twice",
		"tap:\n- interface: x\n  local_net: y\n":          "local-net y: it is a network",
		"tap:\n- local_net: 192.0.2.0/24\n":               "a tap wants the name",
		"tap:\n- interface: x\n  localnet: a\n":           `serve.yaml:3: tap: unknown key "localnet"`,
		"tap:\n- interface: [x]\n":                        "interface wants a plain value",
		"tap:\n- [x]\n":                                   "each entry wants",
		"tail:\n- file: /x\n":                             "serve.yaml:2: tail: rule for tailing of \"/x\": there is no pattern",
		"tail:\n- file: /x\n  pattern: '('\n":             "missing closing",
		"tail:\n- file: /x\n  patern: x\n":                `serve.yaml:3: tail: unknown key "patern": did you mean "pattern"?`,
		"tail:\n- journal: nginx\n  pattern: x\n":         "serve.yaml:2: tail: the journal keeps its entries",
		"tail: x\n":                                       "it wants a list of files",
		"tail:\n- x\n":                                    "wants the keys file and pattern",
		"tail:\n- file: [x]\n":                            "file wants one value",
		"tail:\n- file: /x\n  pattern: x\n  rate: many\n": "rate many",
	} {
		c := defaultServeConfig()
		err := c.parse("serve.yaml", []byte(text), serveSections())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	c := defaultServeConfig()
	text := "tap:\n- span0\n- interface: span1\n  local_net: [192.0.2.0/24, 2001:db8::/32]\ntail:\n- {file: /x, pattern: 'a(?P<b>c)', text: '${b}', from: y, rate: 5}\n"
	if err := c.parse("serve.yaml", []byte(text), serveSections()); err != nil {
		t.Fatal(err)
	}
	taps, err := (&serveFlags{taps: []string{"span2"}, localNets: []string{"10.0.0.0/8"}}).tapsWith(&c)
	if err != nil || len(taps) != 3 || taps[1].localNets[1] != "2001:db8::/32" || taps[2].localNets[0] != "10.0.0.0/8" {
		t.Errorf("%+v, %v", taps, err)
	}
	rules, err := tailRules("serve.yaml", c.others["tail"])
	if err != nil || len(rules) != 1 || rules[0].Rate != 5 || rules[0].Text != "${b}" || rules[0].From != "y" {
		t.Errorf("%+v, %v", rules, err)
	}
	for _, f := range []serveFlags{{taps: []string{"span1"}}, {taps: []string{""}}, {taps: []string{"a"}, localNets: []string{"x"}}} {
		if _, err := f.tapsWith(&c); err == nil {
			t.Errorf("%+v was taken", f)
		}
	}
	empty := defaultServeConfig()
	if _, err := (&serveFlags{localNets: []string{"10.0.0.0/8"}}).tapsWith(&empty); err == nil {
		t.Error("--local-net without --tap was taken")
	}
}

// soon reports whether something becomes so.
func soon(ok func() bool) bool {
	eventually(ok)
	return ok()
}
