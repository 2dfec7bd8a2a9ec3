//go:build 386 || amd64 || arm64

package bpf

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// BenchmarkRunTime measures what the kernel spends in the programs for one
// connection, both of whose ends are here, and what the reader spends on it.
func BenchmarkRunTime(b *testing.B) {
	need.Root(b)
	ns, space := newSpace(b)
	s := newSource(b, func(c *Config) { c.Namespace = &space })
	const n = 5000
	storm, err := tcptest.StartStorm(tcptest.StormConfig{Connections: n}, tcptest.InNetNS(ns))
	if err != nil {
		b.Fatal(err)
	}
	defer storm.Close()
	// The sink is called on the reader's thread: what that has used is the
	// reader's.
	var reader time.Duration
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		done <- s.Run(ctx, func(*tcp.Batch) error {
			reader = cpuTime(b, unix.RUSAGE_THREAD)
			return nil
		})
	}()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	}()
	enabled, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		b.Fatal(err)
	}
	defer enabled.Close()
	before, pairs := runTimes(b, s), 0
	for b.Loop() {
		if _, err := storm.Run(); err != nil {
			b.Fatal(err)
		}
		pairs += n
	}
	var sum time.Duration
	var text strings.Builder
	for i, after := range runTimes(b, s) {
		d := after - before[i]
		sum += d
		fmt.Fprintf(&text, " %s %d", hooks[i], d.Nanoseconds()/int64(pairs))
	}
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	done <- nil
	b.ReportMetric(float64(sum.Nanoseconds())/float64(pairs), "bpf-ns/pair")
	b.ReportMetric(float64(reader.Nanoseconds())/float64(pairs), "reader-ns/pair")
	b.Logf("ns a pair:%s", &text)
}

// runTimes is what the kernel has spent in each of the hooks.
func runTimes(b *testing.B, s *Source) []time.Duration {
	b.Helper()
	times := make([]time.Duration, len(hooks))
	for i, name := range hooks {
		stats, err := s.programs[name].Stats()
		if err != nil {
			b.Fatal(err)
		}
		times[i] = stats.Runtime
	}
	return times
}

// cpuTime is what this process or thread has used.
func cpuTime(tb testing.TB, who int) time.Duration {
	tb.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(who, &u); err != nil {
		tb.Error(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkOnce measures a full walk, by the number of connected sockets.
func BenchmarkOnce(b *testing.B) {
	for _, n := range []int{0, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := newSource(b, func(c *Config) { c.Snapshot = true })
			if n > 0 {
				hold, err := tcptest.HoldSockets(n)
				if err != nil {
					b.Fatal(err)
				}
				defer hold.Close()
			}
			cpu, sockets := cpuTime(b, unix.RUSAGE_SELF), 0
			b.ReportAllocs()
			for b.Loop() {
				sockets = 0
				err := s.Once(b.Context(), func(batch *tcp.Batch) error {
					sockets += len(batch.Observations)
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((cpuTime(b, unix.RUSAGE_SELF)-cpu).Microseconds())/float64(b.N), "cpu-us/op")
			b.ReportMetric(float64(sockets), "sockets")
		})
	}
}

// BenchmarkNew measures what a one-shot list spends before its walk.
func BenchmarkNew(b *testing.B) {
	need.Root(b)
	cfg := DefaultConfig()
	cfg.Snapshot = true
	b.ReportAllocs()
	for b.Loop() {
		s, err := New(cfg)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
