package analysis

import "github.com/viewtcp/viewtcp/internal/capture"

// jump remembers the hole that a segment leaves before it.
func (a *Analyzer) jump(side *Side, to uint32, s *capture.Segment) {
	a.addHole(side, side.v.end, to, s)
}

// addHole puts a hole at its place in the list.
func (a *Analyzer) addHole(side *Side, lo, hi uint32, s *capture.Segment) {
	v := &side.v
	if int(v.holeN) >= a.cfg.MaxHoles {
		a.giveUp(side)
	}
	i := a.holes.get()
	if i == 0 {
		a.stats.DroppedHoles++
		v.missed += uint64(hi - lo)
		return
	}
	*a.holes.at(i) = hole{
		time: s.Time, lo: lo, hi: hi,
		tsval: s.TSVal, hasTS: s.Opts&capture.OptTimestamps != 0,
		id: uint16(s.IPID), hasID: hasID(s),
	}
	v.holeN++
	var prev uint32
	at := v.holes
	for at != 0 && seqLT(a.holes.at(at).lo, lo) {
		prev, at = at, a.holes.at(at).next
	}
	a.holes.at(i).next = at
	if prev == 0 {
		v.holes = i
	} else {
		a.holes.at(prev).next = i
	}
}

// giveUp forgets the oldest hole: what is sent into it later counts as sent
// again.
func (a *Analyzer) giveUp(side *Side) {
	v := &side.v
	i := v.holes
	h := a.holes.at(i)
	a.stats.DroppedHoles++
	v.missed += uint64(h.hi - h.lo)
	v.holes = h.next
	v.holeN--
	a.holes.put(i)
}

// firstHole returns the first hole that a range touches.
func (a *Analyzer) firstHole(v *verdictSide, lo, hi uint32) uint32 {
	for i := v.holes; i != 0; {
		h := a.holes.at(i)
		if seqGE(h.lo, hi) {
			return 0
		}
		if seqGT(h.hi, lo) {
			return i
		}
		i = h.next
	}
	return 0
}

// fill takes a range out of the holes and returns how much of it was in them.
func (a *Analyzer) fill(side *Side, lo, hi uint32) (filled uint32) {
	v := &side.v
	var prev uint32
	for i := v.holes; i != 0; {
		h := a.holes.at(i)
		if seqGE(h.lo, hi) {
			break
		}
		next := h.next
		from, to := seqMax(h.lo, lo), seqMin(h.hi, hi)
		if !seqLT(from, to) {
			prev, i = i, next
			continue
		}
		filled += to - from
		switch {
		case from == h.lo && to == h.hi:
			if prev == 0 {
				v.holes = next
			} else {
				a.holes.at(prev).next = next
			}
			v.holeN--
			a.holes.put(i)
		case from == h.lo:
			h.lo = to
			prev = i
		case to == h.hi:
			h.hi = from
			prev = i
		default: // the middle: two holes remain, of the same age
			j := a.holes.get()
			if j == 0 {
				a.stats.DroppedHoles++
				v.missed += uint64(h.hi - to)
				h.hi = from
				return filled
			}
			*a.holes.at(j) = *h
			a.holes.at(j).lo = to
			h.hi, h.next = from, j
			v.holeN++
			return filled
		}
		i = next
	}
	return filled
}

func (a *Analyzer) dropHoles(s *Side) {
	for i := s.v.holes; i != 0; {
		next := a.holes.at(i).next
		a.holes.put(i)
		i = next
	}
	s.v.holes, s.v.holeN = 0, 0
}
