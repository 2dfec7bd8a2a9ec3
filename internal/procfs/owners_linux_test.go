package procfs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// socketInode returns the inode number of a socket of this process.
func socketInode(fd int) (uint32, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return uint32(st.Ino), err
}

type shared struct {
	Child int32
	Inode uint32
}

// roleShare opens a listener and passes it on to a child, as pre-fork servers do.
func roleShare() (any, error) {
	fd, _, err := listen("127.0.0.1", 1)
	if err != nil {
		return nil, err
	}
	ino, err := socketInode(fd)
	if err != nil {
		return nil, err
	}
	pid, err := startHolder(os.NewFile(uintptr(fd), "listener"))
	return shared{Child: pid, Inode: ino}, err
}

// startHolder starts a child that holds a socket, and returns once it does. It
// ends with this process's standard input, which it shares.
func startHolder(socket *os.File) (pid int32, err error) {
	exe, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), roleEnv+"=hold")
	cmd.Stdin, cmd.Stderr = os.Stdin, os.Stderr
	cmd.ExtraFiles = []*os.File{socket}
	ready, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		return 0, err
	}
	return int32(cmd.Process.Pid), nil
}

func resolve(tb testing.TB, w *Owners, inodes ...uint32) map[uint32]tcp.Owner {
	tb.Helper()
	want := make(map[uint32]struct{})
	for _, ino := range inodes {
		want[ino] = struct{}{}
	}
	found := make(map[uint32]tcp.Owner)
	err := w.Resolve(tb.Context(), want, func(inode uint32, o tcp.Owner) {
		if _, twice := found[inode]; twice {
			tb.Errorf("inode %d is found twice", inode)
		}
		found[inode] = o
	})
	if err != nil {
		tb.Fatal(err)
	}
	if len(want) != len(inodes) {
		tb.Error("the set of wanted inodes was changed")
	}
	return found
}

func TestOwners(t *testing.T) {
	var s shared
	parent := start(t, "share", &s, nil)
	w := NewOwners(DefaultConfig())
	fd, _, err := listen("127.0.0.1", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	own, err := socketInode(fd)
	if err != nil {
		t.Fatal(err)
	}
	const nobody = 4294967295
	for range 3 {
		found := resolve(t, w, s.Inode, own, nobody)
		if got, want := found[s.Inode], ownerOf(t, parent.pid()); got != want {
			t.Errorf("shared listener: %+v, want the older process %+v (the younger is %d)", got, want, s.Child)
		}
		if got, want := found[own], ownerOf(t, int32(os.Getpid())); got != want {
			t.Errorf("own listener: %+v, want %+v", got, want)
		}
		if len(found) != 2 {
			t.Errorf("found %v", found)
		}
	}
	t.Logf("%d processes may not be read", w.Hidden())
	if found := resolve(t, w); len(found) != 0 {
		t.Errorf("found %v without looking", found)
	}
}

func TestOwnersErrors(t *testing.T) {
	w := NewOwners(Config{Root: t.TempDir() + "/none"})
	want := map[uint32]struct{}{1: {}}
	if err := w.Resolve(t.Context(), want, nil); err == nil {
		t.Error("no error without a proc")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := NewOwners(Config{}).Resolve(ctx, want, nil); err == nil {
		t.Error("no error after the end of the context")
	}
}

// A walk leaves no descriptor open.
func TestOwnersDescriptors(t *testing.T) {
	w := NewOwners(DefaultConfig())
	resolve(t, w, 4294967295)
	before := countFDs(t)
	for range 3 {
		resolve(t, w, 4294967295)
	}
	if after := countFDs(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func countFDs(tb testing.TB) int {
	tb.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Fatal(err)
	}
	return len(entries)
}

// rolePairs holds quiet loopback connections, both ends.
func rolePairs() (any, error) {
	n, err := strconv.Atoi(os.Getenv("PAIRS"))
	if err != nil {
		return nil, err
	}
	if os.Getenv("SCENE_LO") != "" {
		if err := loUp(); err != nil {
			return nil, err
		}
	}
	// Keepalives are off by default, so the pairs stay as they are.
	ls, port, err := listen("127.0.0.1", 16)
	if err != nil {
		return nil, err
	}
	_, sa := sockaddr("127.0.0.1", port)
	var inodes []uint32
	for range n {
		c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		if err := unix.Connect(c, sa); err != nil {
			return nil, err
		}
		s, _, err := unix.Accept4(ls, unix.SOCK_CLOEXEC)
		if err != nil {
			return nil, err
		}
		for _, fd := range []int{c, s} {
			ino, err := socketInode(fd)
			if err != nil {
				return nil, err
			}
			inodes = append(inodes, ino)
		}
	}
	return inodes, nil
}

// startPairs starts processes that together hold n sockets, each process in the
// network namespace that change gives it.
func startPairs(tb testing.TB, n int, change func(*exec.Cmd)) (inodes []uint32) {
	tb.Helper()
	const most = 5000 // a process, far from its limit of descriptors
	for n > 0 {
		here := min(n, most)
		n -= here
		var own []uint32
		start(tb, "pairs", &own, func(cmd *exec.Cmd) {
			cmd.Env = append(cmd.Env, "PAIRS="+strconv.Itoa(here/2))
			if change != nil {
				change(cmd)
			}
		})
		inodes = append(inodes, own...)
	}
	return inodes
}

// cpu is the processor time of this process so far, in ns.
func cpu() int64 {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

// The walk for all sockets of a host, for one new socket, and for one that
// nobody holds, which cannot stop early.
func BenchmarkOwners(b *testing.B) {
	for _, sockets := range []int{1000, 20000} {
		inodes := startPairs(b, sockets, nil)
		for _, bb := range []struct {
			name string
			want []uint32
		}{{"all", inodes}, {"one", inodes[:1]}, {"nobody", []uint32{4294967295}}} {
			b.Run(fmt.Sprintf("sockets=%d/%s", sockets, bb.name), func(b *testing.B) {
				w := NewOwners(DefaultConfig())
				want := make(map[uint32]struct{})
				for _, ino := range bb.want {
					want[ino] = struct{}{}
				}
				found := 0
				runtime.GC()
				b.ReportAllocs()
				before := cpu()
				for b.Loop() {
					found = 0
					err := w.Resolve(b.Context(), want, func(uint32, tcp.Owner) { found++ })
					if err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(cpu()-before)/float64(b.N)/1e6, "cpu-ms/op")
				if bb.name != "nobody" && found != len(want) {
					b.Errorf("found %d of %d", found, len(want))
				}
			})
		}
	}
}
