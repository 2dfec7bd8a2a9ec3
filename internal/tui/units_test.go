package tui

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/viewtcp/viewtcp/internal/chart"
	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest/demo"
	"github.com/viewtcp/viewtcp/internal/text"
)

func TestSparkline(t *testing.T) {
	nan := math.NaN()
	for _, tt := range []struct {
		values []float64
		width  int
		want   string
	}{
		{[]float64{0, 1, 2, 4, 8}, 5, "▁▁▂▄█"},
		{[]float64{8}, 3, "  █"},
		{[]float64{nan, 0, 0}, 3, " ▁▁"},
		{[]float64{9, 9, 1, 7}, 2, "▂█"},
		{nil, 2, "  "},
	} {
		if got := sparkline(tt.values, tt.width); got != tt.want {
			t.Errorf("sparkline(%v, %d) = %q, want %q", tt.values, tt.width, got, tt.want)
		}
	}
}

func TestFlip(t *testing.T) {
	up := chart.Braille([]float64{8, 0.1}, 1, 2, 0)
	if back := flip(flip(up)); !slices.Equal(back, up) {
		t.Errorf("flipped twice: %q", back)
	}
	if got := flip([]string{"⣄ "}); got[0] != "⠋ " {
		t.Errorf("flipped: %q", got)
	}
}

func TestPercentile(t *testing.T) {
	v := []uint32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for p, want := range map[int]uint64{50: 5, 95: 10, 100: 10, 1: 1} {
		if got := percentile(v, p); got != want {
			t.Errorf("p%d = %d, want %d", p, got, want)
		}
	}
	if percentile(nil, 50) != 0 {
		t.Error("a percentile of nothing")
	}
}

// TestFit: columns fit into every width, and none is wider than it needs to be.
func TestFit(t *testing.T) {
	cols := columnsByName(append(slices.Clone(defaultColumns), "cmdline", "cookie"))
	want := make([]int, len(cols))
	for i, c := range cols {
		want[i] = c.least + i*3
	}
	for width := 1; width < 400; width++ {
		got := fit(cols, want, width, 1)
		sum := len(got) - 1
		for i, w := range got {
			sum += w
			if w < cols[i].least || w > cols[i].most {
				t.Fatalf("width %d: column %s has %d", width, cols[i].name, w)
			}
		}
		if sum > width && len(got) > 1 {
			t.Fatalf("width %d: columns %v take %d", width, got, sum)
		}
	}
}

// TestUsualFilters: what is offered is right.
func TestUsualFilters(t *testing.T) {
	for _, f := range usualFilters {
		if _, err := filter.Parse(f); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// TestGroupFilters: the filter of each group matches its connections and no
// others, whatever they are called.
func TestGroupFilters(t *testing.T) {
	feed := demo.Host()
	feed.Step(5)
	hostile := demo.Hostile(demo.HostileTexts())
	hostile.Step(1)
	for _, conns := range [][]*tcp.Conn{feed.Snapshot().Conns, hostile.Snapshot().Conns} {
		for _, by := range groupings {
			for _, c := range conns {
				k := by.key(c)
				f, err := filter.Parse(k.filter(by))
				if err != nil {
					t.Fatalf("%s of %q: %v", by.title, k.label(by), err)
				}
				for _, other := range conns {
					if got, want := f.Match(other), by.key(other) == k; got != want && k.known {
						t.Fatalf("%s: %s matches %v, want %v", by.title, f.Text(), got, want)
					}
				}
			}
		}
	}
}

// TestKeyMap: what a configuration may change, and what is refused.
func TestKeyMap(t *testing.T) {
	for _, tt := range []struct {
		changes map[string][]string
		fails   string
	}{
		{nil, ""},
		{map[string][]string{"freeze": {"F5", "Z"}}, ""},
		{map[string][]string{"view_overview": {"x"}}, ""},
		{map[string][]string{"freeze": {"q"}}, `"q" stands for quit and freeze`},
		{map[string][]string{"freeze": {"K"}}, `"K" stands for`},
		{map[string][]string{"freeze": {""}}, "empty key"},
		{map[string][]string{"frieze": {"x"}}, `no action "frieze"`},
	} {
		err := CheckKeys(tt.changes)
		if (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
			t.Errorf("%v: %v, want %q", tt.changes, err, tt.fails)
		}
	}
	m, err := newKeyMap(map[string][]string{"freeze": {"F5", "ctrl+P"}})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]action{"f5": actFreeze, "ctrl+p": actFreeze, "p": "", "K": actClose, "k": actUp} {
		if got := m.find(inTable, key); got != want {
			t.Errorf("%s does %q, want %q", key, got, want)
		}
	}
	if got := m.labels(actFreeze); got != "F5, Ctrl-P" {
		t.Errorf("labels %q", got)
	}
}

// FuzzCanvas: whatever the text, a line has its width and nothing that acts on a
// terminal.
func FuzzCanvas(f *testing.F) {
	for _, s := range demo.HostileTexts()[:40] {
		f.Add(s, 12, true)
		f.Add(s, 3, false)
	}
	f.Fuzz(func(t *testing.T, s string, width int, right bool) {
		if width < 1 || width > 300 {
			return
		}
		for _, ascii := range []bool{false, true} {
			c := newCanvas(width+4, themeMono, ascii)
			c.cell(sNormal, s, width, right)
			if c.x != width {
				t.Fatalf("%q takes %d columns, want %d", s, c.x, width)
			}
			c.end(sNormal)
			c.endCell(sBold, s, width)
			if c.x != width {
				t.Fatalf("%q as an end takes %d columns, want %d", s, c.x, width)
			}
			c.end(sNormal)
			c.str(sNormal, s)
			if c.x > c.width {
				t.Fatalf("%q takes %d columns of %d", s, c.x, c.width)
			}
			c.end(sNormal)
			plain := strings.NewReplacer("\x1b[0m", "", "\x1b[0;1m", "", "\x1b[m", "", "\n", "").Replace(string(c.b))
			for i, r := range plain {
				if _, n := utf8.DecodeRuneInString(plain[i:]); text.Hostile(r) || r == utf8.RuneError && n == 1 || ascii && r >= 0x80 {
					t.Fatalf("%q became %q", s, plain)
				}
			}
		}
	})
}

// FuzzFilterBar types anything into the filter bar.
func FuzzFilterBar(f *testing.F) {
	f.Add("rtt > 50ms", "left,left,x,tab,enter")
	f.Add("process ~ \"", "home,delete,ctrl+w,tab,tab,up,down,esc")
	f.Add("日本語 \x1b[2J", "end,backspace,ctrl+left,ctrl+right,ctrl+u")
	m, err := newModel(f.Context(), testConfigOf(demo.Host()))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, typed, keys string) {
		m.editFilter()
		m.filterKey("", typed)
		for k := range strings.SplitSeq(keys, ",") {
			if m.filterKey(k, ""); !m.bar.editing {
				m.editFilter()
			}
			if e := m.bar.edit; e.pos < 0 || e.pos > len(e.text) {
				t.Fatalf("the cursor is at %d of %q", e.pos, e.text)
			}
			_ = m.draw()
		}
	})
}

// testConfigOf is a configuration for models without a terminal.
func testConfigOf(feed *demo.Feed) Config {
	cfg := DefaultConfig()
	cfg.View = feed
	cfg.FilterOptions = func() filter.Options { return filter.Options{Now: demo.Start} }
	return cfg
}

func TestSqueeze(t *testing.T) {
	nan := math.NaN()
	for _, tt := range []struct {
		name   string
		values []float64
		before int
		width  int
		want   []float64
	}{
		{"few", []float64{1, 2}, 0, 5, []float64{1, 2}},
		{"none", nil, 0, 5, nil},
		{"pairs", []float64{1, 2, 4, 3, 9, 0}, 0, 3, []float64{2, 4, 9}},
		{"the last group is not full", []float64{1, 2, 4, 3, 9}, 0, 3, []float64{2, 4, 9}},
		{"groups begin where they would have", []float64{2, 4, 3, 9, 0}, 1, 3, []float64{2, 4, 9}},
		{"one more for a group cut at both ends", []float64{2, 4, 3, 9, 0, 7}, 1, 3, []float64{4, 9, 7}},
		{"unknown", []float64{nan, nan, nan, 1}, 0, 2, []float64{nan, 1}},
	} {
		got := squeeze(tt.values, tt.before, tt.width)
		if !slices.EqualFunc(got, tt.want, func(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestSamplesOutOfSight: what was not sampled stays blank, and what was counted
// meanwhile is told of no moment.
func TestSamplesOutOfSight(t *testing.T) {
	var hs histories
	r := &row{conn: conn(1, tcp.Established, 5)}
	r.conn.Has |= tcp.HasRetransmits
	for _, sec := range []int64{100, 101, 101, 105, 106} {
		r.conn.Metrics.Retransmits += 2
		hs.add(r, at(sec).Boot, time.Second)
	}
	h := hs.byID[1]
	draw := func(series int) string { return sparkline(h.values(nil, series), 8) }
	if got, want := draw(seriesRX), " ██   ██"; got != want {
		t.Errorf("rates %q, want %q", got, want)
	}
	if got, want := draw(seriesRetransmits), "  █    █"; got != want {
		t.Errorf("retransmissions %q, want %q", got, want)
	}
	if got := h.span(at(106).Boot); got != 6*time.Second {
		t.Errorf("a span of %v", got)
	}
	hs.add(r, at(9_000).Boot, time.Second) // longer than anything is kept
	if got := h.values(nil, seriesRX); len(got) != historyLen || !math.IsNaN(got[0]) || got[historyLen-1] != 5 {
		t.Errorf("after a long time: %v", got)
	}
}

// TestUnknownSums: a group without a known value has none, and comes last
// whichever way groups are sorted.
func TestUnknownSums(t *testing.T) {
	with, without := &group{label: "with"}, &group{label: "without"}
	c := conn(1, tcp.Established, 0)
	with.add(&row{conn: c})
	without.add(&row{conn: &tcp.Conn{ID: 2, State: tcp.Listen}})
	if t1, _ := with.cell(groupRX); t1 != "0" {
		t.Errorf("known to be nothing: %q", t1)
	}
	if t1, _ := without.cell(groupRX); t1 != "--" {
		t.Errorf("unknown: %q", t1)
	}
	for _, reverse := range []bool{false, true} {
		g := groups{sort: groupRX, reverse: reverse}
		if g.compare(with, without) >= 0 {
			t.Errorf("reverse %v: the unknown is first", reverse)
		}
	}
}
