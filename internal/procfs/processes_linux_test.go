package procfs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// fakeProc is a /proc of files.
type fakeProc struct {
	t    testing.TB
	root string
	now  time.Time
}

func newFakeProc(tb testing.TB) *fakeProc {
	tb.Helper()
	return &fakeProc{t: tb, root: tb.TempDir(), now: time.Unix(1_000_000, 0)}
}

func (f *fakeProc) processes(change func(*Config)) *Processes {
	cfg := DefaultConfig()
	cfg.Root = f.root
	cfg.Passwd = filepath.Join(f.root, "passwd")
	if change != nil {
		change(&cfg)
	}
	p := NewProcesses(cfg)
	p.now = func() time.Time { return f.now }
	return p
}

// put makes a process, in place of any of the same pid.
func (f *fakeProc) put(pid int32, start uint64, comm string) tcp.Owner {
	f.t.Helper()
	f.write(fmt.Sprintf("%d/stat", pid), fmt.Sprintf("%d (%s) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %d 0\n", pid, comm, start))
	return tcp.Owner{PID: pid, Start: start * tcp.StartGranularity, Comm: tcp.MakeComm(comm)}
}

func (f *fakeProc) write(name, text string) {
	f.t.Helper()
	path := filepath.Join(f.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func TestProcessDetails(t *testing.T) {
	f := newFakeProc(t)
	o := f.put(7, 500, "nginx")
	f.write("passwd", "www:x:33:33::/:/bin/sh\n")
	f.write("7/status", "Name:\tnginx\nUid:\t33\t0\t0\t0\n")
	f.write("7/cmdline", "nginx\x00--token=abc\x00")
	f.write("7/cgroup", "0::/system.slice/nginx.service\n")
	if err := os.Symlink("/usr/sbin/nginx (deleted)", filepath.Join(f.root, "7/exe")); err != nil {
		t.Fatal(err)
	}
	p := f.processes(nil)
	got, isNew := p.Resolve(o)
	want := &tcp.Process{
		ProcessID: tcp.ProcessID{PID: 7, Start: 500 * tcp.StartGranularity},
		Name:      "nginx", Exe: "/usr/sbin/nginx", Cmdline: "nginx --token=***", Parent: 1,
		UID: 33, HasUID: true, User: "www", Unit: "nginx.service", Cgroup: "/system.slice/nginx.service",
	}
	if diff := cmp.Diff(want, got); diff != "" || !isNew {
		t.Errorf("new %v (-want +got):\n%s", isNew, diff)
	}
	again, isNew := p.Resolve(o)
	if again != got || isNew {
		t.Errorf("the second time: %v, new %v", again, isNew)
	}
	if n := testing.AllocsPerRun(100, func() { p.Resolve(o) }); n != 0 {
		t.Errorf("%v allocations for a known process", n)
	}
	// Whoever forgot it hears of it again.
	f.now = f.now.Add(announceAfter)
	if again, isNew := p.Resolve(o); again != got || !isNew {
		t.Errorf("after %v: same %v, new %v", announceAfter, again == got, isNew)
	}
	if again, isNew := p.Resolve(tcp.Owner{Comm: o.Comm}); again != nil || isNew {
		t.Errorf("without a pid: %v", again)
	}
}

// A number that was given to another process names nobody.
func TestProcessReuse(t *testing.T) {
	f := newFakeProc(t)
	p := f.processes(nil)
	old := f.put(7, 500, "old")
	f.write("7/cmdline", "old program\x00")
	was, _ := p.Resolve(old)
	late := tcp.Owner{PID: 7, Start: 400 * tcp.StartGranularity, Comm: tcp.MakeComm("older")}
	young := f.put(7, 600, "new")
	f.write("7/cmdline", "new program\x00")

	if got, _ := p.Resolve(young); got.Cmdline != "new program" || got.Start != young.Start {
		t.Errorf("new process: %+v", got)
	}
	if got, _ := p.Resolve(old); got != was {
		t.Errorf("what was known of the old process is lost: %+v", got)
	}
	got, isNew := p.Resolve(late)
	if diff := cmp.Diff(&tcp.Process{ProcessID: tcp.ProcessID{PID: 7, Start: late.Start}, Name: "older"}, got); diff != "" || !isNew {
		t.Errorf("process that had ended before: new %v (-want +got):\n%s", isNew, diff)
	}
	// Not even a changed name makes the new one pass for the old one.
	f.now = f.now.Add(time.Minute)
	old.Comm = tcp.MakeComm("renamed")
	if got, isNew := p.Resolve(old); got != was || isNew {
		t.Errorf("after the end: %+v", got)
	}
	if s := p.Stats(); s.Reads != 4 || s.Gone != 2 || s.Cached != 3 {
		t.Errorf("%+v", s)
	}
}

func TestProcessWithoutStart(t *testing.T) {
	f := newFakeProc(t)
	p := f.processes(nil)
	f.put(7, 500, "a")
	o := tcp.Owner{PID: 7}
	got, _ := p.Resolve(o)
	if got.Name != "a" || got.ProcessID != (tcp.ProcessID{PID: 7}) {
		t.Errorf("%+v", got)
	}
	f.put(7, 600, "b")
	f.now = f.now.Add(forgetAfter)
	if got, isNew := p.Resolve(o); got.Name != "b" || !isNew {
		t.Errorf("%+v", got)
	}
	if err := os.RemoveAll(filepath.Join(f.root, "7")); err != nil {
		t.Fatal(err)
	}
	f.now = f.now.Add(forgetAfter)
	if got, isNew := p.Resolve(o); got.Name != "" || !isNew {
		t.Errorf("%+v", got)
	}
}

func TestProcessExec(t *testing.T) {
	f := newFakeProc(t)
	p := f.processes(nil)
	o := f.put(7, 500, "sh")
	sh, _ := p.Resolve(o)
	o = f.put(7, 500, "curl")
	if got, isNew := p.Resolve(o); got != sh || isNew {
		t.Errorf("at once: %+v", got)
	}
	f.now = f.now.Add(p.cfg.RefreshAfter)
	curl, isNew := p.Resolve(o)
	if curl.Name != "curl" || !isNew {
		t.Errorf("after a while: %+v", curl)
	}
	// A source that still has the name of before is asked once, not forever.
	reads := p.Stats().Reads
	for range 3 {
		f.now = f.now.Add(p.cfg.RefreshAfter)
		if got, isNew := p.Resolve(tcp.Owner{PID: o.PID, Start: o.Start, Comm: tcp.MakeComm("thread")}); got != curl || isNew {
			t.Errorf("other name: %+v", got)
		}
	}
	if n := p.Stats().Reads - reads; n != 1 {
		t.Errorf("%d reads", n)
	}
}

func TestProcessBudget(t *testing.T) {
	f := newFakeProc(t)
	p := f.processes(func(c *Config) { c.LookupsPerSecond = 10 })
	var owners []tcp.Owner
	for pid := range int32(30) {
		owners = append(owners, f.put(100+pid, 500, "p"))
		f.write(fmt.Sprintf("%d/cmdline", 100+pid), "program\x00")
	}
	described := func() (n int) {
		for _, o := range owners {
			got, _ := p.Resolve(o)
			if got.Name != "p" {
				t.Errorf("%+v", got)
			}
			if got.Cmdline != "" {
				n++
			}
		}
		return n
	}
	if n := described(); n != 10 {
		t.Errorf("%d described at once", n)
	}
	if n := described(); n != 10 {
		t.Errorf("%d described without time", n)
	}
	f.now = f.now.Add(time.Second)
	if n := described(); n != 20 {
		t.Errorf("%d described a second later", n)
	}
	f.now = f.now.Add(time.Hour)
	if n := described(); n != 30 {
		t.Errorf("%d described in the end", n)
	}
	if s := p.Stats(); s.Reads != 30 || s.Postponed < 20 {
		t.Errorf("%+v", s)
	}
}

func TestProcessesAreBounded(t *testing.T) {
	f := newFakeProc(t)
	p := f.processes(func(c *Config) { c.MaxProcesses = 10 })
	first := f.put(1, 500, "p")
	for pid := range int32(100) {
		p.Resolve(f.put(10+pid, 500, "p"))
		if _, isNew := p.Resolve(first); isNew != (pid == 0) {
			t.Errorf("the process in use was forgotten at %d", pid)
		}
	}
	if s := p.Stats(); s.Cached != 10 || p.lru.Len() != 10 {
		t.Errorf("%d cached, %d in the list", s.Cached, p.lru.Len())
	}
	f.now = f.now.Add(idleAfter)
	p.Resolve(f.put(200, 500, "p"))
	if s := p.Stats(); s.Cached != 1 {
		t.Errorf("%d cached after a pause", s.Cached)
	}
}

func TestUserNames(t *testing.T) {
	f := newFakeProc(t)
	u := users{path: filepath.Join(f.root, "passwd")}
	if got := u.name(5, f.now); got != "" {
		t.Errorf("without a file: %q", got)
	}
	f.write("passwd", "five:x:5:5::/:\n")
	if got := u.name(5, f.now); got != "" {
		t.Errorf("looked again at once: %q", got)
	}
	f.now = f.now.Add(passwdCheck)
	if got := u.name(5, f.now); got != "five" {
		t.Errorf("got %q", got)
	}
	f.write("passwd", "cinque:x:5:5::/:\n")
	f.now = f.now.Add(passwdCheck)
	if got := u.name(5, f.now); got != "cinque" {
		t.Errorf("after a change: %q", got)
	}
}

// hostile is a name that looks like the rest of a stat line.
const hostile = "a) S 1 (\n\x1b[31m"

// roleProcess calls itself something nasty, and becomes cat when it is told to.
func roleProcess() (any, error) {
	if err := os.WriteFile("/proc/self/comm", []byte(hostile), 0); err != nil {
		return nil, err
	}
	_, _, err := listen("127.0.0.1", 1)
	if err != nil {
		return nil, err
	}
	fmt.Println("null")
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
		return nil, err
	}
	return nil, unix.Exec("/bin/cat", []string{"cat"}, nil)
}

func TestRealProcess(t *testing.T) {
	var ready any
	c := start(t, "process", &ready, func(cmd *exec.Cmd) {
		cmd.Args = append(cmd.Args, "--password", "hunter2", "db://me:hunter2@192.0.2.1/")
	})
	p := NewProcesses(DefaultConfig())
	o := ownerOf(t, c.pid())
	if o.Comm.String() != hostile[:min(15, len(hostile))] {
		t.Errorf("comm %q", o.Comm)
	}
	got, _ := p.Resolve(o)
	if got.Name != o.Comm.String() || got.Parent != int32(os.Getpid()) || !got.HasUID || got.UID != uint32(os.Getuid()) ||
		!strings.HasSuffix(got.Cmdline, " --password *** db://me:***@192.0.2.1/") || !strings.HasSuffix(got.Exe, ".test") {
		t.Errorf("got %+v", got)
	}
	if os.Getuid() == 0 && got.User != "root" {
		t.Errorf("user %q", got.User)
	}
	if _, err := c.stdin.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	// In the middle of exec the name is the new one and the arguments are none.
	arguments := func() string {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", c.pid()))
		return string(b)
	}
	for o.Comm.String() != "cat" || arguments() == "" {
		if time.Now().After(deadline) {
			t.Fatalf("still %q", o.Comm)
		}
		time.Sleep(5 * time.Millisecond)
		o = ownerOf(t, c.pid())
	}
	p.now = func() time.Time { return time.Now().Add(time.Minute) }
	after, isNew := p.Resolve(o)
	if after.Name != "cat" || !strings.HasSuffix(after.Exe, "/cat") || after.Cmdline != "cat" || !isNew || after.ProcessID != got.ProcessID {
		t.Errorf("after exec: %+v", after)
	}
}

// ownerOf reads the identity of a process, another way than the product does.
func ownerOf(tb testing.TB, pid int32) tcp.Owner {
	tb.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		tb.Fatal(err)
	}
	text := string(b)
	i, j := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	var start uint64
	if _, err := fmt.Sscan(strings.Fields(text[j+1:])[19], &start); err != nil {
		tb.Fatal(err)
	}
	return tcp.Owner{PID: pid, Start: start * 10_000_000, Comm: tcp.MakeComm(text[i+1 : j])}
}
