package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/netip"
	"slices"
	"sync"

	"github.com/parquet-go/parquet-go/format"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// A columnReader reads a column of a row group: all of it with one read, and page by
// page into a vec. The library makes objects of each page and copies what is in
// them; here that would be most of what a query costs. The reader keeps its memory
// from one column to the next.
type columnReader struct {
	headers headerReader
	raw     []byte // the column as it stands in the file
	page    []byte // a page, uncompressed
	dict    []byte // the dictionary, uncompressed
	codes   []uint32
	nums    []uint64 // of the dictionary
	// entries are where the texts of the dictionary begin, and its end.
	entries []uint32
	// known and indexes are those of one page.
	known   []bool
	indexes []uint32
	mapped  bool // codes are those of the dictionary's texts in the vec
	lengths []uint64
	some    vec
}

var columnReaders = sync.Pool{New: func() any { return &columnReader{headers: newHeaderReader()} }}

// maxPage is larger than any page of ours, uncompressed, bytes.
const maxPage = 1 << 28

// load reads the column.
func (r *columnReader) load(f io.ReaderAt, m *chunkMeta) error {
	r.raw = slices.Grow(r.raw[:0], int(m.size))[:m.size]
	if n, err := f.ReadAt(r.raw, m.start); n < len(r.raw) {
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("column ends early: %w", store.ErrDamaged)
		}
		return err
	}
	return nil
}

// read appends all rows of a column to v.
func (r *columnReader) read(v *vec, f io.ReaderAt, m *chunkMeta) error {
	return r.pages(v, f, m, func(h *pageHeader, body []byte) error { return r.addPage(v, m, h, body) })
}

// readSome appends some rows of a column to v, in the order of the file. Pages that
// have none of them are not looked into.
func (r *columnReader) readSome(v *vec, f io.ReaderAt, m *chunkMeta, rows []uint32) error {
	first := uint32(0)
	some := &r.some
	return r.pages(nil, f, m, func(h *pageHeader, body []byte) error {
		n, _ := slices.BinarySearch(rows, first+uint32(h.rows))
		wanted := rows[:n]
		rows = rows[n:]
		if len(wanted) > 0 {
			some.reset(v.typ)
			if err := r.addPage(some, m, h, body); err != nil {
				return err
			}
		}
		for _, row := range wanted {
			i := int(row - first)
			switch {
			case !some.has(i):
				v.addUnknown(1)
			case !textual(v.typ):
				v.addNum(some.nums[i])
			case isDictionary(h.encoding):
				c, err := r.entryCode(v, int(some.codes[i]))
				if err != nil {
					return err
				}
				v.codes = append(v.codes, c)
			default:
				v.codes = append(v.codes, v.code(string([]byte(some.dict[some.codes[i]]))))
			}
		}
		first += uint32(h.rows)
		return nil
	})
}

// hasText reports whether a column may have a text, by its dictionary. Where not
// all pages are of the dictionary, it may.
func (r *columnReader) hasText(f io.ReaderAt, m *chunkMeta, text []byte) (bool, error) {
	plain, rows := false, 0
	err := r.pages(nil, f, m, func(h *pageHeader, _ []byte) error {
		plain = plain || !isDictionary(h.encoding)
		rows += h.rows
		return nil
	})
	if err != nil || plain || rows != m.rows {
		return true, err
	}
	for i := range len(r.entries) - 1 {
		if string(r.entry(i)) == string(text) {
			return true, nil
		}
	}
	return false, nil
}

// pages reads a column and calls fn for its pages. The dictionary becomes codes of v,
// if there is a v.
func (r *columnReader) pages(v *vec, f io.ReaderAt, m *chunkMeta, fn func(h *pageHeader, body []byte) error) error {
	if err := r.load(f, m); err != nil {
		return err
	}
	r.mapped, r.entries, r.nums = false, r.entries[:0], r.nums[:0]
	for b := r.raw; len(b) > 0; {
		h, rest, err := r.headers.parse(b)
		if err != nil {
			return err
		}
		body := rest[:h.size]
		b = rest[h.size:]
		switch {
		case h.kind == format.DictionaryPage && len(r.entries)+len(r.nums) == 0:
			err = r.dictionary(v, m, &h, body)
		case h.kind == format.DataPage, h.kind == format.DataPageV2 && h.repeats == 0:
			err = fn(&h, body)
		default:
			err = fmt.Errorf("%w: type %d", errPage, h.kind)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// body checks a page and uncompresses it into buf: the definition levels, which are
// nil where all rows have a value, and the values.
func (r *columnReader) body(buf *[]byte, m *chunkMeta, h *pageHeader, b []byte) (levels, values []byte, err error) {
	if h.crc != 0 && crc32.ChecksumIEEE(b) != h.crc {
		return nil, nil, fmt.Errorf("%w: checksum", errPage)
	}
	levels, values = b[:h.levels], b[h.levels:]
	if m.codec != format.Uncompressed && !h.uncompressed {
		if h.plain > maxPage {
			return nil, nil, fmt.Errorf("%w: of %d bytes", errPage, h.plain)
		}
		if len(values) > 0 { // otherwise what is missing is found out by who reads it
			if *buf, err = compression.Decode(*buf, values); err != nil {
				return nil, nil, fmt.Errorf("%w: %w", errPage, err)
			}
			values = *buf
		}
	}
	if h.kind == format.DataPage && m.optional {
		// The levels of version 1 are compressed too, after their length.
		if len(values) < 4 {
			return nil, nil, errPage
		}
		n := binary.LittleEndian.Uint32(values)
		if values = values[4:]; uint64(n) > uint64(len(values)) {
			return nil, nil, errPage
		}
		levels, values = values[:n], values[n:]
	}
	return levels, values, nil
}

// isDictionary reports whether a page has indexes into the dictionary.
func isDictionary(e format.Encoding) bool { return e == format.RLEDictionary }

// dictionary reads the dictionary of a column.
func (r *columnReader) dictionary(v *vec, m *chunkMeta, h *pageHeader, b []byte) error {
	_, data, err := r.body(&r.dict, m, h, b)
	if err != nil {
		return err
	}
	switch m.kind {
	case format.ByteArray:
		r.dict = append(r.dict[:0], data...)
		if r.entries, err = plainTexts(r.entries[:0], r.dict, h.rows); err != nil || v == nil {
			return err
		}
		return r.mapDictionary(v)
	default:
		if h.rows > len(data) {
			return errPage
		}
		r.nums = slices.Grow(r.nums[:0], h.rows)[:h.rows]
		return plainNums(r.nums, data, m.kind)
	}
}

// plainTexts finds where each of n texts ends in the encoding PLAIN: a length of four
// bytes, and the text.
func plainTexts(ends []uint32, b []byte, n int) ([]uint32, error) {
	at := 0
	ends = append(ends, 0)
	for range n {
		if len(b)-at < 4 {
			return nil, errPage
		}
		size := binary.LittleEndian.Uint32(b[at:])
		if uint64(size) > uint64(len(b)-at-4) {
			return nil, errPage
		}
		at += 4 + int(size)
		ends = append(ends, uint32(at))
	}
	return ends, nil
}

// entry is a text of the dictionary.
func (r *columnReader) entry(i int) []byte { return r.dict[r.entries[i]+4 : r.entries[i+1]] }

// entryCode finds the code in v of a text of the dictionary.
func (r *columnReader) entryCode(v *vec, i int) (uint32, error) {
	if i >= len(r.entries)-1 {
		return 0, errPage
	}
	return codeOfStored(v, r.entry(i))
}

// codeOfStored finds the code of a text as it is stored.
func codeOfStored(v *vec, b []byte) (uint32, error) {
	if v.typ != store.Addr {
		return v.codeOf(b), nil
	}
	a, err := parseAddr(b)
	if err != nil {
		return 0, err
	}
	return v.codeOf(a[:]), nil
}

// parseAddr reads an address as it is stored.
func parseAddr(b []byte) (tcp.Addr, error) {
	if v4, ok := parseIPv4(b); ok {
		return tcp.AddrFrom(netip.AddrFrom4(v4)), nil
	}
	ip, err := netip.ParseAddr(string(b))
	if err != nil {
		return tcp.Addr{}, fmt.Errorf("%w: %w", store.ErrDamaged, err)
	}
	return tcp.AddrFrom(ip), nil
}

// parseIPv4 reads the usual form of an IPv4 address; what is not quite of it is for
// netip to judge, which allocates.
func parseIPv4(b []byte) (a [4]byte, ok bool) {
	part, n, digits := 0, 0, 0
	for _, c := range b {
		switch {
		case c == '.' && digits > 0 && part < 3:
			a[part] = byte(n)
			part, n, digits = part+1, 0, 0
		case c < '0' || c > '9' || digits == 1 && n == 0:
			return a, false
		default:
			if n, digits = 10*n+int(c-'0'), digits+1; n > 255 {
				return a, false
			}
		}
	}
	a[part] = byte(n)
	return a, part == 3 && digits > 0
}

// textBlock is how many bytes of texts are allocated together: few enough that one
// that is kept does not keep much.
const textBlock = 4 << 10

// mapDictionary finds the codes in v of the dictionary's texts. They are its own
// where v has no texts yet.
func (r *columnReader) mapDictionary(v *vec) error {
	n := len(r.entries) - 1
	if r.mapped = len(v.dict) > 0; r.mapped {
		r.codes = r.codes[:0]
		for i := range n {
			c, err := codeOfStored(v, r.entry(i))
			if err != nil {
				return err
			}
			r.codes = append(r.codes, c)
		}
		return nil
	}
	v.dict = slices.Grow(v.dict, n)
	if v.typ == store.Addr {
		return r.addAddrs(v, n)
	}
	for i := 0; i < n; {
		from, last := int(r.entries[i]), i+1
		for last < n && int(r.entries[last+1])-from <= textBlock {
			last++
		}
		block := string(r.dict[from:r.entries[last]])
		for ; i < last; i++ {
			v.dict = append(v.dict, block[int(r.entries[i])-from+4:int(r.entries[i+1])-from])
		}
	}
	return nil
}

// addAddrs gives v the addresses of the dictionary.
func (r *columnReader) addAddrs(v *vec, n int) error {
	var block [textBlock]byte
	size := 0
	flush := func() {
		s := string(block[:size])
		for ; len(s) > 0; s = s[16:] {
			v.dict = append(v.dict, s[:16])
		}
		size = 0
	}
	for i := range n {
		a, err := parseAddr(r.entry(i))
		if err != nil {
			return err
		}
		if size += copy(block[size:], a[:]); size == len(block) {
			flush()
		}
	}
	flush()
	return nil
}

// addPage appends the rows of a page to v.
func (r *columnReader) addPage(v *vec, m *chunkMeta, h *pageHeader, b []byte) error {
	levels, data, err := r.body(&r.page, m, h, b)
	if err != nil {
		return err
	}
	if v.len()+h.rows > m.rows {
		return fmt.Errorf("%w: more rows than %d", errPage, m.rows)
	}
	known, err := r.levels(m, h, levels)
	if err != nil {
		return err
	}
	v.unknown += h.rows - known
	if textual(v.typ) {
		codes := v.growCodes(h.rows)
		if err := r.texts(v, h, data, codes[:known]); err != nil {
			return err
		}
		spread(codes, known, r.known, noCode)
		return nil
	}
	nums, knowns := v.grow(h.rows)
	if err := r.numbers(m, h, data, nums[:known]); err != nil {
		return err
	}
	if spread(nums, known, r.known, 0); known == h.rows {
		fill(knowns, true)
	} else {
		copy(knowns, r.known)
	}
	return nil
}

// levels reads which rows of a page have a value, and how many. known is of no
// meaning where all have.
func (r *columnReader) levels(m *chunkMeta, h *pageHeader, b []byte) (known int, err error) {
	if !m.optional || len(b) == 0 {
		if h.nulls != 0 {
			return 0, errPage
		}
		return h.rows, nil
	}
	r.known = slices.Grow(r.known[:0], h.rows)[:h.rows]
	return decodeLevels(r.known, b)
}

// spread puts the values at the front of a page where they belong.
func spread[N uint32 | uint64](values []N, n int, known []bool, unknown N) {
	if n == len(values) {
		return
	}
	for i, is := range slices.Backward(known[:len(values)]) {
		if is {
			n--
			values[i] = values[n]
		} else {
			values[i] = unknown
		}
	}
}

// lookUp reads indexes into a dictionary of so many entries.
func (r *columnReader) lookUp(dst []uint32, b []byte, entries int) error {
	if len(dst) == 0 {
		return nil
	}
	if len(b) == 0 || b[0] > 32 {
		return errPage
	}
	most, err := decodeHybrid(dst, b[1:], uint(b[0]))
	if err != nil {
		return err
	}
	if int64(most) >= int64(entries) {
		return fmt.Errorf("%w: index %d of %d", errPage, most, entries)
	}
	return nil
}

// texts reads the codes of a page of texts.
func (r *columnReader) texts(v *vec, h *pageHeader, data []byte, codes []uint32) error {
	switch {
	case isDictionary(h.encoding):
		if err := r.lookUp(codes, data, len(r.entries)-1); err != nil || !r.mapped {
			return err
		}
		for i, c := range codes {
			codes[i] = r.codes[c]
		}
		return nil
	case h.encoding == format.Plain:
		ends, err := plainTexts(r.indexes[:0], data, len(codes))
		if err != nil {
			return err
		}
		for i := range codes {
			if codes[i], err = codeOfStored(v, data[ends[i]+4:ends[i+1]]); err != nil {
				return err
			}
		}
		return nil
	case h.encoding == format.DeltaLengthByteArray && v.typ == store.Bytes:
		return r.bytes(v, data, codes)
	default:
		return fmt.Errorf("%w: encoding %d of texts", errPage, h.encoding)
	}
}

// bytes reads a page of bytes, in the encoding DELTA_LENGTH_BYTE_ARRAY. They are
// rarely the same twice: each gets a code of its own.
func (r *columnReader) bytes(v *vec, data []byte, codes []uint32) error {
	r.lengths = slices.Grow(r.lengths[:0], len(codes))[:len(codes)]
	data, err := decodeDelta(r.lengths, data, maxOf(store.Uint32))
	if err != nil {
		return err
	}
	v.dict = slices.Grow(v.dict, len(codes))
	block := ""
	for i, n := range r.lengths {
		if n > uint64(len(data)) {
			return errPage
		}
		if n > uint64(len(block)) {
			block = string(data[:min(max(uint64(textBlock), n), uint64(len(data)))])
		}
		codes[i] = uint32(len(v.dict))
		v.dict = append(v.dict, block[:n])
		block, data = block[n:], data[n:]
	}
	return nil
}

// numbers reads a page of numbers.
func (r *columnReader) numbers(m *chunkMeta, h *pageHeader, data []byte, nums []uint64) error {
	switch {
	case len(nums) == 0:
		return nil
	case isDictionary(h.encoding):
		r.indexes = slices.Grow(r.indexes[:0], len(nums))[:len(nums)]
		if err := r.lookUp(r.indexes, data, len(r.nums)); err != nil {
			return err
		}
		for i, c := range r.indexes {
			nums[i] = r.nums[c]
		}
		return nil
	case h.encoding == format.DeltaBinaryPacked && m.kind != format.Boolean:
		limit := maxOf(store.Uint64)
		if m.kind == format.Int32 {
			limit = maxOf(store.Uint32)
		}
		_, err := decodeDelta(nums, data, limit)
		return err
	case h.encoding == format.Plain:
		return plainNums(nums, data, m.kind)
	default:
		return fmt.Errorf("%w: encoding %d of numbers", errPage, h.encoding)
	}
}

// plainNums reads numbers in the encoding PLAIN.
func plainNums(nums []uint64, b []byte, kind format.Type) error {
	switch kind {
	case format.Int64:
		if len(b) < 8*len(nums) {
			return errPage
		}
		for i := range nums {
			nums[i] = binary.LittleEndian.Uint64(b[8*i:])
		}
	case format.Int32:
		if len(b) < 4*len(nums) {
			return errPage
		}
		for i := range nums {
			nums[i] = uint64(binary.LittleEndian.Uint32(b[4*i:]))
		}
	default: // booleans, a bit each
		if len(b) < (len(nums)+7)/8 {
			return errPage
		}
		for i := range nums {
			nums[i] = uint64(b[i/8] >> (i % 8) & 1)
		}
	}
	return nil
}
