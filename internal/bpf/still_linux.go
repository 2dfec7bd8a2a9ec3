//go:build 386 || amd64 || arm64

package bpf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/viewtcp/viewtcp/internal/host"
	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// still finds out whether any socket of the namespace can have changed since it
// was last asked. The kernel walks all buckets of its table of connections for a
// handful of sockets, which on a host where nothing happens is most of what
// watching costs.
type still struct {
	// counters is the namespace's /proc/net/snmp; nil if it cannot be had.
	counters *os.File
	buf      []byte
	in, out  uint64
}

// openStill reads the counters of a namespace. Without them every second is one
// in which something may have happened.
func openStill(ns netns.Namespace) *still {
	var f *os.File
	err := ns.Do(func() (err error) {
		f, err = os.Open("/proc/thread-self/net/snmp")
		return err
	})
	if err != nil {
		return &still{}
	}
	return &still{counters: f, buf: make([]byte, 8<<10)}
}

func (s *still) close() error {
	if s.counters == nil {
		return nil
	}
	return s.counters.Close()
}

// moved reports whether segments came or went since it was last called, and
// true if that is not known.
func (s *still) moved() bool {
	in, out, err := s.segments()
	same := err == nil && in == s.in && out == s.out
	s.in, s.out = in, out
	return !same
}

func (s *still) segments() (in, out uint64, err error) {
	if s.counters == nil {
		return 0, 0, errors.ErrUnsupported
	}
	n, err := s.counters.ReadAt(s.buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, 0, fmt.Errorf("reading the kernel's counters: %w", err)
	}
	found := 0
	err = host.EachCounter(s.buf[:n], func(group, name []byte, v uint64) {
		switch {
		case !bytes.Equal(group, []byte("Tcp")):
		case bytes.Equal(name, []byte("InSegs")):
			in, found = v, found+1
		case bytes.Equal(name, []byte("OutSegs")), bytes.Equal(name, []byte("RetransSegs")):
			out, found = out+v, found+1
		}
	})
	if err == nil && found != 3 {
		err = errors.ErrUnsupported
	}
	return in, out, err
}

// unmoved reports whether a walk would show nothing: the last one did not, and
// since then no segment came or went, no process read or wrote, and no program
// had anything to tell. What it asks is asked anew each time, so it must be
// called before every walk.
func (r *run) unmoved() (bool, error) {
	s := r.s
	var used uint32
	if err := s.vars[collectorVarMoved].Get(&used); err != nil {
		return false, fmt.Errorf("reading %s: %w", collectorVarMoved, err)
	}
	if used != 0 {
		if err := s.set(collectorVarMoved, 0); err != nil {
			return false, err
		}
	}
	moved, heard := r.still.moved(), r.heard
	r.heard = false
	return used == 0 && !moved && !heard && r.calm && !r.foreign && !s.batch.foreign &&
		time.Since(r.lastWalk) < s.cfg.StillFor, nil
}

// passStill says that nothing changed since the last walk, which passed so many
// full sockets.
func (s *Source) passStill(sockets int) error {
	s.beginPass(tcp.PassDelta)
	s.batch.batch.Pass.Sockets = sockets
	return s.batch.endPass([]uint32{s.home.Inode}, false)
}
