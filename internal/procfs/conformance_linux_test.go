package procfs_test

import (
	"testing"

	"github.com/viewtcp/viewtcp/internal/procfs"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
)

func TestConformance(t *testing.T) {
	tcptest.TestSource(t, func(t *testing.T) tcp.Source {
		t.Helper()
		s, err := procfs.New(procfs.DefaultConfig())
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
