//go:build !linux

package wire

import (
	"fmt"
	"net"
	"runtime"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// PeerUID fails: ViewTCP reads peer credentials on Linux only.
func PeerUID(*net.UnixConn) (uint32, error) {
	return 0, fmt.Errorf("peer credentials on %s: %w", runtime.GOOS, tcp.ErrNotSupported)
}
