package parquet

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

// rowsIn reads all rows of a table but connections out of segments.
func rowsIn[T any](t *testing.T, e *Engine, table store.Table, cols []store.Column[T]) []T {
	t.Helper()
	v := e.acquire()
	defer e.release(v)
	var out []T
	for i := range v.segments {
		s := &v.segments[i]
		if s.Table != table.String() {
			continue
		}
		f, err := e.fs.Open(s.name())
		if err != nil {
			t.Fatal(err)
		}
		size, _ := f.Size()
		sf, err := openSegment(f, size)
		if err != nil {
			t.Fatal(err)
		}
		rows := make([]T, s.Rows)
		col := new(vec)
		for j := range cols {
			col.reset(cols[j].Type)
			if _, err := sf.read(col, &sf.table.columns[j]); err != nil {
				t.Fatal(err)
			}
			for k := range rows {
				scatter(col, &cols[j], &rows[k], k)
			}
		}
		out = append(out, rows...)
		_ = f.Close()
	}
	return out
}

// TestRollupsEqualRows checks that roll-ups of both intervals sum to what rows sum
// to, as a whole and by group.
func TestRollupsEqualRows(t *testing.T) {
	e := mustOpen(t, testConfig(t.TempDir()))
	g := storetest.NewGenerator(21, 1500, storetest.Begin, 0.2)
	var recs []store.Record
	for seq := range uint64(15) {
		part := g.Next(nil, 100)
		recs = append(recs, part...)
		if err := e.Append(t.Context(), &store.Batch{ID: store.BatchID{Agent: "a", Epoch: 1, Sequence: seq + 1}, Records: part}); err != nil {
			t.Fatal(err)
		}
		if seq%5 == 4 {
			if err := e.Maintain(true); err != nil {
				t.Fatal(err)
			}
		}
	}
	type key struct {
		time                        int64
		service, process, direction string
		port                        uint16
		class                       store.Class
	}
	for _, table := range []store.Table{store.Rollups1m, store.Rollups1h} {
		interval := int64(store.Minute)
		if table == store.Rollups1h {
			interval = store.Hour
		}
		want := make(map[key]*store.Rollup)
		hist := make(map[key]*[3]store.Histogram)
		for i := range recs {
			r, c := &recs[i], recs[i].Conn
			k := key{
				r.Time / interval * interval, c.Names.Service, c.Process.Name, c.Direction.String(),
				store.ServicePort(c.Direction, c.LocalPort, c.RemotePort), store.ClassOf(c.Remote),
			}
			if want[k] == nil {
				want[k], hist[k] = new(store.Rollup), new([3]store.Histogram)
			}
			naiveRollup(want[k], hist[k], r)
		}
		got := make(map[key]*store.Rollup)
		for _, r := range rowsIn(t, e, table, store.RollupColumns()) {
			k := key{r.Time, r.Service, r.Process, r.Direction, r.ServicePort, r.Class}
			if table == store.Rollups1m && (r.Country != "" || r.HasASN) {
				t.Fatalf("by the minute, with a network: %+v", r)
			}
			r.Host, r.Country, r.ASN, r.HasASN = "", "", 0, false
			if got[k] == nil {
				got[k] = &r
			} else if err := got[k].Add(&r); err != nil {
				t.Fatal(err)
			}
		}
		for k, w := range want {
			for i, d := range []*store.Distribution{&w.RTT, &w.Duration, &w.Handshake} {
				d.Buckets = string(hist[k][i].AppendTo(nil))
			}
			r := got[k]
			if r == nil {
				t.Fatalf("%s: no roll-up for %+v", table, k)
			}
			r.Time, r.RollupKey = 0, store.RollupKey{}
			if diff := cmp.Diff(w, r); diff != "" {
				t.Fatalf("%s, %+v (-want +got):\n%s", table, k, diff)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d groups, want %d", table, len(got), len(want))
		}
	}
}

// naiveRollup adds one row as the documentation says.
func naiveRollup(w *store.Rollup, h *[3]store.Histogram, r *store.Record) {
	w.Rows++
	for i, sum := range map[int]*uint64{
		store.BytesSent: &w.BytesSent, store.BytesReceived: &w.BytesReceived, store.SegmentsSent: &w.SegmentsSent,
		store.SegmentsReceived: &w.SegmentsReceived, store.Retransmits: &w.Retransmits, store.BytesRetransmitted: &w.BytesRetransmitted,
	} {
		if d, ok := r.Delta(i); ok {
			*sum += d
		}
	}
	if r.Kind != store.Close {
		return
	}
	c := r.Conn
	w.Closed++
	switch c.Reason { //nolint:exhaustive // the others are no failures
	case tcp.CloseRSTReceived, tcp.CloseRSTSent:
		w.Reset++
	case tcp.CloseRefused, tcp.CloseTimeout, tcp.CloseUnreachable:
		if c.Has&tcp.HasHandshake == 0 {
			w.Failed++
		}
	}
	add := func(d *store.Distribution, h *store.Histogram, v uint64) {
		if d.Count == 0 || v < d.Min {
			d.Min = v
		}
		d.Count++
		d.Sum += v
		d.Max = max(d.Max, v)
		h[store.Bucket(v)]++
	}
	if c.Has&tcp.HasRTT != 0 {
		add(&w.RTT, &h[0], uint64(c.Metrics.RTT))
	}
	if d, ok := c.Duration(); ok {
		add(&w.Duration, &h[1], uint64(d.Microseconds()))
	}
	if c.Has&tcp.HasHandshake != 0 {
		add(&w.Handshake, &h[2], uint64(c.Handshake))
	}
}

// foreignRow is how a stranger would read connections: by the names of columns
// alone.
type foreignRow struct {
	Kind     string  `parquet:"kind"`
	Time     int64   `parquet:"time,timestamp(nanosecond)"`
	ID       uint64  `parquet:"id"`
	Service  string  `parquet:"service,optional"`
	RemoteIP string  `parquet:"remote_ip"`
	Sent     uint64  `parquet:"bytes_sent"`
	Delta    *uint64 `parquet:"bytes_sent_delta,optional"`
	RTT      *uint32 `parquet:"rtt_us,optional"`
	Process  string  `parquet:"process,optional"`
	Complete bool    `parquet:"complete"`
}

// TestIndependentReader reads segments with the library's reader of structs, which
// shares nothing with ours but the decoding of pages.
func TestIndependentReader(t *testing.T) {
	dir := t.TempDir()
	e := mustOpen(t, testConfig(dir))
	g := storetest.NewGenerator(22, 2000, storetest.Begin, 2)
	var want []foreignRow
	for seq := range uint64(20) {
		recs := g.Next(nil, 100)
		for i := range recs {
			r := &recs[i]
			rtt := r.Conn.Metrics.RTT
			w := foreignRow{
				r.Kind.String(), r.Time, uint64(r.Conn.ID), r.Conn.Names.Service, r.Conn.Remote.String(),
				r.Conn.Metrics.BytesSent, nil, &rtt, r.Conn.Process.Name, r.Conn.Complete,
			}
			if r.Deltas != nil {
				w.Delta = &r.Deltas[store.BytesSent]
			}
			want = append(want, w)
		}
		if err := e.Append(t.Context(), &store.Batch{ID: store.BatchID{Agent: "a", Epoch: 1, Sequence: seq + 1}, Records: recs}); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Maintain(true); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "connections", "day=*", "*.parquet"))
	if err != nil || len(files) != 2 {
		t.Fatalf("files %v, %v", files, err)
	}
	var got []foreignRow
	for _, name := range files {
		rows, err := parquet.ReadFile[foreignRow](name)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.IsSortedFunc(rows, func(a, b foreignRow) int {
			if c := strings.Compare(a.Service, b.Service); c != 0 {
				return c
			}
			return int(min(max(a.Time-b.Time, -1), 1))
		}) {
			t.Errorf("%s is not in order", name)
		}
		got = append(got, rows...)
		checkFilters(t, name, rows)
	}
	order := func(a, b foreignRow) int {
		if a.ID != b.ID {
			return int(min(max(int64(a.ID>>1)-int64(b.ID>>1), -1), 1))
		}
		return int(min(max(a.Time-b.Time, -1), 1))
	}
	slices.SortFunc(got, order)
	slices.SortFunc(want, order)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%.2000s", diff)
	}
}

// checkFilters asks the bloom filters for what is there, and for what is not.
func checkFilters(t *testing.T, name string, rows []foreignRow) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	pf, err := parquet.OpenFile(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	chunks := pf.RowGroups()[0].ColumnChunks()
	id, ok := pf.Schema().Lookup("id")
	ip, ok2 := pf.Schema().Lookup("remote_ip")
	if !ok || !ok2 {
		t.Fatal("no columns id, remote_ip")
	}
	wrong := 0
	for i := range rows {
		for _, x := range []struct {
			chunk parquet.ColumnChunk
			value parquet.Value
		}{
			{chunks[id.ColumnIndex], parquet.Int64Value(int64(rows[i].ID))},
			{chunks[ip.ColumnIndex], parquet.ByteArrayValue([]byte(rows[i].RemoteIP))},
		} {
			if hit, err := x.chunk.BloomFilter().Check(x.value); err != nil || !hit {
				t.Fatalf("the filter does not have %v: %v", x.value, err)
			}
		}
		if hit, err := chunks[id.ColumnIndex].BloomFilter().Check(parquet.Int64Value(int64(rows[i].ID) ^ 0x5555)); err != nil || hit {
			wrong++
		}
	}
	if wrong*20 > len(rows) {
		t.Errorf("%d of %d wrong answers of a filter", wrong, len(rows))
	}
}

func TestPacketColumns(t *testing.T) {
	e := mustOpen(t, testConfig(t.TempDir()))
	recs := storetest.NewGenerator(23, 400, storetest.Begin, 0.1).Next(nil, 400)
	storetest.AddPackets(recs[100:])
	want := make(ledger)
	for i := range uint64(4) {
		part := recs[i*100 : (i+1)*100]
		if err := e.Append(t.Context(), &store.Batch{ID: store.BatchID{Agent: "a", Epoch: 1, Sequence: i + 1}, Records: part}); err != nil {
			t.Fatal(err)
		}
		want.add(part)
	}
	checkLedger(t, e, want)
	if err := e.Maintain(true); err != nil {
		t.Fatal(err)
	}
	checkLedger(t, e, want)
}

func TestCompaction(t *testing.T) {
	cfg := testConfig(t.TempDir())
	now := storetest.Begin.Add(3 * day)
	cfg.Now = func() time.Time { return now }
	e := mustOpen(t, cfg)
	g := storetest.NewGenerator(24, 400, storetest.Begin, 2)
	want := make(ledger)
	for i := range 5 {
		feed(t, e, g, want, "a", 1+i, 1, 80)
		e.maintaining.Lock()
		_, err := e.seal()
		e.maintaining.Unlock()
		if err != nil {
			t.Fatal(err)
		}
	}
	before := e.Status().Tables[0].Segments
	reader := e.acquire()
	if err := e.Maintain(false); err != nil {
		t.Fatal(err)
	}
	if s := e.Status().Tables[0]; s.Segments != 2 || s.Rows != 400 {
		t.Errorf("%d segments before, %d after, %d rows", before, s.Segments, s.Rows)
	}
	checkLedger(t, e, want)
	// A reader from before still finds its files; then they go.
	got := make(ledger)
	for i := range reader.segments {
		g := &reader.segments[i]
		if g.Table != "connections" {
			continue
		}
		all := spanOf(time.Time{}, time.Time{})
		err := e.withSegment(g, func(src source) error {
			return eachRow(t.Context(), src, store.RecordColumns(), nil, all, new(store.Answer), func(r *store.Record) error {
				got[storetest.Print(store.RecordColumns(), r)]++
				return nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("old view: %d rows, want %d", len(got), len(want))
	}
	e.release(reader)
	files, _ := filepath.Glob(filepath.Join(cfg.Dir, "connections", "*", "*"))
	if len(files) != 2 {
		t.Errorf("files left: %v", files)
	}
}

func TestRetention(t *testing.T) {
	cfg := testConfig(t.TempDir())
	now := storetest.Begin.Add(10 * day)
	cfg.Now = func() time.Time { return now }
	cfg.Retention = map[store.Table]Retention{store.Connections: {Age: 6 * day}, store.Rollups1m: {Bytes: 1}}
	e := mustOpen(t, cfg)
	g := storetest.NewGenerator(25, 500, storetest.Begin, 10)
	feed(t, e, g, make(ledger), "a", 1, 10, 50)
	segments := func() int { return e.Status().Tables[0].Segments }
	if err := e.Maintain(true); err != nil {
		t.Fatal(err)
	}
	if n := segments(); n != 10 {
		t.Fatalf("%d segments", n)
	}
	// One day at a time, so that a clock that is wrong empties nothing at once.
	for _, want := range []int{9, 9, 8, 8, 7, 7} {
		if err := e.Maintain(true); err != nil {
			t.Fatal(err)
		}
		if n := segments(); n != want {
			t.Errorf("%d segments, want %d", n, want)
		}
		now = now.Add(31 * time.Minute)
	}
	if s := e.Status(); s.Tables[4].Rows != 0 {
		t.Errorf("table beyond its size: %+v", s.Tables[4])
	}
	if first := e.Status().Tables[0].First; first < storetest.Begin.Add(3*day).UnixNano() {
		t.Errorf("oldest row is of %s", time.Unix(0, first).UTC())
	}
}

// TestLostManifest builds the manifest again out of segments.
func TestLostManifest(t *testing.T) {
	for _, when := range []string{"gone", "damaged"} {
		cfg := testConfig(t.TempDir())
		m := newMemFS()
		e, err := open(cfg, m)
		if err != nil {
			t.Fatal(err)
		}
		g := storetest.NewGenerator(27, 250, storetest.Begin, 0.5)
		want := make(ledger)
		for i := range 4 {
			feed(t, e, g, want, "a", 1+5*i, 5, 10)
			if err := e.Maintain(true); err != nil {
				t.Fatal(err)
			}
		}
		feed(t, e, g, want, "a", 21, 5, 10)
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if when == "gone" {
			delete(m.now, manifestName)
		} else {
			m.now[manifestName].data[100] ^= 4
		}
		if e, err = open(cfg, m); err != nil {
			t.Fatal(err)
		}
		checkLedger(t, e, want)
		if n := e.Status().Damages; (n != 0) != (when == "damaged") {
			t.Errorf("%s: %d damages", when, n)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
