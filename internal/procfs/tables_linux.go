package procfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// tables reads the tables of all namespaces, and sees to it that none of their
// sockets is missed.
//
// The kernel hands a table out in pieces of a page and keeps its place in
// between as a count of sockets into a hash chain (tcp_seek_last_pos of
// net/ipv4/tcp_ipv4.c). When a socket of that chain goes away meanwhile, the next
// is skipped; when one comes, one is shown twice. So what was shown before and
// is missing now is confirmed by a second walk before it counts as gone, and
// doubles are removed.
type tables struct {
	cfg Config
	buf []byte
	// index finds a row of the current namespace; sets counts the sockets that
	// the last pass saw of each namespace.
	index map[rowKey]seenRow
	sets  map[uint32]int
	pass  uint32
}

// rowKey tells the sockets of a pass apart. Listeners may share an address
// (SO_REUSEPORT), so the inode belongs to their key; a connection keeps its key
// when it is accepted.
type rowKey struct {
	tcp.Key
	listener uint32
}

type seenRow struct {
	pass uint32
	at   int
}

// coverage is what a pass has covered.
type coverage struct {
	covered  []uint32
	all      bool
	problems []string
}

// bufSize holds several pages, should a kernel hand out more than one a read.
const bufSize = 64 << 10

// list returns the namespaces to read.
func (t *tables) list() ([]netns.Namespace, int, error) {
	switch {
	case t.cfg.Namespaces != nil:
		return t.cfg.Namespaces, 0, nil
	case t.cfg.Root == defaultRoot:
		return netns.List()
	default:
		return namespacesBelow(t.cfg.Root)
	}
}

// walk appends the rows of all namespaces to rows.
func (t *tables) walk(ctx context.Context, rows []row, c *coverage) ([]row, error) {
	list, hidden, err := t.list()
	if err != nil {
		return rows, err
	}
	if t.index == nil {
		t.index = make(map[rowKey]seenRow)
	}
	t.pass++
	c.all = t.cfg.Namespaces == nil && hidden == 0
	if hidden > 0 {
		c.problems = append(c.problems, "the network namespaces of "+count(hidden, "process", "processes")+" are hidden")
	}
	closed := 0
	sets := make(map[uint32]int, len(list))
	for _, ns := range list {
		if err := ctx.Err(); err != nil {
			return rows, err
		}
		first := len(rows)
		rows, err = t.namespace(rows, ns)
		switch {
		case err == nil:
			c.covered = append(c.covered, ns.Inode)
			sets[ns.Inode] = len(rows) - first
		case gone(err):
			// Its last process may have ended, or only the one we came by.
			c.all = false
		case errors.Is(err, tcp.ErrPermission) || errors.Is(err, os.ErrPermission):
			c.all = false
			closed++
		default:
			c.all = false
			c.problems = append(c.problems, err.Error())
		}
	}
	if closed > 0 {
		c.problems = append(c.problems, "the sockets of "+count(closed, "network namespace", "network namespaces")+" are hidden: entering one needs CAP_SYS_ADMIN")
	}
	t.sets = sets
	for key, seen := range t.index {
		if seen.pass != t.pass {
			delete(t.index, key)
		}
	}
	return rows, nil
}

// namespace appends the rows of one namespace.
func (t *tables) namespace(rows []row, ns netns.Namespace) ([]row, error) {
	first := len(rows)
	rows, reads, err := t.read(rows, t.opener(ns), ns.Inode)
	if err != nil {
		if len(rows) == first {
			return rows, err
		}
		rows, _ = t.merge(rows, first)
		return rows, err
	}
	before, old := t.sets[ns.Inode]
	rows, again := t.merge(rows, first)
	// A table that fits in one read is walked in one go, with no place to lose.
	if reads <= 1 || old && again == before {
		return rows, nil
	}
	second := len(rows)
	rows, _, err = t.read(rows, t.opener(ns), ns.Inode)
	if err != nil {
		return rows[:second], err
	}
	rows, _ = t.merge(rows, second)
	return rows, nil
}

// merge indexes the rows from first on, which are of one walk through one
// namespace. A row that this pass has already is brought up to date in place
// and dropped. again counts the sockets that the last pass saw as well.
func (t *tables) merge(rows []row, first int) (_ []row, again int) {
	n := first
	for i := first; i < len(rows); i++ {
		r := &rows[i]
		key := rowKey{Key: tcp.Key{Tuple: r.Tuple, NetNS: r.netns}}
		if r.state == tcp.Listen {
			key.listener = r.inode
		}
		seen, ok := t.index[key]
		if ok && seen.pass == t.pass {
			rows[seen.at] = *r
			continue
		}
		if ok {
			again++
		}
		t.index[key] = seenRow{pass: t.pass, at: n}
		rows[n] = *r
		n++
	}
	return rows[:n], again
}

// opener opens the two tables of one namespace. tcp6 is nil where the kernel
// has no IPv6.
type opener func() (tcp4, tcp6 *os.File, err error)

func openSelf(root string) opener {
	if root == defaultRoot {
		// The calling thread may be in another namespace than its process.
		return openBelow(root + "/thread-self/net")
	}
	return openBelow(root + "/1/net")
}

func openBelow(dir string) opener {
	return func() (tcp4, tcp6 *os.File, err error) {
		tcp4, err = os.Open(dir + "/tcp")
		if err != nil {
			return nil, nil, err
		}
		tcp6, err = os.Open(dir + "/tcp6")
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			tcp4.Close()
			return nil, nil, err
		}
		return tcp4, tcp6, nil
	}
}

// opener finds the cheapest way to the tables of a namespace: its own, those of
// a process in it, which takes no rights, or else from inside.
func (t *tables) opener(ns netns.Namespace) opener {
	if dir, ok := strings.CutSuffix(ns.Path, "/ns/net"); ok {
		return t.openProcess(ns, dir)
	}
	if ns.Self {
		return openSelf(t.cfg.Root)
	}
	return func() (tcp4, tcp6 *os.File, err error) {
		err = ns.Do(func() error {
			tcp4, tcp6, err = openSelf(defaultRoot)()
			return err
		})
		if !errors.Is(err, tcp.ErrPermission) && !errors.Is(err, os.ErrPermission) {
			return tcp4, tcp6, err
		}
		// No right to enter it. A process in it will do as well.
		list, _, listErr := namespacesBelow(t.cfg.Root)
		if listErr == nil {
			for _, other := range list {
				if other.Inode == ns.Inode {
					return t.openProcess(other, strings.TrimSuffix(other.Path, "/ns/net"))()
				}
			}
		}
		return nil, nil, err
	}
}

// openProcess opens the tables of the namespace that a process is in, which
// must be ns.
func (t *tables) openProcess(ns netns.Namespace, dir string) opener {
	return func() (tcp4, tcp6 *os.File, err error) {
		tcp4, tcp6, err = openBelow(dir + "/net")()
		if err != nil {
			return nil, nil, err
		}
		// Its number may have passed to another process, or it may have moved.
		link, err := os.Readlink(dir + "/ns/net")
		if err == nil && link != ns.String() {
			err = &os.PathError{Op: "read", Path: dir + "/net/tcp", Err: unix.ESRCH}
		}
		if err != nil {
			tcp4.Close()
			tcp6.Close()
			return nil, nil, err
		}
		return tcp4, tcp6, nil
	}
}

// read appends the rows of both tables of a namespace. reads is how many reads
// the larger one took. Lines that could not be parsed are an error, with the rest read.
func (t *tables) read(rows []row, open opener, ns uint32) (_ []row, reads int, err error) {
	tcp4, tcp6, err := open()
	if err != nil {
		return rows, 0, err
	}
	defer tcp4.Close()
	defer tcp6.Close()
	first := len(rows)
	var errs []error
	for _, f := range [2]*os.File{tcp4, tcp6} {
		if f == nil {
			continue
		}
		var n int
		rows, n, err = t.file(rows, f, f == tcp6)
		reads = max(reads, n)
		if err != nil {
			errs = append(errs, fmt.Errorf("parsing %q: %w", f.Name(), err))
		}
	}
	for i := range rows[first:] {
		rows[first+i].netns = ns
	}
	return rows, reads, errors.Join(errs...)
}

// file appends the rows of one table.
func (t *tables) file(rows []row, f *os.File, ipv6 bool) (_ []row, reads int, err error) {
	if t.buf == nil {
		t.buf = make([]byte, bufSize)
	}
	parser := table{ipv6: ipv6, bigEndian: bigEndian}
	kept := 0 // bytes of an unfinished line at the start of the buffer
	for {
		n, err := unix.Read(int(f.Fd()), t.buf[kept:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return rows, reads, err
		}
		var rest []byte
		rows, rest = parser.append(rows, t.buf[:kept+n], n == 0)
		if n == 0 {
			break
		}
		reads++
		if len(rest) == len(t.buf) {
			return rows, reads, fmt.Errorf("line %d is longer than %d bytes", parser.line+1, len(t.buf))
		}
		kept = copy(t.buf, rest)
	}
	if parser.err != nil && parser.bad > 1 {
		return rows, reads, fmt.Errorf("%w (and %d more)", parser.err, parser.bad-1)
	}
	return rows, reads, parser.err
}

// namespacesBelow finds the network namespaces of the processes of a proc mount
// that need not be that of this process.
func namespacesBelow(root string) (list []netns.Namespace, hidden int, err error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, 0, fmt.Errorf("listing processes: %w", err)
	}
	seen := make(map[string]bool)
	for _, e := range entries {
		if name := e.Name(); name[0] < '0' || name[0] > '9' {
			continue
		}
		path := root + "/" + e.Name() + "/ns/net"
		link, err := os.Readlink(path)
		if errors.Is(err, os.ErrPermission) {
			hidden++
		}
		if err != nil || seen[link] {
			continue
		}
		seen[link] = true
		number, ok := strings.CutPrefix(link, "net:[")
		if !ok {
			continue
		}
		if ino, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 32); err == nil {
			list = append(list, netns.Namespace{Inode: uint32(ino), Path: path})
		}
	}
	return list, hidden, nil
}
