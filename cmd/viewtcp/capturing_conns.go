package main

import (
	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// endedConns prints connections as they end.
type endedConns struct {
	p       *printer
	match   func(*tcp.Conn) bool
	dns     *resolver
	line    *output.EventLine // nil prints by p
	buf     []byte
	printed int
}

// connectionColumns are those of the lines of ended connections.
func connectionColumns() []output.Column {
	var cs []output.Column
	for _, n := range []string{
		"local", "remote", "pid", "process", "bytes_sent", "bytes_received", "packets_sent", "packets_received",
		"rtt_us", "initial_rtt_us", "retransmits", "conn_state", "close_reason",
	} {
		if c, ok := output.ColumnByName(n); ok {
			cs = append(cs, c)
		}
	}
	return cs
}

func newEndedConns(e env, c *common, match func(*tcp.Conn) bool) (*endedConns, error) {
	w := &endedConns{p: &printer{c: c, out: e.stdout}, match: match, dns: newResolver(c)}
	switch c.format {
	case formatTable, formatWide:
		usual := connectionColumns()
		if c.format == formatWide {
			usual = append(usual, output.WideColumns()...)
		}
		cols, err := c.tableColumns(usual)
		if err != nil {
			return nil, err
		}
		w.line = &output.EventLine{Columns: cols, Color: c.useColor(e.stdout)}
		if !c.noHeader {
			w.buf = w.line.AppendHeader(w.buf)
		}
		return w, nil
	}
	if err := w.p.encode(); err != nil {
		return nil, err
	}
	w.buf = w.p.appendHead(w.buf)
	return w, nil
}

func (w *endedConns) add(c *tcp.Conn) {
	if !w.match(c) {
		return
	}
	c = w.dns.name(c)
	if w.line != nil {
		e := tcp.Event{Time: c.Closed, Type: tcp.EventClosed, Conn: c}
		if c.Closed.IsZero() {
			e.Time, e.Type = c.Updated, tcp.EventChanged
		}
		w.buf = w.line.Append(w.buf, &e)
	} else {
		w.buf = w.p.appendConn(w.buf, c, w.printed)
	}
	w.printed++
}

func (w *endedConns) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	_, err := w.p.out.Write(w.buf)
	w.buf = w.buf[:0]
	return err
}

// end finishes the list.
func (w *endedConns) end() error {
	w.dns.close()
	w.buf = w.p.appendEnd(w.buf, w.printed)
	return w.flush()
}
