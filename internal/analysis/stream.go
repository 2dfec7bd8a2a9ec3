package analysis

import (
	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Bits of Conn.Completeness, as in Wireshark's tcp.completeness.
const (
	CompleteSYN = 1 << iota
	CompleteSYNACK
	CompleteACK
	CompleteData
	CompleteFIN
	CompleteRST
)

const synAck = capture.SYN | capture.ACK

// stream finds the connection of a segment, or begins one, by the rules of
// Wireshark's conversations: the same two ends are the same stream, until a SYN
// tells of a new connection.
func (a *Analyzer) stream(s *capture.Segment, p *Packet) (ref uint32, dir int) {
	ref, dir = a.find(&s.Tuple)
	if ref == 0 {
		return a.begin(s, a.table.hash(&s.Tuple), false)
	}
	if s.Flags&capture.SYN == 0 {
		return ref, dir
	}
	c := a.conns.at(ref)
	fwd := &c.Sides[dir]
	if !fwd.w.has(wireBase) {
		if s.Flags&synAck == capture.SYN {
			c.Completeness = 0 // Wireshark begins to count anew with the first SYN
			if !c.known {
				dir = c.opened(dir)
			}
		}
		return ref, dir
	}
	closed := c.Completeness&(CompleteFIN|CompleteRST) != 0
	if a.cfg.Wireshark40 {
		// Only the initial number tells there, and a SYN-ACK with another one
		// is marked but stays.
		closed = false
		if s.Flags&synAck == synAck && s.Seq != fwd.w.base {
			fwd.w.base = s.Seq
			p.Flags |= ReusedPorts
			return ref, dir
		}
	}
	if s.Seq == fwd.w.base && !closed {
		if s.Flags&synAck == capture.SYN {
			// A RST may have moved the next sequence number.
			fwd.w.nextSeq = fwd.w.maxSeq
		}
		return ref, dir
	}
	tag := c.place.tag
	a.end(ref, EndReplaced)
	p.Flags |= ReusedPorts
	return a.begin(s, tag, true)
}

// find returns the connection between two ends and which of its sides is the
// sender.
func (a *Analyzer) find(k *tcp.Tuple) (ref uint32, dir int) {
	// Segments come in runs.
	if a.last != 0 {
		if dir := a.conns.at(a.last).side(k); dir >= 0 {
			return a.last, dir
		}
	}
	tag := a.table.hash(k)
	mask := uint32(len(a.table.slots) - 1)
	for i := tag & mask; ; i = (i + 1) & mask {
		s := a.table.slots[i]
		if s.ref == 0 {
			return 0, 0
		}
		if s.tag == tag {
			if dir := a.conns.at(s.ref).side(k); dir >= 0 {
				return s.ref, dir
			}
		}
	}
}

// side returns which of the connection's sides sends from k.Local to k.Remote;
// -1 is neither.
func (c *Conn) side(k *tcp.Tuple) int {
	switch t := &c.Tuple; {
	case t.LocalPort == k.LocalPort && t.RemotePort == k.RemotePort && t.Local == k.Local && t.Remote == k.Remote:
		return 0
	case t.LocalPort == k.RemotePort && t.RemotePort == k.LocalPort && t.Local == k.Remote && t.Remote == k.Local:
		return 1
	default:
		return -1
	}
}

func (a *Analyzer) begin(s *capture.Segment, tag uint32, reused bool) (ref uint32, dir int) {
	ref = a.newConn()
	c := a.conns.at(ref)
	c.Stream = uint32(a.stats.Streams)
	a.stats.Streams++
	c.Tuple, c.First, c.Reused = s.Tuple, s.Time, reused
	c.Opener = Initiator
	for i := range c.Sides {
		c.Sides[i].w.winScale, c.Sides[i].WScale = scaleUnknown, scaleUnknown
	}
	c.known = s.Flags&capture.SYN != 0
	if s.Flags&synAck == synAck {
		// A SYN-ACK goes to the initiator.
		c.Tuple = s.Tuple.Reverse()
		c.Opener, c.flipped, dir = Responder, true, 1
	}
	c.place.tag = tag
	a.table.put(tag, ref)
	return ref, dir
}

// opened makes the sender of a late first SYN the initiator.
func (c *Conn) opened(dir int) int {
	c.known = true
	if dir == 0 {
		return 0
	}
	c.Tuple = c.Tuple.Reverse()
	c.Sides[0], c.Sides[1] = c.Sides[1], c.Sides[0]
	swap := func(o *Origin) {
		if *o != OriginUnknown {
			*o = Initiator + Responder - *o
		}
	}
	swap(&c.Opener)
	swap(&c.FirstFIN)
	swap(&c.FirstRST)
	c.flip()
	return 0
}

// progress follows Wireshark's completeness and initial RTT, which segments
// quoted in ICMP errors move too. first says that the segment is the first of its
// stream, of which 4.0 takes in nothing but a SYN.
func (a *Analyzer) progress(c *Conn, s *capture.Segment, first bool) {
	f := s.Flags
	if first && a.cfg.Wireshark40 && f&synAck != capture.SYN {
		return
	}
	if f&synAck == capture.SYN && c.Completeness == 0 {
		c.Completeness |= CompleteSYN
		if s.Len > 0 {
			c.Completeness |= CompleteData
		}
	}
	switch f & synAck {
	case synAck:
		c.Completeness |= CompleteSYNACK
	case capture.ACK:
		if s.Len > 0 {
			c.Completeness |= CompleteData
		} else {
			c.Completeness |= CompleteACK
		}
	default:
	}
	if f&(capture.FIN|capture.ACK) == capture.FIN|capture.ACK {
		c.Completeness |= CompleteFIN
	}
	if f&capture.RST != 0 {
		c.Completeness |= CompleteRST
	}
	if f&synAck == capture.SYN {
		c.synAt = s.Time
	}
	if f&synAck == capture.ACK && c.synAt != 0 && c.InitialRTT == 0 {
		c.InitialRTT = s.Time - c.synAt
	}
}

// rebase learns the initial sequence numbers of both sides from the first
// segment that shows them.
func rebase(fwd, rev *Side, s *capture.Segment) {
	if !fwd.w.has(wireBase) {
		fwd.w.base = s.Seq
		if s.Flags&capture.SYN == 0 {
			fwd.w.base--
		}
		fwd.w.set(wireBase)
	}
	if s.Flags&capture.ACK != 0 && !rev.w.has(wireBase) {
		rev.w.base = s.Ack - 1
		rev.w.set(wireBase)
	}
}

// Values of Side.WScale that are no shift.
const (
	scaleUnknown = -1
	scaleUnused  = -2

	maxScale = 14 // RFC 7323, section 2.3
)

// options takes in what Wireshark takes from the options, which it reads after
// it has analysed the sequence numbers.
func (a *Analyzer) options(c *Conn, dir int, s *capture.Segment, p *Packet) {
	fwd, rev := &c.Sides[dir], &c.Sides[dir^1]
	w := &fwd.w
	if s.Flags&capture.SYN != 0 {
		w.set(wireFirstAck)
	}
	if s.Flags&synAck == capture.ACK {
		w.clear(wireFirstAck)
	}
	p.CalculatedWindow = uint32(s.Window)
	if s.Flags&capture.SYN == 0 && w.winScale > 0 {
		p.CalculatedWindow <<= uint(w.winScale)
	}
	fwd.Opts |= s.Opts
	if s.Opts&capture.OptWScale != 0 {
		w.winScale = int8(min(s.WScale, maxScale))
	}
	if s.Flags&capture.SYN != 0 && s.Opts&capture.OptMSS != 0 {
		fwd.MSS = s.MSS
	}
	w.sackN = 0
	if s.Opts&capture.OptSACK != 0 {
		a.keepBlocks(w, s)
		if !a.cfg.Wireshark40 && p.Flags&WindowUpdate != 0 && !c.newOperation(fwd) {
			p.Flags = p.Flags&^WindowUpdate | DuplicateAck
			w.dupAcks++
			p.DupAckNumber = uint32(w.dupAcks)
		}
	}
	if s.Opts&capture.OptMPTCP != 0 {
		c.mpOps |= 1 << (s.MPTCP & 7)
	}
	if s.Flags&capture.SYN != 0 {
		// Scaling works only when both SYNs have the option.
		switch {
		case w.winScale == scaleUnknown:
			w.winScale, rev.w.winScale = scaleUnused, scaleUnused
		case s.Flags&capture.ACK != 0 && rev.w.winScale == scaleUnused:
			w.winScale = scaleUnused
		}
	}
	fwd.WScale, rev.WScale = w.winScale, rev.w.winScale
}

// newOperation reports whether an MPTCP operation that the sender did not know
// of may explain a repeated acknowledgement (RFC 8684, section 3.3.4).
func (c *Conn) newOperation(fwd *Side) bool { return c.mpOps != fwd.w.mpOps }
