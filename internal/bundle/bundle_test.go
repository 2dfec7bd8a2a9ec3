package bundle

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

var testManifest = Manifest{
	ViewTCP: "1.2.3", Created: storetest.Begin.UTC(), Host: "alpha", OS: "linux",
	From: storetest.Begin.UTC(), To: storetest.Begin.Add(time.Hour).UTC(), Filter: "port 443",
}

func rowsOf[T any](rows []T) func(func(*T) error) error {
	return func(fn func(*T) error) error {
		for i := range rows {
			if err := fn(&rows[i]); err != nil {
				return err
			}
		}
		return nil
	}
}

// testRecords are rows of all kinds, with texts that are none.
func testRecords(n int) []store.Record {
	recs := storetest.NewGenerator(5, n, storetest.Begin, 1).Next(nil, n)
	storetest.AddPackets(recs)
	for i := range recs {
		if p := recs[i].Conn.Process; p != nil && i%7 == 0 {
			own := *p
			own.Name, own.Cmdline, own.Container = "x\xff\x00\x1b[31m", "a \"b\" \u2028 \\ \n", "web-1"
			c := *recs[i].Conn
			c.Process = &own
			recs[i].Conn = &c
		}
	}
	return recs
}

var testEvents = []store.Event{
	{Time: 1, Since: -5, Type: "gap", Unknown: true, Closes: math.MaxUint64, Where: "ring"},
	{Time: math.MaxInt64, Type: store.EventMark, Text: "deploy <&> of 10.1.2.3", Source: "alice", Host: "alpha", ID: 1<<63 + 5},
}

func testUsage() (rows []store.Usage) {
	u := store.Usage{Time: 5e18, Span: 1, Host: "alpha", Scope: store.ScopeProcess, PID: 7, Process: "p", User: "alice", Unit: "u@x.service"}
	for m := range store.NumMeasures {
		u.Set(m, uint64(m)<<50)
	}
	return append(rows, u)
}

// write makes a bundle of rows of all kinds.
func write(tb testing.TB, records []store.Record) []byte {
	tb.Helper()
	var buf bytes.Buffer
	w := NewWriter(&buf, testManifest)
	err := errors.Join(
		AddRows(w, ConnectionsName, store.RecordColumns(), rowsOf(records)),
		AddRows(w, EventsName, store.EventColumns(), rowsOf(testEvents)),
		AddRows(w, UsageName, store.UsageColumns(), rowsOf(testUsage())),
		w.Add(PacketsName, func(w io.Writer) error { _, err := w.Write(bytes.Repeat([]byte{1, 2, 3}, 1000)); return err }),
	)
	w.Missing("there are no samples")
	w.Missing("there are no samples")
	if err := errors.Join(err, w.Close()); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

func readBytes(b []byte) (*Bundle, error) {
	return read(context.Background(), bytes.NewReader(b), int64(len(b)))
}

func printed[T any](t *testing.T, b *Bundle, name string, cols []store.Column[T]) (all []string) {
	t.Helper()
	err := ReadRows(t.Context(), b, name, cols, func(r *T) error {
		all = append(all, storetest.Print(cols, r))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func printRows[T any](cols []store.Column[T], rows []T) (all []string) {
	for i := range rows {
		all = append(all, storetest.Print(cols, &rows[i]))
	}
	return all
}

// TestRoundTrip checks that each row comes out of a file as it went in.
func TestRoundTrip(t *testing.T) {
	recs := testRecords(500)
	path := filepath.Join(t.TempDir(), "x.zip")
	if err := os.WriteFile(path, write(t, recs), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if diff := cmp.Diff(printRows(store.RecordColumns(), recs), printed(t, b, ConnectionsName, store.RecordColumns())); diff != "" {
		t.Errorf("connections (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(printRows(store.EventColumns(), testEvents), printed(t, b, EventsName, store.EventColumns())); diff != "" {
		t.Errorf("events (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(printRows(store.UsageColumns(), testUsage()), printed(t, b, UsageName, store.UsageColumns())); diff != "" {
		t.Errorf("usage (-want +got)\n%s", diff)
	}
	if got := printed(t, b, SamplesName, store.SampleColumns()); got != nil {
		t.Errorf("samples out of nothing: %v", got)
	}
	m := b.Manifest
	if f, ok := m.File(ConnectionsName); !ok || f.Rows != 500 || m.Filter != "port 443" || len(m.Missing) != 1 || !m.From.Equal(testManifest.From) {
		t.Errorf("manifest %+v", m)
	}
	r, err := b.File(PacketsName)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || len(got) != 3000 {
		t.Errorf("packets: %d bytes, %v", len(got), err)
	}
	if _, err := b.File(DoctorName); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	stop := errors.New("stop")
	if err := ReadRows(t.Context(), b, EventsName, store.EventColumns(), func(*store.Event) error { return stop }); !errors.Is(err, stop) || errors.Is(err, ErrFormat) {
		t.Errorf("error of the callback: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: %v", err)
	}
}

// zipOf makes a zip by hand.
func zipOf(t *testing.T, files ...string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for i := 0; i < len(files); i += 2 {
		f, err := w.Create(files[i])
		if err == nil {
			_, err = io.WriteString(f, files[i+1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// claims makes a zip of one file that says to hold so much.
func claims(t *testing.T, name string, size uint64) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	f, err := w.CreateRaw(&zip.FileHeader{Name: name, Method: zip.Deflate, UncompressedSize64: size, CompressedSize64: 3})
	if err == nil {
		_, err = f.Write([]byte{3, 0, 0})
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// TestHostile refuses files that no ViewTCP wrote.
func TestHostile(t *testing.T) {
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	manifest := func(files string) string {
		return `{"format":"viewtcp-bundle","version":1,"files":[` + files + `]}`
	}
	entry := func(name string, size, rows int, sum string) string {
		return fmt.Sprintf(`{"name":%q,"size":%d,"rows":%d,"sha256":%q}`, name, size, rows, sum)
	}
	tests := []struct {
		name string
		file []byte
		want error
		text string
	}{
		{"nothing", nil, ErrFormat, ""},
		{"no zip", []byte(strings.Repeat("x", 1000)), ErrFormat, ""},
		{"no manifest", zipOf(t, EventsName, ""), ErrFormat, "no manifest.json"},
		{"traversal", zipOf(t, ManifestName, manifest(""), "../../etc/passwd", "x"), ErrFormat, "which no bundle has"},
		{"absolute", zipOf(t, ManifestName, manifest(""), "/etc/passwd", "x"), ErrFormat, "which no bundle has"},
		{"twice", zipOf(t, ManifestName, manifest(""), EventsName, "", EventsName, ""), ErrFormat, "twice"},
		{"another format", zipOf(t, ManifestName, `{"format":"x"}`), ErrFormat, ""},
		{"no JSON", zipOf(t, ManifestName, `{`), ErrFormat, ""},
		{"later", zipOf(t, ManifestName, `{"format":"viewtcp-bundle","version":9}`), ErrVersion, "9"},
		{"not named", zipOf(t, ManifestName, manifest(""), EventsName, ""), ErrFormat, "does not name all"},
		{"named but absent", zipOf(t, ManifestName, manifest(entry(EventsName, 0, 0, empty))), ErrFormat, "not there"},
		{"named twice", zipOf(t, ManifestName, manifest(entry(EventsName, 0, 0, empty)+","+entry(EventsName, 0, 0, empty)), EventsName, ""), ErrFormat, "not there"},
		{"itself", zipOf(t, ManifestName, manifest(entry(ManifestName, 0, 0, empty))), ErrFormat, "not there"},
		{"wrong size", zipOf(t, ManifestName, manifest(entry(EventsName, 5, 0, empty)), EventsName, ""), ErrFormat, "5"},
		{"wrong checksum", zipOf(t, ManifestName, manifest(entry(EventsName, 1, 0, empty)), EventsName, "x"), ErrFormat, "checksum"},
		{"bomb", claims(t, EventsName, freeBytes+1), ErrTooLarge, "would become"},
		{"too large a file", claims(t, EventsName, maxFile+1), ErrTooLarge, ""},
		{"large manifest", claims(t, ManifestName, maxManifest+1), ErrTooLarge, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := readBytes(tt.file)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %v with %q", err, tt.want, tt.text)
			}
		})
	}
	dir := t.TempDir()
	if _, err := Open(t.Context(), dir); !errors.Is(err, ErrFormat) {
		t.Errorf("a directory: %v", err)
	}
	if _, err := Open(t.Context(), dir+"/none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestBrokenBytes turns and cuts bytes of a bundle: it opens as it was, or not at
// all.
func TestBrokenBytes(t *testing.T) {
	good := write(t, testRecords(2))
	want, err := readBytes(good)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(good); at += 13 {
		bad := bytes.Clone(good)
		bad[at] ^= 1 << (at % 8)
		if b, err := readBytes(bad); err == nil && !cmp.Equal(b.Manifest, want.Manifest) {
			t.Errorf("with byte %d changed it opens as another one", at)
		}
		if _, err := readBytes(good[:at]); err == nil {
			t.Errorf("cut at %d it opens", at)
		}
	}
}

// TestRows refuses values that a column cannot hold, and passes over columns of
// later versions.
func TestRows(t *testing.T) {
	read := func(line string) (r store.Record, err error) {
		_, err = readRows(strings.NewReader(line), store.RecordColumns(), func(got *store.Record) error {
			r = *got
			return nil
		})
		return r, err
	}
	r, err := read(`{"id":"c0000000000001","local_port":80,"of_2031":{"a":[1]},"process":"x","time":"2026-11-23T00:00:00.000000001Z"}`)
	if err != nil || r.Conn.LocalPort != 80 || r.Time != time.Date(2026, 11, 23, 0, 0, 0, 1, time.UTC).UnixNano() || r.Conn.Process.Name != "x" {
		t.Errorf("%v: %+v", err, r)
	}
	for _, bad := range []string{
		`[]`, `{`, `1`, `{"local_port":65536}`, `{"local_port":-1}`, `{"local_port":"80"}`, `{"local_port":1.5}`, `{"id":"x"}`, `{"id":7}`,
		`{"time":"yesterday"}`, `{"time":"2400-01-01T00:00:00Z"}`, `{"time":null}`, `{"local_ip":"x"}`, `{"local_ip":"fe80::1%eth0"}`,
		`{"process":null}`, `{"process":{}}`, `{"process":{"base64":"!"}}`, `{"process":5}`, `{"complete":"yes"}`,
		`{"process":"` + strings.Repeat("x", maxRow) + `"}`,
	} {
		if _, err := read(bad); err == nil {
			t.Errorf("%.60s was taken", bad)
		}
	}
}

// TestMask looks for everything that names somebody in what is left, and checks
// that the same stays the same.
func TestMask(t *testing.T) {
	m := NewMask(func(a tcp.Addr) tcp.Addr { a[15] ^= 0xff; return a })
	shared := &tcp.Process{
		Name: "nginx", Exe: "/home/alice/bin/nginx", Cmdline: "nginx --token secret", User: "alice", Container: "shop-db",
		Unit: "user@1000.service", Cgroup: "/user.slice/user-1000.slice",
	}
	c := &tcp.Conn{Process: shared, Names: &tcp.Names{
		Host: "alpha", RemoteName: "db.example.org", SNI: "db.example.org", HTTPHost: "shop.example.org", Service: "shop-db", Country: "DE",
		ASN: 64500, ASOrg: "Example", Observer: "span0", Interface: "wg-office", NATRemote: tcp.AddrFrom4([4]byte{192, 0, 2, 9}),
	}}
	c.Local, c.Remote = tcp.AddrFrom4([4]byte{192, 0, 2, 1}), tcp.AddrFrom4([4]byte{198, 51, 100, 7})
	c.LocalPort = 443
	r := store.Record{Kind: store.Close, Time: 5, Host: "alpha", BootID: "b-b", Conn: c}
	m.Record(&r)
	text := storetest.Print(store.RecordColumns(), &r)
	for _, secret := range []string{
		"alpha", "alice", "secret", "shop", "example", "1000", "DE", "64500", "span0", "office", "192.0.2.9", "192.0.2.1 ", "198.51.100.7 ", "b-b", "home",
	} {
		if strings.Contains(strings.ToLower(text), strings.ToLower(secret)) {
			t.Errorf("%q is still in %s", secret, text)
		}
	}
	for _, kept := range []string{"local_port=443", `process="nginx"`, `exe="nginx"`, `unit="user@.service"`, `container="container-1"`, `service="container-1"`, `remote_name="name-1"`, `sni="name-1"`, `host="host-1"`} {
		if !strings.Contains(text, kept) {
			t.Errorf("%s is not in %s", kept, text)
		}
	}
	if shared.User != "alice" || c.Names.SNI == "name-1" || c.Remote != tcp.AddrFrom4([4]byte{198, 51, 100, 7}) {
		t.Error("what others share was changed")
	}
	e := testEvents[1]
	m.Event(&e)
	if e.Text != leftOut || e.Source == "alice" || e.Host != "host-1" {
		t.Errorf("%+v", e)
	}
	start := store.Event{Type: store.EventObserver, Text: "start"}
	m.Event(&start)
	if start.Text != "start" {
		t.Error("an event without a name in it was changed")
	}
	u := testUsage()[0]
	m.Usage(&u)
	if u.User != "user-1" || u.Host != "host-1" || u.Unit != "u@.service" {
		t.Errorf("%+v", u)
	}
	s := store.Sample{Host: "alpha"}
	if m.Sample(&s); s.Host != "host-1" {
		t.Errorf("%+v", s)
	}
}

// TestWriterRefuses checks that a bundle is not written wrong.
func TestWriterRefuses(t *testing.T) {
	w := NewWriter(io.Discard, testManifest)
	if err := w.Add("other.txt", func(io.Writer) error { return nil }); !errors.Is(err, ErrFormat) {
		t.Errorf("an unknown name: %v", err)
	}
	nothing := func(io.Writer) error { return nil }
	if err := errors.Join(w.Add(DoctorName, nothing), w.Add(DoctorName, nothing)); !errors.Is(err, ErrFormat) {
		t.Errorf("twice: %v", err)
	}
	broken := errors.New("broken")
	if err := w.Add(ConfigName, func(io.Writer) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("error of the contents: %v", err)
	}
}

// FuzzRead opens whatever bytes: it is refused, or can be read to its end.
func FuzzRead(f *testing.F) {
	f.Add(write(f, testRecords(3)))
	f.Add([]byte("PK\x05\x06" + strings.Repeat("\x00", 18)))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := readBytes(data)
		if err != nil {
			if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrVersion) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		err = ReadRows(t.Context(), b, ConnectionsName, store.RecordColumns(), func(*store.Record) error { return nil })
		if err != nil && !errors.Is(err, ErrFormat) {
			t.Error(err)
		}
	})
}

// FuzzRow reads a row and writes it again: what was understood is the same.
func FuzzRow(f *testing.F) {
	f.Add([]byte(`{"id":"c0000000000001","local_port":80,"process":"x","time":"2026-11-23T00:00:00.000000001Z"}`))
	f.Add([]byte(`{"process":{"base64":"/w=="},"complete":true,"local_ip":"192.0.2.1","state":"ESTABLISHED"}`))
	for _, r := range testRecords(5) {
		f.Add(appendRow(nil, store.RecordColumns(), &r))
	}
	cols := store.RecordColumns()
	index := indexOf(cols)
	f.Fuzz(func(t *testing.T, line []byte) {
		var r store.Record
		if parseRow(line, index, &r) != nil || r.Conn == nil {
			return
		}
		once := appendRow(nil, cols, &r)
		var again store.Record
		if err := parseRow(once, index, &again); err != nil {
			t.Fatalf("%s: %v", once, err)
		}
		if again.Conn == nil {
			again.Conn = new(tcp.Conn)
		}
		if a, b := storetest.Print(cols, &r), storetest.Print(cols, &again); a != b {
			t.Fatalf("%s\nis another row than\n%s", b, a)
		}
	})
}
