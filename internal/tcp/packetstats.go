package tcp

// PacketStats are the numbers that only packets show, by the side that sent the
// packets: index 0 local, index 1 remote. Immutable once published.
type PacketStats struct {
	// Stream numbers the connections of a capture in order of first packet,
	// from 0, as Wireshark does.
	Stream uint32

	Packets, WireBytes                   [2]uint64
	Retransmissions, FastRetransmissions [2]uint32
	SpuriousRetransmissions, OutOfOrder  [2]uint32
	DupAcks, LostSegments                [2]uint32
	ZeroWindows, WindowFull, KeepAlives  [2]uint32
	Resets, FINs, SYNs                   [2]uint32
	// Reordered and NetworkDuplicates are ViewTCP's own verdicts, as Metrics has
	// that of retransmissions.
	Reordered, NetworkDuplicates [2]uint32
	// RTTs are the times until the side's segments were acknowledged, by Karn's
	// rule; microseconds, meaningless where RTTSamples is 0.
	RTTSamples                             [2]uint32
	RTTMin, RTTAvg, RTTP50, RTTP95, RTTMax [2]uint32
	// InFlightMax is the most unacknowledged bytes; WindowMin and WindowMax what
	// the side advertised, scaled, bytes.
	InFlightMax, WindowMin, WindowMax [2]uint32
	// IdleMax is the longest pause of the side, microseconds.
	IdleMax            [2]uint64
	InitialRTT         uint32 // microseconds; 0 is unknown
	ConnState, History string // as Zeek defines them
	Completeness       uint8  // Wireshark's bit set
	// Flags is the union of the TCP flags of all segments seen (RFC 9293,
	// section 3.1, FIN is bit 0).
	Flags uint16
}
