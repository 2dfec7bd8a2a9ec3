//go:build !linux

package main

import (
	"os/exec"
	"runtime"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// group is a control group, which this system does not have.
type group struct{ id uint64 }

func newGroup(*exec.Cmd) (group, error) { return group{}, notHere{} }

func (*group) close() error { return nil }

func parentIn(map[int32]bool, int32) bool { return false }

type notHere struct{}

func (notHere) Error() string { return "control groups on " + runtime.GOOS + ": not supported" }
func (notHere) Unwrap() error { return tcp.ErrNotSupported }
