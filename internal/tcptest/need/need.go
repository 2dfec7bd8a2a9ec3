// Package need ends tests that lack rights or a program. It imports nothing of the
// project, so that a package's own tests can use it.
package need

import (
	"os"
	"os/exec"
	"testing"
)

// That ends the test unless ok: it skips on a developer's machine, and fails
// where CI is set, because there a skipped test is a hole that nobody sees. what
// completes the sentence "this test needs …".
func That(tb testing.TB, ok bool, what string) {
	tb.Helper()
	switch {
	case ok:
	case CI():
		tb.Fatalf("this test needs %s, and CI must have it", what)
	default:
		tb.Skipf("this test needs %s", what)
	}
}

// Root is That for the rights of root.
func Root(tb testing.TB) {
	tb.Helper()
	That(tb, os.Geteuid() == 0, "root")
}

// Programs is That for programs in PATH.
func Programs(tb testing.TB, names ...string) {
	tb.Helper()
	for _, name := range names {
		_, err := exec.LookPath(name)
		That(tb, err == nil, "the program "+name)
	}
}

// Captures returns the directory of captures that VIEWTCP_CAPTURES names, and skips
// the test without it, on CI too: they and their truth stay out of the repository.
func Captures(tb testing.TB) string {
	tb.Helper()
	dir := os.Getenv("VIEWTCP_CAPTURES")
	if dir == "" {
		tb.Skip("VIEWTCP_CAPTURES names no directory of captures")
	}
	return dir
}

// CI reports whether the environment says that this is continuous integration.
func CI() bool {
	v := os.Getenv("CI")
	return v != "" && v != "false" && v != "0"
}
