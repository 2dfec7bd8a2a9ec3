package main

import (
	"bytes"

	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// lightConns tells connections apart where nothing is analysed: by their tuples
// and the sequence numbers of their SYNs. There are two generations; what the
// younger one has no more room for goes with the older.
type lightConns struct {
	young, old map[tcp.Tuple]*lightConn
	last       *lightConn
}

type lightConn struct {
	joined
	isn uint32
}

// maxLight is how many connections a generation has.
const maxLight = 1 << 16

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
	return &c.joined
}

func (l *lightConns) put(key tcp.Tuple, c *lightConn) {
	if len(l.young) >= maxLight || l.young == nil {
		l.old, l.young = l.young, make(map[tcp.Tuple]*lightConn)
	}
	l.young[key] = c
}
