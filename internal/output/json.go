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
	// likely are the fields that a connection with these values can have: most
	// connections of a list have the same ones, and a third of all fields.
	likely  []*jsonField
	has     tcp.Has
	packets bool
	// The connection of the last opening and its members: often the handshake
	// follows at once, with the same ones.
	opened  *tcp.Conn
	members []byte
}

// jsonField is what is needed of a field to write it, in one cache line: a
// registry's entry has four of them, and a row a hundred fields.
type jsonField struct {
	// One of the getters is set.
	num  func(*tcp.Conn) (uint64, bool)
	str  func(*tcp.Conn) (string, bool)
	addr func(*tcp.Conn) (tcp.Addr, bool)
	// key is `,"name":`, and a quote more where the value is one that needs no
	// escapes.
	key string
	// bit is Field.Bit.
	bit  tcp.Has
	form jsonForm
	// packets says that Conn.Packets has the value.
	packets bool
	of      *tcp.Field
}

// jsonForm is how a number is written.
type jsonForm uint8

const (
	formDecimal jsonForm = iota
	formQuotedDecimal
	formNum       // as Field.AppendNum does
	formQuotedNum // the same in quotes
)

// NewJSON returns a writer of the given fields, in their order.
func NewJSON(fields []*tcp.Field) *JSON {
	j := &JSON{fields: make([]jsonField, 0, len(fields))}
	for _, f := range fields {
		to := jsonField{num: f.Num, str: f.Str, addr: f.Addr, bit: f.Bit, packets: f.Group == tcp.GroupPackets, of: f}
		switch f.Kind {
		case tcp.KindUint, tcp.KindDuration, tcp.KindBytes, tcp.KindRate, tcp.KindPort:
			to.form = formDecimal
		case tcp.KindCookie:
			to.form = formQuotedDecimal
		case tcp.KindBool:
			to.form = formNum
		default:
			to.form = formQuotedNum
		}
		to.key = `,"` + f.Name + `":`
		if f.Addr != nil || f.Num != nil && (to.form == formQuotedDecimal || to.form == formQuotedNum) {
			to.key += `"`
		}
		j.fields = append(j.fields, to)
	}
	j.choose(&tcp.Conn{})
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
	if c.Has != j.has || (c.Packets != nil) != j.packets {
		j.choose(c)
	}
	for _, f := range j.likely {
		switch {
		case f.num != nil:
			if v, ok := f.num(c); ok {
				b = f.appendNum(append(b, f.key...), v)
			}
		case f.str != nil:
			if s, ok := f.str(c); ok {
				b = appendString(append(b, f.key...), s)
			}
		default:
			if a, ok := f.addr(c); ok {
				b = append(a.AppendTo(append(b, f.key...)), '"')
			}
		}
	}
	return b
}

// choose leaves out the fields that a connection shows at a glance not to have.
func (j *JSON) choose(c *tcp.Conn) {
	j.has, j.packets = c.Has, c.Packets != nil
	j.likely = j.likely[:0]
	for i := range j.fields {
		f := &j.fields[i]
		if c.Has&f.bit == f.bit && (j.packets || !f.packets) {
			j.likely = append(j.likely, f)
		}
	}
}

func (f *jsonField) appendNum(b []byte, v uint64) []byte {
	switch f.form {
	case formDecimal:
		if v < 10 { // most counters are 0
			return append(b, '0'+byte(v))
		}
		return strconv.AppendUint(b, v, 10)
	case formQuotedDecimal:
		return append(strconv.AppendUint(b, v, 10), '"')
	case formQuotedNum:
		return append(f.of.AppendNum(b, v), '"')
	default:
		return f.of.AppendNum(b, v)
	}
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
