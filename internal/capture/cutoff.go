package capture

import "hash/maphash"

// Cutoff is how much of each direction of a connection is kept. Beyond it, only
// what tells of its life and its troubles is: SYN, FIN, RST, and segments that
// begin before what was already seen (retransmissions, keep-alives, late ones).
type Cutoff struct {
	// Packets and Bytes of payload are limits; the first that is reached
	// counts, and 0 is none.
	Packets uint32
	Bytes   uint64
}

// cutState is what the cut-off remembers of a connection, by direction: 0 is sent
// by the first end of the key.
type cutState struct {
	next    [2]uint32 // the sequence number after the highest seen
	isn     [2]uint32 // of the SYN
	packets [2]uint32
	bytes   [2]uint64
	known   [2]bool // next is
	opened  [2]bool // isn is
}

// keep tells whether a segment belongs to what is kept, and counts it.
func (c *cutState) keep(s *Segment, dir int, limit Cutoff) bool {
	if s.Info&InICMP != 0 || s.HeaderLen == 0 {
		return true
	}
	if s.Flags&(SYN|ACK) == SYN && (!c.opened[dir] || c.isn[dir] != s.Seq) {
		// A new connection between the same ends begins to count anew.
		*c = cutState{}
		c.isn[dir], c.opened[dir] = s.Seq, true
	}
	end := s.Seq + s.Len
	if s.Flags&SYN != 0 {
		end++
	}
	if s.Flags&FIN != 0 {
		end++
	}
	again := c.known[dir] && int32(s.Seq-c.next[dir]) < 0
	if !c.known[dir] || int32(end-c.next[dir]) > 0 {
		c.next[dir], c.known[dir] = end, true
	}
	within := (limit.Packets == 0 || c.packets[dir] < limit.Packets) &&
		(limit.Bytes == 0 || c.bytes[dir] < limit.Bytes)
	if c.packets[dir] != 1<<32-1 {
		c.packets[dir]++
	}
	c.bytes[dir] += uint64(s.Len)
	return within || again || s.Flags&(SYN|FIN|RST) != 0
}

// connTable remembers connections by their keys, in bounded memory: there are two
// generations, and when the younger is full the older one is forgotten. A
// connection that is seen again moves to the younger.
//
// It is looked at for each packet, so that it is a table of its own, twice as
// fast as a map for keys of this length. The hash has a random seed: nobody can
// choose connections that collide.
type connTable struct {
	young, old generation
	cuts       bool // remember for the cut-off too
	seed       maphash.Seed
	last       int // the young entry that was asked for last
	max        int // of one generation
	moved      int // from old to young
	forgotten  uint64
}

// generation is a hash table with open addressing, from which nothing is ever
// removed by itself.
type generation struct {
	slots   []uint32 // 1 + index into entries; 0 is empty
	entries []connEntry
	cuts    []cutState // as entries, if the table has any
}

// connEntry is a connection. It is as long as a line of the processor's cache.
type connEntry struct {
	key  connKey
	hash uint32
	// segment and conn are its number in the index of a segment.
	segment, conn uint32
	unsampled     bool
	_             [15]byte
}

func newConnTable(most int, cuts bool) *connTable {
	return &connTable{max: max(most/2, 1), cuts: cuts, seed: maphash.MakeSeed()}
}

// get returns a connection, new if it is not known, and its cut-off, nil if the
// table has none. The pointers are valid until the next call.
func (t *connTable) get(k *connKey) (c *connEntry, cut *cutState, isNew bool) {
	// Packets come in trains.
	i := t.last
	if i >= len(t.young.entries) || t.young.entries[i].key != *k {
		h := uint32(maphash.Bytes(t.seed, k[:]))
		if i = t.young.find(k, h); i < 0 {
			i, isNew = t.admit(k, h)
		}
		t.last = i
	}
	if t.cuts {
		cut = &t.young.cuts[i]
	}
	return &t.young.entries[i], cut, isNew
}

// admit adds a connection to the young generation, with what the old one knows.
func (t *connTable) admit(k *connKey, h uint32) (at int, isNew bool) {
	entry, cut := connEntry{key: *k, hash: h}, cutState{}
	i := t.old.find(k, h)
	if i >= 0 {
		entry = t.old.entries[i]
		if t.cuts {
			cut = t.old.cuts[i]
		}
		t.moved++
	}
	if len(t.young.entries) >= t.max {
		t.forgotten += uint64(len(t.old.entries) - t.moved)
		t.moved = 0
		t.young, t.old = t.old, t.young
		clear(t.young.slots)
		t.young.entries, t.young.cuts = t.young.entries[:0], t.young.cuts[:0]
	}
	if t.cuts {
		t.young.cuts = append(t.young.cuts, cut)
	}
	return t.young.add(entry), i < 0
}

// find returns the index of a connection, or -1.
func (g *generation) find(k *connKey, h uint32) int {
	if len(g.slots) == 0 {
		return -1
	}
	mask := uint32(len(g.slots) - 1)
	for i := h & mask; g.slots[i] != 0; i = (i + 1) & mask {
		n := g.slots[i] - 1
		if e := &g.entries[n]; e.hash == h && e.key == *k {
			return int(n)
		}
	}
	return -1
}

// add appends a connection that is not there. At most half of the slots are used.
func (g *generation) add(e connEntry) int {
	if 2*(len(g.entries)+1) > len(g.slots) {
		g.slots = make([]uint32, max(1024, 2*len(g.slots)))
		for i := range g.entries {
			g.place(g.entries[i].hash, uint32(i+1))
		}
	}
	g.entries = append(g.entries, e)
	g.place(e.hash, uint32(len(g.entries)))
	return len(g.entries) - 1
}

func (g *generation) place(h, n uint32) {
	mask := uint32(len(g.slots) - 1)
	i := h & mask
	for g.slots[i] != 0 {
		i = (i + 1) & mask
	}
	g.slots[i] = n
}
