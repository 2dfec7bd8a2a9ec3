//go:build !linux

package sockdiag

import (
	"context"
	"fmt"
	"runtime"

	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Source is a tcp.Source on Linux only.
type Source struct{}

var _ tcp.Source = (*Source)(nil)

// New fails: this system has no sock_diag.
func New(Config) (*Source, error) { return nil, unsupported("netlink source") }

// Kind implements tcp.Source.
func (*Source) Kind() tcp.SourceKind { return tcp.SourceNetlink }

// Once implements tcp.Source.
func (*Source) Once(context.Context, tcp.Sink) error { return unsupported("netlink source") }

// Run implements tcp.Source.
func (*Source) Run(context.Context, tcp.Sink) error { return unsupported("netlink source") }

// Features implements tcp.Source.
func (*Source) Features() []tcp.Feature { return nil }

// Close implements tcp.Source.
func (*Source) Close() error { return nil }

// Destroy fails: this system has no SOCK_DESTROY.
func Destroy(netns.Namespace, tcp.Key, uint64) error { return unsupported("closing sockets") }

func unsupported(what string) error {
	return fmt.Errorf("%s on %s: %w", what, runtime.GOOS, tcp.ErrNotSupported)
}
