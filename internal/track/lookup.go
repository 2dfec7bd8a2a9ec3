package track

import "github.com/viewtcp/viewtcp/internal/tcp"

// Lookup returns the connection of a tuple, as seen from its local end, in a
// network namespace (0: in any, if only one has it), or nil. One that closed a
// moment ago is found as long as its tombstone stands. It is for those who see
// packets: unlike the snapshot it knows what opened since the last pass. The
// Conn is immutable.
func (t *Tracker) Lookup(tuple tcp.Tuple, netns uint32) *tcp.Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found *entry
	for e := range t.table.ofTuple(&tuple) {
		if e.role != roleConn || netns != 0 && e.netns != netns {
			continue
		}
		if found != nil && found.netns != e.netns {
			return nil // the same addresses in several namespaces: no telling which
		}
		if found == nil {
			found = e
		}
	}
	if found != nil {
		found.gen = 0 // it is shared from here on
		return found.conn
	}
	return t.tombs.lookup(tuple, netns)
}

// lookup is Lookup among what has closed: the latest one counts.
func (t *tombstones) lookup(tuple tcp.Tuple, netns uint32) *tcp.Conn {
	for i := len(t.queue) - 1; i >= 0 && i >= len(t.queue)-lookBack; i-- {
		c := t.queue[i].conn
		if c.Tuple == tuple && (netns == 0 || c.NetNS == netns) {
			return c
		}
	}
	return nil
}

// lookBack is how many of the latest closes a packet that came late is looked
// for in.
const lookBack = 256
