package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
	"github.com/viewtcp/viewtcp/internal/tcptest/vt"
)

// topSession is the binary on a terminal.
type topSession struct {
	t    *testing.T
	term *tcptest.Terminal
	cmd  *exec.Cmd
	home string
	done chan struct{}
}

// openTop runs the binary on a terminal of 140×40, with a configuration of its own.
func openTop(t *testing.T, hows []how, args ...string) *topSession {
	t.Helper()
	term, err := tcptest.OpenTerminal(140, 40)
	need.That(t, err == nil, "a pseudoterminal")
	s := &topSession{t: t, term: term, home: t.TempDir(), done: make(chan struct{})}
	s.cmd = command(t, append([]how{
		func(c *exec.Cmd) {
			c.Stdin, c.Stdout, c.Stderr = term.Slave, term.Slave, term.Slave
			c.SysProcAttr.Setsid, c.SysProcAttr.Setctty = true, true
			c.Dir = s.home
		},
		withEnv("TERM=xterm-256color", "LANG=C.UTF-8", "LC_ALL=", "XDG_CONFIG_HOME="+s.home, "COLUMNS=", "LINES="),
	}, hows...), args...)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = s.cmd.Wait()
		close(s.done)
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		<-s.done
		if err := term.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *topSession) until(text string) {
	s.t.Helper()
	if !s.term.Until(patience, func(v *vt.Screen) bool { return strings.Contains(v.Text(), text) }) {
		s.t.Fatalf("%q never appears on the screen:\n%s", text, s.term.Screen.Text())
	}
}

func (s *topSession) press(keys string) {
	s.t.Helper()
	if err := s.term.Type(keys); err != nil {
		s.t.Fatal(err)
	}
}

// wait returns the exit code, and checks that the terminal is in order again.
func (s *topSession) wait() int {
	s.t.Helper()
	select {
	case <-s.done:
	case <-time.After(patience):
		s.t.Fatalf("viewtcp does not end:\n%s", s.term.Screen.Text())
	}
	s.term.Until(patience, func(v *vt.Screen) bool { return !v.Mode(1049) })
	if _, _, visible := s.term.Screen.Cursor(); !visible || s.term.Screen.Mode(1049) || s.term.Screen.Mode(1002) {
		s.t.Error("the terminal is not as it was")
	}
	return s.cmd.ProcessState.ExitCode()
}

// loopbackPair makes a connection over loopback with its ends in this process.
func loopbackPair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return client, server
}

func portOf(c net.Conn) int { return c.LocalAddr().(*net.TCPAddr).Port }

// TestTop shows a real connection, all about it, and the layout that is kept.
func TestTop(t *testing.T) {
	need.Root(t)
	client, server := loopbackPair(t)
	filter := fmt.Sprintf("local_port = %d", portOf(client))
	s := openTop(t, nil, "top", "--netns", "self", filter)
	s.until("1 of ")
	s.until(fmt.Sprintf("127.0.0.1:%d", portOf(server)))
	s.until("ebpf")
	s.press("\r")
	s.until("bytes_sent")
	if _, err := client.Write(make([]byte, 4321)); err != nil {
		t.Fatal(err)
	}
	s.until("4,321 B")
	s.until("viewtcp.test[")
	s.press("\x1b")
	s.until("PROCESS")
	s.press("7") // RETR
	s.until("RETR▾")
	s.press("q")
	if code := s.wait(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	b, err := os.ReadFile(filepath.Join(s.home, "viewtcp", "top.json"))
	var layout struct{ Sort string }
	if err == nil {
		err = json.Unmarshal(b, &layout)
	}
	if err != nil || layout.Sort != "retransmits" {
		t.Errorf("the layout that was kept: %s, %v", b, err)
	}
}

// TestTopTasks does what docs/tui.md promises to be done in four keys.
func TestTopTasks(t *testing.T) {
	need.Root(t)
	t.Run("retransmissions", func(t *testing.T) {
		ns := tcptest.NewNetNS(t)
		var client net.Conn
		if err := ns.Do(func() {
			client, _ = loopbackPair(t)
			loopbackPair(t) // a quiet one
		}); err != nil {
			t.Fatal(err)
		}
		tcptest.Drop(t, ns, fmt.Sprintf("tcp sport %d", portOf(client)))
		if _, err := client.Write([]byte("into the void")); err != nil {
			t.Fatal(err)
		}
		need.Programs(t, "nsenter")
		s := openTop(t, []how{wrapped("nsenter", "--net="+ns.Path())}, "top", "--netns", "self", "state established")
		s.until("4 of ")
		s.press("7")
		s.until("RETR▾")
		first := func(v *vt.Screen) bool { // the line below the heads
			_, rows, _ := strings.Cut(v.Text(), "RETR▾")
			lines := strings.SplitN(rows, "\n", 3)
			return len(lines) == 3 && strings.Contains(lines[1], fmt.Sprintf(" 127.0.0.1:%d ", portOf(client))) && strings.Contains(lines[1], "viewtcp.test")
		}
		if !s.term.Until(patience, first) {
			t.Fatalf("the retransmitting connection is not on top:\n%s", s.term.Screen.Text())
		}
		s.press("\r")
		s.until("Last minutes")
		s.until("retransmits ")
	})
	t.Run("CLOSE_WAIT", func(t *testing.T) {
		client, server := loopbackPair(t)
		if err := client.Close(); err != nil {
			t.Fatal(err)
		}
		s := openTop(t, nil, "top", "--netns", "self")
		s.until(" of ")
		s.press("f1")
		s.until(fmt.Sprintf("127.0.0.1:%d", portOf(server)))
		s.until("state close-wait")
		s.press("a")
		s.until("▸ viewtcp.test")
	})
	t.Run("a short curl", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
				_ = c.Close()
			}
		}()
		need.Programs(t, "curl")
		s := openTop(t, nil, "top", "--netns", "self")
		s.until(" of ")
		s.until("ebpf")
		if out, err := exec.CommandContext(t.Context(), "curl", "-s", "http://"+l.Addr().String()).CombinedOutput(); err != nil {
			t.Fatalf("curl: %v: %s", err, out)
		}
		s.until("curl ") // without any key
		s.until("CLOSED")
	})
}

// TestTopEnds: signals end it with the terminal in order.
func TestTopEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(s *topSession)
		code int
	}{
		{"Ctrl-C", func(s *topSession) { s.press("\x03") }, exitOK},
		{"SIGTERM", func(s *topSession) { _ = s.cmd.Process.Signal(unix.SIGTERM) }, exitInterrupted},
		{"SIGINT", func(s *topSession) { _ = s.cmd.Process.Signal(unix.SIGINT) }, exitInterrupted},
		{"SIGHUP", func(s *topSession) { _ = s.cmd.Process.Signal(unix.SIGHUP) }, exitOK},
		{"SIGQUIT", func(s *topSession) { _ = s.cmd.Process.Signal(unix.SIGQUIT) }, exitOK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := openTop(t, nil, "top", "--source", "procfs", "--netns", "self")
			s.until("every 1s")
			tt.end(s)
			if code := s.wait(); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
		})
	}
}

// TestTopSuspend: Ctrl-Z gives the terminal back to the shell and fg takes it
// again; where there is no shell, nothing happens but a word on it.
func TestTopSuspend(t *testing.T) {
	need.Programs(t, "bash")
	t.Run("shell", func(t *testing.T) {
		s := openTop(t, []how{
			func(c *exec.Cmd) {
				c.Args = []string{"bash", "--noprofile", "--norc", "-i"}
				c.Env = append(c.Environ(), "TOP="+c.Path, "PS1=ready ", "HISTFILE=")
				path, err := exec.LookPath("bash")
				if err != nil {
					t.Fatal(err)
				}
				c.Path = path
			},
		})
		s.until("ready")
		s.press("\"$TOP\" top --source procfs --netns self\r")
		s.until("every 1s")
		s.press("\x1a")
		s.until("Stopped")
		if s.term.Screen.Mode(1049) || s.term.Screen.Mode(1002) {
			t.Error("the shell does not get the terminal as it was")
		}
		s.press("fg\r")
		s.until("every 1s")
		s.press("q")
		s.until("ready")
		s.press("exit\r")
		if code := s.wait(); code != exitOK {
			t.Errorf("exit code %d", code)
		}
	})
	t.Run("none", func(t *testing.T) {
		s := openTop(t, nil, "top", "--source", "procfs", "--netns", "self")
		s.until("every 1s")
		s.press("\x1a")
		s.until("there is no shell to go back to")
		s.press("q")
		s.wait()
	})
}

// TestBare: without a command it is top on a terminal, and help elsewhere.
func TestBare(t *testing.T) {
	s := openTop(t, nil)
	s.until("ViewTCP")
	s.until("every 1s")
	s.press("q")
	if code := s.wait(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if r := viewtcp(t); r.code != exitOK || !strings.Contains(r.stdout, "Available Commands") {
		t.Errorf("not on a terminal: %v", r)
	}
	if r := viewtcp(t, "top"); r.code != exitUsage || !strings.Contains(r.stderr, "needs a terminal") {
		t.Errorf("top not on a terminal: %v", r)
	}
}

// TestTopWithoutRights: a banner says what is hidden.
func TestTopWithoutRights(t *testing.T) {
	need.Root(t)
	home := "XDG_CONFIG_HOME=" + os.DevNull + "/none"
	s := openTop(t, []how{
		func(c *exec.Cmd) {
			c.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
			c.Dir = "/"
		},
		withEnv(home),
	}, "top", "--config", "/dev/null")
	s.until("partial view: ")
	s.press("q")
	s.wait()
}

// TestTopKeys: the configuration gives actions other keys, and mistakes in it are
// told before the screen changes.
func TestTopKeys(t *testing.T) {
	for _, tt := range []struct{ config, want string }{
		{"keys:\n  hlep: x\n", `there is no action "hlep"`},
		{"keys:\n  freeze: q\n", `"q" stands for quit and freeze`},
		{"keys:\n  freeze: {a: b}\n", "freeze wants a key or a list of keys"},
		{"theme: pink\n", "--theme pink"},
	} {
		path := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(path, []byte(tt.config), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := viewtcp(t, "top", "--config", path); r.code != exitUsage || !strings.Contains(r.stderr, tt.want) {
			t.Errorf("%q: %v", tt.config, r)
		}
	}
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte("theme: light\nkeys:\n  freeze: [F5, z]\n  quit: ctrl+q\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openTop(t, nil, "top", "--config", path, "--source", "procfs", "--netns", "self")
	s.until("every 1s")
	s.press("q") // which is nothing now
	s.press("z")
	s.until("FROZEN")
	s.press("\x11")
	if code := s.wait(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// TestTopActs closes a socket, writes rows, and captures packets that analyze
// reads again.
func TestTopActs(t *testing.T) {
	need.Root(t)
	client, server := loopbackPair(t)
	s := openTop(t, nil, "top", "--netns", "self", fmt.Sprintf("local_port = %d", portOf(client)))
	s.until("1 of ")
	s.press("w")
	s.until("CAPTURING")
	// The capture has begun once it sees what is sent: the first bytes may be
	// before it.
	buf := make([]byte, 1000)
	if !s.term.Until(patience, func(v *vt.Screen) bool {
		if _, err := client.Write(buf[:100]); err != nil {
			t.Error(err)
			return true
		}
		_, _ = server.Read(buf)
		time.Sleep(20 * time.Millisecond)
		return strings.Contains(v.Text(), "PSH,ACK")
	}) {
		t.Fatalf("no packet is shown:\n%s", s.term.Screen.Text())
	}
	s.press("w")
	s.until(" in viewtcp-")
	files, _ := filepath.Glob(filepath.Join(s.home, "viewtcp-*.pcapng"))
	if len(files) != 1 {
		t.Fatalf("files %v", files)
	}
	if r := viewtcp(t, "analyze", files[0], "-o", "jsonl"); r.code != exitOK || !strings.Contains(r.stdout, fmt.Sprintf(`"local_port":%d`, portOf(client))) {
		t.Errorf("analyze: %v", r)
	}
	s.press("\x1b")
	s.until("PROCESS")
	s.press("e")
	s.until("Write 1 connection to a file")
	s.press("\x15rows.jsonl\r")
	s.until("wrote 1 connection to rows.jsonl")
	b, err := os.ReadFile(filepath.Join(s.home, "rows.jsonl"))
	if err != nil || !strings.Contains(string(b), `"process":"viewtcp.test"`) {
		t.Errorf("rows.jsonl: %s, %v", b, err)
	}
	s.press("e\x15rows.jsonl\r")
	s.until("not written: ")
	s.press("Ky")
	s.until(" closed")
	if _, err := client.Write(buf); err == nil {
		// The first write may still find the socket as it was.
		if _, err = client.Write(buf); err == nil {
			t.Error("the socket still takes data")
		}
	}
	s.press("q")
	s.wait()
}
