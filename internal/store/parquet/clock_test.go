package parquet

import (
	"math"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

// closedAt is a connection that ended at a time, by a clock that was right.
func closedAt(id uint64, at time.Time) store.Record {
	return store.Record{Kind: store.Close, Time: at.UnixNano(), Host: "web-1", Conn: &tcp.Conn{
		ID: tcp.ID(id << 8), State: tcp.Closed, Names: &tcp.Names{Service: "web"}, Has: tcp.HasBytesSent, Metrics: tcp.Metrics{BytesSent: id},
		Opened: tcp.Stamp{Wall: at.Add(-5 * time.Second).UnixNano(), Boot: int64(1000 * time.Second)},
		Closed: tcp.Stamp{Wall: at.UnixNano(), Boot: int64(1005 * time.Second)},
	}}
}

// TestClockJumps appends rows while the clock of the host goes an hour, days and
// years forwards and back: all rows are kept under the time that they were
// given, seals and merges go on, and nothing is emptied.
func TestClockJumps(t *testing.T) {
	cfg := testConfig(t.TempDir())
	now := storetest.Begin.Add(10 * day)
	cfg.Now = func() time.Time { return now }
	cfg.SealAge = time.Hour
	cfg.Retention = map[store.Table]Retention{store.Connections: {Age: 90 * day}, store.Rollups1m: {Age: 90 * day}}
	e := mustOpen(t, cfg)
	want := make(ledger)
	seq := uint64(0)
	add := func(recs ...store.Record) {
		t.Helper()
		seq++
		b := store.Batch{ID: store.BatchID{Agent: "a", Epoch: 1, Sequence: seq}, Time: now.UnixNano(), Records: recs}
		if err := e.Append(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		want.add(recs)
		if err := e.Maintain(false); err != nil {
			t.Fatal(err)
		}
	}
	for d := range 3 {
		add(closedAt(uint64(d+1), storetest.Begin.Add(time.Duration(d)*day)))
	}
	add(closedAt(6, now))
	id, alive := uint64(10), int64(0)
	for _, jump := range []time.Duration{-1, time.Hour, -2 * time.Hour, day, -3 * day, -80 * day, 84 * day} {
		now = now.Add(jump)
		// By a clock that went back a connection may end before it began.
		r := closedAt(id, now)
		r.Conn.Opened.Wall = now.Add(-jump).UnixNano()
		add(r)
		id++
		last, a, ok := e.LastBatch("a")
		if !ok || last.Sequence != seq || a < alive {
			t.Errorf("after %s: last batch %+v, alive %d, was %d", jump, last, a, alive)
		}
		alive = a
	}
	if err := e.Maintain(true); err != nil {
		t.Fatal(err)
	}
	checkLedger(t, e, want)
	for _, table := range []store.Table{store.Rollups1m, store.Rollups1h} {
		for _, r := range rowsIn(t, e, table, store.RollupColumns()) {
			if r.Duration.Count > 0 && (r.Duration.Min != 5e6 || r.Duration.Max != 5e6) {
				t.Errorf("%s: durations of %d to %d µs, want 5 s", table, r.Duration.Min, r.Duration.Max)
			}
		}
	}
	// Ten years back, everything is of the future. Ten years on, everything is too
	// old at once: one day of each table goes, the next one not within the hour,
	// and then the clock is right again.
	const years = 10 * 365 * day
	before := e.Status()
	now = now.Add(-years)
	if err := e.Maintain(false); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * years)
	for range 3 {
		if err := e.Maintain(false); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Minute)
	}
	now = now.Add(-years)
	if err := e.Maintain(false); err != nil {
		t.Fatal(err)
	}
	after := e.Status()
	for i := range before.Tables {
		if before.Tables[i].Segments-after.Tables[i].Segments > 1 {
			t.Errorf("%s: %d segments of %d are left", before.Tables[i].Table, after.Tables[i].Segments, before.Tables[i].Segments)
		}
	}
	if after.Tables[0].Rows+1 < before.Tables[0].Rows {
		t.Errorf("%d rows of %d are left", after.Tables[0].Rows, before.Tables[0].Rows)
	}
}

// TestTimesAtTheEdge keeps rows of the first and the last moment that a query can
// ask for.
func TestTimesAtTheEdge(t *testing.T) {
	dir := t.TempDir()
	e := mustOpen(t, testConfig(dir))
	var recs []store.Record
	for i, at := range []int64{math.MinInt64, -1, 0, 1, int64(store.Hour) - 1, math.MaxInt64 - 1} {
		recs = append(recs, store.Record{Kind: store.Snapshot, Time: at, Host: "web-1", Conn: &tcp.Conn{ID: tcp.ID(i+1) << 8}})
	}
	if err := e.Append(t.Context(), &store.Batch{ID: store.BatchID{Agent: "a", Epoch: 1, Sequence: 1}, Records: recs}); err != nil {
		t.Fatal(err)
	}
	want := make(ledger)
	want.add(recs)
	checkLedger(t, e, want)
	if err := e.Maintain(true); err != nil {
		t.Fatal(err)
	}
	checkLedger(t, e, want)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	checkLedger(t, mustOpen(t, testConfig(dir)), want)
}
