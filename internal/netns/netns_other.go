//go:build !linux

package netns

import (
	"fmt"
	"runtime"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

func notHere() error {
	return fmt.Errorf("network namespaces on %s: %w", runtime.GOOS, tcp.ErrNotSupported)
}

// Self fails: this system has no network namespaces that ViewTCP knows.
func Self() (Namespace, error) { return Namespace{}, notHere() }

// Open fails as Self does.
func Open(string) (Namespace, error) { return Namespace{}, notHere() }

// List fails as Self does.
func List() (list []Namespace, hidden int, err error) { return nil, 0, notHere() }

// Do fails as Self does, without a call of fn.
func (n Namespace) Do(func() error) error { return notHere() }
