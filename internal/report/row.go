package report

import (
	"encoding/binary"
	"slices"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// row is one connection of the table. Its cells are, for each field known: the
// index of the field, then a number, or the length of a text and the text; all
// numbers as unsigned varints.
type row struct {
	interest interest
	cells    []byte
}

func (c *Collector) encodeRow(conn *tcp.Conn, in interest) row {
	b := c.scratch[:0]
	for i, f := range c.fields {
		switch {
		case f.Num != nil:
			if v, ok := f.Num(conn); ok {
				b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(i)), v)
			}
		case f.Str != nil:
			if s, ok := f.Str(conn); ok {
				s = s[:min(len(s), maxText)]
				b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(i)), uint64(len(s)))
				b = append(b, s...)
			}
		default:
			if a, ok := f.Addr(conn); ok {
				var text [46]byte
				s := a.AppendTo(text[:0])
				b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(i)), uint64(len(s)))
				b = append(b, s...)
			}
		}
	}
	c.scratch = b
	return row{interest: in, cells: slices.Clone(b)}
}

// maxText bounds a text of a row: a command line may be megabytes long.
const maxText = 1024

// each calls yield for the cells of a row; text is only set for fields of text.
func (r *row) each(fields []*tcp.Field, yield func(field int, num uint64, text []byte)) {
	for b := r.cells; len(b) > 0; {
		i, n := binary.Uvarint(b)
		b = b[n:]
		v, n := binary.Uvarint(b)
		b = b[n:]
		if fields[i].Num != nil {
			yield(int(i), v, nil)
			continue
		}
		yield(int(i), 0, b[:v])
		b = b[v:]
	}
}

// defaultColumns are the fields that the table begins with, if any connection
// has them.
var defaultColumns = []string{
	"opened", "process", "local_ip", "local_port", "remote_ip", "remote_port", "state", "conn_state",
	"duration_us", "packets_sent", "packets_received", "bytes_sent", "bytes_received",
	"initial_rtt_us", "rtt_p50_sent_us", "rtt_p95_sent_us", "rtt_p50_received_us", "rtt_p95_received_us",
	"retransmissions", "dup_acks", "out_of_order", "zero_windows", "close_reason", "sni",
}

// appendCell appends a cell as JSON. Times become nanoseconds after base, since
// the numbers of a browser are exact to 2^53 only; larger counts are strings.
func appendCell(b []byte, f *tcp.Field, num uint64, text []byte, base int64) []byte {
	switch {
	case f.Num == nil:
		return appendString(b, string(text))
	case f.Kind == tcp.KindTime:
		return appendInt(b, int64(num)-base)
	case f.Kind == tcp.KindBool:
		return appendUint(b, num)
	case f.Kind == tcp.KindState, f.Kind == tcp.KindID, f.Kind == tcp.KindCookie:
		b = append(b, '"')
		b = f.AppendNum(b, num)
		return append(b, '"')
	case num > 1<<53:
		return appendUint(b, 1<<53)
	default:
		return appendUint(b, num)
	}
}
