package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/track"
	"github.com/viewtcp/viewtcp/internal/tui"
)

// liveView is the tracker at work, whichever that is: when a source fails, the
// next one feeds a new tracker. It also takes the warnings that would go to
// stderr, which is the screen.
type liveView struct {
	mu      sync.Mutex
	tracker *track.Tracker
	// replaced is closed when tracker is another one.
	replaced chan struct{}
	state    tui.Status
	empty    *tcp.Snapshot
}

func newLiveView() *liveView {
	return &liveView{replaced: make(chan struct{}), empty: &tcp.Snapshot{}}
}

var _ tcp.View = (*liveView)(nil)

// begin makes a tracker the one at work.
func (v *liveView) begin(t *track.Tracker) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.tracker != nil {
		v.tracker.End()
	}
	v.tracker = t
	close(v.replaced)
	v.replaced = make(chan struct{})
}

func (v *liveView) current() (*track.Tracker, <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.tracker, v.replaced
}

// Snapshot returns the latest view; it is empty at first, and the same one until
// there is another.
func (v *liveView) Snapshot() *tcp.Snapshot {
	if t, _ := v.current(); t != nil {
		return t.Snapshot()
	}
	return v.empty
}

// Subscribe delivers events from now on, of one tracker after the other.
func (v *liveView) Subscribe(buffer int) tcp.Subscription {
	return &liveEvents{view: v, buffer: buffer}
}

func (v *liveView) ready(src tcp.SourceKind) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state.Source = src
}

// fail notes why the collection ended; it reports whether nothing was seen until
// then.
func (v *liveView) fail(err error) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state.Err = err
	return v.tracker == nil || v.tracker.Snapshot().Seq == 0
}

func (v *liveView) status() tui.Status {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.state
}

// Write takes a warning, a line.
func (v *liveView) Write(b []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state.Warning = strings.TrimPrefix(strings.TrimSpace(string(b)), "viewtcp: ")
	return len(b), nil
}

// liveEvents is a subscription to a liveView, for one goroutine.
type liveEvents struct {
	view    *liveView
	buffer  int
	tracker *track.Tracker
	sub     tcp.Subscription
}

// Next implements tcp.Subscription.
func (s *liveEvents) Next(ctx context.Context, dst []tcp.Event) ([]tcp.Event, error) {
	for {
		t, replaced := s.view.current()
		if t != nil && t != s.tracker {
			s.Close()
			s.tracker, s.sub = t, t.Subscribe(s.buffer)
		}
		if s.sub != nil {
			es, err := s.sub.Next(ctx, dst)
			if !errors.Is(err, io.EOF) {
				return es, err
			}
			s.Close()
		}
		select {
		case <-ctx.Done():
			return dst, ctx.Err()
		case <-replaced:
		}
	}
}

// Close ends the subscription.
func (s *liveEvents) Close() {
	if s.sub != nil {
		s.sub.Close()
		s.sub = nil
	}
}
