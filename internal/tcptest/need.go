package tcptest

import (
	"os"
	"os/exec"
	"testing"
)

// Need ends the test unless ok: it skips on a developer's machine, and fails
// where CI is set, because there a skipped test is a hole that nobody sees. what
// completes the sentence "this test needs …".
func Need(tb testing.TB, ok bool, what string) {
	tb.Helper()
	switch {
	case ok:
	case CI():
		tb.Fatalf("this test needs %s, and CI must have it", what)
	default:
		tb.Skipf("this test needs %s", what)
	}
}

// NeedRoot is Need for the rights of root.
func NeedRoot(tb testing.TB) {
	tb.Helper()
	Need(tb, os.Geteuid() == 0, "root")
}

// NeedPrograms is Need for programs in PATH.
func NeedPrograms(tb testing.TB, names ...string) {
	tb.Helper()
	for _, name := range names {
		_, err := exec.LookPath(name)
		Need(tb, err == nil, "the program "+name)
	}
}

// CI reports whether the environment says that this is continuous integration.
func CI() bool {
	v := os.Getenv("CI")
	return v != "" && v != "false" && v != "0"
}
