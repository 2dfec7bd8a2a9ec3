package track

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Tracker merges batches into connections. Apply is called by one source at a
// time; everything else may be called from any goroutine.
type Tracker struct {
	cfg      Config
	snapshot atomic.Pointer[tcp.Snapshot]
	// clock is the boot time of the last batch; idle connections read their age
	// from it.
	clock atomic.Int64

	mu        sync.Mutex
	table     table
	processes processes
	tombs     tombstones
	lately    lately
	half      fifo
	remnants  fifo
	listeners map[listener]int
	subs      []*tcp.EventQueue

	// passed holds the namespaces that one full pass covered: what appears
	// there later is new, not only newly seen.
	passed map[uint32]bool
	// excess says that the last delta pass walked fewer sockets than are
	// followed.
	excess bool
	// ended closes the stream of events.
	ended bool

	eventSeq    uint64
	snapshotSeq uint64
	stats       tcp.Stats
	now         tcp.Stamp
	heard       tcp.Stamp
}

// New returns an empty tracker.
func New(cfg Config) *Tracker {
	t := &Tracker{
		cfg:       cfg,
		table:     newTable(cfg.IDs, cfg.Expect),
		processes: newProcesses(),
		tombs:     newTombstones(cfg.IDs, cfg.MaxTombstones),
		listeners: make(map[listener]int),
		passed:    make(map[uint32]bool),
	}
	t.snapshot.Store(&tcp.Snapshot{})
	return t
}

var _ tcp.View = (*Tracker)(nil)

// Snapshot returns the view as of the end of the last pass.
func (t *Tracker) Snapshot() *tcp.Snapshot { return t.snapshot.Load() }

// Apply merges a batch. It keeps nothing of the batch but the processes it
// points to.
func (t *Tracker) Apply(b *tcp.Batch) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now = b.Time
	t.clock.Store(b.Time.Boot)
	t.lately.expire(b.Time.Boot)
	for _, p := range b.Processes {
		t.processes.put(p, b.Time.Boot)
	}
	for i := range b.Observations {
		t.observe(b, &b.Observations[i])
	}
	if b.Lost.Any() {
		t.lost(b)
	}
	if n := len(b.Observations); b.Pass.Kind == tcp.PassEvents && n > 0 {
		t.hear(b.Observations[n-1].Time)
	}
	if b.Pass.End {
		t.hear(b.Pass.Begin)
		t.endPass(b)
		t.publish()
	}
	t.wake()
	return nil
}

func (t *Tracker) hear(until tcp.Stamp) {
	if until.Boot > t.heard.Boot {
		t.heard = until
	}
}

// HeardUntil returns the moment up to which the source has told what happened:
// the time of its newest event, or of the last pass. A busy machine may be behind
// with it, an idle one by the time between two passes.
func (t *Tracker) HeardUntil() tcp.Stamp {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.heard
}

// End closes the stream of events: readers get what waits and then io.EOF.
func (t *Tracker) End() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.publish()
	for _, s := range t.subs {
		s.End(nil)
	}
}

// observe merges one observation.
func (t *Tracker) observe(b *tcp.Batch, o *tcp.Observation) {
	e := t.table.find(o)
	switch {
	case o.Kind == tcp.SeenClosed:
		t.observeClosed(b, e, o)
	case e == nil:
		if e = t.observeNew(b, o); e != nil {
			t.happened(e, o)
		}
	default:
		t.observeKnown(b, e, o)
	}
}

// observeNew begins to follow a socket. It returns the entry of a connection,
// nil for anything else.
func (t *Tracker) observeNew(b *tcp.Batch, o *tcp.Observation) *entry {
	closed := t.tombs.find(o)
	switch {
	case o.Mini && o.State == tcp.SynRecv:
		t.addHalfOpen(b, o)
		return nil
	case o.Mini:
		if closed == nil && o.Cookie == 0 {
			closed = t.closeByRemnant(o)
		}
		t.addRemnant(b, o, closed)
		return nil
	case closed != nil:
		return nil // the dump read the socket before its close
	}
	e := t.add(b, o)
	if e == nil || e.role != roleConn {
		return nil
	}
	c := e.conn
	switch {
	case !o.Opened.IsZero():
		c.Opened, c.OpenedExact = o.Opened, true
	case b.Source == tcp.SourceEBPF || !t.passed[o.NetNS]:
		// It is older than the observation: its opening is unknown, and not an
		// event.
		e.opened, e.established = true, o.State != tcp.SynSent
	default:
		c.Opened = o.Time
	}
	t.announce(e, o)
	return e
}

// happened tells of what an observation reports beside the state.
func (t *Tracker) happened(e *entry, o *tcp.Observation) {
	switch o.Kind {
	case tcp.SeenRetransmit:
		t.emit(tcp.Event{Time: o.Time, Type: tcp.EventRetransmit}, e)
	case tcp.SeenReset:
		t.write(e).SawReset = true
		t.emit(tcp.Event{Time: o.Time, Type: tcp.EventReset, By: o.Reset}, e)
	default:
	}
}

// closeByRemnant ends the connection that a mini-socket was, where the source
// has neither cookies nor closes: only the end that closed first keeps one.
func (t *Tracker) closeByRemnant(o *tcp.Observation) *tcp.Conn {
	for e := range t.table.ofTuple(&o.Tuple) {
		if e.role != roleConn || e.conn.NetNS != o.NetNS || e.conn.Cookie != 0 {
			continue
		}
		c := t.write(e)
		c.State, c.Closed, c.Complete = tcp.Closed, o.Time, false
		c.ClosedBy, c.Reason = tcp.SideLocal, tcp.CloseFIN
		t.close(e, false)
		return e.conn
	}
	return nil
}

// announce tells of an opening and, when the handshake is done, of that.
func (t *Tracker) announce(e *entry, o *tcp.Observation) {
	if !e.opened {
		e.opened = true
		at := e.conn.Opened
		if at.IsZero() {
			at = o.Time
		}
		t.emit(tcp.Event{Time: at, Type: tcp.EventOpened}, e)
	}
	if !e.established && o.State != tcp.SynSent && o.State != tcp.SynRecv && o.State != tcp.Closed {
		e.established = true
		t.stats.Established++
		at := o.Time
		if c := e.conn; c.Has&tcp.HasHandshake != 0 && c.OpenedExact {
			at = c.Opened.Add(time.Duration(c.Handshake) * time.Microsecond)
		}
		t.emit(tcp.Event{Time: at, Type: tcp.EventEstablished}, e)
	}
}

// observeKnown updates a socket that is followed already.
func (t *Tracker) observeKnown(b *tcp.Batch, e *entry, o *tcp.Observation) {
	if o.Kind == tcp.Seen && b.Pass.Begin.Boot < e.notBefore {
		return // the pass began before an event that knows better
	}
	if o.Mini && e.role == roleConn {
		// What is left of a connection whose close is on its way, or lost: then
		// full passes, which do not show the full socket, end it.
		return
	}
	if b.Pass.Kind != tcp.PassEvents {
		e.seenPass = b.Pass.Begin.Boot
	}
	e.missed = false
	switch {
	case !o.Mini && e.role == roleHalfOpen:
		t.promote(b, e, o)
		return
	case !o.Mini && e.role == roleRemnant:
		return
	}
	was := e.conn.State
	t.merge(b, e, o)
	if e.role != roleConn {
		return
	}
	if e.conn.Opened.IsZero() && !o.Opened.IsZero() {
		c := t.write(e)
		c.Opened, c.OpenedExact = o.Opened, true
	}
	told := e.established
	t.announce(e, o)
	if told && e.conn.State != was {
		t.emit(tcp.Event{Time: o.Time, Type: tcp.EventChanged}, e)
	}
	t.happened(e, o)
}

// promote turns a request socket into the connection that it became.
func (t *Tracker) promote(b *tcp.Batch, e *entry, o *tcp.Observation) {
	t.remove(e)
	if e = t.observeNew(b, o); e != nil {
		t.happened(e, o)
	}
}

// observeClosed ends a connection.
func (t *Tracker) observeClosed(b *tcp.Batch, e *entry, o *tcp.Observation) {
	if o.WasListening {
		if e != nil {
			t.remove(e)
			t.tombs.add(e.conn, o.Time.Boot)
		}
		return
	}
	if e == nil && t.tombs.find(o) != nil {
		return // already closed: the event fires once
	}
	if e != nil && e.role != roleConn {
		// A request or a remnant cannot close; this is the connection itself.
		t.remove(e)
		e = nil
	}
	if e == nil {
		if e = t.add(b, o); e == nil {
			return
		}
		if o.Opened.IsZero() {
			// Nothing saw it open. Tell of the close alone.
			e.opened, e.established = true, true
		}
	} else {
		t.merge(b, e, o)
	}
	c := t.write(e)
	if c.Opened.IsZero() && !o.Opened.IsZero() {
		c.Opened, c.OpenedExact = o.Opened, true
	}
	was := *o
	was.State = tcp.SynSent
	if o.Has&tcp.HasHandshake != 0 {
		was.State = tcp.Established
	}
	t.announce(e, &was)
	c = t.write(e)
	c.State = tcp.Closed
	c.Closed = o.Time
	c.Reason = o.Reason
	if o.Reset != tcp.SideUnknown {
		c.SawReset = true
	}
	if o.Inexact {
		c.Complete = false
	}
	c.ClosedBy = closedBy(c.ClosedBy, o)
	t.close(e, false)
}

// closedBy finds the side that ended the connection first.
func closedBy(known tcp.Side, o *tcp.Observation) tcp.Side {
	switch {
	case o.FirstFIN != tcp.SideUnknown:
		return o.FirstFIN
	case known != tcp.SideUnknown:
		return known
	case o.Reset != tcp.SideUnknown:
		return o.Reset
	}
	switch o.Reason {
	case tcp.CloseRSTSent, tcp.CloseAborted, tcp.CloseTimeout, tcp.CloseUnreachable:
		return tcp.SideLocal
	case tcp.CloseRSTReceived, tcp.CloseRefused:
		return tcp.SideRemote
	default:
		return tcp.SideUnknown
	}
}

// close takes an ended connection out of the table and tells of it.
func (t *Tracker) close(e *entry, vanished bool) {
	if vanished {
		t.stats.Vanished++
	} else {
		t.stats.Closed++
	}
	t.remove(e)
	t.tombs.add(e.conn, t.now.Boot)
	t.lately.add(e.conn, t.now.Boot)
	t.emit(tcp.Event{Time: e.conn.Closed, Type: tcp.EventClosed}, e)
}

// lost accounts for what a source had to drop.
func (t *Tracker) lost(b *tcp.Batch) {
	l := &t.stats.Lost
	l.Closes += b.Lost.Closes
	l.BytesSent += b.Lost.BytesSent
	l.BytesReceived += b.Lost.BytesReceived
	l.Events += b.Lost.Events
	l.Unknown = l.Unknown || b.Lost.Unknown
	where := "ring"
	if b.Source == tcp.SourceNetlink {
		where = "netlink"
	}
	t.emit(tcp.Event{Time: b.Time, Type: tcp.EventGap, Gap: &tcp.Gap{Loss: b.Lost, Source: b.Source, Where: where}}, nil)
}

// publish makes the present view the snapshot.
func (t *Tracker) publish() {
	t.snapshotSeq++
	t.table.published = t.snapshotSeq
	s := t.stats
	s.Open, s.Listening, s.Remnants, s.HalfOpen = t.table.count[roleConn], t.table.count[roleListener], t.table.count[roleRemnant], t.table.count[roleHalfOpen]
	t.snapshot.Store(&tcp.Snapshot{
		Seq:   t.snapshotSeq,
		Time:  t.now,
		Conns: append([]*tcp.Conn(nil), t.table.conns...),
		Stats: s,
	})
}
