package parquet

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

// marks makes n events, the smallest rows there are.
func marks(from, n int) (events []store.Event) {
	for i := range n {
		events = append(events, store.Event{
			Time: storetest.Begin.Add(time.Duration(from+i) * time.Minute).UnixNano(), Type: store.EventMark,
			Host: "web-1", Text: fmt.Sprintf("deploy %d", from+i),
		})
	}
	return events
}

func (l ledger) addEvents(events []store.Event) {
	for i := range events {
		l[storetest.Print(store.EventColumns(), &events[i])]++
	}
}

// kept reads all rows of connections and all events back, whatever is missing.
func kept(t *testing.T, e *Engine) (l ledger, complete bool) {
	t.Helper()
	l = make(ledger)
	a, err := e.Records(t.Context(), &store.Query{}, func(r *store.Record) error {
		l[storetest.Print(store.RecordColumns(), r)]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := e.Events(t.Context(), time.Time{}, time.Time{}, nil, func(ev *store.Event) error {
		l[storetest.Print(store.EventColumns(), ev)]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return l, a.Complete() && b.Complete()
}

// TestFaultDiskFull fills a disk and frees it, over and over: the engine says that
// it is full, and goes on by itself.
func TestFaultDiskFull(t *testing.T) {
	m := newMemFS()
	cfg := testConfig(t.TempDir())
	e, err := open(cfg, m)
	if err != nil {
		t.Fatal(err)
	}
	g := storetest.NewGenerator(12, 1000, storetest.Begin, 1)
	l := make(ledger)
	refused := uint64(0)
	b := store.Batch{ID: store.BatchID{Agent: "a", Epoch: 1}}
	for round := range 20 {
		m.fill(int64(2000 * (1 + round%3)))
		for {
			b.ID.Sequence++
			b.Records = g.Next(nil, 4)
			err := e.Append(t.Context(), &b)
			if errors.Is(err, store.ErrUnavailable) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			l.add(b.Records)
		}
		refused++
		if s := e.Status(); s.State != store.StateFull || s.Reason == "" || s.Refused != refused {
			t.Fatalf("round %d: state %s (%s), refused %d, want full, %d", round, s.State, s.Reason, s.Refused, refused)
		}
		if round%4 == 1 {
			if err := e.Maintain(true); err == nil {
				t.Fatal("sealed onto a full disk")
			}
		}
		if round%5 == 0 {
			checkLedger(t, e, l)
		}
		m.fill(-1)
		if err := e.Append(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		l.add(b.Records)
		if s := e.Status(); s.State != store.StateOK {
			t.Fatalf("state %s after space came back", s.State)
		}
		if round%8 == 7 {
			if err := e.Maintain(true); err != nil {
				t.Fatal(err)
			}
		}
	}
	checkLedger(t, e, l)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if e, err = open(cfg, m); err != nil {
		t.Fatal(err)
	}
	checkLedger(t, e, l)
	if s := e.Status(); s.Damages != 0 {
		t.Errorf("damage: %+v", s.Damage)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFaultTruncatedLog cuts the last file of the log at every byte: what was
// acknowledged before the cut is there, and what was torn is told of once.
func TestFaultTruncatedLog(t *testing.T) {
	cfg := testConfig(t.TempDir())
	m := newMemFS()
	e, err := open(cfg, m)
	if err != nil {
		t.Fatal(err)
	}
	batches := []store.Batch{
		{Events: marks(0, 1)},
		{Events: marks(1, 2)},
		{Records: storetest.NewGenerator(13, 10, storetest.Begin, 1).Next(nil, 1)},
		{Events: marks(3, 1)},
	}
	if long() {
		batches = append(batches, store.Batch{Records: storetest.NewGenerator(15, 10, storetest.Begin, 1).Next(nil, 4)})
	}
	var ends []int
	var rows []ledger
	name := logName(1)
	for i := range batches {
		b := &batches[i]
		b.ID = store.BatchID{Agent: "a", Epoch: 1, Sequence: uint64(i + 1)}
		if err := e.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		l := make(ledger)
		l.add(b.Records)
		l.addEvents(b.Events)
		rows = append(rows, l)
		ends = append(ends, len(m.data(name)))
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	size := ends[len(ends)-1]
	t.Logf("the log has %d bytes", size)
	for at := range size {
		c := m.clone()
		c.now[name].data = c.now[name].data[:at]
		want := make(ledger)
		for i, end := range ends {
			if end <= at {
				maps.Copy(want, rows[i])
			}
		}
		torn := at != logHeaderSize && !slices.Contains(ends, at)
		for again := range 2 {
			e, err := open(cfg, c)
			if err != nil {
				t.Fatalf("cut to %d bytes: %v", at, err)
			}
			if told := e.Status().Damages != 0; told != (torn && again == 0) {
				t.Fatalf("cut to %d bytes, opened %d times: damage %+v", at, again+1, e.Status().Damage)
			}
			if got, _ := kept(t, e); !maps.Equal(got, want) {
				t.Fatalf("cut to %d bytes, opened %d times: %d rows, want %d", at, again+1, len(got), len(want))
			}
			if last, _, _ := e.LastBatch("a"); last.Sequence != uint64(len(want)) && at < ends[0] {
				t.Fatalf("cut to %d bytes: last batch %d", at, last.Sequence)
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestFaultBitFlips turns single bits of the log, of segments, of the manifest
// and of the open connections: nothing panics, nothing wrong is handed out, what
// is not hit stays, and no flip that costs a row goes untold.
func TestFaultBitFlips(t *testing.T) {
	// Connections have so many columns that opening a segment of them takes long.
	events, connections := 950, 50
	if long() {
		events, connections = 1000, 1000
	}
	t.Run("events", func(t *testing.T) {
		flipBits(t, events, func(e *Engine, l ledger, round int) {
			for i := range 2 {
				b := store.Batch{ID: store.BatchID{Agent: "a", Epoch: 1, Sequence: uint64(2*round + i + 1)}, Events: marks(20*round+10*i, 10)}
				if err := e.Append(t.Context(), &b); err != nil {
					t.Fatal(err)
				}
				l.addEvents(b.Events)
			}
		})
	})
	t.Run("connections", func(t *testing.T) {
		g := storetest.NewGenerator(14, 400, storetest.Begin, 0.2)
		rows := opensAndCloses{rng: newRand(3)}
		flipBits(t, connections, func(e *Engine, l ledger, round int) {
			feed(t, e, g, l, "a", 1+3*round, 2, 5)
			b := store.Batch{ID: store.BatchID{Agent: "a", Epoch: 1, Sequence: uint64(3 * (round + 1))}, Records: rows.next(10)}
			if err := e.Append(t.Context(), &b); err != nil {
				t.Fatal(err)
			}
			l.add(b.Records)
		})
	})
}

// flipBits fills a store, half of it sealed, and turns one bit at a time.
func flipBits(t *testing.T, flips int, fill func(e *Engine, l ledger, round int)) {
	t.Helper()
	cfg := testConfig(t.TempDir())
	m := newMemFS()
	e, err := open(cfg, m)
	if err != nil {
		t.Fatal(err)
	}
	all := make(ledger)
	fill(e, all, 0)
	if err := e.Maintain(true); err != nil {
		t.Fatal(err)
	}
	fill(e, all, 1)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range m.contents() {
		if !strings.HasPrefix(name, "rollup") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	rng := rand.New(rand.NewPCG(3, 4))
	lost, told := 0, 0
	for range flips {
		c := m.clone()
		name := names[rng.IntN(len(names))]
		i := c.now[name]
		at := rng.IntN(len(i.data))
		i.data[at] ^= 1 << rng.IntN(8)
		what := fmt.Sprintf("%s, byte %d of %d", name, at, len(i.data))
		e, err := open(cfg, c)
		if err != nil {
			if errors.Is(err, store.ErrVersion) {
				continue // refused, untouched
			}
			t.Fatalf("%s: %v", what, err)
		}
		got, complete := kept(t, e)
		for row, n := range got {
			if all[row] != n {
				t.Fatalf("%s: a row that never was, or %d times: %.300s", what, n, row)
			}
		}
		damages := e.Status().Damages
		if len(got) < len(all) {
			lost++
			if damages == 0 {
				t.Fatalf("%s: %d of %d rows, and nothing told", what, len(got), len(all))
			}
		}
		if damages > 0 {
			told++
		} else if !complete {
			t.Fatalf("%s: gaps, and no damage told", what)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d flips: %d cost rows, %d were told", flips, lost, told)
	if lost == 0 {
		t.Error("no flip hit anything")
	}
}

// TestFaultStuckSeal lets seals fail while the log can be written: rows are taken
// up to a bound, and again when the rest was sealed.
func TestFaultStuckSeal(t *testing.T) {
	m := newMemFS()
	cfg := testConfig(t.TempDir())
	cfg.SealRows = 5
	e, err := open(cfg, m)
	if err != nil {
		t.Fatal(err)
	}
	m.fail(func(_ int, op, name string) error {
		if op == "sync" && strings.HasSuffix(name, segmentSuffix+tmpSuffix) {
			return syscall.EIO
		}
		return nil
	})
	if err := e.Append(t.Context(), &store.Batch{Events: marks(0, 1)}); err != nil {
		t.Fatal(err)
	}
	if err := e.Maintain(true); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	want := make(ledger)
	want.addEvents(marks(0, 1))
	for i := 1; ; i++ {
		err := e.Append(t.Context(), &store.Batch{Events: marks(i, 1)})
		if errors.Is(err, store.ErrUnavailable) {
			break
		}
		if err != nil || i > 10*maxBehind*cfg.SealRows {
			t.Fatalf("row %d: %v", i, err)
		}
		if i > maxBehind*cfg.SealRows {
			_ = e.Maintain(true) // the engine's own may not have come yet
		}
		want.addEvents(marks(i, 1))
	}
	if s := e.Status(); s.State != store.StateFailing || s.SealErrors == 0 || s.Unsealed != uint64(len(want)) {
		t.Errorf("state %s (%s), %d seals failed, %d rows unsealed", s.State, s.Reason, s.SealErrors, s.Unsealed)
	}
	m.fail(nil)
	if err := e.Maintain(true); err != nil {
		t.Fatal(err)
	}
	if err := e.Append(t.Context(), &store.Batch{Events: marks(1000, 1)}); err != nil {
		t.Fatal(err)
	}
	want.addEvents(marks(1000, 1))
	if got, _ := kept(t, e); !maps.Equal(got, want) {
		t.Errorf("%d rows, want %d", len(got), len(want))
	}
	if s := e.Status(); s.State != store.StateOK || s.Damages != 0 {
		t.Errorf("state %s, damage %+v", s.State, s.Damage)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}
