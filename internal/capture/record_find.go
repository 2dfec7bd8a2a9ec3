package capture

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Recording is what a recorder left in a directory, or is still writing: it can
// be read at the same time. It shows what was there when it was opened, and is
// used by one goroutine.
type Recording struct {
	dir      string
	segments []RecordedSegment
	ifaces   []Interface
}

// Dir is the directory of the recording.
func (rec *Recording) Dir() string { return rec.dir }

// RecordedSegment is one file of a recording.
type RecordedSegment struct {
	// Name is the file's name when the recording was opened.
	Name string
	// Live says that it is still being written.
	Live bool
	// First and Last are the times of its earliest and latest packet.
	First, Last          int64
	Packets, Connections int
	// SampleRate and Cutoff say what was left out, Lost what the kernel
	// dropped or could not be written.
	SampleRate uint32
	Cutoff     Cutoff
	Lost       uint64

	base   string
	number uint64
	// live is the index of a segment that has none on disk.
	live *segmentIndex
	// ifaces are the numbers of its interfaces in those of the recording.
	ifaces []uint32
}

// OpenRecording opens a directory for reading. Segments that cannot be read are
// left out, and named by the error besides the recording; the recording is nil
// only if the directory cannot be read.
func OpenRecording(dir string) (*Recording, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("opening recorded packets: %w", err)
	}
	rec := &Recording{dir: dir}
	var errs []error
	seen := make(map[string]bool)
	for _, e := range entries {
		base, number, ext, ok := parseName(e.Name())
		if !ok || ext != extLive && ext != extSealed || seen[base] {
			continue
		}
		seen[base] = true
		s := RecordedSegment{base: base, number: number}
		if err := rec.load(&s); errors.Is(err, os.ErrNotExist) {
			continue // retention was faster
		} else if err != nil {
			errs = append(errs, err)
			continue
		}
		rec.segments = append(rec.segments, s)
	}
	slices.SortFunc(rec.segments, func(a, b RecordedSegment) int { return cmp.Compare(a.number, b.number) })
	if err := errors.Join(errs...); err != nil {
		return rec, fmt.Errorf("opening recorded packets: %w", err)
	}
	return rec, nil
}

// Segments returns the files, oldest first.
func (rec *Recording) Segments() []RecordedSegment { return rec.segments }

// Interfaces returns where packets were captured; Frame.Interface is an index
// into it.
func (rec *Recording) Interfaces() []Interface { return rec.ifaces }

// open opens the file of a segment. It may have been sealed meanwhile.
func (rec *Recording) open(s *RecordedSegment) (f *os.File, live bool, err error) {
	f, err = os.Open(filepath.Join(rec.dir, s.base+extLive))
	if err == nil {
		return f, true, nil
	}
	f, err = os.Open(filepath.Join(rec.dir, s.base+extSealed))
	return f, false, err
}

// load reads what a segment says of itself.
func (rec *Recording) load(s *RecordedSegment) error {
	f, live, err := rec.open(s)
	if err != nil {
		return err
	}
	defer f.Close()
	var x *segmentIndex
	var ifaces []Interface
	if !live {
		if x, _, err = readIndex(filepath.Join(rec.dir, s.base+extIndex)); err == nil {
			ifaces, err = readInterfaces(f)
		}
		if err != nil && !errors.Is(err, errIndex) && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if live || err != nil {
		// Its index is in the recorder's memory, or broken.
		st, err := f.Stat()
		if err != nil {
			return err
		}
		scan, err := scanSegment(f, st.Size())
		if err != nil {
			return err
		}
		if x, err = parseIndex(scan.built.encode(scan.meta)); err != nil {
			return fmt.Errorf("segment %s: %w", s.base, err)
		}
		s.live, ifaces = x, scan.ifaces
	}
	s.Name, s.Live = filepath.Base(f.Name()), live
	s.First, s.Last, s.Packets, s.Connections = x.first, x.last, x.packets(), x.count()
	s.SampleRate, s.Cutoff, s.Lost = x.sample, x.cutoff, x.lost
	for _, i := range ifaces {
		s.ifaces = append(s.ifaces, rec.number(i))
	}
	return nil
}

// number finds an interface among those of all segments, or adds it.
func (rec *Recording) number(i Interface) uint32 {
	for n := range rec.ifaces {
		if rec.ifaces[n].Name == i.Name && rec.ifaces[n].Link == i.Link {
			return uint32(n)
		}
	}
	i.Section = 0
	rec.ifaces = append(rec.ifaces, i)
	return uint32(len(rec.ifaces) - 1)
}

// readInterfaces reads what stands before the first packet.
func readInterfaces(f io.Reader) ([]Interface, error) {
	r, err := NewReader(f, ReadOptions{})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if err := r.Next(new(Frame)); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return slices.Clone(r.Interfaces()), nil
}

// RecordQuery chooses packets. The zero value is all of them.
type RecordQuery struct {
	// Tuples are connections, named from either end; none is every one.
	Tuples []tcp.Tuple
	// Match, if not nil, chooses among them; the tuple is that of one end or the
	// other.
	Match func(tcp.Tuple) bool
	// From and To bound the time, both included, nanoseconds since 1970; 0 is
	// no bound.
	From, To int64
}

// overlaps tells whether a span of time has a part in what is asked for.
func (q *RecordQuery) overlaps(first, last int64) bool {
	return (q.From == 0 || last >= q.From) && (q.To == 0 || first <= q.To)
}

// RecordedConn is what a recording has of a connection.
type RecordedConn struct {
	// Tuple is as seen by the end with the smaller address.
	Tuple tcp.Tuple
	// Packets are recorded, Cut were left out by the cut-off.
	Packets, Cut uint64
	// First and Last are the times of its earliest and latest packet.
	First, Last int64
}

// each calls fn for the connections of a segment that are asked for.
func (q *RecordQuery) each(x *segmentIndex, fn func(i int, c *builtConn)) {
	try := func(i int) {
		c := x.conn(i)
		if (c.packets == 0 || q.overlaps(c.first, c.last)) && (q.Match == nil || q.Match(c.key.tuple())) {
			fn(i, &c)
		}
	}
	if len(q.Tuples) == 0 {
		for i := range x.count() {
			try(i)
		}
		return
	}
	keys := make([]connKey, len(q.Tuples))
	for i := range q.Tuples {
		keys[i], _ = keyOf(&q.Tuples[i])
	}
	slices.SortFunc(keys, func(a, b connKey) int { return slices.Compare(a[:], b[:]) })
	for _, k := range slices.Compact(keys) {
		if i, ok := x.find(&k); ok {
			try(i)
		}
	}
}

// index returns the index of a segment; nil is gone.
func (rec *Recording) index(s *RecordedSegment) (*segmentIndex, error) {
	if s.live != nil {
		return s.live, nil
	}
	x, _, err := readIndex(filepath.Join(rec.dir, s.base+extIndex))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil //nolint:nilnil // retention removed it, and that is no error
	}
	return x, err
}

// Connections returns the connections that are asked for, in the order of their
// keys. A segment of which only a part is in the span of time counts whole.
func (rec *Recording) Connections(q RecordQuery) ([]RecordedConn, error) {
	all := make(map[connKey]*RecordedConn)
	for i := range rec.segments {
		s := &rec.segments[i]
		if !q.overlaps(s.First, s.Last) {
			continue
		}
		x, err := rec.index(s)
		if err != nil {
			return nil, fmt.Errorf("recorded connections: %w", err)
		}
		if x == nil {
			continue
		}
		q.each(x, func(_ int, c *builtConn) {
			have := all[c.key]
			if have == nil {
				have = &RecordedConn{Tuple: c.key.tuple()}
				all[c.key] = have
			}
			have.Cut += uint64(c.cut)
			if c.packets == 0 {
				return
			}
			if have.Packets == 0 || c.first < have.First {
				have.First = c.first
			}
			if have.Packets == 0 || c.last > have.Last {
				have.Last = c.last
			}
			have.Packets += uint64(c.packets)
		})
	}
	keys := make([]connKey, 0, len(all))
	for k := range all {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b connKey) int { return slices.Compare(a[:], b[:]) })
	out := make([]RecordedConn, len(keys))
	for i, k := range keys {
		out[i] = *all[k]
	}
	return out, nil
}

// Found reads the packets of a query.
type Found struct {
	rec  *Recording
	q    RecordQuery
	next int // the segment that is read next
	// earliest is the earliest time of the segments from each one on.
	earliest []int64
	pending  []foundPacket // in the order of their times
	files    []*blockFile  // by segment
	first    int           // files before it are closed
	number   uint64
	scratch  []int64
}

type foundPacket struct {
	time    int64
	offset  int64
	segment int
}

// Find returns the packets that are asked for, in the order of their times. The
// caller must Close it.
func (rec *Recording) Find(q RecordQuery) *Found {
	q.Tuples = slices.Clone(q.Tuples)
	n := len(rec.segments)
	f := &Found{rec: rec, q: q, earliest: make([]int64, n+1), files: make([]*blockFile, n)}
	f.earliest[n] = math.MaxInt64
	for i := n - 1; i >= 0; i-- {
		f.earliest[i] = f.earliest[i+1]
		if s := &rec.segments[i]; s.Packets > 0 {
			f.earliest[i] = min(f.earliest[i], s.First)
		}
	}
	return f
}

// Next reads a packet. Its data is valid until the next call. The error is io.EOF
// at the end; packets of segments that retention removed meanwhile are left out.
func (f *Found) Next(to *Frame) error {
	for f.next < len(f.rec.segments) && (len(f.pending) == 0 || f.pending[0].time >= f.earliest[f.next]) {
		if err := f.load(); err != nil {
			return fmt.Errorf("finding recorded packets: %w", err)
		}
	}
	if len(f.pending) == 0 {
		return io.EOF
	}
	p := f.pending[0]
	f.pending = f.pending[1:]
	b, err := f.files[p.segment].block(p.offset)
	if err == nil {
		err = f.frame(b, &f.rec.segments[p.segment], to)
	}
	if err != nil {
		return fmt.Errorf("recorded packet at %d of segment %s: %w", p.offset, f.rec.segments[p.segment].base, err)
	}
	f.number++
	to.Number = f.number
	return nil
}

// load adds the packets of the next segment to those that wait.
func (f *Found) load() error {
	n := f.next
	s := &f.rec.segments[n]
	f.next++
	if !f.q.overlaps(s.First, s.Last) || s.Packets == 0 {
		return nil
	}
	x, err := f.rec.index(s)
	if x == nil || err != nil {
		return err
	}
	f.scratch = f.scratch[:0]
	f.q.each(x, func(i int, _ *builtConn) { f.scratch = x.appendOffsets(f.scratch, i) })
	if len(f.scratch) == 0 {
		return nil
	}
	slices.Sort(f.scratch)
	file, _, err := f.rec.open(s)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	f.files[n] = &blockFile{f: file}
	f.pending = slices.Clone(f.pending)
	for _, at := range f.scratch {
		h, err := f.files[n].header(at)
		if err != nil {
			return fmt.Errorf("packet at %d of segment %s: %w", at, s.base, err)
		}
		t := int64(uint64(binary.LittleEndian.Uint32(h[12:]))<<32 | uint64(binary.LittleEndian.Uint32(h[16:])))
		if f.q.overlaps(t, t) {
			f.pending = append(f.pending, foundPacket{time: t, offset: at, segment: n})
		}
	}
	slices.SortStableFunc(f.pending, func(a, b foundPacket) int { return cmp.Compare(a.time, b.time) })
	// Files that nothing waits for are done with.
	least := n
	for _, p := range f.pending {
		least = min(least, p.segment)
	}
	for ; f.first < least; f.first++ {
		if b := f.files[f.first]; b != nil {
			_ = b.f.Close()
			f.files[f.first] = nil
		}
	}
	return nil
}

// frame reads an enhanced packet block.
func (f *Found) frame(b []byte, s *RecordedSegment, to *Frame) error {
	le := binary.LittleEndian
	id, capLen := le.Uint32(b[8:]), le.Uint32(b[20:])
	if uint64(capLen) > uint64(len(b)-32) || uint64(id) >= uint64(len(s.ifaces)) {
		return fmt.Errorf("a block of %d bytes says interface %d and %d captured bytes", len(b), id, capLen)
	}
	end := 28 + int(capLen)
	*to = Frame{
		Time:      int64(uint64(le.Uint32(b[12:]))<<32 | uint64(le.Uint32(b[16:]))),
		Interface: s.ifaces[id], Link: f.rec.ifaces[s.ifaces[id]].Link,
		Data: b[28:end:end], WireLen: le.Uint32(b[24:]),
	}
	var o optionReader
	if at := (end + 3) &^ 3; at+4 <= len(b)-4 {
		o.reset(b[at:len(b)-4], false)
	}
	for o.next() {
		switch {
		case o.code == 1 && to.Comment == "":
			to.Comment = string(o.value)
		case o.code == 2 && len(o.value) == 4:
			to.Way = Way(le.Uint32(o.value) & 3)
		}
	}
	return nil
}

// Close closes the files.
func (f *Found) Close() error {
	var errs []error
	for i, b := range f.files {
		if b != nil {
			errs = append(errs, b.f.Close())
			f.files[i] = nil
		}
	}
	f.pending, f.next = nil, len(f.rec.segments)
	return errors.Join(errs...)
}

// blockFile reads blocks of a file by their offsets, a piece of the file at a
// time: larger pieces where offsets follow closely.
type blockFile struct {
	f     *os.File
	buf   []byte
	start int64 // of buf in the file
}

const (
	farPiece  = 4 << 10
	nearPiece = 256 << 10
)

// at makes n bytes at an offset available.
func (b *blockFile) at(offset int64, n int) ([]byte, error) {
	if have := b.start + int64(len(b.buf)); offset < b.start || offset+int64(n) > have {
		piece := farPiece
		if offset >= b.start && offset-have < nearPiece && len(b.buf) > 0 {
			piece = nearPiece
		}
		piece = max(piece, n)
		if cap(b.buf) < piece {
			b.buf = make([]byte, piece)
		}
		m, err := b.f.ReadAt(b.buf[:piece], offset)
		b.buf, b.start = b.buf[:m], offset
		if m < n {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	i := int(offset - b.start)
	return b.buf[i : i+n], nil
}

// header returns the fixed part of an enhanced packet block, 28 bytes.
func (b *blockFile) header(offset int64) ([]byte, error) {
	h, err := b.at(offset, 28)
	if err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(h[4:])
	if binary.LittleEndian.Uint32(h) != blockEnhanced || n < 32 || n%4 != 0 || n > maxBlock {
		return nil, errors.New("no packet is there")
	}
	return h, nil
}

// block returns a whole enhanced packet block.
func (b *blockFile) block(offset int64) ([]byte, error) {
	h, err := b.header(offset)
	if err != nil {
		return nil, err
	}
	return b.at(offset, int(binary.LittleEndian.Uint32(h[4:])))
}
