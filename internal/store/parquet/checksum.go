package parquet

import "github.com/viewtcp/viewtcp/internal/store"

// The checksum of a column is FNV-1a over its rows in the order of the file, a
// 64-bit word each: the number, or the FNV-1a hash of the bytes of a text as it
// is stored, or unknownWord. Any single row that differs changes it.
const (
	fnvOffset   = 14695981039346656037
	fnvPrime    = 1099511628211
	unknownWord = 0x9e3779b97f4a7c15
)

// checksum hashes the rows of a column in the given order; nil is as they are.
func checksum(v *vec, order []uint32) uint64 {
	h := uint64(fnvOffset)
	if textual(v.typ) {
		words := textWords(v)
		each(len(v.codes), order, func(row int) {
			w := uint64(unknownWord)
			if c := v.codes[row]; c != noCode {
				w = words[c]
			}
			h = (h ^ w) * fnvPrime
		})
		return h
	}
	if order != nil && v.unknown == 0 {
		for _, row := range order {
			h = (h ^ v.nums[row]) * fnvPrime
		}
		return h
	}
	each(len(v.nums), order, func(row int) {
		w := uint64(unknownWord)
		if v.known[row] {
			w = v.nums[row]
		}
		h = (h ^ w) * fnvPrime
	})
	return h
}

// each calls fn for the rows of order, or for all n as they are.
func each(n int, order []uint32, fn func(row int)) {
	if order == nil {
		for row := range n {
			fn(row)
		}
		return
	}
	for _, row := range order {
		fn(int(row))
	}
}

// textWords hashes the texts of a column.
func textWords(v *vec) []uint64 {
	if !textual(v.typ) {
		return nil
	}
	words := make([]uint64, len(v.dict))
	var b []byte
	for i, s := range v.dict {
		if v.typ == store.Addr {
			b = appendText(b[:0], v.typ, s)
			words[i] = hashBytes(b)
		} else {
			words[i] = hashBytes(s)
		}
	}
	return words
}

func hashBytes[T string | []byte](b T) uint64 {
	h := uint64(fnvOffset)
	for i := range len(b) {
		h = (h ^ uint64(b[i])) * fnvPrime
	}
	return h
}

// An unknownSum keeps the checksum of as many rows without a value: half of all
// columns have none.
type unknownSum struct {
	rows int
	sum  uint64
}

func (u *unknownSum) of(rows int) uint64 {
	if u.rows != rows || u.sum == 0 {
		u.rows, u.sum = rows, fnvOffset
		for range rows {
			u.sum = (u.sum ^ unknownWord) * fnvPrime
		}
	}
	return u.sum
}
