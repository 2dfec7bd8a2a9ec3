package parquet

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// A segmentFile is a segment that is open for reading.
type segmentFile struct {
	*segmentMeta
	r io.ReaderAt
}

// segmentMeta is what the metadata of a segment says. It is never changed, and is
// some kilobytes: the library's form of it would be a hundred times that.
type segmentMeta struct {
	table  *table
	footer footer
	groups []groupMeta
}

// A groupMeta is a row group.
type groupMeta struct {
	rows    int
	columns []chunkMeta // by place in the table
}

// A chunkMeta is a column of a row group. Without a size the file has none.
type chunkMeta struct {
	start, size int64 // in the file, bytes
	rows        int
	kind        format.Type
	codec       format.CompressionCodec
	optional    bool
	unknown     bool // no row has a value
	// bloom is where the bits of its bloom filter are, if it has one.
	bloom, bloomSize int64
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
	s = &segmentFile{segmentMeta: new(segmentMeta), r: r}
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
	columns := f.Root().Columns()
	rows := uint64(0)
	for i := range f.Metadata().RowGroups {
		g, err := s.group(&f.Metadata().RowGroups[i], columns, size)
		if err != nil {
			return nil, fmt.Errorf("row group %d: %w", i, err)
		}
		rows += uint64(g.rows)
		s.groups = append(s.groups, g)
	}
	if rows != s.footer.Rows {
		return nil, fmt.Errorf("row groups of %d rows where the footer says %d: %w", rows, s.footer.Rows, store.ErrDamaged)
	}
	return s, nil
}

// group reads what the metadata of a file of so many bytes says of a row group.
func (s *segmentFile) group(rg *format.RowGroup, columns []*parquet.Column, size int64) (g groupMeta, err error) {
	if rg.NumRows < 0 || rg.NumRows > int64(s.footer.Rows) || len(rg.Columns) != len(columns) {
		return g, fmt.Errorf("%d rows, %d columns: %w", rg.NumRows, len(rg.Columns), store.ErrDamaged)
	}
	g = groupMeta{rows: int(rg.NumRows), columns: make([]chunkMeta, len(s.table.columns))}
	for j, c := range columns {
		m := &rg.Columns[j].MetaData
		// Others go by the path of a column; here it goes by its place.
		if len(m.PathInSchema) != 1 || m.PathInSchema[0] != c.Name() {
			return g, fmt.Errorf("path of column %d: %w", j, store.ErrDamaged)
		}
		place := s.table.place(c.Name())
		if place < 0 {
			continue // of a version to come
		}
		meta := chunkMeta{
			start: m.DataPageOffset, size: m.TotalCompressedSize, rows: g.rows, kind: m.Type, codec: m.Codec,
			optional: c.Optional(), unknown: c.Optional() && m.Statistics.NullCount == rg.NumRows,
		}
		if at := m.DictionaryPageOffset; at != 0 {
			meta.start = at
		}
		if !c.Leaf() || c.Repeated() || m.Type != kindOf(s.table.columns[place].typ) ||
			m.Codec != format.Uncompressed && m.Codec != format.Zstd ||
			meta.start <= 0 || meta.size <= 0 || meta.size > size || meta.start > size-meta.size {
			return g, fmt.Errorf("column %s: %w", c.Name(), store.ErrDamaged)
		}
		if slices.Contains(s.table.bloom, s.table.columns[place].tag) {
			meta.bloom, meta.bloomSize = bloomAt(s.r, m.BloomFilterOffset, size)
		}
		g.columns[place] = meta
	}
	return g, nil
}

// kindOf is how Parquet stores values of a type.
func kindOf(t store.Type) format.Type {
	switch {
	case textual(t):
		return format.ByteArray
	case t == store.Bool:
		return format.Boolean
	case t == store.Uint32 || t == store.Uint16:
		return format.Int32
	default:
		return format.Int64
	}
}

// bloomAt finds the bits of a bloom filter of the kind that we write, nothing if it
// is none: rows are then read instead.
func bloomAt(r io.ReaderAt, offset, size int64) (at, n int64) {
	const most = 64 // bytes of a header
	if offset <= 0 || offset >= size {
		return 0, 0
	}
	b := make([]byte, min(most, size-offset))
	if _, err := r.ReadAt(b, offset); err != nil && !errors.Is(err, io.EOF) {
		return 0, 0
	}
	var h format.BloomFilterHeader
	var p thrift.CompactProtocol
	read := p.NewReaderFromBytes(b)
	if err := thrift.NewDecoder(read).Decode(&h); err != nil {
		return 0, 0
	}
	_, split := h.Algorithm.Value.(*format.SplitBlockAlgorithm)
	_, hash := h.Hash.Value.(*format.XxHash)
	_, plain := h.Compression.Value.(*format.BloomFilterUncompressed)
	at, n = offset+int64(read.BytesRead()), int64(h.NumBytes)
	if !split || !hash || !plain || n <= 0 || n > size-at {
		return 0, 0
	}
	return at, n
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
func (s *segmentFile) fill(v *vec, c *column) (err error) {
	defer damaged(&err)
	r := columnReaders.Get().(*columnReader)
	defer columnReaders.Put(r)
	for i := range s.groups {
		g := &s.groups[i]
		m := s.column(g, c)
		if m.size == 0 || m.unknown {
			v.addUnknown(g.rows)
			continue
		}
		before := v.len()
		m.rows += before // what v may hold
		if err := r.read(v, s.r, &m); err != nil {
			return fmt.Errorf("column %s: %w", c.name, err)
		}
		if got := v.len() - before; got != g.rows {
			return fmt.Errorf("column %s: %d values for %d rows: %w", c.name, got, g.rows, store.ErrDamaged)
		}
	}
	return nil
}

// fillSome appends a column of some rows to v. The rows are in their order.
func (s *segmentFile) fillSome(v *vec, c *column, rows []uint32) (err error) {
	defer damaged(&err)
	r := columnReaders.Get().(*columnReader)
	defer columnReaders.Put(r)
	first := 0
	for i := range s.groups {
		g := &s.groups[i]
		m := s.column(g, c)
		n, _ := slices.BinarySearchFunc(rows, first+g.rows, func(row uint32, end int) int { return cmp.Compare(int(row), end) })
		here := slices.Clone(rows[:n])
		rows = rows[n:]
		for j := range here {
			here[j] -= uint32(first)
		}
		first += g.rows
		if len(here) == 0 || m.size == 0 || m.unknown {
			v.addUnknown(len(here))
			continue
		}
		before := v.len()
		if err := r.readSome(v, s.r, &m, here); err != nil {
			return fmt.Errorf("column %s: %w", c.name, err)
		}
		if got := v.len() - before; got != len(here) {
			return fmt.Errorf("column %s: %d values for %d rows: %w", c.name, got, len(here), store.ErrDamaged)
		}
	}
	return nil
}

// column finds a column of a row group.
func (s *segmentFile) column(g *groupMeta, c *column) (m chunkMeta) {
	for i := range s.table.columns {
		if s.table.columns[i].tag == c.tag {
			return g.columns[i]
		}
	}
	return m
}

func (s *segmentFile) complete(c *column) bool {
	for i := range s.groups {
		if m := s.column(&s.groups[i], c); m.size == 0 || m.optional {
			return false
		}
	}
	return true
}

// addrOf turns the text of an address column back.
func addrOf(s string) (a tcp.Addr) {
	copy(a[:], s)
	return a
}
