//go:build !linux

package host

import (
	"fmt"
	"runtime"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

var start = time.Now()

// Now reads both clocks; where the system has no boot clock, the program's own
// monotonic one stands in.
func Now() tcp.Stamp {
	now := time.Now()
	return tcp.Stamp{Wall: now.UnixNano(), Boot: int64(now.Sub(start)) + 1}
}

// BootID fails: this system has no boot id that ViewTCP can read.
func BootID() (string, error) {
	return "", fmt.Errorf("boot id on %s: %w", runtime.GOOS, tcp.ErrNotSupported)
}

// PIDNamespace fails: this system has no pid namespaces that ViewTCP knows.
func PIDNamespace() (inode uint32, initial bool, err error) {
	return 0, false, fmt.Errorf("pid namespaces on %s: %w", runtime.GOOS, tcp.ErrNotSupported)
}

// HasCapability reports false: this system has no capabilities of Linux's kind.
func HasCapability(int) bool { return false }
