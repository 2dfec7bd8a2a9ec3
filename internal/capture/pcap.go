package capture

import (
	"encoding/binary"
	"errors"
	"io"
	"strconv"
)

// Magic numbers of pcap, in the byte order of the file.
const (
	magicMicro    = 0xa1b2c3d4
	magicNano     = 0xa1b23c4d
	magicModified = 0xa1b2cd34 // Kuznetzov's patch: longer record headers
)

// Sizes of the headers, bytes.
const (
	pcapFileHeader     = 24
	pcapRecordHeader   = 16
	pcapModifiedHeader = 24
)

// pcapHeader is what the header of a pcap file says of its records.
type pcapHeader struct {
	link   LinkType
	record int   // size of a record header
	scale  int64 // nanoseconds of the smaller part of a time
	// Versions before 2.4 had the two lengths the other way round, some of 2.3
	// too.
	swapLengths, mayswapLengths bool
}

// openPcapMagic learns byte order, resolution and variant from the magic
// number, and reports whether it is one of pcap.
func (r *Reader) openPcapMagic(b []byte) bool {
	for _, big := range [2]bool{false, true} {
		magic := binary.LittleEndian.Uint32(b)
		if big {
			magic = binary.BigEndian.Uint32(b)
		}
		r.big = big
		r.pcap = pcapHeader{record: pcapRecordHeader, scale: 1000}
		switch magic {
		case magicMicro:
			return true
		case magicNano:
			r.pcap.scale = 1
			return true
		case magicModified:
			r.pcap.record = pcapModifiedHeader
			return true
		}
	}
	return false
}

func (r *Reader) openPcap() error {
	if err := r.need(pcapFileHeader); err != nil {
		return r.truncated(err, "its header")
	}
	b := r.buf[r.pos : r.pos+pcapFileHeader]
	major, minor := r.u16(b[4:]), r.u16(b[6:])
	if major != 2 {
		return &FormatError{Offset: 4, Reason: "pcap version " + strconv.Itoa(int(major)) + "." + strconv.Itoa(int(minor)) + " is not known"}
	}
	r.pcap.swapLengths = minor < 3
	r.pcap.mayswapLengths = minor == 3
	snapLen, network := r.u32(b[16:]), r.u32(b[20:])
	// The upper bits tell of the frame check sequence.
	r.pcap.link = LinkType(network)
	resolution := uint64(1_000_000_000)
	if r.pcap.scale != 1 {
		resolution = 1_000_000
	}
	r.ng.interfaces = []Interface{{Link: r.pcap.link, SnapLen: snapLen, Resolution: resolution}}
	r.ng.sections = []Section{{}}
	r.hash(b)
	r.pos += pcapFileHeader
	r.next = (*Reader).nextPcap
	return nil
}

// nextPcap reads one record.
func (r *Reader) nextPcap(f *Frame) error {
	size := r.pcap.record
	if r.end-r.pos < size {
		if err := r.need(size); err != nil {
			if errors.Is(err, io.EOF) {
				return io.EOF
			}
			return r.truncated(err, r.frameName())
		}
	}
	h := r.buf[r.pos : r.pos+pcapRecordHeader]
	var sec, frac, capLen, wireLen uint32
	if r.big {
		sec, frac = binary.BigEndian.Uint32(h), binary.BigEndian.Uint32(h[4:])
		capLen, wireLen = binary.BigEndian.Uint32(h[8:]), binary.BigEndian.Uint32(h[12:])
	} else {
		sec, frac = binary.LittleEndian.Uint32(h), binary.LittleEndian.Uint32(h[4:])
		capLen, wireLen = binary.LittleEndian.Uint32(h[8:]), binary.LittleEndian.Uint32(h[12:])
	}
	if r.pcap.swapLengths || r.pcap.mayswapLengths && capLen > wireLen {
		capLen, wireLen = wireLen, capLen
	}
	// The header's snaplen is often wrong, so only the limit of all files counts.
	if capLen > MaxFrame {
		return &FormatError{Offset: r.offset(), Reason: r.frameName() + " claims " + strconv.FormatUint(uint64(capLen), 10) + " captured bytes, more than the limit of " + strconv.Itoa(MaxFrame)}
	}
	total := size + int(capLen)
	if r.end-r.pos < total {
		if err := r.need(total); err != nil {
			return r.truncated(err, r.frameName())
		}
	}
	start := r.pos + size
	f.Data = r.buf[start : start+int(capLen) : start+int(capLen)]
	f.Time = int64(sec)*1_000_000_000 + int64(frac)*r.pcap.scale
	f.WireLen = wireLen
	f.Link = r.pcap.link
	f.Interface = 0
	f.Way = WayUnknown
	f.Comment, f.Dropped = "", 0
	if size == pcapModifiedHeader {
		f.Way = packetWay(r.buf[r.pos+22])
	}
	if r.number == 0 {
		r.hash(r.buf[r.pos : r.pos+total])
	}
	r.number++
	f.Number = r.number
	r.pos += total
	return nil
}

// packetWay maps the packet types of include/uapi/linux/if_packet.h.
func packetWay(t byte) Way {
	switch t {
	case 0, 1, 2: // PACKET_HOST, PACKET_BROADCAST, PACKET_MULTICAST
		return WayIn
	case 4: // PACKET_OUTGOING
		return WayOut
	}
	return WayUnknown
}

func (r *Reader) u16(b []byte) uint16 {
	if r.big {
		return binary.BigEndian.Uint16(b)
	}
	return binary.LittleEndian.Uint16(b)
}

func (r *Reader) u32(b []byte) uint32 {
	if r.big {
		return binary.BigEndian.Uint32(b)
	}
	return binary.LittleEndian.Uint32(b)
}

func (r *Reader) u64(b []byte) uint64 {
	if r.big {
		return binary.BigEndian.Uint64(b)
	}
	return binary.LittleEndian.Uint64(b)
}
