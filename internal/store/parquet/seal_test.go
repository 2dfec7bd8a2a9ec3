package parquet

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

// segmentRows are the rows of each segment of a table, by day.
func segmentRows(e *Engine, table store.Table) map[string][]uint64 {
	v := e.acquire()
	defer e.release(v)
	all := make(map[string][]uint64)
	for i := range v.segments {
		if s := &v.segments[i]; s.Table == table.String() {
			all[s.Day] = append(all[s.Day], s.Rows)
		}
	}
	return all
}

// TestSealByDay: a day that is most of a segment is sealed alone, one that is not
// goes with the next.
func TestSealByDay(t *testing.T) {
	for _, test := range []struct {
		name   string
		before int // batches of ten rows before midnight
		seals  int
		want   map[string][]uint64
	}{
		{"most of a segment", 6, 2, map[string][]uint64{"2026-11-01": {60}, "2026-11-02": {60}}},
		{"little", 5, 1, map[string][]uint64{"2026-11-01": {50}, "2026-11-02": {50}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := testConfig(t.TempDir())
			cfg.SealRows = 100
			e := mustOpen(t, cfg)
			e.maintaining.Lock() // no seal comes while rows are still added
			midnight := storetest.Begin.Add(day)
			g := storetest.NewGenerator(71, 120, storetest.Begin, 1)
			for i := range 12 {
				at := midnight.Add(time.Duration(i-test.before) * time.Minute).UnixNano()
				recs := g.Next(nil, 10)
				for j := range recs {
					recs[j].Time = at + int64(j)
				}
				b := store.Batch{ID: store.BatchID{Agent: "a", Epoch: 1, Sequence: uint64(i + 1)}, Time: at + 9, Records: recs}
				if err := e.Append(t.Context(), &b); err != nil {
					t.Fatal(err)
				}
			}
			var left uint64
			for range test.seals {
				if _, err := e.seal(); err != nil {
					t.Fatal(err)
				}
				left = e.view.Load().rows
			}
			e.maintaining.Unlock()
			if diff := cmp.Diff(test.want, segmentRows(e, store.Connections)); diff != "" {
				t.Errorf("segments (-want +got):\n%s", diff)
			}
			sealed := uint64(0)
			for _, list := range test.want {
				for _, n := range list {
					sealed += n
				}
			}
			if left != 120-sealed {
				t.Errorf("%d rows are left, want %d", left, 120-sealed)
			}
		})
	}
}

// TestMergeLopsided: of a day that is over, small segments are merged unless one of
// a few has nearly all rows.
func TestMergeLopsided(t *testing.T) {
	for _, test := range []struct {
		name string
		rows []int
		want []uint64
	}{
		{"alike", []int{40, 30}, []uint64{70}},
		{"alike and tiny", []int{3, 3}, []uint64{6}},
		{"one has nearly all", []int{90, 5, 5}, []uint64{90, 5, 5}},
		{"many", []int{90, 1, 1, 1, 1, 1, 1, 1}, []uint64{97}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := testConfig(t.TempDir())
			cfg.CompactRows = 1 << 30 // merges wait for a day that is over
			now := storetest.Begin
			cfg.Now = func() time.Time { return now }
			e := mustOpen(t, cfg)
			total := 0
			for _, n := range test.rows {
				total += n
			}
			g := storetest.NewGenerator(72, total, storetest.Begin, 0.5)
			for i, n := range test.rows {
				b := store.Batch{ID: store.BatchID{Agent: "a", Epoch: 1, Sequence: uint64(i + 1)}, Records: g.Next(nil, n)}
				if err := e.Append(t.Context(), &b); err != nil {
					t.Fatal(err)
				}
				e.maintaining.Lock()
				_, err := e.seal()
				e.maintaining.Unlock()
				if err != nil {
					t.Fatal(err)
				}
			}
			e.maintaining.Lock()
			now = now.Add(day)
			err := e.compact()
			e.maintaining.Unlock()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(map[string][]uint64{"2026-11-01": test.want}, segmentRows(e, store.Connections)); diff != "" {
				t.Errorf("segments (-want +got):\n%s", diff)
			}
		})
	}
}
