package main

import (
	"bytes"

	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// lightConns tells connections apart where nothing is analysed: by their tuples
// and the sequence numbers of their SYNs. There are two generations; what the
// younger one has no more room for goes with the older. One that has ended goes
// before: it holds its sockets and comments, and short connections would fill both
// generations with the dead.
type lightConns struct {
	young, old map[tcp.Tuple]*lightConn
	last       *lightConn
	// ended is a ring of those with a FIN or RST; oldest is the place of the next.
	ended  []*lightConn
	oldest int
}

type lightConn struct {
	joined
	isn uint32
	// over says that it is, or was, one of those that ended.
	over bool
}

const (
	// maxLight is how many connections a generation has.
	maxLight = 1 << 16
	// maxEnded is how many that ended are remembered for the packets that follow
	// the first FIN. A packet that comes later is taken for the first of its
	// connection, whose sockets are looked for again.
	maxEnded = 1 << 13
)

// ordered returns the tuple as the end with the smaller address and port sees it.
func ordered(t tcp.Tuple) tcp.Tuple {
	c := bytes.Compare(t.Local[:], t.Remote[:])
	if c > 0 || c == 0 && t.LocalPort > t.RemotePort {
		return t.Reverse()
	}
	return t
}

// lightOf returns the connection of the segment at hand.
func (p *capturing) lightOf(s *space) *joined {
	seg, l := &s.segment, &s.light
	syn := seg.Flags&(capture.SYN|capture.ACK) == capture.SYN
	if c := l.last; c != nil && (c.tuple == seg.Tuple || c.tuple == seg.Tuple.Reverse()) && (!syn || c.isn == seg.Seq) {
		l.follow(c, seg)
		return &c.joined
	}
	key := ordered(seg.Tuple)
	c := l.young[key]
	if c == nil {
		if c = l.old[key]; c != nil {
			delete(l.old, key)
			l.put(key, c)
		}
	}
	if c == nil || syn && c.isn != seg.Seq {
		c = &lightConn{isn: seg.Seq}
		p.begin(&c.joined, s, seg.Tuple, syn)
		l.put(key, c)
	}
	l.last = c
	l.follow(c, seg)
	return &c.joined
}

// follow notes the end of a connection, and forgets the one that ended longest ago.
func (l *lightConns) follow(c *lightConn, seg *capture.Segment) {
	if c.over || seg.Flags&(capture.FIN|capture.RST) == 0 {
		return
	}
	c.over = true
	if len(l.ended) < maxEnded {
		l.ended = append(l.ended, c)
		return
	}
	gone := l.ended[l.oldest]
	l.ended[l.oldest] = c
	l.oldest = (l.oldest + 1) % maxEnded
	key := ordered(gone.tuple)
	if l.young[key] == gone {
		delete(l.young, key)
	} else if l.old[key] == gone {
		delete(l.old, key)
	}
}

func (l *lightConns) put(key tcp.Tuple, c *lightConn) {
	if len(l.young) >= maxLight || l.young == nil {
		l.old, l.young = l.young, make(map[tcp.Tuple]*lightConn)
	}
	l.young[key] = c
}
