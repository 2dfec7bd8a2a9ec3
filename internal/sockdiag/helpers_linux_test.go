package sockdiag

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

func tcpSocket(t testing.TB, domain int) int {
	t.Helper()
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func cookieOf(t testing.TB, fd int) uint64 {
	t.Helper()
	c, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// notConnections makes and closes sockets that are in no connection, and two
// whose connection is refused, one of them without connect(2) waiting for it.
// It returns the cookies of those two.
func notConnections(t testing.TB) []uint64 {
	t.Helper()
	loopback := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	never := tcpSocket(t, unix.AF_INET)
	unix.Close(never)
	bound := tcpSocket(t, unix.AF_INET)
	if err := unix.Bind(bound, loopback); err != nil {
		t.Fatal(err)
	}
	unix.Close(bound)
	failed := tcpSocket(t, unix.AF_INET)
	if err := unix.Connect(failed, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 9}); !errors.Is(err, unix.ECONNREFUSED) {
		t.Fatalf("connect to the discard port: %v", err)
	}
	cookies := []uint64{cookieOf(t, failed)}
	unix.Close(failed)
	later := tcpSocket(t, unix.AF_INET)
	if err := unix.SetNonblock(later, true); err != nil {
		t.Fatal(err)
	}
	cookies = append(cookies, cookieOf(t, later))
	err := unix.Connect(later, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 9})
	if !errors.Is(err, unix.EINPROGRESS) && !errors.Is(err, unix.ECONNREFUSED) {
		t.Fatalf("connect to the discard port: %v", err)
	}
	unix.Close(later)
	return cookies
}
