package main

import (
	"io"

	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// endedConns prints connections as they end.
type endedConns struct {
	c       *common
	out     io.Writer
	match   func(*tcp.Conn) bool
	dns     *resolver
	json    *output.JSON
	csv     *output.CSV
	line    *output.EventLine
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
	w := &endedConns{c: c, out: e.stdout, match: match, dns: newResolver(c)}
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
	fields, err := c.fields()
	if err != nil {
		return nil, err
	}
	switch c.format {
	case formatCSV:
		w.csv = output.NewCSV(fields)
		if !c.noHeader {
			w.buf = w.csv.AppendHeader(w.buf)
		}
	case formatJSON:
		w.buf = append(w.buf, '[')
		w.json = output.NewJSON(fields)
	default:
		w.json = output.NewJSON(fields)
	}
	return w, nil
}

func (w *endedConns) add(c *tcp.Conn) {
	if !w.match(c) {
		return
	}
	c = w.dns.name(c)
	switch {
	case w.line != nil:
		e := tcp.Event{Time: c.Closed, Type: tcp.EventClosed, Conn: c}
		if c.Closed.IsZero() {
			e.Time, e.Type = c.Updated, tcp.EventChanged
		}
		w.buf = w.line.Append(w.buf, &e)
	case w.csv != nil:
		w.buf = w.csv.AppendConn(w.buf, c)
	case w.c.format == formatJSON:
		if w.printed > 0 {
			w.buf = append(w.buf, ',')
		}
		w.buf = w.json.AppendConn(append(w.buf, '\n'), c)
	default:
		w.buf = append(w.json.AppendConn(w.buf, c), '\n')
	}
	w.printed++
}

func (w *endedConns) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	_, err := w.out.Write(w.buf)
	w.buf = w.buf[:0]
	return err
}

// end finishes the list.
func (w *endedConns) end() error {
	w.dns.close()
	if w.c.format == formatJSON {
		if w.printed > 0 {
			w.buf = append(w.buf, '\n')
		}
		w.buf = append(w.buf, "]\n"...)
	}
	return w.flush()
}
