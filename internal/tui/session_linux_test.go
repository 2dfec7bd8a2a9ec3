package tui

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/demo"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
	"github.com/viewtcp/viewtcp/internal/tcptest/vt"
)

var update = flag.Bool("u", os.Getenv("UPDATE") != "", "rewrite the golden frames")

// patience is how long a test waits for the screen. It is long because machines
// are slow at times; a test that passes does not wait for it.
const patience = 30 * time.Second

// session is the interface at work on a terminal.
type session struct {
	t    *testing.T
	term *tcptest.Terminal
	feed *demo.Feed
	done chan error
	stop context.CancelFunc
}

// testConfig is how tests run the interface: quickly, and with a source.
func testConfig(feed *demo.Feed) Config {
	cfg := DefaultConfig()
	cfg.View = feed
	cfg.Status = func() Status { return Status{Source: tcp.SourceEBPF} }
	cfg.Host, cfg.Version = "web-1", "test"
	cfg.FilterOptions = func() filter.Options { return filter.Options{Now: demo.Start} }
	cfg.Environ = []string{"TERM=xterm-256color", "SSH_TTY=/dev/pts/0"}
	cfg.Poll, cfg.FPS = time.Millisecond, 120
	cfg.Layout.Theme = "dark" // else the terminal is asked
	return cfg
}

// open starts the interface. change may alter how.
func open(t *testing.T, width, height int, feed *demo.Feed, change func(*Config)) *session {
	t.Helper()
	term, err := tcptest.OpenTerminal(width, height)
	need.That(t, err == nil, "a pseudoterminal")
	cfg := testConfig(feed)
	cfg.Input, cfg.Output = term.Slave, term.Slave
	if change != nil {
		change(&cfg)
	}
	ctx, stop := context.WithCancel(t.Context())
	s := &session{t: t, term: term, feed: feed, done: make(chan error, 1), stop: stop}
	go func() { s.done <- Run(ctx, cfg) }()
	t.Cleanup(func() {
		stop()
		select {
		case <-s.done:
		case <-time.After(patience):
			t.Error("the interface does not end")
		}
		if err := term.Close(); err != nil {
			t.Error(err)
		}
		if u := term.Screen.Unknown(); len(u) > 0 {
			t.Errorf("the screen does not know %s", u)
		}
	})
	// The size is known before anything is sampled.
	if !term.Until(patience, func(v *vt.Screen) bool {
		return strings.Contains(lineText(v.Cells()[height-footerLines]), "waiting for")
	}) {
		t.Fatalf("nothing is drawn:\n%s", term.Screen.Text())
	}
	return s
}

// step moves the host's time on, and waits for each second to be on the screen.
func (s *session) step(seconds int) {
	s.t.Helper()
	for range seconds {
		s.feed.Step(1)
		s.until(time.Unix(0, s.feed.Now().Wall).UTC().Format("15:04:05"))
	}
}

func (s *session) press(keys string) {
	s.t.Helper()
	if err := s.term.Type(keys); err != nil {
		s.t.Fatal(err)
	}
}

// until waits for a text to be on the screen.
func (s *session) until(text string) {
	s.t.Helper()
	if !s.term.Until(patience, func(v *vt.Screen) bool { return strings.Contains(v.Text(), text) }) {
		s.t.Fatalf("%q never appears on the screen:\n%s", text, s.term.Screen.Text())
	}
}

func (s *session) gone(text string) {
	s.t.Helper()
	if !s.term.Until(patience, func(v *vt.Screen) bool { return !strings.Contains(v.Text(), text) }) {
		s.t.Fatalf("%q stays on the screen:\n%s", text, s.term.Screen.Text())
	}
}

// frame waits for the screen to be as in a golden file.
func (s *session) frame(name string) { s.t.Helper(); s.compare(name, (*vt.Screen).Text) }

// styledFrame is frame with colors.
func (s *session) styledFrame(name string) { s.t.Helper(); s.compare(name, (*vt.Screen).Styled) }

func (s *session) compare(name string, text func(*vt.Screen) string) {
	s.t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		s.settle()
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text(s.term.Screen)), 0o644); err != nil {
			s.t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	if !s.term.Until(patience, func(v *vt.Screen) bool { return text(v) == string(want) }) {
		s.t.Fatalf("%s (-want +got):\n%s", path, cmp.Diff(strings.Split(string(want), "\n"), strings.Split(text(s.term.Screen), "\n")))
	}
}

// settle waits until nothing changes any more. Only rewriting needs it: what is
// compared is waited for.
func (s *session) settle() {
	for {
		select {
		case <-s.term.Screen.News():
		case <-time.After(300 * time.Millisecond):
			return
		}
	}
}

// quit ends the interface with a key and returns what Run did.
func (s *session) quit(keys string) error {
	s.t.Helper()
	s.press(keys)
	select {
	case err := <-s.done:
		s.done <- err
		return err
	case <-time.After(patience):
		s.t.Fatal("the interface does not end")
		return nil
	}
}

// atRow waits for the cursor to be on a line of the table: the one with the
// background of the theme.
func (s *session) atRow(n int) {
	s.t.Helper()
	const first = 3 // title, filter, heads
	at := -1
	if !s.term.Until(patience, func(v *vt.Screen) bool {
		at = -1
		for y, line := range v.Cells() {
			if line[0].Style.BG == 238 {
				at = y - first
			}
		}
		return at == n
	}) {
		s.t.Fatalf("the cursor is on line %d, want %d:\n%s", at, n, s.term.Screen.Text())
	}
}

// clipboard waits for a text to be in the clipboard.
func (s *session) clipboard(part string) {
	s.t.Helper()
	if !s.term.Until(patience, func(v *vt.Screen) bool { return strings.Contains(v.Clipboard(), part) }) {
		s.t.Fatalf("the clipboard has %q, want %q in it", s.term.Screen.Clipboard(), part)
	}
}
