package procfs

import (
	"time"

	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Config says where /proc is and how much work may be spent on it.
type Config struct {
	// Root is where proc is mounted. Another one than /proc is taken for the
	// proc of the host (as mounted into a container) or for a fixture: its
	// namespaces are then found through its processes alone.
	Root string
	// Passwd is the file that user names come from.
	Passwd string
	// PollEvery is the time between two passes. A pass that took longer than a
	// quarter of it is followed by a pause of three times its own length, so
	// that large tables cannot cost more than a quarter of one CPU.
	PollEvery time.Duration
	// RescanEvery is the time after which the owners of all sockets are looked
	// up again; until then only new sockets are.
	RescanEvery time.Duration
	// Namespaces are the network namespaces to look at; nil is all of the host.
	Namespaces []netns.Namespace
	// MaxProcesses bounds the cache of process details.
	MaxProcesses int
	// LookupsPerSecond bounds how many processes are read each second. Above
	// it a process has only the name that its source saw, until there is time.
	LookupsPerSecond int
	// RefreshAfter is how old process details must be before a changed name
	// (an exec) makes them be read again.
	RefreshAfter time.Duration
	// Owners and Processes are shared with other users of them; nil makes the
	// source create its own.
	Owners    *Owners
	Processes *Processes
	// Now reads the clocks; nil is host.Now.
	Now func() tcp.Stamp
}

// DefaultConfig returns the configuration for the running host.
func DefaultConfig() Config {
	return Config{
		Root:             defaultRoot,
		Passwd:           "/etc/passwd",
		PollEvery:        time.Second,
		RescanEvery:      30 * time.Second,
		MaxProcesses:     16384,
		LookupsPerSecond: 2000,
		RefreshAfter:     2 * time.Second,
	}
}

const defaultRoot = "/proc"

// withDefaults fills what the caller left out.
func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.Root == "" {
		c.Root = d.Root
	}
	if c.Passwd == "" {
		c.Passwd = d.Passwd
	}
	if c.PollEvery <= 0 {
		c.PollEvery = d.PollEvery
	}
	if c.RescanEvery <= 0 {
		c.RescanEvery = d.RescanEvery
	}
	if c.MaxProcesses <= 0 {
		c.MaxProcesses = d.MaxProcesses
	}
	if c.LookupsPerSecond <= 0 {
		c.LookupsPerSecond = d.LookupsPerSecond
	}
	if c.RefreshAfter <= 0 {
		c.RefreshAfter = d.RefreshAfter
	}
	return c
}
