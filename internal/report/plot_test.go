package report

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// totals are what no compaction may change.
type totals struct {
	packets, bytes [2]uint64
	rtt, inFlight  uint32
	verdicts       [4]int
	flags          uint16
	first, last    int64
}

func totalsOf(ps []point) (t totals) {
	for i := range ps {
		p := &ps[i]
		t.packets[p.from] += uint64(p.n)
		t.bytes[p.from] += uint64(p.len)
		t.rtt, t.inFlight = max(t.rtt, p.rttMax), max(t.inFlight, p.inFlight)
		if p.verdict != 0 {
			t.verdicts[p.verdict]++
		}
		t.flags |= p.flags
		t.last = max(t.last, p.time+int64(p.span)*1000)
	}
	if len(ps) > 0 {
		t.first = ps[0].time
	}
	return t
}

func TestCompactKeeps(t *testing.T) {
	w := newWorld(20)
	w.showpiece(4_000_000)
	all := &plot{}
	for i := range w.points {
		all.packets++
		all.add(&w.points[i], 1<<20)
	}
	want := totalsOf(all.points)
	for _, limit := range []int{4000, 1000, 500} {
		pl := &plot{}
		for i := range w.points {
			pl.packets++
			pl.add(&w.points[i], limit)
			if len(pl.points) > 2*limit {
				t.Fatalf("limit %d: %d points", limit, len(pl.points))
			}
		}
		pl.shrink(limit)
		got := totalsOf(pl.points)
		got.last = got.last / 1000 * 1000
		want.last = want.last / 1000 * 1000
		if d := want.last - got.last; d >= 0 && d <= 1000 {
			got.last = want.last // spans are whole microseconds
		}
		if got != want {
			t.Errorf("limit %d: %+v, want %+v", limit, got, want)
		}
		if len(pl.points) > limit {
			t.Errorf("limit %d: %d points", limit, len(pl.points))
		}
		for _, edge := range [][2][]point{{pl.points[:edgePoints], all.points[:edgePoints]}, {pl.points[len(pl.points)-edgePoints:], all.points[len(all.points)-edgePoints:]}} {
			if !slices.Equal(edge[0], edge[1]) {
				t.Errorf("limit %d: the packets of an end are not whole", limit)
			}
		}
		if !slices.IsSortedFunc(pl.points, func(a, b point) int { return int(a.time - b.time) }) {
			t.Errorf("limit %d: points are out of order", limit)
		}
		// Each zero window, retransmission and hole is its own point.
		for i := range all.points {
			p := all.points[i]
			if p.analysis&(anaZeroWindow|anaRetransmission) != 0 || p.verdict != 0 {
				if !slices.ContainsFunc(pl.points, func(q point) bool { return q.time == p.time && q.verdict == p.verdict && q.seq == p.seq && q.n == 1 }) {
					t.Fatalf("limit %d: %+v is gone", limit, p)
				}
			}
		}
	}
}

// TestCompactWorst has more to tell of every packet than there is room for.
func TestCompactWorst(t *testing.T) {
	tests := []struct {
		name string
		at   func(i int) Point
	}{
		{"all retransmissions", func(i int) Point {
			return Point{Time: int64(i) * 1000, Verdict: 1, Analysis: 1, Seq: uint64(i % 7), Len: 100, Flags: flagACK}
		}},
		{"every verdict in turn", func(i int) Point {
			return Point{Time: int64(i) * 1000, Verdict: uint8(i % 4), Analysis: uint32(i), Seq: uint64(i), Len: 1, Flags: flagACK}
		}},
		{"a flood of SYN and RST", func(i int) Point {
			return Point{Time: int64(i), Flags: uint16(2 + i%2*2), FromInitiator: i%2 == 0}
		}},
		{"the clock runs backwards", func(i int) Point { return Point{Time: -int64(i) * 1e9, Seq: uint64(i), Len: 1, Flags: flagACK} }},
		{"the clock stands", func(i int) Point { return Point{Seq: uint64(2 * i), Len: 1, Flags: flagACK} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pl := &plot{}
			const limit = 300
			for i := range 20_000 {
				p := tt.at(i)
				p.SACK, p.SACKLen = [4][2]uint64{{1, 2}, {3, 4}}, 2
				pl.add(&p, limit)
				if len(pl.points) > 2*limit || len(pl.sacks) > limit {
					t.Fatalf("after %d packets: %d points, %d blocks", i+1, len(pl.points), len(pl.sacks))
				}
			}
			pl.shrink(limit)
			if len(pl.points) > limit || len(pl.points) < 2*edgePoints {
				t.Errorf("%d points are left", len(pl.points))
			}
		})
	}
}

func TestFollow(t *testing.T) {
	var last int64
	pl := &plot{}
	// 10 GB in jumps of 1 GB, as numbers of 32 bits.
	for i := range 10 {
		v := uint64(uint32(i * 1_000_000_000))
		pl.packets++
		pl.add(&Point{Seq: v, Ack: v, Flags: flagACK, FromInitiator: true, SACK: [4][2]uint64{{v + 10, v + 20}}, SACKLen: 1}, 100)
		p := pl.points[i]
		if last = int64(i) * 1_000_000_000; p.seq != last || p.ack != last || pl.sacks[i].left != last+10 || pl.sacks[i].right != last+20 {
			t.Fatalf("%d: seq %d, ack %d, block %+v", i, p.seq, p.ack, pl.sacks[i])
		}
	}
	// One before the first is negative, whether it comes as 32 bits or as 64.
	for _, v := range []uint64{1<<32 - 1, 1<<64 - 1} {
		pl := &plot{}
		for _, s := range []uint64{0, v} {
			pl.packets++
			pl.add(&Point{Seq: s, Flags: flagACK}, 100)
		}
		if got := pl.points[1].seq; got != -1 {
			t.Errorf("%x becomes %d", v, got)
		}
	}
}

func TestChoose(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	in := make([]interest, 500)
	for i := range in {
		in[i] = interest{stream: uint32(i), bytes: rng.Uint64N(1000), retransmissions: rng.Uint32N(50), slow: rng.Uint32(), lost: rng.Uint32N(3)}
		if i%50 == 0 {
			in[i].resets = 1
		}
	}
	const n = 70
	keep, least := choose(in, n)
	count := 0
	for _, k := range keep {
		if k {
			count++
		}
	}
	if count != n {
		t.Errorf("%d were chosen, want %d", count, n)
	}
	// The best of each ranking are in, and remain so when others went before.
	for r, value := range rankings {
		order := make([]int, 0, len(in))
		for i := range in {
			if value(&in[i]) > 0 {
				order = append(order, i)
			}
		}
		slices.SortStableFunc(order, func(a, b int) int { return -int(int64(value(&in[a])) - int64(value(&in[b]))) })
		for _, i := range order[:min(len(order), n/len(rankings))] {
			if !keep[i] {
				t.Errorf("ranking %d: %+v was not chosen", r, in[i])
			}
		}
	}
	var some []interest
	for i := range in {
		if keep[i] || i%2 == 0 {
			some = append(some, in[i])
		}
	}
	again, _ := choose(some, n)
	for i := range some {
		if again[i] != keep[some[i].stream] {
			t.Fatalf("stream %d: chosen from all %v, from some %v", some[i].stream, keep[some[i].stream], again[i])
		}
	}
	for i := range in {
		if keep[i] && least.misses(&in[i]) {
			t.Errorf("%+v was chosen and is below the cut %v", in[i], least)
		}
	}
	if got, least := choose(in[:3], 5); !slices.Equal(got, []bool{true, true, true}) || least != (cut{}) {
		t.Errorf("of 3, 5: %v", got)
	}
}

func TestTimeline(t *testing.T) {
	tl := timeline{shift: firstShift}
	times := []int64{1000, 1000, 1000 + 5e9, 1000 + 3600e9, 1000 + 86400e9*365}
	for _, at := range times {
		tl.bin(at).packets++
	}
	if tl.bin(999) != nil {
		t.Error("a bin before the first packet")
	}
	var sum uint64
	for _, b := range tl.bins {
		sum += b.packets
	}
	if len(tl.bins) > maxBins || sum != 5 || tl.bins[0].packets != 4 {
		t.Errorf("%d bins, %d packets, %d in the first", len(tl.bins), sum, tl.bins[0].packets)
	}
	// As far as numbers reach.
	tl.bin(1<<63-1).packets++
	if len(tl.bins) > maxBins {
		t.Errorf("%d bins", len(tl.bins))
	}
	far := timeline{shift: firstShift}
	far.bin(-1 << 63)
	far.bin(1<<63-1).packets++
	if len(far.bins) > maxBins {
		t.Errorf("%d bins", len(far.bins))
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	for _, tt := range []struct {
		us  uint32
		bin int
	}{{1, 0}, {2, 4}, {3, 6}, {4, 8}, {5, 9}, {6, 10}, {7, 11}, {1000, 9*4 + 3}, {1024, 40}, {1<<32 - 1, 127}} {
		h = histogram{}
		h.add(tt.us)
		if h[tt.bin] != 1 {
			t.Errorf("%d µs is in bin %d, want %d", tt.us, slices.Index(h[:], 1), tt.bin)
		}
	}
}

func TestHosts(t *testing.T) {
	s := newSummary()
	loud := host(0)
	for i := range 3 * maxHosts {
		a := tcp.Addr{0x20, 0x01, 0x0d, 0xb8, 12: byte(i >> 24), 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)}
		s.host(a, traffic{conns: 1, bytes: 1})
		s.host(loud, traffic{conns: 1, bytes: 1})
	}
	if len(s.hosts) > maxHosts || !s.hostsLost {
		t.Errorf("%d hosts, lost %v", len(s.hosts), s.hostsLost)
	}
	if got := s.hosts[loud]; got.bytes != 3*maxHosts {
		t.Errorf("the loudest host has %d bytes", got.bytes)
	}
}

// FuzzCollector takes packets in any order with anything in them.
func FuzzCollector(f *testing.F) {
	f.Add([]byte("0123456789abcdef0123456789abcdef"))
	f.Add(make([]byte, 4000))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := New(Options{MaxConns: 4, MaxPoints: leastPoints, MaxRows: 8, MaxMemory: 1 << 16})
		ended := make(map[uint32]bool)
		var n uint64
		for len(data) >= 16 {
			b := data[:16]
			data = data[16:]
			stream := uint32(b[0] & 15)
			if ended[stream] {
				continue
			}
			if b[1] == 255 {
				c.Conn(stream, &tcp.Conn{Packets: &tcp.PacketStats{Stream: stream, Packets: [2]uint64{1, 0}}})
				ended[stream] = true
				continue
			}
			p := Point{
				Stream: stream, FromInitiator: b[1]&1 != 0, Verdict: b[1] >> 1, Flags: uint16(b[2]) | uint16(b[3])<<8, Analysis: uint32(b[3]) << (b[4] & 31),
				Time: int64(b[5])<<(b[6]&63) - int64(b[7]), Seq: uint64(b[8]) << (b[9] & 63), Ack: uint64(b[10]) << (b[11] & 63),
				Len: uint32(b[12]) << (b[13] & 31), Window: uint64(b[14]) << (b[15] & 63), RTT: uint32(b[4]), SACKLen: b[2], SACK: [4][2]uint64{{uint64(b[8]), uint64(b[9])}},
			}
			for range int(b[15]) * 4 {
				c.Packet(p)
				n++
				p.Time += int64(b[5])
				p.Seq += uint64(p.Len)
			}
		}
		if c.used > 1<<16+2*leastPoints*pointSize*16 || c.sum.packets != n {
			t.Errorf("%d bytes of points, %d of %d packets", c.used, c.sum.packets, n)
		}
		if got, err := c.WriteTo(&smallDisk{room: 1 << 30}); err != nil || got == 0 {
			t.Errorf("%d bytes: %v", got, err)
		}
	})
}
