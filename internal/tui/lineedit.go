package tui

import (
	"strings"
	"unicode/utf8"
)

// lineEdit is one line of text being typed. pos is a byte offset into it.
type lineEdit struct {
	text string
	pos  int
}

// maxLine bounds what can be typed or pasted.
const maxLine = 4096

func (l *lineEdit) set(t string) { l.text, l.pos = t, len(t) }

// insert adds a text at the cursor; line ends become blanks.
func (l *lineEdit) insert(t string) {
	t = strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\r', r == '\t':
			return ' '
		case r < ' ' || r == 0x7f || r == utf8.RuneError:
			return -1
		}
		return r
	}, t)
	if len(l.text)+len(t) > maxLine {
		return
	}
	l.text = l.text[:l.pos] + t + l.text[l.pos:]
	l.pos += len(t)
}

func (l *lineEdit) left() int {
	_, n := utf8.DecodeLastRuneInString(l.text[:l.pos])
	return l.pos - n
}

func (l *lineEdit) right() int {
	_, n := utf8.DecodeRuneInString(l.text[l.pos:])
	return l.pos + n
}

// wordLeft is where the word before the cursor begins.
func (l *lineEdit) wordLeft() int {
	t := strings.TrimRight(l.text[:l.pos], " ")
	return strings.LastIndexByte(t, ' ') + 1
}

func (l *lineEdit) wordRight() int {
	i := l.pos
	for i < len(l.text) && l.text[i] == ' ' {
		i++
	}
	for i < len(l.text) && l.text[i] != ' ' {
		i++
	}
	return i
}

func (l *lineEdit) cut(from, to int) {
	l.text = l.text[:from] + l.text[to:]
	l.pos = from
}

// key edits; it reports whether the key was one of editing.
func (l *lineEdit) key(key, typed string) bool {
	switch key {
	case "left", "ctrl+b":
		l.pos = l.left()
	case "right", "ctrl+f":
		l.pos = l.right()
	case "home", "ctrl+a":
		l.pos = 0
	case "end", "ctrl+e":
		l.pos = len(l.text)
	case "ctrl+left", "alt+left", "alt+b":
		l.pos = l.wordLeft()
	case "ctrl+right", "alt+right", "alt+f":
		l.pos = l.wordRight()
	case "backspace", "ctrl+h":
		l.cut(l.left(), l.pos)
	case "delete", "ctrl+d":
		l.cut(l.pos, l.right())
	case "ctrl+w", "alt+backspace":
		l.cut(l.wordLeft(), l.pos)
	case "ctrl+u":
		l.cut(0, l.pos)
	case "ctrl+k":
		l.cut(l.pos, len(l.text))
	default:
		if typed == "" {
			return false
		}
		l.insert(typed)
	}
	return true
}
