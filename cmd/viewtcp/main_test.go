package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/viewtcp/viewtcp/internal/tcptest"
)

func TestMain(m *testing.M) {
	if code, is := playAct(); is {
		os.Exit(code)
	}
	if code, is := tcptest.PlayRole(); is {
		os.Exit(code)
	}
	os.Exit(testAll(m))
}

// testAll runs the tests where nothing of the user's own settings reaches them.
func testAll(m *testing.M) int {
	dir, err := os.MkdirTemp("", "viewtcp-cmd-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// Other users run the program too.
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // see above
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for name, value := range map[string]string{
		"XDG_CONFIG_HOME": filepath.Join(dir, "config"), "VIEWTCP_COLLECTOR": "", "VIEWTCP_SERVER": "", "VIEWTCP_TOKEN": "",
		"VIEWTCP_DATA": filepath.Join(dir, "data"), "NO_COLOR": "", "TERM": "xterm",
	} {
		_ = os.Setenv(name, value)
	}
	built.dir = dir
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "after all tests:", err)
		return 1
	}
	return code
}

// built is the program as users get it, made once and only when a test wants it.
var built struct {
	once sync.Once
	dir  string
	path string
	err  error
}

// binary returns the path of the program.
func binary(tb testing.TB) string {
	tb.Helper()
	built.once.Do(func() {
		path := filepath.Join(built.dir, "viewtcp")
		if runtime.GOOS == "windows" {
			path += ".exe"
		}
		cmd := exec.CommandContext(context.Background(), "go", "build", "-o", path, ".")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("building the program: %w: %s", err, out)
			return
		}
		built.path = path
	})
	if built.err != nil {
		tb.Fatal(built.err)
	}
	return built.path
}

// result is what a finished command left.
type result struct {
	code           int
	stdout, stderr string
}

func (r result) String() string {
	return fmt.Sprintf("exit code %d\nstdout: %s\nstderr: %s", r.code, short(r.stdout), short(r.stderr))
}

// short cuts a text for a message.
func short(s string) string {
	const most = 2000
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// warnings are the lines of stderr.
func (r result) warnings() []string {
	return strings.FieldsFunc(r.stderr, func(c rune) bool { return c == '\n' })
}

// inProcess executes a command line in this process, where the race detector
// sees it.
func inProcess(tb testing.TB, args ...string) result {
	tb.Helper()
	return inProcessWith(tb, "", args...)
}

func inProcessWith(tb testing.TB, stdin string, args ...string) result {
	tb.Helper()
	var stdout, stderr bytes.Buffer
	code := run(tb.Context(), args, env{stdin: strings.NewReader(stdin), stdout: &stdout, stderr: &stderr})
	return result{code: code, stdout: stdout.String(), stderr: stderr.String()}
}
