package tcptest

import (
	"bytes"
	"flag"
	"os"
	"testing"
)

var record = flag.Bool("record", false, "write testdata/ss-6.1.txt anew from this machine's ss")

// TestRecord records this machine's ss, which must be readable; with -record it
// becomes what the tests of every system use.
func TestRecord(t *testing.T) {
	scene := NewScene(t, 8)
	var all []byte
	for _, n := range scene.Namespaces[1:] {
		out, err := n.Run(t.Context(), "", "ss", "-tinpaeOH")
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(out) {
			all = append(append(all, bytes.TrimRight(line, " \n")...), '\n')
		}
	}
	if rows, err := ParseSS(all); err != nil || len(rows) == 0 {
		t.Fatalf("%d sockets read from what ss printed: %v", len(rows), err)
	}
	if !*record {
		return
	}
	if err := os.WriteFile("testdata/ss-6.1.txt", all, 0o644); err != nil {
		t.Fatal(err)
	}
}
