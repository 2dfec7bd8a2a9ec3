package procfs

import (
	"os"
	"runtime"
	"testing"

	"go.uber.org/goleak"

	"github.com/viewtcp/viewtcp/internal/tcptest"
)

// The main thread stays with the main goroutine, which runs no test: a test may
// move its thread to another namespace, and /proc/self is the main thread's.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(runRole(role))
	}
	if code, is := tcptest.PlayRole(); is {
		os.Exit(code)
	}
	goleak.VerifyTestMain(m)
}
