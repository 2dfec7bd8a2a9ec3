package filter

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// FuzzParse checks that no text panics, that errors are fit to print, that the
// canonical text means the same, and that the compiled form agrees with the
// plain reading of the tree.
func FuzzParse(f *testing.F) {
	for _, tt := range forms {
		f.Add(tt.text)
	}
	for _, tt := range carets {
		f.Add(tt.text)
	}
	conns := []*tcp.Conn{{}}
	for _, c := range named(f) {
		conns = append(conns, c)
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		conns = append(conns, randomConn(r))
	}
	f.Fuzz(func(t *testing.T, text string) {
		flt, err := ParseWith(text, Options{Now: now})
		if err != nil {
			var fe *Error
			if !errors.As(err, &fe) {
				t.Fatalf("%T is not an *Error", err)
			}
			if fe.Msg == "" {
				t.Fatal("an error without a message")
			}
			checkError(t, fe)
			return
		}
		canonical := flt.String()
		if !utf8.ValidString(canonical) {
			t.Fatalf("canonical text %q is not UTF-8", canonical)
		}
		again, err := Parse(canonical)
		if err != nil {
			// It is longer than the text, and may go over a limit.
			if len(canonical) > MaxText || strings.Contains(err.Error(), "nested deeper") {
				return
			}
			t.Fatalf("%q has canonical text %q: %v", text, canonical, err)
		}
		if !equal(flt, again) || again.String() != canonical {
			t.Fatalf("%q has canonical text %q, which is %q\n%s", text, canonical, again, diff(flt, again))
		}
		flt.Fields(nil)
		for _, c := range conns {
			if got, want := flt.Match(c), reference(flt.root, c); got != want || again.Match(c) != got {
				t.Fatalf("%q is %v for %+v, want %v, canonical %v", text, got, c, want, again.Match(c))
			}
		}
	})
}

// FuzzComplete checks that completing never panics, and offers only what begins
// as the word at the cursor does.
func FuzzComplete(f *testing.F) {
	for _, tt := range completions {
		f.Add(tt.text, len(tt.text))
	}
	f.Add("state established", 7)
	f.Fuzz(func(t *testing.T, text string, cursor int) {
		for _, w := range Complete(text, cursor) {
			if w == "" {
				t.Fatalf("Complete(%q, %d) offers nothing as a word", text, cursor)
			}
		}
	})
}

// FuzzReadServices checks that no file of services makes names without ports.
func FuzzReadServices(f *testing.F) {
	f.Add(servicesFile)
	f.Fuzz(func(t *testing.T, text string) {
		s, _ := ReadServices(strings.NewReader(text))
		for name, port := range s {
			if port == 0 || name == "" || strings.ContainsAny(name, " \t\n#") {
				t.Fatalf("%q has port %d", name, port)
			}
		}
	})
}
