package capture

import "encoding/binary"

// linkStep finds the first header of a frame.
func linkStep(l LinkType) step {
	switch l {
	case LinkEthernet:
		return stepEthernet
	case LinkRaw, LinkRawBSD, LinkRawOpenBSD:
		return stepIP
	case LinkIPv4:
		return stepIPv4
	case LinkIPv6:
		return stepIPv6
	case LinkPPP:
		return stepPPP
	case LinkPPPEther:
		return stepPPPoE
	case LinkFrameRelay:
		return stepFrameRelay
	case LinkMPLS:
		return stepMPLS
	case LinkIEEE80211:
		return step80211
	case LinkRadiotap:
		return stepRadiotap
	case LinkTokenRing:
		return stepTokenRing
	case LinkFDDI:
		return stepFDDI
	case LinkATM:
		return stepLLC
	default:
		return stepLink
	}
}

// linkHeader reads the headers that only stand at the begin of a frame. They
// are described at the registry of link types.
func (w *walker) linkHeader() step {
	switch w.link {
	case LinkNull, LinkLoop:
		return w.null()
	case LinkLinuxSLL:
		return w.sll()
	case LinkLinuxSLL2:
		return w.sll2()
	case LinkPPPHDLC:
		return w.pppHDLC()
	case LinkPPPD:
		return w.pppd()
	case LinkCHDLC:
		return w.chdlc()
	case LinkPPPWithDir:
		return w.skip(1, stepPPP)
	case LinkFrameRelayDir:
		return w.skip(1, stepFrameRelay)
	case LinkCHDLCWithDir:
		if len(w.rest()) < 1 {
			return w.short(1)
		}
		w.off++
		return w.chdlc()
	case LinkPrism:
		return w.prism()
	case LinkAVS:
		return w.avs()
	case LinkARCNETBSD:
		return w.arcnet(2)
	case LinkARCNETLinux:
		return w.arcnet(4)
	case LinkSLIP:
		return w.skip(16, stepIP)
	case LinkSunATM:
		return w.sunATM()
	case LinkEnc:
		return w.enc()
	case LinkPFLog:
		return w.pflog()
	case LinkIPOverFC:
		return w.skip(16, stepLLC)
	case LinkIPOver1394:
		return w.skipEtherType(16)
	case LinkIPOIB:
		return w.ipoib()
	case LinkIPNet:
		return w.ipnet()
	case LinkNFLog:
		return w.nflog()
	case LinkPKTAP:
		return w.pktap()
	case LinkPPI:
		return w.ppi()
	case LinkERF:
		return w.erf()
	case LinkNetAnalyzer:
		return w.skip(4, stepEthernet)
	case LinkNetAnalyzerRaw:
		return w.skip(12, stepEthernet)
	case LinkEPON, LinkEthernetMPacket:
		return w.skip(8, stepEthernet)
	case LinkDSATagBRCMBefore:
		return w.skip(4, stepEthernet)
	case LinkDSATagBRCM, LinkDSATag:
		return w.skipEtherType(16)
	case LinkEDSATag:
		return w.skipEtherType(20)
	case LinkJuniperEther, LinkJuniperPPP, LinkJuniperFrameRelay, LinkJuniperCHDLC, LinkJuniperPPPoE:
		return w.juniper()
	default:
		return stop(UnknownLink)
	}
}

// inner goes on with a frame of another link type.
func (w *walker) inner(n int, l LinkType) step {
	w.link = l
	return w.skip(n, linkStep(l))
}

// null reads an address family in the byte order of the host that captured, and
// with the number that this host's system has for it.
func (w *walker) null() step {
	b := w.rest()
	if len(b) < 4 {
		return w.short(4)
	}
	if b[0] == 0xff && b[1] == 0x03 {
		return stepPPP
	}
	w.off += 4
	family := binary.BigEndian.Uint32(b)
	if family > 0xffff {
		family = binary.LittleEndian.Uint32(b)
	}
	switch family {
	case 2:
		return stepIPv4
	case 10, 23, 24, 28, 30: // Linux, Windows, NetBSD and OpenBSD, FreeBSD, Darwin
		return stepIPv6
	}
	if family >= 0x600 && family <= 0xffff {
		return etherType(uint16(family))
	}
	return stop(NotIP)
}

// sll reads what Linux gives in the place of a link layer header.
func (w *walker) sll() step {
	b := w.rest()
	if len(b) < 16 {
		return w.short(16)
	}
	w.off += 16
	return w.sllProtocol(binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint16(b[14:]))
}

func (w *walker) sll2() step {
	b := w.rest()
	if len(b) < 20 {
		return w.short(20)
	}
	w.off += 20
	return w.sllProtocol(binary.BigEndian.Uint16(b[8:]), binary.BigEndian.Uint16(b))
}

// sllProtocol takes the ARPHRD_ type of the device and the protocol, which is
// below 0x600 where Linux has no ethertype for it.
func (w *walker) sllProtocol(hardware, proto uint16) step {
	switch hardware {
	case 803: // ARPHRD_IEEE80211_RADIOTAP
		return stepRadiotap
	case 824: // ARPHRD_NETLINK
		return stop(NotIP)
	}
	if proto == 4 { // ETH_P_802_2
		return stepLLC
	}
	if proto < 0x600 {
		return stop(NotIP)
	}
	return etherType(proto)
}

func (w *walker) chdlc() step {
	b := w.rest()
	if len(b) < 4 {
		return w.short(4)
	}
	w.off += 4
	t := binary.BigEndian.Uint16(b[2:])
	if t < 0x600 {
		return stop(NotIP)
	}
	return etherType(t)
}

// pppHDLC is PPP or Cisco's HDLC; the first byte tells which.
func (w *walker) pppHDLC() step {
	b := w.rest()
	if len(b) < 2 {
		return w.short(2)
	}
	if b[0] == 0x0f || b[0] == 0x8f {
		return w.chdlc()
	}
	return stepPPP
}

// pppd has the direction in the place of the address, or before it.
func (w *walker) pppd() step {
	b := w.rest()
	if len(b) < 2 {
		return w.short(2)
	}
	if b[0] <= 1 {
		if b[1] == 0x03 {
			return w.skip(2, stepPPP)
		}
		return w.skip(1, stepPPP)
	}
	return stepPPP
}

// frameRelay reads the address of Q.922 and what RFC 2427 puts behind it, or
// the ethertype that Cisco does.
func (w *walker) frameRelay() step {
	b := w.rest()
	n := 0
	for {
		if n == len(b) {
			return w.short(n + 1)
		}
		n++
		if b[n-1]&1 != 0 {
			break
		}
		if n == 4 {
			return stop(Malformed)
		}
	}
	if len(b) < n+2 {
		return w.short(n + 2)
	}
	if t := binary.BigEndian.Uint16(b[n:]); t >= 0x600 {
		w.off += n + 2
		return etherType(t)
	}
	if b[n] != 0x03 {
		return stop(NotIP)
	}
	n++
	if b[n] == 0 && len(b) > n+1 { // padding
		n++
	}
	w.off += n
	return w.nlpid()
}

// tokenRing reads IEEE 802.5 with its source routing.
func (w *walker) tokenRing() step {
	b := w.rest()
	if len(b) < 14 {
		return w.short(14)
	}
	if b[1]&0xc0 != 0x40 { // frames of the ring itself
		return stop(NotIP)
	}
	n := 14
	if b[8]&0x80 != 0 {
		if len(b) < 16 {
			return w.short(16)
		}
		n += int(b[14] & 0x1f)
	}
	return w.skip(n, stepLLC)
}

func (w *walker) fddi() step {
	b := w.rest()
	if len(b) < 13 {
		return w.short(13)
	}
	if b[0]&0xe0 != 0x40 { // not LLC
		return stop(NotIP)
	}
	return w.skip(13, stepLLC)
}

// arcnet reads the header of ARCNET with the type at offset n. The newer
// encapsulation, RFC 1201, adds three bytes for fragments.
func (w *walker) arcnet(n int) step {
	b := w.rest()
	if len(b) < n+1 {
		return w.short(n + 1)
	}
	const ip1051, ip, ip6 = 240, 212, 196
	switch b[n] {
	case ip1051:
		return w.skip(n+1, stepIPv4)
	case ip, ip6:
		next := stepIPv4
		if b[n] == ip6 {
			next = stepIPv6
		}
		if len(b) < n+4 {
			return w.short(n + 4)
		}
		switch flag := b[n+1]; {
		case flag == 0xff: // exception frame
			return w.skip(n+8, next)
		case flag != 0 && flag&1 == 0:
			return stop(LaterFragment)
		}
		return w.skip(n+4, next)
	}
	return stop(NotIP)
}

func (w *walker) sunATM() step {
	b := w.rest()
	if len(b) < 4 {
		return w.short(4)
	}
	if b[0]&15 != 2 { // not LLC
		return stop(NotIP)
	}
	w.link = LinkATM
	return w.skip(4, stepLLC)
}

// enc: family in host order, SPI, flags.
func (w *walker) enc() step {
	if len(w.rest()) < 12 {
		return w.short(12)
	}
	w.off += 12
	return stepIP
}

// pflog: the first byte is the length, to be rounded up.
func (w *walker) pflog() step {
	b := w.rest()
	if len(b) < 2 {
		return w.short(2)
	}
	n := (int(b[0]) + 3) &^ 3
	switch b[1] {
	case 2:
		return w.skip(n, stepIPv4)
	case 10, 24, 28, 30:
		return w.skip(n, stepIPv6)
	}
	return stop(NotIP)
}

func (w *walker) ipoib() step {
	b := w.rest()
	if len(b) < 44 {
		return w.short(44)
	}
	w.off += 44
	return etherType(binary.BigEndian.Uint16(b[40:]))
}

func (w *walker) ipnet() step {
	b := w.rest()
	if len(b) < 24 {
		return w.short(24)
	}
	switch b[1] {
	case 2:
		return w.skip(24, stepIPv4)
	case 26:
		return w.skip(24, stepIPv6)
	}
	return stop(NotIP)
}

// nflog reads the attributes of NFLOG, whose lengths are in host order, up to
// the packet.
func (w *walker) nflog() step {
	b := w.rest()
	if len(b) < 8 {
		return w.short(8)
	}
	var order binary.ByteOrder = binary.LittleEndian
	if n := int(order.Uint16(b[4:])); n < 4 || n > 0xff && n > len(b) {
		order = binary.BigEndian
	}
	const payload = 9
	for at := 4; ; {
		if len(b) < at+4 {
			return w.short(at + 4)
		}
		n, kind := int(order.Uint16(b[at:])), order.Uint16(b[at+2:])
		if n < 4 {
			return stop(Malformed)
		}
		if kind == payload {
			return w.skip(at+4, stepIP)
		}
		at += (n + 3) &^ 3
	}
}

// pktap is Darwin's: its header names a link type.
func (w *walker) pktap() step {
	b := w.rest()
	if len(b) < 12 {
		return w.short(12)
	}
	n, kind, link := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint32(b[8:])
	if n < 12 || n > 0xffff || link > 0xffff {
		return stop(Malformed)
	}
	if kind == 0 {
		return stop(NotIP)
	}
	return w.inner(int(n), LinkType(link))
}

func (w *walker) ppi() step {
	b := w.rest()
	if len(b) < 8 {
		return w.short(8)
	}
	n, link := int(binary.LittleEndian.Uint16(b[2:])), binary.LittleEndian.Uint32(b[4:])
	if n < 8 || link > 0xffff {
		return stop(Malformed)
	}
	return w.inner(n, LinkType(link))
}

// erf reads the extensible record format of Endace.
func (w *walker) erf() step {
	b := w.rest()
	if len(b) < 16 {
		return w.short(16)
	}
	n, kind := 16, b[8]
	for more := kind&0x80 != 0; more; n += 8 {
		if len(b) < n+8 {
			return w.short(n + 8)
		}
		more = b[n]&0x80 != 0
	}
	switch kind & 0x7f {
	case 1, 10, 24: // HDLC over SONET, also coloured
		return w.inner(n, LinkPPPHDLC)
	case 2, 11, 16, 20: // Ethernet: an offset and padding first
		return w.inner(n+2, LinkEthernet)
	case 22:
		return w.inner(n, LinkIPv4)
	case 23:
		return w.inner(n, LinkIPv6)
	}
	return stop(NotIP)
}

// juniper reads the header that Juniper's routers put before the link's own.
func (w *walker) juniper() step {
	b := w.rest()
	if len(b) < 4 {
		return w.short(4)
	}
	if string(b[:3]) != "MGC" {
		return stop(Malformed)
	}
	n := 4
	const noLink, extended = 0x02, 0x80
	if b[3]&extended != 0 {
		if len(b) < 6 {
			return w.short(6)
		}
		n = 6 + int(binary.BigEndian.Uint16(b[4:]))
	}
	if b[3]&noLink != 0 {
		return w.skip(n+4, stepIP)
	}
	switch w.link {
	case LinkJuniperEther:
		return w.inner(n, LinkEthernet)
	case LinkJuniperPPP:
		return w.inner(n, LinkPPP)
	case LinkJuniperFrameRelay:
		return w.inner(n, LinkFrameRelay)
	case LinkJuniperPPPoE:
		return w.inner(n, LinkEthernet)
	default:
		return w.inner(n, LinkCHDLC)
	}
}
