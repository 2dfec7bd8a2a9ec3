package parquet

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/viewtcp/viewtcp/internal/disk"
)

// A fileSystem is what the engine asks of the operating system. Tests put one in
// between that fails. Paths are below the data directory, with slashes.
type fileSystem interface {
	// Create makes a file that does not exist yet, mode 0600.
	Create(name string) (file, error)
	Open(name string) (file, error)
	// OpenWrite opens an existing file to cut it.
	OpenWrite(name string) (file, error)
	ReadDir(name string) ([]fs.DirEntry, error)
	// MkdirAll makes directories that last, mode 0700.
	MkdirAll(name string) error
	Rename(from, to string) error
	Remove(name string) error
	// SyncDir makes what happened to the entries of a directory last.
	SyncDir(name string) error
}

type file interface {
	io.Writer
	io.ReaderAt
	io.Closer
	Sync() error
	Truncate(size int64) error
	Size() (int64, error)
}

// osFS is the real thing.
type osFS struct{ dir string }

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (o osFS) path(name string) string { return filepath.Join(o.dir, filepath.FromSlash(name)) }

func opened(f *os.File, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (o osFS) Create(name string) (file, error) {
	// O_APPEND: after a truncation writing goes on at the end.
	return opened(os.OpenFile(o.path(name), os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600))
}

func (o osFS) Open(name string) (file, error) { return opened(os.Open(o.path(name))) }

func (o osFS) OpenWrite(name string) (file, error) {
	return opened(os.OpenFile(o.path(name), os.O_RDWR, 0))
}

func (o osFS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(o.path(name)) }
func (o osFS) Rename(from, to string) error               { return os.Rename(o.path(from), o.path(to)) }
func (o osFS) Remove(name string) error                   { return os.Remove(o.path(name)) }
func (o osFS) SyncDir(name string) error                  { return disk.SyncDir(o.path(name)) }
func (o osFS) MkdirAll(name string) error                 { return mkdirAll(o.path(name)) }

// mkdirAll syncs the directory above each one that it makes: without that a power
// cut may take a directory with all that was synced in it.
func mkdirAll(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err = mkdirAll(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if err == nil {
		return disk.SyncDir(filepath.Dir(dir))
	}
	// It may exist; a read-only file system does not say that it does.
	if info, serr := os.Stat(dir); serr == nil && info.IsDir() {
		return nil
	}
	return err
}

// ioFailed reports whether an error came from the operating system, not from what
// stands in a file: what cannot be read now may be another time.
func ioFailed(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path)
}

// readFile reads a whole file of at most limit bytes.
func readFile(fsys fileSystem, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errTooLarge}
	}
	b := make([]byte, size)
	n, err := f.ReadAt(b, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:n], err
}

var errTooLarge = errors.New("file is larger than any of ours")

// writeFile replaces a file as a whole: after a crash there is the old one or the
// new one.
func writeFile(fsys fileSystem, name string, b []byte) error {
	tmp := name + tmpSuffix
	if err := fsys.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := fsys.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = fsys.Rename(tmp, name)
	}
	if err != nil {
		return errors.Join(err, fsys.Remove(tmp))
	}
	return fsys.SyncDir(dirOf(name))
}

// tmpSuffix ends the names of files that are being written; without meaning
// after a crash.
const tmpSuffix = ".tmp"

func dirOf(name string) string {
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '/' {
			return name[:i]
		}
	}
	return "."
}
