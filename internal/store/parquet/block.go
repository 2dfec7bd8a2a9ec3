package parquet

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/viewtcp/viewtcp/internal/store"
)

// A block is some rows of one table, column by column: what a batch is in the
// log. docs/format.md describes it.

// Encodings of columns in blocks. encKnown is added to those that begin with a
// bit for each row that says whether its value is known.
const (
	encVarint  = 1
	encDelta   = 2
	encFixed   = 3
	encText    = 4
	encSame    = 5
	encKnown   = 0x80
	maxColumns = 4096
	// maxBlockRows bounds what the header of a block can make a reader allocate;
	// a block has a byte for each row as well, of its time.
	maxBlockRows = 1 << 20
)

var errBlock = fmt.Errorf("block: %w", store.ErrDamaged)

// A blockWriter keeps its memory from one block to the next.
type blockWriter struct {
	v            vec
	column, body []byte
}

// appendBlock appends rows as a block. parts are those of all rows together.
func appendBlock[T any](b []byte, w *blockWriter, cols []store.Column[T], rows []T, parts store.Part) []byte {
	counted := 0
	w.body = w.body[:0]
	for i := range cols {
		c := &cols[i]
		if c.Part&^parts != 0 {
			continue
		}
		gather(&w.v, c, rows)
		if w.v.unknown == len(rows) {
			continue
		}
		var enc byte
		enc, w.column = encodeVec(w.column[:0], &w.v)
		w.body = appendColumn(w.body, c.Tag, enc, w.column)
		counted++
	}
	b = binary.AppendUvarint(b, uint64(counted))
	return append(b, w.body...)
}

func appendColumn(b []byte, tag uint16, enc byte, column []byte) []byte {
	b = binary.AppendUvarint(b, uint64(tag))
	b = append(b, enc)
	b = binary.AppendUvarint(b, uint64(len(column)))
	return append(b, column...)
}

// encodeVec appends the values of a column, at least one of which is known.
func encodeVec(b []byte, v *vec) (byte, []byte) {
	var flag byte
	if v.unknown > 0 {
		flag = encKnown
		b = appendKnown(b, v)
	}
	if textual(v.typ) {
		return encText | flag, appendTexts(b, v)
	}
	if same, n := v.same(); same && v.typ != store.Time {
		return encSame | flag, binary.AppendUvarint(b, n)
	}
	switch v.typ {
	case store.ID:
		for i, n := range v.nums {
			if v.known[i] {
				b = binary.LittleEndian.AppendUint64(b, n)
			}
		}
		return encFixed | flag, b
	case store.Time:
		var last uint64
		for i, n := range v.nums {
			if v.known[i] {
				b = binary.AppendVarint(b, int64(n-last))
				last = n
			}
		}
		return encDelta | flag, b
	default:
		for i, n := range v.nums {
			if v.known[i] {
				b = binary.AppendUvarint(b, n)
			}
		}
		return encVarint | flag, b
	}
}

// same reports whether all known numbers are n.
func (v *vec) same() (ok bool, n uint64) {
	seen := false
	for i, x := range v.nums {
		if !v.known[i] {
			continue
		}
		if seen && x != n {
			return false, 0
		}
		n, seen = x, true
	}
	return true, n
}

// appendKnown appends a bit for each row, the first in the lowest of a byte.
func appendKnown(b []byte, v *vec) []byte {
	start := len(b)
	for range (v.len() + 7) / 8 {
		b = append(b, 0)
	}
	for i := range v.len() {
		if v.has(i) {
			b[start+i/8] |= 1 << (i % 8)
		}
	}
	return b
}

func appendTexts(b []byte, v *vec) []byte {
	b = binary.AppendUvarint(b, uint64(len(v.dict)))
	for _, s := range v.dict {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	switch n := len(v.dict); {
	case n == 1:
	case n <= 1<<8:
		for _, c := range v.codes {
			if c != noCode {
				b = append(b, byte(c))
			}
		}
	case n <= 1<<16:
		for _, c := range v.codes {
			if c != noCode {
				b = binary.LittleEndian.AppendUint16(b, uint16(c))
			}
		}
	default:
		for _, c := range v.codes {
			if c != noCode {
				b = binary.LittleEndian.AppendUint32(b, c)
			}
		}
	}
	return b
}

// A block as it was read: where its columns are. Its bytes are shared with the
// batch that it came from.
type block struct {
	rows    int
	columns []blockColumn // by ascending tag
}

type blockColumn struct {
	tag  uint16
	enc  byte
	data []byte
}

// parseBlock finds the columns of a block. What they hold is checked when they
// are decoded.
func parseBlock(rows uint64, b []byte) (block, error) {
	if rows == 0 || rows > maxBlockRows || rows > uint64(len(b)) {
		return block{}, fmt.Errorf("%w: %d rows", errBlock, rows)
	}
	r := byteReader{b: b}
	n := r.uvarint()
	if n > maxColumns || n > uint64(len(b)) {
		return block{}, fmt.Errorf("%w: %d columns", errBlock, n)
	}
	bl := block{rows: int(rows), columns: make([]blockColumn, 0, n)}
	last := -1
	for range n {
		tag := r.uvarint()
		enc := r.byte()
		data := r.bytes(r.uvarint())
		if r.bad || tag > 1<<16-1 || int(tag) <= last {
			return block{}, fmt.Errorf("%w: column %d after %d", errBlock, tag, last)
		}
		last = int(tag)
		bl.columns = append(bl.columns, blockColumn{tag: uint16(tag), enc: enc, data: data})
	}
	if r.bad || len(r.b) != 0 {
		return block{}, fmt.Errorf("%w: %d bytes too many", errBlock, len(r.b))
	}
	return bl, nil
}

// decode appends the values of a column to v, which has been reset to its type.
// On error v is of no use.
func (bl *block) decode(v *vec, tag uint16) error {
	c := bl.column(tag)
	if c == nil {
		v.addUnknown(bl.rows)
		return nil
	}
	if err := c.decode(v, bl.rows); err != nil {
		return fmt.Errorf("column %d: %w", tag, err)
	}
	return nil
}

// column finds a column; nil if all its values are unknown.
func (bl *block) column(tag uint16) *blockColumn {
	lo, hi := 0, len(bl.columns)
	for lo < hi {
		mid := (lo + hi) / 2
		if bl.columns[mid].tag < tag {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(bl.columns) && bl.columns[lo].tag == tag {
		return &bl.columns[lo]
	}
	return nil
}

func (c *blockColumn) decode(v *vec, rows int) error {
	r := byteReader{b: c.data}
	enc := c.enc
	var known []byte
	count := rows
	if enc&encKnown != 0 {
		enc &^= encKnown
		known = r.bytes(uint64(rows+7) / 8)
		if r.bad {
			return errBlock
		}
		count = 0
		for _, b := range known {
			count += bits.OnesCount8(b)
		}
		if rows%8 != 0 && known[len(known)-1]>>(rows%8) != 0 {
			return fmt.Errorf("%w: value beyond the last row", errBlock)
		}
	}
	v.unknown += rows - count
	if (enc == encText) != textual(v.typ) {
		return fmt.Errorf("%w: encoding %d for type %d", errBlock, enc, v.typ)
	}
	var err error
	if enc == encText {
		err = decodeTexts(v, &r, rows, count, known)
	} else {
		err = decodeNums(v, &r, enc, rows, known)
	}
	if err == nil && (r.bad || len(r.b) != 0) {
		err = errBlock
	}
	return err
}

func isKnown(known []byte, i int) bool { return known == nil || known[i/8]>>(i%8)&1 != 0 }

func decodeNums(v *vec, r *byteReader, enc byte, rows int, known []byte) error {
	var same, last uint64
	limit := maxOf(v.typ)
	if enc == encSame {
		same = r.uvarint()
	}
	nums, knowns := v.grow(rows)
	if known == nil && (enc == encVarint || enc == encSame) {
		return decodeAll(r, enc, same, limit, nums, knowns)
	}
	for i := range rows {
		if !isKnown(known, i) {
			nums[i], knowns[i] = 0, false
			continue
		}
		var n uint64
		switch enc {
		case encSame:
			n = same
		case encVarint:
			n = r.uvarint()
		case encDelta:
			last += uint64(r.varint())
			n = last
		case encFixed:
			n = r.uint64()
		default:
			return fmt.Errorf("%w: encoding %d", errBlock, enc)
		}
		if r.bad || n > limit {
			return errBlock
		}
		nums[i], knowns[i] = n, true
	}
	return nil
}

// decodeAll is decodeNums for the usual case: small numbers, all of them known.
func decodeAll(r *byteReader, enc byte, same, limit uint64, nums []uint64, known []bool) error {
	for i := range known {
		known[i] = true
	}
	if enc == encSame {
		for i := range nums {
			nums[i] = same
		}
		if r.bad || same > limit {
			return errBlock
		}
		return nil
	}
	b, at := r.b, 0
	for i := range nums {
		var n uint64
		var shift uint
		for {
			if at >= len(b) || shift > 63 {
				return errBlock
			}
			c := b[at]
			at++
			n |= uint64(c&0x7f) << shift
			if c < 0x80 {
				break
			}
			shift += 7
		}
		if n > limit {
			return errBlock
		}
		nums[i] = n
	}
	r.b = b[at:]
	return nil
}

// maxOf is the largest number that a type holds.
func maxOf(t store.Type) uint64 {
	switch t {
	case store.Uint32:
		return 1<<32 - 1
	case store.Uint16:
		return 1<<16 - 1
	case store.Bool:
		return 1
	default:
		return 1<<64 - 1
	}
}

func decodeTexts(v *vec, r *byteReader, rows, count int, known []byte) error {
	n := r.uvarint()
	if n == 0 && count > 0 || n > uint64(count) {
		return fmt.Errorf("%w: %d texts for %d values", errBlock, n, count)
	}
	// Most texts of a large dictionary are new: they share one string.
	section, all := r.b, ""
	codes := make([]uint32, n) // of this block's texts in v
	for i := range codes {
		s := r.bytes(r.uvarint())
		if r.bad || v.typ == store.Addr && len(s) != 16 {
			return errBlock
		}
		c, slot, hash, ok := v.index.findBytes(v.dict, s)
		if !ok {
			if all == "" {
				all = string(section)
			}
			end := len(section) - len(r.b)
			c = v.index.insert(slot, hash)
			v.dict = append(v.dict, all[end-len(s):end])
		}
		codes[i] = c
	}
	out := v.growCodes(rows)
	for i := range rows {
		if !isKnown(known, i) {
			out[i] = noCode
			continue
		}
		var c uint64
		switch {
		case n == 1:
		case n <= 1<<8:
			c = uint64(r.byte())
		case n <= 1<<16:
			c = uint64(r.uint16())
		default:
			c = uint64(r.uint32())
		}
		if r.bad || c >= n {
			return errBlock
		}
		out[i] = codes[c]
	}
	return nil
}

// A byteReader takes values off the front of b. After it ran out, bad is set and
// all values are zero.
type byteReader struct {
	b   []byte
	bad bool
}

func (r *byteReader) fail() uint64 {
	r.b, r.bad = nil, true
	return 0
}

func (r *byteReader) uvarint() uint64 {
	if len(r.b) > 0 && r.b[0] < 0x80 {
		n := r.b[0]
		r.b = r.b[1:]
		return uint64(n)
	}
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		return r.fail()
	}
	r.b = r.b[n:]
	return v
}

func (r *byteReader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		return int64(r.fail())
	}
	r.b = r.b[n:]
	return v
}

func (r *byteReader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *byteReader) byte() byte {
	if len(r.b) == 0 {
		return byte(r.fail())
	}
	b := r.b[0]
	r.b = r.b[1:]
	return b
}

func (r *byteReader) uint16() uint16 {
	if b := r.bytes(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *byteReader) uint32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *byteReader) uint64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}
