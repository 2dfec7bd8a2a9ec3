package parquet

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestDamagedRetention: what was set aside goes by age, and the oldest of it by
// size.
func TestDamagedRetention(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	cfg := testConfig(dir)
	cfg.Now = func() time.Time { return now }
	cfg.Damaged = Retention{Age: 90 * day, Bytes: 1000}
	e := mustOpen(t, cfg)
	put := func(name string, size int, age time.Duration) {
		t.Helper()
		path := filepath.Join(dir, damagedDir, name)
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	left := func(want ...string) {
		t.Helper()
		if err := e.Maintain(false); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(filepath.Join(dir, damagedDir))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, entry := range entries {
			got = append(got, entry.Name())
		}
		if !slices.Equal(got, want) {
			t.Errorf("left %q, want %q", got, want)
		}
	}
	put("a", 100, 91*day)
	put("b", 600, 89*day)
	put("c", 300, day)
	left("b", "c")
	put("d", 200, time.Hour) // 1,100 bytes: the oldest goes
	left("c", "d")
	now = now.Add(89*day + 12*time.Hour)
	left("d")
}
