//go:build unix && !solaris && !aix

package main

import (
	"errors"
	"os"
	"syscall"
)

// fileLock keeps other processes out. The system takes it away when this one
// ends, however it does.
type fileLock struct{ *os.File }

// lockPath locks a file, made if need be; errLocked says that another process did.
func lockPath(path string) (*fileLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return &fileLock{f}, nil
}
