package tui

import (
	"strconv"

	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/text"
)

// column is a column of the table: a field, or an end as ADDRESS:PORT.
type column struct {
	name, head, doc string
	// field is nil for the ends.
	field *tcp.Field
	right bool
	// least and most are the limits of its width.
	least, most int
	// end says that the text ends in a port, which a cut shall spare.
	end bool
	// value appends the text of a cell; it need not be clean.
	value func(b []byte, c *tcp.Conn) []byte
}

// defaultColumns are the usual ones, the most important first: a narrow terminal
// loses the last.
var defaultColumns = []string{
	"process", "pid", "remote", "local", "state", "rtt_us", "retransmits", "receive_rate", "send_rate",
	"bytes_received", "bytes_sent", "cwnd", "duration_us", "country", "asn",
}

// columnByName finds a column by any name of its field, or "local" or "remote";
// nil if there is none.
func columnByName(name string) *column {
	switch name {
	case "local":
		return &column{
			name: name, head: "LOCAL", doc: "Address and port of the end on this host.", least: 15, most: 47, end: true,
			value: func(b []byte, c *tcp.Conn) []byte { return text.AppendEnd(b, c.Local, c.LocalPort) },
		}
	case "remote":
		return &column{
			name: name, head: "REMOTE", doc: "Address and port of the other end, its name where that is known; the accept queue of listeners.",
			least: 21, most: 47, end: true, value: appendRemote,
		}
	}
	f := tcp.FieldByName(name)
	if f == nil {
		return nil
	}
	col := &column{name: f.Name, head: f.Column, doc: f.Doc, field: f}
	col.value = func(b []byte, c *tcp.Conn) []byte { return appendValue(b, f, c) }
	col.least, col.most, col.right = fieldWidth(f)
	col.least = max(col.least, min(len(col.head), 9))
	col.most = max(col.most, len(col.head))
	return col
}

// fieldWidth is how wide the values of a field usually are and may become.
func fieldWidth(f *tcp.Field) (least, most int, right bool) {
	switch f.Kind {
	case tcp.KindUint:
		if f.Name == "pid" {
			return 5, 10, true
		}
		return 5, 12, true
	case tcp.KindPort:
		return 5, 5, true
	case tcp.KindBytes:
		return 5, 6, true
	case tcp.KindRate:
		return 7, 8, true
	case tcp.KindDuration:
		return 6, 7, true
	case tcp.KindBool:
		return 3, 5, false
	case tcp.KindState:
		return 11, 11, false
	case tcp.KindTime:
		return 23, 23, false
	case tcp.KindID:
		return 14, 14, false
	case tcp.KindCookie:
		return 10, 20, true
	case tcp.KindAddr:
		return 13, 39, false
	case tcp.KindEnum:
		return 4, 14, false
	default:
	}
	switch f.Name {
	case "process":
		return 10, 20, false
	case "cmdline", "exe", "cgroup":
		return 16, 80, false
	case "country":
		return 2, 2, false
	}
	return 6, 32, false
}

// appendValue appends a value as people read it. What is worked out rather than
// seen is marked.
func appendValue(b []byte, f *tcp.Field, c *tcp.Conn) []byte {
	if outlived(f, c) {
		return append(b, text.Unknown...)
	}
	switch f.Name {
	case "duration_us":
		if !c.OpenedExact && !c.Opened.IsZero() {
			b = append(b, '~')
		}
	case "process":
		if c.Attribution == tcp.AttributionInherited && c.Process != nil {
			b = append(b, '~')
		}
	}
	return text.AppendHuman(b, f, c)
}

// outlived reports whether the last value of a field says nothing any more: what
// has ended sends and receives nothing, whatever its rate was.
func outlived(f *tcp.Field, c *tcp.Conn) bool {
	return !c.Closed.IsZero() && (f.Name == "receive_rate" || f.Name == "send_rate")
}

func appendRemote(b []byte, c *tcp.Conn) []byte {
	if c.State == tcp.Listen {
		b = append(b, '*')
		if c.Has&tcp.HasAcceptQueue != 0 {
			b = append(b, " queue "...)
			b = strconv.AppendUint(b, uint64(c.Metrics.AcceptQueue), 10)
			if c.Has&tcp.HasBacklog != 0 {
				b = append(b, '/')
				b = strconv.AppendUint(b, uint64(c.Metrics.Backlog), 10)
			}
		}
		return b
	}
	if c.Names != nil && c.Names.RemoteName != "" {
		b = append(b, c.Names.RemoteName...)
		b = append(b, ':')
		return strconv.AppendUint(b, uint64(c.RemotePort), 10)
	}
	return text.AppendEnd(b, c.Remote, c.RemotePort)
}

// columnsByName makes columns of names; unknown ones are left out, as a layout of
// another version may have them.
func columnsByName(names []string) []*column {
	var cs []*column
	for _, n := range names {
		if c := columnByName(n); c != nil {
			cs = append(cs, c)
		}
	}
	return cs
}

// changed reports whether a cell differs between two views of a connection.
func (col *column) changed(was, is *tcp.Conn) bool {
	f := col.field
	if f == nil || was == nil || f.Name == "duration_us" {
		return false
	}
	switch {
	case f.Num != nil:
		x, xok := f.Num(was)
		y, yok := f.Num(is)
		return x != y || xok != yok
	case f.Str != nil:
		x, xok := f.Str(was)
		y, yok := f.Str(is)
		return x != y || xok != yok
	}
	return false
}

// fit chooses widths: want is what the cells need. Columns are lost from the
// right until the rest fits: numbers, which must not be cut, with all their
// digits, texts with their least widths, and who is connected to whom uncut as
// long as enough other columns stay.
func fit(cols []*column, want []int, room, gap int) []int {
	const enough = 8
	var got []int
	used := 0
	for i, c := range cols {
		w, space := c.least, gap
		if c.right {
			w = max(w, min(want[i], c.most))
		}
		if i == 0 {
			space = 0
		}
		if used+space+w > room && i > 0 {
			break
		}
		used += space + w
		got = append(got, w)
	}
	short := func() (d int) {
		for i := range got {
			if cols[i].end || cols[i].name == "process" {
				d += max(min(want[i], cols[i].most)-got[i], 0)
			}
		}
		return d
	}
	left := room - used
	for len(got) > enough && short() > left {
		left += got[len(got)-1] + gap
		got = got[:len(got)-1]
	}
	for i := range got {
		more := min(max(min(want[i], cols[i].most)-got[i], 0), max(left, 0))
		got[i] += more
		left -= more
	}
	return got
}
