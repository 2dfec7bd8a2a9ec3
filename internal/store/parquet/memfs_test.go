package parquet

import (
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// A memFS is a disk that can fail and lose power: what was not synced, of files
// and of directories, is then gone, or not, as a disk pleases.
type memFS struct {
	mu    sync.Mutex
	now   map[string]*inode // the kernel's view
	disk  map[string]*inode // entries that were synced
	dirs  map[string]bool
	limit int64 // bytes of all files; 0 is none
	ops   int
	// fault, if not nil, is asked before each operation that changes something,
	// and watch is told of it. reads, if not nil, is asked before each one that
	// does not. All are called with mu held.
	fault func(n int, op, name string) error
	watch func(n int)
	reads func(op, name string) error
}

type inode struct{ data, disk []byte }

func newMemFS() *memFS {
	return &memFS{now: make(map[string]*inode), disk: make(map[string]*inode), dirs: make(map[string]bool)}
}

// clone copies the disk, so that one beginning can have many ends. The copy has
// no faults.
func (m *memFS) clone() *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.copied()
}

// copied is clone for those who hold mu.
func (m *memFS) copied() *memFS {
	c := newMemFS()
	seen := make(map[*inode]*inode)
	of := func(i *inode) *inode {
		if seen[i] == nil {
			seen[i] = &inode{slices.Clone(i.data), slices.Clone(i.disk)}
		}
		return seen[i]
	}
	for name, i := range m.now {
		c.now[name] = of(i)
	}
	for name, i := range m.disk {
		c.disk[name] = of(i)
	}
	maps.Copy(c.dirs, m.dirs)
	return c
}

// crash cuts the power. keep says how much of what was not synced is there
// afterwards: 0 nothing, 1 all, else some by chance.
func (m *memFS) crash(rng *rand.Rand, keep int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	luck := func() bool { return keep == 1 || keep > 1 && rng.IntN(2) == 0 }
	after := make(map[string]*inode)
	for name, i := range m.disk {
		if m.now[name] == i || !luck() { // removed or replaced, perhaps
			after[name] = i
		}
	}
	for name, i := range m.now {
		if m.disk[name] != i && luck() {
			after[name] = i
		}
	}
	for _, i := range after {
		switch {
		case keep == 1:
		case keep > 1 && len(i.data) > len(i.disk):
			i.data = i.data[:len(i.disk)+rng.IntN(len(i.data)-len(i.disk)+1)]
		default:
			i.data = slices.Clone(i.disk)
		}
		i.disk = slices.Clone(i.data)
	}
	m.now, m.disk = after, maps.Clone(after)
	m.fault = nil
}

// fail sets what is asked before each operation that changes something.
func (m *memFS) fail(fault func(n int, op, name string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = fault
}

// count is how many operations changed something so far.
func (m *memFS) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ops
}

// fill leaves room for so many bytes; less than 0 is no limit.
func (m *memFS) fill(room int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.limit = 0; room >= 0 {
		m.limit = m.size() + room
	}
}

// data returns what stands in a file.
func (m *memFS) data(name string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.now[name].data)
}

// contents returns all files.
func (m *memFS) contents() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make(map[string]string)
	for name, i := range m.now {
		out[name] = string(i.data)
	}
	return out
}

// read is told of an operation that changes nothing.
func (m *memFS) read(op, name string) error {
	if m.reads != nil {
		if err := m.reads(op, name); err != nil {
			return &fs.PathError{Op: op, Path: name, Err: err}
		}
	}
	return nil
}

func (m *memFS) op(op, name string) error {
	m.ops++
	if m.watch != nil {
		m.watch(m.ops)
	}
	if m.fault != nil {
		if err := m.fault(m.ops, op, name); err != nil {
			return &fs.PathError{Op: op, Path: name, Err: err}
		}
	}
	return nil
}

func (m *memFS) size() (n int64) {
	for _, i := range m.now {
		n += int64(len(i.data))
	}
	return n
}

func (m *memFS) Create(name string) (file, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op("create", name); err != nil {
		return nil, err
	}
	if m.now[name] != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	if dir := path.Dir(name); !m.dirs[dir] {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrNotExist}
	}
	i := new(inode)
	m.now[name] = i
	return &memFile{m, i, name}, nil
}

func (m *memFS) Open(name string) (file, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.read("open", name); err != nil {
		return nil, err
	}
	i := m.now[name]
	if i == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &memFile{m, i, name}, nil
}

func (m *memFS) OpenWrite(name string) (file, error) { return m.Open(name) }

func (m *memFS) ReadDir(dir string) ([]fs.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.read("readdir", dir); err != nil {
		return nil, err
	}
	found := make(map[string]bool)
	for name := range m.now {
		rest, ok := strings.CutPrefix(name, dir+"/")
		if dir == "." {
			rest, ok = name, true
		}
		if ok {
			first, _, _ := strings.Cut(rest, "/")
			found[first] = true
		}
	}
	if len(found) == 0 {
		return nil, &fs.PathError{Op: "readdir", Path: dir, Err: fs.ErrNotExist}
	}
	var out []fs.DirEntry
	for name := range found {
		out = append(out, memEntry(name))
	}
	return out, nil
}

func (m *memFS) MkdirAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dirs[name] {
		return nil
	}
	if err := m.op("mkdir", name); err != nil {
		return err
	}
	m.dirs[name] = true
	return nil
}

func (m *memFS) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op("rename", from); err != nil {
		return err
	}
	i := m.now[from]
	if i == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	delete(m.now, from)
	m.now[to] = i
	return nil
}

func (m *memFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now[name] == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	if err := m.op("remove", name); err != nil {
		return err
	}
	delete(m.now, name)
	return nil
}

func (m *memFS) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op("syncdir", dir); err != nil {
		return err
	}
	for name := range m.disk {
		if path.Dir(name) == dir && m.now[name] == nil {
			delete(m.disk, name)
		}
	}
	for name, i := range m.now {
		if path.Dir(name) == dir {
			m.disk[name] = i
		}
	}
	return nil
}

type memFile struct {
	m    *memFS
	i    *inode
	name string
}

func (f *memFile) Write(b []byte) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.op("write", f.name); err != nil {
		// As a disk does: some of it is there.
		f.i.data = append(f.i.data, b[:len(b)/2]...)
		return len(b) / 2, err
	}
	if room := f.m.limit - f.m.size(); f.m.limit > 0 && int64(len(b)) > room {
		f.i.data = append(f.i.data, b[:max(room, 0)]...)
		return int(max(room, 0)), &fs.PathError{Op: "write", Path: f.name, Err: syscall.ENOSPC}
	}
	f.i.data = append(f.i.data, b...)
	return len(b), nil
}

func (f *memFile) ReadAt(b []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.read("read", f.name); err != nil {
		return 0, err
	}
	if off >= int64(len(f.i.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.i.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.op("sync", f.name); err != nil {
		return err
	}
	f.i.disk = slices.Clone(f.i.data)
	return nil
}

func (f *memFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.op("truncate", f.name); err != nil {
		return err
	}
	f.i.data = f.i.data[:min(size, int64(len(f.i.data)))]
	return nil
}

func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return int64(len(f.i.data)), nil
}

func (f *memFile) Close() error { return nil }

// memEntry is the name of a file or a directory.
type memEntry string

func (e memEntry) Name() string               { return string(e) }
func (e memEntry) IsDir() bool                { return false }
func (e memEntry) Type() fs.FileMode          { return 0 }
func (e memEntry) Info() (fs.FileInfo, error) { return nil, fs.ErrInvalid }
