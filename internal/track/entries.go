package track

import "github.com/viewtcp/viewtcp/internal/tcp"

// write returns the entry's conn for changing.
func (t *Tracker) write(e *entry) *tcp.Conn { return t.table.write(e) }

// add follows a full socket. It returns nil when the table is full.
func (t *Tracker) add(b *tcp.Batch, o *tcp.Observation) *entry {
	r := roleConn
	if o.State == tcp.Listen {
		r = roleListener
	}
	if t.table.count[roleConn]+t.table.count[roleListener] >= t.cfg.MaxConns {
		t.stats.Rejected++
		return nil
	}
	e := t.newEntry(b, o, r)
	if r == roleConn {
		t.stats.Opened++
	} else {
		t.listeners[listener{o.NetNS, o.Local, o.LocalPort}]++
	}
	return e
}

func (t *Tracker) newEntry(b *tcp.Batch, o *tcp.Observation, r role) *entry {
	c := &tcp.Conn{
		Key:      o.Key,
		Cookie:   o.Cookie,
		ID:       t.id(o),
		Complete: true,
		Clock:    &t.clock,
	}
	e := &entry{conn: c, role: r, netns: o.NetNS, gen: t.table.published + 1}
	if b.Pass.Kind != tcp.PassEvents {
		e.seenPass = b.Pass.Begin.Boot
	} else {
		e.notBefore = o.Time.Boot
	}
	t.table.insert(e)
	t.merge(b, e, o)
	if r == roleConn {
		t.link(e)
	}
	return e
}

func (t *Tracker) id(o *tcp.Observation) tcp.ID {
	if o.Cookie != 0 {
		id := t.cfg.IDs.Socket(o.NetNS, o.Cookie)
		if s := t.tombs.ofCookie(id); s != nil && s.reused(o) {
			return t.cfg.IDs.Again(id, o.Opened.Boot)
		}
		return id
	}
	return t.cfg.IDs.Unstable(o.Key, o.Inode)
}

// addHalfOpen follows a request socket, in place of the oldest one when their
// table is full.
func (t *Tracker) addHalfOpen(b *tcp.Batch, o *tcp.Observation) {
	if t.table.count[roleHalfOpen] >= t.cfg.MaxHalfOpen {
		if old := t.half.pop(roleHalfOpen); old != nil {
			t.remove(old)
			t.stats.HalfOpenEvicted++
		}
	}
	e := t.newEntry(b, o, roleHalfOpen)
	c := e.conn
	c.Direction = tcp.Inbound
	t.half.push(e, t.table.count[roleHalfOpen])
}

// addRemnant lists what is left of a closed connection; of is that connection
// if it was followed.
func (t *Tracker) addRemnant(b *tcp.Batch, o *tcp.Observation, of *tcp.Conn) {
	if t.table.count[roleRemnant] >= t.cfg.MaxRemnants {
		if old := t.remnants.pop(roleRemnant); old != nil {
			t.remove(old)
		}
	}
	e := t.newEntry(b, o, roleRemnant)
	c := e.conn
	c.Remnant = true
	if of != nil {
		// The table finds the entry by the cookie that was observed.
		state, cookie := c.State, c.Cookie
		*c = *of
		c.State, c.Cookie, c.Remnant = state, cookie, true
	}
	t.remnants.push(e, t.table.count[roleRemnant])
}

// remove stops following a socket.
func (t *Tracker) remove(e *entry) {
	if e.role == roleListener {
		l := listener{e.conn.NetNS, e.conn.Local, e.conn.LocalPort}
		if t.listeners[l]--; t.listeners[l] <= 0 {
			delete(t.listeners, l)
		}
	}
	t.table.remove(e)
}

// link finds the other end of a connection on this host: the reverse tuple in
// the same namespace or, failing that, in the only other namespace that has it.
func (t *Tracker) link(e *entry) {
	var peer *entry
	reverse := e.conn.Reverse()
	for p := range t.table.ofTuple(&reverse) {
		if p == e || p.role != roleConn {
			continue
		}
		if p.conn.NetNS == e.conn.NetNS {
			peer = p
			break
		}
		if peer != nil {
			return // the same addresses in several namespaces: no telling which
		}
		peer = p
	}
	if peer == nil || (peer.conn.PeerID != 0 && peer.conn.NetNS != e.conn.NetNS) {
		return
	}
	t.write(e).PeerID = peer.conn.ID
	t.write(peer).PeerID = e.conn.ID
}

// fifo remembers entries in order of arrival, to drop the oldest. Entries that
// left on their own are skipped.
type fifo struct {
	q    []*entry
	head int
}

// push adds an entry; alive is how many are truly there.
func (f *fifo) push(e *entry, alive int) {
	f.q = append(f.q, e)
	if len(f.q) > 2*alive+1024 {
		kept := f.q[:0]
		for _, e := range f.q[f.head:] {
			if e.idx >= 0 {
				kept = append(kept, e)
			}
		}
		clear(f.q[len(kept):])
		f.q, f.head = kept, 0
	}
}

// pop returns the oldest entry still followed in role r.
func (f *fifo) pop(r role) *entry {
	for f.head < len(f.q) {
		e := f.q[f.head]
		f.q[f.head] = nil
		f.head++
		if e.idx >= 0 && e.role == r {
			return e
		}
	}
	return nil
}
