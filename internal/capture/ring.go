package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The memory that the kernel shares, as laid out by TPACKET_V3 of
// include/uapi/linux/if_packet.h. Numbers are in host order but for the protocol
// of sockaddr_ll. They are read by offset, so that each length is checked against
// the memory before it is used.
const (
	// struct tpacket_block_desc.
	offBlockVersion = 0
	offBlockStatus  = 8
	offBlockPackets = 12
	offBlockFirst   = 16
	offBlockLen     = 20
	blockHeader     = 48

	// struct tpacket3_hdr.
	offPktNext    = 0
	offPktSec     = 4
	offPktNsec    = 8
	offPktSnaplen = 12
	offPktLen     = 16
	offPktStatus  = 20
	offPktMAC     = 24
	offPktVLANTCI = 32
	offPktVLANTID = 36
	pktHeader     = 48

	// struct sockaddr_ll, after tpacket3_hdr.
	offSLLProtocol = pktHeader + 2
	offSLLIndex    = pktHeader + 4
	offSLLHardware = pktHeader + 8
	offSLLType     = pktHeader + 10
	offSLLAddrLen  = pktHeader + 11
	offSLLAddr     = pktHeader + 12
	pktAllHeaders  = pktHeader + 20

	blockVersion = 2 // TPACKET_V3 of enum tpacket_versions

	statusUser        = 1 << 0 // TP_STATUS_USER
	statusVLAN        = 1 << 4 // TP_STATUS_VLAN_VALID
	statusVLANTPID    = 1 << 6 // TP_STATUS_VLAN_TPID_VALID
	pktTypeOutgoing   = 4      // PACKET_OUTGOING
	hardwareLoopback  = 772    // ARPHRD_LOOPBACK, include/uapi/linux/if_arp.h
	etherAddresses    = 12     // two addresses stand before the tag
	vlanTag           = 4
	sll2Header        = 20
	ringReserve       = sll2Header + vlanTag // asked for before each frame
	nanosecondsPerSec = 1e9
)

var errRing = errors.New("the ring of the kernel is not as it should be")

// ringBlock walks the frames of one block.
type ringBlock struct {
	mem  []byte // the block, as far as it is used
	off  int    // of the next frame's header
	left uint32
}

// openBlock begins a block that the kernel has handed over.
func openBlock(mem []byte) (ringBlock, error) {
	if len(mem) < blockHeader {
		return ringBlock{}, fmt.Errorf("%w: a block of %d bytes", errRing, len(mem))
	}
	if v := binary.NativeEndian.Uint32(mem[offBlockVersion:]); v != blockVersion {
		return ringBlock{}, fmt.Errorf("%w: version %d of a block", errRing, v)
	}
	n := binary.NativeEndian.Uint32(mem[offBlockPackets:])
	first := binary.NativeEndian.Uint32(mem[offBlockFirst:])
	used := binary.NativeEndian.Uint32(mem[offBlockLen:])
	if n == 0 {
		return ringBlock{}, nil
	}
	// blk_len is what is filled, rounded up beyond the last frame.
	if uint64(used) > uint64(len(mem)) {
		used = uint32(len(mem))
	}
	if first < blockHeader || first > used {
		return ringBlock{}, fmt.Errorf("%w: the first frame at %d of %d bytes", errRing, first, used)
	}
	return ringBlock{mem: mem[:used], off: int(first), left: n}, nil
}

// ringFrame is one frame in the ring.
type ringFrame struct {
	// hdr is the memory from the frame's header to its end.
	hdr  []byte
	mac  int // where it begins, in hdr
	len  int // as captured
	wire uint32
	time int64
}

// head returns the frame that comes next without going on; ok is false at the end
// of the block.
func (b *ringBlock) head(f *ringFrame) (ok bool, err error) {
	if b.left == 0 {
		return false, nil
	}
	rest := b.mem[b.off:]
	if len(rest) < pktAllHeaders {
		return false, fmt.Errorf("%w: %d bytes for the header of a frame", errRing, len(rest))
	}
	mac := int(binary.NativeEndian.Uint16(rest[offPktMAC:]))
	snap := binary.NativeEndian.Uint32(rest[offPktSnaplen:])
	if mac < pktAllHeaders || mac > len(rest) || uint64(snap) > uint64(len(rest)-mac) {
		return false, fmt.Errorf("%w: a frame of %d bytes at %d of %d", errRing, snap, mac, len(rest))
	}
	f.hdr, f.mac, f.len = rest[:mac+int(snap)], mac, int(snap)
	f.wire = binary.NativeEndian.Uint32(rest[offPktLen:])
	f.time = int64(binary.NativeEndian.Uint32(rest[offPktSec:]))*nanosecondsPerSec +
		int64(binary.NativeEndian.Uint32(rest[offPktNsec:]))
	return true, nil
}

// skip goes on to the next frame. It follows a head that was true.
func (b *ringBlock) skip() error {
	next := binary.NativeEndian.Uint32(b.mem[b.off+offPktNext:])
	b.left--
	if b.left == 0 {
		return nil
	}
	// A frame is no shorter than its headers, so that the walk ends.
	if next < pktAllHeaders || uint64(next) > uint64(len(b.mem)-b.off) {
		return fmt.Errorf("%w: the next frame %d bytes on, of %d", errRing, next, len(b.mem)-b.off)
	}
	b.off += int(next)
	return nil
}

func (f *ringFrame) pktType() uint8   { return f.hdr[offSLLType] }
func (f *ringFrame) hardware() uint16 { return binary.NativeEndian.Uint16(f.hdr[offSLLHardware:]) }

// loopedOut tells a frame that was sent on a loopback interface: it comes again,
// received.
func (f *ringFrame) loopedOut() bool {
	return f.pktType() == pktTypeOutgoing && f.hardware() == hardwareLoopback
}

// fill makes the frame what it was on the wire: with the VLAN tag that the
// interface took off, and with a header that says what the kernel knows where
// there is none of the link. Both grow into the room before the frame, so that
// nothing but a few bytes of headers is copied.
func (f *ringFrame) fill(to *Frame, link LinkType) error {
	start, wire := f.mac, f.wire
	switch link {
	case LinkLinuxSLL2:
		need := sll2Header
		tci, tpid, tagged := f.vlan()
		if tagged {
			need += vlanTag
		}
		start -= need
		if start < pktAllHeaders {
			return fmt.Errorf("%w: no room for a header of %d bytes", errRing, need)
		}
		f.putSLL2(f.hdr[start:], tci, tpid, tagged)
		wire += uint32(need)
	case LinkEthernet:
		if tci, tpid, tagged := f.vlan(); tagged && f.len >= etherAddresses {
			start -= vlanTag
			if start < pktAllHeaders {
				return fmt.Errorf("%w: no room for a VLAN tag", errRing)
			}
			copy(f.hdr[start:], f.hdr[f.mac:f.mac+etherAddresses])
			binary.BigEndian.PutUint16(f.hdr[start+etherAddresses:], tpid)
			binary.BigEndian.PutUint16(f.hdr[start+etherAddresses+2:], tci)
			wire += vlanTag
		}
	default:
	}
	to.Time, to.Link, to.Data, to.WireLen = f.time, link, f.hdr[start:], wire
	to.Way = WayIn
	if f.pktType() == pktTypeOutgoing {
		to.Way = WayOut
	}
	to.Comment = ""
	return nil
}

// vlan returns the tag that is not in the frame any more.
func (f *ringFrame) vlan() (tci, tpid uint16, ok bool) {
	status := binary.NativeEndian.Uint32(f.hdr[offPktStatus:])
	if status&statusVLAN == 0 {
		return 0, 0, false
	}
	tci, tpid = uint16(binary.NativeEndian.Uint32(f.hdr[offPktVLANTCI:])), etypeVLAN
	if status&statusVLANTPID != 0 {
		tpid = binary.NativeEndian.Uint16(f.hdr[offPktVLANTID:])
	}
	return tci, tpid, true
}

// putSLL2 writes the header of LINKTYPE_LINUX_SLL2 from sockaddr_ll. A VLAN tag
// stands after it as after an Ethernet header: its protocol is the one of the
// tag, and the tag ends with that of what follows.
func (f *ringFrame) putSLL2(b []byte, tci, tpid uint16, tagged bool) {
	protocol := binary.BigEndian.Uint16(f.hdr[offSLLProtocol:])
	if tagged {
		// Since Linux 6.10 the protocol is that behind all tags, but only the
		// outer one is off: an inner one begins what was captured.
		if in := f.hdr[f.mac:]; len(in) >= vlanTag && binary.BigEndian.Uint16(in[2:]) == protocol &&
			(protocol == etypeIPv4 && in[0]>>4 != 4 || protocol == etypeIPv6 && in[0]>>4 != 6) {
			protocol = etypeVLAN
		}
		binary.BigEndian.PutUint16(b[sll2Header:], tci)
		binary.BigEndian.PutUint16(b[sll2Header+2:], protocol)
		protocol = tpid
	}
	index, hardware := binary.NativeEndian.Uint32(f.hdr[offSLLIndex:]), f.hardware()
	var addr [8]byte
	n := min(f.hdr[offSLLAddrLen], 8)
	copy(addr[:n], f.hdr[offSLLAddr:])
	binary.BigEndian.PutUint16(b, protocol)
	b[2], b[3] = 0, 0
	binary.BigEndian.PutUint32(b[4:], index)
	binary.BigEndian.PutUint16(b[8:], hardware)
	b[10], b[11] = f.pktType(), n
	copy(b[12:sll2Header], addr[:])
}
