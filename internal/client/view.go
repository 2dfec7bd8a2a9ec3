package client

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/viewtcp/viewtcp/internal/api"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// ViewOptions say what of a daemon is followed.
type ViewOptions struct {
	// Filter is the text of a filter that chooses connections; "" is all.
	Filter string
	// Rows asks for live rows; without it Snapshot stays empty.
	Rows bool
	// Events names the events that are wanted, separated by commas; "" is all.
	Events string
	// Conn, if not nil, is called with each connection before anybody sees it, and
	// may change it; by several goroutines.
	Conn func(*tcp.Conn)
	// Status is told when the daemon is lost (err is why), and when it is back
	// (nil). It may be nil; it is called by one goroutine at a time.
	Status func(err error)
}

// View is what a daemon sees, here. It comes back by itself when the connection
// breaks; what was missed meanwhile is an event of type gap. Its goroutines end
// with the context that it was made with, or when the daemon refuses it for good;
// Wait waits for that.
type View struct {
	c    *Client
	ctx  context.Context
	opts ViewOptions
	work sync.WaitGroup

	snapshot atomic.Pointer[tcp.Snapshot]
	// clock is the daemon's boot clock: the ages of idle connections go on by it.
	clock *atomic.Int64

	mu   sync.Mutex
	subs []*tcp.EventQueue
	// following says that events are asked for; err is why they no longer are.
	following bool
	err       error
	// boot and wall are the same moment on the daemon's clocks.
	boot, wall int64
	lost       error

	rowsReady, eventsReady chan struct{}
	failed                 chan struct{}
	once                   struct{ rows, events, failed sync.Once }
}

var _ tcp.View = (*View)(nil)

// View returns a view of the daemon until ctx ends.
func (c *Client) View(ctx context.Context, o ViewOptions) *View {
	v := &View{
		c: c, ctx: ctx, opts: o, clock: new(atomic.Int64),
		rowsReady: make(chan struct{}), eventsReady: make(chan struct{}), failed: make(chan struct{}),
	}
	v.snapshot.Store(&tcp.Snapshot{})
	if o.Rows {
		v.work.Go(func() { v.follow(v.followRows) })
	}
	return v
}

// Ready waits until the daemon has begun to send what was asked for: the first
// rows, and events if there is a subscription. Its error is that of the view.
func (v *View) Ready(ctx context.Context) error {
	v.mu.Lock()
	following := v.following
	v.mu.Unlock()
	var wanted []chan struct{}
	if v.opts.Rows {
		wanted = append(wanted, v.rowsReady)
	}
	if following {
		wanted = append(wanted, v.eventsReady)
	}
	for _, ready := range wanted {
		select {
		case <-ready:
		case <-v.failed:
			return v.Err()
		case <-ctx.Done():
			return ctx.Err()
		case <-v.ctx.Done():
			return v.ctx.Err()
		}
	}
	return nil
}

// Err is why the daemon refused the view for good; nil while it did not.
func (v *View) Err() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.err
}

// Wait waits for the view's goroutines, which end with its context.
func (v *View) Wait() { v.work.Wait() }

// Snapshot implements tcp.View.
func (v *View) Snapshot() *tcp.Snapshot { return v.snapshot.Load() }

// follow keeps a stream going: when it breaks it is opened again, with a server
// that shows that it is still the one which knows the token.
func (v *View) follow(stream func(begun func()) error) {
	wait := firstWait
	for first := true; ; first = false {
		var err error
		if !first {
			err = v.ready()
		}
		if err == nil {
			err = stream(func() {
				wait = firstWait
				v.tell(nil)
			})
		}
		switch {
		case v.ctx.Err() != nil:
			v.end(nil)
			return
		case forever(err):
			v.tell(err)
			v.end(err)
			return
		}
		v.tell(err)
		again := time.NewTimer(wait)
		select {
		case <-again.C:
		case <-v.ctx.Done():
			again.Stop()
		}
		wait = min(2*wait, lastWait)
	}
}

// ready is Ready of the client, within the time that a daemon at work needs.
func (v *View) ready() error {
	ctx, cancel := context.WithTimeout(v.ctx, readyWait)
	defer cancel()
	return v.c.Ready(ctx)
}

// tell reports that the daemon was lost, or is back.
func (v *View) tell(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.opts.Status == nil || (err == nil) == (v.lost == nil) {
		return
	}
	v.lost = err
	v.opts.Status(err)
}

// end ends all subscriptions, if the view was refused for that reason.
func (v *View) end(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err == nil {
		v.err = err
	}
	for _, s := range v.subs {
		s.End(reason(err))
	}
	if err != nil {
		v.once.failed.Do(func() { close(v.failed) })
	}
}

func (v *View) values() url.Values {
	u := url.Values{}
	if v.opts.Filter != "" {
		u.Set("filter", v.opts.Filter)
	}
	return u
}

// followRows keeps the snapshot up to date.
func (v *View) followRows(begun func()) error {
	var (
		id    string
		table = newLiveTable(v.clock)
		rows  = api.NewRowReader()
	)
	return v.c.stream(v.ctx, "/api/v1/live", v.values(), &id, begun, func(name string, data []byte) error {
		if name != api.SSERows {
			return nil
		}
		l, err := api.ReadLive(data, rows)
		if err != nil {
			return err
		}
		for _, c := range l.Rows {
			v.change(c)
		}
		if snap := table.apply(l); snap != nil {
			v.clock.Store(l.Boot)
			v.mu.Lock()
			v.boot, v.wall = l.Boot, l.Time
			v.mu.Unlock()
			v.snapshot.Store(snap)
			v.once.rows.Do(func() { close(v.rowsReady) })
		}
		return nil
	})
}

func (v *View) change(c *tcp.Conn) {
	if v.opts.Conn != nil && c != nil {
		v.opts.Conn(c)
	}
}

// liveTable puts updates together.
type liveTable struct {
	clock *atomic.Int64
	conns []*tcp.Conn
	at    map[tcp.ID]int
}

func newLiveTable(clock *atomic.Int64) *liveTable {
	return &liveTable{clock: clock, at: make(map[tcp.ID]int)}
}

// apply takes a piece of an update and returns the snapshot that it completes, if
// it does.
func (t *liveTable) apply(l *api.Live) *tcp.Snapshot {
	if l.Reset {
		t.conns = nil
		clear(t.at)
	}
	for _, c := range l.Rows {
		if c.Closed.IsZero() {
			c.Clock = t.clock
		}
		if i, ok := t.at[c.ID]; ok {
			t.conns[i] = c
			continue
		}
		t.at[c.ID] = len(t.conns)
		t.conns = append(t.conns, c)
	}
	if len(l.Removed) > 0 {
		for _, id := range l.Removed {
			if i, ok := t.at[id]; ok {
				t.conns[i] = nil
				delete(t.at, id)
			}
		}
		t.conns = slices.DeleteFunc(t.conns, func(c *tcp.Conn) bool { return c == nil })
		for i, c := range t.conns {
			t.at[c.ID] = i
		}
	}
	if l.More {
		return nil
	}
	return &tcp.Snapshot{
		Seq: l.Seq, Time: tcp.Stamp{Wall: l.Time, Boot: l.Boot}, Conns: slices.Clone(t.conns), Stats: l.Stats.Stats(),
	}
}

// Subscribe implements tcp.View. Events come from the moment on that the daemon
// has begun to send them: Ready waits for it.
func (v *View) Subscribe(buffer int) tcp.Subscription {
	s := tcp.NewEventQueue(buffer, v.unsubscribe)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.subs = append(v.subs, s)
	switch {
	case v.err != nil || v.ctx.Err() != nil:
		s.End(reason(v.err))
	case !v.following:
		v.following = true
		id := ""
		v.work.Go(func() { v.follow(func(begun func()) error { return v.followEvents(&id, begun) }) })
	}
	return s
}

func (v *View) unsubscribe(s *tcp.EventQueue) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.subs = slices.DeleteFunc(v.subs, func(o *tcp.EventQueue) bool { return o == s })
}

// reason is why subscriptions end: none if that was asked for.
func reason(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// followEvents hands events to the subscriptions. id is where it was, so that
// nothing is missed when it comes back, as long as the daemon remembers.
func (v *View) followEvents(id *string, begun func()) error {
	rows := api.NewRowReader()
	u := v.values()
	if v.opts.Events != "" {
		u.Set("events", v.opts.Events)
	}
	return v.c.stream(v.ctx, "/api/v1/events", u, id, func() {
		begun()
		v.once.events.Do(func() { close(v.eventsReady) })
	}, func(name string, data []byte) error {
		if _, known := tcp.ParseEventType(name); !known {
			return nil
		}
		e, err := rows.Event(data, v.bootAt)
		if err != nil {
			return err
		}
		v.change(e.Conn)
		v.mu.Lock()
		defer v.mu.Unlock()
		for _, s := range v.subs {
			s.Add(&e)
			s.Wake()
		}
		return nil
	})
}

// bootAt is the boot clock at a wall time; without rows it is a clock that begins
// in 1970, which is as good for durations.
func (v *View) bootAt(wall int64) int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.boot + wall - v.wall
}
