package track

import (
	"context"
	"io"
	"sync"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// subscription is one reader's queue of events. The tracker never waits for
// it: when it is full, events are counted instead of kept.
type subscription struct {
	tracker *Tracker
	ready   chan struct{}

	mu    sync.Mutex
	queue []tcp.Event
	max   int
	// skipped counts the events that found the queue full, and lost what they
	// told of.
	skipped uint64
	lost    tcp.Loss
	ended   bool
}

// Subscribe delivers events from now on, holding at most buffer of them for a
// slow reader.
func (t *Tracker) Subscribe(buffer int) tcp.Subscription {
	s := &subscription{tracker: t, ready: make(chan struct{}, 1), max: max(buffer, 1)}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.subs = append(t.subs, s)
	s.ended = t.ended
	return s
}

// Close ends the subscription.
func (s *subscription) Close() {
	t := s.tracker
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, o := range t.subs {
		if o == s {
			t.subs = append(t.subs[:i:i], t.subs[i+1:]...)
			break
		}
	}
}

// Next implements tcp.Subscription.
func (s *subscription) Next(ctx context.Context, dst []tcp.Event) ([]tcp.Event, error) {
	for {
		s.mu.Lock()
		if n := len(s.queue); n > 0 {
			dst = append(dst, s.queue...)
			clear(s.queue)
			s.queue = s.queue[:0]
			if s.skipped > 0 {
				last := dst[len(dst)-1]
				dst = append(dst, tcp.Event{
					Seq: last.Seq, Time: last.Time, Type: tcp.EventGap,
					Gap: &tcp.Gap{Loss: s.lost, Where: "reader", Skipped: s.skipped},
				})
				s.skipped, s.lost = 0, tcp.Loss{}
			}
			s.mu.Unlock()
			return dst, nil
		}
		ended := s.ended
		s.mu.Unlock()
		if ended {
			return dst, io.EOF
		}
		select {
		case <-ctx.Done():
			return dst, ctx.Err()
		case <-s.ready:
		}
	}
}

func (s *subscription) push(e tcp.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) >= s.max {
		s.skip(&e)
		return
	}
	s.queue = append(s.queue, e)
}

// skip counts an event instead of keeping it, and what its reader will miss.
func (s *subscription) skip(e *tcp.Event) {
	s.skipped++
	switch e.Type {
	case tcp.EventClosed:
		s.lost.Closes++
		if e.Conn.Has&tcp.HasBytesSent != 0 {
			s.lost.BytesSent += e.Conn.Metrics.BytesSent
		}
		if e.Conn.Has&tcp.HasBytesReceived != 0 {
			s.lost.BytesReceived += e.Conn.Metrics.BytesReceived
		}
	case tcp.EventGap:
		s.lost.Closes += e.Gap.Closes
		s.lost.BytesSent += e.Gap.BytesSent
		s.lost.BytesReceived += e.Gap.BytesReceived
		s.lost.Events += e.Gap.Events
		s.lost.Unknown = s.lost.Unknown || e.Gap.Unknown
	default:
		s.lost.Events++
	}
}

func (s *subscription) wake() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

func (s *subscription) end() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.wake()
}

// emit numbers an event and hands it to all readers. The conn of e, if there is
// one, is shared from here on.
func (t *Tracker) emit(ev tcp.Event, e *entry) {
	t.eventSeq++
	if len(t.subs) == 0 {
		return
	}
	ev.Seq = t.eventSeq
	if e != nil {
		ev.Conn = e.conn
		e.gen = 0
	}
	for _, s := range t.subs {
		s.push(ev)
	}
}

// wake tells readers of new events, once a batch.
func (t *Tracker) wake() {
	for _, s := range t.subs {
		s.wake()
	}
}
