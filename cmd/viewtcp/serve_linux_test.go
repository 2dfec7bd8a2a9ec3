package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/store/parquet"
	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// serving starts serve on a data directory and returns when it has seen all
// connections.
func serving(tb testing.TB, hows []how, dir string, args ...string) *program {
	tb.Helper()
	p := start(tb, hows, append([]string{"serve", "--data", dir, "--listen", "127.0.0.1:0"}, args...)...)
	p.until(tb, "that it collects", func() bool { return p.said("viewtcp: history in ") || p.said("no history is kept") })
	return p
}

// stored are the rows of closed connections and of others that a data directory
// holds, by cookie.
func stored(tb testing.TB, dir string) map[uint64][]store.Record {
	tb.Helper()
	r, err := parquet.OpenReadOnly(filepath.Join(dir, storeDir))
	if err != nil {
		tb.Fatal(err)
	}
	all := make(map[uint64][]store.Record)
	q := &store.Query{From: time.Now().Add(-time.Hour), To: time.Now().Add(time.Hour)}
	_, err = r.Records(tb.Context(), q, func(rec *store.Record) error {
		own, c := *rec, *rec.Conn
		if rec.Deltas != nil {
			d := *rec.Deltas
			own.Deltas = &d
		}
		own.Conn = &c
		all[c.Cookie] = append(all[c.Cookie], own)
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

// moved sums what the rows of a connection say that it moved.
func moved(rows []store.Record) (sent, received uint64, closes int) {
	for i := range rows {
		s, _ := rows[i].Delta(store.BytesSent)
		r, _ := rows[i].Delta(store.BytesReceived)
		sent, received = sent+s, received+r
		if rows[i].Kind == store.Close {
			closes++
		}
	}
	return sent, received, closes
}

// heldAgainst compares what is stored with what the ends of connections know.
func heldAgainst(tb testing.TB, all map[uint64][]store.Record, ends ...tcptest.Ledger) {
	tb.Helper()
	for _, l := range ends {
		for _, e := range l {
			sent, received, closes := moved(all[e.Cookie])
			if closes != 1 || sent != e.Sent || received != e.Received {
				tb.Errorf("%s %s → %s: %d rows with %d ends say %d bytes sent and %d received, want 1 end, %d and %d",
					e.Side, e.Local, e.Remote, len(all[e.Cookie]), closes, sent, received, e.Sent, e.Received)
			}
		}
	}
}

// closed counts the ends among rows.
func closed(all map[uint64][]store.Record) (n int) {
	for _, rows := range all {
		_, _, c := moved(rows)
		n += c
	}
	return n
}

// ask sends a request to the daemon of a data directory.
func ask(tb testing.TB, dir, method, path string) (int, string) {
	tb.Helper()
	info, err := readDaemonInfo(dir)
	if err != nil {
		tb.Fatal(err)
	}
	token, err := readToken(dir)
	if err != nil {
		tb.Fatal(err)
	}
	req, err := http.NewRequestWithContext(tb.Context(), method, "http://"+info.Address+path, nil)
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Close = true
	tr := &http.Transport{DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr, Timeout: patience}).Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TestServe: what happens on the host is in history, on disk and over HTTP, also
// what happened right before serve was told to end, and each packet of a closed
// connection can be had.
func TestServe(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	server, at := serve(t, ns, tcptest.ServerConfig{Plain: true})
	dir := filepath.Join(t.TempDir(), "data")
	config := filepath.Join(t.TempDir(), "serve.yaml")
	if err := os.WriteFile(config, []byte("packets: {interfaces: [lo], netns: "+ns.Path()+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := serving(t, nil, dir, "--netns", ns.Path(), "--config", config)
	p.until(t, "that packets are recorded", func() bool { return p.said("recording packets (headers) on lo") })
	if st, err := os.Stat(filepath.Join(dir, tokenFile)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the token: %v, %v", st.Mode(), err)
	}
	client, ends := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 20, Send: 4000, Name: "early"})
	if err := client.Call(tcptest.Op{Op: "close"}, &ends); err != nil {
		t.Fatal(err)
	}
	want := 2 * len(ends)
	eventually(func() bool { return closed(stored(t, dir)) >= want })
	heldAgainst(t, stored(t, dir), ends)

	code, body := ask(t, dir, http.MethodGet, "/api/v1/history?since=10m&filter="+url.QueryEscape("process early"))
	if code != http.StatusOK || strings.Count(body, `"process":"early"`) != len(ends) {
		t.Errorf("over HTTP: %d %s", code, short(body))
	}
	code, body = ask(t, dir, http.MethodGet, "/metrics")
	for _, name := range []string{
		"process_cpu_seconds_total ", "process_resident_memory_bytes ", "process_open_fds ", "go_goroutines ",
		`viewtcp_connections{kind="open"} `, "viewtcp_store_rows_total ", `viewtcp_store_state{state="ok"} 1`,
		"viewtcp_recorder_packets_total ", "viewtcp_history_lost_rows_total 0", `viewtcp_collector_info{source="ebpf"} 1`,
	} {
		if code != http.StatusOK || !strings.Contains(body, "\n"+name) {
			t.Errorf("metrics lack %q: %d", name, code)
		}
	}

	// An end is known by its id long after it is over.
	one := ends[7]
	out := filepath.Join(t.TempDir(), "one.pcapng")
	id := stored(t, dir)[one.Cookie][0].Conn.ID.String()
	code, body = ask(t, dir, http.MethodGet, "/api/v1/packets?id="+id)
	if err := os.WriteFile(out, []byte(body), 0o600); err != nil || code != http.StatusOK {
		t.Fatalf("packets of %s: %d %v %s", id, code, err, short(body))
	}
	overHTTP := framesOf(t, out)
	r := inProcess(t, "export", "--data", dir, id, "-w", out)
	if r.code != exitOK || !strings.Contains(r.stderr, "of 1 connection ") {
		t.Fatalf("export: %v", r)
	}
	frames := framesOf(t, out)
	sameFrames(t, "over HTTP", overHTTP, frames)
	for i := range frames {
		tuple := frames[i].seg.Tuple
		if tuple.LocalPort != one.Local.Port() && tuple.RemotePort != one.Local.Port() {
			t.Errorf("frame %d is of another connection: %v", i+1, tuple)
		}
	}
	if len(frames) < 10 {
		t.Errorf("%d frames", len(frames))
	}
	// History knows what packets do not tell.
	r = inProcess(t, "export", "--data", dir, "-w", out, fmt.Sprintf("cookie == %d", one.Cookie))
	if r.code != exitOK || !strings.Contains(r.stderr, "of 1 connection ") {
		t.Errorf("export by cookie: %v", r)
	}

	late, lateEnds := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 100, Send: 700, Name: "late"})
	if err := late.Call(tcptest.Op{Op: "close"}, &lateEnds); err != nil {
		t.Fatal(err)
	}
	p.signal(t, syscall.SIGTERM)
	if r := p.wait(t); r.code != exitOK {
		t.Errorf("%v", r)
	}
	heldAgainst(t, stored(t, dir), ends, lateEnds, ledgerOf(t, server))
	if _, err := os.Stat(filepath.Join(dir, daemonFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("daemon.json is still there: %v", err)
	}
}

// TestServeAgain: a connection that goes on while serve ends, is killed and starts
// again is counted once.
func TestServeAgain(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	server, at := serve(t, ns, tcptest.ServerConfig{Plain: true})
	dir := t.TempDir()
	begin := func() *program { return serving(t, nil, dir, "--netns", ns.Path(), "--packets=false") }
	p := begin()
	long, _ := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 3, Send: 10_000, Name: "long"})
	p.signal(t, syscall.SIGTERM)
	if r := p.wait(t); r.code != exitOK {
		t.Fatalf("%v", r)
	}

	p = begin()
	if err := long.Call(tcptest.Op{Op: "send", Bytes: 5000}, nil); err != nil {
		t.Fatal(err)
	}
	short, shortEnds := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 30, Send: 100, Name: "short"})
	if err := short.Call(tcptest.Op{Op: "close"}, &shortEnds); err != nil {
		t.Fatal(err)
	}
	eventually(func() bool { return closed(stored(t, dir)) >= 2*len(shortEnds) })
	p.signal(t, syscall.SIGKILL)
	p.wait(t)
	heldAgainst(t, stored(t, dir), shortEnds)

	p = begin()
	var longEnds tcptest.Ledger
	if err := long.Call(tcptest.Op{Op: "close"}, &longEnds); err != nil {
		t.Fatal(err)
	}
	want := 2 * (len(shortEnds) + len(longEnds))
	eventually(func() bool { return closed(stored(t, dir)) >= want })
	if r := p.interrupt(t); r.code != exitOK {
		t.Errorf("%v", r)
	}
	all := stored(t, dir)
	heldAgainst(t, all, shortEnds, longEnds, ledgerOf(t, server))
	if n := closed(all); n != want {
		t.Errorf("%d ends, want %d", n, want)
	}
}

// TestServeRefuses: what stands in the way is said in a sentence, with the code
// for it, and nothing is left behind.
func TestServeRefuses(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	dir := t.TempDir()
	p := serving(t, nil, dir, "--netns", ns.Path(), "--packets=false")
	r := viewtcp(t, "serve", "--data", dir, "--listen", "127.0.0.1:0")
	if r.code != exitFailure || !strings.Contains(r.stderr, fmt.Sprintf("another viewtcp serve (pid %d) has the data directory", p.cmd.Process.Pid)) {
		t.Errorf("a second one: %v", r)
	}
	info, err := readDaemonInfo(dir)
	if err != nil || info.PID != p.cmd.Process.Pid {
		t.Fatalf("%+v, %v", info, err)
	}
	other := t.TempDir()
	r = viewtcp(t, "serve", "--data", other, "--listen", info.Address)
	if r.code != exitFailure || !strings.Contains(r.stderr, "address already in use") || !strings.Contains(r.stderr, "--listen gives") {
		t.Errorf("a port in use: %v", r)
	}
	file := filepath.Join(other, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r = viewtcp(t, "serve", "--data", filepath.Join(file, "data"), "--listen", "127.0.0.1:0")
	if r.code != exitFailure || !strings.Contains(r.stderr, "data directory: ") {
		t.Errorf("a directory below a file: %v", r)
	}
	r = viewtcpWith(t, []how{as(nobody)}, "serve", "--data", other, "--listen", "127.0.0.1:0")
	if r.code != exitPermission || !strings.Contains(r.stderr, "--data DIR") {
		t.Errorf("a directory of somebody else: %v", r)
	}
	r = viewtcp(t, "serve", "--data", other, "--listen", "127.0.0.1:0", "--netns", "/no/such")
	if r.code != exitUsage || !strings.Contains(r.stderr, "--netns /no/such: ") {
		t.Errorf("a namespace that is none: %v", r)
	}
	// The first signal ends it, and the data directory is free for another.
	if r := p.interrupt(t); r.code != exitOK {
		t.Errorf("%v", r)
	}
	p = serving(t, nil, dir, "--netns", ns.Path(), "--packets=false", "--log-format", "text")
	if r := p.interrupt(t); r.code != exitOK {
		t.Errorf("%v", r)
	}
}

// TestServeWithoutRights: what a user may see is collected, and what is missing is
// said.
func TestServeWithoutRights(t *testing.T) {
	need.Root(t)
	dir := t.TempDir()
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	open(t, filepath.Dir(dir))
	p := serving(t, []how{as(nobody)}, dir, "--source", "procfs")
	p.until(t, "what is missing", func() bool { return p.said("viewtcp: partial view: ") && p.said("packets are not recorded: ") })
	code, body := ask(t, dir, http.MethodGet, "/api/v1/health")
	var h struct {
		Ready            bool
		Source, Packets  string
		Warning, Version string
	}
	if err := json.Unmarshal([]byte(body), &h); err != nil || code != http.StatusOK || !h.Ready || h.Source != "procfs" || h.Packets == "" || h.Warning == "" {
		t.Errorf("health: %d %v %s", code, err, short(body))
	}
	if r := p.interrupt(t); r.code != exitOK {
		t.Errorf("%v", r)
	}
}

// open lets others pass through a directory of the test.
func open(tb testing.TB, dir string) {
	tb.Helper()
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // another user passes
		tb.Fatal(err)
	}
}

// TestServeReloads: SIGHUP does what the file says now, as far as it can, and says
// what it cannot.
func TestServeReloads(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "serve.yaml")
	write := func(s string) {
		if err := os.WriteFile(config, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("packets: {enabled: false}\n")
	p := serving(t, nil, dir, "--netns", ns.Path(), "--config", config)
	write("packets: {netns: " + ns.Path() + ", interfaces: [lo]}\nnames: {services: false}\n")
	p.signal(t, syscall.SIGHUP)
	p.until(t, "that packets are recorded now", func() bool { return p.said("recording packets (headers) on lo") })
	p.until(t, "what needs a restart", func() bool { return p.said("key=names.services") })
	write("packets: {enabled: maybe}\n")
	p.signal(t, syscall.SIGHUP)
	p.until(t, "what is wrong", func() bool { return p.said("serve.yaml:1: packets.enabled maybe: it is true or false") })
	if _, body := ask(t, dir, http.MethodGet, "/metrics"); !strings.Contains(body, "\nviewtcp_recorder_running 1\n") {
		t.Error("a wrong file changed something")
	}
	if r := p.interrupt(t); r.code != exitOK {
		t.Errorf("%v", r)
	}
}

// TestServeManaged: the service manager hears how serve does.
func TestServeManaged(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	heard := func(want string) {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatalf("%s was not said: %v", want, err)
			}
			if slices.Contains(strings.Split(string(buf[:n]), "\n"), want) {
				return
			}
		}
	}
	p := start(t, []how{withEnv("NOTIFY_SOCKET="+path, "WATCHDOG_USEC=1000000", "WATCHDOG_PID=")},
		"serve", "--data", dir, "--listen", "127.0.0.1:0", "--netns", ns.Path(), "--packets=false", "--log-format", "json")
	heard("READY=1")
	heard("WATCHDOG=1")
	p.signal(t, syscall.SIGHUP)
	heard("RELOADING=1")
	heard("READY=1")
	p.signal(t, syscall.SIGTERM)
	heard("STOPPING=1")
	r := p.wait(t)
	if r.code != exitOK || strings.Contains(r.stderr, "launch") {
		t.Errorf("%v", r)
	}
	for _, line := range r.warnings() {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
}

// TestServeFullDisk: a disk without space stops history, not the view of what
// happens now, and history goes on when there is space again.
func TestServeFullDisk(t *testing.T) {
	need.Root(t)
	ns := tcptest.NewNetNS(t)
	_, at := serve(t, ns, tcptest.ServerConfig{Plain: true})
	p, inside := servingOnSmallDisk(t, ns, "4m")
	filler := fillDisk(t, inside)
	// Enough rows for any space that is left in what was begun.
	client, ends := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 300, Send: 50, Name: "waiting"})
	if err := client.Call(tcptest.Op{Op: "close"}, &ends); err != nil {
		t.Fatal(err)
	}
	p.until(t, "that history waits", func() bool { return p.said("history cannot be written, rows wait") })
	open, openEnds := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 5, Send: 50, Name: "seen"})
	seen := 0
	eventually(func() bool {
		_, body := ask(t, inside, http.MethodGet, "/api/v1/connections?filter="+url.QueryEscape("process seen"))
		seen = strings.Count(body, `"process":"seen"`)
		return seen == len(openEnds)
	})
	if seen != len(openEnds) {
		t.Errorf("%d connections are seen live, want %d", seen, len(openEnds))
	}
	if _, body := ask(t, inside, http.MethodGet, "/metrics"); strings.Contains(body, `viewtcp_store_state{state="ok"} 1`) {
		t.Error("the store says that all is well")
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	p.until(t, "that history goes on", func() bool { return p.said("history is written again") })
	if err := open.Call(tcptest.Op{Op: "close"}, &openEnds); err != nil {
		t.Fatal(err)
	}
	eventually(func() bool { return closed(stored(t, inside)) >= 2*(len(ends)+len(openEnds)) })
	heldAgainst(t, stored(t, inside), ends, openEnds)
	if r := p.interrupt(t); r.code != exitOK {
		t.Errorf("%v", r)
	}
}

// TestServeSecondSignal: who does not want to wait need not.
func TestServeSecondSignal(t *testing.T) {
	need.Root(t)
	ns := tcptest.NewNetNS(t)
	_, at := serve(t, ns, tcptest.ServerConfig{Plain: true})
	// A disk that takes nothing keeps it from ending at once.
	p, inside := servingOnSmallDisk(t, ns, "1m")
	fillDisk(t, inside)
	client, ends := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 300, Send: 50})
	if err := client.Call(tcptest.Op{Op: "close"}, &ends); err != nil {
		t.Fatal(err)
	}
	p.until(t, "that history waits", func() bool { return p.said("history cannot be written, rows wait") })
	for running := true; running; {
		select {
		case <-p.done:
			running = false
		default:
			_ = p.cmd.Process.Signal(syscall.SIGINT) // it may have ended
			waitABit()
		}
	}
	r := p.wait(t)
	if r.code != exitInterrupted || !strings.Contains(r.stderr, "a second signal: ending at once") {
		t.Errorf("%v", r)
	}
}

// servingOnSmallDisk begins a daemon whose data directory is a disk of so much, which
// nobody else sees; inside is where the test does.
func servingOnSmallDisk(t *testing.T, ns *tcptest.NetNS, size string) (p *program, inside string) {
	t.Helper()
	need.Programs(t, "unshare", "mount", "sh")
	dir := t.TempDir()
	small := wrapped("unshare", "--mount", "--propagation", "private", "sh", "-c",
		`mount -t tmpfs -o size="$SIZE" none "$SMALL" && exec "$0" "$@"`)
	p = serving(t, []how{withEnv("SMALL="+dir, "SIZE="+size), small}, dir, "--netns", ns.Path(), "--packets=false")
	return p, filepath.Join("/proc", fmt.Sprint(p.cmd.Process.Pid), "root", dir)
}

// fillDisk takes all space that is left where a directory is, and returns the file
// that has it.
func fillDisk(t *testing.T, dir string) string {
	t.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestServeInProcess runs the daemon where the race detector sees it.
func TestServeInProcess(t *testing.T) {
	need.Root(t)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stderr lockedBuffer
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"serve", "--data", dir, "--listen", "127.0.0.1:0", "--netns", "self", "--log-level", "debug"},
			env{stdin: strings.NewReader(""), stdout: io.Discard, stderr: &stderr})
	}()
	eventually(func() bool { return strings.Contains(stderr.String(), "viewtcp: history in ") })
	code, body := ask(t, dir, http.MethodGet, "/api/v1/health")
	if code != http.StatusOK || !strings.Contains(body, `"ready":true`) {
		t.Errorf("%d %s\n%s", code, short(body), stderr.String())
	}
	eventually(func() bool { return closed(stored(t, dir)) > 0 })
	if code, body := ask(t, dir, http.MethodGet, "/metrics"); code != http.StatusOK {
		t.Errorf("%d %s", code, short(body))
	}
	cancel()
	select {
	case code := <-done:
		if code != exitOK {
			t.Errorf("exit code %d: %s", code, stderr.String())
		}
	case <-time.After(patience):
		t.Fatalf("it does not end: %s", stderr.String())
	}
}
