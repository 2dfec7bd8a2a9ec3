package parquet

import "hash/maphash"

// A textIndex finds the code of a text in a dictionary: a hash table with open
// addressing that keeps no text itself, which takes half the time of a map. Others
// choose texts, so the hash is seeded.
type textIndex struct {
	seed  maphash.Seed
	slots []textSlot
	used  int
}

type textSlot struct {
	hash uint32
	code uint32 // plus one; 0 is empty
}

// reset empties the index.
func (x *textIndex) reset() {
	if x.used > 0 {
		clear(x.slots)
		x.used = 0
	}
}

// find returns the code of s in dict, or else the empty slot and the hash that insert
// takes. Texts that came into dict as a whole are indexed when one is looked for.
func (x *textIndex) find(dict []string, s string) (code uint32, slot int, hash uint32, ok bool) {
	if x.used < len(dict) || 2*x.used >= len(x.slots) {
		x.index(dict)
	}
	hash = uint32(maphash.String(x.seed, s))
	mask := len(x.slots) - 1
	for slot = int(hash) & mask; x.slots[slot].code != 0; slot = (slot + 1) & mask {
		if t := x.slots[slot]; t.hash == hash && dict[t.code-1] == s {
			return t.code - 1, slot, hash, true
		}
	}
	return 0, slot, hash, false
}

// findBytes is find for bytes.
func (x *textIndex) findBytes(dict []string, s []byte) (code uint32, slot int, hash uint32, ok bool) {
	if x.used < len(dict) || 2*x.used >= len(x.slots) {
		x.index(dict)
	}
	hash = uint32(maphash.Bytes(x.seed, s))
	mask := len(x.slots) - 1
	for slot = int(hash) & mask; x.slots[slot].code != 0; slot = (slot + 1) & mask {
		if t := x.slots[slot]; t.hash == hash && dict[t.code-1] == string(s) {
			return t.code - 1, slot, hash, true
		}
	}
	return 0, slot, hash, false
}

// index makes room for one more text, and takes up those that it lacks.
func (x *textIndex) index(dict []string) {
	x.room()
	for _, s := range dict[min(x.used, len(dict)):] {
		hash := uint32(maphash.String(x.seed, s))
		mask := len(x.slots) - 1
		slot := int(hash) & mask
		for x.slots[slot].code != 0 {
			slot = (slot + 1) & mask
		}
		x.insert(slot, hash)
		x.room()
	}
}

// insert gives a text, which find did not find, the next code.
func (x *textIndex) insert(slot int, hash uint32) (code uint32) {
	x.used++
	x.slots[slot] = textSlot{hash, uint32(x.used)}
	return uint32(x.used) - 1
}

// room makes room for one more text.
func (x *textIndex) room() {
	if 2*x.used < len(x.slots) {
		return
	}
	if x.slots == nil {
		x.seed = maphash.MakeSeed()
	}
	old := x.slots
	x.slots = make([]textSlot, max(64, 2*len(old)))
	mask := len(x.slots) - 1
	for _, t := range old {
		if t.code != 0 {
			at := int(t.hash) & mask
			for x.slots[at].code != 0 {
				at = (at + 1) & mask
			}
			x.slots[at] = t
		}
	}
}
