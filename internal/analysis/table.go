package analysis

import (
	"encoding/binary"
	"math/bits"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// table finds connections by their ends, whichever end sent. It is a hash table
// with open addressing that holds numbers of connections, no pointers: the
// garbage collector has nothing to look at in it.
type table struct {
	slots []slot
	used  int
	// seed is drawn at random, so that nobody can send segments that all fall
	// into one place.
	seed [2]uint64
}

// slot names a connection; tag is its hash, so that few others are looked at
// and growing looks at none.
type slot struct{ tag, ref uint32 }

const minSlots = 1 << 10

func (t *table) init(seed [2]uint64) {
	t.seed = seed
	t.slots = make([]slot, minSlots)
}

// hash is the same for both directions of a connection.
func (t *table) hash(k *tcp.Tuple) uint32 {
	h := t.end(&k.Local, k.LocalPort) + t.end(&k.Remote, k.RemotePort)
	hi, lo := bits.Mul64(h^t.seed[1], 0x9e3779b97f4a7c15)
	return uint32(hi ^ lo)
}

func (t *table) end(a *tcp.Addr, port uint16) uint64 {
	x := binary.LittleEndian.Uint64(a[:8]) ^ t.seed[0]
	y := binary.LittleEndian.Uint64(a[8:]) ^ uint64(port)<<7 ^ t.seed[1]
	hi, lo := bits.Mul64(x^0xa0761d6478bd642f, y^0xe7037ed1a0b428db)
	h2, l2 := bits.Mul64(hi^lo^uint64(port), 0x8ebc6af09c88c6e3)
	return h2 ^ l2
}

// put adds a connection that is not in the table.
func (t *table) put(tag, ref uint32) {
	if t.used >= len(t.slots)/4*3 {
		t.grow()
	}
	mask := uint32(len(t.slots) - 1)
	i := tag & mask
	for t.slots[i].ref != 0 {
		i = (i + 1) & mask
	}
	t.slots[i] = slot{tag: tag, ref: ref}
	t.used++
}

func (t *table) grow() {
	old := t.slots
	t.slots = make([]slot, 2*len(old))
	mask := uint32(len(t.slots) - 1)
	for _, s := range old {
		if s.ref == 0 {
			continue
		}
		i := s.tag & mask
		for t.slots[i].ref != 0 {
			i = (i + 1) & mask
		}
		t.slots[i] = s
	}
}

// drop takes a connection out and closes the gap behind it, so that no
// tombstones gather.
func (t *table) drop(tag, ref uint32) {
	mask := uint32(len(t.slots) - 1)
	i := tag & mask
	for t.slots[i].ref != ref {
		if t.slots[i].ref == 0 {
			return
		}
		i = (i + 1) & mask
	}
	t.used--
	for j := i; ; {
		j = (j + 1) & mask
		s := t.slots[j]
		if s.ref == 0 {
			t.slots[i] = slot{}
			return
		}
		// s may move to i unless its home lies behind i.
		if (j-s.tag)&mask >= (j-i)&mask {
			t.slots[i] = s
			i = j
		}
	}
}
