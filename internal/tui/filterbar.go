package tui

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// filterBar is the filter in force, and the one being typed.
type filterBar struct {
	text    string // in force, or tried while it is typed
	inverse bool
	editing bool
	edit    lineEdit
	// before is what Esc goes back to.
	before string
	err    *filter.Error

	words  []string // completions of the word at the cursor
	chosen int      // the one that Tab put there; -1 is none
	start  int      // where the word begins

	history []string // oldest first
	at      int      // place in the history
	typed   string   // what was typed before going through the history
	saved   []string
}

const (
	maxHistory = 100
	maxSaved   = 50
	maxWords   = 200
)

// tryFilter parses the text that is typed and, if it is right, shows what
// matches.
func (m *Model) tryFilter() {
	b := &m.bar
	f, err := filter.ParseWith(b.edit.text, m.cfg.FilterOptions())
	b.err = nil
	if err != nil {
		if !errors.As(err, &b.err) {
			b.err = &filter.Error{Text: b.edit.text, Msg: err.Error()}
		}
		return
	}
	b.text = b.edit.text
	m.useFilter(f)
}

// useFilter makes a parsed filter the one in force.
func (m *Model) useFilter(f *filter.Filter) {
	if f != nil && f.MatchesAll() && strings.TrimSpace(f.Text()) == "" {
		f = nil
	}
	m.live.setFilter(f, m.bar.inverse)
	if m.frozen != nil {
		m.frozen.setFilter(f, m.bar.inverse)
	}
	m.keepCursor()
	m.groups.stale = true
}

// setFilter puts a text into force that is known to be right.
func (m *Model) setFilter(t string) {
	f, err := filter.ParseWith(t, m.cfg.FilterOptions())
	if err != nil {
		m.say(sBad, err.Error())
		return
	}
	m.bar.text = t
	m.useFilter(f)
	m.remember(t)
}

// remember puts a filter into the history, once.
func (m *Model) remember(t string) {
	if strings.TrimSpace(t) == "" {
		return
	}
	b := &m.bar
	b.history = slices.DeleteFunc(b.history, func(h string) bool { return h == t })
	b.history = append(b.history, t)
	if n := len(b.history); n > maxHistory {
		b.history = slices.Delete(b.history, 0, n-maxHistory)
	}
	m.layoutChanged()
}

func (m *Model) editFilter() {
	b := &m.bar
	b.editing, b.before, b.err = true, b.text, nil
	b.edit.set(b.text)
	b.at = len(b.history)
	m.complete()
}

// filterKey takes a key while the filter is typed.
func (m *Model) filterKey(key, typed string) {
	b := &m.bar
	switch key {
	case "enter":
		if b.err != nil {
			return // what is wrong stays in sight
		}
		b.editing = false
		m.remember(b.text)
		return
	case "esc", "ctrl+c", "ctrl+g":
		b.editing, b.err = false, nil
		if b.text != b.before {
			m.setFilter(b.before)
		}
		return
	case "tab":
		m.takeWord(1)
		return
	case "shift+tab":
		m.takeWord(-1)
		return
	case "up", "ctrl+p":
		m.recall(-1)
		return
	case "down", "ctrl+n":
		m.recall(1)
		return
	case "ctrl+s":
		m.saveFilter()
		return
	}
	if b.edit.key(key, typed) {
		m.tryFilter()
		m.complete()
	}
}

// recall goes through the history.
func (m *Model) recall(by int) {
	b := &m.bar
	at := b.at + by
	if at < 0 || at > len(b.history) {
		return
	}
	if b.at == len(b.history) {
		b.typed = b.edit.text
	}
	b.at = at
	if at == len(b.history) {
		b.edit.set(b.typed)
	} else {
		b.edit.set(b.history[at])
	}
	m.tryFilter()
	m.complete()
}

func (m *Model) saveFilter() {
	b := &m.bar
	t := strings.TrimSpace(b.edit.text)
	if b.err != nil || t == "" {
		return
	}
	if !slices.Contains(b.saved, t) {
		b.saved = append(b.saved, t)
		if n := len(b.saved); n > maxSaved {
			b.saved = slices.Delete(b.saved, 0, n-maxSaved)
		}
		m.layoutChanged()
	}
	m.say(sGood, "saved; "+m.keys.label(actSavedFilters)+" chooses it again")
}

// complete finds the words that could stand at the cursor.
func (m *Model) complete() {
	b := &m.bar
	b.chosen = -1
	b.start = wordStart(b.edit.text[:b.edit.pos])
	partial := b.edit.text[b.start:b.edit.pos]
	b.words = filter.Complete(b.edit.text, b.edit.pos)
	if len(b.words) == 0 {
		b.words = m.values(b.edit.text[:b.start], partial)
	}
	b.words = slices.DeleteFunc(b.words, func(w string) bool { return w == partial })
	// Whatever the case: what is written in capitals is after the same in small
	// letters, which is the usual way to write it.
	slices.SortStableFunc(b.words, func(x, y string) int {
		return cmp.Or(strings.Compare(strings.ToLower(x), strings.ToLower(y)), strings.Compare(y, x))
	})
	if len(b.words) > maxWords {
		b.words = b.words[:maxWords]
	}
}

// wordStart is where the word at the end of t begins.
func wordStart(t string) int { return strings.LastIndexAny(t, " \t()!=<>,{:\"") + 1 }

// values are those of the field before the cursor among the rows at hand.
func (m *Model) values(before, partial string) []string {
	before = strings.TrimRight(before, " \t=~!\"")
	name := before[strings.LastIndexAny(before, " \t()")+1:]
	f := tcp.FieldByName(name)
	if f == nil || f.Str == nil {
		return nil
	}
	seen := make(map[string]bool)
	for _, r := range m.set().all {
		v, ok := f.Str(r.conn)
		if !ok || seen[v] || len(v) < len(partial) || !strings.EqualFold(v[:len(partial)], partial) || !plainWord(v) {
			continue
		}
		if seen[v] = true; len(seen) >= maxWords {
			break
		}
	}
	words := make([]string, 0, len(seen))
	for v := range seen {
		words = append(words, v)
	}
	slices.Sort(words)
	return words
}

// plainWord reports whether a value needs no quotes in a filter.
func plainWord(v string) bool {
	for i := range len(v) {
		c := v[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' && c != '/' {
			return false
		}
	}
	return v != ""
}

// takeWord puts the next completion to the cursor: first what all have in common,
// then one after the other.
func (m *Model) takeWord(by int) {
	b := &m.bar
	if len(b.words) == 0 {
		return
	}
	put := func(w string) {
		b.edit.cut(b.start, b.edit.pos)
		b.edit.insert(w)
	}
	partial := b.edit.text[b.start:b.edit.pos]
	if len(b.words) == 1 {
		put(b.words[0] + " ")
		m.tryFilter()
		m.complete()
		return
	}
	if common := commonPrefix(b.words); b.chosen < 0 && len(common) > len(partial) {
		put(common)
		words, start := b.words, b.start
		m.tryFilter()
		m.complete()
		if len(b.words) == 0 {
			b.words, b.start = words, start
		}
		return
	}
	n := len(b.words)
	if b.chosen < 0 && by < 0 {
		b.chosen = 0
	}
	b.chosen = (b.chosen + by + n) % n
	put(b.words[b.chosen])
	m.tryFilter()
}

func commonPrefix(words []string) string {
	p := words[0]
	for _, w := range words[1:] {
		for !strings.HasPrefix(w, p) {
			p = p[:len(p)-1]
		}
	}
	return p
}

// filterLines are the lines that the bar takes.
func (m *Model) filterLines() int {
	if m.bar.editing {
		return 3
	}
	return 1
}

// drawFilter draws the bar: the filter, and while it is typed what is wrong with
// it and what could come next.
func (m *Model) drawFilter(c *canvas) {
	b := &m.bar
	t := &m.set().totals
	sums := countText(t.match) + " of " + countText(t.all)
	if b.text != "" {
		sums += "  " + "↓" + rateText(t.matchRX) + " ↑" + rateText(t.matchTX)
	}
	if !b.editing {
		c.str(sKey, " "+m.keys.label(actFilter)+" ")
		switch {
		case b.text == "":
			c.str(sDim, "filter, as in  port 443 and rtt > 50ms")
		case b.inverse:
			c.str(sBad, "not ")
			c.str(sBold, "( "+b.text+" )")
		default:
			c.str(sBold, b.text)
		}
		if b.inverse && b.text == "" {
			c.str(sBad, "  inverse of nothing: no rows")
		}
		m.sumsRight(c, sums)
		c.end(sNormal)
		return
	}
	c.str(sKey, " / ")
	from, _ := m.editView()
	if from > 0 {
		c.str(sDim, "…")
	}
	shown := b.edit.text[from:]
	if b.err == nil {
		c.str(sBold, shown)
	} else {
		pos := min(max(b.err.Pos, from), len(b.edit.text))
		end := min(max(b.err.End, pos), len(b.edit.text))
		c.str(sBold, b.edit.text[from:pos])
		c.str(sBad, b.edit.text[pos:end])
		c.str(sBold, b.edit.text[end:])
	}
	m.sumsRight(c, sums)
	c.end(sNormal)
	m.drawCaret(c, from)
	m.drawWords(c)
}

func (m *Model) sumsRight(c *canvas, sums string) {
	if c.room() > len(sums)+1 {
		c.rightStr(sDim, sums+" ")
	}
}

// promptWidth is what stands before the text that is typed.
const promptWidth = 3

// editView is the offset of the first byte of the text that is in sight, and the
// column of the cursor.
func (m *Model) editView() (from, column int) {
	e := &m.bar.edit
	room := max(m.width-promptWidth-2, 8)
	for cells(e.text[from:e.pos]) > room {
		n := 1
		for from+n < len(e.text) && e.text[from+n]&0xc0 == 0x80 {
			n++
		}
		from += n
	}
	column = promptWidth + cells(e.text[from:e.pos])
	if from > 0 {
		column++
	}
	return from, column
}

// drawCaret points at what is wrong.
func (m *Model) drawCaret(c *canvas, from int) {
	b := &m.bar
	if b.err == nil {
		c.str(sDim, "   Enter takes it, Esc goes back, Tab completes, Ctrl-S saves")
		c.end(sNormal)
		return
	}
	pos := min(max(b.err.Pos, from), len(b.edit.text))
	x := promptWidth + cells(b.edit.text[from:pos])
	if from > 0 {
		x++
	}
	msg := b.err.Msg
	if b.err.Suggestion != "" {
		msg += "; did you mean " + b.err.Suggestion + "?"
	}
	if x+2+cells(msg) > m.width && cells(msg)+1 < x {
		c.to(sNormal, x-1-cells(msg))
		c.str(sWarn, msg+" ")
		c.str(sBad, "^")
	} else {
		x = min(x, max(m.width-cells(msg)-3, 0))
		c.to(sNormal, x)
		c.str(sBad, "^ ")
		c.str(sWarn, msg)
	}
	c.end(sNormal)
}

// drawWords lists completions around the chosen one.
func (m *Model) drawWords(c *canvas) {
	b := &m.bar
	c.str(sDim, "   ")
	first := 0
	for w := 0; first < b.chosen; first++ {
		w = 0
		for _, t := range b.words[first : b.chosen+1] {
			w += cells(t) + 2
		}
		if w < m.width-6 {
			break
		}
	}
	for i := first; i < len(b.words); i++ {
		if cells(b.words[i])+2 > c.room() {
			c.str(sDim, "…")
			break
		}
		s := sAccent
		if i == b.chosen {
			s = sKey
		}
		c.str(s, b.words[i])
		c.str(sDim, "  ")
	}
	c.end(sNormal)
}
