package main

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/store/parquet"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

// observed stores what a daemon would have of n connections within days: rows made
// by a Builder out of their openings, ends and snapshots, and the peaks that it
// measured meanwhile.
func observed(tb testing.TB, n, days int) (dir string) {
	tb.Helper()
	begin := storetest.Begin
	type event struct {
		at   int64
		typ  tcp.EventType
		conn *tcp.Conn
	}
	var events []event
	for _, r := range storetest.NewGenerator(3, n, begin.Add(6*time.Hour), float64(days)-0.25).Next(nil, n) {
		if r.Kind != store.Close || r.Deltas != nil || r.Start() <= begin.UnixNano() {
			continue
		}
		open := *r.Conn
		open.State, open.Closed, open.Reason, open.ClosedBy = tcp.Established, tcp.Stamp{}, tcp.CloseUnknown, tcp.SideUnknown
		open.Opened.Wall, open.Updated = r.Start(), open.Opened
		events = append(events, event{r.Start(), tcp.EventOpened, &open}, event{r.Time, tcp.EventClosed, r.Conn})
	}
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.at, b.at) })

	dir = tb.TempDir()
	cfg := parquet.DefaultConfig()
	cfg.Dir, cfg.Retention = filepath.Join(dir, storeDir), nil
	e, err := parquet.Open(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	bc := store.DefaultBuilderConfig()
	bc.Agent, bc.Host, bc.BootID, bc.Epoch = "local", "web-1", "boot", 1
	b := store.NewBuilder(bc)
	stamp := func(at int64) tcp.Stamp {
		return tcp.Stamp{Wall: at, Boot: at - 1_700_000_000_000_000_000} // as the generator has it
	}
	b.Start(&tcp.Snapshot{Time: stamp(begin.UnixNano())}, nil, 0)
	var batch store.Batch
	take := func() {
		if b.Take(&batch) {
			if err := e.Append(tb.Context(), &batch); err != nil {
				tb.Fatal(err)
			}
		}
	}
	open := make(map[tcp.ID]*tcp.Conn)
	snapshot := func(at int64) *tcp.Snapshot {
		s := &tcp.Snapshot{Time: stamp(at)}
		for _, c := range open {
			now := *c
			now.Updated = s.Time
			s.Conns = append(s.Conns, &now)
		}
		return s
	}
	end := begin.Add(time.Duration(days) * 24 * time.Hour).UnixNano()
	seq, i := uint64(0), 0
	for at := begin.UnixNano() + 59e9; at < end; at += store.Minute {
		for ; i < len(events) && events[i].at <= at; i++ {
			ev := &events[i]
			seq++
			if ev.typ == tcp.EventOpened {
				open[ev.conn.ID] = ev.conn
			} else {
				delete(open, ev.conn.ID)
			}
			b.Event(&tcp.Event{Seq: seq, Time: stamp(ev.at), Type: ev.typ, Conn: ev.conn})
		}
		b.Snapshot(snapshot(at))
		if b.Pending() > 20_000 {
			take()
		}
	}
	b.Stop(snapshot(end - 1e9))
	take()
	if err := e.Close(); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// TestCapacity checks that the most connections that were open at once are the
// same by what was measured meanwhile and by the rows of connections, and that the
// answer says by which.
func TestCapacity(t *testing.T) {
	dir := observed(t, 3000, 2)
	peaks := func(args ...string) (result, []map[string]any) {
		t.Helper()
		r := inProcess(t, append([]string{
			"history", "--data", dir, "--local", "--since", "2026-11-01T06:00:00Z", "--until", "2026-11-02T18:00:00Z",
			"--peak", "-o", "jsonl",
		}, args...)...)
		return r, objects(t, r)
	}
	for _, group := range []string{"service", "process", "host"} {
		for _, every := range []string{"", "6h"} {
			args := []string{"--group-by", group}
			if every != "" {
				args = append(args, "--every", every)
			}
			r, measured := peaks(args...)
			raw, counted := peaks(append(args, "--resolution", "raw")...)
			if len(counted) == 0 || len(measured) != len(counted) {
				t.Fatalf("by %s: %d groups measured, %d counted", group, len(measured), len(counted))
			}
			byKey := make(map[string]any)
			for _, row := range counted {
				byKey[row["time"].(string)+" "+row[group].(string)] = row["max_open"]
			}
			for _, row := range measured {
				key := row["time"].(string) + " " + row[group].(string)
				if row["max_open"] != byKey[key] {
					t.Errorf("by %s, %s: %v measured, %v counted", group, key, row["max_open"], byKey[key])
				}
			}
			if strings.Contains(raw.stderr, "measured") || !strings.Contains(raw.stderr, "rows of connections read") {
				t.Errorf("counted by %s: %s", group, raw.stderr)
			}
			if strings.Contains(r.stderr, "upper bound") {
				t.Errorf("by %s on one host the measured peak is exact: %s", group, r.stderr)
			}
		}
	}
	// Nobody measured this one.
	r, rows := peaks("--group-by", "user")
	if len(rows) == 0 || !strings.Contains(r.stderr, "rows of connections read") {
		t.Errorf("by user: %v", r)
	}
}
