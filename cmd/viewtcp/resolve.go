package main

import (
	"context"

	"github.com/viewtcp/viewtcp/internal/enrich"
	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// resolver asks DNS for the names of remote ends; nil asks nothing.
type resolver struct{ dns *enrich.ReverseDNS }

// newResolver returns the resolver that the flags ask for: none without
// --resolve, so that ViewTCP causes no traffic unasked.
func newResolver(c *common) *resolver {
	if !c.resolve || c.noNames {
		return nil
	}
	return &resolver{dns: enrich.NewReverseDNS(enrich.DefaultReverseConfig())}
}

func (r *resolver) close() {
	if r != nil {
		_ = r.dns.Close()
	}
}

// name returns the connection with the name of its remote end, if DNS has
// answered; else it asks, and returns the connection as it is.
func (r *resolver) name(c *tcp.Conn) *tcp.Conn {
	if r == nil || c == nil || c.State == tcp.Listen {
		return c
	}
	name, ok := r.dns.Lookup(c.Remote)
	if !ok || name == "" {
		return c
	}
	named, names := *c, tcp.Names{}
	if c.Names != nil {
		names = *c.Names
	}
	names.RemoteName = name
	named.Names = &names
	return &named
}

// all names connections, waiting for the answers. When it is interrupted, what
// is known must do.
func (r *resolver) all(ctx context.Context, conns []*tcp.Conn) []*tcp.Conn {
	if r == nil {
		return conns
	}
	for _, c := range conns {
		r.name(c)
	}
	_ = r.dns.Wait(ctx)
	named := make([]*tcp.Conn, len(conns))
	for i, c := range conns {
		named[i] = r.name(c)
	}
	return named
}

// choose returns the matching connections with their names. All of them are
// named first only where the filter needs it.
func (r *resolver) choose(ctx context.Context, all []*tcp.Conn, f *filter.Filter) []*tcp.Conn {
	if r == nil {
		return selectConns(all, f)
	}
	for _, field := range f.Fields(nil) {
		if field.Name == "remote_name" {
			return selectConns(r.all(ctx, all), f)
		}
	}
	return r.all(ctx, selectConns(all, f))
}
