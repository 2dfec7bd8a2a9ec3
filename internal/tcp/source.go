package tcp

import (
	"context"
	"errors"
)

// ErrNotSupported is wrapped by errors of features that this system, kernel or
// build does not have. ErrPermission is wrapped when only rights are missing.
var (
	ErrNotSupported = errors.New("not supported")
	ErrPermission   = errors.New("permission denied")
)

// Source is one way to see the sockets of a host. A source is used by one
// goroutine at a time.
type Source interface {
	Kind() SourceKind
	// Once walks all sockets and hands them to sink: one full pass.
	Once(ctx context.Context, sink Sink) error
	// Run begins with a full pass and then reports events and changes until
	// ctx ends, which is not an error. All it started has ended on return.
	Run(ctx context.Context, sink Sink) error
	// Features says what the source can and cannot show here, each found by
	// trying it.
	Features() []Feature
	// Close frees what the kernel holds for the source.
	Close() error
}

// Feature is one thing ViewTCP can show, and whether this host lets it.
type Feature struct {
	Name      string `json:"feature"`
	Available bool   `json:"available"`
	// Reason says, in one sentence, what was tried or what is missing.
	Reason string `json:"reason,omitempty"`
	// Remedy says how to get it.
	Remedy string `json:"remedy,omitempty"`
}
