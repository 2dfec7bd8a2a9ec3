package tcp

// SourceKind is where knowledge of a connection came from.
type SourceKind uint8

// The sources, best first.
const (
	SourceUnknown SourceKind = iota
	SourceEBPF
	SourceNetlink
	SourceProcfs
	SourceCapture
)

var sourceNames = []string{"", "ebpf", "netlink", "procfs", "capture"}

func (s SourceKind) String() string { return nameOf(sourceNames, uint8(s)) }

// Direction says which end opened a connection.
type Direction uint8

// Directions as seen from this host.
const (
	DirectionUnknown Direction = iota
	Inbound
	Outbound
	Listening
	Transit
)

var directionNames = []string{"unknown", "inbound", "outbound", "listen", "transit"}

func (d Direction) String() string { return nameOf(directionNames, uint8(d)) }

// Attribution says how the process of a connection is known.
type Attribution uint8

// Attributions. Exact: the process was seen connecting, listening, or reading
// and writing. Inherited: it owns the listener that the connection came from.
// Scan: it held the socket when all processes were looked through.
const (
	AttributionUnknown Attribution = iota
	AttributionScan
	AttributionInherited
	AttributionExact
)

var attributionNames = []string{"unknown", "scan", "inherited", "exact"}

func (a Attribution) String() string { return nameOf(attributionNames, uint8(a)) }

// Side is one end of a connection.
type Side uint8

// The sides.
const (
	SideUnknown Side = iota
	SideLocal
	SideRemote
)

var sideNames = []string{"", "local", "remote"}

func (s Side) String() string { return nameOf(sideNames, uint8(s)) }

// CloseReason says how a connection ended.
type CloseReason uint8

// Close reasons. Refused, timeout and unreachable also end connections that
// never were established; aborted is an end by this host without a RST seen.
const (
	CloseUnknown CloseReason = iota
	CloseFIN
	CloseRSTSent
	CloseRSTReceived
	CloseRefused
	CloseTimeout
	CloseUnreachable
	CloseAborted
)

var closeReasonNames = []string{
	"", "fin", "rst_sent", "rst_received", "refused", "timeout", "unreachable", "aborted",
}

func (r CloseReason) String() string { return nameOf(closeReasonNames, uint8(r)) }

// CAState is the kernel's state of congestion avoidance, with its numbers (enum
// tcp_ca_state of include/uapi/linux/tcp.h).
type CAState uint8

// The states: nothing is wrong; duplicate acknowledgements came; the window was
// reduced by ECN or the local queue; in fast recovery; after a timeout.
const (
	CAOpen CAState = iota
	CADisorder
	CACWR
	CARecovery
	CALoss
)

var caStateNames = []string{"open", "disorder", "cwr", "recovery", "loss"}

func (s CAState) String() string { return nameOf(caStateNames, uint8(s)) }

// Known reports whether the number is one of the kernel's.
func (s CAState) Known() bool { return int(s) < len(caStateNames) }

func nameOf(names []string, n uint8) string {
	if int(n) < len(names) {
		return names[n]
	}
	return ""
}
