package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/store"
)

func parsedConfig(text string) (serveConfig, error) {
	c := defaultServeConfig()
	return c, c.parse("serve.yaml", []byte(text), serveSections())
}

// TestServeConfig: what is wrong in a file is said with its line and, where there
// is one, with what was meant.
func TestServeConfig(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"listne: 127.0.0.1:1", `serve.yaml:1: unknown key "listne": did you mean "listen"?`},
		{"# a comment\n\nstore:\n  conections_max_age: 1d", `serve.yaml:4: unknown key "store.conections_max_age": did you mean "store.connections_max_age"?`},
		{"snaplen: 5", `serve.yaml:1: unknown key "snaplen": did you mean "packets.snaplen"?`},
		{"bogus: 5", `serve.yaml:1: unknown key "bogus"`},
		{"listen: here", "serve.yaml:1: listen here: it is an address and a port"},
		{"listen: 127.0.0.1:70000", "serve.yaml:1: listen 127.0.0.1:70000: it is"},
		{"listen: [a, b]", "serve.yaml:1: listen wants one value"},
		{"listen: {a: b}", "serve.yaml:1: listen wants one value"},
		{"collect:\n  source: ebfp", "serve.yaml:2: collect.source ebfp: it is auto, ebpf, netlink or procfs (did you mean ebpf?)"},
		{"collect: auto", "serve.yaml:1: collect wants keys of its own"},
		{"collect: {interval: 1ms}", "serve.yaml:1: collect.interval 1ms: it is between 100ms and 1m"},
		{"collect: {interval: soon}", "it is a time as in 90d, 12h or 30s"},
		{"store: {enabled: perhaps}", "serve.yaml:1: store.enabled perhaps: it is true or false"},
		{"store: {samples_max_age: 5m}", "serve.yaml:1: store.samples_max_age 5m: it is an hour at least, or 0"},
		{"store: {samples_max_age: -5h}", "it is a time as in"},
		{"store: {samples_max_bytes: 5}", "serve.yaml:1: store.samples_max_bytes 5: it is 1MiB at least, or 0"},
		{"packets:\n  max_bytes: much", "serve.yaml:2: packets.max_bytes much: it is a size from 256KiB to"},
		{"packets: {cutoff: some}", "serve.yaml:1: packets.cutoff some: it is a number of packets"},
		{"packets: {sample: 0}", "serve.yaml:1: packets.sample 0: it is a number from 1 to"},
		{"packets: {interfaces: [[lo]]}", "serve.yaml:1: packets.interfaces wants a list of plain values"},
		{"packets: {interfaces: ['']}", "serve.yaml:1: packets.interfaces: an empty name"},
		{"log: {level: loud}", "serve.yaml:1: log.level loud: it is debug, info, warn or error"},
		{"log: {format: xml}", "serve.yaml:1: log.format xml: it is text or json"},
		{"data: a\ndata: b", "already"},
		{"x: &a 1\nlisten: *a", `serve.yaml:1: unknown key "x"`},
		{"listen: &a 127.0.0.1:1\ndata: *a", "serve.yaml:2: data: aliases are not supported"},
		{"- listen", "serve.yaml:1: a mapping of keys to values is expected"},
		{"listen: [", "serve.yaml: yaml: "},
	} {
		_, err := parsedConfig(tt.text)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !errors.As(err, new(usageError)) {
			t.Errorf("%q: %v, want %q", tt.text, err, tt.want)
		}
	}
	for _, text := range []string{"", "# nothing\n", "store:\n", "store:\n  # seal_age: 1h\n", "listen:\n", "hosts: a.example"} {
		if _, err := parsedConfig(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	c, err := parsedConfig("listen: '[::1]:1'\nhosts: [a, b]\nstore: {connections_max_age: 36h, connections_max_bytes: 3GB}\npackets: {cutoff: 1MiB, snaplen: 96}\nlog: {level: warn}\n")
	if r := c.store.retention[store.Connections]; err != nil || c.listen != "[::1]:1" || len(c.hosts) != 2 || r.Age != 36*time.Hour || r.Bytes != 3e9 ||
		c.packets.snaplen != 96 || c.packets.cutoff != "1MiB" || c.log.level.String() != "WARN" {
		t.Errorf("%+v, %v", c, err)
	}
	if def := defaultServeConfig(); def.store.retention[store.Connections].Age != 90*oneDay {
		t.Error("one configuration changed the defaults of others")
	}
}

// TestServePrintConfig: what is printed says every key, is itself a configuration,
// and changes nothing.
func TestServePrintConfig(t *testing.T) {
	r := inProcess(t, "serve", "--print-config")
	if r.code != exitOK || r.stderr != "" {
		t.Fatalf("%v", r)
	}
	def := defaultServeConfig()
	c, err := parsedConfig(r.stdout)
	if err != nil {
		t.Fatal(err)
	}
	if changed := changedKeys(&def, &c); len(changed) != 0 {
		t.Errorf("%s is not the default", changed[0].name)
	}
	for _, k := range serveKeys() {
		if k.doc == "" || !strings.Contains(r.stdout, "# "+strings.Split(k.doc, "\n")[0]) {
			t.Errorf("%s is not documented", k.name)
		}
		// Nearly every key takes back what it says.
		again := defaultServeConfig()
		if k.set != nil {
			if err := k.set(&again, plain(k.get(&def))); err != nil {
				t.Errorf("%s: %v", k.name, err)
			}
		}
	}
	// The packaged file says the same of all keys.
	packaged, err := os.ReadFile(filepath.Join("..", "..", "deploy", "viewtcp.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(packaged), string(appendServeConfig(nil, &def, nil))) {
		t.Error("deploy/viewtcp.yaml is not what serve --print-config prints")
	}
	if _, err := parsedConfig(string(packaged)); err != nil {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "serve.yaml")
	if err := os.WriteFile(path, []byte("listen: 127.0.0.1:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r = inProcess(t, "serve", "--config", path, "--print-config", "--data", "/x y")
	if r.code != exitOK || !strings.Contains(r.stdout, "\nlisten: \"127.0.0.1:1\"\n") || !strings.Contains(r.stdout, "\ndata: \"/x y\"\n") {
		t.Errorf("%v", r)
	}
	if r = inProcess(t, "serve", "--config", path, "--check-config"); r.code != exitOK || !strings.Contains(r.stderr, "is right") {
		t.Errorf("%v", r)
	}
	if err := os.WriteFile(path, []byte("\nlsiten: 127.0.0.1:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r = inProcess(t, "serve", "--config", path, "--check-config"); r.code != exitUsage || !strings.Contains(r.stderr, `serve.yaml:2: unknown key "lsiten": did you mean "listen"?`) {
		t.Errorf("%v", r)
	}
	if r = inProcess(t, "serve", "--config", path+"x", "--check-config"); r.code != exitFailure || !strings.Contains(r.stderr, "reading the configuration: ") {
		t.Errorf("%v", r)
	}
}

func FuzzServeConfig(f *testing.F) {
	def := defaultServeConfig()
	for _, s := range []string{
		string(appendServeConfig(nil, &def, serveSections())), "listen: x", "a: [b, {c: d}]", "store:\n  enabled: true", "&a b: *a", "? [a]\n: b", "listen: !!binary x", "<<: {listen: a}",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parsedConfig(s)
		if err != nil {
			if !errors.As(err, new(usageError)) {
				t.Errorf("%v is no mistake of the file", err)
			}
			return
		}
		// What was read can be said and read again.
		said := string(appendServeConfig(nil, &c, nil))
		again, err := parsedConfig(said)
		if err != nil {
			t.Fatalf("%q: %v", said, err)
		}
		if changed := changedKeys(&c, &again); len(changed) != 0 {
			t.Errorf("%s: %s, then %s", changed[0].name, changed[0].get(&c), changed[0].get(&again))
		}
	})
}

// TestDataDir: where data lies, and that two cannot have it.
func TestDataDir(t *testing.T) {
	t.Setenv("VIEWTCP_DATA", "")
	t.Setenv("XDG_STATE_HOME", "/state")
	want := "/state/viewtcp"
	if os.Geteuid() == 0 {
		want = "/var/lib/viewtcp"
	}
	if dir, err := dataDir(""); err != nil || filepath.ToSlash(dir) != want {
		t.Errorf("%q, %v", dir, err)
	}
	t.Setenv("VIEWTCP_DATA", "/a/../b")
	if dir, err := dataDir(""); err != nil || filepath.ToSlash(dir) != "/b" {
		t.Errorf("%q, %v", dir, err)
	}
	if dir, err := dataDir("c/"); err != nil || dir != "c" {
		t.Errorf("%q, %v", dir, err)
	}

	dir := filepath.Join(t.TempDir(), "new", "data")
	lock, err := lockDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockDataDir(dir); err == nil || !strings.Contains(err.Error(), "another viewtcp serve (pid ") {
		t.Errorf("a second lock: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if lock, err = lockDataDir(dir); err != nil {
		t.Fatal(err)
	}
	defer lock.Close()

	if _, err := readToken(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no token yet: %v", err)
	}
	token, err := makeToken(dir)
	if err != nil || len(token) != 43 {
		t.Fatalf("%q, %v", token, err)
	}
	if again, err := makeToken(dir); err != nil || again != token {
		t.Errorf("%q, %v", again, err)
	}
	if err := os.WriteFile(filepath.Join(dir, tokenFile), []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := makeToken(dir); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("a broken token: %v", err)
	}

	if _, err := readDaemonInfo(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no daemon yet: %v", err)
	}
	info := daemonInfo{Address: "127.0.0.1:1", PID: 7, Started: time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)}
	if err := writeDaemonInfo(dir, info); err != nil {
		t.Fatal(err)
	}
	if got, err := readDaemonInfo(dir); err != nil || got != info {
		t.Errorf("%+v, %v", got, err)
	}
}
