package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testToken = "a-token-of-the-tests-0123456789"

// fakeView is a view whose test says what there is and what happens.
type fakeView struct {
	mu   sync.Mutex
	snap *tcp.Snapshot
	subs []*fakeSub
	seq  uint64
}

type fakeSub struct {
	view   *fakeView
	events chan []tcp.Event
}

func newFakeView(conns ...*tcp.Conn) *fakeView {
	v := &fakeView{snap: &tcp.Snapshot{}}
	v.publish(conns...)
	return v
}

func (v *fakeView) Snapshot() *tcp.Snapshot {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.snap
}

func (v *fakeView) publish(conns ...*tcp.Conn) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := &tcp.Snapshot{Seq: v.snap.Seq + 1, Time: tcp.Stamp{Wall: testBegin.UnixNano() + int64(v.snap.Seq)*1e9, Boot: int64(v.snap.Seq+10) * 1e9}, Conns: conns}
	for _, c := range conns {
		if c.Open() {
			s.Stats.Open++
		}
	}
	v.snap = s
}

func (v *fakeView) Subscribe(int) tcp.Subscription {
	s := &fakeSub{view: v, events: make(chan []tcp.Event, 4096)}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.subs = append(v.subs, s)
	return s
}

func (v *fakeView) emit(t tcp.EventType, c *tcp.Conn) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seq++
	for _, s := range v.subs {
		s.events <- []tcp.Event{{Seq: v.seq, Time: tcp.Stamp{Wall: testBegin.UnixNano(), Boot: 1}, Type: t, Conn: c}}
	}
}

func (s *fakeSub) Next(ctx context.Context, dst []tcp.Event) ([]tcp.Event, error) {
	select {
	case e, ok := <-s.events:
		if !ok {
			return dst, io.EOF
		}
		return append(dst, e...), nil
	case <-ctx.Done():
		return dst, ctx.Err()
	}
}

func (s *fakeSub) Close() {}

// fakeStore answers with what it was given, whatever is asked, and remembers the
// question.
type fakeStore struct {
	mu      sync.Mutex
	query   *store.Query
	records []store.Record
	groups  []store.Group
	samples []store.Sample
	events  []store.Event
	answer  store.Answer
	// fail is returned after failAfter rows.
	fail      error
	failAfter int
	// block, if not nil, holds queries up until it is closed.
	block chan struct{}
	asked chan struct{}
}

func each[T any](ctx context.Context, s *fakeStore, q *store.Query, rows []T, fn func(*T) error) (*store.Answer, error) {
	s.mu.Lock()
	s.query = q
	s.mu.Unlock()
	if s.asked != nil {
		s.asked <- struct{}{}
	}
	if s.block != nil {
		select {
		case <-s.block:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	for i := range rows {
		if s.fail != nil && i == s.failAfter {
			return nil, s.fail
		}
		if q != nil && q.Limit > 0 && i >= q.Limit {
			break
		}
		if err := fn(&rows[i]); err != nil {
			return nil, err
		}
	}
	if s.fail != nil && s.failAfter >= len(rows) {
		return nil, s.fail
	}
	a := s.answer
	return &a, nil
}

func (s *fakeStore) Connections(ctx context.Context, q *store.Query, fn func(*store.Record) error) (*store.Answer, error) {
	rows := s.records
	if q.Filter != nil {
		rows = slices.DeleteFunc(slices.Clone(rows), func(r store.Record) bool { return !q.Filter.Match(r.Conn) })
	}
	return each(ctx, s, q, rows, fn)
}

func (s *fakeStore) Records(ctx context.Context, q *store.Query, fn func(*store.Record) error) (*store.Answer, error) {
	return each(ctx, s, q, s.records, fn)
}

func (s *fakeStore) Aggregate(ctx context.Context, q *store.Query, fn func(*store.Group) error) (*store.Answer, error) {
	return each(ctx, s, &store.Query{From: q.From, To: q.To, Filter: q.Filter, GroupBy: q.GroupBy, Aggregates: q.Aggregates, Every: q.Every, Top: q.Top, Memory: q.Memory, Resolution: q.Resolution}, s.groups, fn)
}

func (s *fakeStore) Samples(ctx context.Context, _ tcp.ID, _, _ time.Time, fn func(*store.Sample) error) (*store.Answer, error) {
	return each(ctx, s, nil, s.samples, fn)
}

func (s *fakeStore) Events(ctx context.Context, _, _ time.Time, types []string, fn func(*store.Event) error) (*store.Answer, error) {
	rows := slices.DeleteFunc(slices.Clone(s.events), func(e store.Event) bool { return len(types) > 0 && !slices.Contains(types, e.Type) })
	return each(ctx, s, nil, rows, fn)
}

var testBegin = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func testConn(id tcp.ID, name string) *tcp.Conn {
	c := &tcp.Conn{
		ID: id, State: tcp.Established, Direction: tcp.Outbound, Source: tcp.SourceEBPF, Complete: true,
		Key:    tcp.Key{Tuple: tcp.Tuple{Local: tcp.AddrFrom4([4]byte{192, 0, 2, 1}), Remote: tcp.AddrFrom4([4]byte{198, 51, 100, byte(id)}), LocalPort: 40000 + uint16(id), RemotePort: 443}},
		Opened: tcp.Stamp{Wall: testBegin.UnixNano(), Boot: 5e9}, Updated: tcp.Stamp{Wall: testBegin.UnixNano(), Boot: 7e9},
		Process: &tcp.Process{ProcessID: tcp.ProcessID{PID: int32(id)}, Name: name},
		Names:   &tcp.Names{Host: "test-host", Service: "https"},
		Has:     tcp.HasBytesSent | tcp.HasBytesReceived | tcp.HasSendRate | tcp.HasReceiveRate | tcp.HasRTT | tcp.HasRetransmits,
	}
	c.Metrics.BytesSent, c.Metrics.BytesReceived = uint64(id)*1000, uint64(id)*2000
	c.Metrics.SendRate, c.Metrics.ReceiveRate, c.Metrics.RTT = uint64(id)*100, uint64(id)*200, 1500
	c.Metrics.Retransmits = uint32(id % 2)
	return c
}

// listener is a listening socket.
func listener() *tcp.Conn {
	return &tcp.Conn{ID: 99, State: tcp.Listen, Direction: tcp.Listening, Key: tcp.Key{Tuple: tcp.Tuple{LocalPort: 22}}, Has: tcp.HasBacklog}
}

func testRecords(n int) []store.Record {
	return storetest.NewGenerator(1, n, testBegin, 1).Next(nil, n)
}

// testConfig is a server with everything, and small limits that tests can reach.
func testConfig(v *fakeView, st *fakeStore) Config {
	cfg := Config{
		View: v, Store: st, Token: testToken, Version: "1.2.3", Hosts: []string{"viewtcp.example"},
		StoreStatus: func() store.Status {
			return store.Status{Rows: 5, Tables: []store.TableStatus{{Table: store.Connections, Segments: 1, Rows: 5, Bytes: 1 << 20, First: testBegin.UnixNano(), Last: testBegin.UnixNano() + 1}}}
		},
		Health: func() Health {
			return Health{Ready: true, Host: "test-host", BootID: "b", PID: 7, Started: testBegin, Source: "ebpf", Features: []tcp.Feature{{Name: "f", Available: true, Reason: "r", Remedy: "m"}}}
		},
		Metrics: func(w io.Writer) error {
			_, err := io.WriteString(w, "# HELP viewtcp_test x\n# TYPE viewtcp_test gauge\nviewtcp_test 1\n")
			return err
		},
	}
	cfg.Limits.Tick, cfg.Limits.Heartbeat = 20*time.Millisecond, 50*time.Millisecond
	return cfg
}

// fixture is a server that a test asks over real sockets.
type fixture struct {
	t   *testing.T
	s   *Server
	url string
}

func start(t *testing.T, cfg Config) *fixture {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	hs := httptest.NewUnstartedServer(nil)
	hs.Config = s.HTTPServer()
	hs.Start()
	t.Cleanup(func() {
		s.Close()
		hs.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return &fixture{t, s, hs.URL}
}

// reply is an answer that is closed when the test ends.
type reply struct{ *http.Response }

// request makes a request with the token; change may alter it.
func (f *fixture) request(method, path, body string, change func(*http.Request)) reply {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), method, f.url+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+testToken)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if change != nil {
		change(r)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = resp.Body.Close() })
	return reply{resp}
}

// get reads a whole answer.
func (f *fixture) get(path string) (int, string) {
	f.t.Helper()
	return f.body(f.request(http.MethodGet, path, "", nil))
}

func (f *fixture) body(resp reply) (int, string) {
	f.t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil && !errors.Is(err, io.EOF) {
		f.t.Fatalf("reading %s: %v", resp.Request.URL, err)
	}
	return resp.StatusCode, string(b)
}
