package netns

import (
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

func TestMain(m *testing.M) {
	if code, is := tcptest.PlayRole(idle, stranger); is {
		os.Exit(code)
	}
	goleak.VerifyTestMain(m)
}

// idle does nothing until its parent is gone.
var idle = tcptest.Role{Name: "netns-idle", Run: func(c *tcptest.Control) error {
	if err := c.Recv(&struct{}{}); err != nil {
		return err
	}
	if err := c.Send("ready"); err != nil {
		return err
	}
	var v any
	if err := c.Recv(&v); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}}

func startIdle(t *testing.T, opts ...tcptest.Option) *tcptest.Child {
	t.Helper()
	c := tcptest.Start(t, idle.Name, struct{}{}, opts...)
	var ready string
	if err := c.Recv(&ready); err != nil {
		t.Fatal(err)
	}
	return c
}

func here(tb testing.TB) uint32 {
	tb.Helper()
	ino, err := inode(selfPath)
	if err != nil {
		tb.Fatal(err)
	}
	return ino
}

func find(list []Namespace, ino uint32) *Namespace {
	if i := slices.IndexFunc(list, func(n Namespace) bool { return n.Inode == ino }); i >= 0 {
		return &list[i]
	}
	return nil
}

func TestSelf(t *testing.T) {
	self, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	if !self.Self || self.Inode != here(t) {
		t.Errorf("%+v, but this is %d", self, here(t))
	}
	again, err := Open(self.Path)
	if err != nil || again != self {
		t.Errorf("opened as %+v, %v", again, err)
	}
	ran := false
	if err := self.Do(func() error { ran = true; return nil }); err != nil || !ran {
		t.Errorf("%v, ran %v", err, ran)
	}
	if _, err := Open(t.TempDir() + "/none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("opened what is not there: %v", err)
	}
}

// TestList finds a mounted namespace and one that only a process is in, once
// each, and enters them.
func TestList(t *testing.T) {
	mounted := tcptest.NewNetNS(t)
	startIdle(t, tcptest.InNetNS(mounted))
	child := startIdle(t, tcptest.InNewNetNS())
	held, err := child.NetNS()
	if err != nil {
		t.Fatal(err)
	}
	list, hidden, err := List()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d namespaces, %d processes hidden", len(list), hidden)
	if !list[0].Self || list[0].Inode != here(t) {
		t.Errorf("first is %+v", list[0])
	}
	seen := map[uint32]bool{}
	for i, ns := range list {
		if seen[ns.Inode] || ns.Self != (i == 0) {
			t.Errorf("%+v at %d", ns, i)
		}
		seen[ns.Inode] = true
	}
	if ns := find(list, mounted.Inode()); ns == nil || ns.Path != mounted.Path() {
		t.Errorf("mounted at %s, found %+v", mounted.Path(), ns)
	}
	if ns := find(list, held.Inode()); ns == nil || ns.Path != "/proc/"+strconv.Itoa(child.PID)+"/ns/net" {
		t.Errorf("held by %d, found %+v", child.PID, ns)
	}
	for _, n := range []*tcptest.NetNS{mounted, held} {
		ns := find(list, n.Inode())
		if ns == nil {
			continue
		}
		inside := uint32(0)
		err := ns.Do(func() (err error) { inside, err = inode(selfPath); return err })
		if err != nil || inside != n.Inode() {
			t.Errorf("in %s: %d, %v", ns, inside, err)
		}
	}
}

func TestDo(t *testing.T) {
	n := tcptest.NewNetNS(t)
	ns, err := Open(n.Path())
	if err != nil {
		t.Fatal(err)
	}
	own := here(t)
	failed := errors.New("failed")
	before := openFiles(t)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if err := ns.Do(func() error { return failed }); !errors.Is(err, failed) {
				t.Errorf("got %v", err)
			}
		})
		wg.Go(func() {
			if ino, err := inode(selfPath); err != nil || ino != own {
				t.Errorf("a thread stayed in %d (%v)", ino, err)
			}
		})
	}
	wg.Wait()
	if after := openFiles(t); after > before {
		t.Errorf("%d files open, %d before", after, before)
	}
}

func openFiles(tb testing.TB) int {
	tb.Helper()
	l, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Fatal(err)
	}
	return len(l)
}

// TestGone covers a namespace that ends, and a path that comes to stand for
// another one.
func TestGone(t *testing.T) {
	need.Root(t)
	n, err := tcptest.MakeNetNS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ns, err := Open(n.Path())
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	ran := func() error { t.Error("entered what is gone"); return nil }
	if err := ns.Do(ran); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	ns.Path = tcptest.NewNetNS(t).Path()
	if err := ns.Do(ran); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("another namespace at its path: %v", err)
	}
}

// strangerReport is what a user without rights sees.
type strangerReport struct {
	Own     Namespace
	List    []Namespace
	Hidden  int
	Errors  []string
	Refused int // namespaces that could not be entered for lack of rights
}

var stranger = tcptest.Role{Name: "netns-stranger", Run: func(c *tcptest.Control) error {
	var paths []string
	if err := c.Recv(&paths); err != nil {
		return err
	}
	var r strangerReport
	var err error
	if r.Own, err = Self(); err != nil {
		return err
	}
	if r.List, r.Hidden, err = List(); err != nil {
		return err
	}
	for _, ns := range r.List[1:] {
		if err := ns.Do(func() error { return nil }); errors.Is(err, tcp.ErrPermission) {
			r.Refused++
		} else {
			r.Errors = append(r.Errors, ns.String()+": "+errorText(err))
		}
	}
	return c.Send(r)
}}

func errorText(err error) string {
	if err == nil {
		return "entered"
	}
	return err.Error()
}

// TestStranger makes sure that what lacks of rights hide is counted, and that
// refusals say so.
func TestStranger(t *testing.T) {
	mounted := tcptest.NewNetNS(t)
	startIdle(t, tcptest.InNewNetNS())
	c := tcptest.Start(t, stranger.Name, []string{}, tcptest.AsUser(65534))
	var r strangerReport
	if err := c.Recv(&r); err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", r)
	if !r.Own.Self || r.List[0] != r.Own {
		t.Errorf("own %+v, first %+v", r.Own, r.List[0])
	}
	if r.Hidden == 0 {
		t.Error("the process in a namespace of its own is not counted")
	}
	if find(r.List, mounted.Inode()) == nil {
		t.Error("the mounted namespace is not listed")
	}
	if r.Refused == 0 {
		t.Errorf("nothing refused: %q", r.Errors)
	}
}
