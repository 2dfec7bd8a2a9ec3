package main

import (
	"context"
	"slices"

	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// historyColumns are the columns of a table of stored connections, with the order
// in which a narrow terminal loses them (0: never).
var historyColumns = []struct {
	name string
	drop int
}{
	{"opened", 9},
	{"duration_us", 8},
	{"state", 6},
	{"local", 4},
	{"remote", 0},
	{"rtt_us", 7},
	{"retransmits", 3},
	{"bytes_sent", 11},
	{"bytes_received", 12},
	{"close_reason", 5},
	{"pid", 2},
	{"process", 10},
	{"id", 1},
}

// historyPrinter is newPrinter with the columns of history.
func historyPrinter(e env, c *common) (*printer, error) {
	p, err := newPrinter(e, c)
	if err != nil || p.table == nil || c.format == formatWide {
		return p, err
	}
	var usual []output.Column
	for _, h := range historyColumns {
		if col, ok := output.ColumnByName(h.name); ok {
			col.Drop = h.drop
			usual = append(usual, col)
		}
	}
	p.table.Columns, err = c.tableColumns(usual)
	return p, err
}

// needed are the fields that the printer shows, and a filter or order needs.
func (p *printer) needed() ([]*tcp.Field, error) {
	if p.table == nil {
		if p.c.columns == "" {
			return nil, nil
		}
		return p.c.fields()
	}
	var fs []*tcp.Field
	add := func(names ...string) {
		for _, n := range names {
			if f := tcp.FieldByName(n); f != nil && !slices.Contains(fs, f) {
				fs = append(fs, f)
			}
		}
	}
	for _, col := range p.table.Columns {
		switch {
		case col.Field != nil:
			add(col.Field.Name)
		default:
			add(col.Name+"_ip", col.Name+"_port", "remote_name")
		}
	}
	add("state")
	if p.sorter != nil {
		add(p.sorter.Name)
	}
	return fs, nil
}

// connectionsView lists the connections of the range.
func (x *question) connectionsView() (func(context.Context) error, error) {
	p, err := historyPrinter(x.e, &x.h.common)
	if err != nil {
		return nil, err
	}
	if x.q.Fields, err = p.needed(); err != nil {
		return nil, err
	}
	x.q.Limit, x.q.Reverse = x.h.limit, x.h.reverse
	if f := p.sorter; f != nil {
		x.q.OrderBy, x.q.Reverse = f, f.LargestFirst() != x.h.reverse // as list does it
	}
	return func(ctx context.Context) error {
		l := &storedList{x: x, p: p}
		if !l.keeps() {
			l.buf = p.appendHead(l.buf)
		}
		a, err := x.ask.Connections(ctx, &x.q, l.add)
		if err != nil {
			return err
		}
		if err := l.finish(ctx); err != nil {
			return err
		}
		return x.foot(a, l.n, "connections")
	}, nil
}

// topConnections lists the connections that are largest by a field.
func (x *question) topConnections() (func(context.Context) error, error) {
	if x.h.by == "" {
		return nil, usagef("--top %d: by what? Add --by bytes_sent, or --group-by FIELD for the groups with most connections", x.h.top)
	}
	f := tcp.FieldByName(x.h.by)
	if f == nil {
		return nil, usagef("--by %s: connections have no such field%s", x.h.by, didYouMean(x.h.by))
	}
	x.h.sort, x.h.limit = f.Name, x.h.top
	return x.connectionsView()
}

// A storedList prints connections in the order in which they come: tables when
// all are known, other formats at once.
type storedList struct {
	x    *question
	p    *printer
	rows []*tcp.Conn
	buf  []byte
	n    int
}

// keeps reports whether rows must be kept until all are known.
func (l *storedList) keeps() bool { return l.p.table != nil || l.p.c.resolve }

func (l *storedList) add(r *store.Record) error {
	l.x.ask.progress.row()
	l.n++
	if l.keeps() {
		l.rows = append(l.rows, keptConn(l.p.c, r))
		return nil
	}
	l.buf = l.p.appendConn(l.buf, storedConn(l.p.c, r), l.n-1)
	if len(l.buf) < flushAt {
		return nil
	}
	return l.flush()
}

func (l *storedList) flush() error {
	_, err := l.p.out.Write(l.buf)
	l.buf = l.buf[:0]
	return err
}

// finish prints what was kept, and the end of the list.
func (l *storedList) finish(ctx context.Context) error {
	l.x.ask.progress.stop()
	if l.keeps() {
		dns := newResolver(l.p.c)
		defer dns.close()
		return l.p.print(dns.all(ctx, l.rows))
	}
	l.buf = l.p.appendEnd(l.buf, l.n)
	return l.flush()
}

// storedConn is the connection of a row as it is printed, valid as long as the
// row: with the host that saw it, and with -n without names.
func storedConn(c *common, r *store.Record) *tcp.Conn {
	conn := *r.Conn
	conn.Names = storedNames(c, r)
	return &conn
}

// storedNames are the names of the connection of a row, in memory of their own.
func storedNames(c *common, r *store.Record) *tcp.Names {
	names := tcp.Names{}
	if r.Conn.Names != nil {
		names = *r.Conn.Names
	}
	if c.noNames {
		names = tcp.Names{Observer: names.Observer, Interface: names.Interface, SampleRate: names.SampleRate}
	}
	if r.Host != "" {
		names.Host = r.Host
	}
	return &names
}

// keptConn is storedConn for longer than the row is valid.
func keptConn(c *common, r *store.Record) *tcp.Conn {
	conn := r.Conn.Clone()
	conn.Names = storedNames(c, r)
	return conn
}
