package analysis

import (
	"time"

	"github.com/viewtcp/viewtcp/internal/capture"
)

// Connections stand in one of three lists, oldest first. Being seen does not
// move a connection, which would cost every segment two more cache misses;
// instead, one found at the head that was seen meanwhile goes to the tail.
const (
	// listHalfOpen holds what is not proven: see settle.
	listHalfOpen = iota
	listOpen
	// listClosed holds what both ends closed, or one reset.
	listClosed
	numLists
)

type list struct {
	head, tail uint32
	n          int
}

// place is where a connection stands.
type place struct {
	self, next, prev uint32
	tag              uint32 // its hash in the table
	list             uint8
	// data counts segments with neither SYN nor RST, up to provenAlone.
	data uint8
}

// provenAlone is how many segments of one side prove a connection of which the
// capture shows only one direction.
const provenAlone = 4

func (a *Analyzer) push(l uint8, ref uint32) {
	c := a.conns.at(ref)
	c.place.list, c.place.next, c.place.prev = l, 0, a.lists[l].tail
	if t := a.lists[l].tail; t != 0 {
		a.conns.at(t).place.next = ref
	} else {
		a.lists[l].head = ref
	}
	a.lists[l].tail = ref
	a.lists[l].n++
}

func (a *Analyzer) unlink(c *Conn) {
	l := &a.lists[c.place.list]
	if c.place.prev != 0 {
		a.conns.at(c.place.prev).place.next = c.place.next
	} else {
		l.head = c.place.next
	}
	if c.place.next != 0 {
		a.conns.at(c.place.next).place.prev = c.place.prev
	} else {
		l.tail = c.place.prev
	}
	l.n--
}

// settle moves a connection to the list that it now belongs to. One is proven
// when both ends were seen and one sent more than SYN and RST, or when one end
// alone sent a few such segments: a flood of forged segments does neither.
func (a *Analyzer) settle(ref uint32, c *Conn, dir int, s *capture.Segment) {
	if s.Flags&(capture.SYN|capture.RST) == 0 && c.place.data < provenAlone {
		c.place.data++
	}
	to := c.place.list
	if to == listHalfOpen && (c.place.data >= provenAlone ||
		c.place.data > 0 && c.Sides[0].Packets > 0 && c.Sides[1].Packets > 0) {
		to = listOpen
	}
	if to == listOpen && c.Ended != 0 {
		to = listClosed
	}
	if to == c.place.list {
		return
	}
	a.unlink(c)
	if to != listHalfOpen && a.lists[listOpen].n+a.lists[listClosed].n >= a.cfg.MaxConns {
		a.evictProven(ref)
	}
	a.push(to, ref)
}

// newConn returns an empty connection in the list of half-open ones.
func (a *Analyzer) newConn() uint32 {
	if a.lists[listHalfOpen].n >= a.cfg.MaxHalfOpen {
		a.end(a.lists[listHalfOpen].head, EndEvicted)
	}
	ref := a.conns.get()
	if ref == 0 {
		a.evictProven(0)
		ref = a.conns.get()
	}
	*a.conns.at(ref) = Conn{}
	a.conns.at(ref).place.self = ref
	a.push(listHalfOpen, ref)
	return ref
}

// evictProven makes room for one connection: a closed one, else the open one
// that was seen longest ago, as far as a short look tells; a half-open one where
// there is no other.
func (a *Analyzer) evictProven(keep uint32) {
	for _, l := range [...]int{listClosed, listOpen} {
		ref := a.lists[l].head
		if ref == 0 || ref == keep {
			continue
		}
		if l == listOpen {
			ref = a.idlest()
		}
		a.end(ref, EndEvicted)
		return
	}
	if ref := a.lists[listHalfOpen].head; ref != 0 && ref != keep {
		a.end(ref, EndEvicted)
	}
}

// idlest returns the least recently seen of a few connections at the head of
// the open list, and sends the others to the tail.
func (a *Analyzer) idlest() uint32 {
	best := a.lists[listOpen].head
	for range 8 {
		ref := a.lists[listOpen].head
		if a.conns.at(ref).Last < a.conns.at(best).Last {
			best = ref
		}
		a.rotate(ref)
	}
	return best
}

func (a *Analyzer) rotate(ref uint32) {
	c := a.conns.at(ref)
	l := c.place.list
	a.unlink(c)
	a.push(l, ref)
}

// Advance tells the time, nanoseconds since 1970, while no segments come, so that
// connections end when it is time in a live capture too.
func (a *Analyzer) Advance(now int64) {
	if now <= a.now {
		return
	}
	a.now = now
	if a.sweepStep != 0 && a.now >= a.sweepAt {
		a.sweep()
	}
}

// sweep looks at an eighth of each list, so that after eight sweeps every
// connection was looked at.
func (a *Analyzer) sweep() {
	a.sweepAt = a.now + a.sweepStep
	for l, d := range [numLists]time.Duration{a.cfg.HalfOpenTimeout, a.cfg.IdleTimeout, a.cfg.ClosedTimeout} {
		if d <= 0 {
			continue
		}
		for range a.lists[l].n/8 + 1 {
			ref := a.lists[l].head
			if ref == 0 {
				break
			}
			if c := a.conns.at(ref); a.now-max(c.Last, c.First) > int64(d) {
				a.end(ref, EndExpired)
			} else {
				a.rotate(ref)
			}
		}
	}
}

// end hands a connection to OnEnd and frees its place.
func (a *Analyzer) end(ref uint32, why EndReason) {
	c := a.conns.at(ref)
	c.End = why
	a.stats.Ended[why]++
	if why == EndEvicted && c.place.list == listHalfOpen {
		a.stats.EvictedHalfOpen++
	}
	a.nameAtEnd(ref, c)
	if a.cfg.OnEnd != nil {
		a.cfg.OnEnd(c)
	}
	for i := range c.Sides {
		a.release(&c.Sides[i])
		a.freeRTT(&c.Sides[i].RTT)
		a.freeRare(&c.Sides[i])
	}
	a.naming.forget(ref, c)
	a.table.drop(c.place.tag, ref)
	a.unlink(c)
	a.conns.put(ref)
	if a.last == ref {
		a.last = 0
	}
}
