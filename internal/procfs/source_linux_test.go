package procfs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/tcp"

	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

var _ tcp.Source = (*Source)(nil)

// A namespace that only a mount keeps, with sockets of a process that is in
// another one.
func TestNamespaceWithoutProcess(t *testing.T) {
	need.Root(t)
	path := filepath.Join(t.TempDir(), "netns")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var fds []int
	var inode uint32
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		done <- func() (err error) {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return err
			}
			if err := loUp(); err != nil {
				return err
			}
			if err := unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""); err != nil {
				return err
			}
			ns, err := netns.Open(path)
			if err != nil {
				return err
			}
			inode = ns.Inode
			fds, err = makeScene(20)
			return err
		}()
	}()
	err := <-done
	t.Cleanup(func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
		_ = unix.Unmount(path, unix.MNT_DETACH)
	})
	if err != nil {
		t.Fatal(err)
	}
	src, err := New(DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	got := once(t, src)
	sockets := got.in(t, inode)
	if len(sockets) < 3*2*20 {
		t.Errorf("%d sockets", len(sockets))
	}
	for key, s := range sockets {
		if s.Inode >= 0 && s.PID != int64(os.Getpid()) {
			t.Errorf("%s: %+v is not ours", key, s)
		}
	}
	// What is read of one namespace alone is the same.
	only, err := New(Config{Namespaces: []netns.Namespace{{Inode: inode, Path: path}}})
	if err != nil {
		t.Fatal(err)
	}
	alone := once(t, only)
	if n := len(alone.in(t, inode)); n != len(sockets) || n != len(alone.observations) || alone.pass.AllNamespaces ||
		len(alone.pass.Namespaces) != 1 || alone.pass.Namespaces[0] != inode {
		t.Errorf("%d of %d sockets, pass %+v", n, len(sockets), alone.pass)
	}
	before := countFDs(t)
	once(t, only)
	once(t, src)
	if after := countFDs(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// Run sees a socket come and go, and ends with its context.
func TestRun(t *testing.T) {
	self, err := netns.Self()
	if err != nil {
		t.Fatal(err)
	}
	src, err := New(Config{PollEvery: 10 * time.Millisecond, Namespaces: []netns.Namespace{self}})
	if err != nil {
		t.Fatal(err)
	}
	var fd, port, passes int
	var seen, gone, attributed bool
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // a pass looks at every process of the host
	defer cancel()
	here := false
	err = src.Run(ctx, func(b *tcp.Batch) error {
		for i := range b.Observations {
			o := &b.Observations[i]
			if port != 0 && int(o.LocalPort) == port && o.State == tcp.Listen {
				here = true
				attributed = o.Owner.PID == int32(os.Getpid()) && o.Attribution == tcp.AttributionScan
			}
		}
		if !b.Pass.End {
			return nil
		}
		passes++
		switch {
		case port == 0:
			fd, port, err = listen("127.0.0.1", 1)
			if err != nil {
				return err
			}
		case here && !seen:
			seen = true
			_ = unix.Close(fd)
		case seen && !here:
			gone = true
			cancel()
		}
		here = false
		return nil
	})
	if err != nil || !seen || !gone || !attributed {
		t.Errorf("after %d passes: err %v, seen %v, attributed %v, gone %v", passes, err, seen, attributed, gone)
	}
	// The error of a sink ends the run.
	broken := errors.New("broken")
	if err := src.Run(t.Context(), func(*tcp.Batch) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("err = %v", err)
	}
	if err := src.Once(ctx, func(*tcp.Batch) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("once after the end: %v", err)
	}
}

// A proc of files stands for that of another host, broken lines included.
func TestForeignRoot(t *testing.T) {
	f := newFakeProc(t)
	o := f.put(1, 100, "init")
	f.put(50, 200, "app")
	f.write("1/net/tcp", heading4+goodLine+"   1: broken\n"+goodLine)
	f.write("1/net/tcp6", heading6)
	f.write("50/net/tcp", heading4+"   0: 0A0200C0:C350 056433C6:01BB 01 00000000:00000000 00:00000000 00000000     0        0 99 1 0000000000000000 24 4 30 10 -1\n")
	for path, target := range map[string]string{"1/ns/net": "net:[1001]", "50/ns/net": "net:[1002]", "1/fd/3": "socket:[1]"} {
		path = filepath.Join(f.root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
	}
	src, err := New(Config{Root: f.root})
	if err != nil {
		t.Fatal(err)
	}
	got := once(t, src)
	if len(got.observations) != 2 || got.pass.AllNamespaces || len(got.pass.Namespaces) != 1 || got.pass.Namespaces[0] != 1002 {
		t.Fatalf("%d observations, pass %+v", len(got.observations), got.pass)
	}
	if want := `1/net/tcp": line 3, column 8: expected`; !strings.Contains(got.pass.Incomplete, want) {
		t.Errorf("incomplete %q, want %q in it", got.pass.Incomplete, want)
	}
	for i := range got.observations {
		switch ob := &got.observations[i]; ob.NetNS {
		case 1001:
			if ob.Owner != o || ob.State != tcp.Listen || ob.Attribution != tcp.AttributionScan {
				t.Errorf("%+v", ob)
			}
		case 1002:
			if ob.Owner.PID != 0 || ob.Remote != tcp.AddrFrom(netip.MustParseAddr("198.51.100.5")) || ob.Attribution != tcp.AttributionUnknown {
				t.Errorf("%+v", ob)
			}
		default:
			t.Errorf("namespace %d", ob.NetNS)
		}
	}
	if _, err := New(Config{Root: f.root + "/none"}); err != nil {
		t.Errorf("a mount that comes later: %v", err)
	}
}

// A socket that slipped through the first walk is found by the second one.
func TestConfirm(t *testing.T) {
	reader := tables{index: make(map[rowKey]seenRow), sets: make(map[uint32]int), pass: 1}
	mk := func(port uint16, state tcp.State, inode uint32) row {
		return row{Tuple: tcp.Tuple{LocalPort: port}, state: state, inode: inode, netns: 5}
	}
	rows, again := reader.merge([]row{mk(1, tcp.Listen, 7), mk(1, tcp.Listen, 8), mk(2, tcp.Established, 0), mk(2, tcp.Established, 9)}, 0)
	if len(rows) != 3 || again != 0 || rows[2].inode != 9 {
		t.Errorf("listeners that share a port are two, an accepted connection is one: %+v, %d again", rows, again)
	}
	reader.pass++
	rows, again = reader.merge([]row{mk(1, tcp.Listen, 7), mk(2, tcp.Established, 9)}, 0)
	if again != 2 {
		t.Errorf("%d again", again)
	}
	rows = append(rows, mk(2, tcp.CloseWait, 9), mk(1, tcp.Listen, 8), mk(3, tcp.Established, 10))
	rows, again = reader.merge(rows, 2)
	if len(rows) != 4 || again != 1 || rows[1].state != tcp.CloseWait {
		t.Errorf("after the second walk: %+v, %d again", rows, again)
	}
}

// One pass over all sockets of a host: the first, which looks for all owners,
// and one when they are known.
func BenchmarkSource(b *testing.B) {
	need.Root(b)
	for _, sockets := range []int{1000, 20000} {
		startPairs(b, sockets, func(cmd *exec.Cmd) { inNamespace(cmd) })
		for _, name := range []string{"first", "next"} {
			b.Run(fmt.Sprintf("sockets=%d/%s", sockets, name), func(b *testing.B) {
				src, err := New(Config{RescanEvery: time.Hour})
				if err != nil {
					b.Fatal(err)
				}
				n := 0
				sink := func(batch *tcp.Batch) error {
					n += len(batch.Observations)
					return nil
				}
				if err := src.Once(b.Context(), sink); err != nil {
					b.Fatal(err)
				}
				runtime.GC()
				b.ReportAllocs()
				before := cpu()
				for b.Loop() {
					n = 0
					if name == "first" {
						clear(src.known)
						clear(src.reader.index)
						clear(src.reader.sets)
					}
					if err := src.Once(b.Context(), sink); err != nil {
						b.Fatal(err)
					}
				}
				spent := float64(cpu()-before) / float64(b.N)
				b.ReportMetric(spent/1e6, "cpu-ms/op")
				b.ReportMetric(spent/1e3/float64(n), "cpu-µs/socket")
			})
		}
	}
}
