package text

import (
	"unicode"
	"unicode/utf8"
)

// Hostile reports whether a rune may act on a terminal or disguise a text: C0
// and C1 controls, DEL, line and paragraph separators, and everything that
// Unicode classes as a format character, the bidirectional overrides and the
// invisible ones among them.
func Hostile(r rune) bool {
	if r < utf8.RuneSelf {
		return r < ' ' || r == 0x7f
	}
	return r <= 0x9f || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Co, r)
}

// AppendClean appends s as a terminal may show it: hostile runes and bytes that
// are no UTF-8 become visible escapes (\x1b, \u202e).
func AppendClean(b []byte, s string) []byte {
	from := 0
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c >= ' ' && c != 0x7f {
				i++
				continue
			}
			b = append(b, s[from:i]...)
			b = appendByteEscape(b, c)
			i++
			from = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b = append(b, s[from:i]...)
			b = appendByteEscape(b, s[i])
			from = i + n
		case Hostile(r):
			b = append(b, s[from:i]...)
			b = appendRuneEscape(b, r)
			from = i + n
		}
		i += n
	}
	return append(b, s[from:]...)
}

// Clean is AppendClean for a string.
func Clean(s string) string {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return string(AppendClean(nil, s))
		}
	}
	return s
}

const hexDigits = "0123456789abcdef"

func appendByteEscape(b []byte, c byte) []byte {
	switch c {
	case '\n':
		return append(b, `\n`...)
	case '\t':
		return append(b, `\t`...)
	case '\r':
		return append(b, `\r`...)
	}
	return append(b, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
}

func appendRuneEscape(b []byte, r rune) []byte {
	if r <= 0xff {
		return appendByteEscape(b, byte(r))
	}
	if r > 0xffff {
		b = append(b, `\U000`...)
		b = append(b, hexDigits[r>>16&15])
	} else {
		b = append(b, `\u`...)
	}
	if r > 0xffff {
		return append(b, hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
	}
	return append(b, hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}
