package tcptest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/tcp"

	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// Ports of the namespace in which the role "states" works. What makes a state
// last is a packet that never arrives; statesRules says which, by port. Family
// number i uses the ports 10 i further on.
const (
	portPlain       = 7000 + iota
	portNoSYN       // SYNs are lost: SYN_SENT
	portNoSYNACK    // SYN-ACKs are lost: SYN_RECV
	portNoClientFIN // the client's FINs are lost: FIN_WAIT1, CLOSING
	portNoServerFIN // the server's FINs are lost: LAST_ACK
)

const statesRules = `table inet viewtcp_states {
 chain in {
  type filter hook input priority 0;
  tcp dport { 7001, 7011, 7021 } tcp flags & (syn | ack) == syn drop
  tcp sport { 7002, 7012, 7022 } tcp flags & (syn | ack) == (syn | ack) drop
  tcp dport { 7003, 7013, 7023 } tcp flags & fin == fin drop
  tcp sport { 7004, 7014, 7024 } tcp flags & fin == fin drop
 }
}
`

// A Socket is one socket that a role keeps in a state.
type Socket struct {
	Family Family
	// State is its name in package tcp.
	State  string
	Local  netip.AddrPort
	Remote netip.AddrPort // the zero AddrPort for LISTEN
	// Cookie is 0 where the role has no descriptor to ask for it.
	Cookie uint64
	// Mini is set for sockets that have no metrics: TIME_WAIT, SYN_RECV, and
	// FIN_WAIT2 without a descriptor.
	Mini bool
	// Orphan is set for full sockets without a descriptor.
	Orphan bool
}

// States keeps sockets in every state of RFC 9293 but CLOSED, for each Family,
// in the namespace, until the test ends: about fifty. They stay for 20 s at
// least; TIME_WAIT and SYN_RECV end by themselves after a minute. It needs root
// and nft(8).
func States(tb testing.TB, n *NetNS) []Socket {
	tb.Helper()
	need.Programs(tb, "nft")
	return socketsOf(tb, "states", nil, n)
}

// HalfOpen keeps count sockets in SYN_SENT and count in SYN_RECV in the
// namespace until the test ends or, after a minute, the kernel gives up. It
// needs root and nft(8).
func HalfOpen(tb testing.TB, n *NetNS, count int) []Socket {
	tb.Helper()
	need.Programs(tb, "nft")
	return socketsOf(tb, "halfopen", count, n)
}

func socketsOf(tb testing.TB, role string, config any, n *NetNS) []Socket {
	tb.Helper()
	c := Start(tb, role, config, InNetNS(n))
	var s []Socket
	if err := c.Recv(&s); err != nil {
		tb.Fatal(err)
	}
	return s
}

// socketKeeper opens sockets and remembers them; it stops at the first error.
type socketKeeper struct {
	family  Family
	fds     []int
	sockets []Socket
	err     error
}

func statesRole(c *Control) error {
	if err := c.Recv(&struct{}{}); err != nil {
		return err
	}
	if err := loadRules(); err != nil {
		return err
	}
	var k socketKeeper
	defer k.close()
	for _, f := range Families() {
		k.family = f
		k.all()
	}
	if k.err != nil {
		return k.err
	}
	// The peer's ACK of a FIN may be delayed, by 200 ms at most (TCP_DELACK_MAX,
	// include/net/tcp.h); until then FIN_WAIT2 is FIN_WAIT1.
	time.Sleep(300 * time.Millisecond)
	if err := c.Send(k.sockets); err != nil {
		return err
	}
	c.wait()
	return nil
}

func loadRules() error {
	_, err := run(context.Background(), statesRules, "nft", "-f", "-")
	return err
}

func (k *socketKeeper) close() {
	for _, fd := range k.fds {
		abort(fd)
	}
}

func (k *socketKeeper) fail(err error) {
	if k.err == nil && err != nil {
		k.err = fmt.Errorf("%s: %w", k.family, err)
	}
}

// keep notes a socket and the state that it will be in.
func (k *socketKeeper) keep(fd int, s tcp.State) {
	k.fds = append(k.fds, fd)
	k.sockets = append(k.sockets, Socket{
		Family: k.family, State: s.String(), Local: localAddr(fd), Remote: remoteAddr(fd), Cookie: cookie(fd),
	})
}

// port is the one of the family with the same rules.
func (k *socketKeeper) port(p uint16) uint16 {
	return p + 10*uint16(slices.Index(Families(), k.family))
}

func (k *socketKeeper) listen(port uint16) int {
	at := netip.AddrPortFrom(k.family.loopback(), k.port(port))
	if k.family == Mapped {
		at = netip.AddrPortFrom(netip.IPv6Unspecified(), at.Port())
	}
	fd, _, err := listen(k.family, at, 64)
	if err != nil {
		k.fail(err)
		return -1
	}
	k.keep(fd, tcp.Listen)
	k.sockets[len(k.sockets)-1].Remote = netip.AddrPort{}
	return fd
}

func (k *socketKeeper) dial(port uint16) int {
	fd, err := connect(k.family, netip.AddrPortFrom(k.family.loopback(), port))
	k.fail(err)
	return fd
}

// pair opens one connection and returns its ends.
func (k *socketKeeper) pair(listener int, port uint16) (client, server int) {
	client = k.dial(k.port(port))
	if k.err != nil {
		return -1, -1
	}
	server, err := accept(listener)
	k.fail(err)
	// Some data in both directions, so that no number is trivial.
	buf := make([]byte, 3000)
	for _, d := range []struct{ from, to, n int }{{client, server, 3000}, {server, client, 1234}} {
		_, err := writeFull(d.from, buf[:d.n])
		k.fail(err)
		_, err = readFull(d.to, buf[:d.n])
		k.fail(err)
	}
	return client, server
}

// all makes each state once with a descriptor, and where it can be, once
// without.
func (k *socketKeeper) all() {
	plain := k.listen(portPlain)
	noClientFIN := k.listen(portNoClientFIN)
	noServerFIN := k.listen(portNoServerFIN)
	k.listen(portNoSYNACK)
	if k.err != nil {
		return
	}
	shut := func(fd int) { k.fail(unix.Shutdown(fd, unix.SHUT_WR)) }

	a, b := k.pair(plain, portPlain)
	k.keep(a, tcp.Established)
	k.keep(b, tcp.Established)

	// Data that waits to be read, and none to be acknowledged.
	a, b = k.pair(plain, portPlain)
	_, err := writeFull(a, make([]byte, 777))
	k.fail(err)
	k.keep(a, tcp.Established)
	k.keep(b, tcp.Established)

	// A full receive window: data in flight, unsent, and probes of the window.
	a, b = k.pair(plain, portPlain)
	k.fail(unix.SetNonblock(a, true))
	_, err = writeFull(a, make([]byte, 64<<20))
	if !errors.Is(err, unix.EAGAIN) {
		k.fail(fmt.Errorf("filling a window: %w", err))
	}
	k.keep(a, tcp.Established)
	k.keep(b, tcp.Established)

	k.halfOpen(portNoSYN, tcp.SynSent)
	k.halfOpen(portNoSYNACK, tcp.SynRecv)

	a, b = k.pair(plain, portPlain)
	k.keep(a, tcp.FinWait2)
	k.keep(b, tcp.CloseWait)
	shut(a)

	a, b = k.pair(plain, portPlain)
	k.keep(a, tcp.FinWait2)
	k.sockets[len(k.sockets)-1].Mini = true
	k.keep(b, tcp.CloseWait)
	k.forget(a)

	a, b = k.pair(plain, portPlain)
	k.keep(a, tcp.TimeWait)
	k.sockets[len(k.sockets)-1].Mini = true
	k.forget(a)
	k.fail(waitEOF(b))
	unix.Close(b)

	a, b = k.pair(noClientFIN, portNoClientFIN)
	k.keep(a, tcp.FinWait1)
	k.keep(b, tcp.Established)
	shut(a)

	a, b = k.pair(noClientFIN, portNoClientFIN)
	k.keep(a, tcp.FinWait1)
	k.sockets[len(k.sockets)-1].Orphan = true
	k.keep(b, tcp.Established)
	k.forget(a)

	// Both close at once: the client's FIN never comes, the server's does.
	a, b = k.pair(noClientFIN, portNoClientFIN)
	k.keep(a, tcp.Closing)
	k.keep(b, tcp.FinWait2)
	shut(a)
	shut(b)

	a, b = k.pair(noServerFIN, portNoServerFIN)
	k.keep(a, tcp.FinWait2)
	k.keep(b, tcp.LastAck)
	shut(a)
	k.fail(waitEOF(b))
	shut(b)

	a, b = k.pair(noServerFIN, portNoServerFIN)
	k.keep(a, tcp.FinWait2)
	k.keep(b, tcp.LastAck)
	k.sockets[len(k.sockets)-1].Orphan = true
	shut(a)
	k.fail(waitEOF(b))
	k.forget(b)

	// A listener whose accept queue is not empty.
	full, addr, err := listen(k.family, netip.AddrPortFrom(k.family.loopback(), 0), 3)
	k.fail(err)
	if err != nil {
		return
	}
	k.keep(full, tcp.Listen)
	k.sockets[len(k.sockets)-1].Remote = netip.AddrPort{}
	for range 2 {
		c := k.dial(addr.Port())
		if k.err != nil {
			return
		}
		k.keep(c, tcp.Established)
		k.sockets = append(k.sockets, Socket{
			Family: k.family, State: tcp.Established.String(), Orphan: true,
			Local: remoteAddr(c), Remote: localAddr(c),
		})
	}
}

// forget closes a descriptor that was kept and leaves its socket to the kernel.
func (k *socketKeeper) forget(fd int) {
	for i, f := range k.fds {
		if f == fd {
			k.fds = append(k.fds[:i], k.fds[i+1:]...)
			break
		}
	}
	unix.Close(fd)
}

// halfOpen begins a connection that cannot get past the state: SYN_SENT at the
// client and, where its SYN arrives, SYN_RECV beside the listener.
func (k *socketKeeper) halfOpen(port uint16, s tcp.State) {
	to := netip.AddrPortFrom(k.family.loopback(), k.port(port))
	fd, err := connectLater(k.family, to)
	k.fail(err)
	if err != nil {
		return
	}
	k.keep(fd, tcp.SynSent)
	client := &k.sockets[len(k.sockets)-1]
	client.Remote = to // getpeername has no answer before the connection stands
	if s == tcp.SynRecv {
		k.sockets = append(k.sockets, Socket{
			Family: k.family, State: s.String(), Mini: true, Local: to, Remote: client.Local,
		})
	}
}

// waitEOF waits for the peer's FIN, which loopback delivers while the peer's
// close still runs, so that it is there at once or never.
func waitEOF(fd int) error {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	deadline := time.Now().Add(10 * time.Second)
	for {
		n, err := unix.Poll(p, int(time.Until(deadline).Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("waiting for a FIN: %w", err)
		case n == 0:
			return fmt.Errorf("waiting for a FIN: %w", os.ErrDeadlineExceeded)
		}
		return nil
	}
}

func halfOpenRole(c *Control) error {
	var count int
	if err := c.Recv(&count); err != nil {
		return err
	}
	// The kernel keeps fewer half-open connections than this by default, and
	// answers the rest with cookies, which leave no trace.
	for name, value := range map[string]string{
		"net/ipv4/tcp_max_syn_backlog": "16384", "net/core/somaxconn": "16384", "net/ipv4/tcp_syncookies": "0",
	} {
		path := "/proc/sys/" + name
		if err := os.WriteFile(path, []byte(value), 0); err != nil && !strings.Contains(path, "somaxconn") {
			return fmt.Errorf("setting %s: %w", path, err)
		}
	}
	if err := loadRules(); err != nil {
		return err
	}
	k := socketKeeper{family: IPv4}
	defer k.close()
	fd, _, err := listen(IPv4, netip.AddrPortFrom(IPv4.loopback(), portNoSYNACK), 16384)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// A client of a SYN_RECV is in SYN_SENT itself.
	for range count {
		k.halfOpen(portNoSYNACK, tcp.SynRecv)
	}
	if k.err != nil {
		return k.err
	}
	if err := c.Send(k.sockets); err != nil {
		return err
	}
	c.wait()
	return nil
}
