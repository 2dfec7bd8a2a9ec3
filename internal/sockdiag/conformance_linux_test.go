package sockdiag_test

import (
	"testing"

	"github.com/viewtcp/viewtcp/internal/procfs"
	"github.com/viewtcp/viewtcp/internal/sockdiag"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
)

func TestConformance(t *testing.T) {
	tcptest.TestSource(t, func(t *testing.T) tcp.Source {
		t.Helper()
		cfg := sockdiag.DefaultConfig()
		cfg.Owners = procfs.NewOwners(procfs.DefaultConfig())
		s, err := sockdiag.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
