package main

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// A terminal is a pseudoterminal (pty(7)) with a program on it.
type terminal struct {
	master, slave *os.File
	drained       chan struct{} // closed when all was read

	mu   sync.Mutex
	text []byte // guarded by mu
}

// openTerminal makes one of the given width.
func openTerminal(tb testing.TB, width uint16) *terminal {
	tb.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		need.That(tb, false, "a pseudoterminal")
	}
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: width})
	}
	if err != nil {
		tb.Fatal(err)
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		tb.Fatal(err)
	}
	t := &terminal{master: master, slave: slave, drained: make(chan struct{})}
	go func() {
		defer close(t.drained)
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			t.mu.Lock()
			t.text = append(t.text, buf[:n]...)
			t.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	tb.Cleanup(func() {
		t.hangUp()
		_ = master.Close()
	})
	return t
}

// hangUp waits for all that a program has printed before its end: the last
// descriptor of the program's side is ours.
func (t *terminal) hangUp() {
	_ = t.slave.Close()
	<-t.drained
}

// printed is what the terminal was sent.
func (t *terminal) printed() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

func (t *terminal) until(tb testing.TB, text string) {
	tb.Helper()
	for deadline := time.Now().Add(patience); !strings.Contains(t.printed(), text); waitABit() {
		if time.Now().After(deadline) {
			tb.Fatalf("%q never appears on the terminal: %q", text, short(t.printed()))
		}
	}
}

func (t *terminal) enter(tb testing.TB, text string) {
	tb.Helper()
	if _, err := t.master.WriteString(text); err != nil {
		tb.Fatal(err)
	}
}

// attach makes the terminal a program's standard files, and the one that
// controls it.
func (t *terminal) attach(c *exec.Cmd) {
	c.Stdin, c.Stdout, c.Stderr = t.slave, t.slave, t.slave
	c.SysProcAttr.Setsid, c.SysProcAttr.Setctty, c.SysProcAttr.Ctty = true, true, 0
}

// onTerminal starts the binary on the terminal and returns a function that
// waits for its end, and for all that it printed.
func onTerminal(tb testing.TB, t *terminal, hows []how, args ...string) (cmd *exec.Cmd, wait func() int) {
	tb.Helper()
	cmd = command(tb, append([]how{t.attach}, hows...), args...)
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
	})
	return cmd, func() int {
		tb.Helper()
		select {
		case <-done:
		case <-time.After(patience):
			tb.Fatalf("viewtcp %v does not end; printed: %q", args, short(t.printed()))
		}
		t.hangUp()
		return cmd.ProcessState.ExitCode()
	}
}
