package filter

import (
	"os"
	"strings"
	"testing"
)

// TestDocs parses every example of docs/filters.md: those in blocks marked
// filter must parse, those marked refused must not.
func TestDocs(t *testing.T) {
	b, err := os.ReadFile("../../docs/filters.md")
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	block := ""
	for i, line := range strings.Split(string(b), "\n") {
		if mark, ok := strings.CutPrefix(line, "```"); ok {
			block = mark
			continue
		}
		if block != "filter" && block != "refused" || strings.TrimSpace(line) == "" {
			continue
		}
		count[block]++
		f, err := ParseWith(line, Options{Now: now})
		if (err == nil) != (block == "filter") {
			t.Errorf("line %d: %s: %v", i+1, line, err)
			continue
		}
		if err != nil {
			continue
		}
		again, err := Parse(f.String())
		if err != nil || !equal(f, again) {
			t.Errorf("line %d: %s: canonical text %s: %v", i+1, line, f, err)
		}
	}
	if count["filter"] < 100 || count["refused"] < 10 {
		t.Errorf("found only %v examples", count)
	}
	// The error shown is the one that is made.
	_, shown, _ := strings.Cut(string(b), "```text\n")
	shown, _, _ = strings.Cut(shown, "\n```")
	text := strings.TrimSpace(strings.Split(shown+"\n\n", "\n")[1])
	_, err = Parse(text)
	if e, ok := err.(*Error); !ok || e.Caret() != shown { //nolint:errorlint // Parse documents its type
		t.Errorf("the documented error\n%s\nis not that of %q: %v", shown, text, err)
	}
}
