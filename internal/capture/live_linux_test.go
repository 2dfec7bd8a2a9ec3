package capture_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// carried is what the counters of an interface tell, in frames.
type carried struct{ received, sent uint64 }

// counters reads /proc/net/dev of a namespace.
func counters(tb testing.TB, ns *tcptest.NetNS, name string) carried {
	tb.Helper()
	var text []byte
	var err error
	if errDo := ns.Do(func() { text, err = os.ReadFile("/proc/thread-self/net/dev") }); errDo != nil || err != nil {
		tb.Fatal(errDo, err)
	}
	for line := range strings.Lines(string(text)) {
		dev, rest, ok := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if !ok || strings.TrimSpace(dev) != name || len(f) < 10 {
			continue
		}
		rx, err1 := strconv.ParseUint(f[1], 10, 64)
		tx, err2 := strconv.ParseUint(f[9], 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			tb.Fatal(err)
		}
		return carried{rx, tx}
	}
	tb.Fatalf("no counters of %s", name)
	return carried{}
}

// balance reads how many frames a capture was given or missed, and how many the
// interfaces carried, at a moment when neither changes: the kernel sends packets
// of its own when it likes.
func balance(tb testing.TB, carried func() uint64, l *capture.Live) (captured, on uint64) {
	tb.Helper()
	count := func() uint64 {
		st := l.Stats()
		return st.Received + st.Dropped
	}
	for range 100 {
		before := count()
		time.Sleep(20 * time.Millisecond)
		on = carried()
		if captured = count(); captured == before {
			return captured, on
		}
	}
	tb.Fatal("packets never stop")
	return 0, 0
}

// stream sends so many bytes over one connection to a listener at addr, inside
// the namespaces of both, waits for their end, and returns the tuple as the
// client sees it.
func stream(tb testing.TB, from, to *tcptest.NetNS, addr string, n int64) tcp.Tuple {
	tb.Helper()
	var ln net.Listener
	var err error
	if errDo := to.Do(func() { ln, err = net.Listen("tcp", addr) }); errDo != nil || err != nil {
		tb.Fatal(errDo, err)
	}
	defer ln.Close()
	got := make(chan int64, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			got <- -1
			return
		}
		defer c.Close()
		n, _ := io.Copy(io.Discard, c)
		got <- n
	}()
	var conn net.Conn
	if errDo := from.Do(func() { conn, err = net.Dial("tcp", ln.Addr().String()) }); errDo != nil || err != nil {
		tb.Fatal(errDo, err)
	}
	local, remote := conn.LocalAddr().(*net.TCPAddr).AddrPort(), conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	chunk := make([]byte, 1<<20)
	for left := n; left > 0; left -= int64(len(chunk)) {
		if _, err := conn.Write(chunk[:min(left, int64(len(chunk)))]); err != nil {
			tb.Fatal(err)
		}
	}
	_ = conn.Close()
	if m := <-got; m != n {
		tb.Fatalf("%d of %d bytes arrived", m, n)
	}
	time.Sleep(50 * time.Millisecond) // the last ACKs
	return tcp.Tuple{
		Local: tcp.AddrFrom(local.Addr()), LocalPort: local.Port(),
		Remote: tcp.AddrFrom(remote.Addr()), RemotePort: remote.Port(),
	}
}

// collected is what a goroutine that reads a capture has seen.
type collected struct {
	frames, decoded uint64
	segments        []seen
	err             error
}

type seen struct {
	tuple   tcp.Tuple
	flags   capture.Flags
	vlan    uint16
	tagged  bool
	way     capture.Way
	iface   uint32
	link    capture.LinkType
	wire    uint32
	payload uint32
}

// collect reads until the capture is stopped; the result comes after Stop.
func collect(l *capture.Live, each func(*capture.Frame, *capture.Segment)) <-chan collected {
	out := make(chan collected, 1)
	go func() {
		var c collected
		var f capture.Frame
		var s capture.Segment
		for {
			if c.err = l.Next(&f); c.err != nil {
				break
			}
			c.frames++
			if capture.Decode(&f, &s) != capture.TCP {
				continue
			}
			c.decoded++
			if each != nil {
				each(&f, &s)
			}
			if len(c.segments) < 10_000 {
				c.segments = append(c.segments, seen{
					s.Tuple, s.Flags, s.VLAN, s.Info&capture.HasVLAN != 0, f.Way, f.Interface, f.Link, f.WireLen, s.Len,
				})
			}
		}
		if errors.Is(c.err, io.EOF) {
			c.err = nil
		}
		out <- c
	}()
	return out
}

func openLive(tb testing.TB, ns *tcptest.NetNS, change func(*capture.LiveConfig)) *capture.Live {
	tb.Helper()
	cfg := capture.DefaultLiveConfig()
	cfg.BlockTimeout = 10 * time.Millisecond
	cfg.RingBytes = 8 << 20
	cfg.Do = ns.Do
	if change != nil {
		change(&cfg)
	}
	l, err := capture.OpenLive(cfg)
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

func on(names ...string) func(*capture.LiveConfig) {
	return func(c *capture.LiveConfig) { c.Interfaces = names }
}

func finish(tb testing.TB, l *capture.Live, out <-chan collected) collected {
	tb.Helper()
	l.Stop()
	c := <-out
	if c.err != nil {
		tb.Fatal(c.err)
	}
	if st := l.Stats(); st.Delivered+st.Skipped != st.Received || st.Delivered != c.frames {
		tb.Fatalf("%d frames read, but %+v", c.frames, st)
	}
	return c
}

func TestLiveLoopback(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	size := int64(1 << 30)
	if testing.Short() {
		size = 64 << 20
	}
	path := filepath.Join(t.TempDir(), "lo.pcapng")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w, err := capture.NewWriter(file, capture.WriterOptions{Interfaces: []capture.Interface{{Name: "lo", Link: capture.LinkEthernet, SnapLen: 128}}})
	if err != nil {
		t.Fatal(err)
	}
	l := openLive(t, ns, func(c *capture.LiveConfig) {
		c.Interfaces, c.Snaplen = []string{"lo"}, 128
	})
	lo := func() uint64 { return counters(t, ns, "lo").received }
	captured, before := balance(t, lo, l)
	var payload int64
	out := collect(l, func(f *capture.Frame, s *capture.Segment) {
		payload += int64(s.Len)
		if err := w.Write(f, ""); err != nil {
			t.Error(err)
		}
	})
	stream(t, ns, ns, "127.0.0.1:0", size)
	all, on := balance(t, lo, l)
	c := finish(t, l, out)
	st := l.Stats()
	if all-captured != on-before || on == before {
		t.Errorf("%d captured or dropped, but lo carried %d: %+v", all-captured, on-before, st)
	}
	if c.decoded != c.frames {
		t.Errorf("%d of %d frames are TCP", c.decoded, c.frames)
	}
	if st.Dropped == 0 && payload < size {
		t.Errorf("%d bytes of payload, want %d or, with retransmissions, more", payload, size)
	}
	t.Logf("%d frames for %d bytes: %+v", c.frames, size, st)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	need.Programs(t, "tshark")
	if n := tsharkFrames(t, path); n != c.frames {
		t.Errorf("tshark finds %d frames of %d", n, c.frames)
	}
}

// tsharkFrames counts frames with tshark, which must have nothing to complain of.
func tsharkFrames(tb testing.TB, path string) uint64 {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), "tshark", "-n", "-r", path, "-T", "fields", "-e", "frame.number")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		tb.Fatalf("tshark: %v: %s", err, stderr.String())
	}
	for line := range strings.Lines(stderr.String()) {
		if !strings.Contains(line, "as user \"root\"") {
			tb.Errorf("tshark: %s", line)
		}
	}
	return uint64(bytes.Count(stdout.Bytes(), []byte("\n")))
}

func TestLiveStalledReader(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	l := openLive(t, ns, func(c *capture.LiveConfig) {
		c.Interfaces = []string{"lo"}
		c.BlockBytes, c.RingBytes, c.Snaplen = 4096, 4*4096, 96
	})
	lo := func() uint64 { return counters(t, ns, "lo").received }
	captured, before := balance(t, lo, l)
	stream(t, ns, ns, "127.0.0.1:0", 30<<20) // nobody reads
	all, on := balance(t, lo, l)
	st := l.Stats()
	if st.Dropped == 0 || st.Freezes == 0 || st.Received == 0 || all-captured != on-before {
		t.Errorf("%+v, but lo carried %d", st, on-before)
	}
	c := finish(t, l, collect(l, nil))
	if c.frames != st.Received {
		t.Errorf("%d frames delivered of %d", c.frames, st.Received)
	}
	t.Logf("%+v of %d", l.Stats(), on-before)
}

// inject sends frames as they are out of an interface.
func inject(tb testing.TB, ns *tcptest.NetNS, name string, frames ...[]byte) {
	tb.Helper()
	var err error
	errDo := ns.Do(func() {
		var fd int
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return
		}
		defer unix.Close(fd)
		var at *net.Interface
		if at, err = net.InterfaceByName(name); err != nil {
			return
		}
		for _, f := range frames {
			if err = unix.Sendto(fd, f, 0, &unix.SockaddrLinklayer{Ifindex: at.Index}); err != nil {
				return
			}
		}
	})
	if err := errors.Join(errDo, err); err != nil {
		tb.Fatal(err)
	}
}

// TestLiveVLAN sends tagged frames. The kernel takes the outer tag off what it
// receives, before any socket sees it, and leaves it in what is sent.
func TestLiveVLAN(t *testing.T) {
	v := link(t)
	// A SYN from 198.51.100.1:1000 to 198.51.100.2:2000.
	packet, err := hex.DecodeString("450000280001000040060000c6336401c6336402" + "03e807d000000001000000005002ffff00000000")
	if err != nil {
		t.Fatal(err)
	}
	frame := func(tags string) []byte {
		b, err := hex.DecodeString("ffffffffffff020000000001" + tags + "0800")
		if err != nil {
			t.Fatal(err)
		}
		return append(b, packet...)
	}
	single, double := frame("81000007"), frame("88a8000981000007")
	type side struct {
		l   *capture.Live
		out <-chan collected
		cap *[][]byte
	}
	begin := func(ns *tcptest.NetNS, name string) side {
		l := openLive(t, ns, on(name))
		data := new([][]byte)
		return side{l, collect(l, func(f *capture.Frame, s *capture.Segment) {
			if s.Tuple.LocalPort == 1000 {
				*data = append(*data, bytes.Clone(f.Data))
				if f.WireLen != uint32(len(f.Data)) {
					t.Errorf("%d bytes on the wire, %d captured", f.WireLen, len(f.Data))
				}
			}
		}), data}
	}
	sent, received, cooked := begin(v.a, v.nameA), begin(v.b, v.nameB), begin(v.b, "any")
	inject(t, v.a, v.nameA, single, double)
	time.Sleep(50 * time.Millisecond)
	for _, s := range []struct {
		name string
		side
		way capture.Way
	}{{"sent", sent, capture.WayOut}, {"received", received, capture.WayIn}, {"any", cooked, capture.WayIn}} {
		c := finish(t, s.l, s.out)
		if len(*s.cap) != 2 {
			t.Fatalf("%s: %d frames", s.name, len(*s.cap))
		}
		for _, seg := range c.segments {
			if seg.tuple.LocalPort == 1000 && (!seg.tagged || seg.vlan != 7 || seg.way != s.way) {
				t.Errorf("%s: %+v", s.name, seg)
			}
		}
		want := [][]byte{single, double}
		if s.name == "any" {
			// The header says what the interface is and which tag comes.
			for i, w := range want {
				got := (*s.cap)[i]
				if !bytes.Equal(got[:2], w[12:14]) || !bytes.Equal(got[20:], w[14:]) {
					t.Errorf("any: % x\nof    % x", got, w)
				}
			}
		} else if diff := cmp.Diff(want, *s.cap); diff != "" {
			t.Errorf("%s: frames differ (-sent +captured):\n%s", s.name, diff)
		}
	}
}

func TestLiveFilter(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	first := stream(t, ns, ns, "127.0.0.1:0", 1)
	for _, name := range []string{"lo", "any"} {
		t.Run(name, func(t *testing.T) {
			port := 20000
			f, err := filter.Parse(fmt.Sprintf("port %d and not process curl", port))
			if err != nil {
				t.Fatal(err)
			}
			l := openLive(t, ns, func(c *capture.LiveConfig) { c.Interfaces, c.Filter = []string{name}, f })
			before := counters(t, ns, "lo")
			out := collect(l, nil)
			stream(t, ns, ns, "127.0.0.1:0", 10_000)
			want := stream(t, ns, ns, fmt.Sprintf("127.0.0.1:%d", port), 10_000)
			stream(t, ns, ns, "127.0.0.1:0", 10_000)
			c := finish(t, l, out)
			for _, s := range c.segments {
				if s.tuple != want && s.tuple != want.Reverse() {
					t.Errorf("unexpected: %+v, first was %v", s, first)
				}
			}
			if on := counters(t, ns, "lo").received - before.received; c.frames == 0 || c.frames >= on {
				t.Errorf("%d of %d frames", c.frames, on)
			}
		})
	}
}

func liveUnprivilegedRole(c *tcptest.Control) error {
	if err := c.Recv(&struct{}{}); err != nil {
		return err
	}
	_, err := capture.OpenLive(capture.DefaultLiveConfig())
	return c.Send([]any{errors.Is(err, tcp.ErrPermission), fmt.Sprint(err)})
}

func TestLiveWithoutRights(t *testing.T) {
	need.Root(t)
	child := tcptest.Start(t, "live-unprivileged", nil, tcptest.AsUser(65534))
	var got []any
	if err := child.Recv(&got); err != nil {
		t.Fatal(err)
	}
	if got[0] != true || !strings.Contains(got[1].(string), "CAP_NET_RAW") {
		t.Errorf("%v", got)
	}
}

func TestLiveStop(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	l := openLive(t, ns, on("lo"))
	out := collect(l, nil)
	time.Sleep(20 * time.Millisecond) // it waits
	l.Stop()
	l.Stop()
	select {
	case c := <-out:
		if c.err != nil || c.frames != 0 {
			t.Errorf("%+v", c)
		}
	case <-time.After(5 * time.Second):
		panic("Next goes on waiting, and the ring cannot be taken from it")
	}
	if err := l.Next(new(capture.Frame)); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}
