package tcptest

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// PIDReuseConfig is for the role "pidreuse".
type PIDReuseConfig struct {
	// MaxPID is the largest pid of the namespace; the kernel keeps the first
	// 300 free once it wrapped. 400 by default.
	MaxPID int
}

// PIDReuseRequest asks for one of its fields.
type PIDReuseRequest struct {
	// Children starts so many processes one after the other. Each connects,
	// sends 64 bytes and ends. The answer is []PIDReuseEnd.
	Children int
	// Exec starts a program inside the namespace, with its output in the file
	// Stdout; the answer is its pid there. Signal sends a signal to that pid,
	// waits for its end and answers with its exit status.
	Exec   []string
	Stdout string
	Signal int
	PID    int
}

// PIDReuseEnd is one child's connection: which process it really was.
type PIDReuseEnd struct {
	// PID is the child in its own pid namespace, HostPID in that of the test.
	PID, HostPID int
	// Start is its start time in clock ticks since boot (field 22 of
	// /proc/PID/stat).
	Start uint64
	// Name is its comm, which no other child has.
	Name   string
	Cookie uint64
	Local  netip.AddrPort
	Remote netip.AddrPort
	Sent   uint64
}

const pidReuseSent = 64

// PIDReuse is a pid namespace of its own whose pids wrap quickly.
type PIDReuse struct{ *Child }

// StartPIDReuse makes the namespace, which ends with the test. It needs root
// and a kernel that keeps pid_max by pid namespace, so that the host's stays as
// it is.
func StartPIDReuse(tb testing.TB, cfg PIDReuseConfig, opts ...Option) *PIDReuse {
	tb.Helper()
	need.Root(tb)
	if cfg.MaxPID == 0 {
		cfg.MaxPID = 400
	}
	before, err := os.ReadFile(pidMax)
	if err != nil {
		tb.Fatal(err)
	}
	proc, err := os.Open("/proc")
	if err != nil {
		tb.Fatal(err)
	}
	defer proc.Close()
	c := Start(tb, "pidreuse", cfg, append(opts, InNewPIDNS(), WithFiles(proc))...)
	err = c.Recv(nil)
	after, errAfter := os.ReadFile(pidMax)
	if errAfter != nil {
		tb.Fatal(errAfter)
	}
	if !bytes.Equal(before, after) {
		if err := os.WriteFile(pidMax, before, 0); err != nil {
			tb.Errorf("restoring %s: %v", pidMax, err)
		}
		need.That(tb, false, "a kernel with a pid_max for each pid namespace")
	}
	if err != nil {
		tb.Fatal(err)
	}
	return &PIDReuse{c}
}

const pidMax = "/proc/sys/kernel/pid_max"

// Children runs n children one after the other and says who they were.
func (p *PIDReuse) Children(n int) ([]PIDReuseEnd, error) {
	var ends []PIDReuseEnd
	err := p.Call(PIDReuseRequest{Children: n}, &ends)
	return ends, err
}

// Exec starts a program inside the pid namespace, where /proc is the
// namespace's own, and returns its pid there.
func (p *PIDReuse) Exec(stdout string, argv ...string) (pid int, err error) {
	err = p.Call(PIDReuseRequest{Exec: argv, Stdout: stdout}, &pid)
	return pid, err
}

// Stop signals a program of Exec and waits for its end.
func (p *PIDReuse) Stop(pid int, sig syscall.Signal) (status int, err error) {
	err = p.Call(PIDReuseRequest{Signal: int(sig), PID: pid}, &status)
	return status, err
}

// hostProc is the descriptor of the test's /proc in the role.
const hostProc = 3

func pidReuseRole(c *Control) error {
	var cfg PIDReuseConfig
	if err := c.Recv(&cfg); err != nil {
		return err
	}
	unix.CloseOnExec(hostProc)
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("leaving the mount namespace's peers: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	if err := os.WriteFile(pidMax, []byte(strconv.Itoa(cfg.MaxPID)), 0); err != nil {
		return fmt.Errorf("setting pid_max: %w", err)
	}
	fd, addr, err := listen(IPv4, netip.AddrPort{}, 1024)
	if err != nil {
		return err
	}
	go drain(fd)
	if err := c.Send(struct{}{}); err != nil {
		return err
	}
	programs := map[int]*exec.Cmd{}
	defer func() {
		for _, cmd := range programs {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}()
	made := 0
	for {
		var r PIDReuseRequest
		if err := c.Recv(&r); err != nil {
			return err
		}
		var answer any
		switch {
		case r.Children > 0:
			ends := make([]PIDReuseEnd, 0, r.Children)
			f, err := newForker(addr.Port())
			if err != nil {
				return err
			}
			for range r.Children {
				to := destination(netip.AddrPortFrom(IPv4.loopback(), addr.Port()), made, 16)
				e, err := f.child("pr-"+strconv.Itoa(made), to)
				if err != nil {
					return fmt.Errorf("child %d: %w", made, err)
				}
				made++
				ends = append(ends, e)
			}
			answer = ends
		case len(r.Exec) > 0:
			cmd, err := startProgram(r)
			if err != nil {
				return err
			}
			programs[cmd.Process.Pid] = cmd
			answer = cmd.Process.Pid
		default:
			cmd := programs[r.PID]
			if cmd == nil {
				return fmt.Errorf("no program with pid %d", r.PID)
			}
			delete(programs, r.PID)
			_ = cmd.Process.Signal(syscall.Signal(r.Signal))
			_ = cmd.Wait()
			answer = cmd.ProcessState.ExitCode()
		}
		if err := c.Send(answer); err != nil {
			return err
		}
	}
}

func startProgram(r PIDReuseRequest) (*exec.Cmd, error) {
	out, err := os.OpenFile(r.Stdout, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(r.Exec[0], r.Exec[1:]...) //nolint:noctx // the role's end is the program's
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	return cmd, cmd.Start()
}

// drain reads every connection to its end.
func drain(listener int) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			buf := make([]byte, 4096)
			for {
				fd, err := accept(listener)
				if err != nil {
					return
				}
				for {
					if n, err := readFull(fd, buf); err != nil || n < len(buf) {
						break
					}
				}
				unix.Close(fd)
			}
		})
	}
	wg.Wait()
}

// forkShared is what a forked child and its parent both see.
type forkShared struct {
	pid, errno uintptr
	step       uintptr // the system call that failed
	cookie     uint64
	local      unix.RawSockaddrInet4
	self       [32]byte  // where /proc/self points, in the test's /proc
	stat       [512]byte // /proc/self/stat, from the same
}

// A forker makes children that are not new programs: only so are pids used up
// at a thousand a second. The child of a fork in a program with several threads
// may use nothing of the Go runtime, so that all it needs is prepared here, and
// child makes raw system calls only.
type forker struct {
	shared  *forkShared
	sa      unix.RawSockaddrInet4
	name    [16]byte
	payload [pidReuseSent]byte
	self    [5]byte
	stat    [10]byte
	optlen  uint32
	salen   uint32
}

func newForker(port uint16) (*forker, error) {
	size := int(unsafe.Sizeof(forkShared{}))
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("memory to share with children: %w", err)
	}
	f := &forker{shared: (*forkShared)(unsafe.Pointer(&mem[0]))}
	f.sa.Family = unix.AF_INET
	f.sa.Port = port>>8 | port<<8
	copy(f.self[:], "self\x00")
	copy(f.stat[:], "self/stat\x00")
	return f, nil
}

// child forks once and waits for the child's end.
func (f *forker) child(name string, to netip.AddrPort) (e PIDReuseEnd, err error) {
	*f.shared = forkShared{}
	f.name = [16]byte{}
	copy(f.name[:15], name)
	f.sa.Addr = to.Addr().As4()
	pid, errno := f.fork()
	if errno != 0 {
		return e, fmt.Errorf("fork: %w", errno)
	}
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(int(pid), &ws, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return e, fmt.Errorf("wait: %w", err)
		}
		break
	}
	s := f.shared
	if !ws.Exited() || ws.ExitStatus() != 0 {
		return e, fmt.Errorf("status %#x in step %d: %w", int(ws), s.step, syscall.Errno(s.errno))
	}
	e = PIDReuseEnd{
		PID: int(pid), Name: name, Cookie: s.cookie, Remote: to, Sent: pidReuseSent,
		Local: netip.AddrPortFrom(netip.AddrFrom4(s.local.Addr), s.local.Port>>8|s.local.Port<<8),
	}
	if int(s.pid) != e.PID {
		return e, fmt.Errorf("the child calls itself %d, its parent %d", s.pid, pid)
	}
	if e.HostPID, err = strconv.Atoi(unix.ByteSliceToString(s.self[:])); err != nil {
		return e, fmt.Errorf("pid on the host: %w", err)
	}
	// comm, the second field, is in parentheses and may hold any byte; start
	// time is the 20th after it (proc_pid_stat(5)).
	stat := unix.ByteSliceToString(s.stat[:])
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return e, fmt.Errorf("short stat %q", stat)
	}
	e.Start, err = strconv.ParseUint(fields[19], 10, 64)
	return e, err
}

// fork returns in the parent only.
//
//go:norace
//go:noinline
func (f *forker) fork() (pid uintptr, errno syscall.Errno) {
	s := f.shared
	f.optlen, f.salen = 8, unix.SizeofSockaddrInet4
	pid, _, errno = syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	var fd, proc uintptr
	var n int
	// The name comes before the connect: sources take the one of that moment.
	s.step = 1
	_, _, errno = syscall.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_NAME, uintptr(unsafe.Pointer(&f.name)), 0)
	if errno == 0 {
		s.step = 2
		s.pid, _, errno = syscall.RawSyscall(unix.SYS_GETPID, 0, 0, 0)
	}
	if errno == 0 {
		s.step = 3
		_, _, errno = syscall.RawSyscall6(unix.SYS_READLINKAT, hostProc, uintptr(unsafe.Pointer(&f.self)), uintptr(unsafe.Pointer(&s.self)), unsafe.Sizeof(s.self)-1, 0, 0)
	}
	if errno == 0 {
		s.step = 4
		proc, _, errno = syscall.RawSyscall6(unix.SYS_OPENAT, hostProc, uintptr(unsafe.Pointer(&f.stat)), unix.O_RDONLY, 0, 0, 0)
	}
	if errno == 0 {
		s.step = 5
		_, _, errno = syscall.RawSyscall(unix.SYS_READ, proc, uintptr(unsafe.Pointer(&s.stat)), unsafe.Sizeof(s.stat)-1)
	}
	if errno == 0 {
		s.step = 6
		fd, _, errno = syscall.RawSyscall(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_TCP)
	}
	if errno == 0 {
		s.step = 7
		_, _, errno = syscall.RawSyscall(unix.SYS_CONNECT, fd, uintptr(unsafe.Pointer(&f.sa)), unix.SizeofSockaddrInet4)
	}
	if errno == 0 {
		s.step = 8
		_, _, errno = syscall.RawSyscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_COOKIE, uintptr(unsafe.Pointer(&s.cookie)), uintptr(unsafe.Pointer(&f.optlen)), 0)
	}
	if errno == 0 {
		s.step = 9
		_, _, errno = syscall.RawSyscall(unix.SYS_GETSOCKNAME, fd, uintptr(unsafe.Pointer(&s.local)), uintptr(unsafe.Pointer(&f.salen)))
	}
	for errno == 0 && n < pidReuseSent {
		s.step = 10
		var m uintptr
		m, _, errno = syscall.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&f.payload))+uintptr(n), uintptr(pidReuseSent-n))
		n += int(m)
	}
	// The end of the process closes the socket.
	s.errno = uintptr(errno)
	status := uintptr(0)
	if errno != 0 {
		status = 1
	}
	for {
		_, _, _ = syscall.RawSyscall(unix.SYS_EXIT_GROUP, status, 0, 0)
	}
}
