package analysis

import (
	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Conn is one connection, as the segments of a capture show it. It holds no
// pointers, so that a million of them cost the garbage collector nothing. It
// belongs to the Analyzer and is valid until OnEnd has returned for it.
type Conn struct {
	// Tuple has the initiator as Local.
	Tuple tcp.Tuple
	// Stream numbers the connections in the order of their first segment, from
	// 0, as tshark's tcp.stream does.
	Stream uint32
	// ICMP is the number of segments quoted in ICMP errors. They count nowhere
	// else.
	ICMP uint32
	// First and Last are the times of the first and the last segment; UTC,
	// nanoseconds since 1970.
	First, Last int64
	// Ended is when the connection was closed by both ends, or reset; 0 is not
	// yet.
	Ended int64
	// SynTime, SynAckTime and AckTime are when the handshake's segments were
	// seen: the last SYN and the last SYN-ACK before the first ACK; 0 is never.
	SynTime, SynAckTime, AckTime int64
	// InitialRTT is Wireshark's: from the last SYN to the first segment with ACK
	// and without SYN, of either side; nanoseconds, 0 is unknown.
	InitialRTT int64
	// Sides are the two ends: index 0 the initiator, 1 the responder.
	Sides [2]Side

	// Completeness is Wireshark's bit set: 1 SYN, 2 SYN-ACK, 4 ACK, 8 data,
	// 16 FIN, 32 RST.
	Completeness uint8
	// TCPFlags is the union of the control bits of all segments.
	TCPFlags capture.Flags
	// FirstFIN and FirstRST are who sent the first FIN and the first RST.
	FirstFIN, FirstRST Origin
	// Opener is who sent the first segment, which need not be the initiator.
	Opener Origin
	// End is why the analyzer let go of the connection.
	End EndReason
	// Refused says that a SYN was answered by a RST.
	Refused bool
	// Reused says that the ports were used by an earlier stream of the capture.
	Reused bool

	place place // in the lists of the Analyzer
	synAt int64 // Wireshark's most recently used SYN, quoted ones included

	hist     [historyLen]byte
	histLen  uint8
	histSeen uint32
	flipped  bool
	mpOps    uint8 // MPTCP subtypes seen, as Wireshark keeps them
	known    bool  // the initiator is certain
	// names is the number of a set of names; named has a bit for each side that
	// need not be looked at for them any more.
	names uint32
	named uint8
}

// Origin is one of the two ends, or neither.
type Origin uint8

// The origins.
const (
	OriginUnknown Origin = iota
	Initiator
	Responder
)

func (o Origin) String() string {
	switch o {
	case Initiator:
		return "initiator"
	case Responder:
		return "responder"
	default:
		return ""
	}
}

// originOf returns the origin of an index into Conn.Sides.
func originOf(dir int) Origin { return Origin(dir + 1) }

// EndReason is why the analyzer let go of a connection.
type EndReason uint8

// The reasons.
const (
	// EndNone: it still is in the tables.
	EndNone EndReason = iota
	// EndFlushed: the capture ended.
	EndFlushed
	// EndReplaced: a new connection uses its addresses and ports.
	EndReplaced
	// EndExpired: nothing was seen of it for too long.
	EndExpired
	// EndEvicted: its place was needed for another.
	EndEvicted
)

var endNames = [...]string{"", "flushed", "replaced", "expired", "evicted"}

func (e EndReason) String() string {
	if int(e) < len(endNames) {
		return endNames[e]
	}
	return ""
}

// Side is what one end sent. What each segment touches comes first: together it
// is in fewer cache lines.
type Side struct {
	w wireSide
	v verdictSide
	z zeekSide

	// Packets counts segments; WireBytes the whole frames of them.
	Packets, WireBytes uint64
	// First and Last are the times of the first and last segment; FirstData and
	// LastData of the first and last with payload; 0 is none.
	First, Last, FirstData, LastData int64
	// IdleMax is the longest time between two segments of this side, nanoseconds.
	IdleMax int64
	// DataPackets counts segments with payload, and PayloadBytes their payload,
	// whether or not it was seen before.
	DataPackets, PayloadBytes uint64
	// UniqueBytes is the distinct payload bytes seen, by sequence number.
	UniqueBytes uint64

	windowSum   uint64
	inFlightSum uint64
	windows     uint32
	inFlights   uint32
	// WindowMin and WindowMax are advertised windows in bytes, scaled, leaving
	// out those of SYN and RST; both 0 when there was none.
	WindowMin, WindowMax uint32
	// SegmentMin and SegmentMax are payload lengths, of segments with any.
	SegmentMin, SegmentMax uint32
	// InFlightMax is the most unacknowledged bytes after a segment.
	InFlightMax uint32
	// InitialWindow is the payload sent before the first acknowledgement of any.
	InitialWindow uint32
	// PureAcks counts segments with ACK and neither payload nor SYN, FIN, RST.
	PureAcks uint32
	Pushes   uint32
	// Verdicts counts each verdict of a segment that has a place in sequence
	// space.
	Verdicts [NumVerdicts]uint32
	// RTT is the time from segments of this side to their acknowledgements,
	// leaving out those that Karn's rule finds ambiguous (RFC 6298, section 3).
	RTT RTT

	// finEnd is the sequence number after this side's FIN, when hasFIN.
	finEnd uint32
	isn    uint32
	hasFIN bool
	hasSYN bool
	// State is what the tap infers of this end's socket (RFC 9293, section 3.3.2).
	State tcp.State
	// Opts is the union of the options seen.
	Opts capture.Opts
	// WScale is the shift of the SYN's option; -1 unknown, -2 not used.
	WScale int8
	// MSS is the option of the SYN; 0 is none.
	MSS uint16

	// rare is the number of what Analyzer.Rare returns; 0 is nothing yet.
	rare uint32
	// RetransmittedBytes is the payload of segments whose verdict is
	// VerdictRetransmission.
	RetransmittedBytes uint64

	SYNs, FINs, RSTs uint32
	// SACKs counts segments with SACK blocks.
	SACKs uint32
}

// WindowAvg is the mean advertised window, bytes.
func (s *Side) WindowAvg() uint32 {
	if s.windows == 0 {
		return 0
	}
	return uint32(s.windowSum / uint64(s.windows))
}

// InFlightAvg is the mean of the unacknowledged bytes after each segment with
// payload.
func (s *Side) InFlightAvg() uint32 {
	if s.inFlights == 0 {
		return 0
	}
	return uint32(s.inFlightSum / uint64(s.inFlights))
}

// SegmentAvg is the mean payload of segments that have any, bytes.
func (s *Side) SegmentAvg() uint32 {
	if s.DataPackets == 0 {
		return 0
	}
	return uint32(s.PayloadBytes / s.DataPackets)
}

// Throughput is the payload of this side, repeats included, over the time from
// its first to its last segment with payload; Goodput that of distinct bytes.
// Both in bytes per second, 0 when there is only one such segment.
func (s *Side) Throughput() uint64 { return rate(s.PayloadBytes, s.LastData-s.FirstData) }

// Goodput is documented at Throughput.
func (s *Side) Goodput() uint64 { return rate(s.UniqueBytes, s.LastData-s.FirstData) }

func rate(bytes uint64, ns int64) uint64 {
	if ns <= 0 {
		return 0
	}
	return uint64(float64(bytes) / float64(ns) * 1e9)
}

// Handshake is the time from the SYN to the ACK that ends the handshake, split
// at the SYN-ACK: what the network and the responder took, and what the network
// and the initiator took, as seen from where the capture was made. Nanoseconds;
// 0 is unknown.
func (c *Conn) Handshake() (responder, initiator int64) {
	if c.SynTime != 0 && c.SynAckTime >= c.SynTime {
		responder = c.SynAckTime - c.SynTime
	}
	if c.SynAckTime != 0 && c.AckTime >= c.SynAckTime {
		initiator = c.AckTime - c.SynAckTime
	}
	return responder, initiator
}

// Duration is the time from the first to the last segment, nanoseconds.
func (c *Conn) Duration() int64 { return max(c.Last-c.First, 0) }

// Established reports whether the handshake was seen to its end, or the capture
// began after it.
func (c *Conn) Established() bool {
	return c.Sides[0].State == tcp.Established || c.Sides[1].State == tcp.Established ||
		c.Sides[0].established() || c.Sides[1].established()
}

// established reports whether a state lies behind ESTABLISHED.
func (s *Side) established() bool {
	switch s.State {
	case tcp.FinWait1, tcp.FinWait2, tcp.TimeWait, tcp.CloseWait, tcp.LastAck, tcp.Closing:
		return true
	default:
		return false
	}
}
