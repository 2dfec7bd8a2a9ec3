package track

import (
	"hash/maphash"
	"iter"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// role says in which way a socket counts.
type role uint8

const (
	roleConn role = iota
	roleListener
	roleHalfOpen
	roleRemnant
	numRoles
)

// entry is one followed socket.
type entry struct {
	conn *tcp.Conn
	// gen is the snapshot for which conn may still be changed in place: a conn
	// that a snapshot or an event shows is replaced instead.
	gen uint64
	// idx is the place in table.entries and table.conns.
	idx int
	// byCookie and byTuple are its places in the table's indexes.
	byCookie, byTuple link[entry]
	// seenPass is the beginning of the last pass that showed the socket.
	seenPass int64
	// notBefore is the boot time before which dumps know less than we do.
	notBefore int64
	// rateTime is the boot time of the byte counts that the rates start from.
	rateTime           int64
	rateSent, rateRecv uint64

	netns               uint32
	role                role
	missed              bool
	opened, established bool
	// rated says that the rates are known, moving that one is not zero.
	rated, moving bool
}

// table holds the followed sockets, found by cookie and by tuple.
type table struct {
	ids tcp.IDs
	// byCookie has the id that a cookie and its namespace give for a hash: that
	// is well mixed, and old kernels count cookies by namespace.
	byCookie index[entry]
	// byTuple has the same hash for both ends of a connection.
	byTuple index[entry]
	seed    maphash.Seed
	entries []*entry
	// conns is what a snapshot copies: conns[i] is entries[i].conn.
	conns     []*tcp.Conn
	count     [numRoles]int
	published uint64
}

func newTable(ids tcp.IDs, expect int) table {
	t := table{
		ids:     ids,
		seed:    maphash.MakeSeed(),
		entries: make([]*entry, 0, expect),
		conns:   make([]*tcp.Conn, 0, expect),
	}
	t.byCookie.reserve(expect)
	t.byTuple.reserve(expect)
	return t
}

// end is an address and a port, for hashing.
type end struct {
	addr tcp.Addr
	port uint16
}

// hash is the same for a tuple and its reverse. Strangers choose tuples, so it is
// another one in each process.
func (t *table) hash(tuple *tcp.Tuple) uint64 {
	return maphash.Comparable(t.seed, end{tuple.Local, tuple.LocalPort}) +
		maphash.Comparable(t.seed, end{tuple.Remote, tuple.RemotePort})
}

// ofTuple yields the entries of a tuple, the latest first. They may be changed,
// but none added or removed meanwhile.
func (t *table) ofTuple(tuple *tcp.Tuple) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for l := t.byTuple.first(t.hash(tuple)); l != nil; l = l.another() {
			if l.of.conn.Tuple == *tuple && !yield(l.of) {
				return
			}
		}
	}
}

// find returns the entry of an observed socket, nil if it is not followed. A
// cookie decides alone; without one the tuple, the namespace and the inode must
// agree.
func (t *table) find(o *tcp.Observation) *entry {
	if o.Cookie != 0 {
		if l := t.byCookie.first(uint64(t.ids.Socket(o.NetNS, o.Cookie))); l != nil {
			return l.of
		}
		if t.byCookie.len == len(t.entries) {
			return nil // all have a cookie, and another one
		}
	}
	for e := range t.ofTuple(&o.Tuple) {
		c := e.conn
		if c.NetNS != o.NetNS || (o.Cookie != 0 && c.Cookie != 0) {
			continue
		}
		if o.Has&c.Has&tcp.HasInode != 0 && o.Inode != c.Inode {
			continue
		}
		// Without a cookie, a mini-socket and a full one of the same tuple are
		// told apart by their kind.
		if o.Cookie == 0 && c.Cookie == 0 && o.Mini != (e.role == roleHalfOpen || e.role == roleRemnant) {
			continue
		}
		return e
	}
	return nil
}

// insert adds an entry whose conn is set.
func (t *table) insert(e *entry) {
	e.idx = len(t.entries)
	t.entries = append(t.entries, e)
	t.conns = append(t.conns, e.conn)
	t.count[e.role]++
	t.index(e)
}

func (t *table) index(e *entry) {
	c := e.conn
	if c.Cookie != 0 {
		t.byCookie.add(&e.byCookie, e, uint64(t.ids.Socket(c.NetNS, c.Cookie)))
	}
	t.byTuple.add(&e.byTuple, e, t.hash(&c.Tuple))
}

func (t *table) unindex(e *entry) {
	t.byCookie.remove(&e.byCookie)
	t.byTuple.remove(&e.byTuple)
}

func (t *table) remove(e *entry) {
	t.unindex(e)
	t.count[e.role]--
	last := len(t.entries) - 1
	moved := t.entries[last]
	t.entries[e.idx], t.conns[e.idx] = moved, moved.conn
	moved.idx = e.idx
	t.entries[last], t.conns[last] = nil, nil
	t.entries, t.conns = t.entries[:last], t.conns[:last]
	e.idx = -1
}

// write returns the entry's conn for changing, a copy if a reader may hold it.
func (t *table) write(e *entry) *tcp.Conn {
	if e.gen <= t.published {
		c := *e.conn
		e.conn = &c
		if e.idx >= 0 {
			t.conns[e.idx] = e.conn
		}
		e.gen = t.published + 1
	}
	return e.conn
}
