package filter

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokEOF tokenKind = iota
	tokWord
	tokString
	tokOp // text is the operator
	tokLParen
	tokRParen
	tokLBrace
	tokRBrace
	tokLBracket
	tokRBracket
	tokComma
	tokDots // ..
)

// token is one token; for strings, text is the decoded content.
type token struct {
	kind     tokenKind
	text     string
	pos, end int
}

// is reports whether t is the word w, which is in lower case.
func (t token) is(w string) bool { return t.kind == tokWord && strings.EqualFold(t.text, w) }

// op reports whether t is one of the operators.
func (t token) op(ops ...string) bool {
	return t.kind == tokOp && slices.Contains(ops, t.text)
}

// operators, longest first among those that begin alike.
var operators = []string{
	"===", "!==", "!~*", "=~", "==", "!=", "!~", "~=", "~*", "<=", ">=", "&&", "||", "^^",
	"=", "!", "~", "<", ">", "&", "|",
}

var punctuation = map[byte]tokenKind{
	'(': tokLParen, ')': tokRParen, '{': tokLBrace, '}': tokRBrace, '[': tokLBracket,
	']': tokRBracket, ',': tokComma,
}

// lex cuts text into tokens, the last of which is tokEOF.
func lex(text string) ([]token, *Error) {
	var toks []token
	for i := 0; ; {
		i = skipBlank(text, i)
		if i >= len(text) {
			return append(toks, token{kind: tokEOF, pos: len(text), end: len(text)}), nil
		}
		t, err := lexOne(text, i)
		if err != nil {
			return nil, err
		}
		toks = append(toks, t)
		i = t.end
	}
}

// skipBlank passes blanks and comments, which run from a # between tokens to the
// end of the line.
func skipBlank(text string, i int) int {
	for i < len(text) {
		switch text[i] {
		case ' ', '\t', '\n', '\r':
			i++
		case '#':
			n := strings.IndexByte(text[i:], '\n')
			if n < 0 {
				return len(text)
			}
			i += n
		default:
			return i
		}
	}
	return i
}

func lexOne(text string, i int) (token, *Error) {
	c := text[i]
	if c == '"' || c == '\'' {
		return lexString(text, i, i+1, false)
	}
	if (c == 'r' || c == 'R') && i+1 < len(text) && (text[i+1] == '"' || text[i+1] == '\'') {
		return lexString(text, i, i+2, true)
	}
	if c == '[' && (i == 0 || !wordByte(text[i-1])) && bracketAddr(text, i) > 0 {
		return lexWord(text, i)
	}
	if k, ok := punctuation[c]; ok {
		return token{kind: k, text: text[i : i+1], pos: i, end: i + 1}, nil
	}
	if strings.HasPrefix(text[i:], "..") {
		return token{kind: tokDots, text: "..", pos: i, end: i + 2}, nil
	}
	for _, o := range operators {
		if strings.HasPrefix(text[i:], o) {
			return token{kind: tokOp, text: o, pos: i, end: i + len(o)}, nil
		}
	}
	return lexWord(text, i)
}

// bracketAddr returns the index after an IPv6 address in brackets that begins at
// i, or 0. In tcp[13] the bracket is not one.
func bracketAddr(text string, i int) int {
	for j := i + 1; j < len(text); j++ {
		switch c := text[j]; {
		case c == ']':
			if strings.IndexByte(text[i:j], ':') < 0 {
				return 0
			}
			return j + 1
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F', c == ':', c == '.', c == '/':
		default:
			return 0
		}
	}
	return 0
}

func lexWord(text string, i int) (token, *Error) {
	j := i
	for j < len(text) {
		c := text[j]
		if c == '[' && (j == i || text[j-1] == ':') {
			if e := bracketAddr(text, j); e > 0 {
				j = e
				continue
			}
		}
		if c < utf8.RuneSelf {
			if !wordByte(c) || strings.HasPrefix(text[j:], "..") {
				break
			}
			j++
			continue
		}
		r, n := utf8.DecodeRuneInString(text[j:])
		if r == utf8.RuneError && n == 1 {
			return token{}, &Error{Text: text, Pos: j, End: j + 1, Msg: "this byte is not valid UTF-8; in quotes it is written " + quote(text[j:j+1])}
		}
		if !unicode.IsPrint(r) {
			break
		}
		j += n
	}
	if j == i {
		_, n := utf8.DecodeRuneInString(text[i:])
		msg := "unexpected character " + quote(text[i:i+n])
		if text[i] == '^' {
			msg += "; a regular expression goes in quotes"
		}
		return token{}, &Error{Text: text, Pos: i, End: i + n, Msg: msg}
	}
	return token{kind: tokWord, text: text[i:j], pos: i, end: j}, nil
}

// wordByte reports whether an ASCII character may be in a word: what the values
// of the language need without quotes, such as addresses, paths, times and units.
func wordByte(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return strings.IndexByte(`_-.:/*%+@\?$#`, c) >= 0
}

// lexString reads a string whose content begins at i; start is where the token
// begins. Escapes other than those below keep their backslash, so that regular
// expressions need not double theirs.
func lexString(text string, start, i int, raw bool) (token, *Error) {
	q := text[i-1]
	var b []byte
	for j := i; j < len(text); j++ {
		c := text[j]
		switch {
		case c == q:
			return token{kind: tokString, text: string(b), pos: start, end: j + 1}, nil
		case c == '\\' && !raw && j+1 < len(text):
			j++
			switch e := text[j]; e {
			case '\\', '"', '\'':
				b = append(b, e)
			case 'n':
				b = append(b, '\n')
			case 't':
				b = append(b, '\t')
			case 'r':
				b = append(b, '\r')
			case 'x':
				if j+2 < len(text) && unhex(text[j+1]) < 16 && unhex(text[j+2]) < 16 {
					b = append(b, unhex(text[j+1])<<4|unhex(text[j+2]))
					j += 2
					continue
				}
				b = append(b, '\\', 'x')
			default:
				b = append(b, '\\', e)
			}
		default:
			b = append(b, c)
		}
	}
	return token{}, &Error{Text: text, Pos: start, End: len(text), Msg: "the quote that begins here is never closed"}
}

func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 0xff
}

// appendQuoted appends s as a string of the language.
func appendQuoted(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == utf8.RuneError && n == 1, !unicode.IsPrint(r):
			for _, c := range []byte(s[i : i+n]) {
				b = append(b, '\\', 'x', hex[c>>4], hex[c&15])
			}
		default:
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	return append(b, '"')
}
