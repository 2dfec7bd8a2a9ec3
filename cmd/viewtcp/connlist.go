package main

import (
	"cmp"
	"slices"

	"github.com/viewtcp/viewtcp/internal/analysis"
	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// analyzeColumns are the columns of a table of analysed connections, with the
// order in which a narrow terminal loses them (0: never).
var analyzeColumns = []struct {
	name string
	drop int
}{
	{"stream", 0},
	{"local", 0},
	{"remote", 0},
	{"process", 5},
	{"conn_state", 12},
	{"close_reason", 7},
	{"duration_us", 13},
	{"bytes_sent", 15},
	{"bytes_received", 16},
	{"packets_sent", 3},
	{"packets_received", 4},
	{"initial_rtt_us", 14},
	{"retransmits", 11},
	{"retransmissions", 10},
	{"out_of_order", 8},
	{"dup_acks", 6},
	{"zero_windows", 9},
	{"sni", 2},
	{"history", 1},
}

// connList prints connections as they end, or in order when all are known.
type connList struct {
	o *analyzed
	p *printer
	// rows are kept where they must be sorted or measured before they are
	// printed.
	keep bool
	rows []*tcp.Conn
	// details are the texts of -o wide, by stream.
	details map[uint32]string
	printed int
	buf     []byte
	err     error
}

func newConnList(o *analyzed) (*connList, error) {
	p, err := newPrinter(o.e, &o.a.common)
	if err != nil {
		return nil, err
	}
	l := &connList{o: o, p: p, keep: p.table != nil || o.a.sort != "" || o.a.reverse}
	if o.a.format == formatWide && o.a.columns == "" {
		l.details = make(map[uint32]string)
	} else if p.table != nil {
		var usual []output.Column
		for _, c := range analyzeColumns {
			col, ok := output.ColumnByName(c.name)
			if !ok || c.name == "process" {
				continue // a capture file has none
			}
			col.Drop = c.drop
			usual = append(usual, col)
		}
		if p.table.Columns, err = o.a.tableColumns(usual); err != nil {
			return nil, err
		}
	}
	if !l.keep {
		l.buf = p.appendHead(l.buf)
	}
	return l, nil
}

// add takes a connection that has ended.
func (l *connList) add(c *analysis.Conn, row *tcp.Conn) {
	if l.keep {
		kept := copyOf(row)
		l.rows = append(l.rows, kept)
		if l.details != nil {
			l.details[c.Stream] = string(appendDetail(nil, l.o.analyzer, c, kept))
		}
		return
	}
	if l.o.a.limit > 0 && l.printed >= l.o.a.limit {
		return
	}
	l.buf = l.p.appendConn(l.buf, row, l.printed)
	l.printed++
	if len(l.buf) >= flushAt {
		l.flush()
	}
}

func (l *connList) flush() {
	if l.err == nil {
		_, l.err = l.p.out.Write(l.buf)
	}
	l.buf = l.buf[:0]
}

// finish prints what was kept, and the end of the list.
func (l *connList) finish() error {
	if !l.keep {
		l.buf = l.p.appendEnd(l.buf, l.printed)
		l.flush()
		return l.err
	}
	// Connections that were replaced or timed out ended before earlier ones.
	slices.SortFunc(l.rows, func(a, b *tcp.Conn) int { return cmp.Compare(a.Packets.Stream, b.Packets.Stream) })
	l.p.order(l.rows, nil)
	rows := l.rows
	if n := l.o.a.limit; n > 0 && len(rows) > n {
		rows = rows[:n]
	}
	if l.details == nil {
		return l.p.print(rows)
	}
	for i, row := range rows {
		if i > 0 {
			l.buf = append(l.buf, '\n')
		}
		l.buf = append(l.buf, l.details[row.Packets.Stream]...)
		if len(l.buf) >= flushAt {
			l.flush()
		}
	}
	l.flush()
	return l.err
}
