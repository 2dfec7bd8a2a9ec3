package bpf

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// newRecord makes a whole record; set changes it at offsets of record.go.
func newRecord(kind uint8, set func(head, numbers []byte)) []byte {
	b := make([]byte, recordSize)
	if kind != kindSeen && kind != kindClosed {
		b = b[:headSize]
	}
	binary.LittleEndian.PutUint16(b, uint16(len(b)))
	b[offKind] = kind
	if set != nil {
		set(b[:headSize], b[headSize:])
	}
	return b
}

var (
	testDecoder = decoder{now: tcp.Stamp{Wall: 1_000_000_000_000, Boot: 500_000_000_000}, hz: 250}
	le          = binary.LittleEndian
)

// fullRecord has a value in every place.
func fullRecord() []byte {
	return newRecord(kindSeen, func(h, n []byte) {
		h[offState], h[offFamily] = uint8(tcp.Established), afINET6
		h[offRole], h[offAttr] = roleAccepted, uint8(tcp.AttributionExact)
		h[offFlags] = flagUID | flagAppLimited | flagFINReceived
		le.PutUint16(h[offLPort:], 443)
		le.PutUint16(h[offRPort:], 50000)
		le.PutUint16(h[offChrono:], 2)
		le.PutUint64(h[offTime:], 499_000_000_000)
		le.PutUint64(h[offCookie:], 77)
		le.PutUint64(h[offOpened:], 400_000_000_000)
		le.PutUint64(h[offStart:], 123_456_789_012)
		le.PutUint64(h[offCgroup:], 4242)
		le.PutUint32(h[offNetNS:], 4026531833)
		le.PutUint32(h[offUID:], 1000)
		le.PutUint32(h[offInode:], 99)
		le.PutUint32(h[offPID:], 1234)
		le.PutUint32(h[offHandshake:], 321)
		copy(h[offComm:], "nginx")
		copy(h[offLAddr:], []byte{10: 0xff, 11: 0xff, 12: 192, 13: 0, 14: 2, 15: 1})
		copy(h[offRAddr:], []byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 15: 7})

		le.PutUint64(n[offBytesSent:], 1100)
		le.PutUint64(n[offBytesRetrans:], 100)
		le.PutUint64(n[offBytesReceived:], 501)
		le.PutUint64(n[offPacingRate:], 1<<40)
		for off, v := range map[int]uint32{
			offSegsOut: 11, offSegsIn: 12, offWriteSeq: 20, offSndUna: 0xfffffff0, offSndNxt: 5,
			offRcvNxt: 90, offCopiedSeq: 80, offPacketsOut: 13, offLostOut: 14, offReordering: 15,
			offTotalRetrans: 16, offDSACKDups: 17, offRcvOOOPack: 18, offDeliveredCE: 19,
			offSRTT: 807, offMdev: 42, offMinRTT: 21, offRTO: 51, offMSS: 1448, offPMTU: 1500,
			offCWND: 22, offSSThresh: 23, offSndWnd: 24, offRcvWnd: 25, offRateDelivered: 4,
			offRateInterval: 1000, offChronoStat: 1, offChronoStat + 4: 2, offChronoStat + 8: 3,
			offChronoRun: 10,
		} {
			le.PutUint32(n[off:], v)
		}
		copy(n[offCC:], "bbr")
	})
}

func TestDecodeNumbers(t *testing.T) {
	var got tcp.Observation
	if !testDecoder.decode(fullRecord(), false, &got) {
		t.Fatal("not decoded")
	}
	want := tcp.Observation{
		Key: tcp.Key{
			Tuple: tcp.Tuple{
				Local:     tcp.AddrFrom4([4]byte{192, 0, 2, 1}),
				Remote:    tcp.Addr{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 15: 7},
				LocalPort: 443, RemotePort: 50000,
			},
			NetNS: 4026531833,
		},
		Cookie:    77,
		Time:      tcp.Stamp{Wall: 999_000_000_000, Boot: 499_000_000_000},
		Opened:    tcp.Stamp{Wall: 900_000_000_000, Boot: 400_000_000_000},
		Handshake: 321, Inode: 99, UID: 1000,
		Owner: tcp.Owner{PID: 1234, Start: 123_450_000_000, Comm: tcp.MakeComm("nginx"), CgroupID: 4242},
		Has: tcp.HasBytesSent | tcp.HasBytesReceived | tcp.HasSegmentsSent | tcp.HasSegmentsReceived |
			tcp.HasSendQueue | tcp.HasRecvQueue | tcp.HasNotSent | tcp.HasUnacked | tcp.HasRTT |
			tcp.HasMinRTT | tcp.HasRTO | tcp.HasMSS | tcp.HasPMTU | tcp.HasRetransmits |
			tcp.HasBytesRetransmitted | tcp.HasLost | tcp.HasReordering | tcp.HasDSACKDups |
			tcp.HasOOOReceived | tcp.HasECNCE | tcp.HasCWND | tcp.HasSSThresh | tcp.HasSndWnd |
			tcp.HasRcvWnd | tcp.HasDeliveryRate | tcp.HasPacingRate | tcp.HasLimited | tcp.HasCC |
			tcp.HasCAState | tcp.HasRecoveries | tcp.HasUID | tcp.HasInode | tcp.HasCookie | tcp.HasHandshake,
		Metrics: tcp.Metrics{
			BytesSent: 1000, BytesRetransmitted: 100, BytesReceived: 500, PacingRate: 1 << 40,
			SegmentsSent: 11, SegmentsReceived: 12, SendQueue: 36, NotSent: 15, RecvQueue: 10,
			Unacked: 13, Lost: 14, Reordering: 15, Retransmits: 16, DSACKDups: 17, OOOReceived: 18,
			ECNCE: 19, RTT: 100, RTTVar: 10, MinRTT: 21, RTO: 204_000, MSS: 1448, PMTU: 1500,
			CWND: 22, SSThresh: 23, SndWnd: 24, RcvWnd: 25,
			DeliveryRate: 4 * 1448 * 1_000_000 / 1000, AppLimited: true,
			Busy: (1 + 12 + 3) * 4000, RwndLimited: 12 * 4000, SndbufLimited: 3 * 4000,
			CC: tcp.MakeCC("bbr"),
		},
		Kind: tcp.Seen, State: tcp.Established, Direction: tcp.Inbound,
		Attribution: tcp.AttributionExact, IPv6: true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestDecodeUnset: what the kernel has not measured is unknown, not zero.
func TestDecodeUnset(t *testing.T) {
	b := newRecord(kindSeen, func(h, n []byte) {
		h[offState] = uint8(tcp.SynSent)
		le.PutUint64(n[offPacingRate:], unlimitedPacing)
		le.PutUint32(n[offMinRTT:], unsetMinRTT)
		le.PutUint32(n[offSSThresh:], infiniteSSThresh)
		// More sent again than sent: a clone could not be allocated.
		le.PutUint64(n[offBytesRetrans:], 10)
		// A FIN received before anything else.
		le.PutUint32(n[offCopiedSeq:], 1)
	})
	var o tcp.Observation
	if !testDecoder.decode(b, false, &o) {
		t.Fatal("not decoded")
	}
	unknown := tcp.HasRTT | tcp.HasMinRTT | tcp.HasPMTU | tcp.HasSSThresh | tcp.HasDeliveryRate |
		tcp.HasPacingRate | tcp.HasCC | tcp.HasUID | tcp.HasInode | tcp.HasCookie | tcp.HasHandshake
	if o.Has&unknown != 0 || !o.Opened.IsZero() || o.Owner != (tcp.Owner{}) || o.Attribution != tcp.AttributionUnknown {
		t.Errorf("%+v", o)
	}
	if o.Metrics.BytesSent != 0 || o.Metrics.RecvQueue != 0 || o.Direction != tcp.Outbound {
		t.Errorf("%+v", o)
	}
}

func TestDecodeKinds(t *testing.T) {
	head := func(state tcp.State, role uint8, set func(h []byte)) func(h, n []byte) {
		return func(h, _ []byte) {
			h[offState], h[offRole] = uint8(state), role
			if set != nil {
				set(h)
			}
		}
	}
	type kind struct {
		Kind      tcp.ObservationKind
		State     tcp.State
		Direction tcp.Direction
		FirstFIN  tcp.Side
		Reset     tcp.Side
		Reason    tcp.CloseReason
		Mini      bool
		Was       bool
	}
	for _, tt := range []struct {
		name string
		b    []byte
		live bool
		want kind
	}{
		{
			"time wait", newRecord(kindMini, head(tcp.TimeWait, roleUnknown, nil)), false,
			kind{Kind: tcp.Seen, State: tcp.TimeWait, FirstFIN: tcp.SideLocal, Mini: true},
		},
		{
			"request", newRecord(kindMini, head(12, roleAccepted, nil)), false,
			kind{Kind: tcp.Seen, State: tcp.SynRecv, Direction: tcp.Inbound, Mini: true},
		},
		{
			"listener found", newRecord(kindListener, head(tcp.Listen, roleListener, nil)), false,
			kind{Kind: tcp.Seen, State: tcp.Listen, Direction: tcp.Listening},
		},
		{
			"listener new", newRecord(kindListener, head(tcp.Listen, roleListener, nil)), true,
			kind{Kind: tcp.SeenOpened, State: tcp.Listen, Direction: tcp.Listening},
		},
		{
			"listener gone", newRecord(kindUnlistened, head(tcp.Listen, roleListener, nil)), true,
			kind{Kind: tcp.SeenClosed, State: tcp.Listen, Direction: tcp.Listening, Was: true},
		},
		{
			"established", newRecord(kindEstablished, head(tcp.Established, roleConnected, nil)), true,
			kind{Kind: tcp.SeenOpened, State: tcp.Established, Direction: tcp.Outbound},
		},
		{
			"retransmission", newRecord(kindRetransmit, head(tcp.LastAck, roleAccepted, nil)), true,
			kind{Kind: tcp.SeenRetransmit, State: tcp.LastAck, Direction: tcp.Inbound, FirstFIN: tcp.SideRemote},
		},
		{
			"RST sent after one was received", newRecord(kindReset, head(tcp.Established, roleConnected, func(h []byte) {
				h[offReset] = resetSent | resetReceived
				le.PutUint32(h[offA:], resetSent)
			})), true,
			kind{Kind: tcp.SeenReset, State: tcp.Established, Direction: tcp.Outbound, Reset: tcp.SideLocal},
		},
		{
			"close", newRecord(kindClosed, func(h, _ []byte) {
				h[offState], h[offOld], h[offRole] = uint8(tcp.Closed), uint8(tcp.LastAck), roleAccepted
			}), true,
			kind{
				Kind: tcp.SeenClosed, State: tcp.Closed, Direction: tcp.Inbound,
				FirstFIN: tcp.SideRemote, Reason: tcp.CloseFIN,
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var o tcp.Observation
			if !testDecoder.decode(tt.b, tt.live, &o) {
				t.Fatal("not decoded")
			}
			got := kind{o.Kind, o.State, o.Direction, o.FirstFIN, o.Reset, o.Reason, o.Mini, o.WasListening}
			if got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
			if n, ok := recordLen(tt.b); !ok || n != len(tt.b) {
				t.Errorf("length %d, %v", n, ok)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := fullRecord()
	for name, b := range map[string][]byte{
		"empty":        {},
		"short head":   good[:headSize-1],
		"no numbers":   good[:recordSize-1],
		"kind 0":       newRecord(0, nil),
		"unknown kind": newRecord(kindUnlistened+1, nil),
		"wrong size":   newRecord(kindMini, func(h, _ []byte) { h[0]++ }),
	} {
		var o tcp.Observation
		if testDecoder.decode(b, true, &o) {
			t.Errorf("%s: decoded", name)
		}
	}
}

func TestCloseReason(t *testing.T) {
	type end struct {
		reason tcp.CloseReason
		reset  tcp.Side
	}
	const none, local, remote = tcp.SideUnknown, tcp.SideLocal, tcp.SideRemote
	for _, tt := range []struct {
		name   string
		old    tcp.State
		errno  uint32
		resets uint8
		flags  uint8
		want   end
	}{
		{"passive", tcp.LastAck, 0, 0, flagFINReceived, end{tcp.CloseFIN, none}},
		{"simultaneous", tcp.Closing, 0, 0, flagFINReceived, end{tcp.CloseFIN, none}},
		{"active", tcp.FinWait2, 0, 0, flagFINReceived | flagDead, end{tcp.CloseFIN, none}},
		{"active, orphaned", tcp.FinWait2, 0, 0, flagDead, end{tcp.CloseFIN, none}},
		{"no FIN_WAIT2 wanted", tcp.FinWait2, 0, 0, flagDead | flagNoLinger, end{tcp.CloseRSTSent, local}},
		{"aborted after half-close", tcp.FinWait2, 0, 0, 0, end{tcp.CloseRSTSent, local}},
		{"aborted", tcp.Established, 0, 0, 0, end{tcp.CloseRSTSent, local}},
		{"aborted after FIN", tcp.CloseWait, 0, 0, flagFINReceived, end{tcp.CloseRSTSent, local}},
		{"RST", tcp.Established, errConnReset, resetReceived, 0, end{tcp.CloseRSTReceived, remote}},
		{"RST after FIN", tcp.CloseWait, errPipe, resetReceived, flagFINReceived, end{tcp.CloseRSTReceived, remote}},
		{"RST, tracepoint missing", tcp.Established, errConnReset, 0, 0, end{tcp.CloseRSTReceived, remote}},
		{"refused", tcp.SynSent, errConnRefused, resetReceived, 0, end{tcp.CloseRefused, remote}},
		{"timeout", tcp.Established, errTimedOut, 0, 0, end{tcp.CloseTimeout, none}},
		{"keepalive timeout", tcp.Established, errTimedOut, resetSent, 0, end{tcp.CloseTimeout, local}},
		{"host", tcp.SynSent, errHostUnreach, 0, 0, end{tcp.CloseUnreachable, none}},
		{"net", tcp.SynSent, errNetUnreach, 0, 0, end{tcp.CloseUnreachable, none}},
		{"destroyed", tcp.Established, 103, resetSent, 0, end{tcp.CloseRSTSent, local}},
		{"destroyed while connecting", tcp.SynSent, 103, 0, 0, end{tcp.CloseAborted, none}},
		{"given up", tcp.SynSent, 0, 0, 0, end{tcp.CloseAborted, none}},
		{"never accepted", tcp.SynRecv, 0, 0, 0, end{tcp.CloseAborted, none}},
	} {
		reason, reset := closeReason(tt.old, tt.errno, tt.resets, tt.flags)
		if got := (end{reason, reset}); got != tt.want {
			t.Errorf("%s: %v %v, want %v %v", tt.name, got.reason, got.reset, tt.want.reason, tt.want.reset)
		}
	}
}

// TestResetAfterClose: a RST that comes out after the state changed corrects
// the final record before it, and is told first.
func TestResetAfterClose(t *testing.T) {
	closed := newRecord(kindClosed, func(h, _ []byte) {
		h[offState], h[offOld] = uint8(tcp.Closed), uint8(tcp.FinWait2)
		h[offReset], h[offErr] = resetReceived, errConnReset
		le.PutUint64(h[offCookie:], 7)
		le.PutUint64(h[offTime:], 10)
	})
	other := newRecord(kindEstablished, func(h, _ []byte) { le.PutUint64(h[offCookie:], 8) })
	reset := newRecord(kindReset, func(h, _ []byte) {
		h[offState], h[offFlags], h[offReset] = uint8(tcp.Closed), flagAfterClose, resetSent|resetReceived
		le.PutUint32(h[offA:], resetSent)
		le.PutUint64(h[offCookie:], 7)
		le.PutUint64(h[offTime:], 11)
	})
	var b batcher
	b.start(nil, func() tcp.Stamp { return testDecoder.now }, 250, 0)
	b.begin(tcp.PassEvents)
	for _, r := range [][]byte{closed, other, reset} {
		if err := b.addEvent(r); err != nil {
			t.Fatal(err)
		}
	}
	obs := b.batch.Observations
	if len(obs) != 3 || obs[0].Kind != tcp.SeenReset || obs[0].Reset != tcp.SideLocal || obs[0].Time != obs[2].Time ||
		obs[2].Kind != tcp.SeenClosed || obs[2].Reason != tcp.CloseRSTSent || obs[2].Reset != tcp.SideLocal {
		t.Errorf("%+v", obs)
	}
}

// TestParsePieces: a record may be cut anywhere by the end of a read.
func TestParsePieces(t *testing.T) {
	var stream []byte
	for range 700 {
		stream = append(stream, newRecord(kindMini, nil)...)
		stream = append(stream, fullRecord()...)
	}
	for _, size := range []int{1, headSize, recordSize + 1, 32 << 10} {
		seen := 0
		var b batcher
		b.start(func(b *tcp.Batch) error { seen += len(b.Observations); return nil },
			func() tcp.Stamp { return testDecoder.now }, 250, 0)
		b.begin(tcp.PassFull)
		var have []byte
		for rest := stream; len(rest) > 0; {
			n := min(size, len(rest))
			have, rest = append(have, rest[:n]...), rest[n:]
			used, err := b.parse(have)
			if err != nil {
				t.Fatal(err)
			}
			have = have[used:]
		}
		if err := b.endPass([]uint32{1}, true); err != nil {
			t.Fatal(err)
		}
		if seen != 1400 || len(have) != 0 {
			t.Errorf("%d a read: %d records, %d bytes left", size, seen, len(have))
		}
	}
}

func FuzzRecord(f *testing.F) {
	for kind := range uint8(kindUnlistened + 2) {
		f.Add(newRecord(kind, nil), true)
	}
	f.Add(fullRecord(), false)
	f.Add(append(fullRecord(), newRecord(kindReset, func(h, _ []byte) { h[offFlags] = flagAfterClose })...), true)
	f.Fuzz(func(t *testing.T, p []byte, live bool) {
		var b batcher
		b.start(func(*tcp.Batch) error { return nil }, func() tcp.Stamp { return testDecoder.now }, 250, 0)
		b.begin(tcp.PassEvents)
		if live {
			_ = b.addHeld(p)
		} else if used, err := b.parse(p); used > len(p) || (err == nil && len(p)-used >= recordSize) {
			t.Fatalf("used %d of %d: %v", used, len(p), err)
		}
		for _, o := range b.batch.Observations {
			if o.Kind == 0 || o.State >= tcp.NumStates {
				t.Errorf("%+v", o)
			}
			if (o.Owner.PID == 0) != (o.Attribution == tcp.AttributionUnknown) {
				t.Errorf("owner %+v, %s", o.Owner, o.Attribution)
			}
			if o.Owner.Start%tcp.StartGranularity != 0 {
				t.Errorf("start %d", o.Owner.Start)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	records := map[string][]byte{"full": fullRecord(), "head": newRecord(kindEstablished, nil)}
	for name, p := range records {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var o tcp.Observation
			for b.Loop() {
				if !testDecoder.decode(p, true, &o) {
					b.Fatal("not decoded")
				}
			}
		})
	}
}

func TestDecodeAllocates(t *testing.T) {
	p := fullRecord()
	var o tcp.Observation
	if n := testing.AllocsPerRun(100, func() { testDecoder.decode(p, true, &o) }); n != 0 {
		t.Errorf("%v allocations a record", n)
	}
}
