package host_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/host"
	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

func TestMain(m *testing.M) { tcptest.Main(m, witness) }

// report is what a process finds out about itself.
type report struct {
	PIDNS    uint32
	Initial  bool
	BootID   string
	NetAdmin bool
}

var witness = tcptest.Role{Name: "host-witness", Run: func(c *tcptest.Control) error {
	if err := c.Recv(&struct{}{}); err != nil {
		return err
	}
	r, err := look()
	if err != nil {
		return err
	}
	return c.Send(r)
}}

func look() (r report, err error) {
	if r.PIDNS, r.Initial, err = host.PIDNamespace(); err != nil {
		return r, err
	}
	r.NetAdmin = host.HasCapability(unix.CAP_NET_ADMIN)
	r.BootID, err = host.BootID()
	return r, err
}

func ask(t *testing.T, opts ...tcptest.Option) (r report) {
	t.Helper()
	c := tcptest.Start(t, witness.Name, struct{}{}, opts...)
	if err := c.Recv(&r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestProcesses asks a child, one in another pid namespace and one without
// rights.
func TestProcesses(t *testing.T) {
	need.Root(t)
	self, err := look()
	if err != nil {
		t.Fatal(err)
	}
	if !self.NetAdmin {
		t.Error("root lacks CAP_NET_ADMIN")
	}
	if r := ask(t); r != self {
		t.Errorf("child %+v, self %+v", r, self)
	}
	if r := ask(t, tcptest.InNewPIDNS()); r.PIDNS == self.PIDNS || r.Initial || r.BootID != self.BootID {
		t.Errorf("in another pid namespace: %+v, self %+v", r, self)
	}
	if r := ask(t, tcptest.AsUser(65534)); r.NetAdmin || r.PIDNS != self.PIDNS {
		t.Errorf("without rights: %+v", r)
	}
}

func TestHasCapability(t *testing.T) {
	for _, c := range []int{-1, 64, 1 << 20} {
		if host.HasCapability(c) {
			t.Errorf("there is no capability %d", c)
		}
	}
}
