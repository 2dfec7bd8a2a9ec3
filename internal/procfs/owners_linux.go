package procfs

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// statSize is enough for /proc/PID/stat: 52 numbers and a name of 64 bytes.
const statSize = 2048

// walker is the scratch memory of walks.
type walker struct {
	mu        sync.Mutex
	processes []candidate
	seen      map[uint32]struct{}
	proc, fds []byte
	stat      [statSize]byte
	link      [64]byte
	path      []byte
}

// candidate is a process that may hold sockets.
type candidate struct {
	pid   int32
	init  bool
	start uint64
}

// Resolve looks for the processes that hold the sockets of which want has the
// inode numbers, and calls found once for each it finds. It stops as soon as it
// has all of them. want is not changed, and must not be by found.
//
// When several processes share a socket, found gets the one that started first
// (of two in the same 10 ms the lower pid): the parent of a pre-fork server, not
// one of its workers. systemd as process 1 comes last, because it keeps the
// sockets of services that it activates.
//
// Everything about one process is read through one descriptor of its /proc
// directory, which the kernel ties to the process and not to its number: a pid
// that is reused meanwhile gives no owner rather than a wrong one. Processes
// that may not be read are counted in Hidden and are no error.
func (w *Owners) Resolve(ctx context.Context, want map[uint32]struct{}, found func(inode uint32, o tcp.Owner)) error {
	if len(want) == 0 {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen == nil {
		w.seen = make(map[uint32]struct{}, len(want))
		w.proc, w.fds = make([]byte, 32<<10), make([]byte, 32<<10)
	}
	clear(w.seen)

	root, err := unix.Open(w.root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("looking for the owners of sockets: %w", &os.PathError{Op: "open", Path: w.root, Err: err})
	}
	defer unix.Close(root)
	hidden, err := w.list(ctx, root)
	if err != nil {
		return err
	}
	// Sorted, so that the first process found to hold a socket is the right one.
	slices.SortFunc(w.processes, func(a, b candidate) int {
		if a.init != b.init {
			if a.init {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.pid, b.pid))
	})
	for _, c := range w.processes {
		if len(w.seen) == len(want) {
			break
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		switch err := w.search(root, c.pid, want, found); {
		case err == nil || gone(err):
		case denied(err):
			hidden++
		default:
			return fmt.Errorf("reading the descriptors of process %d: %w", c.pid, err)
		}
	}
	w.hidden.Store(int64(hidden))
	return nil
}

// list fills w.processes and counts those that may not be read.
func (w *Owners) list(ctx context.Context, root int) (hidden int, err error) {
	w.processes = w.processes[:0]
	err = eachNumber(root, w.proc, func(name []byte, pid uint32) bool {
		w.path = append(append(w.path[:0], name[:len(name)-1]...), "/stat\x00"...)
		n, err := readAt(root, w.path, w.stat[:])
		if err != nil {
			if denied(err) {
				hidden++
			}
			return ctx.Err() == nil
		}
		if s, err := parseStat(w.stat[:n]); err == nil && s.alive() {
			w.processes = append(w.processes, candidate{
				pid: int32(pid), start: s.start,
				init: pid == 1 && s.comm == systemdComm,
			})
		}
		return ctx.Err() == nil
	})
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return 0, fmt.Errorf("listing processes: %w", err)
	}
	return hidden, nil
}

var systemdComm = tcp.MakeComm("systemd")

// search looks through the descriptors of one process.
func (w *Owners) search(root int, pid int32, want map[uint32]struct{}, found func(uint32, tcp.Owner)) error {
	w.path = append(strconv.AppendInt(w.path[:0], int64(pid), 10), 0)
	dir, err := openat(root, w.path, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	fd, err := openat(dir, nameFD, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)

	var owner tcp.Owner // read when the first socket is found
	var failed error
	err = eachNumber(fd, w.fds, func(name []byte, _ uint32) bool {
		n, err := readlinkat(fd, name, w.link[:])
		if err != nil {
			// A descriptor that was closed meanwhile, or one of a process that ended.
			failed = nonTransient(err)
			return failed == nil
		}
		inode, ok := parseSocketLink(w.link[:n])
		if !ok {
			return true
		}
		if _, wanted := want[inode]; !wanted {
			return true
		}
		if _, done := w.seen[inode]; done {
			return true
		}
		if owner.PID == 0 {
			if owner, failed = w.owner(dir, pid); failed != nil {
				return false
			}
		}
		w.seen[inode] = struct{}{}
		found(inode, owner)
		return len(w.seen) < len(want)
	})
	if err == nil {
		err = failed
	}
	return err
}

// nonTransient drops the error of a single descriptor that was closed.
func nonTransient(err error) error {
	if gone(err) {
		return nil
	}
	return err
}

// owner reads who the process behind a directory is.
func (w *Owners) owner(dir int, pid int32) (tcp.Owner, error) {
	n, err := readAt(dir, nameStat, w.stat[:])
	if err != nil {
		return tcp.Owner{}, err
	}
	s, err := parseStat(w.stat[:n])
	if err != nil {
		return tcp.Owner{}, unix.ESRCH // it ended while it was read
	}
	return tcp.Owner{PID: pid, Start: s.start, Comm: s.comm}, nil
}
