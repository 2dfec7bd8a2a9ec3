package parquet

import (
	"fmt"
	"strconv"

	"github.com/viewtcp/viewtcp/internal/store"
)

// A verifier reads segments back. It holds a page of a column at a time, and what
// the column has of texts.
type verifier struct {
	v       vec
	sum     columnSum
	unknown unknownSum
}

// verify reads all columns back and compares them with the footer.
func (s *segmentFile) verify() error {
	var w verifier
	for i := range s.table.columns {
		c := &s.table.columns[i]
		if len(s.groups) == 0 || s.groups[0].columns[i].size == 0 {
			continue
		}
		sum, err := w.column(s, i)
		if err != nil {
			return fmt.Errorf("column %s: %w", c.name, err)
		}
		if got := strconv.FormatUint(sum, 16); got != s.footer.Checksums[c.name] {
			return fmt.Errorf("column %s: checksum %s where the footer says %s: %w", c.name, got, s.footer.Checksums[c.name], store.ErrDamaged)
		}
	}
	return nil
}

// column reads the column at a place of the table and returns its checksum.
func (w *verifier) column(s *segmentFile, place int) (sum uint64, err error) {
	defer damaged(&err)
	r := columnReaders.Get().(*columnReader)
	defer columnReaders.Put(r)
	w.sum.reset()
	w.v.reset(s.table.columns[place].typ)
	rows := 0
	for i := range s.groups {
		g := &s.groups[i]
		m := &g.columns[place]
		if m.size == 0 || m.unknown {
			if len(s.groups) == 1 {
				return w.unknown.of(g.rows), nil
			}
			w.v.addUnknown(g.rows)
			w.addRows()
			continue
		}
		err := r.pages(&w.v, s.r, m, func(h *pageHeader, body []byte) error {
			if err := r.addPage(&w.v, m, h, body); err != nil {
				return err
			}
			if rows += w.v.len(); rows > g.rows {
				return fmt.Errorf("%w: more rows than %d", errPage, g.rows)
			}
			w.addRows()
			return nil
		})
		if err != nil {
			return 0, err
		}
		if rows != g.rows {
			return 0, fmt.Errorf("%d values for %d rows: %w", rows, g.rows, store.ErrDamaged)
		}
		rows = 0
	}
	return w.sum.sum, nil
}

// addRows adds the rows of v to the checksum and forgets them, but not their texts.
func (w *verifier) addRows() {
	v := &w.v
	w.sum.add(v)
	v.nums, v.known, v.codes, v.unknown = v.nums[:0], v.known[:0], v.codes[:0], 0
}
