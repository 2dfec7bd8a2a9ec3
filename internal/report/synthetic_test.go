package report

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// A world makes connections as an analysis would hand them over: of every kind
// that the page has something to say about, from a seed.
type world struct {
	rng    *rand.Rand
	points []Point
	conns  []*tcp.Conn
	// names are given to connections in turn; hostile ones in tests of that.
	names []string
}

// worldBase is in 2026: a time that binary floats cannot hold to the nanosecond.
const worldBase int64 = 1_774_000_000_123_456_789

func newWorld(seed uint64) *world {
	return &world{rng: rand.New(rand.NewPCG(seed, 3)), names: []string{"www.example.org", "api.example.com", "cdn.example.net", ""}}
}

// script is what one connection does.
type script struct {
	start, rtt  int64 // ns after worldBase; ns
	bytes       int   // from the responder
	request     int
	loss        float64
	reorder     float64
	zeroWindow  bool
	unanswered  bool
	refused     bool
	reset       bool
	open        bool
	fromMiddle  bool
	pause       int64 // ns in the middle
	local, peer tcp.Addr
	port        uint16
}

// host returns an address out of RFC 5737 and RFC 3849.
func host(n int) tcp.Addr {
	if n%7 == 6 {
		return tcp.Addr{0x20, 0x01, 0x0d, 0xb8, 14: byte(n >> 8), 15: byte(n)}
	}
	nets := [3][3]byte{{192, 0, 2}, {198, 51, 100}, {203, 0, 113}}
	net := nets[n%3]
	return tcp.AddrFrom4([4]byte{net[0], net[1], net[2], byte(n/3%250 + 1)})
}

// populate adds n connections, most of them ordinary.
func (w *world) populate(n int) {
	for i := range n {
		r := w.rng
		s := script{
			start: r.Int64N(60e9), rtt: 200_000 + int64(r.ExpFloat64()*20e6), bytes: int(r.ExpFloat64() * 30_000), request: 100 + r.IntN(800),
			local: host(r.IntN(6)), peer: host(20 + r.IntN(40)), port: []uint16{443, 443, 443, 80, 5432, 6379, 8080}[r.IntN(7)],
		}
		switch i % 40 {
		case 3:
			s.unanswered = true
		case 7:
			s.refused = true
		case 11:
			s.reset = true
		case 13, 14:
			s.loss, s.bytes = 0.03, 400_000
		case 17:
			s.reorder, s.bytes = 0.02, 300_000
		case 21:
			s.zeroWindow, s.bytes = true, 300_000
		case 27:
			s.open, s.fromMiddle = true, true
		case 33:
			s.pause = 3e9
		}
		w.connect(s)
	}
}

// showpiece adds one long transfer with everything in it.
func (w *world) showpiece(bytes int) {
	w.connect(script{start: 1e9, rtt: 24e6, bytes: bytes, request: 320, loss: 0.004, reorder: 0.002, zeroWindow: true, pause: 400e6, local: host(1), peer: host(21), port: 443})
}

const mss = 1448

// connect plays a script: slow start and additive increase over a path that
// loses and reorders; the capture is at the receiver's end.
func (w *world) connect(s script) {
	r, stream := w.rng, uint32(len(w.conns))
	st := &tcp.PacketStats{Stream: stream}
	c := &tcp.Conn{
		Key:       tcp.Key{Tuple: tcp.Tuple{Local: s.local, Remote: s.peer, LocalPort: uint16(32768 + r.IntN(28000)), RemotePort: s.port}},
		ID:        tcp.ID(stream) + 1e15,
		Direction: tcp.Outbound, Source: tcp.SourceCapture, State: tcp.Closed, Complete: true, OpenedExact: true, Packets: st,
		Names: &tcp.Names{SNI: w.names[int(stream)%len(w.names)]},
		Has:   tcp.HasBytesSent | tcp.HasBytesReceived,
	}
	w.conns = append(w.conns, c)
	now := worldBase + s.start
	first := now
	window := [2]uint64{64240, 65160}
	seq, ack := [2]uint64{}, [2]uint64{}
	send := func(from int, flags uint16, n uint32, change func(*Point)) {
		p := Point{
			Stream: stream, FromInitiator: from == 0, Time: now, Flags: flags, Len: n,
			Seq: seq[from], Ack: ack[from], Window: window[from],
		}
		if change != nil {
			change(&p)
		}
		st.Packets[from]++
		st.WireBytes[from] += uint64(n) + 66
		st.Flags |= flags
		if flags&flagRST != 0 {
			st.Resets[from]++
		}
		if flags&flagSYN != 0 {
			st.SYNs[from]++
		}
		if flags&flagFIN != 0 {
			st.FINs[from]++
		}
		switch p.Verdict {
		case 1:
			st.Retransmissions[from]++
		case 2:
			st.OutOfOrder[from]++
		}
		if p.Analysis&64 != 0 {
			st.DupAcks[from]++
		}
		if p.Analysis&anaZeroWindow != 0 {
			st.ZeroWindows[from]++
		}
		w.points = append(w.points, p)
	}
	finish := func(state string, reason tcp.CloseReason) {
		st.ConnState, c.Reason = state, reason
		c.Opened, c.Closed = tcp.Stamp{Wall: first, Boot: first}, tcp.Stamp{Wall: now, Boot: now}
		c.Updated = c.Closed
		if reason == tcp.CloseUnknown {
			c.Closed = tcp.Stamp{}
		}
	}
	if s.unanswered {
		c.State = tcp.SynSent
		for i := range 4 {
			send(0, flagSYN, 0, func(p *Point) {
				if i > 0 {
					p.Verdict, p.Analysis = 1, 1
				}
			})
			now += 1e9 << i
		}
		finish("S0", tcp.CloseTimeout)
		return
	}
	if !s.fromMiddle {
		send(0, flagSYN, 0, nil)
		seq[0] = 1
		now += s.rtt
		if s.refused {
			ack[1] = 1
			send(1, flagRST|flagACK, 0, nil)
			finish("REJ", tcp.CloseRefused)
			return
		}
		ack[1] = 1
		send(1, flagSYN|flagACK, 0, func(p *Point) { p.RTT = uint32(s.rtt / 1000) })
		seq[1] = 1
		now += 40_000
		ack[0] = 1
		send(0, flagACK, 0, func(p *Point) { p.RTT = 40 })
		st.InitialRTT = uint32((now - first) / 1000)
	}
	now += 200_000
	send(0, flagACK|8, uint32(s.request), func(p *Point) { p.InFlight = uint32(s.request) })
	seq[0] += uint64(s.request)
	c.Metrics.BytesSent = uint64(s.request)
	now += s.rtt
	ack[1] = seq[0]
	send(1, flagACK, 0, func(p *Point) { p.RTT = uint32((s.rtt + r.Int64N(1+s.rtt/4)) / 1000) })
	w.transfer(&s, &now, &seq, &ack, &window, send)
	c.Metrics.BytesReceived = seq[1] - 1
	switch {
	case s.open:
		c.State = tcp.Established
		finish("OTH", tcp.CloseUnknown)
	case s.reset:
		now += 5e6
		send(0, flagRST|flagACK, 0, nil)
		finish("RSTO", tcp.CloseRSTSent)
	default:
		now += 1e6
		send(1, flagFIN|flagACK, 0, nil)
		seq[1]++
		now += 50_000
		ack[0] = seq[1]
		send(0, flagFIN|flagACK, 0, nil)
		now += s.rtt
		seq[0]++
		ack[1] = seq[0]
		send(1, flagACK, 0, func(p *Point) { p.RTT = uint32(s.rtt / 1000) })
		finish("SF", tcp.CloseFIN)
	}
}

// transfer sends s.bytes from the responder in rounds of a growing window.
func (w *world) transfer(s *script, now *int64, seq, ack, window *[2]uint64, send func(int, uint16, uint32, func(*Point))) {
	r := w.rng
	cwnd, left, round := 10, s.bytes, 0
	var lost []uint64 // to be sent again
	for left > 0 || len(lost) > 0 {
		start := *now
		high := seq[1]
		sent := 0
		var hole uint64
		for _, at := range lost {
			*now += 12_000
			send(1, flagACK, mss, func(p *Point) { p.Seq, p.Verdict, p.Analysis, p.InFlight = at, 1, 1|2, uint32(cwnd*mss) })
			ack[0] = seq[1]
			*now += 20_000
			send(0, flagACK, 0, nil)
		}
		recovered := len(lost) > 0
		lost = lost[:0]
		if recovered {
			cwnd = max(cwnd*7/10, 4)
		}
		var late []uint64
		for sent < cwnd && left > 0 {
			n := min(mss, left)
			*now += 11_600 + r.Int64N(3000)
			at := seq[1]
			seq[1] += uint64(n)
			left -= n
			sent++
			switch {
			case n == mss && left > 0 && r.Float64() < s.loss:
				lost = append(lost, at)
				if hole == 0 {
					hole = at
				}
				continue
			case n == mss && left > 0 && r.Float64() < s.reorder:
				late = append(late, at)
				continue
			}
			send(1, flagACK, uint32(n), func(p *Point) {
				p.Seq, p.InFlight = at, uint32(seq[1]-high)
				if left == 0 {
					p.Flags |= 8
				}
			})
			for _, l := range late {
				send(1, flagACK, mss, func(p *Point) { p.Seq, p.Verdict, p.Analysis, p.InFlight = l, 2, 8, uint32(seq[1]-high) })
			}
			late = late[:0]
			if sent%2 == 0 || left == 0 {
				*now += 9_000
				if hole != 0 {
					send(0, flagACK, 0, func(p *Point) {
						p.Ack, p.Analysis = hole, 64
						p.SACK[0], p.SACKLen = [2]uint64{hole + mss, seq[1]}, 1
					})
				} else {
					ack[0] = seq[1]
					send(0, flagACK, 0, func(p *Point) { p.RTT = uint32(30 + r.IntN(200)) })
				}
			}
		}
		if hole == 0 {
			ack[0] = seq[1]
		}
		round++
		cwnd = min(cwnd+max(1, cwnd/2), 280)
		if window[0] < 1<<20 {
			window[0] += 30_000
		}
		if s.zeroWindow && round == 9 {
			was := window[0]
			for i := range 4 {
				*now += 60e6 << i
				window[0] = 0
				send(0, flagACK, 0, func(p *Point) { p.Analysis = anaZeroWindow })
				*now += s.rtt
				send(1, flagACK, 0, func(p *Point) { p.Seq, p.Analysis = seq[1]-1, 4096 })
			}
			window[0] = was
			*now += 30e6
			send(0, flagACK, 0, func(p *Point) { p.Analysis = anaWindowUpdate })
		}
		if s.pause > 0 && round == 5 {
			*now += s.pause
		}
		*now = max(*now, start+s.rtt+r.Int64N(1+s.rtt/20))
	}
}

// collect hands everything over in the order of time, each connection right
// after its last packet. A connection's stream is its place, as made.
func (w *world) collect(o Options) *Collector {
	if o.Files == nil {
		o.Files = []FileInfo{{Name: "synthetic.pcapng", Size: 123_456_789, Packets: uint64(len(w.points)) + 1234, Reasons: map[string]uint64{"not TCP": 1200, "fragment": 34}}}
	}
	points := slices.Clone(w.points)
	slices.SortStableFunc(points, func(a, b Point) int { return cmp.Compare(a.Time, b.Time) })
	left := make([]int, len(w.conns))
	for i := range points {
		points[i].Frame = uint64(i + 1)
		left[points[i].Stream]++
	}
	o.Files[0].First, o.Files[0].Last = points[0].Time, points[len(points)-1].Time
	c := New(o)
	for _, p := range points {
		c.Packet(p)
		if left[p.Stream]--; left[p.Stream] == 0 {
			c.Conn(p.Stream, w.conns[p.Stream])
		}
	}
	return c
}

var hostileNames = []string{
	"</script><script>window.pwned=1</script>", "<img src=x onerror=window.pwned=1>", "\u202egpj.exe", "a\u0000b\x1b[31m",
	"\u2028\u2029<!--<script>", "'\"><svg/onload=window.pwned=1>", "javascript:window.pwned=1", "\xff\xfe</SCRIPT >", "{{constructor.constructor('window.pwned=1')()}}",
	fmt.Sprintf("%01500d", 7),
}
