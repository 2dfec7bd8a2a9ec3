package sockdiag

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// dumpBuffer holds one datagram of a dump. The kernel makes them as large as
// the largest buffer ever offered, up to 32 KiB (net/netlink/af_netlink.c).
const dumpBuffer = 64 << 10

// answerTimeout bounds the wait for an answer. The kernel works one out while
// the request is being sent, so only a broken one takes so long.
const answerTimeout = 10 // seconds

// conn is a netlink socket for requests. It belongs to the namespace that it
// was made in, and keeps that alive.
type conn struct {
	fd  int
	seq uint32
	in  *receiver
	out []byte
}

// dial makes a socket of a netlink protocol in a namespace, reading into in.
func dial(ns netns.Namespace, protocol int, in *receiver) (*conn, error) {
	c := &conn{in: in}
	err := ns.Do(func() (err error) {
		c.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
		if err != nil {
			return fmt.Errorf("netlink socket: %w", deny(err))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	tv := unix.Timeval{Sec: answerTimeout}
	if err := unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		_ = c.close()
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	return c, nil
}

func (c *conn) close() error { return unix.Close(c.fd) }

// send starts a request.
func (c *conn) send(typ, flags uint16, body []byte) error {
	c.seq++
	c.out = appendMessage(c.out[:0], typ, flags|nlRequest, c.seq, body)
	kernel := unix.RawSockaddrNetlink{Family: unix.AF_NETLINK}
	for {
		_, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(c.fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(c.out))), uintptr(len(c.out)), 0,
			uintptr(unsafe.Pointer(&kernel)), unix.SizeofSockaddrNetlink)
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return fmt.Errorf("netlink request: %w", deny(errno))
		}
	}
}

// next waits for a datagram of the answer. It is valid until the next call.
func (c *conn) next() ([]byte, error) {
	for {
		_, err := c.in.receive(c.fd, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.EAGAIN) {
			err = os.ErrDeadlineExceeded
		}
		if err != nil {
			return nil, fmt.Errorf("netlink answer: %w", err)
		}
		b, _, err := c.in.datagram(0)
		if err != nil {
			return nil, fmt.Errorf("netlink answer: %w", err)
		}
		if b != nil {
			return b, nil
		}
	}
}

// call makes a request that one message answers, and hands that to answer; an
// acknowledgement is not handed over.
func (c *conn) call(typ, flags uint16, body []byte, answer func([]byte) error) error {
	if err := c.send(typ, flags, body); err != nil {
		return err
	}
	for {
		b, err := c.next()
		if err != nil {
			return err
		}
		for len(b) > 0 {
			h, body, rest, err := cutMessage(b)
			if err != nil {
				return err
			}
			b = rest
			if h.seq != c.seq {
				continue
			}
			if h.typ != nlError {
				if err := answer(body); err != nil {
					return err
				}
				if flags&nlAck == 0 {
					return nil
				}
				continue
			}
			errno, err := status(h.typ, body)
			if err != nil {
				return err
			}
			if errno != 0 {
				return deny(errno)
			}
			return nil
		}
	}
}

// deny makes errors that say that rights or the feature are missing what the
// model calls them, keeping the cause.
func deny(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: %w", tcp.ErrPermission, err)
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EAFNOSUPPORT):
		return fmt.Errorf("%w: %w", tcp.ErrNotSupported, err)
	default:
		return err
	}
}

// receiver reads datagrams, several in one system call, into memory of its own.
type receiver struct {
	headers []unix.Mmsghdr
	buffers [][]byte
	vectors []unix.Iovec
	senders []unix.RawSockaddrNetlink
	control [][controlLen]byte
	got     int
}

// controlLen is room for one control message with a 32-bit namespace id.
const controlLen = 32

// newReceiver makes room for n datagrams of at most size bytes each.
func newReceiver(n, size int) *receiver {
	r := &receiver{
		headers: make([]unix.Mmsghdr, n),
		buffers: make([][]byte, n),
		vectors: make([]unix.Iovec, n),
		senders: make([]unix.RawSockaddrNetlink, n),
		control: make([][controlLen]byte, n),
	}
	all := make([]byte, n*size)
	for i := range r.headers {
		r.buffers[i] = all[i*size : (i+1)*size : (i+1)*size]
		r.vectors[i].Base = &r.buffers[i][0]
		r.vectors[i].SetLen(size)
		h := &r.headers[i].Hdr
		h.Name = (*byte)(unsafe.Pointer(&r.senders[i]))
		h.Iov = &r.vectors[i]
		h.SetIovlen(1)
		h.Control = &r.control[i][0]
	}
	return r
}

// receive waits for a datagram (unless flags say otherwise) and takes with it
// what else is there. It returns the number of datagrams.
func (r *receiver) receive(fd, flags int) (int, error) {
	for i := range r.headers {
		h := &r.headers[i].Hdr
		h.Namelen = unix.SizeofSockaddrNetlink
		h.SetControllen(controlLen)
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd),
		uintptr(unsafe.Pointer(unsafe.SliceData(r.headers))), uintptr(len(r.headers)),
		uintptr(flags|unix.MSG_WAITFORONE), 0, 0)
	if errno != 0 {
		r.got = 0
		return 0, errno
	}
	r.got = int(n)
	return r.got, nil
}

// datagram returns the i-th datagram received and, where it came from another
// namespace, that one's id. It is nil when the sender is not the kernel. It is
// valid until the next receive.
func (r *receiver) datagram(i int) (b []byte, nsid int32, err error) {
	h := &r.headers[i]
	if h.Hdr.Flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		return nil, noNSID, errTruncated
	}
	if h.Hdr.Namelen != unix.SizeofSockaddrNetlink || r.senders[i].Pid != 0 {
		return nil, noNSID, nil
	}
	return r.buffers[i][:h.Len], r.nsid(i), nil
}

// nsid reads the control message of type NETLINK_LISTEN_ALL_NSID
// (include/uapi/linux/netlink.h), which messages of the own namespace lack.
func (r *receiver) nsid(i int) int32 {
	h := &r.headers[i].Hdr
	if int(h.Controllen) < unix.SizeofCmsghdr+4 {
		return noNSID
	}
	c := (*unix.Cmsghdr)(unsafe.Pointer(h.Control))
	if c.Level != unix.SOL_NETLINK || c.Type != unix.NETLINK_LISTEN_ALL_NSID || int(c.Len) < unix.CmsgLen(4) {
		return noNSID
	}
	return *(*int32)(unsafe.Pointer(&r.control[i][unix.CmsgLen(0)]))
}

// infoSize is the size of the kernel's struct tcp_info.
func infoSize() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return 0, fmt.Errorf("size of tcp_info: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	var info [1024]byte
	size := uint32(len(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, fmt.Errorf("size of tcp_info: %w", errno)
	}
	return int(size), nil
}
