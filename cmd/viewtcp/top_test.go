package main

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/viewtcp/viewtcp/internal/tui"
)

func TestParseCounters(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       map[string]uint64
		fails      bool
	}{
		{
			"kernel", "Tcp: RtoAlgorithm MaxConn RetransSegs\nTcp: 1 -1 42\nTcpExt: ListenOverflows\nTcpExt: 7\n",
			map[string]uint64{"Tcp.RtoAlgorithm": 1, "Tcp.RetransSegs": 42, "TcpExt.ListenOverflows": 7},
			false,
		},
		{"fewer values", "Tcp: A B C\nTcp: 1 2\n", map[string]uint64{"Tcp.A": 1, "Tcp.B": 2}, false},
		{"empty", "", map[string]uint64{}, false},
		{"other group", "Tcp: A\nUdp: 1\n", map[string]uint64{}, true},
		{"no values", "Tcp: A\n", map[string]uint64{}, false},
	} {
		got := make(map[string]uint64)
		err := parseCounters(strings.NewReader(tt.text), got)
		if !maps.Equal(got, tt.want) || (err != nil) != tt.fails {
			t.Errorf("%s: %v, %v; want %v", tt.name, got, err, tt.want)
		}
	}
}

func FuzzParseCounters(f *testing.F) {
	f.Add("Tcp: A B\nTcp: 1 -1\nTcpExt: C\nTcpExt: 18446744073709551615\n")
	f.Add("Tcp\n\n:\n:")
	f.Fuzz(func(t *testing.T, text string) {
		got := make(map[string]uint64)
		_ = parseCounters(strings.NewReader(text), got)
		if len(got) > len(text) {
			t.Errorf("%d counters of %d bytes", len(got), len(text))
		}
	})
}

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
