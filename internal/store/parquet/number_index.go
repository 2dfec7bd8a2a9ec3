package parquet

import (
	"math/bits"
	"math/rand/v2"
)

// A numberIndex finds the place of a number in a dictionary: a hash table with open
// addressing, which takes a quarter of the time of a map. Others choose some of the
// numbers, so the factor of the hash is random.
type numberIndex struct {
	factor uint64
	slots  []numberSlot
	used   int
	shift  int // of a hash, so that what is left is a slot
}

type numberSlot struct {
	number uint64
	place  int32 // plus one; 0 is empty
}

const minSlots = 1 << 8

func (x *numberIndex) reset() {
	if len(x.slots) > 1<<12 {
		x.slots = nil // clearing it would cost its size for each column to come
	}
	if x.slots == nil {
		x.slots, x.factor = make([]numberSlot, minSlots), rand.Uint64()|1
	}
	clear(x.slots)
	x.used, x.shift = 0, 64-bits.TrailingZeros(uint(len(x.slots)))
}

// codes sets the code of each of some rows of v, -1 where it is unknown, and appends
// the distinct numbers to dict in the order of their codes. The index is empty
// before.
func (x *numberIndex) codes(dict []uint64, codes []int32, v *vec, rows []uint32) []uint64 {
	last, lastCode := uint64(0), int32(-1)
	for i, row := range rows {
		if !v.known[row] {
			codes[i] = -1
			continue
		}
		// Neighbours are often the same.
		if n := v.nums[row]; lastCode < 0 || n != last {
			last, lastCode = n, x.place(n)
			if int(lastCode) == len(dict) {
				dict = append(dict, n)
			}
		}
		codes[i] = lastCode
	}
	return dict
}

// place returns the place of a number, the next free one if it is new.
func (x *numberIndex) place(n uint64) int32 {
	at := x.slot(n)
	if s := &x.slots[at]; s.place != 0 {
		return s.place - 1
	}
	if 2*x.used >= len(x.slots) {
		x.grow()
		at = x.slot(n)
	}
	x.used++
	x.slots[at] = numberSlot{n, int32(x.used)}
	return int32(x.used) - 1
}

// slot finds the slot of a number, or the empty one that it belongs to.
func (x *numberIndex) slot(n uint64) int {
	mask := len(x.slots) - 1
	at := int(n * x.factor >> x.shift)
	for x.slots[at].place != 0 && x.slots[at].number != n {
		at = (at + 1) & mask
	}
	return at
}

func (x *numberIndex) grow() {
	old := x.slots
	x.slots = make([]numberSlot, 2*len(old))
	x.shift--
	for _, s := range old {
		if s.place != 0 {
			x.slots[x.slot(s.number)] = s
		}
	}
}
