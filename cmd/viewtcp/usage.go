package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/viewtcp/viewtcp/internal/host"
	"github.com/viewtcp/viewtcp/internal/procfs"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/usage"
	"github.com/viewtcp/viewtcp/internal/web"
)

// sampling keeps what the host and its processes use, while serve runs.
type sampling struct {
	log  *slog.Logger
	view tcp.View
	keep func([]store.Usage)
	// every is usage.Every, less in tests.
	every time.Duration
}

// run samples until ctx ends. Where there is nothing to sample it says so once.
func (s *sampling) run(ctx context.Context) {
	cfg := usage.DefaultConfig()
	cfg.Host = hostname()
	if inode, err := ownNetNS(); err == nil {
		cfg.NetNS = inode
	}
	processes := procfs.NewProcesses(procfs.DefaultConfig())
	cfg.Describe = func(o tcp.Owner) *tcp.Process {
		p, _ := processes.Resolve(o)
		return p
	}
	sampler, err := usage.New(cfg)
	if err != nil {
		s.log.Info("what the host uses is not sampled", "err", err)
		return
	}
	sampler.Append(nil, host.Now(), nil) // where counters stand
	ticker := time.NewTicker(s.every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			snap := s.view.Snapshot()
			if snap.Seq == 0 && len(snap.Conns) == 0 {
				snap = nil // who has sockets is not known yet
			}
			s.keep(sampler.Append(nil, host.Now(), snap))
		}
	}
}

// ownNetNS is the inode number of the network namespace that this process is in.
func ownNetNS() (uint32, error) {
	link, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return 0, err
	}
	var inode uint32
	if _, err := fmt.Sscanf(link, "net:[%d]", &inode); err != nil {
		return 0, fmt.Errorf("reading %q: %w", link, net.UnknownNetworkError(link))
	}
	return inode, nil
}

// storedUsage is what history knows of usage, as the server wants it.
type storedUsage struct{ store.UsageQuerier }

var _ web.Usage = storedUsage{}

// Usage implements web.Usage.
func (s storedUsage) Usage(ctx context.Context, from, to time.Time, fn func(web.UsageSample) error) error {
	_, err := s.UsageQuerier.Usage(ctx, &store.UsageQuery{From: from, To: to}, func(u *store.Usage) error {
		sample := web.UsageSample{Time: u.Time, Host: u.Host, Scope: u.Scope, PID: int32(u.PID), Process: u.Process}
		for m := range store.NumMeasures {
			if v, ok := u.Value(m); ok {
				sample.Values = append(sample.Values, web.UsageValue{Name: m.String(), Value: float64(v)})
			}
		}
		return fn(sample)
	})
	return err
}
