package parquet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/parquet-go/parquet-go/bloom"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// A segmentWriter writes one Parquet file, a column after the other. All that it
// keeps of a column is where it stands; the library's writer holds the pages of all
// columns until the last one, and takes its values one by one.
type segmentWriter struct {
	out    io.Writer
	offset int64
	rows   int64

	schema  []format.SchemaElement
	chunks  []format.ColumnChunk
	columns []format.ColumnIndex // without pages where a column has no bounds
	offsets []format.OffsetIndex
	blooms  []bloomFilter

	buf     bytes.Buffer
	encoder *thrift.Encoder
}

// A bloomFilter is the bits of a chunk's filter.
type bloomFilter struct {
	chunk int
	bits  []byte
}

const (
	parquetMagic = "PAR1"
	// parquetVersion of the metadata is that of the format with all encodings that
	// we use.
	parquetVersion = 2
	createdBy      = "viewtcp version store(build 1)"
)

// newSegmentWriter begins a file with some columns of so many rows.
func newSegmentWriter(out io.Writer, t *table, columns []column, optional []bool, rows int) (*segmentWriter, error) {
	w := &segmentWriter{out: out, rows: int64(rows)}
	w.encoder = thrift.NewEncoder(new(thrift.CompactProtocol).NewWriter(&w.buf))
	w.schema = append(w.schema, format.SchemaElement{Name: t.String(), NumChildren: thrift.New(int32(len(columns)))})
	for i := range columns {
		w.schema = append(w.schema, schemaElement(&columns[i], optional[i]))
	}
	return w, w.write([]byte(parquetMagic))
}

func schemaElement(c *column, optional bool) format.SchemaElement {
	typ := typeOf(c)
	e := format.SchemaElement{Name: c.name, FieldID: int32(c.tag), RepetitionType: thrift.New(format.Required)}
	if optional {
		e.RepetitionType = thrift.New(format.Optional)
	}
	if p := typ.PhysicalType(); p != nil {
		e.Type = thrift.New(*p)
	}
	if l := typ.LogicalType(); l != nil {
		e.LogicalType = *l
	}
	if o := typ.ConvertedType(); o != nil {
		e.ConvertedType = thrift.New(*o)
	}
	return e
}

func (w *segmentWriter) write(b []byte) error {
	n, err := w.out.Write(b)
	w.offset += int64(n)
	return err
}

// writeThrift writes a structure of the format and returns how many bytes it took.
func (w *segmentWriter) writeThrift(v any) (int, error) {
	w.buf.Reset()
	if err := w.encoder.Encode(v); err != nil {
		return 0, fmt.Errorf("encoding %T: %w", v, err)
	}
	return w.buf.Len(), w.write(w.buf.Bytes())
}

// begin begins the chunk of the next column.
func (w *segmentWriter) begin(c *column, codec format.CompressionCodec, encodings ...format.Encoding) *format.ColumnMetaData {
	w.columns = append(w.columns, format.ColumnIndex{})
	w.offsets = append(w.offsets, format.OffsetIndex{})
	w.chunks = append(w.chunks, format.ColumnChunk{MetaData: format.ColumnMetaData{
		Type: *typeOf(c).PhysicalType(), Encoding: encodings, PathInSchema: []string{c.name}, Codec: codec, NumValues: w.rows,
	}})
	return &w.chunks[len(w.chunks)-1].MetaData
}

// page writes a page of the chunk that was begun last; header lacks its sizes.
func (w *segmentWriter) page(header *format.PageHeader, body []byte, uncompressed int, firstRow int64) error {
	at := len(w.chunks) - 1
	m := &w.chunks[at].MetaData
	begin := w.offset
	if header.Type == format.DictionaryPage {
		m.DictionaryPageOffset = begin
	} else if m.DataPageOffset == 0 {
		m.DataPageOffset = begin
	}
	header.UncompressedPageSize, header.CompressedPageSize = int32(uncompressed), int32(len(body))
	header.CRC = int32(crc32.ChecksumIEEE(body))
	n, err := w.writeThrift(header)
	if err == nil {
		err = w.write(body)
	}
	m.TotalUncompressedSize += int64(n + uncompressed)
	m.TotalCompressedSize += int64(n + len(body))
	if header.Type == format.DataPage {
		w.offsets[at].PageLocations = append(w.offsets[at].PageLocations, format.PageLocation{
			Offset: begin, CompressedPageSize: int32(n + len(body)), FirstRowIndex: firstRow,
		})
	}
	return err
}

// bloom gives the chunk that was begun last a filter of hashes.
func (w *segmentWriter) bloom(hashes []uint64) {
	bits := make([]byte, bloom.BlockSize*bloom.NumSplitBlocksOf(int64(len(hashes)), bloomBits))
	bloom.MakeSplitBlockFilter(bits).InsertBulk(hashes)
	w.blooms = append(w.blooms, bloomFilter{len(w.chunks) - 1, bits})
}

// close writes what follows the columns, with one text of metadata.
func (w *segmentWriter) close(key, value string) error {
	group := format.RowGroup{Columns: w.chunks, NumRows: w.rows, FileOffset: int64(len(parquetMagic))}
	for i := range w.chunks {
		group.TotalByteSize += w.chunks[i].MetaData.TotalUncompressedSize
		group.TotalCompressedSize += w.chunks[i].MetaData.TotalCompressedSize
	}
	for _, b := range w.blooms {
		header := format.BloomFilterHeader{NumBytes: int32(len(b.bits))}
		header.Algorithm.Value = &format.SplitBlockAlgorithm{}
		header.Hash.Value = &format.XxHash{}
		header.Compression.Value = &format.BloomFilterUncompressed{}
		m := &w.chunks[b.chunk].MetaData
		m.BloomFilterOffset = w.offset
		n, err := w.writeThrift(&header)
		if err == nil {
			err = w.write(b.bits)
		}
		if err != nil {
			return err
		}
		m.BloomFilterLength = int32(n + len(b.bits))
	}
	for i := range w.columns {
		if len(w.columns[i].NullPages) == 0 {
			continue
		}
		c := &w.chunks[i]
		c.ColumnIndexOffset = w.offset
		n, err := w.writeThrift(&w.columns[i])
		if err != nil {
			return err
		}
		c.ColumnIndexLength = int32(n)
	}
	for i := range w.offsets {
		c := &w.chunks[i]
		c.OffsetIndexOffset = w.offset
		n, err := w.writeThrift(&w.offsets[i])
		if err != nil {
			return err
		}
		c.OffsetIndexLength = int32(n)
	}
	meta := format.FileMetaData{
		Version: parquetVersion, Schema: w.schema, NumRows: w.rows, RowGroups: []format.RowGroup{group}, CreatedBy: createdBy,
		KeyValueMetadata: []format.KeyValue{{Key: key, Value: value}},
	}
	for range w.chunks {
		meta.ColumnOrders = append(meta.ColumnOrders, format.ColumnOrder{Value: new(format.TypeDefinedOrder)})
	}
	n, err := w.writeThrift(&meta)
	if err == nil {
		err = w.write(append(binary.LittleEndian.AppendUint32(nil, uint32(n)), parquetMagic...))
	}
	return err
}
