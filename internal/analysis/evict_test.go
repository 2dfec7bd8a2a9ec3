package analysis

import (
	"encoding/binary"
	"runtime"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// flows are established connections that go on sending.
func flowSegment(i int, at int64, seq uint32, f capture.Flags, n uint32) capture.Segment {
	return capture.Segment{
		Time: at, WireLen: 54 + n, Len: n, Seq: seq, Ack: 1, Flags: f, Window: 1000,
		Tuple: tcp.Tuple{
			Local: tcp.AddrFrom4([4]byte{198, 51, 100, byte(i >> 8)}), Remote: tcp.AddrFrom4([4]byte{192, 0, 2, 1}),
			LocalPort: 1024 + uint16(i), RemotePort: 443,
		},
	}
}

// TestFaultSYNFlood: a million SYNs from forged addresses, half of them answered,
// among 1,000 connections. Not one of these is lost, and memory is bounded.
func TestFaultSYNFlood(t *testing.T) {
	const established, forged = 1000, 1_000_000
	lost := 0
	cfg := DefaultConfig()
	cfg.OnEnd = func(c *Conn) {
		if c.Tuple.Local[12] == 198 && c.End != EndFlushed {
			lost++
		}
	}
	a := New(cfg)
	var (
		p  Packet
		at int64 = 1e18
		in uint64
	)
	add := func(s capture.Segment) {
		at += 1000
		s.Time = at
		in++
		a.Add(&s, &p)
	}
	for i := range established {
		s := flowSegment(i, at, 0, capture.SYN, 0)
		s.Ack = 0
		add(s)
		s = flowSegment(i, at, 1, capture.ACK, 0)
		s.Tuple = s.Tuple.Reverse()
		s.Seq, s.Flags = 0, capture.SYN|capture.ACK
		add(s)
		add(flowSegment(i, at, 1, capture.ACK, 0))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for n := range forged {
		var src [4]byte
		binary.BigEndian.PutUint32(src[:], 0x0a000000+uint32(n))
		syn := capture.Segment{
			WireLen: 54, Flags: capture.SYN, Seq: uint32(n), Window: 1000,
			Tuple: tcp.Tuple{Local: tcp.AddrFrom4(src), Remote: tcp.AddrFrom4([4]byte{192, 0, 2, 1}), LocalPort: 7, RemotePort: 443},
		}
		add(syn)
		if n%2 == 0 {
			syn.Tuple, syn.Flags, syn.Seq, syn.Ack = syn.Tuple.Reverse(), capture.SYN|capture.ACK, 9, uint32(n)+1
			add(syn)
		}
		if n%100 == 0 {
			i := n / 100 % established
			add(flowSegment(i, at, 1+100*uint32(n/100/established), capture.ACK|capture.PSH, 100))
			if p.Stream != uint32(i) || p.Verdict != VerdictNew {
				t.Fatalf("connection %d is stream %d now, %v", i, p.Stream, p.Verdict)
			}
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 128<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	st := a.Stats()
	if st.Conns != established || st.HalfOpen > cfg.MaxHalfOpen || lost > 0 {
		t.Errorf("%d connections, %d half-open, %d lost", st.Conns, st.HalfOpen, lost)
	}
	if want := uint64(forged - st.HalfOpen); st.EvictedHalfOpen != want || st.Ended[EndEvicted] != want || st.Segments != in {
		t.Errorf("%+v, want %d evicted of %d segments", st, want, in)
	}
	a.Flush()
	for _, l := range a.lists {
		if l.n != 0 || l.head != 0 || l.tail != 0 {
			t.Errorf("a list is left: %+v", l)
		}
	}
	if a.conns.used+a.nodes.used+a.holes.used+a.pages.used+a.sacks.used != 0 || a.table.used != 0 {
		t.Errorf("left: %d conns, %d nodes, %d holes, %d pages, %d sacks, %d in the table",
			a.conns.used, a.nodes.used, a.holes.used, a.pages.used, a.sacks.used, a.table.used)
	}
}

// TestEviction: closed connections go first, then those idle for longest.
func TestEviction(t *testing.T) {
	var ended []uint32
	cfg := DefaultConfig()
	cfg.MaxConns = 10
	cfg.OnEnd = func(c *Conn) {
		if c.End == EndEvicted {
			ended = append(ended, c.Stream)
		}
	}
	a := New(cfg)
	var p Packet
	at := int64(1e18)
	talk := func(i int, flags capture.Flags) {
		at += 1e6
		s := flowSegment(i, at, 1, flags, 0)
		a.Add(&s, &p)
		s.Tuple = s.Tuple.Reverse()
		a.Add(&s, &p)
	}
	for i := range 10 {
		talk(i, capture.ACK)
	}
	talk(4, capture.RST|capture.ACK) // closed
	talk(0, capture.ACK)             // seen again
	for i := 10; i < 13; i++ {
		talk(i, capture.ACK)
	}
	if want := []uint32{4, 1, 2}; len(ended) != 3 || ended[0] != want[0] || ended[1] != want[1] || ended[2] != want[2] {
		t.Errorf("evicted %v, want %v", ended, want)
	}
	if st := a.Stats(); st.Conns != 10 || st.Ended[EndEvicted] != 3 || st.EvictedHalfOpen != 0 {
		t.Errorf("%+v", st)
	}
}

// TestTimers: what is silent for long ends, each kind by its own time, and time
// is that of the packets.
func TestTimers(t *testing.T) {
	ended := map[uint32]EndReason{}
	cfg := DefaultConfig()
	cfg.HalfOpenTimeout, cfg.IdleTimeout, cfg.ClosedTimeout = 10*time.Second, 100*time.Second, 30*time.Second
	cfg.OnEnd = func(c *Conn) { ended[c.Stream] = c.End }
	a := New(cfg)
	var p Packet
	base := int64(1e18)
	add := func(i int, at time.Duration, f capture.Flags, back bool) {
		s := flowSegment(i, base+int64(at), 1, f, 0)
		if back {
			s.Tuple = s.Tuple.Reverse()
		}
		a.Add(&s, &p)
	}
	add(0, 0, capture.SYN, false) // stream 0: half-open
	for i, f := range map[int]capture.Flags{1: capture.ACK, 2: capture.ACK} {
		add(i, 0, f, false)
		add(i, 0, f, true)
	}
	first := p.Stream
	add(2, time.Second, capture.RST|capture.ACK, false)
	closed, open := first, first
	for _, c := range a.Conns() {
		switch {
		case c.Ended != 0:
			closed = c.Stream
		case c.Stream != 0:
			open = c.Stream
		}
	}
	step := func(to time.Duration) {
		for at := to - 20*time.Second; at <= to; at += 250 * time.Millisecond {
			add(3, at, capture.ACK, true)
			add(3, at, capture.ACK, false)
		}
	}
	step(20 * time.Second)
	if len(ended) != 1 || ended[0] != EndExpired {
		t.Fatalf("after 20 s: %v", ended)
	}
	step(40 * time.Second)
	step(60 * time.Second)
	if len(ended) != 2 || ended[closed] != EndExpired {
		t.Fatalf("after 60 s: %v, stream %d is closed", ended, closed)
	}
	step(90 * time.Second)
	step(130 * time.Second)
	if len(ended) != 3 || ended[open] != EndExpired {
		t.Fatalf("after 130 s: %v, stream %d is idle", ended, open)
	}
	if st := a.Stats(); st.Conns != 1 || st.Ended[EndExpired] != 3 {
		t.Errorf("%+v", st)
	}
}

// TestTimeout: a SYN that nobody answered is a timeout once the analyzer gives
// it up, and one that an ICMP error quotes is unreachable at once.
func TestTimeout(t *testing.T) {
	got := map[string]tcp.CloseReason{}
	cfg := DefaultConfig()
	cfg.HalfOpenTimeout = time.Minute
	var a *Analyzer
	cfg.OnEnd = func(c *Conn) {
		var row tcp.Conn
		a.Fill(c, tcp.NewIDs("x"), nil, &row)
		got[c.End.String()] = row.Reason
	}
	a = New(cfg)
	var p Packet
	s := flowSegment(1, 1e18, 1, capture.SYN, 0)
	a.Add(&s, &p)
	s = flowSegment(2, 1e18+200e9, 1, capture.SYN, 0)
	a.Add(&s, &p)
	s.Info = capture.InICMP
	a.Add(&s, &p)
	a.Flush()
	if got["expired"] != tcp.CloseTimeout || got["flushed"] != tcp.CloseUnreachable {
		t.Errorf("%v", got)
	}
}

// TestMemory: the bound on memory holds when every table is driven full.
func TestMemory(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Memory = 16 << 20
	a := New(cfg)
	var p Packet
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	at := int64(1e18)
	for i := range 300_000 {
		at += 1000
		// Two sides, unacknowledged data with holes, never the end.
		s := flowSegment(i%60_000, at, uint32(1+i/60_000*300), capture.ACK, 100)
		a.Add(&s, &p)
		s.Tuple = s.Tuple.Reverse()
		a.Add(&s, &p)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > cfg.Memory*5/4 {
		t.Errorf("%d MiB for a bound of %d", grown>>20, cfg.Memory>>20)
	}
	if st := a.Stats(); st.Ended[EndEvicted] == 0 || st.Segments != 600_000 {
		t.Errorf("%+v", st)
	}
	runtime.KeepAlive(a)
}
