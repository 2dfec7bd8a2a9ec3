package disk

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// Error codes of winerror.h.
const (
	errSharing    = syscall.Errno(32)  // ERROR_SHARING_VIOLATION
	errHandleFull = syscall.Errno(39)  // ERROR_HANDLE_DISK_FULL
	errDiskFull   = syscall.Errno(112) // ERROR_DISK_FULL
)

// lock shares the file with readers alone, so that nobody else can open it to
// write, as another lock would.
func lock(path string, _ fs.FileMode) (*os.File, error) {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	h, err := syscall.CreateFile(name, syscall.GENERIC_READ|syscall.GENERIC_WRITE, syscall.FILE_SHARE_READ, nil, syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if errors.Is(err, errSharing) {
		return nil, ErrLocked
	}
	if err != nil {
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return os.NewFile(uintptr(h), path), nil
}

// syncDir does nothing: renames are journalled, and a directory cannot be synced.
func syncDir(string) error { return nil }

func isFull(err error) bool { return errors.Is(err, errDiskFull) || errors.Is(err, errHandleFull) }
