package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/vt"
)

// The terminal that the interface is measured on, and what it shows.
const (
	tuiWidth, tuiHeight = 200, 50
	tuiSockets          = 10_000
	tuiChanging         = 3_000 // of the sockets each second
	tuiLimit            = 0.01
)

// measureTUI is P9: what the live view costs beyond the collection, which
// viewtcp watch does as well and then prints nothing.
func measureTUI(ctx context.Context, o *options) (_ *report, err error) {
	r := &report{}
	if err := drained(ctx, r); err != nil {
		return r, err
	}
	hold, err := tcptest.HoldSockets(tuiSockets)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, hold.Close()) }()
	chat := func() error { return hold.Chat(tuiChanging/2, 10) }
	what := fmt.Sprintf("%s sockets, %d %% changing each second", count(tuiSockets), 100*tuiChanging/tuiSockets)

	collect := []string{o.viewtcp, "watch", "-n", "--events", "closed", "-o", "jsonl"}
	show := []string{o.viewtcp, "top", "-n"}
	// Alternating, because the machine is not the same for long.
	var alone, shown, written, sorted, sortedWritten []float64
	window := o.window / tuiRounds
	for range tuiRounds {
		a, err := collectionLoad(ctx, window, chat, collect)
		if err != nil {
			return r, err
		}
		s, b, err := screenLoad(ctx, window, chat, show, "")
		if err != nil {
			return r, err
		}
		t, c, err := screenLoad(ctx, window, chat, show, sortByRate)
		if err != nil {
			return r, err
		}
		alone, shown, written = append(alone, a), append(shown, s), append(written, b)
		sorted, sortedWritten = append(sorted, t), append(sortedWritten, c)
	}
	beyond := mean(shown) - mean(alone)
	commands := strings.Join(collect, " ") + "\n" + strings.Join(show, " ")
	r.add(row{
		what: what + ": share of a core beyond collection", ours: percent(beyond), limit: "≤ " + percent(tuiLimit),
		verdict: meets(beyond <= tuiLimit), command: commands,
	})
	r.add(row{what: "the same, sorted by rate: every line in sight changes", ours: percent(mean(sorted) - mean(alone))})
	r.add(row{what: "collection and live view together; collection alone", ours: percent(mean(shown)) + "; " + percent(mean(alone))})
	r.add(row{
		what: fmt.Sprintf("bytes a second to a terminal of %d×%d; sorted by rate", tuiWidth, tuiHeight),
		ours: fmt.Sprintf("%.0f; %.0f", mean(written), mean(sortedWritten)),
	})
	return r, pollingPeers(ctx, o, r, chat)
}

// tuiRounds is how often the two programs take turns.
const tuiRounds = 3

// sortByRate is the key of the column of bytes received a second.
const sortByRate = "8"

func mean(v []float64) (m float64) {
	for _, x := range v {
		m += x / float64(len(v))
	}
	return m
}

// collectionLoad is the share of a core that following the sockets takes.
func collectionLoad(ctx context.Context, window time.Duration, chat func() error, argv []string) (float64, error) {
	p, err := start(ctx, nil, argv...)
	if err != nil {
		return 0, err
	}
	defer p.stop()
	return busy(ctx, p, window, chat, func() {})
}

// screenLoad is the share of a core that following and showing the sockets takes
// after some keys, and the bytes a second that go to the terminal.
func screenLoad(ctx context.Context, window time.Duration, chat func() error, argv []string, keys string) (load, bytes float64, err error) {
	t, err := tcptest.OpenTerminal(tuiWidth, tuiHeight)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	home, err := os.MkdirTemp("", "viewtcp-bench-") // not the user's layout
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(home)) }()
	p, err := startOn(ctx, t, home, argv...)
	if err != nil {
		return 0, 0, err
	}
	defer p.stop()
	if !t.Until(20*time.Second, func(s *vt.Screen) bool { return strings.Contains(s.Text(), "ESTABLISHED 1") }) {
		return 0, 0, fmt.Errorf("nothing to be seen: %.2000s", t.Screen.Text())
	}
	if err := t.Type(keys); err != nil {
		return 0, 0, err
	}
	var wrote int
	begin := time.Now()
	load, err = busy(ctx, p, window, chat, func() { wrote, begin = t.Screen.Wrote(), time.Now() })
	return load, float64(t.Screen.Wrote()-wrote) / time.Since(begin).Seconds(), err
}

// busy is the share of a core that a program takes while chat runs once a second,
// after its start has settled; begin is called then.
func busy(ctx context.Context, p *program, window time.Duration, chat func() error, begin func()) (float64, error) {
	var cpu0 time.Duration
	var from time.Time
	for began := time.Now(); ; {
		if err := chat(); err != nil {
			return 0, err
		}
		if err := sleep(ctx, time.Second); err != nil {
			return 0, err
		}
		if from.IsZero() {
			if time.Since(began) < settle {
				continue
			}
			var err error
			if cpu0, err = p.cpu(); err != nil {
				return 0, err
			}
			from = time.Now()
			begin()
			continue
		}
		if time.Since(from) < window {
			continue
		}
		cpu1, err := p.cpu()
		return float64(cpu1-cpu0) / float64(time.Since(from)), err
	}
}

// startOn runs a program on a terminal, which becomes its own, with its
// configuration in home.
func startOn(ctx context.Context, t *tcptest.Terminal, home string, argv ...string) (*program, error) {
	p := &program{cmd: exec.CommandContext(ctx, argv[0], argv[1:]...), done: make(chan struct{})}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = t.Slave, t.Slave, &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	p.cmd.Env = append(os.Environ(), "TERM=xterm-256color", "XDG_CONFIG_HOME="+home)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}
