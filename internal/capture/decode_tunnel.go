package capture

import "encoding/binary"

// gre reads RFC 2784 with the fields of RFC 2890 and RFC 1701, and the version
// for PPTP of RFC 2637.
func (w *walker) gre() step {
	b := w.rest()
	if len(b) < 4 {
		return w.short(4)
	}
	flags, proto := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	const checksum, routing, key, sequence, ack = 0x8000, 0x4000, 0x2000, 0x1000, 0x0080
	n := 4
	if flags&(checksum|routing) != 0 {
		n += 4
	}
	if flags&key != 0 {
		n += 4
	}
	if flags&sequence != 0 {
		n += 4
	}
	switch flags & 7 {
	case 0:
	case 1:
		if flags&ack != 0 {
			n += 4
		}
	default:
		return stop(NotTCP)
	}
	if flags&routing != 0 {
		for { // source route entries, the last of them empty
			if len(b) < n+4 {
				return w.short(n + 4)
			}
			length := int(b[n+3])
			n += 4 + length
			if length == 0 {
				break
			}
		}
	}
	if len(b) < n {
		return w.short(n)
	}
	w.off += n
	switch proto {
	case etypeERSPAN:
		if flags&sequence == 0 { // type I has no header of its own
			return stepEthernet
		}
		return w.skip(8, stepEthernet)
	case etypeERSPAN3:
		return w.erspan3()
	case etypeWCCP: // version 2 has a redirect header before the packet
		if b = w.rest(); len(b) > 0 && b[0]>>4 != 4 {
			return w.skip(4, stepIPv4)
		}
		return stepIPv4
	}
	if next := etherType(proto); next != stop(UnknownEtherType) {
		return next
	}
	return stop(NotTCP)
}

// erspan3 reads the header of type III, draft-foschiano-erspan.
func (w *walker) erspan3() step {
	b := w.rest()
	if len(b) < 12 {
		return w.short(12)
	}
	n := 12
	if b[11]&1 != 0 {
		n += 8
	}
	if b[10]>>2&0x1f == 2 {
		return w.skip(n, stepIP)
	}
	return w.skip(n, stepEthernet)
}

// vxlanGPE reads draft-ietf-nvo3-vxlan-gpe.
func (w *walker) vxlanGPE() step {
	b := w.rest()
	if len(b) < 8 {
		return w.short(8)
	}
	if b[0]&4 == 0 { // no next protocol
		return w.skip(8, stepEthernet)
	}
	return w.skip(8, nextProtocol(b[3]))
}

// geneve reads RFC 8926, section 3.4.
func (w *walker) geneve() step {
	b := w.rest()
	if len(b) < 8 {
		return w.short(8)
	}
	if b[0]>>6 != 0 {
		return stop(NotTCP)
	}
	next := etherType(binary.BigEndian.Uint16(b[2:]))
	if next == stop(UnknownEtherType) {
		next = stop(NotTCP)
	}
	return w.skip(8+int(b[0]&0x3f)*4, next)
}

// teredo goes over the indications of RFC 4380, section 5.1.1.
func (w *walker) teredo() step {
	b := w.rest()
	n := 0
	if len(b) >= 4 && b[0] == 0 && b[1] == 1 { // authentication
		n = 13 + int(b[2]) + int(b[3])
	}
	if len(b) >= n+2 && b[n] == 0 && b[n+1] == 0 { // origin
		n += 8
	}
	if len(b) <= n {
		return w.short(n + 1)
	}
	if b[n]>>4 != 6 {
		return stop(NotTCP)
	}
	w.off += n
	return stepIPv6
}

// gtp reads the user plane of GTP: version 1 (3GPP TS 29.281, section 5.1) and
// version 0 (GSM 09.60).
func (w *walker) gtp() step {
	b := w.rest()
	if len(b) < 8 {
		return w.short(8)
	}
	if b[1] != 0xff { // not a T-PDU
		return stop(NotTCP)
	}
	n := 8
	switch b[0] >> 4 & 0xf { // version and protocol type
	case 1:
		n = 20
	case 3:
		if b[0]&7 != 0 {
			if len(b) < 12 {
				return w.short(12)
			}
			n = 12
			more := byte(0)
			if b[0]&4 != 0 {
				more = b[11]
			}
			for more != 0 {
				if len(b) <= n {
					return w.short(n + 1)
				}
				length := int(b[n]) * 4
				if length == 0 {
					return stop(Malformed)
				}
				n += length
				if len(b) < n {
					return w.short(n)
				}
				more = b[n-1]
			}
		}
	default:
		return stop(NotTCP)
	}
	if len(b) <= n {
		return w.short(n + 1)
	}
	w.off += n
	switch b[n] >> 4 {
	case 4, 6:
		return stepIP
	case 0xf:
		return stepPPP
	}
	return stop(NotTCP)
}

// l2tp reads data messages of version 2, RFC 2661, section 3.1.
func (w *walker) l2tp() step {
	b := w.rest()
	if len(b) < 6 {
		return w.short(6)
	}
	flags := binary.BigEndian.Uint16(b)
	const control, length, sequence, offset = 0x8000, 0x4000, 0x0800, 0x0200
	if flags&control != 0 || flags&15 != 2 {
		return stop(NotTCP)
	}
	n := 6
	if flags&length != 0 {
		n += 2
	}
	if flags&sequence != 0 {
		n += 4
	}
	if flags&offset != 0 {
		if len(b) < n+2 {
			return w.short(n + 2)
		}
		n += 2 + int(binary.BigEndian.Uint16(b[n:]))
	}
	return w.skip(n, stepPPP)
}

// tzsp reads TaZmen Sniffer Protocol, as access points and routers send it.
func (w *walker) tzsp() step {
	b := w.rest()
	if len(b) < 5 {
		return w.short(5)
	}
	if b[0] != 1 || b[1] > 1 {
		return stop(NotTCP)
	}
	n := 4
	for {
		if len(b) <= n {
			return w.short(n + 1)
		}
		tag := b[n]
		n++
		if tag == 1 {
			break
		}
		if tag == 0 {
			continue
		}
		if len(b) <= n {
			return w.short(n + 1)
		}
		n += 1 + int(b[n])
	}
	switch binary.BigEndian.Uint16(b[2:]) {
	case 1:
		return w.skip(n, stepEthernet)
	case 18:
		return w.skip(n, step80211)
	}
	return stop(NotIP)
}
