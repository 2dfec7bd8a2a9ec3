package parquet

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

var update = flag.Bool("update", false, "write testdata/v1 again, while nothing released has written version 1")

// Version 1 as a program wrote it: a data directory, and what stands in it.
const (
	fixture = "testdata/v1"
	golden  = "testdata/v1.txt"
)

// everything prints all rows of a store, a line each, in order. columns, by table,
// leave out what was added since; nil is all.
func everything(t *testing.T, e *Engine, columns map[string][]string) string {
	t.Helper()
	var out []string
	out = append(out, printed(t, "connections", store.RecordColumns(), columns, func(fn func(*store.Record) error) (*store.Answer, error) {
		return e.Records(t.Context(), &store.Query{}, fn)
	})...)
	ids := make(map[tcp.ID]bool)
	out = append(out, printed(t, "open", store.RecordColumns(), columns, func(fn func(*store.Record) error) (*store.Answer, error) {
		return new(store.Answer), e.Open(t.Context(), func(r *store.Record) bool {
			ids[r.Conn.ID] = true
			return fn(r) == nil
		})
	})...)
	out = append(out, printed(t, "samples", store.SampleColumns(), columns, func(fn func(*store.Sample) error) (*store.Answer, error) {
		for id := range ids {
			if a, err := e.Samples(t.Context(), id, time.Time{}, time.Time{}, fn); err != nil {
				return a, err
			}
		}
		return new(store.Answer), nil
	})...)
	out = append(out, printed(t, "events", store.EventColumns(), columns, func(fn func(*store.Event) error) (*store.Answer, error) {
		return e.Events(t.Context(), time.Time{}, time.Time{}, nil, fn)
	})...)
	out = append(out, printed(t, "usage", store.UsageColumns(), columns, func(fn func(*store.Usage) error) (*store.Answer, error) {
		return e.Usage(t.Context(), new(store.UsageQuery), fn)
	})...)
	out = append(out, printed(t, "peaks", store.PeakColumns(), columns, sealedRows(t, e, store.Peaks, store.PeakColumns()))...)
	for _, table := range []store.Table{store.Rollups1m, store.Rollups1h} {
		out = append(out, printed(t, table.String(), store.RollupColumns(), columns, sealedRows(t, e, table, store.RollupColumns()))...)
	}
	return strings.Join(out, "\n") + "\n"
}

func sealedRows[T any](t *testing.T, e *Engine, table store.Table, cols []store.Column[T]) func(func(*T) error) (*store.Answer, error) {
	t.Helper()
	return func(fn func(*T) error) (*store.Answer, error) {
		for _, r := range rowsIn(t, e, table, cols) {
			if err := fn(&r); err != nil {
				return nil, err
			}
		}
		return new(store.Answer), nil
	}
}

func printed[T any](t *testing.T, name string, cols []store.Column[T], columns map[string][]string, read func(func(*T) error) (*store.Answer, error)) []string {
	t.Helper()
	if columns != nil {
		cols = slices.DeleteFunc(slices.Clone(cols), func(c store.Column[T]) bool { return !slices.Contains(columns[name], c.Name) })
	}
	var names, rows []string
	for i := range cols {
		names = append(names, cols[i].Name)
	}
	a, err := read(func(r *T) error {
		rows = append(rows, strings.TrimSpace(storetest.Print(cols, r)))
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v, %+v", name, err, a)
	}
	slices.Sort(rows)
	return append([]string{"table " + name + ": " + strings.Join(names, " ")}, rows...)
}

// TestFormatVersion1 opens what version 1 wrote, reads all of it, and seals it.
func TestFormatVersion1(t *testing.T) {
	if *update {
		writeFixture(t)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(fixture)); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	want := string(b)
	columns := make(map[string][]string)
	for line := range strings.Lines(want) {
		if name, list, ok := strings.Cut(strings.TrimPrefix(line, "table "), ": "); ok && strings.HasPrefix(line, "table ") {
			columns[name] = strings.Fields(list)
		}
	}
	e := mustOpen(t, fixtureConfig(dir))
	if diff := cmp.Diff(want, everything(t, e, columns)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if s := e.Status(); s.Damages != 0 || s.Replayed == 0 || s.Tables[0].Rows == 0 {
		t.Errorf("damage %+v, %d rows in the log, %d in segments", s.Damage, s.Replayed, s.Tables[0].Rows)
	}
	if last, alive, ok := e.LastBatch("host"); !ok || last.Epoch != 3 || last.Sequence != 2 || alive == 0 {
		t.Errorf("last batch %+v, alive %d, %v", last, alive, ok)
	}
	before := everything(t, e, columns)
	if err := e.Maintain(true); err != nil {
		t.Fatal(err)
	}
	logged, _, _ := strings.Cut(before, "table peaks")
	if after, _, _ := strings.Cut(everything(t, e, columns), "table peaks"); after != logged {
		t.Errorf("rows once sealed (-want +got):\n%s", cmp.Diff(logged, after))
	}
}

func fixtureConfig(dir string) Config {
	cfg := testConfig(dir)
	cfg.Now = func() time.Time { return storetest.Begin.Add(12 * time.Hour) }
	return cfg
}

// writeFixture writes two batches of all kinds of rows, one of them sealed.
func writeFixture(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(fixture); err != nil {
		t.Fatal(err)
	}
	e := mustOpen(t, fixtureConfig(fixture))
	g := storetest.NewGenerator(31, 20, storetest.Begin, 0.2)
	conns := opensAndCloses{rng: newRand(9)}
	for seq := range 2 {
		recs := g.Next(nil, 4)
		if seq == 0 {
			storetest.AddPackets(recs)
		}
		recs = append(recs, conns.next(4)...)
		at := recs[len(recs)-1].Time
		b := store.Batch{
			ID: store.BatchID{Agent: "host", Epoch: 3, Sequence: uint64(seq + 1)}, Time: at,
			Records: recs, Events: marks(seq, 2), Usage: usageRows(storetest.Begin, 2),
			Peaks: []store.Peak{
				{Time: storetest.Begin.UnixNano(), Interval: store.Minute, Set: store.ByService, Host: "web-1", Service: "nginx.service", MaxOpen: 12, Open: 9, Observed: 6e7},
			},
		}
		b.Events = append(b.Events, store.Event{
			Time: at, Since: at - store.Minute, Type: tcp.EventGap.String(), Host: "web-1", Source: "ebpf", Where: "ring",
			Closes: 3, BytesSent: 1 << 40, Text: "\x1b[31m\xff\"", Unknown: true,
		})
		for i := range recs {
			if recs[i].Kind == store.Snapshot {
				b.Samples = append(b.Samples, store.Sample{Time: at, Span: 1e6, ID: recs[i].Conn.ID, Host: "web-1", SendRate: 1 << 33, RTT: 250})
			}
		}
		if err := e.Append(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		if seq == 0 {
			if err := e.Maintain(true); err != nil {
				t.Fatal(err)
			}
		}
	}
	text := everything(t, e, nil)
	if err := errors.Join(e.Close(), os.Remove(filepath.Join(fixture, lockName)), os.WriteFile(golden, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// TestUnknownVersion checks that what a later version wrote is refused, and not
// touched.
func TestUnknownVersion(t *testing.T) {
	build := func(t *testing.T) (Config, *memFS) {
		t.Helper()
		cfg := testConfig(t.TempDir())
		m := newMemFS()
		e, err := open(cfg, m)
		if err != nil {
			t.Fatal(err)
		}
		rows := opensAndCloses{rng: newRand(26)}
		for seq := range uint64(4) {
			b := store.Batch{ID: store.BatchID{Agent: "a", Epoch: 1, Sequence: seq + 1}, Records: rows.next(10), Events: marks(0, 1)}
			if err := e.Append(t.Context(), &b); err != nil {
				t.Fatal(err)
			}
			if seq == 1 {
				if err := e.Maintain(true); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		return cfg, m
	}
	// logFiles calls fn for all files with a suffix.
	logFiles := func(m *memFS, suffix string, fn func(i *inode)) {
		n := 0
		for name, i := range m.now {
			if strings.HasSuffix(name, suffix) {
				fn(i)
				n++
			}
		}
		if n == 0 {
			t.Fatalf("no file %s", suffix)
		}
	}
	// another makes a log of one batch.
	another := func(payload []byte) func(i *inode) {
		return func(i *inode) {
			first, salt, err := parseLogHeader(i.data)
			if err != nil {
				t.Fatal(err)
			}
			i.data = appendFrame(i.data[:logHeaderSize:logHeaderSize], salt, first, payload)
		}
	}
	for name, change := range map[string]func(m *memFS){
		"manifest": func(m *memFS) {
			i := m.now[manifestName]
			i.data = []byte(strings.Replace(string(i.data), manifestMagic+" 1 ", manifestMagic+" 2 ", 1))
		},
		"table of the manifest": func(m *memFS) {
			i := m.now[manifestName]
			man, err := parseManifest(i.data)
			if err != nil {
				t.Fatal(err)
			}
			man.Segments[0].Table = "flows"
			if i.data, err = man.encode(); err != nil {
				t.Fatal(err)
			}
		},
		"log": func(m *memFS) {
			logFiles(m, logSuffix, func(i *inode) {
				head := appendLogHeader(nil, 1, 0, 7)
				head[len(logMagic)] = 2
				copy(i.data, appendChecksum(head[:28]))
			})
		},
		"batch":             func(m *memFS) { logFiles(m, logSuffix, another([]byte{2, 0})) },
		"table of a batch":  func(m *memFS) { logFiles(m, logSuffix, another([]byte{1, 0, 1, 1, 0, 1, 99, 1, 1, 0})) },
		"column of a batch": func(m *memFS) { logFiles(m, logSuffix, another(laterColumn())) },
		"open connections":  func(m *memFS) { logFiles(m, openSuffix, another([]byte{2, 0})) },
		"open and no manifest": func(m *memFS) {
			delete(m.now, manifestName)
			logFiles(m, openSuffix, func(i *inode) {
				head := bytes.Clone(i.data[:28])
				head[len(logMagic)] = 2
				copy(i.data, appendChecksum(head))
			})
		},
		"segment without a manifest": func(m *memFS) {
			delete(m.now, manifestName)
			logFiles(m, segmentSuffix, func(i *inode) {
				i.data = []byte(strings.Replace(string(i.data), `{"format":1,`, `{"format":2,`, 1))
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, m := build(t)
			change(m)
			before := m.contents()
			_, err := open(cfg, m)
			if !errors.Is(err, store.ErrVersion) {
				t.Fatalf("opened: %v", err)
			}
			t.Log(err)
			if diff := cmp.Diff(before, m.contents()); diff != "" {
				t.Error("data was changed")
			}
		})
	}
}

// laterColumn is a batch of one event with a column that this program does not
// know.
func laterColumn() []byte {
	block := appendUvarints(nil, 2)
	block = appendColumn(block, 1, encDelta, []byte{2})
	block = appendColumn(block, 9999, encVarint, []byte{5})
	b := append([]byte{formatVersion, 0}, 1, 1, 0, 1, byte(store.Events))
	return append(appendUvarints(b, 1, uint64(len(block))), block...)
}
