package sockdiag

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

var loopback4 = unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}

// socket is a TCP socket that ends with the test at the latest.
type socket struct{ fd int }

func tcpSocket(tb testing.TB, domain int, prepare func(fd int) error) *socket {
	tb.Helper()
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	s := &socket{fd}
	tb.Cleanup(s.close)
	if prepare != nil {
		if err := prepare(fd); err != nil {
			tb.Fatal(err)
		}
	}
	return s
}

func (s *socket) close() {
	if s.fd >= 0 {
		_ = unix.Close(s.fd)
		s.fd = -1
	}
}

func (s *socket) cookie(tb testing.TB) uint64 {
	tb.Helper()
	c, err := unix.GetsockoptUint64(s.fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func listenOn(tb testing.TB, sa unix.Sockaddr, domain int, prepare func(fd int) error) (l *socket, at unix.Sockaddr) {
	tb.Helper()
	l = tcpSocket(tb, domain, prepare)
	if err := unix.Bind(l.fd, sa); err != nil {
		tb.Fatal(err)
	}
	if err := unix.Listen(l.fd, 16); err != nil {
		tb.Fatal(err)
	}
	at, err := unix.Getsockname(l.fd)
	if err != nil {
		tb.Fatal(err)
	}
	return l, at
}

func connectTo(tb testing.TB, l *socket, at unix.Sockaddr, domain int, prepare func(fd int) error) (client, server *socket) {
	tb.Helper()
	client = tcpSocket(tb, domain, prepare)
	if err := unix.Connect(client.fd, at); err != nil {
		tb.Fatal(err)
	}
	fd, _, err := unix.Accept4(l.fd, unix.SOCK_CLOEXEC)
	if err != nil {
		tb.Fatal(err)
	}
	server = &socket{fd}
	tb.Cleanup(server.close)
	return client, server
}

// notConnections makes and closes sockets that are in no connection, and two
// whose connection is refused, one of them without connect(2) waiting for it.
// It returns the cookies of those two.
func notConnections(tb testing.TB) []uint64 {
	tb.Helper()
	discard := &unix.SockaddrInet4{Addr: loopback4.Addr, Port: 9}
	tcpSocket(tb, unix.AF_INET, nil).close()
	bound := tcpSocket(tb, unix.AF_INET, nil)
	if err := unix.Bind(bound.fd, &loopback4); err != nil {
		tb.Fatal(err)
	}
	bound.close()

	failed := tcpSocket(tb, unix.AF_INET, nil)
	cookies := []uint64{failed.cookie(tb)}
	if err := unix.Connect(failed.fd, discard); !errors.Is(err, unix.ECONNREFUSED) {
		tb.Fatalf("connect to the discard port: %v", err)
	}
	failed.close()
	later := tcpSocket(tb, unix.AF_INET, func(fd int) error { return unix.SetNonblock(fd, true) })
	cookies = append(cookies, later.cookie(tb))
	err := unix.Connect(later.fd, discard)
	if !errors.Is(err, unix.EINPROGRESS) && !errors.Is(err, unix.ECONNREFUSED) {
		tb.Fatalf("connect to the discard port: %v", err)
	}
	later.close()
	return cookies
}
