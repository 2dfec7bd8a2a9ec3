package api

import (
	"fmt"
	"strconv"

	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// AppendColumns appends a row of a table of the store as a flat object with the
// names of its columns. What is unknown is left out.
func AppendColumns[T any](b []byte, cols []store.Column[T], row *T) []byte {
	b = append(b, '{')
	first := true
	for i := range cols {
		c := &cols[i]
		switch {
		case c.Num != nil:
			if v, ok := c.Num(row); ok {
				b, first = appendKey(b, c.Name, first)
				b = appendTyped(b, c.Type, v)
			}
		case c.Str != nil:
			if s, ok := c.Str(row); ok {
				b, first = appendKey(b, c.Name, first)
				b = output.AppendJSONString(b, s)
			}
		default:
			if a, ok := c.Addr(row); ok {
				b, first = appendKey(b, c.Name, first)
				b = append(a.AppendTo(append(b, '"')), '"')
			}
		}
	}
	return append(b, '}')
}

func appendTyped(b []byte, typ store.Type, v uint64) []byte {
	switch typ {
	case store.Time:
		return appendMoment(b, int64(v))
	case store.ID:
		return append(tcp.ID(v).AppendTo(append(b, '"')), '"')
	case store.Bool:
		return strconv.AppendBool(b, v != 0)
	default:
		return strconv.AppendUint(b, v, 10)
	}
}

// ReadColumns reads what AppendColumns wrote into row. Keys that are no columns are
// passed over.
func ReadColumns[T any](cols []store.Column[T], data []byte, row *T) error {
	return scanObject(data, func(key []byte, v value) error {
		if v.kind == valueNull {
			return nil
		}
		for i := range cols {
			if c := &cols[i]; c.Name == string(key) {
				if err := setColumn(c, v, row); err != nil {
					return fmt.Errorf("reading %s: %w", c.Name, err)
				}
			}
		}
		return nil
	})
}

func setColumn[T any](c *store.Column[T], v value, row *T) error {
	switch {
	case c.SetStr != nil:
		c.SetStr(row, string(v.raw))
	case c.SetAddr != nil:
		a, err := tcp.AddrOf(string(v.raw))
		if err != nil {
			return err
		}
		c.SetAddr(row, a)
	default:
		kind := tcp.KindUint
		switch c.Type {
		case store.Time:
			kind = tcp.KindTime
		case store.ID:
			kind = tcp.KindID
		case store.Bool:
			kind = tcp.KindBool
		default:
		}
		n, err := parseNum(kind, v)
		if err != nil {
			return err
		}
		c.SetNum(row, n)
	}
	return nil
}
