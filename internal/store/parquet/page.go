package parquet

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/parquet-go/parquet-go/encoding/thrift"
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

// maxPageHeader is more than any header has, bytes. It bounds how deep the library
// follows what it does not know.
const maxPageHeader = 64 << 10

// A headerReader reads the headers of pages. Its memory serves for all of them, or a
// header would take twice the time.
type headerReader struct {
	b      thrift.BytesReader
	d      *thrift.Decoder
	header format.PageHeader
}

func newHeaderReader() headerReader {
	b := new(thrift.CompactProtocol).NewReaderFromBytes(nil)
	return headerReader{b: b, d: thrift.NewDecoder(b)}
}

// parse reads the header at the front of b and returns what comes after it. No count
// or size in it is negative, nor larger than an int32.
func (r *headerReader) parse(b []byte) (h pageHeader, rest []byte, err error) {
	f := &r.header
	*f = format.PageHeader{}
	r.b.ResetBytes(b[:min(len(b), maxPageHeader)])
	if err := r.d.Decode(f); err != nil {
		return h, nil, errPage
	}
	rest = b[r.b.BytesRead():]
	h = pageHeader{kind: f.Type, size: int(f.CompressedPageSize), plain: int(f.UncompressedPageSize), crc: uint32(f.CRC)}
	known := false
	switch f.Type {
	case format.DataPage:
		d := &f.DataPageHeader
		known = d.Valid && d.V.DefinitionLevelEncoding == format.RLE
		h.rows, h.encoding = int(d.V.NumValues), d.V.Encoding
	case format.DictionaryPage:
		d := &f.DictionaryPageHeader
		known = d.Valid
		h.rows, h.encoding = int(d.V.NumValues), d.V.Encoding
	case format.IndexPage: // there is none of ours
	case format.DataPageV2:
		d := &f.DataPageHeaderV2
		known = d.Valid
		h.rows, h.nulls, h.encoding = int(d.V.NumRows), int(d.V.NumNulls), d.V.Encoding
		h.levels, h.repeats = int(d.V.DefinitionLevelsByteLength), int(d.V.RepetitionLevelsByteLength)
		h.uncompressed = d.V.IsCompressed.Valid && !d.V.IsCompressed.V
	}
	if !known || min(h.size, h.plain, h.rows, h.nulls, h.levels, h.repeats) < 0 ||
		h.size > len(rest) || h.nulls > h.rows || h.levels > h.size-h.repeats {
		return h, nil, errPage
	}
	return h, rest, nil
}

// A hybridRun is a part of numbers in the encoding RLE of Parquet.
type hybridRun struct {
	n      int
	v      uint32 // all of them, or
	packed []byte // groups of eight, and perhaps what comes after them
}

// hybridRun reads the next run of numbers of so many bits, at most 32, of which so
// many are left.
func (r *byteReader) hybridRun(width uint, left int) (run hybridRun, err error) {
	head := r.uvarint()
	if head&1 == 0 {
		for i, c := range r.bytes(uint64(width+7) / 8) {
			run.v |= uint32(c) << (8 * i)
		}
		if run.n = int(min(head>>1, uint64(left))); r.bad || run.n == 0 {
			return run, errPage
		}
		return run, nil
	}
	groups := head >> 1
	run.n = int(min(groups*8, uint64(left)))
	if r.bad || run.n == 0 || groups > math.MaxInt32 {
		return run, errPage
	}
	need := uint64(run.n) * uint64(width)
	size := min(groups*uint64(width), uint64(len(r.b)))
	if (need+7)/8 > size {
		return run, errPage
	}
	run.packed, r.b = r.b, r.b[size:]
	return run, nil
}

// decodeHybrid fills dst with numbers of so many bits, at most 32, in the encoding
// RLE of Parquet: runs of one number and groups of eight that are packed. It returns
// the greatest of them.
func decodeHybrid(dst []uint32, b []byte, width uint) (most uint32, err error) {
	r := byteReader{b: b}
	for len(dst) > 0 {
		run, err := r.hybridRun(width, len(dst))
		if err != nil {
			return 0, err
		}
		part := dst[:run.n]
		if dst = dst[run.n:]; run.packed == nil {
			fill(part, run.v)
			most = max(most, run.v)
			continue
		}
		unpack(part, run.packed, width)
		most = max(most, slices.Max(part))
	}
	return most, nil
}

// bools are the bits of a byte, the lowest first.
var bools = func() (all [256][8]bool) {
	for b := range all {
		for i := range 8 {
			all[b][i] = b>>i&1 != 0
		}
	}
	return all
}()

// decodeLevels fills known with definition levels, which are 0 or 1 in the encoding
// of decodeHybrid, and returns how many are 1.
func decodeLevels(known []bool, b []byte) (n int, err error) {
	r := byteReader{b: b}
	for len(known) > 0 {
		run, err := r.hybridRun(1, len(known))
		if err != nil {
			return 0, err
		}
		part := known[:run.n]
		known = known[run.n:]
		switch {
		case run.packed != nil:
			for i := 0; i < len(part); i += 8 {
				c := run.packed[i/8]
				if left := len(part) - i; left < 8 {
					c &= 1<<left - 1
				}
				copy(part[i:], bools[c][:])
				n += bits.OnesCount8(c)
			}
		case run.v > 1:
			return 0, errPage
		default:
			fill(part, run.v == 1)
			n += int(run.v) * len(part)
		}
	}
	return n, nil
}

// fill sets all of dst to v, most of it by copying what is set.
func fill[T any](dst []T, v T) {
	n := min(len(dst), 16)
	for i := range n {
		dst[i] = v
	}
	for ; n > 0 && n < len(dst); n *= 2 {
		copy(dst[n:], dst[:n])
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
