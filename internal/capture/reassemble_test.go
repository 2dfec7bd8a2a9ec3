package capture

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// split4 cuts an IPv4 packet into fragments of at most size bytes, a multiple
// of 8.
func split4(packet []byte, size int) [][]byte {
	header, payload := packet[:20], packet[20:]
	var all [][]byte
	for at := 0; at < len(payload); at += size {
		end := min(at+size, len(payload))
		b := join(header, payload[at:end])
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
		field := at / 8
		if end < len(payload) {
			field |= 0x2000
		}
		binary.BigEndian.PutUint16(b[6:], uint16(field))
		all = append(all, b)
	}
	return all
}

// split6 does the same to IPv6 without extension headers.
func split6(packet []byte, size int) [][]byte {
	payload := packet[40:]
	var all [][]byte
	for at := 0; at < len(payload); at += size {
		end := min(at+size, len(payload))
		field := at
		if end < len(payload) {
			field |= 1
		}
		b := join(packet[:40], packet[6], byte(0), be16(nil, field), "\x00\x00\x00\x07", payload[at:end])
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
		b[6] = protoFragment
		all = append(all, b)
	}
	return all
}

// large is a segment worth cutting.
func large() segmentSpec {
	s := plain
	for i := range 1000 {
		s.payload = append(s.payload, byte(i))
	}
	return s
}

func TestReassemble(t *testing.T) {
	four, six := ip4(protoTCP, large().bytes()), ip6(protoTCP, large().bytes())
	wrap := func(all [][]byte, f func([]byte) []byte) [][]byte {
		var out [][]byte
		for _, b := range all {
			out = append(out, f(b))
		}
		return out
	}
	vlan := func(b []byte) []byte { return ether(0x8100, join("\x00\x05\x08\x00", b)) }
	gtp := func(b []byte) []byte {
		return ether(0x0800, ip4(protoUDP, udp(2152, join("\x30\xff\x00\x00\x00\x00\x00\x01", b))))
	}
	inFrame := func(b []byte) []byte { return ether(0x0800, b) }
	tests := []struct {
		name   string
		frames [][]byte
		order  []int // of their coming; nil is in order
		ip     Info
	}{
		{"ipv4", wrap(split4(four, 400), inFrame), nil, HasIPID},
		{"last first", wrap(split4(four, 400), inFrame), []int{2, 1, 0}, HasIPID},
		{"twice", wrap(split4(four, 400), inFrame), []int{0, 0, 2, 2, 1}, HasIPID},
		{"overlapping", wrap(append(split4(four, 400)[:2], append(split4(four, 240)[2:3], split4(four, 400)[2])...), inFrame), []int{0, 2, 1, 3}, HasIPID},
		{"vlan", wrap(split4(four, 8), vlan), nil, HasIPID | HasVLAN},
		{"ipv6", wrap(split6(six, 512), func(b []byte) []byte { return ether(0x86dd, b) }), []int{1, 0, 2}, HasIPID},
		{"inside a tunnel", wrap(split4(four, 400), gtp), []int{0, 2, 1}, HasIPID | Tunneled},
		{"outside a tunnel", wrap(split4(gtp(four)[14:], 800), inFrame), nil, HasIPID | Tunneled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			order := tt.order
			if order == nil {
				for i := range tt.frames {
					order = append(order, i)
				}
			}
			var r Reassembler
			for n, i := range order {
				f := Frame{Time: 5, Number: uint64(n + 1), Link: LinkEthernet, Data: tt.frames[i], WireLen: uint32(len(tt.frames[i]))}
				var s Segment
				got, want := r.Decode(&f, &s), LaterFragment
				if n == len(order)-1 {
					want = TCP
				}
				if got != want {
					t.Fatalf("frame %d: %v, want %v", n+1, got, want)
				}
				if want != TCP {
					continue
				}
				if s.Len != 1005 || !bytes.Equal(s.Payload, large().payload) || s.Info != tt.ip|Reassembled || s.HeaderLen != 32 {
					t.Errorf("Len %d, %d bytes of payload, Info %b, want %b", s.Len, len(s.Payload), s.Info, tt.ip|Reassembled)
				}
				if s.Number != f.Number || s.Time != 5 || s.WireLen != f.WireLen || s.CapLen != f.WireLen {
					t.Errorf("not of the frame that completed it: %+v", s)
				}
			}
			if len(r.index) != 0 {
				t.Errorf("%d packets are kept", len(r.index))
			}
		})
	}
}

// TestReassembleNot: what cannot be put together is decoded as Decode does.
func TestReassembleNot(t *testing.T) {
	four := split4(ip4(protoTCP, large().bytes()), 400)
	decode := func(r *Reassembler, at int64, b []byte, wire int) (Reason, Segment) {
		var s Segment
		reason := r.Decode(&Frame{Time: at, Link: LinkRaw, Data: b, WireLen: uint32(wire)}, &s)
		return reason, s
	}
	var r Reassembler
	if reason, s := decode(&r, 0, four[0][:100], len(four[0])); reason != TCP || s.Info&Fragment == 0 || s.Len != 400-32 {
		t.Errorf("a first fragment that was cut: %v, %+v", reason, s)
	}
	if reason, _ := decode(&r, 0, four[1][:100], len(four[1])); reason != LaterFragment {
		t.Errorf("a later fragment that was cut: %v", reason)
	}
	if reason, _ := decode(&r, 0, ip4(protoICMP, icmpError(3, four[0])), 500); reason != TCP {
		t.Errorf("a fragment that ICMP quotes: %v", reason)
	}
	if len(r.index) != 0 {
		t.Errorf("%d packets are kept", len(r.index))
	}
	// After the time of a packet its identification is that of another one.
	decode(&r, 0, four[0], len(four[0]))
	decode(&r, fragmentWait+1, four[1], len(four[1]))
	if reason, _ := decode(&r, fragmentWait+2, four[2], len(four[2])); reason != LaterFragment {
		t.Errorf("fragments of different times: %v", reason)
	}
}

// TestReassembleBounds floods a Reassembler with fragments of packets that never
// come whole.
func TestReassembleBounds(t *testing.T) {
	var r Reassembler
	var s Segment
	b := split4(ip4(protoTCP, make([]byte, 60_000)), 8*1024)[6]
	for id := range 20_000 {
		binary.BigEndian.PutUint16(b[4:], uint16(id))
		binary.BigEndian.PutUint32(b[12:], uint32(id/100))
		r.Decode(&Frame{Link: LinkRaw, Data: b, WireLen: uint32(len(b))}, &s)
	}
	if len(r.index) > maxFragmented || len(r.slots) != maxFragmented {
		t.Errorf("%d packets in %d slots", len(r.index), len(r.slots))
	}
	// Nor does one packet take many pieces.
	for i := range 8000 {
		binary.BigEndian.PutUint16(b[6:], uint16(i%4000*2)|0x2000)
		r.Decode(&Frame{Link: LinkRaw, Data: b[:28], WireLen: 28}, &s)
	}
	for i := range r.slots {
		if len(r.slots[i].pieces) > maxPieces || cap(r.slots[i].data) > 2*maxPacket {
			t.Errorf("%d pieces, %d bytes", len(r.slots[i].pieces), cap(r.slots[i].data))
		}
	}
	if n := testing.AllocsPerRun(1000, func() {
		r.Decode(&Frame{Link: LinkRaw, Data: b, WireLen: uint32(len(b))}, &s)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzReassemble(f *testing.F) {
	f.Add(uint64(1), []byte("some payload"), segment4())
	f.Add(uint64(2), large().payload, segment6())
	f.Fuzz(func(t *testing.T, seed uint64, payload, noise []byte) {
		if len(payload) > 20_000 || len(noise) > 2000 {
			return
		}
		s := plain
		s.payload = payload
		random := rand.New(rand.NewPCG(seed, 1))
		size := 8 * (1 + random.IntN(max(1, len(payload)/64+10)))
		all := split4(ip4(protoTCP, s.bytes()), size)
		if seed%2 == 1 {
			all = split6(ip6(protoTCP, s.bytes()), size)
		}
		if len(all) < 2 || len(all) > maxPieces {
			return
		}
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		var r Reassembler
		var got Segment
		for i, b := range all {
			reason := r.Decode(&Frame{Link: LinkRaw, Data: b, WireLen: uint32(len(b))}, &got)
			if last := i == len(all)-1; last != (reason == TCP) {
				t.Fatalf("fragment %d of %d: %v", i, len(all), reason)
			}
		}
		if !bytes.Equal(payload, got.Payload) {
			t.Fatalf("%d bytes became %d others", len(payload), len(got.Payload))
		}
		// Anything may come in between.
		for n := range len(noise) {
			r.Decode(&Frame{Link: LinkRaw, Data: noise[n:], WireLen: uint32(len(noise))}, &got)
		}
	})
}
