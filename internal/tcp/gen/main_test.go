package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// TestFieldsDocIsCurrent fails when the registry changed and docs/fields.md did
// not.
func TestFieldsDocIsCurrent(t *testing.T) {
	got, err := os.ReadFile("../../../docs/fields.md")
	if err != nil {
		t.Fatal(err)
	}
	// A checkout on Windows may have turned the line ends.
	got = bytes.ReplaceAll(got, []byte("\r\n"), []byte("\n"))
	if !bytes.Equal(got, render(tcp.Fields())) {
		t.Error("docs/fields.md is stale: run go generate ./internal/tcp")
	}
}

// TestEveryFieldIsDocumented checks that no kind or group lacks its words.
func TestEveryFieldIsDocumented(t *testing.T) {
	for _, f := range tcp.Fields() {
		if values(f) == "" {
			t.Errorf("%s: kind %v has no words", f.Name, f.Kind)
		}
		if groupDocs[f.Group] == "" {
			t.Errorf("%s: group %v has no words", f.Name, f.Group)
		}
	}
}
