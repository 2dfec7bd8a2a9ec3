package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/viewtcp/viewtcp/internal/sockdiag"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/wire"
)

type closeFlags struct {
	common
	yes    bool
	dryRun bool
}

func newClose(e env) *cobra.Command {
	var c closeFlags
	cmd := &cobra.Command{
		Use:   "close FILTER|ID",
		Short: "Close sockets of this host, after asking",
		Long: `Close the sockets that match (SOCK_DESTROY): the process gets ECONNABORTED, the
peer a RST. The sockets are listed first and closed after confirmation or with
--yes. Each is named by its kernel cookie, so that a connection which takes the
same ports meanwhile is never hit. Needs CAP_NET_ADMIN.`,
		Example: `  viewtcp close state close-wait and process myapp
  viewtcp close c0k3v9q2m1t7ha --yes`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.setup(cmd); err != nil {
				return err
			}
			return closeSockets(cmd.Context(), e, &c, args)
		},
	}
	c.addSource(cmd.Flags())
	c.addOutput(cmd.Flags())
	cmd.Flags().BoolVarP(&c.yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&c.dryRun, "dry-run", false, "list what would be closed and stop")
	return cmd
}

func closeSockets(ctx context.Context, e env, c *closeFlags, args []string) error {
	f, err := c.parseFilter(args, filterOptions())
	if err != nil {
		return err
	}
	if f.MatchesAll() {
		return usagef("close: a filter or id is needed; to close everything say: viewtcp close state all")
	}
	p, err := newPrinter(e, &c.common)
	if err != nil {
		return err
	}
	snap, err := lookOnce(ctx, e, &c.common)
	if err != nil {
		return err
	}
	dns := newResolver(&c.common)
	defer dns.close()
	conns := dns.choose(ctx, snap.Conns, f)
	if len(conns) == 0 {
		e.warn("nothing matched")
		if c.failEmpty {
			return exitError{exitEmpty}
		}
		return nil
	}
	p.sort(conns)
	if err := p.print(conns); err != nil {
		return err
	}
	if c.dryRun {
		return nil
	}
	if !c.yes {
		ok, err := confirm(e, len(conns))
		if err != nil || !ok {
			return err
		}
	}
	return closeAll(ctx, e, c, conns)
}

// confirm asks on the terminal.
func confirm(e env, n int) (bool, error) {
	if !isTerminal(e.stdin) {
		return false, usagef("close: --yes is needed where nobody can be asked")
	}
	fmt.Fprintf(e.stderr, "Close %s? [y/N] ", sockets(n))
	line, err := bufio.NewReader(e.stdin).ReadString('\n')
	if err != nil && line == "" {
		return false, fmt.Errorf("close: reading the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true, nil
	}
	e.warn("nothing closed")
	return false, nil
}

func sockets(n int) string {
	if n == 1 {
		return "this socket"
	}
	return fmt.Sprintf("these %d sockets", n)
}

// closeAll closes each socket and tells how it went. Sockets that are gone
// meanwhile are no failure.
func closeAll(ctx context.Context, e env, c *closeFlags, conns []*tcp.Conn) error {
	destroy, err := destroyer(ctx, c)
	if err != nil {
		return err
	}
	var closed, gone int
	var failed []error
	for _, conn := range conns {
		err := destroy(conn)
		switch {
		case err == nil:
			closed++
		case errors.Is(err, os.ErrNotExist):
			gone++
		default:
			failed = append(failed, fmt.Errorf("%s: %w", conn.ID, err))
		}
	}
	msg := fmt.Sprintf("closed %d of %d", closed, len(conns))
	if gone > 0 {
		msg += fmt.Sprintf("; %d had ended already", gone)
	}
	e.warn(msg)
	for i, err := range failed {
		if i == 10 {
			e.warn(fmt.Sprintf("and %d failures more", len(failed)-i))
			break
		}
		e.warn(err.Error())
	}
	if len(failed) > 0 {
		if errors.Is(failed[0], tcp.ErrPermission) {
			return exitError{exitPermission}
		}
		return exitError{exitFailure}
	}
	return nil
}

// destroyer returns what closes one socket: here, or in the collector.
func destroyer(ctx context.Context, c *closeFlags) (func(*tcp.Conn) error, error) {
	if c.collector == "" {
		return func(conn *tcp.Conn) error {
			ns, err := findNamespace(conn.NetNS)
			if err != nil {
				return err
			}
			return sockdiag.Destroy(ns, conn.Key, conn.Cookie)
		}, nil
	}
	client, err := dialCollector(ctx, c.collector, c.source, c.netns)
	if err != nil {
		return nil, err
	}
	return func(conn *tcp.Conn) error {
		return client.CloseSocket(ctx, wire.Socket{
			Local: conn.Local.String(), LocalPort: conn.LocalPort,
			Remote: conn.Remote.String(), RemotePort: conn.RemotePort,
			NetNS: conn.NetNS, Cookie: conn.Cookie, IPv6: conn.IPv6,
		})
	}, nil
}
