package main

import (
	"time"

	"github.com/viewtcp/viewtcp/internal/analysis"
	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// frame takes in the frame of a namespace. p.mu is held.
func (p *capturing) frame(s *space) {
	if p.done {
		return
	}
	p.counts.seen++
	s.frame.Number = p.counts.seen
	now := p.present(s.frame.Time)
	var j *joined
	if s.whole.Decode(&s.frame, &s.segment) == capture.TCP {
		switch {
		case p.light && p.c.noProcess:
			j = &s.any
		case p.light:
			j = p.lightOf(s)
		default:
			s.analyzer.Add(&s.segment, &s.verdict)
			j = p.joinedOf(s)
		}
		p.look(j, s.segment.Time, now)
	} else {
		p.counts.notTCP++
		if p.kernel != nil || p.file == nil {
			return // the filter is about TCP, and so is the text
		}
	}
	wait := j != nil && !j.settled || len(p.spaces) > 1
	if !wait && p.queue.len() == 0 {
		p.emit(s, &s.frame, &s.segment, &s.verdict, j, now)
		return
	}
	for p.queue.full() {
		p.emitFirst(now)
	}
	p.queue.add(s, j)
	if now-p.released >= int64(2*time.Millisecond) {
		p.release(now)
	}
}

// freshPackets is for how many packets the time that was read is the present: they
// take some 50 µs, and reading it costs as much as decoding one.
const freshPackets = 64

// present is the time at which a packet is looked at that was captured at another.
// p.mu is held.
func (p *capturing) present(at int64) int64 {
	if p.fresh--; p.fresh < 0 || at > p.now {
		p.now, p.fresh = time.Now().UnixNano(), freshPackets
	}
	return p.now
}

// joinedOf returns the connection of the segment at hand.
func (p *capturing) joinedOf(s *space) *joined {
	v := &s.verdict
	if s.last != nil && s.last.stream == v.Stream {
		return s.last
	}
	j := s.joined[v.Stream]
	if j == nil {
		j = &joined{stream: v.Stream, number: p.streams, conn: v.Conn}
		p.begin(j, s, v.Conn.Tuple, s.segment.Flags&(capture.SYN|capture.ACK) == capture.SYN)
		j.iface = p.interfaceName(s)
		p.streams++
		s.joined[v.Stream] = j
	}
	s.last = j
	return j
}

// begin fills in what the first packet tells of a connection.
func (p *capturing) begin(j *joined, s *space, t tcp.Tuple, syn bool) {
	j.space, j.tuple, j.first, j.syn, j.settled = s, t, s.segment.Time, syn, p.c.noProcess
	j.looped = t.Local.IsLoopback() || p.loopback(s)
	j.sent = syn && (j.looped || s.own[t.Local])
}

// look brings the sockets of a connection up to date.
func (p *capturing) look(j *joined, at, now int64) {
	if p.c.noProcess {
		return
	}
	p.join.look(j, at, now)
	if p.conns == nil || j.looked != now {
		return
	}
	for _, c := range j.ends {
		if c != nil && c.Closed.IsZero() {
			p.byID[c.ID] = j
		}
	}
}

// emitFirst lets go of the first packet of the queue.
func (p *capturing) emitFirst(now int64) {
	h := p.queue.first()
	p.emit(h.space, &h.frame, &h.segment, &h.verdict, h.joined, now)
	p.queue.drop()
}

// release lets go of what need not wait any longer. p.mu is held.
func (p *capturing) release(now int64) {
	p.released = now
	for p.queue.len() > 0 {
		h := p.queue.first()
		if age := now - h.frame.Time; len(p.spaces) > 1 && age >= 0 && age < int64(orderFor) {
			return // another namespace may still bring an earlier one
		}
		if j := h.joined; j != nil {
			p.look(j, h.segment.Time, now)
			if !j.settled {
				return
			}
		}
		p.emitFirst(now)
	}
}

// orderFor is how much later than an other one's a namespace's packets may come.
const orderFor = 3 * liveBlock

// matches reports whether the filter wants a packet: as one of either end's
// connections.
func (p *capturing) matches(t *capture.Segment, j *joined, now int64) bool {
	if p.match == nil {
		return true
	}
	p.view.Set(t.Tuple, uint16(t.Flags))
	if !p.needsConn {
		return p.match(&p.view, nil)
	}
	here := false
	for i := range j.ends {
		if j.ends[i] != nil {
			here = true
			if p.match(&p.view, p.row(j, i, now)) {
				return true
			}
		}
	}
	return !here && p.match(&p.view, p.row(j, 0, now))
}

// emit sends a packet where it belongs. p.mu is held.
func (p *capturing) emit(s *space, f *capture.Frame, t *capture.Segment, v *analysis.Packet, j *joined, now int64) {
	if p.done {
		return
	}
	if j != nil {
		onlyConns := p.conns != nil && p.file == nil && p.recorder == nil
		if !onlyConns && !p.matches(t, j, now) {
			p.counts.unmatched++
			return
		}
		if !p.c.noProcess && j.process(0) == nil && j.process(1) == nil {
			p.counts.unjoined++
		}
	}
	p.counts.matched++
	if p.file != nil {
		if err := p.file.write(s, f, p.comment(t, v, j), now); err != nil {
			p.fail(err)
			return
		}
	}
	if p.recorder != nil && j != nil {
		p.record(s, f, t, j)
	}
	if p.text != nil && j != nil {
		if err := p.print(t, v, j); err != nil {
			p.fail(err)
			return
		}
	}
	if p.c.count > 0 && p.counts.matched >= p.c.count {
		p.stop()
	}
}

// comment is what stands beside a packet in a file.
func (p *capturing) comment(t *capture.Segment, v *analysis.Packet, j *joined) string {
	if j == nil || p.c.comments == commentsNone || p.c.comments == commentsFirst && j.told != 0 {
		return ""
	}
	j.told = t.Time
	return verdictComment(j.comment(j.side(&t.Tuple)), v)
}

// print writes a packet as text.
func (p *capturing) print(t *capture.Segment, v *analysis.Packet, j *joined) error {
	i := j.side(&t.Tuple)
	from := v.Initiator
	switch known := [2]bool{j.ends[i] != nil, j.ends[i^1] != nil}; {
	case known[0] != known[1]:
		from = known[0]
	case known[0]:
		from = true
	case p.local != nil && p.local(t.Tuple.Local) != p.local(t.Tuple.Remote):
		from = p.local(t.Tuple.Local)
	}
	own := i
	if !from {
		own = i ^ 1
	}
	v.Stream = j.number
	return p.text.add(&packetRow{seg: t, v: v, fromLocal: from, own: j.end(own), peer: j.end(own ^ 1)})
}
