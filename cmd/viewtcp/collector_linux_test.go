package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// collecting starts a collector as root and returns its socket, to which every
// user can find the way.
func collecting(tb testing.TB, args ...string) (*program, string) {
	tb.Helper()
	need.Root(tb)
	dir, err := os.MkdirTemp("", "viewtcp-collector-") //nolint:usetesting // TempDir is closed to other users
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // see above
		tb.Fatal(err)
	}
	path := filepath.Join(dir, "socket")
	p := start(tb, nil, append([]string{"collector", "--socket", path}, args...)...)
	for range 1200 {
		var d net.Dialer
		if c, err := d.DialContext(tb.Context(), "unix", path); err == nil {
			_ = c.Close()
			return p, path
		}
		waitABit()
	}
	tb.Fatal("the collector does not listen")
	return nil, ""
}

// TestCollector: a user without rights sees through a collector what root sees.
func TestCollector(t *testing.T) {
	ns, _, _ := quiet(t, 5)
	p, path := collecting(t, "--allow-uid", "65534")
	through := []string{"--collector", path, "--netns", ns.Path()}
	for _, source := range []string{"auto", "netlink", "procfs"} {
		t.Run("list "+source, func(t *testing.T) {
			want := listed(t, "--netns", ns.Path(), "--source", source)
			r := viewtcpWith(t, []how{as(nobody)}, append([]string{"list", "-o", "jsonl", "--source", source}, through...)...)
			got := rows(t, r)
			sameSockets(t, want, got, true)
			for i, row := range want {
				for _, key := range []string{"pid", "process", "cmdline", "user", "source", "attribution"} {
					if text(row, key) != text(got[i], key) {
						t.Errorf("%s: %q through the collector, %q else", key, text(got[i], key), text(row, key))
					}
				}
			}
			if partial := strings.Contains(r.stderr, "partial view"); partial != (source == "procfs") && source != "netlink" {
				t.Errorf("stderr: %s", r.stderr)
			}
		})
	}
	t.Run("environment", func(t *testing.T) {
		r := viewtcpWith(t, []how{as(nobody), withEnv("VIEWTCP_COLLECTOR=unix:" + path)}, "list", "-o", "jsonl", "--netns", ns.Path())
		if got := rows(t, r); len(got) != 11 {
			t.Errorf("%d rows: %v", len(got), r)
		}
	})
	t.Run("doctor", func(t *testing.T) {
		r := viewtcpWith(t, []how{as(nobody)}, "doctor", "--collector", path)
		if r.code != exitOK || !strings.Contains(r.stdout, "ebpf") {
			t.Errorf("%v", r)
		}
	})
	t.Run("no such namespace", func(t *testing.T) {
		r := viewtcpWith(t, []how{as(nobody)}, "list", "--collector", path, "--netns", "/no/such")
		if r.code == exitOK || !strings.Contains(r.stderr, "/no/such") {
			t.Errorf("%v", r)
		}
	})
	t.Run("close is not allowed", func(t *testing.T) {
		before := openRows(t, ns)
		r := viewtcpWith(t, []how{as(nobody)}, append([]string{"close", "--yes", "process", "viewtcp-test-client", "or", "state", "established"}, through...)...)
		if r.code != exitPermission || !strings.Contains(r.stderr, "--allow-close") || !strings.Contains(r.stderr, "closed 0 of 10") {
			t.Errorf("%v", r)
		}
		closedExactly(t, ns, before)
	})
	t.Run("a second collector", func(t *testing.T) {
		r := viewtcp(t, "collector", "--socket", path)
		if r.code != exitFailure || !strings.Contains(r.stderr, "another one listens") {
			t.Errorf("%v", r)
		}
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	})
	t.Run("watch", func(t *testing.T) {
		s := storm(t, ns, tcptest.StormConfig{Connections: 500})
		w := watching(t, []how{as(nobody)}, through...)
		r := rage(t, s)
		w.until(t, "all closes", func() bool { return w.closes >= 1000 })
		// The collector's end is the watcher's, in clear words.
		p.signal(t, syscall.SIGKILL)
		p.wait(t)
		got := w.wait(t)
		if got.code != exitFailure || !strings.Contains(got.stderr, "collector") {
			t.Errorf("%s, exit code %d", got.stderr, got.code)
		}
		checkStorm(t, w.events(t), r.Ledger, stormExact)
	})
	t.Run("no collector", func(t *testing.T) {
		r := viewtcpWith(t, []how{as(nobody)}, "list", "--collector", path)
		if r.code != exitFailure || !strings.Contains(r.stderr, "connecting to the collector") {
			t.Errorf("%v", r)
		}
		r = viewtcpWith(t, []how{as(nobody)}, "list", "--collector", path+"-else")
		if r.code != exitFailure || !strings.Contains(r.stderr, "no such file") {
			t.Errorf("%v", r)
		}
	})
	t.Run("in place of a dead one", func(t *testing.T) {
		p := start(t, nil, "collector", "--socket", path)
		for range 600 {
			if r := viewtcp(t, "list", "-o", "json", "--collector", path, "--netns", ns.Path()); r.code == exitOK {
				break
			}
			waitABit()
		}
		if r := viewtcp(t, append([]string{"list", "-o", "jsonl"}, through...)...); len(rows(t, r)) < 11 {
			t.Errorf("%v", r)
		}
		if r := p.interrupt(t); r.code != exitInterrupted {
			t.Errorf("%v", r)
		}
		if _, err := os.Lstat(path); err == nil {
			t.Error("the socket outlives the collector")
		}
	})
}

// TestCollectorRefuses: who is not allowed learns nothing, and a file that is no
// socket is left alone.
func TestCollectorRefuses(t *testing.T) {
	p, path := collecting(t)
	for _, args := range [][]string{
		{"list", "--collector", path},
		{"watch", "--collector", path},
		{"doctor", "--collector", path},
		{"close", "--yes", "--collector", path, "pid", "=", "1"},
	} {
		r := viewtcpWith(t, []how{as(nobody)}, args...)
		if r.code != exitPermission || r.stdout != "" || len(r.warnings()) != 1 {
			t.Errorf("%v: %v", args, r)
		}
	}
	p.until(t, "who was refused, and how to allow it", func() bool { return p.said("--allow-uid 65534") })
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := viewtcp(t, "collector", "--socket", file); r.code != exitUsage {
		t.Errorf("%v", r)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "mine" {
		t.Errorf("%q, %v", b, err)
	}
	// Noise does not harm it.
	for _, noise := range []string{"", "GET / HTTP/1.1\r\n\r\n", "VTCP\x01\x00\xff\xff\xff\xff\x01", "VTCP\xff\xff"} {
		var d net.Dialer
		c, err := d.DialContext(t.Context(), "unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte(noise))
		_ = c.Close()
	}
	if r := viewtcp(t, "list", "-o", "json", "--collector", path, "--netns", "self"); r.code != exitOK {
		t.Errorf("after noise: %v", r)
	}
}

// TestCollectorCloses: with --allow-close, a user without rights closes exactly
// what was named.
func TestCollectorCloses(t *testing.T) {
	ns, client, _ := quiet(t, 4)
	_, path := collecting(t, "--allow-uid", "65534", "--allow-close")
	ledger := ledgerOf(t, client)
	before := openRows(t, ns)
	id := text(before[decimal(ledger[2].Cookie)], "id")
	r := viewtcpWith(t, []how{as(nobody)}, "close", "--yes", "--collector", path, "--netns", ns.Path(), id)
	if r.code != exitOK || !strings.Contains(r.stderr, "closed 1 of 1") {
		t.Errorf("%v", r)
	}
	closedExactly(t, ns, before, ledger[2])
}
