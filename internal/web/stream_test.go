package web

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/api"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// patience is how long a test waits for something that must come.
const patience = time.Minute

// follower reads a stream.
type follower struct {
	t    *testing.T
	resp reply
	r    *bufio.Reader
	id   string
}

func (f *fixture) follow(path, last string) *follower {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	f.t.Cleanup(cancel)
	resp := f.request("GET", path, "", func(r *http.Request) {
		*r = *r.WithContext(ctx)
		if last != "" {
			r.Header.Set("Last-Event-ID", last)
		}
	})
	fo := &follower{f.t, resp, bufio.NewReader(resp.Body), ""}
	if resp.StatusCode == http.StatusOK {
		if _, _, err := fo.block(); err != nil { // hello
			f.t.Fatal(err)
		}
	}
	return fo
}

// block reads up to an empty line.
func (f *follower) block() (name, data string, err error) {
	for {
		line, err := f.r.ReadString('\n')
		if err != nil {
			return name, data, err
		}
		line = strings.TrimSuffix(line, "\n")
		key, value, _ := strings.Cut(line, ": ")
		switch key {
		case "id":
			f.id = value
		case "event":
			name = value
		case "data":
			data = value
		case "":
			return name, data, nil
		}
	}
}

// next reads the next event.
func (f *follower) next() (string, map[string]any) {
	f.t.Helper()
	for {
		name, data, err := f.block()
		if err != nil {
			f.t.Fatalf("the stream ended: %v", err)
		}
		if data == "" {
			continue
		}
		var m map[string]any
		if err := json.Unmarshal([]byte(data), &m); err != nil {
			f.t.Fatalf("%v in %s", err, data)
		}
		return name, m
	}
}

func (f *follower) close() { _ = f.resp.Body.Close() }

func TestEvents(t *testing.T) {
	v := newFakeView()
	f := start(t, testConfig(v, &fakeStore{}))
	all := f.follow("/api/v1/events", "")
	some := f.follow("/api/v1/events?events=closed&filter=process+%3D%3D+b&columns=id,process", "")
	v.emit(tcp.EventOpened, testConn(1, "a"))
	v.emit(tcp.EventOpened, testConn(2, "b"))
	v.emit(tcp.EventClosed, testConn(1, "a"))
	v.emit(tcp.EventClosed, testConn(2, "b"))
	for i, want := range []string{"opened a 1", "opened b 2", "closed a 3", "closed b 4"} {
		name, e := all.next()
		if got := fmt.Sprintf("%s %s %v", name, e["process"], e["seq"]); got != want || e["event"] != name {
			t.Errorf("event %d is %s, want %s", i, got, want)
		}
		if i == 1 {
			// One who comes back goes on where he was, in another stream too.
			back := f.follow("/api/v1/events?last_event_id="+all.id, "")
			if name, e := back.next(); name != "closed" || e["seq"] != 3.0 {
				t.Errorf("after coming back: %s %v", name, e)
			}
			back.close()
		}
	}
	if name, e := some.next(); name != "closed" || e["process"] != "b" || e["rtt_us"] != nil {
		t.Errorf("filtered: %s %v", name, e)
	}
	for _, id := range []string{"nonsense", "0-1", strings.Replace(all.id, "-4", "-9", 1), strings.SplitN(all.id, "-", 2)[0] + "-x"} {
		back := f.follow("/api/v1/events", id)
		if name, e := back.next(); name != "gap" || e["where"] != "replay" || e["exact"] != false {
			t.Errorf("after coming back from %s: %s %v", id, name, e)
		}
		back.close()
	}
}

// TestEventsAreGone checks that a reader who comes back too late is told how much
// he missed.
func TestEventsAreGone(t *testing.T) {
	v := newFakeView()
	cfg := testConfig(v, &fakeStore{})
	cfg.Limits.Replay = 8
	f := start(t, cfg)
	s := f.follow("/api/v1/events", "")
	v.emit(tcp.EventOpened, testConn(1, "a"))
	s.next()
	s.close()
	watch := f.follow("/api/v1/events", "")
	for i := range 20 {
		v.emit(tcp.EventOpened, testConn(tcp.ID(i+2), "b"))
		watch.next()
	}
	back := f.follow("/api/v1/events", s.id)
	if name, e := back.next(); name != "gap" || e["skipped_events"] != 12.0 || e["where"] != "reader" {
		t.Errorf("%s %v", name, e)
	}
	if _, e := back.next(); e["seq"] != 14.0 {
		t.Errorf("after the gap: %v", e)
	}
}

func TestHeartbeat(t *testing.T) {
	f := start(t, testConfig(newFakeView(), &fakeStore{}))
	s := f.follow("/api/v1/events", "")
	if name, data, err := s.block(); name != "" || data != "" || err != nil || s.id == "" {
		t.Errorf("%q %q %v, id %q", name, data, err, s.id)
	}
}

// TestHeartbeatAmongOthers checks that events which a reader does not want are no
// sign of life to it, and that it knows where it is all the same.
func TestHeartbeatAmongOthers(t *testing.T) {
	v := newFakeView()
	f := start(t, testConfig(v, &fakeStore{}))
	s := f.follow("/api/v1/events?filter=process+%3D%3D+nobody", "")
	first := s.id
	done := make(chan struct{})
	defer func() { <-done }()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			v.emit(tcp.EventOpened, testConn(1, "a"))
			time.Sleep(time.Millisecond)
		}
	}()
	for s.id == first {
		if name, data, err := s.block(); name != "" || data != "" || err != nil {
			t.Fatalf("%q %q %v", name, data, err)
		}
	}
}

// TestStreamsEnd checks that Close ends streams, and that later ones are refused.
func TestStreamsEnd(t *testing.T) {
	f := start(t, testConfig(newFakeView(), &fakeStore{}))
	events, live := f.follow("/api/v1/events", ""), f.follow("/api/v1/live", "")
	f.s.Close()
	for _, s := range []*follower{events, live} {
		var err error
		for err == nil {
			_, _, err = s.block()
		}
	}
	if status, body := f.get("/api/v1/events"); status != 503 || problem(t, body).Type != api.ProblemUnavailable {
		t.Errorf("%d %s", status, body)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	cfg := testConfig(newFakeView(), &fakeStore{})
	cfg.Limits.Streams = 2
	f := start(t, cfg)
	a, _ := f.follow("/api/v1/events", ""), f.follow("/api/v1/live", "")
	for _, path := range []string{"/api/v1/events", "/api/v1/live"} {
		resp := f.request("GET", path, "", nil)
		if status, body := f.body(resp); status != 503 || resp.Header.Get("Retry-After") == "" || problem(t, body).Type != api.ProblemBusy {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	a.close()
	for deadline := time.Now().Add(patience); f.s.streams.Load() > 1; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a stream whose reader left keeps its place")
		}
	}
	if s := f.follow("/api/v1/events", ""); s.resp.StatusCode != http.StatusOK {
		t.Errorf("a place that is free: %d", s.resp.StatusCode)
	}
}

func TestLive(t *testing.T) {
	v := newFakeView(testConn(1, "a"), testConn(2, "b"))
	f := start(t, testConfig(v, &fakeStore{}))
	s := f.follow("/api/v1/live?interval=100ms", "")
	some := f.follow("/api/v1/live?filter=process+%3D%3D+b&interval=100ms&columns=id,process", "")
	ids := func(m map[string]any, key string) (list []string) {
		for _, r := range m[key].([]any) {
			text, ok := r.(string)
			if !ok {
				text = r.(map[string]any)["id"].(string)
			}
			id, _ := tcp.ParseID(text)
			list = append(list, fmt.Sprint(uint64(id)))
		}
		return list
	}
	show := func(m map[string]any) string {
		return fmt.Sprint(m["reset"], m["more"], ids(m, "rows"), ids(m, "removed"))
	}
	name, m := s.next()
	if got := show(m); name != api.SSERows || got != "true false [1 2] []" || m["stats"].(map[string]any)["open"] != 2.0 {
		t.Errorf("first %s", got)
	}
	if _, m := some.next(); show(m) != "true false [2] []" {
		t.Errorf("first of some %s", show(m))
	}
	kept := v.Snapshot().Conns[1]
	v.publish(kept, testConn(3, "b"))
	if _, m = s.next(); show(m) != "false false [3] [1]" {
		t.Errorf("then %s", show(m))
	}
	if _, m := some.next(); show(m) != "false false [3] []" {
		t.Errorf("then of some %s", show(m))
	}
	// One that matches no longer is gone.
	v.publish(testConn(2, "a"), v.Snapshot().Conns[1])
	if _, m := some.next(); show(m) != "false false [] [2]" {
		t.Errorf("last of some %s", show(m))
	}
	// Another tracker begins again.
	if _, m = s.next(); show(m) != "false false [2] []" {
		t.Errorf("changed %s", show(m))
	}
	v.mu.Lock()
	v.snap = &tcp.Snapshot{Seq: 1, Conns: []*tcp.Conn{testConn(9, "z")}}
	v.mu.Unlock()
	if _, m = s.next(); show(m) != "true false [9] []" {
		t.Errorf("after a restart %s", show(m))
	}
}

// TestLiveInPieces checks that many rows come in several pieces that are one
// update.
func TestLiveInPieces(t *testing.T) {
	var conns []*tcp.Conn
	for i := range 2*rowsAtOnce + 10 {
		conns = append(conns, testConn(tcp.ID(i+1), "a"))
	}
	f := start(t, testConfig(newFakeView(conns...), &fakeStore{}))
	s := f.follow("/api/v1/live", "")
	var got []string
	for range 3 {
		_, m := s.next()
		got = append(got, fmt.Sprint(m["reset"], m["more"], len(m["rows"].([]any))))
	}
	if want := "[true true 500 false true 500 false false 10]"; fmt.Sprint(got) != want {
		t.Errorf("pieces %v, want %s", got, want)
	}
}

// TestSlowReaderIsDropped checks that a reader who takes nothing is cut off, while
// another one gets everything.
func TestSlowReaderIsDropped(t *testing.T) {
	v := newFakeView()
	cfg := testConfig(v, &fakeStore{})
	cfg.Limits.Write = 200 * time.Millisecond
	f := start(t, cfg)
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n", testToken); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); f.s.streams.Load() == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the stream does not begin")
		}
	}
	c := testConn(1, strings.Repeat("x", 4000))
	deadline := time.Now().Add(patience)
	for f.s.counts.dropped.Load() == 0 {
		for range 100 {
			v.emit(tcp.EventChanged, c)
		}
		if time.Now().After(deadline) {
			t.Fatal("the reader who takes nothing is not dropped")
		}
		time.Sleep(time.Millisecond)
	}
	good := f.follow("/api/v1/events", "")
	v.emit(tcp.EventClosed, testConn(2, "b"))
	for {
		if name, e := good.next(); name == "closed" {
			if e["process"] != "b" {
				t.Errorf("%v", e)
			}
			break
		}
	}
}
