package tcp

import (
	"context"
	"io"
	"sync"
)

// An EventQueue is the Subscription of a view that hands its events to several
// readers. It keeps a number of them for a slow reader and counts the rest, so
// that who adds events never waits. Several goroutines may use it.
type EventQueue struct {
	closed func(*EventQueue)
	ready  chan struct{}

	mu    sync.Mutex // guards all below
	queue []Event
	limit int
	// skipped counts the events that found the queue full, and lost what they
	// told of.
	skipped uint64
	lost    Loss
	ended   bool
	err     error
}

var _ Subscription = (*EventQueue)(nil)

// NewEventQueue returns a queue that keeps limit events, and one at least. closed
// is told when the reader wants no more.
func NewEventQueue(limit int, closed func(*EventQueue)) *EventQueue {
	return &EventQueue{closed: closed, ready: make(chan struct{}, 1), limit: max(limit, 1)}
}

// Add takes an event in, or counts what its reader will miss. Its reader learns of
// it with the next Wake.
func (q *EventQueue) Add(e *Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) >= q.limit {
		q.skip(e)
		return
	}
	q.queue = append(q.queue, *e)
}

// skip counts an event instead of keeping it, and what its reader will miss.
func (q *EventQueue) skip(e *Event) {
	q.skipped++
	switch {
	case e.Type == EventClosed && e.Conn != nil:
		q.lost.Closes++
		if e.Conn.Has&HasBytesSent != 0 {
			q.lost.BytesSent += e.Conn.Metrics.BytesSent
		}
		if e.Conn.Has&HasBytesReceived != 0 {
			q.lost.BytesReceived += e.Conn.Metrics.BytesReceived
		}
	case e.Type == EventGap && e.Gap != nil:
		q.lost.Closes += e.Gap.Closes
		q.lost.BytesSent += e.Gap.BytesSent
		q.lost.BytesReceived += e.Gap.BytesReceived
		q.lost.Events += e.Gap.Events
		q.lost.Unknown = q.lost.Unknown || e.Gap.Unknown
	default:
		q.lost.Events++
	}
}

// Wake tells the reader of what was added: once for many events.
func (q *EventQueue) Wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// End ends the stream behind what is waiting, for the reason err; nil is io.EOF.
func (q *EventQueue) End(err error) {
	q.mu.Lock()
	q.ended = true
	if err != nil {
		q.err = err
	}
	q.mu.Unlock()
	q.Wake()
}

// Next implements Subscription.
func (q *EventQueue) Next(ctx context.Context, dst []Event) ([]Event, error) {
	for {
		q.mu.Lock()
		if len(q.queue) > 0 {
			dst = q.take(dst)
			q.mu.Unlock()
			return dst, nil
		}
		ended, err := q.ended, q.err
		q.mu.Unlock()
		if ended {
			if err == nil {
				err = io.EOF
			}
			return dst, err
		}
		select {
		case <-ctx.Done():
			return dst, ctx.Err()
		case <-q.ready:
		}
	}
}

// take moves what is waiting to dst, and the gap behind it.
func (q *EventQueue) take(dst []Event) []Event {
	dst = append(dst, q.queue...)
	clear(q.queue)
	q.queue = q.queue[:0]
	if q.skipped > 0 {
		last := &dst[len(dst)-1]
		dst = append(dst, Event{
			Seq: last.Seq, Time: last.Time, Type: EventGap,
			Gap: &Gap{Loss: q.lost, Where: "reader", Skipped: q.skipped},
		})
		q.skipped, q.lost = 0, Loss{}
	}
	return dst
}

// Close implements Subscription.
func (q *EventQueue) Close() { q.closed(q) }
