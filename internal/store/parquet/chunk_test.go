package parquet

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/viewtcp/viewtcp/internal/store"
)

// A vecSource is columns in memory, by tag.
type vecSource map[uint16]*vec

func (s vecSource) read(_ *vec, c *column) (*vec, error) { return s[c.tag], nil }
func (s vecSource) complete(c *column) bool              { return s[c.tag].unknown == 0 }

// randomVec makes n values of a column, of which a share is known, out of so many
// distinct ones.
func randomVec(rng *rand.Rand, c *column, n, distinct int, known float64) *vec {
	v := new(vec)
	v.reset(c.typ)
	base := rng.Uint64()
	for range n {
		x := uint64(rng.IntN(distinct))
		switch {
		case rng.Float64() >= known:
			v.addUnknown(1)
		case c.typ == store.Addr:
			a := make([]byte, 16)
			copy(a, "\x20\x01\x0d\xb8")
			a[15], a[14] = byte(x), byte(x>>8)
			v.codes = append(v.codes, v.codeOf(a))
		case textual(c.typ):
			v.codes = append(v.codes, v.code(strings.Repeat("x", int(x%70))+strconv.Itoa(int(x))[1:]))
		default:
			v.addNum((base + x*x) & maxOf(c.typ))
		}
	}
	return v
}

// sameValue compares a value of two columns of one type.
func sameValue(a *vec, i int, b *vec, j int) bool {
	switch {
	case !a.has(i) || !b.has(j):
		return a.has(i) == b.has(j)
	case textual(a.typ):
		return a.dict[a.codes[i]] == b.dict[b.codes[j]]
	default:
		return a.nums[i] == b.nums[j]
	}
}

// valueAt is a value as text.
func valueAt(v *vec, i int) string {
	switch {
	case !v.has(i):
		return "unknown"
	case textual(v.typ):
		return fmt.Sprintf("%q", v.dict[v.codes[i]])
	default:
		return fmt.Sprint(v.nums[i])
	}
}

// TestSegmentWriter writes columns of all kinds, reads them back with the library,
// and checks what the file says of them.
func TestSegmentWriter(t *testing.T) {
	tab := tables[store.Connections]
	for name, test := range map[string]struct {
		rows, distinct int
		known          float64
	}{
		"one row":         {1, 1, 1},
		"one that lacks":  {1, 1, 0},
		"all known":       {3000, 500, 1},
		"some known":      {pageRows + 77, 40, 0.1},
		"most known":      {3000, 2500, 0.97},
		"one value":       {100, 1, 1},
		"one or unknown":  {99, 1, 0.5},
		"a page of gaps":  {2 * pageRows, 3, 0.0001},
		"all are unknown": {9, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			rng := newRand(uint64(test.rows))
			src := make(vecSource)
			for i := range tab.columns {
				c := &tab.columns[i]
				known := test.known
				if c.tag == tab.timeTag() {
					known = 1
				}
				src[c.tag] = randomVec(rng, c, test.rows, test.distinct, known)
			}
			order := make([]uint32, test.rows)
			for i := range order {
				order[i] = uint32(i)
			}
			rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
			var out bytes.Buffer
			p := &part{out: &out, order: order}
			if err := writeSegments(tab, src, []*part{p}); err != nil {
				t.Fatal(err)
			}
			r := bytes.NewReader(out.Bytes())
			s, err := openSegment(r, r.Size())
			if err != nil {
				t.Fatal(err)
			}
			if err := s.verify(); err != nil {
				t.Fatal(err)
			}
			for i := range tab.columns {
				c := &tab.columns[i]
				if s.groups[0].columns[i].size == 0 {
					continue
				}
				got := new(vec)
				got.reset(c.typ)
				if err := s.fill(got, c); err != nil {
					t.Fatal(err)
				}
				for i, row := range order {
					if want := src[c.tag]; !sameValue(want, int(row), got, i) {
						t.Fatalf("column %s, row %d is %s, not %s", c.name, i, valueAt(got, i), valueAt(want, int(row)))
					}
				}
			}
			checkFile(t, tab, src, out.Bytes())
		})
	}
}

// checkChunk asks a bloom filter for some values.
func checkChunk(t *testing.T, tab *table, c *column, chunk parquet.ColumnChunk, v *vec) {
	t.Helper()
	b := chunk.BloomFilter()
	if want := slices.Contains(tab.bloom, c.tag) && v.unknown < v.len(); want != (b != nil) {
		t.Errorf("column %s: bloom filter is %v", c.name, b != nil)
	}
	if b == nil {
		return
	}
	for i := 0; i < v.len(); i += 1 + v.len()/100 {
		if !v.has(i) {
			continue
		}
		var value parquet.Value
		if textual(c.typ) {
			value = parquet.ByteArrayValue(appendText(nil, c.typ, v.dict[v.codes[i]]))
		} else {
			value = parquet.Int64Value(int64(v.nums[i]))
		}
		if ok, err := b.Check(value); err != nil || !ok {
			t.Fatalf("column %s: row %d is not in the bloom filter: %v", c.name, i, err)
		}
	}
}

// checkFile compares the index of pages with the pages that the library reads.
func checkFile(t *testing.T, tab *table, src vecSource, data []byte) {
	t.Helper()
	f, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for _, chunk := range f.RowGroups()[0].ColumnChunks() {
		name := f.Schema().Columns()[chunk.Column()][0]
		c := tab.named(name)
		checkChunk(t, tab, c, chunk, src[c.tag])
		offsets, err := chunk.OffsetIndex()
		if err != nil {
			t.Fatalf("column %s: %v", name, err)
		}
		index, err := chunk.ColumnIndex()
		if err != nil || index.NumPages() == 0 {
			index = nil // it has no bounds
		}
		pages := chunk.Pages()
		row := int64(0)
		n := 0
		for ; ; n++ {
			page, err := pages.ReadPage()
			if err == io.EOF { //nolint:errorlint // as the library says
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := offsets.FirstRowIndex(n); got != row {
				t.Errorf("column %s, page %d begins at row %d, not %d", name, n, got, row)
			}
			row += page.NumRows()
			low, high, some := page.Bounds()
			if index != nil {
				if index.NullPage(n) == some {
					t.Errorf("column %s, page %d: without values is %v", name, n, index.NullPage(n))
				}
				if some && chunk.Type().Kind() != parquet.ByteArray {
					want := fmt.Sprint(low, high)
					if got := fmt.Sprint(index.MinValue(n), index.MaxValue(n)); got != want {
						t.Errorf("column %s, page %d: bounds (-want +got):\n%s", name, n, cmp.Diff(want, got))
					}
				}
			}
			parquet.Release(page)
		}
		if n != offsets.NumPages() || row != f.NumRows() {
			t.Errorf("column %s: %d pages of %d rows, index of %d", name, n, row, offsets.NumPages())
		}
		if err := pages.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
