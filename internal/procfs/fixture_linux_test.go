package procfs

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// roleEnv makes the test binary play a part instead of testing.
const roleEnv = "VIEWTCP_PROCFS_ROLE"

// A role says on stdout, in one JSON value, when it is ready; it ends when its
// standard input does, so that it cannot outlive the test.
var roles = map[string]func() (ready any, err error){
	"scene":   roleScene,
	"share":   roleShare,
	"hold":    func() (any, error) { return nil, nil },
	"reuse":   roleReuse,
	"look":    roleLook,
	"pairs":   rolePairs,
	"process": roleProcess,
}

func runRole(name string) int {
	ready, err := roles[name]()
	if err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		return 1
	}
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		return 1
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// child is a process that plays a role.
type child struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
}

func (c *child) pid() int32 { return int32(c.cmd.Process.Pid) }

// start runs a role, set up by change, and reads what it reports into ready.
func start(tb testing.TB, role string, ready any, change func(*exec.Cmd)) *child {
	tb.Helper()
	exe, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	cmd.Stderr = os.Stderr
	if change != nil {
		change(cmd)
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	c := &child{cmd: cmd, stdin: stdin}
	tb.Cleanup(c.stop)
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		tb.Fatalf("role %s: %v", role, err)
	}
	if err := json.Unmarshal(line, ready); err != nil {
		tb.Fatalf("role %s said %q: %v", role, line, err)
	}
	return c
}

func (c *child) stop() {
	c.stdin.Close()
	done := time.AfterFunc(20*time.Second, func() { _ = c.cmd.Process.Kill() })
	_ = c.cmd.Wait()
	done.Stop()
}

// loUp brings up the loopback device of the calling thread's namespace.
func loUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, req)
}

// roleScene makes sockets in every state that lasts, IPv4 and IPv6.
func roleScene() (any, error) {
	if os.Getenv("SCENE_LO") != "" {
		if err := loUp(); err != nil {
			return nil, fmt.Errorf("lo: %w", err)
		}
	}
	pairs, _ := strconv.Atoi(os.Getenv("SCENE_PAIRS"))
	_, err := makeScene(pairs)
	return nil, err
}

// makeScene is the scene of the calling thread's namespace.
func makeScene(pairs int) (fds []int, err error) {
	connect := func(ip string, port int) (int, error) {
		fd, err := connect(ip, port)
		fds = append(fds, fd)
		return fd, err
	}
	listen := func(ip string, backlog int) (int, int, error) {
		fd, port, err := listen(ip, backlog)
		fds = append(fds, fd)
		return fd, port, err
	}
	for _, addr := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1"} {
		server := addr
		if addr == "::ffff:127.0.0.1" {
			server = "::" // takes both kinds
			addr = "127.0.0.1"
		}
		ls, port, err := listen(server, 64)
		if err != nil {
			return fds, err
		}
		var ends [][2]int // client, server
		for range pairs + 4 {
			c, err := connect(addr, port)
			if err != nil {
				return fds, err
			}
			s, _, err := unix.Accept4(ls, unix.SOCK_CLOEXEC)
			if err != nil {
				return fds, err
			}
			fds = append(fds, s)
			ends = append(ends, [2]int{c, s})
		}
		// Unread data; a half-closed one; TIME_WAIT; an orphan in FIN_WAIT2.
		if _, err := unix.Write(ends[0][0], make([]byte, 1234)); err != nil {
			return fds, err
		}
		_ = unix.Shutdown(ends[1][0], unix.SHUT_WR)
		for _, fd := range []int{ends[2][0], ends[2][1], ends[3][0]} {
			_ = unix.Close(fd)
			fds = slices.DeleteFunc(fds, func(f int) bool { return f == fd })
		}
		// Two that nobody accepts.
		for range 2 {
			if _, err := connect(addr, port); err != nil {
				return fds, err
			}
		}
		// One whose server waits for data before it takes the handshake as done,
		// which leaves a request socket.
		deferred, port, err := listen(server, 8)
		if err != nil {
			return fds, err
		}
		if err := unix.SetsockoptInt(deferred, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 60); err != nil {
			return fds, err
		}
		if _, err := connect(addr, port); err != nil {
			return fds, err
		}
	}
	// A SYN that is never answered: the queue of the listener is full.
	_, port, err := listen("127.0.0.1", 0)
	if err != nil {
		return fds, err
	}
	for range 3 {
		if _, err := connect("127.0.0.1", port); err != nil {
			return fds, err
		}
	}
	time.Sleep(50 * time.Millisecond) // for the last ACKs and the first timers
	return fds, nil
}

// sockaddr returns the family and address of a numeric IP address.
func sockaddr(ip string, port int) (int, unix.Sockaddr) {
	a := net.ParseIP(ip)
	if v4 := a.To4(); v4 != nil && ip[0] != ':' {
		return unix.AF_INET, &unix.SockaddrInet4{Port: port, Addr: [4]byte(v4)}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: port, Addr: [16]byte(a.To16())}
}

func listen(ip string, backlog int) (fd, port int, err error) {
	family, sa := sockaddr(ip, 0)
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, 0, err
	}
	if err := unix.Bind(fd, sa); err != nil {
		return -1, 0, err
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return -1, 0, err
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return -1, 0, err
	}
	switch bound := bound.(type) {
	case *unix.SockaddrInet4:
		port = bound.Port
	case *unix.SockaddrInet6:
		port = bound.Port
	}
	return fd, port, nil
}

// connect begins a connection, and waits a moment for it to be established.
func connect(ip string, port int) (int, error) {
	family, sa := sockaddr(ip, port)
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Connect(fd, sa); err != nil && err != unix.EINPROGRESS {
		return -1, err
	}
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 50)
	return fd, err
}

// inNamespace makes a child start in a network namespace of its own.
func inNamespace(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	cmd.Env = append(cmd.Env, "SCENE_LO=1")
}
