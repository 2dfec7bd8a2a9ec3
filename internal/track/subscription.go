package track

import (
	"slices"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Subscribe delivers events from now on, holding at most buffer of them for a
// slow reader. The tracker never waits for it.
func (t *Tracker) Subscribe(buffer int) tcp.Subscription {
	s := tcp.NewEventQueue(buffer, t.unsubscribe)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.subs = append(t.subs, s)
	if t.ended {
		s.End(nil)
	}
	return s
}

func (t *Tracker) unsubscribe(s *tcp.EventQueue) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.subs, s); i >= 0 {
		t.subs = slices.Delete(t.subs, i, i+1)
	}
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
		s.Add(&ev)
	}
}

// wake tells readers of new events, once a batch.
func (t *Tracker) wake() {
	for _, s := range t.subs {
		s.Wake()
	}
}
