package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcptest"
)

// settle is how long a watch runs before it is measured: its start-up, with a
// full walk and all processes, is no refresh.
const settle = 8 * time.Second

// baseMemory is what a watch may use with no connections, memoryEach what it
// may use for each.
const (
	baseMemory = 60e6
	memoryEach = 1e3
)

// measureRefresh is P2: what following n mostly idle sockets costs.
func measureRefresh(ctx context.Context, o *options) (_ *report, err error) {
	r := &report{}
	if err := drained(ctx, r); err != nil {
		return r, err
	}
	hold, err := tcptest.HoldSockets(o.sockets)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, hold.Close()) }()
	what := count(o.sockets) + " sockets, 1 % of them active each second"
	chat := func() error { return hold.Chat(o.sockets/100, 10) }
	if err := watchQuiet(ctx, o, r, what, o.sockets, 0.03, chat); err != nil {
		return r, err
	}
	return r, pollingPeers(ctx, o, r, chat)
}

// measureNamespaces is P2b: 100 namespaces of 200 sockets each.
func measureNamespaces(ctx context.Context, o *options) (_ *report, err error) {
	const namespaces, each = 100, 200
	r := &report{}
	var holds []*tcptest.Hold
	defer func() {
		for _, h := range holds {
			err = errors.Join(err, h.Close())
		}
	}()
	for range namespaces {
		h, err := tcptest.HoldSocketsAlone(each, tcptest.InNewNetNS())
		if err != nil {
			return r, err
		}
		holds = append(holds, h)
	}
	what := fmt.Sprintf("%d namespaces × %d sockets", namespaces, each)
	return r, watchQuiet(ctx, o, r, what, namespaces*each, 0.05, func() error { return nil })
}

// watchQuiet measures a watch while chat runs once a second.
func watchQuiet(ctx context.Context, o *options, r *report, what string, sockets int, limit float64, chat func() error) error {
	argv := []string{o.viewtcp, "watch", "-n", "-o", "jsonl"}
	p, err := start(ctx, nil, argv...)
	if err != nil {
		return err
	}
	defer p.stop()
	if err := sleep(ctx, settle); err != nil {
		return err
	}
	cpu0, err := p.cpu()
	if err != nil {
		return err
	}
	begin := time.Now()
	var highest uint64
	for time.Since(begin) < o.window {
		if err := chat(); err != nil {
			return err
		}
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
		now, _, err := p.memory()
		if err != nil {
			return err
		}
		highest = max(highest, now)
	}
	cpu1, err := p.cpu()
	if err != nil {
		return err
	}
	load := float64(cpu1-cpu0) / float64(time.Since(begin))
	_, peak, err := p.memory()
	if err != nil {
		return err
	}
	command := strings.Join(argv, " ")
	r.add(row{
		what: what + ": share of a core", ours: percent(load), limit: "≤ " + percent(limit),
		verdict: meets(load <= limit), command: command,
	})
	most := uint64(baseMemory + memoryEach*float64(sockets))
	r.add(row{
		what: what + ": resident memory", ours: mib(highest) + " (" + mib(peak) + " at the start)",
		limit: "≤ " + mib(most), verdict: meets(highest <= most), command: command,
	})
	return nil
}

// pollingPeers measures what one has without ViewTCP: ss in a loop, and similar
// tools where they are installed.
func pollingPeers(ctx context.Context, o *options, r *report, chat func() error) error {
	argv := []string{"ss", "-tinpaeOH"}
	window := min(o.window, 15*time.Second)
	begin := time.Now()
	var used time.Duration
	for time.Since(begin) < window {
		next := time.Now().Add(time.Second)
		if err := chat(); err != nil {
			return err
		}
		d, err := cpuOf(ctx, argv...)
		if err != nil {
			return err
		}
		used += d
		if err := sleep(ctx, time.Until(next)); err != nil {
			return err
		}
	}
	r.add(row{
		what: "the same sockets, polled each second: share of a core",
		peer: "ss " + percent(float64(used)/float64(time.Since(begin))), command: "while sleep 1; do " + strings.Join(argv, " ") + "; done",
	})
	if path, err := exec.LookPath("bandwhich"); err == nil {
		load, err := loadOf(ctx, window, path, "--raw", "--no-resolve")
		if err != nil {
			return err
		}
		r.add(row{what: "the same sockets: share of a core", peer: "bandwhich " + percent(load), command: "bandwhich --raw --no-resolve"})
	} else {
		r.note("bandwhich and rustnet are not installed here, and so not measured.")
	}
	return nil
}

// loadOf is the share of a core that a program takes in a time.
func loadOf(ctx context.Context, window time.Duration, argv ...string) (float64, error) {
	p, err := start(ctx, nil, argv...)
	if err != nil {
		return 0, err
	}
	defer p.stop()
	if err := sleep(ctx, settle); err != nil {
		return 0, err
	}
	cpu0, err := p.cpu()
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := sleep(ctx, window); err != nil {
		return 0, err
	}
	cpu1, err := p.cpu()
	return float64(cpu1-cpu0) / float64(time.Since(begin)), err
}
