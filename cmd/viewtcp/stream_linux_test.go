package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// quiet is a namespace with a listener and connections that stay.
func quiet(tb testing.TB, connections int) (*tcptest.NetNS, *tcptest.Child, tcptest.Listening) {
	tb.Helper()
	ns := tcptest.NewNetNS(tb)
	_, at := serve(tb, ns, tcptest.ServerConfig{Plain: true})
	client, _ := connectTo(tb, ns, tcptest.ClientConfig{To: at.Addr, Count: connections, Send: 1000})
	return ns, client, at
}

// TestListFlags: formats, columns, orders and limits on real connections.
func TestListFlags(t *testing.T) {
	ns, _, at := quiet(t, 5)
	run := func(args ...string) result {
		t.Helper()
		return inProcess(t, append([]string{"list", "--netns", ns.Path()}, args...)...)
	}
	var array []tcptest.Row
	r := run("-o", "json")
	if err := json.Unmarshal([]byte(r.stdout), &array); err != nil || len(array) != 11 || r.stderr != "" {
		t.Errorf("%d objects, %v: %v", len(array), err, r)
	}
	if r := run("-o", "json", "dport = :1"); r.code != exitOK || r.stdout != "[]\n" {
		t.Errorf("an empty array: %v", r)
	}
	if r := run("-o", "jsonl", "dport = :1"); r.code != exitOK || r.stdout != "" {
		t.Errorf("%v", r)
	}
	if r := run("--fail-empty", "-o", "json", "dport = :1"); r.code != exitEmpty || r.stdout != "[]\n" {
		t.Errorf("--fail-empty: %v", r)
	}
	if r := run("--fail-empty", "state", "listening"); r.code != exitOK {
		t.Errorf("--fail-empty: %v", r)
	}
	lines, err := csv.NewReader(strings.NewReader(run("-o", "csv").stdout)).ReadAll()
	if err != nil || len(lines) != 12 || lines[0][0] != "id" {
		t.Errorf("csv: %d lines, %v", len(lines), err)
	}
	if r := run("-o", "csv", "--no-header", "--columns", "local", "state", "listening"); r.stdout != "127.0.0.1,"+decimal(uint64(at.Addr.Port()))+"\n" {
		t.Errorf("%v", r)
	}
	if r := run("--no-header", "--limit", "3"); strings.Count(r.stdout, "\n") != 3 {
		t.Errorf("--limit 3: %v", r)
	}
	r = run("--columns", "local,remote", "direction", "outbound")
	if lines := strings.Split(r.stdout, "\n"); len(lines) != 7 || strings.Join(strings.Fields(lines[0]), " ") != "LOCAL REMOTE" ||
		strings.Fields(lines[1])[1] != at.Addr.String() {
		t.Errorf("%v", r)
	}
	// The listener has no rtt: last, both ways.
	for _, reverse := range []string{"--reverse=false", "--reverse=true"} {
		lines := strings.Split(strings.TrimSpace(run("-o", "csv", "--no-header", "--columns", "rtt_us,state", "--sort", "rtt", reverse).stdout), "\n")
		if len(lines) != 11 || lines[10] != ",LISTEN" {
			t.Errorf("%s: %q", reverse, lines)
		}
	}
	if r := run("-o", "wide", "--limit", "1"); !strings.Contains(r.stdout, "CONTAINER") || !strings.Contains(r.stdout, "REASON") {
		t.Errorf("wide: %v", r)
	}
	if r := run("--color", "always"); !strings.Contains(r.stdout, "\x1b[32mESTABLISHED\x1b[0m") {
		t.Errorf("colours: %v", r)
	}
	if r := run(); strings.Contains(r.stdout, "\x1b") {
		t.Errorf("colours where no terminal is: %v", r)
	}
	id := text(array[0], "id")
	if r := run("-o", "csv", "--no-header", "--columns", "id", id); r.stdout != id+"\n" {
		t.Errorf("a lone id: %v", r)
	}
	for _, path := range []string{"/proc/self/status", "/proc/self/ns/pid", "/no/such"} {
		if r := run("--netns", path); r.code != exitUsage || r.stdout != "" || !strings.HasPrefix(r.stderr, "viewtcp: --netns "+path+": ") {
			t.Errorf("%v", r)
		}
	}
}

// TestConfigFile: defaults from the file, unless the command line says else.
func TestConfigFile(t *testing.T) {
	ns, _, _ := quiet(t, 2)
	home := t.TempDir()
	path := filepath.Join(home, "viewtcp", "config.yaml")
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("output: jsonl\ncolumns: state\nlimit: 2\nnetns: "+ns.Path()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CONFIG_HOME", home)
	if r := inProcess(t, "list", "state", "established"); r.stdout != "{\"state\":\"ESTABLISHED\"}\n{\"state\":\"ESTABLISHED\"}\n" {
		t.Errorf("the file in the usual place: %v", r)
	}
	if r := inProcess(t, "list", "-o", "csv", "--limit=1", "state", "established"); r.stdout != "state\nESTABLISHED\n" {
		t.Errorf("flags win: %v", r)
	}
	other := filepath.Join(home, "other.yaml")
	if err := os.WriteFile(other, []byte("output: csv\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := inProcess(t, "list", "--config", other, "--netns", ns.Path(), "--columns", "state", "--limit", "1", "state listening"); r.stdout != "state\nLISTEN\n" {
		t.Errorf("--config: %v", r)
	}
}

// TestNarrowTerminal: a table fits the terminal; NO_COLOR and a pipe take the
// colours away.
func TestNarrowTerminal(t *testing.T) {
	ns, _, _ := quiet(t, 3)
	show := func(width uint16, hows []how, args ...string) string {
		t.Helper()
		term := openTerminal(t, width)
		_, wait := onTerminal(t, term, hows, append([]string{"list", "--netns", ns.Path()}, args...)...)
		if code := wait(); code != exitOK {
			t.Fatalf("exit code %d: %q", code, term.printed())
		}
		return strings.ReplaceAll(term.printed(), "\r", "")
	}
	for _, width := range []uint16{250, 100, 80, 40, 12} {
		out := show(width, []how{withEnv("NO_COLOR=1")})
		if strings.Contains(out, "\x1b") {
			t.Errorf("NO_COLOR: %q", out)
		}
		for line := range strings.Lines(out) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > int(width) {
				t.Errorf("%d columns on a terminal of %d: %q", n, width, line)
			}
		}
		if width >= 80 && (!strings.Contains(out, "REMOTE") || !strings.Contains(out, "PROCESS")) {
			t.Errorf("%d columns: %q", width, out)
		}
	}
	if out := show(100, nil); !strings.Contains(out, "\x1b[32mESTABLISHED") {
		t.Errorf("no colours on a terminal: %q", out)
	}
	if out := show(100, nil, "--color", "never"); strings.Contains(out, "\x1b") {
		t.Errorf("--color never: %q", out)
	}
}

// TestBrokenPipe: the reader has seen enough; that is no failure and no noise.
func TestBrokenPipe(t *testing.T) {
	ns, _, at := quiet(t, 200)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := command(t, nil, "list", "-o", "json", "--netns", ns.Path())
	cmd.Stdout = w
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if _, err := r.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	r.Close()
	if err := cmd.Wait(); err != nil || stderr.Len() > 0 {
		t.Errorf("list | head: %v, stderr %q", err, stderr.String())
	}

	r, w, err = os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd = command(t, nil, "watch", "-o", "jsonl", "--netns", ns.Path())
	cmd.Stdout, cmd.Stderr = w, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	got := make(chan error, 1)
	go func() {
		_, err := r.Read(make([]byte, 1))
		got <- err
		r.Close()
	}()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for deadline := time.Now().Add(patience); ; waitABit() {
		select {
		case err := <-ended:
			if rerr := <-got; err != nil || rerr != nil || stderr.Len() > 0 {
				t.Errorf("watch | head: %v, %v, stderr %q", err, rerr, stderr.String())
			}
			return
		default:
		}
		if time.Now().After(deadline) {
			_ = cmd.Process.Kill()
			t.Fatal("watch | head does not end")
		}
		c, _ := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 1, Send: 1}) // something to print
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFullDisk: what cannot be written is a failure.
func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	need.That(t, err == nil, "/dev/full")
	defer full.Close()
	var stderr strings.Builder
	cmd := command(t, []how{func(c *exec.Cmd) { c.Stdout, c.Stderr = full, &stderr }}, "list", "--netns", "self", "--source", "procfs", "-o", "json")
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != exitFailure || !strings.Contains(stderr.String(), "no space left") {
		t.Errorf("%v: %s", err, stderr.String())
	}
}

// TestWatchEnds: by Ctrl-C, by number and by time; always with whole lines.
func TestWatchEnds(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	s := storm(t, ns, tcptest.StormConfig{Connections: 3000, Rate: 3000})
	in := []string{"--netns", ns.Path()}
	results := make(chan error, 1)
	begin := func() { go func() { _, err := s.Run(); results <- err }() }
	over := func() {
		t.Helper()
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		w := watching(t, nil, in...)
		begin()
		w.until(t, "some closes", func() bool { return w.closes > 100 })
		w.signal(t, sig)
		if r := w.wait(t); r.code != exitInterrupted {
			t.Errorf("%v: exit code %d", sig, r.code)
		}
		if evs := w.events(t); len(evs) < 100 { // parses every line
			t.Errorf("%d events", len(evs))
		}
		over()
	}
	w := watching(t, nil, append(in, "--count", "50", "--events", "closed")...)
	begin()
	if r := w.wait(t); r.code != exitOK || len(w.events(t)) != 50 || w.closes != 50 {
		t.Errorf("--count 50: exit code %d, %d events", r.code, len(w.events(t)))
	}
	over()
	r := viewtcp(t, append([]string{"watch", "-o", "jsonl", "--for", "1s", "--fail-empty", "dport = :1"}, in...)...)
	if r.code != exitEmpty || r.stdout != "" || r.stderr != "" {
		t.Errorf("--for 1s: %v", r)
	}
	if r := viewtcp(t, append([]string{"watch", "--for", "1s", "-o", "csv"}, in...)...); r.code != exitOK || !strings.HasPrefix(r.stdout, "event,seq,time,id,") || strings.Count(r.stdout, "\n") != 1 {
		t.Errorf("--for 1s -o csv: %v", r)
	}
}

// TestWatchShowsNothingOld: connections that existed are not replayed, but what
// happens to them is told.
func TestWatchShowsNothingOld(t *testing.T) {
	ns, client, at := quiet(t, 3)
	for _, source := range []string{"ebpf", "netlink", "procfs"} {
		t.Run(source, func(t *testing.T) {
			w := watching(t, nil, "--netns", ns.Path(), "--source", source)
			fresh, ledger := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 1, Send: 10})
			ports := map[uint16]bool{ledger[0].Local.Port(): true, at.Addr.Port(): true}
			w.until(t, "the new connection", func() bool { return len(w.lines) >= 4 })
			if err := fresh.Close(); err != nil {
				t.Fatal(err)
			}
			w.until(t, "its close", func() bool { return w.closes >= 2 })
			if source == "procfs" { // the last one: all end
				if err := client.Call(tcptest.Op{Op: "close"}, nil); err != nil {
					t.Fatal(err)
				}
				w.until(t, "the closes of the old ones", func() bool { return w.closes >= 8 })
			}
			w.interrupt(t)
			kinds := map[string]int{}
			for _, e := range w.events(t) {
				kinds[e.Event]++
				if e.Event != "closed" && !ports[e.LocalPort] {
					t.Errorf("of a connection that is old: %s", e.raw)
				}
			}
			if kinds["opened"] != 2 || kinds["established"] != 2 {
				t.Errorf("events %v", kinds)
			}
		})
	}
}

// TestWatchTable: lines for people, as they come.
func TestWatchTable(t *testing.T) {
	ns, _, at := quiet(t, 0)
	term := openTerminal(t, 160)
	cmd, wait := onTerminal(t, term, nil, "watch", "--netns", ns.Path())
	term.until(t, "CLOSEDBY") // the heads come before the first pass has ended
	for i := 0; !strings.Contains(term.printed(), "closed") && i < 100; i++ {
		c, _ := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 1, Send: 1})
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := wait(); code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
	out := term.printed()
	if !strings.HasPrefix(out, "TIME") || !strings.Contains(out, "established") || !strings.Contains(out, at.Addr.String()) {
		t.Errorf("%q", out)
	}
	if !strings.HasSuffix(out, "\n") {
		t.Errorf("the last line is not whole: %q", out)
	}
}

// TestWatchInProcess runs watch where the race detector sees it, for each
// source, and leaves no goroutine behind, which TestMain checks.
func TestWatchInProcess(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	s := storm(t, ns, tcptest.StormConfig{Connections: 200})
	for _, source := range []string{"ebpf", "netlink"} {
		ctx, cancel := context.WithCancel(t.Context())
		var stdout, stderr lockedBuffer
		code := make(chan int, 1)
		go func() {
			args := []string{"watch", "-v", "-o", "jsonl", "--source", source, "--netns", ns.Path(), "--events", "closed"}
			code <- run(ctx, args, env{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr})
		}()
		eventually(func() bool { return strings.Contains(stderr.String(), "watching") })
		r := rage(t, s)
		eventually(func() bool { return strings.Count(stdout.String(), "\n") >= 400 })
		cancel()
		if c := <-code; c != exitInterrupted {
			t.Errorf("%s: exit code %d: %s", source, c, stderr.String())
		}
		p := &program{name: source}
		for line := range strings.Lines(stdout.String()) {
			p.addLine(line)
		}
		mode := stormExact
		if source == "netlink" {
			mode = stormNetlink
		}
		checkStorm(t, p.events(t), r.Ledger, mode)
		if !strings.Contains(stderr.String(), "400 closed, 0 vanished, 0 closes dropped") {
			t.Errorf("%s: %s", source, stderr.String())
		}
	}
}

// lockedBuffer is a buffer that one goroutine fills while another looks.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder // guarded by mu
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
