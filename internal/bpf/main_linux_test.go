//go:build 386 || amd64 || arm64

package bpf

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/viewtcp/viewtcp/internal/tcptest"
)

func TestMain(m *testing.M) {
	if code, is := tcptest.PlayRole(tcptest.Role{Name: "bpf observer", Run: observerRole}); is {
		os.Exit(code)
	}
	goleak.VerifyTestMain(m)
}
