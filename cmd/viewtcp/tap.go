package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/viewtcp/viewtcp/internal/analysis"
	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// tapConfig is an interface without sockets of its own: a SPAN port or a tap.
type tapConfig struct {
	iface string
	// localNets are the networks whose addresses are the local end.
	localNets []string
}

func (c tapConfig) equal(o tapConfig) bool {
	return c.iface == o.iface && slices.Equal(c.localNets, o.localNets)
}

// A tap makes connections of the packets of one interface, while serve runs. They
// carry its name as observer and never meet the host's own: those have sockets.
type tap struct {
	tapConfig
	local      func(tcp.Addr) bool
	log        *slog.Logger
	engine     store.Appender // nil is none
	host, boot string
	ids        tcp.IDs
	do         func(func()) error // inside the namespace; nil is the own one

	mu       sync.Mutex // guards what follows but for the capture and snapshot
	analyzer *analysis.Analyzer
	conns    map[uint32]*tapConn // by stream
	events   []tcp.Event
	seq      uint64
	counts   tapCounts

	live     *capture.Live // of the goroutine that reads, and Stats
	whole    capture.Reassembler
	frame    capture.Frame
	segment  capture.Segment
	verdict  analysis.Packet
	snapshot atomic.Pointer[tcp.Snapshot]

	builder *store.Builder
	batch   store.Batch
	waiting bool // batch was not acknowledged yet
}

// tapCounts are what became of frames: seen = segments + others.
type tapCounts struct {
	frames, segments, others, dropped, opened, ended, rows, lost uint64
}

// tapConn is a connection as it was last shown.
type tapConn struct {
	row  *tcp.Conn
	last int64
}

const (
	// tapEvery is how often connections of a tap are shown and made rows of.
	tapEvery = time.Second
	// tapAgain is the time between the end of a capture and the next attempt.
	tapAgain = 5 * time.Second
	// tapSnaplen is what is looked at of a frame: headers, and names in the first
	// segments.
	tapSnaplen = 512
	// tapBlock is how much the kernel hands over at once, bytes.
	tapBlock = 128 << 10
	// tapStops bounds the time in which the last rows of a tap are kept.
	tapStops = time.Second
)

// newTap prepares a tap.
func newTap(c tapConfig, engine store.Appender, log *slog.Logger) (*tap, error) {
	local, err := localNet(c.localNets)
	if err != nil {
		return nil, err
	}
	t := &tap{
		tapConfig: c, local: local, log: log.With("tap", c.iface), engine: engine, host: hostname(), boot: bootID(),
		conns: make(map[uint32]*tapConn),
	}
	t.ids = tcp.NewIDs("tap " + t.boot + " " + t.host + " " + c.iface)
	t.snapshot.Store(&tcp.Snapshot{})
	cfg := analysis.DefaultConfig()
	cfg.MaxConns, cfg.MaxHalfOpen, cfg.Memory = 1<<18, 1<<15, 256<<20
	cfg.HalfOpenTimeout, cfg.IdleTimeout, cfg.ClosedTimeout = time.Minute, 2*time.Hour, 2*time.Second
	cfg.OnEnd = t.ended
	t.analyzer = analysis.New(cfg)
	if engine != nil {
		b := store.DefaultBuilderConfig()
		b.Agent, b.Host, b.BootID = "tap", t.host, t.boot
		t.builder = store.NewBuilder(b)
		t.builder.Start(&tcp.Snapshot{Time: tapStamp(time.Now())}, nil, 0)
	}
	return t, nil
}

// tapStamp is a moment as the rows of packets have it: on one clock.
func tapStamp(at time.Time) tcp.Stamp { return tcp.Stamp{Wall: at.UnixNano(), Boot: at.UnixNano()} }

// open begins to capture.
func (t *tap) open() error {
	cfg := capture.DefaultLiveConfig()
	cfg.Interfaces, cfg.Promiscuous, cfg.Snaplen, cfg.Do = []string{t.iface}, true, tapSnaplen, t.do
	// Many blocks: a reader that stands still for half a minute loses nothing yet.
	cfg.BlockBytes = tapBlock
	f, err := filter.Parse("tcp")
	if err == nil {
		cfg.Filter = f
		t.live, err = capture.OpenLive(cfg)
	}
	return err
}

// run follows the interface until ctx ends. One that is not there, or goes, is
// waited for.
func (t *tap) run(ctx context.Context) {
	defer t.finish()
	ticker := time.NewTicker(tapEvery)
	defer ticker.Stop()
	told := ""
	for ctx.Err() == nil {
		err := t.open()
		if err == nil {
			told = ""
			t.log.Info("connections are made of packets", "local_net", t.localNets)
			err = t.follow(ctx, ticker.C)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil && err.Error() != told {
			told = err.Error()
			t.log.Warn("the tap shows nothing", "err", err, "again_in", tapAgain)
		}
		for again := time.Now().Add(tapAgain); time.Now().Before(again) && ctx.Err() == nil; {
			select {
			case <-ctx.Done():
			case now := <-ticker.C:
				t.tick(ctx, now)
			}
		}
	}
}

// follow reads packets until the capture ends or ctx does.
func (t *tap) follow(ctx context.Context, ticks <-chan time.Time) error {
	ended := make(chan error, 1)
	go func() { ended <- t.read() }()
	stop := ctx.Done()
	for {
		select {
		case <-stop:
			stop = nil
			t.live.Stop()
		case now := <-ticks:
			t.tick(ctx, now)
		case err := <-ended:
			t.countDrops(time.Now())
			err = errors.Join(err, t.live.Close())
			t.mu.Lock()
			t.live, t.counts.dropped = nil, 0
			t.mu.Unlock()
			return err
		}
	}
}

// read takes in packets until the capture is stopped.
func (t *tap) read() error {
	for {
		err := t.live.Next(&t.frame)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		t.mu.Lock()
		t.counts.frames++
		if t.whole.Decode(&t.frame, &t.segment) == capture.TCP {
			t.counts.segments++
			t.analyzer.Add(&t.segment, &t.verdict)
		} else {
			t.counts.others++
		}
		t.mu.Unlock()
	}
}

// row is a connection as it is shown and stored.
func (t *tap) row(c *analysis.Conn) *tcp.Conn {
	row := new(tcp.Conn)
	t.analyzer.Fill(c, t.ids, t.local, row)
	names := tcp.Names{}
	if row.Names != nil {
		names = *row.Names
	}
	names.Host, names.Observer, names.Interface = t.host, t.iface, t.iface
	row.Names = &names
	row.Source = tcp.SourceCapture
	return row
}

// ended takes leave of a connection that the analysis lets go of. t.mu is held.
func (t *tap) ended(c *analysis.Conn) {
	row := t.row(c)
	if row.Closed.IsZero() {
		// Nothing was seen of its end: it may go on elsewhere, or in silence.
		row.Closed, row.State, row.Complete = row.Updated, tcp.Closed, false
	}
	if t.conns[c.Stream] == nil {
		t.event(tcp.EventOpened, row.Opened, row)
	}
	delete(t.conns, c.Stream)
	t.counts.ended++
	t.event(tcp.EventClosed, row.Closed, row)
}

// event notes what the builder is to hear. t.mu is held.
func (t *tap) event(typ tcp.EventType, at tcp.Stamp, row *tcp.Conn) {
	if typ == tcp.EventOpened {
		t.counts.opened++
	}
	if t.builder == nil {
		return
	}
	t.seq++
	t.events = append(t.events, tcp.Event{Seq: t.seq, Time: at, Type: typ, Conn: row})
}

// tick shows the connections as they are now and makes rows of them.
func (t *tap) tick(ctx context.Context, at time.Time) {
	now := tapStamp(at)
	t.countDrops(at)
	t.mu.Lock()
	t.analyzer.Advance(now.Wall)
	list := t.analyzer.Conns()
	s := &tcp.Snapshot{Seq: t.snapshot.Load().Seq + 1, Time: now, Conns: make([]*tcp.Conn, 0, len(list))}
	for _, c := range list {
		known := t.conns[c.Stream]
		if known == nil {
			known = &tapConn{}
			t.conns[c.Stream] = known
		}
		if known.row == nil || known.last != c.Last {
			isNew := known.row == nil
			known.row, known.last = t.row(c), c.Last
			if isNew {
				t.event(tcp.EventOpened, known.row.Opened, known.row)
			}
		}
		if known.row.Closed.IsZero() {
			s.Conns = append(s.Conns, known.row)
		}
	}
	events := t.events
	t.events = nil
	t.mu.Unlock()
	s.Stats.Open = len(s.Conns)
	t.snapshot.Store(s)
	if t.builder == nil {
		return
	}
	for i := range events {
		t.builder.Event(&events[i])
	}
	t.builder.Snapshot(s)
	t.append(ctx)
}

// countDrops tells of packets that the kernel dropped since it was last asked.
func (t *tap) countDrops(at time.Time) {
	if t.live == nil {
		return
	}
	dropped := t.live.Stats().Dropped
	t.mu.Lock()
	defer t.mu.Unlock()
	n := dropped - t.counts.dropped
	if n == 0 || dropped < t.counts.dropped {
		return
	}
	t.counts.dropped = dropped
	t.counts.lost += n
	if t.builder != nil {
		// Of a gap the builder needs no connection.
		t.events = append(t.events, tcp.Event{Time: tapStamp(at), Type: tcp.EventGap, Gap: &tcp.Gap{
			Loss: tcp.Loss{Events: n, Unknown: true}, Source: tcp.SourceCapture, Where: "tap " + t.iface,
		}})
	}
}

// append keeps the rows that wait. What cannot be kept now is tried again at the
// next tick; the builder bounds what gathers meanwhile.
func (t *tap) append(ctx context.Context) {
	if !t.waiting {
		if !t.builder.Take(&t.batch) {
			return
		}
		// Peaks and the begin of observation are those of the host's sockets. A
		// batch of a tap is sent once.
		t.batch.ID, t.batch.Peaks = store.BatchID{}, nil
		t.batch.Events = slices.DeleteFunc(t.batch.Events, func(e store.Event) bool { return e.Type == store.EventObserver })
		if t.batch.Rows() == 0 {
			return
		}
		t.waiting = true
	}
	rows := uint64(t.batch.Rows())
	err := t.engine.Append(ctx, &t.batch)
	switch {
	case err == nil:
		t.mu.Lock()
		t.counts.rows += rows
		t.mu.Unlock()
	case errors.Is(err, store.ErrUnavailable):
		return
	default:
		t.log.Error("rows of a tap are lost", "rows", rows, "err", err)
	}
	t.waiting = false
}

// finish ends all connections and keeps their rows.
func (t *tap) finish() {
	ctx, cancel := context.WithTimeout(context.Background(), tapStops)
	defer cancel()
	t.mu.Lock()
	t.analyzer.Flush()
	t.mu.Unlock()
	t.tick(ctx, time.Now())
	for t.builder != nil && ctx.Err() == nil && (t.waiting || t.builder.Pending() > 0) {
		t.append(ctx)
		if t.waiting {
			select {
			case <-ctx.Done():
			case <-time.After(tapStops / 10):
			}
		}
	}
	if t.waiting {
		t.log.Error("rows of a tap are lost", "rows", t.batch.Rows())
	}
	t.mu.Lock()
	n := t.counts
	t.mu.Unlock()
	t.log.Info("tap ended", "segments", n.segments, "others", n.others, "dropped", n.lost, "connections", n.opened, "rows", n.rows)
}

// tappedView is the host's own connections and beside them those of taps. Events
// and totals are the host's.
type tappedView struct {
	tcp.View
	taps []*tap

	mu   sync.Mutex
	host *tcp.Snapshot
	both *tcp.Snapshot
}

// Snapshot implements tcp.View.
func (v *tappedView) Snapshot() *tcp.Snapshot {
	host := v.View.Snapshot()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.host == host {
		return v.both
	}
	both := *host
	for _, t := range v.taps {
		if s := t.snapshot.Load(); len(s.Conns) > 0 {
			both.Conns = slices.Concat(both.Conns, s.Conns)
		}
	}
	v.host, v.both = host, &both
	return v.both
}

// checkTaps refuses two of one name, which nobody could tell apart.
func checkTaps(taps []tapConfig) error {
	seen := make(map[string]bool)
	for _, t := range taps {
		switch {
		case t.iface == "":
			return errors.New("a tap wants the name of an interface")
		case t.iface == capture.AnyInterface:
			return errors.New("a tap is one interface, not any: its name is the observer of its rows")
		case seen[t.iface]:
			return fmt.Errorf("the tap %s is there twice", t.iface)
		}
		seen[t.iface] = true
		if _, err := localNet(t.localNets); err != nil {
			return err
		}
	}
	return nil
}
