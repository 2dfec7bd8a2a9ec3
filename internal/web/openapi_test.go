package web

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/viewtcp/viewtcp/internal/api"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

// object is a part of the description.
type object = map[string]any

// spec is docs/openapi.yaml.
type spec struct {
	t   *testing.T
	doc object
	// seen are the properties that answers had, by the place of their schema.
	seen map[string]bool
}

func readSpec(t *testing.T) *spec {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s := &spec{t: t, seen: make(map[string]bool)}
	if err := yaml.Unmarshal(b, &s.doc); err != nil {
		t.Fatal(err)
	}
	return s
}

// at follows a path of keys.
func (s *spec) at(keys ...string) object {
	s.t.Helper()
	o := s.doc
	for _, k := range keys {
		next, ok := o[k].(object)
		if !ok {
			s.t.Fatalf("docs/openapi.yaml has no %s", strings.Join(keys, " → "))
		}
		o = next
	}
	return o
}

// resolve follows a reference; where names the place of what it leads to.
func (s *spec) resolve(o object, where string) (object, string) {
	for {
		ref, ok := o["$ref"].(string)
		if !ok {
			return o, where
		}
		where = strings.TrimPrefix(ref, "#/")
		o = s.at(strings.Split(where, "/")...)
	}
}

func (s *spec) operation(path, method string) object {
	o, _ := s.at("paths", path)[method].(object)
	return o
}

// TestRoutesAreDescribed holds routes and their parameters against the
// description, both ways.
func TestRoutesAreDescribed(t *testing.T) {
	s := readSpec(t)
	server, err := New(Config{Token: testToken})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	described := s.at("paths")
	for _, rt := range server.routes {
		path, ok := described[rt.path].(object)
		if !ok {
			t.Errorf("docs/openapi.yaml lacks %s", rt.path)
			continue
		}
		delete(described, rt.path)
		for method, h := range map[string]handler{"get": rt.get, "post": rt.post} {
			op, ok := path[method].(object)
			if ok != (h != nil) {
				t.Errorf("%s %s: described is %v, served %v", method, rt.path, ok, h != nil)
				continue
			}
			if h == nil {
				continue
			}
			_, free := op["security"]
			if free != rt.public {
				t.Errorf("%s %s: described without a token is %v, served %v", method, rt.path, free, rt.public)
			}
			var params, places []string
			list, _ := op["parameters"].([]any)
			for _, p := range list {
				o, _ := s.resolve(p.(object), "")
				switch o["in"] {
				case "query":
					params = append(params, o["name"].(string))
				case "path":
					places = append(places, "{"+o["name"].(string)+"}")
				}
			}
			want := slices.Clone(rt.params)
			if method == "post" {
				want = nil
			}
			slices.Sort(want)
			slices.Sort(params)
			if !slices.Equal(params, want) {
				t.Errorf("%s %s: parameters %q are described, %q served", method, rt.path, params, want)
			}
			if in := regexp.MustCompile(`\{\w+\}`).FindAllString(rt.path, -1); !slices.Equal(in, places) {
				t.Errorf("%s %s: %q in the path, %q described", method, rt.path, in, places)
			}
		}
	}
	for path := range described {
		t.Errorf("docs/openapi.yaml has %s, which is not served", path)
	}
}

// check holds a value against a schema; what is wrong is told once.
func (s *spec) check(v any, schema object, where, at string) {
	s.t.Helper()
	schema, where = s.resolve(schema, where)
	if one, ok := schema["oneOf"].([]any); ok {
		if v == nil {
			return
		}
		s.check(v, one[0].(object), where, at)
		return
	}
	if all, ok := schema["allOf"].([]any); ok {
		o, isObject := v.(object)
		if !isObject {
			s.t.Errorf("%s: %T is no object", at, v)
			return
		}
		own, _ := schema["properties"].(object)
		rest := object{}
		for k, e := range o {
			if p, ok := own[k].(object); ok {
				s.seen[where+"."+k] = true
				s.check(e, p, where+"."+k, at+"."+k)
			} else {
				rest[k] = e
			}
		}
		base, baseAt := s.resolve(all[0].(object), "")
		closed := object{"type": "object", "properties": base["properties"], "additionalProperties": false}
		s.check(rest, closed, baseAt, at)
		return
	}
	types, _ := schema["type"].(string)
	if list, ok := schema["type"].([]any); ok {
		if v == nil && slices.Contains(list, any("null")) {
			return
		}
		types, _ = list[0].(string)
	}
	bad := func(format string, args ...any) { s.t.Errorf("%s (%s): %s", at, where, fmt.Sprintf(format, args...)) }
	switch types {
	case "object":
		o, ok := v.(object)
		if !ok {
			bad("%T is no object", v)
			return
		}
		s.checkObject(o, schema, where, at)
	case "array":
		list, ok := v.([]any)
		if !ok {
			bad("%T is no array", v)
			return
		}
		for i, e := range list {
			s.check(e, schema["items"].(object), where+"[]", fmt.Sprintf("%s[%d]", at, i))
		}
	case "string":
		text, ok := v.(string)
		if !ok {
			bad("%v is no string", v)
			return
		}
		s.checkText(text, schema, bad)
	case "integer", "number":
		n, ok := v.(json.Number)
		if !ok {
			bad("%v is no number", v)
			return
		}
		if types == "integer" && strings.ContainsAny(n.String(), ".eE") {
			bad("%v is no whole number", v)
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			bad("%v is no boolean", v)
		}
	default:
		bad("the schema has no type")
	}
}

func (s *spec) checkText(text string, schema object, bad func(string, ...any)) {
	if list, ok := schema["enum"].([]any); ok {
		found := false
		for _, e := range list {
			found = found || fmt.Sprint(e) == text
		}
		if !found {
			bad("%q is none of %v", text, list)
		}
	}
	if p, ok := schema["pattern"].(string); ok && !regexp.MustCompile(p).MatchString(text) {
		bad("%q does not match %s", text, p)
	}
	if schema["format"] == "date-time" {
		if _, err := time.Parse(time.RFC3339Nano, text); err != nil {
			bad("%v", err)
		}
	}
}

func (s *spec) checkObject(o, schema object, where, at string) {
	props, _ := schema["properties"].(object)
	for k, v := range o {
		p, ok := props[k].(object)
		if ok {
			s.seen[where+"."+k] = true
			s.check(v, p, where+"."+k, at+"."+k)
			continue
		}
		switch more := schema["additionalProperties"].(type) {
		case bool:
			if !more {
				s.t.Errorf("%s (%s): the key %q is not described", at, where, k)
			}
		case object:
			s.check(v, more, where+".*", at+"."+k)
		}
	}
	required, _ := schema["required"].([]any)
	for _, k := range required {
		if _, ok := o[k.(string)]; !ok {
			s.t.Errorf("%s (%s): the key %q is missing", at, where, k)
		}
	}
}

// unseen lists the described properties that no answer had.
func (s *spec) unseen() (list []string) {
	var walk func(schema object, where string)
	walk = func(schema object, where string) {
		if _, ok := schema["$ref"]; ok {
			return
		}
		if props, ok := schema["properties"].(object); ok {
			for k, p := range props {
				if !s.seen[where+"."+k] {
					list = append(list, where+"."+k)
				}
				walk(p.(object), where+"."+k)
			}
		}
		if items, ok := schema["items"].(object); ok {
			walk(items, where+"[]")
		}
	}
	for name, schema := range s.at("components", "schemas") {
		walk(schema.(object), "components/schemas/"+name)
	}
	slices.Sort(list)
	return list
}

func decode(t *testing.T, text string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %.300s", err, text)
	}
	return v
}

// answer holds one answer against the description of its route.
func (s *spec) answer(f *fixture, method, route, path, body string) {
	s.t.Helper()
	resp := f.request(method, path, body, nil)
	status, text := f.body(resp)
	op := s.operation(route, strings.ToLower(method))
	responses, _ := op["responses"].(object)
	described, ok := responses[fmt.Sprint(status)].(object)
	if !ok {
		s.t.Errorf("%s %s: the status %d is not described: %.300s", method, path, status, text)
		return
	}
	described, _ = s.resolve(described, "")
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	content, _ := described["content"].(object)
	media, ok := content[kind].(object)
	if !ok && text != "" {
		s.t.Errorf("%s %s: %s is not described for status %d", method, path, kind, status)
		return
	}
	if strings.HasSuffix(kind, "/json") || strings.HasSuffix(kind, "+json") {
		s.check(decode(s.t, text), media["schema"].(object), "", method+" "+path)
	}
}

// usageOf is a host with one sample.
type usageOf struct{}

func (usageOf) Usage(_ context.Context, _, _ time.Time, fn func(UsageSample) error) error {
	return fn(UsageSample{Time: testBegin.UnixNano(), Host: "h", Scope: "process", PID: 4, Process: "p\x1b", Values: []UsageValue{{"cpu_percent", 12.5}, {"rss_bytes", 1 << 40}, {"broken", math.Inf(1)}}})
}

// TestUsageNumbers checks that whole numbers are written as such.
func TestUsageNumbers(t *testing.T) {
	cfg := testConfig(newFakeView(), &fakeStore{})
	cfg.Usage = usageOf{}
	status, body := start(t, cfg).get("/api/v1/usage")
	if want := `"values":{"cpu_percent":12.5,"rss_bytes":1099511627776}`; status != 200 || !strings.Contains(body, want) {
		t.Errorf("%d %s, want %s", status, body, want)
	}
}

// TestStoreSize checks that what lies in the log alone counts as being on disk.
func TestStoreSize(t *testing.T) {
	cfg := testConfig(newFakeView(), &fakeStore{})
	cfg.StoreStatus = func() store.Status {
		return store.Status{Rows: 9, Unsealed: 9, Log: 3 << 20, Tables: []store.TableStatus{{Table: store.Connections}}}
	}
	f := start(t, cfg)
	if status, body := f.get("/"); status != 200 || !strings.Contains(body, "9 rows of connections, 3.00 MiB on disk") {
		t.Errorf("%d %s", status, body)
	}
	if status, body := f.get("/api/v1/health"); status != 200 || !strings.Contains(body, `"log_bytes":3145728`) {
		t.Errorf("%d %s", status, body)
	}
}

// onePacket is a recorder with a short file.
type onePacket struct{}

func (onePacket) Export(_ context.Context, w io.Writer, _ PacketQuery) (Exported, error) {
	_, err := io.WriteString(w, "pcapng")
	return Exported{Packets: 1, Bytes: 6, Connections: 1, First: testBegin, Last: testBegin, Note: "some"}, err
}

// TestAnswersAreDescribed holds answers against their schemas, and checks that each
// key that is described is one that answers have.
func TestAnswersAreDescribed(t *testing.T) {
	s := readSpec(t)
	recs := storetest.NewGenerator(1, 300, testBegin, 1).Next(nil, 300)
	storetest.AddPackets(recs[:50])
	full := everyField(recs)
	view := newFakeView(full, listener())
	view.snap.Stats = tcp.Stats{Open: 1, Lost: tcp.Loss{Unknown: true}, Incomplete: "half of it"}
	st := &fakeStore{
		records: append([]store.Record{{Kind: store.Snapshot, Time: testBegin.UnixNano(), Since: 5, Host: "h", BootID: "b", Conn: full, Deltas: new(store.Counters)}}, recs...),
		samples: []store.Sample{{Time: 1e18, Span: 1, ID: 1, Host: "h", SendRate: 1, ReceiveRate: 1, Retransmits: 1, RTT: 1, RTTVar: 1, CWND: 1, SndWnd: 1, RcvWnd: 1, DeliveryRate: 1, Unacked: 1, SendQueue: 1}},
		events: []store.Event{
			{Time: 1e18, Since: 1, Type: store.EventMark, ID: 1, Host: "h", By: "local", Count: 1, Source: "s", Where: "w", Closes: 1, BytesSent: 1, BytesReceived: 1, Unknown: true, Text: "t"},
		},
		groups: []store.Group{{Time: testBegin.UnixNano(), Key: []string{"nginx"}, Values: []float64{1}, Known: []bool{true}}, {Time: testBegin.UnixNano(), Other: true, Values: []float64{1}, Known: []bool{true}}},
		answer: store.Answer{Resolution: store.ByHour, UpperBound: true, Bucketed: true, Gaps: []store.Gap{{From: 1, To: 2, Reason: "r"}}, Retained: 1e18},
	}
	cfg := testConfig(view, st)
	cfg.Mark = func(context.Context, store.Mark) error { return nil }
	cfg.Usage, cfg.Packets = usageOf{}, onePacket{}
	cfg.Limits.Rows = 4000
	cfg.StoreStatus = func() store.Status {
		return store.Status{State: store.StateFull, Reason: "no space", Since: testBegin, Tables: []store.TableStatus{{Table: store.Connections, First: 1, Last: 2}}}
	}
	cfg.Health = func() Health {
		return Health{
			Ready: true, Host: "h", BootID: "b", PID: 1, Started: testBegin, Source: "ebpf", Warning: "w", Packets: "none",
			Features: []tcp.Feature{{Name: "f", Reason: "r", Remedy: "m"}}, Recorder: &api.Recorder{First: testBegin, Last: testBegin},
		}
	}
	f := start(t, cfg)
	const v1 = "/api/v1"
	id := recs[0].Conn.ID.String()
	for _, q := range [][3]string{
		{"GET", "/", "/"},
		{"GET", "/login", "/login"},
		{"GET", "/static/{file}", "/static/style.css"},
		{"GET", "/static/{file}", "/static/icon.svg"},
		{"GET", "/static/{file}", "/static/none.css"},
		{"GET", "/healthz", "/healthz"},
		{"GET", "/readyz", "/readyz?challenge=x"},
		{"GET", "/metrics", "/metrics"},
		{"GET", v1 + "/connections", v1 + "/connections"},
		{"GET", v1 + "/connections", v1 + "/connections?at=1h"},
		{"GET", v1 + "/connections", v1 + "/connections?filter=port+443+and+stat+%3D+1"},
		{"GET", v1 + "/connections/{id}", v1 + "/connections/" + id},
		{"GET", v1 + "/connections/{id}", v1 + "/connections/" + tcp.ID(1).String()},
		{"GET", v1 + "/connections/{id}", v1 + "/connections/x"},
		{"GET", v1 + "/connections/{id}/samples", v1 + "/connections/" + id + "/samples"},
		{"GET", v1 + "/connections/{id}/samples", v1 + "/connections/" + id + "/samples?format=ndjson"},
		{"GET", v1 + "/history", v1 + "/history"},
		{"GET", v1 + "/history", v1 + "/history?limit=1"},
		{"GET", v1 + "/history", v1 + "/history?rows=records&format=jsonl"},
		{"GET", v1 + "/history", v1 + "/history?group_by=process"},
		{"GET", v1 + "/history", v1 + "/history?limit=x"},
		{"GET", v1 + "/history/events", v1 + "/history/events"},
		{"GET", v1 + "/peaks", v1 + "/peaks?group_by=process"},
		{"GET", v1 + "/top", v1 + "/top"},
		{"GET", v1 + "/top", v1 + "/top?since=1h"},
		{"GET", v1 + "/heatmap", v1 + "/heatmap?since=2026-11-23T12:00:00Z&until=2026-11-23T12:10:00Z"},
		{"GET", v1 + "/packets", v1 + "/packets?id=" + id},
		{"GET", v1 + "/fields", v1 + "/fields"},
		{"GET", v1 + "/health", v1 + "/health"},
		{"GET", v1 + "/marks", v1 + "/marks"},
		{"GET", v1 + "/usage", v1 + "/usage"},
	} {
		s.answer(f, q[0], q[1], q[2], "")
	}
	s.answer(f, "POST", v1+"/marks", v1+"/marks", `{"text":"deploy","from":"ci"}`)
	s.answer(f, "POST", v1+"/marks", v1+"/marks", `{"text":""}`)

	// Each row by the schema that the answer itself leaves open.
	connection := s.at("components", "schemas", "Connection")
	_, body := f.get(v1 + "/history")
	for i, row := range decode(t, body).(object)["rows"].([]any) {
		s.check(row, connection, "components/schemas/Connection", fmt.Sprintf("row %d", i))
	}
	// An answer that fails after rows, one that was cut, and a server that is busy.
	st.fail, st.failAfter = store.ErrMemory, 300
	s.answer(f, "GET", v1+"/history", v1+"/history?limit=0", "")
	s.seen["components/schemas/SampleRows.error"] = true // as that of Rows
	s.seen["components/schemas/StoredEventRows.error"] = true
	st.fail = nil
	s.check(decode(t, `{"type":"t","title":"t","status":503,"retry_after":2}`), s.at("components", "schemas", "Problem"), "components/schemas/Problem", "busy")
	s.check(decode(t, `{"resolution":"raw","complete":true,"gaps":[],"segments":0,"pruned":0,"rows":1,"limited":1}`), s.at("components", "schemas", "Answer"), "components/schemas/Answer", "limited")

	// Streams.
	resp := f.request("GET", v1+"/live", "", nil)
	_, data := readEvent(t, bufio.NewReader(resp.Body))
	s.check(decode(t, data), s.at("components", "schemas", "LiveUpdate"), "components/schemas/LiveUpdate", "live")
	event := s.at("components", "schemas", "Event")
	w := api.NewRowWriter(nil)
	for _, e := range []tcp.Event{
		{Seq: 1, Type: tcp.EventReset, By: tcp.SideLocal, Conn: full},
		{Seq: 1, Type: tcp.EventGap, Gap: &tcp.Gap{Source: tcp.SourceEBPF, Where: "ring"}},
	} {
		s.check(decode(t, string(w.AppendEvent(nil, &e))), event, "components/schemas/Event", e.Type.String())
	}
	// The trailer of an export.
	resp = f.request("GET", v1+"/packets", "", nil)
	f.body(resp)
	s.check(decode(t, resp.Trailer.Get(exportTrailer)), s.at("components", "schemas", "Exported"), "components/schemas/Exported", "export")

	for _, key := range s.unseen() {
		t.Errorf("docs/openapi.yaml describes %s, which no answer has", key)
	}
}

// everyField is a connection that has a value for every field and column.
func everyField(recs []store.Record) *tcp.Conn {
	c := testConn(1, "nginx")
	for _, r := range recs {
		if r.Conn.Packets != nil {
			p := *r.Conn.Packets
			c.Packets = &p
			break
		}
	}
	c.Packets.InitialRTT, c.Packets.RTTSamples = 1, [2]uint32{1, 1}
	c.Packets.ConnState, c.Packets.History = "SF", "Sh"
	c.Has = ^tcp.Has(0)
	c.PeerID, c.NetNS, c.Inode, c.Cookie = 2, 1, 1, 1
	c.Closed, c.ClosedBy, c.Reason = tcp.Stamp{Wall: 1e18, Boot: 1}, tcp.SideLocal, tcp.CloseFIN
	c.Remnant, c.SawReset, c.IPv6 = true, true, true
	c.Process = &tcp.Process{ProcessID: tcp.ProcessID{PID: 1}, Name: "n", Exe: "e", Cmdline: "c", User: "u", Container: "c", Unit: "u", Cgroup: "g"}
	c.Names = &tcp.Names{
		Host: "h", RemoteName: "r", SNI: "s", ALPN: "a", HTTPHost: "h", Service: "s", Country: "DE", ASN: 1, ASOrg: "o",
		Observer: "o", Interface: "i", NATRemote: c.Remote, NATPort: 1, SampleRate: 2,
	}
	return c
}

// readEvent reads the next event of a stream that has data.
func readEvent(t *testing.T, r *bufio.Reader) (name, data string) {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("the stream ended: %v", err)
		}
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "event: "):
			name = line[7:]
		case strings.HasPrefix(line, "data: "):
			data = line[6:]
		case line == "" && data != "":
			return name, data
		}
	}
}
