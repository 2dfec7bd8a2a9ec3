//go:build !linux || !(386 || amd64 || arm64)

package bpf

import (
	"context"
	"fmt"
	"runtime"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Source cannot be made on this system.
type Source struct{}

var _ tcp.Source = (*Source)(nil)

// New fails.
func New(Config) (*Source, error) { return nil, errNoSource() }

// Kind returns tcp.SourceEBPF.
func (*Source) Kind() tcp.SourceKind { return tcp.SourceEBPF }

// Once fails.
func (*Source) Once(context.Context, tcp.Sink) error { return errNoSource() }

// Run fails.
func (*Source) Run(context.Context, tcp.Sink) error { return errNoSource() }

// Features returns nothing.
func (*Source) Features() []tcp.Feature { return nil }

// Close does nothing.
func (*Source) Close() error { return nil }

func errNoSource() error {
	return fmt.Errorf("eBPF on %s/%s: %w", runtime.GOOS, runtime.GOARCH, tcp.ErrNotSupported)
}
