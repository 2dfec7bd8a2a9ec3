// Package demo is a host that is not there: connections that live by a script, the
// same in every run, for tests of views and for pictures of them. Time moves only
// when it is told to.
package demo

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Start is when the host's time begins.
var Start = time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)

// booted is how long before Start the host did.
const booted = 9 * 24 * time.Hour

// Feed is the host. It is a tcp.View.
type Feed struct {
	mu    sync.Mutex
	snap  *tcp.Snapshot
	news  chan struct{} // closed at the end of each second
	now   tcp.Stamp
	step  int
	socks []*sock // in order of opening
	stats tcp.Stats
	seq   uint64
	next  uint64 // id
	subs  []*subscription
	// events wait for the end of their second.
	events []tcp.Event
	// script is called at each step, before the sockets move.
	script func(f *Feed, step int)
}

// sock is a socket and how it behaves.
type sock struct {
	conn *tcp.Conn
	// rx and tx are bytes a second, rtt microseconds; they waver by a share.
	rx, tx, rtt uint64
	waver       float64
	// lossy is the share of steps with retransmissions.
	lossy float64
	// closes is the step at which it ends, by reason; 0 is never.
	closes int
	reason tcp.CloseReason
	closed bool
	queue  uint32
}

// New returns a host with a script; Empty, Host and Many are some.
func New(script func(f *Feed, step int)) *Feed {
	f := &Feed{script: script, next: 1, snap: &tcp.Snapshot{}, news: make(chan struct{})}
	f.now = tcp.Stamp{Wall: Start.UnixNano(), Boot: int64(booted)}
	return f
}

// Snapshot returns the view as of the last step.
func (f *Feed) Snapshot() *tcp.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.snap
}

// Step moves the time on by seconds, one at a time.
func (f *Feed) Step(seconds int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for range seconds {
		f.move()
	}
}

func (f *Feed) move() {
	f.now = f.now.Add(time.Second)
	if f.script != nil {
		f.script(f, f.step)
	}
	kept := f.socks[:0]
	for _, s := range f.socks {
		if s.closed {
			continue
		}
		f.live(s)
		kept = append(kept, s)
	}
	clear(f.socks[len(kept):])
	f.socks = kept
	f.step++
	f.publish()
}

// live is one second of a socket.
func (f *Feed) live(s *sock) {
	if s.closes != 0 && f.step >= s.closes {
		f.close(s)
		return
	}
	r := f.random(s)
	if s.rx+s.tx == 0 && s.lossy == 0 && s.queue == 0 {
		return
	}
	c := *s.conn
	m := &c.Metrics
	if c.State == tcp.Listen {
		m.AcceptQueue = uint32(float64(s.queue) * (0.8 + 0.4*r))
		s.conn = &c
		return
	}
	k := 1 + s.waver*(2*r-1)
	m.ReceiveRate, m.SendRate = uint64(float64(s.rx)*k), uint64(float64(s.tx)*k)
	m.BytesReceived += m.ReceiveRate
	m.BytesSent += m.SendRate
	c.Has |= tcp.HasReceiveRate | tcp.HasSendRate
	m.RTT = uint32(float64(s.rtt) * (1 + s.waver*(1-r)/2))
	m.CWND = uint32(10 + 30*r)
	m.SegmentsSent += uint32(m.SendRate/1448) + 1
	if r < s.lossy {
		n := 1 + uint32(r*20)
		m.Retransmits += n
		m.CWND = 4
		for range n {
			f.emit(tcp.Event{Type: tcp.EventRetransmit, Conn: &c})
		}
	}
	c.Updated = f.now
	s.conn = &c
}

// random is between 0 and 1, from the socket and the time alone.
func (f *Feed) random(s *sock) float64 {
	x := uint64(s.conn.ID)*0x9e3779b97f4a7c15 + uint64(f.step)*0xbf58476d1ce4e5b9
	x ^= x >> 30
	x *= 0x94d049bb133111eb
	x ^= x >> 31
	return float64(x>>11) / (1 << 53)
}

func (f *Feed) close(s *sock) {
	c := *s.conn
	if c.State == tcp.Listen {
		s.closed = true
		return
	}
	c.State, c.Closed, c.Reason = tcp.Closed, f.now, s.reason
	switch s.reason {
	case tcp.CloseRefused, tcp.CloseRSTReceived:
		c.ClosedBy = tcp.SideRemote
		f.emit(tcp.Event{Type: tcp.EventReset, Conn: &c, By: tcp.SideRemote})
	default:
		c.ClosedBy = tcp.SideLocal
	}
	s.conn, s.closed = &c, true
	f.stats.Closed++
	f.emit(tcp.Event{Type: tcp.EventClosed, Conn: &c})
}

func (f *Feed) emit(e tcp.Event) {
	f.seq++
	e.Seq, e.Time = f.seq, f.now
	f.events = append(f.events, e)
}

func (f *Feed) publish() {
	snap := &tcp.Snapshot{Seq: uint64(f.step), Time: f.now, Conns: make([]*tcp.Conn, 0, len(f.socks))}
	st := f.stats
	for _, s := range f.socks {
		if s.closed {
			continue
		}
		snap.Conns = append(snap.Conns, s.conn)
		switch {
		case s.conn.State == tcp.Listen:
			st.Listening++
		case s.conn.Remnant:
			st.Remnants++
		default:
			st.Open++
		}
	}
	snap.Stats = st
	f.snap = snap
	for _, s := range f.subs {
		s.queue = append(s.queue, f.events...)
	}
	f.events = f.events[:0]
	close(f.news)
	f.news = make(chan struct{})
}

// Lose tells of a loss, as a full ring does.
func (f *Feed) Lose(n uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stats.Lost.Closes += n
	f.emit(tcp.Event{Type: tcp.EventGap, Gap: &tcp.Gap{Loss: tcp.Loss{Closes: n}, Where: "ring", Source: tcp.SourceEBPF}})
}

// Now is the host's time.
func (f *Feed) Now() tcp.Stamp {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// subscription is a reader's queue of events, guarded by the feed's lock: a
// snapshot and the events that led to it come together.
type subscription struct {
	feed  *Feed
	queue []tcp.Event
}

// Subscribe delivers events from now on.
func (f *Feed) Subscribe(int) tcp.Subscription {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &subscription{feed: f}
	f.subs = append(f.subs, s)
	return s
}

// Next implements tcp.Subscription.
func (s *subscription) Next(ctx context.Context, dst []tcp.Event) ([]tcp.Event, error) {
	for {
		s.feed.mu.Lock()
		news := s.feed.news
		if len(s.queue) > 0 {
			dst = append(dst, s.queue...)
			s.queue = nil
			s.feed.mu.Unlock()
			return dst, nil
		}
		s.feed.mu.Unlock()
		select {
		case <-ctx.Done():
			return dst, ctx.Err()
		case <-news:
		}
	}
}

// Close ends the subscription.
func (s *subscription) Close() {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	for i, o := range s.feed.subs {
		if o == s {
			s.feed.subs = append(s.feed.subs[:i:i], s.feed.subs[i+1:]...)
			return
		}
	}
}

// Addr parses an address of the script.
func Addr(s string) tcp.Addr {
	a, err := tcp.AddrOf(s)
	if err != nil {
		panic(fmt.Sprintf("demo: %v", err))
	}
	return a
}
