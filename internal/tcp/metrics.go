package tcp

// Has says which values of a Metrics, Observation or Conn are known. A value
// whose bit is clear must not be read: unknown is never zero.
type Has uint64

// One bit a value.
const (
	HasBytesSent Has = 1 << iota
	HasBytesReceived
	HasSegmentsSent
	HasSegmentsReceived
	HasSendQueue
	HasRecvQueue
	HasNotSent
	HasUnacked
	HasAcceptQueue
	HasBacklog
	HasRTT
	HasMinRTT
	HasRTO
	HasMSS
	HasPMTU
	HasRetransmits
	HasBytesRetransmitted
	HasLost
	HasReordering
	HasDSACKDups
	HasOOOReceived
	HasECNCE
	HasCWND
	HasSSThresh
	HasSndWnd
	HasRcvWnd
	HasDeliveryRate // DeliveryRate and AppLimited
	HasPacingRate
	HasLimited // Busy, RwndLimited and SndbufLimited
	HasCC
	HasUID
	HasInode
	HasCookie
	HasHandshake
	HasSendRate
	HasReceiveRate
	HasBytesMissed
	HasCAState
	HasRecoveries // Recoveries and Timeouts
)

// Metrics are the numbers of one socket, as its kernel counts them (struct
// tcp_info of include/uapi/linux/tcp.h unless said otherwise). Which are known
// stands in the Has beside it.
type Metrics struct {
	// BytesSent is payload transmitted at least once: the kernel's bytes_sent
	// less bytes_retrans. SYN and FIN are not counted.
	BytesSent uint64
	// BytesReceived is payload received in order. The kernel counts a FIN as
	// one byte; it is taken off here.
	BytesReceived uint64
	// BytesRetransmitted is payload sent again.
	BytesRetransmitted uint64
	// BytesMissed is payload that the other side acknowledged or sent but that
	// was not seen (captures only).
	BytesMissed uint64
	// SendRate and ReceiveRate are payload bytes per second between the last
	// two observations; the tracker works them out.
	SendRate, ReceiveRate uint64
	// DeliveryRate is the kernel's goodput estimate, bytes per second.
	DeliveryRate uint64
	// PacingRate is the rate the kernel paces sends at, bytes per second; all
	// ones is unlimited.
	PacingRate uint64
	// Busy, RwndLimited and SndbufLimited are microseconds spent with data to
	// send, stalled by the peer's window, and stalled by the send buffer.
	Busy, RwndLimited, SndbufLimited uint64

	SegmentsSent, SegmentsReceived uint32
	// SendQueue is written but unacknowledged, RecvQueue received but unread,
	// NotSent written but never transmitted; bytes.
	SendQueue, RecvQueue, NotSent uint32
	// Unacked is segments in flight.
	Unacked uint32
	// AcceptQueue and Backlog are the connections waiting for accept on a
	// LISTEN socket and the most it will hold.
	AcceptQueue, Backlog uint32
	// RTT, RTTVar, MinRTT and RTO are microseconds. RTT is the smoothed one.
	RTT, RTTVar, MinRTT, RTO uint32
	// MSS and PMTU are bytes.
	MSS, PMTU uint32
	// Retransmits counts segments sent again, over the connection's life.
	Retransmits uint32
	// Lost is the segments now thought lost; a gauge.
	Lost uint32
	// Reordering is the reordering degree, in segments, the sender expects.
	Reordering uint32
	// DSACKDups counts duplicates the peer told of; OOOReceived segments that
	// came out of order; ECNCE segments received marked Congestion Experienced.
	DSACKDups, OOOReceived, ECNCE uint32
	// CWND and SSThresh are segments.
	CWND, SSThresh uint32
	// SndWnd is the peer's window, RcvWnd ours; bytes, scaled.
	SndWnd, RcvWnd uint32
	// Recoveries and Timeouts count how often the sender went into fast
	// recovery and how often its retransmission timer ran out, since the
	// connection was opened; 65,535 is that or more.
	Recoveries, Timeouts uint16
	// CAState is the state of congestion avoidance.
	CAState CAState
	// CC is the congestion control algorithm.
	CC CC
	// AppLimited says that DeliveryRate was bounded by the application.
	AppLimited bool
}

// CC is the kernel's name of a congestion control algorithm, padded with zeros
// (TCP_CA_NAME_MAX of include/net/tcp.h).
type CC [16]byte

// MakeCC cuts a name to the kernel's length.
func MakeCC(s string) (c CC) {
	copy(c[:len(c)-1], s)
	return c
}

func (c CC) String() string { return cString(c[:]) }

// Comm is the kernel's short name of a task, padded with zeros (TASK_COMM_LEN of
// include/linux/sched.h). A process chooses it freely: it may hold any byte.
type Comm [16]byte

// MakeComm cuts a name to the kernel's length.
func MakeComm(s string) (c Comm) {
	copy(c[:len(c)-1], s)
	return c
}

func (c Comm) String() string { return cString(c[:]) }

func cString(b []byte) string {
	for i, ch := range b {
		if ch == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
