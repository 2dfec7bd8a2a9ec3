package analysis

import (
	"time"

	"github.com/viewtcp/viewtcp/internal/capture"
)

// wireSide is what Wireshark's analysis remembers of one side. Sequence numbers
// of 0 mean "not seen yet" there, and so they do here.
type wireSide struct {
	// base is the initial sequence number, or one less than the first seen.
	base uint32
	// nextSeq is the highest sequence number after a segment, maxSeq the highest
	// without a gap before it, which an acknowledgement may tell.
	nextSeq, maxSeq, lastAck uint32
	nextSeqTime, lastAckTime int64
	// sack is the number of the blocks of the last segment, in Analyzer.sacks;
	// sackN of them are set.
	sack uint32
	// head and tail are the list of unacknowledged segments; lo and hi the range
	// it covers, counted from base.
	head, tail, lo, hi uint32
	dupAcks            int32
	window             uint16
	unackedN           uint16
	lastFlags          Flags
	winScale           int8
	sackN              uint8
	mpOps              uint8
	bits               uint8
}

const (
	// wireBase: base is known.
	wireBase = 1 << iota
	// wireGap: a segment is missing, so that bytes in flight cannot be told until
	// the other side acknowledges something.
	wireGap
	// wireFirstAck: a SYN was sent and no ACK yet, so windows are not scaled.
	wireFirstAck
	// wireDataLast: the segment which set nextSeq had payload.
	wireDataLast
	// wireUnsorted and wireStale are of the unacknowledged list: segments do not
	// follow each other; lo and hi must be worked out again.
	wireUnsorted
	wireStale
	// wireOpen: the last segment was the first fragment of an IP packet, so
	// where it ends is not known.
	wireOpen
)

// maxPacket is more than an IP packet can hold, jumbograms left aside.
const maxPacket = 1 << 16

func (w *wireSide) has(bit uint8) bool { return w.bits&bit != 0 }
func (w *wireSide) set(bits uint8)     { w.bits |= bits }
func (w *wireSide) clear(bits uint8)   { w.bits &^= bits }

// fragment takes in the first fragment of an IP packet. Wireshark puts fragments
// together and sees the whole segment.
func (w *wireSide) fragment(s *capture.Segment) {
	if end := s.Seq + s.Len; w.nextSeq == 0 || s.Seq == w.nextSeq {
		w.nextSeq, w.nextSeqTime, w.maxSeq = end, s.Time, end
		w.set(wireOpen)
	}
	w.window, w.lastAck, w.lastAckTime = s.Window, s.Ack, s.Time
}

// close ends a segment of unknown length where the next one begins, or at what
// is acknowledged.
func (w *wireSide) close(at uint32) {
	if seqGT(at, w.nextSeq) && at-w.nextSeq < maxPacket {
		w.nextSeq, w.maxSeq = at, at
		w.clear(wireOpen)
	}
}

const (
	// fastRetransmitWithin is how soon after the last acknowledgement a segment
	// counts as a fast retransmission.
	fastRetransmitWithin = 20 * time.Millisecond
	// defaultReordering is how late a segment counts as out of order while the
	// initial RTT is unknown.
	defaultReordering = 3 * time.Millisecond
	// absurdInFlight is where a number of bytes in flight is taken for an error.
	absurdInFlight = 2_000_000_000
)

const ctl = capture.SYN | capture.FIN | capture.RST

// sequence sets the flags of a segment by Wireshark's definitions. The order of
// the checks is part of them, and all look at the state before the segment.
func (a *Analyzer) sequence(c *Conn, dir int, s *capture.Segment, p *Packet) {
	fwd, rev := &c.Sides[dir].w, &c.Sides[dir^1].w
	if s.Flags&capture.ACK != 0 {
		rev.clear(wireGap)
	}
	if fwd.has(wireOpen) {
		fwd.close(s.Seq)
	}
	if rev.has(wireOpen) && s.Flags&capture.ACK != 0 {
		rev.close(s.Ack)
	}
	probe := s.Len == 1 && s.Seq == fwd.nextSeq && rev.window == 0
	if probe {
		p.Flags |= ZeroWindowProbe
	} else {
		a.acknowledgement(c, dir, s, p)
	}
	if s.Ack != fwd.lastAck {
		fwd.dupAcks = 0
	}
	if rev.maxSeq != 0 && seqGT(s.Ack, rev.maxSeq) && s.Flags&capture.ACK != 0 {
		a.beyond(fwd, rev, s, p)
	}
	numbered := s.Len > 0 || s.Flags&(capture.SYN|capture.FIN) != 0
	if numbered && p.Flags&KeepAlive == 0 {
		a.repeated(c, dir, s, p)
	}

	end := s.Seq + s.Len
	if numbered && int(fwd.unackedN) < a.cfg.MaxUnacked {
		if s.Flags&(capture.SYN|capture.FIN) != 0 {
			end++
		}
		a.append(fwd, unacked{
			time: s.Time, seq: s.Seq, end: end,
			again: p.Verdict == VerdictRetransmission || p.Verdict == VerdictNetworkDuplicate,
		})
	}
	edge := fwd.nextSeq
	if s.Flags&(capture.SYN|capture.FIN) != 0 {
		edge++
	}
	if fwd.nextSeq == 0 || seqGT(end, edge) {
		fwd.clear(wireDataLast)
		if s.Len > 0 {
			fwd.set(wireDataLast)
		}
	}
	if !probe {
		if fwd.nextSeq == 0 || seqGT(end, fwd.nextSeq) {
			fwd.nextSeq, fwd.nextSeqTime = end, s.Time
		}
		if fwd.maxSeq == 0 || s.Seq == fwd.maxSeq {
			fwd.maxSeq = fwd.nextSeq
		}
	}
	fwd.window, fwd.lastAck, fwd.lastAckTime = s.Window, s.Ack, s.Time
	fwd.mpOps = c.mpOps
	fwd.lastFlags = p.Flags

	if rev.head != 0 {
		rtt, karn, ok := a.acknowledge(rev, s.Ack, s.Time)
		p.AckRTT = time.Duration(rtt)
		if ok && s.Flags&capture.ACK != 0 {
			a.sample(&c.Sides[dir^1].RTT, karn)
		}
	}
	if s.Len != 0 && fwd.head != 0 && !fwd.has(wireGap) {
		n := a.inFlight(fwd)
		for _, b := range a.blocks(rev) {
			n -= b.Right - b.Left
		}
		if n > 0 && n < absurdInFlight {
			if s.Flags&(capture.SYN|capture.FIN) != 0 {
				n--
			}
			p.BytesInFlight = n
		}
	}
	if p.Flags&(FastRetransmission|SpuriousRetransmission) != 0 {
		p.Flags |= Retransmission
	}
}

// acknowledgement makes the checks of windows and of segments that carry
// nothing new.
func (a *Analyzer) acknowledgement(c *Conn, dir int, s *capture.Segment, p *Packet) {
	fwd, rev := &c.Sides[dir].w, &c.Sides[dir^1].w
	plain := s.Flags&ctl == 0
	if s.Window == 0 && plain {
		p.Flags |= ZeroWindow
	}
	if fwd.nextSeq != 0 && seqGT(s.Seq, fwd.nextSeq) && s.Flags&capture.RST == 0 {
		p.Flags |= LostSegment
		fwd.set(wireGap)
	}
	if !plain {
		return
	}
	if s.Len <= 1 && s.Seq == fwd.nextSeq-1 {
		p.Flags |= KeepAlive
	}
	if s.Len > 0 {
		if rev.winScale != scaleUnknown && s.Seq+s.Len == rev.lastAck+rev.edge() {
			p.Flags |= WindowFull
		}
		return
	}
	if s.Seq != fwd.nextSeq {
		return
	}
	same := s.Ack == fwd.lastAck
	switch {
	case s.Window != 0 && s.Window != fwd.window:
		if same {
			p.Flags |= WindowUpdate
		}
	case s.Window != 0:
		if !same {
			return
		}
		if rev.lastFlags&KeepAlive != 0 {
			p.Flags |= KeepAliveAck
			return
		}
		if c.newOperation(&c.Sides[dir]) {
			return
		}
		if fwd.dupAcks < 0 { // 4.0 only: see beyond
			fwd.dupAcks = 0
		}
		fwd.dupAcks++
		p.Flags |= DuplicateAck
		p.DupAckNumber = uint32(fwd.dupAcks)
	case fwd.window == 0 && rev.lastFlags&ZeroWindowProbe != 0:
		if same {
			p.Flags |= ZeroWindowProbeAck
		} else if s.Ack == fwd.lastAck+1 && !a.cfg.Wireshark40 {
			// The receiver took the byte of the probe.
			p.Flags |= ZeroWindowProbeAck
			rev.nextSeq, rev.maxSeq = s.Ack, s.Ack
		}
	}
}

// edge is the width of the window that the side advertised last.
func (w *wireSide) edge() uint32 {
	if w.winScale <= 0 || w.has(wireFirstAck) {
		return uint32(w.window)
	}
	return uint32(w.window) << uint(w.winScale)
}

// beyond handles an acknowledgement of what was not seen.
func (a *Analyzer) beyond(fwd, rev *wireSide, s *capture.Segment, p *Packet) {
	if a.cfg.Wireshark40 {
		// Tell it once: move the mark on where there is something beyond it, else
		// remember in the count of duplicates that it was told.
		if seqLT(rev.maxSeq, rev.nextSeq) {
			rev.maxSeq = rev.nextSeq
			p.Flags |= AckLostSegment
			return
		}
		if rev.dupAcks == 0 {
			p.Flags |= AckLostSegment
		}
		rev.dupAcks = -1
		return
	}
	if s.Ack == fwd.lastAck+1 && s.Seq == fwd.nextSeq && rev.lastFlags&ZeroWindowProbe != 0 {
		// The window opens again, and the byte of the probe was taken.
		rev.nextSeq, rev.maxSeq = s.Ack, s.Ack
		p.Flags |= WindowUpdate
		return
	}
	p.Flags |= AckLostSegment
	rev.maxSeq = s.Ack
	// What follows the acknowledged byte without a gap may be acknowledged too.
	for i := rev.head; i != 0; {
		u := a.nodes.at(i)
		if seqGE(u.seq, s.Ack) {
			if u.seq != rev.maxSeq {
				return
			}
			rev.maxSeq = u.end
		}
		i = u.next
	}
}

// repeated tells retransmissions from segments out of order.
func (a *Analyzer) repeated(c *Conn, dir int, s *capture.Segment, p *Packet) {
	fwd, rev := &c.Sides[dir].w, &c.Sides[dir^1].w
	end := s.Seq + s.Len
	if s.Len > 0 && rev.lastAck != 0 && seqLE(end, rev.lastAck) {
		p.Flags |= SpuriousRetransmission
		return
	}
	old := fwd.nextSeq != 0 && seqLT(s.Seq, fwd.nextSeq)
	if !old || s.Len > 1 && s.Seq == fwd.nextSeq-1 {
		return
	}
	sinceAck := uint64(s.Time - rev.lastAckTime) // wraps to far away if time went back
	if sinceAck < uint64(fastRetransmitWithin) && rev.dupAcks >= 2 {
		if rev.lastAck == s.Seq || !a.cfg.Wireshark40 && rev.sackN > 0 && !a.sacked(rev, fwd.base, s.Seq, end) {
			p.Flags |= FastRetransmission
			return
		}
	}
	reordering := uint64(defaultReordering)
	if c.InitialRTT != 0 {
		reordering = uint64(c.InitialRTT)
	}
	if uint64(s.Time-fwd.nextSeqTime) < reordering && (a.cfg.Wireshark40 || !a.waiting(fwd, s.Seq, end)) {
		numbered := end
		if s.Flags&(capture.SYN|capture.FIN) != 0 {
			numbered++
		}
		if fwd.nextSeq != numbered || !a.cfg.Wireshark40 && !fwd.has(wireDataLast) {
			p.Flags |= OutOfOrder
			return
		}
	}
	p.Flags |= Retransmission
	p.RTO = time.Duration(s.Time - fwd.nextSeqTime)
	for i := fwd.head; i != 0; {
		u := a.nodes.at(i)
		if a.cfg.Wireshark40 || seqGE(u.seq, s.Seq) {
			p.RTO = time.Duration(s.Time - u.time)
			break
		}
		i = u.next
	}
}

// sacked reports whether one block of the last segment of this side, the
// receiver, holds a range of the sender's. Wireshark compares absolute numbers
// with the relative ones that it keeps of blocks; peerBase makes them relative.
func (a *Analyzer) sacked(w *wireSide, peerBase, seq, end uint32) bool {
	for _, b := range a.blocks(w) {
		if seq >= b.Left-peerBase && end <= b.Right-peerBase {
			return true
		}
	}
	return false
}

// sackBlocks are the blocks of one segment. Few sides need room for them.
type sackBlocks [4]capture.SACKBlock

func (a *Analyzer) blocks(w *wireSide) []capture.SACKBlock {
	if w.sackN == 0 {
		return nil
	}
	return a.sacks.at(w.sack)[:w.sackN]
}

func (a *Analyzer) keepBlocks(w *wireSide, s *capture.Segment) {
	if w.sack == 0 {
		if w.sack = a.sacks.get(); w.sack == 0 {
			a.stats.DroppedUnacked++
			return
		}
	}
	*a.sacks.at(w.sack) = s.SACK
	w.sackN = min(s.SACKLen, uint8(len(s.SACK)))
}

// waiting reports whether one unacknowledged segment covers a range.
func (a *Analyzer) waiting(w *wireSide, seq, end uint32) bool {
	for i := w.head; i != 0; {
		u := a.nodes.at(i)
		if seqGE(seq, u.seq) && seqLE(end, u.end) {
			return true
		}
		i = u.next
	}
	return false
}
