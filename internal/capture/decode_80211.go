package capture

import "encoding/binary"

// ieee80211 reads the header of a data frame, IEEE 802.11, section 9.3.2.
func (w *walker) ieee80211() step {
	b := w.rest()
	if len(b) < 24 {
		return w.short(24)
	}
	const toDS, fromDS, protected, order = 0x01, 0x02, 0x40, 0x80
	kind, subtype, flags := b[0]>>2&3, b[0]>>4, b[1]
	if b[0]&3 != 0 || kind != 2 || subtype&4 != 0 { // not data, or data without a body
		return stop(NotIP)
	}
	if flags&protected != 0 {
		return stop(Encrypted)
	}
	if b[22]&15 != 0 {
		return stop(LaterFragment)
	}
	n := 24
	if flags&(toDS|fromDS) == toDS|fromDS {
		n += 6
	}
	aggregate := false
	if subtype&8 != 0 { // QoS
		if len(b) < n+2 {
			return w.short(n + 2)
		}
		aggregate = b[n]&0x80 != 0
		n += 2
		if flags&order != 0 {
			n += 4
		}
	}
	if w.pad {
		n = (n + 3) &^ 3
	}
	if aggregate { // only the first packet of an A-MSDU
		if len(b) < n+14 {
			return w.short(n + 14)
		}
		w.clamp(w.off + n + 14 + int(binary.BigEndian.Uint16(b[n+12:])))
		n += 14
	}
	return w.skip(n, stepLLC)
}

// radiotap goes over the header of radiotap.org, of which the flags matter.
func (w *walker) radiotap() step {
	b := w.rest()
	if len(b) < 8 {
		return w.short(8)
	}
	n := int(binary.LittleEndian.Uint16(b[2:]))
	if n < 8 {
		return stop(Malformed)
	}
	if len(b) < n {
		return w.short(n)
	}
	present := binary.LittleEndian.Uint32(b[4:])
	at := 8
	for p := present; p&(1<<31) != 0 && at+4 <= n; at += 4 { // more such words
		p = binary.LittleEndian.Uint32(b[at:])
	}
	if present&1 != 0 { // TSFT, aligned to 8 bytes
		at = (at+7)&^7 + 8
	}
	w.pad = present&2 != 0 && at < n && b[at]&0x20 != 0
	return w.skip(n, step80211)
}

// prism goes over the header of the Prism II driver, or of AVS in its place.
func (w *walker) prism() step {
	b := w.rest()
	if len(b) < 8 {
		return w.short(8)
	}
	if binary.BigEndian.Uint32(b)&0xfffff000 == 0x80211000 {
		return w.avs()
	}
	n := int(binary.LittleEndian.Uint32(b[4:]) & 0xffff)
	if big := binary.BigEndian.Uint32(b[4:]); n == 0 || binary.LittleEndian.Uint32(b[4:]) > 0xffff {
		n = int(big & 0xffff)
	}
	if n < 8 {
		n = 144
	}
	return w.skip(n, step80211)
}

// avs goes over the header of AbsoluteValue Systems.
func (w *walker) avs() step {
	b := w.rest()
	if len(b) < 8 {
		return w.short(8)
	}
	n := binary.BigEndian.Uint32(b[4:])
	if n < 8 || n > 0xffff {
		return stop(Malformed)
	}
	return w.skip(int(n), step80211)
}
