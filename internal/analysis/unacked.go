package analysis

// unacked is a segment that was not acknowledged when last looked at. Those of a
// side form a list, oldest first.
type unacked struct {
	time     int64
	seq, end uint32
	next     uint32
	// again says that Karn's rule forbids to time the segment: it was sent more
	// than once.
	again bool
}

// append adds a segment to a side's list, unless that is full.
func (a *Analyzer) append(w *wireSide, u unacked) {
	if int(w.unackedN) >= a.cfg.MaxUnacked {
		return
	}
	i := a.nodes.get()
	if i == 0 {
		a.stats.DroppedUnacked++
		return
	}
	*a.nodes.at(i) = u
	lo, hi := u.seq-w.base, u.end-w.base
	if w.head == 0 {
		w.head, w.lo, w.hi = i, lo, hi
		w.clear(wireUnsorted | wireStale)
	} else {
		last := a.nodes.at(w.tail)
		last.next = i
		if lo < last.seq-w.base || hi < last.end-w.base || hi-w.lo >= 1<<31 {
			w.set(wireUnsorted)
		}
		w.lo, w.hi = min(w.lo, lo), max(w.hi, hi)
	}
	w.tail = i
	w.unackedN++
}

// acknowledge takes what ack covers out of a side's list. rtt is the time since
// the oldest segment that ack ends at or, in Wireshark 4.4, lies in. karn is the
// time since the newest one that ends at ack; it is only valid (ok) when none of
// what left the list was sent twice.
func (a *Analyzer) acknowledge(w *wireSide, ack uint32, now int64) (rtt, karn int64, ok bool) {
	var prev uint32
	exact, timed, again := false, false, false
	for i := w.head; i != 0; {
		u := a.nodes.at(i)
		switch {
		case u.end == ack:
			if !timed {
				timed, rtt = true, now-u.time
			}
			exact, karn = true, now-u.time
		case seqGT(ack, u.seq) && seqLE(ack, u.end):
			if !timed && !a.cfg.Wireshark40 {
				timed, rtt = true, now-u.time
			}
			u.seq = ack
			w.set(wireStale)
			prev, i = i, u.next
			continue
		case seqGT(u.end, ack):
			if !w.has(wireUnsorted) {
				// Those behind it begin and end even later.
				a.reframe(w)
				return rtt, karn, exact && !again
			}
			prev, i = i, u.next
			continue
		}
		again = again || u.again
		next := u.next
		if prev == 0 {
			w.head = next
		} else {
			a.nodes.at(prev).next = next
		}
		if next == 0 {
			w.tail = prev
		}
		a.nodes.put(i)
		w.unackedN--
		w.set(wireStale)
		i = next
	}
	if w.head != 0 {
		a.reframe(w)
	}
	return rtt, karn, exact && !again
}

// reframe works out the range that the list covers after something left it: at
// once where the list is in order, else when it is asked for.
func (a *Analyzer) reframe(w *wireSide) {
	if w.has(wireStale) && !w.has(wireUnsorted) {
		w.lo = a.nodes.at(w.head).seq - w.base
		w.hi = a.nodes.at(w.tail).end - w.base
		w.clear(wireStale)
	}
}

// inFlight returns the span of sequence numbers that the list covers.
func (a *Analyzer) inFlight(w *wireSide) uint32 {
	if w.has(wireStale) {
		first := a.nodes.at(w.head)
		w.lo, w.hi = first.seq-w.base, first.end-w.base
		sorted := true
		for i := first.next; i != 0; {
			u := a.nodes.at(i)
			lo, hi := u.seq-w.base, u.end-w.base
			if lo < first.seq-w.base || hi < first.end-w.base {
				sorted = false
			}
			w.lo, w.hi = min(w.lo, lo), max(w.hi, hi)
			first, i = u, u.next
		}
		w.clear(wireStale)
		if sorted && w.hi-w.lo < 1<<31 {
			w.clear(wireUnsorted)
		}
	}
	return w.hi - w.lo
}

// release frees what a side keeps of segments to come.
func (a *Analyzer) release(s *Side) {
	for i := s.w.head; i != 0; {
		next := a.nodes.at(i).next
		a.nodes.put(i)
		i = next
	}
	s.w.head, s.w.tail, s.w.unackedN = 0, 0, 0
	if s.w.sack != 0 {
		a.sacks.put(s.w.sack)
		s.w.sack, s.w.sackN = 0, 0
	}
	a.dropHoles(s)
}
