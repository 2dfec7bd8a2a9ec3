package main

import (
	"github.com/viewtcp/viewtcp/internal/analysis"
	"github.com/viewtcp/viewtcp/internal/capture"
)

// held is a packet that waits for its connection, or in the queue behind one that
// does.
type held struct {
	space   *space
	frame   capture.Frame // its data is in chunk
	segment capture.Segment
	verdict analysis.Packet // without Conn
	// joined is nil for what is no TCP segment of a connection.
	joined *joined
	chunk  *holdChunk
}

// holdChunk is memory for the data of packets that came one after the other.
type holdChunk struct {
	buf  []byte
	used int // packets in it
}

const (
	holdChunkSize = 512 << 10
	// holdBytes and holdPackets bound the queue. What does not fit is let go of
	// with what is known.
	holdBytes   = 64 << 20
	holdPackets = 1 << 16
	// keepChunks and keepHeld are how much memory is used again: what a burst
	// needed besides is given back after it.
	keepChunks = 8
	keepHeld   = 1 << 12
)

// holdQueue keeps packets in the order of their times. Its memory is used again.
type holdQueue struct {
	items []*held
	head  int
	bytes int
	last  *holdChunk // that is filled
	free  []*holdChunk
	spare []*held
}

func (q *holdQueue) len() int { return len(q.items) - q.head }

// full reports whether the first packet must go before another comes.
func (q *holdQueue) full() bool { return q.bytes >= holdBytes || q.len() >= holdPackets }

// first returns the packet that is next to go.
func (q *holdQueue) first() *held { return q.items[q.head] }

// add copies a packet to the end of the queue or, when others that came before it
// were captured later, ahead of them.
func (q *holdQueue) add(s *space, j *joined) {
	var h *held
	if n := len(q.spare); n > 0 {
		h, q.spare = q.spare[n-1], q.spare[:n-1]
	} else {
		h = new(held)
	}
	h.space, h.joined = s, j
	h.frame, h.segment, h.verdict = s.frame, s.segment, s.verdict
	h.verdict.Conn = nil
	h.frame.Data = q.keep(s.frame.Data, h)
	// The payload was read by the analysis and is not needed again; what the
	// output tells of it is its length.
	h.segment.Payload = nil
	if q.head > 0 && len(q.items) == cap(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, h)
	for i := len(q.items) - 1; i > q.head && q.items[i-1].frame.Time > h.frame.Time && q.items[i-1].space != s; i-- {
		q.items[i], q.items[i-1] = q.items[i-1], h
	}
}

// keep copies data into a chunk.
func (q *holdQueue) keep(data []byte, h *held) []byte {
	c := q.last
	if c == nil || len(data) > cap(c.buf)-len(c.buf) {
		c = q.chunk(len(data))
		q.last = c
	}
	at := len(c.buf)
	c.buf = append(c.buf, data...)
	c.used++
	h.chunk = c
	q.bytes += len(data)
	return c.buf[at:len(c.buf):len(c.buf)]
}

func (q *holdQueue) chunk(size int) *holdChunk {
	if n := len(q.free); n > 0 && size <= holdChunkSize {
		c := q.free[n-1]
		q.free = q.free[:n-1]
		return c
	}
	return &holdChunk{buf: make([]byte, 0, max(size, holdChunkSize))}
}

// drop removes the first packet.
func (q *holdQueue) drop() {
	h := q.items[q.head]
	q.items[q.head] = nil
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	q.bytes -= len(h.frame.Data)
	if h.chunk.used--; h.chunk.used == 0 {
		h.chunk.buf = h.chunk.buf[:0]
		if h.chunk != q.last && len(q.free) < keepChunks {
			q.free = append(q.free, h.chunk)
		}
	}
	*h = held{}
	if len(q.spare) < keepHeld {
		q.spare = append(q.spare, h)
	}
}
