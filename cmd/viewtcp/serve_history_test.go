package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/track"
)

// fakeEngine keeps rows in memory, and refuses them as a disk would.
type fakeEngine struct {
	store.Appender
	mu       sync.Mutex
	refuse   error            // guarded by mu
	records  []store.Record   // guarded by mu
	events   []store.Event    // guarded by mu
	usage    int              // guarded by mu
	ids      []store.BatchID  // guarded by mu
	open     []store.Record   // what Open tells
	last     store.BatchID    // what LastBatch tells
	alive    int64            // likewise
	attempts map[uint64][]int // guarded by mu; rows of a batch, by its number
}

func (f *fakeEngine) Append(_ context.Context, b *store.Batch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.attempts == nil {
		f.attempts = make(map[uint64][]int)
	}
	f.attempts[b.ID.Sequence] = append(f.attempts[b.ID.Sequence], b.Rows())
	if f.refuse != nil {
		return fmt.Errorf("appending: %w", f.refuse)
	}
	f.ids = append(f.ids, b.ID)
	f.records = append(f.records, b.Records...)
	f.events = append(f.events, b.Events...)
	f.usage += len(b.Usage)
	return nil
}

func (f *fakeEngine) Open(_ context.Context, fn func(*store.Record) bool) error {
	for i := range f.open {
		if !fn(&f.open[i]) {
			return nil
		}
	}
	return nil
}

func (f *fakeEngine) LastBatch(string) (store.BatchID, int64, bool) {
	return f.last, f.alive, f.alive != 0
}

func (f *fakeEngine) setRefuse(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = err
}

func (f *fakeEngine) count() (records int, tried bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.records), len(f.attempts) > 0
}

// fakeSource feeds a tracker batches.
type fakeSource struct {
	t    *testing.T
	tr   *track.Tracker
	boot int64
}

const fakeWall = 1_790_000_000_000_000_000

func newFakeSource(t *testing.T) *fakeSource {
	t.Helper()
	cfg := track.DefaultConfig()
	cfg.IDs = tcp.NewIDs("boot")
	return &fakeSource{t: t, tr: track.New(cfg), boot: int64(time.Hour)}
}

func (s *fakeSource) now() tcp.Stamp { return tcp.Stamp{Wall: fakeWall + s.boot, Boot: s.boot} }

// seen is a socket as a source reports it.
func (s *fakeSource) seen(cookie, sent uint64, kind tcp.ObservationKind, opened tcp.Stamp) tcp.Observation {
	o := tcp.Observation{
		Kind: kind, Time: s.now(), Cookie: cookie, State: tcp.Established, Opened: opened,
		Has: tcp.HasBytesSent, Metrics: tcp.Metrics{BytesSent: sent},
	}
	o.NetNS, o.LocalPort, o.RemotePort = 1, uint16(cookie), 80
	if kind == tcp.SeenClosed {
		o.State, o.Reason = tcp.Closed, tcp.CloseFIN
	}
	return o
}

func (s *fakeSource) apply(pass tcp.Pass, os ...tcp.Observation) {
	s.t.Helper()
	s.boot += int64(time.Millisecond)
	if err := s.tr.Apply(&tcp.Batch{Source: tcp.SourceEBPF, Time: s.now(), Pass: pass, Observations: os}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *fakeSource) events(os ...tcp.Observation) { s.apply(tcp.Pass{Kind: tcp.PassEvents}, os...) }

func (s *fakeSource) full(os ...tcp.Observation) {
	s.apply(tcp.Pass{Kind: tcp.PassFull, Begin: s.now(), End: true}, os...)
}

func (s *fakeSource) id(cookie uint64) tcp.ID { return tcp.NewIDs("boot").Socket(1, cookie) }

func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

// sumOf is what the rows of a connection say that it sent, and how many are ends.
func sumOf(f *fakeEngine, id tcp.ID) (sent uint64, closes int) {
	var rows []store.Record
	for i := range f.records {
		if f.records[i].Conn.ID == id {
			rows = append(rows, f.records[i])
		}
	}
	for i := range rows {
		s, _ := rows[i].Delta(store.BytesSent)
		sent += s
		if rows[i].Kind == store.Close {
			closes++
		}
	}
	return sent, closes
}

// TestHistoryStart: what happened while the source looked for the first time is
// counted once: connections that go on from before, that are older than anybody
// knows, that began and that ended then.
func TestHistoryStart(t *testing.T) {
	s := newFakeSource(t)
	baseline := func(cookie, sent uint64) store.Record {
		c := &tcp.Conn{Cookie: cookie, ID: s.id(cookie), Has: tcp.HasBytesSent, Metrics: tcp.Metrics{BytesSent: sent}, State: tcp.Established}
		return store.Record{Kind: store.Snapshot, Time: fakeWall, Host: "h", BootID: "b", Conn: c}
	}
	f := &fakeEngine{
		last: store.BatchID{Agent: localAgent, Epoch: 4, Sequence: 9}, alive: fakeWall + 5,
		open: []store.Record{baseline(1, 100), baseline(2, 100), baseline(3, 100)},
	}
	h := newHistory(f, "h", "b", quietLog())
	h.begin(s.tr)
	// 1 goes on; 2 ends before the first pass does; 3 is gone; 4 is old; 5 begins
	// and goes on; 6 begins and ends; 7 is old and ends.
	s.events(s.seen(5, 10, tcp.Seen, s.now()), s.seen(6, 10, tcp.Seen, s.now()), s.seen(6, 20, tcp.SeenClosed, s.now()),
		s.seen(2, 150, tcp.SeenClosed, tcp.Stamp{}), s.seen(7, 500, tcp.SeenClosed, tcp.Stamp{}))
	s.full(s.seen(1, 130, tcp.Seen, tcp.Stamp{}), s.seen(4, 1000, tcp.Seen, tcp.Stamp{}), s.seen(5, 12, tcp.Seen, tcp.Stamp{}))
	h.passed()
	s.events(s.seen(1, 140, tcp.SeenClosed, tcp.Stamp{}), s.seen(4, 1001, tcp.SeenClosed, tcp.Stamp{}), s.seen(5, 40, tcp.SeenClosed, tcp.Stamp{}))
	h.stop(t.Context())

	for cookie, want := range map[uint64]uint64{1: 40, 2: 50, 3: 0, 4: 1, 5: 40, 6: 20, 7: 0} {
		if sent, closes := sumOf(f, s.id(cookie)); sent != want || closes != 1 {
			t.Errorf("connection %d: %d bytes and %d ends, want %d and 1", cookie, sent, closes, want)
		}
	}
	for _, id := range f.ids {
		if id.Agent != localAgent || id.Epoch != 5 {
			t.Errorf("batch %+v of another run", id)
		}
	}
}

// TestHistoryNextSource: a source that fails is followed by another, and what both
// saw is counted once.
func TestHistoryNextSource(t *testing.T) {
	s := newFakeSource(t)
	f := &fakeEngine{}
	h := newHistory(f, "h", "b", quietLog())
	h.begin(s.tr)
	s.full()
	h.passed()
	s.events(s.seen(1, 10, tcp.Seen, s.now()), s.seen(2, 10, tcp.Seen, s.now()))
	s.full(s.seen(1, 30, tcp.Seen, tcp.Stamp{}), s.seen(2, 30, tcp.Seen, tcp.Stamp{}))

	next := newFakeSource(t)
	next.boot = s.boot + int64(5*time.Second)
	h.begin(next.tr)
	next.full(next.seen(1, 70, tcp.Seen, tcp.Stamp{})) // 2 is gone
	h.passed()
	next.events(next.seen(1, 100, tcp.SeenClosed, tcp.Stamp{}))
	h.stop(t.Context())
	for cookie, want := range map[uint64]uint64{1: 100, 2: 30} {
		if sent, closes := sumOf(f, s.id(cookie)); sent != want || closes != 1 {
			t.Errorf("connection %d: %d bytes and %d ends, want %d and 1", cookie, sent, closes, want)
		}
	}
	if !slices.IsSortedFunc(f.ids, func(a, b store.BatchID) int { return int(a.Epoch) - int(b.Epoch) }) || len(f.ids) < 2 || f.ids[len(f.ids)-1].Epoch != 2 {
		t.Errorf("batches %+v", f.ids)
	}
}

// TestHistoryRetries: a batch that is refused is sent again, unchanged, and what
// came meanwhile after it.
func TestHistoryRetries(t *testing.T) {
	s := newFakeSource(t)
	f := &fakeEngine{refuse: store.ErrUnavailable}
	h := newHistory(f, "h", "b", quietLog())
	h.begin(s.tr)
	s.full()
	h.passed()
	end := func(from, to uint64) {
		for c := from; c < to; c++ {
			s.events(s.seen(c, c, tcp.SeenClosed, s.now()))
		}
	}
	end(1, 50)
	await(t, "an attempt", func() bool { _, tried := f.count(); return tried })
	end(50, 90)
	h.addUsage(make([]store.Usage, 3))
	f.setRefuse(nil)
	await(t, "all rows", func() bool { n, _ := f.count(); return n == 89 })
	h.stop(t.Context())
	for c := uint64(1); c < 90; c++ {
		if sent, closes := sumOf(f, s.id(c)); sent != c || closes != 1 {
			t.Errorf("connection %d: %d bytes, %d ends", c, sent, closes)
		}
	}
	for n, rows := range f.attempts {
		if len(slices.Compact(slices.Clone(rows))) != 1 {
			t.Errorf("batch %d had %v rows", n, rows)
		}
	}
	if f.usage != 3 || h.counts.lost.Load() != 0 {
		t.Errorf("%d rows of usage, %d lost", f.usage, h.counts.lost.Load())
	}
}

// await waits for a condition.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for begun := time.Now(); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > time.Minute {
			t.Fatalf("not seen: %s", what)
		}
	}
}

// TestHistoryGivesUp: what cannot be appended until the end is lost, and counted.
func TestHistoryGivesUp(t *testing.T) {
	s := newFakeSource(t)
	f := &fakeEngine{refuse: store.ErrUnavailable}
	var told strings.Builder
	log := slog.New(slog.NewTextHandler(&told, nil))
	h := newHistory(f, "h", "b", log)
	h.begin(s.tr)
	s.full()
	h.passed()
	s.events(s.seen(1, 1, tcp.SeenClosed, s.now()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h.stop(ctx)
	if n := h.counts.lost.Load(); n == 0 || !strings.Contains(told.String(), "rows are lost") {
		t.Errorf("%d lost, %q", n, told.String())
	}
	// A batch that no attempt can save is not tried for ever.
	f = &fakeEngine{refuse: errors.New("not valid")}
	h = newHistory(f, "h", "b", quietLog())
	h.addUsage(make([]store.Usage, 2))
	h.stop(t.Context())
	if n := h.counts.lost.Load(); n != 2 {
		t.Errorf("%d lost, want 2", n)
	}
}
