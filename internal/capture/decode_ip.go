package capture

import (
	"encoding/binary"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// IP protocol numbers, from IANA's registry.
const (
	protoHopByHop    = 0
	protoICMP        = 1
	protoIPIP        = 4
	protoTCP         = 6
	protoUDP         = 17
	protoIPv6        = 41
	protoRouting     = 43
	protoFragment    = 44
	protoGRE         = 47
	protoESP         = 50
	protoAH          = 51
	protoICMPv6      = 58
	protoDestination = 60
	protoKA9Q        = 94 // IP in IP as of KA9Q NOS
	protoEtherIP     = 97
	protoMobility    = 135
	protoMPLS        = 137
	protoHIP         = 139
	protoShim6       = 140
	protoEthernet    = 143
)

// ip looks at the version.
func (w *walker) ip() step {
	b := w.rest()
	if len(b) < 1 {
		return w.short(1)
	}
	switch b[0] >> 4 {
	case 4:
		return w.ipv4()
	case 6:
		return w.ipv6()
	}
	return stop(Malformed)
}

// newIP forgets what an outer IP header said.
func (w *walker) newIP(has Info) {
	s := w.s
	s.Info = s.Info&^(NoLen|Fragment|HasIPID) | has
	if w.ips > 0 && s.Info&InICMP == 0 {
		s.Info |= Tunneled
	}
	w.ips++
}

// ipv4 reads the header of RFC 791, section 3.1.
func (w *walker) ipv4() step {
	b := w.rest()
	if len(b) < 20 {
		return w.short(20)
	}
	header := int(b[0]&15) * 4
	if b[0]>>4 != 4 || header < 20 {
		return stop(Malformed)
	}
	s := w.s
	w.newIP(HasIPID)
	s.IPID = uint32(binary.BigEndian.Uint16(b[4:]))
	s.ECN = b[1] & 3
	s.TTL = b[8]
	w.ends4(b)
	total := int(binary.BigEndian.Uint16(b[2:]))
	switch {
	case total == 0: // segmentation offload: the driver fills it in
		s.Info |= NoLen
	case total < header:
		return stop(Malformed)
	default:
		w.clamp(w.off + total)
	}
	if len(b) < header {
		return w.short(header)
	}
	w.open = s.Info&InICMP != 0
	if field := binary.BigEndian.Uint16(b[6:]); field&0x3fff != 0 {
		w.fragment(fragment{
			ip: w.off, payload: w.off + header, end: w.end, offset: int(field&0x1fff) * 8,
			id: s.IPID, proto: b[9], more: field&0x2000 != 0,
		})
		if field&0x1fff != 0 {
			return stop(LaterFragment)
		}
		s.Info |= Fragment
		w.open = true
	}
	w.off += header
	return ipProto(b[9])
}

// ipProto finds what is inside an IP packet, after all extension headers.
func ipProto(proto byte) step {
	switch proto {
	case protoTCP:
		return stepTCP
	case protoUDP:
		return stepUDP
	case protoICMP:
		return stepICMP
	case protoICMPv6:
		return stepICMPv6
	case protoIPIP, protoKA9Q:
		return stepIPv4
	case protoIPv6:
		return stepIPv6
	case protoGRE:
		return stepGRE
	case protoAH:
		return stepAH
	case protoESP:
		return stop(Encrypted)
	case protoEtherIP:
		return stepEtherIP
	case protoMPLS:
		return stepMPLS
	case protoEthernet:
		return stepEthernet
	}
	return stop(NotTCP)
}

// ipv6 reads the header of RFC 8200, section 3, and the extension headers.
func (w *walker) ipv6() step {
	b := w.rest()
	if len(b) < 40 {
		return w.short(40)
	}
	if b[0]>>4 != 6 {
		return stop(Malformed)
	}
	s := w.s
	w.newIP(0)
	s.IPID = 0
	s.ECN = b[1] >> 4 & 3
	s.TTL = b[7]
	s.Tuple.Local = tcp.Addr(b[8:24])
	s.Tuple.Remote = tcp.Addr(b[24:40])
	length, next := int(binary.BigEndian.Uint16(b[4:])), b[6]
	w.off += 40
	if length == 0 && next == protoHopByHop {
		length = jumbo(w.rest())
	}
	if length == 0 {
		s.Info |= NoLen
	} else {
		w.clamp(w.off + length)
	}
	w.open = s.Info&InICMP != 0
	return w.extensions(w.off-40, next)
}

// fragment keeps where the outermost IP packet is one that is not whole. What
// ICMP quotes never is.
func (w *walker) fragment(g fragment) {
	if w.frag.payload == 0 && w.s.Info&InICMP == 0 {
		w.frag = g
	}
}

// jumbo finds the jumbo payload option (RFC 2675) in a hop-by-hop header; 0 is
// none.
func jumbo(b []byte) int {
	if len(b) < 8 {
		return 0
	}
	b = b[2:min(len(b), 8+int(b[1])*8)]
	for len(b) > 0 {
		if b[0] == 0 { // Pad1
			b = b[1:]
			continue
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return 0
		}
		if b[0] == 0xc2 && b[1] == 4 {
			return int(binary.BigEndian.Uint32(b[2:]) & (1<<30 - 1))
		}
		b = b[2+int(b[1]):]
	}
	return 0
}

// extensions goes over the extension headers behind the IPv6 header at ip. Each
// of them takes at least 8 bytes.
func (w *walker) extensions(ip int, next byte) step {
	for {
		b := w.rest()
		var n int
		switch next {
		case protoHopByHop, protoRouting, protoDestination, protoMobility, protoHIP, protoShim6:
			if len(b) < 2 {
				return w.short(8)
			}
			n = 8 + int(b[1])*8
		case protoAH:
			if len(b) < 2 {
				return w.short(8)
			}
			n = max(8, 8+int(b[1])*4)
		case protoFragment:
			n = 8
			if len(b) < n {
				return w.short(n)
			}
			w.s.IPID = binary.BigEndian.Uint32(b[4:])
			w.s.Info |= HasIPID
			field := binary.BigEndian.Uint16(b[2:])
			if field&0xfff9 != 0 {
				w.fragment(fragment{
					ip: ip, header: w.off, payload: w.off + 8, end: w.end, offset: int(field &^ 7),
					id: w.s.IPID, proto: b[0], more: field&1 != 0, six: true,
				})
			}
			if field&0xfff8 != 0 {
				return stop(LaterFragment)
			}
			if field&1 != 0 {
				w.s.Info |= Fragment
				w.open = true
			}
		default:
			return ipProto(next)
		}
		if len(b) < n {
			return w.short(n)
		}
		switch next {
		case protoRouting:
			if i := finalDestination(b[:n]); i > 0 {
				w.s.Tuple.Remote = tcp.Addr(b[i : i+16])
			}
		case protoDestination:
			if i := homeAddress(b[:n]); i > 0 {
				w.s.Tuple.Local = tcp.Addr(b[i : i+16])
			}
		}
		next = b[0]
		w.off += n
	}
}

// finalDestination finds the address that a packet with a routing header is on
// its way to: of types 0 (RFC 2460), 2 (RFC 6275) and 4 (RFC 8754). Checksums
// and connections are about that one. 0 is none, or that it has arrived.
func finalDestination(b []byte) int {
	addresses := (len(b) - 8) / 16
	if b[3] == 0 || addresses == 0 {
		return 0
	}
	switch b[2] {
	case 0:
		return 8 + 16*(addresses-1)
	case 2, 4: // the only one; of segment lists the last comes first
		return 8
	}
	return 0
}

// homeAddress finds the option of that name (RFC 6275, section 6.3) in a
// destination options header: the real source.
func homeAddress(b []byte) int {
	for i := 2; i+1 < len(b); {
		if b[i] == 0 {
			i++
			continue
		}
		n := int(b[i+1])
		if b[i] == 0xc9 && n == 16 && i+18 <= len(b) {
			return i + 2
		}
		i += 2 + n
	}
	return 0
}

// ah skips the authentication header of IPv4 (RFC 4302, section 2).
func (w *walker) ah() step {
	b := w.rest()
	if len(b) < 12 {
		return w.short(12)
	}
	n := 8 + int(b[1])*4
	if len(b) < n {
		return w.short(n)
	}
	w.off += n
	return ipProto(b[0])
}

// icmp looks into the errors of RFC 792, which quote the packet they are about.
func (w *walker) icmp() step {
	b := w.rest()
	if len(b) < 8 {
		return w.short(8)
	}
	switch b[0] {
	case 3, 4, 5, 11, 12:
		return w.quoted(stepIPv4)
	}
	return stop(NotTCP)
}

// icmp6 does the same for RFC 4443.
func (w *walker) icmp6() step {
	b := w.rest()
	if len(b) < 8 {
		return w.short(8)
	}
	if b[0] >= 1 && b[0] <= 4 {
		return w.quoted(stepIPv6)
	}
	return stop(NotTCP)
}

func (w *walker) quoted(next step) step {
	if w.s.Info&InICMP != 0 { // errors are not sent about errors
		return stop(NotTCP)
	}
	w.s.Info |= InICMP
	w.open = true
	w.off += 8
	return next
}

// udp looks for tunnels by their ports.
func (w *walker) udp() step {
	b := w.rest()
	if len(b) < 8 {
		return w.short(8)
	}
	source, dest := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	if n := int(binary.BigEndian.Uint16(b[4:])); n >= 8 && !w.open {
		w.clamp(w.off + n)
	}
	w.off += 8
	if next := tunnel(dest); next != stop(NotTCP) {
		return next
	}
	return tunnel(source)
}

// tunnel names what UDP carries on a port of IANA's registry, or on one that a
// system uses in its place (8472: VXLAN on Linux).
func tunnel(port uint16) step {
	switch port {
	case 4789, 8472:
		return stepVXLAN
	case 4790:
		return stepVXLANGPE
	case 6081:
		return stepGeneve
	case 3544:
		return stepTeredo
	case 2152, 3386:
		return stepGTP
	case 1701:
		return stepL2TP
	case 4341:
		return stepLISP
	case 6635:
		return stepMPLS
	case 37008:
		return stepTZSP
	}
	return stop(NotTCP)
}
