package parquet

import "slices"

// A partition tells rows apart by some columns: rows that are alike in all of them
// are of one part. Parts are numbered in the order in which they first come.
type partition struct {
	of    []uint32 // the part of each row
	parts int
	table []uint32 // scratch memory
}

// newPartition makes one part of some rows.
func newPartition(rows int) *partition { return &partition{of: make([]uint32, rows), parts: 1} }

func (p *partition) clone() *partition {
	return &partition{of: slices.Clone(p.of), parts: p.parts}
}

// maxTable bounds the pairs of a part and a code that are looked up in a table,
// which takes a tenth of the time of a map.
const maxTable = 1 << 20

// split tells the rows of each part apart by codes, which are less than n or noCode.
func (p *partition) split(codes []uint32, n int) {
	parts := uint32(0)
	if size := uint64(p.parts) * uint64(n+1); size <= maxTable {
		p.table = slices.Grow(p.table[:0], int(size))[:size]
		clear(p.table)
		for row, part := range p.of {
			at := &p.table[int(part)*(n+1)+int(min(codes[row], uint32(n)))]
			if *at == 0 { // of parts, plus one
				parts++
				*at = parts
			}
			p.of[row] = *at - 1
		}
		p.parts = int(parts)
		return
	}
	seen := make(map[uint64]uint32)
	for row, part := range p.of {
		key := uint64(part)<<32 | uint64(codes[row])
		at, ok := seen[key]
		if !ok {
			at = parts
			seen[key] = at
			parts++
		}
		p.of[row] = at
	}
	p.parts = int(parts)
}

// firsts are the first rows of all parts.
func (p *partition) firsts() []uint32 {
	firsts := make([]uint32, 0, p.parts)
	for row, part := range p.of {
		if int(part) == len(firsts) {
			firsts = append(firsts, uint32(row))
		}
	}
	return firsts
}

// counts are how many rows each part has.
func (p *partition) counts() []int {
	counts := make([]int, p.parts)
	for _, part := range p.of {
		counts[part]++
	}
	return counts
}

// numberCodes numbers the distinct ones of some numbers, less than n: noCode where
// one is not known. All are if known is nil.
func numberCodes(numbers []uint64, known []bool) (codes []uint32, n int) {
	var x numberIndex
	x.reset()
	codes = make([]uint32, len(numbers))
	last, code := uint64(0), noCode
	for row, number := range numbers {
		if known != nil && !known[row] {
			codes[row] = noCode
			continue
		}
		if code == noCode || number != last { // neighbours are often the same
			last, code = number, uint32(x.place(number))
		}
		codes[row] = code
	}
	return codes, x.used
}

// intervalCodes numbers the intervals that times are in, less than n.
func intervalCodes(times []uint64, interval int64) (codes []uint32, n int) {
	codes = make([]uint32, len(times))
	index := make(map[int64]uint32)
	begin, code := int64(0), noCode
	for row, number := range times {
		// Rows come nearly in the order of their times. Far ones are farther than
		// an int64 tells.
		if t := int64(number); code == noCode || t < begin || uint64(t-begin) >= uint64(interval) {
			begin = t - floorMod(t, interval)
			at, ok := index[begin]
			if !ok {
				at = uint32(len(index))
				index[begin] = at
			}
			code = at
		}
		codes[row] = code
	}
	return codes, len(index)
}
