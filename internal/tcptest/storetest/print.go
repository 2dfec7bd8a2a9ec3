package storetest

import (
	"strconv"

	"github.com/viewtcp/viewtcp/internal/store"
)

// Print writes all known columns of a row, in their order. Two rows are equal
// when they print the same.
func Print[T any](cols []store.Column[T], row *T) string {
	var b []byte
	for i := range cols {
		c := &cols[i]
		switch {
		case c.Num != nil:
			if v, ok := c.Num(row); ok {
				b = append(append(b, c.Name...), '=')
				b = append(strconv.AppendUint(b, v, 10), ' ')
			}
		case c.Str != nil:
			if v, ok := c.Str(row); ok {
				b = append(append(b, c.Name...), '=')
				b = append(strconv.AppendQuote(b, v), ' ')
			}
		default:
			if v, ok := c.Addr(row); ok {
				b = append(append(b, c.Name...), '=')
				b = append(v.AppendTo(b), ' ')
			}
		}
	}
	return string(b)
}
