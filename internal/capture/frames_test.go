package capture

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// The functions below build frames from the inside out: each takes what it
// carries and returns it behind its own header.

// be16 and be32 append in network order.
func be16(b []byte, v int) []byte { return binary.BigEndian.AppendUint16(b, uint16(v)) }
func be32(b []byte, v int) []byte { return binary.BigEndian.AppendUint32(b, uint32(v)) }

// join concatenates; strings are bytes.
func join(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		case byte:
			b = append(b, p)
		}
	}
	return b
}

// segmentSpec is a TCP segment to build.
type segmentSpec struct {
	source, dest int
	seq, ack     int
	flags        Flags
	window       int
	options      []byte
	payload      []byte
}

// bytes has no checksum yet: ip4 and ip6 fill it in.
func (s segmentSpec) bytes() []byte {
	options := append([]byte(nil), s.options...)
	for len(options)%4 != 0 {
		options = append(options, optNop)
	}
	b := be16(be16(nil, s.source), s.dest)
	b = be32(be32(b, s.seq), s.ack)
	b = be16(b, (5+len(options)/4)<<12|int(s.flags))
	b = be16(b, s.window)
	b = be32(b, 0)
	return join(b, options, s.payload)
}

// plain is the segment that most tests look for.
var plain = segmentSpec{
	source: 40000, dest: 443, seq: 1000, ack: 2000, flags: ACK | PSH, window: 502,
	options: join("\x01\x01\x08\x0a\x00\x00\x00\x07\x00\x00\x00\x09"), payload: []byte("hello"),
}

var (
	host4a = netip.MustParseAddr("192.0.2.1")
	host4b = netip.MustParseAddr("198.51.100.2")
	host6a = netip.MustParseAddr("2001:db8::1")
	host6b = netip.MustParseAddr("2001:db8:1::2")
)

// fill computes the checksum of TCP or UDP; UDP has one in IPv6 only.
func fill(proto int, src, dst netip.Addr, b []byte) []byte {
	field := map[int]int{protoTCP: 16, protoUDP: 6, protoICMPv6: 2}[proto]
	if field == 0 || len(b) < field+2 || proto == protoUDP && src.Is4() {
		return b
	}
	b = append([]byte(nil), b...)
	binary.BigEndian.PutUint16(b[field:], 0)
	sum := checksumAdd(checksumAdd(uint64(proto+len(b)), src.AsSlice()), dst.AsSlice())
	binary.BigEndian.PutUint16(b[field:], ^checksumFold(checksumAdd(sum, b)))
	return b
}

func ip4(proto int, payload []byte) []byte { return ip4With(proto, nil, 0, payload) }

// ip4With adds options and sets the word of flags and fragment offset.
func ip4With(proto int, options []byte, fragment int, payload []byte) []byte {
	payload = fill(proto, host4a, host4b, payload)
	b := []byte{byte(0x45 + len(options)/4), 2}
	b = be16(b, 20+len(options)+len(payload))
	b = be16(be16(b, 0x1234), fragment)
	b = append(b, 64, byte(proto), 0, 0)
	b = join(b, host4a.AsSlice(), host4b.AsSlice(), options)
	binary.BigEndian.PutUint16(b[10:], ^checksumFold(checksumAdd(0, b)))
	return join(b, payload)
}

func ip6(next int, payload []byte) []byte {
	payload = fill(next, host6a, host6b, payload)
	b := be16([]byte{0x60, 0x10, 0, 0}, len(payload))
	b = append(b, byte(next), 63)
	return join(b, host6a.AsSlice(), host6b.AsSlice(), payload)
}

// ip6Ext is IPv6 with extension headers, whose next header fields are right,
// before a TCP segment.
func ip6Ext(first int, ext, segment []byte) []byte {
	return ip6Whole(first, ext, fill(protoTCP, host6a, host6b, segment))
}

// ip6Whole leaves the segment's checksum as it is.
func ip6Whole(first int, ext, segment []byte) []byte {
	b := be16([]byte{0x60, 0x10, 0, 0}, len(ext)+len(segment))
	b = append(b, byte(first), 63)
	return join(b, host6a.AsSlice(), host6b.AsSlice(), ext, segment)
}

func ether(t int, payload []byte) []byte {
	return join("\x00\x11\x22\x33\x44\x55\x00\x66\x77\x88\x99\xaa", be16(nil, t), payload)
}

func udp(port int, payload []byte) []byte {
	return join(be16(be16(be16(be16(nil, 50000), port), 8+len(payload)), 0), payload)
}

func snap(t int, payload []byte) []byte {
	return join("\xaa\xaa\x03\x00\x00\x00", be16(nil, t), payload)
}

func icmpError(kind byte, quoted []byte) []byte {
	b := join(kind, byte(1), "\x00\x00\x00\x00\x00\x00", quoted)
	binary.BigEndian.PutUint16(b[2:], ^checksumFold(checksumAdd(0, b)))
	return b
}

// segment4 and segment6 are the plain segment in IP.
func segment4() []byte { return ip4(protoTCP, plain.bytes()) }
func segment6() []byte { return ip6(protoTCP, plain.bytes()) }

// tuple4 and tuple6 are its ends.
var (
	tuple4 = tcp.Tuple{Local: tcp.AddrFrom(host4a), Remote: tcp.AddrFrom(host4b), LocalPort: 40000, RemotePort: 443}
	tuple6 = tcp.Tuple{Local: tcp.AddrFrom(host6a), Remote: tcp.AddrFrom(host6b), LocalPort: 40000, RemotePort: 443}
)

// pcapFile is a file of the frames, a second apart.
func pcapFile(link LinkType, frames ...[]byte) []byte {
	b := le32(nil, magicNano, 2|4<<16, 0, 0, MaxFrame, uint32(link))
	for i, f := range frames {
		b = le32(b, uint32(1_700_000_000+i), uint32(i), uint32(len(f)), uint32(len(f)))
		b = append(b, f...)
	}
	return b
}

func le32(b []byte, vs ...uint32) []byte {
	for _, v := range vs {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// ngBlock is a block of pcapng in little-endian order.
func ngBlock(typ uint32, body ...byte) []byte {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	n := uint32(len(body) + 12)
	return le32(append(le32(nil, typ, n), body...), n)
}

func ngSection() []byte {
	return ngBlock(blockSection, le32(nil, byteOrderMagic, 1, ^uint32(0), ^uint32(0))...)
}

func ngInterface(link LinkType) []byte {
	return ngBlock(blockInterface, le32(nil, uint32(link), 0)...)
}

func ngPacket(id uint32, ticks uint64, data []byte, options ...byte) []byte {
	b := le32(nil, id, uint32(ticks>>32), uint32(ticks), uint32(len(data)), uint32(len(data)))
	b = append(b, data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return ngBlock(blockEnhanced, append(b, options...)...)
}

// ngOption is one option, padded.
func ngOption(code uint16, value string) []byte {
	b := binary.LittleEndian.AppendUint16(nil, code)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
	return join(b, value, strings.Repeat("\x00", -len(value)&3))
}
