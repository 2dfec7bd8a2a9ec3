package parquet

import (
	"slices"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// noCode is the code of an unknown value.
const noCode = ^uint32(0)

// A vec is one column of some rows in memory. Numbers are in nums, with known
// telling which there are; texts are codes into dict, each distinct text once.
// Addresses are texts of 16 bytes. Bytes that are gathered are not looked up: hardly any are alike.
type vec struct {
	typ   store.Type
	nums  []uint64
	known []bool
	codes []uint32
	dict  []string
	// index finds the codes of the texts in dict.
	index textIndex
	// unknown counts values that are not known.
	unknown int
}

// textual reports whether values of a type are codes.
func textual(t store.Type) bool { return t == store.String || t == store.Bytes || t == store.Addr }

func (v *vec) reset(t store.Type) {
	v.typ, v.unknown = t, 0
	v.nums, v.known, v.codes = v.nums[:0], v.known[:0], v.codes[:0]
	v.dict = v.dict[:0]
	v.index.reset()
}

// reserve makes room for n values.
func (v *vec) reserve(n int) {
	if textual(v.typ) {
		v.codes = slices.Grow(v.codes, n)
		return
	}
	v.nums, v.known = slices.Grow(v.nums, n), slices.Grow(v.known, n)
}

func (v *vec) len() int {
	if textual(v.typ) {
		return len(v.codes)
	}
	return len(v.nums)
}

// code finds the code of a text, giving it one if it is new. The text is kept.
func (v *vec) code(s string) uint32 {
	c, slot, hash, ok := v.index.find(v.dict, s)
	if !ok {
		c = v.index.insert(slot, hash)
		v.dict = append(v.dict, s)
	}
	return c
}

// codeOf is code for bytes that are not kept.
func (v *vec) codeOf(b []byte) uint32 {
	c, slot, hash, ok := v.index.findBytes(v.dict, b)
	if !ok {
		c = v.index.insert(slot, hash)
		v.dict = append(v.dict, string(b))
	}
	return c
}

func (v *vec) addUnknown(n int) {
	v.unknown += n
	if textual(v.typ) {
		codes := v.growCodes(n)
		for i := range codes {
			codes[i] = noCode
		}
		return
	}
	nums, known := v.grow(n)
	clear(nums)
	clear(known)
}

// grow appends n numbers, not set yet, and returns them.
func (v *vec) grow(n int) ([]uint64, []bool) {
	at := len(v.nums)
	v.nums, v.known = slices.Grow(v.nums, n)[:at+n], slices.Grow(v.known, n)[:at+n]
	return v.nums[at:], v.known[at:]
}

// growCodes appends n codes, not set yet, and returns them.
func (v *vec) growCodes(n int) []uint32 {
	at := len(v.codes)
	v.codes = slices.Grow(v.codes, n)[:at+n]
	return v.codes[at:]
}

func (v *vec) addNum(n uint64) { v.nums, v.known = append(v.nums, n), append(v.known, true) }

// has reports whether the value of row i is known.
func (v *vec) has(i int) bool {
	if textual(v.typ) {
		return v.codes[i] != noCode
	}
	return v.known[i]
}

// alike reports whether all rows have the same value, if all are known; not of bytes,
// of which each row has an entry of its own.
func (v *vec) alike() bool {
	if textual(v.typ) {
		return len(v.dict) == 1
	}
	for _, n := range v.nums {
		if n != v.nums[0] {
			return false
		}
	}
	return len(v.nums) > 0
}

// gather fills v with one column of rows.
func gather[T any](v *vec, c *store.Column[T], rows []T) {
	v.reset(c.Type)
	switch {
	case c.Num != nil:
		nums, known := v.grow(len(rows))
		for i := range rows {
			n, ok := c.Num(&rows[i])
			nums[i], known[i] = n, ok
			if !ok {
				nums[i] = 0
				v.unknown++
			}
		}
	case c.Str != nil:
		// Most texts of a batch came a few rows before.
		var recent [64]struct {
			text string
			code uint32 // plus one; 0 is empty
		}
		codes := v.growCodes(len(rows))
		last, lastCode := "", noCode
		for i := range rows {
			s, ok := c.Str(&rows[i])
			if !ok {
				codes[i] = noCode
				v.unknown++
				continue
			}
			if c.Type == store.Bytes { // hardly any are alike
				codes[i] = uint32(len(v.dict))
				v.dict = append(v.dict, s)
				continue
			}
			if lastCode == noCode || s != last {
				r := &recent[spot(s)%len(recent)]
				if r.code == 0 || r.text != s {
					r.text, r.code = s, v.code(s)+1
				}
				last, lastCode = s, r.code-1
			}
			codes[i] = lastCode
		}
	default:
		codes := v.growCodes(len(rows))
		var last tcp.Addr
		lastCode := noCode
		for i := range rows {
			a, ok := c.Addr(&rows[i])
			if !ok {
				codes[i] = noCode
				v.unknown++
				continue
			}
			if lastCode == noCode || a != last {
				last, lastCode = a, v.codeOf(a[:])
			}
			codes[i] = lastCode
		}
	}
}

// spot is a number that texts which differ have in common seldom enough.
func spot(s string) int {
	if s == "" {
		return 0
	}
	return len(s) + 3*int(s[0]) + 5*int(s[len(s)/2]) + 7*int(s[len(s)-1])
}

// scatter hands row i of v to the setter of its column.
func scatter[T any](v *vec, c *store.Column[T], row *T, i int) {
	if !v.has(i) {
		return
	}
	switch {
	case c.SetNum != nil:
		c.SetNum(row, v.nums[i])
	case c.SetStr != nil:
		c.SetStr(row, v.dict[v.codes[i]])
	default:
		var a tcp.Addr
		copy(a[:], v.dict[v.codes[i]])
		c.SetAddr(row, a)
	}
}

// appendFrom appends row i of another column of the same type.
func (v *vec) appendFrom(o *vec, i int) {
	switch {
	case !o.has(i):
		v.addUnknown(1)
	case textual(v.typ):
		v.codes = append(v.codes, v.code(o.dict[o.codes[i]]))
	default:
		v.addNum(o.nums[i])
	}
}
