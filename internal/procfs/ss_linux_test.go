package procfs

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/tcp"

	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// seen is what ss and this package both know of a socket. A value of -1 is
// unknown.
type seen struct {
	State           string
	Recv, Send      int64 // on a listener Recv is the accept queue
	CWND, SSThresh  int64
	UID, Inode, PID int64
	Comm            string
}

var ssStates = map[string]tcp.State{
	"ESTAB": tcp.Established, "LISTEN": tcp.Listen, "SYN-SENT": tcp.SynSent, "SYN-RECV": tcp.SynRecv,
	"FIN-WAIT-1": tcp.FinWait1, "FIN-WAIT-2": tcp.FinWait2, "TIME-WAIT": tcp.TimeWait, "CLOSE-WAIT": tcp.CloseWait,
	"LAST-ACK": tcp.LastAck, "CLOSING": tcp.Closing,
}

// ss lists the sockets of the namespace of a process, by their ends.
func ss(tb testing.TB, pid int32) map[string]seen {
	tb.Helper()
	out, err := exec.Command("nsenter", "-t", strconv.Itoa(int(pid)), "-n", "ss", "-tinapeOH").Output()
	if err != nil {
		tb.Fatal(err)
	}
	sockets := make(map[string]seen)
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		state := ssStates[f[0]]
		s := seen{State: state.String(), CWND: -1, SSThresh: -1, UID: 0, Inode: -1, PID: -1}
		s.Recv, _ = strconv.ParseInt(f[1], 10, 64)
		s.Send, _ = strconv.ParseInt(f[2], 10, 64)
		for _, word := range f[5:] {
			key, value, _ := strings.Cut(word, ":")
			n, _ := strconv.ParseInt(value, 10, 64)
			switch key {
			case "uid":
				s.UID = n
			case "ino":
				if n != 0 {
					s.Inode = n
				}
			case "cwnd":
				s.CWND = n
			case "ssthresh":
				s.SSThresh = n
			case "users":
				// users:(("comm",pid=1,fd=2),…
				_, rest, _ := strings.Cut(value, `(("`)
				s.Comm, rest, _ = strings.Cut(rest, `"`)
				_, rest, _ = strings.Cut(rest, "pid=")
				rest, _, _ = strings.Cut(rest, ",")
				s.PID, _ = strconv.ParseInt(rest, 10, 64)
			}
		}
		switch {
		case state == tcp.Listen:
			s.Send, s.CWND, s.SSThresh = -1, -1, -1 // /proc has no limit of the queue
		case s.CWND < 0: // no tcp_info: a mini-socket
			s.Recv, s.Send, s.UID = -1, -1, -1
		}
		if s.Inode < 0 {
			s.UID = -1
		}
		key := ssEnd(tb, f[3]) + " " + ssEnd(tb, f[4])
		if state == tcp.Listen {
			key += fmt.Sprint(" ", s.Inode)
		}
		if _, double := sockets[key]; double {
			tb.Fatalf("ss shows %s twice", key)
		}
		sockets[key] = s
	}
	return sockets
}

// ssEnd brings an address of ss to the form of ours.
func ssEnd(tb testing.TB, s string) string {
	tb.Helper()
	i := strings.LastIndexByte(s, ':')
	host, port := s[:i], s[i+1:]
	if port == "*" {
		port = "0"
	}
	host, _, _ = strings.Cut(host, "%")
	if host == "*" {
		host = "::"
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		tb.Fatalf("ss shows %q: %v", s, err)
	}
	return ip.Unmap().String() + "|" + port
}

// ours brings an observation to the form of ss.
func ours(o *tcp.Observation) (string, seen) {
	known := func(h tcp.Has, v uint32) int64 {
		if o.Has&h == 0 {
			return -1
		}
		return int64(v)
	}
	m := &o.Metrics
	s := seen{
		State: o.State.String(),
		Recv:  known(tcp.HasRecvQueue, m.RecvQueue), Send: known(tcp.HasSendQueue, m.SendQueue),
		CWND: known(tcp.HasCWND, m.CWND), SSThresh: known(tcp.HasSSThresh, m.SSThresh),
		UID: known(tcp.HasUID, o.UID), Inode: known(tcp.HasInode, o.Inode), PID: -1,
	}
	if o.State == tcp.Listen {
		s.Recv = known(tcp.HasAcceptQueue, m.AcceptQueue)
	}
	if o.Attribution == tcp.AttributionScan {
		s.PID, s.Comm = int64(o.Owner.PID), o.Owner.Comm.String()
	}
	if s.Inode < 0 {
		s.UID = -1
	}
	end := func(a tcp.Addr, port uint16) string {
		// An unconnected socket of either family has no peer: ss prints *, or 0.0.0.0.
		return a.String() + "|" + strconv.Itoa(int(port))
	}
	key := end(o.Local, o.LocalPort) + " " + end(o.Remote, o.RemotePort)
	if o.State == tcp.Listen {
		key += fmt.Sprint(" ", s.Inode)
	}
	return key, s
}

// collected is one pass.
type collected struct {
	observations []tcp.Observation
	processes    []*tcp.Process
	pass         tcp.Pass
}

func once(tb testing.TB, s *Source) collected {
	tb.Helper()
	var c collected
	err := s.Once(tb.Context(), func(b *tcp.Batch) error {
		if c.pass.End {
			tb.Error("a batch after the end")
		}
		if b.Pass.Kind != tcp.PassFull || b.Source != tcp.SourceProcfs {
			tb.Errorf("pass %v, source %v", b.Pass.Kind, b.Source)
		}
		c.observations = append(c.observations, b.Observations...)
		c.processes = append(c.processes, b.Processes...)
		c.pass = b.Pass
		c.pass.Namespaces = slices.Clone(c.pass.Namespaces)
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	if !c.pass.End {
		tb.Error("no end")
	}
	return c
}

// in returns the sockets of one namespace in the form of ss.
func (c *collected) in(tb testing.TB, ns uint32) map[string]seen {
	tb.Helper()
	sockets := make(map[string]seen)
	for i := range c.observations {
		o := &c.observations[i]
		if o.NetNS != ns {
			continue
		}
		key, s := ours(o)
		if _, double := sockets[key]; double {
			tb.Errorf("%s is shown twice", key)
		}
		sockets[key] = s
	}
	return sockets
}

// namespaceOf returns the namespace of a process.
func namespaceOf(tb testing.TB, pid int32) uint32 {
	tb.Helper()
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		tb.Fatal(err)
	}
	ino, err := strconv.ParseUint(strings.Trim(link, "net:[]"), 10, 32)
	if err != nil {
		tb.Fatal(err)
	}
	return uint32(ino)
}

// The same sockets as ss, in three namespaces, with the same values. What
// changed between a look of ss before and one after ours is not compared.
func TestSameAsSS(t *testing.T) {
	need.Root(t)
	need.Programs(t, "ss", "nsenter")
	src, err := New(DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	var children []*child
	for _, pairs := range []string{"2", "30", "60"} {
		var ready any
		children = append(children, start(t, "scene", &ready, func(cmd *exec.Cmd) {
			inNamespace(cmd)
			cmd.Env = append(cmd.Env, "SCENE_PAIRS="+pairs)
		}))
	}
	var before, after []map[string]seen
	for _, c := range children {
		before = append(before, ss(t, c.pid()))
	}
	got := once(t, src)
	for _, c := range children {
		after = append(after, ss(t, c.pid()))
	}
	if got.pass.Incomplete != "" {
		t.Errorf("incomplete: %s", got.pass.Incomplete)
	}
	states := make(map[string]int)
	for i, c := range children {
		ns := namespaceOf(t, c.pid())
		if !slices.Contains(got.pass.Namespaces, ns) {
			t.Errorf("namespace %d is not covered", ns)
		}
		have := got.in(t, ns)
		for _, s := range have {
			states[s.State]++
		}
		changed := 0
		for key := range maps.Keys(before[i]) {
			if before[i][key] != after[i][key] {
				changed++
				delete(have, key)
				delete(before[i], key)
			}
		}
		if diff := cmp.Diff(before[i], have); diff != "" {
			t.Errorf("namespace %d (-ss +ours):\n%s", ns, diff)
		}
		t.Logf("namespace %d: %d sockets equal, %d changed under the eyes of ss", ns, len(have), changed)
	}
	t.Logf("states: %v", states)
	for _, state := range []tcp.State{tcp.Established, tcp.Listen, tcp.SynSent, tcp.SynRecv, tcp.FinWait2, tcp.CloseWait, tcp.TimeWait} {
		if states[state.String()] == 0 {
			t.Errorf("no socket in %s", state)
		}
	}

	// Who waits for accept belongs to the listener's process; a reader of the
	// accept queue is told how many wait.
	var inherited, queued int
	for i := range got.observations {
		o := &got.observations[i]
		if o.Attribution == tcp.AttributionInherited && slices.ContainsFunc(children, func(c *child) bool { return c.pid() == o.Owner.PID }) {
			inherited++
			if o.Inode != 0 {
				t.Errorf("inherited with inode %d", o.Inode)
			}
		}
		if o.Has&tcp.HasAcceptQueue != 0 && o.Metrics.AcceptQueue == 2 {
			queued++
		}
	}
	// In each namespace: 3×2 in accept queues, 3 requests, and 1 or 2 of the full queue.
	if inherited < 3*9 || queued < 3*3 {
		t.Errorf("%d waiting connections inherited, %d listeners with 2 waiting", inherited, queued)
	}
	for _, c := range children {
		i := slices.IndexFunc(got.processes, func(p *tcp.Process) bool { return p.PID == c.pid() })
		if i < 0 || got.processes[i].Exe == "" || !got.processes[i].HasUID {
			t.Errorf("process %d is not described", c.pid())
		}
	}
}
