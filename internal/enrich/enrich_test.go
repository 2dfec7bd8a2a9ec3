package enrich

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

func addr(s string) tcp.Addr { return tcp.AddrFrom(netip.MustParseAddr(s)) }

func TestService(t *testing.T) {
	const id = "3f9c1e5a7b2d"
	e := New(Config{})
	for _, tt := range []struct {
		name      string
		direction tcp.Direction
		port      uint16
		process   *tcp.Process
		want      string
	}{
		{"outbound", tcp.Outbound, 443, &tcp.Process{Name: "curl", Unit: "x.service"}, "https"},
		{"outbound without a name", tcp.Outbound, 6443, &tcp.Process{Name: "curl"}, ""},
		{"unit first", tcp.Listening, 0, &tcp.Process{Name: "nginx", Unit: "nginx.service", Container: "c"}, "nginx.service"},
		{"then container", tcp.Inbound, 50000, &tcp.Process{Name: "nginx", Container: id}, id},
		{"then process", tcp.Inbound, 50000, &tcp.Process{Name: "nginx"}, "nginx"},
		{"scope of a container", tcp.Inbound, 1, &tcp.Process{Name: "nginx", Unit: "docker-" + id + "ffff.scope", Container: id}, id},
		{"runtime of a container", tcp.Inbound, 1, &tcp.Process{Name: "nginx", Unit: "containerd.service", Container: id}, id},
		{"runtime itself", tcp.Inbound, 1, &tcp.Process{Name: "containerd", Unit: "containerd.service"}, "containerd.service"},
		{"container of a unit", tcp.Inbound, 1, &tcp.Process{Name: "nginx", Unit: "web.service", Container: id}, "web.service"},
		{"session", tcp.Listening, 0, &tcp.Process{Name: "python3", Unit: "session-3.scope"}, "python3"},
		{"manager of a user", tcp.Listening, 0, &tcp.Process{Name: "systemd", Unit: "user@1000.service"}, "systemd"},
		{"nobody known", tcp.Listening, 0, nil, ""},
		{"unknown direction", tcp.DirectionUnknown, 443, &tcp.Process{Name: "x"}, ""},
		{"transit", tcp.Transit, 443, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &tcp.Conn{Direction: tt.direction, Process: tt.process}
			c.RemotePort = tt.port
			if got := e.Service(c); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestWellKnown(t *testing.T) {
	if len(wellKnown) < 150 {
		t.Errorf("only %d names", len(wellKnown))
	}
	s := ReadServices("")
	for port, want := range map[uint16]string{22: "ssh", 443: "https", 5432: "postgresql", 6000: "x11", 6063: "x11", 6064: "", 3000: ""} {
		if got := s.Name(port); got != want {
			t.Errorf("port %d: %q, want %q", port, got, want)
		}
	}
}

func TestServicesFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "services")
	text := "# names\nhttps\t4443/tcp\nweb 443/tcp www # ours\nlate 443/tcp\nudp-only 444/udp\nbad\nbad x/tcp\nbad 0/tcp\nbad 65536/tcp\n" +
		strings.Repeat("n", maxServiceName+1) + " 445/tcp\nlast 65535/tcp"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := ReadServices(path)
	for port, want := range map[uint16]string{4443: "https", 443: "web", 444: "snpp", 445: "microsoft-ds", 65535: "last", 22: "ssh", 0: ""} {
		if got := s.Name(port); got != want {
			t.Errorf("port %d: %q, want %q", port, got, want)
		}
	}
	if got := ReadServices(path + ".none").Name(22); got != "ssh" {
		t.Errorf("without the file: %q", got)
	}
}

func FuzzServices(f *testing.F) {
	f.Add("a 1/tcp b # c\nd 2/udp\n")
	f.Fuzz(func(t *testing.T, text string) {
		s := make(Services)
		s.parse(text)
		for port, name := range s {
			if port == 0 || name == "" || len(name) > maxServiceName || strings.ContainsAny(name, " \t\n#") {
				t.Errorf("port %d: %q", port, name)
			}
		}
	})
}

func TestNamesAreShared(t *testing.T) {
	e := New(Config{Host: "alpha"})
	conn := func(port uint16) *tcp.Conn {
		c := &tcp.Conn{Direction: tcp.Outbound, State: tcp.Established}
		c.Remote, c.RemotePort = addr("192.0.2.1"), port
		return c
	}
	a, b, c := conn(443), conn(443), conn(22)
	na, nb, nc := e.Names(a), e.Names(b), e.Names(c)
	if na != nb {
		t.Error("equal names are two values")
	}
	if na == nc || na.Service != "https" || nc.Service != "ssh" || na.Host != "alpha" {
		t.Errorf("got %+v and %+v", na, nc)
	}
	a.Names = na
	if e.Names(a) != na {
		t.Error("current names were replaced")
	}
	if n := testing.AllocsPerRun(100, func() { e.Names(a) }); n != 0 {
		t.Errorf("%v allocations for names that are current", n)
	}
	// What others found stays.
	a.Names = &tcp.Names{SNI: "example.net", RemoteName: "r", Service: "old"}
	n := e.Names(a)
	if n.SNI != "example.net" || n.RemoteName != "r" || n.Service != "https" || a.Names.Service != "old" {
		t.Errorf("got %+v", n)
	}
}

func TestNamesAreBounded(t *testing.T) {
	e := New(Config{MaxNames: 10})
	for i := range 100 {
		c := &tcp.Conn{Direction: tcp.Inbound, Process: &tcp.Process{Name: fmt.Sprint("p", i)}}
		if n := e.Names(c); n.Service != c.Process.Name {
			t.Fatalf("got %+v", n)
		}
	}
	if len(e.names) > 10 {
		t.Errorf("%d names are kept", len(e.names))
	}
}

type resolverFunc func(ctx context.Context, addr string) ([]string, error)

func (f resolverFunc) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	return f(ctx, addr)
}

func TestNamesResolve(t *testing.T) {
	r := NewReverseDNS(ReverseConfig{Resolver: resolverFunc(func(_ context.Context, a string) ([]string, error) {
		if a == "192.0.2.1" {
			return []string{"one.example.net."}, nil
		}
		return nil, errors.New("no such name")
	})})
	defer r.Close()
	e := New(Config{ReverseDNS: r})
	c := &tcp.Conn{State: tcp.Established}
	c.Remote = addr("192.0.2.1")
	listener := &tcp.Conn{State: tcp.Listen}
	listener.Remote = addr("192.0.2.9")
	first, _ := e.Names(c), e.Names(listener)
	if err := r.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Names = first
	if n := e.Names(c); n.RemoteName != "one.example.net" {
		t.Errorf("got %+v", n)
	}
	if r.Changes() != 1 {
		t.Errorf("%d changes: a listener has no other end", r.Changes())
	}
}

func BenchmarkNames(b *testing.B) {
	e := New(Config{Host: "alpha"})
	c := &tcp.Conn{Direction: tcp.Outbound, State: tcp.Established}
	c.RemotePort = 443
	b.Run("new", func(b *testing.B) {
		c.Names = nil
		b.ReportAllocs()
		for b.Loop() {
			e.Names(c)
		}
	})
	b.Run("current", func(b *testing.B) {
		c.Names = e.Names(c)
		b.ReportAllocs()
		for b.Loop() {
			e.Names(c)
		}
	})
}
