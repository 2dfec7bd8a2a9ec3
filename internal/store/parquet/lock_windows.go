package parquet

import (
	"errors"
	"os"
	"syscall"

	"github.com/viewtcp/viewtcp/internal/store"
)

// dirLock keeps other processes out. The system takes it away when this one ends,
// however it does.
type dirLock struct{ h syscall.Handle }

// Error codes of winerror.h.
const (
	errSharing    = syscall.Errno(32)  // ERROR_SHARING_VIOLATION
	errHandleFull = syscall.Errno(39)  // ERROR_HANDLE_DISK_FULL
	errDiskFull   = syscall.Errno(112) // ERROR_DISK_FULL
)

// lockDir opens the file without sharing it.
func lockDir(path string) (*dirLock, error) {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	h, err := syscall.CreateFile(name, syscall.GENERIC_READ|syscall.GENERIC_WRITE, 0, nil, syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if errors.Is(err, errSharing) {
		return nil, store.ErrLocked
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &dirLock{h}, nil
}

func (l *dirLock) unlock() error { return syscall.CloseHandle(l.h) }

// syncDir does nothing: renames are journalled, and a directory cannot be synced.
func syncDir(string) error { return nil }

// isFull reports whether an error says that there is no space.
func isFull(err error) bool { return errors.Is(err, errDiskFull) || errors.Is(err, errHandleFull) }
