package tcptest

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Family is how a socket carries its addresses.
type Family string

// Families. Mapped is an AF_INET6 socket that talks IPv4.
const (
	IPv4   Family = "ipv4"
	IPv6   Family = "ipv6"
	Mapped Family = "mapped"
)

// Families lists all of them.
func Families() []Family { return []Family{IPv4, IPv6, Mapped} }

func (f Family) domain() int {
	if f == IPv4 || f == "" {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// loopback is the address that sockets of the family listen on and connect to.
func (f Family) loopback() netip.Addr {
	if f == IPv6 {
		return netip.IPv6Loopback()
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

func (f Family) sockaddr(ap netip.AddrPort) unix.Sockaddr {
	if f.domain() == unix.AF_INET {
		return &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().Unmap().As4()}
	}
	return &unix.SockaddrInet6{Port: int(ap.Port()), Addr: ap.Addr().As16()}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// socket makes a plain TCP socket, blocking and without keepalive.
func socket(f Family, flags int) (int, error) {
	fd, err := unix.Socket(f.domain(), unix.SOCK_STREAM|unix.SOCK_CLOEXEC|flags, unix.IPPROTO_TCP)
	if err != nil {
		return -1, fmt.Errorf("making a socket: %w", err)
	}
	return fd, nil
}

// listen makes a listener; a zero address stands for all of the family's.
func listen(f Family, at netip.AddrPort, backlog int) (fd int, _ netip.AddrPort, err error) {
	fd, err = socket(f, 0)
	if err != nil {
		return -1, netip.AddrPort{}, err
	}
	if !at.Addr().IsValid() {
		at = netip.AddrPortFrom(netip.IPv6Unspecified(), at.Port())
		if f.domain() == unix.AF_INET {
			at = netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port())
		}
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil {
		err = unix.Bind(fd, f.sockaddr(at))
	}
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		unix.Close(fd)
		return -1, netip.AddrPort{}, fmt.Errorf("listening on %s: %w", at, err)
	}
	return fd, localAddr(fd), nil
}

// connect opens a blocking connection.
func connect(f Family, to netip.AddrPort) (int, error) {
	fd, err := socket(f, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Connect(fd, f.sockaddr(to)); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("connecting to %s: %w", to, err)
	}
	return fd, nil
}

// connectLater begins to connect and does not wait.
func connectLater(f Family, to netip.AddrPort) (int, error) {
	fd, err := socket(f, unix.SOCK_NONBLOCK)
	if err != nil {
		return -1, err
	}
	if err := unix.Connect(fd, f.sockaddr(to)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		unix.Close(fd)
		return -1, fmt.Errorf("connecting to %s: %w", to, err)
	}
	return fd, nil
}

func accept(listener int) (int, error) {
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ECONNABORTED) {
			continue
		}
		return fd, err
	}
}

func localAddr(fd int) netip.AddrPort {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}
	}
	return addrPort(sa)
}

func remoteAddr(fd int) netip.AddrPort {
	sa, err := unix.Getpeername(fd)
	if err != nil {
		return netip.AddrPort{}
	}
	return addrPort(sa)
}

// cookie is the kernel's name of the socket (SO_COOKIE,
// include/uapi/asm-generic/socket.h); 0 if it cannot be had.
func cookie(fd int) uint64 {
	v, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		return 0
	}
	return v
}

// abort closes with a RST, which leaves no TIME_WAIT behind.
func abort(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	unix.Close(fd)
}

// readFull fills b; it returns less only at the end of the stream or on error.
func readFull(fd int, b []byte) (n int, err error) {
	for n < len(b) {
		m, err := unix.Read(fd, b[n:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || m == 0 {
			return n, err
		}
		n += m
	}
	return n, nil
}

func writeFull(fd int, b []byte) (n int, err error) {
	for n < len(b) {
		m, err := unix.Write(fd, b[n:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}
