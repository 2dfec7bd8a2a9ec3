//go:build !windows && (!unix || solaris || aix)

package parquet

import (
	"fmt"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

type dirLock struct{}

func lockDir(path string) (*dirLock, error) {
	return nil, fmt.Errorf("locking %q on this system: %w", path, tcp.ErrNotSupported)
}

func (*dirLock) unlock() error { return nil }

func syncDir(string) error { return nil }

func isFull(error) bool { return false }
