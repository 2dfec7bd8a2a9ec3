package parquet

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

// tmpfs mounts a file system of a size and returns a directory on it. options are
// those of mount(8).
func tmpfs(t *testing.T, options string) string {
	t.Helper()
	need.Root(t)
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("viewtcp-test", dir, "tmpfs", 0, options); err != nil {
		need.That(t, false, fmt.Sprintf("to mount a tmpfs (%v)", err))
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	})
	return dir
}

// TestFaultSmallDisk fills a real file system and frees it again.
func TestFaultSmallDisk(t *testing.T) {
	dir := tmpfs(t, "size=4m,mode=0700")
	w := writing{Dir: filepath.Join(dir, "data"), Rows: 10, SealRows: 400}
	cfg := w.config()
	cfg.Retention = map[store.Table]Retention{
		store.Connections: {Bytes: 20_000}, store.Rollups1m: {Bytes: 5_000}, store.Rollups1h: {Bytes: 5_000},
	}
	e, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	ballast := filepath.Join(dir, "ballast")
	seq := uint64(0)
	rounds := 20
	if long() {
		rounds = 200
	}
	for round := range rounds {
		// Somebody else takes the rest of the disk.
		f, err := os.Create(ballast)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(f, zeros{}); !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		var b store.Batch
		for tries := 0; ; tries++ {
			seq++
			b = w.batch(seq)
			if err = e.Append(t.Context(), &b); err != nil {
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
		for range 6 { // to have something to expire
			seq++
			b = w.batch(seq)
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

// zeros has no end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// TestReadOnlyDisk opens a directory that cannot be written: an error that says
// so, and a reader that reads it.
func TestReadOnlyDisk(t *testing.T) {
	disk := tmpfs(t, "size=4m,mode=0700")
	dir := filepath.Join(disk, "data")
	e := mustOpen(t, testConfig(dir))
	want := make(ledger)
	g := storetest.NewGenerator(41, 20, testBegin, 0.1)
	feed(t, e, g, want, "a", 1, 1, 10)
	if err := e.Maintain(true); err != nil {
		t.Fatal(err)
	}
	feed(t, e, g, want, "a", 2, 1, 10)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, filepath.Join(disk, "other")} {
		if _, err := Open(testConfig(d)); !errors.Is(err, syscall.EROFS) {
			t.Errorf("opening %s: %v, want EROFS", d, err)
		}
	}
	r, err := OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := make(ledger)
	a, err := r.Records(t.Context(), &store.Query{}, func(rec *store.Record) error {
		got[storetest.Print(store.RecordColumns(), rec)]++
		return nil
	})
	if err != nil || !a.Complete() || len(got) != len(want) {
		t.Errorf("%d rows, want %d: %v", len(got), len(want), err)
	}
}

// TestNoDirectory opens what is no directory.
func TestNoDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		var path *fs.PathError
		if _, err := Open(testConfig(dir)); !errors.As(err, &path) {
			t.Errorf("opening %s: %v", dir, err)
		}
	}
}
