package parquet

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"

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
	pw *segmentWriter
}

// writeSegments writes rows as Parquet files and completes their footers. Each
// column is read once for all of them.
func writeSegments(t *table, src source, parts []*part) error {
	columns, optional, err := usedColumns(t, src)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if p.pw, err = newSegmentWriter(p.out, t, columns, optional, len(p.order)); err != nil {
			return err
		}
		p.Format, p.Table, p.Rows = formatVersion, t.String(), uint64(len(p.order))
		p.Checksums = make(map[string]string, len(columns))
	}
	var cw chunkWriter
	scratch := new(vec)
	for i := range columns {
		c := &columns[i]
		scratch.reset(c.typ)
		v, err := src.read(scratch, c)
		if err != nil {
			return fmt.Errorf("column %s: %w", c.name, err)
		}
		cw.begin(t, c, v, i == 0, optional[i])
		for _, p := range parts {
			if c.tag == t.timeTag() {
				p.First, p.Last = timeBounds(v, p.order)
			}
			sum, err := cw.write(p.pw, p.order, slices.Contains(t.bloom, c.tag))
			if err != nil {
				return fmt.Errorf("column %s: %w", c.name, err)
			}
			p.Checksums[c.name] = strconv.FormatUint(sum, 16)
		}
	}
	for _, p := range parts {
		text, err := json.Marshal(&p.footer)
		if err != nil {
			return err
		}
		if err := p.pw.close(footerKey, string(text)); err != nil {
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

func timeBounds(v *vec, order []uint32) (first, last int64) {
	for i, row := range order {
		n := int64(v.nums[row])
		if i == 0 {
			first, last = n, n
		}
		first, last = min(first, n), max(last, n)
	}
	return first, last
}

// appendText appends the form in which a text is stored: addresses are written
// out.
func appendText(b []byte, t store.Type, s string) []byte {
	if t == store.Addr {
		return addrOf(s).AppendTo(b)
	}
	return append(b, s...)
}
