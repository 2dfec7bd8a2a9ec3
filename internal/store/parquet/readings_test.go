package parquet

import (
	"runtime"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

// TestReadingsInLittleMemory asks for values of more connections of several rows
// than memory holds at once: those that ended are let go on the way.
func TestReadingsInLittleMemory(t *testing.T) {
	const days, memory = 60, 44_000
	rows := storetest.History(7, 1000, testBegin, days*24*time.Hour)
	several := make(map[tcp.ID]bool)
	for i := range rows {
		if rows[i].Since != 0 {
			several[rows[i].Conn.ID] = true
		}
	}
	rtt := tcp.FieldByName("rtt_us")
	q := &store.Query{
		From: testBegin, To: testBegin.Add(days * 24 * time.Hour), Resolution: store.Raw, Memory: memory,
		GroupBy:    []*tcp.Field{tcp.FieldByName("process")},
		Aggregates: []store.Aggregate{{Func: store.Max, Field: rtt}, {Func: store.Avg, Field: rtt}},
	}
	if size := newGauges(&aggregation{q: q}).size * int64(len(several)); size < 5*memory/4 {
		t.Fatalf("%d connections of several rows take %d bytes: too few to tell", len(several), size)
	}
	// One worker reads in the order of the segments: what others hold meanwhile
	// depends on how fast each is.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	e := mustOpen(t, testConfig(t.TempDir()))
	storetest.Fill(t, e, rows, 12)
	if err := e.Maintain(true); err != nil {
		t.Fatal(err)
	}
	for _, every := range []time.Duration{0, 5 * 24 * time.Hour} {
		q.Every, q.Memory = every, 0
		want, _, err := storetest.Groups(t.Context(), e, q)
		if err != nil || len(want) == 0 {
			t.Fatalf("%d groups: %v", len(want), err)
		}
		q.Memory = memory
		got, _, err := storetest.Groups(t.Context(), e, q)
		if err != nil {
			t.Fatal(err)
		}
		if diff := storetest.DiffGroups(want, got); diff != "" {
			t.Fatalf("every %v, with much memory and with little (-much +little):\n%s", every, diff)
		}
	}
}
