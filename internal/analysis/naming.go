package analysis

import (
	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

const (
	// maxReading bounds the connections of which names are being put together,
	// each of at most nameBytes.
	maxReading = 1 << 12
	// maxNamed bounds the different names kept.
	maxNamed = 1 << 16
)

// naming keeps the names of connections: each different set once, with the
// number of connections that have it, as many connections go to few hosts.
type naming struct {
	reading map[uint32]*reading
	known   map[Names]uint32
	sets    []nameSet
	free    []uint32
}

type nameSet struct {
	names Names
	users uint32
	model *tcp.Names
}

// reading is a connection of which more is needed.
type reading struct {
	reader nameReader
	names  Names
}

func (n *naming) init() {
	n.reading = make(map[uint32]*reading)
	n.known = make(map[Names]uint32)
	n.sets = make([]nameSet, 1) // 0 is none
}

// read hands what a side sent to the reader of names. Where the initiator is not
// certain either side may be the client.
func (a *Analyzer) read(ref uint32, c *Conn, dir int, s *capture.Segment) {
	bit := uint8(1) << dir
	if c.named&bit != 0 || dir == 1 && c.known {
		return
	}
	n := &a.naming
	key := ref<<1 | uint32(dir)
	r, partial := n.reading[key]
	var fresh reading
	if !partial {
		r = &fresh
	}
	rel := s.Seq - c.Sides[dir].w.base - 1
	if s.Flags&capture.SYN != 0 {
		rel++
	}
	done := r.reader.add(rel, s.Payload, &r.names)
	switch {
	case done:
		c.named |= bit
		delete(n.reading, key)
		a.named(c, r.names)
	case partial || r.reader.part == nil:
	case len(n.reading) < maxReading:
		kept := fresh
		n.reading[key] = &kept
	default:
		c.named |= bit
		a.stats.DroppedNames++
	}
}

// named gives a connection its names, if it has none.
func (a *Analyzer) named(c *Conn, names Names) {
	if names == (Names{}) || c.names != 0 {
		return
	}
	if c.names = a.naming.keep(names); c.names == 0 {
		a.stats.DroppedNames++
	}
}

// nameAtEnd gives a connection the names that were read before it ended: the
// rest of its hello was cut off by the capture, or never came.
func (a *Analyzer) nameAtEnd(ref uint32, c *Conn) {
	if len(a.naming.reading) == 0 {
		return
	}
	for dir := range uint32(2) {
		if r := a.naming.reading[ref<<1|dir]; r != nil {
			a.named(c, r.names)
		}
	}
}

// keep returns the number of a set of names; 0 when too many are kept.
func (n *naming) keep(names Names) uint32 {
	if i, ok := n.known[names]; ok {
		n.sets[i].users++
		return i
	}
	var i uint32
	switch {
	case len(n.free) > 0:
		i = n.free[len(n.free)-1]
		n.free = n.free[:len(n.free)-1]
	case len(n.sets) < maxNamed:
		i = uint32(len(n.sets))
		n.sets = append(n.sets, nameSet{})
	default:
		return 0
	}
	n.sets[i] = nameSet{names: names, users: 1}
	n.known[names] = i
	return i
}

// forget lets go of what a connection holds.
func (n *naming) forget(ref uint32, c *Conn) {
	if len(n.reading) > 0 {
		delete(n.reading, ref<<1)
		delete(n.reading, ref<<1|1)
	}
	if c.names == 0 {
		return
	}
	set := &n.sets[c.names]
	if set.users--; set.users == 0 {
		delete(n.known, set.names)
		*set = nameSet{}
		n.free = append(n.free, c.names)
	}
	c.names = 0
}

// Names returns what the client of a connection called the server.
func (a *Analyzer) Names(c *Conn) Names { return a.naming.sets[c.names].names }

// modelNames returns the names as the model has them, nil if there are none.
// Connections share them, and they are not written again.
func (a *Analyzer) modelNames(c *Conn) *tcp.Names {
	if c.names == 0 {
		return nil
	}
	set := &a.naming.sets[c.names]
	if set.model == nil {
		set.model = &tcp.Names{SNI: set.names.SNI, ALPN: set.names.ALPN, HTTPHost: set.names.HTTPHost}
	}
	return set.model
}
