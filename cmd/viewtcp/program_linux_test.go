package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcptest"
)

// patience bounds every wait: many times what a loaded machine needs.
const patience = 60 * time.Second

// nobody is a user without rights.
const nobody = 65534

// A program is the real binary at work.
type program struct {
	cmd  *exec.Cmd
	name string
	done chan struct{}

	mu     sync.Mutex
	moved  chan struct{} // guarded by mu; closed when something was read
	lines  []string      // guarded by mu; complete lines of stdout
	rest   string        // guarded by mu; what follows the last line's end
	stderr []string      // guarded by mu
	code   int           // guarded by mu until done
	closes int           // guarded by mu; closed events among lines
	parsed []event       // guarded by mu; the first of lines
}

// how changes the way in which a program is started.
type how func(*exec.Cmd)

// as runs the program as a user, with the given capabilities.
func as(uid uint32, caps ...uintptr) how {
	return func(c *exec.Cmd) {
		c.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: uid, NoSetGroups: false}
		c.SysProcAttr.AmbientCaps = caps
		c.Dir = "/"
	}
}

func withEnv(vars ...string) how { return func(c *exec.Cmd) { c.Env = append(c.Environ(), vars...) } }

// wrapped lets another program start the binary.
func wrapped(argv ...string) how {
	return func(c *exec.Cmd) {
		path, err := exec.LookPath(argv[0])
		if err != nil {
			c.Err = err
			return
		}
		c.Path, c.Args = path, slices.Concat(argv, []string{c.Path}, c.Args[1:])
	}
}

// command prepares the binary with its arguments.
func command(tb testing.TB, hows []how, args ...string) *exec.Cmd {
	tb.Helper()
	cmd := exec.CommandContext(context.Background(), binary(tb), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	for _, h := range hows {
		h(cmd)
	}
	return cmd
}

// viewtcp runs the binary to its end.
func viewtcp(tb testing.TB, args ...string) result {
	tb.Helper()
	return viewtcpWith(tb, nil, args...)
}

func viewtcpWith(tb testing.TB, hows []how, args ...string) result {
	tb.Helper()
	cmd := command(tb, hows, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		tb.Fatal(err)
	}
	return result{code: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String()}
}

// start runs the binary in the background until the test ends.
func start(tb testing.TB, hows []how, args ...string) *program {
	tb.Helper()
	p := &program{
		cmd: command(tb, hows, args...), name: "viewtcp " + strings.Join(args, " "),
		done: make(chan struct{}), moved: make(chan struct{}),
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	var readers sync.WaitGroup
	readers.Go(func() { p.read(stdout, p.addLine) })
	readers.Go(func() { p.read(stderr, func(s string) { p.stderr = append(p.stderr, strings.TrimSuffix(s, "\n")) }) })
	go func() {
		readers.Wait()
		_ = p.cmd.Wait()
		p.mu.Lock()
		p.code = p.cmd.ProcessState.ExitCode()
		p.mu.Unlock()
		close(p.done)
	}()
	tb.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
	})
	return p
}

// read hands lines to add; the last one may lack its end.
func (p *program) read(r io.Reader, add func(string)) {
	b := bufio.NewReaderSize(r, 256<<10)
	for {
		s, err := b.ReadString('\n')
		p.mu.Lock()
		if s != "" {
			add(s)
		}
		close(p.moved)
		p.moved = make(chan struct{})
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (p *program) addLine(s string) {
	line, whole := strings.CutSuffix(s, "\n")
	if !whole {
		p.rest = s
		return
	}
	p.lines = append(p.lines, line)
	if strings.HasPrefix(line, `{"event":"closed"`) {
		p.closes++
	}
}

// until waits for a condition on what was printed; ok has the lock.
func (p *program) until(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	if !p.within(patience, ok) {
		p.mu.Lock()
		defer p.mu.Unlock()
		tb.Fatalf("%s: not seen: %s; %d lines, %d closes, the last is %.500q; stderr: %q",
			p.name, what, len(p.lines), p.closes, p.last(), p.stderr)
	}
}

func (p *program) last() string {
	if len(p.lines) == 0 {
		return ""
	}
	return p.lines[len(p.lines)-1]
}

// within waits for a condition, or the program's end, and says whether it came.
func (p *program) within(d time.Duration, ok func() bool) bool {
	timeout := time.After(d)
	for {
		p.mu.Lock()
		met, moved := ok(), p.moved
		p.mu.Unlock()
		if met {
			return true
		}
		select {
		case <-moved:
		case <-p.done:
			p.mu.Lock()
			defer p.mu.Unlock()
			return ok()
		case <-timeout:
			return false
		}
	}
}

// said reports whether a line of stderr contains the text; it has the lock.
func (p *program) said(text string) bool {
	for _, s := range p.stderr {
		if strings.Contains(s, text) {
			return true
		}
	}
	return false
}

func (p *program) signal(tb testing.TB, s syscall.Signal) {
	tb.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		tb.Fatalf("%s: signal %v: %v", p.name, s, err)
	}
}

// wait waits for the end.
func (p *program) wait(tb testing.TB) result {
	tb.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		tb.Fatalf("%s: does not end", p.name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	r := result{code: p.code, stderr: strings.Join(p.stderr, "\n"), stdout: strings.Join(p.lines, "\n") + p.rest}
	return r
}

// interrupt is Ctrl-C; it returns when the program has ended.
func (p *program) interrupt(tb testing.TB) result {
	tb.Helper()
	p.signal(tb, syscall.SIGINT)
	return p.wait(tb)
}

// An event is what the tests read of a line of watch -o jsonl.
type event struct {
	Event, ID, Cookie, Process, Source, State, Where, Attribution string
	PeerID                                                        string `json:"peer_id"`
	CloseReason                                                   string `json:"close_reason"`
	ClosedBy                                                      string `json:"closed_by"`
	Seq                                                           uint64
	PID                                                           int
	NetNS                                                         uint32
	Complete                                                      bool
	BytesSent                                                     *uint64 `json:"bytes_sent"`
	BytesReceived                                                 *uint64 `json:"bytes_received"`
	LocalPort                                                     uint16  `json:"local_port"`
	RemotePort                                                    uint16  `json:"remote_port"`
	LostCloses                                                    uint64  `json:"lost_closes"`
	LostSent                                                      uint64  `json:"lost_bytes_sent"`
	LostReceived                                                  uint64  `json:"lost_bytes_received"`
	LostEvents                                                    uint64  `json:"lost_events"`
	Skipped                                                       uint64  `json:"skipped_events"`
	Exact                                                         bool
	raw                                                           string
}

// events parses what was printed; every line must be whole.
func (p *program) events(tb testing.TB) []event {
	tb.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rest != "" {
		tb.Errorf("%s: the output ends within a line: %.200q", p.name, p.rest)
	}
	for i := len(p.parsed); i < len(p.lines); i++ {
		e := event{raw: p.lines[i]}
		if err := json.Unmarshal([]byte(e.raw), &e); err != nil {
			tb.Fatalf("%s: line %d: %v: %.500q", p.name, i+1, err, e.raw)
		}
		p.parsed = append(p.parsed, e)
	}
	return p.parsed
}

// watching starts watch -o jsonl and returns when it sees everything.
func watching(tb testing.TB, hows []how, args ...string) *program {
	tb.Helper()
	p := start(tb, hows, append([]string{"watch", "-v", "-o", "jsonl"}, args...)...)
	p.until(tb, "that watching has begun", func() bool { return p.said("watching, source ") })
	return p
}

// rows parses the lines of list -o jsonl.
func rows(tb testing.TB, r result) []tcptest.Row {
	tb.Helper()
	rows, err := tcptest.ParseRows(strings.NewReader(r.stdout))
	if err != nil || r.code != exitOK {
		tb.Fatalf("%v, %v", err, r)
	}
	return rows
}

// text is a value of a row as text, "" if it is absent.
func text(row tcptest.Row, key string) string {
	if row[key] == nil {
		return ""
	}
	return fmt.Sprint(row[key])
}

// byCookie finds rows by their cookies.
func byCookie(rows []tcptest.Row) map[string]tcptest.Row {
	m := make(map[string]tcptest.Row, len(rows))
	for _, row := range rows {
		if c := text(row, "cookie"); c != "" {
			m[c] = row
		}
	}
	return m
}

func mustAddrPort(tb testing.TB, s string) netip.AddrPort {
	tb.Helper()
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// waitABit is the pause between looks at something that tells nobody of its
// changes.
func waitABit() { time.Sleep(50 * time.Millisecond) }

// eventually waits for a condition; what follows says whether it came.
func eventually(ok func() bool) {
	for begun := time.Now(); !ok() && time.Since(begun) < patience; {
		waitABit()
	}
}
