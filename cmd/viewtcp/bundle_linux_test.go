package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/bundle"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/store/parquet"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// entries reads a zip.
func entries(tb testing.TB, path string) map[string]string {
	tb.Helper()
	z, err := zip.OpenReader(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer z.Close()
	all := make(map[string]string)
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			tb.Fatal(err)
		}
		b, err := io.ReadAll(r)
		_ = r.Close()
		if err != nil {
			tb.Fatal(err)
		}
		all[f.Name] = string(b)
	}
	return all
}

// bundled are a bundle and a place for what is unpacked, which must be empty in
// the end.
func bundled(tb testing.TB, args ...string) (path string, r result) {
	tb.Helper()
	tmp := tb.TempDir()
	tb.Setenv("TMPDIR", tmp)
	tb.Cleanup(func() {
		left, err := os.ReadDir(tmp)
		if err != nil || len(left) > 0 {
			tb.Errorf("%d files are left behind: %v", len(left), err)
		}
	})
	path = filepath.Join(tb.TempDir(), "incident.zip")
	return path, inProcess(tb, append([]string{"bundle", "-o", path}, args...)...)
}

// TestBundleByHand: what history says of a range it says of its bundle too, in
// every view.
func TestBundleByHand(t *testing.T) {
	dir := byHand(t)
	span := []string{"--since", "2026-11-20T12:00:00Z", "--until", "2026-11-20T12:30:00Z"}
	path, r := bundled(t, append([]string{"--data", dir}, span...)...)
	if r.code != exitOK || !strings.Contains(r.stderr, "not in the bundle: no packets were recorded") {
		t.Fatal(r)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	for _, view := range [][]string{
		{"-o", "jsonl"},
		{"-o", "jsonl", "process", "curl"},
		{"--group-by", "process", "--peak", "-o", "jsonl"},
		{"--sum", "bytes_sent,bytes_received", "--group-by", "service", "-o", "jsonl"},
		{"--events", "-o", "jsonl"},
		{"--every", "5m", "--count", "-o", "jsonl"},
		{"--percentiles", "rtt", "-o", "jsonl"},
	} {
		want := inProcess(t, slices.Concat([]string{"history", "--data", dir}, span, view)...)
		got := inProcess(t, slices.Concat([]string{"history", "--bundle", path}, span, view)...)
		if want.code != exitOK || want.stdout == "" {
			t.Fatal(want)
		}
		if diff := cmp.Diff(want.stdout, got.stdout); got.code != exitOK || diff != "" {
			t.Errorf("%v: %v (-want +got)\n%s", view, got.stderr, diff)
		}
	}
	// The range of the bundle is the usual one, and its end is now.
	want := inProcess(t, "history", "--bundle", path, "-o", "jsonl", "--since", "2026-11-20T12:00:00Z")
	for _, since := range [][]string{nil, {"--since", "30m"}} {
		got := inProcess(t, append([]string{"history", "--bundle", path, "-o", "jsonl"}, since...)...)
		if got.code != exitOK || got.stdout == "" || got.stdout != want.stdout {
			t.Errorf("since %v: %v", since, got)
		}
	}
	at := inProcess(t, "list", "--data", dir, "--at", "2026-11-20T12:04:00Z", "-o", "jsonl")
	got := inProcess(t, "list", "--bundle", path, "--at", "2026-11-20T12:04:00Z", "-o", "jsonl")
	if at.code != exitOK || at.stdout == "" || got.stdout != at.stdout {
		t.Errorf("list --at: %v, want %v", got, at)
	}

	refused := inProcess(t, "history", "--bundle", path, "--data", dir)
	if refused.code != exitUsage || !strings.Contains(refused.stderr, "two places") {
		t.Error(refused)
	}
	broken := filepath.Join(t.TempDir(), "broken.zip")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole[bytes.Index(whole, []byte(bundle.ConnectionsName))+200] ^= 1
	if err := os.WriteFile(broken, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	refused = inProcess(t, "list", "--bundle", broken)
	if refused.code != exitFailure || !strings.Contains(refused.stderr, "no intact bundle") {
		t.Error(refused)
	}
	for _, args := range [][]string{
		{"bundle", "--data", dir},
		{"bundle", "--data", dir, "-o", path, "--since", "never"},
		{"bundle", "-o", path, "--anonymize-key", "x"},
		{"bundle", "-o", path, "--data", dir, "no_such_field == 1"},
	} {
		if r := inProcess(t, args...); r.code != exitUsage {
			t.Errorf("%v: %v", args, r)
		}
	}
	if r := inProcess(t, "bundle", "--data", t.TempDir(), "-o", path); r.code != exitFailure || !strings.Contains(r.stderr, "there is no history") {
		t.Error(r)
	}
	if after, err := os.ReadFile(path); err != nil || len(after) != len(whole) {
		t.Errorf("a bundle that could not be written replaced one: %v", err)
	}
}

// TestBundleAnonymized: nothing that names anybody is left, and the same stays the
// same.
func TestBundleAnonymized(t *testing.T) {
	dir := byHand(t)
	engine := parquet.DefaultConfig()
	engine.Dir, engine.Retention = filepath.Join(dir, storeDir), nil
	e, err := parquet.Open(engine)
	if err != nil {
		t.Fatal(err)
	}
	u := store.Usage{Time: clock("12:05:00"), Host: "web-1", Scope: store.ScopeProcess, PID: 7, Process: "nginx", User: "alice"}
	u.Set(store.CPUUser, 5)
	secret := lives["first"].end()
	c := *secret.Conn
	c.ID, c.Process = 99, &tcp.Process{
		ProcessID: tcp.ProcessID{PID: 9}, Name: "backup", Exe: "/home/alice/backup", Cmdline: "backup --to vault.example.org", User: "alice", Container: "vault-1",
	}
	secret.Conn = &c
	if err := e.Append(t.Context(), &store.Batch{Usage: []store.Usage{u}, Records: []store.Record{secret}}); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "key")
	args := []string{"--data", dir, "--since", "2026-11-20T12:00:00Z", "--until", "2026-11-20T12:30:00Z", "--anonymize", "--anonymize-key", key, "--filter", "not host 203.0.113.9"}
	path, r := bundled(t, args...)
	if r.code != exitOK {
		t.Fatal(r)
	}
	files := entries(t, path)
	all := strings.Join([]string{files[bundle.ConnectionsName], files[bundle.EventsName], files[bundle.UsageName], files[bundle.SamplesName], files[bundle.ManifestName]}, "\n")
	for _, name := range []string{"10.0.0.1", "192.0.2.", "203.0.113", "web-1", "alice", "vault", "/home", "deploy", hostname() + `"`} {
		if strings.Contains(all, `"`+name) || strings.Contains(all, name) && name != hostname()+`"` {
			t.Errorf("%q is still there", name)
		}
	}
	for _, kept := range []string{`"process":"backup"`, `"user":"user-1"`, `"exe":"backup"`} {
		if !strings.Contains(all, kept) {
			t.Errorf("%s is missing", kept)
		}
	}
	if !strings.Contains(files[bundle.UsageName], `"user":"user-1"`) {
		t.Errorf("the same user has another name: %s", files[bundle.UsageName])
	}
	if _, ok := files[bundle.ConfigName]; ok {
		t.Error("the configuration is there")
	}
	// As many addresses as before, and the same with the same key.
	count := func(args ...string) int {
		r := inProcess(t, append([]string{"history", "--group-by", "remote_ip", "--count", "-o", "jsonl", "--since", "2026-11-20T12:00:00Z", "--until", "2026-11-20T12:30:00Z"}, args...)...)
		return strings.Count(r.stdout, "\n")
	}
	if got, want := count("--bundle", path), count("--data", dir); got != want || got < 2 {
		t.Errorf("%d addresses, before %d", got, want)
	}
	again, r := bundled(t, args...)
	if r.code != exitOK || entries(t, again)[bundle.ConnectionsName] != files[bundle.ConnectionsName] {
		t.Errorf("with the same key it is another one: %v", r)
	}
}

// TestServeContext: notes and lines of log files stand on the timeline, with a
// daemon and without one, and a bundle of real traffic holds its packets.
func TestServeContext(t *testing.T) {
	need.Root(t)
	ns := tcptest.NewNetNS(t)
	server, at := serve(t, ns, tcptest.ServerConfig{Plain: true})
	_ = server
	dir, log := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "app.log")
	config := filepath.Join(t.TempDir(), "serve.yaml")
	text := "packets: {interfaces: [lo], netns: " + ns.Path() + "}\ntail:\n- {file: " + log + ", pattern: 'ERROR (?P<what>.*)', text: 'app: ${what}', from: app}\n"
	for name, content := range map[string]string{config: text, log: "ERROR of yesterday\n"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := serving(t, nil, dir, "--netns", ns.Path(), "--config", config)
	p.until(t, "that packets are recorded", func() bool { return p.said("recording packets (headers) on lo") })
	p.until(t, "that the log is followed", func() bool { return p.said("log files become marks") })
	marks := func() string {
		return column(objects(t, inProcess(t, "history", "--data", dir, "--events=mark", "--since", "1h", "-o", "jsonl")), "text")
	}
	if r := inProcess(t, "mark", "--data", dir, "deploy", "of", "shop", "--from", "ci"); r.code != exitOK || !strings.Contains(r.stderr, "in http://") {
		t.Fatal(r)
	}
	client, ends := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 5, Send: 4000, Name: "early"})
	if err := client.Call(tcptest.Op{Op: "close"}, &ends); err != nil {
		t.Fatal(err)
	}
	// The line may come before the end of the file was found.
	for deadline := time.Now().Add(patience); !strings.Contains(marks(), "app: out of memory"); {
		f, err := os.OpenFile(log, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("INFO fine\nERROR out of memory\n"); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		if time.Now().After(deadline) {
			t.Fatalf("marks: %s", marks())
		}
		waitABit()
	}
	eventually(func() bool { return closed(stored(t, dir)) >= 2*len(ends) })
	code, body := ask(t, dir, http.MethodGet, "/metrics")
	if code != http.StatusOK || !strings.Contains(body, `viewtcp_tail_matches_total{outcome="marked"} `) || strings.Contains(body, "viewtcp_tail_lines_total 0\n") {
		t.Errorf("metrics: %d", code)
	}
	if r := p.interrupt(t); r.code != exitOK {
		t.Fatal(r)
	}
	if r := inProcess(t, "mark", "--data", dir, "after the end", "--at", "1m"); r.code != exitOK || !strings.Contains(r.stderr, "in "+dir) {
		t.Fatal(r)
	}
	got := marks()
	if !strings.Contains(got, "deploy of shop") || !strings.Contains(got, "after the end") || strings.Contains(got, "yesterday") {
		t.Errorf("marks: %s", got)
	}

	path, r := bundled(t, "--data", dir, "--since", "30m", "process early")
	if r.code != exitOK {
		t.Fatal(r)
	}
	var m bundle.Manifest
	if err := json.Unmarshal([]byte(entries(t, path)[bundle.ManifestName]), &m); err != nil {
		t.Fatal(err)
	}
	if f, ok := m.File(bundle.ConnectionsName); !ok || f.Rows != uint64(len(ends)) {
		t.Errorf("%d rows of connections, want %d", f.Rows, len(ends))
	}
	one := filepath.Join(t.TempDir(), "one.pcapng")
	whole := filepath.Join(t.TempDir(), "whole.pcapng")
	if r := inProcess(t, "export", "--bundle", path, "-w", one, "process early"); r.code != exitOK {
		t.Fatal(r)
	}
	if r := inProcess(t, "export", "--data", dir, "-w", whole, "process early"); r.code != exitOK {
		t.Fatal(r)
	}
	sameFrames(t, "out of the bundle", framesOf(t, one), framesOf(t, whole))
	if n := len(framesOf(t, one)); n < 10*len(ends) {
		t.Errorf("%d frames of %d connections", n, len(ends))
	}
	if r := inProcess(t, "history", "--bundle", path, "--events=mark", "-o", "jsonl"); !strings.Contains(r.stdout, "deploy of shop") {
		t.Error(r)
	}
}

// TestMarkRefuses checks what is no note.
func TestMarkRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"mark"}, exitUsage, "what shall it say"},
		{[]string{"mark", " "}, exitUsage, "what shall it say"},
		{[]string{"mark", "x", "--at", "whenever"}, exitUsage, "--at"},
		{[]string{"mark", strings.Repeat("x", maxMark+1)}, exitUsage, "4096 bytes"},
		{[]string{"mark", "x\xff"}, exitUsage, "UTF-8"},
		{[]string{"mark", "x", "--data", dir}, exitFailure, "there is no daemon and no history"},
	} {
		if r := inProcess(t, tt.args...); r.code != tt.code || !strings.Contains(r.stderr, tt.text) {
			t.Errorf("%.60q: %v", tt.args, r)
		}
	}
}
