// Command screens draws the pictures of the live view for the documents: the
// interface runs on a terminal over a host that lives by a script, so that the
// pictures are the same wherever they are made.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/demo"
	"github.com/viewtcp/viewtcp/internal/tcptest/vt"
	"github.com/viewtcp/viewtcp/internal/tui"
)

// The size of the pictures, in characters.
const width, height = 132, 36

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: screens DIRECTORY")
		os.Exit(2)
	}
	time.Local = time.UTC
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "screens:", err)
		os.Exit(1)
	}
}

// shot is one picture: keys, and what is on the screen then. Without a name it is
// but a step towards the next one.
type shot struct {
	name, keys, until string
	// steps are seconds that pass between the keys and the picture.
	steps int
}

// shots are taken one after the other.
var shots = []shot{
	{"tui-connections", "jj", "web-1", 0},
	{"tui-filter", "/rtt > 50ms and retransmits > 0 and stat", "did you mean state?", 0},
	{"tui-detail", "\x15process rsync\r\r", "Last minutes", 90},
	{"", "\x1b", "PROCESS", 0},
	{"", "\x1b", "filter, as in", 0},
	{"", "a", "BY PROCESS", 0},
	{"tui-groups", "j ", "▾ java", 0},
	{"tui-overview", "o", "Churn", 300},
}

func run(dir string) (err error) {
	term, err := tcptest.OpenTerminal(width, height)
	if err != nil {
		return err
	}
	feed := demo.Host()
	cfg := tui.DefaultConfig()
	cfg.View, cfg.Input, cfg.Output = feed, term.Slave, term.Slave
	cfg.Status = func() tui.Status { return tui.Status{Source: tcp.SourceEBPF} }
	cfg.FilterOptions = func() filter.Options { return filter.Options{Now: demo.Start} }
	cfg.Host, cfg.Environ = "web-1", []string{"TERM=xterm-256color"}
	cfg.Layout.Theme = "dark"
	cfg.Poll, cfg.FPS = time.Millisecond, 120
	cfg.Parents = func(int32) []tui.Parent {
		return []tui.Parent{{PID: 28760, Name: "backup.sh"}, {PID: 1, Name: "systemd"}}
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tui.Run(ctx, cfg) }()
	defer func() {
		stop()
		err = errors.Join(err, <-done, term.Close())
	}()
	if err := until(term, "waiting for"); err != nil {
		return err
	}
	if err := pass(term, feed, 75); err != nil {
		return err
	}
	for _, s := range shots {
		if err := term.Type(s.keys); err != nil {
			return err
		}
		if err := until(term, s.until); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if err := pass(term, feed, s.steps); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if s.name == "" {
			continue
		}
		settle(term)
		x, y, visible := term.Screen.Cursor()
		if !visible {
			x, y = -1, -1
		}
		svg := appendSVG(nil, term.Screen.Cells(), x, y)
		if err := os.WriteFile(filepath.Join(dir, s.name+".svg"), svg, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// pass lets seconds pass, each seen by the interface.
func pass(term *tcptest.Terminal, feed *demo.Feed, seconds int) error {
	for range seconds {
		feed.Step(1)
		if err := until(term, time.Unix(0, feed.Now().Wall).UTC().Format("15:04:05")); err != nil {
			return err
		}
	}
	return nil
}

func until(term *tcptest.Terminal, text string) error {
	if term.Until(30*time.Second, func(s *vt.Screen) bool { return strings.Contains(s.Text(), text) }) {
		return nil
	}
	return fmt.Errorf("%q never appears:\n%s", text, term.Screen.Text())
}

// settle waits until nothing is drawn any more.
func settle(term *tcptest.Terminal) {
	for {
		select {
		case <-term.Screen.News():
		case <-time.After(300 * time.Millisecond):
			return
		}
	}
}
