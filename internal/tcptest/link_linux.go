package tcptest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// LinkConfig describes a Link. The zero value is a perfect one.
type LinkConfig struct {
	// Seed decides about every packet, in the order in which they are sent.
	Seed uint64
	// There is for the packets from end 0 to end 1, Back for the others.
	There, Back Impairment
	// IPv6 instead of IPv4.
	IPv6 bool
	// Sysctls are set at both ends, by their path below /proc/sys.
	Sysctls map[string]string
	// Snap is how many bytes of each packet the record keeps, 128 by default.
	Snap int
	// MaxPackets bounds the record, a million by default: then the link is dead.
	MaxPackets int
}

// A Link joins two network namespaces by a path that loses, delays, reorders and
// duplicates packets, and keeps a record of all of them.
//
// Each end is a TUN device whose other side is this process. Such a device
// offers no offloading unless it is asked to: packets come as they would go on a
// wire, of the size of the MTU and with whole checksums, and arrive one by one.
type Link struct {
	// Ends are the namespaces, Addrs their addresses on the link.
	Ends  [2]*NetNS
	Addrs [2]netip.Addr

	cfg   LinkConfig
	tuns  [2]int
	wake  int           // eventfd: ends the relay
	done  chan struct{} // closed by the relay; nil before it runs
	stop  sync.Once
	start time.Time

	// What follows belongs to the relay until done is closed.
	impair  [2]*impairer
	way     underway
	newest  [2]int // of what arrived: the latest sent, by sender
	record  LinkRecord
	failure error
}

const linkDevice = "link0"

// linkQueue is the length of the devices' queues: the ends must lose nothing
// that the link does not know of.
const linkQueue = 20_000

// NewLink makes both namespaces and the link, which end with the test. It needs
// root, ip(8) and TUN devices.
func NewLink(tb testing.TB, cfg LinkConfig) *Link {
	tb.Helper()
	need.Root(tb)
	need.Programs(tb, "ip")
	if f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err != nil {
		need.That(tb, false, "TUN devices ("+err.Error()+")")
	} else {
		_ = f.Close()
	}
	l, err := MakeLink(tb.Context(), tb.TempDir(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := l.Close(); err != nil {
			tb.Error(err)
		}
	})
	return l
}

// MakeLink makes both namespaces, with files in dir that hold them, and the
// link. The caller must Close it.
func MakeLink(ctx context.Context, dir string, cfg LinkConfig) (_ *Link, err error) {
	if cfg.Snap == 0 {
		cfg.Snap = 128
	}
	if cfg.MaxPackets == 0 {
		cfg.MaxPackets = 1 << 20
	}
	l := &Link{
		cfg: cfg, tuns: [2]int{-1, -1}, wake: -1, newest: [2]int{-1, -1}, start: time.Now(),
		impair: [2]*impairer{newImpairer(cfg.There, cfg.Seed, 0), newImpairer(cfg.Back, cfg.Seed, 1)},
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	if l.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("making a link: %w", err)
	}
	// Addresses for documentation: RFC 5737 and RFC 3849.
	nets := [2]string{"192.0.2.1/24", "192.0.2.2/24"}
	if cfg.IPv6 {
		nets = [2]string{"2001:db8::1/64", "2001:db8::2/64"}
	}
	for i := range l.Ends {
		prefix := netip.MustParsePrefix(nets[i])
		l.Addrs[i] = prefix.Addr()
		if l.Ends[i], err = MakeNetNS(dir); err != nil {
			return nil, err
		}
		if err := l.attach(ctx, i, prefix); err != nil {
			return nil, err
		}
	}
	l.done = make(chan struct{})
	go l.relay()
	return l, nil
}

// Close ends the link and its namespaces.
func (l *Link) Close() error {
	l.end()
	var errs []error
	for i, n := range l.Ends {
		if n != nil {
			errs = append(errs, n.Close())
			l.Ends[i] = nil
		}
	}
	return errors.Join(errs...)
}

// attach makes the device of one end.
func (l *Link) attach(ctx context.Context, end int, at netip.Prefix) error {
	n := l.Ends[end]
	var err error
	errDo := n.Do(func() {
		if l.tuns[end], err = openTUN(linkDevice); err != nil {
			return
		}
		sysctls := map[string]string{
			// What one connection learns of the path must not help the next.
			"net/ipv4/tcp_no_metrics_save": "1",
		}
		maps.Copy(sysctls, l.cfg.Sysctls)
		for name, value := range sysctls {
			err = errors.Join(err, os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0))
		}
	})
	if err := errors.Join(errDo, err); err != nil {
		return fmt.Errorf("end %d of a link: %w", end, err)
	}
	argv := []string{"ip", "addr", "add", at.String(), "dev", linkDevice}
	if at.Addr().Is6() {
		argv = append(argv, "nodad")
	}
	for _, argv := range [][]string{argv, {"ip", "link", "set", linkDevice, "txqueuelen", strconv.Itoa(linkQueue), "up"}} {
		if _, err := n.Run(ctx, "", argv...); err != nil {
			return err
		}
	}
	return nil
}

// openTUN makes a device in the calling thread's namespace, which lasts until it
// is closed.
func openTUN(name string) (fd int, err error) {
	fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("opening /dev/net/tun: %w", err)
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		// include/uapi/linux/if_tun.h
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("making a TUN device: %w", err)
	}
	return fd, nil
}

// now is in nanoseconds since 1970, and never goes back.
func (l *Link) now() int64 { return l.start.UnixNano() + int64(time.Since(l.start)) }

// relay moves packets until the end. One thread does all, so that the record needs
// no lock and has one order.
func (l *Link) relay() {
	defer close(l.done)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Else a sleep of 50 µs may take twice as long. 0 brings the default back.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	defer func() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) }()
	fds := []unix.PollFd{
		{Fd: int32(l.tuns[0]), Events: unix.POLLIN},
		{Fd: int32(l.tuns[1]), Events: unix.POLLIN},
		{Fd: int32(l.wake), Events: unix.POLLIN},
	}
	buf := make([]byte, 1<<16)
	for {
		l.deliver()
		var timeout *unix.Timespec
		if due, ok := l.way.next(); ok {
			ts := unix.NsecToTimespec(max(due-l.now(), 0))
			timeout = &ts
		}
		if _, err := unix.Ppoll(fds, timeout, nil); err != nil && !errors.Is(err, unix.EINTR) {
			l.failure = fmt.Errorf("waiting for packets: %w", err)
			return
		}
		if fds[2].Revents != 0 {
			return
		}
		for end := range l.tuns {
			// Not all at once: what is due meanwhile must not wait.
			for range 32 {
				n, err := unix.Read(l.tuns[end], buf)
				if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
					break
				}
				if err != nil {
					l.failure = fmt.Errorf("reading packets of end %d: %w", end, err)
					return
				}
				l.take(end, buf[:n])
			}
		}
	}
}

// take decides about a packet that an end sent.
func (l *Link) take(from int, packet []byte) {
	if !isTCP(packet) {
		return // router solicitations and the like
	}
	now := l.now()
	id := len(l.record.Passages)
	if id >= l.cfg.MaxPackets {
		if l.failure == nil {
			l.failure = fmt.Errorf("more than %d packets on a link", l.cfg.MaxPackets)
		}
		return
	}
	fate, due, again := l.impair[from].decide(now, packet)
	l.record.Passages = append(l.record.Passages, Passage{From: from, Fate: fate, Sent: now})
	l.see(from, LinkFrame{Time: now, Passage: id, Out: true}, packet)
	if fate&(FateLost|FateOverflow) != 0 {
		return
	}
	packet = bytes.Clone(packet)
	l.way.add(due, id, false, packet)
	if fate&FateDuplicated != 0 {
		l.way.add(again, id, true, packet)
	}
}

// deliver hands over what is due.
func (l *Link) deliver() {
	for {
		now := l.now()
		due, ok := l.way.next()
		if !ok || due > now {
			return
		}
		a := l.way.take()
		p := &l.record.Passages[a.id]
		to := 1 - p.From
		l.see(to, LinkFrame{Time: now, Passage: a.id, Copied: a.copied}, a.packet)
		if a.copied {
			p.Again = now
		} else {
			p.Arrived = now
			if a.id < l.newest[p.From] {
				p.Fate |= FateOvertaken
			}
			l.newest[p.From] = max(l.newest[p.From], a.id)
		}
		if _, err := unix.Write(l.tuns[to], a.packet); err != nil && l.failure == nil {
			l.failure = fmt.Errorf("delivering a packet to end %d: %w", to, err)
		}
	}
}

func (l *Link) see(end int, f LinkFrame, packet []byte) {
	f.Data, f.WireLen = bytes.Clone(packet[:min(len(packet), l.cfg.Snap)]), len(packet)
	l.record.Ends[end] = append(l.record.Ends[end], f)
}

// Record ends the link and returns what happened on it. It is an error if a
// device lost a packet, which the record would not have.
func (l *Link) Record() (*LinkRecord, error) {
	var lost error
	for i, n := range l.Ends {
		out, err := n.Run(context.Background(), "", "ip", "-s", "link", "show", linkDevice)
		if err != nil {
			return nil, err
		}
		lost = errors.Join(lost, deviceDrops(i, string(out)))
	}
	l.end()
	return &l.record, errors.Join(lost, l.failure)
}

// deviceDrops reads the output of ip -s link: the fourth number of both lines
// that follow a heading.
func deviceDrops(end int, out string) error {
	var heading string
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if strings.HasPrefix(heading, "RX:") || strings.HasPrefix(heading, "TX:") {
			if len(f) < 4 || f[3] != "0" {
				return fmt.Errorf("the device of end %d dropped packets: %s %s", end, heading, strings.Join(f, " "))
			}
		}
		heading = strings.Join(f, " ")
	}
	return nil
}

// end stops the relay and takes the devices away.
func (l *Link) end() {
	l.stop.Do(func() {
		if l.done != nil {
			_, _ = unix.Write(l.wake, binary.NativeEndian.AppendUint64(nil, 1))
			<-l.done
		}
		for _, fd := range append(l.tuns[:], l.wake) {
			if fd >= 0 {
				unix.Close(fd)
			}
		}
	})
}
