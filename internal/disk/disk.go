// Package disk has what systems do differently with files that must last: keeping
// other processes out of a directory, making renames survive a crash, and telling
// that there is no space. It knows nothing of what the files hold.
package disk

import (
	"errors"
	"io/fs"
	"os"
)

// ErrLocked says that somebody else holds a lock.
var ErrLocked = errors.New("in use by another process")

// Lock opens the file at path for reading and writing, made with mode if need be,
// and keeps others out until the file is closed or the process ends, however it
// does. Its content is the holder's; others may read it meanwhile. The error is
// ErrLocked when somebody has it, this process included, and wraps
// tcp.ErrNotSupported on systems that have no such locks.
func Lock(path string, mode fs.FileMode) (*os.File, error) { return lock(path, mode) }

// SyncDir makes what was made, renamed and removed in a directory last. It does
// nothing where neither system nor file system has such a thing.
func SyncDir(dir string) error { return syncDir(dir) }

// IsFull reports whether an error says that there is no space, or that its user
// may not have more of it.
func IsFull(err error) bool { return isFull(err) }
