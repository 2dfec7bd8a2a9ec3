package netns

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

const selfPath = "/proc/thread-self/ns/net"

// Self returns the namespace of this process.
func Self() (Namespace, error) {
	ino, err := inode("/proc/thread-self/ns/net")
	if err != nil {
		return Namespace{}, fmt.Errorf("own network namespace: %w", err)
	}
	return Namespace{Inode: ino, Path: selfPath, Self: true}, nil
}

// Open returns the namespace that path stands for. Another kind of file is an
// error, so that a mistake shows before anything is entered.
func Open(path string) (Namespace, error) {
	ino, err := inode(path)
	if err == nil {
		err = check(path)
	}
	if err != nil {
		return Namespace{}, fmt.Errorf("network namespace: %w", err)
	}
	self, err := Self()
	if err != nil {
		return Namespace{}, err
	}
	return Namespace{Inode: ino, Path: path, Self: ino == self.Inode}, nil
}

// check makes sure that path is a network namespace (ioctl_ns(2)).
func check(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	kind, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE)
	if err != nil || kind != unix.CLONE_NEWNET {
		return &os.PathError{Op: "open", Path: path, Err: errors.New("is no network namespace")}
	}
	return nil
}

// List returns the namespaces that processes are in or that are bind-mounted
// where this process can see it, its own first. hidden counts the processes
// whose namespace could not be read for lack of rights and is none of those
// that other processes are in. A namespace that only a descriptor or an unlisted
// thread keeps alive is not found.
func List() (list []Namespace, hidden int, err error) {
	self, err := Self()
	if err != nil {
		return nil, 0, err
	}
	seen := map[uint32]bool{self.Inode: true}
	list = append(list, self)
	add := func(ino uint32, path string) {
		if !seen[ino] {
			seen[ino] = true
			list = append(list, Namespace{Inode: ino, Path: path})
		}
	}
	// Mounts first: unlike a process they do not go away between the listing
	// and the visit. One that is covered by another, or out of reach, still
	// tells that its namespace is there.
	var unreachable []Namespace
	err = mounts("/proc/self/mountinfo", func(ino uint32, path string) {
		if at, err := inode(path); err == nil && at == ino {
			add(ino, path)
		} else {
			unreachable = append(unreachable, Namespace{Inode: ino, Path: path})
		}
	})
	if err != nil {
		return nil, 0, err
	}
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, 0, fmt.Errorf("listing processes: %w", err)
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, 0, fmt.Errorf("listing processes: %w", err)
	}
	var denied []string
	for _, name := range names {
		if name[0] < '0' || name[0] > '9' {
			continue
		}
		path := "/proc/" + name + "/ns/net"
		link, err := os.Readlink(path)
		switch {
		case errors.Is(err, os.ErrPermission):
			denied = append(denied, name)
		case err == nil:
			if ino, ok := parseLink(link); ok {
				add(ino, path)
			}
		}
	}
	for _, ns := range unreachable {
		add(ns.Inode, ns.Path)
	}
	slices.SortFunc(list[1:], func(a, b Namespace) int { return cmp.Compare(a.Inode, b.Inode) })
	return list, countHidden(list, denied), nil
}

// countHidden counts the processes of denied that are in no namespace of list.
// Everyone may look at /proc/PID/net, where each namespace has files of its own:
// equal inode numbers are the same namespace, whichever that is.
func countHidden(list []Namespace, denied []string) (hidden int) {
	if len(denied) == 0 {
		return 0
	}
	known := make(map[uint32]bool, len(list))
	for _, ns := range list {
		if dir, ok := strings.CutSuffix(ns.Path, "/ns/net"); ok {
			if ino, err := inode(dir + "/net/tcp"); err == nil {
				known[ino] = true
			}
		}
	}
	for _, name := range denied {
		ino, err := inode("/proc/" + name + "/net/tcp")
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has ended
		}
		if err != nil || !known[ino] {
			hidden++
		}
	}
	return hidden
}

// mounts calls add for every network namespace that is mounted according to a
// mountinfo file.
func mounts(path string, add func(uint32, string)) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("listing mounted namespaces: %w", err)
	}
	defer f.Close()
	if err := readMounts(f, add); err != nil {
		return fmt.Errorf("listing mounted namespaces: %w", err)
	}
	return nil
}

// Do calls fn on a thread inside the namespace. Sockets that fn opens belong to
// the namespace and keep it alive until they are closed. Another namespace than
// the own needs CAP_SYS_ADMIN; without it the error wraps tcp.ErrPermission. A
// namespace that is gone gives an error wrapping os.ErrNotExist.
func (n Namespace) Do(fn func() error) error {
	if n.Self {
		return fn()
	}
	done := make(chan error, 1)
	// A goroutine of its own: when the thread cannot be brought home it stays
	// locked and dies with the goroutine.
	go func() {
		runtime.LockOSThread()
		home, err := n.visit(fn)
		if home {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// visit calls fn inside the namespace and comes back; home is false when that
// failed and the calling thread must not be used any more.
func (n Namespace) visit(fn func() error) (home bool, err error) {
	fd, err := unix.Open(selfPath, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return true, fmt.Errorf("own network namespace: %w", err)
	}
	defer unix.Close(fd)
	if err := n.enter(); err != nil {
		return true, err
	}
	err = fn()
	return unix.Setns(fd, unix.CLONE_NEWNET) == nil, err
}

func (n Namespace) enter() error {
	fd, err := unix.Open(n.Path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("opening namespace %s at %s: %w: %w", n, n.Path, tcp.ErrPermission, err)
	case err != nil:
		return fmt.Errorf("opening namespace %s: %w", n, &os.PathError{Op: "open", Path: n.Path, Err: err})
	}
	defer unix.Close(fd)
	// The process whose path this is may have moved or ended since the listing.
	if ino, err := inodeOf(fd); err != nil || ino != n.Inode {
		return fmt.Errorf("namespace %s is no longer at %s: %w", n, n.Path, os.ErrNotExist)
	}
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		if errors.Is(err, unix.EPERM) {
			return fmt.Errorf("entering namespace %s needs CAP_SYS_ADMIN: %w", n, tcp.ErrPermission)
		}
		return fmt.Errorf("entering namespace %s: %w", n, err)
	}
	return nil
}

func inode(path string) (uint32, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return uint32(st.Ino), nil
}

func inodeOf(fd int) (uint32, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, err
	}
	return uint32(st.Ino), nil
}
