package parquet

import (
	"cmp"
	"slices"

	"github.com/viewtcp/viewtcp/internal/store"
)

// A sortRow is a row number with what it is ordered by: all sort columns but the
// last folded into major, the last in minor.
type sortRow struct {
	major, minor uint64
	row          uint32
}

// sortKey folds columns into the order of rows. The folded ranks of all columns
// but the last must fit 64 bits, which any columns do whose distinct values
// multiply to less.
type sortKey struct{ rows []sortRow }

// add folds a column into the order: last tells the last one.
func (k *sortKey) add(v *vec, last bool) {
	if k.rows == nil {
		k.rows = make([]sortRow, v.len())
		for i := range k.rows {
			k.rows[i].row = uint32(i)
		}
	}
	if last {
		flip := uint64(0)
		if v.typ == store.Time {
			flip = 1 << 63 // signed
		}
		for i := range k.rows {
			k.rows[i].minor = v.nums[i] ^ flip
		}
		return
	}
	ranks, of := v.ranks()
	for i := range k.rows {
		k.rows[i].major = k.rows[i].major*uint64(ranks) + uint64(of[i])
	}
}

// order returns the row numbers in order; equal rows keep theirs.
func (k *sortKey) order() []uint32 {
	slices.SortFunc(k.rows, func(a, b sortRow) int {
		switch {
		case a.major != b.major:
			return cmp.Compare(a.major, b.major)
		case a.minor != b.minor:
			return cmp.Compare(a.minor, b.minor)
		default:
			return cmp.Compare(a.row, b.row)
		}
	})
	order := make([]uint32, len(k.rows))
	for i := range k.rows {
		order[i] = k.rows[i].row
	}
	return order
}

// ranks returns, for each row, the place of its value among the distinct ones,
// unknown first, and how many places there are.
func (v *vec) ranks() (n int, of []uint32) {
	of = make([]uint32, v.len())
	if textual(v.typ) {
		byText := make([]uint32, len(v.dict))
		for i := range byText {
			byText[i] = uint32(i)
		}
		slices.SortFunc(byText, func(a, b uint32) int { return cmp.Compare(v.dict[a], v.dict[b]) })
		rank := make([]uint32, len(v.dict))
		for i, c := range byText {
			rank[c] = uint32(i) + 1
		}
		for i, c := range v.codes {
			if c != noCode {
				of[i] = rank[c]
			}
		}
		return len(v.dict) + 1, of
	}
	distinct := make([]uint64, 0, 64)
	seen := make(map[uint64]uint32)
	for i, x := range v.nums {
		if _, ok := seen[x]; v.known[i] && !ok {
			seen[x] = 0
			distinct = append(distinct, x)
		}
	}
	slices.Sort(distinct)
	for i, x := range distinct {
		seen[x] = uint32(i) + 1
	}
	for i, x := range v.nums {
		if v.known[i] {
			of[i] = seen[x]
		}
	}
	return len(distinct) + 1, of
}
