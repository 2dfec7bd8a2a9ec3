package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Limits on what a file may make the reader do. They are those of Wireshark's
// file library where it has one.
const (
	// MaxFrame is the most that may be captured of one frame, bytes.
	MaxFrame = 262_144
	// maxBlock is the largest block of pcapng, bytes.
	maxBlock = 16 << 20
	// maxInterfaces and maxSections hold for one file, maxOptions for one block.
	maxInterfaces = 65_536
	maxSections   = 65_536
	maxOptions    = 1_000
)

// bufferSize is how much is asked for at a time. Frames are handed out where
// they lie in the buffer, so that only the last, split one is ever moved.
const bufferSize = 256 << 10

// maxIdle is how often the input may give nothing and no error either.
const maxIdle = 100

// digestSize is how much of the content Digest covers at most.
const digestSize = 64 << 10

// ReadOptions are for opening capture files. The zero value has the defaults.
type ReadOptions struct {
	// MaxBytes and MaxRatio bound what a compressed file may expand to: 10 GiB
	// and 100 times its size by default; negative lifts the limit. The ratio
	// counts only after the first 16 MiB, since a short file of zeros is
	// nothing strange. Files that are not compressed have no limit.
	MaxBytes int64
	MaxRatio int
	// Done makes Open and Next return context.Canceled soon after it is closed,
	// also while they wait for a pipe; nil is never.
	Done <-chan struct{}
}

// FormatError is a broken or refused file. All that stands before Offset was
// delivered.
type FormatError struct {
	// Offset is where the broken part begins, in the decompressed content.
	Offset int64
	Reason string
	// Err is what Reason is about, if there is more: ErrExpansion, or what the
	// decompressor found.
	Err error
}

func (e *FormatError) Error() string {
	s := e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s + " (at offset " + strconv.FormatInt(e.Offset, 10) + ")"
}

// Unwrap returns Err.
func (e *FormatError) Unwrap() error { return e.Err }

// Reader reads the frames of one capture: pcap or pcapng, plain or compressed
// with gzip or zstd, which it finds out itself. It is used by one goroutine.
type Reader struct {
	in *input

	// buf[pos:end] has been read and not consumed; base is the offset of buf[0]
	// in the content.
	buf      []byte
	pos, end int
	base     int64

	next   func(*Reader, *Frame) error
	big    bool // byte order of the file, or of the section
	number uint64
	err    error // what every later Next returns

	digest   uint64
	digested int
	ahead    *Frame // read early, for Digest
	aheadErr error

	pcap pcapHeader
	ng   pcapng
}

// NewReader reads from r, which it does not close. It returns when the file's
// header is read; a *FormatError says that this is no capture.
func NewReader(r io.Reader, o ReadOptions) (*Reader, error) {
	in, err := newInput(r, o)
	if err != nil {
		return nil, err
	}
	return newReader(in)
}

// newReader owns in, also when it fails.
func newReader(in *input) (*Reader, error) {
	r := &Reader{in: in, buf: make([]byte, bufferSize), digest: fnvOffset}
	if err := r.open(); err != nil {
		_ = in.close()
		return nil, err
	}
	return r, nil
}

// open reads the magic number, and the header that it announces.
func (r *Reader) open() error {
	if err := r.need(4); err != nil {
		switch {
		case errors.Is(err, io.EOF):
			return &FormatError{Reason: "the file is empty"}
		case errors.Is(err, io.ErrUnexpectedEOF):
			return &FormatError{Reason: "the file is too short for a capture"}
		}
		return err
	}
	magic := r.buf[r.pos : r.pos+4]
	if binary.BigEndian.Uint32(magic) == blockSection {
		return r.openPcapng()
	}
	if r.openPcapMagic(magic) {
		return r.openPcap()
	}
	return &FormatError{Reason: notCapture(magic)}
}

// notCapture tells what a file is that is no capture, as far as its first bytes
// do.
func notCapture(magic []byte) string {
	const no = "neither pcap nor pcapng"
	switch string(magic) {
	case "snoo":
		return no + ", but a snoop file"
	case "GMBU", "RTSS":
		return no + ", but a Network Monitor file"
	case "\xfd7zX":
		return no + ", but compressed with xz: decompress it first"
	case "BZh9", "BZh8", "BZh7", "BZh6", "BZh5", "BZh4", "BZh3", "BZh2", "BZh1":
		return no + ", but compressed with bzip2: decompress it first"
	case "\x04\x22\x4d\x18":
		return no + ", but compressed with lz4: decompress it first"
	case "PK\x03\x04":
		return no + ", but a zip archive: unpack it first"
	case "\x1f\x8b\x08\x00", "\x1f\x8b\x08\x08", "\x28\xb5\x2f\xfd":
		return no + ", but compressed twice: decompress it first"
	}
	return no
}

// Next reads the next frame into f, whose Data is valid until the call after
// it. It returns io.EOF at the end, and a *FormatError where the file is broken,
// after everything that stands before it; either is returned again by every
// later call. It allocates only for comments.
func (r *Reader) Next(f *Frame) error {
	if r.err != nil {
		return r.err
	}
	if r.ahead != nil {
		*f, r.ahead = *r.ahead, nil
		r.err = r.aheadErr
		return r.err
	}
	if err := r.next(r, f); err != nil {
		r.err = err
		return err
	}
	return nil
}

// Digest identifies the content of the file: a hash of what stands up to and
// with its first frame, of 64 KiB at most. It is the same for plain and
// compressed copies, on a pipe, and while the file still grows; the first frame
// must have arrived.
func (r *Reader) Digest() uint64 {
	if r.number == 0 && r.err == nil && r.ahead == nil {
		f := new(Frame)
		r.aheadErr = r.next(r, f)
		r.ahead = f
	}
	return r.digest
}

// FNV-1a, 64 bits.
const (
	fnvOffset = 0xcbf29ce484222325
	fnvPrime  = 0x100000001b3
)

// hash takes the next part of the content into the digest, until the first
// frame has been read.
func (r *Reader) hash(b []byte) {
	b = b[:min(len(b), digestSize-r.digested)]
	r.digested += len(b)
	for _, c := range b {
		r.digest = (r.digest ^ uint64(c)) * fnvPrime
	}
}

// Offset is how much of the input has been read, in bytes of the file as it
// lies there, compressed or not.
func (r *Reader) Offset() int64 { return r.in.consumed() }

// Size is the size of the input, bytes; -1 where it is not known.
func (r *Reader) Size() int64 { return r.in.size }

// Interfaces are those described so far, of all sections, in the order of
// Frame.Interface. The result is valid until the next call of Next.
func (r *Reader) Interfaces() []Interface { return r.ng.interfaces }

// Sections are those begun so far; of pcap files there is one, of which nothing
// is known. The result is valid until the next call of Next.
func (r *Reader) Sections() []Section { return r.ng.sections }

// Close closes what Open opened. It may be called at any time from the
// goroutine that reads.
func (r *Reader) Close() error {
	if r.err == nil {
		r.err = errClosed
	}
	return r.in.close()
}

var errClosed = errors.New("reading a capture: the reader is closed")

// offset is where the unread content begins.
func (r *Reader) offset() int64 { return r.base + int64(r.pos) }

// need makes n bytes available at buf[pos:]. It returns io.EOF when there are
// none, and io.ErrUnexpectedEOF when there are fewer. The buffer grows only
// when it is full, never because of a length that a file claims.
func (r *Reader) need(n int) error {
	if r.end-r.pos >= n {
		return nil
	}
	if r.pos > 0 {
		copy(r.buf, r.buf[r.pos:r.end])
		r.base += int64(r.pos)
		r.end -= r.pos
		r.pos = 0
	}
	for idle := 0; r.end < n; {
		if r.end == len(r.buf) {
			r.buf = append(r.buf, make([]byte, len(r.buf))...)
		}
		m, err := r.in.read(r.buf[r.end:])
		r.end += m
		if r.end >= n {
			return nil
		}
		if err != nil {
			switch {
			case !errors.Is(err, io.EOF):
				return r.readError(err)
			case r.end == 0:
				return io.EOF
			}
			return io.ErrUnexpectedEOF
		}
		if m > 0 {
			idle = 0
		} else if idle++; idle == maxIdle {
			return fmt.Errorf("reading a capture: %w", io.ErrNoProgress)
		}
	}
	return nil
}

// readError makes a *FormatError of what is wrong with the content, not with
// the reading of it.
func (r *Reader) readError(err error) error {
	var broken *brokenInput
	if errors.As(err, &broken) {
		return &FormatError{Offset: r.base + int64(r.end), Reason: broken.reason, Err: broken.err}
	}
	return err
}

// truncated turns the result of need into the error of a frame, or of a block,
// that is not all there.
func (r *Reader) truncated(err error, what string) error {
	if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return err
	}
	return &FormatError{Offset: r.offset(), Reason: "the file ends in the middle of " + what}
}

// frameName names the frame that comes next, for errors.
func (r *Reader) frameName() string { return "frame " + strconv.FormatUint(r.number+1, 10) }
