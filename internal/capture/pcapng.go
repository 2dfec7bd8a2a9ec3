package capture

import (
	"encoding/binary"
	"errors"
	"io"
	"math/bits"
	"strconv"
)

// Block types of pcapng (draft-ietf-opsawg-pcapng).
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 2 // obsolete
	blockSimple    = 3
	blockStats     = 5
	blockEnhanced  = 6
)

const byteOrderMagic = 0x1a2b3c4d

// Section is what a section header of pcapng says of who captured.
type Section struct {
	Hardware, OS, Application string
	Comments                  []string
}

// Interface is where frames were captured.
type Interface struct {
	Link LinkType
	// SnapLen is the most bytes captured of a frame; 0 is no limit.
	SnapLen uint32
	// Section is an index into the sections of the reader.
	Section int
	// Resolution is how many ticks a second the file's clock has; 0 is a
	// resolution beyond 64 bits.
	Resolution                             uint64
	Name, Description, Filter, OS, Comment string
	// Stats is from the last statistics block, as of the capture's end.
	Stats InterfaceStats

	clock clock
}

// InterfaceStats are the counters of an interface; what a file does not tell
// is 0.
type InterfaceStats struct {
	// Received and Dropped are of the interface, FilterAccepted of the packets
	// that passed the filter; OSDropped were dropped by the system for want of
	// room, Delivered given to the program that captured.
	Received, Dropped, FilterAccepted, OSDropped, Delivered uint64
	// FrameDropped is the sum of the drop counts that stand with frames.
	FrameDropped uint64
}

// pcapng is the state of a pcapng file; of pcap files it holds the one
// interface.
type pcapng struct {
	interfaces []Interface
	sections   []Section
	first      int // index of the section's first interface
	comment    string
}

// clock turns ticks into nanoseconds since 1970.
type clock struct {
	kind   clockKind
	shift  uint8  // binary: ticks a second are 1<<shift
	factor uint64 // decimal
	offset int64  // nanoseconds
}

type clockKind uint8

const (
	clockMul    clockKind = iota // coarser than nanoseconds
	clockDiv                     // finer
	clockBinary                  // a power of two
)

// newClock reads if_tsresol.
func newClock(resol byte) (c clock, resolution uint64) {
	n := int(resol &^ 0x80)
	if resol&0x80 != 0 {
		if n < 64 {
			resolution = 1 << n
		}
		return clock{kind: clockBinary, shift: uint8(n)}, resolution
	}
	if n <= 19 {
		resolution = pow10(n)
	}
	if n <= 9 {
		return clock{kind: clockMul, factor: pow10(9 - n)}, resolution
	}
	return clock{kind: clockDiv, factor: pow10(min(n-9, 19))}, resolution
}

func pow10(n int) uint64 {
	p := uint64(1)
	for range n {
		p *= 10
	}
	return p
}

// nanoseconds converts ticks; times that no int64 holds wrap around, as broken
// as they are.
func (c *clock) nanoseconds(ticks uint64) int64 {
	switch c.kind {
	case clockMul:
		return int64(ticks*c.factor) + c.offset
	case clockDiv:
		return int64(ticks/c.factor) + c.offset
	case clockBinary:
	}
	hi, lo := bits.Mul64(ticks, 1_000_000_000)
	if c.shift >= 64 {
		return int64(hi>>(c.shift-64)) + c.offset
	}
	return int64(hi<<(64-c.shift)|lo>>c.shift) + c.offset
}

func (r *Reader) openPcapng() error {
	r.next = (*Reader).nextPcapng
	if err := r.need(12); err != nil {
		return r.truncated(err, "its header")
	}
	n, err := r.block()
	if err != nil {
		return err
	}
	r.hash(r.buf[r.pos : r.pos+n])
	if err := r.section(r.buf[r.pos : r.pos+n]); err != nil {
		return err
	}
	r.pos += n
	return nil
}

// nextPcapng reads blocks until one holds a frame. Each of them takes at least
// 12 bytes, so that it comes to an end with the file.
func (r *Reader) nextPcapng(f *Frame) error {
	for {
		n, err := r.block()
		if err != nil {
			return err
		}
		b := r.buf[r.pos : r.pos+n]
		if r.number == 0 {
			r.hash(b)
		}
		found := false
		switch r.u32(b) {
		case blockEnhanced:
			found, err = true, r.enhanced(b, f)
		case blockPacket:
			found, err = true, r.obsolete(b, f)
		case blockSimple:
			found, err = true, r.simple(b, f)
		case blockInterface:
			err = r.describe(b)
		case blockStats:
			err = r.stats(b)
		case blockSection:
			err = r.section(b)
		}
		if err != nil {
			return err
		}
		r.pos += n
		if found {
			r.number++
			f.Number = r.number
			return nil
		}
	}
}

// block makes the next block available as a whole, at buf[pos:], and returns
// its length, with both copies of it checked.
func (r *Reader) block() (int, error) {
	if r.end-r.pos < 12 {
		if err := r.need(12); err != nil {
			if errors.Is(err, io.EOF) {
				return 0, io.EOF
			}
			return 0, r.truncated(err, "a block after frame "+strconv.FormatUint(r.number, 10))
		}
	}
	b := r.buf[r.pos : r.pos+12]
	if binary.LittleEndian.Uint32(b) == blockSection {
		switch {
		case binary.LittleEndian.Uint32(b[8:]) == byteOrderMagic:
			r.big = false
		case binary.BigEndian.Uint32(b[8:]) == byteOrderMagic:
			r.big = true
		default:
			return 0, r.bad("the section header has no byte-order magic")
		}
	}
	typ, length := r.u32(b), r.u32(b[4:])
	switch {
	case length < 12:
		return 0, r.bad("a block claims " + strconv.Itoa(int(length)) + " bytes, fewer than its own header")
	case length%4 != 0:
		return 0, r.bad("a block claims " + strconv.FormatUint(uint64(length), 10) + " bytes, which is no multiple of 4")
	case length > maxBlock:
		return 0, r.bad("a block claims " + strconv.FormatUint(uint64(length), 10) + " bytes, more than the limit of " + strconv.Itoa(maxBlock))
	}
	n := int(length)
	if r.end-r.pos < n {
		if err := r.need(n); err != nil {
			what := "a block after frame " + strconv.FormatUint(r.number, 10)
			if typ == blockEnhanced || typ == blockPacket || typ == blockSimple {
				what = r.frameName()
			}
			return 0, r.truncated(err, what)
		}
	}
	if r.u32(r.buf[r.pos+n-4:]) != length {
		return 0, r.bad("the two lengths of a block differ")
	}
	return n, nil
}

// bad is a broken block at the current offset.
func (r *Reader) bad(reason string) error {
	return &FormatError{Offset: r.offset(), Reason: reason}
}

func (r *Reader) section(b []byte) error {
	if len(b) < 28 {
		return r.bad("the section header is too short")
	}
	if major := r.u16(b[12:]); major != 1 {
		return r.bad("pcapng version " + strconv.Itoa(int(major)) + "." + strconv.Itoa(int(r.u16(b[14:]))) + " is not known")
	}
	if len(r.ng.sections) == maxSections {
		return r.bad("more than " + strconv.Itoa(maxSections) + " sections")
	}
	var s Section
	err := r.options(b[24:len(b)-4], func(code uint16, v []byte) {
		switch code {
		case 1:
			s.Comments = append(s.Comments, string(v))
		case 2:
			s.Hardware = string(v)
		case 3:
			s.OS = string(v)
		case 4:
			s.Application = string(v)
		}
	})
	r.ng.sections = append(r.ng.sections, s)
	r.ng.first = len(r.ng.interfaces)
	return err
}

// describe reads an interface description.
func (r *Reader) describe(b []byte) error {
	if len(b) < 20 {
		return r.bad("an interface description is too short")
	}
	if len(r.ng.interfaces) == maxInterfaces {
		return r.bad("more than " + strconv.Itoa(maxInterfaces) + " interfaces")
	}
	i := Interface{Link: LinkType(r.u16(b[8:])), SnapLen: r.u32(b[12:]), Section: len(r.ng.sections) - 1}
	resol, offset := byte(6), int64(0)
	err := r.options(b[16:len(b)-4], func(code uint16, v []byte) {
		switch {
		case code == 1:
			i.Comment = string(v)
		case code == 2:
			i.Name = string(v)
		case code == 3:
			i.Description = string(v)
		case code == 9 && len(v) == 1:
			resol = v[0]
		case code == 11 && len(v) > 1 && v[0] == 0: // a string, not BPF code
			i.Filter = string(v[1:])
		case code == 12:
			i.OS = string(v)
		case code == 14 && len(v) == 8:
			offset = int64(r.u64(v))
		}
	})
	i.clock, i.Resolution = newClock(resol)
	i.clock.offset = offset * 1_000_000_000
	r.ng.interfaces = append(r.ng.interfaces, i)
	return err
}

// find returns an interface of the current section.
func (r *Reader) find(id uint32) (*Interface, uint32, error) {
	all := r.ng.interfaces
	if uint64(id) >= uint64(len(all)-r.ng.first) {
		return nil, 0, r.bad(r.frameName() + " is of interface " + strconv.FormatUint(uint64(id), 10) + ", which is not described")
	}
	id += uint32(r.ng.first)
	return &all[id], id, nil
}

func (r *Reader) enhanced(b []byte, f *Frame) error {
	if len(b) < 32 {
		return r.bad("the block of " + r.frameName() + " is too short")
	}
	var id, hi, lo, capLen, wireLen uint32
	if r.big {
		id, hi, lo = binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:]), binary.BigEndian.Uint32(b[16:])
		capLen, wireLen = binary.BigEndian.Uint32(b[20:]), binary.BigEndian.Uint32(b[24:])
	} else {
		id, hi, lo = binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:]), binary.LittleEndian.Uint32(b[16:])
		capLen, wireLen = binary.LittleEndian.Uint32(b[20:]), binary.LittleEndian.Uint32(b[24:])
	}
	return r.packet(b, 28, id, uint64(hi)<<32|uint64(lo), capLen, wireLen, f)
}

// obsolete reads a packet block, which came before the enhanced one.
func (r *Reader) obsolete(b []byte, f *Frame) error {
	if len(b) < 32 {
		return r.bad("the block of " + r.frameName() + " is too short")
	}
	ticks := uint64(r.u32(b[12:]))<<32 | uint64(r.u32(b[16:]))
	if err := r.packet(b, 28, uint32(r.u16(b[8:])), ticks, r.u32(b[20:]), r.u32(b[24:]), f); err != nil {
		return err
	}
	if drops := r.u16(b[10:]); drops != 0xffff {
		f.Dropped = uint64(drops)
		r.ng.interfaces[f.Interface].Stats.FrameDropped += f.Dropped
	}
	return nil
}

// packet fills f from a block whose data begins at start.
func (r *Reader) packet(b []byte, start int, id uint32, ticks uint64, capLen, wireLen uint32, f *Frame) error {
	if err := r.checkCaptured(capLen, len(b)-4-start); err != nil {
		return err
	}
	i, global, err := r.find(id)
	if err != nil {
		return err
	}
	end := start + int(capLen)
	f.Data = b[start:end:end]
	f.Time = i.clock.nanoseconds(ticks)
	f.WireLen = wireLen
	f.Link = i.Link
	f.Interface = global
	f.Way = WayUnknown
	f.Comment, f.Dropped = "", 0
	if options := (end + 3) &^ 3; options+4 < len(b) {
		return r.packetOptions(b[options:len(b)-4], i, f)
	}
	return nil
}

func (r *Reader) checkCaptured(capLen uint32, room int) error {
	switch {
	case capLen > MaxFrame:
		return r.bad(r.frameName() + " claims " + strconv.FormatUint(uint64(capLen), 10) + " captured bytes, more than the limit of " + strconv.Itoa(MaxFrame))
	case int(capLen) > room:
		return r.bad(r.frameName() + " claims " + strconv.FormatUint(uint64(capLen), 10) + " captured bytes, more than its block holds")
	}
	return nil
}

func (r *Reader) packetOptions(b []byte, i *Interface, f *Frame) error {
	var o optionReader
	o.reset(b, r.big)
	for o.next() {
		switch {
		case o.code == 1 && f.Comment == "":
			// The packets of a connection often carry the same one.
			if r.ng.comment != string(o.value) {
				r.ng.comment = string(o.value)
			}
			f.Comment = r.ng.comment
		case o.code == 2 && len(o.value) == 4:
			if w := Way(r.u32(o.value) & 3); w <= WayOut {
				f.Way = w
			}
		case o.code == 4 && len(o.value) == 8:
			f.Dropped = r.u64(o.value)
			i.Stats.FrameDropped += f.Dropped
		}
	}
	if o.tooMany {
		return r.bad("a block has more than " + strconv.Itoa(maxOptions) + " options")
	}
	return nil
}

// simple reads a simple packet block: no time, and the section's first
// interface.
func (r *Reader) simple(b []byte, f *Frame) error {
	if len(b) < 16 {
		return r.bad("the block of " + r.frameName() + " is too short")
	}
	i, global, err := r.find(0)
	if err != nil {
		return err
	}
	wireLen := r.u32(b[8:])
	capLen := wireLen
	if i.SnapLen != 0 {
		capLen = min(capLen, i.SnapLen)
	}
	if err := r.checkCaptured(capLen, len(b)-16); err != nil {
		return err
	}
	end := 12 + int(capLen)
	*f = Frame{Data: b[12:end:end], Link: i.Link, Interface: global, WireLen: wireLen}
	return nil
}

// stats reads an interface statistics block.
func (r *Reader) stats(b []byte) error {
	if len(b) < 24 {
		return r.bad("an interface statistics block is too short")
	}
	id := r.u32(b[8:])
	if uint64(id) >= uint64(len(r.ng.interfaces)-r.ng.first) {
		return nil // it tells nothing about any frame
	}
	s := &r.ng.interfaces[int(id)+r.ng.first].Stats
	return r.options(b[20:len(b)-4], func(code uint16, v []byte) {
		if len(v) != 8 {
			return
		}
		switch code {
		case 4:
			s.Received = r.u64(v)
		case 5:
			s.Dropped = r.u64(v)
		case 6:
			s.FilterAccepted = r.u64(v)
		case 7:
			s.OSDropped = r.u64(v)
		case 8:
			s.Delivered = r.u64(v)
		}
	})
}

// options hands every option of a block to take.
func (r *Reader) options(b []byte, take func(code uint16, value []byte)) error {
	var o optionReader
	o.reset(b, r.big)
	for o.next() {
		take(o.code, o.value)
	}
	if o.tooMany {
		return r.bad("a block has more than " + strconv.Itoa(maxOptions) + " options")
	}
	return nil
}

// optionReader goes through the options of a block. Options that do not fit
// into their block end them: what the block is about is still there.
type optionReader struct {
	rest    []byte
	big     bool
	n       int
	tooMany bool

	code  uint16
	value []byte
}

func (o *optionReader) reset(b []byte, big bool) { *o = optionReader{rest: b, big: big} }

func (o *optionReader) next() bool {
	b := o.rest
	if len(b) < 4 {
		return false
	}
	var n int
	if o.big {
		o.code, n = binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
	} else {
		o.code, n = binary.LittleEndian.Uint16(b), int(binary.LittleEndian.Uint16(b[2:]))
	}
	if o.code == 0 || 4+n > len(b) {
		return false
	}
	if o.n++; o.n > maxOptions {
		o.tooMany = true
		return false
	}
	o.value = b[4 : 4+n]
	o.rest = b[min(len(b), (4+n+3)&^3):]
	return true
}
