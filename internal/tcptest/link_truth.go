package tcptest

import (
	"encoding/binary"
	"net/netip"
)

// A LinkTruth says what a packet on a Link was to the kernel that sent it.
type LinkTruth struct {
	From, To netip.AddrPort
	Seq      uint32
	// Len is the payload; a SYN and a FIN count one each.
	Len int
	// Retransmission: the sender had sent the first byte of it before.
	Retransmission bool
}

// Truth works out what each packet was. All that an end sent came by here, in
// its order and before anything was lost, so that what begins below the highest
// byte sent so far was sent again. That is all there is to it: the sums must be
// the kernel's total_retrans.
func (r *LinkRecord) Truth() []LinkTruth {
	type way struct{ from, to netip.AddrPort }
	type sender struct{ first, next uint32 }
	senders := make(map[way]*sender)
	all := make([]LinkTruth, len(r.Passages))
	for end := range r.Ends {
		for i := range r.Ends[end] {
			f := &r.Ends[end][i]
			if !f.Out {
				continue
			}
			t, syn, ok := parseLinkPacket(f.Data, f.WireLen)
			if !ok {
				continue
			}
			w := way{t.From, t.To}
			s := senders[w]
			if s == nil || syn && t.Seq != s.first {
				s = &sender{first: t.Seq, next: t.Seq}
				senders[w] = s
			}
			if t.Len > 0 {
				t.Retransmission = int32(t.Seq-s.next) < 0
				if top := t.Seq + uint32(t.Len); int32(top-s.next) > 0 {
					s.next = top
				}
			}
			all[f.Passage] = t
		}
	}
	return all
}

// parseLinkPacket reads headers that the kernel of this machine wrote: no
// fragments, no extension headers.
func parseLinkPacket(b []byte, wireLen int) (t LinkTruth, syn, ok bool) {
	var src, dst netip.Addr
	switch {
	case !isTCP(b):
		return t, false, false
	case b[0]>>4 == 4:
		src, dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		head := int(b[0]&15) * 4
		wireLen -= head
		b = b[min(head, len(b)):]
	default:
		src, dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		wireLen -= 40
		b = b[40:]
	}
	if len(b) < 20 {
		return t, false, false
	}
	t.From = netip.AddrPortFrom(src, binary.BigEndian.Uint16(b))
	t.To = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(b[2:]))
	t.Seq = binary.BigEndian.Uint32(b[4:])
	const fin, synBit = 1, 2
	t.Len = wireLen - int(b[12]>>4)*4
	if b[13]&(fin|synBit) != 0 {
		t.Len++
	}
	return t, b[13]&synBit != 0, true
}

// isTCP says whether a packet has a TCP header right after the IP header.
func isTCP(p []byte) bool {
	const tcp = 6
	switch {
	case len(p) >= 20 && p[0]>>4 == 4:
		return p[9] == tcp
	case len(p) >= 40 && p[0]>>4 == 6:
		return p[6] == tcp
	}
	return false
}
