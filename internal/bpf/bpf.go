// Package bpf is the best source of connections: programs in the kernel report
// the whole life of every TCP socket, and iterators walk those that are there.
//
// It owns the programs (bpf/*.c), their loading and the reading of what they
// write. What it knows of a socket beyond the kernel's own numbers is kept in
// the socket itself, so that nothing is limited by the size of a table, and
// whatever does not fit into the ring is counted, connections and bytes. It
// merges nothing: internal/track does.
package bpf

import (
	"log/slog"
	"time"

	"github.com/viewtcp/viewtcp/internal/host"
	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Config configures a Source.
type Config struct {
	// Namespace is the one network namespace to report; nil is every one.
	Namespace *netns.Namespace
	// Snapshot says that only Once will be called. Nothing is then loaded that
	// reports events, and Run fails.
	Snapshot bool
	// RingBytes is the size of the ring that events wait in: a power of two and
	// a multiple of the page size.
	RingBytes int
	// DeltaEvery is the time between two walks that report what changed.
	DeltaEvery time.Duration
	// StillFor is how long walks that report what changed may be left out while
	// nothing moves: no segment, no read or write by a process, no event. What
	// changes without them, as a listener's backlog does when its process
	// accepts, is seen that much later. Zero leaves none out.
	StillFor time.Duration
	// FullEvery is the time between two walks that report everything.
	FullEvery time.Duration
	// Now reads the clocks.
	Now func() tcp.Stamp
	// Logger gets what cannot be returned.
	Logger *slog.Logger
}

// DefaultConfig returns the configuration for every namespace of this host.
func DefaultConfig() Config {
	return Config{
		RingBytes:  4 << 20,
		DeltaEvery: time.Second,
		StillFor:   10 * time.Second,
		FullEvery:  time.Minute,
		Now:        host.Now,
		Logger:     slog.New(slog.DiscardHandler),
	}
}
