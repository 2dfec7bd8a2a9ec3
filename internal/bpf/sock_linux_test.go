package bpf

import (
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// unspec points to a socket address of family AF_UNSPEC.
func unspec() uintptr { return uintptr(unsafe.Pointer(&unspecified)) }

var unspecified [16]byte

// connCookie returns the kernel's cookie of a connection.
func connCookie(c net.Conn) (cookie uint64, err error) {
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0, err
	}
	errControl := raw.Control(func(fd uintptr) {
		cookie, err = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_COOKIE)
	})
	if errControl != nil {
		return 0, errControl
	}
	return cookie, err
}
