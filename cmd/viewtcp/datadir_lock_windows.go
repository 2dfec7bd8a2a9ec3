package main

import (
	"errors"
	"os"
	"syscall"
)

// fileLock keeps other processes out. The system takes it away when this one
// ends, however it does.
type fileLock struct{ *os.File }

// errSharing is ERROR_SHARING_VIOLATION of winerror.h.
const errSharing = syscall.Errno(32)

// lockPath opens a file so that others may read but not open it so; errLocked
// says that another process did.
func lockPath(path string) (*fileLock, error) {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	h, err := syscall.CreateFile(name, syscall.GENERIC_READ|syscall.GENERIC_WRITE, syscall.FILE_SHARE_READ, nil, syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if errors.Is(err, errSharing) {
		return nil, errLocked
	}
	if err != nil {
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return &fileLock{os.NewFile(uintptr(h), path)}, nil
}
