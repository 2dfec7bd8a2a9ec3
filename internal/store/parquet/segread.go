package parquet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"

	"github.com/parquet-go/parquet-go"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// A segmentFile is a segment that is open for reading.
type segmentFile struct {
	table  *table
	footer footer
	file   *parquet.File
	// place is the index in the file of each of the table's columns, -1 where
	// it has none.
	place []int
}

// openSegment reads the metadata of a segment. Its errors wrap ErrDamaged, or
// ErrVersion when the file is of a format to come.
func openSegment(r io.ReaderAt, size int64) (s *segmentFile, err error) {
	defer damaged(&err)
	f, err := parquet.OpenFile(r, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrDamaged, err)
	}
	text, ok := f.Lookup(footerKey)
	if !ok {
		return nil, fmt.Errorf("no footer of ours: %w", store.ErrDamaged)
	}
	s = &segmentFile{file: f}
	if err := json.Unmarshal([]byte(text), &s.footer); err != nil {
		return nil, fmt.Errorf("footer: %w: %w", store.ErrDamaged, err)
	}
	if s.footer.Format != formatVersion {
		return nil, fmt.Errorf("segment of version %d: %w", s.footer.Format, store.ErrVersion)
	}
	for _, t := range tables {
		if t.String() == s.footer.Table {
			s.table = t
		}
	}
	if s.table == nil {
		return nil, fmt.Errorf("segment of table %q: %w", s.footer.Table, store.ErrVersion)
	}
	if int64(s.footer.Rows) != f.NumRows() {
		return nil, fmt.Errorf("%d rows where the footer says %d: %w", f.NumRows(), s.footer.Rows, store.ErrDamaged)
	}
	paths := f.Schema().Columns()
	// The library goes by the place of a column; others go by its path.
	for _, rg := range f.Metadata().RowGroups {
		for i := range rg.Columns {
			if p := rg.Columns[i].MetaData.PathInSchema; i >= len(paths) || len(p) != 1 || p[0] != paths[i][0] {
				return nil, fmt.Errorf("path of column %d: %w", i, store.ErrDamaged)
			}
		}
	}
	s.place = make([]int, len(s.table.columns))
	for i := range s.table.columns {
		s.place[i] = -1
		for j, path := range paths {
			if len(path) == 1 && path[0] == s.table.columns[i].name {
				s.place[i] = j
			}
		}
	}
	return s, nil
}

// damaged turns a panic of the Parquet library, which broken files can cause,
// into an error.
func damaged(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("reading Parquet: %v: %w", p, store.ErrDamaged)
	}
}

// read makes an open segment a source.
func (s *segmentFile) read(v *vec, c *column) (*vec, error) { return v, s.fill(v, c) }

// fill appends a column of all rows to v.
func (s *segmentFile) fill(v *vec, c *column) error {
	for g := range s.file.RowGroups() {
		if err := s.fillGroup(v, c, g); err != nil {
			return err
		}
	}
	return nil
}

func (s *segmentFile) complete(c *column) bool {
	for i := range s.table.columns {
		if j := s.place[i]; s.table.columns[i].tag == c.tag && j >= 0 {
			return s.file.Root().Columns()[j].Required()
		}
	}
	return false
}

// fillGroup appends a column of one row group to v.
func (s *segmentFile) fillGroup(v *vec, c *column, group int) (err error) {
	defer damaged(&err)
	rg := s.file.RowGroups()[group]
	place := -1
	for i := range s.table.columns {
		if s.table.columns[i].tag == c.tag {
			place = s.place[i]
		}
	}
	if place < 0 {
		v.addUnknown(int(rg.NumRows()))
		return nil
	}
	rows := v.len()
	pages := rg.ColumnChunks()[place].Pages()
	defer pages.Close()
	d := pageDecoder{v: v}
	for {
		page, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("column %s: %w: %w", c.name, store.ErrDamaged, err)
		}
		err = d.add(page)
		parquet.Release(page)
		if err != nil {
			return fmt.Errorf("column %s: %w", c.name, err)
		}
	}
	if got := v.len() - rows; int64(got) != rg.NumRows() {
		return fmt.Errorf("column %s: %d values for %d rows: %w", c.name, got, rg.NumRows(), store.ErrDamaged)
	}
	return nil
}

// verify reads all columns back and compares them with the footer.
func (s *segmentFile) verify(pool *vecPool) error {
	v := pool.get(store.Uint64)
	defer pool.put(v)
	v.reserve(int(s.footer.Rows))
	for i := range s.table.columns {
		c := &s.table.columns[i]
		if s.place[i] < 0 {
			continue
		}
		v.reset(c.typ)
		if err := s.fill(v, c); err != nil {
			return err
		}
		if got := strconv.FormatUint(checksum(v, nil), 16); got != s.footer.Checksums[c.name] {
			return fmt.Errorf("column %s: checksum %s where the footer says %s: %w", c.name, got, s.footer.Checksums[c.name], store.ErrDamaged)
		}
	}
	return nil
}

// A pageDecoder appends pages of one column of a row group to a vec.
type pageDecoder struct {
	v *vec
	// codes are the codes in v of the dictionary's entries.
	codes []uint32
	dict  parquet.Dictionary
	bits  []uint32
}

func (d *pageDecoder) add(p parquet.Page) error {
	levels := p.DefinitionLevels()
	n := int(p.NumRows())
	known := n
	if len(levels) > 0 {
		known = 0
		for _, l := range levels {
			known += int(l)
		}
	}
	d.v.unknown += n - known
	if dict := p.Dictionary(); dict != nil {
		if d.dict != dict {
			if err := d.readDictionary(dict); err != nil {
				return err
			}
		}
		return d.addCodes(p, levels, n)
	}
	data := p.Data()
	switch {
	case textual(d.v.typ):
		return d.addTexts(p, levels, n)
	case d.v.typ == store.Bool:
		d.bits = d.bits[:0]
		for _, b := range data.Boolean() {
			for i := range 8 {
				d.bits = append(d.bits, uint32(b>>i&1))
			}
		}
		return addNums(d.v, levels, n, known, d.bits)
	case d.v.typ == store.Uint32 || d.v.typ == store.Uint16:
		return addNums(d.v, levels, n, known, data.Uint32())
	default:
		return addNums(d.v, levels, n, known, data.Uint64())
	}
}

var errPage = fmt.Errorf("page has too few values: %w", store.ErrDamaged)

// addNums appends n rows, of which those whose level is not 0 have a value.
func addNums[N uint32 | uint64](v *vec, levels []byte, n, known int, values []N) error {
	if known > len(values) {
		return errPage
	}
	nums, knowns := v.grow(n)
	if known == n {
		for i := range nums {
			nums[i], knowns[i] = uint64(values[i]), true
		}
		return nil
	}
	next := 0
	for i, l := range levels {
		if l == 0 {
			nums[i], knowns[i] = 0, false
			continue
		}
		nums[i], knowns[i] = uint64(values[next]), true
		next++
	}
	return nil
}

func (d *pageDecoder) addTexts(p parquet.Page, levels []byte, n int) error {
	data := p.Data()
	bytes, offsets := data.ByteArray()
	next := 0
	for i := range n {
		if len(levels) > 0 && levels[i] == 0 {
			d.v.codes = append(d.v.codes, noCode)
			continue
		}
		if next+1 >= len(offsets) {
			return errPage
		}
		c, err := d.codeOf(bytes[offsets[next]:offsets[next+1]])
		if err != nil {
			return err
		}
		d.v.codes = append(d.v.codes, c)
		next++
	}
	return nil
}

func (d *pageDecoder) codeOf(b []byte) (uint32, error) {
	if d.v.typ != store.Addr {
		return d.v.codeOf(b), nil
	}
	ip, err := netip.ParseAddr(string(b))
	if err != nil {
		return 0, fmt.Errorf("%w: %w", store.ErrDamaged, err)
	}
	a := tcp.AddrFrom(ip)
	return d.v.codeOf(a[:]), nil
}

// readDictionary finds the codes of a dictionary's texts. Numbers are looked up
// when they are needed.
func (d *pageDecoder) readDictionary(dict parquet.Dictionary) error {
	d.dict, d.codes = dict, d.codes[:0]
	if !textual(d.v.typ) {
		return nil
	}
	for i := range dict.Len() {
		c, err := d.codeOf(dict.Index(int32(i)).ByteArray())
		if err != nil {
			return err
		}
		d.codes = append(d.codes, c)
	}
	return nil
}

// addCodes appends a page of indexes into the dictionary.
func (d *pageDecoder) addCodes(p parquet.Page, levels []byte, n int) error {
	data := p.Data()
	indexes := data.Int32()
	if textual(d.v.typ) {
		next := 0
		codes := d.v.growCodes(n)
		for i := range codes {
			if len(levels) > 0 && levels[i] == 0 {
				codes[i] = noCode
				continue
			}
			if next >= len(indexes) || uint32(indexes[next]) >= uint32(len(d.codes)) {
				return errPage
			}
			codes[i] = d.codes[indexes[next]]
			next++
		}
		return nil
	}
	page := d.dict.Page()
	values := page.Data()
	if d.v.typ == store.Uint64 || d.v.typ == store.ID || d.v.typ == store.Time {
		return addLooked(d.v, levels, n, indexes, values.Uint64())
	}
	return addLooked(d.v, levels, n, indexes, values.Uint32())
}

// addLooked appends n rows of indexes into values.
func addLooked[N uint32 | uint64](v *vec, levels []byte, n int, indexes []int32, values []N) error {
	nums, knowns := v.grow(n)
	next := 0
	for i := range n {
		if len(levels) > 0 && levels[i] == 0 {
			nums[i], knowns[i] = 0, false
			continue
		}
		if next >= len(indexes) || uint32(indexes[next]) >= uint32(len(values)) {
			return errPage
		}
		nums[i], knowns[i] = uint64(values[indexes[next]]), true
		next++
	}
	return nil
}

// addrOf turns the text of an address column back.
func addrOf(s string) (a tcp.Addr) {
	copy(a[:], s)
	return a
}
