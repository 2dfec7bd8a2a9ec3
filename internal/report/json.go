package report

import (
	"strconv"
	"unicode"
	"unicode/utf8"
)

// JSON is written by hand: rows and points are many, and strings need more
// escapes than encoding/json makes.

func appendUint(b []byte, v uint64) []byte { return strconv.AppendUint(b, v, 10) }
func appendInt(b []byte, v int64) []byte   { return strconv.AppendInt(b, v, 10) }

// appendString appends s as a JSON string that cannot end a script element, and
// whose text can neither act nor disguise itself: bytes that are no UTF-8 and
// hostile runes become visible escapes.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '<' || r == '>' || r == '&' || r == '\'':
			b = appendUnicode(append(b, '\\'), uint32(r))
		case r == utf8.RuneError && n == 1:
			b = appendHex(append(b, `\\x`...), uint32(s[i]), 2)
		case r >= ' ' && r < 0x7f:
			b = append(b, byte(r))
		case hostile(r):
			// The reader sees the escape: the backslash itself is escaped.
			b = appendUnicode(append(b, '\\', '\\'), uint32(r))
		default:
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	return append(b, '"')
}

// hostile reports whether a rune may act on what shows it, or hide in it:
// controls, line separators, format characters (the bidirectional overrides
// among them) and private use.
func hostile(r rune) bool {
	return r < ' ' || r >= 0x7f && r <= 0x9f || r == '\u2028' || r == '\u2029' ||
		unicode.In(r, unicode.Cf, unicode.Co, unicode.Variation_Selector) || r == '\u3164' || r == '\u115f' || r == '\u1160' || r == '\uffa0'
}

func appendUnicode(b []byte, r uint32) []byte {
	if r > 0xffff {
		return appendHex(append(b, 'U'), r, 8)
	}
	return appendHex(append(b, 'u'), r, 4)
}

func appendHex(b []byte, v uint32, digits int) []byte {
	for d := digits - 1; d >= 0; d-- {
		b = append(b, "0123456789abcdef"[v>>(4*d)&15])
	}
	return b
}

// clean is the text of appendString without its escapes for JSON, for the
// title, which stands in HTML.
func clean(s string) string {
	var b []byte
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b = appendHex(append(b, `\x`...), uint32(s[i]), 2)
		case hostile(r):
			b = appendUnicode(append(b, '\\'), uint32(r))
		default:
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	return string(b)
}
