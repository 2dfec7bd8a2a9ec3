package tui

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	time.Local = time.UTC
	code := m.Run()
	// After a panic the library does not wait for its reader, and a key that
	// comes while it ends has nobody to take it.
	err := goleak.Find(
		goleak.IgnoreAnyFunction("github.com/charmbracelet/ultraviolet.(*TerminalReader).StreamEvents"),
		goleak.IgnoreAnyFunction("github.com/muesli/cancelreader.(*epollCancelReader).Read"),
	)
	if err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "after all tests:", err)
		code = 1
	}
	os.Exit(code)
}
