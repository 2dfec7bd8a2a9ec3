package vt

import (
	"strconv"
	"strings"
)

// csi acts on a control sequence (ECMA-48, section 5.4), given whole.
func (s *Screen) csi(seq []byte) {
	final := seq[len(seq)-1]
	text := string(seq[2 : len(seq)-1])
	prefix := byte(0)
	if text != "" && strings.IndexByte("?><=", text[0]) >= 0 {
		prefix, text = text[0], text[1:]
	}
	if text != "" && text[len(text)-1] >= 0x20 && text[len(text)-1] <= 0x2f {
		return // DECSCUSR, DECRQM and the like: nothing that can be seen
	}
	ps := params(text)
	n := func(i, usual int) int {
		if i < len(ps) && ps[i] > 0 {
			return ps[i]
		}
		return usual
	}
	if prefix == '?' {
		s.private(final, ps)
		return
	}
	if prefix != 0 {
		return // keyboard protocols, versions
	}
	switch final {
	case 'A':
		s.y = max(s.y-n(0, 1), 0)
	case 'B', 'e':
		s.y = min(s.y+n(0, 1), s.height-1)
	case 'C', 'a':
		s.x = min(s.x+n(0, 1), s.width-1)
	case 'D':
		s.x = max(min(s.x, s.width-1)-n(0, 1), 0)
	case 'E':
		s.x, s.y = 0, min(s.y+n(0, 1), s.height-1)
	case 'F':
		s.x, s.y = 0, max(s.y-n(0, 1), 0)
	case 'G', '`':
		s.x = min(n(0, 1)-1, s.width-1)
	case 'H', 'f':
		s.y, s.x = min(n(0, 1)-1, s.height-1), min(n(1, 1)-1, s.width-1)
	case 'd':
		s.y = min(n(0, 1)-1, s.height-1)
	case 'I':
		for range n(0, 1) {
			s.x = min((s.x/8+1)*8, s.width-1)
		}
	case 'Z':
		for range n(0, 1) {
			s.x = max((s.x-1)/8*8, 0)
		}
	case 'J':
		s.eraseScreen(n(0, 0))
	case 'K':
		s.eraseLine(n(0, 0))
	case 'X':
		s.fill(s.y, s.x, s.x+n(0, 1))
	case 'P':
		line := s.cells[s.y]
		k := min(n(0, 1), s.width-s.x)
		copy(line[s.x:], line[s.x+k:])
		s.fill(s.y, s.width-k, s.width)
	case '@':
		line := s.cells[s.y]
		k := min(n(0, 1), s.width-s.x)
		copy(line[s.x+k:], line[s.x:s.width-k])
		s.fill(s.y, s.x, s.x+k)
	case 'L':
		if s.y >= s.top && s.y <= s.bottom {
			s.scroll(s.y, -n(0, 1))
		}
	case 'M':
		if s.y >= s.top && s.y <= s.bottom {
			s.scroll(s.y, n(0, 1))
		}
	case 'S':
		s.scroll(s.top, n(0, 1))
	case 'T':
		s.scroll(s.top, -n(0, 1))
	case 'b':
		for range n(0, 1) {
			s.put(s.last)
		}
	case 'r':
		s.top, s.bottom = n(0, 1)-1, min(n(1, s.height), s.height)-1
		s.x, s.y = 0, 0
	case 'm':
		s.sgr(ps)
	case 's':
		s.saved = [2]int{s.x, s.y}
	case 'u':
		s.x, s.y = s.saved[0], s.saved[1]
	case 'c', 'n', 'h', 'l', 't', 'g', 'q':
	default:
		s.unknown(seq)
	}
}

func params(t string) (ps []int) {
	if t == "" {
		return nil
	}
	for p := range strings.FieldsFuncSeq(strings.ReplaceAll(t, ";;", ";0;"), func(r rune) bool { return r == ';' || r == ':' }) {
		v, _ := strconv.Atoi(p)
		ps = append(ps, v)
	}
	return ps
}

// private sets and resets the modes of DECSET.
func (s *Screen) private(final byte, ps []int) {
	if final != 'h' && final != 'l' {
		return
	}
	on := final == 'h'
	for _, p := range ps {
		s.modes[p] = on
		switch p {
		case 25:
			s.hidden = !on
		case 47, 1047, 1049:
			switch {
			case on && s.main == nil:
				s.main = s.cells
				s.cells = blank(s.width, s.height)
			case !on && s.main != nil:
				s.cells, s.main = s.main, nil
				if len(s.cells) != s.height || len(s.cells[0]) != s.width {
					s.cells = blank(s.width, s.height)
				}
			}
		}
	}
}

func (s *Screen) fill(y, from, to int) {
	for x := max(from, 0); x < min(to, s.width); x++ {
		s.cells[y][x] = s.erased()
	}
}

func (s *Screen) eraseScreen(how int) {
	switch how {
	case 0:
		s.fill(s.y, s.x, s.width)
		for y := s.y + 1; y < s.height; y++ {
			s.fill(y, 0, s.width)
		}
	case 1:
		for y := range s.y {
			s.fill(y, 0, s.width)
		}
		s.fill(s.y, 0, s.x+1)
	default:
		for y := range s.height {
			s.fill(y, 0, s.width)
		}
	}
}

func (s *Screen) eraseLine(how int) {
	switch how {
	case 0:
		s.fill(s.y, s.x, s.width)
	case 1:
		s.fill(s.y, 0, s.x+1)
	default:
		s.fill(s.y, 0, s.width)
	}
}

// sgr chooses the style of what follows.
func (s *Screen) sgr(ps []int) {
	if len(ps) == 0 {
		s.style = plain
	}
	for i := 0; i < len(ps); i++ {
		t := &s.style
		switch p := ps[i]; {
		case p == 0:
			*t = plain
		case p == 1:
			t.Bold = true
		case p == 2:
			t.Faint = true
		case p == 3:
			t.Italic = true
		case p == 4:
			t.Underline = true
		case p == 7:
			t.Reverse = true
		case p == 22:
			t.Bold, t.Faint = false, false
		case p == 23:
			t.Italic = false
		case p == 24:
			t.Underline = false
		case p == 27:
			t.Reverse = false
		case p >= 30 && p <= 37:
			t.FG = Color(p - 30)
		case p == 39:
			t.FG = Default
		case p >= 40 && p <= 47:
			t.BG = Color(p - 40)
		case p == 49:
			t.BG = Default
		case p >= 90 && p <= 97:
			t.FG = Color(p - 90 + 8)
		case p >= 100 && p <= 107:
			t.BG = Color(p - 100 + 8)
		case p == 38 || p == 48:
			c, used := extended(ps[i+1:])
			i += used
			if p == 38 {
				t.FG = c
			} else {
				t.BG = c
			}
		}
	}
}

// extended reads a color of the palette or RGB after 38 or 48.
func extended(ps []int) (c Color, used int) {
	switch {
	case len(ps) >= 2 && ps[0] == 5:
		return Color(ps[1]), 2
	case len(ps) >= 4 && ps[0] == 2:
		return rgb | Color(ps[1]&255)<<16 | Color(ps[2]&255)<<8 | Color(ps[3]&255), 4
	}
	return Default, len(ps)
}
