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
	InitialRTT                           uint32 // microseconds; 0 is unknown
	ConnState, History                   string // as Zeek defines them
	Completeness                         uint8  // Wireshark's bit set
	// Flags is the union of the TCP flags of all segments seen (RFC 9293,
	// section 3.1, FIN is bit 0).
	Flags uint16
}
