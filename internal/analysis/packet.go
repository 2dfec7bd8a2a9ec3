package analysis

import "time"

// Flags are what Wireshark's tcp.analysis names say of a segment. The bits are
// part of the format of the truth files that `make score` reads.
type Flags uint16

// The flags. Retransmission is present with FastRetransmission and
// SpuriousRetransmission too, as in Wireshark.
const (
	Retransmission Flags = 1 << iota
	FastRetransmission
	SpuriousRetransmission
	OutOfOrder
	LostSegment
	AckLostSegment
	DuplicateAck
	ZeroWindow
	ZeroWindowProbe
	ZeroWindowProbeAck
	WindowFull
	WindowUpdate
	KeepAlive
	KeepAliveAck
	ReusedPorts

	// NumFlags bounds arrays indexed by the number of a flag's bit.
	NumFlags = 15
)

var flagNames = [NumFlags]string{
	"retransmission", "fast_retransmission", "spurious_retransmission", "out_of_order",
	"lost_segment", "ack_lost_segment", "duplicate_ack", "zero_window",
	"zero_window_probe", "zero_window_probe_ack", "window_full", "window_update",
	"keep_alive", "keep_alive_ack", "reused_ports",
}

// FlagName returns Wireshark's name of a flag, without its prefix, by the number
// of its bit.
func FlagName(bit int) string {
	if bit < 0 || bit >= NumFlags {
		return ""
	}
	return flagNames[bit]
}

// AppendNames appends the names of the flags, in the order of their bits.
func (f Flags) AppendNames(dst []string) []string {
	for i, name := range flagNames {
		if f>>i&1 != 0 {
			dst = append(dst, name)
		}
	}
	return dst
}

// Verdict is our own judgement of a segment that occupies sequence space: was it
// sent again by its sender, or did the network reorder or copy it?
type Verdict uint8

// The verdicts.
const (
	// VerdictNew: no part of it had been sent before, as far as the capture tells.
	VerdictNew Verdict = iota
	// VerdictRetransmission: its sender sent these bytes again.
	VerdictRetransmission
	// VerdictReordered: sent once, and overtaken by later segments.
	VerdictReordered
	// VerdictNetworkDuplicate: the same packet came twice.
	VerdictNetworkDuplicate

	// NumVerdicts bounds arrays indexed by Verdict.
	NumVerdicts = 4
)

var verdictNames = [NumVerdicts]string{"new", "retransmission", "reordered", "network_duplicate"}

func (v Verdict) String() string {
	if v < NumVerdicts {
		return verdictNames[v]
	}
	return ""
}

// Reason is why a verdict was given.
type Reason uint8

// The reasons.
const (
	ReasonNone Reason = iota
	ReasonKeepAlive
	ReasonWindowProbe
	ReasonOverlap
	ReasonPartOverlap
	ReasonBeforeStart
	ReasonLaterTSVal
	ReasonEarlierTSVal
	ReasonLaterIPID
	ReasonEarlierIPID
	ReasonLate
	ReasonSoon
	ReasonOvertaken
	ReasonSamePacket
	ReasonTooSoon
	ReasonSkippedIPID

	numReasons
)

var reasonNames = [numReasons]string{
	ReasonKeepAlive:    "keep-alive",
	ReasonWindowProbe:  "probe of a closed window",
	ReasonOverlap:      "bytes already seen",
	ReasonPartOverlap:  "some bytes already seen",
	ReasonBeforeStart:  "already acknowledged when the capture began",
	ReasonLaterTSVal:   "fills a gap, timestamp later than beyond the gap",
	ReasonEarlierTSVal: "fills a gap, timestamp earlier than beyond the gap",
	ReasonLaterIPID:    "fills a gap, IP-ID later than beyond the gap",
	ReasonEarlierIPID:  "fills a gap, IP-ID earlier than beyond the gap",
	ReasonLate:         "fills a gap, late",
	ReasonSoon:         "fills a gap, soon",
	ReasonOvertaken:    "overtaken by its own retransmission",
	ReasonSamePacket:   "same IP-ID and timestamp as before",
	ReasonTooSoon:      "again before an answer could have come",
	ReasonSkippedIPID:  "late, and an IP-ID before it is missing",
}

func (r Reason) String() string {
	if r < numReasons {
		return reasonNames[r]
	}
	return ""
}

// Packet is what the analysis says of one segment. Add fills all of it, so one
// Packet serves for a whole capture.
type Packet struct {
	// Conn is the connection that the segment belongs to. It is valid until the
	// next call of Add.
	Conn *Conn
	// Stream is Conn.Stream.
	Stream uint32
	// Initiator says that the end that opened the connection sent the segment.
	Initiator bool
	Flags     Flags
	Verdict   Verdict
	Reason    Reason
	// DupAckNumber counts the duplicates of one acknowledgement, from 1.
	DupAckNumber uint32
	// AckRTT is the time since the segment that this one acknowledges to its
	// end, as Wireshark takes it: without Karn's rule. 0 is none.
	AckRTT time.Duration
	// RTO is the time from the segment that a plain retransmission repeats.
	RTO time.Duration
	// BytesInFlight is what the sender has unacknowledged after this segment; 0
	// is none or unknown.
	BytesInFlight uint32
	// RelSeq and RelAck count from the initial sequence numbers of the sender
	// and the receiver. RelAck is meaningless without ACK.
	RelSeq, RelAck uint32
	// CalculatedWindow is the window after scaling, bytes.
	CalculatedWindow uint32
	// TimeSincePrevious is the time since the previous segment of the
	// connection, either way.
	TimeSincePrevious time.Duration
}
