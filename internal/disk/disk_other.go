//go:build !windows && (!unix || solaris || aix)

package disk

import (
	"fmt"
	"io/fs"
	"os"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

func lock(path string, _ fs.FileMode) (*os.File, error) {
	return nil, fmt.Errorf("locking %q on this system: %w", path, tcp.ErrNotSupported)
}

func syncDir(string) error { return nil }

func isFull(error) bool { return false }
