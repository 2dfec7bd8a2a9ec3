package main

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// pastConns are connections that history knows, by their tuples: what it says of
// them finds their packets, whether or not those carry a comment.
type pastConns map[tcp.Tuple][]pastConn

// pastConn is when a connection was open, and whose it was.
type pastConn struct {
	recordedEnd
	first, last int64
}

const (
	// pastSlack is how far packets may lie outside the time in which the socket
	// was open: the kernel tells of an end before its last acknowledgements.
	pastSlack = int64(500 * time.Millisecond)
	// maxPast is how many connections of history are looked for.
	maxPast = 1 << 18
)

// pastFields are what is read of history.
var pastFields = []string{
	"local_ip", "local_port", "remote_ip", "remote_port", "opened", "closed", "pid", "process", "container",
}

// fromPast asks history for the connections that are wanted. Without history there
// are none.
func (r *recorded) fromPast() (pastConns, error) {
	if r.past == nil {
		return nil, nil //nolint:nilnil // no history
	}
	var list [][]tcp.ID
	switch id, lone := loneID(r.filter); {
	case len(r.ids) > 0:
		for rest := r.ids; len(rest) > 0; {
			n := min(len(rest), 64)
			list, rest = append(list, rest[:n]), rest[n:]
		}
	case lone:
		list = [][]tcp.ID{{id}}
	case r.filter.MatchesAll():
		return nil, nil //nolint:nilnil // all packets, without asking
	default:
		list = [][]tcp.ID{nil}
	}
	found := make(pastConns)
	n := 0
	for _, ids := range list {
		q, err := r.pastQuery(ids)
		if err != nil {
			return nil, err
		}
		_, err = r.past.Connections(r.ctx, q, func(rec *store.Record) error {
			if n++; n > maxPast {
				return errTooMany
			}
			found.add(rec, r.to)
			return nil
		})
		if errors.Is(err, errTooMany) {
			return nil, usagef("more than %d connections match: narrow the filter or the time", maxPast)
		}
		if err != nil {
			return nil, fmt.Errorf("looking into history: %w", err)
		}
	}
	return found, nil
}

var errTooMany = errors.New("too many connections")

// pastQuery asks for some ids, or for what the filter wants.
func (r *recorded) pastQuery(ids []tcp.ID) (*store.Query, error) {
	q := &store.Query{Filter: r.filter, From: r.began(), To: time.Now().Add(time.Minute)}
	if r.from != 0 {
		q.From = time.Unix(0, r.from)
	}
	if r.to != 0 {
		q.To = time.Unix(0, r.to+1)
	}
	for _, name := range pastFields {
		if f := tcp.FieldByName(name); f != nil {
			q.Fields = append(q.Fields, f)
		}
	}
	if len(ids) == 0 {
		return q, nil
	}
	var err error
	q.Filter, err = filter.Parse(idFilter(ids))
	return q, err
}

// idFilter is the filter for some connections.
func idFilter(ids []tcp.ID) string {
	b := []byte("id in {")
	for i, id := range ids {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = id.AppendTo(b)
	}
	return string(append(b, '}'))
}

// began is when the recording begins.
func (r *recorded) began() time.Time {
	first := time.Now().UnixNano()
	for _, s := range r.rec.Segments() {
		if s.Packets > 0 {
			first = min(first, s.First)
		}
	}
	return time.Unix(0, first)
}

// add takes in what a row says of a connection. One that is still open lasts until
// the end of what is asked for.
func (m pastConns) add(rec *store.Record, until int64) {
	c := rec.Conn
	p := pastConn{last: until}
	if until == 0 {
		p.last = math.MaxInt64
	}
	if !c.Opened.IsZero() {
		p.first = c.Opened.Wall - pastSlack
	}
	if !c.Closed.IsZero() {
		p.last = c.Closed.Wall + pastSlack
	}
	p.known, p.id = true, c.ID
	if c.Process != nil {
		owner := *c.Process
		p.process = &owner
	}
	m[c.Tuple] = append(m[c.Tuple], p)
}

// of returns what history says of the end of a stream that has a tuple as its own,
// or nil.
func (m pastConns) of(t tcp.Tuple, first, last int64) *pastConn {
	list := m[t]
	for i := range list {
		if p := &list[i]; first <= p.last && last >= p.first {
			return p
		}
	}
	return nil
}

// tuples are those of all connections.
func (m pastConns) tuples() (all []tcp.Tuple) {
	for t := range m {
		all = append(all, t)
	}
	return all
}

// knows reports whether history had an id.
func (m pastConns) knows(id tcp.ID) bool {
	for _, list := range m {
		for i := range list {
			if list[i].id == id {
				return true
			}
		}
	}
	return false
}

// recall reports whether history wants a stream, and takes over what it says of
// the ends that the packets do not name.
func (c *recordedConn) recall(past pastConns, first, last int64) (wanted bool) {
	for i, t := range [...]tcp.Tuple{c.tuple, c.tuple.Reverse()} {
		if p := past.of(t, first, last); p != nil {
			wanted = true
			if !c.ends[i].known || c.ends[i].id == 0 {
				c.ends[i] = p.recordedEnd
			}
		}
	}
	return wanted
}

// has reports whether either end of a stream is wanted.
func (m pastConns) has(t tcp.Tuple) bool {
	_, a := m[t]
	_, b := m[t.Reverse()]
	return a || b
}
