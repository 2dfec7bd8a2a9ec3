package main

import (
	"time"

	"github.com/viewtcp/viewtcp/internal/analysis"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// row is the connection of an end, with what its socket and its packets show. It
// may be some time old. p.mu is held.
func (p *capturing) row(j *joined, i int, now int64) *tcp.Conn {
	if r := j.rows[i]; r != nil && now-j.rowTime[i] < int64(rowEvery) {
		return r
	}
	if j.conn == nil {
		return j.rows[i] // the analysis has let go of it
	}
	j.rows[i], j.rowTime[i] = p.makeRow(j, i, j.conn), now
	return j.rows[i]
}

// rowEvery is how old the connection may be that a filter looks at.
const rowEvery = 250 * time.Millisecond

// makeRow joins the socket of an end, if there is one, with the analysis.
func (p *capturing) makeRow(j *joined, i int, c *analysis.Conn) *tcp.Conn {
	row := new(tcp.Conn)
	socket := j.ends[i]
	if socket == nil {
		j.space.analyzer.Fill(c, p.ids, p.local, row)
		if proc := j.process(i); proc != nil {
			row.Process = proc
		}
	} else {
		at := i
		if c.Tuple != j.tuple { // the other end turned out to be the initiator
			at = i ^ 1
		}
		j.space.analyzer.FillEnd(c, at, p.ids, row)
	}
	names := tcp.Names{}
	if row.Names != nil {
		names = *row.Names
	}
	row.Packets.Stream = j.number
	if socket != nil {
		wire := names
		joint := *socket
		joint.Packets = row.Packets
		joint.SawReset = socket.SawReset || row.SawReset
		if socket.Names != nil {
			names = *socket.Names
		}
		names.SNI, names.ALPN, names.HTTPHost = wire.SNI, wire.ALPN, wire.HTTPHost
		*row = joint
	}
	names.Interface = j.iface
	if names.Host == "" {
		names.Host = p.host
	}
	row.Names = &names
	return row
}

// ended takes leave of a connection that the analysis lets go of. p.mu is held.
func (p *capturing) ended(s *space, c *analysis.Conn) {
	j := s.joined[c.Stream]
	if j == nil {
		return
	}
	delete(s.joined, c.Stream)
	if s.last == j {
		s.last = nil
	}
	if p.conns != nil && c.Sides[0].Packets+c.Sides[1].Packets > 0 {
		now := time.Now().UnixNano()
		if !p.c.noProcess {
			j.looked = 0
			p.join.look(j, c.Last, now)
		}
		here := false
		for i := range j.ends {
			if j.ends[i] != nil {
				here = true
				p.conns.add(p.makeRow(j, i, c))
			}
		}
		if !here {
			p.conns.add(p.makeRow(j, 0, c))
		}
	}
	for _, e := range j.ends {
		if e != nil && p.byID[e.ID] == j {
			delete(p.byID, e.ID)
		}
	}
	// Packets that still wait are judged by what is known now.
	for i := range j.rows {
		if p.needsConn && j.rows[i] == nil && p.queue.len() > 0 {
			j.rows[i] = p.makeRow(j, i, c)
		}
	}
	j.conn = nil
}
