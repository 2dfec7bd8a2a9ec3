package bpf

import (
	"encoding/binary"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Kinds of records: enum kind of bpf/record.bpf.h.
const (
	kindSeen = iota + 1
	kindMini
	kindListener
	kindEstablished
	kindRetransmit
	kindReset
	kindClosed
	kindUnlistened
)

// How a connection began: enum role of bpf/record.bpf.h.
const (
	roleUnknown = iota
	roleConnected
	roleAccepted
	roleListener
)

// RSTs seen: enum reset of bpf/record.bpf.h.
const (
	resetSent     = 1
	resetReceived = 2
)

// Flags of a record: enum flag of bpf/record.bpf.h.
const (
	flagFINReceived = 1 << iota
	flagDead
	flagAppLimited
	flagNoLinger
	flagAfterClose
	flagRcvShutdown
	flagUID
)

// Offsets in struct head of bpf/record.bpf.h.
const (
	offSize      = 0
	offKind      = 2
	offState     = 3
	offOld       = 4
	offFamily    = 5
	offRole      = 6
	offAttr      = 7
	offReset     = 8
	offFlags     = 9
	offLPort     = 10
	offRPort     = 12
	offChrono    = 14
	offTime      = 16
	offCookie    = 24
	offOpened    = 32
	offStart     = 40
	offCgroup    = 48
	offNetNS     = 56
	offUID       = 60
	offInode     = 64
	offPID       = 68
	offHandshake = 72
	offErr       = 76
	offA         = 80
	offB         = 84
	offComm      = 88
	offLAddr     = 104
	offRAddr     = 120

	headSize = 136
)

// Offsets in struct numbers of bpf/record.bpf.h, which follows the head.
const (
	offBytesSent     = 0
	offBytesRetrans  = 8
	offBytesReceived = 16
	offPacingRate    = 24
	offSegsOut       = 32
	offSegsIn        = 36
	offWriteSeq      = 40
	offSndUna        = 44
	offSndNxt        = 48
	offRcvNxt        = 52
	offCopiedSeq     = 56
	offPacketsOut    = 60
	offLostOut       = 64
	offReordering    = 68
	offTotalRetrans  = 72
	offDSACKDups     = 76
	offRcvOOOPack    = 80
	offDeliveredCE   = 84
	offSRTT          = 88
	offMdev          = 92
	offMinRTT        = 96
	offRTO           = 100
	offMSS           = 104
	offPMTU          = 108
	offCWND          = 112
	offSSThresh      = 116
	offSndWnd        = 120
	offRcvWnd        = 124
	offRateDelivered = 128
	offRateInterval  = 132
	offChronoStat    = 136 // three of them
	offChronoRun     = 148
	offCC            = 152
	offRecoveries    = 168
	offTimeouts      = 170
	offCAState       = 172

	numbersSize = 176
	recordSize  = headSize + numbersSize
)

// Values of the kernel that mean "not set".
const (
	infiniteSSThresh = 0x7fffffff // TCP_INFINITE_SSTHRESH, include/net/tcp.h
	unsetMinRTT      = ^uint32(0) // tcp_init_sock, net/ipv4/tcp.c
	unlimitedPacing  = ^uint64(0)
)

const afINET6 = 10 // include/linux/socket.h

// decoder turns records into observations.
type decoder struct {
	// now relates the boot clock of records to wall time.
	now tcp.Stamp
	// hz is the kernel's jiffies per second (CONFIG_HZ).
	hz uint64
}

// recordLen returns the length of the record that b begins with; ok is false
// when b does not begin with one that this version knows. A b that is too short
// to hold its record is not an error: the rest may be still to come.
func recordLen(b []byte) (n int, ok bool) {
	if len(b) < headSize {
		return headSize, true
	}
	n = headSize
	if k := b[offKind]; k == kindSeen || k == kindClosed {
		n = recordSize
	} else if k == 0 || k > kindUnlistened {
		return 0, false
	}
	return n, int(binary.LittleEndian.Uint16(b[offSize:])) == n
}

// decode reads one record, which must be whole. live says that it comes from
// the ring, where a listener is new. It allocates nothing.
func (d *decoder) decode(b []byte, live bool, o *tcp.Observation) bool {
	n, ok := recordLen(b)
	if !ok || len(b) < n {
		return false
	}
	le := binary.LittleEndian
	h := b[:headSize]
	*o = tcp.Observation{
		Key: tcp.Key{
			Tuple: tcp.Tuple{
				Local:      tcp.Addr(h[offLAddr : offLAddr+16]),
				Remote:     tcp.Addr(h[offRAddr : offRAddr+16]),
				LocalPort:  le.Uint16(h[offLPort:]),
				RemotePort: le.Uint16(h[offRPort:]),
			},
			NetNS: le.Uint32(h[offNetNS:]),
		},
		Cookie: le.Uint64(h[offCookie:]),
		Time:   d.now.At(int64(le.Uint64(h[offTime:]))),
		Opened: d.now.At(int64(le.Uint64(h[offOpened:]))),
		Inode:  le.Uint32(h[offInode:]),
		State:  tcp.KernelState(h[offState]),
		IPv6:   h[offFamily] == afINET6,
	}
	o.Owner.CgroupID = le.Uint64(h[offCgroup:])
	if attr := tcp.Attribution(h[offAttr]); attr != tcp.AttributionUnknown && attr <= tcp.AttributionExact {
		o.Owner.Comm = tcp.Comm(h[offComm : offComm+16])
		// A process that the reader's pid namespace does not show has no number
		// there; its name is still right.
		if pid := le.Uint32(h[offPID:]); pid != 0 {
			start := le.Uint64(h[offStart:])
			o.Owner.PID = int32(pid)
			o.Owner.Start = start - start%tcp.StartGranularity
			o.Attribution = attr
		}
	}
	if o.Cookie != 0 {
		o.Has |= tcp.HasCookie
	}
	if o.Inode != 0 {
		o.Has |= tcp.HasInode
	}
	if h[offFlags]&flagUID != 0 {
		o.UID = le.Uint32(h[offUID:])
		o.Has |= tcp.HasUID
	}
	if us := le.Uint32(h[offHandshake:]); us != 0 {
		o.Handshake = us
		o.Has |= tcp.HasHandshake
	}
	o.Direction = direction(h[offRole], o.State)
	o.FirstFIN = firstFIN(o.State)
	switch reset := h[offReset]; {
	case reset&resetReceived != 0:
		o.Reset = tcp.SideRemote
	case reset&resetSent != 0:
		o.Reset = tcp.SideLocal
	}
	d.decodeKind(b[:n], live, o)
	return true
}

// decodeKind reads what only some kinds of records have.
func (d *decoder) decodeKind(b []byte, live bool, o *tcp.Observation) {
	le := binary.LittleEndian
	switch b[offKind] {
	case kindSeen:
		o.Kind = tcp.Seen
		d.decodeNumbers(b, o)
	case kindMini:
		o.Kind = tcp.Seen
		o.Mini = true
	case kindListener:
		o.Kind = tcp.Seen
		if live {
			o.Kind = tcp.SeenOpened
		}
		o.Metrics.AcceptQueue = le.Uint32(b[offA:])
		o.Metrics.Backlog = le.Uint32(b[offB:])
		o.Has |= tcp.HasAcceptQueue | tcp.HasBacklog
	case kindEstablished:
		o.Kind = tcp.SeenOpened
	case kindRetransmit:
		o.Kind = tcp.SeenRetransmit
		o.Metrics.Retransmits = le.Uint32(b[offA:])
		o.Has |= tcp.HasRetransmits
	case kindReset:
		o.Kind = tcp.SeenReset
		o.Reset = tcp.SideRemote
		if le.Uint32(b[offA:]) == resetSent {
			o.Reset = tcp.SideLocal
		}
	case kindClosed:
		o.Kind = tcp.SeenClosed
		o.Direction = direction(b[offRole], tcp.KernelState(b[offOld]))
		d.decodeNumbers(b, o)
		decodeClose(b, o)
	case kindUnlistened:
		o.Kind = tcp.SeenClosed
		o.WasListening = true
	}
}

// decodeNumbers reads the metrics as tcp_get_info (net/ipv4/tcp.c) and
// tcp_diag_get_info (net/ipv4/tcp_diag.c) derive them.
func (d *decoder) decodeNumbers(b []byte, o *tcp.Observation) {
	le := binary.LittleEndian
	n := b[headSize:recordSize]
	m := &o.Metrics
	sent, retrans := le.Uint64(n[offBytesSent:]), le.Uint64(n[offBytesRetrans:])
	m.BytesRetransmitted = retrans
	m.BytesSent = sent - min(sent, retrans)
	m.BytesReceived = le.Uint64(n[offBytesReceived:])
	if b[offFlags]&flagFINReceived != 0 && m.BytesReceived > 0 {
		m.BytesReceived--
	}
	m.SegmentsSent, m.SegmentsReceived = le.Uint32(n[offSegsOut:]), le.Uint32(n[offSegsIn:])
	written := le.Uint32(n[offWriteSeq:])
	m.SendQueue = written - le.Uint32(n[offSndUna:])
	m.NotSent = uint32(max(int32(written-le.Uint32(n[offSndNxt:])), 0))
	m.RecvQueue = uint32(max(int32(le.Uint32(n[offRcvNxt:])-le.Uint32(n[offCopiedSeq:])), 0))
	m.Unacked = le.Uint32(n[offPacketsOut:])
	m.Lost = le.Uint32(n[offLostOut:])
	m.Reordering = le.Uint32(n[offReordering:])
	m.Retransmits = le.Uint32(n[offTotalRetrans:])
	m.DSACKDups = le.Uint32(n[offDSACKDups:])
	m.OOOReceived = le.Uint32(n[offRcvOOOPack:])
	m.ECNCE = le.Uint32(n[offDeliveredCE:])
	m.RTO = uint32(d.jiffies(uint64(le.Uint32(n[offRTO:]))))
	m.MSS = le.Uint32(n[offMSS:])
	m.CWND = le.Uint32(n[offCWND:])
	m.SndWnd, m.RcvWnd = le.Uint32(n[offSndWnd:]), le.Uint32(n[offRcvWnd:])
	o.Has |= tcp.HasBytesSent | tcp.HasBytesReceived | tcp.HasBytesRetransmitted |
		tcp.HasSegmentsSent | tcp.HasSegmentsReceived | tcp.HasSendQueue | tcp.HasNotSent |
		tcp.HasRecvQueue | tcp.HasUnacked | tcp.HasLost | tcp.HasReordering |
		tcp.HasRetransmits | tcp.HasDSACKDups | tcp.HasOOOReceived | tcp.HasECNCE |
		tcp.HasRTO | tcp.HasMSS | tcp.HasCWND | tcp.HasSndWnd | tcp.HasRcvWnd

	if srtt := le.Uint32(n[offSRTT:]); srtt != 0 {
		m.RTT, m.RTTVar = srtt>>3, le.Uint32(n[offMdev:])>>2
		o.Has |= tcp.HasRTT
	}
	if v := le.Uint32(n[offMinRTT:]); v != 0 && v != unsetMinRTT {
		m.MinRTT = v
		o.Has |= tcp.HasMinRTT
	}
	if v := le.Uint32(n[offPMTU:]); v != 0 {
		m.PMTU = v
		o.Has |= tcp.HasPMTU
	}
	if v := le.Uint32(n[offSSThresh:]); v < infiniteSSThresh {
		m.SSThresh = v
		o.Has |= tcp.HasSSThresh
	}
	if v := le.Uint64(n[offPacingRate:]); v != 0 && v != unlimitedPacing {
		m.PacingRate = v
		o.Has |= tcp.HasPacingRate
	}
	// tcp_compute_delivery_rate.
	delivered, interval := le.Uint32(n[offRateDelivered:]), le.Uint32(n[offRateInterval:])
	if delivered != 0 && interval != 0 {
		if rate := uint64(delivered) * uint64(m.MSS) * 1_000_000 / uint64(interval); rate != 0 {
			m.DeliveryRate = rate
			m.AppLimited = b[offFlags]&flagAppLimited != 0
			o.Has |= tcp.HasDeliveryRate
		}
	}
	d.decodeLimited(b, n, o)
	if n[offCC] != 0 {
		m.CC = tcp.CC(n[offCC : offCC+16])
		o.Has |= tcp.HasCC
	}
	if ca := tcp.CAState(n[offCAState]); ca.Known() {
		m.CAState = ca
		o.Has |= tcp.HasCAState
	}
	if le.Uint64(b[offOpened:]) != 0 {
		m.Recoveries, m.Timeouts = le.Uint16(n[offRecoveries:]), le.Uint16(n[offTimeouts:])
		o.Has |= tcp.HasRecoveries
	}
}

// decodeLimited reads the stop watches of tcp_get_info_chrono_stats. The one
// that runs (1 busy, 2 stalled by the receive window, 3 by the send buffer; 0
// none) has not got its present lap added yet.
func (d *decoder) decodeLimited(b, n []byte, o *tcp.Observation) {
	le := binary.LittleEndian
	var stats [3]uint64
	running := int(le.Uint16(b[offChrono:]))
	var total uint64
	for i := range stats {
		stats[i] = uint64(le.Uint32(n[offChronoStat+4*i:]))
		if running == i+1 {
			stats[i] += uint64(le.Uint32(n[offChronoRun:]))
		}
		stats[i] *= 1_000_000 / d.hz
		total += stats[i]
	}
	o.Metrics.Busy, o.Metrics.RwndLimited, o.Metrics.SndbufLimited = total, stats[1], stats[2]
	o.Has |= tcp.HasLimited
}

// jiffies converts to microseconds.
func (d *decoder) jiffies(n uint64) uint64 { return n * 1_000_000 / d.hz }

func direction(role uint8, s tcp.State) tcp.Direction {
	switch {
	case s == tcp.Listen:
		return tcp.Listening
	case role == roleConnected, role == roleUnknown && s == tcp.SynSent:
		return tcp.Outbound
	case role == roleAccepted:
		return tcp.Inbound
	}
	return tcp.DirectionUnknown
}

// firstFIN tells whose FIN came first by the states that only that leads to
// (RFC 9293, section 3.3.2).
func firstFIN(s tcp.State) tcp.Side {
	switch s {
	case tcp.FinWait1, tcp.FinWait2, tcp.Closing, tcp.TimeWait:
		return tcp.SideLocal
	case tcp.CloseWait, tcp.LastAck:
		return tcp.SideRemote
	default:
		return tcp.SideUnknown
	}
}
