package parquet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

var testBegin = storetest.Begin

// testConfig is a configuration that does nothing by itself in the time of a
// test.
func testConfig(dir string) Config {
	cfg := DefaultConfig()
	cfg.Dir = dir
	cfg.SealRows = 1 << 30
	cfg.SealAge = 0
	cfg.Retention = nil
	return cfg
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

func mustOpen(t *testing.T, cfg Config) *Engine {
	t.Helper()
	e, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// A ledger is what was acknowledged: how often each row should be there.
type ledger map[string]int

func (l ledger) add(recs []store.Record) {
	for i := range recs {
		l[storetest.Print(store.RecordColumns(), &recs[i])]++
	}
}

// stored reads all rows of connections back.
func stored(t *testing.T, e *Engine) ledger {
	t.Helper()
	l := make(ledger)
	a, err := e.Records(t.Context(), &store.Query{}, func(r *store.Record) error {
		l[storetest.Print(store.RecordColumns(), r)]++
		return nil
	})
	if err != nil || !a.Complete() {
		t.Fatalf("%v, gaps %v", err, a.Gaps)
	}
	return l
}

// checkLedger compares what is stored with what was acknowledged.
func checkLedger(t *testing.T, e *Engine, want ledger) {
	t.Helper()
	got := stored(t, e)
	bad := 0
	for row, n := range want {
		if got[row] != n && bad < 3 {
			bad++
			t.Errorf("row is there %d times, want %d: %s", got[row], n, row)
		}
	}
	for row, n := range got {
		if want[row] == 0 && bad < 3 {
			bad++
			t.Errorf("row is there %d times and was never acknowledged: %s", n, row)
		}
	}
}

// feed appends batches of n rows and enters them into the ledger.
func feed(t *testing.T, e *Engine, g *storetest.Generator, l ledger, agent string, first, batches, n int) {
	t.Helper()
	for i := range batches {
		recs := g.Next(nil, n)
		b := store.Batch{
			ID:   store.BatchID{Agent: agent, Epoch: 1, Sequence: uint64(first + i)},
			Time: recs[len(recs)-1].Time, Records: recs,
		}
		if err := e.Append(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		l.add(recs)
	}
}

func TestEngineKeepsRows(t *testing.T) {
	dir := t.TempDir()
	e := mustOpen(t, testConfig(dir))
	g := storetest.NewGenerator(1, 1000, testBegin, 3)
	want := make(ledger)
	feed(t, e, g, want, "a", 1, 10, 50)
	checkLedger(t, e, want)
	if err := e.Maintain(true); err != nil {
		t.Fatal(err)
	}
	checkLedger(t, e, want)
	feed(t, e, g, want, "a", 11, 10, 50)
	checkLedger(t, e, want)

	if _, err := Open(testConfig(dir)); !errors.Is(err, store.ErrLocked) {
		t.Errorf("opening twice: %v, want ErrLocked", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = mustOpen(t, testConfig(dir))
	if s := e.Status(); s.Replayed != 500 || s.Damages != 0 {
		t.Errorf("after opening again: replayed %d rows, %d damages", s.Replayed, s.Damages)
	}
	checkLedger(t, e, want)
	if last, alive, ok := e.LastBatch("a"); !ok || last.Sequence != 20 || alive == 0 {
		t.Errorf("LastBatch: %+v, %d, %v", last, alive, ok)
	}
	if err := e.Maintain(true); err != nil {
		t.Fatal(err)
	}
	checkLedger(t, e, want)
	if s := e.Status(); s.Unsealed != 0 || s.Tables[0].Rows != 1000 {
		t.Errorf("after sealing: %d rows unsealed, %d in segments", s.Unsealed, s.Tables[0].Rows)
	}
	checkModes(t, dir)
}

// checkModes checks that nobody else can read the data.
func checkModes(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := os.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if path != dir && info.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", path, info.Mode().Perm(), want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDuplicateBatches(t *testing.T) {
	dir := t.TempDir()
	e := mustOpen(t, testConfig(dir))
	g := storetest.NewGenerator(2, 1000, testBegin, 1)
	want := make(ledger)
	send := func(seq uint64, recs []store.Record) {
		t.Helper()
		b := store.Batch{ID: store.BatchID{Agent: "edge", Epoch: 7, Sequence: seq}, Records: recs}
		if err := e.Append(context.Background(), &b); err != nil {
			t.Fatal(err)
		}
	}
	one, two := g.Next(nil, 10), g.Next(nil, 10)
	want.add(one)
	want.add(two)
	send(1, one)
	send(1, one)
	send(2, two)
	send(1, one)
	checkLedger(t, e, want)
	if err := e.Maintain(true); err != nil {
		t.Fatal(err)
	}
	send(2, two)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = mustOpen(t, testConfig(dir))
	send(1, one)
	send(2, two)
	checkLedger(t, e, want)
	if s := e.Status(); s.Duplicates != 2 || s.Rows != 0 {
		t.Errorf("duplicates %d, rows %d; want 2, 0", s.Duplicates, s.Rows)
	}
}

// opensAndCloses makes rows of connections that go on, some until they end.
type opensAndCloses struct {
	rng  *rand.Rand
	open []uint64
	rows uint64
}

func (o *opensAndCloses) next(n int) (recs []store.Record) {
	for range n {
		o.rows++
		at := testBegin.UnixNano() + int64(o.rows)*int64(time.Second)
		i := o.rng.IntN(len(o.open) + 1)
		if i == len(o.open) || o.rng.IntN(3) == 0 {
			i, o.open = len(o.open), append(o.open, o.rows)
		}
		r := store.Record{Kind: store.Snapshot, Time: at, Host: "web-1", Conn: &tcp.Conn{
			ID: tcp.ID(o.open[i] << 8), State: tcp.Established, Has: tcp.HasBytesSent, Metrics: tcp.Metrics{BytesSent: o.rows},
		}}
		if o.rng.IntN(4) == 0 {
			r.Kind, r.Conn.State = store.Close, tcp.Closed
			o.open = slices.Delete(o.open, i, i+1)
		}
		recs = append(recs, r)
	}
	return recs
}

// TestOpenConnections checks the baselines over seals and restarts.
func TestOpenConnections(t *testing.T) {
	dir := t.TempDir()
	e := mustOpen(t, testConfig(dir))
	rows := opensAndCloses{rng: newRand(3)}
	want := make(map[string]bool)
	last := make(map[string]string)
	seq := 0
	check := func(when string) {
		t.Helper()
		got := make(map[string]bool)
		err := e.Open(t.Context(), func(r *store.Record) bool {
			got[storetest.Print(store.RecordColumns(), r)] = true
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s: open connections (-want +got):\n%s", when, diff)
		}
	}
	most := 0
	for round := range 8 {
		for range 4 {
			recs := rows.next(40)
			seq++
			b := store.Batch{ID: store.BatchID{Agent: "a", Epoch: 1, Sequence: uint64(seq)}, Records: recs}
			if err := e.Append(t.Context(), &b); err != nil {
				t.Fatal(err)
			}
			for i := range recs {
				id := recs[i].Conn.ID.String()
				delete(want, last[id])
				delete(last, id)
				if recs[i].Kind == store.Snapshot {
					last[id] = storetest.Print(store.RecordColumns(), &recs[i])
					want[last[id]] = true
				}
			}
		}
		most = max(most, len(want))
		check(fmt.Sprintf("round %d", round))
		if round%2 == 1 {
			if err := e.Maintain(true); err != nil {
				t.Fatal(err)
			}
			check(fmt.Sprintf("round %d, sealed", round))
		}
		if round%3 == 2 {
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			e = mustOpen(t, testConfig(dir))
			check(fmt.Sprintf("round %d, opened again", round))
		}
	}
	if most < 20 || len(rows.open) != len(want) {
		t.Errorf("%d connections are open, want %d; at most %d were", len(want), len(rows.open), most)
	}
}

// TestManyOpenConnections hands out the baselines of a busy host: half of them
// from the file, half from the log.
func TestManyOpenConnections(t *testing.T) {
	const conns, batch = 50_000, 5_000
	dir := t.TempDir()
	e := mustOpen(t, testConfig(dir))
	for first := 0; first < conns; first += batch {
		var b store.Batch
		b.ID = store.BatchID{Agent: "a", Epoch: 1, Sequence: uint64(first/batch + 1)}
		for i := first; i < first+batch; i++ {
			b.Records = append(b.Records, store.Record{
				Kind: store.Snapshot, Time: testBegin.UnixNano() + int64(i), Host: "web-1",
				Conn: &tcp.Conn{ID: tcp.ID(i+1) << 8, State: tcp.Established, Has: tcp.HasBytesSent, Metrics: tcp.Metrics{BytesSent: uint64(i)}},
			})
		}
		if err := e.Append(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		if first == conns/2-batch {
			if err := e.Maintain(true); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = mustOpen(t, testConfig(dir))
	seen := make(map[tcp.ID]uint64, conns)
	err := e.Open(t.Context(), func(r *store.Record) bool {
		seen[r.Conn.ID] = r.Conn.Metrics.BytesSent
		return true
	})
	if err != nil || len(seen) != conns {
		t.Fatalf("%d connections are open, want %d: %v", len(seen), conns, err)
	}
	for i := range conns {
		if got := seen[tcp.ID(i+1)<<8]; got != uint64(i) {
			t.Fatalf("connection %d sent %d bytes, want %d", i, got, i)
		}
	}
}
