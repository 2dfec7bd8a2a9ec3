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

// A columnSum is the checksum of a column that comes some rows at a time.
type columnSum struct {
	sum   uint64
	words []uint64 // of the texts of the column
}

func (s *columnSum) reset() { s.sum, s.words = fnvOffset, s.words[:0] }

// add adds all rows of v, whose dictionary may have grown since the ones before.
func (s *columnSum) add(v *vec) {
	h := s.sum
	switch {
	case textual(v.typ):
		s.words = appendWords(s.words, v)
		for _, c := range v.codes {
			w := uint64(unknownWord)
			if c != noCode {
				w = s.words[c]
			}
			h = (h ^ w) * fnvPrime
		}
	case v.unknown == 0:
		for _, n := range v.nums {
			h = (h ^ n) * fnvPrime
		}
	default:
		for row, n := range v.nums {
			if !v.known[row] {
				n = unknownWord
			}
			h = (h ^ n) * fnvPrime
		}
	}
	s.sum = h
}

// appendWords appends the hashes of those texts of a column that words lacks.
func appendWords(words []uint64, v *vec) []uint64 {
	var b []byte
	for _, s := range v.dict[len(words):] {
		if v.typ == store.Addr {
			b = appendText(b[:0], v.typ, s)
			words = append(words, hashBytes(b))
		} else {
			words = append(words, hashBytes(s))
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
