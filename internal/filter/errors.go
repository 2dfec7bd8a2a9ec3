package filter

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Error says what is wrong with an expression, and where. Msg and Suggestion are
// safe to print; Text is not.
type Error struct {
	// Text is the whole expression; Pos and End are the byte offsets of the
	// part that is wrong, Pos == End == len(Text) where something is missing.
	Text     string
	Pos, End int
	// Msg is lower case, without a full stop.
	Msg string
	// Suggestion is what may have been meant; empty if nothing is near.
	Suggestion string
}

// Error returns the error on one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("filter: column ")
	b.WriteString(strconv.Itoa(e.Column()))
	b.WriteString(": ")
	b.WriteString(e.Msg)
	if e.Suggestion != "" {
		b.WriteString(" (did you mean ")
		b.WriteString(e.Suggestion)
		b.WriteString("?)")
	}
	return b.String()
}

// Column is the place of the error, counted in characters from 1.
func (e *Error) Column() int { return utf8.RuneCountInString(e.Text[:e.clamp(e.Pos)]) + 1 }

func (e *Error) clamp(i int) int { return min(max(i, 0), len(e.Text)) }

// caretWidth is the most columns of the text that Caret shows, so that the line
// is not wrapped on a usual terminal.
const caretWidth = 76

// Caret returns the error on several lines, without a newline at the end: the
// message, the text with a caret under the place, and what may have been meant.
// What is not printable in the text is replaced, so that neither the terminal
// nor the place of the caret can be fooled; a long text is cut around the place.
func (e *Error) Caret() string {
	pos := e.clamp(e.Pos)
	end := max(e.clamp(e.End), pos)
	// Only the neighborhood is drawn: every rune left out would scroll away.
	lo, hi := pos, pos
	for n := 0; lo > 0 && n < caretWidth; n++ {
		_, size := utf8.DecodeLastRuneInString(e.Text[:lo])
		lo -= size
	}
	for n := 0; hi < len(e.Text) && n < caretWidth; n++ {
		_, size := utf8.DecodeRuneInString(e.Text[hi:])
		hi += size
	}
	end = min(end, hi)
	before, w1 := display(e.Text[lo:pos])
	marked, w2 := display(e.Text[pos:end])
	after, w3 := display(e.Text[end:hi])
	cutLeft, cutRight := lo > 0, hi < len(e.Text)
	if over := w1 + w2 + w3 - caretWidth; over > 0 || cutLeft || cutRight {
		// Keep a third of the line before the place.
		if keep := max(caretWidth/3, caretWidth-w2-w3); w1 > keep {
			before, w1 = cutFront(before, w1, keep)
			cutLeft = true
		}
		if room := max(caretWidth-w1, 1); w2 > room {
			marked, w2 = cutBack(marked, room)
			after, w3, cutRight = "", 0, true
		}
		if room := max(caretWidth-w1-w2, 0); w3 > room {
			after, _ = cutBack(after, room)
			cutRight = true
		}
	}
	var b strings.Builder
	b.WriteString(e.Msg)
	b.WriteString("\n  ")
	indent := 2 + w1
	if cutLeft {
		b.WriteString("…")
		indent++
	}
	b.WriteString(before)
	b.WriteString(marked)
	b.WriteString(after)
	if cutRight {
		b.WriteString("…")
	}
	b.WriteByte('\n')
	b.WriteString(strings.Repeat(" ", indent))
	b.WriteByte('^')
	if w2 > 1 {
		b.WriteString(strings.Repeat("~", w2-1))
	}
	if e.Suggestion != "" {
		b.WriteString("\ndid you mean ")
		b.WriteString(e.Suggestion)
		b.WriteByte('?')
	}
	return b.String()
}

// display returns s as it may be printed on one line, and its width in columns.
func display(s string) (string, int) {
	var b strings.Builder
	width := 0
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == '\n', r == '\t', r == '\r':
			b.WriteByte(' ')
			width++
		case r == utf8.RuneError && n == 1, !unicode.IsPrint(r):
			// One replacement character a rune: escapes would shift the text.
			b.WriteRune(utf8.RuneError)
			width++
		default:
			b.WriteString(s[:n])
			width += runeWidth(r)
		}
		s = s[n:]
	}
	return b.String(), width
}

// cutFront drops columns from the front of what display returned, of width w,
// until at most keep are left.
func cutFront(s string, w, keep int) (string, int) {
	for w > keep && s != "" {
		r, n := utf8.DecodeRuneInString(s)
		w -= runeWidth(r)
		s = s[n:]
	}
	return s, w
}

// cutBack keeps at most room columns from the front.
func cutBack(s string, room int) (string, int) {
	w := 0
	for i, r := range s {
		rw := runeWidth(r)
		if w+rw > room {
			return s[:i], w
		}
		w += rw
	}
	return s, w
}

// wide is the ranges that terminals draw in two columns (East Asian Width W and
// F of Unicode's EastAsianWidth.txt, neighbors joined).
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x1100, Hi: 0x115f, Stride: 1},
		{Lo: 0x231a, Hi: 0x231b, Stride: 1},
		{Lo: 0x2e80, Hi: 0x303e, Stride: 1},
		{Lo: 0x3041, Hi: 0x4dbf, Stride: 1},
		{Lo: 0x4e00, Hi: 0xa4cf, Stride: 1},
		{Lo: 0xa960, Hi: 0xa97f, Stride: 1},
		{Lo: 0xac00, Hi: 0xd7a3, Stride: 1},
		{Lo: 0xf900, Hi: 0xfaff, Stride: 1},
		{Lo: 0xfe30, Hi: 0xfe6f, Stride: 1},
		{Lo: 0xff01, Hi: 0xff60, Stride: 1},
		{Lo: 0xffe0, Hi: 0xffe6, Stride: 1},
	},
	R32: []unicode.Range32{
		{Lo: 0x16fe0, Hi: 0x18aff, Stride: 1},
		{Lo: 0x1b000, Hi: 0x1b2ff, Stride: 1},
		{Lo: 0x1f300, Hi: 0x1f64f, Stride: 1},
		{Lo: 0x1f680, Hi: 0x1f6ff, Stride: 1},
		{Lo: 0x1f900, Hi: 0x1f9ff, Stride: 1},
		{Lo: 0x1fa70, Hi: 0x1faff, Stride: 1},
		{Lo: 0x20000, Hi: 0x3fffd, Stride: 1},
	},
}

func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case unicode.Is(wide, r):
		return 2
	default:
		return 1
	}
}

// quote returns s in quotes for a message: shortened, and with nothing that a
// terminal would act on.
func quote(s string) string {
	const most = 40
	if utf8.RuneCountInString(s) > most {
		n := 0
		for i := range s {
			if n == most {
				s = s[:i] + "…"
				break
			}
			n++
		}
	}
	return strconv.Quote(s)
}

// quoteless is quote without its quotes.
func quoteless(s string) string {
	q := quote(s)
	return q[1 : len(q)-1]
}
