package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/track"
)

// history turns what trackers tell into rows, and hands them to the engine. One
// goroutine makes rows, another one appends them: an engine that cannot write
// stops the second one alone, rows wait within the builder's bounds, and what
// finds no room becomes an event of type gap.
type history struct {
	engine store.Appender
	log    *slog.Logger
	host   string
	boot   string

	trackers chan followed
	passes   chan chan struct{}
	usage    chan []store.Usage
	ending   chan struct{} // closed: take what there is and end
	done     chan struct{} // closed when all rows were handed over
	appended chan struct{} // closed when the writer has ended
	out      chan *store.Batch
	back     chan *store.Batch // batches that were dealt with

	// cancel ends the writer's attempts.
	cancel   context.CancelFunc
	stopOnce sync.Once

	counts historyCounts
	// beat is when rows were last made, nanoseconds since 1970: the watchdog's.
	beat atomic.Int64
}

// historyCounts are what became of rows; at every moment
// taken = appended + lost + in flight.
type historyCounts struct {
	batches, rows, retries atomic.Uint64
	// lost are rows that no engine took, pending those that wait.
	lost, pending atomic.Uint64
}

const (
	// localAgent names the batches that a host makes of itself.
	localAgent = "local"
	// historyBuffer is how many events wait for historyEvery at most.
	historyBuffer = 1 << 17
	// historyEvery is how often events are read, and rows made of them and
	// appended: each time a batch is synced.
	historyEvery = 500 * time.Millisecond
	// keepRows is how large a batch may be to be used again.
	keepRows = 16384
	// appendRetry is the time between two attempts to append a batch.
	appendRetry = time.Second
	// outgoing is how many batches may wait for the writer: one, and the rests of
	// sources that failed.
	outgoing = 4
)

func newHistory(engine store.Appender, host, boot string, log *slog.Logger) *history {
	ctx, cancel := context.WithCancel(context.Background())
	h := &history{
		engine: engine, log: log.With("component", "history"), host: host, boot: boot,
		trackers: make(chan followed), passes: make(chan chan struct{}), usage: make(chan []store.Usage, 16),
		ending: make(chan struct{}), done: make(chan struct{}), appended: make(chan struct{}),
		out: make(chan *store.Batch, outgoing), back: make(chan *store.Batch, outgoing+1), cancel: cancel,
	}
	go h.write(ctx)
	go h.makeRows()
	return h
}

// followed is a tracker that is told of from now on; on is closed when it is.
type followed struct {
	tracker *track.Tracker
	on      chan struct{}
}

// begin makes a tracker the one that is told of. It is called before anything
// reaches the tracker, and returns when no event of it can be missed.
func (h *history) begin(t *track.Tracker) {
	f := followed{t, make(chan struct{})}
	select {
	case h.trackers <- f:
	case <-h.done:
		return
	}
	select {
	case <-f.on:
	case <-h.done:
	}
}

// passed says that the tracker has seen all connections once. It is called by the
// one who feeds the tracker, and returns when the events until then were read.
func (h *history) passed() {
	read := make(chan struct{})
	select {
	case h.passes <- read:
	case <-h.done:
		return
	}
	select {
	case <-read:
	case <-h.done:
	}
}

// addUsage keeps rows of usage with the next batch. What finds no room is dropped
// and counted: they come again.
func (h *history) addUsage(rows []store.Usage) {
	select {
	case h.usage <- rows:
	default:
		h.counts.lost.Add(uint64(len(rows)))
	}
}

// mark puts a note on the timeline; it is durable when mark returns.
func (h *history) mark(ctx context.Context, m store.Mark) error {
	if m.Host == "" {
		m.Host = h.host
	}
	if m.Time == 0 {
		m.Time = time.Now().UnixNano()
	}
	return h.engine.Append(ctx, &store.Batch{Events: []store.Event{m.Event()}})
}

// stop makes rows of what there is and waits until they are appended. What is not
// when ctx ends is lost, counted and told of.
func (h *history) stop(ctx context.Context) {
	h.stopOnce.Do(func() { close(h.ending) })
	stopWaiting := context.AfterFunc(ctx, h.cancel)
	defer stopWaiting()
	<-h.done
	<-h.appended
	h.cancel()
}

// rowMaker is what one goroutine makes rows with.
type rowMaker struct {
	h       *history
	epoch   uint64
	builder *store.Builder // nil until the first pass
	tracker *track.Tracker // nil until there is one
	sub     tcp.Subscription
	seen    *tcp.Snapshot
	events  []tcp.Event
	// over has ended, so that nothing is waited for.
	over context.Context //nolint:containedctx // see above
	// baselines are the last rows of the connections that were open when
	// observation ended, which was at alive.
	baselines []store.Record
	alive     int64
	usage     []store.Usage
	spare     []*store.Batch
	inFlight  int
}

func (h *history) makeRows() {
	defer close(h.done)
	defer close(h.out)
	m := &rowMaker{h: h, spare: []*store.Batch{new(store.Batch)}}
	var end context.CancelFunc
	m.over, end = context.WithCancel(context.Background())
	end()
	last, alive, _ := h.engine.LastBatch(localAgent)
	m.epoch, m.alive, m.baselines = last.Epoch, alive, h.openConns()
	ticker := time.NewTicker(historyEvery)
	defer ticker.Stop()
	for {
		select {
		case f := <-h.trackers:
			m.begin(f.tracker)
			close(f.on)
		case read := <-h.passes:
			m.start()
			close(read)
		case rows := <-h.usage:
			m.usage = append(m.usage, rows...)
		case b := <-h.back:
			m.recycle(b)
		case <-ticker.C:
			m.step()
			h.beat.Store(time.Now().UnixNano())
		case <-h.ending:
			m.end()
			return
		}
	}
}

// openConns copies the last rows of connections that have no end.
func (h *history) openConns() (all []store.Record) {
	err := h.engine.Open(context.Background(), func(r *store.Record) bool {
		own := *r
		own.Conn, own.Deltas = r.Conn.Clone(), nil
		all = append(all, own)
		return true
	})
	if err != nil {
		h.log.Error("connections that were open before cannot be read, their counters begin anew", "err", err)
	}
	return all
}

// begin follows a tracker. The one before it has failed: what it knew last is
// where its connections go on from.
func (m *rowMaker) begin(t *track.Tracker) {
	if m.builder != nil {
		m.finish()
		m.baselines, m.alive = m.lastRows(), m.seen.Time.Wall
		m.builder = nil
	}
	if m.sub != nil {
		m.sub.Close()
	}
	m.tracker, m.sub, m.seen = t, t.Subscribe(historyBuffer), nil
}

// lastRows are the connections that were open at the end, as their last rows show
// them.
func (m *rowMaker) lastRows() (all []store.Record) {
	for _, c := range m.seen.Conns {
		if !c.Open() {
			continue
		}
		frozen := *c
		frozen.Clock, frozen.Updated = nil, m.seen.Time
		all = append(all, store.Record{
			Kind: store.Snapshot, Time: m.seen.Time.Wall, Host: m.h.host, BootID: m.h.boot, Conn: &frozen,
		})
	}
	return all
}

// read takes the events that wait.
func (m *rowMaker) read() {
	clear(m.events)
	// The error says that there are no more, now or ever.
	m.events, _ = m.sub.Next(m.over, m.events[:0])
}

// start begins to make rows, after the first pass.
func (m *rowMaker) start() {
	if m.tracker == nil || m.builder != nil {
		return
	}
	m.read()
	m.seen = m.tracker.Snapshot()
	m.epoch++
	cfg := store.DefaultBuilderConfig()
	cfg.Agent, cfg.Host, cfg.BootID, cfg.Epoch = localAgent, m.h.host, m.h.boot, m.epoch
	m.builder = store.NewBuilder(cfg)
	m.builder.Start(atStart(m.seen, m.events), m.baselines, m.alive)
	m.baselines = nil
	for i := range m.events {
		m.builder.Event(&m.events[i])
	}
}

// atStart is what there was before the first of the events, as far as the first
// snapshot and they tell: without those that they opened, which begin with all of
// their bytes, and with those that they closed, so that their ends go on from
// what was known of them.
func atStart(s *tcp.Snapshot, events []tcp.Event) *tcp.Snapshot {
	opened := make(map[tcp.ID]bool)
	for i := range events {
		if events[i].Type == tcp.EventOpened {
			opened[events[i].Conn.ID] = true
		}
	}
	first := &tcp.Snapshot{Time: s.Time, Stats: s.Stats}
	for _, c := range s.Conns {
		if !opened[c.ID] {
			first.Conns = append(first.Conns, c)
		}
	}
	for i := range events {
		c := events[i].Conn
		if events[i].Type != tcp.EventClosed || opened[c.ID] || c.Direction == tcp.Listening {
			continue
		}
		was := *c
		was.Closed, was.State = tcp.Stamp{}, tcp.Established
		first.Conns = append(first.Conns, &was)
	}
	return first
}

// step reads what happened and hands over rows that have waited long enough.
func (m *rowMaker) step() {
	if m.builder != nil {
		m.read()
		for i := range m.events {
			m.builder.Event(&m.events[i])
		}
		if s := m.tracker.Snapshot(); s != m.seen {
			m.seen = s
			m.builder.Snapshot(s)
		}
	}
	if m.inFlight == 0 {
		m.take()
	}
	m.h.counts.pending.Store(uint64(m.pending()))
}

func (m *rowMaker) pending() (n int) {
	if m.builder != nil {
		n = m.builder.Pending()
	}
	return n + len(m.usage)
}

// take hands the rows that wait to the writer.
func (m *rowMaker) take() {
	b := new(store.Batch)
	if n := len(m.spare); n > 0 {
		b, m.spare = m.spare[n-1], m.spare[:n-1]
	}
	some := m.builder != nil && m.builder.Take(b)
	if !some {
		b.Reset()
	}
	b.Usage = append(b.Usage, m.usage...)
	m.usage = m.usage[:0]
	if !some && len(b.Usage) == 0 {
		m.spare = append(m.spare, b)
		return
	}
	m.inFlight++
	m.h.out <- b
}

// recycle takes a batch back that the writer is done with.
func (m *rowMaker) recycle(b *store.Batch) {
	m.inFlight--
	// A large one is rare, and would be held for ever.
	if len(m.spare) == 0 && cap(b.Records) <= keepRows && cap(b.Samples) <= keepRows {
		m.spare = append(m.spare, b)
	}
}

// finish takes all that the tracker told and ends its rows.
func (m *rowMaker) finish() {
	m.read()
	for i := range m.events {
		m.builder.Event(&m.events[i])
	}
	m.seen = m.tracker.Snapshot()
	m.builder.Stop(m.seen)
	for m.inFlight >= outgoing {
		m.recycle(<-m.h.back)
	}
	m.take()
}

func (m *rowMaker) end() {
	if m.sub != nil {
		defer m.sub.Close()
	}
	if m.builder != nil {
		m.finish()
	}
	for {
		select {
		case rows := <-m.h.usage:
			m.usage = append(m.usage, rows...)
			continue
		default:
		}
		break
	}
	if len(m.usage) > 0 {
		m.builder = nil
		for m.inFlight >= outgoing {
			m.recycle(<-m.h.back)
		}
		m.take()
	}
}

// write appends batches one after the other until there are no more. When ctx
// ends what is left is counted as lost.
func (h *history) write(ctx context.Context) {
	defer close(h.appended)
	for b := range h.out {
		rows := uint64(b.Rows())
		if err := h.append(ctx, b); err != nil {
			h.counts.lost.Add(rows)
			h.log.Error("rows are lost", "rows", rows, "err", err)
		} else {
			h.counts.batches.Add(1)
			h.counts.rows.Add(rows)
		}
		select {
		case h.back <- b:
		case <-h.done: // nobody takes it any more
		}
	}
}

// append appends one batch, however often it takes.
func (h *history) append(ctx context.Context, b *store.Batch) error {
	for tries := 0; ; tries++ {
		err := h.engine.Append(ctx, b)
		switch {
		case err == nil && tries > 0:
			h.log.Info("history is written again", "tries", tries+1)
			return nil
		case err == nil:
			return nil
		case ctx.Err() != nil, !errors.Is(err, store.ErrUnavailable):
			return err
		}
		h.counts.retries.Add(1)
		if tries == 0 {
			h.log.Warn("history cannot be written, rows wait", "rows", b.Rows(), "err", err)
		}
		timer := time.NewTimer(appendRetry)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}
