package capture

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// poller waits for several sockets by way of Go's own poller: a goroutine that
// waits there costs nothing, while a thread that the kernel holds in poll(2) keeps
// the runtime looking after it, which at a hundred thousand packets a second costs
// more than the packets do.
type poller struct {
	file   *os.File // an epoll instance, which can be polled itself
	conn   syscall.RawConn
	events [64]unix.EpollEvent

	// What ready is called for; it is one function, so that waiting allocates
	// nothing.
	ready  func(fd uintptr) bool
	failed uint64
	err    error
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	p := &poller{file: os.NewFile(uintptr(fd), "epoll")}
	if p.conn, err = p.file.SyscallConn(); err == nil {
		err = p.file.SetReadDeadline(time.Time{}) // fails if Go cannot poll it
	}
	if err != nil {
		_ = p.file.Close()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	p.ready = p.look
	return p, nil
}

// add begins to wait for a socket; n is its bit in what wait returns.
func (p *poller) add(fd, n int) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(n)})
}

// remove stops waiting for a socket.
func (p *poller) remove(fd int) {
	_ = p.control(unix.EPOLL_CTL_DEL, fd, nil)
}

func (p *poller) control(op, fd int, ev *unix.EpollEvent) (err error) {
	errControl := p.conn.Control(func(epfd uintptr) { err = unix.EpollCtl(int(epfd), op, fd, ev) })
	if err := errors.Join(errControl, err); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

// wait blocks until a socket has something, until a moment (zero is never), or
// until stop is set and wake called. It returns the sockets with an error, by
// their bits; the one of number n beyond 63 has bit n modulo 64.
func (p *poller) wait(until time.Time, stop *atomic.Bool) (failed uint64, err error) {
	// A deadline in the past that wake sets after this line is seen by Read; one
	// that it set before, by what it set before that.
	if err := p.file.SetReadDeadline(until); err != nil {
		return 0, err
	}
	if until.IsZero() && stop.Load() {
		return 0, nil
	}
	p.failed, p.err = 0, nil
	err = p.conn.Read(p.ready)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return p.failed, errors.Join(err, p.err)
}

// look asks what is ready now.
func (p *poller) look(fd uintptr) bool {
	n, err := unix.EpollWait(int(fd), p.events[:], 0)
	if err != nil {
		if errors.Is(err, unix.EINTR) {
			return true // the caller looks again
		}
		p.err = err
		return true
	}
	for _, ev := range p.events[:n] {
		if ev.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
			p.failed |= 1 << (ev.Fd & 63)
		}
	}
	return n > 0
}

// wake ends a wait, from any goroutine.
func (p *poller) wake() { _ = p.file.SetReadDeadline(time.Unix(1, 0)) }

func (p *poller) close() error { return p.file.Close() }
