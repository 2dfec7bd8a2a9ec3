package parquet

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go/bloom"
	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/encoding/rle"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/viewtcp/viewtcp/internal/store"
)

// A chunkWriter writes columns as chunks of segments: pages of pageRows rows, in
// the form that formOf says. It keeps its memory from one chunk to the next.
type chunkWriter struct {
	c        *column
	v        *vec
	optional bool
	// bounded says that the file tells the bounds of the column's pages.
	bounded bool
	// same says that all rows of v have one value: half of the columns that have
	// any are like that.
	same bool
	// texts and words are the dictionary of v as it is stored, and hashed.
	texts []string
	words []uint64

	// What follows is of one chunk. codes are its values by row as places in its
	// dictionary, of numbers or of codes of v; -1 is unknown.
	codes   []int32
	numbers []uint64
	named   []uint32
	place   []int32 // in named, by code of v
	index   numberIndex
	sum     uint64
	hashes  []uint64 // for the bloom filter; nil if there is none

	// What follows is of one page.
	known  int
	bits   []byte // which rows have a value
	levels []byte // the same as it is stored
	longs  []int64
	ints   []int32
	text   []byte
	ends   []uint32
	page   []byte // the values
	body   []byte // the levels and the values
	packed []byte // the body compressed

	unknown unknownSum
}

// begin takes up the next column for all segments that get some of its rows.
func (w *chunkWriter) begin(t *table, c *column, v *vec, first, optional bool) {
	w.c, w.v, w.optional = c, v, optional
	// Only the order of rows makes bounds of texts narrow. Readers look for the
	// index of all columns from that of the first one on.
	w.bounded = !textual(c.typ) || slices.Contains(t.sort, c.tag) || first
	w.texts, w.words = storedTexts(v), appendWords(w.words[:0], v)
	w.same = v.unknown == 0 && v.alike()
}

// storedTexts are the texts of a column in the form in which they are stored.
func storedTexts(v *vec) []string {
	if v.typ != store.Addr {
		return v.dict
	}
	var b []byte
	ends := make([]int, len(v.dict))
	for i, s := range v.dict {
		b = appendText(b, v.typ, s)
		ends[i] = len(b)
	}
	all, begin := string(b), 0
	texts := make([]string, len(ends))
	for i, end := range ends {
		texts[i] = all[begin:end]
		begin = end
	}
	return texts
}

// write writes the column's values of some rows and returns their checksum.
func (w *chunkWriter) write(f *segmentWriter, rows []uint32, filter bool) (sum uint64, err error) {
	w.sum, w.hashes = fnvOffset, nil
	if filter {
		w.hashes = make([]uint64, 0, len(rows))
	}
	form := formOf(w.c)
	if w.v.unknown == w.v.len() {
		return w.writeUnknown(f, rows)
	}
	entries := 0
	if form.encoding == format.RLEDictionary {
		entries = w.makeDictionary(rows)
	}
	encodings := []format.Encoding{form.encoding}
	if form.encoding == format.RLEDictionary {
		encodings = append(encodings, format.Plain)
		form.compressed = entries > 1 // else pages are a few bytes
	}
	if w.optional {
		encodings = append(encodings, format.RLE)
		form.compressed = form.compressed || w.v.unknown > 0 // for the levels
	}
	codec := format.Uncompressed
	if form.compressed {
		codec = format.Zstd
	}
	meta := f.begin(w.c, codec, encodings...)
	if form.encoding == format.RLEDictionary {
		if err := w.writeDictionary(f, form.compressed); err != nil {
			return 0, err
		}
	}
	b := newBounds(w.c.typ)
	for at := 0; at < len(rows); at += pageRows {
		page := rows[at:min(at+pageRows, len(rows))]
		if err := w.fill(form.encoding, page, at, &b); err != nil {
			return 0, err
		}
		if err := w.writePage(f, form, len(page), int64(at)); err != nil {
			return 0, err
		}
		meta.Statistics.NullCount += int64(len(page) - w.known)
	}
	if w.bounded {
		b.into(f, meta, w.boundOf)
	}
	if filter {
		f.bloom(w.hashes)
	}
	return w.sum, nil
}

// writeUnknown writes a chunk without values.
func (w *chunkWriter) writeUnknown(f *segmentWriter, rows []uint32) (uint64, error) {
	meta := f.begin(w.c, format.Uncompressed, format.Plain, format.RLE)
	for at := 0; at < len(rows); at += pageRows {
		n := min(pageRows, len(rows)-at)
		w.levels, w.known, w.page = appendRun(w.levels[:0], n, 0), 0, w.page[:0]
		if err := w.writePage(f, form{encoding: format.Plain}, n, int64(at)); err != nil {
			return 0, err
		}
	}
	meta.Statistics.NullCount = int64(len(rows))
	return w.unknown.of(len(rows)), nil
}

// makeDictionary finds the distinct values of some rows and the code of each row.
// Texts are sorted, so that zstd finds more in common.
func (w *chunkWriter) makeDictionary(rows []uint32) (entries int) {
	if w.same {
		w.named, w.numbers = append(w.named[:0], 0), append(w.numbers[:0], w.v.nums[:min(len(w.v.nums), 1)]...)
		return 1
	}
	w.codes = slices.Grow(w.codes[:0], len(rows))[:len(rows)]
	if !textual(w.v.typ) {
		w.index.reset()
		w.numbers = w.index.codes(w.numbers[:0], w.codes, w.v, rows)
		return len(w.numbers)
	}
	w.place = slices.Grow(w.place[:0], len(w.v.dict))[:len(w.v.dict)]
	clear(w.place)
	w.named = w.named[:0]
	for _, row := range rows {
		if c := w.v.codes[row]; c != noCode && w.place[c] == 0 {
			w.place[c] = 1
			w.named = append(w.named, c)
		}
	}
	slices.SortFunc(w.named, func(a, b uint32) int { return strings.Compare(w.texts[a], w.texts[b]) })
	for i, c := range w.named {
		w.place[c] = int32(i)
	}
	for i, row := range rows {
		if c := w.v.codes[row]; c != noCode {
			w.codes[i] = w.place[c]
		} else {
			w.codes[i] = -1
		}
	}
	return len(w.named)
}

func (w *chunkWriter) writeDictionary(f *segmentWriter, compressed bool) error {
	w.page = w.page[:0]
	n := len(w.numbers)
	switch {
	case textual(w.v.typ):
		n = len(w.named)
		for _, c := range w.named {
			w.page = binary.LittleEndian.AppendUint32(w.page, uint32(len(w.texts[c])))
			w.page = append(w.page, w.texts[c]...)
			if w.hashes != nil {
				w.hashes = append(w.hashes, bloom.XXH64{}.Sum64([]byte(w.texts[c])))
			}
		}
	case isShort(w.v.typ):
		for _, x := range w.numbers {
			w.page = binary.LittleEndian.AppendUint32(w.page, uint32(x))
		}
	default:
		for _, x := range w.numbers {
			w.page = binary.LittleEndian.AppendUint64(w.page, x)
		}
	}
	header := format.PageHeader{
		Type:                 format.DictionaryPage,
		DictionaryPageHeader: thrift.New(format.DictionaryPageHeader{NumValues: int32(n), Encoding: format.Plain}),
	}
	return w.finish(f, &header, w.page, compressed, 0)
}

// boundOf is a bound as it is stored. Of sorted texts the bounds are codes.
func (w *chunkWriter) boundOf(x uint64) []byte {
	switch {
	case textual(w.v.typ):
		return []byte(w.texts[w.named[x]])
	case w.v.typ == store.Bool:
		return []byte{byte(x)}
	case isShort(w.v.typ):
		return binary.LittleEndian.AppendUint32(nil, uint32(x))
	default:
		return binary.LittleEndian.AppendUint64(nil, x)
	}
}

// fill encodes the values of a page, which begins at the row at of the chunk.
func (w *chunkWriter) fill(enc format.Encoding, rows []uint32, at int, b *bounds) error {
	w.page = w.page[:0]
	var err error
	switch {
	case enc == format.RLEDictionary:
		if w.same {
			w.fillSame(len(rows), b)
		} else {
			w.fillCodes(rows, w.codes[at:at+len(rows)], b)
		}
		w.page, err = (&rle.DictionaryEncoding{}).EncodeInt32(w.page, w.ints)
	case textual(w.v.typ):
		w.fillTexts(rows)
		w.page, err = (&delta.LengthByteArrayEncoding{}).EncodeByteArray(w.page, w.text, w.ends)
	default:
		w.fillNumbers(rows)
		b.add(w.longs)
		if w.hashes != nil {
			for _, x := range w.longs {
				w.hashes = append(w.hashes, bloom.XXH64{}.Sum64Uint64(uint64(x)))
			}
		}
		w.page, err = w.encodeNumbers(enc)
	}
	if err != nil {
		return fmt.Errorf("encoding a page: %w", err)
	}
	return nil
}

func (w *chunkWriter) encodeNumbers(enc format.Encoding) ([]byte, error) {
	switch {
	case w.v.typ == store.Bool:
		w.page = slices.Grow(w.page, len(w.longs)/8+1)[:(len(w.longs)+7)/8]
		clear(w.page)
		for i, x := range w.longs {
			w.page[i/8] |= byte(x) << (i % 8)
		}
		return w.page, nil
	case enc == format.Plain && isShort(w.v.typ):
		for _, x := range w.longs {
			w.page = binary.LittleEndian.AppendUint32(w.page, uint32(x))
		}
		return w.page, nil
	case enc == format.Plain:
		for _, x := range w.longs {
			w.page = binary.LittleEndian.AppendUint64(w.page, uint64(x))
		}
		return w.page, nil
	case isShort(w.v.typ):
		w.ints = w.ints[:0]
		for _, x := range w.longs {
			w.ints = append(w.ints, int32(x))
		}
		return (&delta.BinaryPackedEncoding{}).EncodeInt32(w.page, w.ints)
	default:
		return (&delta.BinaryPackedEncoding{}).EncodeInt64(w.page, w.longs)
	}
}

// fillNumbers collects the known numbers of a page.
func (w *chunkWriter) fillNumbers(rows []uint32) {
	w.longs = slices.Grow(w.longs[:0], len(rows))[:len(rows)]
	longs, nums, h := w.longs, w.v.nums, w.sum
	if w.v.unknown == 0 {
		for i, row := range rows {
			x := nums[row]
			longs[i] = int64(x)
			h = (h ^ x) * fnvPrime
		}
		w.sum, w.known = h, len(rows)
		w.levels = appendRun(w.levels[:0], len(rows), 1)
		return
	}
	w.beginLevels(len(rows))
	n := 0
	for i, row := range rows {
		if !w.v.known[row] {
			h = (h ^ unknownWord) * fnvPrime
			continue
		}
		x := nums[row]
		longs[n] = int64(x)
		n++
		w.setLevel(i)
		h = (h ^ x) * fnvPrime
	}
	w.longs, w.sum, w.known = longs[:n], h, n
	w.endLevels(len(rows))
}

// fillCodes collects the codes of a page.
func (w *chunkWriter) fillCodes(rows []uint32, codes []int32, b *bounds) {
	text, h := textual(w.v.typ), w.sum
	w.ints = slices.Grow(w.ints[:0], len(codes))
	w.beginLevels(len(codes))
	low, high := int32(math.MaxInt32), int32(-1)
	for i, c := range codes {
		if c < 0 {
			h = (h ^ unknownWord) * fnvPrime
			continue
		}
		w.setLevel(i)
		w.ints = append(w.ints, c)
		low, high = min(low, c), max(high, c)
		if text {
			h = (h ^ w.words[w.v.codes[rows[i]]]) * fnvPrime
		} else {
			h = (h ^ w.numbers[c]) * fnvPrime
		}
	}
	w.sum, w.known = h, len(w.ints)
	w.endLevels(len(codes))
	switch {
	case !w.bounded:
	case w.known == 0:
		b.add(nil)
	case text:
		b.addOf(uint64(low), uint64(high))
	default:
		w.longs = w.longs[:0]
		for _, c := range w.ints {
			w.longs = append(w.longs, int64(w.numbers[c]))
		}
		b.add(w.longs)
	}
}

// fillSame is fillCodes for a column that has one value in all rows.
func (w *chunkWriter) fillSame(rows int, b *bounds) {
	w.ints = slices.Grow(w.ints[:0], rows)[:rows]
	clear(w.ints)
	var word uint64
	if textual(w.v.typ) {
		word = w.words[0]
		b.addOf(0, 0)
	} else {
		word = w.numbers[0]
		w.longs = append(w.longs[:0], int64(word))
		b.add(w.longs)
	}
	h := w.sum
	for range rows {
		h = (h ^ word) * fnvPrime
	}
	w.sum, w.known = h, rows
	w.levels = appendRun(w.levels[:0], rows, 1)
}

// fillTexts collects the texts of a page.
func (w *chunkWriter) fillTexts(rows []uint32) {
	w.text, w.ends = w.text[:0], append(w.ends[:0], 0)
	w.beginLevels(len(rows))
	for i, row := range rows {
		c := w.v.codes[row]
		if c == noCode {
			w.sum = (w.sum ^ unknownWord) * fnvPrime
			continue
		}
		w.setLevel(i)
		w.text = append(w.text, w.texts[c]...)
		w.ends = append(w.ends, uint32(len(w.text)))
		w.sum = (w.sum ^ w.words[c]) * fnvPrime
	}
	w.known = len(w.ends) - 1
	w.endLevels(len(rows))
}

// Levels of a page are one run if all its rows are alike, else a bit for each row.
func (w *chunkWriter) beginLevels(rows int) {
	w.bits = slices.Grow(w.bits[:0], rows/8+1)[:(rows+7)/8]
	clear(w.bits)
}

func (w *chunkWriter) setLevel(i int) { w.bits[i/8] |= 1 << (i % 8) }

func (w *chunkWriter) endLevels(rows int) {
	switch w.known {
	case rows:
		w.levels = appendRun(w.levels[:0], rows, 1)
	case 0:
		w.levels = appendRun(w.levels[:0], rows, 0)
	default:
		w.levels = binary.AppendUvarint(w.levels[:0], uint64(len(w.bits))<<1|1) // groups of eight
		w.levels = append(w.levels, w.bits...)
	}
}

// appendRun appends a run of equal levels.
func appendRun(b []byte, rows int, level byte) []byte {
	return append(binary.AppendUvarint(b, uint64(rows)<<1), level)
}

// writePage writes the page that was filled.
func (w *chunkWriter) writePage(f *segmentWriter, form form, rows int, firstRow int64) error {
	body := w.page
	if w.optional {
		w.body = binary.LittleEndian.AppendUint32(w.body[:0], uint32(len(w.levels)))
		w.body = append(w.body, w.levels...)
		w.body = append(w.body, w.page...)
		body = w.body
	}
	header := format.PageHeader{Type: format.DataPage, DataPageHeader: thrift.New(format.DataPageHeader{
		NumValues: int32(rows), Encoding: form.encoding, DefinitionLevelEncoding: format.RLE, RepetitionLevelEncoding: format.RLE,
	})}
	return w.finish(f, &header, body, form.compressed, firstRow)
}

// finish compresses a page and writes it.
func (w *chunkWriter) finish(f *segmentWriter, header *format.PageHeader, body []byte, compressed bool, firstRow int64) error {
	n := len(body)
	if compressed {
		var err error
		if w.packed, err = compression.Encode(w.packed, body); err != nil {
			return fmt.Errorf("compressing a page: %w", err)
		}
		body = w.packed
	}
	return f.page(header, body, n, firstRow)
}
