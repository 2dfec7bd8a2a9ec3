package analysis

import (
	"time"

	"github.com/viewtcp/viewtcp/internal/capture"
)

// verdictSide is what our own verdict remembers of what one side sent: the range
// of sequence numbers from start to end, less the holes in it.
type verdictSide struct {
	start, end uint32
	// acked is the highest sequence number that the other side acknowledged,
	// doubted one that lies too far ahead to be believed at once.
	acked, doubted uint32
	holes          uint32 // list, in order of sequence numbers
	holeN          uint16
	// id and tsval are those of the latest segment.
	id uint16
	// single says that the latest segment took one IP-ID, as no super-packet does.
	single bool
	tsval  uint32
	// goodIDs and badIDs count how often the IP-ID grew a little from segment to
	// segment, as it does with senders that count, and how often not; wholeIDs
	// how often by exactly one.
	goodIDs, badIDs, wholeIDs uint8
	bits                      uint8
	// missed is acknowledged payload in holes that were given up.
	missed uint64
}

const (
	sideSeen = 1 << iota
	// sideAcked: acked is known.
	sideAcked
	sideDoubted
	// sideProbed: the last byte is a probe of a closed window.
	sideProbed
	sideHasID
	// sideOpen: the last segment was the first fragment of an IP packet, so where
	// it ends is not known.
	sideOpen
	// sideConstantID: different segments have the same IP-ID.
	sideConstantID
)

// hole is a range of sequence numbers that was jumped over. With it stands what
// is known of the segment that jumped: it was sent after the original of what
// belongs into the hole, and before a retransmission of it.
type hole struct {
	time   int64
	lo, hi uint32
	next   uint32
	tsval  uint32
	id     uint16
	hasTS  bool
	hasID  bool
}

const (
	// lateDefault is how late a segment must fill a hole to be a retransmission,
	// when neither IP-ID nor timestamp nor round trip time is known.
	lateDefault = 8 * time.Millisecond
	// lateShare is the part of the round trip time to the sender that a
	// retransmission takes at least: its way here may be faster than that of
	// what opened the hole.
	lateShare = 0.75
	// maxJump bounds how far ahead a segment is believed.
	maxJump = 1 << 30
	// maxIDStep is how much an IP-ID grows at the most between two segments of a
	// sender that counts; others of its packets lie between.
	maxIDStep = 1 << 10
	// sureIDs is how many steps by one show that a sender takes one IP-ID for
	// each packet of a connection, and maxLostCopies how many may be missing.
	sureIDs       = 4
	maxLostCopies = 1 << 4
	// smallestMSS is the default of RFC 9293, section 3.7.1.
	smallestMSS = 536
)

// judge gives the verdict, and keeps account of the bytes seen.
func (a *Analyzer) judge(c *Conn, dir int, s *capture.Segment, p *Packet) {
	fwd, rev := &c.Sides[dir], &c.Sides[dir^1]
	v := &fwd.v
	lo, hi := s.Seq, s.Seq+s.Len
	if s.Flags&capture.SYN != 0 {
		hi++
	}
	if s.Flags&capture.FIN != 0 {
		hi++
	}
	if s.Flags&capture.RST != 0 {
		return // its number need not be the next, and its payload is no data
	}
	if s.Flags&capture.ACK != 0 {
		a.acked(fwd, rev, s)
	}
	if v.bits&sideSeen == 0 {
		v.bits |= sideSeen
		v.start, v.end = lo, hi
		if s.Info&capture.Fragment != 0 {
			v.bits |= sideOpen
		}
		fwd.UniqueBytes += uint64(s.Len)
		fwd.identify(rev, s, true)
		a.remember(c, dir, s, hi)
		return
	}
	if v.bits&sideOpen != 0 && seqGT(lo, v.end) && lo-v.end < maxPacket {
		// The other fragments held what lies between.
		fwd.UniqueBytes += uint64(lo - v.end)
		fwd.PayloadBytes += uint64(lo - v.end)
		v.end = lo
		v.bits &^= sideOpen
	}
	switch {
	case lo == hi:
		if a.repeatedAck(c, dir, s) {
			p.Verdict, p.Reason = VerdictNetworkDuplicate, ReasonSamePacket
			return
		}
		if seqGT(lo, v.end) && lo-v.end < maxJump {
			a.jump(fwd, lo, s)
			v.end = lo
		} else if s.Seq == v.end-1 {
			p.Reason = keepAliveReason(rev)
		}
	case seqGE(lo, v.end):
		if lo-v.end >= maxJump {
			break
		}
		if s.Len == 1 && lo == v.end && hi == lo+1 && rev.closedWindow() {
			// The receiver may or may not take the byte; its acknowledgements tell.
			v.bits |= sideProbed
			p.Reason = ReasonWindowProbe
			break
		}
		v.bits &^= sideProbed
		if lo != v.end {
			a.jump(fwd, lo, s)
		} else if fwd.skippedID(rev, s) {
			p.Verdict, p.Reason = VerdictRetransmission, ReasonSkippedIPID
		}
		v.end = hi
		fwd.UniqueBytes += uint64(s.Len)
	default:
		a.again(c, dir, s, hi, p)
	}
	if p.Verdict == VerdictRetransmission {
		fwd.RetransmittedBytes += uint64(s.Len)
	}
	if s.Info&capture.Fragment != 0 && hi == v.end {
		v.bits |= sideOpen
	}
	if p.Verdict != VerdictNetworkDuplicate {
		fwd.identify(rev, s, p.Verdict == VerdictNew)
		a.remember(c, dir, s, hi)
	}
}

// closedWindow reports whether the side's last window was 0.
func (s *Side) closedWindow() bool { return s.Packets > 0 && s.w.window == 0 }

func keepAliveReason(peer *Side) Reason {
	if peer.closedWindow() {
		return ReasonWindowProbe
	}
	return ReasonKeepAlive
}

// again judges a segment that begins before what was seen last.
func (a *Analyzer) again(c *Conn, dir int, s *capture.Segment, hi uint32, p *Packet) {
	fwd, rev := &c.Sides[dir], &c.Sides[dir^1]
	v := &fwd.v
	lo := s.Seq
	switch {
	case s.Len == 1 && hi == lo+1 && hi == v.end && v.bits&sideAcked != 0 && v.acked == v.end && s.Flags&ctl == 0:
		// The byte before the next one, long acknowledged: nobody sends it again
		// but to hear an answer.
		p.Reason = keepAliveReason(rev)
		return
	case seqLT(lo, v.start):
		a.beforeStart(c, dir, s, hi, p)
		return
	}
	first := a.firstHole(v, lo, hi)
	var seen hole
	if first != 0 {
		seen = *a.holes.at(first)
	}
	// What is new of it lies in holes or beyond the end.
	filled := a.fill(fwd, lo, hi)
	fresh, data := filled, filled
	if seqGT(hi, v.end) {
		fresh += hi - v.end
		data = fresh
		if s.Flags&capture.FIN != 0 {
			data--
		}
		v.end = hi
	}
	fwd.UniqueBytes += uint64(min(data, s.Len)) // SYN and FIN are no data
	switch {
	case fresh == hi-lo && first != 0:
		p.Verdict, p.Reason = a.fills(fwd, rev, &seen, s)
	case fresh == 0:
		p.Verdict, p.Reason = a.copied(c, dir, s, hi)
	default:
		p.Verdict, p.Reason = VerdictRetransmission, ReasonPartOverlap
		if r, ok := a.recent.find(c.Stream, dir, s.Seq); ok && v.earlier(s, &r) {
			p.Verdict, p.Reason = VerdictReordered, ReasonOvertaken
		}
	}
}

// beforeStart judges a segment of before the first one that was seen.
func (a *Analyzer) beforeStart(c *Conn, dir int, s *capture.Segment, hi uint32, p *Packet) {
	fwd, rev := &c.Sides[dir], &c.Sides[dir^1]
	v := &fwd.v
	if v.start-s.Seq >= maxJump {
		return
	}
	switch {
	case seqGT(hi, v.start):
		p.Verdict, p.Reason = VerdictRetransmission, ReasonPartOverlap
		fwd.UniqueBytes += uint64(min(v.start-s.Seq, s.Len))
	case v.bits&sideAcked != 0 && seqLE(hi, v.acked) && seqGE(v.acked, v.start):
		p.Verdict, p.Reason = VerdictRetransmission, ReasonBeforeStart
		return
	default:
		// The first segment jumped over it.
		h := hole{time: fwd.First, tsval: v.tsval, id: v.id, hasTS: false, hasID: false}
		p.Verdict, p.Reason = a.fills(fwd, rev, &h, s)
		fwd.UniqueBytes += uint64(s.Len)
		if hi != v.start {
			a.addHole(fwd, hi, v.start, s)
		}
	}
	v.start = s.Seq
	if seqGT(hi, v.end) {
		v.end = hi
	}
}

// fills judges a segment that fills a hole.
func (a *Analyzer) fills(fwd, rev *Side, h *hole, s *capture.Segment) (Verdict, Reason) {
	if h.hasTS && s.Opts&capture.OptTimestamps != 0 {
		switch d := int32(s.TSVal - h.tsval); {
		case d > 0:
			return VerdictRetransmission, ReasonLaterTSVal
		case d < 0:
			return VerdictReordered, ReasonEarlierTSVal
		}
	}
	if h.hasID && fwd.v.counts() && hasID(s) {
		switch d := int16(uint16(s.IPID) - h.id); {
		case d > 0:
			return VerdictRetransmission, ReasonLaterIPID
		case d < 0:
			return VerdictReordered, ReasonEarlierIPID
		}
	}
	// A retransmission needs at least the time from here to the sender and back,
	// as its sender has to hear of the hole first.
	late := int64(lateDefault)
	if rev.RTT.N > 0 {
		late = int64(rev.RTT.min * lateShare)
	}
	if s.Time-h.time > late {
		return VerdictRetransmission, ReasonLate
	}
	return VerdictReordered, ReasonSoon
}

// copied judges a segment of which every byte was seen before.
func (a *Analyzer) copied(c *Conn, dir int, s *capture.Segment, hi uint32) (Verdict, Reason) {
	fwd, rev := &c.Sides[dir], &c.Sides[dir^1]
	r, ok := a.recent.find(c.Stream, dir, s.Seq)
	if !ok {
		return VerdictRetransmission, ReasonOverlap
	}
	if fwd.v.earlier(s, &r) {
		return VerdictReordered, ReasonOvertaken
	}
	if r.end != hi || r.hasTS != (s.Opts&capture.OptTimestamps != 0) || r.hasTS && r.tsval != s.TSVal {
		return VerdictRetransmission, ReasonOverlap
	}
	switch {
	case hasID(s) && r.hasID && fwd.v.bits&sideConstantID == 0:
		if uint16(s.IPID) == r.id {
			return VerdictNetworkDuplicate, ReasonSamePacket
		}
	case s.Flags&capture.SYN == 0 && rev.RTT.N > 0 && float32(s.Time-r.time) < rev.RTT.min/2:
		return VerdictNetworkDuplicate, ReasonTooSoon
	}
	return VerdictRetransmission, ReasonOverlap
}

// earlier reports whether a segment was sent before another one.
func (v *verdictSide) earlier(s *capture.Segment, r *recentSegment) bool {
	if r.hasTS && s.Opts&capture.OptTimestamps != 0 && s.TSVal != r.tsval {
		return int32(s.TSVal-r.tsval) < 0
	}
	return r.hasID && hasID(s) && v.counts() && int16(uint16(s.IPID)-r.id) < 0
}

// hasID reports whether a segment has an IP-ID that may tell packets apart: 0
// stands in all packets of senders that rely on RFC 6864.
func hasID(s *capture.Segment) bool {
	return s.Info&capture.HasIPID != 0 && uint16(s.IPID) != 0
}

// counts reports whether the sender counts its packets in the IP-ID.
func (v *verdictSide) counts() bool { return v.goodIDs > 0 && v.goodIDs/4 >= v.badIDs }

// identify keeps the marks of a segment, and learns how the sender makes them.
func (s *Side) identify(rev *Side, seg *capture.Segment, fresh bool) {
	v := &s.v
	if seg.Opts&capture.OptTimestamps != 0 {
		v.tsval = seg.TSVal
	}
	if seg.Info&capture.HasIPID == 0 {
		return
	}
	id := uint16(seg.IPID)
	step := id - v.id
	switch known := v.bits&sideHasID != 0; {
	case !known:
	case seg.Seq+seg.Len != v.end: // something before it was lost, or it came late
		if int16(step) < 0 && v.counts() {
			return
		}
	case step >= 1<<15 && v.goodIDs > 0:
		return // an earlier one that came late
	case step > 0 && step < maxIDStep:
		bump(&v.goodIDs, &v.badIDs)
		if step == 1 {
			v.wholeIDs = min(v.wholeIDs+1, 255-1)
		} else if v.single {
			v.wholeIDs /= 2
		}
	default:
		if step == 0 && id != 0 && fresh {
			v.bits |= sideConstantID
		}
		bump(&v.badIDs, &v.goodIDs)
		v.wholeIDs = 0
	}
	v.id = id
	v.single = seg.Len <= uint32(max(rev.MSS, smallestMSS))
	v.bits |= sideHasID
}

// bump counts, and halves both counters when one is full.
func bump(n, other *uint8) {
	if *n == 255 {
		*n /= 2
		*other /= 2
	}
	*n++
}

// skippedID tells a retransmission of which the original was lost before it
// could be seen, and nothing after it. Only the IP-ID shows that: the sender
// sent another packet since its last one that came here. It had nothing to
// acknowledge, no older gap to fill, and took the time that it takes to miss an
// answer, so it can only have been this one.
func (s *Side) skippedID(rev *Side, seg *capture.Segment) bool {
	v := &s.v
	if v.bits&sideHasID == 0 || v.wholeIDs < sureIDs || !v.single || v.holes != 0 || !hasID(seg) {
		return false
	}
	lost := uint16(seg.IPID) - v.id - 1
	return lost > 0 && lost <= maxLostCopies && (seg.Len > 0 || seg.Flags&capture.FIN != 0) &&
		(rev.v.bits&sideSeen == 0 || s.w.lastAck == rev.v.end) &&
		rev.RTT.N > 0 && float32(seg.Time-s.Last) >= rev.RTT.min
}

// acked follows what the receiver acknowledged.
func (a *Analyzer) acked(receiver, sender *Side, s *capture.Segment) {
	v := &sender.v
	if v.bits&sideAcked == 0 {
		v.acked = s.Ack
		v.bits |= sideAcked
		return
	}
	if !seqGT(s.Ack, v.acked) {
		return
	}
	// Far beyond what was seen is either a broken number or a gap in the
	// capture; a second acknowledgement tells.
	far := v.bits&sideSeen != 0 && seqGT(s.Ack, v.end) && s.Ack-v.end > 2*max(receiver.WindowMax, 1<<16)
	if far && (v.bits&sideDoubted == 0 || s.Ack-v.doubted >= maxJump) {
		v.doubted = s.Ack
		v.bits |= sideDoubted
		return
	}
	if v.bits&sideProbed != 0 && s.Ack == v.end+1 {
		v.end++
		sender.UniqueBytes++
		v.bits &^= sideProbed
	}
	v.acked = s.Ack
	v.bits &^= sideDoubted
}

// Missed returns the payload bytes of this side that were acknowledged but not
// seen.
func (a *Analyzer) Missed(s *Side) uint64 {
	v := &s.v
	n := v.missed
	if v.bits&sideAcked == 0 {
		return n
	}
	if v.bits&sideSeen == 0 {
		return n
	}
	for i := v.holes; i != 0; {
		h := a.holes.at(i)
		if seqGT(v.acked, h.lo) {
			n += uint64(seqMin(h.hi, v.acked) - h.lo)
		}
		i = h.next
	}
	if seqGT(v.acked, v.end) {
		beyond := v.acked - v.end
		if !s.hasFIN && s.State != 0 && beyond > 0 {
			beyond-- // a FIN, as likely as not
		}
		n += uint64(beyond)
	}
	return n
}
