package analysis

import (
	"github.com/viewtcp/viewtcp/internal/capture"
)

// zeekSide is the state of an end as Zeek's TCP analyzer sees it, which is
// coarser than RFC 9293: conn_state follows from it.
type zeekSide struct {
	start, last, ackedTo      uint32
	lastSYN, lastFIN, lastRST uint32
	repeats, zeros, gaps      uint32
	state, prev               zeekState
}

type zeekState uint8

const (
	zeekInactive zeekState = iota
	zeekSynSent
	zeekSynAckSent
	zeekPartial
	zeekEstablished
	zeekClosed
	zeekReset
)

// historyLen bounds Conn.History; letters beyond it are left out.
const historyLen = 32

// Letters that are noted once have a bit each; the responder's are higher.
const (
	histSYN = 1 << iota
	histFIN
	histRST
	histFINRST
	histMulti
	histData
	histACK

	histResponder = 16
)

const (
	// zeekJump is where a sequence number of SYN or RST is not believed.
	zeekJump = 1 << 20
	// zeekFactor is the step at which repeated events are noted again: the
	// first, the tenth, the hundredth.
	zeekFactor = 10
)

// History is Zeek's history: a letter an event, in upper case for the
// initiator's. S SYN, H SYN-ACK, A pure ACK, D data, F FIN, R RST, I FIN with
// RST, Q other combinations, T repeated payload, W zero window, G gap (these three at
// 1, 10, 100, …); ^ the first segment was the responder's. There is no C for a wrong
// checksum: the network card computes those of the capturing host's own packets later.
func (c *Conn) History() string { return string(c.hist[:c.histLen]) }

// ConnState is Zeek's conn_state.
func (c *Conn) ConnState() string {
	o, r := &c.Sides[0], &c.Sides[1]
	silent := func(s zeekState) bool { return s == zeekInactive || s == zeekPartial }
	switch os, rs := o.z.state, r.z.state; {
	case rs == zeekReset:
		switch {
		case os == zeekSynSent || os == zeekSynAckSent || os == zeekReset && o.z.size() == 0 && r.z.size() == 0:
			return "REJ"
		case silent(os):
			return "RSTRH"
		default:
			return "RSTR"
		}
	case os == zeekReset:
		switch {
		case !silent(rs):
			return "RSTO"
		case c.resetOwnSyn():
			return "RSTOS0"
		default:
			return "OTH"
		}
	case rs == zeekClosed && os == zeekClosed:
		return "SF"
	case os == zeekClosed:
		if silent(rs) {
			return "SH"
		}
		return "S2"
	case rs == zeekClosed:
		if silent(os) {
			return "SHR"
		}
		return "S3"
	case os == zeekSynSent && rs == zeekInactive:
		return "S0"
	case os == zeekEstablished && rs == zeekEstablished:
		return "S1"
	default:
		return "OTH"
	}
}

// size is the payload that Zeek takes an end to have sent.
func (z *zeekSide) size() uint32 {
	n := seqMax(z.last, z.ackedTo) - z.start
	if n > 0 {
		n-- // SYN
	}
	return n
}

// resetOwnSyn reports whether the initiator sent a SYN and then a RST, and
// nothing that a connection needs between.
func (c *Conn) resetOwnSyn() bool {
	h := c.hist[:c.histLen]
	if len(h) > 0 && h[0] == '^' {
		h = h[1:]
	}
	if len(h) == 0 || h[0] != 'S' {
		return false
	}
	for _, ch := range h[1:] {
		switch ch {
		case 'R':
			return true
		case 'H', 'A', 'F', 'G', 'I', 'Q':
			return false
		}
	}
	return false
}

func (c *Conn) note(dir int, letter byte) {
	if dir == 1 {
		letter += 'a' - 'A'
	}
	if int(c.histLen) < len(c.hist) {
		c.hist[c.histLen] = letter
		c.histLen++
	}
}

// noteOnce notes a letter the first time, and reports whether it was noted
// before.
func (c *Conn) noteOnce(dir int, bit uint32, letter byte) bool {
	bit <<= uint(dir) * histResponder
	if c.histSeen&bit != 0 {
		return true
	}
	c.histSeen |= bit
	c.note(dir, letter)
	return false
}

// noteScaled counts, and notes a letter at 1, 10, 100 and so on.
func (c *Conn) noteScaled(dir int, n *uint32, letter byte) {
	if *n == 1<<32-1 {
		return
	}
	*n++
	v := *n
	for v%zeekFactor == 0 {
		v /= zeekFactor
	}
	if v == 1 {
		c.note(dir, letter)
	}
}

// flip puts the mark of exchanged roles first and turns the letters so far.
func (c *Conn) flip() {
	for i := range c.hist[:c.histLen] {
		if ch := c.hist[i]; ch >= 'A' && ch <= 'Z' || ch >= 'a' && ch <= 'z' {
			c.hist[i] ^= 'a' - 'A'
		}
	}
	c.histSeen = c.histSeen>>histResponder | c.histSeen<<histResponder
	if c.flipped = !c.flipped; c.flipped && int(c.histLen) < len(c.hist) {
		copy(c.hist[1:], c.hist[:c.histLen])
		c.hist[0] = '^'
		c.histLen++
	}
}

// zeek takes in one segment.
func (c *Conn) zeek(dir int, s *capture.Segment, p *Packet) {
	if c.flipped && c.histLen == 0 {
		c.note(0, '^')
	}
	fwd, rev := &c.Sides[dir].z, &c.Sides[dir^1].z
	f := s.Flags
	n := s.Len
	if f&capture.RST != 0 {
		n = 0
	}
	end := s.Seq + n
	if f&capture.SYN != 0 {
		end++
	}
	if f&capture.FIN != 0 {
		end++
	}
	fwd.begin(f, s.Seq, end)
	c.noteFlags(dir, s)
	if s.Window == 0 && f&capture.RST == 0 && rev.state != zeekClosed && fwd.state != zeekReset {
		c.noteScaled(dir, &fwd.zeros, 'W')
	}
	if f&capture.ACK != 0 {
		if rev.state == zeekInactive {
			rev.start, rev.ackedTo, rev.last = s.Ack-1, s.Ack-1, s.Ack-1
		} else if f&capture.RST == 0 && seqGT(s.Ack, rev.ackedTo) && (s.Ack != 0 || s.Ack-rev.ackedTo <= zeekJump) {
			rev.ackedTo = s.Ack
		}
	}
	ahead := int32(end - fwd.last)
	switch {
	case f&(capture.SYN|capture.RST) != 0 && (ahead > zeekJump || ahead < -zeekJump):
	case f&capture.FIN != 0 && fwd.last == fwd.start+1:
		fwd.last = end
	case fwd.state == zeekReset:
	case ahead > 0:
		fwd.last = end
	case s.Len > 0:
		c.noteScaled(dir, &fwd.repeats, 'T')
	}
	c.zeekState(dir, s)
	// Elsewhere an acknowledgement of unseen data is as likely a wrong number.
	if p.Flags&AckLostSegment != 0 && f&capture.RST == 0 && fwd.clean() && rev.clean() {
		c.noteScaled(dir^1, &rev.gaps, 'G')
	}
}

// begin sets the numbers that an end counts from.
func (z *zeekSide) begin(f capture.Flags, seq, end uint32) {
	syn := f&capture.SYN != 0
	switch z.state {
	case zeekInactive:
		z.start, z.ackedTo, z.last = seq, seq, end
		if !syn {
			z.start, z.ackedTo, z.last = seq-1, seq-1, seq
		}
	case zeekSynSent, zeekSynAckSent:
		if syn && seq != z.start {
			z.start, z.ackedTo, z.last = seq, seq, end
		}
	case zeekEstablished, zeekPartial:
		if syn {
			z.start, z.ackedTo, z.last = seq, seq, end
		}
	case zeekClosed:
	case zeekReset:
		if syn && z.prev == zeekInactive {
			z.start, z.ackedTo, z.last = seq, seq, end
		}
	}
}

func (c *Conn) noteFlags(dir int, s *capture.Segment) {
	z := &c.Sides[dir].z
	repeat := func(bit uint32, letter byte, last *uint32, seq uint32) {
		if c.noteOnce(dir, bit, letter) && *last != seq {
			c.note(dir, letter)
		}
		*last = seq
	}
	switch f := s.Flags & ctl; f {
	case capture.SYN:
		letter := byte('S')
		if s.Flags&capture.ACK != 0 {
			letter = 'H'
		}
		repeat(histSYN, letter, &z.lastSYN, s.Seq)
	case capture.FIN:
		repeat(histFIN, 'F', &z.lastFIN, s.Seq+s.Len)
	case capture.RST:
		repeat(histRST, 'R', &z.lastRST, s.Seq)
	case 0:
		if s.Len > 0 {
			c.noteOnce(dir, histData, 'D')
		} else if s.Flags&capture.ACK != 0 {
			c.noteOnce(dir, histACK, 'A')
		}
	default:
		if f&(capture.FIN|capture.RST) == capture.FIN|capture.RST {
			c.noteOnce(dir, histFINRST, 'I')
		} else {
			c.noteOnce(dir, histMulti, 'Q')
		}
	}
}

// clean reports whether an end is established, or was and then sent its FIN.
func (z *zeekSide) clean() bool {
	return z.state == zeekEstablished || z.state == zeekClosed && z.prev == zeekEstablished
}

func (z *zeekSide) become(s zeekState) {
	if s != z.state {
		z.prev, z.state = z.state, s
	}
}

// zeekState makes the transitions of the sender, and those it causes at the
// other end.
func (c *Conn) zeekState(dir int, s *capture.Segment) {
	z, peer := &c.Sides[dir].z, &c.Sides[dir^1].z
	f := s.Flags
	syn, fin, rst := f&capture.SYN != 0, f&capture.FIN != 0, f&capture.RST != 0
	switch z.state {
	case zeekInactive:
		if syn {
			c.zeekSyn(dir, s)
		}
		if fin {
			z.become(zeekClosed)
		}
		if rst {
			z.become(zeekReset)
		}
		if z.state != zeekInactive {
			return
		}
		switch {
		case dir == 1 && s.Len == 0 && peer.state == zeekSynSent:
			// Some acknowledge a SYN before they answer it.
		case f&capture.ACK != 0 && peer.state == zeekEstablished:
			z.become(zeekEstablished) // only the SYN was missed
		default:
			z.become(zeekPartial)
		}
	case zeekSynSent, zeekSynAckSent:
		if fin {
			z.become(zeekClosed)
		}
		if rst {
			z.become(zeekReset)
		}
	case zeekEstablished, zeekPartial:
		if syn && z.state == zeekPartial && peer.state == zeekInactive && f&capture.ACK == 0 {
			z.become(zeekSynSent)
		}
		if fin && !rst {
			z.become(zeekClosed)
			if peer.state == zeekReset && peer.prev == zeekClosed {
				peer.become(zeekClosed) // a FIN and then a RST: a normal end
			}
		}
		if rst {
			z.become(zeekReset)
		}
	case zeekClosed:
		if rst && peer.state != zeekClosed {
			z.become(zeekReset)
		}
	case zeekReset:
	}
}

// zeekSyn takes in the first SYN of an end.
func (c *Conn) zeekSyn(dir int, s *capture.Segment) {
	z, peer := &c.Sides[dir].z, &c.Sides[dir^1].z
	if dir == 1 {
		if peer.state == zeekSynSent {
			peer.become(zeekEstablished)
		}
		z.become(zeekEstablished)
		return
	}
	switch {
	case s.Flags&capture.ACK != 0:
		z.become(zeekSynAckSent)
	case peer.state == zeekEstablished && peer.prev == zeekInactive && c.histSeen&(histSYN<<histResponder) != 0:
		z.become(zeekEstablished) // SYN and SYN-ACK came in the wrong order
	default:
		z.become(zeekSynSent)
	}
}
