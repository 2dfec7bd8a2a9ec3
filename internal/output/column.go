package output

import (
	"slices"
	"strconv"

	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/text"
)

// Column is a column of a table: a field, or an end of the connection as
// ADDRESS:PORT.
type Column struct {
	Name, Head string
	// Field is nil for the ends.
	Field *tcp.Field
	// Drop is the order in which columns are given up when the terminal is too
	// narrow, 1 first; 0 is never.
	Drop int
	// Right aligns numbers.
	Right bool
	// Append appends the text of a cell, clean.
	Append func(b []byte, c *tcp.Conn) []byte
}

// endColumns are the two ends; tables show them instead of four columns.
var endColumns = []Column{
	{Name: "local", Head: "LOCAL", Drop: 12, Append: func(b []byte, c *tcp.Conn) []byte {
		return text.AppendEnd(b, c.Local, c.LocalPort)
	}},
	{Name: "remote", Head: "REMOTE", Drop: 16, Append: func(b []byte, c *tcp.Conn) []byte {
		if c.State == tcp.Listen {
			return append(b, '*')
		}
		if c.Names != nil && c.Names.RemoteName != "" {
			b = AppendClean(b, c.Names.RemoteName)
			b = append(b, ':')
			return strconv.AppendUint(b, uint64(c.RemotePort), 10)
		}
		return text.AppendEnd(b, c.Remote, c.RemotePort)
	}},
}

func fieldColumn(f *tcp.Field) Column {
	right := false
	switch f.Kind {
	case tcp.KindUint, tcp.KindDuration, tcp.KindBytes, tcp.KindRate, tcp.KindPort:
		right = true
	default:
	}
	return Column{
		Name: f.Name, Head: f.Column, Field: f, Drop: f.Drop, Right: right,
		Append: func(b []byte, c *tcp.Conn) []byte { return AppendHuman(b, f, c) },
	}
}

// ColumnByName finds a column by any name of its field, or "local" or "remote";
// ok is false if there is none.
func ColumnByName(name string) (Column, bool) {
	for _, c := range endColumns {
		if c.Name == name {
			return c, true
		}
	}
	if f := tcp.FieldByName(name); f != nil {
		return fieldColumn(f), true
	}
	return Column{}, false
}

// DefaultColumns are the columns of a table, in the order of the registry, with
// the ends after the queues.
func DefaultColumns() []Column {
	fields := slices.DeleteFunc(slices.Clone(tcp.Fields()), func(f *tcp.Field) bool { return f.Table == 0 })
	slices.SortFunc(fields, func(a, b *tcp.Field) int { return a.Table - b.Table })
	var cs []Column
	for _, f := range fields {
		cs = append(cs, fieldColumn(f))
		if f.Name == "send_queue" {
			cs = append(cs, endColumns...)
		}
	}
	return cs
}

// wideNames are what -o wide adds to the default columns.
var wideNames = []string{
	"user", "service", "container", "unit", "direction", "attribution", "min_rtt_us", "cwnd",
	"mss", "send_rate", "receive_rate", "delivery_rate", "congestion_control", "opened",
	"closed_by", "close_reason", "netns", "source", "id",
}

// WideColumns are the columns of -o wide.
func WideColumns() []Column {
	cs := DefaultColumns()
	for _, n := range wideNames {
		if c, ok := ColumnByName(n); ok {
			cs = append(cs, c)
		}
	}
	for i := range cs {
		cs[i].Drop = 0
	}
	return cs
}
