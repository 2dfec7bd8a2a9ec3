//go:build 386 || amd64 || arm64

package bpf

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// TestStill: while nothing moves, seconds pass without a walk; what moves ends
// that at once, be it data that nobody reads or a process that reads what came
// long ago.
func TestStill(t *testing.T) {
	_, space := newSpace(t)
	var client, server net.Conn
	err := space.Do(func() error {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		if client, err = net.Dial("tcp4", l.Addr().String()); err != nil {
			return err
		}
		server, err = l.Accept()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	defer server.Close()
	cookie, err := connCookie(server)
	if err != nil {
		t.Fatal(err)
	}
	s := newSource(t, func(c *Config) {
		c.DeltaEvery, c.Namespace = 50*time.Millisecond, &space
		c.StillFor, c.FullEvery = time.Hour, time.Hour // what moves must be noticed
	})
	w := startWatch(t, s)
	still := func() {
		t.Helper()
		const untouched = 1 << 30
		var from int
		again := func() {
			from = w.deltas
			if err := s.set(collectorVarWalked, untouched); err != nil {
				t.Fatal(err)
			}
		}
		w.mu.Lock()
		again()
		w.mu.Unlock()
		w.until(t, "passes without a walk", func() bool {
			var walked uint32
			if err := s.vars[collectorVarWalked].Get(&walked); err != nil {
				t.Fatal(err)
			}
			if walked != untouched {
				again()
			}
			return w.deltas >= from+3
		})
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.sockets != 2 {
			t.Errorf("a pass without a walk says that there are %d sockets", w.sockets)
		}
	}
	queued := func(n uint32) {
		t.Helper()
		w.seen(t, cookie, "the queue of what was received", func(o *tcp.Observation) bool {
			return o.Has&tcp.HasRecvQueue != 0 && o.Metrics.RecvQueue == n
		})
	}
	still()
	const size = 100
	if _, err := client.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	queued(size)
	still()
	// One byte less than all: the kernel tells the peer of nothing.
	if _, err := io.ReadFull(server, make([]byte, size-1)); err != nil {
		t.Fatal(err)
	}
	queued(1)
	still()
}

// TestStillUnknown: without the kernel's counters something may always have
// happened.
func TestStillUnknown(t *testing.T) {
	s := &still{}
	for range 3 {
		if !s.moved() {
			t.Fatal("nothing moved, says who cannot know")
		}
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}
