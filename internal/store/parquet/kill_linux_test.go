package parquet

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

// A writing is what the process that is killed writes, and where: batch n has the
// same rows whoever makes it.
type writing struct {
	Dir            string
	Rows, SealRows int
}

func (w writing) batch(seq uint64) store.Batch {
	begin := storetest.Begin.Add(time.Duration(seq) * time.Second)
	return store.Batch{
		ID: store.BatchID{Agent: "w", Epoch: 1, Sequence: seq}, Time: begin.UnixNano(),
		Records: storetest.NewGenerator(seq, w.Rows, begin, 1.0/86400).Next(nil, w.Rows),
	}
}

func (w writing) config() Config {
	cfg := DefaultConfig()
	cfg.Dir, cfg.SealRows, cfg.LogBytes, cfg.Retention = w.Dir, w.SealRows, int64(w.SealRows)*50, nil
	return cfg
}

// A written is what the process tells of each batch that was acknowledged. Took is
// how long it took to open the directory.
type written struct {
	Sequence uint64
	Took     time.Duration
}

// writerRole writes batches as fast as it can and tells of each that was
// acknowledged, until it is killed.
var writerRole = tcptest.Role{Name: "store writer", Run: func(c *tcptest.Control) error {
	var w writing
	if err := c.Recv(&w); err != nil {
		return err
	}
	begin := time.Now()
	e, err := Open(w.config())
	if err != nil {
		return err
	}
	took := time.Since(begin)
	last, _, _ := e.LastBatch("w")
	for seq := last.Sequence + 1; ; seq++ {
		b := w.batch(seq)
		if err := e.Append(context.Background(), &b); err != nil {
			return err
		}
		if err := c.Send(written{seq, took}); err != nil {
			return err
		}
	}
}}

// TestFaultKilled kills a process in the middle of writing, over and over. What it
// said was acknowledged is there, once, and so is all that it kept besides.
func TestFaultKilled(t *testing.T) {
	w := writing{Dir: t.TempDir(), Rows: 5, SealRows: 200}
	kills, batches, pause, check := 15, 6, 20*time.Millisecond, 50
	if need.CI() {
		kills = 100
	}
	if long() {
		// At full speed, with rows as a busy host has them.
		w = writing{Dir: w.Dir, Rows: 250, SealRows: 20_000}
		kills, batches, pause, check = 100, 8, 100*time.Millisecond, 25
	}
	rng := rand.New(rand.NewPCG(5, 6))
	var last written
	var wrote, opening time.Duration
	for round := range kills {
		child, err := tcptest.Launch(writerRole.Name, w)
		if err != nil {
			t.Fatal(err)
		}
		var begin time.Time
		for i := range 1 + rng.IntN(batches) {
			if err := child.Recv(&last); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			if i == 0 {
				begin = time.Now()
			}
		}
		opening = max(opening, last.Took)
		// A child that nobody listens to stops when the pipe is full.
		stop := time.Now().Add(time.Duration(rng.Int64N(int64(pause))))
		for time.Now().Before(stop) {
			if err := child.Recv(&last); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		wrote += time.Since(begin)
		if err := child.Kill(); err != nil {
			t.Fatal(err)
		}
		if round%check == check-1 || round == kills-1 {
			checkKilled(t, w, last.Sequence, round == kills-1 && !long())
		}
	}
	rows := int(last.Sequence) * w.Rows
	t.Logf("%d kills, %d rows at %.0f rows/s; it took at most %s to go on", kills, rows, float64(rows)/wrote.Seconds(), opening)
}

// checkKilled opens what a killed process left. thorough compares whole rows.
func checkKilled(t *testing.T, w writing, acknowledged uint64, thorough bool) {
	t.Helper()
	e, err := Open(w.config())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	last, _, _ := e.LastBatch("w")
	if last.Sequence < acknowledged {
		t.Fatalf("batch %d was acknowledged, %d is there", acknowledged, last.Sequence)
	}
	if thorough {
		want := make(ledger)
		for seq := range last.Sequence {
			b := w.batch(seq + 1)
			want.add(b.Records)
		}
		checkLedger(t, e, want)
	} else {
		checkCount(t, e, int(last.Sequence)*w.Rows)
	}
	for _, d := range e.Status().Damage {
		// A crash leaves a torn end of the log, which is told of and kept; of a file
		// that had just been made there is nothing to keep.
		if d.Kept == "" && d.Bytes != 0 || filepath.Dir(d.File) != logDir {
			t.Errorf("damage: %+v", d)
		}
	}
}

// checkCount checks that there are so many rows of connections, all different.
func checkCount(t *testing.T, e *Engine, want int) {
	t.Helper()
	seen := make(map[[2]uint64]bool)
	rows := 0
	a, err := e.Records(t.Context(), &store.Query{}, func(r *store.Record) error {
		rows++
		seen[[2]uint64{uint64(r.Conn.ID), uint64(r.Time)}] = true
		return nil
	})
	if err != nil || !a.Complete() {
		t.Fatalf("%v, gaps %v", err, a.Gaps)
	}
	if rows != want || len(seen) != want {
		t.Errorf("%d rows, %d of them different, want %d", rows, len(seen), want)
	}
}
