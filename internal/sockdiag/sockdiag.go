// Package sockdiag sees TCP sockets through the kernel's socket monitoring
// interface (sock_diag(7)): it dumps all of them, hears of each that is
// destroyed with its final numbers, and closes single ones.
//
// It needs no rights to dump the own network namespace and to hear of closes
// there, CAP_SYS_ADMIN to dump others, CAP_NET_ADMIN and CAP_NET_BROADCAST to
// hear of closes in others, and CAP_NET_ADMIN to close sockets. Which process
// owns a socket is not known here: an Owners finds it.
package sockdiag

import (
	"context"
	"log/slog"
	"time"

	"github.com/viewtcp/viewtcp/internal/host"
	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Owners finds the processes that hold sockets open.
type Owners interface {
	// Resolve calls found for the sockets of want whose owner it knows; want
	// holds inode numbers. Where an error ends it early, what it found before
	// is right all the same.
	Resolve(ctx context.Context, want map[uint32]struct{}, found func(inode uint32, o tcp.Owner)) error
}

// Config says what a Source does.
type Config struct {
	// DumpEvery is the time from the beginning of one dump to the next. A dump
	// that takes long is followed by a pause as long as itself.
	DumpEvery time.Duration
	// RescanEvery is how often the owners of all sockets are looked up again,
	// because processes hand sockets to each other. New sockets are looked up
	// with each dump.
	RescanEvery time.Duration
	// ReceiveBuffer is the bytes of kernel memory for closes not read yet. Above
	// net.core.rmem_max it needs CAP_NET_ADMIN; without it the limit is taken.
	ReceiveBuffer int
	// Namespaces are the network namespaces to look at; nil is all of the host.
	Namespaces []netns.Namespace
	// Owners names the processes behind sockets; nil leaves them unknown.
	Owners Owners
	// Now reads the clocks; nil is host.Now.
	Now func() tcp.Stamp
	// Logger takes what is not part of the data; nil discards it.
	Logger *slog.Logger
}

// DefaultConfig returns the configuration for a whole host.
func DefaultConfig() Config {
	return Config{
		DumpEvery:     2 * time.Second,
		RescanEvery:   time.Minute,
		ReceiveBuffer: 32 << 20,
	}
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.DumpEvery <= 0 {
		c.DumpEvery = d.DumpEvery
	}
	if c.RescanEvery <= 0 {
		c.RescanEvery = d.RescanEvery
	}
	if c.ReceiveBuffer <= 0 {
		c.ReceiveBuffer = d.ReceiveBuffer
	}
	if c.Now == nil {
		c.Now = host.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = c.Logger.With("component", "sockdiag")
	return c
}
