package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// atWork starts the daemon on a data directory of its own, and returns when others
// can ask it.
func atWork(t *testing.T, dir string) *program {
	t.Helper()
	p := start(t, nil, "serve", "--listen", "127.0.0.1:0", "--data", dir)
	deadline := time.Now().Add(patience)
	for {
		if info, err := readDaemonInfo(dir); err == nil && info.PID == p.cmd.Process.Pid {
			resp, err := http.Get("http://" + info.Address + "/readyz")
			if err == nil {
				_ = resp.Body.Close()
				http.DefaultClient.CloseIdleConnections()
				if resp.StatusCode == http.StatusOK {
					return p
				}
			}
		}
		select {
		case <-p.done:
			t.Fatalf("the daemon has ended: %v", p.wait(t))
		default:
		}
		if time.Now().After(deadline) {
			p.mu.Lock()
			defer p.mu.Unlock()
			t.Fatalf("the daemon is not ready: %q", p.stderr)
		}
		waitABit()
	}
}

// exchange moves bytes over a connection, from both ends.
func exchange(t *testing.T, a, b net.Conn, sent, received int) {
	t.Helper()
	done := make(chan error, 2)
	move := func(from, to net.Conn, n int) {
		if _, err := from.Write(make([]byte, n)); err != nil {
			done <- err
			return
		}
		_, err := io.ReadFull(to, make([]byte, n))
		done <- err
	}
	go move(a, b, sent)
	go move(b, a, received)
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// TestDaemonShowsTheSame compares what list says of real connections with a daemon
// and without one.
func TestDaemonShowsTheSame(t *testing.T) {
	need.Root(t)
	dir := t.TempDir()
	client, server := loopbackPair(t)
	exchange(t, client, server, 12_345, 54_321)
	atWork(t, dir)
	late, other := loopbackPair(t) // which the daemon sees opening
	exchange(t, late, other, 777, 888)
	// Others may wait in TIME_WAIT on the same ports.
	filter := fmt.Sprintf("state established and local_port in {%d, %d, %d, %d}", portOf(client), portOf(server), portOf(late), portOf(other))

	local := byCookie(rows(t, viewtcp(t, "list", "-o", "jsonl", "--local", filter)))
	if len(local) < 4 {
		t.Fatalf("%d rows without a daemon", len(local))
	}
	// The daemon looks at connections once a second. It knows more of those that it
	// saw opening: their direction and service.
	var differs string
	eventually(func() bool {
		differs = ""
		asked := byCookie(rows(t, viewtcp(t, "list", "-o", "jsonl", "--data", dir, filter)))
		for cookie, want := range local {
			got := asked[cookie]
			for _, key := range []string{
				"id", "peer_id", "cookie", "netns", "host", "family", "source", "local_ip", "local_port", "remote_ip", "remote_port",
				"pid", "process", "exe", "cmdline", "uid", "user", "state", "bytes_sent", "bytes_received", "mss", "congestion_control",
			} {
				if text(want, key) != text(got, key) {
					differs += fmt.Sprintf("%s of %s: with a daemon %q, without %q\n", key, text(want, "id"), text(got, key), text(want, key))
				}
			}
		}
		return differs == ""
	})
	if differs != "" {
		t.Error(differs)
	}

	// The forms of output are the same, too.
	for _, args := range [][]string{{"-o", "json"}, {"-o", "csv", "--columns", "id,process"}, {"-o", "table"}, {"-o", "wide", "-n"}} {
		a := viewtcp(t, append([]string{"list", "--local", filter}, args...)...)
		b := viewtcp(t, append([]string{"list", "--data", dir, filter}, args...)...)
		if a.code != exitOK || b.code != exitOK || strings.Count(a.stdout, "\n") != strings.Count(b.stdout, "\n") {
			t.Errorf("%v:\nlocal: %v\ndaemon: %v", args, a, b)
		}
		if args[1] == "json" && (!json.Valid([]byte(a.stdout)) || !json.Valid([]byte(b.stdout))) {
			t.Error("no JSON")
		}
	}
	if r := viewtcp(t, "list", "--data", dir, "--fail-empty", "port 1 and port 2"); r.code != exitEmpty {
		t.Errorf("nothing matches: %v", r)
	}
}

// TestDaemonIsWatched checks that watch tells of a connection what the daemon saw,
// that a daemon which ends is waited for, and that top shows it.
func TestDaemonIsWatched(t *testing.T) {
	need.Root(t)
	dir := t.TempDir()
	daemon := atWork(t, dir)
	info, err := readDaemonInfo(dir)
	if err != nil {
		t.Fatal(err)
	}
	token, err := readToken(dir)
	if err != nil {
		t.Fatal(err)
	}
	named := withEnv("VIEWTCP_SERVER=http://"+info.Address, "VIEWTCP_TOKEN="+token)
	w := watching(t, []how{named}, "--events", "opened,closed")
	w.until(t, "whom it asks", func() bool { return w.said("by the daemon at") })
	client, server := loopbackPair(t)
	exchange(t, client, server, 4321, 99)
	port := uint16(portOf(client))

	s := openTop(t, []how{named}, "top", fmt.Sprintf("local_port = %d", port))
	s.until("1 of ")
	s.until(fmt.Sprintf("127.0.0.1:%d", portOf(server)))
	s.until("ebpf")
	s.press("q")
	if code := s.wait(); code != exitOK {
		t.Errorf("top: exit code %d", code)
	}

	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	var closed event
	w.until(t, "the connection's end", func() bool {
		for i := len(w.parsed); i < len(w.lines); i++ {
			e := event{raw: w.lines[i]}
			_ = json.Unmarshal([]byte(e.raw), &e)
			w.parsed = append(w.parsed, e)
			if e.Event == "closed" && e.LocalPort == port && int(e.RemotePort) == portOf(server) {
				closed = e
			}
		}
		return closed.Event != ""
	})
	if closed.BytesSent == nil || *closed.BytesSent != 4321 || closed.BytesReceived == nil || *closed.BytesReceived != 99 || closed.PID != os.Getpid() || !closed.Complete {
		t.Errorf("the end of the connection: %s", closed.raw)
	}

	exportsBothWays(t, named, dir, closed.ID)

	daemon.signal(t, syscall.SIGTERM)
	daemon.wait(t)
	w.until(t, "that the daemon is lost", func() bool { return w.said("trying again") })
	if r := w.interrupt(t); r.code != exitInterrupted {
		t.Errorf("watch: %v", r)
	}
	// Nobody is there now: what was named is missed, what was not is done without.
	if r := viewtcpWith(t, []how{named}, "list"); r.code != exitFailure {
		t.Errorf("a server that is gone: %v", r)
	}
	if r := viewtcp(t, "list", "--data", dir, "--limit", "1"); r.code != exitOK {
		t.Errorf("a daemon that is gone: %v", r)
	}
}

// exportsBothWays compares the packets of a connection that a daemon sends with those
// in its data directory.
func exportsBothWays(t *testing.T, named how, dir, id string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.pcapng")
	var sent, read []writtenFrame
	// Two segments of the handshake and its ACK, data both ways, both FINs and the last
	// ACK; the recorder writes once a second.
	eventually(func() bool {
		if r := viewtcpWith(t, []how{named}, "export", id, "-w", out); r.code != exitOK {
			t.Fatalf("%v", r)
		}
		if _, err := os.Stat(out); err != nil {
			return false
		}
		sent = framesOf(t, out)
		if r := viewtcp(t, "export", "--data", dir, id, "-w", out); r.code != exitOK {
			t.Fatalf("%v", r)
		}
		read = framesOf(t, out)
		return len(sent) == len(read) && len(sent) >= 8
	})
	if len(sent) < 8 {
		t.Errorf("%d packets", len(sent))
	}
	sameFrames(t, "sent by the daemon", sent, read)
	for i := range sent {
		if sent[i].Comment != read[i].Comment || !strings.Contains(sent[i].Comment, id) {
			t.Errorf("frame %d: comment %q, that in the data directory %q", i+1, sent[i].Comment, read[i].Comment)
		}
	}
	if r := viewtcpWith(t, []how{named}, "export", "process", "nobody", "-w", out, "--fail-empty"); r.code != exitEmpty {
		t.Errorf("nothing matches: %v", r)
	}
	if r := viewtcpWith(t, []how{named}, "export", id, "-w", out, "--anonymize"); r.code != exitOK {
		t.Errorf("%v", r)
	}
	for _, f := range framesOf(t, out) {
		if strings.Contains(f.Comment, id) {
			t.Errorf("anonymised: comment %q", f.Comment)
		}
	}
}

// TestDaemonRefuses checks who may not ask, and flags that make no sense.
func TestDaemonRefuses(t *testing.T) {
	need.Root(t)
	binary(t)
	dir, err := os.MkdirTemp(built.dir, "data-") //nolint:usetesting // other users can enter this one
	if err != nil {
		t.Fatal(err)
	}
	atWork(t, dir)
	info, err := readDaemonInfo(dir)
	if err != nil {
		t.Fatal(err)
	}
	server := "http://" + info.Address
	wrong := withEnv("VIEWTCP_TOKEN=" + strings.Repeat("x", 43))
	for name, tt := range map[string]struct {
		hows []how
		args []string
		code int
		says string
	}{
		"wrong token":         {[]how{wrong}, []string{"list", "--server", server}, exitPermission, "does not know this token"},
		"wrong token, watch":  {[]how{wrong}, []string{"watch", "--server", server, "--for", "30s"}, exitPermission, "does not know this token"},
		"no token":            {nil, []string{"list", "--server", server}, exitPermission, "VIEWTCP_TOKEN"},
		"token of the data":   {nil, []string{"list", "--server", server, "--data", dir, "--limit", "1"}, exitOK, ""},
		"local":               {[]how{wrong}, []string{"list", "--local", "--limit", "1"}, exitOK, ""},
		"local over variable": {[]how{withEnv("VIEWTCP_SERVER=http://127.0.0.1:1")}, []string{"list", "--local", "--limit", "1"}, exitOK, ""},
		"both":                {nil, []string{"list", "--local", "--server", server}, exitUsage, "--local"},
		"how and whom":        {nil, []string{"list", "--source", "procfs", "--server", server}, exitUsage, "--source"},
		"how":                 {nil, []string{"list", "--source", "procfs", "--data", dir, "-o", "jsonl", "--limit", "1"}, exitOK, ""},
		"export, two places":  {nil, []string{"export", "--server", server, "--record-dir", dir, "-w", "x.pcapng"}, exitUsage, "two places"},
		"malformed":           {nil, []string{"list", "--server", "ftp://x", "--data", dir}, exitUsage, "http://"},
		"another program":     {nil, []string{"list", "--server", "http://127.0.0.1:1", "--data", dir}, exitFailure, "127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := viewtcpWith(t, tt.hows, tt.args...)
			if r.code != tt.code || !strings.Contains(r.stderr, tt.says) {
				t.Errorf("%v\nwant exit code %d and %q", r, tt.code, tt.says)
			}
		})
	}
	// Another user may not look into the data directory; if he may, he sees that a
	// daemon runs, but not its token.
	for _, mode := range []os.FileMode{0o700, 0o755} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		r := viewtcpWith(t, []how{as(nobody)}, "list", "--data", dir)
		if r.code != exitPermission || mode == 0o755 && !strings.Contains(r.stderr, "token") {
			t.Errorf("another user, mode %o: %v", mode, r)
		}
	}
}
