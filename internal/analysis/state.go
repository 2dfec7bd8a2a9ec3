package analysis

import (
	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// transition follows the state machine of RFC 9293, section 3.3.2, for both
// ends, as far as a tap can: a segment changes its sender when it is seen, and
// its receiver when the receiver answers it, since it may be lost behind the
// tap. An end of which the opening was not seen is ESTABLISHED.
func (c *Conn) transition(dir int, s *capture.Segment) {
	fwd, rev := &c.Sides[dir], &c.Sides[dir^1]
	f := s.Flags
	if f&capture.RST != 0 {
		c.reset(dir, s)
		return
	}
	if f&capture.SYN != 0 {
		c.synchronize(dir, s)
	} else if fwd.State == tcp.StateUnknown {
		fwd.State = tcp.Established
		if rev.State == tcp.SynSent && rev.hasSYN && s.Ack != rev.isn+1 {
			// It knows nothing of the SYN: an older connection, half open.
			fwd.State = tcp.StateUnknown
		}
	}
	if f&capture.ACK != 0 {
		c.acknowledged(dir, s)
	}
	if f&capture.FIN != 0 {
		c.finish(dir, s)
	}
}

// synchronize takes in a SYN or a SYN-ACK.
func (c *Conn) synchronize(dir int, s *capture.Segment) {
	fwd := &c.Sides[dir]
	if !fwd.hasSYN {
		fwd.hasSYN, fwd.isn = true, s.Seq
	}
	if s.Flags&capture.ACK == 0 {
		if c.AckTime == 0 {
			c.SynTime = s.Time
		}
		if fwd.State == tcp.StateUnknown {
			fwd.State = tcp.SynSent
		}
		return
	}
	if c.AckTime == 0 {
		c.SynAckTime = s.Time
	}
	// In a simultaneous open both ends come here from SYN_SENT.
	if fwd.State == tcp.StateUnknown || fwd.State == tcp.SynSent {
		fwd.State = tcp.SynRecv
	}
	if rev := &c.Sides[dir^1]; rev.State == tcp.StateUnknown {
		rev.State = tcp.SynSent // its SYN was not seen
	}
}

// acknowledged takes in what an ACK tells of both ends.
func (c *Conn) acknowledged(dir int, s *capture.Segment) {
	fwd, rev := &c.Sides[dir], &c.Sides[dir^1]
	if rev.hasSYN && seqGT(s.Ack, rev.isn) {
		if s.Flags&capture.SYN == 0 {
			if fwd.State == tcp.SynSent || fwd.State == tcp.SynRecv {
				fwd.State = tcp.Established
				if c.AckTime == 0 {
					c.AckTime = s.Time
				}
			}
			if rev.State == tcp.SynRecv {
				rev.State = tcp.Established
			}
		} else if rev.State == tcp.SynRecv && fwd.State == tcp.SynRecv {
			// Simultaneous open: each SYN-ACK acknowledges the other's SYN.
			fwd.State, rev.State = tcp.Established, tcp.Established
			if c.AckTime == 0 {
				c.AckTime = s.Time
			}
		}
	} else if !rev.hasSYN && s.Flags&capture.SYN == 0 && (fwd.State == tcp.SynSent || fwd.State == tcp.SynRecv) {
		fwd.State = tcp.Established // the other end's SYN was not seen
	}
	if rev.State == tcp.StateUnknown && s.Flags&capture.SYN == 0 {
		rev.State = tcp.Established // it was not seen, but is spoken to
	}
	if !rev.hasFIN || seqLT(s.Ack, rev.finEnd) {
		return
	}
	// The sender knows of the other end's FIN, and the other end will know that.
	switch fwd.State {
	case tcp.Established, tcp.SynRecv:
		fwd.State = tcp.CloseWait
	case tcp.FinWait1:
		fwd.State = tcp.Closing
	case tcp.FinWait2:
		fwd.State = tcp.TimeWait
	default:
	}
	switch rev.State {
	case tcp.FinWait1:
		rev.State = tcp.FinWait2
	case tcp.Closing:
		rev.State = tcp.TimeWait
	case tcp.LastAck:
		rev.State = tcp.Closed
	default:
	}
	c.ended(s.Time)
}

// finish takes in a FIN.
func (c *Conn) finish(dir int, s *capture.Segment) {
	fwd, rev := &c.Sides[dir], &c.Sides[dir^1]
	if c.FirstFIN == OriginUnknown {
		c.FirstFIN = originOf(dir)
	}
	if !fwd.hasFIN {
		fwd.hasFIN = true
		fwd.finEnd = s.Seq + s.Len + 1
	}
	switch fwd.State {
	case tcp.Established, tcp.SynRecv, tcp.SynSent:
		fwd.State = tcp.FinWait1
	case tcp.CloseWait:
		fwd.State = tcp.LastAck
	default:
	}
	if rev.State == tcp.FinWait2 && s.Flags&capture.ACK != 0 && seqGE(s.Ack, rev.finEnd) && rev.hasFIN && fwd.State == tcp.FinWait1 {
		fwd.State = tcp.LastAck
	}
}

// ended notes when the last full socket of the connection was gone: TIME_WAIT is
// only what remains of one.
func (c *Conn) ended(now int64) {
	if c.Ended == 0 && gone(c.Sides[0].State) && gone(c.Sides[1].State) {
		c.Ended = now
	}
}

func gone(s tcp.State) bool { return s == tcp.TimeWait || s == tcp.Closed }

// reset takes in a RST.
func (c *Conn) reset(dir int, s *capture.Segment) {
	fwd, rev := &c.Sides[dir], &c.Sides[dir^1]
	if c.FirstRST == OriginUnknown {
		c.FirstRST = originOf(dir)
	}
	if rev.State == tcp.SynSent && rev.hasSYN {
		// Only a RST that acknowledges the SYN is believed (section 3.5.3), but an
		// old connection may have been there as well.
		if s.Flags&capture.ACK != 0 && s.Ack == rev.isn+1 {
			c.Refused = c.Refused || fwd.State == tcp.StateUnknown
		} else if s.Flags&capture.ACK != 0 {
			return
		}
	}
	if gone(fwd.State) && gone(rev.State) && c.Ended != 0 {
		return // after the end; TIME_WAIT answers so
	}
	fwd.State, rev.State = tcp.Closed, tcp.Closed
	c.ended(s.Time)
}
