package parquet

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/viewtcp/viewtcp/internal/store"
)

// sortKey folds columns into the order of rows: major are the places of the values
// of all columns so far, in one number that is less than majors. It must fit 64
// bits, which it does for any columns whose distinct values multiply to less.
type sortKey struct {
	major  []uint64
	majors uint64 // the highest number if it is more
}

// add folds a column into the order.
func (k *sortKey) add(v *vec) {
	if k.major == nil {
		k.major, k.majors = make([]uint64, v.len()), 1
	}
	places, of := v.ranks()
	for row, place := range of {
		k.major[row] = k.major[row]*uint64(places) + uint64(place)
	}
	high, low := bits.Mul64(k.majors, uint64(places))
	if k.majors = low; high != 0 {
		k.majors = ^uint64(0)
	}
}

// order returns the numbers of the rows in order, those that are alike in all
// columns that were added by last; equal rows keep theirs.
func (k *sortKey) order(last *vec) []uint32 {
	flip := uint64(0)
	if last.typ == store.Time {
		flip = 1 << 63 // signed
	}
	compare := func(a, b uint32) int {
		if c := cmp.Compare(last.nums[a]^flip, last.nums[b]^flip); c != 0 {
			return c
		}
		return cmp.Compare(a, b)
	}
	order := make([]uint32, last.len())
	if k.major == nil || k.majors > 4*uint64(len(order))+1024 {
		for row := range order {
			order[row] = uint32(row)
		}
		slices.SortFunc(order, func(a, b uint32) int {
			if k.major != nil && k.major[a] != k.major[b] {
				return cmp.Compare(k.major[a], k.major[b])
			}
			return compare(a, b)
		})
		return order
	}
	// Rows come nearly in the order of their times: what is left to sort after the
	// places of the others were counted is short, or in order.
	ends := make([]uint32, k.majors+1)
	for _, m := range k.major {
		ends[m+1]++
	}
	for m := range k.majors {
		ends[m+1] += ends[m]
	}
	for row, m := range k.major {
		order[ends[m]] = uint32(row)
		ends[m]++
	}
	begin := uint32(0)
	for _, end := range ends[:k.majors] {
		if alike := order[begin:end]; !slices.IsSortedFunc(alike, compare) {
			slices.SortFunc(alike, compare)
		}
		begin = end
	}
	return order
}

// ranks returns, for each row, the place of its value among the distinct ones,
// unknown first, and how many places there are.
func (v *vec) ranks() (n int, of []uint32) {
	codes, rank := v.codes, []uint32(nil)
	if textual(v.typ) {
		rank = ranked(v.dict)
	} else {
		codes, n = numberCodes(v.nums, v.known)
		numbers := make([]uint64, n)
		for row, c := range codes {
			if c != noCode {
				numbers[c] = v.nums[row]
			}
		}
		rank = ranked(numbers)
	}
	of = make([]uint32, len(codes))
	for row, c := range codes {
		if c != noCode {
			of[row] = rank[c] + 1
		}
	}
	return len(rank) + 1, of
}

// ranked returns the place of each of some distinct values in their order.
func ranked[E cmp.Ordered](values []E) []uint32 {
	order := make([]uint32, len(values))
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(a, b uint32) int { return cmp.Compare(values[a], values[b]) })
	rank := make([]uint32, len(values))
	for i, at := range order {
		rank[at] = uint32(i)
	}
	return rank
}
