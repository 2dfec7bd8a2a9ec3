package wire

import (
	"errors"
	"fmt"
	"os"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Op is what a consumer asks a collector for.
type Op string

// The operations.
const (
	OpOnce     Op = "once"
	OpRun      Op = "run"
	OpFeatures Op = "features"
	OpClose    Op = "close"
)

// Request is what a consumer asks for.
type Request struct {
	Op Op `json:"op"`
	// Source is auto, ebpf, netlink or procfs; NetNS is all, self or a path, as
	// the collector sees it.
	Source string `json:"source,omitempty"`
	NetNS  string `json:"netns,omitempty"`
	// Socket is the one to close.
	Socket *Socket `json:"socket,omitempty"`
}

// Socket names a live socket.
type Socket struct {
	Local      string `json:"local"`
	LocalPort  uint16 `json:"local_port"`
	Remote     string `json:"remote"`
	RemotePort uint16 `json:"remote_port"`
	NetNS      uint32 `json:"netns"`
	Cookie     uint64 `json:"cookie"`
	IPv6       bool   `json:"ipv6"`
}

// Hello is a collector's first answer.
type Hello struct {
	Source   string        `json:"source"`
	BootID   string        `json:"boot_id"`
	Host     string        `json:"host"`
	Features []tcp.Feature `json:"features,omitempty"`
	// Warning says what of the host the collector cannot see; empty if nothing.
	Warning string `json:"warning,omitempty"`
}

// failure is an error frame.
type failure struct {
	Message string `json:"message"`
	Kind    string `json:"kind,omitempty"`
}

var failureKinds = []struct {
	name string
	err  error
}{
	{"permission", tcp.ErrPermission},
	{"unsupported", tcp.ErrNotSupported},
	{"gone", os.ErrNotExist},
}

func newFailure(err error) failure {
	f := failure{Message: err.Error()}
	for _, k := range failureKinds {
		if errors.Is(err, k.err) {
			f.Kind = k.name
		}
	}
	return f
}

// remoteError is an error of the collector, as the consumer sees it.
type remoteError struct {
	message string
	kind    error
}

func (e *remoteError) Error() string { return "collector: " + e.message }
func (e *remoteError) Unwrap() error { return e.kind }

func (f failure) err() error {
	e := &remoteError{message: f.Message}
	for _, k := range failureKinds {
		if f.Kind == k.name {
			e.kind = k.err
		}
	}
	return e
}

// String describes a socket for messages.
func (s Socket) String() string {
	return fmt.Sprintf("%s port %d → %s port %d", s.Local, s.LocalPort, s.Remote, s.RemotePort)
}
