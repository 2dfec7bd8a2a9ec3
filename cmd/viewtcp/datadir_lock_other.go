//go:build !windows && (!unix || solaris || aix)

package main

import (
	"fmt"
	"os"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

type fileLock struct{ *os.File }

func lockPath(path string) (*fileLock, error) {
	return nil, fmt.Errorf("locking %q on this system: %w", path, tcp.ErrNotSupported)
}
