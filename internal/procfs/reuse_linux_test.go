package procfs

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/tcp"

	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// reuseScript makes short-lived processes that connect to port $1, $2 at a time
// and $3 of them: each calls itself something else and says who it is.
const reuseScript = `
for ((i = 0; i < $3; i += $2)); do
	for ((j = 0; j < $2; j++)); do
		(
			echo -n "c$((i + j))" > /proc/self/comm
			exec 3<> /dev/tcp/127.0.0.1/$1 || exit
			read -r line < /proc/self/stat
			set -- $line
			echo "$1 ${22} $2" >&3
			read -r -t 5 answer <&3
		) &
	done
	wait
done
`

// reuseResult is what the test of pid reuse counted, inside its namespace.
type reuseResult struct {
	Children, Pids int
	// Right and Wrong are attributions, Unknown sockets whose owner was not found.
	Right, Wrong, Unknown int
	// Details are owners whose process was read, and Gone those too late for it.
	Details, Gone int
	// Passes is walks through the descriptors.
	Passes  int
	Example string
}

// claim is what a child said of itself over its connection.
type claim struct {
	pid   int32
	start uint64
	comm  string
}

// roleReuse runs as process 1 of a pid namespace with very few numbers. Children
// come and go while their sockets are looked up without pause.
func roleReuse() (any, error) {
	if err := privateProc(""); err != nil {
		return nil, err
	}
	if err := loUp(); err != nil {
		return nil, err
	}
	// The limit is the namespace's own since Linux 6.14; older kernels would
	// change the host's, so there the numbers are used up instead.
	limited := os.Getenv("REUSE_LIMIT") != ""
	if limited {
		if err := os.WriteFile("/proc/sys/kernel/pid_max", []byte("400"), 0); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("1024 65000"), 0); err != nil {
		return nil, err
	}
	total, err := strconv.Atoi(os.Getenv("REUSE_CHILDREN"))
	if err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	port := l.Addr().(*net.TCPAddr).Port

	var mu sync.Mutex
	ledger := make(map[uint16][]claim) // by the port of the child
	var passes atomic.Int64
	var servers sync.WaitGroup
	servers.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			servers.Go(func() {
				defer conn.Close()
				var c claim
				line, _ := bufio.NewReader(conn).ReadString('\n')
				if n, _ := fmt.Sscanf(line, "%d %d (%s", &c.pid, &c.start, &c.comm); n == 3 {
					c.comm = strings.TrimSuffix(c.comm, ")")
					c.start *= 10_000_000
					mu.Lock()
					port := uint16(conn.RemoteAddr().(*net.TCPAddr).Port)
					ledger[port] = append(ledger[port], c)
					mu.Unlock()
				}
				// Some live for a whole pass, some die while they are looked for,
				// some before.
				enough := passes.Load() + int64(c.pid%3)
				for range 2000 {
					if passes.Load() >= enough {
						break
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
	})

	cmd := exec.Command("bash", "-c", reuseScript, "reuse", strconv.Itoa(port), "50", strconv.Itoa(total))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	var r reuseResult
	owners, processes := NewOwners(DefaultConfig()), NewProcesses(Config{LookupsPerSecond: 1e6})
	reader := tables{cfg: DefaultConfig().withDefaults()}
	found := make(map[uint32]tcp.Owner) // by inode
	ports := make(map[uint32]uint16)
	var rows []row
	for running := true; running; {
		select {
		case err := <-ended:
			if err != nil {
				return nil, err
			}
			running = false
		default:
		}
		if !limited {
			// The next number is among those just used.
			_ = os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte("300"), 0)
		}
		rows, _, err = reader.read(rows[:0], openSelf(defaultRoot), 0)
		if err != nil {
			return nil, err
		}
		want := make(map[uint32]struct{})
		for i := range rows {
			if ino := rows[i].inode; rows[i].RemotePort == uint16(port) && ino != 0 && found[ino].PID == 0 {
				want[ino], ports[ino] = struct{}{}, rows[i].LocalPort
			}
		}
		passes.Add(1)
		err := owners.Resolve(context.Background(), want, func(inode uint32, o tcp.Owner) {
			found[inode] = o
			if p, _ := processes.Resolve(o); p.Parent != 0 {
				r.Details++
				if p.Name != o.Comm.String() || p.Start != o.Start {
					r.Wrong++
					r.Example = fmt.Sprintf("%+v described as %+v", o, *p)
				}
			} else {
				r.Gone++
			}
		})
		if err != nil {
			return nil, err
		}
	}
	l.Close()
	servers.Wait()
	r.Passes = int(passes.Load())
	pids := make(map[int32]bool)
	for _, claims := range ledger {
		r.Children += len(claims)
		for _, c := range claims {
			pids[c.pid] = true
		}
	}
	r.Pids = len(pids)
	for ino, port := range ports {
		o, ok := found[ino]
		switch {
		case !ok:
			r.Unknown++
		// A port may have been used twice, but not by two of the same name.
		case slices.Contains(ledger[port], claim{o.PID, o.Start, o.Comm.String()}):
			r.Right++
		default:
			r.Wrong++
			r.Example = fmt.Sprintf("port %d: %+v, but it was %+v", port, o, ledger[port])
		}
	}
	return r, nil
}

// privateProc mounts a proc for the pid namespace that this process is in, seen
// by it and its children alone.
func privateProc(options string) error {
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return err
	}
	return unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, options)
}

// inPIDNamespace makes a child start as process 1, in namespaces of its own.
func inPIDNamespace(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
	}
}

// limitIsPerNamespace reports whether kernel.pid_max belongs to the pid
// namespace: there, a new namespace begins with the highest limit.
func limitIsPerNamespace(t *testing.T) bool {
	t.Helper()
	here, err := os.ReadFile("/proc/sys/kernel/pid_max")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("unshare", "-pf", "--mount-proc", "cat", "/proc/sys/kernel/pid_max").Output()
	need.That(t, err == nil, "unshare")
	return !bytes.Equal(here, out)
}

// 10,000 processes share a hundred numbers. That a socket's process is not found
// in time is allowed; naming another is not.
func TestPIDReuse(t *testing.T) {
	need.Root(t)
	need.Programs(t, "bash")
	limited := limitIsPerNamespace(t)
	children := 10_000
	if testing.Short() {
		children = 1000
	}
	var r reuseResult
	start(t, "reuse", &r, func(cmd *exec.Cmd) {
		inPIDNamespace(cmd)
		cmd.Env = append(cmd.Env, fmt.Sprint("REUSE_CHILDREN=", children))
		if limited {
			cmd.Env = append(cmd.Env, "REUSE_LIMIT=1")
		}
	})
	t.Logf("%+v", r)
	if r.Wrong != 0 {
		t.Errorf("%d wrong, as %s", r.Wrong, r.Example)
	}
	if r.Children != children || r.Right < children/10 {
		t.Errorf("%d children, %d right: too few to tell", r.Children, r.Right)
	}
	if limited && r.Pids > 400 {
		t.Errorf("%d numbers", r.Pids)
	}
}
