package capture

// Cutoff is how much of each direction of a connection is kept. Beyond it, only
// what tells of its life and its troubles is: SYN, FIN, RST, and segments that
// begin before what was already seen (retransmissions, keep-alives, late ones).
type Cutoff struct {
	// Packets and Bytes of payload are limits; the first that is reached
	// counts, and 0 is none.
	Packets uint32
	Bytes   uint64
}

// connState is what is remembered of a connection between its packets.
type connState struct {
	// By direction: 0 is sent by the first end of the key.
	next    [2]uint32 // the sequence number after the highest seen
	isn     [2]uint32 // of the SYN
	packets [2]uint32
	bytes   [2]uint64
	known   [2]bool // next is
	opened  [2]bool // isn is

	unsampled bool
	// segment and conn are its number in the index of a segment.
	segment uint32
	conn    uint32
}

// keep tells whether a segment belongs to what is kept, and counts it.
func (c *connState) keep(s *Segment, dir int, limit Cutoff) bool {
	if limit == (Cutoff{}) || s.Info&InICMP != 0 || s.HeaderLen == 0 {
		return true
	}
	if s.Flags&(SYN|ACK) == SYN && (!c.opened[dir] || c.isn[dir] != s.Seq) {
		// A new connection between the same ends begins to count anew.
		segment, conn, unsampled := c.segment, c.conn, c.unsampled
		*c = connState{segment: segment, conn: conn, unsampled: unsampled}
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
type connTable struct {
	young, old generation
	max        int // of one generation
	forgotten  uint64
}

type generation struct {
	index  map[connKey]uint32
	states []connState
}

func newConnTable(most int) *connTable {
	return &connTable{max: max(most/2, 1), young: generation{index: make(map[connKey]uint32)}, old: generation{index: make(map[connKey]uint32)}}
}

// get returns the state of a connection, new if it is not known. The pointer is
// valid until the next call.
func (t *connTable) get(k *connKey) (c *connState, isNew bool) {
	if i, ok := t.young.index[*k]; ok {
		return &t.young.states[i], false
	}
	var state connState
	isNew = true
	if i, ok := t.old.index[*k]; ok {
		state, isNew = t.old.states[i], false
		delete(t.old.index, *k)
	}
	if len(t.young.states) >= t.max {
		t.forgotten += uint64(len(t.old.index))
		t.young, t.old = t.old, t.young
		clear(t.young.index)
		t.young.states = t.young.states[:0]
	}
	t.young.index[*k] = uint32(len(t.young.states))
	t.young.states = append(t.young.states, state)
	return &t.young.states[len(t.young.states)-1], isNew
}
