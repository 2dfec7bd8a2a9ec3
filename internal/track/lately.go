package track

import (
	"time"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// lately holds connections that closed a short time ago, by tuple, for those who
// look them up after the fact. Tombstones go with the first pass after a close;
// packets may be read later than that.
type lately struct {
	keep    int64 // ns; 0 is off
	byTuple map[tcp.Tuple]*late
	// queue is in order of closing; what lies before head is gone.
	queue []*late
	head  int
}

type late struct {
	conn *tcp.Conn
	boot int64
	// before is the previous connection of the same tuple.
	before *late
}

// maxLate bounds what is remembered, whatever the time: a storm of closes must not
// fill the memory with the dead.
const maxLate = 1 << 16

// RememberClosed makes LookupAt find connections for so long after their close.
// It must be called before the first batch.
func (t *Tracker) RememberClosed(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lately.keep = int64(d)
	t.lately.byTuple = make(map[tcp.Tuple]*late)
}

func (l *lately) add(c *tcp.Conn, boot int64) {
	if l.keep == 0 {
		return
	}
	e := &late{conn: c, boot: boot, before: l.byTuple[c.Tuple]}
	l.byTuple[c.Tuple] = e
	l.queue = append(l.queue, e)
	if len(l.queue)-l.head > maxLate {
		l.pop()
	}
}

// expire forgets what closed too long before a boot time.
func (l *lately) expire(boot int64) {
	for l.head < len(l.queue) && l.queue[l.head].boot < boot-l.keep {
		l.pop()
	}
	if l.head > 1024 && l.head > len(l.queue)/2 {
		n := copy(l.queue, l.queue[l.head:])
		clear(l.queue[n:])
		l.queue, l.head = l.queue[:n], 0
	}
}

// pop forgets the oldest, which is the last of its tuple's chain.
func (l *lately) pop() {
	e := l.queue[l.head]
	l.queue[l.head] = nil
	l.head++
	top := l.byTuple[e.conn.Tuple]
	if top == e {
		delete(l.byTuple, e.conn.Tuple)
		return
	}
	for p := top; p != nil; p = p.before {
		if p.before == e {
			p.before = nil
			return
		}
	}
}

// openedSlack is how much later than its first packet a connection may claim to
// have been opened: the packet and the socket have their own clock readings.
const openedSlack = 5 * time.Millisecond

// LookupAt returns the connection that had a tuple, as seen from its local end,
// at a moment: the latest of those that were opened by then, alive or closed not
// longer ago than RememberClosed says. Wall is nanoseconds since 1970. netns 0 is
// any namespace, if only one has it. The Conn is immutable.
func (t *Tracker) LookupAt(tuple tcp.Tuple, netns uint32, wall int64) *tcp.Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found *tcp.Conn
	var from *entry
	several := false
	consider := func(c *tcp.Conn, e *entry) {
		if netns != 0 && c.NetNS != netns || c.Opened.Wall > wall+int64(openedSlack) {
			return
		}
		if found != nil && found.NetNS != c.NetNS {
			several = true
			return
		}
		if found == nil || c.Opened.Wall > found.Opened.Wall {
			found, from = c, e
		}
	}
	for e := range t.table.ofTuple(&tuple) {
		if e.role == roleConn {
			consider(e.conn, e)
		}
	}
	for l := t.lately.byTuple[tuple]; l != nil; l = l.before {
		consider(l.conn, nil)
	}
	if several {
		return nil
	}
	if from != nil {
		from.gen = 0 // it is shared from here on
	}
	return found
}

// Listener returns the socket that listens on an address and port of a
// namespace, or nil. The Conn is immutable.
func (t *Tracker) Listener(local tcp.Addr, port uint16, netns uint32) *tcp.Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, addr := range [...]tcp.Addr{local, any4, any6} {
		if addr == any4 && !local.Is4() {
			continue
		}
		for _, tuple := range [...]tcp.Tuple{
			{Local: addr, LocalPort: port},
			{Local: addr, Remote: any4, LocalPort: port}, // as IPv4 sockets have it
		} {
			for e := range t.table.ofTuple(&tuple) {
				if e.role == roleListener && e.netns == netns {
					e.gen = 0
					return e.conn
				}
			}
		}
	}
	return nil
}
