package tcptest

import (
	"errors"
	"fmt"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// A Checker holds the batches of one Once or Run against the contract of
// tcp.Batch, tcp.Pass and tcp.Observation.
type Checker struct {
	// Kind is the source's.
	Kind tcp.SourceKind

	pass     tcp.Pass // of the last batch that was part of a walk
	open     bool     // whether that walk has not ended
	inPass   map[tcp.Key]map[uint64]bool
	fullEnds int
	problems []error
}

// mostProblems bounds what a broken source makes us remember.
const mostProblems = 25

func (c *Checker) problem(format string, args ...any) {
	if len(c.problems) < mostProblems {
		c.problems = append(c.problems, fmt.Errorf(format, args...))
	}
}

// Err returns what was wrong so far.
func (c *Checker) Err() error { return errors.Join(c.problems...) }

// FullPasses is the number of complete walks over all sockets.
func (c *Checker) FullPasses() int { return c.fullEnds }

// Done is for the end of Once (once set) or Run.
func (c *Checker) Done(once bool) error {
	if once {
		if c.open {
			c.problem("the pass did not end")
		}
		if c.fullEnds != 1 {
			c.problem("%d full passes, want 1", c.fullEnds)
		}
	}
	return c.Err()
}

// Batch checks one.
func (c *Checker) Batch(b *tcp.Batch) {
	if b.Source != c.Kind {
		c.problem("batch of source %q, want %q", b.Source, c.Kind)
	}
	if b.Time.Wall == 0 || b.Time.Boot == 0 {
		c.problem("batch without time: %+v", b.Time)
	}
	switch b.Pass.Kind {
	case tcp.PassEvents:
		if b.Pass.End || len(b.Pass.Namespaces) > 0 || b.Pass.AllNamespaces {
			c.problem("events that claim to be a walk: %+v", b.Pass)
		}
	case tcp.PassFull, tcp.PassDelta:
		c.walk(b)
	default:
		c.problem("pass kind %d", b.Pass.Kind)
	}
	for i := range b.Observations {
		c.observation(b, &b.Observations[i])
	}
	for _, p := range b.Processes {
		if p == nil || p.PID == 0 {
			c.problem("process without a pid: %+v", p)
		}
	}
}

func (c *Checker) walk(b *tcp.Batch) {
	p := &b.Pass
	if p.Begin.IsZero() {
		c.problem("a walk without a beginning")
	}
	switch {
	case c.open && (p.Begin != c.pass.Begin || p.Kind != c.pass.Kind):
		c.problem("a walk begun at %d inside the one begun at %d", p.Begin.Boot, c.pass.Begin.Boot)
	case !c.open:
		if p.Begin.Boot < c.pass.Begin.Boot {
			c.problem("a walk begun at %d after the one begun at %d", p.Begin.Boot, c.pass.Begin.Boot)
		}
		if p.Kind == tcp.PassDelta && c.fullEnds == 0 {
			c.problem("changes before the first full pass")
		}
		c.inPass = make(map[tcp.Key]map[uint64]bool)
	}
	c.pass, c.open = *p, !p.End
	c.pass.Namespaces = nil // the source's own
	if !p.End {
		return
	}
	if len(p.Namespaces) == 0 && p.Incomplete == "" {
		c.problem("a complete walk over no namespace")
	}
	seen := make(map[uint32]bool)
	for _, ns := range p.Namespaces {
		if ns == 0 || seen[ns] {
			c.problem("namespaces %v", p.Namespaces)
		}
		seen[ns] = true
	}
	if p.Kind == tcp.PassFull {
		c.fullEnds++
	}
}

func (c *Checker) observation(b *tcp.Batch, o *tcp.Observation) {
	problem := func(format string, args ...any) {
		c.problem("%s %s -> %s: %s", o.State, addr(o.Local, o.LocalPort), addr(o.Remote, o.RemotePort), fmt.Sprintf(format, args...))
	}
	walk := b.Pass.Kind != tcp.PassEvents
	if walk && o.Kind != tcp.Seen {
		problem("kind %d in a walk", o.Kind)
	}
	if o.Kind < tcp.Seen || o.Kind > tcp.SeenClosed {
		problem("kind %d", o.Kind)
	}
	if o.State >= tcp.NumStates || (walk && (o.State == tcp.StateUnknown || o.State == tcp.Closed)) {
		problem("state %d", o.State)
	}
	if o.NetNS == 0 {
		problem("no namespace")
	}
	if o.Time.IsZero() {
		problem("no time")
	}
	if walk {
		c.once(o, problem)
	}
	checkHas(o, problem)
	if o.Mini && o.Has&^(tcp.HasUID|tcp.HasInode|tcp.HasCookie|tcp.HasHandshake|tcp.HasSendQueue|tcp.HasRecvQueue|tcp.HasRetransmits) != 0 {
		problem("a mini-socket has no metrics, but Has is %#x", o.Has)
	}
	if o.State == tcp.Listen && o.Has&(tcp.HasSendQueue|tcp.HasRecvQueue|tcp.HasRTT|tcp.HasBytesSent) != 0 {
		problem("a listener carries no data, but Has is %#x", o.Has)
	}
	if o.Owner.PID != 0 && o.Attribution == tcp.AttributionUnknown {
		problem("pid %d with attribution unknown", o.Owner.PID)
	}
	if o.Owner.PID == 0 && o.Attribution != tcp.AttributionUnknown && o.Owner.Comm == (tcp.Comm{}) {
		problem("attribution %s without an owner", o.Attribution)
	}
	if o.Owner.Start%tcp.StartGranularity != 0 {
		problem("start %d is not cut to %d", o.Owner.Start, tcp.StartGranularity)
	}
}

// once makes sure that a walk shows each socket once.
func (c *Checker) once(o *tcp.Observation, problem func(string, ...any)) {
	id := o.Cookie
	if id == 0 {
		// Without cookies listeners may share an address (SO_REUSEPORT).
		if o.Inode == 0 {
			return
		}
		id = uint64(o.Inode)
	}
	if c.inPass == nil {
		c.inPass = make(map[tcp.Key]map[uint64]bool)
	}
	ids := c.inPass[o.Key]
	if ids == nil {
		ids = make(map[uint64]bool)
		c.inPass[o.Key] = ids
	}
	if ids[id] {
		problem("twice in one walk")
	}
	ids[id] = true
}

func addr(a tcp.Addr, port uint16) string { return fmt.Sprintf("%s:%d", a, port) }

// checkHas makes sure that what is unknown is not filled in, and that what is
// known can be.
func checkHas(o *tcp.Observation, problem func(string, ...any)) {
	m := &o.Metrics
	for _, v := range []struct {
		bit   tcp.Has
		name  string
		value uint64
	}{
		{tcp.HasBytesSent, "bytes_sent", m.BytesSent},
		{tcp.HasBytesReceived, "bytes_received", m.BytesReceived},
		{tcp.HasSegmentsSent, "segments_sent", uint64(m.SegmentsSent)},
		{tcp.HasSegmentsReceived, "segments_received", uint64(m.SegmentsReceived)},
		{tcp.HasSendQueue, "send_queue", uint64(m.SendQueue)},
		{tcp.HasRecvQueue, "recv_queue", uint64(m.RecvQueue)},
		{tcp.HasNotSent, "notsent", uint64(m.NotSent)},
		{tcp.HasUnacked, "unacked", uint64(m.Unacked)},
		{tcp.HasAcceptQueue, "accept_queue", uint64(m.AcceptQueue)},
		{tcp.HasBacklog, "backlog", uint64(m.Backlog)},
		{tcp.HasRTT, "rtt_us", uint64(m.RTT)},
		{tcp.HasRTT, "rttvar_us", uint64(m.RTTVar)},
		{tcp.HasMinRTT, "min_rtt_us", uint64(m.MinRTT)},
		{tcp.HasRTO, "rto_us", uint64(m.RTO)},
		{tcp.HasMSS, "mss", uint64(m.MSS)},
		{tcp.HasPMTU, "pmtu", uint64(m.PMTU)},
		{tcp.HasRetransmits, "retransmits", uint64(m.Retransmits)},
		{tcp.HasBytesRetransmitted, "bytes_retransmitted", m.BytesRetransmitted},
		{tcp.HasLost, "lost", uint64(m.Lost)},
		{tcp.HasReordering, "reordering", uint64(m.Reordering)},
		{tcp.HasDSACKDups, "dsack_dups", uint64(m.DSACKDups)},
		{tcp.HasOOOReceived, "ooo_received", uint64(m.OOOReceived)},
		{tcp.HasECNCE, "ecn_ce", uint64(m.ECNCE)},
		{tcp.HasCWND, "cwnd", uint64(m.CWND)},
		{tcp.HasSSThresh, "ssthresh", uint64(m.SSThresh)},
		{tcp.HasSndWnd, "snd_wnd", uint64(m.SndWnd)},
		{tcp.HasRcvWnd, "rcv_wnd", uint64(m.RcvWnd)},
		{tcp.HasDeliveryRate, "delivery_rate", m.DeliveryRate},
		{tcp.HasPacingRate, "pacing_rate", m.PacingRate},
		{tcp.HasLimited, "busy_us", m.Busy},
		{tcp.HasLimited, "rwnd_limited_us", m.RwndLimited},
		{tcp.HasLimited, "sndbuf_limited_us", m.SndbufLimited},
		{tcp.HasUID, "uid", uint64(o.UID)},
		{tcp.HasInode, "inode", uint64(o.Inode)},
		{tcp.HasCookie, "cookie", o.Cookie},
		{tcp.HasHandshake, "handshake_us", uint64(o.Handshake)},
		{tcp.HasSendRate, "send_rate", m.SendRate},
		{tcp.HasReceiveRate, "receive_rate", m.ReceiveRate},
		{tcp.HasBytesMissed, "bytes_missed", m.BytesMissed},
	} {
		if o.Has&v.bit == 0 && v.value != 0 {
			problem("%s is %d but Has says unknown", v.name, v.value)
		}
	}
	if o.Has&tcp.HasCC == 0 && m.CC != (tcp.CC{}) {
		problem("congestion_control is %s but Has says unknown", m.CC)
	}
	// What the kernel writes for unknown must not pass for a value.
	switch {
	case o.Has&tcp.HasCookie != 0 && o.Cookie == 0:
		problem("cookie 0")
	case o.Has&tcp.HasInode != 0 && o.Inode == 0:
		problem("inode 0")
	case o.Has&tcp.HasRTT != 0 && m.RTT == 0:
		problem("rtt 0: no measurement is unknown")
	case o.Has&tcp.HasMinRTT != 0 && m.MinRTT == ^uint32(0):
		problem("min_rtt %d: no measurement is unknown", m.MinRTT)
	case o.Has&tcp.HasSSThresh != 0 && m.SSThresh >= 0x7fffffff: // TCP_INFINITE_SSTHRESH, include/net/tcp.h
		problem("ssthresh %d: infinite is unknown", m.SSThresh)
	case o.Has&tcp.HasPacingRate != 0 && m.PacingRate == ^uint64(0):
		problem("pacing_rate %d: unlimited is unknown", m.PacingRate)
	case o.Has&tcp.HasCC != 0 && m.CC == (tcp.CC{}):
		problem("congestion_control is empty")
	}
}
