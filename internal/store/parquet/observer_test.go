package parquet

import (
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

// TestObserversStandApart checks that what a tap saw is summed with nothing that
// sockets did, by rows and by roll-ups, and is there for who asks.
func TestObserversStandApart(t *testing.T) {
	e := mustOpen(t, testConfig(t.TempDir()))
	begin := storetest.Begin.Truncate(time.Hour)
	row := func(id int, observer string, bytes uint64) store.Record {
		at := begin.Add(time.Duration(id) * time.Minute).UnixNano()
		c := &tcp.Conn{
			ID: tcp.ID(id), State: tcp.Closed, Direction: tcp.Outbound, Has: tcp.HasBytesSent,
			Opened: tcp.Stamp{Wall: at - 1e9, Boot: 1e9}, Closed: tcp.Stamp{Wall: at, Boot: 2e9}, Updated: tcp.Stamp{Wall: at, Boot: 2e9},
			Names: &tcp.Names{Service: "web", Observer: observer},
		}
		c.Metrics.BytesSent = bytes
		return store.Record{Kind: store.Close, Time: at, Host: "alpha", BootID: "b", Conn: c}
	}
	batch := store.Batch{Records: []store.Record{row(1, "", 10), row(2, "span0", 1000), row(3, "", 5), row(4, "span0", 2000)}}
	if err := e.Append(t.Context(), &batch); err != nil {
		t.Fatal(err)
	}
	sum := func(text string, resolution store.Resolution, by ...string) map[string]float64 {
		t.Helper()
		q := &store.Query{
			From: begin, To: begin.Add(2 * time.Hour), Resolution: resolution,
			Aggregates: []store.Aggregate{{Func: store.Sum, Field: tcp.FieldByName("bytes_sent")}},
		}
		if text != "" {
			f, err := filter.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			q.Filter = f
		}
		for _, name := range by {
			q.GroupBy = append(q.GroupBy, tcp.FieldByName(name))
		}
		got := make(map[string]float64)
		_, err := e.Aggregate(t.Context(), q, func(g *store.Group) error {
			key := ""
			if len(g.Key) > 0 {
				key = g.Key[0]
			}
			got[key] = g.Values[0]
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	check := func(when string) {
		t.Helper()
		for _, r := range []store.Resolution{store.Auto, store.Raw} {
			if got := sum("", r); got[""] != 15 {
				t.Errorf("%s: sockets sent %v, want 15", when, got)
			}
			if got := sum("service web", r, "service"); got["web"] != 15 {
				t.Errorf("%s: the service sent %v, want 15", when, got)
			}
			if got := sum("has(observer)", r); got[""] != 3000 {
				t.Errorf("%s: taps saw %v, want 3000", when, got)
			}
			if got := sum("", r, "observer"); got["span0"] != 3000 || got[""] != 15 {
				t.Errorf("%s: by observer %v", when, got)
			}
		}
		listed := 0
		q := &store.Query{From: begin, To: begin.Add(2 * time.Hour)}
		if _, err := e.Connections(t.Context(), q, func(*store.Record) error { listed++; return nil }); err != nil || listed != 4 {
			t.Errorf("%s: %d connections are listed, %v", when, listed, err)
		}
	}
	check("in the log")
	if err := e.Maintain(true); err != nil {
		t.Fatal(err)
	}
	check("sealed")
	if got := sum("", store.ByMinute); got[""] != 15 {
		t.Errorf("roll-ups say %v, want 15", got)
	}
	// A seal of taps alone makes no roll-ups.
	more := store.Batch{Records: []store.Record{row(70, "span0", 7)}}
	if err := e.Append(t.Context(), &more); err != nil {
		t.Fatal(err)
	}
	if err := e.Maintain(true); err != nil {
		t.Fatal(err)
	}
	if got := sum("has(observer)", store.Auto); got[""] != 3007 {
		t.Errorf("taps saw %v, want 3007", got)
	}
}
