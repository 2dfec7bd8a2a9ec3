package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/viewtcp/viewtcp/internal/client"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// daemonFlags say which daemon a command asks.
type daemonFlags struct {
	server string
	local  bool
	// flags has --data, which other parts of a command may have defined.
	flags *pflag.FlagSet
}

// add defines the flags. It comes after whatever else defines --data.
func (d *daemonFlags) add(fs *pflag.FlagSet) {
	d.flags = fs
	fs.StringVar(&d.server, "server", os.Getenv("VIEWTCP_SERVER"), "ask the daemon at this URL, and nobody else (its token: VIEWTCP_TOKEN, else that of the data directory)")
	fs.BoolVar(&d.local, "local", false, "ask no daemon: look oneself")
	if fs.Lookup("data") == nil {
		fs.String("data", "", "data directory of the daemon to ask (default VIEWTCP_DATA, else the usual one)")
	}
}

// data is the value of --data.
func (d *daemonFlags) data() string {
	if d.flags == nil {
		return ""
	}
	if f := d.flags.Lookup("data"); f != nil {
		return f.Value.String()
	}
	return ""
}

// named reports whether the user named the daemon on the command line.
func (d *daemonFlags) named() bool {
	return d.flags != nil && (d.flags.Changed("server") || d.flags.Changed("data"))
}

const (
	// localWait is how long the daemon of this host may take to answer before a
	// command does without it, serverWait one that was named.
	localWait  = 500 * time.Millisecond
	serverWait = 10 * time.Second
)

// findDaemon returns a client of the daemon that the flags name, or of the one
// that works on the data directory; nil when there is none. Its error wraps
// tcp.ErrPermission when the token is refused or cannot be read.
//
// The token goes only to a server that shows first that it knows it: another
// program may listen where a daemon that was killed did.
func findDaemon(ctx context.Context, d *daemonFlags) (*client.Client, error) {
	switch {
	case d.local && d.flags != nil && d.flags.Changed("server"):
		return nil, usagef("--local asks nobody, and --server asks a daemon: give one of them")
	case d.local:
		return nil, nil //nolint:nilnil // documented: there is none
	case d.server != "":
		return d.remote(ctx)
	}
	dir, err := dataDir(d.data())
	if err != nil {
		return nil, err
	}
	info, err := readDaemonInfo(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil //nolint:nilnil // documented: there is none
	case errors.Is(err, fs.ErrPermission) && !d.named():
		return nil, nil //nolint:nilnil // somebody else's
	case err != nil:
		return nil, fmt.Errorf("finding the daemon of %s: %w", dir, err)
	}
	token, tokenErr := readToken(dir)
	c, err := client.New(info.Address, token)
	if err != nil {
		return nil, fmt.Errorf("finding the daemon of %s: %w", dir, err)
	}
	ctx, cancel := context.WithTimeout(ctx, localWait)
	defer cancel()
	err = c.Ready(ctx)
	switch {
	case tokenErr != nil && (err == nil || errors.Is(err, tcp.ErrPermission)):
		c.Close()
		return nil, fmt.Errorf("a daemon runs, but its token cannot be read (--local does without it): %w", tokenErr)
	case errors.Is(err, tcp.ErrPermission):
		c.Close()
		return nil, fmt.Errorf("%w: %s has another (--local does without it)", err, dir)
	case err != nil: // it was killed, or is not ready yet
		c.Close()
		return nil, nil //nolint:nilerr,nilnil // documented: there is none
	}
	return c, nil
}

// remote returns a client of the server that was named.
func (d *daemonFlags) remote(ctx context.Context) (*client.Client, error) {
	token := os.Getenv("VIEWTCP_TOKEN")
	if token == "" {
		dir, err := dataDir(d.data())
		if err != nil {
			return nil, err
		}
		token, err = readToken(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("the token of %s is not known: put it into VIEWTCP_TOKEN, or name the data directory that has it with --data: %w", d.server, tcp.ErrPermission)
		case err != nil:
			return nil, err
		}
	}
	c, err := client.New(d.server, token)
	if err != nil {
		return nil, usageError{err}
	}
	ctx, cancel := context.WithTimeout(ctx, serverWait)
	defer cancel()
	if err := c.Ready(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}
