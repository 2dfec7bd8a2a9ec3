package main

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/procfs"
	"github.com/viewtcp/viewtcp/internal/tui"
)

// maxParents bounds a chain of processes that changes while it is followed.
const maxParents = 64

// parents returns the processes above one, the nearest first.
func parents(pid int32) (list []tui.Parent) {
	for len(list) < maxParents {
		up, err := procfs.Parent(pid)
		if err != nil || up == 0 {
			return list
		}
		name, err := os.ReadFile("/proc/" + strconv.Itoa(int(up)) + "/comm")
		if err != nil {
			return list
		}
		list = append(list, tui.Parent{PID: up, Name: string(bytes.TrimSuffix(name, []byte("\n")))})
		pid = up
	}
	return list
}

// hasShell reports whether somebody would continue this process if it stopped: a
// process above it in the same session, but in another process group, as a shell
// with job control is. In a group without one, as ssh -t and containers start it,
// the kernel does not even stop it (POSIX.1-2017, 2.4.3: orphaned process groups).
func hasShell() bool {
	session, err := unix.Getsid(0)
	if err != nil {
		return false
	}
	group := unix.Getpgrp()
	pid := int32(os.Getpid())
	for range maxParents {
		up, err := procfs.Parent(pid)
		if err != nil || up == 0 {
			return false
		}
		if s, err := unix.Getsid(int(up)); err != nil || s != session {
			return false
		}
		if g, err := unix.Getpgid(int(up)); err != nil || g != group {
			return err == nil
		}
		pid = up
	}
	return false
}
