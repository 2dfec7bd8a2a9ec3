package tcptest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

const threadNetNS = "/proc/thread-self/ns/net"

// NetNS is a private network namespace with lo up, held by a bind mount.
type NetNS struct {
	path   string
	inode  uint32
	tables atomic.Int32 // nftables tables made so far
}

// NewNetNS makes a namespace that ends with the test. It needs root.
func NewNetNS(tb testing.TB) *NetNS {
	tb.Helper()
	need.Root(tb)
	n, err := MakeNetNS(tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := n.Close(); err != nil {
			tb.Error(err)
		}
	})
	return n
}

// MakeNetNS makes a namespace and mounts it on a new file in dir. The caller
// must Close it.
func MakeNetNS(dir string) (*NetNS, error) {
	f, err := os.CreateTemp(dir, "netns-")
	if err != nil {
		return nil, fmt.Errorf("mount point of a network namespace: %w", err)
	}
	path, err := filepath.Abs(f.Name())
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("mount point of a network namespace: %w", err)
	}
	n := &NetNS{path: path}
	done := make(chan error, 1)
	go func() {
		// A thread that cannot be brought home stays locked and ends with the
		// goroutine. That is no way out for all: the first thread never ends,
		// and its namespace is what /proc/self/ns/net shows.
		runtime.LockOSThread()
		home, err := unix.Open(threadNetNS, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		defer unix.Close(home)
		err = n.create()
		if unix.Setns(home, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		_ = os.Remove(path)
		return nil, fmt.Errorf("making a network namespace: %w", err)
	}
	return n, nil
}

func (n *NetNS) create() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := loUp(); err != nil {
		return err
	}
	var err error
	if n.inode, err = netNSInode(threadNetNS); err != nil {
		return err
	}
	if err := unix.Mount(threadNetNS, n.path, "none", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind mount: %w", err)
	}
	return nil
}

// loUp sets IFF_UP on lo of the calling thread's namespace.
func loUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("bringing lo up: %w", err)
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("bringing lo up: %w", err)
	}
	ifr.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
		return fmt.Errorf("bringing lo up: %w", err)
	}
	return nil
}

// Close takes the mount away; the namespace ends when the last process and the
// last socket in it do.
func (n *NetNS) Close() error {
	if err := unix.Unmount(n.path, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmounting network namespace %d: %w", n.inode, err)
	}
	return os.Remove(n.path)
}

// Inode is the number in /proc/PID/ns/net.
func (n *NetNS) Inode() uint32 { return n.inode }

// Path is a file that setns(2) and ip(8) take for the namespace.
func (n *NetNS) Path() string { return n.path }

// Do runs fn on this goroutine, inside the namespace. Sockets made and programs
// started by fn belong to it; goroutines that fn starts do not. fn may end the
// test.
func (n *NetNS) Do(fn func()) error {
	runtime.LockOSThread()
	home, err := unix.Open(threadNetNS, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("own network namespace: %w", err)
	}
	defer unix.Close(home)
	if err := n.enter(); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer func() {
		// A thread that cannot come home stays locked, and so dies with this
		// goroutine.
		if unix.Setns(home, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	fn()
	return nil
}

func (n *NetNS) enter() error {
	fd, err := unix.Open(n.path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening network namespace %d: %w", n.inode, err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering network namespace %d: %w", n.inode, err)
	}
	return nil
}

// Run runs a program inside the namespace and returns its standard output.
func (n *NetNS) Run(ctx context.Context, stdin string, argv ...string) (out []byte, err error) {
	if errDo := n.Do(func() { out, err = run(ctx, stdin, argv...) }); errDo != nil {
		return nil, errDo
	}
	return out, err
}

func run(ctx context.Context, stdin string, argv ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if stdin != "" {
		cmd.Stdin = bytes.NewBufferString(stdin)
	}
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("running %v: %w: %s", argv, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}

// HostNetNS is the inode number of this process's own namespace. It is that of
// the calling thread, because the first thread, which /proc/self stands for, may
// be visiting another one.
func HostNetNS() (uint32, error) { return netNSInode(threadNetNS) }

func netNSInode(path string) (uint32, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return uint32(st.Ino), nil
}

// VethPair links two namespaces by a pair of virtual Ethernet devices, named
// after the other end's namespace, and gives each an address. It needs ip(8).
func VethPair(tb testing.TB, a, b *NetNS, addrA, addrB netip.Prefix) {
	tb.Helper()
	need.Programs(tb, "ip")
	// An interface name has at most 15 bytes (IFNAMSIZ, include/uapi/linux/if.h).
	nameA, nameB := "to"+strconv.Itoa(int(b.inode)), "to"+strconv.Itoa(int(a.inode))
	script := func(n *NetNS, argv ...string) {
		tb.Helper()
		if _, err := n.Run(tb.Context(), "", argv...); err != nil {
			tb.Fatal(err)
		}
	}
	script(a, "ip", "link", "add", nameA, "type", "veth", "peer", "name", nameB, "netns", b.path)
	for _, end := range []struct {
		ns   *NetNS
		name string
		addr netip.Prefix
	}{{a, nameA, addrA}, {b, nameB, addrB}} {
		argv := []string{"ip", "addr", "add", end.addr.String(), "dev", end.name}
		if end.addr.Addr().Is6() {
			argv = append(argv, "nodad") // else the address is unusable for a second or two
		}
		script(end.ns, argv...)
		script(end.ns, "ip", "link", "set", end.name, "up")
	}
	// Removing one end removes both, before the namespaces' own ends do.
	tb.Cleanup(func() { _, _ = a.Run(context.Background(), "", "ip", "link", "del", nameA) })
}

// Drop makes the namespace lose every incoming packet that an nftables match
// describes, until the returned function is called or the test ends. An
// example is "tcp dport 80 tcp flags syn". It needs nft(8).
func Drop(tb testing.TB, n *NetNS, match string) (undo func()) {
	tb.Helper()
	need.Programs(tb, "nft")
	undo, err := n.drop(tb.Context(), match)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(undo)
	return undo
}

// Loss makes the namespace lose a random permille of the incoming TCP packets
// that the nftables match describes (all for ""), until the returned function
// is called or the test ends.
func Loss(tb testing.TB, n *NetNS, permille int, match string) (undo func()) {
	tb.Helper()
	return Drop(tb, n, fmt.Sprintf("meta l4proto tcp %s numgen random mod 1000 < %d", match, permille))
}

func (n *NetNS) drop(ctx context.Context, match string) (undo func(), err error) {
	// A table of its own for each rule, so that taking one away touches no other.
	table := fmt.Sprintf("inet viewtcp_test_%d", n.tables.Add(1))
	rules := fmt.Sprintf("table %s {\n chain in {\n  type filter hook input priority 0;\n  %s drop\n }\n}\n", table, match)
	if _, err := n.Run(ctx, rules, "nft", "-f", "-"); err != nil {
		return nil, err
	}
	gone := false
	return func() {
		if !gone {
			gone = true
			_, _ = n.Run(context.Background(), "delete table "+table+"\n", "nft", "-f", "-")
		}
	}, nil
}
