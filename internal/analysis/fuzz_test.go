package analysis

import (
	"encoding/binary"
	"testing"

	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// fuzzSegment is how many bytes of fuzz input make a segment.
const fuzzSegment = 20

// decodeFuzz makes a segment of a few bytes, so that a fuzzer finds its way:
// numbers near each other, few connections, time that mostly goes on.
func decodeFuzz(b []byte, now *int64) capture.Segment {
	*now += int64(int16(binary.LittleEndian.Uint16(b))) * 100_000
	s := capture.Segment{
		Time: *now, WireLen: 54, HeaderLen: 20,
		Flags: capture.Flags(binary.LittleEndian.Uint16(b[2:]) & 0x1ff),
		Seq:   uint32(int32(int16(binary.LittleEndian.Uint16(b[4:])))) * 7,
		Ack:   uint32(int32(int16(binary.LittleEndian.Uint16(b[6:])))) * 7,
		Len:   uint32(b[8]) * uint32(b[9]>>4), Window: uint16(b[10]) << (b[9] & 7),
		Opts: capture.Opts(b[11]), WScale: b[12] & 15, MSS: uint16(b[12]) << 4, MPTCP: b[12],
		TSVal: uint32(b[13]), IPID: uint32(b[14]), Info: capture.Info(b[15]) & (capture.HasIPID | capture.InICMP | capture.NoLen | capture.Fragment),
		Tuple: tcp.Tuple{LocalPort: uint16(b[16] & 3), RemotePort: uint16(b[16] >> 2 & 3), Local: tcp.Addr{15: b[16] >> 4 & 1}, Remote: tcp.Addr{15: b[16] >> 5 & 1}},
		ECN:   b[17] & 3, SACKLen: b[17] >> 2 & 7,
		Payload: b[:min(len(b), int(b[18]))],
	}
	if b[19]&1 != 0 {
		s.Seq += 1 << 31
	}
	if b[19]&2 != 0 {
		s.Seq, s.Len = s.Seq^binary.LittleEndian.Uint32(b[4:]), s.Len<<12
	}
	for i := range s.SACK {
		s.SACK[i] = capture.SACKBlock{Left: s.Ack + uint32(b[i]), Right: s.Ack + uint32(b[i+4])*uint32(b[i])}
	}
	return s
}

// FuzzAdd: whatever comes, nothing breaks, what goes in comes out, and nothing
// is left behind.
func FuzzAdd(f *testing.F) {
	f.Add([]byte("\x01\x00\x02\x00\x01\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x01\x00\x00\x00"), false)
	f.Add(make([]byte, 10*fuzzSegment), true)
	seed := make([]byte, 0, 40*fuzzSegment)
	for i := range 40 {
		seed = append(seed,
			byte(i), 0, []byte{2, 18, 16, 24, 17, 20}[i%6], 0, byte(i/2), 0, byte(i/3), 0, 7, 16, byte(i), byte(1<<(i%8)), 3, byte(i),
			byte(i), 1, byte(4-3*(i&1)), byte(i), 0, 0)
	}
	f.Add(seed, false)
	f.Fuzz(func(t *testing.T, b []byte, old bool) {
		cfg := DefaultConfig()
		cfg.Wireshark40 = old
		cfg.MaxConns, cfg.MaxHalfOpen, cfg.MaxUnacked, cfg.MaxHoles = 3, 2, 20, 5
		cfg.HalfOpenTimeout, cfg.IdleTimeout, cfg.ClosedTimeout = 1e9, 5e9, 2e9
		var (
			packets, wire, icmp, ended uint64
			row                        tcp.Conn
			a                          *Analyzer
		)
		ids := tcp.NewIDs("fuzz")
		cfg.OnEnd = func(c *Conn) {
			ended++
			icmp += uint64(c.ICMP)
			for i := range c.Sides {
				s := &c.Sides[i]
				packets += s.Packets
				wire += s.WireBytes
				checkSide(t, a, s)
			}
			a.Fill(c, ids, func(addr tcp.Addr) bool { return addr[15] == 1 }, &row)
			if row.Packets.ConnState == "" || row.ID == 0 || len(row.Packets.History) > historyLen {
				t.Fatalf("%+v", row.Packets)
			}
		}
		a = New(cfg)
		var (
			p   Packet
			now int64 = 1e18
			in  uint64
		)
		for ; len(b) >= fuzzSegment; b = b[fuzzSegment:] {
			s := decodeFuzz(b[:fuzzSegment], &now)
			a.Add(&s, &p)
			in++
			if p.Conn == nil || p.Conn.Stream != p.Stream || p.Verdict >= NumVerdicts || p.Reason >= numReasons {
				t.Fatalf("%+v", p)
			}
			if p.Flags&(FastRetransmission|SpuriousRetransmission) != 0 && p.Flags&Retransmission == 0 {
				t.Fatalf("flags %v", p.Flags.AppendNames(nil))
			}
			if st := a.Stats(); st.Conns > cfg.MaxConns || st.HalfOpen > cfg.MaxHalfOpen {
				t.Fatalf("%+v", st)
			}
		}
		a.Flush()
		st := a.Stats()
		var reasons uint64
		for _, n := range st.Ended {
			reasons += n
		}
		if st.Segments != in || packets+icmp != in || st.ICMP != icmp || wire != 54*packets || ended != st.Streams || reasons != ended {
			t.Fatalf("%d in, %d and %d quoted out, %d bytes, %d streams, %d ended: %+v", in, packets, icmp, wire, st.Streams, ended, st)
		}
		if n := a.conns.used + a.nodes.used + a.holes.used + a.pages.used + a.sacks.used; n != 0 || a.table.used != 0 || len(a.naming.reading)+len(a.naming.known) != 0 {
			t.Fatalf("%d left in pools, %d in the table", n, a.table.used)
		}
	})
}

func checkSide(t *testing.T, a *Analyzer, s *Side) {
	t.Helper()
	var verdicts uint64
	for _, n := range s.Verdicts {
		verdicts += uint64(n)
	}
	if s.DataPackets > s.Packets || verdicts > s.Packets || s.UniqueBytes > s.PayloadBytes+s.Packets ||
		s.RetransmittedBytes > s.PayloadBytes || s.WindowMin > s.WindowMax || s.SegmentMin > s.SegmentMax || s.IdleMax < 0 && s.Packets > 1 && s.Last > s.First {
		t.Fatalf("%+v", *s)
	}
	n := 0
	end := uint32(0)
	for i := s.v.holes; i != 0; i = a.holes.at(i).next {
		h := a.holes.at(i)
		if h.lo == h.hi || n > 0 && seqLT(h.lo, end) {
			t.Fatalf("hole %d from %d to %d, after %d", n, h.lo, h.hi, end)
		}
		end = h.hi
		n++
	}
	if n != int(s.v.holeN) {
		t.Fatalf("%d holes, said to be %d", n, s.v.holeN)
	}
	n = 0
	var last uint32
	for i := s.w.head; i != 0; i = a.nodes.at(i).next {
		n++
		last = i
	}
	if n != int(s.w.unackedN) || last != s.w.tail {
		t.Fatalf("%d unacknowledged, said to be %d", n, s.w.unackedN)
	}
	if q := a.Quantile(&s.RTT, 0.5); s.RTT.N > 0 && (q < s.RTT.Min() || q > s.RTT.Max()) {
		t.Fatalf("median %v of %v to %v", q, s.RTT.Min(), s.RTT.Max())
	}
}

// FuzzInFlight holds the range that the list of unacknowledged segments covers,
// kept up as it changes, against a walk over the list.
func FuzzInFlight(f *testing.F) {
	f.Add([]byte{1, 10, 2, 10, 0, 5, 3, 9, 0, 200, 4, 4}, uint32(0))
	f.Add([]byte{1, 10, 11, 10, 21, 10, 0, 15, 5, 20, 0, 25}, uint32(1<<32-7))
	f.Fuzz(func(t *testing.T, b []byte, base uint32) {
		// Only the pool of segments: a whole analyzer costs half a megabyte, and
		// the time of the engine that looks for inputs.
		a := &Analyzer{cfg: Config{MaxUnacked: 50}, nodes: newPool[unacked](50)}
		w := wireSide{base: base}
		for ; len(b) >= 2; b = b[2:] {
			if b[0] == 0 {
				if w.head != 0 {
					a.acknowledge(&w, base+uint32(b[1]), 0)
				}
			} else {
				a.append(&w, unacked{seq: base + uint32(b[0]), end: base + uint32(b[0]) + uint32(b[1]%16) + 1})
			}
			if w.head == 0 {
				continue
			}
			lo, hi := ^uint32(0), uint32(0)
			for i := w.head; i != 0; i = a.nodes.at(i).next {
				u := a.nodes.at(i)
				lo, hi = min(lo, u.seq-base), max(hi, u.end-base)
			}
			if got := a.inFlight(&w); got != hi-lo {
				t.Fatalf("in flight %d, want %d to %d", got, lo, hi)
			}
		}
	})
}
