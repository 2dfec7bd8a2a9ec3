package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/viewtcp/viewtcp/internal/tcptest/vt"
)

// The geometry of a picture, in pixels.
const (
	cellWidth, cellHeight = 8.4, 18.0
	baseline              = 13.5
	margin                = 14.0
	titleBar              = 30.0
)

// The colors of the terminal itself, and the first sixteen of the palette.
const (
	background = "#12161c"
	foreground = "#d6dae0"
)

var sixteen = [16]string{
	"#1b2027", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#c8ccd4",
	"#5c6370", "#ff7b86", "#b5e890", "#ffd68a", "#7cc4ff", "#e29bf5", "#7fdbe6", "#ffffff",
}

// hex is a color for SVG.
func hex(c vt.Color, usual string) string {
	if r, g, b, ok := c.RGB(); ok {
		return fmt.Sprintf("#%02x%02x%02x", r, g, b)
	}
	switch {
	case c == vt.Default:
		return usual
	case c < 16:
		return sixteen[c]
	case c < 232: // a cube of six levels
		n := int(c) - 16
		level := func(i int) int {
			if i == 0 {
				return 0
			}
			return 55 + 40*i
		}
		return fmt.Sprintf("#%02x%02x%02x", level(n/36), level(n/6%6), level(n%6))
	}
	g := 8 + 10*(int(c)-232)
	return fmt.Sprintf("#%02x%02x%02x", g, g, g)
}

// colors are those of a cell, reversed if it is.
func colors(s vt.Style) (fg, bg string) {
	fg, bg = hex(s.FG, foreground), hex(s.BG, background)
	if s.Reverse {
		fg, bg = bg, fg
	}
	return fg, bg
}

// appendSVG draws a screen with a cursor; a place outside of the screen is none.
// Blocks and Braille are drawn as shapes, because fonts disagree on them.
func appendSVG(b []byte, cells [][]vt.Cell, cursorX, cursorY int) []byte {
	w := float64(len(cells[0]))*cellWidth + 2*margin
	h := float64(len(cells))*cellHeight + titleBar + margin
	b = fmt.Appendf(b, `<svg xmlns="http://www.w3.org/2000/svg" width="%s" height="%s" viewBox="0 0 %s %s" role="img">`+"\n", px(w), px(h), px(w), px(h))
	b = append(b, `<style>text{font:14px ui-monospace,"DejaVu Sans Mono","Liberation Mono",Menlo,Consolas,monospace;white-space:pre}.b{font-weight:700}</style>`+"\n"...)
	b = fmt.Appendf(b, `<rect width="%s" height="%s" rx="9" fill="%s"/>`+"\n", px(w), px(h), background)
	for i, c := range []string{"#ff5f57", "#febc2e", "#28c840"} {
		b = fmt.Appendf(b, `<circle cx="%s" cy="15" r="5.5" fill="%s"/>`, px(margin+6+float64(i)*19), c)
	}
	b = append(b, '\n')
	for y, line := range cells {
		b = appendLine(b, line, titleBar+float64(y)*cellHeight)
	}
	if cursorY >= 0 && cursorY < len(cells) {
		b = fmt.Appendf(b, `<rect x="%s" y="%s" width="%s" height="%s" fill="%s" opacity="0.75"/>`+"\n",
			px(margin+float64(cursorX)*cellWidth), px(titleBar+float64(cursorY)*cellHeight), px(cellWidth), px(cellHeight), foreground)
	}
	return append(b, "</svg>\n"...)
}

// px is a number with at most two digits.
func px(v float64) string {
	return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(v, 'f', 2, 64), "0"), ".")
}

func appendLine(b []byte, line []vt.Cell, y float64) []byte {
	for x := 0; x < len(line); {
		_, bg := colors(line[x].Style)
		end := x + 1
		for end < len(line) {
			if _, next := colors(line[end].Style); next != bg {
				break
			}
			end++
		}
		if bg != background {
			b = fmt.Appendf(b, `<rect x="%s" y="%s" width="%s" height="%s" fill="%s"/>`,
				px(margin+float64(x)*cellWidth), px(y), px(float64(end-x)*cellWidth), px(cellHeight), bg)
		}
		x = end
	}
	for x := 0; x < len(line); {
		fg, _ := colors(line[x].Style)
		end := x
		var text, shapes []byte
		for end < len(line) && line[end].Style == line[x].Style {
			r := line[end].Rune
			if shape := appendShape(nil, r, margin+float64(end)*cellWidth, y); shape != nil {
				if len(text) > 0 {
					break
				}
				shapes = append(shapes, shape...)
			} else {
				if len(shapes) > 0 || r == ' ' && len(text) == 0 {
					break
				}
				text = append(text, escaped(r)...)
			}
			end++
		}
		switch {
		case len(shapes) > 0:
			b = fmt.Appendf(b, `<path fill="%s"%s d="%s"/>`, fg, faint(line[x].Style), shapes)
		case strings.TrimSpace(string(text)) != "":
			b = appendText(b, string(text), x, end, y, fg, line[x].Style)
		}
		x = max(end, x+1)
	}
	return append(b, '\n')
}

func faint(s vt.Style) string {
	if s.Faint {
		return ` opacity="0.6"`
	}
	return ""
}

// appendText writes a run of characters, stretched to the columns that it has.
func appendText(b []byte, t string, x, end int, y float64, fg string, s vt.Style) []byte {
	trimmed := strings.TrimRight(t, " ")
	end -= len(t) - len(trimmed)
	class := ""
	if s.Bold {
		class = ` class="b"`
	}
	if s.Underline {
		class += ` text-decoration="underline"`
	}
	return fmt.Appendf(b, `<text x="%s" y="%s" textLength="%s" lengthAdjust="spacingAndGlyphs" fill="%s"%s%s>%s</text>`,
		px(margin+float64(x)*cellWidth), px(y+baseline), px(float64(end-x)*cellWidth), fg, class, faint(s), trimmed)
}

func escaped(r rune) string {
	switch r {
	case 0:
		return "" // the second half of a wide one
	case '<':
		return "&lt;"
	case '>':
		return "&gt;"
	case '&':
		return "&amp;"
	}
	return string(r)
}

// appendShape draws a block or Braille character as a path; other characters are
// no shapes.
func appendShape(b []byte, r rune, x, y float64) []byte {
	rect := func(x, y, w, h float64) {
		b = fmt.Appendf(b, "M%s %sh%sv%sh-%sz", px(x), px(y), px(w), px(h), px(w))
	}
	switch {
	case r >= 0x2581 && r <= 0x2588: // eighths from below
		h := cellHeight * float64(r-0x2580) / 8
		rect(x, y+cellHeight-h, cellWidth, h)
	case r >= 0x2589 && r <= 0x258f: // eighths from the left
		rect(x, y, cellWidth*float64(0x2590-r)/8, cellHeight)
	case r > 0x2800 && r <= 0x28ff:
		const size = 2.6
		for i, at := range [8][2]float64{{0, 0}, {0, 1}, {0, 2}, {1, 0}, {1, 1}, {1, 2}, {0, 3}, {1, 3}} {
			if (r-0x2800)>>i&1 != 0 {
				rect(x+0.8+at[0]*cellWidth/2, y+1+at[1]*cellHeight/4, size, size)
			}
		}
	default:
		return nil
	}
	return b
}
