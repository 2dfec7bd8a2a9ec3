package capture

import "encoding/binary"

// rewrite replaces the addresses of every header that was found.
func (a *Anonymizer) rewrite(link LinkType) {
	if a.trace.n == 0 {
		return
	}
	for _, t := range a.trace.at[:a.trace.n] {
		b := a.buf[t.off:]
		switch t.step {
		case stepEthernet:
			if !isISL(b) {
				a.hardware(b, 0, 6)
			}
			a.hardware(b, 6, 6)
		case stepPBB: // tag, then the customer's addresses
			a.hardware(b, 4, 6)
			a.hardware(b, 10, 6)
		case stepFDDI:
			a.hardware(b, 1, 6)
			a.hardware(b, 7, 6)
		case stepTokenRing:
			a.hardware(b, 2, 6)
			a.ringSource(b)
		case step80211:
			a.ieee80211(b)
		case stepLink:
			a.linkHeader(link, b)
		case stepARP:
			a.arp(b)
		case stepIP, stepIPv4, stepIPv6:
			switch {
			case t.step != stepIPv6 && is4(b):
				a.ipv4(b)
			case t.step != stepIPv4 && is6(b):
				a.ipv6(t.off)
			default: // perhaps half an address
				clear(b[min(len(b), 8):min(len(b), 40)])
			}
		case stepTeredo:
			a.teredo(b)
		case stepICMP:
			if len(b) >= 8 && b[0] == 5 { // redirect: the gateway
				a.four(b[4:8])
			}
		case stepTCP:
			a.tcpOptions(b)
		default: // no addresses
		}
	}
}

func (a *Anonymizer) four(b []byte) {
	in := [4]byte(b)
	if keep4(in) {
		return
	}
	out := a.pan.four(in)
	for keep4(out) { // what stays must not get a double
		out = a.pan.four(out)
	}
	copy(b, out[:])
}

func (a *Anonymizer) six(b []byte) {
	in := [16]byte(b)
	if keep6(in) {
		return
	}
	out := a.pan.six(in)
	for keep6(out) {
		out = a.pan.six(out)
	}
	copy(b, out[:])
}

// keep4 names the addresses that say nothing about anyone.
func keep4(b [4]byte) bool {
	return b == [4]byte{} || b == [4]byte{127, 0, 0, 1} || b == [4]byte{255, 255, 255, 255}
}

func keep6(b [16]byte) bool { return b == [16]byte{} || b == [16]byte{15: 1} }

// hardware replaces a link layer address of n bytes at an offset, as far as it
// was captured. Zeros and broadcast stay, and so does the bit for groups.
func (a *Anonymizer) hardware(b []byte, at, n int) {
	if at >= len(b) {
		return
	}
	b = b[at:min(len(b), at+n)]
	var in, out [16]byte
	copy(in[:], b)
	ones := true
	for _, c := range b {
		ones = ones && c == 0xff
	}
	if ones || in == [16]byte{} {
		return
	}
	in[15] = byte(n)
	a.mac.Encrypt(out[:], in[:])
	out[0] = out[0]&^3 | in[0]&1
	if in[0]&1 == 0 {
		out[0] |= 2
	}
	copy(b, out[:])
}

// ringSource keeps the bit that announces source routing.
func (a *Anonymizer) ringSource(b []byte) {
	if len(b) < 9 {
		return
	}
	routed := b[8] & 0x80
	b[8] &^= 0x80
	a.hardware(b, 8, 6)
	b[8] = b[8]&^0x80 | routed
}

// ieee80211 replaces the addresses of any 802.11 frame: up to three, a fourth
// between access points, and two in an aggregate.
func (a *Anonymizer) ieee80211(b []byte) {
	if len(b) < 2 {
		return
	}
	const toDS, fromDS = 0x01, 0x02
	kind, subtype, flags := b[0]>>2&3, b[0]>>4, b[1]
	a.hardware(b, 4, 6)
	a.hardware(b, 10, 6)
	if kind == 1 { // control frames have no more
		return
	}
	a.hardware(b, 16, 6)
	n := 24
	if flags&(toDS|fromDS) == toDS|fromDS {
		a.hardware(b, 24, 6)
		n = 30
	}
	if kind != 2 || subtype&8 == 0 || len(b) < n+2 || b[n]&0x80 == 0 {
		return
	}
	n += 2
	if flags&0x80 != 0 {
		n += 4
	}
	// The header may be padded; addresses are then two bytes on. Both places
	// are before the LLC header of a frame that is long enough.
	if next := a.after(step80211); next > 0 {
		start := next - 14 - (len(a.buf) - len(b))
		if start >= n {
			n = start
		}
	}
	a.hardware(b, n, 6)
	a.hardware(b, n+6, 6)
}

// after is where the header behind the given one begins; 0 is none.
func (a *Anonymizer) after(s step) int {
	for i, t := range a.trace.at[:a.trace.n] {
		if t.step == s && i+1 < a.trace.n {
			return a.trace.at[i+1].off
		}
	}
	return 0
}

// linkHeader replaces what the headers of captures have of addresses, and
// blanks names.
func (a *Anonymizer) linkHeader(link LinkType, b []byte) {
	switch link {
	case LinkLinuxSLL:
		if len(b) >= 14 {
			a.hardware(b, 6, min(int(binary.BigEndian.Uint16(b[4:])), 8))
		}
	case LinkLinuxSLL2:
		if len(b) >= 20 {
			a.hardware(b, 12, min(int(b[11]), 8))
		}
	case LinkDSATag, LinkDSATagBRCM, LinkEDSATag:
		a.hardware(b, 0, 6)
		a.hardware(b, 6, 6)
	case LinkIPOver1394:
		a.hardware(b, 0, 8)
		a.hardware(b, 8, 8)
	case LinkIPOverFC:
		a.hardware(b, 2, 6)
		a.hardware(b, 10, 6)
	case LinkIPOIB: // the global routing header has two addresses like IPv6
		if len(b) >= 40 {
			a.six(b[8:24])
			a.six(b[24:40])
		}
	case LinkPFLog: // interface, rule set, and in newer ones process and user
		if len(b) >= 4 {
			a.blank(b, 4, (int(b[0])+3)&^3)
		}
	case LinkPKTAP: // interface and processes
		if len(b) >= 12 {
			a.blank(b, 12, int(min(binary.LittleEndian.Uint32(b), 1<<16)))
		}
	case LinkNFLog:
		if next := a.after(stepLink); next >= 8 {
			a.nflog(b[:min(len(b), next)])
		} else {
			clear(b[min(len(b), 4):])
		}
	default:
	}
}

func (a *Anonymizer) blank(b []byte, from, to int) {
	if to = min(to, len(b)); from < to {
		clear(b[from:to])
	}
}

// nflog blanks the values of all attributes; b ends where the packet begins.
func (a *Anonymizer) nflog(b []byte) {
	var order binary.ByteOrder = binary.LittleEndian
	if n := int(order.Uint16(b[4:])); n < 4 || n > len(b) {
		order = binary.BigEndian
	}
	for at := 4; at+4 <= len(b); {
		n := int(order.Uint16(b[at:]))
		if n < 4 || order.Uint16(b[at+2:]) == 9 { // the packet
			return
		}
		a.blank(b, at+4, at+n)
		at += (n + 3) &^ 3
	}
}

func (a *Anonymizer) arp(b []byte) {
	if !isARP(b) {
		clear(b)
		return
	}
	a.hardware(b, 8, 6)
	a.four(b[14:18])
	a.hardware(b, 18, 6)
	a.four(b[24:28])
}

// ipv4 replaces the addresses of a header and those in its options: routes and
// time stamps (RFC 791, section 3.1).
func (a *Anonymizer) ipv4(b []byte) {
	a.four(b[12:16])
	a.four(b[16:20])
	o := b[20:min(len(b), max(20, int(b[0]&15)*4))]
	for len(o) > 0 {
		if o[0] == 0 {
			return
		}
		if o[0] == 1 {
			o = o[1:]
			continue
		}
		if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
			clear(o)
			return
		}
		v := o[:o[1]]
		o = o[o[1]:]
		switch v[0] {
		case 7, 131, 137: // record route, loose and strict source routes
			for i := 3; i < len(v); i += 4 {
				if i+4 > len(v) {
					clear(v[i:])
					break
				}
				a.four(v[i : i+4])
			}
		case 68: // time stamps, each behind its address if the flags are 1 or 3
			if len(v) >= 4 && v[3]&15 != 0 {
				for i := 4; i+4 <= len(v); i += 8 {
					a.four(v[i : i+4])
				}
			}
		}
	}
}

// ipv6 replaces the addresses of a header and those in its extension headers.
func (a *Anonymizer) ipv6(off int) {
	a.six(a.buf[off+8 : off+24])
	a.six(a.buf[off+24 : off+40])
	a.eachRouting(off, true, func(at, _ int) { a.six(a.buf[at : at+16]) },
		func(home int) { a.six(a.buf[home : home+16]) })
}

// teredo blanks keys, and the address that the origin indication gives.
func (a *Anonymizer) teredo(b []byte) {
	n := 0
	if len(b) >= 4 && b[0] == 0 && b[1] == 1 {
		n = 13 + int(b[2]) + int(b[3])
		a.blank(b, 4, n)
	}
	if len(b) >= n+2 && b[n] == 0 && b[n+1] == 0 {
		a.blank(b, n+2, n+8)
	}
}

// eachRouting hands over the offset of every address in the routing headers
// behind an IPv6 header (types 0, 2 and 4), together with that of the final
// destination where the packet is still on its way, else 0; and the offset of a
// home address (RFC 6275, section 6.3), which is the real source. With blank
// set, routing headers of other types are.
func (a *Anonymizer) eachRouting(off int, blank bool, route func(at, final int), home func(at int)) {
	next, at := a.buf[off+6], off+40
	for {
		b := a.buf[at:]
		if len(b) < 8 {
			return
		}
		n := 8 + int(b[1])*8
		switch next {
		case protoHopByHop, protoMobility, protoHIP, protoShim6:
		case protoFragment:
			n = 8
			if binary.BigEndian.Uint16(b[2:])&0xfff8 != 0 {
				return
			}
		case protoAH:
			n = max(8, 8+int(b[1])*4)
		case protoDestination:
			if len(b) < n {
				if blank {
					clear(b[2:])
				}
				return
			}
			if i := homeAddress(b[:n]); i > 0 {
				home(at + i)
			}
		case protoRouting:
			if len(b) < n { // perhaps half an address
				if blank {
					clear(b[4:])
				}
				return
			}
			a.routing(at, n, blank, route)
		default:
			return
		}
		if len(b) < n {
			return
		}
		next = b[0]
		at += n
	}
}

func (a *Anonymizer) routing(at, n int, blank bool, route func(at, final int)) {
	b := a.buf[at : at+n]
	kind := b[2]
	if kind != 0 && kind != 2 && kind != 4 {
		if blank {
			clear(b[8:])
		}
		return
	}
	addresses := (n - 8) / 16
	if kind == 4 { // options may follow the list of segments
		addresses = min(addresses, int(b[4])+1)
	}
	final := finalDestination(b)
	if final > 0 {
		final += at
	}
	for i := range addresses {
		route(at+8+16*i, final)
	}
	if rest := 8 + 16*addresses; blank && kind != 4 && rest < n {
		clear(b[rest:])
	}
}

// tcpOptions replaces the addresses that multipath TCP announces (RFC 8684,
// section 3.4.1).
func (a *Anonymizer) tcpOptions(b []byte) {
	if len(b) < 20 {
		return
	}
	b = b[20:min(len(b), max(20, int(b[12]>>4)*4))]
	for len(b) >= 2 {
		switch {
		case b[0] == optEnd:
			return
		case b[0] == optNop:
			b = b[1:]
			continue
		case b[1] < 2:
			return
		}
		o := b[:min(int(b[1]), len(b))]
		b = b[len(o):]
		if o[0] != optMPTCP || len(o) < 4 || o[2]>>4 != 3 {
			continue
		}
		switch n := int(o[1]); { // with or without port and HMAC
		case n >= 8 && n <= 18 && len(o) >= 8:
			a.four(o[4:8])
		case n >= 20 && len(o) >= 20:
			a.six(o[4:20])
		default:
			clear(o[4:])
		}
	}
}
