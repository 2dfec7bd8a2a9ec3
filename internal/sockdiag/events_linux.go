package sockdiag

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

const (
	// eventBuffer holds the message of one destroyed socket, some 400 bytes.
	eventBuffer = 4096
	// eventsAtOnce is how many are taken in one system call.
	eventsAtOnce = 64
	// maxDrain bounds the closes handled in one go, so that a storm of them
	// cannot keep dumps and the end of the run waiting.
	maxDrain = 1 << 16
)

// skMeminfoDrops is the index of SK_MEMINFO_DROPS in what SO_MEMINFO returns
// (include/uapi/linux/sock_diag.h).
const skMeminfoDrops = 8

// events is the socket that hears of every TCP socket destroyed.
type events struct {
	file *os.File
	raw  syscall.RawConn
	in   *receiver
	// receive's arguments and results, and the function that works on them:
	// made once, because a closure for each call would be garbage.
	wait   bool
	n      int
	err    error
	onRead func(fd uintptr) bool
	onTake func(fd uintptr)

	// all says that other namespaces are heard as well, spaces which of them
	// go by which id.
	all    bool
	spaces map[int32]uint32
	self   uint32
	// covered are the namespaces heard; silent says why others are not.
	covered map[uint32]bool
	silent  error

	drops   uint32 // counted by the kernel until now
	overrun bool   // since drops was read
}

// hear joins the groups of destroyed sockets. allSpaces asks for those of other
// namespaces; where that is refused, all stays false and silent says why.
func hear(buffer int, allSpaces bool) (*events, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("socket for closes: %w", deny(err))
	}
	e := &events{
		in:      newReceiver(eventsAtOnce, eventBuffer),
		spaces:  make(map[int32]uint32),
		covered: make(map[uint32]bool),
	}
	if err := e.join(fd, buffer, allSpaces); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	e.file = os.NewFile(uintptr(fd), "netlink")
	if e.raw, err = e.file.SyscallConn(); err != nil {
		_ = e.file.Close()
		return nil, fmt.Errorf("socket for closes: %w", err)
	}
	e.onRead = func(fd uintptr) bool {
		for {
			e.n, e.err = e.in.receive(int(fd), 0)
			if !errors.Is(e.err, unix.EINTR) {
				return !e.wait || !errors.Is(e.err, unix.EAGAIN)
			}
		}
	}
	e.onTake = func(fd uintptr) { e.onRead(fd) }
	return e, nil
}

func (e *events) join(fd, buffer int, allSpaces bool) error {
	// The kernel doubles the value for its own overhead (socket(7)).
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer); err != nil {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer); err != nil {
			return fmt.Errorf("receive buffer for closes: %w", err)
		}
	}
	if allSpaces {
		err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_LISTEN_ALL_NSID, 1)
		if err != nil {
			e.silent = fmt.Errorf("hearing of closes in other namespaces needs CAP_NET_BROADCAST: %w", deny(err))
		}
		e.all = err == nil
	}
	groups := &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groupTCPDestroy | groupTCP6Destroy}
	if err := unix.Bind(fd, groups); err != nil {
		return fmt.Errorf("joining the groups of destroyed sockets: %w", deny(err))
	}
	return nil
}

func (e *events) close() error { return e.file.Close() }

// receive takes messages, at once or, with wait, when there are some. It
// returns unix.EAGAIN when there are none and os.ErrDeadlineExceeded when there
// were none until the deadline.
func (e *events) receive(wait bool) (int, error) {
	e.wait = wait
	if wait {
		if err := e.raw.Read(e.onRead); err != nil {
			return 0, err
		}
	} else if err := e.raw.Control(e.onTake); err != nil {
		return 0, err
	}
	return e.n, e.err
}

// until sets the end of waiting.
func (e *events) until(t time.Time) { _ = e.file.SetReadDeadline(t) }

// namespace returns the namespace of a message, 0 if it is not to be reported.
func (e *events) namespace(nsid int32) uint32 {
	if nsid != noNSID {
		return e.spaces[nsid]
	}
	if e.covered[e.self] {
		return e.self
	}
	return 0
}

// dropped returns how many messages the kernel dropped since the last call. It
// counts every one, also those after the first that it reports (ENOBUFS).
func (e *events) dropped() (n uint32, err error) {
	var info [skMeminfoDrops + 1]uint32
	size := uint32(unsafe.Sizeof(info))
	var errno syscall.Errno
	err = e.raw.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	})
	if err == nil && errno != 0 {
		err = errno
	}
	if err != nil {
		return 0, fmt.Errorf("drop count of the socket for closes: %w", err)
	}
	n = info[skMeminfoDrops] - e.drops
	e.drops = info[skMeminfoDrops]
	return n, nil
}

// drain reports the closes heard of since the last call. Where messages were
// lost it asks for a walk at once.
func (s *Source) drain(out *output, ev *events) error {
	for range maxDrain / eventsAtOnce {
		n, err := ev.receive(false)
		switch {
		case errors.Is(err, unix.EAGAIN):
			s.countLoss(out, ev)
			return out.flushClosed()
		case err != nil:
			if err := s.overrun(ev, err); err != nil {
				return err
			}
			continue
		}
		if err := s.take(out, ev, n); err != nil {
			return err
		}
	}
	return out.flushClosed()
}

// overrun notes an error of the socket for closes that only means loss.
func (s *Source) overrun(ev *events, err error) error {
	if !errors.Is(err, unix.ENOBUFS) {
		return fmt.Errorf("hearing of closes: %w", err)
	}
	ev.overrun = true
	return nil
}

// countLoss works out, once the queue is empty, what was dropped while it was
// full.
func (s *Source) countLoss(out *output, ev *events) {
	if !ev.overrun {
		return
	}
	ev.overrun = false
	s.walkNow = true
	// The bytes of what was dropped are known to nobody.
	out.lost.Unknown = true
	n, err := ev.dropped()
	if err != nil {
		s.warnOnce("counting lost closes", err)
		return
	}
	out.lost.Closes += uint64(n)
}

// take reports the n datagrams just received.
func (s *Source) take(out *output, ev *events, n int) error {
	now := s.cfg.Now()
	for i := range n {
		b, nsid, err := ev.in.datagram(i)
		if err != nil {
			s.reject(out, err)
			continue
		}
		netns := ev.namespace(nsid)
		if netns == 0 {
			continue
		}
		for len(b) > 0 {
			h, body, rest, err := cutMessage(b)
			if err != nil {
				s.reject(out, err)
				break
			}
			b = rest
			if h.typ == sockDiagByFamily {
				s.ended(out, body, netns, now)
			}
		}
	}
	if len(out.closed) < batchLen {
		return nil
	}
	return out.flushClosed()
}

// ended reports a destroyed socket.
func (s *Source) ended(out *output, body []byte, netns uint32, now tcp.Stamp) {
	var m diagMessage
	if err := m.parse(body); err != nil {
		s.reject(out, err)
		return
	}
	k := s.known.find(sockKey{m.id.cookie(), netns})
	if k != nil {
		k.destroyed = true
	}
	out.closed = append(out.closed, tcp.Observation{})
	o := &out.closed[len(out.closed)-1]
	o.NetNS, o.Time = netns, now
	if !m.observeDestroyed(o, k) {
		out.closed = out.closed[:len(out.closed)-1]
	}
}

// reject counts a message that does not read as it should: what it told is
// lost.
func (s *Source) reject(out *output, err error) {
	out.lost.Unknown = true
	s.warnOnce("reading a netlink message", err)
}

// identify learns by which ids the own namespace knows those of list. One that
// has none is given one: only then does the kernel pass its messages on. The id
// ends with the namespace.
func (s *Source) identify(ev *events, list []netns.Namespace) {
	clear(ev.spaces)
	clear(ev.covered)
	var (
		c   *conn
		err error
	)
	for _, ns := range list {
		if ns.Inode == ev.self {
			ev.covered[ns.Inode] = true
			continue
		}
		if !ev.all {
			continue
		}
		if c == nil {
			if c, err = dial(s.self, unix.NETLINK_ROUTE, s.in); err != nil {
				ev.silent = err
				return
			}
			defer func() { _ = c.close() }()
		}
		id, err := nsid(c, ns)
		switch {
		case err == nil:
			ev.spaces[id] = ns.Inode
			ev.covered[ns.Inode] = true
		case !gone(err):
			ev.silent = err
			s.warnOnce("hearing of closes in a network namespace", err)
		}
	}
}

// nsid returns the id that c's namespace has for ns, giving it one if need be.
func nsid(c *conn, ns netns.Namespace) (int32, error) {
	fd, err := unix.Open(ns.Path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return noNSID, fmt.Errorf("id of namespace %s: %w", ns, &os.PathError{Op: "open", Path: ns.Path, Err: err})
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || uint32(st.Ino) != ns.Inode {
		return noNSID, fmt.Errorf("namespace %s is no longer at %s: %w", ns, ns.Path, os.ErrNotExist)
	}
	get := func() (id int32, err error) {
		err = c.call(rtmGetNSID, 0, appendNSIDGet(nil, fd), func(b []byte) error {
			id, err = parseNSID(b)
			return err
		})
		return id, err
	}
	id, err := get()
	if err == nil && id == noNSID {
		err = c.call(rtmNewNSID, nlAck, appendNSIDNew(nil, fd), func([]byte) error { return nil })
		// Another program may have been faster.
		if err == nil || errors.Is(err, unix.EEXIST) {
			id, err = get()
		}
	}
	if err != nil {
		return noNSID, fmt.Errorf("giving namespace %s an id needs CAP_NET_ADMIN: %w", ns, err)
	}
	return id, nil
}
