//go:build 386 || amd64 || arm64

package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Cutoff is a filter for packet sockets that passes the first packets of each
// direction of a connection, and then only SYN, FIN, RST and what begins before
// the highest sequence number seen. What it keeps out costs nothing more than
// that look. A socket that it is attached to keeps it after Close.
type Cutoff struct {
	program     *ebpf.Program
	connections *ebpf.Map
	counters    *ebpf.Map
}

// Sizes of struct ends, struct state and struct counts of bpf/cutoff.bpf.c.
const (
	cutoffKey       = 36
	cutoffDirection = 24
	cutoffState     = 2*cutoffDirection + 16
	cutoffCounts    = 32
)

// NewCutoff loads the filter. The error wraps tcp.ErrPermission or
// tcp.ErrNotSupported if rights or the kernel are in the way; user space can do
// the same then.
func NewCutoff(cfg CutoffConfig) (*Cutoff, error) {
	spec, err := loadCutoff()
	if err != nil {
		return nil, fmt.Errorf("reading the cut-off filter: %w", err)
	}
	for name, value := range map[string]any{
		cutoffVarSnaplen: cfg.Snaplen, cutoffVarMaxPackets: cfg.Packets, cutoffVarMaxBytes: cfg.Bytes,
		cutoffVarLinkHeader: cfg.LinkHeader, cutoffVarSkipLoopback: cfg.SkipLoopback,
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("setting %s of the cut-off filter: %w", name, err)
		}
	}
	if cfg.Connections > 0 {
		spec.Maps[cutoffMapConnections].MaxEntries = uint32(cfg.Connections)
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{Programs: ebpf.ProgramOptions{LogDisabled: true}})
	if err != nil {
		return nil, classify(err, "loading the cut-off filter")
	}
	c := &Cutoff{
		program: coll.Programs[cutoffProgCutoff], connections: coll.Maps[cutoffMapConnections], counters: coll.Maps[cutoffMapCounters],
	}
	delete(coll.Programs, cutoffProgCutoff)
	delete(coll.Maps, cutoffMapConnections)
	delete(coll.Maps, cutoffMapCounters)
	coll.Close()
	return c, nil
}

// FD is the program, for SO_ATTACH_BPF. It is valid until Close.
func (c *Cutoff) FD() int { return c.program.FD() }

// Stats returns the counts of all sockets that the filter is attached to.
func (c *Cutoff) Stats() (CutoffStats, error) {
	var s CutoffStats
	var perCPU [][]byte
	if err := c.counters.Lookup(uint32(0), &perCPU); err != nil {
		return s, fmt.Errorf("counters of the cut-off filter: %w", err)
	}
	ne := binary.NativeEndian
	for _, b := range perCPU {
		if len(b) < cutoffCounts {
			return s, fmt.Errorf("counters of the cut-off filter: %d bytes", len(b))
		}
		s.Passed += ne.Uint64(b)
		s.Cut += ne.Uint64(b[8:])
		s.CutBytes += ne.Uint64(b[16:])
		s.Ignored += ne.Uint64(b[24:])
	}
	return s, nil
}

// Cut tells how many packets of a connection, named from either end, were kept
// out, and their bytes from the network header on; ok is false for one that is
// not remembered.
func (c *Cutoff) Cut(t tcp.Tuple) (packets, bytes uint64, ok bool, err error) {
	value := make([]byte, cutoffState)
	if err := c.connections.Lookup(cutoffKeyOf(t), &value); errors.Is(err, ebpf.ErrKeyNotExist) {
		return 0, 0, false, nil
	} else if err != nil {
		return 0, 0, false, fmt.Errorf("a connection of the cut-off filter: %w", err)
	}
	if len(value) < cutoffState {
		return 0, 0, false, fmt.Errorf("a connection of the cut-off filter: %d bytes", len(value))
	}
	ne := binary.NativeEndian
	return ne.Uint64(value[2*cutoffDirection:]), ne.Uint64(value[2*cutoffDirection+8:]), true, nil
}

// cutoffKeyOf orders the ends as the program does: by address, then by port.
func cutoffKeyOf(t tcp.Tuple) []byte {
	if r := t.Reverse(); endLess(r, t) {
		t = r
	}
	b := make([]byte, 0, cutoffKey)
	b = append(append(b, t.Local[:]...), t.Remote[:]...)
	b = binary.BigEndian.AppendUint16(b, t.LocalPort)
	return binary.BigEndian.AppendUint16(b, t.RemotePort)
}

// endLess tells whether the local end of a comes before that of b.
func endLess(a, b tcp.Tuple) bool {
	for i := range a.Local {
		if a.Local[i] != b.Local[i] {
			return a.Local[i] < b.Local[i]
		}
	}
	return a.LocalPort < b.LocalPort
}

// Close frees what this process holds of the filter.
func (c *Cutoff) Close() error {
	return errors.Join(c.program.Close(), c.connections.Close(), c.counters.Close())
}
