package parquet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

// A scenario is some life of an engine: batches, seals, merges, a restart. What
// was acknowledged goes into the ledger; inFlight is the batch that was not.
type scenario struct {
	ledger   ledger
	inFlight []store.Record
	// stubborn sends a batch again until it is acknowledged.
	stubborn bool
	errors   int
}

func faultConfig(t *testing.T) Config {
	t.Helper()
	cfg := testConfig(t.TempDir())
	cfg.CompactRows = 1000
	cfg.LogBytes = 3000
	return cfg
}

// run lives on a disk until it is done or the power is cut.
func (s *scenario) run(cfg Config, m *memFS, g *storetest.Generator, dead func() bool) error {
	seq := uint64(0)
	for range 2 {
		var e *Engine
		for tries := 0; ; tries++ {
			var err error
			if e, err = open(cfg, m); err == nil {
				break
			}
			if dead() || tries > 3 {
				return err
			}
			s.errors++
		}
		for i := range 8 {
			recs := g.Next(nil, 4)
			seq++
			b := store.Batch{ID: store.BatchID{Agent: "a", Epoch: 1, Sequence: seq}, Time: recs[3].Time, Records: recs}
			s.inFlight = recs
			for tries := 0; ; tries++ {
				err := e.Append(context.Background(), &b)
				if err == nil {
					break
				}
				s.errors++
				if dead() || !s.stubborn || tries > 5 {
					return errors.Join(err, e.Close())
				}
			}
			s.inFlight = nil
			s.ledger.add(recs)
			if i%3 == 2 {
				for tries := 0; ; tries++ {
					if err := e.Maintain(true); err == nil {
						break
					}
					s.errors++
					if dead() || tries > 3 {
						break
					}
				}
			}
		}
		if err := e.Close(); err != nil && !dead() {
			s.errors++
		}
	}
	return nil
}

// check opens the disk again and compares it with the ledger.
func (s *scenario) check(t *testing.T, cfg Config, m *memFS, what string) {
	t.Helper()
	e, err := open(cfg, m)
	if err != nil {
		t.Fatalf("%s: opening again: %v", what, err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}()
	s.compare(t, e, what)
	if err := e.Maintain(true); err != nil {
		t.Errorf("%s: sealing after it: %v", what, err)
	}
	s.compare(t, e, what+", sealed")
}

func (s *scenario) compare(t *testing.T, e *Engine, what string) {
	t.Helper()
	want := maps.Clone(s.ledger)
	got := stored(t, e)
	// A batch in flight may be there as a whole, once.
	flying := make(ledger)
	flying.add(s.inFlight)
	there := 0
	for row := range flying {
		there += got[row]
	}
	if there == len(flying) {
		for row := range flying {
			want[row]++
		}
	}
	for row, n := range want {
		if got[row] != n {
			t.Fatalf("%s: row is there %d times, want %d: %.200s", what, got[row], n, row)
		}
	}
	for row, n := range got {
		if want[row] == 0 {
			t.Fatalf("%s: row is there %d times, want 0: %.200s", what, n, row)
		}
	}
}

func records() *storetest.Generator { return storetest.NewGenerator(11, 100, storetest.Begin, 0.5) }

// sites counts the operations of a scenario that goes well.
func sites(t *testing.T) int {
	t.Helper()
	m := newMemFS()
	s := scenario{ledger: make(ledger)}
	cfg := faultConfig(t)
	if err := s.run(cfg, m, records(), func() bool { return false }); err != nil {
		t.Fatal(err)
	}
	s.check(t, cfg, m.clone(), "without faults")
	return m.ops
}

// stride thins out the sites: all of them are tried where VIEWTCP_LONG is set.
func stride(n int) int {
	switch {
	case os.Getenv("VIEWTCP_LONG") != "":
		return 1
	case testing.Short():
		return max(1, n/8)
	default:
		return max(1, n/25)
	}
}

// TestFaultPowerCut cuts the power at each operation: what was acknowledged is
// there afterwards, once, whatever the disk did with what was not synced.
func TestFaultPowerCut(t *testing.T) {
	n := sites(t)
	rng := rand.New(rand.NewPCG(1, 2))
	t.Logf("%d operations", n)
	for at := 1; at <= n; at += stride(n) {
		m := newMemFS()
		m.fault = func(op int, _, _ string) error {
			if op >= at {
				return syscall.EIO
			}
			return nil
		}
		s := scenario{ledger: make(ledger)}
		cfg := faultConfig(t)
		_ = s.run(cfg, m, records(), func() bool { return m.ops >= at })
		for keep := range 4 {
			c := m.clone()
			c.crash(rng, keep)
			s.check(t, cfg, c, fmt.Sprintf("power cut at operation %d, keeping %d", at, keep))
		}
	}
}

// TestFaultAtEachSite lets one operation after the other fail, once or for a
// while: batches are sent again until they are acknowledged, and each is there
// once.
func TestFaultAtEachSite(t *testing.T) {
	n := sites(t)
	for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
		for _, length := range []int{1, 3} {
			for at := 1; at <= n; at += stride(n) {
				m := newMemFS()
				var failed []string
				m.fault = func(op int, what, name string) error {
					if op >= at && op < at+length {
						failed = append(failed, what+" "+name)
						return cause
					}
					return nil
				}
				s := scenario{ledger: make(ledger), stubborn: true}
				cfg := faultConfig(t)
				what := func() string {
					return fmt.Sprintf("%v at operation %d (%s)", cause, at, strings.Join(failed, ", "))
				}
				if err := s.run(cfg, m, records(), func() bool { return false }); err != nil {
					t.Fatalf("%s: %v", what(), err)
				}
				m.fault = nil
				s.check(t, cfg, m.clone(), what())
				c := m.clone()
				c.crash(nil, 0)
				s.check(t, cfg, c, what()+", then power cut")
			}
		}
	}
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
	g := storetest.NewGenerator(12, 100000, storetest.Begin, 1)
	l := make(ledger)
	seq, refused := uint64(0), uint64(0)
	for round := range 20 {
		m.mu.Lock()
		m.limit = m.size() + int64(20000*(1+round%3))
		m.mu.Unlock()
		full := false
		var recs []store.Record
		for !full {
			recs = g.Next(nil, 50)
			seq++
			err := e.Append(t.Context(), &store.Batch{ID: store.BatchID{Agent: "a", Epoch: 1, Sequence: seq}, Records: recs})
			if full = errors.Is(err, store.ErrUnavailable); !full {
				if err != nil {
					t.Fatal(err)
				}
				l.add(recs)
			}
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
		checkLedger(t, e, l)
		m.mu.Lock()
		m.limit = 0
		m.mu.Unlock()
		if err := e.Append(t.Context(), &store.Batch{ID: store.BatchID{Agent: "a", Epoch: 1, Sequence: seq}, Records: recs}); err != nil {
			t.Fatal(err)
		}
		l.add(recs)
		if s := e.Status(); s.State != store.StateOK {
			t.Fatalf("state %s after space came back", s.State)
		}
		if round%4 == 3 {
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

// TestFaultTruncatedLog cuts the last file of the log at every byte.
func TestFaultTruncatedLog(t *testing.T) {
	cfg := testConfig(t.TempDir())
	m := newMemFS()
	e, err := open(cfg, m)
	if err != nil {
		t.Fatal(err)
	}
	g := storetest.NewGenerator(13, 100, storetest.Begin, 1)
	var ends []int
	var rows []ledger
	name := ""
	for i := range 5 {
		recs := g.Next(nil, 2)
		b := store.Batch{ID: store.BatchID{Agent: "a", Epoch: 1, Sequence: uint64(i + 1)}, Records: recs}
		if err := e.Append(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		l := make(ledger)
		l.add(recs)
		rows = append(rows, l)
		name = logName(e.logs[len(e.logs)-1].number)
		ends = append(ends, len(m.now[name].data))
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	step := 1
	if testing.Short() {
		step = 7
	}
	for size := 0; size < ends[4]; size += step {
		c := m.clone()
		c.now[name].data = c.now[name].data[:size]
		e, err := open(cfg, c)
		if err != nil {
			t.Fatalf("cut to %d bytes: %v", size, err)
		}
		want := make(ledger)
		clean := size == logHeaderSize
		for i, end := range ends {
			if end <= size {
				maps.Copy(want, rows[i])
			}
			clean = clean || end == size
		}
		got := stored(t, e)
		if !maps.Equal(got, want) {
			t.Fatalf("cut to %d bytes: %d rows, want %d", size, len(got), len(want))
		}
		if s := e.Status(); (s.Damages == 0) != (clean || size == 0) && size != 0 {
			t.Fatalf("cut to %d bytes: %d damages told", size, s.Damages)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		// What was torn is gone for good, and told once.
		if e, err = open(cfg, c); err != nil {
			t.Fatal(err)
		}
		if s := e.Status(); s.Damages != 0 {
			t.Fatalf("cut to %d bytes: damage told again: %+v", size, s.Damage)
		}
		if got := stored(t, e); !maps.Equal(got, want) {
			t.Fatalf("cut to %d bytes, opened again: %d rows, want %d", size, len(got), len(want))
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFaultBitFlips turns single bits of the log, of segments, of the manifest
// and of the open connections: nothing panics, nothing wrong is handed out, what
// is not hit stays, and no flip that costs a row goes untold.
func TestFaultBitFlips(t *testing.T) {
	cfg := testConfig(t.TempDir())
	m := newMemFS()
	e, err := open(cfg, m)
	if err != nil {
		t.Fatal(err)
	}
	g := storetest.NewGenerator(14, 400, storetest.Begin, 0.2)
	all := make(ledger)
	feed(t, e, g, all, "a", 1, 4, 20)
	if err := e.Maintain(true); err != nil {
		t.Fatal(err)
	}
	feed(t, e, g, all, "a", 5, 4, 20)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range m.now {
		if name != lockName && !strings.HasPrefix(name, "rollup") {
			names = append(names, name)
		}
	}
	rng := rand.New(rand.NewPCG(3, 4))
	flips := 1000
	if testing.Short() {
		flips = 100
	}
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
		got := make(ledger)
		a, err := e.Records(t.Context(), &store.Query{}, func(r *store.Record) error {
			got[storetest.Print(store.RecordColumns(), r)]++
			return nil
		})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
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
		} else if !a.Complete() {
			t.Fatalf("%s: gaps %v, and no damage told", what, a.Gaps)
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
