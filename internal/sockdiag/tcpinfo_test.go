package sockdiag

import (
	"encoding/binary"
	"testing"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// fullInfo is a tcp_info in which every byte differs from its neighbours, so
// that a value read at the wrong place shows.
func fullInfo() []byte {
	b := make([]byte, 280)
	for i := range b {
		b[i] = byte(i%251 + 1)
	}
	b[infoSndSSThresh+3] = 0 // a number below infinity
	return b
}

func TestDecodeTCPInfo(t *testing.T) {
	b := fullInfo()
	u32 := func(off int) uint32 { return binary.NativeEndian.Uint32(b[off:]) }
	u64 := func(off int) uint64 { return binary.NativeEndian.Uint64(b[off:]) }
	var m tcp.Metrics
	_, acked := decodeTCPInfo(b, &m)
	want := tcp.Metrics{
		BytesSent:          u64(200) - u64(208),
		BytesReceived:      u64(128),
		BytesRetransmitted: u64(208),
		DeliveryRate:       u64(160),
		PacingRate:         u64(104),
		Busy:               u64(168), RwndLimited: u64(176), SndbufLimited: u64(184),
		SegmentsSent: u32(136), SegmentsReceived: u32(140),
		NotSent: u32(144), Unacked: u32(24),
		RTT: u32(68), RTTVar: u32(72), MinRTT: u32(148), RTO: u32(8),
		MSS: u32(16), PMTU: u32(60),
		Retransmits: u32(100), Lost: u32(32), Reordering: u32(88),
		DSACKDups: u32(216), OOOReceived: u32(224), ECNCE: u32(196),
		CWND: u32(80), SSThresh: u32(76), SndWnd: u32(228), RcvWnd: u32(232),
		CAState: tcp.CAState(b[1]),
	}
	if u64(200) < u64(208) {
		want.BytesSent = 0
	}
	if m != want {
		t.Errorf("got  %+v\nwant %+v", m, want)
	}
	if acked != u64(120) {
		t.Errorf("acked %d", acked)
	}
	binary.NativeEndian.PutUint64(b[infoBytesSent:], 5000)
	binary.NativeEndian.PutUint64(b[infoBytesRetrans:], 1000)
	b[infoFlags] = 1
	has, _ := decodeTCPInfo(b, &m)
	if m.BytesSent != 4000 || has&tcp.HasBytesSent == 0 || !m.AppLimited {
		t.Errorf("%d sent, has %#x, app limited %v", m.BytesSent, uint64(has), m.AppLimited)
	}
}

// TestShorterTCPInfo makes sure that an older kernel's tcp_info yields what it
// holds and nothing else.
func TestShorterTCPInfo(t *testing.T) {
	tests := []struct {
		kernel string
		length int
		more   tcp.Has
	}{
		{"none", 0, 0},
		{"cut", 103, 0},
		{"2.6", 104, tcp.HasUnacked | tcp.HasLost | tcp.HasReordering | tcp.HasRetransmits | tcp.HasCWND | tcp.HasCAState | tcp.HasRTO | tcp.HasMSS | tcp.HasPMTU | tcp.HasRTT | tcp.HasSSThresh},
		{"3.15", 120, tcp.HasPacingRate},
		{"4.1", 136, tcp.HasBytesReceived},
		{"4.2", 144, tcp.HasSegmentsSent | tcp.HasSegmentsReceived},
		{"4.6", 160, tcp.HasNotSent | tcp.HasMinRTT},
		{"4.9", 168, tcp.HasDeliveryRate},
		{"4.10", 192, tcp.HasLimited},
		{"4.18", 200, tcp.HasECNCE},
		{"4.19", 224, tcp.HasBytesSent | tcp.HasBytesRetransmitted | tcp.HasDSACKDups},
		{"5.4", 232, tcp.HasOOOReceived | tcp.HasSndWnd},
		{"6.2", 240, tcp.HasRcvWnd},
		{"6.18", 280, 0},
	}
	b := fullInfo()
	binary.NativeEndian.PutUint64(b[infoBytesSent:], 5000)
	binary.NativeEndian.PutUint64(b[infoBytesRetrans:], 1000)
	var want tcp.Has
	for _, tt := range tests {
		want |= tt.more
		var m tcp.Metrics
		if got, _ := decodeTCPInfo(b[:tt.length], &m); got != want {
			t.Errorf("Linux %s, %d bytes: has %#x, want %#x", tt.kernel, tt.length, uint64(got), uint64(want))
		}
	}
	// Every length, in memory of that size, so that reading on would show.
	for n := range len(b) {
		var m tcp.Metrics
		has, _ := decodeTCPInfo(append([]byte(nil), b[:n]...), &m)
		checkMetrics(t, has, &m)
	}
}

// TestUnknownValues covers the numbers that stand for none.
func TestUnknownValues(t *testing.T) {
	tests := []struct {
		name  string
		put   func(b []byte)
		clear tcp.Has
	}{
		{"ssthresh", func(b []byte) { binary.NativeEndian.PutUint32(b[infoSndSSThresh:], 0x7fffffff) }, tcp.HasSSThresh},
		{"old ssthresh", func(b []byte) { binary.NativeEndian.PutUint32(b[infoSndSSThresh:], 0xffff) }, tcp.HasSSThresh},
		{"pacing", func(b []byte) { binary.NativeEndian.PutUint64(b[infoPacingRate:], ^uint64(0)) }, tcp.HasPacingRate},
		{"min_rtt", func(b []byte) { binary.NativeEndian.PutUint32(b[infoMinRTT:], ^uint32(0)) }, tcp.HasMinRTT},
		{"rtt", func(b []byte) { binary.NativeEndian.PutUint32(b[infoRTT:], 0) }, tcp.HasRTT},
		{"delivery", func(b []byte) { binary.NativeEndian.PutUint64(b[infoDelivery:], 0) }, tcp.HasDeliveryRate},
		{"sent", func(b []byte) { binary.NativeEndian.PutUint64(b[infoBytesSent:], 999) }, tcp.HasBytesSent},
	}
	for _, tt := range tests {
		b := fullInfo()
		binary.NativeEndian.PutUint64(b[infoBytesSent:], 5000)
		binary.NativeEndian.PutUint64(b[infoBytesRetrans:], 1000)
		var m tcp.Metrics
		all, _ := decodeTCPInfo(b, &m)
		tt.put(b)
		m = tcp.Metrics{}
		if got, _ := decodeTCPInfo(b, &m); got != all&^tt.clear {
			t.Errorf("%s: has %#x, want %#x", tt.name, uint64(got), uint64(all&^tt.clear))
		}
		checkMetrics(t, all, &m)
	}
}

// checkMetrics makes sure that no number that stands for none gets out.
func checkMetrics(t *testing.T, has tcp.Has, m *tcp.Metrics) {
	t.Helper()
	if m.SSThresh >= infiniteSSThresh || m.PacingRate == noPacing || m.MinRTT == noMinRTT {
		t.Errorf("%+v", m)
	}
	if has&tcp.HasRTT == 0 && m.RTTVar != 0 || has&tcp.HasBytesSent == 0 && m.BytesSent != 0 {
		t.Errorf("unknown and not 0: %+v", m)
	}
}

func FuzzTCPInfo(f *testing.F) {
	f.Add(fullInfo())
	_ = eachMessage(fixture(f, "dump.bin"), func(_ nlHeader, body []byte) {
		var m diagMessage
		if m.parse(body) == nil && m.info != nil {
			f.Add(m.info)
		}
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		var m tcp.Metrics
		has, _ := decodeTCPInfo(b, &m)
		checkMetrics(t, has, &m)
		if len(b) < infoTotalRetrans+4 && (has != 0 || m != tcp.Metrics{}) {
			t.Errorf("%d bytes told %#x %+v", len(b), uint64(has), m)
		}
	})
}
