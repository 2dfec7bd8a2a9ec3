package tcp

import (
	"context"
	"errors"
	"io"
	"testing"
)

// TestEventQueue: a reader gets what fits, and is told what did not.
func TestEventQueue(t *testing.T) {
	closed := 0
	q := NewEventQueue(2, func(*EventQueue) { closed++ })
	conn := &Conn{Has: HasBytesSent | HasBytesReceived, Metrics: Metrics{BytesSent: 10, BytesReceived: 1}}
	for i, e := range []Event{
		{Type: EventOpened, Conn: conn},
		{Type: EventClosed, Conn: conn},
		{Type: EventClosed, Conn: conn},
		{Type: EventClosed, Conn: &Conn{}},
		{Type: EventOpened, Conn: conn},
		{Type: EventGap, Gap: &Gap{Loss: Loss{Closes: 5, BytesSent: 100, BytesReceived: 1000, Events: 7, Unknown: true}}},
		{Type: EventGap},
	} {
		e.Seq = uint64(i + 1)
		q.Add(&e)
	}
	q.Wake()
	q.Wake()
	got, err := q.Next(t.Context(), []Event{{Seq: 99}})
	if err != nil || len(got) != 4 || got[0].Seq != 99 || got[1].Seq != 1 || got[2].Seq != 2 || got[3].Type != EventGap {
		t.Fatalf("%+v, %v; want two events and a gap behind what was there", got, err)
	}
	want := Gap{Loss: Loss{Closes: 7, BytesSent: 110, BytesReceived: 1001, Events: 9, Unknown: true}, Where: "reader", Skipped: 5}
	if g := *got[3].Gap; g != want || got[3].Seq != 2 {
		t.Errorf("after event %d the gap is %+v, want %+v", got[3].Seq, g, want)
	}

	q.Add(&Event{Seq: 8, Type: EventOpened, Conn: conn})
	if got, err := q.Next(t.Context(), nil); err != nil || len(got) != 1 || got[0].Seq != 8 {
		t.Errorf("%+v, %v; want one event, and the gap only once", got, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := q.Next(ended, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("nothing is there, and the context has ended: %v", err)
	}
	q.Close()
	if closed != 1 {
		t.Errorf("told %d times of the end", closed)
	}
}

// TestEventQueueEnd: what waits comes before the end, whoever was first.
func TestEventQueueEnd(t *testing.T) {
	broken := errors.New("broken")
	for _, reason := range []error{nil, broken} {
		q := NewEventQueue(0, func(*EventQueue) {})
		q.Add(&Event{Seq: 1, Type: EventOpened})
		q.End(reason)
		q.End(nil)
		if got, err := q.Next(t.Context(), nil); len(got) != 1 || err != nil {
			t.Errorf("%+v, %v; want the event that waits", got, err)
		}
		want := reason
		if want == nil {
			want = io.EOF
		}
		for range 2 {
			if got, err := q.Next(t.Context(), nil); len(got) != 0 || !errors.Is(err, want) {
				t.Errorf("%+v, %v; want %v", got, err, want)
			}
		}
	}
}

// TestEventQueueWakes: a reader that waits is woken by events and by the end.
func TestEventQueueWakes(t *testing.T) {
	q := NewEventQueue(4, func(*EventQueue) {})
	seen := make(chan int)
	go func() {
		n := 0
		for {
			got, err := q.Next(t.Context(), nil)
			if n += len(got); err != nil {
				seen <- n
				return
			}
			seen <- n
		}
	}()
	q.Add(&Event{Seq: 1})
	q.Wake()
	if n := <-seen; n != 1 {
		t.Errorf("%d events, want 1", n)
	}
	q.End(nil)
	if n := <-seen; n != 1 {
		t.Errorf("%d events at the end, want 1", n)
	}
}
