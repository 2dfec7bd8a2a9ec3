package sockdiag

import (
	"context"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
)

// within runs fn in a new namespace, on this goroutine.
func within(t *testing.T, fn func(ns netns.Namespace)) {
	t.Helper()
	n := tcptest.NewNetNS(t)
	if err := n.Do(func() { fn(namespace(t, n)) }); err != nil {
		t.Fatal(err)
	}
}

// observed finds a socket by its cookie, nil if it is not there.
func observed(t *testing.T, ns netns.Namespace, cookie uint64) *tcp.Observation {
	t.Helper()
	s, err := New(Config{Namespaces: []netns.Namespace{ns}})
	if err != nil {
		t.Fatal(err)
	}
	all, _ := once(t, s)
	for i := range all {
		if all[i].Cookie == cookie {
			return &all[i]
		}
	}
	return nil
}

// TestDestroy closes one of two connections.
func TestDestroy(t *testing.T) {
	within(t, func(ns netns.Namespace) {
		l, at := listenOn(t, &loopback4, unix.AF_INET, nil)
		client, server := connectTo(t, l, at, unix.AF_INET, nil)
		other, otherServer := connectTo(t, l, at, unix.AF_INET, nil)
		o := observed(t, ns, client.cookie(t))
		// Someone else's cookie on the same ends: what a reused tuple looks like.
		if err := Destroy(ns, o.Key, o.Cookie+1<<40); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("wrong cookie: %v", err)
		}
		if err := Destroy(ns, o.Key, 0); err == nil {
			t.Error("closed without a cookie")
		}
		var b [8]byte
		if _, err := unix.Write(client.fd, []byte("x")); err != nil {
			t.Errorf("the connection did not survive another's cookie: %v", err)
		}
		if n, err := unix.Read(server.fd, b[:]); n != 1 || err != nil {
			t.Errorf("the connection did not survive another's cookie: read %d, %v", n, err)
		}
		if err := Destroy(ns, o.Key, o.Cookie); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Read(client.fd, b[:]); !errors.Is(err, unix.ECONNABORTED) {
			t.Errorf("read of the closed end: %v", err)
		}
		if _, err := unix.Read(server.fd, b[:]); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("read of its peer: %v", err)
		}
		if err := Destroy(ns, o.Key, o.Cookie); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("closed twice: %v", err)
		}
		if _, err := unix.Write(other.fd, []byte("hello")); err != nil {
			t.Errorf("the other connection: %v", err)
		}
		if n, err := unix.Read(otherServer.fd, b[:]); n != 5 || err != nil {
			t.Errorf("the other connection: read %d, %v", n, err)
		}
	})
}

// TestDestroyKinds closes sockets that are found in different ways.
func TestDestroyKinds(t *testing.T) {
	toLo := func(fd int) error { return unix.BindToDevice(fd, "lo") }
	reuse := func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }
	closed := func(t *testing.T, ns netns.Namespace, cookie uint64) {
		t.Helper()
		o := observed(t, ns, cookie)
		if o == nil {
			t.Fatalf("socket %d is not there", cookie)
		}
		if err := Destroy(ns, o.Key, cookie); err != nil {
			t.Errorf("%v: %v", o.State, err)
		}
		if o := observed(t, ns, cookie); o != nil {
			t.Errorf("still there: %+v", o)
		}
	}
	t.Run("mapped", func(t *testing.T) {
		within(t, func(ns netns.Namespace) {
			l, at := listenOn(t, &unix.SockaddrInet6{}, unix.AF_INET6, nil)
			mapped := &unix.SockaddrInet6{Addr: tcp.AddrFrom4([4]byte{127, 0, 0, 1}), Port: at.(*unix.SockaddrInet6).Port}
			client, _ := connectTo(t, l, mapped, unix.AF_INET6, nil)
			closed(t, ns, client.cookie(t))
			_, server := connectTo(t, l, mapped, unix.AF_INET6, nil)
			closed(t, ns, server.cookie(t))
			closed(t, ns, l.cookie(t))
		})
	})
	t.Run("IPv6", func(t *testing.T) {
		within(t, func(ns netns.Namespace) {
			l, at := listenOn(t, &unix.SockaddrInet6{Addr: [16]byte{15: 1}}, unix.AF_INET6, nil)
			client, _ := connectTo(t, l, at, unix.AF_INET6, nil)
			closed(t, ns, client.cookie(t))
			closed(t, ns, l.cookie(t))
		})
	})
	t.Run("bound to an interface", func(t *testing.T) {
		within(t, func(ns netns.Namespace) {
			l, at := listenOn(t, &loopback4, unix.AF_INET, toLo)
			client, _ := connectTo(t, l, at, unix.AF_INET, toLo)
			closed(t, ns, client.cookie(t))
			closed(t, ns, l.cookie(t))
		})
	})
	t.Run("listeners that share a port", func(t *testing.T) {
		within(t, func(ns netns.Namespace) {
			first, at := listenOn(t, &loopback4, unix.AF_INET, reuse)
			listeners := []*socket{first}
			for range 3 {
				l, _ := listenOn(t, at, unix.AF_INET, reuse)
				listeners = append(listeners, l)
			}
			for _, l := range listeners {
				closed(t, ns, l.cookie(t))
			}
		})
	})
	t.Run("remnants and requests", func(t *testing.T) {
		n := tcptest.NewNetNS(t)
		ns := namespace(t, n)
		tcptest.States(t, n)
		s := newSource(t, nil, n)
		all, _ := once(t, s)
		done := map[tcp.State]int{}
		for i := range all {
			if o := &all[i]; o.Mini && done[o.State] == 0 {
				done[o.State]++
				closed(t, ns, o.Cookie)
			}
		}
		if len(done) < 3 { // SYN_RECV, FIN_WAIT2, TIME_WAIT
			t.Errorf("closed %v", done)
		}
	})
}

// unprivilegedReport is what a user without rights gets.
type unprivilegedReport struct {
	Features          []tcp.Feature
	Sockets           int
	Pass              tcp.Pass
	Closes            int
	Destroy           string
	DestroyPermission bool
}

// unprivileged plays that user: it looks at its namespace, which holds one
// connection, and tries to close an end of it.
var unprivileged = tcptest.Role{Name: "sockdiag-unprivileged", Run: func(c *tcptest.Control) error {
	var key tcp.Observation
	if err := c.Recv(&key); err != nil {
		return err
	}
	s, err := New(DefaultConfig())
	if err != nil {
		return err
	}
	defer s.Close()
	r := unprivilegedReport{Features: s.Features()}
	self, err := netns.Self()
	if err != nil {
		return err
	}
	err = Destroy(self, key.Key, key.Cookie)
	r.Destroy, r.DestroyPermission = err.Error(), errors.Is(err, tcp.ErrPermission)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err = s.Run(ctx, func(b *tcp.Batch) error {
		for i := range b.Observations {
			if b.Observations[i].Kind == tcp.SeenClosed {
				r.Closes++
				cancel()
			} else {
				r.Sockets++
			}
		}
		if b.Pass.End {
			r.Pass = b.Pass
			return c.Send("walked")
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.Send(r)
}}

func TestUnprivileged(t *testing.T) {
	n := tcptest.NewNetNS(t)
	var client *socket
	var o *tcp.Observation
	if err := n.Do(func() {
		l, at := listenOn(t, &loopback4, unix.AF_INET, nil)
		client, _ = connectTo(t, l, at, unix.AF_INET, nil)
		o = observed(t, namespace(t, n), client.cookie(t))
	}); err != nil {
		t.Fatal(err)
	}
	child := tcptest.Start(t, unprivileged.Name, o, tcptest.InNetNS(n), tcptest.AsUser(65534))
	var walked string
	if err := child.Recv(&walked); err != nil {
		t.Fatal(err)
	}
	if err := Destroy(namespace(t, n), o.Key, o.Cookie); err != nil {
		t.Error(err)
	}
	client.close()
	var r unprivilegedReport
	if err := child.Recv(&r); err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", r)
	if r.Sockets != 3 || r.Closes == 0 || r.Pass.AllNamespaces || r.Pass.Incomplete != "" {
		t.Errorf("%d sockets, %d closes, pass %+v", r.Sockets, r.Closes, r.Pass)
	}
	if !r.DestroyPermission {
		t.Errorf("closing without rights: %s", r.Destroy)
	}
	want := map[string]bool{"netlink.dump": true, "netlink.tcp_info": true, "netlink.closes": true, "netlink.namespaces": false, "netlink.destroy": false}
	for _, f := range r.Features {
		if f.Available != want[f.Name] || (!f.Available && (f.Reason == "" || f.Remedy == "")) {
			t.Errorf("%+v", f)
		}
	}
}
