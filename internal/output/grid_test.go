package output

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestGrid(t *testing.T) {
	g := &Grid{Columns: []GridColumn{{Head: "PROCESS"}, {Head: "COUNT", Right: true}, {Head: "", Drop: 1}}}
	g.Add("nginx", "1200", "████")
	g.Add("日本", "7")
	g.Add("a\x1b[31mb", "", "▏")
	want := "" +
		"PROCESS     COUNT\n" +
		"nginx        1200  ████\n" +
		"日本            7\n" +
		"a\\x1b[31mb         ▏\n"
	if diff := cmp.Diff(want, string(g.Append(nil))); diff != "" {
		t.Errorf("grid (-want +got):\n%s", diff)
	}
	g.Width = 18
	for line := range strings.Lines(string(g.Append(nil))) {
		if w := Width(strings.TrimSuffix(line, "\n")); w > 18 || strings.Contains(line, "█") {
			t.Errorf("%d columns, want 18 without the last one: %q", w, line)
		}
	}
}

func TestGridOfHostileTexts(t *testing.T) {
	for _, s := range hostileTexts() {
		g := &Grid{Columns: []GridColumn{{Head: "A"}, {Head: "B"}}}
		g.Add(s, "x")
		out := g.Append(nil)
		wantHarmless(t, out)
		if n := strings.Count(string(out), "\n"); n != 2 {
			t.Fatalf("%q makes a table of %d lines", s, n)
		}
	}
}

func TestCut(t *testing.T) {
	for _, tt := range []struct {
		in    string
		width int
		want  string
	}{{"nginx", 5, "nginx"}, {"nginx", 4, "ngi…"}, {"日本語", 5, "日本…"}, {"x", 0, ""}, {"", 3, ""}} {
		if got := Cut(tt.in, tt.width); Width(got) > tt.width || got != tt.want {
			t.Errorf("Cut(%q, %d) = %q, want %q", tt.in, tt.width, got, tt.want)
		}
	}
}
