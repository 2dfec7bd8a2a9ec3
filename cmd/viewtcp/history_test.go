package main

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/store/parquet"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

// storeBatches makes a data directory with rows.
func storeBatches(tb testing.TB, batches ...*store.Batch) (dir string) {
	tb.Helper()
	dir = tb.TempDir()
	cfg := parquet.DefaultConfig()
	cfg.Dir = filepath.Join(dir, storeDir)
	cfg.Retention = nil // rows of any time
	e, err := parquet.Open(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	for _, b := range batches {
		if err := e.Append(tb.Context(), b); err != nil {
			tb.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// generated are the records of some days.
func generated(n int, days float64) []store.Record {
	return storetest.NewGenerator(7, n, storetest.Begin, days).Next(nil, n)
}

func TestScratch(t *testing.T) {
	dir := storeBatches(t, &store.Batch{Records: generated(20000, 1), Time: storetest.Begin.Add(24 * time.Hour).UnixNano()})
	for _, args := range [][]string{
		{"--limit", "5"},
		{"--limit", "2", "-o", "jsonl", "--columns", "id,process,bytes_sent,opened,closed"},
		{"--group-by", "process", "--peak"},
		{"--group-by", "process", "--count", "--sum", "bytes_sent", "--compare", "--since", "2026-11-01 12:00"},
		{"--top", "5", "--by", "bytes_sent", "--group-by", "remote_ip"},
		{"--top", "5", "--by", "bytes_sent"},
		{"--percentiles", "rtt", "--group-by", "service", "--every", "6h"},
		{"--heatmap"},
		{"--events"},
		{"--group-by", "direction", "-o", "csv", "--every", "12h"},
		{"--group-by", "direction", "-o", "json"},
	} {
		args = append([]string{"history", "--data", dir, "--until", "2026-11-02T00:00:00Z"}, args...)
		if !slices.Contains(args, "--since") {
			args = append(args, "--since", "2026-11-01T00:00:00Z")
		}
		r := inProcess(t, args...)
		t.Log(args[5:], r.code, "\n"+r.stdout, "\n", r.stderr)
	}
	r := inProcess(t, "list", "--at", "2026-11-01T12:00:00Z", "--data", dir)
	t.Log(r)
}
