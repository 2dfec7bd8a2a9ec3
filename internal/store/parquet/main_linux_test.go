package parquet

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/viewtcp/viewtcp/internal/tcptest"
)

func TestMain(m *testing.M) {
	if code, is := tcptest.PlayRole(writerRole); is {
		os.Exit(code)
	}
	goleak.VerifyTestMain(m)
}
