//go:build 386 || amd64 || arm64

package bpf

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/host"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// listening starts a server and says where.
func listening(t *testing.T, role string, config any, opts ...tcptest.Option) (*tcptest.Child, tcptest.Listening) {
	t.Helper()
	c := tcptest.Start(t, role, config, opts...)
	var at tcptest.Listening
	if err := c.Recv(&at); err != nil {
		t.Fatal(err)
	}
	return c, at
}

// TestTwoClients: connections of two processes to one server are told apart.
func TestTwoClients(t *testing.T) {
	s := newSource(t, nil)
	w := startWatch(t, s)
	_, at := listening(t, "server", tcptest.ServerConfig{})
	for i := range 2 {
		name := fmt.Sprintf("client %d", i)
		client := tcptest.Start(t, "client", tcptest.ClientConfig{To: at.Addr, Count: 20, Send: 1, Name: name})
		var ledger tcptest.Ledger
		if err := client.Recv(&ledger); err != nil {
			t.Fatal(err)
		}
		if err := client.Call(tcptest.Op{Op: "close"}, nil); err != nil {
			t.Fatal(err)
		}
		for _, e := range ledger {
			o := w.final(t, e.Cookie)
			if int(o.Owner.PID) != client.PID || o.Owner.Comm.String() != name || o.Attribution != tcp.AttributionExact {
				t.Errorf("%s, pid %d (%s); want %s, %d", o.Owner.Comm, o.Owner.PID, o.Attribution, name, client.PID)
			}
		}
	}
}

// TestPrefork: the worker that accepted is named, not the process that listens.
func TestPrefork(t *testing.T) {
	s := newSource(t, func(c *Config) { c.DeltaEvery = 100 * time.Millisecond })
	w := startWatch(t, s)
	server, at := listening(t, "prefork", tcptest.PreforkConfig{Workers: 4})
	const n = 100
	client := tcptest.Start(t, "client", tcptest.ClientConfig{To: at.Addr, Count: n, Send: 50})
	workers := map[int]bool{}
	for range n {
		var e tcptest.End
		if err := server.Recv(&e); err != nil {
			t.Fatal(err)
		}
		workers[e.PID] = true
		o := w.seen(t, e.Cookie, "the worker's bytes", func(o *tcp.Observation) bool {
			return o.Kind == tcp.Seen && o.Metrics.BytesSent == 50
		})
		if int(o.Owner.PID) != e.PID || o.Attribution != tcp.AttributionExact {
			t.Errorf("pid %d (%s), want %d of %v", o.Owner.PID, o.Attribution, e.PID, at.Workers)
		}
		opened := w.opening(t, e.Cookie)
		if len(opened) != 1 || int(opened[0].Owner.PID) != server.PID || opened[0].Attribution != tcp.AttributionInherited {
			t.Errorf("opened %+v, want inherited from %d", opened, server.PID)
		}
	}
	if err := client.Call(tcptest.Op{Op: "close"}, nil); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d workers", len(workers))
}

// TestOlderListener: connections to a listener that is older than the source
// belong to its process, MPTCP's included, whose LISTEN socket no file leads to.
func TestOlderListener(t *testing.T) {
	for _, plain := range []bool{true, false} {
		t.Run(fmt.Sprint("plain ", plain), func(t *testing.T) {
			server, at := listening(t, "server", tcptest.ServerConfig{Plain: plain})
			need.That(t, plain || usesMPTCP(t, at), "a kernel with MPTCP")
			s := newSource(t, nil)
			w := startWatch(t, s)
			listeners := 0
			for _, o := range w.all() {
				if o.State != tcp.Listen || o.LocalPort != at.Addr.Port() {
					continue
				}
				listeners++
				if int(o.Owner.PID) != server.PID || o.Attribution != tcp.AttributionScan {
					t.Errorf("listener: pid %d (%s), want %d", o.Owner.PID, o.Attribution, server.PID)
				}
				checkProcess(t, &o, server.PID)
			}
			if listeners != 1 {
				t.Fatalf("%d listeners", listeners)
			}
			const n = 50
			client := tcptest.Start(t, "client", tcptest.ClientConfig{To: at.Addr, Count: n, Send: 1})
			if err := client.Recv(nil); err != nil {
				t.Fatal(err)
			}
			var ledger tcptest.Ledger
			if err := server.Call(tcptest.Op{Op: "ledger"}, &ledger); err != nil {
				t.Fatal(err)
			}
			if err := client.Call(tcptest.Op{Op: "close"}, nil); err != nil {
				t.Fatal(err)
			}
			if len(ledger) < n {
				t.Fatalf("%d accepted", len(ledger))
			}
			// Without the one that asked for MPTCP.
			for _, e := range ledger[len(ledger)-n:] {
				o := w.final(t, e.Cookie)
				opened := w.pick(e.Cookie, tcp.SeenOpened)
				if len(opened) != 1 || int(opened[0].Owner.PID) != server.PID || opened[0].Attribution != tcp.AttributionInherited {
					t.Errorf("opened: %+v", opened)
				}
				if int(o.Owner.PID) != server.PID || o.Attribution != tcp.AttributionExact {
					t.Errorf("closed: pid %d (%s), want %d", o.Owner.PID, o.Attribution, server.PID)
				}
			}
		})
	}
}

// usesMPTCP asks the server's kernel for an MPTCP connection.
func usesMPTCP(t *testing.T, at tcptest.Listening) bool {
	t.Helper()
	var d net.Dialer
	d.SetMultipathTCP(true)
	c, err := d.DialContext(t.Context(), "tcp", at.Addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	multi, err := c.(*net.TCPConn).MultipathTCP()
	return err == nil && multi
}

// TestMPTCP: a connection that really is MPTCP has subflows without a file,
// which belong to the process all the same.
func TestMPTCP(t *testing.T) {
	server, at := listening(t, "server", tcptest.ServerConfig{})
	need.That(t, usesMPTCP(t, at), "a kernel with MPTCP")
	s := newSource(t, nil)
	var d net.Dialer
	d.SetMultipathTCP(true)
	c, err := d.DialContext(t.Context(), "tcp", at.Addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	client := c.LocalAddr().(*net.TCPAddr)
	found := map[int32]int{}
	err = s.Once(t.Context(), func(b *tcp.Batch) error {
		for _, o := range b.Observations {
			if o.State == tcp.Established && (int(o.LocalPort) == client.Port || int(o.RemotePort) == client.Port) {
				found[o.Owner.PID]++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 2 || found[int32(os.Getpid())] != 1 || found[int32(server.PID)] != 1 {
		t.Errorf("owners %v, want %d and %d once each", found, os.Getpid(), server.PID)
	}
}

// TestPIDReuse: a number that came back is another process.
func TestPIDReuse(t *testing.T) {
	s := newSource(t, nil)
	p := tcptest.StartPIDReuse(t, tcptest.PIDReuseConfig{})
	w := startWatch(t, s)
	n := 1000
	if testing.Short() {
		n = 200
	}
	ended, err := p.Children(n)
	if err != nil {
		t.Fatal(err)
	}
	wrong := 0
	for _, e := range ended {
		o := w.final(t, e.Cookie)
		want := tcp.Owner{
			PID: int32(e.HostPID), Start: e.Start * tcp.StartGranularity,
			Comm: tcp.MakeComm(e.Name), CgroupID: o.Owner.CgroupID,
		}
		if o.Owner != want || o.Metrics.BytesSent != e.Sent {
			if wrong++; wrong < 10 {
				t.Errorf("%+v, want %+v", o.Owner, want)
			}
		}
	}
	t.Logf("%d of %d wrong", wrong, len(ended))
}

// observerConfig is for the role "bpf observer": a source in a pid namespace.
type observerConfig struct{ Cookies []uint64 }

// observed is what it says of each socket.
type observed struct {
	Self    uint32
	Initial bool
	Owners  map[uint64]observedOwner
}

type observedOwner struct {
	PID         int32
	Start       uint64
	Comm        string
	Attribution tcp.Attribution
}

// observerRole opens connections of its own, waits for those of others, and
// then says who owns them. It sends its own pid first.
func observerRole(c *tcptest.Control) error {
	var cfg observerConfig
	if err := c.Recv(&cfg); err != nil {
		return err
	}
	s, err := New(DefaultConfig())
	if err != nil {
		return err
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	full := make(chan struct{})
	owners := map[uint64]observedOwner{}
	done := make(chan error, 1)
	once := false
	go func() {
		done <- s.Run(ctx, func(b *tcp.Batch) error {
			for _, o := range b.Observations {
				owners[o.Cookie] = observedOwner{o.Owner.PID, o.Owner.Start, o.Owner.Comm.String(), o.Attribution}
			}
			if b.Pass.End && !once {
				once = true
				close(full)
			}
			return nil
		})
	}()
	<-full
	if err := c.Send(os.Getpid()); err != nil {
		return err
	}
	// The parent opens its connections and lets them end.
	if err := c.Recv(&cfg); err != nil {
		return err
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer ln.Close()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", ln.Addr().String())
	if err != nil {
		return err
	}
	mine, err := connCookie(conn)
	if err != nil {
		return err
	}
	conn.Close()
	time.Sleep(300 * time.Millisecond)
	cancel()
	if err := <-done; err != nil {
		return err
	}
	out := observed{Owners: map[uint64]observedOwner{0: owners[mine]}}
	if out.Self, out.Initial, err = host.PIDNamespace(); err != nil {
		return err
	}
	for _, cookie := range cfg.Cookies {
		o, ok := owners[cookie]
		if !ok {
			return errors.New("a socket of the parent was not reported")
		}
		out.Owners[cookie] = o
	}
	return c.Send(out)
}

// TestPIDNamespace: inside a pid namespace processes have that namespace's
// numbers, and those outside a name but no number.
func TestPIDNamespace(t *testing.T) {
	need.Root(t)
	_, at := listening(t, "server", tcptest.ServerConfig{})
	older := tcptest.Start(t, "client", tcptest.ClientConfig{To: at.Addr, Count: 1, Send: 1, Name: "older"})
	var ledger tcptest.Ledger
	if err := older.Recv(&ledger); err != nil {
		t.Fatal(err)
	}
	observer := tcptest.Start(t, "bpf observer", observerConfig{}, tcptest.InNewPIDNS())
	var inside int
	if err := observer.Recv(&inside); err != nil {
		t.Fatal(err)
	}
	newer := tcptest.Start(t, "client", tcptest.ClientConfig{To: at.Addr, Count: 1, Send: 1, Name: "newer"})
	var more tcptest.Ledger
	if err := newer.Recv(&more); err != nil {
		t.Fatal(err)
	}
	before, after := ledger[0].Cookie, more[0].Cookie
	var got observed
	if err := observer.Call(observerConfig{Cookies: []uint64{before, after}}, &got); err != nil {
		t.Fatal(err)
	}
	if got.Initial {
		t.Fatal("the observer is in the first pid namespace")
	}
	if o := got.Owners[0]; inside != 1 || o.PID != 1 || o.Start == 0 || o.Attribution != tcp.AttributionExact {
		t.Errorf("its own connection: %+v, want pid %d", o, inside)
	}
	if o := got.Owners[after]; o != (observedOwner{Comm: "newer"}) {
		t.Errorf("a connection from outside: %+v", o)
	}
	if o := got.Owners[before]; o.PID != 0 || o.Start != 0 || o.Attribution != tcp.AttributionUnknown {
		t.Errorf("an older connection from outside: %+v", o)
	}
}
