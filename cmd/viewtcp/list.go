package main

import (
	"cmp"
	"context"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

func newList(e env) *cobra.Command {
	var c common
	var at string
	var d daemonFlags
	var from bundleFlag
	cmd := &cobra.Command{
		Use:   "list [FILTER]",
		Short: "Print the connections of this moment",
		Example: `  viewtcp list
  viewtcp list state established and dport = :443
  viewtcp list process ~ '^nginx' and 'rtt > 50ms' --sort rtt
  viewtcp list -o jsonl | jq .remote_ip
  viewtcp list --at 'yesterday 14:00' process nginx`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.setup(cmd); err != nil {
				return err
			}
			if from.path != "" {
				return from.with(cmd.Context(), &d, func(o *openedBundle) error {
					return listThen(cmd.Context(), e, &c, &d, cmp.Or(at, "now"), args, o.end())
				})
			}
			if at != "" {
				return listAt(cmd.Context(), e, &c, &d, at, args)
			}
			collectLate()
			return list(cmd.Context(), e, &c, &d, args)
		},
	}
	c.addSource(cmd.Flags())
	c.addOutput(cmd.Flags())
	c.addOrder(cmd.Flags())
	d.add(cmd.Flags())
	from.add(cmd.Flags())
	cmd.Flags().StringVar(&at, "at", "", `as it was then, from history: 2h (ago), "yesterday 14:00", 2026-11-20T14:05:00Z`)
	return cmd
}

func list(ctx context.Context, e env, c *common, d *daemonFlags, args []string) error {
	f, err := c.parseFilter(args, filterOptions())
	if err != nil {
		return err
	}
	p, err := newPrinter(e, c)
	if err != nil {
		return err
	}
	all, err := connsNow(ctx, e, c, d, f)
	if err != nil {
		return err
	}
	dns := newResolver(c)
	defer dns.close()
	conns := dns.choose(ctx, all, f)
	p.sort(conns)
	if c.limit > 0 && len(conns) > c.limit {
		conns = conns[:c.limit]
	}
	if err := p.print(conns); err != nil {
		return err
	}
	if c.failEmpty && len(conns) == 0 {
		return exitError{exitEmpty}
	}
	return nil
}

// connsNow asks the daemon, if there is one, or looks. The daemon has applied the
// filter, as far as it can.
func connsNow(ctx context.Context, e env, c *common, d *daemonFlags, f *filter.Filter) ([]*tcp.Conn, error) {
	daemon, err := c.daemon(ctx, d)
	if err != nil {
		return nil, err
	}
	if daemon != nil {
		defer daemon.Close()
		return listDaemon(ctx, e, c, daemon, f)
	}
	h, err := lookOnce(ctx, e, c)
	if err != nil {
		return nil, err
	}
	return h.Conns, nil
}

// selectConns returns the matching connections in a slice of its own.
func selectConns(all []*tcp.Conn, f *filter.Filter) []*tcp.Conn {
	match := f.Predicate()
	conns := make([]*tcp.Conn, 0, len(all))
	for _, c := range all {
		if match(c) {
			conns = append(conns, c)
		}
	}
	return conns
}

// printer writes a list of connections in the chosen format.
type printer struct {
	c      *common
	out    io.Writer
	json   *output.JSON
	csv    *output.CSV
	table  *output.Table
	sorter *tcp.Field
}

func newPrinter(e env, c *common) (*printer, error) {
	p := &printer{c: c, out: e.stdout}
	if c.sort != "" {
		p.sorter = tcp.FieldByName(c.sort)
	}
	switch c.format {
	case formatTable, formatWide:
		usual := output.DefaultColumns()
		limit := width(e.stdout)
		if c.format == formatWide {
			usual, limit = output.WideColumns(), 0
		}
		cols, err := c.tableColumns(usual)
		if err != nil {
			return nil, err
		}
		p.table = &output.Table{Columns: cols, Width: limit, NoHeader: c.noHeader, Color: c.useColor(e.stdout)}
		return p, nil
	}
	return p, p.encode()
}

// encode makes a printer of CSV or JSON, whichever was asked for.
func (p *printer) encode() error {
	fields, err := p.c.fields()
	if err != nil {
		return err
	}
	if p.c.format == formatCSV {
		p.csv = output.NewCSV(fields)
	} else {
		p.json = output.NewJSON(fields)
	}
	return nil
}

// sort orders a list as asked. A table that nobody ordered has listeners first
// and then goes by process and remote end; other formats keep the source's order.
func (p *printer) sort(conns []*tcp.Conn) {
	usual := usualOrder
	if p.table == nil {
		usual = nil
	}
	p.order(conns, usual)
}

// order sorts by the field that was asked for, else by usual, if there is one.
func (p *printer) order(conns []*tcp.Conn, usual func(a, b *tcp.Conn) int) {
	if p.sorter != nil {
		slices.SortStableFunc(conns, p.sorter.Order(p.c.reverse))
		return
	}
	if usual != nil {
		slices.SortStableFunc(conns, usual)
	}
	if p.c.reverse {
		slices.Reverse(conns)
	}
}

func usualOrder(a, b *tcp.Conn) int {
	return cmp.Or(
		cmp.Compare(stateRank(a.State), stateRank(b.State)),
		cmp.Compare(processName(a), processName(b)),
		a.Remote.IP().Compare(b.Remote.IP()),
		cmp.Compare(a.RemotePort, b.RemotePort),
		cmp.Compare(a.LocalPort, b.LocalPort),
	)
}

func stateRank(s tcp.State) int {
	switch s {
	case tcp.Listen:
		return 0
	case tcp.TimeWait:
		return 2
	default:
		return 1
	}
}

func processName(c *tcp.Conn) string {
	if c.Process == nil {
		return "\U0010ffff" // after all names
	}
	return c.Process.Name
}

// flushAt is how much output is gathered before it is written.
const flushAt = 256 << 10

func (p *printer) print(conns []*tcp.Conn) error {
	if p.table != nil {
		_, err := p.out.Write(p.table.Append(nil, conns))
		return err
	}
	b := p.appendHead(make([]byte, 0, flushAt+64<<10))
	for i, c := range conns {
		b = p.appendConn(b, c, i)
		if len(b) >= flushAt {
			if _, err := p.out.Write(b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	_, err := p.out.Write(p.appendEnd(b, len(conns)))
	return err
}

// appendHead appends what stands before all connections in CSV and JSON.
func (p *printer) appendHead(b []byte) []byte {
	switch {
	case p.c.format == formatJSON:
		return append(b, '[')
	case p.csv != nil && !p.c.noHeader:
		return p.csv.AppendHeader(b)
	}
	return b
}

// appendConn appends a connection in CSV or JSON, behind n others.
func (p *printer) appendConn(b []byte, c *tcp.Conn, n int) []byte {
	switch {
	case p.csv != nil:
		return p.csv.AppendConn(b, c)
	case p.c.format == formatJSON:
		return p.json.AppendConn(appendElement(b, n), c)
	}
	return append(p.json.AppendConn(b, c), '\n')
}

// appendEnd appends what stands behind all n connections in CSV and JSON.
func (p *printer) appendEnd(b []byte, n int) []byte {
	if p.c.format == formatJSON {
		return appendArrayEnd(b, n)
	}
	return b
}

// appendElement appends what parts an element of a JSON array, which gets a line
// of its own, from the n before it.
func appendElement(b []byte, n int) []byte {
	if n > 0 {
		b = append(b, ',')
	}
	return append(b, '\n')
}

// appendArrayEnd ends a JSON array of n such elements.
func appendArrayEnd(b []byte, n int) []byte {
	if n > 0 {
		b = append(b, '\n')
	}
	return append(b, "]\n"...)
}
