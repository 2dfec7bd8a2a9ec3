package capture

import "encoding/binary"

// Ethertypes, from IANA's and IEEE's registries.
const (
	etypeIPv4         = 0x0800
	etypeTRILL        = 0x22f3
	etypeERSPAN3      = 0x22eb
	etypeBridged      = 0x6558 // Ethernet in something else
	etypeFrameRelay   = 0x6559
	etypeVLAN         = 0x8100
	etypeIPv6         = 0x86dd
	etypePPP          = 0x880b
	etypeMPLS         = 0x8847
	etypeMPLSUpstream = 0x8848
	etypePPPoE        = 0x8864
	etypeQinQ         = 0x88a8
	etypeERSPAN       = 0x88be
	etypeMACsec       = 0x88e5
	etypePBB          = 0x88e7
	etypeFabricPath   = 0x8903
	etypeMetadata     = 0x8909
	etypeVNTag        = 0x8926
	etypeNSH          = 0x894f
	etypeQinQOld      = 0x9100
	etypeQinQOlder    = 0x9200
	etypeWCCP         = 0x883e
)

// etherType finds what an ethertype announces.
func etherType(t uint16) step {
	switch t {
	case etypeIPv4:
		return stepIPv4
	case etypeIPv6:
		return stepIPv6
	case etypeVLAN, etypeQinQ, etypeQinQOld, etypeQinQOlder:
		return stepVLAN
	case etypeMPLS, etypeMPLSUpstream:
		return stepMPLS
	case etypePPPoE:
		return stepPPPoE
	case etypePPP:
		return stepPPP
	case etypeBridged:
		return stepEthernet
	case etypeFrameRelay:
		return stepFrameRelay
	case etypePBB:
		return stepPBB
	case etypeFabricPath:
		return stepFabricPath
	case etypeNSH:
		return stepNSH
	case etypeVNTag:
		return stepVNTag
	case etypeMetadata:
		return stepMetadata
	case etypeTRILL:
		return stepTRILL
	case etypeMACsec:
		return stepMACsec
	case 0x0806, 0x8035: // ARP, RARP
		return stepARP
	case 0x8137, 0x809b, 0x80f3, // IPX, AppleTalk and its ARP
		0x8808, 0x8809, 0x8863, 0x888e, // pause, slow protocols, PPPoE discovery, EAPOL
		0x8892, 0x88a4, 0x88b8, 0x88cc, // PROFINET, EtherCAT, GOOSE, LLDP
		0x88f7, 0x8902, 0x8906, 0x8914, 0x9000: // PTP, CFM, FCoE and its setup, loopback test
		return stop(NotIP)
	}
	return stop(UnknownEtherType)
}

// skip goes over n bytes of which nothing is needed.
func (w *walker) skip(n int, next step) step {
	if len(w.rest()) < n {
		return w.short(n)
	}
	w.off += n
	return next
}

// skipEtherType goes over n bytes and an ethertype behind them.
func (w *walker) skipEtherType(n int) step {
	b := w.rest()
	if len(b) < n+2 {
		return w.short(n + 2)
	}
	w.off += n + 2
	return w.typeOrLength(binary.BigEndian.Uint16(b[n:]))
}

// ethernet reads the header of IEEE 802.3, without preamble.
func (w *walker) ethernet() step {
	b := w.rest()
	if len(b) < 14 {
		return w.short(14)
	}
	t := binary.BigEndian.Uint16(b[12:])
	if t == etypeIPv4 {
		w.off += 14
		return stepIPv4
	}
	if isISL(b) {
		w.off += 26
		return stepEthernet
	}
	w.off += 14
	return w.typeOrLength(t)
}

// isISL knows the header of 26 bytes that Cisco's inter-switch link puts before
// a frame.
func isISL(b []byte) bool {
	return len(b) >= 26 && string(b[:5]) == "\x01\x00\x0c\x00\x00" && string(b[14:17]) == "\xaa\xaa\x03"
}

// typeOrLength tells Ethernet II from 802.3, where a length is in the place of
// the type (IEEE 802.3, section 3.2.6).
func (w *walker) typeOrLength(t uint16) step {
	if t >= 0x600 {
		return etherType(t)
	}
	if t > 1500 {
		return stop(UnknownEtherType)
	}
	w.clamp(w.off + int(t))
	if b := w.rest(); len(b) >= 2 && b[0] == 0xff && b[1] == 0xff {
		return stop(NotIP) // Novell's raw 802.3
	}
	return stepLLC
}

// vlan reads a tag of IEEE 802.1Q, section 9.6.
func (w *walker) vlan() step {
	b := w.rest()
	if len(b) < 4 {
		return w.short(4)
	}
	w.s.VLAN = binary.BigEndian.Uint16(b) & 0xfff
	w.s.Info |= HasVLAN
	w.off += 4
	return w.typeOrLength(binary.BigEndian.Uint16(b[2:]))
}

// llc reads IEEE 802.2 and, behind it, SNAP.
func (w *walker) llc() step {
	b := w.rest()
	if len(b) < 3 {
		return w.short(3)
	}
	if b[2]&3 != 3 { // a numbered frame
		return stop(NotIP)
	}
	switch dsap := b[0]; dsap {
	case 0x06:
		w.off += 3
		return stepIPv4
	case 0xfe:
		w.off += 3
		return w.nlpid()
	case 0xaa, 0xab:
		if len(b) < 8 {
			return w.short(8)
		}
		t := binary.BigEndian.Uint16(b[6:])
		w.off += 8
		switch string(b[3:6]) {
		case "\x00\x00\x00", "\x00\x00\xf8": // RFC 1042, IEEE 802.1H
			return etherType(t)
		case "\x00\x80\xc2": // RFC 2684: bridged
			switch t {
			case 1, 7:
				if w.link == LinkATM {
					return w.skip(2, stepEthernet)
				}
				return stepEthernet
			case 3, 9:
				return w.skip(1, stepTokenRing)
			case 4, 10:
				return w.skip(3, stepFDDI)
			}
		}
	}
	return stop(NotIP)
}

// nlpid reads a network layer protocol identifier, as in RFC 2427.
func (w *walker) nlpid() step {
	b := w.rest()
	if len(b) < 1 {
		return w.short(1)
	}
	w.off++
	switch b[0] {
	case 0xcc:
		return stepIPv4
	case 0x8e:
		return stepIPv6
	case 0xcf:
		return stepPPP
	case 0x80: // SNAP
		if len(b) < 6 {
			return w.short(6)
		}
		w.off += 5
		t := binary.BigEndian.Uint16(b[4:])
		switch string(b[1:4]) {
		case "\x00\x00\x00":
			return etherType(t)
		case "\x00\x80\xc2":
			if t == 1 || t == 7 {
				return stepEthernet
			}
		}
	}
	return stop(NotIP)
}

// mpls goes to the bottom of a label stack (RFC 3032). What is below it says
// only its first nibble, as in RFC 4928.
func (w *walker) mpls() step {
	b := w.rest()
	if len(b) < 4 {
		return w.short(4)
	}
	w.off += 4
	if b[2]&1 == 0 {
		return stepMPLS
	}
	if len(b) < 5 {
		return w.short(1)
	}
	switch b[4] >> 4 {
	case 4:
		return stepIPv4
	case 6:
		return stepIPv6
	case 0: // control word of a pseudowire, RFC 4385
		return w.skip(4, stepEthernet)
	case 1:
		return stop(NotIP)
	}
	return stepEthernet
}

// pppoe reads a session header, RFC 2516, section 4.
func (w *walker) pppoe() step {
	b := w.rest()
	if len(b) < 6 {
		return w.short(6)
	}
	if b[1] != 0 {
		return stop(NotIP)
	}
	w.off += 6
	w.clamp(w.off + int(binary.BigEndian.Uint16(b[4:])))
	return stepPPP
}

// ppp reads the protocol of RFC 1661, with or without the address and control
// fields of RFC 1662, both of them perhaps compressed.
func (w *walker) ppp() step {
	b := w.rest()
	if len(b) >= 2 && b[0] == 0xff && b[1] == 0x03 {
		b = b[2:]
		w.off += 2
	}
	if len(b) < 1 {
		return w.short(2)
	}
	proto, n := uint16(b[0]), 1
	if proto&1 == 0 {
		if len(b) < 2 {
			return w.short(2)
		}
		proto, n = proto<<8|uint16(b[1]), 2
	}
	w.off += n
	switch proto {
	case 0x0021:
		return stepIPv4
	case 0x0057:
		return stepIPv6
	case 0x0281, 0x0283:
		return stepMPLS
	case 0x0031: // bridged, RFC 3518
		return w.skip(2, stepEthernet)
	case 0x003d: // multilink, RFC 1990: only what is in one piece
		if b = b[n:]; len(b) < 4 {
			return w.short(4)
		}
		if b[0]&0xc0 != 0xc0 {
			return stop(LaterFragment)
		}
		return w.skip(4, stepPPP)
	case 0x0053, 0x0055:
		return stop(Encrypted)
	}
	return stop(NotIP)
}

// nsh reads the network service header, RFC 8300, section 2.
func (w *walker) nsh() step {
	b := w.rest()
	if len(b) < 8 {
		return w.short(8)
	}
	n := int(b[1]&0x3f) * 4
	if n < 8 {
		return stop(Malformed)
	}
	return w.skip(n, nextProtocol(b[3]))
}

// nextProtocol is the numbering that NSH and VXLAN-GPE share.
func nextProtocol(p byte) step {
	switch p {
	case 1:
		return stepIPv4
	case 2:
		return stepIPv6
	case 3:
		return stepEthernet
	case 4:
		return stepNSH
	case 5:
		return stepMPLS
	}
	return stop(NotIP)
}

// metadata reads Cisco's tag of that name: version, length, options.
func (w *walker) metadata() step {
	b := w.rest()
	if len(b) < 2 {
		return w.short(2)
	}
	return w.skipEtherType(2 + int(b[1])*4)
}

// trill reads the header of RFC 6325, section 3.
func (w *walker) trill() step {
	b := w.rest()
	if len(b) < 6 {
		return w.short(6)
	}
	options := int(binary.BigEndian.Uint16(b)>>6&0x1f) * 4
	return w.skip(6+options, stepEthernet)
}

// macsec reads the tag of IEEE 802.1AE, section 9; without the E bit the data
// is in clear.
func (w *walker) macsec() step {
	b := w.rest()
	if len(b) < 6 {
		return w.short(6)
	}
	if b[0]&0x08 != 0 {
		return stop(Encrypted)
	}
	n := 6
	if b[0]&0x20 != 0 {
		n += 8
	}
	return w.skipEtherType(n)
}
