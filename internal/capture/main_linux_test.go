package capture_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/viewtcp/viewtcp/internal/tcptest"
)

func TestMain(m *testing.M) {
	if code, is := tcptest.PlayRole(roles()...); is {
		os.Exit(code)
	}
	goleak.VerifyTestMain(m)
}

// roles are what children of the tests do.
func roles() []tcptest.Role {
	return []tcptest.Role{
		{Name: "live-unprivileged", Run: liveUnprivilegedRole},
		{Name: "recorder", Run: recorderRole},
	}
}
