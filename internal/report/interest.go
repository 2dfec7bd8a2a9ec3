package report

import (
	"cmp"
	"slices"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// interest is what connections compete with for a plot, a row, or a place among
// the findings.
type interest struct {
	stream uint32
	// retransmissions are the verdicts of that name; without packets, the best
	// that the connection knows.
	retransmissions uint32
	resets          uint32
	zeroWindows     uint32
	// unanswered counts the SYNs of a connection that never was answered.
	unanswered uint32
	// slow is the time of the handshake, µs.
	slow  uint32
	lost  uint32
	bytes uint64
}

// The rankings. Their order is that in which they choose.
var rankings = [...]func(*interest) uint64{
	func(in *interest) uint64 { return in.bytes },
	func(in *interest) uint64 { return uint64(in.retransmissions) },
	func(in *interest) uint64 { return uint64(in.resets) },
	func(in *interest) uint64 { return uint64(in.zeroWindows) },
	func(in *interest) uint64 { return uint64(in.unanswered) },
	func(in *interest) uint64 { return uint64(in.slow) },
	func(in *interest) uint64 { return uint64(in.lost) },
}

func interestOf(c *tcp.Conn) interest {
	in := interest{bytes: c.Metrics.BytesSent + c.Metrics.BytesReceived, slow: handshake(c)}
	p := c.Packets
	if p == nil {
		in.retransmissions = c.Metrics.Retransmits
		return in
	}
	in.retransmissions = p.Retransmissions[0] + p.Retransmissions[1]
	in.resets = p.Resets[0] + p.Resets[1]
	in.zeroWindows = p.ZeroWindows[0] + p.ZeroWindows[1]
	in.lost = p.LostSegments[0] + p.LostSegments[1]
	if unanswered(p) {
		in.unanswered = p.SYNs[0] + p.SYNs[1]
	}
	return in
}

// handshake is what is known of the time of the handshake, µs; 0 is unknown.
func handshake(c *tcp.Conn) uint32 {
	if c.Packets != nil && c.Packets.InitialRTT != 0 {
		return c.Packets.InitialRTT
	}
	if c.Has&tcp.HasHandshake != 0 {
		return c.Handshake
	}
	return 0
}

// unanswered reports whether one end sent SYNs and the other nothing at all.
func unanswered(p *tcp.PacketStats) bool {
	return p.SYNs[0] > 0 && p.Packets[1] == 0 || p.SYNs[1] > 0 && p.Packets[0] == 0
}

// A cut is, for each ranking, the least value that an earlier choice took for
// its own sake. Choosing again from more than that never goes lower.
type cut [len(rankings)]uint64

// misses reports whether a choice would leave in out.
func (c *cut) misses(in *interest) bool {
	for r := range rankings {
		if rankings[r](in) >= c[r] {
			return false
		}
	}
	return true
}

// choose marks n of the connections: the first of each ranking, the second of
// each, and so on. So the first n/len(rankings) of each ranking are in, and
// choosing from what an earlier choice left is the same as choosing from all.
func choose(in []interest, n int) ([]bool, cut) {
	keep := make([]bool, len(in))
	if n >= len(in) {
		for i := range keep {
			keep[i] = true
		}
		return keep, cut{}
	}
	type entry struct {
		value  uint64
		stream uint32
		at     int32
	}
	var ranks [len(rankings)][]entry
	for r, value := range rankings {
		es := make([]entry, 0, len(in))
		for i := range in {
			// The first ranking is of everything, the others of what they are about.
			if v := value(&in[i]); v > 0 || r == 0 {
				es = append(es, entry{v, in[i].stream, int32(i)})
			}
		}
		slices.SortFunc(es, func(a, b entry) int {
			return cmp.Or(cmp.Compare(b.value, a.value), cmp.Compare(a.stream, b.stream))
		})
		ranks[r] = es
	}
	var least cut
	for i := 0; n > 0; i++ {
		for r, es := range ranks {
			if i >= len(es) {
				least[r] = 1 // whatever else has a value is in
				continue
			}
			if least[r] = es[i].value; !keep[es[i].at] && n > 0 {
				keep[es[i].at] = true
				n--
			}
		}
	}
	return keep, least
}
