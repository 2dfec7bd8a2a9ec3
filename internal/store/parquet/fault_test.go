package parquet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

// long reports whether faults are tried in all places and not in some, which
// "make faults" asks for.
func long() bool { return os.Getenv("VIEWTCP_LONG") != "" }

// some thins out n places to about few of them, the first and the last among
// them.
func some(n, few int) (at []int) {
	if long() || n <= few {
		few = n
	}
	for i := range few {
		at = append(at, 1+i*(n-1)/max(few-1, 1))
	}
	return at
}

// A scenario is some life of an engine: batches, seals, merges, a restart.
type scenario struct {
	batches []store.Batch
	// acked is how many batches were acknowledged, the first ones.
	acked atomic.Int32
	// stubborn tries what failed again.
	stubborn bool
}

// script is what happens: b is a batch, s a seal of all there is, r a restart.
// Segments of a day that is over are merged from the second seal on.
const script = "bbsbrbsb"

func newScenario() *scenario {
	g := storetest.NewGenerator(11, 100, storetest.Begin, 0.5)
	s := new(scenario)
	for seq := range strings.Count(script, "b") {
		recs := g.Next(nil, 4)
		s.batches = append(s.batches, store.Batch{
			ID: store.BatchID{Agent: "a", Epoch: 1, Sequence: uint64(seq + 1)}, Time: recs[3].Time, Records: recs,
			Events: marks(seq, 1),
		})
	}
	return s
}

func faultConfig(t *testing.T) Config {
	t.Helper()
	cfg := testConfig(t.TempDir())
	cfg.CompactRows = 1000
	cfg.LogBytes = 3000
	return cfg
}

// run lives on a disk until it is done, or something fails for good.
func (s *scenario) run(cfg Config, m *memFS) error {
	retry := func(what func() error) error {
		err := what()
		for tries := 0; err != nil && s.stubborn && tries < 5; tries++ {
			err = what()
		}
		return err
	}
	var e *Engine
	begin := func() (err error) {
		e, err = open(cfg, m)
		return err
	}
	if err := retry(begin); err != nil {
		return err
	}
	next := 0
	for _, step := range script {
		var err error
		switch step {
		case 'b':
			b := &s.batches[next]
			next++
			if err = retry(func() error { return e.Append(context.Background(), b) }); err == nil {
				s.acked.Add(1)
			}
		case 's':
			err = retry(func() error { return e.Maintain(true) })
		case 'r':
			if err = e.Close(); err == nil || s.stubborn {
				if err = retry(begin); err != nil {
					return err
				}
			}
		}
		if err != nil {
			return errors.Join(err, e.Close())
		}
	}
	err := e.Close()
	if s.stubborn {
		return nil
	}
	return err
}

// check opens a disk again and compares it with what was acknowledged: the first
// batches, and perhaps, as a whole, the one after them. sealed says to seal it too.
func (s *scenario) check(t *testing.T, cfg Config, m *memFS, acked int, sealed bool, what string) {
	t.Helper()
	e, err := open(cfg, m)
	if err != nil {
		t.Fatalf("%s: opening again: %v", what, err)
	}
	s.compare(t, e, acked, what)
	for _, d := range e.Status().Damage {
		// What a crash leaves at the end of the log is told of; nothing else may be.
		if !strings.HasPrefix(d.File, logDir) || d.Kept == "" && d.Bytes != 0 {
			t.Errorf("%s: damage: %+v", what, d)
		}
	}
	if sealed {
		if err := e.Maintain(true); err != nil {
			t.Errorf("%s: sealing after it: %v", what, err)
		}
		s.compare(t, e, acked, what+", sealed")
	}
	if err := e.Close(); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

func (s *scenario) compare(t *testing.T, e *Engine, acked int, what string) {
	t.Helper()
	got, complete := kept(t, e)
	if !complete {
		t.Errorf("%s: an answer with gaps", what)
	}
	want := make(ledger)
	add := func(l ledger, b *store.Batch) {
		l.add(b.Records)
		l.addEvents(b.Events)
	}
	for i := range s.batches[:acked] {
		add(want, &s.batches[i])
	}
	if acked < len(s.batches) {
		flying := make(ledger)
		add(flying, &s.batches[acked])
		there := 0
		for row := range flying {
			there += got[row]
		}
		if there == len(flying) {
			add(want, &s.batches[acked])
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

// TestFaultPowerCut cuts the power after each operation of a life without faults:
// what was acknowledged is there afterwards, once, whatever the disk did with what
// was not synced.
func TestFaultPowerCut(t *testing.T) {
	type cutAt struct {
		disk      *memFS
		acked, op int
	}
	record := func(every int) (cuts []cutAt, n int) {
		s := newScenario()
		m := newMemFS()
		m.watch = func(op int) { // the state after the operation before this one
			if op%every == 0 {
				cuts = append(cuts, cutAt{m.copied(), int(s.acked.Load()), op})
			}
		}
		if err := s.run(faultConfig(t), m); err != nil {
			t.Fatal(err)
		}
		return append(cuts, cutAt{m.clone(), int(s.acked.Load()), m.count()}), m.count()
	}
	every := 1
	if !long() {
		_, n := record(1 << 30)
		every = max(1, n/8)
	}
	cuts, n := record(every)
	t.Logf("%d operations, the power is cut after %d of them", n, len(cuts))
	rng := rand.New(rand.NewPCG(1, 2))
	s := newScenario()
	cfg := faultConfig(t)
	for i, at := range cuts {
		for keep := range 4 {
			if !long() && keep != i%4 && keep != 0 {
				continue
			}
			c := at.disk.clone()
			c.crash(rng, keep)
			what := fmt.Sprintf("power cut before operation %d, keeping %d", at.op, keep)
			s.check(t, cfg, c, at.acked, long() || keep == 0, what)
			if keep != 0 {
				// With all that is in the log and in segments the manifest can be lost.
				c = at.disk.clone()
				c.crash(rng, keep)
				delete(c.now, manifestName)
				s.check(t, cfg, c, at.acked, keep == 1, what+", without a manifest")
			}
		}
	}
}

// TestFaultDiskDies lets all operations fail from one on: the engine says so, ends,
// and when the disk is back what was acknowledged is there.
func TestFaultDiskDies(t *testing.T) {
	n := operations(t)
	for _, at := range some(n-1, 3) {
		m := newMemFS()
		m.fail(func(op int, _, _ string) error {
			if op >= at {
				return syscall.EIO
			}
			return nil
		})
		s := newScenario()
		cfg := faultConfig(t)
		what := fmt.Sprintf("disk died at operation %d", at)
		if err := s.run(cfg, m); err == nil && int(s.acked.Load()) < len(s.batches) {
			t.Errorf("%s: and nobody said so", what)
		}
		s.check(t, cfg, m.clone(), int(s.acked.Load()), false, what)
		c := m.clone()
		c.crash(nil, 0)
		s.check(t, cfg, c, int(s.acked.Load()), true, what+", then power cut")
	}
}

// operations counts those of a life without faults.
func operations(t *testing.T) int {
	t.Helper()
	m := newMemFS()
	s := newScenario()
	cfg := faultConfig(t)
	if err := s.run(cfg, m); err != nil {
		t.Fatal(err)
	}
	s.check(t, cfg, m.clone(), len(s.batches), true, "without faults")
	return m.count()
}

// TestFaultAtEachSite lets one operation after the other fail, once or for a
// while: batches are sent again until they are acknowledged, and each is there
// once.
func TestFaultAtEachSite(t *testing.T) {
	n := operations(t)
	causes := []error{syscall.EIO, syscall.ENOSPC}
	lengths := []int{1, 3}
	for i, at := range some(n, 5) {
		for j, cause := range causes {
			for k, length := range lengths {
				if !long() && (j != i%2 || k != i/2%2) {
					continue
				}
				faultAt(t, cause, at, length)
			}
		}
	}
}

func faultAt(t *testing.T, cause error, at, length int) {
	t.Helper()
	m := newMemFS()
	var failed []string
	m.fail(func(op int, what, name string) error {
		if op >= at && op < at+length {
			failed = append(failed, what+" "+name)
			return cause
		}
		return nil
	})
	s := newScenario()
	s.stubborn = true
	cfg := faultConfig(t)
	err := s.run(cfg, m)
	what := fmt.Sprintf("%v at operation %d (%s)", cause, at, strings.Join(failed, ", "))
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	s.check(t, cfg, m.clone(), len(s.batches), false, what)
	c := m.clone()
	c.crash(nil, 0)
	s.check(t, cfg, c, len(s.batches), true, what+", then power cut")
}

// TestFaultReads lets one read after the other fail, while a directory is opened,
// queried and maintained: what cannot be read now is not taken for damaged, and is
// there when it can be read again.
func TestFaultReads(t *testing.T) {
	s := newScenario()
	m := newMemFS()
	cfg := faultConfig(t)
	if err := s.run(cfg, m); err != nil {
		t.Fatal(err)
	}
	live := func(t *testing.T, m *memFS) {
		t.Helper()
		e, err := open(cfg, m)
		if errors.Is(err, syscall.EIO) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		_, _ = e.Records(t.Context(), &store.Query{}, func(*store.Record) error { return nil })
		_ = e.Open(t.Context(), func(*store.Record) bool { return true })
		_ = e.Maintain(true)
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, manifest := range []bool{true, false} {
		disk := m.clone()
		if !manifest {
			delete(disk.now, manifestName)
		}
		c := disk.clone()
		n := 0
		c.reads = func(string, string) error { n++; return nil }
		live(t, c)
		sites := make([]int, 0, n)
		for at := 1; at <= n; at += 1 + at/100 {
			sites = append(sites, at)
		}
		if !long() { // most reads are of merges
			sites = []int{1, 3, 8, 21, 55, n / 2}
		}
		for _, at := range sites {
			t.Run(fmt.Sprintf("manifest %v, read %d of %d", manifest, at, n), func(t *testing.T) {
				c := disk.clone()
				n := 0
				c.reads = func(string, string) error {
					if n++; n == at {
						return syscall.EIO
					}
					return nil
				}
				live(t, c)
				s.check(t, cfg, c.clone(), len(s.batches), long(), "read again")
			})
		}
	}
}
