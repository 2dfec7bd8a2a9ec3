package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/sockdiag"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/wire"
)

// collectorFlags configure the role with rights.
type collectorFlags struct {
	socket     string
	allowUIDs  []uint
	allowClose bool
}

func newCollector(e env) *cobra.Command {
	var c collectorFlags
	cmd := &cobra.Command{
		Use:   "collector --socket PATH",
		Short: "Collect with rights, for commands that run without",
		Long: `Collect with rights, for commands that run without: they ask over a Unix socket
with --collector PATH (or VIEWTCP_COLLECTOR). Root and the collector's own user
may ask; others need --allow-uid.`,
		Example: `  sudo viewtcp collector --socket /run/viewtcp.sock --allow-uid 1000 &
  viewtcp list --collector /run/viewtcp.sock`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.socket == "" {
				return usagef("collector: --socket PATH is missing")
			}
			return collect(cmd.Context(), e, &c)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&c.socket, "socket", "", "Unix socket to listen on")
	fs.UintSliceVar(&c.allowUIDs, "allow-uid", nil, "user ids that may ask, beside root and the own one")
	fs.BoolVar(&c.allowClose, "allow-close", false, "let the allowed users close sockets too")
	return cmd
}

func collect(ctx context.Context, e env, c *collectorFlags) error {
	path := strings.TrimPrefix(c.socket, "unix:")
	if err := removeStale(ctx, path); err != nil {
		return err
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("collector: %w", err)
	}
	// Who may connect is decided by credentials, not by the file's mode.
	if err := os.Chmod(path, 0o666); err != nil {
		return errors.Join(fmt.Errorf("collector: %w", err), ln.Close())
	}
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	e.warn("collecting for " + path)
	var clients sync.WaitGroup
	defer clients.Wait()
	for {
		conn, err := ln.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("collector: %w", err)
		}
		clients.Go(func() {
			if err := c.serve(ctx, conn.(*net.UnixConn)); err != nil && ctx.Err() == nil {
				e.warn("collector: " + err.Error())
			}
		})
	}
}

// removeStale removes the socket of a collector that has ended.
func removeStale(ctx context.Context, path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("collector: %w", err)
	}
	if st.Mode().Type() != os.ModeSocket {
		return usagef("collector: %s exists and is no socket", path)
	}
	var d net.Dialer
	if conn, err := d.DialContext(ctx, "unix", path); err == nil {
		_ = conn.Close()
		return fmt.Errorf("collector: another one listens on %s", path)
	}
	return os.Remove(path)
}

func (c *collectorFlags) serve(ctx context.Context, conn *net.UnixConn) error {
	uid, err := wire.PeerUID(conn)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	if uid != 0 && int(uid) != os.Geteuid() && !slices.Contains(c.allowUIDs, uint(uid)) {
		return errors.Join(fmt.Errorf("user %d may not ask (--allow-uid %d allows it)", uid, uid), conn.Close())
	}
	mayClose := c.allowClose || uid == 0
	return wire.Serve(ctx, conn, func(ctx context.Context, req wire.Request, hello func(wire.Hello) error, sink tcp.Sink) error {
		if req.Op == wire.OpClose {
			return closeFor(req.Socket, mayClose, hello)
		}
		if !slices.Contains(append([]string{"auto", ""}, sourceNames...), req.Source) {
			return usagef("unknown source %q", req.Source)
		}
		return answer(ctx, req, hello, sink)
	})
}

// answer does what a consumer asked for, with a source of its own.
func answer(ctx context.Context, req wire.Request, hello func(wire.Hello) error, sink tcp.Sink) error {
	pick := choice{source: req.Source, netns: req.NetNS, once: req.Op == wire.OpOnce}
	return pick.with(func() {}, func(src tcp.Source, fell []string) error {
		h := wire.Hello{
			Source: src.Kind().String(), BootID: bootID(), Host: hostname(),
			Warning: partial(src.Kind(), req.NetNS, fell, ""),
		}
		if req.Op == wire.OpFeatures {
			h.Features = src.Features()
			return hello(h)
		}
		if err := hello(h); err != nil {
			return err
		}
		sink := newAttacher().sink(sink)
		if req.Op == wire.OpOnce {
			return src.Once(ctx, sink)
		}
		return src.Run(ctx, sink)
	})
}

func closeFor(s *wire.Socket, allowed bool, hello func(wire.Hello) error) error {
	if s == nil {
		return usagef("no socket to close was named")
	}
	if !allowed {
		return fmt.Errorf("closing sockets is not allowed to this user (--allow-close of the collector): %w", tcp.ErrPermission)
	}
	if err := hello(wire.Hello{}); err != nil {
		return err
	}
	local, err := tcp.AddrOf(s.Local)
	if err != nil {
		return err
	}
	remote, err := tcp.AddrOf(s.Remote)
	if err != nil {
		return err
	}
	key := tcp.Key{
		Tuple: tcp.Tuple{Local: local, Remote: remote, LocalPort: s.LocalPort, RemotePort: s.RemotePort},
		NetNS: s.NetNS,
	}
	ns, err := findNamespace(s.NetNS)
	if err != nil {
		return err
	}
	return sockdiag.Destroy(ns, key, s.Cookie)
}

// findNamespace finds a way into the namespace of an inode number.
func findNamespace(inode uint32) (netns.Namespace, error) {
	list, _, err := netns.List()
	if err != nil {
		return netns.Namespace{}, err
	}
	for _, ns := range list {
		if ns.Inode == inode {
			return ns, nil
		}
	}
	return netns.Namespace{}, fmt.Errorf("network namespace net:[%d]: %w", inode, os.ErrNotExist)
}
