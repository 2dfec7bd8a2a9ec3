package store_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

const second = int64(time.Second)

// A fakeTracker lives through random connections second by second and tells a
// builder of them as a tracker would: late and out of order within the grace.
type fakeTracker struct {
	rng     *rand.Rand
	now     int64
	seq     uint64
	ids     tcp.IDs
	live    []*tcp.Conn
	builder *store.Builder
	pending []tcp.Event
	truth   []span
	// sent is what moved while somebody watched.
	sent    uint64
	names   []*tcp.Names
	process []*tcp.Process
	opened  int
}

// A span is when a connection was open, as the truth has it.
type span struct {
	id               tcp.ID
	from, to         int64
	service, process string
}

const bootOffset = 1_700_000_000_000_000_000

func stampAt(wall int64) tcp.Stamp { return tcp.Stamp{Wall: wall, Boot: wall - bootOffset} }

func newFakeTracker(seed uint64, begin int64) *fakeTracker {
	f := &fakeTracker{rng: rand.New(rand.NewPCG(seed, 1)), now: begin, ids: tcp.NewIDs("boot")}
	for _, s := range []string{"web", "db", "", "https"} {
		f.names = append(f.names, &tcp.Names{Service: s})
		f.process = append(f.process, &tcp.Process{ProcessID: tcp.ProcessID{PID: 7}, Name: "p-" + s})
	}
	return f
}

func (f *fakeTracker) snapshot() *tcp.Snapshot {
	s := &tcp.Snapshot{Seq: f.seq, Time: stampAt(f.now)}
	for _, c := range f.live {
		cc := *c
		cc.Updated = s.Time
		s.Conns = append(s.Conns, &cc)
	}
	return s
}

func (f *fakeTracker) emit(t tcp.EventType, at int64, c *tcp.Conn) {
	f.seq++
	f.pending = append(f.pending, tcp.Event{Seq: f.seq, Time: stampAt(at), Type: t, Conn: c})
}

// step lives through one second.
func (f *fakeTracker) step(watched bool) {
	for range f.rng.IntN(6) {
		at := f.now + f.rng.Int64N(second)
		k := f.rng.IntN(len(f.names))
		f.opened++
		c := &tcp.Conn{
			Cookie: uint64(f.opened), Opened: stampAt(at), OpenedExact: true, State: tcp.Established,
			Direction: tcp.Inbound, Names: f.names[k], Process: f.process[k], Source: tcp.SourceEBPF,
			Has: tcp.HasBytesSent | tcp.HasBytesReceived | tcp.HasCookie, Complete: true,
		}
		c.ID = f.ids.Socket(1, c.Cookie)
		f.live = append(f.live, c)
		f.emit(tcp.EventOpened, at, c)
	}
	keep := f.live[:0]
	for _, c := range f.live {
		cc := *c
		if f.rng.IntN(3) > 0 {
			n := uint64(f.rng.IntN(5000))
			cc.Metrics.BytesSent += n
			cc.Metrics.BytesReceived += n / 3
			if watched {
				f.sent += n
			}
		}
		if f.rng.IntN(40) != 0 {
			keep = append(keep, &cc)
			continue
		}
		at := max(f.now, cc.Opened.Wall+1) + f.rng.Int64N(second/2)
		cc.Closed, cc.State, cc.Reason, cc.ClosedBy = stampAt(at), tcp.Closed, tcp.CloseFIN, tcp.SideLocal
		f.emit(tcp.EventClosed, at, &cc)
		f.truth = append(f.truth, span{cc.ID, cc.Opened.Wall, at, cc.Names.Service, cc.Process.Name})
	}
	f.live = keep
	f.now += second
}

// deliver hands events over in an order that is only nearly that of their times.
func (f *fakeTracker) deliver() {
	for i := range f.pending {
		f.builder.Event(&f.pending[i])
	}
	f.pending = f.pending[:0]
}

// sweep is the most that overlap within [from, to), by an algorithm of its own:
// at each start inside, and at from, count who is open.
func sweep(spans []span, from, to int64, ok func(*span) bool) uint64 {
	best := uint64(0)
	moments := []int64{from}
	for i := range spans {
		if spans[i].from >= from && spans[i].from < to && ok(&spans[i]) {
			moments = append(moments, spans[i].from)
		}
	}
	for _, m := range moments {
		n := uint64(0)
		for i := range spans {
			if s := &spans[i]; s.from <= m && m < s.to && ok(s) {
				n++
			}
		}
		best = max(best, n)
	}
	return best
}

func take(b *store.Builder, into *store.Batch) {
	var batch store.Batch
	if b.Take(&batch) {
		into.Records = append(into.Records, batch.Records...)
		into.Events = append(into.Events, batch.Events...)
		into.Samples = append(into.Samples, batch.Samples...)
		into.Peaks = append(into.Peaks, batch.Peaks...)
	}
}

func newBuilder(epoch uint64) *store.Builder {
	cfg := store.DefaultBuilderConfig()
	cfg.Agent, cfg.Host, cfg.BootID, cfg.Epoch = "a", "h", "boot", epoch
	return store.NewBuilder(cfg)
}

func TestBuilderCountsOnceOverRestarts(t *testing.T) {
	begin := time.Date(2026, 11, 5, 9, 58, 30, 0, time.UTC).UnixNano()
	f := newFakeTracker(4, begin)
	f.builder = newBuilder(1)
	for range 30 {
		f.step(false) // before anybody watches
	}
	f.pending = nil
	f.builder.Start(f.snapshot(), nil, 0)
	var all store.Batch
	run := func(seconds int) {
		for range seconds {
			f.step(true)
			f.deliver()
			f.builder.Snapshot(f.snapshot())
			take(f.builder, &all)
		}
	}
	run(200)
	// A graceful restart, during which traffic goes on.
	f.builder.Stop(f.snapshot())
	take(f.builder, &all)
	alive := f.now
	for range 20 {
		f.step(true) // a baseline counts what moved meanwhile, if the connection is still there
	}
	f.pending = nil
	stopped := make(map[tcp.ID]bool)
	for _, s := range f.truth {
		stopped[s.id] = true
	}
	baselines := openRecords(all.Records)
	f.builder = newBuilder(2)
	f.builder.Start(f.snapshot(), baselines, alive)
	take(f.builder, &all)
	run(200)
	f.builder.Stop(f.snapshot())
	take(f.builder, &all)

	// The rows of each connection follow one another without a gap or an
	// overlap, and their deltas add up to its counters.
	type total struct{ sum, base, last uint64 }
	totals := make(map[tcp.ID]*total)
	since := make(map[tcp.ID]int64)
	ends := make(map[tcp.ID]int)
	for i := range all.Records {
		r := &all.Records[i]
		id := r.Conn.ID
		d, ok := r.Delta(store.BytesSent)
		if !ok {
			t.Fatalf("no delta of bytes_sent in %s", storetest.Print(store.RecordColumns(), r))
		}
		x := totals[id]
		if x == nil {
			x = &total{base: r.Conn.Metrics.BytesSent - d}
			totals[id] = x
			if r.Since != 0 && r.Since != begin+30*second && r.Since != alive+20*second {
				t.Errorf("first row of a connection begins at %d", r.Since-begin)
			}
		} else if r.Since != since[id] {
			t.Errorf("row begins at %d, the one before ended at %d", r.Since, since[id])
		}
		since[id] = r.Time
		x.sum += d
		x.last = r.Conn.Metrics.BytesSent
		if r.Kind == store.Close {
			ends[id]++
		}
	}
	for id, x := range totals {
		if x.base+x.sum != x.last {
			t.Errorf("connection %s: deltas sum to %d, want %d", id, x.sum, x.last-x.base)
		}
	}
	for _, s := range f.truth {
		if s.to > begin+30*second && s.from < alive && ends[s.id] != 1 {
			t.Errorf("connection %s has %d ends", s.id, ends[s.id])
		}
	}
	// One that ended while nobody watched ended when it was last known alive.
	gone := 0
	for i := range all.Records {
		if r := &all.Records[i]; r.Kind == store.Close && !r.Conn.Complete {
			gone++
			if r.Time != alive || !stopped[r.Conn.ID] {
				t.Errorf("vanished connection: %s", storetest.Print(store.RecordColumns(), r))
			}
		}
	}
	if gone == 0 {
		t.Error("no connection ended between the runs: the test tests nothing")
	}
	gaps := slices.DeleteFunc(slices.Clone(all.Events), func(e store.Event) bool { return e.Type != "gap" })
	if len(gaps) != 1 || gaps[0].Since != alive || gaps[0].Time != alive+20*second {
		t.Errorf("gaps: %+v", gaps)
	}
}

// openRecords is what an engine's Open would tell.
func openRecords(recs []store.Record) []store.Record {
	last := make(map[tcp.ID]store.Record)
	for _, r := range recs {
		if r.Kind == store.Close {
			delete(last, r.Conn.ID)
		} else {
			last[r.Conn.ID] = r
		}
	}
	var out []store.Record
	for _, r := range last {
		out = append(out, r)
	}
	return out
}

func TestMaxOpenEqualsSweep(t *testing.T) {
	for seed := range uint64(4) {
		begin := time.Date(2026, 11, 5, 9, 57, 0, 0, time.UTC).UnixNano()
		f := newFakeTracker(seed, begin)
		f.builder = newBuilder(1)
		f.builder.Start(f.snapshot(), nil, 0)
		var all store.Batch
		for range 400 {
			f.step(true)
			// As from several processors: neighbours swapped.
			for range len(f.pending) {
				if len(f.pending) > 1 {
					i := f.rng.IntN(len(f.pending) - 1)
					a, b := &f.pending[i], &f.pending[i+1]
					if a.Conn.ID != b.Conn.ID {
						*a, *b = *b, *a
					}
				}
			}
			f.deliver()
			f.builder.Snapshot(f.snapshot())
			take(f.builder, &all)
		}
		f.builder.Stop(f.snapshot())
		take(f.builder, &all)
		for _, c := range f.live {
			f.truth = append(f.truth, span{c.ID, c.Opened.Wall, 1 << 62, c.Names.Service, c.Process.Name})
		}
		seen := 0
		for _, p := range all.Peaks {
			seen++
			end := min(p.Time+p.Interval, f.now)
			want := sweep(f.truth, max(p.Time, begin), end, func(s *span) bool {
				switch p.Set {
				case store.ByService, store.ByHostService:
					return s.service == p.Service
				case store.ByProcess:
					return s.process == p.Process
				default:
					return true
				}
			})
			if p.MaxOpen != want {
				t.Errorf("seed %d: %s %q%q at %s for %s: %d, want %d", seed, p.Set, p.Service, p.Process,
					time.Unix(0, p.Time).UTC().Format("15:04"), time.Duration(p.Interval), p.MaxOpen, want)
			}
			if got, want := int64(p.Observed), (end-max(p.Time, begin))/1000; got != want {
				t.Errorf("observed %d µs, want %d", got, want)
			}
		}
		if minutes := 400/60 + 1; seen < minutes*8 {
			t.Errorf("only %d peaks", seen)
		}
	}
}

// TestPeaksOfRows checks that the peaks follow from the rows as well, those of
// connections that are still open included.
func TestPeaksOfRows(t *testing.T) {
	begin := time.Date(2026, 11, 5, 9, 57, 0, 0, time.UTC).UnixNano()
	f := newFakeTracker(9, begin)
	f.builder = newBuilder(1)
	f.builder.Start(f.snapshot(), nil, 0)
	var all store.Batch
	for range 300 {
		f.step(true)
		f.deliver()
		f.builder.Snapshot(f.snapshot())
		take(f.builder, &all)
	}
	f.builder.Stop(f.snapshot())
	take(f.builder, &all)
	last := make(map[tcp.ID]span)
	for i := range all.Records {
		r := &all.Records[i]
		s := span{id: r.Conn.ID, from: r.Start(), to: r.Time, service: r.Conn.Names.Service}
		if r.Kind == store.Snapshot {
			s.to = 1 << 62
		}
		if old, ok := last[s.id]; ok {
			s.from = min(s.from, old.from)
		}
		last[s.id] = s
	}
	var spans []span
	for _, s := range last {
		spans = append(spans, s)
	}
	for _, p := range all.Peaks {
		if p.Interval != store.Minute || p.Set != store.ByService || p.Time+p.Interval > f.now {
			continue
		}
		want := sweep(spans, p.Time, p.Time+p.Interval, func(s *span) bool { return s.service == p.Service })
		if p.MaxOpen != want {
			t.Errorf("%q at %s: max_open %d, rows say %d", p.Service, time.Unix(0, p.Time).UTC().Format("15:04"), p.MaxOpen, want)
		}
	}
}

func TestBuilderRowsOfLongConnections(t *testing.T) {
	begin := time.Date(2026, 11, 5, 23, 50, 0, 500e6, time.UTC).UnixNano()
	cfg := store.DefaultBuilderConfig()
	cfg.Agent, cfg.Host = "a", "h"
	b := store.NewBuilder(cfg)
	busy := &tcp.Conn{ID: 1, Opened: stampAt(begin + 1), State: tcp.Established, Direction: tcp.Outbound, Has: tcp.HasBytesSent}
	idle := &tcp.Conn{ID: 2, Opened: stampAt(begin + 1), State: tcp.Established, Direction: tcp.Outbound, Has: tcp.HasBytesSent}
	b.Start(&tcp.Snapshot{Time: stampAt(begin)}, nil, 0)
	b.Event(&tcp.Event{Seq: 1, Time: stampAt(begin + 1), Type: tcp.EventOpened, Conn: busy})
	b.Event(&tcp.Event{Seq: 2, Time: stampAt(begin + 1), Type: tcp.EventOpened, Conn: idle})
	got := make(map[tcp.ID][]string)
	spans := make(map[string]int)
	for i := range int64(95 * 60) {
		now := begin + (i+1)*second
		c1, c2 := *busy, *idle
		c1.Metrics.BytesSent = uint64(i+1) * 100
		c1.Updated, c2.Updated = stampAt(now), stampAt(now)
		busy = &c1
		b.Snapshot(&tcp.Snapshot{Time: stampAt(now), Conns: []*tcp.Conn{&c1, &c2}})
		var batch store.Batch
		b.Take(&batch)
		for _, r := range batch.Records {
			got[r.Conn.ID] = append(got[r.Conn.ID], time.Unix(0, r.Time).UTC().Format("15:04:05"))
		}
		for _, s := range batch.Samples {
			if s.ID == 2 || s.SendRate != 100 {
				t.Errorf("sample %+v", s)
			}
			spans[fmt.Sprint(time.Duration(s.Span)*time.Microsecond)]++
		}
	}
	// An idle connection has its first row and one a day.
	if diff := cmp.Diff([]string{"23:50:59", "00:00:59"}, got[2]); diff != "" {
		t.Errorf("rows of an idle connection (-want +got):\n%s", diff)
	}
	// A busy one has one at the end of each minute, and later of each fifth.
	rows := got[1]
	if rows[0] != "23:50:59" || rows[1] != "23:51:59" || rows[len(rows)-1] != "01:24:59" {
		t.Errorf("rows of a busy connection: %v", rows)
	}
	if n := len(rows); n < 60+5 || n > 60+9 {
		t.Errorf("a busy connection has %d rows in 95 minutes", n)
	}
	if spans["1s"] < 50 || spans["10s"] < 50 || spans["1m0s"] < 80 {
		t.Errorf("samples by length: %v", spans)
	}
}

func TestBuilderCountsWhatFindsNoRoom(t *testing.T) {
	cfg := store.DefaultBuilderConfig()
	cfg.Agent, cfg.MaxPending = "a", 10
	b := store.NewBuilder(cfg)
	begin := time.Date(2026, 11, 5, 12, 0, 0, 0, time.UTC).UnixNano()
	b.Start(&tcp.Snapshot{Time: stampAt(begin)}, nil, 0)
	for i := range 25 {
		c := &tcp.Conn{
			ID: tcp.ID(i + 1), Opened: stampAt(begin), Closed: stampAt(begin + second), State: tcp.Closed,
			Direction: tcp.Outbound, Has: tcp.HasBytesSent | tcp.HasBytesReceived, Metrics: tcp.Metrics{BytesSent: 10, BytesReceived: 3},
		}
		b.Event(&tcp.Event{Seq: uint64(i + 1), Time: stampAt(begin + second), Type: tcp.EventClosed, Conn: c})
	}
	var first, next store.Batch
	if !b.Take(&first) {
		t.Fatal("nothing to take")
	}
	kept := uint64(len(first.Records))
	b.Snapshot(&tcp.Snapshot{Time: stampAt(begin + 2*second)})
	if !b.Take(&next) {
		t.Fatal("no gap told")
	}
	e := next.Events[0]
	if e.Type != "gap" || e.Closes+kept != 25 || e.BytesSent != e.Closes*10 || e.BytesReceived != e.Closes*3 {
		t.Errorf("kept %d, gap %+v", kept, e)
	}
	if first.ID.Sequence != 1 || next.ID.Sequence != 2 {
		t.Errorf("sequences %d, %d", first.ID.Sequence, next.ID.Sequence)
	}
}
