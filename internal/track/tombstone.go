package track

import "github.com/viewtcp/viewtcp/internal/tcp"

// tombstones remember closed connections until a dump begun after their close
// has ended: a dump that overlaps the close may still show the socket, which
// must not come to life again; and the mini-socket that is left belongs to it.
type tombstones struct {
	ids      tcp.IDs
	byCookie index[tombstone] // as in table
	// byKey holds those whose mini-socket may have another cookie, or none.
	byKey map[tcp.Key]*tombstone
	// queue is in order of closing.
	queue []*tombstone
	max   int
}

type tombstone struct {
	byCookie link[tombstone]
	conn     *tcp.Conn
	closed   int64
}

func newTombstones(ids tcp.IDs, limit int) tombstones {
	return tombstones{ids: ids, byKey: make(map[tcp.Key]*tombstone), max: limit}
}

func (t *tombstones) add(c *tcp.Conn, boot int64) {
	if len(t.queue) >= t.max {
		t.drop(len(t.queue) / 4)
	}
	s := &tombstone{conn: c, closed: boot}
	t.queue = append(t.queue, s)
	if c.Cookie != 0 {
		t.byCookie.add(&s.byCookie, s, uint64(t.ids.Socket(c.NetNS, c.Cookie)))
	}
	if c.Source != tcp.SourceEBPF { // whose programs draw the cookie early
		t.byKey[c.Key] = s
	}
}

// ofCookie returns the latest one of a socket, nil if there is none.
func (t *tombstones) ofCookie(id tcp.ID) *tombstone {
	if l := t.byCookie.first(uint64(id)); l != nil {
		return l.of
	}
	return nil
}

// reused reports whether an observation is about a later connection of the
// socket: one that connects again after a close keeps its cookie.
func (s *tombstone) reused(o *tcp.Observation) bool {
	return o.Opened.Boot != 0 && o.Opened.Boot >= s.conn.Closed.Boot
}

// find returns the closed connection that an observation is about. The cookie
// decides; the tuple may be that of a new connection already, and names the old
// one only for a mini-socket, which may have got a cookie of its own.
func (t *tombstones) find(o *tcp.Observation) *tcp.Conn {
	if o.Cookie != 0 {
		if s := t.ofCookie(t.ids.Socket(o.NetNS, o.Cookie)); s != nil && !s.reused(o) {
			return s.conn
		}
	}
	if o.Mini && o.State != tcp.SynRecv {
		if s := t.byKey[o.Key]; s != nil {
			return s.conn
		}
	}
	return nil
}

// expire forgets what closed before a pass that has now ended began, in the
// namespaces that the pass covered.
func (t *tombstones) expire(begin int64, covered func(netns uint32) bool) {
	kept := t.queue[:0]
	for _, s := range t.queue {
		if s.closed < begin && covered(s.conn.NetNS) {
			t.forget(s)
		} else {
			kept = append(kept, s)
		}
	}
	clear(t.queue[len(kept):])
	t.queue = kept
}

func (t *tombstones) drop(n int) {
	for _, s := range t.queue[:n] {
		t.forget(s)
	}
	rest := copy(t.queue, t.queue[n:])
	clear(t.queue[rest:])
	t.queue = t.queue[:rest]
}

func (t *tombstones) forget(s *tombstone) {
	c := s.conn
	t.byCookie.remove(&s.byCookie)
	if len(t.byKey) > 0 && t.byKey[c.Key] == s {
		delete(t.byKey, c.Key)
	}
}
