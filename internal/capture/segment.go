package capture

import "github.com/viewtcp/viewtcp/internal/tcp"

// Segment is one TCP segment, decoded from a frame. Sequence numbers, windows
// and lengths are as in the header: nothing is scaled or relative.
type Segment struct {
	// Time and Number are those of the frame.
	Time   int64
	Number uint64
	// WireLen and CapLen are the lengths of the whole frame: on the wire, and
	// captured.
	WireLen, CapLen uint32

	// Tuple has the sender as Local and the receiver as Remote. In tunnels it
	// is that of the innermost IP header.
	Tuple tcp.Tuple

	Seq, Ack uint32
	// Len is the length of the payload, from the length in the IP header: more
	// than len(Payload) when the frame was cut.
	Len    uint32
	Window uint16
	// Flags are the 12 bits after the data offset (RFC 9293, section 3.1); FIN
	// is bit 0. Bit 8 is AE (RFC 9768), once NS.
	Flags Flags
	// HeaderLen is the length of the TCP header with options, bytes. It is 0 where
	// an ICMP error quotes less than the data offset; so are then the flags, and
	// perhaps the sequence numbers.
	HeaderLen uint8
	// TCPOffset is where the TCP header begins in the frame's data.
	TCPOffset uint32

	// Opts tells which of the options below are there.
	Opts   Opts
	WScale uint8
	MSS    uint16
	TSVal  uint32
	TSEcr  uint32
	// SACK holds the blocks of the SACK option; the first SACKLen are set.
	SACK    [4]SACKBlock
	SACKLen uint8
	// MPTCP is the subtype of the first MPTCP option (RFC 8684, section 3).
	MPTCP uint8

	// IPID is the identification of an IPv4 header, or of an IPv6 fragment
	// header; see HasIPID.
	IPID uint32
	TTL  uint8
	// ECN is the ECN field of the IP header (RFC 3168), two bits.
	ECN uint8
	// VLAN is the innermost VLAN identifier; see HasVLAN.
	VLAN uint16

	Info Info

	// Payload is what was captured of the payload. It belongs to the reader
	// and is valid until the next frame is read.
	Payload []byte
}

// SACKBlock is one block of a SACK option: the first sequence number of it, and
// the one after it (RFC 2018).
type SACKBlock struct{ Left, Right uint32 }

// Flags are the control bits of a TCP header.
type Flags uint16

// RFC 9293, section 3.1; AE is RFC 9768.
const (
	FIN Flags = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
	AE
)

// Opts is a set of TCP options.
type Opts uint8

// The options that segments tell of.
const (
	OptMSS Opts = 1 << iota
	OptWScale
	OptSACKPermitted
	OptSACK
	OptTimestamps
	OptMPTCP
	OptFastOpen
)

// Info is what else is known about a segment.
type Info uint16

// What is known besides.
const (
	// HasIPID tells that there was an IPv4 header, or an IPv6 fragment header.
	HasIPID Info = 1 << iota
	// HasVLAN tells that the frame was tagged.
	HasVLAN
	// InICMP tells that the segment was quoted by an ICMP error; it is part of no
	// connection's stream.
	InICMP
	// NoLen tells that the IP header gave no usable length (0, as segmentation offload
	// leaves it), so Len is what was captured or what the frame's length tells.
	NoLen
	// Fragment tells that this is the first fragment of an IP packet; Len is that
	// of the fragment.
	Fragment
	// CutHeader tells that the capture ends within the TCP header; options are missing,
	// and Payload is empty.
	CutHeader
	// Tunneled tells that an IP header stands before the one of this segment.
	Tunneled
	// BadOptions tells that the options end in the middle of one.
	BadOptions
	// BadLength tells that the IP header leaves less room than the TCP header takes; Len
	// is 0, and nothing follows from the segment's sequence number.
	BadLength
	// Reassembled tells that the segment was put together from fragments; see Reassembler.
	Reassembled
)
