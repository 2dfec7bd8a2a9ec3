package usage

import (
	"os"
	"strings"
	"testing"

	"github.com/viewtcp/viewtcp/internal/store"
)

// TestMeasuresAreDocumented checks that users can read what each value means.
func TestMeasuresAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/context.md")
	if err != nil {
		t.Fatal(err)
	}
	for m := range store.NumMeasures {
		kind := "counter"
		if m.Info().Gauge {
			kind = "gauge"
		}
		if want := "| `" + m.String() + "` | " + kind + " | " + m.Info().Doc + " |\n"; !strings.Contains(string(text), want) {
			t.Errorf("docs/context.md lacks %s", want)
		}
	}
}
