package tui

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/demo"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
	"github.com/viewtcp/viewtcp/internal/tcptest/vt"
	"github.com/viewtcp/viewtcp/internal/text"
)

// TestResize goes through sizes while it runs, too small ones as well.
func TestResize(t *testing.T) {
	s := open(t, 80, 24, demo.Host(), nil)
	s.step(5)
	s.press("jjj")
	for _, size := range [][2]int{{200, 70}, {100, 20}, {60, 10}, {20, 5}, {8, 2}, {300, 12}} {
		if err := s.term.Resize(size[0], size[1]); err != nil {
			t.Fatal(err)
		}
		if size[0] < leastWidth {
			s.until("too sm"[:min(size[0], 6)])
			continue
		}
		s.until("14:00:05")
		s.until("PROCESS")
	}
	if err := s.term.Resize(120, 36); err != nil {
		t.Fatal(err)
	}
	s.frame("resized-120x36")
}

// TestFilterBar types filters: right, wrong, completed, and out of the history.
func TestFilterBar(t *testing.T) {
	s := open(t, 100, 16, demo.Host(), func(c *Config) { c.Layout.History = []string{"port 22", "state listen"} })
	s.step(10)
	s.press("/")
	s.frame("filter-empty")
	s.press("rtt > 5")
	s.frame("filter-unit")
	s.press("0ms and stat")
	s.frame("filter-complete")
	s.press("\t close")
	s.until("close-wait")
	s.press("\t\r")
	s.frame("filter-right")
	s.press("/")
	s.press("\x15proces = x")
	s.frame("filter-wrong")
	s.press("\r") // what is wrong is not taken
	s.until("^")
	s.press("\x1b")
	s.frame("filter-right")
	s.press("/" + keyUp + keyUp + keyUp)
	s.until("/ port 22")
	s.press(keyDown)
	s.until("/ state listen")
	s.press("\x15process ng\t")
	s.until("process nginx")
	s.press("\x1b[200~and\nport 443\x1b[201~") // pasted
	s.until("process nginx and port 443")
	s.press("\x15" + strings.Repeat("port 1 or ", 30) + "port x")
	s.until("^")
	s.until("/ …")
}

// TestMouse points and turns the wheel.
func TestMouse(t *testing.T) {
	s := open(t, 120, 20, demo.Host(), nil)
	s.step(10)
	s.press("\x1b[<0;30;6M\x1b[<0;30;6m")
	s.atRow(2)
	s.press("\x1b[<65;30;6M")
	s.atRow(5)
	s.press("\x1b[<64;30;6M")
	s.atRow(2)
	s.press("\x1b[<0;28;3M\x1b[<0;28;3m") // the head of REMOTE
	s.until("REMOTE▴")
	s.press("\x1b[<0;36;1M\x1b[<0;36;1m") // a title
	s.until("Churn")
	s.press("\x1b[<0;15;1M\x1b[<0;15;1m")
	s.until("PROCESS")
	s.press("\x1b[<0;30;7M\x1b[<0;30;7m")
	s.atRow(3)
	s.press("\x1b[<0;30;7M\x1b[<0;30;7m") // again: details
	s.until("Life")
}

// TestManyRows moves through 10,000 rows and changes their order.
func TestManyRows(t *testing.T) {
	s := open(t, 120, 30, demo.Many(10_000, 30), nil)
	s.step(3)
	s.until("10,000 of 10,000")
	s.frame("many-first")
	s.press("G")
	s.until("198.51.139.15")
	s.press("8") // RX/s
	s.until("RX/s▾")
	s.press("g/process worker-3 and rx > 0\r")
	s.until("of 10,000")
	s.step(2)
	s.press("a")
	s.until("worker-3")
}

// TestHostileText shows every text that means harm in every view, and looks for
// what came through.
func TestHostileText(t *testing.T) {
	texts := demo.HostileTexts()
	s := open(t, 150, 50, demo.Hostile(texts), func(c *Config) {
		c.Layout.Columns = []string{"process", "remote", "user", "unit", "container", "sni", "state", "cmdline"}
		c.Status = func() Status { return Status{Source: tcp.SourceEBPF, Warning: "partial \x1b[2J view"} }
	})
	harmless := func() {
		t.Helper()
		for line := range strings.SplitSeq(s.term.Screen.Text(), "\n") {
			if i := strings.IndexFunc(line, text.Hostile); i >= 0 {
				t.Errorf("%q", line)
			}
		}
		if c := s.term.Screen.Clipboard(); strings.Contains(c, "owned") {
			t.Errorf("the clipboard has %q", c)
		}
	}
	s.step(2)
	s.frame("hostile-first")
	harmless()
	for range len(texts)/44 + 1 {
		s.press(keyPgDown)
	}
	s.until("ESTABLISHED")
	harmless()
	s.press("a")
	s.until("BY PROCESS")
	harmless()
	s.press(keyDown + "\r")
	s.until("process == ")
	harmless()
	s.press("\r")
	s.until("Life")
	harmless()
	s.press(keyPgDown)
	s.until(" Identity")
	harmless()
	s.press("y")
	s.until("copied")
	if i := strings.IndexFunc(strings.ReplaceAll(s.term.Screen.Clipboard(), "\n", ""), text.Hostile); i >= 0 {
		t.Errorf("copied %q", s.term.Screen.Clipboard())
	}
	s.press("o")
	s.until("Churn")
	harmless()
}

func lineText(line []vt.Cell) string {
	var b strings.Builder
	for _, c := range line {
		if c.Rune != 0 {
			b.WriteRune(c.Rune)
		}
	}
	return b.String()
}

// TestStableRows: the cursor stays with its connection, and the connection on its
// line, while others come, go and move.
func TestStableRows(t *testing.T) {
	s := open(t, 120, 16, demo.Host(), nil)
	s.step(6)
	s.press("9") // TX/s, which changes all the time
	s.until("TX/s▾")
	s.press(keyPgDown + keyPgDown + "kkkkk")
	s.atRow(5)
	selected := func() (y int, end string) {
		for y, line := range s.term.Screen.Cells() {
			if line[0].Style.BG == 238 {
				return y, strings.Fields(lineText(line))[2]
			}
		}
		return 0, ""
	}
	y, end := selected()
	for range 6 {
		s.step(1)
		if y2, end2 := selected(); y2 != y || end2 != end {
			t.Fatalf("the cursor is on %s in line %d, was on %s in line %d", end2, y2, end, y)
		}
	}
}

// TestFreeze: rows stay as they are, and what is counted goes on.
func TestFreeze(t *testing.T) {
	s := open(t, 140, 24, demo.Host(), nil)
	s.step(8)
	s.press("p")
	s.until("FROZEN")
	rows := func() string { // all but title and footer
		lines := strings.Split(s.term.Screen.Text(), "\n")
		return strings.Join(lines[3:len(lines)-3], "\n")
	}
	before := rows()
	s.step(4)
	if after := rows(); after != before {
		t.Errorf("frozen rows changed:\n%s\n\n%s", before, after)
	}
	s.press("3") // sorting works on them
	s.until("REMOTE▴")
	s.press("p")
	s.gone("FROZEN")
}

// TestEnds: however it ends, the terminal is as it was.
func TestEnds(t *testing.T) {
	errGone, errMistake := errors.New("the source is gone"), errors.New("a mistake, for the test")
	for _, tt := range []struct {
		name string
		end  func(s *session) error
		want error
	}{
		{"key", func(s *session) error { return s.quit("q") }, nil},
		{"Ctrl-C", func(s *session) error { return s.quit("\x03") }, nil},
		{"context", func(s *session) error { s.stop(); return s.quit("") }, nil},
		{"panic", func(s *session) error { s.step(1); return s.quit("d") }, errMistake},
		{"source", func(s *session) error { s.until("collecting has ended: " + errGone.Error()); return s.quit("q") }, errGone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			term, err := tcptest.OpenTerminal(80, 24)
			need.That(t, err == nil, "a pseudoterminal")
			before, err := term.State()
			if err != nil {
				t.Fatal(err)
			}
			feed := demo.Host()
			cfg := testConfig(feed)
			cfg.Input, cfg.Output = term.Slave, term.Slave
			switch tt.name {
			case "source":
				cfg.Status = func() Status { return Status{Err: errGone} }
			case "panic":
				cfg.Name = func(*tcp.Conn) *tcp.Conn { panic(errMistake) }
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			s := &session{t: t, term: term, feed: feed, done: make(chan error, 1), stop: stop}
			go func() { s.done <- Run(ctx, cfg) }()
			s.until("connections")
			err = tt.end(s)
			if !errors.Is(err, tt.want) {
				t.Errorf("Run returned %v, want %v", err, tt.want)
			}
			if p, ok := errors.AsType[*PanicError](err); ok && !strings.Contains(string(p.Stack), "drawTable") {
				t.Errorf("the stack does not show where it was: %s", p.Stack)
			}
			after, err := term.State()
			if err != nil {
				t.Fatal(err)
			}
			if after != before {
				t.Errorf("the terminal is %+v, was %+v", after, before)
			}
			if err := term.Close(); err != nil {
				t.Error(err)
			}
			for mode, name := range map[int]string{1049: "alternate screen", 1002: "mouse", 1006: "mouse", 2004: "bracketed paste"} {
				if term.Screen.Mode(mode) {
					t.Errorf("%s is still on", name)
				}
			}
			if _, _, visible := term.Screen.Cursor(); !visible {
				t.Error("the cursor is still hidden")
			}
		})
	}
}
