package report

import (
	"math"
	"slices"
)

// point is one packet, or a run of packets of one direction that carry on from
// each other. It has no pointers.
type point struct {
	time int64 // of the first packet, ns
	seq  int64
	ack  int64 // of the last packet
	// frame is the number of the first packet.
	frame uint64
	// span is the time from the first to the last packet, µs.
	span uint32
	// n is the number of packets, len their payload bytes.
	n, len         uint32
	winMin, winMax uint32
	rttMin, rttMax uint32 // µs, 0 is none
	inFlight       uint32 // most
	flags          uint16 // union
	analysis       uint16 // union
	// from is the sender: 0 initiator, 1 responder.
	from    uint8
	verdict uint8
}

// sackMark is one SACK block at the time of its acknowledgement.
type sackMark struct {
	time        int64
	left, right int64
	from        uint8
}

// The sizes of the two in memory, bytes; a test holds them against the types.
const (
	pointSize = 72
	sackSize  = 32
)

// plot is what is kept of the packets of one connection.
type plot struct {
	stream uint32
	// inUse tells a slot from a free one; ended, that Conn was called; muted,
	// that packets are counted and not kept.
	inUse, ended, muted bool

	points []point
	sacks  []sackMark
	// seq and ack are the last ones of each sender, unwrapped, once known and
	// acked.
	seq, ack     [2]int64
	known, acked [2]bool
	// width is how long a run may be, ns, and how what may be in it.
	width int64
	how   int
	// sackStride is n of "one in n blocks is kept"; sackSeen counts them.
	sackStride, sackSeen uint32

	packets uint64
	// missed counts packets before the first of points.
	missed, wakeAt uint64
	interest       interest
}

func (pl *plot) memory() int { return cap(pl.points)*pointSize + cap(pl.sacks)*sackSize }

// tally counts what makes a connection interesting while it lasts.
func (pl *plot) tally(p *Point) {
	in := &pl.interest
	pl.packets++
	in.stream = pl.stream
	in.bytes += uint64(p.Len)
	if p.Verdict == verdictRetransmission {
		in.retransmissions++
	}
	if p.Flags&flagRST != 0 {
		in.resets++
	}
	if p.Analysis&anaZeroWindow != 0 {
		in.zeroWindows++
	}
}

// add appends a packet. The buffer may grow to twice the limit before it is
// compacted, so that each packet is looked at a few times only.
func (pl *plot) add(p *Point, limit int) {
	if len(pl.points) == cap(pl.points) {
		if cap(pl.points) >= 2*limit {
			pl.compact(limit)
		} else {
			size := min(max(8, 2*cap(pl.points)), 2*limit)
			pl.points = append(make([]point, 0, size), pl.points...)
		}
	}
	from := uint8(0)
	if !p.FromInitiator {
		from = 1
	}
	pl.seq[from] = follow(pl.seq[from], p.Seq, !pl.known[from])
	if p.Flags&flagACK != 0 {
		pl.ack[from] = follow(pl.ack[from], p.Ack, !pl.acked[from])
		pl.acked[from] = true
	}
	pl.known[from] = true
	window := uint32(min(p.Window, math.MaxUint32))
	pl.points = append(pl.points, point{
		time: p.Time, seq: pl.seq[from], ack: pl.ack[from], frame: p.Frame, n: 1, len: p.Len,
		inFlight: p.InFlight, rttMin: p.RTT, rttMax: p.RTT, winMin: window, winMax: window,
		flags: p.Flags, analysis: uint16(p.Analysis), verdict: p.Verdict & 3, from: from,
	})
	for i := range min(int(p.SACKLen), len(p.SACK)) {
		left := pl.ack[from] + int64(p.SACK[i][0]-p.Ack)
		pl.addSACK(sackMark{time: p.Time, left: left, right: left + int64(p.SACK[i][1]-p.SACK[i][0]), from: from}, limit)
	}
}

// follow unwraps a sequence number that came after another.
func follow(last int64, v uint64, first bool) int64 {
	if first {
		return int64(v)
	}
	return last + int64(int32(uint32(v)-uint32(last)))
}

func (pl *plot) addSACK(m sackMark, limit int) {
	pl.sackSeen++
	if pl.sackStride > 1 && pl.sackSeen%pl.sackStride != 0 {
		return
	}
	if len(pl.sacks) >= limit {
		n := len(pl.sacks) / 2
		for i := range n {
			pl.sacks[i] = pl.sacks[2*i+1]
		}
		pl.sacks = pl.sacks[:n]
		pl.sackStride = max(pl.sackStride, 1) * 2
	}
	pl.sacks = append(pl.sacks, m)
}

// shrink compacts to the limit and gives the rest of the memory back.
func (pl *plot) shrink(limit int) {
	if len(pl.points) > limit {
		pl.compact(limit)
	}
	for len(pl.sacks) > limit {
		n := len(pl.sacks) / 2
		for i := range n {
			pl.sacks[i] = pl.sacks[2*i+1]
		}
		pl.sacks = pl.sacks[:n]
		pl.sackStride = max(pl.sackStride, 1) * 2
	}
	pl.points, pl.sacks = slices.Clip(slices.Clone(pl.points)), slices.Clip(slices.Clone(pl.sacks))
}
