package capture

import (
	"encoding/binary"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Reason says what became of a frame: TCP, or why there is no segment in it.
type Reason uint8

// Reasons, in no order.
const (
	TCP Reason = iota
	// NotIP: another network protocol, such as ARP.
	NotIP
	// NotTCP: another transport protocol, such as UDP.
	NotTCP
	// LaterFragment: a fragment of an IP packet that is not its first or, of a
	// Reassembler, not the one that completes it.
	LaterFragment
	// TruncatedHeader: the capture ends before the fields that place a segment
	// in its connection: ports to window or, quoted by ICMP, the ports.
	TruncatedHeader
	// Malformed: a header contradicts itself, or the packet is too short for it.
	Malformed
	UnknownLink
	UnknownEtherType
	TooManyLayers
	// Encrypted: IPsec, MACsec or a protected 802.11 frame.
	Encrypted
	// NumReasons is how many there are.
	NumReasons
)

func (r Reason) String() string {
	switch r {
	case TCP:
		return "TCP"
	case NotIP:
		return "not IP"
	case NotTCP:
		return "not TCP"
	case LaterFragment:
		return "later fragment"
	case TruncatedHeader:
		return "truncated header"
	case Malformed:
		return "malformed"
	case UnknownLink:
		return "unknown link type"
	case UnknownEtherType:
		return "unknown ethertype"
	case TooManyLayers:
		return "too many layers"
	case Encrypted:
		return "encrypted"
	default:
		return "unknown"
	}
}

// maxLayers bounds the headers that one frame may nest.
const maxLayers = 32

// Decode finds the TCP segment of a frame and fills s with it. Anything but TCP
// leaves s in an undefined state. It keeps no state: fragments are not put
// together, as a Reassembler does. s.Payload lies in f.Data.
func Decode(f *Frame, s *Segment) Reason {
	*s = Segment{Time: f.Time, Number: f.Number, WireLen: f.WireLen, CapLen: uint32(len(f.Data))}
	w := walker{data: f.Data, end: wireEnd(f), link: f.Link, s: s}
	return w.run(linkStep(f.Link))
}

// wireEnd is the frame's length on the wire. It fits into 32-bit ints, and
// files that claim less than they hold are not believed.
func wireEnd(f *Frame) int { return max(int(min(f.WireLen, 1<<30)), len(f.Data)) }

// step is the header that comes next or, from stepStop on, the end.
type step uint8

const (
	stepLink step = iota // by the link type
	stepEthernet
	stepVLAN
	stepLLC
	stepMPLS
	stepPPPoE
	stepPPP
	stepIP // version from the first nibble
	stepIPv4
	stepIPv6
	stepTCP
	stepUDP
	stepICMP
	stepICMPv6
	stepAH
	stepGRE
	stepEtherIP
	stepVXLAN
	stepVXLANGPE
	stepGeneve
	stepTeredo
	stepGTP
	stepL2TP
	stepLISP
	stepTZSP
	stepPBB
	stepFabricPath
	stepNSH
	stepVNTag
	stepMetadata
	stepTRILL
	stepMACsec
	stepARP
	stepFrameRelay
	stepTokenRing
	stepFDDI
	step80211
	stepRadiotap

	stepStop step = 0x80
)

// stop ends the walk.
func stop(r Reason) step { return stepStop | step(r) }

// walker goes down the headers of one frame.
type walker struct {
	// data is what was captured, without what lies behind the end of the packet
	// (padding); end is where the packet ends on the wire, by the shortest of
	// the lengths seen so far. Both count from the frame's begin, and so does
	// off, the begin of the next header.
	data []byte
	end  int
	off  int

	s    *Segment
	link LinkType // of the frame, or of the one inside a header that names one
	// open: what is ahead may be longer than end tells, since it is only the
	// beginning of a packet: quoted by ICMP, or in a first fragment.
	open bool
	pad  bool // 802.11 headers are padded to 4 bytes
	ips  uint8

	trace *trace   // nil when nobody asks
	frag  fragment // payload is 0 when the packet is whole
}

// trace is where the headers of a frame are.
type trace struct {
	n   int
	at  [maxLayers]traced
	end int // of what was captured of the packet, without padding
}

type traced struct {
	step step
	off  int
}

// rest is what was captured from the next header on.
func (w *walker) rest() []byte { return w.data[w.off:] }

// short is the end of a walk that needed n bytes for the next header.
func (w *walker) short(n int) step {
	if w.end-w.off < n && !w.open {
		return stop(Malformed)
	}
	return stop(TruncatedHeader)
}

// clamp makes the packet end at end, if it did not end before.
func (w *walker) clamp(end int) {
	if end < w.end || w.open {
		w.end = end
		if end < len(w.data) {
			w.data = w.data[:max(end, w.off)]
		}
	}
}

// run goes from header to header.
func (w *walker) run(next step) Reason {
	for range maxLayers {
		if w.trace != nil {
			w.trace.at[w.trace.n] = traced{next, w.off}
			w.trace.n++
		}
		switch next {
		case stepEthernet:
			next = w.ethernet()
		case stepIPv4:
			next = w.ipv4()
		case stepIPv6:
			next = w.ipv6()
		case stepTCP:
			return w.tcp()
		case stepUDP:
			next = w.udp()
		case stepVLAN:
			next = w.vlan()
		case stepIP:
			next = w.ip()
		default:
			next = w.other(next)
		}
		if next >= stepStop {
			return Reason(next &^ stepStop)
		}
	}
	return TooManyLayers
}

// other is for what is rarely there.
func (w *walker) other(next step) step {
	switch next {
	case stepLLC:
		return w.llc()
	case stepMPLS:
		return w.mpls()
	case stepPPPoE:
		return w.pppoe()
	case stepPPP:
		return w.ppp()
	case stepICMP:
		return w.icmp()
	case stepICMPv6:
		return w.icmp6()
	case stepAH:
		return w.ah()
	case stepGRE:
		return w.gre()
	case stepEtherIP:
		return w.skip(2, stepEthernet)
	case stepVXLAN:
		return w.skip(8, stepEthernet)
	case stepVXLANGPE:
		return w.vxlanGPE()
	case stepGeneve:
		return w.geneve()
	case stepTeredo:
		return w.teredo()
	case stepGTP:
		return w.gtp()
	case stepL2TP:
		return w.l2tp()
	case stepLISP:
		return w.skip(8, stepIP)
	case stepTZSP:
		return w.tzsp()
	case stepPBB:
		return w.skipEtherType(16)
	case stepFabricPath:
		return w.skip(2, stepEthernet)
	case stepNSH:
		return w.nsh()
	case stepVNTag:
		return w.skipEtherType(4)
	case stepMetadata:
		return w.metadata()
	case stepTRILL:
		return w.trill()
	case stepMACsec:
		return w.macsec()
	case stepARP:
		return stop(NotIP)
	case step80211:
		return w.ieee80211()
	case stepRadiotap:
		return w.radiotap()
	case stepFrameRelay:
		return w.frameRelay()
	case stepTokenRing:
		return w.tokenRing()
	case stepFDDI:
		return w.fddi()
	default:
		return w.linkHeader()
	}
}

// tcp fills the segment from the TCP header, RFC 9293, section 3.1.
func (w *walker) tcp() Reason {
	s := w.s
	b := w.rest()
	s.TCPOffset = uint32(w.off)
	if len(b) < 20 {
		return w.tcpCut(b)
	}
	s.Tuple.LocalPort = binary.BigEndian.Uint16(b)
	s.Tuple.RemotePort = binary.BigEndian.Uint16(b[2:])
	s.Seq = binary.BigEndian.Uint32(b[4:])
	s.Ack = binary.BigEndian.Uint32(b[8:])
	offset := binary.BigEndian.Uint16(b[12:])
	s.Flags = Flags(offset & 0xfff)
	s.Window = binary.BigEndian.Uint16(b[14:])
	header := int(offset>>12) * 4
	if header < 20 {
		return Malformed
	}
	s.HeaderLen = uint8(header)
	if n := w.end - w.off - header; n >= 0 {
		s.Len = uint32(n)
	} else {
		s.Info |= BadLength
	}
	if len(b) < header {
		if s.Info&BadLength == 0 {
			s.Info |= CutHeader
		}
		header = len(b)
	} else {
		s.Payload = b[header:]
	}
	if header > 20 {
		w.tcpOptions(b[20:header])
	}
	return TCP
}

// tcpLeast is how much of a TCP header places a segment in its connection: all
// but the checksum and the urgent pointer.
const tcpLeast = 16

// tcpCut fills what there is of a TCP header of which less than the fixed part
// was captured. ICMP errors quote as little as the ports and the sequence
// number.
func (w *walker) tcpCut(b []byte) Reason {
	s := w.s
	if len(b) < tcpLeast && s.Info&InICMP == 0 || len(b) < 4 {
		return Reason(w.short(tcpLeast) &^ stepStop)
	}
	var fixed [20]byte
	copy(fixed[:], b)
	s.Tuple.LocalPort = binary.BigEndian.Uint16(fixed[:])
	s.Tuple.RemotePort = binary.BigEndian.Uint16(fixed[2:])
	if len(b) >= 8 {
		s.Seq = binary.BigEndian.Uint32(fixed[4:])
	}
	if len(b) >= 12 {
		s.Ack = binary.BigEndian.Uint32(fixed[8:])
	}
	s.Info |= CutHeader
	if len(b) < 14 {
		return TCP
	}
	offset := binary.BigEndian.Uint16(fixed[12:])
	s.Flags = Flags(offset & 0xfff)
	header := int(offset>>12) * 4
	if header < 20 {
		return Malformed
	}
	s.HeaderLen = uint8(header)
	if len(b) >= tcpLeast {
		s.Window = binary.BigEndian.Uint16(fixed[14:])
	}
	if n := w.end - w.off - header; n >= 0 {
		s.Len = uint32(n)
	} else {
		s.Info |= BadLength
	}
	return TCP
}

// Kinds of TCP options, from IANA's registry.
const (
	optEnd           = 0
	optNop           = 1
	optMSS           = 2
	optWScale        = 3
	optSACKPermitted = 4
	optSACK          = 5
	optTimestamps    = 8
	optMPTCP         = 30
	optFastOpen      = 34
	optExperiment    = 254
	fastOpenMagic    = 0xf989 // RFC 7413, section 4.1.1
)

func (w *walker) tcpOptions(b []byte) {
	s := w.s
	for len(b) > 0 {
		if b[0] == optEnd {
			return
		}
		if b[0] == optNop {
			b = b[1:]
			continue
		}
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			if s.Info&CutHeader == 0 {
				s.Info |= BadOptions
			}
			return
		}
		o := b[:b[1]]
		b = b[b[1]:]
		switch o[0] {
		case optTimestamps:
			if len(o) == 10 {
				s.Opts |= OptTimestamps
				s.TSVal = binary.BigEndian.Uint32(o[2:])
				s.TSEcr = binary.BigEndian.Uint32(o[6:])
			}
		case optSACK:
			if (len(o)-2)%8 == 0 {
				s.Opts |= OptSACK
				s.SACKLen = 0
				for i := 2; i+8 <= len(o) && int(s.SACKLen) < len(s.SACK); i += 8 {
					s.SACK[s.SACKLen] = SACKBlock{binary.BigEndian.Uint32(o[i:]), binary.BigEndian.Uint32(o[i+4:])}
					s.SACKLen++
				}
			}
		case optMSS:
			if len(o) == 4 {
				s.Opts |= OptMSS
				s.MSS = binary.BigEndian.Uint16(o[2:])
			}
		case optWScale:
			if len(o) == 3 {
				s.Opts |= OptWScale
				s.WScale = o[2]
			}
		case optSACKPermitted:
			if len(o) == 2 {
				s.Opts |= OptSACKPermitted
			}
		case optMPTCP:
			if len(o) >= 3 && s.Opts&OptMPTCP == 0 {
				s.Opts |= OptMPTCP
				s.MPTCP = o[2] >> 4
			}
		case optFastOpen:
			s.Opts |= OptFastOpen
		case optExperiment:
			if len(o) >= 4 && binary.BigEndian.Uint16(o[2:]) == fastOpenMagic {
				s.Opts |= OptFastOpen
			}
		}
	}
}

// ends4 takes the addresses. Those of the last IP header are the segment's.
func (w *walker) ends4(b []byte) {
	t := &w.s.Tuple
	t.Local = tcp.AddrFrom4([4]byte(b[12:16]))
	t.Remote = tcp.AddrFrom4([4]byte(b[16:20]))
}
