package analysis

import (
	"math/bits"

	"github.com/viewtcp/viewtcp/internal/capture"
)

// recent remembers the marks of the last segments of all connections, to know a
// copy of one when it comes: copies that a network makes come soon. Its size is
// fixed; a segment that falls on the place of another takes it.
type recent struct {
	slots []recentSegment
	seed  uint64
}

type recentSegment struct {
	time     int64
	stream   uint32
	seq, end uint32
	tsval    uint32
	id       uint16
	kind     uint8
	hasTS    bool
	hasID    bool
}

// recentSlots makes the memory half a MiB, which stays in the caches.
const recentSlots = 1 << 14

func (r *recent) init(seed uint64) {
	r.slots = make([]recentSegment, recentSlots)
	r.seed = seed
}

// Kinds of keys: data by its sequence number, pure acknowledgements by theirs,
// each in two directions. 0 is an empty slot.
const (
	recentData = 1
	recentAck  = 3
)

func (r *recent) at(stream uint32, kind uint8, key uint32) *recentSegment {
	h := (uint64(stream)<<32 | uint64(key)) ^ r.seed
	hi, lo := bits.Mul64(h, 0x9e3779b97f4a7c15+uint64(kind)<<8)
	return &r.slots[(hi^lo)%recentSlots]
}

// find returns the latest segment of a side that began at a sequence number.
func (r *recent) find(stream uint32, dir int, seq uint32) (recentSegment, bool) {
	kind := recentData + uint8(dir)
	s := r.at(stream, kind, seq)
	return *s, s.kind == kind && s.stream == stream && s.seq == seq
}

// remember keeps the marks of a segment, of its latest copy if there were more.
func (a *Analyzer) remember(c *Conn, dir int, s *capture.Segment, end uint32) {
	kind, key := recentData+uint8(dir), s.Seq
	if s.Seq == end {
		kind, key = recentAck+uint8(dir), s.Ack
	}
	r := a.recent.at(c.Stream, kind, key)
	if r.kind == kind && r.stream == c.Stream && r.seq == key && c.Sides[dir].v.earlier(s, r) {
		return
	}
	*r = recentSegment{
		time: s.Time, stream: c.Stream, seq: key, end: end, kind: kind,
		tsval: s.TSVal, hasTS: s.Opts&capture.OptTimestamps != 0,
		id: uint16(s.IPID), hasID: hasID(s),
	}
}

// repeatedAck reports whether a segment without data is a copy of another one.
// Without an IP-ID that is impossible to tell: TCP itself repeats
// acknowledgements.
func (a *Analyzer) repeatedAck(c *Conn, dir int, s *capture.Segment) bool {
	if !hasID(s) || c.Sides[dir].v.bits&sideConstantID != 0 {
		return false
	}
	kind := recentAck + uint8(dir)
	r := a.recent.at(c.Stream, kind, s.Ack)
	return r.kind == kind && r.stream == c.Stream && r.seq == s.Ack && r.end == s.Seq &&
		r.hasID && r.id == uint16(s.IPID) &&
		r.hasTS == (s.Opts&capture.OptTimestamps != 0) && (!r.hasTS || r.tsval == s.TSVal)
}
