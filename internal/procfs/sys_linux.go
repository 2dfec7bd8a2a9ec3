package procfs

import (
	"encoding/binary"
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Names that are opened often, ended by zero as the kernel wants them, so that
// opening them allocates nothing.
var (
	nameFD   = []byte("fd\x00")
	nameStat = []byte("stat\x00")
)

// openat opens a name that ends in a zero byte.
func openat(dir int, name []byte, flags int) (int, error) {
	for {
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(&name[0])),
			uintptr(flags|unix.O_CLOEXEC), 0, 0, 0)
		switch errno {
		case 0:
			return int(fd), nil
		case unix.EINTR:
		default:
			return -1, errno
		}
	}
}

// readlinkat reads the link of a name that ends in a zero byte into buf.
func readlinkat(dir int, name, buf []byte) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_READLINKAT, uintptr(dir), uintptr(unsafe.Pointer(&name[0])),
		uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// readAt reads a whole small file into buf; what does not fit is left out.
func readAt(dir int, name, buf []byte) (n int, err error) {
	fd, err := openat(dir, name, unix.O_RDONLY)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	for n < len(buf) {
		m, err := unix.Read(fd, buf[n:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return n, err
		}
		if m == 0 {
			break
		}
		n += m
	}
	return n, nil
}

// direntName is the offset of the name in struct linux_dirent64
// (include/linux/dirent.h), direntLen that of the record's length.
const (
	direntLen  = 16
	direntName = 19
)

// eachNumber reads a directory through buf and calls fn with each name that is
// a number, as text with its zero byte and as value. fn returns false to stop.
func eachNumber(dir int, buf []byte, fn func(name []byte, n uint32) bool) error {
	for {
		n, err := unix.Getdents(dir, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if n <= 0 {
			return nil
		}
		for b := buf[:n]; len(b) > direntName; {
			size := int(binary.NativeEndian.Uint16(b[direntLen:]))
			if size <= direntName || size > len(b) {
				break
			}
			name := b[direntName:size]
			b = b[size:]
			v, digits := leadingNumber(name)
			if digits == 0 || digits >= len(name) || name[digits] != 0 {
				continue
			}
			if !fn(name[:digits+1], v) {
				return nil
			}
		}
	}
}

// gone reports whether err says that a process ended, or its namespace.
func gone(err error) bool {
	return errors.Is(err, unix.ESRCH) || errors.Is(err, os.ErrNotExist)
}

// denied reports whether err says that rights are missing.
func denied(err error) bool {
	return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)
}
