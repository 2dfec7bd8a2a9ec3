package wire

import (
	"encoding/binary"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// observationSize is the size of one observation in version 1.
const observationSize = 352

const (
	flagIPv6 = 1 << iota
	flagMini
	flagWasListening
	flagInexact
	flagAppLimited
)

var le = binary.LittleEndian

// wide and narrow are the values of 8 and of 4 bytes, in the order of the
// format. Both directions share them, so that they cannot disagree.
func wide(m *tcp.Metrics) [11]*uint64 {
	return [...]*uint64{
		&m.BytesSent, &m.BytesReceived, &m.BytesRetransmitted, &m.BytesMissed,
		&m.SendRate, &m.ReceiveRate, &m.DeliveryRate, &m.PacingRate,
		&m.Busy, &m.RwndLimited, &m.SndbufLimited,
	}
}

func narrow(m *tcp.Metrics) [24]*uint32 {
	return [...]*uint32{
		&m.SegmentsSent, &m.SegmentsReceived, &m.SendQueue, &m.RecvQueue, &m.NotSent,
		&m.Unacked, &m.AcceptQueue, &m.Backlog, &m.RTT, &m.RTTVar, &m.MinRTT, &m.RTO,
		&m.MSS, &m.PMTU, &m.Retransmits, &m.Lost, &m.Reordering, &m.DSACKDups,
		&m.OOOReceived, &m.ECNCE, &m.CWND, &m.SSThresh, &m.SndWnd, &m.RcvWnd,
	}
}

func appendObservation(b []byte, o *tcp.Observation) []byte {
	b = append(b, o.Local[:]...)
	b = append(b, o.Remote[:]...)
	b = le.AppendUint16(b, o.LocalPort)
	b = le.AppendUint16(b, o.RemotePort)
	b = le.AppendUint32(b, o.NetNS)
	b = le.AppendUint64(b, o.Cookie)
	b = appendStamp(b, o.Time)
	b = appendStamp(b, o.Opened)
	b = le.AppendUint32(b, o.Handshake)
	b = le.AppendUint32(b, o.Inode)
	b = le.AppendUint32(b, o.UID)
	b = le.AppendUint32(b, uint32(o.Owner.PID))
	b = le.AppendUint64(b, o.Owner.Start)
	b = append(b, o.Owner.Comm[:]...)
	b = le.AppendUint64(b, o.Owner.CgroupID)
	b = le.AppendUint64(b, uint64(o.Has))
	for _, v := range wide(&o.Metrics) {
		b = le.AppendUint64(b, *v)
	}
	for _, v := range narrow(&o.Metrics) {
		b = le.AppendUint32(b, *v)
	}
	b = append(b, o.Metrics.CC[:]...)
	var flags byte
	for i, set := range [...]bool{o.IPv6, o.Mini, o.WasListening, o.Inexact, o.Metrics.AppLimited} {
		if set {
			flags |= 1 << i
		}
	}
	return append(b, byte(o.Kind), byte(o.State), byte(o.Direction), byte(o.Attribution),
		byte(o.FirstFIN), byte(o.Reset), byte(o.Reason), flags,
		byte(o.Metrics.CAState), 0, byte(o.Metrics.Recoveries), byte(o.Metrics.Recoveries>>8),
		byte(o.Metrics.Timeouts), byte(o.Metrics.Timeouts>>8), 0, 0)
}

// decodeObservation reads the first observationSize bytes of b.
func decodeObservation(b []byte, o *tcp.Observation) {
	_ = b[observationSize-1]
	copy(o.Local[:], b)
	copy(o.Remote[:], b[16:])
	o.LocalPort, o.RemotePort = le.Uint16(b[32:]), le.Uint16(b[34:])
	o.NetNS = le.Uint32(b[36:])
	o.Cookie = le.Uint64(b[40:])
	o.Time, o.Opened = decodeStamp(b[48:]), decodeStamp(b[64:])
	o.Handshake, o.Inode, o.UID = le.Uint32(b[80:]), le.Uint32(b[84:]), le.Uint32(b[88:])
	o.Owner.PID = int32(le.Uint32(b[92:]))
	o.Owner.Start = le.Uint64(b[96:])
	copy(o.Owner.Comm[:], b[104:])
	o.Owner.CgroupID = le.Uint64(b[120:])
	o.Has = tcp.Has(le.Uint64(b[128:]))
	for i, v := range wide(&o.Metrics) {
		*v = le.Uint64(b[136+8*i:])
	}
	for i, v := range narrow(&o.Metrics) {
		*v = le.Uint32(b[224+4*i:])
	}
	copy(o.Metrics.CC[:], b[320:])
	o.Kind, o.State, o.Direction = tcp.ObservationKind(b[336]), tcp.State(b[337]), tcp.Direction(b[338])
	o.Attribution, o.FirstFIN = tcp.Attribution(b[339]), tcp.Side(b[340])
	o.Reset, o.Reason = tcp.Side(b[341]), tcp.CloseReason(b[342])
	flags := b[343]
	o.IPv6, o.Mini = flags&flagIPv6 != 0, flags&flagMini != 0
	o.WasListening, o.Inexact = flags&flagWasListening != 0, flags&flagInexact != 0
	o.Metrics.AppLimited = flags&flagAppLimited != 0
	o.Metrics.CAState = tcp.CAState(b[344])
	o.Metrics.Recoveries, o.Metrics.Timeouts = le.Uint16(b[346:]), le.Uint16(b[348:])
}

func appendStamp(b []byte, s tcp.Stamp) []byte {
	return le.AppendUint64(le.AppendUint64(b, uint64(s.Wall)), uint64(s.Boot))
}

func decodeStamp(b []byte) tcp.Stamp {
	return tcp.Stamp{Wall: int64(le.Uint64(b)), Boot: int64(le.Uint64(b[8:]))}
}
