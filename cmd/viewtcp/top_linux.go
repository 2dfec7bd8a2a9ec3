package main

import (
	"bytes"
	"os"
	"strconv"

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
