package tcptest

import (
	"os"
	"os/exec"
	"testing"
)

// Need ends the test unless ok: it skips on a developer's machine, and fails
// where CI is set, because there a skipped test is a hole that nobody sees. what
// completes the sentence "this test needs …".
func Need(t testing.TB, ok bool, what string) {
	t.Helper()
	switch {
	case ok:
	case CI():
		t.Fatalf("this test needs %s, and CI must have it", what)
	default:
		t.Skipf("this test needs %s", what)
	}
}

// NeedRoot is Need for the rights of root.
func NeedRoot(t testing.TB) {
	t.Helper()
	Need(t, os.Geteuid() == 0, "root")
}

// NeedPrograms is Need for programs in PATH.
func NeedPrograms(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		_, err := exec.LookPath(name)
		Need(t, err == nil, "the program "+name)
	}
}

// CI reports whether the environment says that this is continuous integration.
func CI() bool {
	v := os.Getenv("CI")
	return v != "" && v != "false" && v != "0"
}
