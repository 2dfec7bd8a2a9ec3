package web

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/viewtcp/viewtcp/internal/api"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

func problem(t *testing.T, body string) *api.Problem {
	t.Helper()
	var p api.Problem
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("%v in %q", err, body)
	}
	return &p
}

func TestConnections(t *testing.T) {
	f := start(t, testConfig(newFakeView(testConn(1, "nginx"), testConn(2, "curl\x1b[31m\u202e"), listener()), &fakeStore{}))
	for query, want := range map[string]string{
		"":                                "1 2 99",
		"?filter=process+%3D%3D+nginx":    "1",
		"?sort=send_rate":                 "2 1 99",
		"?sort=send_rate&reverse":         "1 2 99",
		"?sort=send_rate&limit=1":         "2",
		"?filter=state+listening":         "99",
		"?filter=process+%3D%3D+nobody":   "",
		"?columns=id,state,local&limit=2": "1 2",
	} {
		status, body := f.get("/api/v1/connections" + query)
		var list struct {
			Matched, Total int
			Connections    []map[string]any
		}
		if err := json.Unmarshal([]byte(body), &list); err != nil || status != 200 {
			t.Fatalf("%s: %d %v %s", query, status, err, body)
		}
		var got []string
		for _, c := range list.Connections {
			id, _ := tcp.ParseID(c["id"].(string))
			got = append(got, fmt.Sprint(uint64(id)))
		}
		if strings.Join(got, " ") != want || list.Total != 3 {
			t.Errorf("%s: %v of %d, want %s", query, got, list.Total, want)
		}
		if strings.ContainsAny(body, "\x1b\u202e") {
			t.Errorf("%s: hostile text in %q", query, body)
		}
	}
}

func TestConnectionByID(t *testing.T) {
	recs := testRecords(50)
	f := start(t, testConfig(newFakeView(testConn(1, "nginx")), &fakeStore{records: recs}))
	if status, body := f.get("/api/v1/connections/" + tcp.ID(1).String()); status != 200 || !strings.Contains(body, `"process":"nginx"`) {
		t.Errorf("alive: %d %s", status, body)
	}
	id := recs[7].Conn.ID.String()
	if status, body := f.get("/api/v1/connections/" + id); status != 200 || !strings.Contains(body, id) || !strings.Contains(body, `"kind":`) {
		t.Errorf("past: %d %s", status, body)
	}
	for _, bad := range []string{tcp.ID(123456).String(), "nonsense", "c"} {
		if status, body := f.get("/api/v1/connections/" + bad); status != 404 || problem(t, body).Type != api.ProblemNotFound {
			t.Errorf("%s: %d %s", bad, status, body)
		}
	}
}

// TestProblems checks that each mistake is told in the same form.
func TestProblems(t *testing.T) {
	f := start(t, testConfig(newFakeView(), &fakeStore{}))
	for _, tt := range []struct {
		method, path string
		status       int
		kind, detail string
	}{
		{"GET", "/api/v1/nothing", 404, api.ProblemNotFound, "/api/v1/nothing"},
		{"GET", "/nothing", 404, api.ProblemNotFound, ""},
		{"DELETE", "/api/v1/connections", 405, api.ProblemMethod, "GET, HEAD"},
		{"OPTIONS", "/api/v1/connections", 405, api.ProblemMethod, ""},
		{"PUT", "/api/v1/marks", 405, api.ProblemMethod, "POST"},
		{"GET", "/api/v1/connections?filter=stat+established", 400, api.ProblemFilter, ""},
		{"GET", "/api/v1/connections?filer=x", 400, api.ProblemBadRequest, "filer"},
		{"GET", "/api/v1/connections?limit=-1", 400, api.ProblemBadRequest, "limit"},
		{"GET", "/api/v1/connections?limit=1&limit=2", 400, api.ProblemBadRequest, "more than once"},
		{"GET", "/api/v1/connections?columns=nope", 400, api.ProblemBadRequest, "nope"},
		{"GET", "/api/v1/connections?sort=rtt,pid", 400, api.ProblemBadRequest, "sort"},
		{"GET", "/api/v1/connections?at=yesteryear", 400, api.ProblemBadRequest, "yesteryear"},
		{"GET", "/api/v1/connections?%zz", 400, api.ProblemBadRequest, ""},
		{"GET", "/api/v1/history?since=1h&until=2h", 400, api.ProblemBadRequest, "before it begins"},
		{"GET", "/api/v1/history?every=1ns", 400, api.ProblemBadRequest, "every"},
		{"GET", "/api/v1/history?every=-1s", 200, "", ""},
		{"GET", "/api/v1/history?aggregates=sum", 400, api.ProblemBadRequest, "sum:rtt_us"},
		{"GET", "/api/v1/history?aggregates=sum:process", 400, api.ProblemBadRequest, "no number"},
		{"GET", "/api/v1/history?aggregates=p101:rtt", 400, api.ProblemBadRequest, ""},
		{"GET", "/api/v1/history?resolution=2m", 400, api.ProblemBadRequest, "2m"},
		{"GET", "/api/v1/history?rows=records&group_by=process", 400, api.ProblemBadRequest, "rows"},
		{"GET", "/api/v1/history?format=xml", 400, api.ProblemBadRequest, "xml"},
		{"GET", "/api/v1/history?memory=lots", 400, api.ProblemBadRequest, "memory"},
		{"GET", "/api/v1/top?by=nothing", 400, api.ProblemBadRequest, "nothing"},
		{"GET", "/api/v1/heatmap?field=nothing", 400, api.ProblemBadRequest, "nothing"},
		{"GET", "/api/v1/heatmap?since=90d&every=1s", 400, api.ProblemBadRequest, "every"},
		{"GET", "/api/v1/events?events=close", 400, api.ProblemBadRequest, "close"},
		{"GET", "/api/v1/live?interval=1ms", 400, api.ProblemBadRequest, "interval"},
		{"GET", "/api/v1/packets", 501, api.ProblemAbsent, "records no packets"},
		{"GET", "/api/v1/usage", 501, api.ProblemAbsent, "measure"},
		{"POST", "/api/v1/marks", 501, api.ProblemAbsent, "marks"},
		{"GET", "/static/../server.go", 404, api.ProblemNotFound, ""},
		{"GET", "/static/login.html", 404, api.ProblemNotFound, ""},
		{"GET", "/api/v1/connections?filter=" + strings.Repeat("x", 40000), 414, api.ProblemTooLarge, ""},
	} {
		resp := f.request(tt.method, tt.path, "", nil)
		status, body := f.body(resp)
		if status == 307 || status == 301 { // the mux cleans paths
			continue
		}
		if status != tt.status {
			t.Errorf("%s %.80s: status %d, want %d: %s", tt.method, tt.path, status, tt.status, body)
			continue
		}
		if tt.status == 200 {
			continue
		}
		p := problem(t, body)
		if p.Type != tt.kind || p.Status != status || p.Title == "" || !strings.Contains(p.Detail, tt.detail) {
			t.Errorf("%s %.80s: %+v, want type %s and %q", tt.method, tt.path, p, tt.kind, tt.detail)
		}
		if ct := resp.Header.Get("Content-Type"); ct != api.ProblemType {
			t.Errorf("%s %.80s: Content-Type %s", tt.method, tt.path, ct)
		}
		if status == 405 && resp.Header.Get("Allow") == "" {
			t.Errorf("%s %s: no Allow", tt.method, tt.path)
		}
	}
	_, body := f.get("/api/v1/connections?filter=" + url.QueryEscape("port 443 and stat == x"))
	if p := problem(t, body); p.Position == nil || *p.Position != 13 || p.Column != 14 || p.Suggestion == "" || p.Parameter != "filter" {
		t.Errorf("filter error: %s", body)
	}
}

// TestAbsent checks a server that has nothing: each thing is refused with a
// sentence, and the page still works.
func TestAbsent(t *testing.T) {
	f := start(t, Config{Token: testToken})
	for _, path := range []string{"/connections", "/events", "/live", "/history", "/peaks", "/top", "/top?since=1h", "/heatmap", "/history/events", "/marks", "/packets", "/usage", "/connections?at=now", "/connections/" + tcp.ID(5).String() + "/samples"} {
		status, body := f.get("/api/v1" + path)
		if p := problem(t, body); status != 501 || p.Type != api.ProblemAbsent || p.Detail == "" {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	for _, path := range []string{"/", "/api/v1/health", "/api/v1/fields", "/metrics", "/healthz", "/readyz"} {
		if status, body := f.get(path); status != 200 {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if _, err := New(Config{Token: "short"}); err == nil {
		t.Error("a short token was accepted")
	}
}

func TestHistory(t *testing.T) {
	st := &fakeStore{records: testRecords(30), answer: store.Answer{Resolution: store.Raw, Rows: 30, Gaps: []store.Gap{{From: 1e18, To: 2e18, Reason: "nobody was watching"}}}}
	f := start(t, testConfig(newFakeView(), st))
	status, body := f.get("/api/v1/history?since=2h&filter=port+443&columns=id,process&limit=10")
	var doc struct {
		Rows   []map[string]any
		Answer *api.Answer
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil || status != 200 {
		t.Fatalf("%d %v %s", status, err, body)
	}
	if doc.Answer == nil || doc.Answer.Complete || len(doc.Answer.Gaps) != 1 || doc.Answer.Resolution != "raw" {
		t.Errorf("answer %+v", doc.Answer)
	}
	if q := st.query; q.Filter == nil || q.To.Sub(q.From) != 2*time.Hour || len(q.Fields) != 2 || q.Limit != 10 || q.Memory == 0 {
		t.Errorf("question %+v", st.query)
	}

	status, body = f.get("/api/v1/history?rows=records&format=ndjson")
	lines := strings.Split(strings.TrimSpace(body), "\n")
	if status != 200 || len(lines) != 31 {
		t.Fatalf("%d, %d lines", status, len(lines))
	}
	end, ok, err := api.ReadEnd([]byte(lines[30]))
	if err != nil || !ok || end.Answer == nil || end.Answer.Limited != 0 {
		t.Errorf("end %s: %v", lines[30], err)
	}

	// More rows than the usual limit: the answer says so.
	cfg := testConfig(newFakeView(), st)
	cfg.Limits.Rows, cfg.Limits.MaxRows = 10, 20
	f = start(t, cfg)
	for query, want := range map[string][2]int{"": {10, 10}, "?limit=0": {20, 20}, "?limit=25": {20, 20}, "?limit=7": {7, 0}} {
		doc.Rows, doc.Answer = nil, nil
		_, body := f.get("/api/v1/history" + query)
		if err := json.Unmarshal([]byte(body), &doc); err != nil {
			t.Fatalf("%v %s", err, body)
		}
		if len(doc.Rows) != want[0] || doc.Answer.Limited != want[1] {
			t.Errorf("%s: %d rows, limited %d, want %v", query, len(doc.Rows), doc.Answer.Limited, want)
		}
	}
}

func TestHistoryFails(t *testing.T) {
	st := &fakeStore{records: testRecords(300)}
	f := start(t, testConfig(newFakeView(), st))
	for err, want := range map[error]int{
		fmt.Errorf("scanning: %w", store.ErrMemory):  422,
		fmt.Errorf("scanning: %w", store.ErrInvalid): 400,
		fmt.Errorf("scanning: %w", store.ErrClosed):  503,
		context.DeadlineExceeded:                     503,
		io.ErrNoProgress:                             500,
	} {
		st.fail, st.failAfter = err, 0
		if status, body := f.get("/api/v1/history"); status != want || problem(t, body).Status != want {
			t.Errorf("%v: %d %s", err, status, body)
		}
	}
	// After rows were sent, the error is the end of the answer.
	st.fail, st.failAfter = fmt.Errorf("scanning: %w", store.ErrMemory), 300
	_, body := f.get("/api/v1/history?format=ndjson&limit=0")
	lines := strings.Split(strings.TrimSpace(body), "\n")
	end, ok, err := api.ReadEnd([]byte(lines[len(lines)-1]))
	if err != nil || !ok || end.Error == nil || end.Error.Type != api.ProblemMemory {
		t.Errorf("end %s: %v", lines[len(lines)-1], err)
	}
	_, body = f.get("/api/v1/history?limit=0")
	var doc struct{ Error *api.Problem }
	if err := json.Unmarshal([]byte(body), &doc); err != nil || doc.Error == nil {
		t.Errorf("%v in %.200s", err, body)
	}
}

func TestGroups(t *testing.T) {
	st := &fakeStore{groups: []store.Group{
		{Time: testBegin.UnixNano(), Key: []string{"nginx", "443"}, Values: []float64{5, 1.5}, Known: []bool{true, true}, At: testBegin.UnixNano()},
		{Time: testBegin.UnixNano(), Other: true, Values: []float64{1, 0}, Known: []bool{true, false}},
	}}
	f := start(t, testConfig(newFakeView(testConn(1, "a"), testConn(2, "b"), testConn(3, "b"), listener()), st))
	_, body := f.get("/api/v1/history?group_by=process,remote_port&aggregates=max_open,p95:rtt")
	for _, want := range []string{`"process":"nginx"`, `"remote_port":443`, `"max_open":5`, `"rtt_us_p95":1.5`, `"max_open_at":"2026-11-23T12:00:00.000000000Z"`, `"other":true`} {
		if !strings.Contains(body, want) {
			t.Errorf("%s is missing in %s", want, body)
		}
	}
	if _, body := f.get("/api/v1/peaks?group_by=process,remote_port"); !strings.Contains(body, `"max_open":5`) {
		t.Errorf("peaks: %s", body)
	}
	if a := st.query.Aggregates; len(a) != 1 || a[0].Func != store.MaxOpen {
		t.Errorf("peaks asked for %+v", a)
	}
	f.get("/api/v1/top?since=1h&by=bytes_sent&n=3&group_by=remote_ip")
	if a := st.query.Aggregates; a[0].Func != store.Sum || st.query.Top != 3 {
		t.Errorf("top asked for %+v", st.query)
	}
	f.get("/api/v1/top?since=1h&by=rtt")
	if a := st.query.Aggregates; a[0].Func != store.Max {
		t.Errorf("top asked for %+v", st.query)
	}
	_, body = f.get("/api/v1/top?by=bytes_sent&n=1")
	var doc struct{ Rows []map[string]any }
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Rows) != 2 || doc.Rows[0]["process"] != "b" || doc.Rows[0]["bytes_sent_sum"] != 5000.0 || doc.Rows[0]["count"] != 2.0 || doc.Rows[1]["other"] != true || doc.Rows[1]["bytes_sent_sum"] != 1000.0 {
		t.Errorf("top now: %s", body)
	}
}

func TestHeatmap(t *testing.T) {
	at := func(minute int) int64 { return testBegin.Add(time.Duration(minute) * time.Minute).UnixNano() }
	st := &fakeStore{groups: []store.Group{
		{Time: at(0), Key: []string{"22"}, Values: []float64{1}, Known: []bool{true}},
		{Time: at(0), Key: []string{"443"}, Values: []float64{5}, Known: []bool{true}},
		{Time: at(2), Key: []string{"443"}, Values: []float64{7}, Known: []bool{true}},
		{Time: at(2), Other: true, Key: []string{""}, Values: []float64{50}, Known: []bool{true}},
	}}
	f := start(t, testConfig(newFakeView(), st))
	_, body := f.get("/api/v1/heatmap?since=2026-11-23T12:00:00Z&until=2026-11-23T12:03:00Z&every=1m")
	var h heatmap
	if err := json.Unmarshal([]byte(body), &h); err != nil {
		t.Fatalf("%v %s", err, body)
	}
	if len(h.Times) != 3 || len(h.Rows) != 3 || h.Rows[0].Key != "443" || h.Max != 50 || *h.Rows[0].Values[2] != 7 || h.Rows[0].Values[1] != nil || !h.Rows[2].Other || h.Answer == nil {
		t.Errorf("%s", body)
	}
}

func TestMarks(t *testing.T) {
	var kept []store.Mark
	cfg := testConfig(newFakeView(), &fakeStore{events: []store.Event{{Time: 1e18, Type: store.EventMark, Text: "deploy \u202e", Source: "ci"}, {Time: 1e18, Type: "gap"}}})
	cfg.Mark = func(_ context.Context, m store.Mark) error { kept = append(kept, m); return nil }
	f := start(t, cfg)
	status, body := f.body(f.request("POST", "/api/v1/marks", `{"text":" deploy 1.4 ","from":"ci","time":"2026-11-23T11:00:00+01:00"}`, nil))
	if status != 201 || len(kept) != 1 || kept[0].Text != "deploy 1.4" || kept[0].From != "ci" || kept[0].Host != "test-host" || kept[0].Time != testBegin.Add(-2*time.Hour).UnixNano() {
		t.Errorf("%d %s: %+v", status, body, kept)
	}
	for body, want := range map[string]int{
		`{"text":""}`: 400, `{"txt":"x"}`: 400, `[]`: 400, `{"text":"x"}{"text":"y"}`: 400, `{`: 400,
		`{"text":"` + strings.Repeat("x", 5000) + `"}`: 400, `{"text":"` + strings.Repeat("x", 70000) + `"}`: 413,
		`{"text":"x","time":"1100-01-01T00:00:00Z"}`: 400,
	} {
		if status, answer := f.body(f.request("POST", "/api/v1/marks", body, nil)); status != want {
			t.Errorf("%.40s: %d, want %d: %s", body, status, want, answer)
		}
	}
	if status, _ := f.body(f.request("POST", "/api/v1/marks", `{"text":"x"}`, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") })); status != 415 {
		t.Errorf("text/plain: %d", status)
	}
	if len(kept) != 1 {
		t.Errorf("%d marks were kept", len(kept))
	}
	if _, body := f.get("/api/v1/marks"); !strings.Contains(body, `"text":"deploy \u202e"`) || strings.Contains(body, `"gap"`) {
		t.Errorf("%s", body)
	}
}

// TestCompression checks that what is compressed is the same, and that small
// answers are not.
func TestCompression(t *testing.T) {
	var conns []*tcp.Conn
	for i := range 200 {
		conns = append(conns, testConn(tcp.ID(i+1), "nginx"))
	}
	f := start(t, testConfig(newFakeView(conns...), &fakeStore{}))
	_, plain := f.body(f.request("GET", "/api/v1/connections", "", func(r *http.Request) { r.Header.Set("Accept-Encoding", "identity") }))
	for accept, want := range map[string]string{
		"gzip": "gzip", "zstd, gzip": "zstd", "zstd;q=0, gzip": "gzip", "br": "", "gzip;q=0.9, zstd;q=0.1": "gzip", "*": "",
	} {
		resp := f.request("GET", "/api/v1/connections", "", func(r *http.Request) { r.Header.Set("Accept-Encoding", accept) })
		var body io.Reader = resp.Body
		if got := resp.Header.Get("Content-Encoding"); got != want {
			t.Errorf("%s: %s, want %s", accept, got, want)
			continue
		}
		var err error
		switch want {
		case "gzip":
			body, err = gzip.NewReader(body)
		case "zstd":
			var z *zstd.Decoder
			z, err = zstd.NewReader(body, zstd.WithDecoderConcurrency(1))
			defer z.Close()
			body = z
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(body)
		if err != nil || string(b) != plain {
			t.Errorf("%s: %d bytes, want %d (%v)", accept, len(b), len(plain), err)
		}
	}
	resp := f.request("GET", "/healthz", "", func(r *http.Request) { r.Header.Set("Accept-Encoding", "gzip") })
	if resp.Header.Get("Content-Encoding") != "" || resp.ContentLength <= 0 {
		t.Errorf("a small answer: %v", resp.Header)
	}
}

func TestHead(t *testing.T) {
	st := &fakeStore{records: testRecords(3)}
	f := start(t, testConfig(newFakeView(testConn(1, "a")), st))
	for _, path := range []string{"/api/v1/connections", "/api/v1/history", "/api/v1/events", "/api/v1/live", "/api/v1/health", "/"} {
		status, body := f.body(f.request("HEAD", path, "", nil))
		if status != 200 || body != "" {
			t.Errorf("HEAD %s: %d %q", path, status, body)
		}
	}
	if st.query != nil {
		t.Error("HEAD asked the store")
	}
}

func TestMetricsAndHealth(t *testing.T) {
	f := start(t, testConfig(newFakeView(testConn(1, "a")), &fakeStore{}))
	f.get("/api/v1/nothing")
	_, body := f.get("/metrics")
	for _, want := range []string{"viewtcp_test 1\n", `viewtcp_http_requests_total{class="4xx"} 1`, "viewtcp_http_streams 0"} {
		if !strings.Contains(body, want) {
			t.Errorf("%s is missing in\n%s", want, body)
		}
	}
	_, body = f.get("/api/v1/health")
	var h Health
	if err := json.Unmarshal([]byte(body), &h); err != nil {
		t.Fatal(err)
	}
	if h.Status != "ok" || !h.Ready || h.Host != "test-host" || h.Connections.Open != 1 || h.Store.State != "ok" || h.Server.Requests == 0 {
		t.Errorf("%s", body)
	}
}

// TestQueriesAreBounded checks that one question too many is told to come back.
func TestQueriesAreBounded(t *testing.T) {
	st := &fakeStore{block: make(chan struct{}), asked: make(chan struct{}, 10)}
	cfg := testConfig(newFakeView(), st)
	cfg.Limits.Queries, cfg.Limits.QueryWait = 2, 10*time.Millisecond
	f := start(t, cfg)
	done := make(chan int, 2)
	for range 2 {
		go func() {
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, f.url+"/api/v1/history", nil)
			r.Header.Set("Authorization", "Bearer "+testToken)
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				done <- 0
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			done <- resp.StatusCode
		}()
		<-st.asked
	}
	resp := f.request("GET", "/api/v1/history", "", nil)
	status, body := f.body(resp)
	if status != 503 || resp.Header.Get("Retry-After") == "" || problem(t, body).Type != api.ProblemBusy {
		t.Errorf("%d %s", status, body)
	}
	close(st.block)
	for range 2 {
		if status := <-done; status != 200 {
			t.Errorf("one that was let in got %d", status)
		}
	}
}

func FuzzQuery(f *testing.F) {
	for _, q := range []string{
		"since=1h&filter=port+443&group_by=process&aggregates=count,p99:rtt", "at=now", "limit=9999999999999999999", "every=5m&since=90d",
		"filter=%00", "columns=,,,", "since=1e309", "until=9999-12-31T23:59:59Z", "since=NaN", "by=p50:rtt&n=3", "field=sni&value=max_open", "=&&;", "interval=1s", "events=all,closed", "challenge=x", "id=c0000000000001",
	} {
		f.Add(q)
	}
	s, err := New(testConfig(newFakeView(testConn(1, "a"), listener()), &fakeStore{records: testRecords(5)}))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.Close)
	paths := []string{"/api/v1/connections", "/api/v1/history", "/api/v1/peaks", "/api/v1/top", "/api/v1/heatmap", "/api/v1/history/events", "/api/v1/marks", "/readyz", "/", "/api/v1/connections/" + tcp.ID(1).String()}
	f.Fuzz(func(t *testing.T, query string) {
		for _, path := range paths {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost"+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.URL.RawQuery = query
			r.Header.Set("Authorization", "Bearer "+testToken)
			w := newRecorder()
			s.Handler().ServeHTTP(w, r)
			if w.status >= 500 && w.status != 501 {
				t.Errorf("%s?%s: %d %s", path, query, w.status, w.body.String())
			}
			if w.status >= 400 && w.header.Get("Content-Type") != api.ProblemType {
				t.Errorf("%s?%s: %d as %s", path, query, w.status, w.header.Get("Content-Type"))
			}
			if w.header.Get("Content-Type") == "application/json" && !json.Valid(w.body.Bytes()) {
				t.Errorf("%s?%s: no JSON: %s", path, query, w.body.String())
			}
		}
	})
}
