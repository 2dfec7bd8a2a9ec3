package tui

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest/demo"
)

// acts notes what the interface asked of the host.
type acts struct {
	mu       sync.Mutex
	closed   []string
	exported string
	rows     int
	layouts  []Layout
	captured string
}

func (a *acts) config(c *Config) {
	c.Close = func(_ context.Context, conn *tcp.Conn) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.closed = append(a.closed, conn.Process.Name)
		if conn.Process.Name == "rsync" {
			return fmt.Errorf("destroying: %w", tcp.ErrPermission)
		}
		return nil
	}
	c.Export = func(path string, conns []*tcp.Conn, _ []*tcp.Field) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		if strings.HasSuffix(path, ".txt") {
			return errors.New("the name shall end in .csv, .json or .jsonl")
		}
		a.exported, a.rows = path, len(conns)
		return nil
	}
	c.Name = func(conn *tcp.Conn) *tcp.Conn {
		named, names := *conn, *conn.Names
		names.RemoteName = "host-" + fmt.Sprint(conn.RemotePort) + ".example.net"
		named.Names = &names
		return &named
	}
	c.Parents = func(int32) []Parent { return []Parent{{900, "supervisor"}, {1, "systemd"}} }
	c.Counters = func() (Counters, error) { return Counters{ListenOverflows: 7}, nil }
	c.Capture = func(ctx context.Context, conn *tcp.Conn, tell func(Packet)) (string, error) {
		for i := range 3 {
			tell(Packet{
				Time: demo.Start.UnixNano() + int64(i)*1000, Sent: i%2 == 0, Flags: "PSH,ACK", Notes: []string{"", "", "retransmission"}[i],
				Seq: uint32(1000 * i), Ack: 1, Window: 64256, Len: 1448,
			})
		}
		<-ctx.Done()
		a.mu.Lock()
		defer a.mu.Unlock()
		a.captured = conn.Process.Name
		return "capture-of-" + conn.Process.Name + ".pcapng", nil
	}
	c.CanSuspend = func() bool { return false }
	c.SaveLayout = func(l Layout) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.layouts = append(a.layouts, l)
		return nil
	}
}

// wantLayout waits for a layout to be saved that is as wanted.
func (a *acts) wantLayout(t *testing.T, ok func(Layout) bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		a.mu.Lock()
		n := len(a.layouts)
		good := n > 0 && ok(a.layouts[n-1])
		a.mu.Unlock()
		switch {
		case good:
			return
		case time.Now().After(deadline):
			t.Fatalf("saved %+v", a.layouts)
		}
	}
}

// openHost starts the interface over the demo host, ten seconds in.
func openHost(t *testing.T, a *acts) *session {
	t.Helper()
	s := open(t, 120, 30, demo.Host(), a.config)
	s.feed.Step(9) // at once: what happened before is not what keys are about
	s.step(1)
	return s
}

const (
	keyUp, keyDown, keyRight, keyLeft = "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D"
	keyPgUp, keyPgDown                = "\x1b[5~", "\x1b[6~"
	keyHome, keyEnd                   = "\x1b[H", "\x1b[F"
	keyShiftTab                       = "\x1b[Z"
)

// TestKeys presses every key of the map, and sees what it does. The names of the
// cases are the actions, so that none is forgotten.
func TestKeys(t *testing.T) {
	var a *acts
	cases := map[action]func(t *testing.T, s *session){
		actHelp: func(_ *testing.T, s *session) {
			s.press("?")
			s.until("Everywhere")
			s.press("x")
			s.gone("Everywhere")
		},
		actQuit: func(t *testing.T, s *session) { t.Helper(); wantNil(t, s.quit("q")) },
		actNextView: func(_ *testing.T, s *session) {
			s.press("\t")
			s.until("BY PROCESS")
			s.press("\t")
			s.until("Churn")
			s.press("\t")
			s.until("PID")
		},
		actPrevView: func(_ *testing.T, s *session) { s.press(keyShiftTab); s.until("Churn") },
		actConns:    func(_ *testing.T, s *session) { s.press("o"); s.until("Churn"); s.press("1"); s.until("PID") },
		actGroupsView: func(_ *testing.T, s *session) {
			s.press("\x1b2")
			s.until("BY PROCESS")
		},
		actOverview: func(_ *testing.T, s *session) { s.press("o"); s.until("Churn") },
		actFilter: func(_ *testing.T, s *session) {
			s.press("/process rsync")
			s.until("1 of ")
			s.press("\r")
			s.gone("Tab completes")
			s.until("process rsync")
		},
		actInverse: func(_ *testing.T, s *session) {
			s.press("/process nginx\r!")
			s.until("not ( process nginx )")
			s.gone("nginx  ")
		},
		actSavedFilters: func(t *testing.T, s *session) {
			t.Helper()
			s.press("/process java\x13") // Ctrl-S
			s.until("saved")
			s.press("\x1b")
			s.until("filter, as in")
			s.press("f")
			s.until("state close-wait")
			s.press("7")
			s.until("16 of ")
			s.press("fGx") // nothing: it is not on the saved one
			s.press("jjjjjjx\x1b")
			s.until("PROCESS")
			a.wantLayout(t, func(l Layout) bool { return len(l.Filters) == 0 })
		},
		actBack: func(_ *testing.T, s *session) {
			s.press("/process java\r")
			s.gone("nginx")
			s.press("\x1b")
			s.until("nginx")
		},
		actFreeze: func(_ *testing.T, s *session) { s.press("p"); s.until("FROZEN"); s.press("p"); s.gone("FROZEN") },
		actNames: func(_ *testing.T, s *session) {
			s.press("/process rsync\rd")
			s.until("host-22.example.net:22")
			s.press("d")
			s.until("203.0.113.77:22")
		},
		actTheme: func(t *testing.T, s *session) {
			t.Helper()
			s.press("T")
			s.until("theme light")
			a.wantLayout(t, func(l Layout) bool { return l.Theme == "light" })
		},
		actFaster: func(_ *testing.T, s *session) { s.press("--+"); s.until("every 2s") },
		actSlower: func(_ *testing.T, s *session) { s.press("-"); s.until("every 2s") },
		actRedraw: func(_ *testing.T, s *session) {
			s.term.Screen.Erase()
			s.press("\x0c")
			s.until("PROCESS")
		},
		actUp:       func(_ *testing.T, s *session) { s.press("jjk"); s.atRow(1) },
		actDown:     func(_ *testing.T, s *session) { s.press(keyDown); s.atRow(1) },
		actPageUp:   func(_ *testing.T, s *session) { s.press(keyPgDown); s.atRow(24); s.press(keyPgUp); s.atRow(0) },
		actPageDown: func(_ *testing.T, s *session) { s.press(keyPgDown); s.atRow(24) },
		actTop:      func(_ *testing.T, s *session) { s.press("Gg"); s.atRow(0) },
		actBottom:   func(_ *testing.T, s *session) { s.press("G"); s.until("*:9100") },
		actRight:    func(_ *testing.T, s *session) { s.press(keyRight); s.gone(" PID"); s.press(keyLeft); s.until(" PID") },
		actLeft:     func(_ *testing.T, s *session) { s.press("ll"); s.gone("REMOTE"); s.press("h"); s.until("REMOTE") },
		actOpen: func(_ *testing.T, s *session) {
			s.press("\r")
			s.until("Life")
			s.press("\x1b")
			s.gone("Life")
		},
		actSortNext: func(t *testing.T, s *session) {
			t.Helper()
			s.press("s")
			s.until("PROCESS▴")
			a.wantLayout(t, func(l Layout) bool { return l.Sort == "process" })
		},
		actSortReverse: func(t *testing.T, s *session) {
			t.Helper()
			s.press("3S")
			s.until("REMOTE▾")
			a.wantLayout(t, func(l Layout) bool { return l.Reverse && l.Sort == "remote" })
		},
		actColumns: func(t *testing.T, s *session) {
			t.Helper()
			s.press("c")
			s.until("Space chooses")
			s.press("mss")
			s.until("search: mss")
			s.press(" \r")
			s.gone("Space chooses")
			a.wantLayout(t, func(l Layout) bool { return slices.Contains(l.Columns, "mss") })
		},
		actKeepClosed: func(_ *testing.T, s *session) {
			s.press("t")
			s.until("closed connections stay")
			s.step(15)
			s.press("/process curl\r")
			s.until("CLOSED")
		},
		actGroup: func(_ *testing.T, s *session) { s.press("a"); s.until("BY PROCESS") },
		actClose: func(t *testing.T, s *session) {
			t.Helper()
			s.press("/process sshd and state established\rK")
			s.until("Close this socket?")
			s.press("n")
			s.until("nothing done")
			s.press("Ky")
			s.until(" closed")
			wantEqual(t, fmt.Sprint(a.closed), "[sshd]")
		},
		actDetailClose: func(_ *testing.T, s *session) {
			s.press("/process rsync\r\r")
			s.until("Life")
			s.press("Ky")
			s.until("not closed: destroying: permission denied")
		},
		actCopy: func(t *testing.T, s *session) {
			t.Helper()
			s.press("/process rsync\ry")
			s.until("row copied")
			s.clipboard("rsync\t28771\t203.0.113.77:22\t")
		},
		actDetailCopy: func(t *testing.T, s *session) {
			t.Helper()
			s.press("/process rsync\r\r")
			s.until("Life")
			s.press("y")
			s.until("all fields copied")
			s.clipboard("remote_ip: 203.0.113.77\n")
		},
		actExport: func(t *testing.T, s *session) {
			t.Helper()
			s.press("/process java\re")
			s.until("Write 16 connections to a file")
			s.until("viewtcp-20261123-140010.csv")
			s.press("\x15rows.txt\r")
			s.until("not written: the name shall end in")
			s.press("e")
			s.until("> viewtcp-")
			s.press("\x15rows.jsonl\r")
			s.until("wrote 16 connections to rows.jsonl")
			wantEqual(t, a.exported, "rows.jsonl")
		},
		actCapture: func(t *testing.T, s *session) {
			t.Helper()
			s.press("/process rsync\rw")
			s.until("Packets (3)")
			s.until("CAPTURING")
			s.until("retransmission")
			s.press("w")
			s.until("capture-of-rsync.pcapng")
			s.gone("CAPTURING")
			wantEqual(t, a.captured, "rsync")
		},
		actDetailCapture: func(_ *testing.T, s *session) {
			s.press("/process rsync\r\r")
			s.until("Life")
			s.press("w")
			s.until("Packets (3)")
			s.press("\x1b") // leaving ends it
			s.until("3 packets are in capture-of-rsync.pcapng")
		},
		actExpand: func(_ *testing.T, s *session) {
			s.press("a")
			s.until("▸ nginx")
			s.press(" ")
			s.until("▾ nginx")
			s.press(" ")
			s.until("▸ nginx")
		},
		actNextGrouping: func(_ *testing.T, s *session) {
			s.press("a")
			s.until("BY PROCESS")
			s.press("a")
			s.until("BY REMOTE HOST")
			s.press("a")
			s.until("BY REMOTE PORT")
		},
		actPrevGrouping: func(_ *testing.T, s *session) { s.press("a"); s.until("BY PROCESS"); s.press("A"); s.until("BY STATE") },
		actGroupSort:    func(_ *testing.T, s *session) { s.press("a"); s.until("CONNS▾"); s.press("s"); s.until("RX/s▾") },
		actGroupReverse: func(_ *testing.T, s *session) { s.press("a"); s.until("CONNS▾"); s.press("S"); s.until("CONNS▴") },
		// Suspending stops the whole process: TestTopSuspend of cmd does that.
		actSuspend: func(_ *testing.T, s *session) { s.press("\x1a"); s.until("no shell") },
	}
	for i := 1; i <= numSortColumns; i++ {
		heads := []string{"PROCESS", "PID", "REMOTE", "LOCAL", "STATE", "RTT", "RETR", "RX/s", "TX/s"}
		cases[action(fmt.Sprint(actSortPrefix, i))] = func(_ *testing.T, s *session) {
			s.press(fmt.Sprint(i))
			arrow, back := "▴", "▾"
			if i >= 6 { // the largest first
				arrow, back = "▾", "▴"
			}
			head := heads[i-1]
			s.until(head[:min(len(head), 4)])
			s.until(arrow)
			s.press(fmt.Sprint(i))
			s.until(back)
		}
	}
	for _, name := range ActionNames() {
		run, ok := cases[action(name)]
		if !ok {
			t.Errorf("no test presses the key of %s", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			a = &acts{}
			run(t, openHost(t, a))
		})
	}
}

func wantNil(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func wantEqual[T comparable](t *testing.T, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}
