package parquet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

// batchRows are the rows of one batch of the writer, the same in every process.
func batchRows(seq uint64) []store.Record {
	const rows = 40
	begin := storetest.Begin.Add(time.Duration(seq) * time.Second)
	return storetest.NewGenerator(seq, rows, begin, 1.0/86400).Next(nil, rows)
}

func writerConfig(dir string) Config {
	cfg := DefaultConfig()
	cfg.Dir, cfg.SealRows, cfg.LogBytes, cfg.Retention = dir, 4000, 200_000, nil
	return cfg
}

// writerRole writes batches as fast as it can and tells of each that was
// acknowledged, until it is killed.
var writerRole = tcptest.Role{Name: "store writer", Run: func(c *tcptest.Control) error {
	var dir string
	if err := c.Recv(&dir); err != nil {
		return err
	}
	e, err := Open(writerConfig(dir))
	if err != nil {
		return err
	}
	last, _, _ := e.LastBatch("w")
	for seq := last.Sequence + 1; ; seq++ {
		b := store.Batch{ID: store.BatchID{Agent: "w", Epoch: 1, Sequence: seq}, Time: int64(seq), Records: batchRows(seq)}
		if err := e.Append(context.Background(), &b); err != nil {
			return err
		}
		if err := c.Send(seq); err != nil {
			return err
		}
	}
}}

// TestFaultKilled kills a process in the middle of writing, over and over. What it
// said was acknowledged is there, once, and so is all that it kept besides.
func TestFaultKilled(t *testing.T) {
	dir := t.TempDir()
	kills := 20
	if tcptest.CI() {
		kills = 100
	}
	rng := rand.New(rand.NewPCG(5, 6))
	acknowledged := uint64(0)
	for round := range kills {
		child, err := tcptest.Launch(writerRole.Name, dir)
		if err != nil {
			t.Fatal(err)
		}
		for range 1 + rng.IntN(60) {
			if err := child.Recv(&acknowledged); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		time.Sleep(time.Duration(rng.IntN(10_000)) * time.Microsecond)
		if err := child.Kill(); err != nil {
			t.Fatal(err)
		}
		if round%10 == 9 || round == kills-1 {
			checkKilled(t, dir, acknowledged)
		}
	}
	t.Logf("%d kills, %d rows", kills, acknowledged*40)
}

func checkKilled(t *testing.T, dir string, acknowledged uint64) {
	t.Helper()
	cfg := writerConfig(dir)
	e, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	last, _, _ := e.LastBatch("w")
	if last.Sequence < acknowledged {
		t.Fatalf("batch %d was acknowledged, %d is there", acknowledged, last.Sequence)
	}
	want := make(ledger)
	for seq := range last.Sequence {
		want.add(batchRows(seq + 1))
	}
	checkLedger(t, e, want)
	for _, d := range e.Status().Damage {
		if d.Kept == "" {
			t.Errorf("damage: %+v", d)
		}
	}
}

// TestFaultSmallDisk fills a real file system and frees it again.
func TestFaultSmallDisk(t *testing.T) {
	tcptest.NeedRoot(t)
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("viewtcp-test", dir, "tmpfs", 0, "size=16m,mode=0700"); err != nil {
		tcptest.Need(t, false, fmt.Sprintf("to mount a tmpfs (%v)", err))
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	})
	cfg := writerConfig(filepath.Join(dir, "data"))
	cfg.Retention = map[store.Table]Retention{
		store.Connections: {Bytes: 500_000}, store.Rollups1m: {Bytes: 300_000}, store.Rollups1h: {Bytes: 300_000},
	}
	e, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	ballast := filepath.Join(dir, "ballast")
	seq := uint64(0)
	rounds := 10
	if tcptest.CI() {
		rounds = 50
	}
	for round := range rounds {
		// Somebody else takes the rest of the disk.
		f, err := os.Create(ballast)
		if err != nil {
			t.Fatal(err)
		}
		block := make([]byte, 1<<16)
		for err == nil {
			_, err = f.Write(block)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		var b store.Batch
		for tries := 0; ; tries++ {
			seq++
			b = store.Batch{ID: store.BatchID{Agent: "w", Epoch: 1, Sequence: seq}, Time: int64(seq), Records: batchRows(seq)}
			err = e.Append(t.Context(), &b)
			if err != nil {
				break
			}
			if tries > 5000 {
				t.Fatal("the disk is never full")
			}
		}
		if !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("round %d: %v", round, err)
		}
		if s := e.Status(); s.State != store.StateFull {
			t.Errorf("round %d: state %s", round, s.State)
		}
		if err := errors.Join(f.Close(), os.Remove(ballast)); err != nil {
			t.Fatal(err)
		}
		if err := e.Append(t.Context(), &b); err != nil {
			t.Fatalf("round %d, with space again: %v", round, err)
		}
		for range 30 { // to have something to expire
			seq++
			b = store.Batch{ID: store.BatchID{Agent: "w", Epoch: 1, Sequence: seq}, Time: int64(seq), Records: batchRows(seq)}
			if err := e.Append(t.Context(), &b); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.Maintain(false); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	if err := e.Maintain(true); err != nil {
		t.Fatal(err)
	}
	s := e.Status()
	if s.Expired == 0 || s.State != store.StateOK || s.Damages != 0 {
		t.Errorf("expired %d segments, state %s, damage %+v", s.Expired, s.State, s.Damage)
	}
	for row, n := range stored(t, e) {
		if n != 1 {
			t.Fatalf("row is there %d times: %s", n, row)
		}
	}
	last, _, _ := e.LastBatch("w")
	if last.Sequence != seq {
		t.Errorf("last batch %d, want %d", last.Sequence, seq)
	}
}
