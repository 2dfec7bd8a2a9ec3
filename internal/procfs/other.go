//go:build !linux

package procfs

import (
	"context"
	"fmt"
	"runtime"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

func errNotSupported(what string) error {
	return fmt.Errorf("%s on %s: %w", what, runtime.GOOS, tcp.ErrNotSupported)
}

// Source is not available on this system.
type Source struct{}

// New fails: this system has no /proc/net/tcp.
func New(Config) (*Source, error) { return nil, errNotSupported("the procfs source") }

// Kind returns tcp.SourceProcfs.
func (*Source) Kind() tcp.SourceKind { return tcp.SourceProcfs }

// Once fails.
func (*Source) Once(context.Context, tcp.Sink) error { return errNotSupported("the procfs source") }

// Run fails.
func (*Source) Run(context.Context, tcp.Sink) error { return errNotSupported("the procfs source") }

// Features is empty.
func (*Source) Features() []tcp.Feature { return nil }

// Close does nothing.
func (*Source) Close() error { return nil }

type walker struct{}

// Resolve fails: this system has no /proc.
func (w *Owners) Resolve(context.Context, map[uint32]struct{}, func(uint32, tcp.Owner)) error {
	return errNotSupported("looking for the owners of sockets")
}

// read knows nothing but what the source saw.
func (p *Processes) read(o tcp.Owner) (*tcp.Process, error) {
	return nil, errNotSupported("reading process details")
}

// Look fails: this system has no /proc.
func Look(Config) (Visibility, error) {
	return Visibility{}, errNotSupported("what /proc shows")
}
