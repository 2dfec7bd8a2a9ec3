package output

import (
	"strconv"
	"unicode/utf8"

	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/text"
)

// JSON writes connections as flat objects with the registry's names as keys.
// Unknown values are left out. It is for one goroutine.
type JSON struct {
	fields []jsonField
	// The connection of the last opening and its members: often the handshake
	// follows at once, with the same ones.
	opened  *tcp.Conn
	members []byte
}

type jsonField struct {
	*tcp.Field
	// key is `,"name":` and, for numbers that are JSON strings, a quote more.
	key    []byte
	bit    tcp.Has
	quoted bool
}

// NewJSON returns a writer of the given fields, in their order.
func NewJSON(fields []*tcp.Field) *JSON {
	j := &JSON{}
	for _, f := range fields {
		quoted := true
		switch f.Kind {
		case tcp.KindUint, tcp.KindBool, tcp.KindDuration, tcp.KindBytes, tcp.KindRate, tcp.KindPort:
			quoted = false
		default:
		}
		key := `,"` + f.Name + `":`
		if quoted && f.Str == nil {
			key += `"`
		}
		j.fields = append(j.fields, jsonField{Field: f, key: []byte(key), bit: f.Bit, quoted: quoted})
	}
	return j
}

// AppendConn appends one object without a line end.
func (j *JSON) AppendConn(b []byte, c *tcp.Conn) []byte {
	at := len(b)
	b = j.appendMembers(b, c)
	if len(b) == at {
		return append(b, "{}"...)
	}
	b[at] = '{' // in place of the first comma
	return append(b, '}')
}

// AppendEvent appends an event: event, seq and time, and then the fields of its
// connection, or what a gap lost.
func (j *JSON) AppendEvent(b []byte, e *tcp.Event) []byte {
	b = append(b, `{"event":"`...)
	b = append(b, e.Type.String()...)
	b = append(b, `","seq":`...)
	b = strconv.AppendUint(b, e.Seq, 10)
	b = append(b, `,"time":"`...)
	b = tcp.AppendTime(b, e.Time.Wall)
	b = append(b, '"')
	if e.By != tcp.SideUnknown {
		b = append(b, `,"reset_by":"`...)
		b = append(b, e.By.String()...)
		b = append(b, '"')
	}
	if e.Gap != nil {
		b = appendGap(b, e.Gap)
	}
	if e.Conn != nil {
		b = j.appendEventMembers(b, e)
	}
	return append(b, '}')
}

func (j *JSON) appendEventMembers(b []byte, e *tcp.Event) []byte {
	if e.Type == tcp.EventEstablished && e.Conn == j.opened {
		j.opened = nil
		return append(b, j.members...)
	}
	at := len(b)
	b = j.appendMembers(b, e.Conn)
	if e.Type == tcp.EventOpened {
		j.opened, j.members = e.Conn, append(j.members[:0], b[at:]...)
	}
	return b
}

func appendGap(b []byte, g *tcp.Gap) []byte {
	if g.Source != tcp.SourceUnknown {
		b = append(b, `,"source":"`...)
		b = append(b, g.Source.String()...)
		b = append(b, '"')
	}
	b = append(b, `,"where":`...)
	b = appendString(b, g.Where)
	for _, v := range [...]struct {
		key string
		n   uint64
	}{
		{`,"lost_closes":`, g.Closes},
		{`,"lost_bytes_sent":`, g.BytesSent},
		{`,"lost_bytes_received":`, g.BytesReceived},
		{`,"lost_events":`, g.Events},
		{`,"skipped_events":`, g.Skipped},
	} {
		b = append(b, v.key...)
		b = strconv.AppendUint(b, v.n, 10)
	}
	b = append(b, `,"exact":`...)
	return strconv.AppendBool(b, !g.Unknown)
}

// appendMembers appends the known fields, each after a comma.
func (j *JSON) appendMembers(b []byte, c *tcp.Conn) []byte {
	for i := range j.fields {
		f := &j.fields[i]
		if c.Has&f.bit != f.bit {
			continue
		}
		switch {
		case f.Num != nil:
			if f.Group == tcp.GroupPackets && c.Packets == nil {
				continue
			}
			v, ok := f.Num(c)
			if !ok {
				continue
			}
			b = append(b, f.key...)
			if !f.quoted {
				b = f.AppendNum(b, v)
				continue
			}
			b = append(f.AppendNum(b, v), '"')
		case f.Str != nil:
			if s, ok := f.Str(c); ok {
				b = appendString(append(b, f.key...), s)
			}
		default:
			if a, ok := f.Addr(c); ok {
				b = append(a.AppendTo(append(b, f.key...)), '"')
			}
		}
	}
	return b
}

// AppendJSONString appends a JSON string that may be shown on a terminal.
func AppendJSONString(b []byte, s string) []byte { return appendString(b, s) }

// appendString appends a JSON string (RFC 8259, section 7). Runes that may act
// on a terminal are escaped, which changes nothing for a JSON reader; bytes that
// are no UTF-8 become U+FFFD.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
				i++
				continue
			}
			b = append(b, s[from:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, `\n`...)
			case '\t':
				b = append(b, `\t`...)
			case '\r':
				b = append(b, `\r`...)
			default:
				b = appendUnit(b, rune(c))
			}
			i++
			from = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || text.Hostile(r) {
			b = append(b, s[from:i]...)
			if r > 0xffff {
				r -= 0x10000
				b = appendUnit(appendUnit(b, 0xd800+r>>10), 0xdc00+r&0x3ff)
			} else {
				b = appendUnit(b, r)
			}
			from = i + n
		}
		i += n
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}

const hexDigits = "0123456789abcdef"

// appendUnit appends \uXXXX.
func appendUnit(b []byte, r rune) []byte {
	return append(b, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}
