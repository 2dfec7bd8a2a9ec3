package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/store/parquet"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
	"github.com/viewtcp/viewtcp/internal/track"
	"github.com/viewtcp/viewtcp/internal/web"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testToken = "a-token-of-the-tests-0123456789"

// patience is how long a test waits for something that must come.
const patience = time.Minute

// daemon is a server with what a test gives it, on a real socket.
type daemon struct {
	web  *web.Server
	http *httptest.Server
}

func startDaemon(t *testing.T, cfg web.Config) *daemon {
	t.Helper()
	cfg.Token = testToken
	cfg.Limits.Tick, cfg.Limits.Heartbeat = 20*time.Millisecond, 100*time.Millisecond
	s, err := web.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	hs := httptest.NewUnstartedServer(nil)
	hs.Config = s.HTTPServer()
	hs.Start()
	d := &daemon{s, hs}
	t.Cleanup(d.stop)
	return d
}

func (d *daemon) stop() {
	d.web.Close()
	d.http.CloseClientConnections()
	d.http.Close()
}

func (d *daemon) client(t *testing.T) *Client {
	t.Helper()
	c, err := New(d.http.URL, testToken)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestURLs(t *testing.T) {
	for _, good := range []string{"127.0.0.1:9293", "http://localhost:9293", "https://viewtcp.example/", "http://[::1]:9293", "http://host/under/a/path"} {
		if _, err := New(good, testToken); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "ftp://host", "http://", "http://user:secret@host", "http://host?x=1", "http://ho st", "://"} {
		if _, err := New(bad, testToken); err == nil {
			t.Errorf("%q was accepted", bad)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("a password is in %v", err)
		}
	}
}

// TestToken checks that a wrong token is a lack of rights, and that the right one
// is not sent to a server that does not know it.
func TestToken(t *testing.T) {
	d := startDaemon(t, web.Config{})
	if err := d.client(t).Ready(t.Context()); err != nil {
		t.Error(err)
	}
	wrong, err := New(d.http.URL, strings.Repeat("x", 40))
	if err != nil {
		t.Fatal(err)
	}
	defer wrong.Close()
	if err := wrong.Ready(t.Context()); !errors.Is(err, tcp.ErrPermission) {
		t.Errorf("Ready with a wrong token: %v", err)
	}
	if _, err := wrong.Health(t.Context()); !errors.Is(err, tcp.ErrPermission) {
		t.Errorf("Health with a wrong token: %v", err)
	}

	var seen []string
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"))
		_, _ = io.WriteString(w, `{"status":"ready","proof":"nonsense"}`)
	}))
	defer stranger.Close()
	c, err := New(stranger.URL, testToken)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Ready(t.Context()); !errors.Is(err, tcp.ErrPermission) {
		t.Errorf("a stranger's proof: %v", err)
	}
	if strings.Join(seen, "") != "" {
		t.Errorf("the stranger was sent %q", seen)
	}
}

// TestRedirectsAreNotFollowed checks that the token stays with its server.
func TestRedirectsAreNotFollowed(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer other.Close()
	s := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer s.Close()
	c, err := New(s.URL, testToken)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Health(t.Context()); err == nil {
		t.Error("no error")
	}
}

func TestAbsentThings(t *testing.T) {
	c := startDaemon(t, web.Config{}).client(t)
	if err := c.Mark(t.Context(), store.Mark{Text: "x"}); !errors.Is(err, tcp.ErrNotSupported) {
		t.Errorf("mark: %v", err)
	}
	if _, err := c.Connections(t.Context(), &store.Query{From: time.Unix(1, 0), To: time.Unix(2, 0)}, nil); !errors.Is(err, tcp.ErrNotSupported) {
		t.Errorf("history: %v", err)
	}
	if _, err := c.Export(t.Context(), io.Discard, ExportQuery{}); !errors.Is(err, tcp.ErrNotSupported) {
		t.Errorf("export: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	v := c.View(ctx, ViewOptions{Rows: true})
	if err := v.Ready(ctx); !errors.Is(err, tcp.ErrNotSupported) {
		t.Errorf("view: %v", err)
	}
	sub := v.Subscribe(1)
	defer sub.Close()
	if _, err := sub.Next(ctx, nil); !errors.Is(err, tcp.ErrNotSupported) {
		t.Errorf("subscription: %v", err)
	}
	cancel()
	v.Wait()
}

// packets is a recorder that has a few bytes.
type packets struct{ asked web.PacketQuery }

func (p *packets) Export(_ context.Context, w io.Writer, q web.PacketQuery) (web.Exported, error) {
	p.asked = q
	if q.MaxBytes == 1 {
		return web.Exported{}, fmt.Errorf("nothing: %w", fs.ErrNotExist)
	}
	if _, err := io.WriteString(w, strings.Repeat("packet ", 1000)); err != nil {
		return web.Exported{}, err
	}
	if q.MaxBytes == 2 {
		return web.Exported{}, errors.New("the disk is gone")
	}
	return web.Exported{Packets: 1000, Bytes: 7000, Connections: 1, First: time.Unix(1, 0), Note: "naïve 😀"}, nil
}

func TestExport(t *testing.T) {
	p := &packets{}
	c := startDaemon(t, web.Config{Packets: p}).client(t)
	var b strings.Builder
	done, err := c.Export(t.Context(), &b, ExportQuery{IDs: []tcp.ID{1, 2}, Filter: "port 443", From: time.Unix(5, 6)})
	if err != nil {
		t.Fatal(err)
	}
	if b.Len() != 7000 || done.Packets != 1000 || done.Note != "naïve 😀" || !done.First.Equal(time.Unix(1, 0)) {
		t.Errorf("%d bytes, %+v", b.Len(), done)
	}
	if len(p.asked.IDs) != 2 || p.asked.Filter == nil || !p.asked.From.Equal(time.Unix(5, 6)) {
		t.Errorf("asked %+v", p.asked)
	}
	if _, err := c.Export(t.Context(), io.Discard, ExportQuery{MaxBytes: 1}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing recorded: %v", err)
	}
	if _, err := c.Export(t.Context(), io.Discard, ExportQuery{MaxBytes: 2}); err == nil {
		t.Error("a file that is not whole was taken for one")
	}
}

// result is all that a query gave.
type result struct {
	rows   []string
	answer *store.Answer
	err    error
}

// TestSameAnswers asks the engine itself and the engine behind a daemon the same
// questions.
func TestSameAnswers(t *testing.T) {
	cfg := parquet.DefaultConfig()
	cfg.Dir = t.TempDir()
	e, err := parquet.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	begin := time.Now().Add(-6 * time.Hour).Truncate(time.Minute)
	recs := storetest.NewGenerator(5, 500, begin, 0.2).Next(nil, 500)
	storetest.AddPackets(recs[:100])
	batch := &store.Batch{ID: store.BatchID{Agent: "a", Epoch: 1, Sequence: 1}, Time: time.Now().UnixNano(), Records: recs}
	for i := range 20 {
		at := begin.Add(time.Duration(i) * time.Minute).UnixNano()
		batch.Samples = append(batch.Samples, store.Sample{Time: at, Span: 1e6, ID: recs[0].Conn.ID, Host: recs[0].Host, SendRate: uint64(i), RTT: 100})
		batch.Events = append(batch.Events, store.Mark{Time: at, Host: recs[0].Host, Text: fmt.Sprint("deploy ", i), From: "ci"}.Event())
	}
	if err := e.Append(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	c := startDaemon(t, web.Config{Store: e, StoreStatus: e.Status}).client(t)

	field := func(names ...string) (fs []*tcp.Field) {
		for _, n := range names {
			f := tcp.FieldByName(n)
			if f == nil {
				t.Fatal(n)
			}
			fs = append(fs, f)
		}
		return fs
	}
	parse := func(text string) *filter.Filter {
		f, err := filter.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	from, to := begin.Add(-time.Hour), time.Now().Truncate(time.Second)
	groupQuery := func(q store.Query) func(store.Querier) result {
		return func(s store.Querier) (r result) {
			r.answer, r.err = s.Aggregate(t.Context(), &q, func(g *store.Group) error {
				r.rows = append(r.rows, fmt.Sprintf("%+v", *g))
				return nil
			})
			return r
		}
	}
	recordQuery := func(q store.Query, all bool) func(store.Querier) result {
		return func(s store.Querier) (r result) {
			fn := func(rec *store.Record) error {
				r.rows = append(r.rows, storetest.Print(store.RecordColumns(), rec))
				return nil
			}
			if all {
				r.answer, r.err = s.Records(t.Context(), &q, fn)
			} else {
				r.answer, r.err = s.Connections(t.Context(), &q, fn)
			}
			return r
		}
	}
	q95 := store.Aggregate{Func: store.Percentile, Field: tcp.FieldByName("rtt_us"), Q: 0.95}
	for name, ask := range map[string]func(store.Querier) result{
		"connections": recordQuery(store.Query{From: from, To: to}, false),
		"some":        recordQuery(store.Query{From: from, To: to, Filter: parse("port 443"), Fields: field("process", "rtt_us"), Limit: 7}, false),
		"ordered":     recordQuery(store.Query{From: from, To: to, OrderBy: tcp.FieldByName("bytes_sent"), Reverse: true, Limit: 50}, false),
		"records":     recordQuery(store.Query{From: begin, To: begin.Add(2 * time.Hour)}, true),
		"groups": groupQuery(store.Query{From: from, To: to, GroupBy: field("process", "remote_port", "direction"), Aggregates: []store.Aggregate{
			{Func: store.Count}, {Func: store.Sum, Field: tcp.FieldByName("bytes_sent")}, q95, {Func: store.MaxOpen}, {Func: store.Avg, Field: tcp.FieldByName("rtt_us")},
		}, Resolution: store.Raw}),
		"buckets": groupQuery(store.Query{From: begin, To: begin.Add(3 * time.Hour), Every: 10 * time.Minute, GroupBy: field("service"), Aggregates: []store.Aggregate{{Func: store.Opened}, {Func: store.Closed}}, Top: 3}),
		"nothing": groupQuery(store.Query{From: from, To: from.Add(time.Minute), Aggregates: []store.Aggregate{{Func: store.Count}}}),
		"samples": func(s store.Querier) (r result) {
			r.answer, r.err = s.Samples(t.Context(), recs[0].Conn.ID, from, to, func(x *store.Sample) error {
				r.rows = append(r.rows, fmt.Sprintf("%+v", *x))
				return nil
			})
			return r
		},
		"events": func(s store.Querier) (r result) {
			r.answer, r.err = s.Events(t.Context(), from, to, []string{store.EventMark}, func(x *store.Event) error {
				r.rows = append(r.rows, fmt.Sprintf("%+v", *x))
				return nil
			})
			return r
		},
	} {
		t.Run(name, func(t *testing.T) {
			want, got := ask(e), ask(c)
			if want.err != nil || got.err != nil {
				t.Fatalf("engine: %v, daemon: %v", want.err, got.err)
			}
			if name != "nothing" && len(want.rows) == 0 {
				t.Error("the engine itself has no rows")
			}
			if name == "records" { // in no particular order
				slices.Sort(want.rows)
				slices.Sort(got.rows)
			}
			if diff := cmp.Diff(want.rows, got.rows); diff != "" {
				t.Errorf("rows (-engine +daemon):\n%.2000s", diff)
			}
			if diff := cmp.Diff(want.answer, got.answer); diff != "" {
				t.Errorf("answer (-engine +daemon):\n%s", diff)
			}
		})
	}
	stop := errors.New("enough")
	if _, err := c.Connections(t.Context(), &store.Query{From: from, To: to}, func(*store.Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the callback's error became %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := c.Connections(ctx, &store.Query{From: from, To: to}, func(*store.Record) error { cancel(); return ctx.Err() }); !errors.Is(err, context.Canceled) {
		t.Errorf("the end of the context became %v", err)
	}
	if _, err := c.Aggregate(t.Context(), &store.Query{From: from, To: to, GroupBy: field("id"), Aggregates: []store.Aggregate{{Func: store.Count}}, Memory: 1}, func(*store.Group) error { return nil }); !errors.Is(err, store.ErrMemory) {
		t.Errorf("too much memory became %v", err)
	}
}

// feeder drives a real tracker.
type feeder struct {
	t     testing.TB
	mu    sync.Mutex
	track *track.Tracker
	now   tcp.Stamp
}

func newFeeder(tb testing.TB) *feeder {
	tb.Helper()
	cfg := track.DefaultConfig()
	cfg.IDs = tcp.NewIDs("boot")
	cfg.Names = func(*tcp.Conn) *tcp.Names { return &tcp.Names{Host: "h"} }
	return &feeder{t: tb, track: track.New(cfg), now: tcp.Stamp{Wall: time.Now().UnixNano(), Boot: 1e12}}
}

func (f *feeder) observation(cookie uint64, kind tcp.ObservationKind, state tcp.State, sent uint64) tcp.Observation {
	o := tcp.Observation{
		Key:    tcp.Key{NetNS: 1, Tuple: tcp.Tuple{Local: tcp.AddrFrom4([4]byte{192, 0, 2, 1}), Remote: tcp.AddrFrom4([4]byte{198, 51, 100, 1}), LocalPort: uint16(cookie), RemotePort: 443}},
		Cookie: cookie, Time: f.now, Opened: f.now, Kind: kind, State: state, Direction: tcp.Outbound, Has: tcp.HasCookie | tcp.HasBytesSent,
	}
	o.Metrics.BytesSent = sent
	return o
}

// apply hands a full pass over some sockets to the tracker, and events.
func (f *feeder) apply(pass tcp.Pass, obs ...tcp.Observation) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(time.Second)
	pass.Begin = f.now
	for i := range obs {
		obs[i].Time = f.now
	}
	if err := f.track.Apply(&tcp.Batch{Source: tcp.SourceEBPF, Time: f.now, Pass: pass, Observations: obs}); err != nil {
		f.t.Fatal(err)
	}
}

var (
	fullPass  = tcp.Pass{Kind: tcp.PassFull, End: true, Namespaces: []uint32{1}, AllNamespaces: true, Minis: true}
	eventPass = tcp.Pass{Kind: tcp.PassEvents}
)

func conns(s *tcp.Snapshot) map[string]string {
	m := make(map[string]string)
	for _, c := range s.Conns {
		var b []byte
		for _, f := range tcp.Fields() {
			b, _ = f.AppendText(append(b, ' '), c)
		}
		m[c.ID.String()] = string(b)
	}
	return m
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestViewFollows checks that a viewer sees what the tracker sees, and each event
// once, through a connection that breaks.
func TestViewFollows(t *testing.T) {
	f := newFeeder(t)
	f.apply(fullPass, f.observation(1, tcp.Seen, tcp.Established, 10), f.observation(2, tcp.Seen, tcp.Established, 20))
	d := startDaemon(t, web.Config{View: f.track})
	c := d.client(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	var states []error
	v := c.View(ctx, ViewOptions{Rows: true, Status: func(err error) {
		mu.Lock()
		defer mu.Unlock()
		states = append(states, err)
	}})
	sub := v.Subscribe(1 << 16)
	defer sub.Close()
	if err := v.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	same := func() bool { return cmp.Equal(conns(f.track.Snapshot()), conns(v.Snapshot())) }
	eventually(t, "the first rows", same)

	var events []tcp.Event
	next := func(n int) {
		t.Helper()
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		for len(events) < n {
			var err error
			if events, err = sub.Next(ctx, events); err != nil {
				t.Fatalf("after %d events: %v", len(events), err)
			}
		}
	}
	f.apply(eventPass, f.observation(3, tcp.SeenOpened, tcp.SynSent, 0))
	f.apply(eventPass, f.observation(3, tcp.SeenOpened, tcp.Established, 0))
	next(2)
	closed := f.observation(1, tcp.SeenClosed, tcp.Closed, 99)
	closed.Reason = tcp.CloseFIN
	f.apply(eventPass, closed)
	next(3)
	f.apply(fullPass, f.observation(2, tcp.Seen, tcp.CloseWait, 40), f.observation(3, tcp.Seen, tcp.Established, 5))
	eventually(t, "changed rows", same)

	// The connection breaks while something happens.
	d.http.CloseClientConnections()
	for i := range 50 {
		f.apply(eventPass, f.observation(uint64(100+i), tcp.SeenOpened, tcp.SynSent, 0))
	}
	opened := func() (n int) {
		for _, e := range events {
			if e.Type == tcp.EventGap {
				t.Errorf("a gap: %+v", e.Gap)
			}
			if e.Type == tcp.EventOpened && e.Conn.LocalPort >= 100 {
				n++
			}
		}
		return n
	}
	for opened() < 50 {
		next(len(events) + 1)
	}
	seqs := make(map[uint64]bool)
	for _, e := range events {
		if seqs[e.Seq] {
			t.Errorf("event %d came twice", e.Seq)
		}
		seqs[e.Seq] = true
	}
	eventually(t, "rows after the break", same)

	// The end of the context ends all of it.
	cancel()
	if _, err := sub.Next(t.Context(), nil); !errors.Is(err, io.EOF) && err != nil {
		t.Errorf("after the end: %v", err)
	}
	v.Wait()
}

// TestViewSurvivesRestart checks that a daemon that was started again is followed,
// and that what nobody knows is a gap.
func TestViewSurvivesRestart(t *testing.T) {
	f := newFeeder(t)
	f.apply(fullPass, f.observation(1, tcp.Seen, tcp.Established, 10))
	var mu sync.Mutex
	var s *web.Server
	start := func() {
		n, err := web.New(web.Config{View: f.track, Token: testToken})
		if err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		s = n
	}
	start()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		now := s
		mu.Unlock()
		now.Handler().ServeHTTP(w, r)
	}))
	defer front.Close()
	defer func() { s.Close() }()
	c, err := New(front.URL, testToken)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	v := c.View(ctx, ViewOptions{})
	sub := v.Subscribe(1000)
	defer sub.Close()
	if err := v.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	f.apply(eventPass, f.observation(2, tcp.SeenOpened, tcp.SynSent, 0))
	first, err := sub.Next(ctx, nil)
	if err != nil || len(first) != 1 {
		t.Fatalf("%v %v", first, err)
	}
	old := s
	start()
	old.Close()
	var events []tcp.Event
	for len(events) == 0 {
		if events, err = sub.Next(ctx, events); err != nil {
			t.Fatal(err)
		}
	}
	if events[0].Type != tcp.EventGap || events[0].Gap == nil || !events[0].Gap.Unknown || events[0].Gap.Where != "replay" {
		t.Errorf("after the restart: %+v %+v", events[0], events[0].Gap)
	}
	cancel()
	v.Wait()
}

// TestViewMeetsAStranger checks that the token is not sent to a program that took
// the address over while the view was looking away.
func TestViewMeetsAStranger(t *testing.T) {
	f := newFeeder(t)
	f.apply(fullPass, f.observation(1, tcp.Seen, tcp.Established, 10))
	s, err := web.New(web.Config{View: f.track, Token: testToken})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var mu sync.Mutex
	var stranger bool
	var seen []string
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		now := stranger
		if now {
			seen = append(seen, r.Header.Get("Authorization"))
		}
		mu.Unlock()
		if !now {
			s.Handler().ServeHTTP(w, r)
			return
		}
		_, _ = io.WriteString(w, `{"status":"ready","proof":"nonsense"}`)
	}))
	defer front.Close()
	c, err := New(front.URL, testToken)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	v := c.View(ctx, ViewOptions{Rows: true})
	sub := v.Subscribe(10)
	defer sub.Close()
	if err := v.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	stranger = true
	mu.Unlock()
	s.Close()
	for err == nil {
		_, err = sub.Next(ctx, nil)
	}
	if !errors.Is(err, tcp.ErrPermission) {
		t.Errorf("the view ended with %v", err)
	}
	cancel()
	v.Wait()
	mu.Lock()
	defer mu.Unlock()
	if len(seen) == 0 || strings.Join(seen, "") != "" {
		t.Errorf("the stranger was sent %q", seen)
	}
}

func TestList(t *testing.T) {
	f := newFeeder(t)
	f.apply(fullPass, f.observation(1, tcp.Seen, tcp.Established, 10), f.observation(2, tcp.Seen, tcp.TimeWait, 20))
	c := startDaemon(t, web.Config{View: f.track, Health: func() web.Health { return web.Health{Ready: true, Warning: "half of it"} }}).client(t)
	l, err := c.List(t.Context(), "", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(conns(f.track.Snapshot()), conns(&tcp.Snapshot{Conns: l.Conns})); diff != "" || l.Total != 2 || l.Warning != "half of it" {
		t.Errorf("%d, %s (-tracker +list):\n%s", l.Total, l.Warning, diff)
	}
	if l, err = c.List(t.Context(), "state time-wait and port 443", time.Time{}); err != nil || len(l.Conns) != 1 {
		t.Errorf("%v %v", l, err)
	}
	if l, err = c.List(t.Context(), "port 9", time.Time{}); err != nil || len(l.Conns) != 0 {
		t.Errorf("%v %v", l, err)
	}
	if _, err = c.List(t.Context(), "prot 1", time.Time{}); err == nil {
		t.Error("a wrong filter was accepted")
	}
}
