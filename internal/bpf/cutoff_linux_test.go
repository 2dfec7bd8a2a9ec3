//go:build 386 || amd64 || arm64

package bpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

func newTestCutoff(tb testing.TB, cfg CutoffConfig) *Cutoff {
	tb.Helper()
	need.Root(tb)
	c, err := NewCutoff(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

// cutoffPacket is an Ethernet frame with one segment.
type cutoffPacket struct {
	src, dst     string
	sport, dport uint16
	seq          uint32
	flags        capture.Flags
	payload      int
	proto        byte // 0 is TCP
	etherType    uint16
	fragment     uint16
	noLength     bool
	body         []byte // instead of a segment
}

func (p cutoffPacket) frame() []byte {
	body := p.body
	if body == nil {
		body = make([]byte, 20+p.payload)
		binary.BigEndian.PutUint32(body[4:], p.seq)
		body[12], body[13] = 5<<4, byte(p.flags)
	}
	binary.BigEndian.PutUint16(body, p.sport)
	binary.BigEndian.PutUint16(body[2:], p.dport)
	proto := p.proto
	if proto == 0 {
		proto = 6
	}
	src, dst := netip.MustParseAddr(p.src), netip.MustParseAddr(p.dst)
	b := make([]byte, 14)
	etherType := uint16(0x0800)
	length := len(body)
	if src.Is4() {
		length += 20
	}
	if p.noLength {
		length = 0
	}
	if src.Is4() {
		b = append(b, 0x45, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(length))
		b = append(b, 0, 0)
		b = binary.BigEndian.AppendUint16(b, p.fragment)
		b = append(b, 64, proto, 0, 0)
	} else {
		etherType = 0x86dd
		b = append(b, 0x60, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(length))
		b = append(b, proto, 64)
	}
	b = append(append(append(b, src.AsSlice()...), dst.AsSlice()...), body...)
	if p.etherType != 0 {
		etherType = p.etherType
	}
	binary.BigEndian.PutUint16(b[12:], etherType)
	return b
}

func (p cutoffPacket) tuple() tcp.Tuple {
	return tcp.Tuple{
		Local: tcp.AddrFrom(netip.MustParseAddr(p.src)), Remote: tcp.AddrFrom(netip.MustParseAddr(p.dst)),
		LocalPort: p.sport, RemotePort: p.dport,
	}
}

// passes runs the program on a frame.
func (c *Cutoff) passes(tb testing.TB, frame []byte) bool {
	tb.Helper()
	ret, _, err := c.program.Test(frame)
	if errors.Is(err, ebpf.ErrNotSupported) {
		need.That(tb, false, "a kernel that runs socket filters on demand")
	}
	if err != nil {
		tb.Fatal(err)
	}
	return ret > 0
}

func TestCutoffOtherProtocols(t *testing.T) {
	c := newTestCutoff(t, CutoffConfig{Packets: 1, Snaplen: 128})
	for _, tt := range []struct {
		name   string
		packet cutoffPacket
		want   bool
	}{
		{"UDP", cutoffPacket{src: "192.0.2.1", dst: "192.0.2.2", proto: 17, dport: 53}, false},
		{"VXLAN", cutoffPacket{src: "192.0.2.1", dst: "192.0.2.2", proto: 17, dport: 4789}, true},
		{"Geneve over IPv6", cutoffPacket{src: "2001:db8::1", dst: "2001:db8::2", proto: 17, sport: 6081}, true},
		{"GRE", cutoffPacket{src: "192.0.2.1", dst: "192.0.2.2", proto: 47}, true},
		{"ICMP echo", cutoffPacket{src: "192.0.2.1", dst: "192.0.2.2", proto: 1, sport: 8 << 8}, false},
		{"ICMP unreachable", cutoffPacket{src: "192.0.2.1", dst: "192.0.2.2", proto: 1, sport: 3<<8 | 1}, true},
		{"ICMPv6 error", cutoffPacket{src: "2001:db8::1", dst: "2001:db8::2", proto: 58, sport: 1 << 8}, true},
		{"neighbour discovery", cutoffPacket{src: "2001:db8::1", dst: "2001:db8::2", proto: 58, sport: 135 << 8}, false},
		{"hop-by-hop", cutoffPacket{src: "2001:db8::1", dst: "2001:db8::2", proto: 200}, true},
		{"SCTP", cutoffPacket{src: "192.0.2.1", dst: "192.0.2.2", proto: 132}, false},
		{"ARP", cutoffPacket{src: "192.0.2.1", dst: "192.0.2.2", etherType: 0x0806}, false},
		{"MPLS", cutoffPacket{src: "192.0.2.1", dst: "192.0.2.2", etherType: 0x8847}, true},
		{"later fragment", cutoffPacket{src: "192.0.2.1", dst: "192.0.2.2", fragment: 7}, false},
		{"runt", cutoffPacket{src: "192.0.2.1", dst: "192.0.2.2", body: make([]byte, 8)}, true},
	} {
		for range 3 { // none of them counts for a connection
			if got := c.passes(t, tt.packet.frame()); got != tt.want {
				t.Errorf("%s: passes %v, want %v", tt.name, got, tt.want)
			}
		}
	}
	st, err := c.Stats()
	if err != nil || st.Cut != 0 || st.Passed == 0 || st.Ignored == 0 || st.Passed+st.Ignored != 3*14 {
		t.Errorf("%+v, %v", st, err)
	}
}

// TestCutoffAgrees holds the kernel's cut-off against the one of user space, on
// connections that do anything.
func TestCutoffAgrees(t *testing.T) {
	for _, limit := range []capture.Cutoff{{Packets: 3}, {Bytes: 50}, {Packets: 10, Bytes: 100}} {
		// Without a socket, the program gets packets without their link header.
		cfg := CutoffConfig{Packets: limit.Packets, Bytes: limit.Bytes, Snaplen: 64, Connections: 1000}
		c := newTestCutoff(t, cfg)
		rc := capture.DefaultRecorderConfig()
		rc.Cutoff, rc.Interfaces = limit, []capture.Interface{{Link: capture.LinkEthernet}}
		rec, err := capture.NewRecorder(t.TempDir(), rc)
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(uint64(limit.Packets), limit.Bytes))
		hosts := [][2]string{{"192.0.2.1", "192.0.2.2"}, {"2001:db8::9", "2001:db8::1"}, {"192.0.2.7", "192.0.2.7"}}
		next := make(map[tcp.Tuple]uint32)
		cuts := make(map[tcp.Tuple]uint64)
		var passed uint64
		const rounds = 5000
		for range rounds {
			pair := hosts[r.IntN(3)]
			p := cutoffPacket{
				src: pair[0], dst: pair[1], sport: uint16(1 + r.IntN(3)), dport: uint16(1 + r.IntN(3)),
				flags: capture.ACK, payload: r.IntN(12), noLength: r.IntN(20) == 0,
			}
			if r.IntN(2) == 0 {
				p.src, p.dst = p.dst, p.src
			}
			switch r.IntN(24) {
			case 0:
				p.flags, p.payload = capture.SYN, 0
			case 1:
				p.flags, p.payload = capture.SYN|capture.ACK, 0
			case 2:
				p.flags |= capture.FIN
			case 3:
				p.flags = capture.RST
			}
			tuple := p.tuple()
			p.seq = next[tuple]
			switch r.IntN(10) {
			case 0:
				p.seq -= uint32(r.IntN(20))
			case 1:
				p.seq += uint32(r.Int64N(1 << 31))
			}
			next[tuple] = p.seq + uint32(p.payload)
			data := p.frame()
			f := capture.Frame{Time: 1, Link: capture.LinkEthernet, Data: data, WireLen: uint32(len(data))}
			var s capture.Segment
			if why := capture.Decode(&f, &s); why != capture.TCP {
				t.Fatal(why)
			}
			before := rec.Stats().Cut
			rec.Add(&f, &s)
			want := rec.Stats().Cut == before
			if got := c.passes(t, data); got != want {
				t.Fatalf("limit %+v: %+v passes %v in the kernel, %v here", limit, p, got, want)
			}
			if want {
				passed++
			} else if r := tuple.Reverse(); cuts[r] > 0 {
				cuts[r]++
			} else {
				cuts[tuple]++
			}
		}
		st, err := c.Stats()
		if err != nil || st.Passed != passed || st.Cut != rounds-passed || st.Ignored != 0 || passed == 0 || st.Cut == 0 {
			t.Errorf("%+v, %v, want %d passed", st, err, passed)
		}
		for tuple, want := range cuts {
			n, size, ok, err := c.Cut(tuple)
			if err != nil || !ok || n != want || size < 40*n {
				t.Errorf("%v: %d packets and %d bytes cut, %v, %v, want %d", tuple, n, size, ok, err, want)
			}
			if m, _, _, _ := c.Cut(tuple.Reverse()); m != n {
				t.Errorf("%v: %d and %d from its ends", tuple, n, m)
			}
		}
		if _, _, ok, err := c.Cut(tcp.Tuple{LocalPort: 99}); ok || err != nil {
			t.Errorf("a connection that never was: %v, %v", ok, err)
		}
		if err := rec.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// received reads how many packets an interface of a namespace received.
func received(tb testing.TB, ns *tcptest.NetNS, name string) uint64 {
	tb.Helper()
	var text []byte
	var err error
	if errDo := ns.Do(func() { text, err = os.ReadFile("/proc/thread-self/net/dev") }); errDo != nil || err != nil {
		tb.Fatal(errDo, err)
	}
	for line := range strings.Lines(string(text)) {
		if dev, rest, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(dev) == name {
			n, err := strconv.ParseUint(strings.Fields(rest)[1], 10, 64)
			if err != nil {
				tb.Fatal(err)
			}
			return n
		}
	}
	tb.Fatalf("no interface %s", name)
	return 0
}

// transfer sends bytes over one connection on loopback.
func transfer(tb testing.TB, ns *tcptest.NetNS, size int) {
	tb.Helper()
	var ln net.Listener
	var conn net.Conn
	var err error
	done := make(chan error, 1)
	errDo := ns.Do(func() {
		if ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return
		}
		go func() {
			c, err := ln.Accept()
			if err == nil {
				_, err = io.Copy(io.Discard, c)
				_ = c.Close()
			}
			done <- err
		}()
		conn, err = net.Dial("tcp", ln.Addr().String())
	})
	if err := errors.Join(errDo, err); err != nil {
		tb.Fatal(err)
	}
	_, err = io.Copy(conn, bytes.NewReader(make([]byte, size)))
	if err := errors.Join(err, conn.Close(), <-done, ln.Close()); err != nil {
		tb.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // the last ACKs
}

// TestCutoffCaptures counts each packet of loopback in exactly one place.
func TestCutoffCaptures(t *testing.T) {
	for _, name := range []string{"lo", capture.AnyInterface} {
		t.Run(name, func(t *testing.T) {
			ns := tcptest.NewNetNS(t)
			cfg := CutoffConfig{Packets: 10, Snaplen: 128, Connections: 100}
			if name == "lo" {
				cfg.LinkHeader = 14
			} else {
				cfg.SkipLoopback = true
			}
			c := newTestCutoff(t, cfg)
			live := capture.DefaultLiveConfig()
			live.Interfaces, live.FilterFD, live.Do = []string{name}, c.FD(), ns.Do
			live.BlockTimeout, live.RingBytes = 10*time.Millisecond, 4<<20
			l, err := capture.OpenLive(live)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			before := received(t, ns, "lo")
			flags := make(map[capture.Flags]int)
			done := make(chan error, 1)
			go func() {
				var f capture.Frame
				var s capture.Segment
				for {
					if err := l.Next(&f); err != nil {
						done <- err
						return
					}
					if why := capture.Decode(&f, &s); why != capture.TCP {
						t.Errorf("a packet that is %v", why)
					}
					flags[s.Flags&(capture.SYN|capture.FIN)]++
					if len(f.Data) > 128+20 { // a cooked header is not part of it
						t.Errorf("%d bytes of a packet", len(f.Data))
					}
				}
			}()
			transfer(t, ns, 100<<20)
			on := received(t, ns, "lo") - before
			l.Stop()
			if err := <-done; !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			st, ls := mustStats(t, c), l.Stats()
			if ls.Received+ls.Dropped != st.Passed || st.Passed+st.Cut+st.Ignored != on {
				t.Errorf("the socket %+v, the filter %+v, lo carried %d", ls, st, on)
			}
			if flags[capture.SYN] != 2 || flags[capture.FIN] != 2 || st.Cut < 100 || st.CutBytes < 50<<20 {
				t.Errorf("flags %v, %+v, %+v", flags, st, ls)
			}
			t.Logf("lo carried %d: %+v", on, st)
		})
	}
}

func mustStats(tb testing.TB, c *Cutoff) CutoffStats {
	tb.Helper()
	st, err := c.Stats()
	if err != nil {
		tb.Fatal(err)
	}
	return st
}

func TestCutoffLayout(t *testing.T) {
	c := newTestCutoff(t, DefaultCutoffConfig())
	for _, m := range []struct {
		m          *ebpf.Map
		key, value uint32
	}{{c.connections, cutoffKey, cutoffState}, {c.counters, 4, cutoffCounts}} {
		if m.m.KeySize() != m.key || m.m.ValueSize() != m.value {
			t.Errorf("%v: want %d and %d bytes", m.m, m.key, m.value)
		}
	}
}

func BenchmarkCutoff(b *testing.B) {
	c := newTestCutoff(b, DefaultCutoffConfig())
	frame := cutoffPacket{src: "192.0.2.1", dst: "192.0.2.2", sport: 1, dport: 2, payload: 1000, flags: capture.ACK}.frame()
	b.ReportAllocs()
	for b.Loop() {
		_, d, err := c.program.Benchmark(frame, 10_000, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(d.Nanoseconds()), "ns/packet")
	}
}
