package bundle

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// maxRow bounds a row, bytes. The longest have a command line.
const maxRow = 1 << 20

// appendRow appends a row as a JSON object, one key for each known column, by the
// column's name. Nothing is lost: ids and addresses are written as people know
// them, times in RFC 3339, and texts that are no UTF-8 as {"base64": …}.
func appendRow[T any](b []byte, cols []store.Column[T], row *T) []byte {
	b = append(b, '{')
	first := true
	key := func(name string) {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(strconv.AppendQuote(b, name), ':')
	}
	for i := range cols {
		c := &cols[i]
		switch {
		case c.Num != nil:
			if v, ok := c.Num(row); ok {
				key(c.Name)
				b = appendNum(b, c.Type, v)
			}
		case c.Str != nil:
			if v, ok := c.Str(row); ok {
				key(c.Name)
				b = appendText(b, c.Type, v)
			}
		default:
			if v, ok := c.Addr(row); ok {
				key(c.Name)
				b = append(v.AppendTo(append(b, '"')), '"')
			}
		}
	}
	return append(b, '}')
}

func appendNum(b []byte, typ store.Type, v uint64) []byte {
	switch typ {
	case store.Bool:
		return strconv.AppendBool(b, v != 0)
	case store.ID:
		return append(tcp.ID(v).AppendTo(append(b, '"')), '"')
	case store.Time:
		// The times that RFC 3339 has.
		if t := time.Unix(0, int64(v)).UTC(); t.Year() >= 1 && t.Year() <= 9999 {
			return append(t.AppendFormat(append(b, '"'), time.RFC3339Nano), '"')
		}
		return strconv.AppendInt(b, int64(v), 10)
	default:
		return strconv.AppendUint(b, v, 10)
	}
}

func appendText(b []byte, typ store.Type, s string) []byte {
	if typ == store.Bytes || !utf8.ValidString(s) {
		b = append(b, `{"base64":"`...)
		b = base64.StdEncoding.AppendEncode(b, []byte(s))
		return append(b, `"}`...)
	}
	text, err := json.Marshal(s)
	if err != nil { // of a string there is none
		return append(b, `""`...)
	}
	return append(b, text...)
}

var errRow = errors.New("malformed row")

// parseRow reads a row. Keys that no column has are those of a later version;
// values that a column cannot hold are an error.
func parseRow[T any](line []byte, index map[string]*store.Column[T], row *T) error {
	var values map[string]json.RawMessage
	if err := json.Unmarshal(line, &values); err != nil {
		return fmt.Errorf("%w: %w", errRow, err)
	}
	for name, raw := range values {
		c := index[name]
		if c == nil {
			continue
		}
		var err error
		switch {
		case c.SetNum != nil:
			var v uint64
			if v, err = parseNum(c.Type, raw); err == nil {
				c.SetNum(row, v)
			}
		case c.SetStr != nil:
			var s string
			if s, err = parseText(raw); err == nil {
				c.SetStr(row, s)
			}
		default:
			var a tcp.Addr
			if a, err = parseAddr(raw); err == nil {
				c.SetAddr(row, a)
			}
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %w", errRow, name, err)
		}
	}
	return nil
}

func parseNum(typ store.Type, raw json.RawMessage) (uint64, error) {
	bits := 64
	switch typ {
	case store.Bool:
		var v bool
		if err := json.Unmarshal(raw, &v); err != nil {
			return 0, err
		}
		if v {
			return 1, nil
		}
		return 0, nil
	case store.ID:
		s, err := parseText(raw)
		if err != nil {
			return 0, err
		}
		id, ok := tcp.ParseID(s)
		if !ok {
			return 0, fmt.Errorf("%.20q is no id", s)
		}
		return uint64(id), nil
	case store.Time:
		return parseTime(raw)
	case store.Uint32:
		bits = 32
	case store.Uint16:
		bits = 16
	default:
	}
	v, err := strconv.ParseUint(string(raw), 10, bits)
	if err != nil {
		return 0, fmt.Errorf("%.30q is no number of %d bits", raw, bits)
	}
	return v, nil
}

func parseTime(raw json.RawMessage) (uint64, error) {
	if len(raw) > 0 && raw[0] != '"' {
		v, err := strconv.ParseInt(string(raw), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%.30q is no time", raw)
		}
		return uint64(v), nil
	}
	var t time.Time
	if err := json.Unmarshal(raw, &t); err != nil {
		return 0, err
	}
	ns := t.UnixNano()
	if !time.Unix(0, ns).Equal(t) {
		return 0, fmt.Errorf("%.40q is beyond the times that are kept", raw)
	}
	return uint64(ns), nil
}

func parseText(raw json.RawMessage) (string, error) {
	if len(raw) > 0 && raw[0] == '{' {
		var o struct {
			Base64 *[]byte `json:"base64"`
		}
		if err := json.Unmarshal(raw, &o); err != nil {
			return "", err
		}
		if o.Base64 == nil {
			return "", errors.New("it is neither a text nor base64")
		}
		return string(*o.Base64), nil
	}
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", err
	}
	if s == nil {
		return "", errors.New("it is null: what is unknown is left out")
	}
	return *s, nil
}

func parseAddr(raw json.RawMessage) (tcp.Addr, error) {
	s, err := parseText(raw)
	if err != nil {
		return tcp.Addr{}, err
	}
	ip, err := netip.ParseAddr(s)
	if err != nil {
		return tcp.Addr{}, err
	}
	if ip.Zone() != "" {
		return tcp.Addr{}, fmt.Errorf("%.50q has a zone", s)
	}
	return tcp.AddrFrom(ip), nil
}

func indexOf[T any](cols []store.Column[T]) map[string]*store.Column[T] {
	m := make(map[string]*store.Column[T], len(cols))
	for i := range cols {
		m[cols[i].Name] = &cols[i]
	}
	return m
}

// readRows reads rows until the end, a new one for each.
func readRows[T any](r io.Reader, cols []store.Column[T], fn func(*T) error) (n uint64, err error) {
	index := indexOf(cols)
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, 64<<10), maxRow)
	for sc.Scan() {
		line := bytes.TrimSpace(sc.Bytes())
		if len(line) == 0 {
			continue
		}
		n++
		row := new(T)
		if err := parseRow(line, index, row); err != nil {
			return n, fmt.Errorf("row %d: %w", n, err)
		}
		if err := fn(row); err != nil {
			return n, err
		}
	}
	if err := sc.Err(); err != nil {
		return n, fmt.Errorf("after row %d: %w", n, err)
	}
	return n, nil
}
