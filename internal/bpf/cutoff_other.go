//go:build !linux || !(386 || amd64 || arm64)

package bpf

import "github.com/viewtcp/viewtcp/internal/tcp"

// Cutoff cannot be made on this system.
type Cutoff struct{}

// NewCutoff fails.
func NewCutoff(CutoffConfig) (*Cutoff, error) { return nil, errNoSource() }

// FD returns no descriptor.
func (*Cutoff) FD() int { return -1 }

// Stats fails.
func (*Cutoff) Stats() (CutoffStats, error) { return CutoffStats{}, errNoSource() }

// Cut fails.
func (*Cutoff) Cut(tcp.Tuple) (packets, bytes uint64, ok bool, err error) {
	return 0, 0, false, errNoSource()
}

// Close does nothing.
func (*Cutoff) Close() error { return nil }
