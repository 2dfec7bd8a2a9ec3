package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/bpf"
	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/procfs"
	"github.com/viewtcp/viewtcp/internal/sockdiag"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/wire"
)

// sourceNames are the sources of --source, best first.
var sourceNames = []string{"ebpf", "netlink", "procfs"}

// choice is what the user wants to look with and at.
type choice struct {
	source, netns string
	// once says that the source will walk the sockets once.
	once      bool
	ringBytes int
	// interval is the time between two walks over the sockets; 0 is what suits
	// the source.
	interval time.Duration
}

// open starts one source by name.
func (c choice) open(name string) (tcp.Source, error) {
	spaces, err := c.namespaces()
	if err != nil {
		return nil, err
	}
	switch name {
	case "ebpf":
		cfg := bpf.DefaultConfig()
		cfg.Snapshot = c.once
		if len(spaces) > 0 {
			cfg.Namespace = &spaces[0]
		}
		if c.ringBytes > 0 {
			cfg.RingBytes = c.ringBytes
		}
		if c.interval > 0 {
			cfg.DeltaEvery = c.interval
		}
		return opened(bpf.New(cfg))
	case "netlink":
		cfg := sockdiag.DefaultConfig()
		cfg.Owners = procfs.NewOwners(procfs.DefaultConfig())
		cfg.Namespaces = spaces
		if c.interval > 0 {
			cfg.DumpEvery = c.interval
		}
		return opened(sockdiag.New(cfg))
	default:
		cfg := procfs.DefaultConfig()
		cfg.Namespaces = spaces
		if c.interval > 0 {
			cfg.PollEvery = c.interval
		}
		return opened(procfs.New(cfg))
	}
}

// opened keeps a nil pointer from becoming a source that is not nil.
func opened[S tcp.Source](s S, err error) (tcp.Source, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// namespaces is what --netns names; nil is all of them.
func (c choice) namespaces() ([]netns.Namespace, error) {
	switch c.netns {
	case "", "all":
		return nil, nil
	case "self":
		ns, err := netns.Self()
		return []netns.Namespace{ns}, err
	default:
		ns, err := netns.Open(c.netns)
		if err != nil {
			return nil, usagef("--netns %s: %w (it is all, self or a path such as /run/netns/NAME)", c.netns, err)
		}
		return []netns.Namespace{ns}, nil
	}
}

// candidates are the sources to try, in order.
func (c choice) candidates() []string {
	if c.source != "" && c.source != "auto" {
		return []string{c.source}
	}
	return sourceNames
}

// with opens the best source that works and calls do with it. When it turns out
// that the source cannot do its work here, the next one gets its turn: reset is
// called before, to forget what the first one said. fell says why better sources
// were passed over.
func (c choice) with(reset func(), do func(src tcp.Source, fell []string) error) error {
	var fell []string
	for _, name := range c.candidates() {
		src, err := c.open(name)
		if err == nil {
			reset()
			err = do(src, fell)
			if cerr := src.Close(); err == nil && cerr != nil {
				err = fmt.Errorf("closing source %s: %w", name, cerr)
			}
		}
		if err == nil {
			return nil
		}
		if errors.As(err, new(usageError)) {
			return err
		}
		if !errors.Is(err, tcp.ErrPermission) && !errors.Is(err, tcp.ErrNotSupported) {
			return fmt.Errorf("source %s: %w", name, err)
		}
		if c.source == name {
			return fmt.Errorf("source %s: %w", name, err)
		}
		fell = append(fell, fmt.Sprintf("%s: %v", name, err))
	}
	return fmt.Errorf("no source works here: %s: %w", strings.Join(fell, "; "), tcp.ErrPermission)
}

// dialCollector connects to a collector's socket.
func dialCollector(ctx context.Context, path, source, netns string) (*wire.Client, error) {
	path = strings.TrimPrefix(path, "unix:")
	return wire.Dial(ctx, func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}, source, netns)
}
