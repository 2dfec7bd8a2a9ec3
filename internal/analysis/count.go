package analysis

import (
	"github.com/viewtcp/viewtcp/internal/capture"
)

const ecnCE = 3 // RFC 3168, section 5

// count adds a segment to the numbers of its side and connection.
func (a *Analyzer) count(c *Conn, dir int, s *capture.Segment, p *Packet) {
	fwd, rev := &c.Sides[dir], &c.Sides[dir^1]
	f := s.Flags
	if fwd.Packets == 0 {
		fwd.First = s.Time
	} else {
		fwd.IdleMax = max(fwd.IdleMax, s.Time-fwd.Last)
	}
	fwd.Last = max(fwd.Last, s.Time)
	if c.Last == 0 {
		c.First = s.Time // segments quoted before do not count
	}
	c.Last = max(c.Last, s.Time)
	fwd.Packets++
	fwd.WireBytes += uint64(s.WireLen)
	c.TCPFlags |= f
	if f&(ctl|capture.PSH|capture.URG|capture.ECE|capture.CWR) != 0 {
		countFlags(fwd, f)
		if f&(capture.URG|capture.ECE|capture.CWR) != 0 {
			countRareFlags(a.rareOf(fwd), f)
		}
		if f&capture.RST != 0 && c.FirstRST == OriginUnknown {
			c.FirstRST = originOf(dir)
		}
	}
	if s.ECN == ecnCE {
		a.rareOf(fwd).CEs++
	}
	if s.Len > 0 {
		fwd.data(rev, s)
	} else if f&(ctl|capture.ACK) == capture.ACK {
		fwd.PureAcks++
	}
	if f&(capture.SYN|capture.RST) == 0 {
		fwd.window(p.CalculatedWindow)
	}
	if s.Opts&capture.OptSACK != 0 {
		fwd.SACKs++
		if duplicateSACK(s) {
			a.rareOf(fwd).DSACKs++
		}
	}
	if p.BytesInFlight > 0 {
		fwd.InFlightMax = max(fwd.InFlightMax, p.BytesInFlight)
		fwd.inFlightSum += uint64(p.BytesInFlight)
		fwd.inFlights++
	}
	if p.DupAckNumber == 3 {
		a.rareOf(fwd).TripleDupAcks++
	}
	if p.Flags != 0 {
		rare := a.rareOf(fwd)
		for m, i := p.Flags, 0; m != 0; m, i = m>>1, i+1 {
			if m&1 != 0 {
				rare.Flags[i]++
			}
		}
	}
	if s.Len > 0 || f&(capture.SYN|capture.FIN) != 0 || p.Verdict != VerdictNew {
		fwd.Verdicts[p.Verdict]++
	}
}

func countFlags(fwd *Side, f capture.Flags) {
	for _, n := range [...]struct {
		bit capture.Flags
		n   *uint32
	}{
		{capture.SYN, &fwd.SYNs},
		{capture.FIN, &fwd.FINs},
		{capture.RST, &fwd.RSTs},
		{capture.PSH, &fwd.Pushes},
	} {
		if f&n.bit != 0 {
			*n.n++
		}
	}
}

func countRareFlags(r *Rare, f capture.Flags) {
	if f&capture.URG != 0 {
		r.Urgents++
	}
	if f&capture.ECE != 0 {
		r.ECEs++
	}
	if f&capture.CWR != 0 {
		r.CWRs++
	}
}

func (s *Side) data(rev *Side, seg *capture.Segment) {
	if s.DataPackets == 0 {
		s.FirstData = seg.Time
		s.SegmentMin = seg.Len
	}
	s.LastData = max(s.LastData, seg.Time)
	s.DataPackets++
	s.PayloadBytes += uint64(seg.Len)
	s.SegmentMin = min(s.SegmentMin, seg.Len)
	s.SegmentMax = max(s.SegmentMax, seg.Len)
	// Until the receiver acknowledges the first byte of it.
	if rev.w.lastAck == 0 || seqLE(rev.w.lastAck, s.w.base+1) {
		s.InitialWindow = uint32(min(uint64(s.InitialWindow)+uint64(seg.Len), 1<<32-1))
	}
}

func (s *Side) window(bytes uint32) {
	if s.windows == 0 {
		s.WindowMin = bytes
	}
	s.WindowMin, s.WindowMax = min(s.WindowMin, bytes), max(s.WindowMax, bytes)
	if s.windows < 1<<32-1 {
		s.windows++
		s.windowSum += uint64(bytes)
	}
}

// duplicateSACK reports whether the first block tells of a duplicate: it lies
// before the acknowledgement, or inside the second block (RFC 2883, section 4).
func duplicateSACK(s *capture.Segment) bool {
	if s.SACKLen == 0 {
		return false
	}
	first := s.SACK[0]
	if seqLE(first.Right, s.Ack) {
		return true
	}
	return s.SACKLen > 1 && seqGE(first.Left, s.SACK[1].Left) && seqLE(first.Right, s.SACK[1].Right)
}
