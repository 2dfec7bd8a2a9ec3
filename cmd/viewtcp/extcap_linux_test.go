package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// wiresharkHome is a home with ViewTCP installed in it, as the environment of a
// tshark that finds nothing of the user's.
func wiresharkHome(tb testing.TB) []string {
	tb.Helper()
	need.Programs(tb, "tshark")
	home := tb.TempDir()
	vars := []string{"HOME=" + home, "XDG_CONFIG_HOME=" + filepath.Join(home, ".config"), "WIRESHARK_CONFIG_DIR=" + filepath.Join(home, ".config", "wireshark")}
	for range 2 { // again over the first one
		r := viewtcpWith(tb, []how{withEnv(vars...)}, "extcap", "--install")
		lines := strings.Fields(r.stdout)
		if r.code != exitOK || len(lines) != 2 {
			tb.Fatalf("%v", r)
		}
		for _, path := range lines {
			if to, err := os.Readlink(path); err != nil || to != binary(tb) || !strings.HasPrefix(path, home) {
				tb.Errorf("%s leads to %q: %v", path, to, err)
			}
		}
	}
	// tshark's temporary files are to go with the test.
	return append(vars, "TMPDIR="+tb.TempDir())
}

func wiresharkIn(tb testing.TB, vars []string, ns *tcptest.NetNS, args ...string) (cmd *exec.Cmd, stdout, stderr *sharedText) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 2*patience)
	tb.Cleanup(cancel)
	cmd = exec.CommandContext(ctx, "tshark", args...)
	cmd.Env = append(os.Environ(), vars...)
	stdout, stderr = new(sharedText), new(sharedText)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if ns == nil {
		return cmd, stdout, stderr
	}
	inside(tb, ns, func() {
		if err := cmd.Start(); err != nil {
			tb.Fatal(err)
		}
	})
	return cmd, stdout, stderr
}

// sharedText is written by one goroutine and read by another.
type sharedText struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (s *sharedText) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *sharedText) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestExtcapTshark: tshark lists the interface, captures with a filter on the
// process, and shows the comments.
func TestExtcapTshark(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	vars := wiresharkHome(t)
	list, out, _ := wiresharkIn(t, vars, nil, "-D")
	if err := list.Run(); err != nil || !strings.Contains(out.String(), " viewtcp (ViewTCP: packets with their processes)") {
		t.Fatalf("%v: %s", err, out)
	}
	_, at := serve(t, ns, tcptest.ServerConfig{Plain: true})
	shark, out, said := wiresharkIn(t, vars, ns, "-i", "viewtcp", "-f", "process shown and tcp.flags.syn == 1", "-c", "4", "-a", "duration:50",
		"-o", "extcap.viewtcp.interface:lo", "-l", "-T", "fields", "-e", "tcp.dstport", "-e", "frame.comment")
	ended := make(chan error, 1)
	go func() { ended <- shark.Wait() }()
	// Nothing tells when the capture has begun but its packets.
	eventually(func() bool {
		connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 1, Send: 1, Name: "shown"})
		connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 1, Send: 1, Name: "hidden"})
		time.Sleep(200 * time.Millisecond)
		return strings.Count(out.String(), "\n") >= 4 || len(ended) > 0
	})
	if err := <-ended; err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 4 || strings.Contains(said.String(), "rror") {
		t.Fatalf("%q, %s", lines, said)
	}
	for i, line := range lines {
		port, comment, _ := strings.Cut(line, "\t")
		toServer := port == strconv.Itoa(int(at.Addr.Port()))
		if !strings.Contains(comment, "process shown (pid ") || strings.HasPrefix(comment, "viewtcp: process shown ") != toServer {
			t.Errorf("line %d: %q", i, line)
		}
	}
}

// TestExtcapMistakes: Wireshark shows what is wrong.
func TestExtcapMistakes(t *testing.T) {
	need.Root(t)
	vars := wiresharkHome(t)
	for _, tt := range []struct{ option, want string }{
		{"filter:prt 80", `unknown field or word "prt"`},
		{"interface:l0", `no interface "l0", did you mean "lo"?`},
		{"netns:/no/such", "/no/such"},
	} {
		shark, _, said := wiresharkIn(t, vars, nil, "-i", "viewtcp", "-a", "duration:5", "-o", "extcap.viewtcp."+tt.option)
		if err := shark.Run(); err == nil || !strings.Contains(said.String(), tt.want) {
			t.Errorf("%s: %v: %s", tt.option, err, said)
		}
	}
}

// TestExtcapProtocol: what extcap(4) asks for.
func TestExtcapProtocol(t *testing.T) {
	for _, tt := range []struct {
		args string
		code int
		want []string // parts of stdout, or of stderr if the code is not 0
	}{
		{"--extcap-interfaces --extcap-version=4.4", 0, []string{"extcap {version=", "interface {value=viewtcp}{display="}},
		{"--extcap-interface viewtcp --extcap-dlts", 0, []string{"dlt {number=276}"}},
		{"--extcap-interface viewtcp --extcap-config", 0, []string{
			"arg {number=0}{call=--filter}", "{call=--interface}", "{call=--netns}", "{call=--promiscuous}", "{call=--snaplen}",
			"value {arg=1}{value=any}", "value {arg=1}{value=lo}", "value {arg=2}{value=all}",
		}},
		{"--extcap-interface viewtcp --extcap-config --extcap-reload-option netns --extcap-of-the-future 1", 0, []string{"arg {"}},
		{"--extcap-interface viewtcp --extcap-capture-filter process=curl", 0, nil},
		{"--extcap-interface viewtcp --extcap-capture-filter prt=1", 0, []string{`unknown field or word "prt"`}},
		{"--extcap-interface eth0 --extcap-dlts", exitUsage, []string{"the only one is viewtcp"}},
		{"--capture --extcap-interface viewtcp", exitUsage, []string{"needs --fifo"}},
		{"extcap", exitUsage, []string{"viewtcp extcap --install"}},
		{"extcap --dir x", exitUsage, []string{"--dir is for --install"}},
	} {
		r := inProcess(t, strings.Fields(tt.args)...)
		text := r.stdout
		if tt.code != 0 {
			text = r.stderr
		}
		if r.code != tt.code || tt.want == nil && text != "" || tt.code == 0 && r.stderr != "" {
			t.Errorf("%s: %v", tt.args, r)
		}
		for _, want := range tt.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: lacks %q: %v", tt.args, want, r)
			}
		}
		for line := range strings.Lines(r.stdout) {
			if strings.Count(line, "{") != strings.Count(line, "}") {
				t.Errorf("%s: %q", tt.args, line)
			}
		}
	}
}

// TestExtcapInstall: what is no link of ours stays.
func TestExtcapInstall(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, extcapName)
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := inProcess(t, "extcap", "--install", "--dir", dir)
	if b, err := os.ReadFile(path); r.code != exitFailure || err != nil || string(b) != "mine" || !strings.Contains(r.stderr, path) {
		t.Errorf("%v, %v: %v", b, err, r)
	}
	r = inProcess(t, "extcap", "--install", "--dir", filepath.Join(dir, "new"))
	if _, err := os.Readlink(filepath.Join(dir, "new", extcapName)); err != nil || r.code != exitOK {
		t.Errorf("%v: %v", err, r)
	}
}

// TestCaptureFifo: a pipe without a reader can be interrupted, and one whose
// reader is gone ends the capture of Wireshark without a complaint.
func TestCaptureFifo(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	_, at := serve(t, ns, tcptest.ServerConfig{Plain: true})
	client, _ := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 1, Send: 1})
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, nil, "capture", "--netns", ns.Path(), "-i", "lo", "-w", path, "--no-process")
	time.Sleep(300 * time.Millisecond)
	if r := p.interrupt(t); r.code == exitOK {
		t.Errorf("%v", r)
	}
	p = start(t, nil, "--capture", "--extcap-interface", "viewtcp", "--fifo", path, "--netns", ns.Path(), "--interface", "lo", "--no-process")
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 4)
	if _, err := f.Read(head); err != nil || fmt.Sprintf("%x", head) != "0a0d0d0a" {
		t.Errorf("%x, %v", head, err)
	}
	_ = f.Close()
	eventually(func() bool {
		if err := client.Call(tcptest.Op{Op: "send", Bytes: 100_000}, nil); err != nil {
			t.Fatal(err)
		}
		select {
		case <-p.done:
			return true
		default:
			return false
		}
	})
	if r := p.wait(t); r.code != exitOK || r.stderr != "" {
		t.Errorf("%v", r)
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		t.Error("the pipe is gone")
	}
}

// TestExtcapEndsPipe: the reader of the pipe comes to its end although nothing
// was captured, whether it opens the pipe before or after the mistake.
func TestExtcapEndsPipe(t *testing.T) {
	for _, late := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "fifo")
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		read := func() {
			f, err := os.OpenFile(path, os.O_RDONLY, 0) // waits for somebody who writes
			if err == nil {
				_, err = io.Copy(io.Discard, f)
				err = errors.Join(err, f.Close())
			}
			ended <- err
		}
		if late {
			time.AfterFunc(200*time.Millisecond, read)
		} else {
			go read()
		}
		r := viewtcp(t, "extcap", "--capture", "--extcap-interface", "viewtcp", "--fifo", path, "--filter", "prt 80")
		if r.code != exitUsage || !strings.Contains(r.stderr, `"prt"`) {
			t.Errorf("%v", r)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
