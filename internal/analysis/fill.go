package analysis

import (
	"time"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Fill writes what is known of a connection into the model. c must be one that
// the Analyzer still has, as in OnEnd. dst is overwritten, but a PacketStats in
// it is used again, so that rows need not be allocated; what is kept of dst must
// be copied then.
//
// The local end is the one whose address is local; the initiator where local is
// nil or chooses neither or both ends. A connection between two ends that are
// not local is transit.
func (a *Analyzer) Fill(c *Conn, ids tcp.IDs, local func(tcp.Addr) bool, dst *tcp.Conn) {
	at, direction := c.localEnd(local)
	a.fillEnd(c, at, direction, ids, dst)
}

// FillEnd is Fill for a local end that the caller knows: an index into Sides.
// With it a connection inside one host, whose ends may have the same address, is
// shown as each of them sees it.
func (a *Analyzer) FillEnd(c *Conn, at int, ids tcp.IDs, dst *tcp.Conn) {
	a.fillEnd(c, at, [2]tcp.Direction{tcp.Outbound, tcp.Inbound}[at], ids, dst)
}

func (a *Analyzer) fillEnd(c *Conn, at int, direction tcp.Direction, ids tcp.IDs, dst *tcp.Conn) {
	stats := dst.Packets
	if stats == nil {
		stats = new(tcp.PacketStats)
	}
	*stats = tcp.PacketStats{}
	me, peer := &c.Sides[at], &c.Sides[at^1]
	tuple := c.Tuple
	if at == 1 {
		tuple = tuple.Reverse()
	}
	*dst = tcp.Conn{
		Key:         tcp.Key{Tuple: tuple},
		ID:          ids.Packets(c.Tuple, c.First),
		Opened:      stamp(c.First),
		Updated:     stamp(c.Last),
		Closed:      stamp(c.Ended),
		Packets:     stats,
		State:       me.State,
		Direction:   direction,
		Source:      tcp.SourceCapture,
		OpenedExact: c.Completeness&CompleteSYN != 0,
		IPv6:        !tuple.Local.Is4(),
		SawReset:    c.FirstRST != OriginUnknown,
		Names:       a.modelNames(c),
	}
	if c.Last == 0 {
		dst.Updated = dst.Opened // quoted in ICMP errors alone
	}
	dst.ClosedBy, dst.Reason = c.closing(at)
	if dst.Closed.IsZero() && dst.Reason != tcp.CloseUnknown {
		dst.Closed, dst.State = dst.Updated, tcp.Closed
	}
	missed := a.Missed(me) + a.Missed(peer)
	dst.Complete = missed == 0 && dst.OpenedExact && me.Packets > 0 && peer.Packets > 0
	a.fillMetrics(c, at, dst)
	dst.Metrics.BytesMissed = missed
	a.fillStats(c, at, stats)
}

// localEnd returns the index of the local side.
func (c *Conn) localEnd(local func(tcp.Addr) bool) (int, tcp.Direction) {
	if local == nil {
		return 0, tcp.Outbound
	}
	switch initiator, responder := local(c.Tuple.Local), local(c.Tuple.Remote); {
	case initiator:
		return 0, tcp.Outbound
	case responder:
		return 1, tcp.Inbound
	default:
		return 0, tcp.Transit
	}
}

// stamp makes both clocks of a moment from the one that packets have.
func stamp(ns int64) tcp.Stamp { return tcp.Stamp{Wall: ns, Boot: ns} }

// closing says who ended the connection, and how, as the side at sees it.
func (c *Conn) closing(at int) (tcp.Side, tcp.CloseReason) {
	side := func(o Origin) tcp.Side {
		switch o {
		case OriginUnknown:
			return tcp.SideUnknown
		case originOf(at):
			return tcp.SideLocal
		default:
			return tcp.SideRemote
		}
	}
	switch {
	case c.Refused:
		return side(c.FirstRST), tcp.CloseRefused
	case c.finished():
		return side(c.FirstFIN), tcp.CloseFIN
	case c.Ended != 0 && c.FirstRST != OriginUnknown:
		by := side(c.FirstRST)
		if by == tcp.SideLocal {
			return by, tcp.CloseRSTSent
		}
		return by, tcp.CloseRSTReceived
	case c.Sides[0].State == tcp.SynSent && c.Sides[1].Packets == 0 && c.ICMP > 0:
		return tcp.SideUnknown, tcp.CloseUnreachable
	case c.Sides[0].State == tcp.SynSent && c.End == EndExpired:
		return tcp.SideUnknown, tcp.CloseTimeout
	default:
		return tcp.SideUnknown, tcp.CloseUnknown
	}
}

// finished reports whether both ends sent a FIN and know of the other's; a RST
// after that changes nothing.
func (c *Conn) finished() bool {
	i, r := &c.Sides[0], &c.Sides[1]
	return c.Ended != 0 && i.hasFIN && r.hasFIN &&
		(i.State == tcp.TimeWait || r.State == tcp.TimeWait || i.State == tcp.Closed && r.State == tcp.Closed && c.FirstRST == OriginUnknown)
}

func (a *Analyzer) fillMetrics(c *Conn, at int, dst *tcp.Conn) {
	me, peer := &c.Sides[at], &c.Sides[at^1]
	m := &dst.Metrics
	dst.Has = tcp.HasBytesSent | tcp.HasBytesReceived | tcp.HasBytesMissed | tcp.HasSegmentsSent |
		tcp.HasSegmentsReceived | tcp.HasRetransmits | tcp.HasBytesRetransmitted | tcp.HasDSACKDups |
		tcp.HasOOOReceived | tcp.HasECNCE
	m.BytesSent, m.BytesReceived = me.UniqueBytes, peer.UniqueBytes
	m.SegmentsSent, m.SegmentsReceived = cut(me.Packets), cut(peer.Packets)
	m.Retransmits = me.Verdicts[VerdictRetransmission]
	m.BytesRetransmitted = me.RetransmittedBytes
	rare := a.Rare(peer)
	m.DSACKDups, m.OOOReceived, m.ECNCE = rare.DSACKs, peer.Verdicts[VerdictReordered], rare.CEs
	if me.RTT.N > 0 {
		dst.Has |= tcp.HasRTT | tcp.HasMinRTT
		m.RTT, m.RTTVar, m.MinRTT = micros(me.RTT.Smoothed()), micros(me.RTT.Var()), micros(me.RTT.Min())
	}
	if peer.MSS > 0 { // the most that this end may send at once
		dst.Has |= tcp.HasMSS
		m.MSS = uint32(peer.MSS)
	}
	if peer.windows > 0 {
		dst.Has |= tcp.HasSndWnd
		m.SndWnd = peer.w.edge()
	}
	if me.windows > 0 {
		dst.Has |= tcp.HasRcvWnd
		m.RcvWnd = me.w.edge()
	}
	responder, initiator := c.Handshake()
	handshake := initiator
	if at == 0 && responder > 0 && c.AckTime > 0 {
		handshake = responder + initiator
	}
	if handshake > 0 {
		dst.Has |= tcp.HasHandshake
		dst.Handshake = micros(time.Duration(handshake))
	}
}

func (a *Analyzer) fillStats(c *Conn, at int, p *tcp.PacketStats) {
	p.Stream = c.Stream
	p.InitialRTT = micros(time.Duration(c.InitialRTT))
	p.ConnState, p.History = c.ConnState(), a.history(c)
	p.Completeness = c.Completeness
	p.Flags = uint16(c.TCPFlags)
	for i := range 2 {
		s := &c.Sides[at^i]
		rare := a.Rare(s)
		p.Packets[i], p.WireBytes[i] = s.Packets, s.WireBytes
		p.Retransmissions[i] = rare.Count(Retransmission)
		p.FastRetransmissions[i] = rare.Count(FastRetransmission)
		p.SpuriousRetransmissions[i] = rare.Count(SpuriousRetransmission)
		p.OutOfOrder[i] = rare.Count(OutOfOrder)
		p.DupAcks[i], p.LostSegments[i] = rare.Count(DuplicateAck), rare.Count(LostSegment)
		p.ZeroWindows[i], p.WindowFull[i] = rare.Count(ZeroWindow), rare.Count(WindowFull)
		p.KeepAlives[i] = rare.Count(KeepAlive)
		p.Resets[i], p.FINs[i], p.SYNs[i] = s.RSTs, s.FINs, s.SYNs
		p.Reordered[i], p.NetworkDuplicates[i] = s.Verdicts[VerdictReordered], s.Verdicts[VerdictNetworkDuplicate]
		p.RTTSamples[i] = s.RTT.N
		p.RTTMin[i], p.RTTAvg[i], p.RTTMax[i] = micros(s.RTT.Min()), micros(s.RTT.Avg()), micros(s.RTT.Max())
		p.RTTP50[i], p.RTTP95[i] = micros(a.Quantile(&s.RTT, 0.5)), micros(a.Quantile(&s.RTT, 0.95))
		p.InFlightMax[i], p.WindowMin[i], p.WindowMax[i] = s.InFlightMax, s.WindowMin, s.WindowMax
		p.IdleMax[i] = uint64(max(s.IdleMax, 0)) / uint64(time.Microsecond)
	}
}

// micros rounds up, so that what is known is not 0, which is unknown.
func micros(d time.Duration) uint32 {
	return uint32(min(max((d+time.Microsecond-1)/time.Microsecond, 0), 1<<32-1))
}

func cut(n uint64) uint32 { return uint32(min(n, 1<<32-1)) }

// maxHistories bounds the texts kept of Conn.History: few differ.
const maxHistories = 1 << 12

// history returns Conn.History without an allocation for what came before.
func (a *Analyzer) history(c *Conn) string {
	if s, ok := a.histories[string(c.hist[:c.histLen])]; ok {
		return s
	}
	s := c.History()
	if len(a.histories) < maxHistories {
		a.histories[s] = s
	}
	return s
}
