package wire

import (
	"fmt"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// reader reads the fields of a payload. After the first error everything reads
// as zero, so that only the end needs a check.
type reader struct {
	b   []byte
	off int
	err error
}

// take returns the next n bytes, nil if they are not there.
func (r *reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n > len(r.b)-r.off {
		r.err = fmt.Errorf("%w: %d bytes wanted at offset %d, %d left", ErrCorrupt, n, r.off, len(r.b)-r.off)
		return nil
	}
	b := r.b[r.off : r.off+n]
	r.off += n
	return b
}

// count reads a count of items of at least size bytes each, and refuses one that
// the rest of the payload cannot hold.
func (r *reader) count(size int) int {
	n := int64(r.uint32())
	if r.err == nil && n*int64(size) > int64(len(r.b)-r.off) {
		r.err = fmt.Errorf("%w: %d items of %d bytes at offset %d, %d bytes left", ErrCorrupt, n, size, r.off, len(r.b)-r.off)
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

func (r *reader) uint8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return le.Uint16(b)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return le.Uint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return le.Uint64(b)
	}
	return 0
}

func (r *reader) stamp() tcp.Stamp {
	if b := r.take(16); b != nil {
		return decodeStamp(b)
	}
	return tcp.Stamp{}
}

func (r *reader) string() string { return string(r.take(int(r.uint16()))) }
