package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// An Engine is what the suite tests.
type Engine interface {
	store.Appender
	store.Querier
}

// A settler can be told to do now what it does by itself after a while.
type settler interface{ Maintain(all bool) error }

// TestQuerier holds the answers of an engine against those of a Reference. open
// makes a new engine without any rows; the suite closes it.
func TestQuerier(t *testing.T, open func(t *testing.T) Engine) {
	t.Run("Aggregate", func(t *testing.T) { testAggregate(t, open) })
	t.Run("Connections", func(t *testing.T) { testConnections(t, open) })
	t.Run("Coarse", func(t *testing.T) { testCoarse(t, open) })
	t.Run("Filters", func(t *testing.T) { testFilters(t, open) })
	t.Run("Empty", func(t *testing.T) { testEmpty(t, open) })
	t.Run("Gaps", func(t *testing.T) { testGaps(t, open) })
	t.Run("Limits", func(t *testing.T) { testLimits(t, open) })
	t.Run("Cancel", func(t *testing.T) { testCancel(t, open) })
	t.Run("SamplesEvents", func(t *testing.T) { testSamplesEvents(t, open) })
}

// Fill appends rows in batches and lets the engine settle after some of them, so
// that a part is in each of the places where it keeps rows.
func Fill(tb testing.TB, e store.Appender, rows []store.Record, batches int) {
	tb.Helper()
	per := max(len(rows)/batches, 1)
	seq := uint64(0)
	for len(rows) > 0 {
		n := min(per, len(rows))
		seq++
		b := store.Batch{ID: store.BatchID{Agent: "suite", Epoch: 1, Sequence: seq}, Time: rows[n-1].Time, Records: rows[:n]}
		if err := e.Append(tb.Context(), &b); err != nil {
			tb.Fatal(err)
		}
		rows = rows[n:]
		if s, ok := e.(settler); ok && (seq == uint64(batches)/3 || seq == uint64(batches)*2/3) {
			if err := s.Maintain(true); err != nil {
				tb.Fatal(err)
			}
		}
	}
}

// Groups collects the groups of an answer.
func Groups(ctx context.Context, e store.Querier, q *store.Query) ([]store.Group, *store.Answer, error) {
	var out []store.Group
	a, err := e.Aggregate(ctx, q, func(g *store.Group) error {
		c := *g
		c.Key, c.Values, c.Known = slices.Clone(g.Key), slices.Clone(g.Values), slices.Clone(g.Known)
		out = append(out, c)
		return nil
	})
	return out, a, err
}

// DiffGroups compares groups; unknown values may be anything.
func DiffGroups(want, got []store.Group) string {
	clean := func(gs []store.Group) []store.Group {
		gs = slices.Clone(gs)
		for i := range gs {
			gs[i].Values = slices.Clone(gs[i].Values)
			for j, ok := range gs[i].Known {
				if !ok {
					gs[i].Values[j] = 0
				}
			}
		}
		return gs
	}
	return cmp.Diff(clean(want), clean(got), cmpopts.EquateEmpty(), cmpopts.EquateApprox(1e-12, 0))
}

func fields(names ...string) (fs []*tcp.Field) {
	for _, n := range names {
		fs = append(fs, tcp.FieldByName(n))
	}
	return fs
}

const suiteDays = 3

// RandomQuery makes a query of aggregates over a History of three days from
// begin.
func RandomQuery(rng *rand.Rand, begin time.Time) *store.Query {
	length := suiteDays * 24 * time.Hour
	q := &store.Query{Resolution: store.Raw}
	q.From = begin.Add(time.Duration(rng.Int64N(int64(length))) - 6*time.Hour)
	q.To = q.From.Add(time.Duration(rng.Int64N(int64(length))))
	if rng.IntN(3) == 0 {
		q.From, q.To = q.From.Truncate(time.Hour), q.To.Truncate(time.Hour).Add(time.Hour)
	}
	for _, f := range fields("service", "process", "host", "remote_ip", "local_port", "country", "direction", "family", "uid") {
		if rng.IntN(9) < 1 {
			q.GroupBy = append(q.GroupBy, f)
		}
	}
	span := q.To.Sub(q.From)
	switch rng.IntN(4) {
	case 0:
		q.Every = max(span/time.Duration(1+rng.IntN(20)), time.Minute).Truncate(time.Second)
	case 1:
		q.Every = max(time.Hour, (span / 40).Truncate(time.Hour))
	}
	if rng.IntN(3) == 0 {
		q.Top = 1 + rng.IntN(4)
	}
	all := []store.Aggregate{
		{Func: store.Count},
		{Func: store.Opened},
		{Func: store.Closed},
		{Func: store.MaxOpen},
		{Func: store.Sum, Field: tcp.FieldByName("bytes_sent")},
		{Func: store.Sum, Field: tcp.FieldByName("retransmits")},
		{Func: store.Sum, Field: tcp.FieldByName("busy_us")},
		{Func: store.Min, Field: tcp.FieldByName("rtt_us")},
		{Func: store.Max, Field: tcp.FieldByName("duration_us")},
		{Func: store.Avg, Field: tcp.FieldByName("bytes_sent")},
		{Func: store.Percentile, Field: tcp.FieldByName("rtt_us"), Q: rng.Float64()},
		{Func: store.Percentile, Field: tcp.FieldByName("handshake_us"), Q: 0.5},
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	q.Aggregates = all[:1+rng.IntN(4)]
	if rng.IntN(3) == 0 {
		f, err := filter.Parse(suiteFilters[rng.IntN(len(suiteFilters))])
		if err == nil {
			q.Filter = f
		}
	}
	return q
}

// Describe writes a query for the message of a test.
func Describe(q *store.Query) string {
	s := []string{fmt.Sprintf("from %v to %v every %v top %d resolution %d", q.From, q.To, q.Every, q.Top, q.Resolution)}
	for _, f := range q.GroupBy {
		s = append(s, "by "+f.Name)
	}
	for _, g := range q.Aggregates {
		s = append(s, fmt.Sprintf("func %d", g.Func))
		if g.Field != nil {
			s = append(s, "of "+g.Field.Name)
		}
	}
	if q.Filter != nil {
		s = append(s, "filter "+q.Filter.Text())
	}
	return strings.Join(s, " ")
}

// suiteFilters have every form of a test on every kind of field.
var suiteFilters = []string{
	"process nginx", "not process nginx", "process != nginx", "has(process)", "not has(service)", `process ~ "^n"`, `process !~ "x$"`,
	"service in {web, ssh}", "service not in {web}", `exe contains "/opt"`, "country de or country FR", "asn == 13335", "has(asn)",
	"host == a", "host == b and service web", "remote_ip == 192.0.2.7", "remote 192.0.2.0/28", "not remote 192.0.2.0/28",
	"local_ip == 10.0.0.1", "host 192.0.2.3", "ip.addr != 192.0.2.3", "dst 192.0.2.4", "src 10.0.0.0/31", "port 443", "not port 443",
	"tcp.port != 443", "sport = :22", "dport >= :30002", "remote_port in {30000..30001}", "server port 443", "client 192.0.2.0/24",
	"ip6", "family ipv4", "inbound", "direction != outbound", "state established", "state closed", "not state closed", "state != closed",
	"close_reason == fin", "close_reason in {rst_sent, rst_received}", "closed_by local", "tcp.flags.reset == 1", "tcp.flags.fin == 0",
	"rtt > 50ms", "rtt <= 50ms and bytes_sent > 50000", "not rtt > 50ms", "rtt between 10ms and 20ms", "bytes_received == 0",
	"bytes_sent != 0", "uid == 0", "uid != 0", "has(uid)", "not has(rtt)", "complete", "not complete", "duration > 1h", "handshake < 20ms",
	"retransmits > 2.5%", "opened > 2026-11-02T00:00:00Z", "opened == 2026-11-02", "closed < 2026-11-02T00:00:00Z", "has(closed)",
	"congestion_control bbr", "cwnd > 12", "delivery_rate > 1MB/s", "pid in {101, 103}", `sni contains "example"`, "has(pid)",
	"service web xor process curl", "(service web or process curl) and not (rtt > 80ms or port 22)", "user root and not ip6",
}

func open1(t *testing.T, open func(t *testing.T) Engine, rows []store.Record) Engine {
	t.Helper()
	e := open(t)
	t.Cleanup(func() { _ = e.Close() })
	Fill(t, e, rows, 9)
	return e
}

func testAggregate(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	for seed := range uint64(2) {
		rows := History(seed, 130, Begin, suiteDays*24*time.Hour)
		ref := &Reference{rows}
		e := open1(t, open, rows)
		rng := rand.New(rand.NewPCG(seed, 99))
		for range 25 {
			q := RandomQuery(rng, Begin)
			got, a, err := Groups(t.Context(), e, q)
			if err != nil {
				t.Fatalf("%s: %v", Describe(q), err)
			}
			if a.Resolution != store.Raw || !a.Complete() || a.Retained == 0 {
				t.Errorf("%s: answer %+v", Describe(q), a)
			}
			if diff := DiffGroups(ref.Aggregate(q), got); diff != "" {
				t.Fatalf("%s (-want +got):\n%s", Describe(q), diff)
			}
		}
	}
}

func testFilters(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	rows := History(50, 130, Begin, suiteDays*24*time.Hour)
	ref := &Reference{rows}
	e := open1(t, open, rows)
	for _, text := range suiteFilters {
		f, err := filter.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		q := &store.Query{
			From: Begin.Add(5 * time.Hour), To: Begin.Add(60 * time.Hour), Filter: f, Resolution: store.Raw,
			Aggregates: []store.Aggregate{{Func: store.Count}, {Func: store.Sum, Field: tcp.FieldByName("bytes_sent")}, {Func: store.MaxOpen}},
		}
		got, _, err := Groups(t.Context(), e, q)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if diff := DiffGroups(ref.Aggregate(q), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
		if len(got) == 0 {
			t.Logf("%s: nothing", text)
		}
		want := 0
		for _, s := range ref.stretches(q) {
			if !s.after && s.Time >= q.From.UnixNano() && s.Time < q.To.UnixNano() {
				want++
			}
		}
		n := 0
		if _, err := e.Records(t.Context(), q, func(*store.Record) error { n++; return nil }); err != nil || n != want {
			t.Errorf("%s: %d records, want %d: %v", text, n, want, err)
		}
	}
}

func testConnections(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	for seed := range uint64(2) {
		rows := History(seed+10, 120, Begin, suiteDays*24*time.Hour)
		ref := &Reference{rows}
		e := open1(t, open, rows)
		rng := rand.New(rand.NewPCG(seed, 5))
		for range 6 {
			q := RandomQuery(rng, Begin)
			want := ref.Connections(q)
			var got []Seen
			_, err := e.Connections(t.Context(), q, func(r *store.Record) error { got = append(got, SeenOf(r)); return nil })
			if err != nil {
				t.Fatalf("%s: %v", Describe(q), err)
			}
			if diff := diffSeen(want, got); diff != "" {
				t.Fatalf("%s (-want +got):\n%s", Describe(q), diff)
			}
			// The first of them, alone.
			q.Limit = 1 + rng.IntN(20)
			got = got[:0]
			if _, err := e.Connections(t.Context(), q, func(r *store.Record) error { got = append(got, SeenOf(r)); return nil }); err != nil {
				t.Fatal(err)
			}
			if diff := diffSeen(want[:min(q.Limit, len(want))], got); diff != "" {
				t.Fatalf("first %d, %s (-want +got):\n%s", q.Limit, Describe(q), diff)
			}
			q.Limit, q.OrderBy, q.Reverse = 30, tcp.FieldByName("bytes_sent"), true
			q.Fields = fields("id", "service")
			var last uint64
			n, known := 0, true
			if _, err := e.Connections(t.Context(), q, func(r *store.Record) error {
				v, ok := q.OrderBy.Num(r.Conn)
				if n > 0 && (ok && !known || ok && v > last) {
					t.Errorf("%s: %d after %d", Describe(q), v, last)
				}
				n, last, known = n+1, v, ok
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if n != min(len(want), q.Limit) {
				t.Errorf("%s: %d connections by bytes, want %d", Describe(q), n, min(len(want), q.Limit))
			}
		}
	}
}

// diffSeen compares connections. Their order shows how they stand by their start,
// which a row that was taken after the range does not tell to the nanosecond.
func diffSeen(want, got []Seen) string {
	same := func(a, b Seen) bool { a.Start = b.Start; return a == b }
	if slices.EqualFunc(want, got, same) {
		return ""
	}
	return cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(Seen{}, "Start"))
}

func testEmpty(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	e := open1(t, open, nil)
	q := &store.Query{Aggregates: []store.Aggregate{{Func: store.Count}, {Func: store.MaxOpen}}, GroupBy: fields("service")}
	for _, res := range []store.Resolution{store.Auto, store.Raw, store.ByMinute, store.ByHour} {
		if q.Resolution = res; res > store.Raw {
			q.Aggregates = []store.Aggregate{{Func: store.MaxOpen}}
		}
		got, a, err := Groups(t.Context(), e, q)
		if err != nil || len(got) != 0 || a == nil {
			t.Errorf("resolution %d: %v, %+v, %v", res, got, a, err)
		}
	}
	if _, err := e.Connections(t.Context(), &store.Query{}, func(*store.Record) error { return errors.New("a connection") }); err != nil {
		t.Error(err)
	}
	for _, bad := range []*store.Query{
		{Aggregates: []store.Aggregate{{Func: store.Sum, Field: tcp.FieldByName("rtt_us")}}},
		{Aggregates: []store.Aggregate{{Func: store.Min}}},
		{Aggregates: []store.Aggregate{{Func: store.Percentile, Field: tcp.FieldByName("rtt_us"), Q: 1.5}}},
		{Aggregates: []store.Aggregate{{Func: 99}}},
		{},
		{Aggregates: []store.Aggregate{{Func: store.Count}}, From: Begin, To: Begin.Add(-1)},
	} {
		if _, _, err := Groups(t.Context(), e, bad); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", Describe(bad), err)
		}
	}
}

func testGaps(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	e := open1(t, open, nil)
	at := func(d time.Duration) int64 { return Begin.Add(d).UnixNano() }
	b := store.Batch{Events: []store.Event{
		{Time: at(time.Hour), Type: store.EventObserver, Text: "start"},
		{Time: at(2 * time.Hour), Type: tcp.EventGap.String(), Where: "ring", Count: 7},
		{Time: at(3 * time.Hour), Type: store.EventObserver, Text: "stop"},
		{Time: at(5 * time.Hour), Since: at(3 * time.Hour), Type: tcp.EventGap.String(), Where: "observer"},
		{Time: at(5 * time.Hour), Type: store.EventObserver, Text: "start"},
		{Time: at(6 * time.Hour), Type: store.EventMark, Text: "deploy"},
		{Time: at(7 * time.Hour), Type: store.EventObserver, Text: "stop"},
	}}
	if err := e.Append(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	q := &store.Query{From: Begin, To: Begin.Add(4 * time.Hour), Aggregates: []store.Aggregate{{Func: store.Count}}}
	check := func(want ...[2]int64) {
		t.Helper()
		_, a, err := Groups(t.Context(), e, q)
		if err != nil {
			t.Fatal(err)
		}
		var got [][2]int64
		for _, g := range a.Gaps {
			got = append(got, [2]int64{g.From, g.To})
			if g.Reason == "" {
				t.Error("a gap without a reason")
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("gaps (-want +got):\n%s", diff)
		}
	}
	check([2]int64{at(2 * time.Hour), at(2 * time.Hour)}, [2]int64{at(3 * time.Hour), at(4 * time.Hour)})
	q.From, q.To = Begin.Add(6*time.Hour), Begin.Add(8*time.Hour)
	check([2]int64{at(7 * time.Hour), at(8 * time.Hour)})
	q.From, q.To = Begin.Add(5*time.Hour+1), Begin.Add(6*time.Hour)
	check()
}

func testLimits(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	rows := History(77, 900, Begin, suiteDays*24*time.Hour)
	e := open1(t, open, rows)
	q := &store.Query{
		From: Begin, To: Begin.Add(72 * time.Hour), Memory: 10_000, GroupBy: fields("id"), Resolution: store.Raw,
		Aggregates: []store.Aggregate{{Func: store.Count}, {Func: store.Percentile, Field: tcp.FieldByName("rtt_us"), Q: 0.5}},
	}
	if _, _, err := Groups(t.Context(), e, q); !errors.Is(err, store.ErrMemory) {
		t.Errorf("groups: %v, want ErrMemory", err)
	}
	q.Every, q.GroupBy = time.Second, nil
	if _, _, err := Groups(t.Context(), e, q); !errors.Is(err, store.ErrMemory) {
		t.Errorf("buckets: %v, want ErrMemory", err)
	}
	if _, err := e.Connections(t.Context(), q, func(*store.Record) error { return nil }); !errors.Is(err, store.ErrMemory) {
		t.Errorf("connections: %v, want ErrMemory", err)
	}
	stop := errors.New("enough")
	n := 0
	if _, err := e.Connections(t.Context(), &store.Query{}, func(*store.Record) error { n++; return stop }); !errors.Is(err, stop) || n != 1 {
		t.Errorf("error of the callback: %v after %d", err, n)
	}
}

func testCancel(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	e := open1(t, open, History(78, 100, Begin, suiteDays*24*time.Hour))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	q := &store.Query{Aggregates: []store.Aggregate{{Func: store.MaxOpen}}, Resolution: store.Raw}
	if _, _, err := Groups(ctx, e, q); !errors.Is(err, context.Canceled) {
		t.Errorf("aggregate: %v", err)
	}
	if _, err := e.Connections(ctx, q, func(*store.Record) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("connections: %v", err)
	}
	if _, err := e.Records(ctx, q, func(*store.Record) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("records: %v", err)
	}
}

func testSamplesEvents(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	e := open1(t, open, nil)
	b := store.Batch{}
	for i := range 50 {
		at := Begin.Add(time.Duration(50-i) * time.Minute).UnixNano()
		b.Samples = append(b.Samples, store.Sample{Time: at, Span: 60e6, ID: tcp.ID(1 + i%3), RTT: uint64(i)})
		b.Events = append(b.Events, store.Event{Time: at, Type: []string{"mark", "reset"}[i%2], Text: fmt.Sprint(i)})
	}
	if err := e.Append(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	var last int64
	n := 0
	_, err := e.Samples(t.Context(), 2, Begin, Begin.Add(40*time.Minute), func(s *store.Sample) error {
		if s.ID != 2 || s.Time < last {
			t.Errorf("sample %+v after %d", s, last)
		}
		last = s.Time
		n++
		return nil
	})
	if err != nil || n != 13 {
		t.Errorf("%d samples: %v", n, err)
	}
	last, n = 0, 0
	_, err = e.Events(t.Context(), Begin.Add(10*time.Minute), time.Time{}, []string{"mark"}, func(v *store.Event) error {
		if v.Type != "mark" || v.Time < last {
			t.Errorf("event %+v after %d", v, last)
		}
		last = v.Time
		n++
		return nil
	})
	if err != nil || n != 21 {
		t.Errorf("%d events: %v", n, err)
	}
}

// testCoarse holds what roll-ups and measured peaks say against the rows.
func testCoarse(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	for seed := range uint64(2) {
		e := open1(t, open, nil)
		length := 75 * time.Minute
		begin := Begin.Add(17 * time.Minute)
		batches := Simulate(seed, begin, length, seed == 1)
		var ref Reference
		for i := range batches {
			if err := e.Append(t.Context(), &batches[i]); err != nil {
				t.Fatal(err)
			}
			ref.Records = append(ref.Records, batches[i].Records...)
			if s, ok := e.(settler); ok && (i == len(batches)/2 || i == len(batches)*3/4) {
				if err := s.Maintain(true); err != nil {
					t.Fatal(err)
				}
			}
		}
		rng := rand.New(rand.NewPCG(seed, 4))
		coarse := 0
		for range 10 {
			q := coarseQuery(rng, begin, length)
			got, a, err := Groups(t.Context(), e, q)
			if err != nil {
				t.Fatalf("%s: %v", Describe(q), err)
			}
			if a.Resolution != store.Raw {
				coarse++
			}
			want := ref.Aggregate(q)
			for _, gs := range [][]store.Group{got, want} {
				for i := range gs {
					gs[i].At = 0
				}
			}
			if diff := DiffGroups(want, got); diff != "" {
				t.Fatalf("%s: resolution %d (-want +got):\n%s", Describe(q), a.Resolution, diff)
			}
		}
		if coarse < 3 {
			t.Errorf("only %d answers are from roll-ups or peaks", coarse)
		}
		testBuckets(t, e, &ref, begin, length)
	}
}

// coarseQuery is a query that roll-ups or peaks can answer, of what was watched.
func coarseQuery(rng *rand.Rand, begin time.Time, length time.Duration) *store.Query {
	q := &store.Query{From: begin.Add(time.Duration(rng.Int64N(int64(length))))}
	q.To = q.From.Add(time.Duration(rng.Int64N(int64(begin.Add(length).Sub(q.From)))))
	if rng.IntN(2) == 0 {
		q.From, q.To = begin, begin.Add(length)
	}
	sums := []store.Aggregate{
		{Func: store.Closed},
		{Func: store.Sum, Field: tcp.FieldByName("bytes_sent")},
		{Func: store.Sum, Field: tcp.FieldByName("segments_sent")},
		{Func: store.Sum, Field: tcp.FieldByName("retransmits")},
	}
	switch rng.IntN(3) {
	case 0:
		q.Aggregates = sums[rng.IntN(2):]
	case 1:
		q.Aggregates = []store.Aggregate{{Func: store.MaxOpen}}
	default:
		q.Aggregates = []store.Aggregate{{Func: store.MaxOpen}, sums[rng.IntN(4)]}
	}
	q.GroupBy = [][]*tcp.Field{nil, fields("service"), fields("process"), fields("host"), fields("service", "host"), fields("service", "process"), fields("direction")}[rng.IntN(7)]
	q.Every = []time.Duration{0, 0, time.Hour, time.Minute, 10 * time.Minute, 2 * time.Hour, 90 * time.Second}[rng.IntN(7)]
	if rng.IntN(4) == 0 {
		q.Top = 2
	}
	if rng.IntN(3) == 0 {
		f, err := filter.Parse([]string{"service web", "host == a", "not process curl", "service in {web, db}"}[rng.IntN(4)])
		if err == nil {
			q.Filter = f
		}
	}
	return q
}

// testBuckets checks percentiles out of roll-ups: of the connections that ended,
// and within the bounds of a bucket.
func testBuckets(t *testing.T, e Engine, ref *Reference, begin time.Time, length time.Duration) {
	t.Helper()
	for _, quantile := range []float64{0, 0.5, 0.9, 0.99, 1} {
		q := &store.Query{From: begin, To: begin.Add(length), Resolution: store.ByMinute, GroupBy: fields("service")}
		for _, f := range fields("rtt_us", "duration_us", "handshake_us") {
			q.Aggregates = append(q.Aggregates, store.Aggregate{Func: store.Percentile, Field: f, Q: quantile}, store.Aggregate{Func: store.Avg, Field: f})
		}
		got, a, err := Groups(t.Context(), e, q)
		if err != nil || !a.Bucketed || a.Resolution != store.ByMinute {
			t.Fatalf("%v, answer %+v", err, a)
		}
		ended := &Reference{}
		for _, r := range ref.Records {
			if r.Kind == store.Close {
				ended.Records = append(ended.Records, r)
			}
		}
		want := make(map[string]store.Group)
		for _, g := range ended.Aggregate(q) {
			want[g.Key[0]] = g
		}
		if len(got) != len(want) {
			t.Fatalf("%d groups, want %d", len(got), len(want))
		}
		for _, g := range got {
			w := want[g.Key[0]]
			for i := range g.Values {
				exact, bound := w.Values[i], g.Values[i]
				if q.Aggregates[i].Func == store.Avg {
					if diff := exact - bound; diff > 1e-6*exact || diff < -1e-6*exact {
						t.Errorf("%v: mean %d is %v, want %v", g.Key, i, bound, exact)
					}
					continue
				}
				if exact > bound || bound > exact*1.25+1 {
					t.Errorf("%v: quantile %v of %s is %v, exactly %v", g.Key, quantile, q.Aggregates[i].Field.Name, bound, exact)
				}
			}
		}
	}
}
