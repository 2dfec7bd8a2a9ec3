package main

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ownUsage is what this process uses.
func ownUsage() (u processUsage) {
	var r unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &r) == nil {
		u.cpu = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	u.resident = residentOf()
	if d, err := os.Open("/proc/self/fd"); err == nil {
		if names, err := d.Readdirnames(-1); err == nil {
			u.fds = len(names) - 1 // without the one that reads them
		}
		_ = d.Close() // only read
	}
	return u
}
