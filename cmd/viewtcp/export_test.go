package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// TestFileHas: a text is found wherever it lies, across pieces too.
func TestFileHas(t *testing.T) {
	text := []byte("c6qm2doitf2qbf")
	path := filepath.Join(t.TempDir(), "x")
	for _, at := range []int{-1, 0, 1, 1<<20 - 20, 1<<20 - 14, 1<<20 - 7, 1 << 20, 1<<21 - 21, 3<<20 - 14} {
		content := bytes.Repeat([]byte{'c'}, 3<<20)
		if at >= 0 {
			copy(content[at:], text)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if has, err := fileHas(path, text); err != nil || has != (at >= 0) {
			t.Errorf("at %d: %v, %v", at, has, err)
		}
	}
}

// TestExportPrunes: what addresses decide is decided by the index, and never too
// much of it.
func TestExportPrunes(t *testing.T) {
	tuple := tcp.Tuple{
		Local: tcp.AddrFrom4([4]byte{192, 0, 2, 1}), Remote: tcp.AddrFrom4([4]byte{198, 51, 100, 7}), LocalPort: 443, RemotePort: 51000,
	}
	for text, want := range map[string]bool{
		"": true, "port 443": true, "port 444": false, "host 192.0.2.1 and process curl": true, "host 192.0.2.9 and process curl": false,
		// Which end is local is not known yet.
		"dport 443": true, "src host 198.51.100.7": true, "sport 1": false,
		// What the packets tell is not known either.
		"tcp.flags.syn == 1": true, "port 1 or rtt > 1ms": true, "not port 443": false, "ip6": false,
	} {
		f, err := filter.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		match := (&recorded{filter: f}).mayMatch()
		for _, as := range []tcp.Tuple{tuple, tuple.Reverse()} {
			if got := match == nil || match(as); got != want {
				t.Errorf("%q may match: %v, want %v", text, got, want)
			}
		}
	}
	f, err := filter.Parse("c6qm2doitf2qbf")
	if err != nil {
		t.Fatal(err)
	}
	if id, ok := loneID(f); !ok || id.String() != "c6qm2doitf2qbf" {
		t.Errorf("%v, %v", id, ok)
	}
}
