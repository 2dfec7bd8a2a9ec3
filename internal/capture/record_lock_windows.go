package capture

import (
	"errors"
	"os"
	"syscall"
)

// dirLock keeps a second recorder out. The system takes it away when the process
// ends, however it does.
type dirLock struct{ h syscall.Handle }

// errSharing is ERROR_SHARING_VIOLATION of winerror.h.
const errSharing = syscall.Errno(32)

// lockDir opens the file without sharing it.
func lockDir(path string) (*dirLock, error) {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	h, err := syscall.CreateFile(name, syscall.GENERIC_READ|syscall.GENERIC_WRITE, 0, nil, syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if errors.Is(err, errSharing) {
		return nil, ErrRecorderRunning
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &dirLock{h}, nil
}

func (l *dirLock) unlock() error { return syscall.CloseHandle(l.h) }

// syncDir does nothing: renames are journalled, and a directory cannot be synced.
func syncDir(string) error { return nil }
