package parquet

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/parquet-go/parquet-go"

	"github.com/viewtcp/viewtcp/internal/store"
)

// A source has the rows that segments are made of.
type source interface {
	// read returns the values of a column for all rows: v, filled, or a column
	// that the source keeps, which nobody may change.
	read(v *vec, c *column) (*vec, error)
	// complete reports whether no row is known to lack a value of the column.
	complete(c *column) bool
}

// A footer is what the metadata of a segment says of it, besides what any Parquet
// file says.
type footer struct {
	Format int    `json:"format"`
	Table  string `json:"table"`
	Rows   uint64 `json:"rows"`
	// First and Last are the least and the greatest time of the rows; Start is
	// the least start of a connection, and Cover the least time from which a row
	// tells of its connection; 0 is not known.
	First int64 `json:"first"`
	Last  int64 `json:"last"`
	Start int64 `json:"start,omitempty"`
	Cover int64 `json:"cover,omitempty"`
	// From and To are the frames of the log that the rows came from.
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
	// Replaces are the segments that were merged into this one.
	Replaces []uint64 `json:"replaces,omitempty"`
	// Checksums are those of the columns, in hexadecimal.
	Checksums map[string]string `json:"checksums"`
}

// footerKey is where the footer stands in the file's key-value metadata, as JSON.
const footerKey = "viewtcp"

// formatVersion is the version of segments, log, checkpoints and manifest.
const formatVersion = 1

// A part is the rows of a source that go into one segment.
type part struct {
	out   io.Writer
	order []uint32
	footer
	pw *parquet.GenericWriter[any]
}

// writeSegments writes rows as Parquet files and completes their footers. Each
// column is read once for all of them.
func writeSegments(t *table, src source, parts []*part) error {
	columns, optional, err := usedColumns(t, src)
	if err != nil {
		return err
	}
	for _, p := range parts {
		p.pw = parquet.NewGenericWriter[any](p.out, writerOptions(t, schemaOf(t, columns, optional), len(p.order))...)
		p.Format, p.Table, p.Rows = formatVersion, t.String(), uint64(len(p.order))
		p.Checksums = make(map[string]string, len(columns))
	}
	cw := columnWriter{values: make([]parquet.Value, 0, valuesAtOnce)}
	scratch := new(vec)
	for i := range columns {
		c := &columns[i]
		scratch.reset(c.typ)
		v, err := src.read(scratch, c)
		if err != nil {
			return fmt.Errorf("column %s: %w", c.name, err)
		}
		cw.begin(v, i, optional[i])
		for _, p := range parts {
			if c.tag == t.timeTag() {
				p.First, p.Last = bounds(v, p.order)
			}
			if err := cw.write(p.pw.ColumnWriters()[i], p.order); err != nil {
				return fmt.Errorf("column %s: %w", c.name, err)
			}
			p.Checksums[c.name] = strconv.FormatUint(checksum(v, p.order), 16)
		}
	}
	for _, p := range parts {
		text, err := json.Marshal(&p.footer)
		if err != nil {
			return err
		}
		p.pw.SetKeyValueMetadata(footerKey, string(text))
		if err := p.pw.Close(); err != nil {
			return err
		}
	}
	return nil
}

// usedColumns leaves out the columns of packets when no row has packets: most
// hosts record none, and they are half of all columns. optional are those that
// some rows may lack.
func usedColumns(t *table, src source) (used []column, optional []bool, err error) {
	packets, looked := false, false
	for i := range t.columns {
		c := &t.columns[i]
		if c.part == store.PartPackets && !looked {
			looked = true
			v := new(vec)
			v.reset(c.typ)
			if v, err = src.read(v, c); err != nil {
				return nil, nil, fmt.Errorf("column %s: %w", c.name, err)
			}
			packets = v.unknown < v.len()
		}
		if c.part != store.PartPackets || packets {
			used = append(used, *c)
			optional = append(optional, !src.complete(c))
		}
	}
	return used, optional, nil
}

func bounds(v *vec, order []uint32) (first, last int64) {
	for i, row := range order {
		n := int64(v.nums[row])
		if i == 0 {
			first, last = n, n
		}
		first, last = min(first, n), max(last, n)
	}
	return first, last
}

// valuesAtOnce is how many values are handed to the library together.
const valuesAtOnce = 2048

// A columnWriter turns a vec into the library's values.
type columnWriter struct {
	v        *vec
	index    int
	optional bool
	values   []parquet.Value
	texts    []parquet.Value // by code
	// allUnknown says that values are those of a column without any.
	allUnknown bool
}

func (w *columnWriter) begin(v *vec, index int, optional bool) {
	w.v, w.index, w.optional, w.allUnknown = v, index, optional, false
	w.texts = w.texts[:0]
	level := 0
	if optional {
		level = 1
	}
	for _, s := range v.dict {
		w.texts = append(w.texts, parquet.ByteArrayValue(appendText(nil, v.typ, s)).Level(0, level, index))
	}
}

// appendText appends the form in which a text is stored: addresses are written
// out.
func appendText(b []byte, t store.Type, s string) []byte {
	if t == store.Addr {
		return addrOf(s).AppendTo(b)
	}
	return append(b, s...)
}

func (w *columnWriter) write(cw *parquet.ColumnWriter, rows []uint32) error {
	for len(rows) > 0 {
		page := rows[:min(pageRows, len(rows))]
		rows = rows[len(page):]
		for len(page) > 0 {
			part := page[:min(valuesAtOnce, len(page))]
			page = page[len(part):]
			w.fill(part)
			if _, err := cw.WriteRowValues(w.values); err != nil {
				return err
			}
		}
		if err := cw.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func (w *columnWriter) fill(rows []uint32) {
	v := w.v
	switch {
	case v.unknown == v.len():
		w.fillUnknown(len(rows))
	case textual(v.typ):
		w.fillTexts(rows)
	case w.optional:
		w.fillOptional(rows)
	default:
		w.fillRequired(rows)
	}
}

// fillUnknown makes n values of a column without any.
func (w *columnWriter) fillUnknown(n int) {
	if w.allUnknown {
		w.values = w.values[:n]
		return
	}
	w.values = w.values[:cap(w.values)]
	unknown := parquet.NullValue().Level(0, 0, w.index)
	for i := range w.values {
		w.values[i] = unknown
	}
	w.allUnknown, w.values = true, w.values[:n]
}

func (w *columnWriter) fillTexts(rows []uint32) {
	values, codes := w.values[:0], w.v.codes
	unknown := parquet.NullValue().Level(0, 0, w.index)
	for _, row := range rows {
		if c := codes[row]; c != noCode {
			values = append(values, w.texts[c])
		} else {
			values = append(values, unknown)
		}
	}
	w.values = values
}

// fillRequired makes values without levels, which costs a third.
func (w *columnWriter) fillRequired(rows []uint32) {
	values, nums := w.values[:len(rows)], w.v.nums
	switch w.v.typ {
	case store.Bool:
		for i, row := range rows {
			values[i] = parquet.BooleanValue(nums[row] != 0)
		}
	case store.Uint32, store.Uint16:
		for i, row := range rows {
			values[i] = parquet.Int32Value(int32(nums[row]))
		}
	default:
		for i, row := range rows {
			values[i] = parquet.Int64Value(int64(nums[row]))
		}
	}
	w.values = values
}

func (w *columnWriter) fillOptional(rows []uint32) {
	w.fillRequired(rows)
	unknown := parquet.NullValue().Level(0, 0, w.index)
	for i, row := range rows {
		if w.v.known[row] {
			w.values[i] = w.values[i].Level(0, 1, w.index)
		} else {
			w.values[i] = unknown
		}
	}
}
