package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMarkdown(t *testing.T) {
	r := &report{}
	r.add(row{what: "a|b", ours: "1", limit: "≤ 2", verdict: meets(true), command: "x -y"})
	r.add(row{what: "c", ours: "3", peer: "4", limit: "≤ 2", verdict: meets(false), command: "x -y"})
	r.add(row{what: "d", command: "z"})
	r.note("by %s", "hand")
	want := strings.Join([]string{
		"the machine",
		"",
		"| what | ViewTCP | peer, same run | target | met |",
		"|---|---|---|---|---|",
		`| a\|b | 1 | – | ≤ 2 | yes |`,
		"| c | 3 | 4 | ≤ 2 | **no** |",
		"| d | – | – | – | – |",
		"",
		"Commands measured:",
		"",
		"```",
		"x -y",
		"z",
		"```",
		"",
		"by hand",
		"",
	}, "\n")
	if diff := cmp.Diff(want, r.markdown("the machine")); diff != "" {
		t.Error(diff)
	}
}

func TestRewrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "benchmarks.md")
	one, two := section{"P1", "One"}, section{"P2", "Two"}
	write := func(s section, text string) {
		t.Helper()
		if err := rewrite(path, s, text); err != nil {
			t.Fatal(err)
		}
	}
	write(one, "first\n")
	write(two, "second\n")
	write(one, "third\n")
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := preface + "\n## P1: One\n\n<!-- bench P1 -->\nthird\n<!-- end P1 -->\n\n## P2: Two\n\n<!-- bench P2 -->\nsecond\n<!-- end P2 -->\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
	if _, err := replace([]byte(one.begin()), one, "x"); err == nil {
		t.Error("no error for a section without an end")
	}
}

func TestNumbers(t *testing.T) {
	for _, test := range []struct {
		in   []time.Duration
		want time.Duration
	}{{nil, 0}, {[]time.Duration{3, 1, 2}, 2}, {[]time.Duration{4, 1, 2, 3}, 2}} {
		if got := median(test.in); got != test.want {
			t.Errorf("median(%v) = %d, want %d", test.in, got, test.want)
		}
	}
	if perX, at0 := slope([]float64{1, 2, 3}, []float64{12, 14, 16}); perX != 2 || at0 != 10 {
		t.Errorf("slope %v over %v, want 2 over 10", perX, at0)
	}
	if perX, _ := slope([]float64{1}, []float64{2}); perX != 0 {
		t.Errorf("slope of one point is %v", perX)
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %q, want %q", n, got, want)
		}
	}
}
