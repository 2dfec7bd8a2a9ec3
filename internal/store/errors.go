package store

import "errors"

// Errors of engines. They are wrapped with the operation and the object.
var (
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("store is closed")
	// ErrLocked says that another process has the data directory.
	ErrLocked = errors.New("data directory is in use by another process")
	// ErrVersion says that data is of a format that this program does not know.
	// It was not touched.
	ErrVersion = errors.New("format of a later version, which needs a newer program")
	// ErrUnavailable says that the engine cannot write now (disk full, I/O
	// error). The batch was not acknowledged and should be sent again, unchanged.
	ErrUnavailable = errors.New("store cannot write")
	// ErrDamaged says that stored data does not match its checksum.
	ErrDamaged = errors.New("stored data is damaged")
	// ErrInvalid says that a batch, a block or a query is not well formed.
	ErrInvalid = errors.New("not valid")
	// ErrMemory says that a query would need more memory than it may have.
	ErrMemory = errors.New("query needs too much memory")
)
