//go:build 386 || amd64 || arm64

package bpf

import (
	"errors"
	"testing"

	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
)

// newSource returns a source that ends with the test. A kernel that cannot have
// one is a hole in the tests.
func newSource(t testing.TB, change func(*Config)) *Source {
	t.Helper()
	tcptest.NeedRoot(t)
	cfg := DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if errors.Is(err, tcp.ErrNotSupported) || errors.Is(err, tcp.ErrPermission) {
		tcptest.Need(t, false, "a kernel with eBPF and BTF ("+err.Error()+")")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	tcptest.TestSource(t, func(t *testing.T) tcp.Source {
		cfg := DefaultConfig()
		s, err := New(cfg)
		if errors.Is(err, tcp.ErrNotSupported) {
			tcptest.Need(t, false, "a kernel with eBPF and BTF ("+err.Error()+")")
		}
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
