package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/viewtcp/viewtcp/internal/tui"
)

// TestLayoutStore: what is kept comes back, and a broken file is as good as none.
func TestLayoutStore(t *testing.T) {
	s := layoutStore{filepath.Join(t.TempDir(), "viewtcp", "top.json")}
	if l := s.load(); l.Sort != "" {
		t.Errorf("a layout out of nothing: %+v", l)
	}
	want := tui.Layout{Sort: "rtt_us", Columns: []string{"pid"}, Filters: []string{"port 443"}}
	if err := s.save(want); err != nil {
		t.Fatal(err)
	}
	if got := s.load(); got.Sort != want.Sort || len(got.Columns) != 1 || got.Filters[0] != "port 443" {
		t.Errorf("kept %+v", got)
	}
	if err := os.WriteFile(s.path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l := s.load(); l.Sort != "" {
		t.Errorf("out of a broken file: %+v", l)
	}
}

// TestGuideKnowsTheKeys holds the table of docs/tui.md against the key map.
func TestGuideKnowsTheKeys(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "tui.md"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := tui.HelpKeys(nil)
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	last := ""
	for _, k := range keys {
		if k.Scope != last {
			if last != "" {
				want.WriteString("\n")
			}
			last = k.Scope
			want.WriteString("### " + k.Scope + "\n\n| keys | does | action |\n|---|---|---|\n")
		}
		want.WriteString("| " + strings.ReplaceAll(k.Keys, "|", `\|`) + " | " + k.Doc + " | `" + k.Action + "` |\n")
	}
	_, rest, _ := strings.Cut(string(b), "<!-- keys -->\n")
	table, _, _ := strings.Cut(rest, "<!-- end keys -->")
	if strings.TrimSpace(table) != strings.TrimSpace(want.String()) {
		t.Errorf("the table of keys in docs/tui.md should be:\n\n%s", want.String())
	}
}
