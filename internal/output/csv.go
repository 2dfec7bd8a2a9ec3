package output

import (
	"strconv"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// CSV writes connections as comma-separated lines (RFC 4180, but with \n).
// Unknown values are empty.
type CSV struct {
	fields  []*tcp.Field
	scratch []byte
}

// NewCSV returns a writer of the given fields.
func NewCSV(fields []*tcp.Field) *CSV { return &CSV{fields: fields} }

// AppendHeader appends the line of names. Lead names columns before the fields.
func (w *CSV) AppendHeader(b []byte, lead ...string) []byte {
	for _, name := range lead {
		b = append(append(b, name...), ',')
	}
	for i, f := range w.fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, f.Name...)
	}
	return append(b, '\n')
}

// AppendConn appends one line.
func (w *CSV) AppendConn(b []byte, c *tcp.Conn) []byte {
	for i, f := range w.fields {
		if i > 0 {
			b = append(b, ',')
		}
		if c == nil {
			continue
		}
		var ok bool
		if w.scratch, ok = f.AppendText(w.scratch[:0], c); !ok {
			continue
		}
		if f.Str == nil {
			b = append(b, w.scratch...)
			continue
		}
		b = appendCell(b, string(w.scratch))
	}
	return append(b, '\n')
}

// AppendEvent appends an event: its type, sequence number and time, and then the
// fields of its connection.
func (w *CSV) AppendEvent(b []byte, e *tcp.Event) []byte {
	b = append(b, e.Type.String()...)
	b = append(b, ',')
	b = strconv.AppendUint(b, e.Seq, 10)
	b = append(b, ',')
	b = tcp.AppendTime(b, e.Time.Wall)
	b = append(b, ',')
	return w.AppendConn(b, e.Conn)
}

// AppendCSVText appends a text cell, quoted where it must be, clean, and never a
// spreadsheet's formula.
func AppendCSVText(b []byte, s string) []byte { return appendCell(b, s) }

// appendCell appends a text cell. A text that a spreadsheet would take for a
// formula gets a leading apostrophe.
func appendCell(b []byte, s string) []byte {
	if s == "" {
		return b
	}
	quote := false
	if c := s[0]; c == '=' || c == '+' || c == '-' || c == '@' || c == '\t' || c == '\r' {
		s = "'" + s
	}
	s = Clean(s)
	for i := range len(s) {
		if c := s[i]; c == ',' || c == '"' || c == '\'' {
			quote = true
			break
		}
	}
	if !quote {
		return append(b, s...)
	}
	b = append(b, '"')
	for i := range len(s) {
		if s[i] == '"' {
			b = append(b, '"')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}
