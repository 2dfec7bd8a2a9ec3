package capture

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// Format is a kind of capture file.
type Format uint8

const (
	// FormatPcapng is pcapng with times in nanoseconds.
	FormatPcapng Format = iota
	// FormatPcap is the older one, with nanoseconds: one link type, no
	// comments, interfaces, directions and counters.
	FormatPcap
)

// WriterOptions say what a file begins with. The zero value is pcapng without
// any interface yet.
type WriterOptions struct {
	Format Format
	// Section is written into pcapng: Application is what wrote the file.
	Section Section
	// Interfaces are those that frames will be of, in the order of
	// Frame.Interface; more can be added while writing. Times are written in
	// nanoseconds whatever their Resolution is. Their Stats are not written.
	Interfaces []Interface
}

// Writer writes the frames of a capture. It is used by one goroutine, and does
// not close what it writes to. After an error it writes nothing more.
type Writer struct {
	dst     io.Writer
	buf     []byte
	full    int   // length of buf from which it goes out
	written int64 // before buf
	err     error

	format     Format
	interfaces []LinkType
	started    bool // pcap: the header is written
}

// flushSize is when the writer's buffer goes out.
const flushSize = 64 << 10

// pcapSnapLen is what the header says when nothing is known: the limit of what
// readers take.
const pcapSnapLen = MaxFrame

// NewWriter begins a file.
func NewWriter(w io.Writer, o WriterOptions) (*Writer, error) {
	wr := &Writer{dst: w, format: o.Format, buf: make([]byte, 0, flushSize+4096), full: flushSize}
	if o.Format == FormatPcapng {
		wr.section(&o.Section)
	}
	for i := range o.Interfaces {
		if _, err := wr.AddInterface(&o.Interfaces[i]); err != nil {
			return nil, err
		}
	}
	return wr, nil
}

// AddInterface announces an interface and returns its number. A pcap file
// refuses one of another link type than the first.
func (w *Writer) AddInterface(i *Interface) (uint32, error) {
	if w.err != nil {
		return 0, w.err
	}
	id := uint32(len(w.interfaces))
	if w.format == FormatPcap {
		if err := w.oneLink(i.Link); err != nil {
			return 0, err
		}
		w.pcapHeader(i)
	} else {
		if id == maxInterfaces {
			return 0, fmt.Errorf("writing pcapng: more than %d interfaces", maxInterfaces)
		}
		w.describe(i)
	}
	w.interfaces = append(w.interfaces, i.Link)
	return id, w.flushFull()
}

// oneLink refuses a second link type in a pcap file.
func (w *Writer) oneLink(l LinkType) error {
	if len(w.interfaces) > 0 && w.interfaces[0] != l {
		return fmt.Errorf("writing pcap: a file holds one link type, not %v and %v: write pcapng", w.interfaces[0], l)
	}
	return nil
}

// Write adds a frame; bytes, lengths and time are as they are in f. In pcapng it
// carries its direction, its own comment and the given one, if they are not
// empty. The frame's interface must have been announced.
func (w *Writer) Write(f *Frame, comment string) error {
	if w.err != nil {
		return w.err
	}
	if len(f.Data) > MaxFrame {
		return fmt.Errorf("writing frame %d: %d captured bytes are more than the limit of %d", f.Number, len(f.Data), MaxFrame)
	}
	if w.format == FormatPcap {
		return w.writePcap(f)
	}
	if uint64(f.Interface) >= uint64(len(w.interfaces)) {
		return fmt.Errorf("writing frame %d: its interface %d was not announced", f.Number, f.Interface)
	}
	if l := w.interfaces[f.Interface]; l != f.Link {
		return fmt.Errorf("writing frame %d: its link type is %v, that of its interface %v", f.Number, f.Link, l)
	}
	start := w.beginBlock(blockEnhanced)
	ticks := uint64(f.Time)
	w.u32(f.Interface)
	w.u32(uint32(ticks >> 32))
	w.u32(uint32(ticks))
	w.u32(uint32(len(f.Data)))
	w.u32(f.WireLen)
	w.buf = append(w.buf, f.Data...)
	w.align()
	if f.Way != WayUnknown || comment != "" || f.Comment != "" || f.Dropped != 0 {
		if f.Comment != "" && f.Comment != comment {
			w.text(1, f.Comment)
		}
		if comment != "" {
			w.text(1, comment)
		}
		if f.Way != WayUnknown {
			w.option(2, 4)
			w.u32(uint32(f.Way))
		}
		if f.Dropped != 0 {
			w.option(4, 8)
			w.buf = binary.LittleEndian.AppendUint64(w.buf, f.Dropped)
		}
		w.u32(0) // end of options
	}
	w.endBlock(start)
	return w.flushFull()
}

// WriteStats adds the counters of an interface as of a moment, nanoseconds
// since 1970: the last thing that is written about it. Pcap has no place for
// them.
func (w *Writer) WriteStats(id uint32, at int64, s *InterfaceStats) error {
	if w.err != nil || w.format == FormatPcap {
		return w.err
	}
	if uint64(id) >= uint64(len(w.interfaces)) {
		return fmt.Errorf("writing statistics: interface %d was not announced", id)
	}
	start := w.beginBlock(blockStats)
	w.u32(id)
	w.u32(uint32(uint64(at) >> 32))
	w.u32(uint32(uint64(at)))
	for i, v := range [...]uint64{s.Received, s.Dropped, s.FilterAccepted, s.OSDropped, s.Delivered} {
		if i < 2 || v != 0 {
			w.option(uint16(4+i), 8)
			w.buf = binary.LittleEndian.AppendUint64(w.buf, v)
		}
	}
	w.u32(0)
	w.endBlock(start)
	return w.flushFull()
}

// Offset is how long the file is with all that Flush would write: where the
// next block begins.
func (w *Writer) Offset() int64 { return w.written + int64(len(w.buf)) }

// Flush hands all that was written to the underlying writer.
func (w *Writer) Flush() error {
	if w.err != nil {
		return w.err
	}
	if w.format == FormatPcap && !w.started { // no frame, and nothing known
		w.pcapHeader(&Interface{Link: LinkEthernet})
	}
	return w.flush()
}

func (w *Writer) flushFull() error {
	if len(w.buf) < w.full {
		return nil
	}
	return w.flush()
}

func (w *Writer) flush() error {
	n, err := w.dst.Write(w.buf)
	w.written += int64(n)
	w.buf = w.buf[:0]
	if err != nil {
		w.err = fmt.Errorf("writing a capture: %w", err)
	}
	return w.err
}

// section writes the section header block.
func (w *Writer) section(s *Section) {
	start := w.beginBlock(blockSection)
	w.u32(byteOrderMagic)
	w.u32(1)                                                    // version 1.0
	w.buf = binary.LittleEndian.AppendUint64(w.buf, ^uint64(0)) // length not known
	for _, c := range s.Comments {
		w.text(1, c)
	}
	w.text(2, s.Hardware)
	w.text(3, s.OS)
	w.text(4, s.Application)
	w.u32(0)
	w.endBlock(start)
}

// describe writes an interface description block.
func (w *Writer) describe(i *Interface) {
	start := w.beginBlock(blockInterface)
	w.buf = binary.LittleEndian.AppendUint16(w.buf, uint16(i.Link))
	w.buf = binary.LittleEndian.AppendUint16(w.buf, 0)
	w.u32(i.SnapLen)
	w.text(1, i.Comment)
	w.text(2, i.Name)
	w.text(3, i.Description)
	w.option(9, 1)
	w.buf = append(w.buf, 9) // nanoseconds
	w.align()
	if i.Filter != "" {
		w.text(11, "\x00"+i.Filter) // a string, not BPF code
	}
	w.text(12, i.OS)
	w.u32(0)
	w.endBlock(start)
}

// beginBlock returns what endBlock needs to fill in the length.
func (w *Writer) beginBlock(typ uint32) int {
	start := len(w.buf)
	w.u32(typ)
	w.u32(0)
	return start
}

func (w *Writer) endBlock(start int) {
	n := uint32(len(w.buf) - start + 4)
	w.u32(n)
	binary.LittleEndian.PutUint32(w.buf[start+4:], n)
}

func (w *Writer) u32(v uint32) { w.buf = binary.LittleEndian.AppendUint32(w.buf, v) }

// align fills up to 4 bytes; blocks begin at such a place of the buffer, since
// every block's length is a multiple of 4.
func (w *Writer) align() {
	for len(w.buf)%4 != 0 {
		w.buf = append(w.buf, 0)
	}
}

func (w *Writer) option(code uint16, length int) {
	w.buf = binary.LittleEndian.AppendUint16(w.buf, code)
	w.buf = binary.LittleEndian.AppendUint16(w.buf, uint16(length))
}

// maxText keeps an option with its padding within 16 bits.
const maxText = 65_532

// text writes a string option, which is UTF-8; an empty one is left out.
func (w *Writer) text(code uint16, s string) {
	if s == "" {
		return
	}
	s = strings.ToValidUTF8(s, "\ufffd")
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") // without the character that the cut has split
	}
	w.option(code, len(s))
	w.buf = append(w.buf, s...)
	w.align()
}

func (w *Writer) pcapHeader(i *Interface) {
	if w.started {
		return
	}
	w.started = true
	snapLen := i.SnapLen
	if snapLen == 0 {
		snapLen = pcapSnapLen
	}
	w.u32(magicNano)
	w.u32(2 | 4<<16) // version 2.4
	w.u32(0)
	w.u32(0)
	w.u32(snapLen)
	w.u32(uint32(i.Link))
}

func (w *Writer) writePcap(f *Frame) error {
	if len(w.interfaces) == 0 {
		if _, err := w.AddInterface(&Interface{Link: f.Link}); err != nil {
			return err
		}
	}
	if err := w.oneLink(f.Link); err != nil {
		return err
	}
	sec := f.Time / 1_000_000_000
	if f.Time < 0 || sec > 1<<32-1 {
		return fmt.Errorf("writing frame %d: pcap has no place for times before 1970 and after 2106: write pcapng", f.Number)
	}
	w.u32(uint32(sec))
	w.u32(uint32(f.Time % 1_000_000_000))
	w.u32(uint32(len(f.Data)))
	w.u32(f.WireLen)
	w.buf = append(w.buf, f.Data...)
	return w.flushFull()
}
