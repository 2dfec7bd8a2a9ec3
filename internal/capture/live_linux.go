package capture

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Live is a capture from interfaces, read by one goroutine. Stats, Interfaces
// and Stop may be called from any other.
type Live struct {
	cfg    LiveConfig
	ifaces []LiveInterface
	rings  []*ring
	poll   *poller
	number uint64
	// drainUntil is when a stopped capture ends although frames are missing.
	drainUntil time.Time
	// pause is how long frames were gathered last, and gathered how many blocks
	// had been read then.
	pause    time.Duration
	gathered int
	timer    *time.Timer
	stopped  chan struct{} // closed by Stop

	stopping  atomic.Bool
	delivered atomic.Uint64
	skipped   atomic.Uint64
	downs     atomic.Uint64

	mu     sync.Mutex // guards what follows, and the descriptors against Close
	stats  LiveStats  // as accumulated: the kernel's counts begin anew when read
	closed bool
}

// OpenLive begins a capture. It needs CAP_NET_RAW: without, the error wraps
// tcp.ErrPermission. A name that is no interface gives a *NoInterfaceError.
func OpenLive(cfg LiveConfig) (*Live, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, fmt.Errorf("live capture: %w", err)
	}
	l := &Live{cfg: cfg, stopped: make(chan struct{})}
	open := func() { err = l.open() }
	if cfg.Do == nil {
		open()
	} else if errDo := cfg.Do(open); errDo != nil {
		err = errors.Join(fmt.Errorf("live capture: entering the namespace: %w", errDo), err)
	}
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// open opens a ring for each interface, in the namespace of the calling thread. What
// it opened before an error is for Close.
func (l *Live) open() (err error) {
	if l.ifaces, err = findInterfaces(l.cfg.Interfaces); err != nil {
		return fmt.Errorf("live capture: %w", err)
	}
	if l.poll, err = newPoller(); err != nil {
		return fmt.Errorf("live capture: %w", err)
	}
	for i := range l.ifaces {
		r, err := openRing(&l.cfg, &l.ifaces[i])
		if err != nil {
			return fmt.Errorf("capturing from %q: %w", l.ifaces[i].Name, err)
		}
		r.iface = uint32(i)
		l.rings = append(l.rings, r)
		if err := l.poll.add(r.fd, i); err != nil {
			return fmt.Errorf("capturing from %q: %w", l.ifaces[i].Name, err)
		}
	}
	return nil
}

// Interfaces returns what is captured; Frame.Interface is an index into it.
func (l *Live) Interfaces() []LiveInterface { return l.ifaces }

// Next waits for a frame. Its data belongs to the ring and is valid until the
// next call or Close. After Stop it returns what the kernel had put into the
// ring, and then io.EOF. When an interface was removed the error is an
// *InterfaceGoneError; the others go on with the next call.
//
// Frames of one interface come in the order in which its processors captured
// them, which is nearly that of their times; those of several less so, for each
// waits until the kernel hands its block over.
func (l *Live) Next(f *Frame) error {
	for {
		r, err := l.first()
		if err != nil {
			return err
		}
		if r != nil {
			if err := r.frame.fill(f, r.link); err != nil {
				return err
			}
			l.number++
			f.Number, f.Interface = l.number, r.iface
			if err := r.take(); err != nil {
				return err
			}
			l.delivered.Store(l.number)
			return nil
		}
		if err := l.wait(); err != nil {
			return err
		}
	}
}

// first returns the ring whose next frame is the oldest, or nil.
func (l *Live) first() (*ring, error) {
	var first *ring
	for _, r := range l.rings {
		was := r.skipped
		ok, err := r.peek()
		if r.skipped != was {
			l.skipped.Add(r.skipped - was)
		}
		if err != nil {
			return nil, err
		}
		if ok && (first == nil || r.frame.time < first.frame.time) {
			first = r
		}
	}
	return first, nil
}

// wait blocks until there may be something to read.
func (l *Live) wait() error {
	var until time.Time
	switch {
	case l.stopping.Load():
		if l.drainUntil.IsZero() {
			l.drainUntil = time.Now().Add(2*l.cfg.BlockTimeout + 100*time.Millisecond)
		}
		if s := l.Stats(); s.Delivered+s.Skipped >= s.Received || time.Now().After(l.drainUntil) {
			return io.EOF
		}
		until = time.Now().Add(time.Millisecond)
	case l.anyDown():
		until = time.Now().Add(downCheck)
	case l.cfg.Gather > 0:
		if l.gather() {
			return nil
		}
	}
	failed, err := l.poll.wait(until, &l.stopping)
	if err != nil {
		return fmt.Errorf("waiting for packets: %w", err)
	}
	for i, r := range l.rings {
		if failed>>(i&63)&1 != 0 {
			if err := l.trouble(r); err != nil {
				return err
			}
		}
		if r.down && l.gone(r) {
			r.down = false
			l.poll.remove(r.fd)
			return &InterfaceGoneError{Name: l.ifaces[r.iface].Name}
		}
	}
	return nil
}

// gather lets frames come for a while, if enough did since the last time to make
// that worth it, and not so many that the ring might overflow.
func (l *Live) gather() bool {
	blocks := 0
	for _, r := range l.rings {
		blocks += r.blocks
	}
	read := blocks - l.gathered
	l.gathered = blocks
	switch room := l.cfg.RingBytes / l.cfg.BlockBytes; {
	case read == 0 || read > room/2:
		l.pause = 0
		return false
	case read <= room/8:
		l.pause = min(max(2*l.pause, time.Millisecond), l.cfg.Gather)
	}
	if l.pause == 0 {
		return false
	}
	if l.timer == nil {
		l.timer = time.NewTimer(l.pause)
	} else {
		l.timer.Reset(l.pause)
	}
	select {
	case <-l.timer.C:
	case <-l.stopped:
		l.timer.Stop()
	}
	return true
}

// downCheck is how often an interface that is down is looked at: that it is
// removed, or up again, is told by nothing.
const downCheck = 100 * time.Millisecond

func (l *Live) anyDown() bool {
	for _, r := range l.rings {
		if r.down {
			return true
		}
	}
	return false
}

// trouble looks at a socket that reported an error. That its interface went down
// is none: the socket listens again once it is up.
func (l *Live) trouble(r *ring) error {
	errno, err := unix.GetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return fmt.Errorf("capturing from %q: %w", l.ifaces[r.iface].Name, err)
	}
	switch e := unix.Errno(errno); {
	case errno == 0:
	case e == unix.ENETDOWN:
		r.down = true
		l.downs.Add(1)
	default:
		return fmt.Errorf("capturing from %q: %w", l.ifaces[r.iface].Name, e)
	}
	return nil
}

// gone looks at an interface that was down: whether it was removed, which leaves
// its sockets bound to number -1. If it is up again it is down no more.
func (l *Live) gone(r *ring) bool {
	at := &l.ifaces[r.iface]
	if at.Index == 0 {
		r.down = false
		return false
	}
	sa, err := unix.Getsockname(r.fd)
	if bound, ok := sa.(*unix.SockaddrLinklayer); err == nil && ok && bound.Ifindex != at.Index {
		return true
	}
	ifr, err := unix.NewIfreq(at.Name)
	if err == nil {
		err = unix.IoctlIfreq(r.fd, unix.SIOCGIFFLAGS, ifr)
	}
	// While it is being removed its name leads nowhere, but the socket is still
	// bound to it.
	r.down = err != nil || ifr.Uint16()&unix.IFF_UP == 0
	return false
}

// Stats returns the counts so far. It stays right after Close.
func (l *Live) Stats() LiveStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.count()
	}
	s := l.stats
	s.Delivered, s.Skipped, s.Downs = l.delivered.Load(), l.skipped.Load(), l.downs.Load()
	return s
}

// count adds the kernel's counts, which begin anew. l.mu is held.
func (l *Live) count() {
	for _, r := range l.rings {
		st, err := unix.GetsockoptTpacketStatsV3(r.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
		if err != nil {
			continue
		}
		// tp_packets counts the dropped ones too (packet_getsockopt in
		// net/packet/af_packet.c).
		l.stats.Received += uint64(st.Packets) - uint64(st.Drops)
		l.stats.Dropped += uint64(st.Drops)
		l.stats.Freezes += uint64(st.Freeze_q_cnt)
	}
}

// Stop ends the capture: nothing more enters the rings, and Next returns what is
// in them and then io.EOF. It may be called at any time, more than once.
func (l *Live) Stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.stopping.Load() {
		return
	}
	for _, r := range l.rings {
		_ = attachProgram(r.fd, rejectAll)
	}
	l.stopping.Store(true)
	close(l.stopped)
	l.poll.wake()
}

// Close gives everything back. No call of Next may be under way, and frames that
// it returned are gone; Stop ends a call from elsewhere.
func (l *Live) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.count()
	l.closed = true
	var errs []error
	for _, r := range l.rings {
		errs = append(errs, r.unmap(), unix.Close(r.fd))
	}
	l.rings = nil
	if l.poll != nil {
		errs = append(errs, l.poll.close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing a live capture: %w", err)
	}
	return nil
}
