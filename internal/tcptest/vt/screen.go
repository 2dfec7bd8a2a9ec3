// Package vt is a terminal's screen for tests: it takes what a program writes and
// keeps the characters and colors that a person would see. It knows what programs
// on the alternate screen of an xterm use, and counts what it does not know.
package vt

import (
	"encoding/base64"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"
)

// Color is a color: Default, a number of the palette, or RGB.
type Color int32

// Default is the terminal's own color.
const Default Color = -1

// rgb marks colors that are not of the palette.
const rgb Color = 1 << 24

// RGB returns the parts of a color that is not of the palette.
func (c Color) RGB() (r, g, b uint8, ok bool) {
	return uint8(c >> 16), uint8(c >> 8), uint8(c), c >= 0 && c&rgb != 0
}

// Style is how a character looks.
type Style struct {
	FG, BG                                  Color
	Bold, Faint, Italic, Underline, Reverse bool
}

var plain = Style{FG: Default, BG: Default}

// Cell is one place of the screen. Rune is 0 in the second half of a wide one.
type Cell struct {
	Rune  rune
	Style Style
}

// Screen is what is on a terminal. Its methods may be called at any time.
type Screen struct {
	mu     sync.Mutex
	width  int
	height int
	cells  [][]Cell
	main   [][]Cell // the main screen while the alternate one is in use
	x, y   int
	saved  [2]int
	style  Style
	last   rune
	top    int // scrolling region, inclusive
	bottom int
	hidden bool
	modes  map[int]bool
	clip   string
	wrote  int
	broken []string
	rest   []byte
	news   chan struct{}
}

// New returns an empty screen.
func New(width, height int) *Screen {
	s := &Screen{modes: make(map[int]bool), news: make(chan struct{}, 1), style: plain}
	s.Resize(width, height)
	return s
}

// Resize changes the size and clears the screen, as a program draws it anew.
func (s *Screen) Resize(width, height int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.width, s.height = width, height
	s.cells = blank(width, height)
	s.x, s.y, s.top, s.bottom = 0, 0, 0, height-1
}

// Erase clears the screen as if something else had written over it.
func (s *Screen) Erase() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cells = blank(s.width, s.height)
}

func blank(width, height int) [][]Cell {
	cells := make([][]Cell, height)
	for y := range cells {
		cells[y] = make([]Cell, width)
		for x := range cells[y] {
			cells[y][x] = Cell{' ', plain}
		}
	}
	return cells
}

// Write takes output of a program. It never fails.
func (s *Screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	n := len(b)
	s.wrote += n
	b = append(s.rest, b...)
	for len(b) > 0 {
		used := s.take(b)
		if used == 0 {
			break
		}
		b = b[used:]
	}
	s.rest = append([]byte(nil), b...)
	s.mu.Unlock()
	select {
	case s.news <- struct{}{}:
	default:
	}
	return n, nil
}

// News is sent to after writes.
func (s *Screen) News() <-chan struct{} { return s.news }

// Wrote is the number of bytes that were written.
func (s *Screen) Wrote() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wrote
}

// Unknown lists the sequences that the screen does not know.
func (s *Screen) Unknown() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.broken...)
}

// Clipboard is what was put there last (OSC 52).
func (s *Screen) Clipboard() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clip
}

// Mode reports whether a private mode is set (DECSET).
func (s *Screen) Mode(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.modes[n]
}

// Cursor is the place of the cursor and whether it can be seen.
func (s *Screen) Cursor() (x, y int, visible bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.x, s.y, !s.hidden
}

// Cells is a copy of the screen.
func (s *Screen) Cells() [][]Cell {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([][]Cell, len(s.cells))
	for y := range s.cells {
		out[y] = append([]Cell(nil), s.cells[y]...)
	}
	return out
}

// Text is the characters of the screen, a line each, without blanks at the ends
// of lines.
func (s *Screen) Text() string {
	var b strings.Builder
	for _, line := range s.Cells() {
		var l strings.Builder
		for _, c := range line {
			if c.Rune != 0 {
				l.WriteRune(c.Rune)
			}
		}
		b.WriteString(strings.TrimRight(l.String(), " "))
		b.WriteByte('\n')
	}
	return b.String()
}

// Styled is Text with the parameters of SGR in ⟨⟩ wherever the style changes. Of
// a blank only what can be seen counts: programs choose the rest as it suits them.
func (s *Screen) Styled() string {
	var b strings.Builder
	for _, line := range s.Cells() {
		end := len(line)
		for end > 0 && line[end-1].invisible() {
			end--
		}
		last := plain
		for _, c := range line[:end] {
			if c.Rune == 0 {
				continue
			}
			if c.Rune == ' ' && !c.Style.Underline && !c.Style.Reverse {
				c.Style.FG, c.Style.Bold, c.Style.Faint, c.Style.Italic = last.FG, last.Bold, last.Faint, last.Italic
				if last.Underline || last.Reverse {
					c.Style = Style{FG: Default, BG: c.Style.BG}
				}
			}
			if c.Style != last {
				b.WriteString("⟨" + c.Style.String() + "⟩")
				last = c.Style
			}
			b.WriteRune(c.Rune)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// invisible reports whether nothing of the cell can be seen.
func (c Cell) invisible() bool {
	return c.Rune == ' ' && c.Style.BG == Default && !c.Style.Underline && !c.Style.Reverse
}

// String is the parameters of SGR; empty is the plain style.
func (t Style) String() string {
	var ps []string
	for _, a := range []struct {
		on bool
		p  string
	}{{t.Bold, "1"}, {t.Faint, "2"}, {t.Italic, "3"}, {t.Underline, "4"}, {t.Reverse, "7"}} {
		if a.on {
			ps = append(ps, a.p)
		}
	}
	color := func(c Color, base string) {
		if r, g, b, ok := c.RGB(); ok {
			ps = append(ps, base+"8;2;"+strconv.Itoa(int(r))+";"+strconv.Itoa(int(g))+";"+strconv.Itoa(int(b)))
		} else if c >= 0 {
			ps = append(ps, base+"8;5;"+strconv.Itoa(int(c)))
		}
	}
	color(t.FG, "3")
	color(t.BG, "4")
	return strings.Join(ps, ";")
}

// take acts on the beginning of b and returns how much that was; 0 asks for more.
func (s *Screen) take(b []byte) int {
	switch c := b[0]; {
	case c == 0x1b:
		return s.escape(b)
	case c == '\r':
		s.x = 0
	case c == '\n', c == '\v', c == '\f':
		s.down()
	case c == '\b':
		s.x = max(s.x-1, 0)
	case c == '\t':
		s.x = min((s.x/8+1)*8, s.width-1)
	case c < ' ' || c == 0x7f:
	default:
		if !utf8.FullRune(b) {
			return 0
		}
		r, n := utf8.DecodeRune(b)
		s.put(r)
		return n
	}
	return 1
}

func (s *Screen) put(r rune) {
	w := runewidth.RuneWidth(r)
	if w == 0 {
		return
	}
	if s.x+w > s.width {
		s.x = 0
		s.down()
	}
	s.cells[s.y][s.x] = Cell{r, s.style}
	if w == 2 && s.x+1 < s.width {
		s.cells[s.y][s.x+1] = Cell{0, s.style}
	}
	s.x += w
	s.last = r
}

// down moves the cursor a line down, scrolling at the end of the region.
func (s *Screen) down() {
	if s.y == s.bottom {
		s.scroll(s.top, 1)
		return
	}
	s.y = min(s.y+1, s.height-1)
}

// scroll moves the lines from one on up (n > 0) or down within the region.
func (s *Screen) scroll(from, n int) {
	region := s.cells[from : s.bottom+1]
	for ; n > 0; n-- {
		copy(region, region[1:])
		region[len(region)-1] = s.line()
	}
	for ; n < 0; n++ {
		copy(region[1:], region[:len(region)-1])
		region[0] = s.line()
	}
}

func (s *Screen) line() []Cell {
	l := make([]Cell, s.width)
	for i := range l {
		l[i] = s.erased()
	}
	return l
}

// erased is an empty place in the background of the style in force.
func (s *Screen) erased() Cell { return Cell{' ', Style{FG: Default, BG: s.style.BG}} }

func (s *Screen) unknown(seq []byte) {
	if len(s.broken) < 100 {
		s.broken = append(s.broken, strconv.Quote(string(seq)))
	}
}

// escape acts on a sequence that begins with ESC.
func (s *Screen) escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '[':
		for i := 2; i < len(b); i++ {
			if b[i] >= 0x40 && b[i] <= 0x7e {
				s.csi(b[:i+1])
				return i + 1
			}
		}
		return 0
	case ']', 'P', '_', '^': // strings, to BEL or ST
		for i := 2; i < len(b); i++ {
			if b[i] == 7 || b[i] == 0x1b && i+1 < len(b) && b[i+1] == '\\' {
				s.osc(b[1], string(b[2:i]))
				if b[i] == 7 {
					return i + 1
				}
				return i + 2
			}
		}
		return 0
	case '(', ')', '#', ' ':
		if len(b) < 3 {
			return 0
		}
		return 3
	case '7':
		s.saved = [2]int{s.x, s.y}
	case '8':
		s.x, s.y = s.saved[0], s.saved[1]
	case 'M':
		if s.y == s.top {
			s.scroll(s.top, -1)
		} else {
			s.y = max(s.y-1, 0)
		}
	case 'D':
		s.down()
	case 'E':
		s.x = 0
		s.down()
	case '=', '>', 'c', 'H':
	default:
		s.unknown(b[:2])
	}
	return 2
}

func (s *Screen) osc(kind byte, t string) {
	if kind != ']' {
		return
	}
	if rest, ok := strings.CutPrefix(t, "52;"); ok {
		if _, data, ok := strings.Cut(rest, ";"); ok {
			if d, err := base64.StdEncoding.DecodeString(data); err == nil {
				s.clip = string(d)
			}
		}
	}
}
