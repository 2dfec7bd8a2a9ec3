package tui

import (
	"bytes"
	"math/bits"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"

	"github.com/viewtcp/viewtcp/internal/text"
)

// canvas builds a screen line by line. It is the only way to the terminal, and
// lets through only characters whose width every terminal agrees on; the rest
// becomes visible escapes.
type canvas struct {
	b     []byte
	width int
	theme *theme
	ascii bool

	x int
	// clip, if not 0, is where a part of the line ends before its own end.
	clip     int
	lines    int
	row      bool // the cursor is on this line
	last     style
	lastRow  bool
	anything bool // a style is set on this line
}

func newCanvas(width int, t *theme, ascii bool) *canvas {
	return &canvas{width: width, theme: t, ascii: ascii}
}

// set chooses the style of what follows.
func (c *canvas) set(s style) {
	if c.anything && c.last == s && c.lastRow == c.row {
		return
	}
	c.b = append(c.b, "\x1b[0"...)
	if p := c.theme.sgr[s]; p != "" {
		c.b = append(append(c.b, ';'), p...)
	}
	if c.row {
		c.b = append(append(c.b, ';'), c.theme.selected...)
	}
	c.b = append(c.b, 'm')
	c.last, c.lastRow, c.anything = s, c.row, true
}

// room is the number of columns left on the line.
func (c *canvas) room() int {
	if c.clip > 0 {
		return min(c.clip, c.width) - c.x
	}
	return c.width - c.x
}

// str writes a text as far as the line goes.
func (c *canvas) str(s style, t string) {
	if c.room() <= 0 || t == "" {
		return
	}
	c.set(s)
	c.x += c.write(t, c.room())
}

// cell writes a text into a number of columns, cut or padded.
func (c *canvas) cell(s style, t string, width int, right bool) {
	if width = min(width, c.room()); width <= 0 {
		return
	}
	w := cells(t)
	if w <= width && right {
		c.set(s)
		c.spaces(width - w)
		c.x += c.write(t, w)
		return
	}
	c.set(s)
	if w > width {
		w = c.write(t, width-1)
		c.x += w
		c.x += c.write("…", 1)
		w++
	} else {
		w = c.write(t, width)
		c.x += w
	}
	c.spaces(width - w)
}

// endCell is cell for ADDRESS:PORT, which loses its middle, so that the port stays.
func (c *canvas) endCell(s style, t string, width int) {
	w := cells(t)
	if w <= width || width < 12 {
		c.cell(s, t, width, false)
		return
	}
	width = min(width, c.room())
	tail := 0
	for i := len(t) - 1; i > 0 && t[i] < utf8.RuneSelf; i-- {
		if t[i] == ':' {
			tail = len(t) - i
			break
		}
	}
	if tail == 0 || tail > width/2 {
		c.cell(s, t, width, false)
		return
	}
	c.set(s)
	n := c.write(t, width-tail-1)
	n += c.write("…", 1)
	n += c.write(t[len(t)-tail:], width-n)
	c.x += n
	c.spaces(width - n)
}

func (c *canvas) spaces(n int) {
	n = min(n, c.room())
	for range n {
		c.b = append(c.b, ' ')
	}
	c.x += max(n, 0)
}

// to fills up to a column.
func (c *canvas) to(s style, x int) {
	if x > c.x {
		c.set(s)
		c.spaces(x - c.x)
	}
}

// rightStr writes a text at the right end of the line, if there is room.
func (c *canvas) rightStr(s style, t string) {
	w := cells(t)
	if w > c.room() {
		return
	}
	c.to(s, c.width-w)
	c.str(s, t)
}

// end ends a line, filling it in the style of the line.
func (c *canvas) end(s style) {
	c.clip = 0
	if c.row || c.theme.sgr[s] != "" {
		c.to(s, c.width)
	}
	if c.anything {
		c.b = append(c.b, "\x1b[m"...)
	}
	c.b = append(c.b, '\n')
	c.x, c.row, c.anything = 0, false, false
	c.lines++
}

// blank ends lines until there are so many.
func (c *canvas) blank(lines int) {
	for c.lines < lines {
		c.end(sNormal)
	}
}

// window copies the lines of another canvas that are in sight when top lies at the
// beginning of height lines; it returns top where there are so many.
func (c *canvas) window(all *canvas, top, height int) int {
	top = max(min(top, all.lines-height), 0)
	i := 0
	for line := range bytes.Lines(all.b) {
		if i >= top && i < top+height {
			c.b = append(c.b, line...)
			c.lines++
		}
		i++
	}
	return top
}

// content is the screen without its last line end.
func (c *canvas) content() string {
	b := c.b
	if n := len(b); n > 0 && b[n-1] == '\n' {
		b = b[:n-1]
	}
	return string(b)
}

// write appends a text up to a width and returns the width that it took.
func (c *canvas) write(t string, width int) int {
	used := 0
	for i := 0; i < len(t) && used < width; {
		if ch := t[i]; ch >= ' ' && ch < 0x7f {
			c.b = append(c.b, ch)
			used++
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(t[i:])
		w := runeCells(r)
		switch {
		case w == 0 || r == utf8.RuneError && n == 1:
			esc := escape(t[i : i+n])
			for j := 0; j < len(esc) && used < width; j++ {
				c.b = append(c.b, esc[j])
				used++
			}
		case used+w > width:
			return used
		case c.ascii:
			c.b = append(c.b, asciiFor(r))
			used++
			for ; w > 1; w-- {
				c.b = append(c.b, ' ')
				used++
			}
		default:
			c.b = append(c.b, t[i:i+n]...)
			used += w
		}
		i += n
	}
	return used
}

// cells is the number of columns that write takes for a text.
func cells(t string) int {
	w := 0
	for i := 0; i < len(t); {
		if ch := t[i]; ch >= ' ' && ch < 0x7f {
			w++
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(t[i:])
		rw := runeCells(r)
		if rw == 0 || r == utf8.RuneError && n == 1 {
			rw = len(escape(t[i : i+n]))
		}
		w += rw
		i += n
	}
	return w
}

// widths is how terminals count, ambiguous characters as narrow.
var widths = &runewidth.Condition{StrictEmojiNeutral: true}

// joining holds what merges with its neighbor in some terminals and not in
// others: conjoining Hangul, regional indicators and skin tones.
var joining = &unicode.RangeTable{
	R16: []unicode.Range16{{Lo: 0x1100, Hi: 0x11ff, Stride: 1}, {Lo: 0xa960, Hi: 0xa97f, Stride: 1}, {Lo: 0xd7b0, Hi: 0xd7ff, Stride: 1}},
	R32: []unicode.Range32{{Lo: 0x1f1e6, Hi: 0x1f1ff, Stride: 1}, {Lo: 0x1f3fb, Hi: 0x1f3ff, Stride: 1}},
}

// runeCells is the width of a character; 0 is one that must be escaped.
func runeCells(r rune) int {
	switch {
	case r < 0x80:
		if r < ' ' || r == 0x7f {
			return 0
		}
		return 1
	case r >= 0x2500 && r < 0x2600, r >= 0x2800 && r < 0x2900: // boxes, blocks, Braille
		return 1
	case text.Hostile(r), unicode.In(r, unicode.M, joining), !unicode.IsGraphic(r):
		return 0
	}
	return widths.RuneWidth(r)
}

// escape is how a character that cannot be shown is shown.
func escape(t string) string {
	if e := text.Clean(t); e != t {
		return e
	}
	// A mark or the like, harmless but of uncertain width.
	r, _ := utf8.DecodeRuneInString(t)
	const hex = "0123456789abcdef"
	b := []byte(`\u`)
	shift := 12
	if r > 0xffff {
		b, shift = []byte(`\U`), 20
	}
	for ; shift >= 0; shift -= 4 {
		b = append(b, hex[r>>shift&15])
	}
	return string(b)
}

// asciiFor is the nearest character of a terminal that has no others.
func asciiFor(r rune) byte {
	switch r {
	case '…', '·':
		return '.'
	case 'µ':
		return 'u'
	case '↑', '▲', '▴':
		return '^'
	case '↓', '▼', '▾':
		return 'v'
	case '→', '▸', '›', '▶':
		return '>'
	case '↔':
		return '='
	case '←', '◂', '‹':
		return '<'
	case '─', '−', '╌':
		return '-'
	case '│', '▏':
		return '|'
	case '┌', '┐', '└', '┘', '├', '┤':
		return '+'
	case '●', '◆':
		return '*'
	case '○':
		return 'o'
	case '×':
		return 'x'
	case '█', '▉', '▊', '▋', '▌', '▍', '▎':
		return '#'
	}
	if r >= 0x2800 && r < 0x2900 { // Braille, by the number of dots
		return " ..::++##"[bits.OnesCount8(uint8(r-0x2800))]
	}
	if r >= 0x2581 && r <= 0x2588 { // eighths of a block
		return ".:-=+*#@"[r-0x2581]
	}
	return '?'
}
