//go:build !linux

package capture

import (
	"fmt"
	"runtime"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Live is a capture from interfaces, read by one goroutine.
type Live struct{}

// OpenLive begins a capture. Only Linux has one.
func OpenLive(LiveConfig) (*Live, error) {
	return nil, fmt.Errorf("live capture on %s: %w", runtime.GOOS, tcp.ErrNotSupported)
}

// Interfaces returns what is captured.
func (*Live) Interfaces() []LiveInterface { return nil }

// Next waits for a frame.
func (*Live) Next(*Frame) error {
	return fmt.Errorf("live capture on %s: %w", runtime.GOOS, tcp.ErrNotSupported)
}

// Stats returns the counts so far.
func (*Live) Stats() LiveStats { return LiveStats{} }

// Stop ends the capture.
func (*Live) Stop() {}

// Close gives everything back.
func (*Live) Close() error { return nil }

func findInterfaces([]string) ([]LiveInterface, error) {
	return nil, fmt.Errorf("live capture on %s: %w", runtime.GOOS, tcp.ErrNotSupported)
}
