package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/client"
	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tui"
)

// daemon finds the daemon that a command with these flags shows connections of;
// nil is none: it looks itself. Flags that say how to look are no question to a
// daemon, which looks in its own way.
func (c *common) daemon(ctx context.Context, d *daemonFlags) (*client.Client, error) {
	var how string
	switch {
	case c.source != "auto":
		how = "--source"
	case c.netns != "all":
		how = "--netns"
	case c.collector != "":
		how = "--collector"
	}
	if how == "" {
		return findDaemon(ctx, d)
	}
	if d.flags != nil && d.flags.Changed("server") {
		return nil, usagef("%s says how to look oneself, and --server asks a daemon, which looks in its own way: leave one of them out", how)
	}
	return nil, nil //nolint:nilnil // documented: there is none
}

// plain takes the names off a connection that a daemon gave it, for -n.
func (c *common) plain(conn *tcp.Conn) {
	if c.noNames && conn.Names != nil {
		conn.Names = &tcp.Names{Host: conn.Names.Host, Observer: conn.Names.Observer, Interface: conn.Names.Interface}
	}
}

// daemonFilter is the part of a filter that the daemon can apply: all of it, but
// for names that only this command asks DNS for.
func (c *common) daemonFilter(f *filter.Filter) string {
	if c.noNames || c.resolve {
		return ""
	}
	return f.String()
}

// listDaemon returns the connections that a daemon sees.
func listDaemon(ctx context.Context, e env, c *common, d *client.Client, f *filter.Filter) ([]*tcp.Conn, error) {
	l, err := d.List(ctx, c.daemonFilter(f), time.Time{})
	if err != nil {
		return nil, err
	}
	e.warn(l.Warning)
	for _, conn := range l.Conns {
		c.plain(conn)
	}
	return l.Conns, nil
}

// viewOptions say what a command follows of a daemon.
func (c *common) viewOptions(e env) client.ViewOptions {
	return client.ViewOptions{
		Conn: c.plain,
		Status: func(err error) {
			if err != nil {
				e.warn(err.Error() + "; trying again")
			} else {
				e.warn("the daemon is back")
			}
		},
	}
}

// watchDaemon prints the events that a daemon tells of.
func watchDaemon(ctx context.Context, e env, c *watchFlags, d *client.Client, f *filter.Filter, w *eventWriter) error {
	interrupted := ctx
	ctx, stop := c.limited(ctx)
	defer stop()
	h, err := d.Health(ctx)
	if err != nil {
		return err
	}
	e.warn(h.Warning)
	o := c.viewOptions(e)
	o.Filter = c.daemonFilter(f)
	o.Events = c.events
	v := d.View(ctx, o)
	defer v.Wait()
	defer stop()
	sub := v.Subscribe(readerBuffer)
	defer sub.Close()
	if err := v.Ready(ctx); err != nil {
		if ctx.Err() == nil {
			return err
		}
	} else if c.verbose {
		e.warn("watching, source " + h.Source + ", by the daemon at " + d.URL())
	}
	err = w.follow(sub)
	if c.verbose {
		e.warn(fmt.Sprintf("%d events printed", w.printed))
	}
	return c.outcome(interrupted, err, w.printed)
}

// topDaemon shows what a daemon sees, live.
func topDaemon(ctx context.Context, e env, c *topFlags, d *client.Client, f *filter.Filter) error {
	h, err := d.Health(ctx)
	if err != nil {
		return err
	}
	status := &daemonStatus{state: tui.Status{Warning: strings.TrimSpace(h.Warning)}}
	for k := tcp.SourceUnknown; k <= tcp.SourceCapture; k++ {
		if k.String() == h.Source {
			status.state.Source = k
		}
	}
	o := c.viewOptions(e)
	o.Rows, o.Status = true, status.tell
	ctx, end := context.WithCancel(ctx)
	defer end()
	v := d.View(ctx, o)
	defer v.Wait()
	defer end()
	names := newTopNames(c)
	defer names.close()
	cfg := topConfig(e, c, f, v, status.now, names)
	cfg.Host = h.Host
	if !d.Local() { // these are about this machine
		cfg.Parents, cfg.Counters, cfg.Capture, cfg.Close = nil, nil, nil, nil
	}
	return runTUI(ctx, e, cfg)
}
