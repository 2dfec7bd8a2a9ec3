package parquet

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

// usageRows makes rows of a host and two processes, each second one.
func usageRows(begin time.Time, n int) (rows []store.Usage) {
	for i := range n {
		at := begin.Add(time.Duration(i) * 10 * time.Second).UnixNano()
		host := store.Usage{Time: at, Span: 10_000_000, Host: "alpha", Scope: store.ScopeHost}
		for m := range store.NumMeasures {
			if i%3 != 0 || m%2 == 0 {
				host.Set(m, uint64(i)*uint64(m))
			}
		}
		rows = append(rows, host)
		for pid := range 2 {
			p := store.Usage{
				Time: at, Span: 10_000_000, Host: "alpha", Scope: store.ScopeProcess, PID: uint64(100 + pid),
				Process: [...]string{"curl", "nginx"}[pid], User: "www", Started: begin.UnixNano(), Container: "web", Unit: "nginx.service",
			}
			p.Set(store.CPUUser, uint64(i))
			p.Set(store.Memory, 1<<40)
			rows = append(rows, p)
		}
	}
	return rows
}

func readUsage(t *testing.T, e store.UsageQuerier, q store.UsageQuery) (rows []store.Usage) {
	t.Helper()
	a, err := e.Usage(t.Context(), &q, func(u *store.Usage) error {
		rows = append(rows, *u)
		return nil
	})
	if err != nil || !a.Complete() {
		t.Fatalf("%v, gaps %v", err, a.Gaps)
	}
	return rows
}

// TestUsageIsKept follows rows of usage from the log through a restart into
// segments.
func TestUsageIsKept(t *testing.T) {
	dir := t.TempDir()
	e := mustOpen(t, testConfig(dir))
	begin := storetest.Begin
	rows := usageRows(begin, 100)
	for i, part := range [][]store.Usage{rows[:150], rows[150:]} {
		b := store.Batch{ID: store.BatchID{Agent: "a", Epoch: 1, Sequence: uint64(i + 1)}, Usage: part}
		if err := e.Append(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string) {
		t.Helper()
		if diff := cmp.Diff(rows, readUsage(t, e, store.UsageQuery{})); diff != "" {
			t.Fatalf("%s: (-want +got)\n%s", when, diff)
		}
		one := readUsage(t, e, store.UsageQuery{
			From: begin.Add(50 * time.Second), To: begin.Add(100 * time.Second), Scope: store.ScopeProcess, PID: 101,
		})
		if len(one) != 5 || one[0].Process != "nginx" || one[4].Values[store.CPUUser] != 9 {
			t.Fatalf("%s: one process in a range: %d rows", when, len(one))
		}
		if hosts := readUsage(t, e, store.UsageQuery{Scope: store.ScopeHost}); len(hosts) != 100 {
			t.Fatalf("%s: %d rows of the host", when, len(hosts))
		}
		if named := readUsage(t, e, store.UsageQuery{Process: "nginx"}); len(named) != 100 {
			t.Fatalf("%s: %d rows of a name", when, len(named))
		}
	}
	check("in the log")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = mustOpen(t, testConfig(dir))
	check("replayed")
	if err := e.Maintain(true); err != nil {
		t.Fatal(err)
	}
	check("sealed")
	st := e.Status()
	last := st.Tables[len(st.Tables)-1]
	if st.Unsealed != 0 || last.Table != store.UsageTable || last.Rows != uint64(len(rows)) {
		t.Errorf("%d rows unsealed, table %+v", st.Unsealed, last)
	}
	stop := errors.New("enough")
	if _, err := e.Usage(t.Context(), &store.UsageQuery{}, func(*store.Usage) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("error of the callback: %v", err)
	}
}
