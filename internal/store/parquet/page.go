package parquet

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/parquet-go/parquet-go/format"

	"github.com/viewtcp/viewtcp/internal/store"
)

// A pageHeader is what stands before each page of a column: PageHeader of
// parquet-format's parquet.thrift, as far as pages of ours need it.
type pageHeader struct {
	kind         format.PageType
	size         int // as it is stored, bytes
	plain        int // uncompressed, with the levels
	crc          uint32
	rows         int // values, in a dictionary
	nulls        int
	encoding     format.Encoding
	levels       int // bytes of the definition levels
	repeats      int // bytes of the repetition levels
	uncompressed bool
}

var errPage = fmt.Errorf("page: %w", store.ErrDamaged)

// parsePageHeader reads the header at the front of b and returns what comes after
// it. No number in it is negative, nor larger than an int32.
func parsePageHeader(b []byte) (h pageHeader, rest []byte, err error) {
	r := thriftReader{byteReader: byteReader{b: b}}
	r.fields(0, func(id int, kind byte) bool {
		switch {
		case id == 1 && kind == thriftI32:
			h.kind = format.PageType(r.int32())
		case id == 2 && kind == thriftI32:
			h.plain = r.int32()
		case id == 3 && kind == thriftI32:
			h.size = r.int32()
		case id == 4 && kind == thriftI32:
			h.crc = uint32(r.varint())
		case id == 5 && kind == thriftStruct: // DataPageHeader
			levels := format.RLE
			r.fields(1, func(id int, kind byte) bool {
				switch {
				case id == 1 && kind == thriftI32:
					h.rows = r.int32()
				case id == 2 && kind == thriftI32:
					h.encoding = format.Encoding(r.int32())
				case id == 3 && kind == thriftI32:
					levels = format.Encoding(r.int32())
				default:
					return false
				}
				return true
			})
			r.bad = r.bad || levels != format.RLE
		case id == 7 && kind == thriftStruct: // DictionaryPageHeader
			r.fields(1, func(id int, kind byte) bool {
				switch {
				case id == 1 && kind == thriftI32:
					h.rows = r.int32()
				case id == 2 && kind == thriftI32:
					h.encoding = format.Encoding(r.int32())
				default:
					return false
				}
				return true
			})
		case id == 8 && kind == thriftStruct: // DataPageHeaderV2
			r.fields(1, func(id int, kind byte) bool { return r.dataPage(&h, id, kind) })
		default:
			return false
		}
		return true
	})
	if r.bad || h.size > len(r.b) || h.nulls > h.rows || h.levels+h.repeats > h.size {
		return h, nil, errPage
	}
	return h, r.b, nil
}

// dataPage reads a field of a DataPageHeaderV2.
func (r *thriftReader) dataPage(h *pageHeader, id int, kind byte) bool {
	switch {
	case id == 2 && kind == thriftI32:
		h.nulls = r.int32()
	case id == 3 && kind == thriftI32:
		h.rows = r.int32()
	case id == 4 && kind == thriftI32:
		h.encoding = format.Encoding(r.int32())
	case id == 5 && kind == thriftI32:
		h.levels = r.int32()
	case id == 6 && kind == thriftI32:
		h.repeats = r.int32()
	case id == 7 && (kind == thriftTrue || kind == thriftFalse):
		h.uncompressed = kind == thriftFalse
	default:
		return false
	}
	return true
}

// A thriftReader reads Thrift's compact protocol, thrift-compact-protocol.md.
type thriftReader struct{ byteReader }

// Types of fields.
const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftI8     = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
	// maxThriftDepth is more than any header is deep.
	maxThriftDepth = 8
)

// fields calls fn for each field of a struct. What fn does not take, by returning
// false, is skipped.
func (r *thriftReader) fields(depth int, fn func(id int, kind byte) bool) {
	id := 0
	for !r.bad {
		b := r.byte()
		kind := b & 15
		if kind == 0 {
			return
		}
		if d := int(b >> 4); d != 0 {
			id += d
		} else {
			id = int(r.varint())
		}
		if !fn(id, kind) {
			r.skip(depth, kind)
		}
	}
}

// skip goes past a value.
func (r *thriftReader) skip(depth int, kind byte) {
	if depth > maxThriftDepth {
		r.fail()
		return
	}
	switch kind {
	case thriftTrue, thriftFalse: // the type is the value
	case thriftI8:
		r.byte()
	case thriftI16, thriftI32, thriftI64:
		r.varint()
	case thriftDouble:
		r.bytes(8)
	case thriftBinary:
		r.bytes(r.uvarint())
	case thriftList, thriftSet:
		b := r.byte()
		n := uint64(b >> 4)
		if n == 15 {
			n = r.uvarint()
		}
		r.items(depth, n, b&15)
	case thriftMap:
		if n := r.uvarint(); n > 0 {
			kinds := r.byte()
			for i := uint64(0); i < n && !r.bad; i++ {
				r.items(depth, 1, kinds>>4)
				r.items(depth, 1, kinds&15)
			}
		}
	case thriftStruct:
		r.fields(depth+1, func(int, byte) bool { return false })
	default:
		r.fail()
	}
}

// items goes past values of a list, of which booleans take a byte.
func (r *thriftReader) items(depth int, n uint64, kind byte) {
	for i := uint64(0); i < n && !r.bad; i++ {
		if kind == thriftTrue || kind == thriftFalse {
			r.byte()
		} else {
			r.skip(depth+1, kind)
		}
	}
}

// int32 reads a number that is not negative.
func (r *thriftReader) int32() int {
	n := r.varint()
	if n < 0 || n > math.MaxInt32 {
		return int(r.fail())
	}
	return int(n)
}

// decodeHybrid fills dst with numbers of so many bits, at most 32, in the encoding
// RLE of Parquet: runs of one number and groups of eight that are packed.
func decodeHybrid(dst []uint32, b []byte, width uint) error {
	r := byteReader{b: b}
	for len(dst) > 0 {
		head := r.uvarint()
		if r.bad {
			return errPage
		}
		if head&1 == 0 {
			var v uint32
			for i, c := range r.bytes(uint64(width+7) / 8) {
				v |= uint32(c) << (8 * i)
			}
			n := int(min(head>>1, uint64(len(dst))))
			if r.bad || n == 0 {
				return errPage
			}
			fill(dst[:n], v)
			dst = dst[n:]
			continue
		}
		groups := head >> 1
		n := int(min(groups*8, uint64(len(dst))))
		if n == 0 || groups > math.MaxInt32 {
			return errPage
		}
		need := uint64(n) * uint64(width)
		size := min(groups*uint64(width), uint64(len(r.b)))
		if (need+7)/8 > size {
			return errPage
		}
		unpack(dst[:n], r.b, width)
		r.b, dst = r.b[size:], dst[n:]
	}
	return nil
}

func fill[T any](dst []T, v T) {
	for i := range dst {
		dst[i] = v
	}
}

// unpack reads numbers of so many bits, at most 32, the first in the lowest. b has
// them all, and may go on after them.
func unpack(dst []uint32, b []byte, width uint) {
	mask := uint64(1)<<width - 1
	bit := uint(0)
	i := 0
	for ; i < len(dst) && int(bit/8)+8 <= len(b); i++ {
		dst[i] = uint32(binary.LittleEndian.Uint64(b[bit/8:]) >> (bit % 8) & mask)
		bit += width
	}
	if i == len(dst) {
		return
	}
	var end [16]byte
	at := bit / 8
	copy(end[:], b[min(at, uint(len(b))):])
	for bit -= at * 8; i < len(dst); i++ {
		dst[i] = uint32(binary.LittleEndian.Uint64(end[bit/8:]) >> (bit % 8) & mask)
		bit += width
	}
}

// decodeDelta fills dst with numbers in the encoding DELTA_BINARY_PACKED, modulo
// limit+1, and returns what comes after them.
func decodeDelta(dst []uint64, b []byte, limit uint64) (rest []byte, err error) {
	r := byteReader{b: b}
	block, minis, total, sum := r.uvarint(), r.uvarint(), r.uvarint(), uint64(r.varint())
	if r.bad || minis == 0 || block > 1<<16 || block%minis != 0 || block/minis%8 != 0 || total < uint64(len(dst)) {
		return nil, errPage
	}
	if total > uint64(len(dst)) {
		return nil, fmt.Errorf("%w: %d numbers for %d rows", errPage, total, len(dst))
	}
	if len(dst) == 0 {
		return r.b, nil
	}
	dst[0] = sum & limit
	dst = dst[1:]
	per := int(block / minis)
	for len(dst) > 0 {
		least := uint64(r.varint())
		widths := r.bytes(minis)
		if r.bad || block == 0 {
			return nil, errPage
		}
		for _, w := range widths {
			n := min(per, len(dst))
			if n == 0 {
				break
			}
			// The last one may end with its last number.
			size := min(per*int(w)/8, len(r.b))
			if w > 64 || size < (n*int(w)+7)/8 {
				return nil, errPage
			}
			sum = addDeltas(dst[:n], r.b, uint(w), sum, least, limit)
			r.b, dst = r.b[size:], dst[n:]
		}
	}
	return r.b, nil
}

// addDeltas reads differences of so many bits, each of which is least more, and
// fills dst with the sums; it returns the last one.
func addDeltas(dst []uint64, b []byte, width uint, sum, least, limit uint64) uint64 {
	if width == 0 {
		for i := range dst {
			sum += least
			dst[i] = sum & limit
		}
		return sum
	}
	mask := ^uint64(0) >> (64 - width)
	bit := uint(0)
	i := 0
	if width <= 57 { // in eight bytes, wherever it begins
		for ; i < len(dst) && int(bit/8)+8 <= len(b); i++ {
			sum += least + binary.LittleEndian.Uint64(b[bit/8:])>>(bit%8)&mask
			dst[i] = sum & limit
			bit += width
		}
	}
	for ; i < len(dst); i++ {
		var part [16]byte
		copy(part[:], b[min(bit/8, uint(len(b))):])
		v := binary.LittleEndian.Uint64(part[:]) >> (bit % 8)
		if s := bit % 8; s > 0 {
			v |= uint64(part[8]) << (64 - s)
		}
		sum += least + v&mask
		dst[i] = sum & limit
		bit += width
	}
	return sum
}
