package store

import (
	"time"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// BuilderConfig says what a Builder makes of what it is told.
type BuilderConfig struct {
	// Agent and Epoch begin the id of each batch; Host and BootID go into each
	// row. Epoch must be higher than that of any earlier run of the agent.
	Agent, Host, BootID string
	Epoch               uint64
	// Rows is how often a connection that moves data gets a row, by its age; each
	// is a multiple of a minute.
	Rows []Cadence
	// MinAge is how old a connection is when it gets its first row while open.
	MinAge time.Duration
	// Lead is how long before the end of a minute its rows are taken: the time
	// between two snapshots, so that what moved in a minute is told within it.
	Lead time.Duration
	// Samples is how often a connection that moves data gets a sample, by its
	// age; SampleAge is how old it must be.
	Samples   []Cadence
	SampleAge time.Duration
	// Grace is how late events may come after later ones.
	Grace time.Duration
	// Burst is how many retransmissions of a connection between two snapshots
	// make an event.
	Burst uint64
	// MaxPending bounds the rows that wait to be taken. Beyond it connections
	// get no rows while they go on, which loses nothing, and ends are counted in
	// an event of type gap.
	MaxPending int
}

// Cadence is how often something is done from an age on.
type Cadence struct {
	Age, Every time.Duration
}

// DefaultBuilderConfig returns what suits a host whose snapshots come each
// second. Agent, Host, BootID and Epoch are the caller's.
func DefaultBuilderConfig() BuilderConfig {
	return BuilderConfig{
		Rows:   []Cadence{{0, time.Minute}, {time.Hour, 5 * time.Minute}},
		MinAge: 10 * time.Second, Lead: time.Second,
		Samples:   []Cadence{{0, time.Second}, {time.Minute, 10 * time.Second}, {10 * time.Minute, time.Minute}},
		SampleAge: 5 * time.Second, Grace: 2 * time.Second, Burst: 3, MaxPending: 1 << 18,
	}
}

func every(rs []Cadence, age time.Duration) time.Duration {
	var d time.Duration
	for _, r := range rs {
		if age >= r.Age {
			d = r.Every
		}
	}
	return d
}

// A Builder turns a tracker's events and snapshots into the rows of history. It is
// not safe for concurrent use. Records that it makes share the tracker's
// connections, which are immutable.
//
// Start comes first, then Event and Snapshot in the order in which the tracker
// told of them, Take whenever there is something to store, and Stop.
type Builder struct {
	cfg      BuilderConfig
	sequence uint64
	batch    Batch
	open     map[tcp.ID]*openConn
	peaks    peakMeter
	// now is the newest time seen; minute the start of the minute that rows were
	// last taken in.
	now, minute int64
	lost        lostRows
}

// An openConn is what a Builder remembers of a connection that is open.
type openConn struct {
	// base is where the counters stood at since; 0 is at the opening.
	base  Counters
	since int64
	// row is when it got its last row; 0 is never.
	row int64
	// sample is when it got its last sample, sampled where the counters stood.
	sample      int64
	sampled     Counters
	retransmits uint64
	groups      peakGroups
}

// lostRows counts ends that found no room.
type lostRows struct {
	closes, sent, received uint64
	since                  int64
}

// NewBuilder returns a Builder that makes rows by cfg.
func NewBuilder(cfg BuilderConfig) *Builder {
	return &Builder{cfg: cfg, open: make(map[tcp.ID]*openConn), peaks: newPeakMeter(cfg.Host)}
}

// Start begins with the first snapshot that shows all connections. Events come
// after it: the caller leaves out those that the snapshot shows already, as a
// tracker numbers its events and its snapshots apart. baselines are the last rows of connections that were open
// when observation ended, alive is when that was; 0 is never. A connection that
// goes on continues from its baseline, so that nothing is counted twice; one that
// is gone gets its end, at alive and not complete; and the time between becomes a
// gap. Bytes that moved before ViewTCP first saw a connection are not counted.
func (b *Builder) Start(s *tcp.Snapshot, baselines []Record, alive int64) {
	b.now = s.Time.Wall
	b.minute = b.now - mod(b.now, Minute)
	b.peaks.start(b.now)
	was := make(map[tcp.ID]*Record, len(baselines))
	for i := range baselines {
		if r := &baselines[i]; r.Host == b.cfg.Host {
			was[r.Conn.ID] = r
		}
	}
	for _, c := range s.Conns {
		if !c.Open() {
			continue
		}
		o := &openConn{base: CountersOf(c), since: b.now, sample: b.now, sampled: CountersOf(c)}
		if r := was[c.ID]; r != nil {
			o.base, o.since, o.row = CountersOf(r.Conn), r.Time, r.Time
			delete(was, c.ID)
		}
		b.add(c, o, b.now)
	}
	for i := range baselines {
		if r := &baselines[i]; was[r.Conn.ID] == r {
			b.batch.Records = append(b.batch.Records, vanished(r, alive))
		}
	}
	if alive != 0 && b.now > alive {
		b.event(Event{
			Time: b.now, Since: alive, Type: tcp.EventGap.String(), Where: "observer", Unknown: true,
			Text: "nobody was watching",
		})
	}
	b.event(Event{Time: b.now, Type: EventObserver, Text: "start", Count: 1})
}

// vanished is the end of a connection that ended while nobody watched.
func vanished(r *Record, alive int64) Record {
	c := *r.Conn
	end := max(alive, r.Time)
	c.Closed = tcp.Stamp{Wall: end, Boot: c.Updated.Boot + end - r.Time}
	c.Updated, c.State, c.Complete = c.Closed, tcp.Closed, false
	c.Reason, c.ClosedBy = tcp.CloseUnknown, tcp.SideUnknown
	return Record{
		Kind: Close, Time: end, Since: r.Time, Host: r.Host, BootID: r.BootID, Conn: &c, Deltas: new(Counters),
	}
}

func (b *Builder) add(c *tcp.Conn, o *openConn, at int64) {
	o.groups = b.peaks.groupsOf(c)
	b.peaks.move(at, o.groups, 1)
	b.open[c.ID] = o
}

// Event takes one event of the tracker.
func (b *Builder) Event(ev *tcp.Event) {
	b.now = max(b.now, ev.Time.Wall)
	switch ev.Type {
	case tcp.EventOpened, tcp.EventEstablished, tcp.EventChanged:
		b.changed(ev)
	case tcp.EventClosed:
		b.closed(ev)
	case tcp.EventRetransmit:
		if o := b.open[ev.Conn.ID]; o != nil {
			o.retransmits++
		}
	case tcp.EventReset:
		b.event(Event{Time: ev.Time.Wall, Type: ev.Type.String(), ID: ev.Conn.ID, By: ev.By.String(), Count: 1})
	case tcp.EventGap:
		e := Event{Time: ev.Time.Wall, Type: ev.Type.String()}
		if g := ev.Gap; g != nil {
			e.Source, e.Where, e.Count = g.Source.String(), g.Where, g.Events+g.Skipped
			e.Closes, e.BytesSent, e.BytesReceived, e.Unknown = g.Closes, g.BytesSent, g.BytesReceived, g.Unknown
		}
		b.event(e)
	}
}

// changed follows a connection that was opened or is called otherwise now.
func (b *Builder) changed(ev *tcp.Event) {
	c := ev.Conn
	if !c.Open() {
		return
	}
	o := b.open[c.ID]
	if o == nil {
		at := ev.Time.Wall
		if c.Opened.Wall != 0 {
			at = min(at, c.Opened.Wall)
		}
		b.add(c, &openConn{sample: at}, at)
		return
	}
	if g := b.peaks.groupsOf(c); g != o.groups {
		b.peaks.move(ev.Time.Wall, o.groups, -1)
		b.peaks.move(ev.Time.Wall, g, 1)
		o.groups = g
	}
}

func (b *Builder) closed(ev *tcp.Event) {
	c := ev.Conn
	if c.State == tcp.Listen || c.Direction == tcp.Listening {
		return
	}
	at := c.Closed.Wall
	if at == 0 {
		at = ev.Time.Wall
	}
	o := b.open[c.ID]
	if o != nil {
		delete(b.open, c.ID)
		b.burst(c.ID, o, at)
	} else {
		// Its opening was lost on the way here.
		o = &openConn{groups: b.peaks.groupsOf(c)}
		opened := at
		if c.Opened.Wall != 0 {
			opened = min(at, c.Opened.Wall)
		}
		b.peaks.move(opened, o.groups, 1)
	}
	b.peaks.move(at, o.groups, -1)
	r := Record{Kind: Close, Time: at, Host: b.cfg.Host, BootID: b.cfg.BootID, Conn: c}
	o.cover(&r)
	if b.full() {
		if b.lost.closes == 0 {
			b.lost.since = at
		}
		b.lost.closes++
		sent, _ := r.Delta(BytesSent)
		received, _ := r.Delta(BytesReceived)
		b.lost.sent += sent
		b.lost.received += received
		return
	}
	b.batch.Records = append(b.batch.Records, r)
}

// cover says what time a row covers, and what moved in it.
func (o *openConn) cover(r *Record) {
	if o.since != 0 {
		all := CountersOf(r.Conn)
		d := all.Since(&o.base)
		r.Since, r.Deltas = o.since, &d
	}
}

// Snapshot takes the state of all connections, about once a second. Each second
// that it does not come makes samples coarser and loses nothing else.
func (b *Builder) Snapshot(s *tcp.Snapshot) {
	now := s.Time.Wall
	b.now = max(b.now, now)
	minute := now + int64(b.cfg.Lead)
	minute -= mod(minute, Minute)
	rows := minute != b.minute
	b.minute = minute
	for _, c := range s.Conns {
		if !c.Open() {
			continue
		}
		o := b.open[c.ID]
		if o == nil {
			// The event of its opening is still on its way, or was lost: then its
			// end makes good for it.
			continue
		}
		b.follow(c, o, s.Time, rows)
	}
	b.tellLost()
	b.batch.Peaks = b.peaks.finish(b.batch.Peaks, now-int64(b.cfg.Grace))
}

// follow gives a connection its sample and its row if they are due.
func (b *Builder) follow(c *tcp.Conn, o *openConn, at tcp.Stamp, rows bool) {
	now := at.Wall
	b.burst(c.ID, o, now)
	age := time.Duration(1 << 62) // of connections whose opening nobody saw
	if d, ok := c.Duration(); ok {
		age = d
	}
	if age >= b.cfg.SampleAge && now-o.sample >= int64(every(b.cfg.Samples, age)) {
		b.sample(c, o, now)
	}
	if !rows || age < b.cfg.MinAge || b.full() {
		return
	}
	all := CountersOf(c)
	switch {
	case o.row == 0, day(o.row) != day(now): // the first, and one a day
	case all != o.base && now-o.row >= int64(every(b.cfg.Rows, age)-30*time.Second):
	default:
		return
	}
	// The tracker's clock moves on; the row does not.
	frozen := *c
	frozen.Clock, frozen.Updated = nil, at
	r := Record{Kind: Snapshot, Time: now, Host: b.cfg.Host, BootID: b.cfg.BootID, Conn: &frozen}
	o.cover(&r)
	b.batch.Records = append(b.batch.Records, r)
	o.base, o.since, o.row = all, now, now
}

func (b *Builder) sample(c *tcp.Conn, o *openConn, now int64) {
	all := CountersOf(c)
	d := all.Since(&o.sampled)
	span := now - o.sample
	o.sample, o.sampled = now, all
	if d[BytesSent]|d[BytesReceived]|d[Retransmits] == 0 || span <= 0 || b.full() {
		return
	}
	rate := func(n uint64) uint64 { return uint64(float64(n) * 1e9 / float64(span)) }
	gauge := func(bit tcp.Has, v uint32) uint64 {
		if c.Has&bit == 0 {
			return 0
		}
		return uint64(v)
	}
	m := &c.Metrics
	s := Sample{
		Time: now, Span: uint64(span) / 1000, ID: c.ID, Host: b.cfg.Host,
		SendRate: rate(d[BytesSent]), ReceiveRate: rate(d[BytesReceived]), Retransmits: d[Retransmits],
		RTT: gauge(tcp.HasRTT, m.RTT), RTTVar: gauge(tcp.HasRTT, m.RTTVar), CWND: gauge(tcp.HasCWND, m.CWND),
		SndWnd: gauge(tcp.HasSndWnd, m.SndWnd), RcvWnd: gauge(tcp.HasRcvWnd, m.RcvWnd),
		Unacked: gauge(tcp.HasUnacked, m.Unacked), SendQueue: gauge(tcp.HasSendQueue, m.SendQueue),
	}
	if c.Has&tcp.HasDeliveryRate != 0 {
		s.DeliveryRate = m.DeliveryRate
	}
	b.batch.Samples = append(b.batch.Samples, s)
}

// burst tells of many retransmissions since the snapshot before.
func (b *Builder) burst(id tcp.ID, o *openConn, now int64) {
	if o.retransmits >= b.cfg.Burst && b.cfg.Burst > 0 {
		b.event(Event{Time: now, Type: tcp.EventRetransmit.String(), ID: id, Count: o.retransmits})
	}
	o.retransmits = 0
}

func (b *Builder) event(e Event) {
	if e.Host == "" {
		e.Host = b.cfg.Host
	}
	if b.full() && e.Type != tcp.EventGap.String() {
		return
	}
	b.batch.Events = append(b.batch.Events, e)
}

// Mark puts a note on the timeline.
func (b *Builder) Mark(m Mark) { b.event(m.Event()) }

// full reports whether so much waits that no more is taken in.
func (b *Builder) full() bool { return b.batch.Rows() >= b.cfg.MaxPending }

// tellLost makes a gap of the ends that found no room, when there is room again.
func (b *Builder) tellLost() {
	if b.lost.closes == 0 || b.full() {
		return
	}
	b.event(Event{
		Time: b.now, Since: b.lost.since, Type: tcp.EventGap.String(), Where: "store",
		Closes: b.lost.closes, BytesSent: b.lost.sent, BytesReceived: b.lost.received,
	})
	b.lost = lostRows{}
}

// Pending is how many rows wait to be taken.
func (b *Builder) Pending() int { return b.batch.Rows() }

// Take moves all rows that wait into dst, which is overwritten, and numbers the
// batch; it returns false, having changed nothing, when there are none. The batch
// must be appended before the next one, as it is, until it is acknowledged.
func (b *Builder) Take(dst *Batch) bool {
	if b.batch.Rows() == 0 {
		return false
	}
	b.sequence++
	dst.Reset()
	*dst, b.batch = b.batch, *dst
	dst.ID = BatchID{Agent: b.cfg.Agent, Epoch: b.cfg.Epoch, Sequence: b.sequence}
	dst.Time = b.now
	return true
}

// Stop ends the observation at a time: connections that are open get their newest
// row, so that the next start goes on from there, and the peaks of the interval
// that was begun are told.
func (b *Builder) Stop(s *tcp.Snapshot) {
	for _, c := range s.Conns {
		o := b.open[c.ID]
		if o == nil || !c.Open() || CountersOf(c) == o.base && o.row != 0 {
			continue
		}
		frozen := *c
		frozen.Clock, frozen.Updated = nil, s.Time
		r := Record{Kind: Snapshot, Time: s.Time.Wall, Host: b.cfg.Host, BootID: b.cfg.BootID, Conn: &frozen}
		o.cover(&r)
		b.batch.Records = append(b.batch.Records, r)
		o.base, o.since, o.row = CountersOf(c), r.Time, r.Time
	}
	b.now = max(b.now, s.Time.Wall)
	b.tellLost()
	b.batch.Peaks = b.peaks.stop(b.batch.Peaks, b.now)
	b.batch.Events = append(b.batch.Events, Event{Time: b.now, Type: EventObserver, Host: b.cfg.Host, Text: "stop", Count: 1})
}

func day(nanos int64) int64 { return (nanos - mod(nanos, 24*Hour)) / (24 * Hour) }

// mod is the remainder that is never negative.
func mod(a, b int64) int64 { return ((a % b) + b) % b }
