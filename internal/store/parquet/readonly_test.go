package parquet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

func TestReaderNothing(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{filepath.Join(dir, "none"), dir} {
		if _, err := OpenReadOnly(d); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v, want fs.ErrNotExist", err)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("looking left %v", left)
	}
}

// TestReaderAnswers compares a reader with the engine beside it.
func TestReaderAnswers(t *testing.T) {
	cfg := testConfig(t.TempDir())
	e := mustOpen(t, cfg)
	storetest.Fill(t, e, storetest.History(3, 80, storetest.Begin, 72*time.Hour), 9)
	r, err := OpenReadOnly(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 6 {
		q := storetest.RandomQuery(rng, storetest.Begin)
		q.Resolution = store.Auto
		want, a, err := storetest.Groups(t.Context(), e, q)
		if err != nil {
			t.Fatal(err)
		}
		got, b, err := storetest.Groups(t.Context(), r, q)
		if err != nil {
			t.Fatalf("%s: %v", storetest.Describe(q), err)
		}
		if diff := storetest.DiffGroups(want, got); diff != "" {
			t.Fatalf("%s (-engine +reader):\n%s", storetest.Describe(q), diff)
		}
		if a.Rows != b.Rows || a.Segments != b.Segments || a.Retained != b.Retained {
			t.Errorf("answers %+v and %+v", a, b)
		}
		n, m := 0, 0
		if _, err := e.Connections(t.Context(), q, func(*store.Record) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Connections(t.Context(), q, func(*store.Record) error { m++; return nil }); err != nil || n != m {
			t.Fatalf("%d connections, the reader sees %d: %v", n, m, err)
		}
	}
}

// TestReaderBesideWriter reads while an engine appends, seals, merges and expires:
// each answer has whole batches, and all that was acknowledged before it was asked
// for.
func TestReaderBesideWriter(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.CompactRows = 400
	e := mustOpen(t, cfg)
	const batches, per = 24, 40
	g := storetest.NewGenerator(9, batches*per, testBegin, 1)
	acknowledged := make(chan int, batches)
	written := make(chan error, 1)
	go func() {
		defer close(acknowledged)
		for i := range batches {
			b := store.Batch{ID: store.BatchID{Agent: "w", Epoch: 1, Sequence: uint64(i + 1)}, Records: g.Next(nil, per)}
			b.Time = b.Records[per-1].Time
			err := e.Append(t.Context(), &b)
			if err == nil && i%4 == 3 {
				err = e.Maintain(true)
			}
			if err != nil {
				written <- err
				return
			}
			acknowledged <- i + 1
		}
		written <- nil
	}()
	<-acknowledged
	r, err := OpenReadOnly(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	done := 1
	count := func() (n int) {
		a, err := r.Records(t.Context(), &store.Query{}, func(*store.Record) error { n++; return nil })
		if err != nil || !a.Complete() {
			t.Fatalf("%v, gaps %v", err, a.Gaps)
		}
		return n
	}
	for more := true; more; {
		select {
		case i, ok := <-acknowledged:
			if more = ok; ok {
				done = i
				continue // as far as is known by now
			}
		default:
		}
		if n := count(); n%per != 0 || n < done*per {
			t.Fatalf("%d rows, of batches of %d, when %d batches were acknowledged", n, per, done)
		}
		groups, _, err := storetest.Groups(t.Context(), r, &store.Query{Resolution: store.Raw, Aggregates: []store.Aggregate{{Func: store.Closed}, {Func: store.MaxOpen}}})
		if err != nil || len(groups) != 1 {
			t.Fatalf("%d groups: %v", len(groups), err)
		}
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if n := count(); n != batches*per {
		t.Errorf("%d rows, want %d", n, batches*per)
	}
}

// A countdown is a context that ends after it was asked so many times.
type countdown struct {
	context.Context
	left int
}

func (c *countdown) Err() error {
	if c.left--; c.left >= 0 {
		return nil
	}
	return context.Canceled
}

// TestReaderStops checks that a reader stops between two batches of the log when
// its context ends, whenever that is.
func TestReaderStops(t *testing.T) {
	cfg := testConfig(t.TempDir())
	e := mustOpen(t, cfg)
	const batches = 20
	g := storetest.NewGenerator(9, batches*10, testBegin, 1)
	for i := range batches {
		b := store.Batch{ID: store.BatchID{Agent: "w", Epoch: 1, Sequence: uint64(i + 1)}, Records: g.Next(nil, 10)}
		b.Time = b.Records[9].Time
		if err := e.Append(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
	}
	r, err := OpenReadOnly(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	none := func(*segmentInfo) bool { return false }
	whole := &countdown{Context: t.Context(), left: 1 << 30}
	m, err := r.take(whole, none)
	if err != nil || len(m.view.unsealed) != batches {
		t.Fatalf("%d batches: %v", len(m.view.unsealed), err)
	}
	m.release()
	for n := range 1<<30 - whole.left {
		c := &countdown{Context: t.Context(), left: n}
		known := new(manifest)
		part := &moment{view: new(view)}
		if err := r.log(c, part, known); !errors.Is(err, context.Canceled) {
			t.Fatalf("asked %d times: %v", n, err)
		}
		if got := len(part.view.unsealed); got > n {
			t.Errorf("%d batches were read, and the context was asked %d times", got, n)
		}
		if _, err := r.take(&countdown{Context: t.Context(), left: n}, none); !errors.Is(err, context.Canceled) {
			t.Fatalf("asked %d times: %v", n, err)
		}
	}
}

// TestPrune checks that segments are left out by their bloom filters, and only
// those that have nothing to say.
func TestPrune(t *testing.T) {
	cfg := testConfig(t.TempDir())
	e := mustOpen(t, cfg)
	rows := storetest.NewGenerator(5, 1500, testBegin, 2).Next(nil, 1500)
	storetest.Fill(t, e, rows, 6)
	if err := e.Maintain(true); err != nil {
		t.Fatal(err)
	}
	m, err := e.take(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.release()
	lacking := func(text string) (lacks, segments int) {
		f, err := filter.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		for i := range m.view.segments {
			s := &m.view.segments[i]
			if s.Table != store.Connections.String() {
				continue
			}
			segments++
			if err := m.withSegment(s, func(sf *segmentFile) error {
				no, err := sf.lacks(s, compileFilter(f).must)
				if no {
					lacks++
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		return lacks, segments
	}
	if no, all := lacking("remote_ip == 203.0.113.77"); no < all-1 {
		t.Errorf("an address that nobody has: %d of %d segments are left out", no, all)
	}
	if no, all := lacking("dst 203.0.113.77 and port 443"); no < all-1 {
		t.Errorf("with another condition: %d of %d segments are left out", no, all)
	}
	for _, text := range []string{"not remote_ip == 203.0.113.77", "remote_ip == 203.0.113.77 or port 443", "host 203.0.113.77", "remote_ip == 203.0.113.0/24"} {
		if no, _ := lacking(text); no != 0 {
			t.Errorf("%s: %d segments are left out", text, no)
		}
	}
	for i := 0; i < len(rows); i += 149 {
		c := rows[i].Conn
		for _, text := range []string{"remote_ip == " + c.Remote.String(), "id == " + c.ID.String()} {
			f, err := filter.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			found := false
			q := store.Query{Filter: f, Fields: []*tcp.Field{tcp.FieldByName("remote_ip")}}
			if _, err := e.Connections(t.Context(), &q, func(r *store.Record) error {
				found = found || r.Conn.ID == c.ID
				return nil
			}); err != nil || !found {
				t.Fatalf("%s: not found: %v", text, err)
			}
		}
	}
}

// FuzzQuery holds answers to any query against those of the reference.
func FuzzQuery(f *testing.F) {
	f.Add(uint64(1), "process nginx and not port 443")
	f.Add(uint64(2), "rtt > 20ms or host 192.0.2.3")
	f.Add(uint64(3), "")
	f.Add(uint64(4), "tcp.flags.fin == 1 xor state closed")
	rows := storetest.History(21, 40, storetest.Begin, 72*time.Hour)
	ref := &storetest.Reference{Records: rows}
	e, err := Open(testConfig(f.TempDir()))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = e.Close() })
	storetest.Fill(f, e, rows, 9)
	f.Fuzz(func(t *testing.T, seed uint64, text string) {
		q := storetest.RandomQuery(rand.New(rand.NewPCG(seed, 5)), storetest.Begin)
		q.Filter = nil
		if len(text) > 200 {
			return
		}
		if fl, err := filter.Parse(text); err == nil && !fl.MatchesAll() {
			q.Filter = fl
		}
		if q.To.Sub(q.From) > 40*max(q.Every, time.Minute) && q.Every > 0 {
			q.Every = 0 // the reference is slow
		}
		got, _, err := storetest.Groups(t.Context(), e, q)
		if err != nil {
			t.Fatal(err)
		}
		if diff := storetest.DiffGroups(ref.Aggregate(q), got); diff != "" {
			t.Fatal(fmt.Sprintf("%s (-want +got):\n", storetest.Describe(q)) + diff)
		}
	})
}
