package sockdiag

import (
	"encoding/binary"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Offsets into struct tcp_info (include/uapi/linux/tcp.h), which only ever grew
// at its end. A kernel sends as much of it as it knows.
const (
	infoFlags        = 7 // bit 0: tcpi_delivery_rate_app_limited
	infoRTO          = 8
	infoSndMSS       = 16
	infoCAState      = 1
	infoUnacked      = 24
	infoLost         = 32
	infoPMTU         = 60
	infoRTT          = 68
	infoRTTVar       = 72
	infoSndSSThresh  = 76
	infoSndCWND      = 80
	infoReordering   = 88
	infoTotalRetrans = 100
	infoPacingRate   = 104
	infoBytesAcked   = 120
	infoBytesRecv    = 128
	infoSegsOut      = 136
	infoSegsIn       = 140
	infoNotSent      = 144
	infoMinRTT       = 148
	infoDelivery     = 160
	infoBusy         = 168
	infoRwndLimited  = 176
	infoSndbuf       = 184
	infoDeliveredCE  = 196
	infoBytesSent    = 200
	infoBytesRetrans = 208
	infoDSACKDups    = 216
	infoRcvOOOPack   = 224
	infoSndWnd       = 228
	infoRcvWnd       = 232
)

// infoComplete is the length of a tcp_info that holds all that is read here
// (Linux 6.2 and later).
const infoComplete = infoRcvWnd + 4

// Values that stand for "none".
const (
	infiniteSSThresh = 0x7fffffff // TCP_INFINITE_SSTHRESH, include/net/tcp.h
	oldSSThresh      = 0xffff     // what ss(8) takes for infinite
	noMinRTT         = ^uint32(0)
	noPacing         = ^uint64(0)
)

// decodeTCPInfo reads what is there of a tcp_info into m and says what that
// was. acked is tcpi_bytes_acked. Values for which the kernel has had no sample
// yet are unknown.
func decodeTCPInfo(b []byte, m *tcp.Metrics) (has tcp.Has, acked uint64) {
	u32 := func(off int) uint32 { return binary.NativeEndian.Uint32(b[off:]) }
	u64 := func(off int) uint64 { return binary.NativeEndian.Uint64(b[off:]) }

	if len(b) < infoTotalRetrans+4 {
		return 0, 0
	}
	has = tcp.HasUnacked | tcp.HasLost | tcp.HasReordering | tcp.HasRetransmits | tcp.HasCWND
	m.Unacked, m.Lost = u32(infoUnacked), u32(infoLost)
	m.Reordering, m.Retransmits = u32(infoReordering), u32(infoTotalRetrans)
	m.CWND = u32(infoSndCWND)
	if m.CAState = tcp.CAState(b[infoCAState]); m.CAState.Known() {
		has |= tcp.HasCAState
	}
	if m.RTO = u32(infoRTO); m.RTO != 0 {
		has |= tcp.HasRTO
	}
	if m.MSS = u32(infoSndMSS); m.MSS != 0 {
		has |= tcp.HasMSS
	}
	if m.PMTU = u32(infoPMTU); m.PMTU != 0 {
		has |= tcp.HasPMTU
	}
	if m.RTT = u32(infoRTT); m.RTT != 0 {
		m.RTTVar = u32(infoRTTVar)
		has |= tcp.HasRTT
	}
	if m.SSThresh = u32(infoSndSSThresh); m.SSThresh < infiniteSSThresh && m.SSThresh != oldSSThresh {
		has |= tcp.HasSSThresh
	} else {
		m.SSThresh = 0
	}

	if len(b) < infoPacingRate+8 {
		return has, 0
	}
	if m.PacingRate = u64(infoPacingRate); m.PacingRate != noPacing && m.PacingRate != 0 {
		has |= tcp.HasPacingRate
	} else {
		m.PacingRate = 0
	}
	if len(b) < infoBytesRecv+8 {
		return has, 0
	}
	acked = u64(infoBytesAcked)
	m.BytesReceived = u64(infoBytesRecv)
	has |= tcp.HasBytesReceived
	if len(b) < infoSegsIn+4 {
		return has, acked
	}
	m.SegmentsSent, m.SegmentsReceived = u32(infoSegsOut), u32(infoSegsIn)
	has |= tcp.HasSegmentsSent | tcp.HasSegmentsReceived
	if len(b) < infoMinRTT+4 {
		return has, acked
	}
	m.NotSent = u32(infoNotSent)
	has |= tcp.HasNotSent
	if m.MinRTT = u32(infoMinRTT); m.MinRTT != noMinRTT && m.MinRTT != 0 {
		has |= tcp.HasMinRTT
	} else {
		m.MinRTT = 0
	}
	if len(b) < infoDelivery+8 {
		return has, acked
	}
	if m.DeliveryRate = u64(infoDelivery); m.DeliveryRate != 0 {
		m.AppLimited = b[infoFlags]&1 != 0
		has |= tcp.HasDeliveryRate
	}
	return has | decodeLaterInfo(b, m), acked
}

// decodeLaterInfo reads what Linux 4.10 and its successors appended.
func decodeLaterInfo(b []byte, m *tcp.Metrics) (has tcp.Has) {
	u32 := func(off int) uint32 { return binary.NativeEndian.Uint32(b[off:]) }
	u64 := func(off int) uint64 { return binary.NativeEndian.Uint64(b[off:]) }

	if len(b) < infoSndbuf+8 {
		return has
	}
	m.Busy, m.RwndLimited, m.SndbufLimited = u64(infoBusy), u64(infoRwndLimited), u64(infoSndbuf)
	has |= tcp.HasLimited
	if len(b) < infoDeliveredCE+4 {
		return has
	}
	m.ECNCE = u32(infoDeliveredCE)
	has |= tcp.HasECNCE
	if len(b) < infoBytesRetrans+8 {
		return has
	}
	m.BytesRetransmitted = u64(infoBytesRetrans)
	has |= tcp.HasBytesRetransmitted
	// A retransmission that failed inside the host counts on one side only.
	if sent := u64(infoBytesSent); sent >= m.BytesRetransmitted {
		m.BytesSent = sent - m.BytesRetransmitted
		has |= tcp.HasBytesSent
	}
	if len(b) < infoDSACKDups+4 {
		return has
	}
	m.DSACKDups = u32(infoDSACKDups)
	has |= tcp.HasDSACKDups
	if len(b) < infoRcvOOOPack+4 {
		return has
	}
	m.OOOReceived = u32(infoRcvOOOPack)
	has |= tcp.HasOOOReceived
	if len(b) < infoSndWnd+4 {
		return has
	}
	m.SndWnd = u32(infoSndWnd)
	has |= tcp.HasSndWnd
	if len(b) < infoRcvWnd+4 {
		return has
	}
	m.RcvWnd = u32(infoRcvWnd)
	return has | tcp.HasRcvWnd
}

// everConnected tells by what tcp_disconnect() leaves of a tcp_info whether its
// socket once sent or received a SYN: only then was a path MTU worked out.
func everConnected(b []byte) bool {
	return len(b) >= infoPMTU+4 && binary.NativeEndian.Uint32(b[infoPMTU:]) != 0
}
