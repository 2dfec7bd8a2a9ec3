package main

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/tcptest"
)

// openRows lists the open connections of a namespace by cookie.
func openRows(tb testing.TB, ns *tcptest.NetNS) map[string]tcptest.Row {
	tb.Helper()
	return byCookie(listed(tb, "--source", "netlink", "--netns", ns.Path(), "state", "established"))
}

// closedExactly makes sure that of the connections before, those and no others
// are gone. The peers of what was closed got a RST, so that both ends go.
func closedExactly(tb testing.TB, ns *tcptest.NetNS, before map[string]tcptest.Row, closed ...tcptest.End) {
	tb.Helper()
	gone := map[string]bool{}
	for _, e := range closed {
		gone[decimal(e.Cookie)] = true
		for cookie, row := range before {
			local, remote := row.Ends()
			if local == e.Remote && remote == e.Local {
				gone[cookie] = true
			}
		}
	}
	var after map[string]tcptest.Row
	for range 20 { // the peer's application may still be closing its end
		if after = openRows(tb, ns); len(after) == len(before)-len(gone) {
			break
		}
		waitABit()
	}
	for cookie, row := range before {
		if _, open := after[cookie]; open == gone[cookie] {
			tb.Errorf("open %v, should be closed %v: %v", open, gone[cookie], row)
		}
	}
}

// TestClose: exactly the sockets that were named end, by id and by filter, and
// nothing happens without a yes.
func TestClose(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	_, at := serve(t, ns, tcptest.ServerConfig{})
	_, _ = connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 3, Send: 10, Name: "bystander"})
	_, ledger := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 6, Send: 10, Name: "victim"})
	in := []string{"--netns", ns.Path()}
	before := openRows(t, ns)
	if len(before) != 18 {
		t.Fatalf("%d sockets, want 18", len(before))
	}
	id := text(before[decimal(ledger[0].Cookie)], "id")

	t.Run("not without a yes", func(t *testing.T) {
		r := viewtcp(t, append([]string{"close", id}, in...)...)
		if r.code != exitUsage || !strings.Contains(r.stderr, "--yes") {
			t.Errorf("%v", r)
		}
		r = viewtcp(t, append([]string{"close", id, "--dry-run", "-o", "csv", "--columns", "id", "--no-header"}, in...)...)
		if r.code != exitOK || r.stdout != id+"\n" {
			t.Errorf("%v", r)
		}
		closedExactly(t, ns, before)
	})
	t.Run("not everything", func(t *testing.T) {
		for _, args := range [][]string{{}, {""}, {"--yes"}, {"--yes", " "}, {"--yes", "--filter", " "}} {
			r := viewtcp(t, append(append([]string{"close"}, args...), in...)...)
			if r.code != exitUsage || !strings.Contains(r.stderr, "a filter or id is needed") {
				t.Errorf("%q: %v", args, r)
			}
		}
		closedExactly(t, ns, before)
	})
	t.Run("nothing there", func(t *testing.T) {
		r := viewtcp(t, append([]string{"close", "--yes", "dport", "=", ":1"}, in...)...)
		if r.code != exitOK || !strings.Contains(r.stderr, "nothing matched") {
			t.Errorf("%v", r)
		}
		if r := viewtcp(t, append([]string{"close", "--yes", "--fail-empty", "dport", "=", ":1"}, in...)...); r.code != exitEmpty {
			t.Errorf("with --fail-empty: %v", r)
		}
		closedExactly(t, ns, before)
	})
	t.Run("asked, no", func(t *testing.T) {
		term := openTerminal(t, 200)
		_, wait := onTerminal(t, term, nil, append([]string{"close", id}, in...)...)
		term.until(t, "[y/N]")
		term.enter(t, "\n")
		if code := wait(); code != exitOK || !strings.Contains(term.printed(), "nothing closed") {
			t.Errorf("exit code %d: %s", code, term.printed())
		}
		closedExactly(t, ns, before)
	})
	t.Run("asked, yes", func(t *testing.T) {
		term := openTerminal(t, 200)
		_, wait := onTerminal(t, term, nil, append([]string{"close", id}, in...)...)
		term.until(t, "[y/N]")
		term.enter(t, "y\n")
		if code := wait(); code != exitOK || !strings.Contains(term.printed(), "closed 1 of 1") {
			t.Errorf("exit code %d: %s", code, term.printed())
		}
		closedExactly(t, ns, before, ledger[0])
	})
	t.Run("id", func(t *testing.T) {
		before := openRows(t, ns)
		r := viewtcp(t, append([]string{"close", "--yes", text(before[decimal(ledger[1].Cookie)], "id")}, in...)...)
		if r.code != exitOK || !strings.Contains(r.stderr, "closed 1 of 1") {
			t.Errorf("%v", r)
		}
		closedExactly(t, ns, before, ledger[1])
	})
	t.Run("filter", func(t *testing.T) {
		before := openRows(t, ns)
		r := viewtcp(t, append([]string{"close", "--yes", "-o", "jsonl", "process", "victim", "and", "lport", "!=", decimal(uint64(ledger[2].Local.Port()))}, in...)...)
		if r.code != exitOK || !strings.Contains(r.stderr, "closed 3 of 3") || len(rows(t, r)) != 3 {
			t.Errorf("%v", r)
		}
		closedExactly(t, ns, before, ledger[3:]...)
	})
	t.Run("without rights", func(t *testing.T) {
		before := openRows(t, ns)
		term := openTerminal(t, 200)
		var code int
		if err := ns.Do(func() {
			_, wait := onTerminal(t, term, []how{as(nobody)}, "close", "--yes", "lport", "=", decimal(uint64(ledger[2].Local.Port())))
			code = wait()
		}); err != nil {
			t.Fatal(err)
		}
		if code != exitPermission || !strings.Contains(term.printed(), "closed 0 of 1") {
			t.Errorf("exit code %d: %s", code, term.printed())
		}
		closedExactly(t, ns, before)
	})
}

// TestCloseSparesTheNext: the connection that was listed ends while the user
// thinks, and another one takes its ports: it is not hit.
func TestCloseSparesTheNext(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	var ln net.Listener
	inside(t, ns, func() {
		var lc net.ListenConfig
		var err error
		if ln, err = lc.Listen(t.Context(), "tcp4", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	})
	defer ln.Close()
	to := ln.Addr().(*net.TCPAddr).AddrPort()
	fd, from := dialFrom(t, ns, netip.AddrPort{}, to)
	server := accepted(t, ln)

	term := openTerminal(t, 200)
	_, wait := onTerminal(t, term, nil, "close", "--netns", ns.Path(), "lport", "=", decimal(uint64(from.Port())))
	term.until(t, "Close this socket? [y/N]")

	// Both ends by RST, so that the ports are free at once.
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	_, _ = io.Copy(io.Discard, server)
	server.Close()
	fd, again := dialFrom(t, ns, from, to)
	defer unix.Close(fd)
	server = accepted(t, ln)
	defer server.Close()
	if again != from {
		t.Fatalf("the second connection is from %v, not %v", again, from)
	}

	term.enter(t, "y\n")
	if code := wait(); code != exitOK || !strings.Contains(term.printed(), "closed 0 of 1; 1 had ended already") {
		t.Errorf("exit code %d: %s", code, term.printed())
	}
	if _, err := unix.Write(fd, []byte("alive")); err != nil {
		t.Errorf("the next connection: %v", err)
	}
	buf := make([]byte, 5)
	_ = server.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(server, buf); err != nil || string(buf) != "alive" {
		t.Errorf("the next connection: got %q, %v", buf, err)
	}
}

func inside(tb testing.TB, ns *tcptest.NetNS, fn func()) {
	tb.Helper()
	if err := ns.Do(fn); err != nil {
		tb.Fatal(err)
	}
}

func accepted(tb testing.TB, ln net.Listener) net.Conn {
	tb.Helper()
	c, err := ln.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// dialFrom connects from a port of one's choice.
func dialFrom(tb testing.TB, ns *tcptest.NetNS, from, to netip.AddrPort) (fd int, local netip.AddrPort) {
	tb.Helper()
	inside(tb, ns, func() {
		var err error
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		if err == nil && from.IsValid() {
			err = errors.Join(
				unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
				unix.Bind(fd, &unix.SockaddrInet4{Addr: from.Addr().As4(), Port: int(from.Port())}))
		}
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
		}
		if err != nil {
			tb.Fatal(err)
		}
	})
	sa, err := unix.Getsockname(fd)
	if err != nil {
		tb.Fatal(err)
	}
	in, ok := sa.(*unix.SockaddrInet4)
	if !ok {
		tb.Fatalf("local address %T", sa)
	}
	return fd, netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port))
}
