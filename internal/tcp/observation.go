package tcp

// ObservationKind says why a source reports a socket.
type ObservationKind uint8

// Observation kinds.
const (
	// Seen: a dump or a delta pass found the socket; all values are current.
	Seen ObservationKind = iota + 1
	// SeenOpened: a connect began, or a connection was established, just now.
	// Only identity, owner, state and times are meaningful.
	SeenOpened
	// SeenRetransmit: a segment was sent again.
	SeenRetransmit
	// SeenReset: a RST was sent or received; Reset says by whom.
	SeenReset
	// SeenClosed: the full socket ended; this is its final record.
	SeenClosed
)

// Observation is what one source saw of one socket at one moment. It has no
// pointers: sources reuse slices of it.
type Observation struct {
	Key
	Cookie uint64
	Time   Stamp
	// Opened is when the SYN was sent or received; zero is unknown.
	Opened Stamp
	// Handshake is microseconds from SYN to ESTABLISHED (outbound), or from
	// SYN-ACK to its ACK (inbound).
	Handshake uint32
	Inode     uint32
	UID       uint32
	Owner     Owner
	Has       Has
	Metrics   Metrics

	Kind        ObservationKind
	State       State
	Direction   Direction
	Attribution Attribution
	// FirstFIN is the side whose FIN came first.
	FirstFIN Side
	// Reset is the side that sent a RST.
	Reset  Side
	Reason CloseReason
	// IPv6 says that the socket is of family AF_INET6, whatever its addresses.
	IPv6 bool
	// Mini marks TIME_WAIT, request and orphaned FIN_WAIT2 sockets, which have
	// no tcp_sock and so no metrics.
	Mini bool
	// WasListening says the closed socket was a listener, so that no connection
	// ended.
	WasListening bool
	// Inexact says that the source cannot vouch for the byte counts, as after a
	// netlink destroy message, where a FIN may be counted.
	Inexact bool
}

// PassKind says what a batch's observations cover.
type PassKind uint8

// Pass kinds.
const (
	// PassEvents: single events, in the order they happened.
	PassEvents PassKind = iota + 1
	// PassFull: part of a walk over all sockets of the namespaces in Pass.
	PassFull
	// PassDelta: as PassFull, but full sockets that did not change since the
	// source's last pass are left out.
	PassDelta
)

// Pass describes a walk over the sockets of a host. The batches of one pass
// follow each other with the same Begin, and the last has End set.
type Pass struct {
	Kind  PassKind
	Begin Stamp
	// End marks the last batch. Only then do Namespaces and Incomplete hold.
	End bool
	// Namespaces lists what the pass covered whole: a tracked socket of one of
	// them that the pass did not show is gone.
	Namespaces []uint32
	// AllNamespaces says that Namespaces is every namespace of the host, so that
	// sockets of others are gone with their namespace.
	AllNamespaces bool
	// Minis says that the mini-sockets of the namespaces were all shown. It
	// holds in every batch of the pass.
	Minis bool
	// Sockets is how many full sockets of Namespaces the pass walked, the
	// unchanged ones that it left out included; 0 is unknown. It holds at End,
	// when every close from before the walk has been handed over.
	Sockets int
	// Incomplete says why the pass cannot be trusted to show everything (the
	// kernel changed its tables meanwhile, a namespace could not be entered);
	// empty if it can.
	Incomplete string
}

// Loss counts what a source had to drop since its previous batch.
type Loss struct {
	// Closes is final records of connections that were dropped, with the
	// payload bytes they would have shown.
	Closes, BytesSent, BytesReceived uint64
	// Events is dropped events of other kinds.
	Events uint64
	// Unknown says that more was lost than the kernel can count.
	Unknown bool
}

// Any reports whether anything was lost.
func (l Loss) Any() bool { return l != Loss{} }

// Batch is the unit in which a source hands over what it saw. The receiver must
// not keep Observations, Processes or Namespaces after it returns: the source
// reuses them.
type Batch struct {
	Source       SourceKind
	Time         Stamp
	Pass         Pass
	Observations []Observation
	// Processes describes owners that earlier batches of this stream did not.
	// The pointed-to values are immutable and may be kept.
	Processes []*Process
	Lost      Loss
	// Resync, if not nil, asks the source for a full pass soon, because the
	// receiver follows sockets that seem to be gone. It does not block.
	Resync func()
}

// Sink receives batches, one at a time. An error ends the source's run.
type Sink func(*Batch) error
