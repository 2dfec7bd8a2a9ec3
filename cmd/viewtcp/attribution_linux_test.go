package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// connectTo starts a client with n connections and returns its ledger.
func connectTo(tb testing.TB, ns *tcptest.NetNS, cfg tcptest.ClientConfig) (*tcptest.Child, tcptest.Ledger) {
	tb.Helper()
	c := tcptest.Start(tb, "client", cfg, tcptest.InNetNS(ns))
	var l tcptest.Ledger
	if err := c.Recv(&l); err != nil {
		tb.Fatal(err)
	}
	return c, l
}

// serve starts a server and returns where it listens.
func serve(tb testing.TB, ns *tcptest.NetNS, cfg tcptest.ServerConfig) (*tcptest.Child, tcptest.Listening) {
	tb.Helper()
	s := tcptest.Start(tb, "server", cfg, tcptest.InNetNS(ns))
	var at tcptest.Listening
	if err := s.Recv(&at); err != nil {
		tb.Fatal(err)
	}
	return s, at
}

func ledgerOf(tb testing.TB, c *tcptest.Child) tcptest.Ledger {
	tb.Helper()
	var l tcptest.Ledger
	if err := c.Call(tcptest.Op{Op: "ledger"}, &l); err != nil {
		tb.Fatal(err)
	}
	return l
}

// listed runs list -o jsonl.
func listed(tb testing.TB, args ...string) []tcptest.Row {
	tb.Helper()
	return rows(tb, viewtcp(tb, append([]string{"list", "-o", "jsonl"}, args...)...))
}

// ownersAgree holds the pid of each row against the ledger.
func ownersAgree(tb testing.TB, got []tcptest.Row, ledger tcptest.Ledger) {
	tb.Helper()
	ends := map[string]tcptest.Row{}
	for _, row := range got {
		local, remote := row.Ends()
		ends[local.String()+remote.String()] = row
	}
	for _, e := range ledger {
		row := ends[e.Local.String()+e.Remote.String()]
		if text(row, "pid") != strconv.Itoa(e.PID) {
			tb.Errorf("%s %v -> %v: pid %q, the ledger says %d: %v", e.Side, e.Local, e.Remote, text(row, "pid"), e.PID, row)
		}
	}
}

// TestTwoClients: two processes connected to one port of one server are told
// apart, whatever the source, and the server's Go listener is an MPTCP socket.
func TestTwoClients(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	server, at := serve(t, ns, tcptest.ServerConfig{})
	_, ledger := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 5, Send: 10, Name: "first"})
	_, second := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 5, Send: 10, Name: "second"})
	ledger = append(append(ledger, second...), ledgerOf(t, server)...)
	if len(ledger) != 20 {
		t.Fatalf("%d ends, want 20", len(ledger))
	}
	for _, source := range sourceNames {
		t.Run(source, func(t *testing.T) {
			got := listed(t, "--source", source, "--netns", ns.Path())
			ownersAgree(t, got, ledger)
			names := map[string]int{}
			for _, row := range got {
				if text(row, "state") == "LISTEN" && text(row, "pid") != strconv.Itoa(server.PID) {
					t.Errorf("the listener of process %d: %v", server.PID, row)
				}
				if text(row, "direction") == "outbound" {
					names[text(row, "process")]++
				}
			}
			if names["first"] != 5 || names["second"] != 5 {
				t.Errorf("names of the clients: %v", names)
			}
			// The filter finds them by name.
			if n := len(listed(t, "--source", source, "--netns", ns.Path(), "process", "second")); n != 5 {
				t.Errorf("%d connections of the second process, want 5", n)
			}
		})
	}
}

// TestPrefork: a connection belongs to the worker that accepted it, not to the
// parent that listens; in a list, and in events of connections that were opened
// since.
func TestPrefork(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	server := tcptest.Start(t, "prefork", tcptest.PreforkConfig{Workers: 4}, tcptest.InNetNS(ns))
	var at tcptest.Listening
	if err := server.Recv(&at); err != nil {
		t.Fatal(err)
	}
	const n = 20
	w := watching(t, nil, "--source", "ebpf", "--netns", ns.Path())
	client, ledger := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: n, Send: 100, NoEcho: true})
	for range n {
		var e tcptest.End
		if err := server.Recv(&e); err != nil {
			t.Fatal(err)
		}
		ledger = append(ledger, e)
	}
	for _, source := range sourceNames {
		t.Run(source, func(t *testing.T) { ownersAgree(t, listed(t, "--source", source, "--netns", ns.Path()), ledger) })
	}
	if err := client.Call(tcptest.Op{Op: "abort"}, nil); err != nil {
		t.Fatal(err)
	}
	w.until(t, "all closes", func() bool { return w.closes >= 2*n })
	w.interrupt(t)
	want := ledger.ByCookie()
	workers := map[int]int{}
	for _, e := range w.events(t) {
		if e.Event != "closed" {
			continue
		}
		cookie, _ := strconv.ParseUint(e.Cookie, 10, 64)
		end := want[cookie]
		if end == nil || end.PID != e.PID {
			t.Errorf("ledger %+v: %s", end, e.raw)
			continue
		}
		if end.Side == "server" {
			workers[e.PID]++
		}
	}
	if len(workers) < 2 {
		t.Errorf("only the workers %v of %v accepted: the test proves nothing", workers, at.Workers)
	}
}

// TestGoListenerThatExisted: short connections to a listener of the Go library,
// which is an MPTCP socket with TCP below, made before the program began.
func TestGoListenerThatExisted(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	n := stormSize() / 20
	s := storm(t, ns, tcptest.StormConfig{Connections: n, GoListener: true})
	w := watching(t, nil, "--source", "ebpf", "--netns", ns.Path(), "--events", "closed")
	r := rage(t, s)
	w.until(t, "all closes", func() bool { return w.closes >= 2*n })
	w.interrupt(t)
	checkStorm(t, w.events(t), r.Ledger, stormExact)
}

// TestPIDReuse: in a pid namespace where each number comes back again and
// again, no connection is given to a wrong process.
func TestPIDReuse(t *testing.T) {
	for _, source := range []string{"ebpf", "netlink"} {
		t.Run(source, func(t *testing.T) {
			n := stormSize() / 2
			if source == "netlink" {
				n /= 5
			}
			ns := tcptest.NewNetNS(t)
			reuse := tcptest.StartPIDReuse(t, tcptest.PIDReuseConfig{}, tcptest.InNetNS(ns))
			w := watching(t, nil, "--source", source, "--netns", ns.Path(), "--events", "closed")
			ends, err := reuse.Children(n)
			if err != nil {
				t.Fatal(err)
			}
			w.until(t, "all closes", func() bool { return w.closes >= 2*n })
			w.interrupt(t)
			known := checkChildren(t, w.events(t), ends, func(e *tcptest.PIDReuseEnd) int { return e.HostPID })
			if source == "ebpf" && known != n {
				t.Errorf("%d of %d processes are known", known, n)
			}
			t.Logf("%d connections, %d with their process", n, known)
		})
	}
}

// TestPIDReuseInside: the same with the program inside the pid namespace, where
// the kernel's numbers must be translated.
func TestPIDReuseInside(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	reuse := tcptest.StartPIDReuse(t, tcptest.PIDReuseConfig{}, tcptest.InNetNS(ns))
	n := stormSize() / 10
	path := filepath.Join(t.TempDir(), "events")
	// Not -v: the role passes nothing of stderr on. A connection of our own tells
	// that watching has begun.
	pid, err := reuse.Exec(path, binary(t), "watch", "-o", "jsonl", "--netns", "self", "--events", "closed")
	if err != nil {
		t.Fatal(err)
	}
	read := func() string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for i := 0; read() == ""; i++ {
		if i > 300 {
			t.Fatal("watch inside the pid namespace prints nothing")
		}
		if _, err := reuse.Children(1); err != nil {
			t.Fatal(err)
		}
	}
	ends, err := reuse.Children(n)
	if err != nil {
		t.Fatal(err)
	}
	p := &program{name: "watch inside the pid namespace"}
	last := decimal(ends[n-1].Cookie)
	for i := 0; !strings.Contains(read(), `"cookie":"`+last+`"`) && i < 600; i++ {
		waitABit()
	}
	code, err := reuse.Stop(pid, syscall.SIGINT)
	if err != nil || code != exitInterrupted {
		t.Errorf("exit code %d, %v", code, err)
	}
	for line := range strings.Lines(read()) {
		p.addLine(line)
	}
	known := checkChildren(t, p.events(t), ends, func(e *tcptest.PIDReuseEnd) int { return e.PID })
	if known == 0 {
		t.Error("no process is known")
	}
	t.Logf("%d connections, %d with their process", n, known)
}

// checkChildren counts the connections whose process is known, and fails where
// it is another one than the ledger's.
func checkChildren(t *testing.T, evs []event, ends []tcptest.PIDReuseEnd, pid func(*tcptest.PIDReuseEnd) int) (known int) {
	t.Helper()
	got := make(map[string]*event, len(evs))
	for i := range evs {
		got[evs[i].Cookie] = &evs[i]
	}
	wrong := 0
	for i := range ends {
		end := &ends[i]
		e := got[decimal(end.Cookie)]
		problem := ""
		switch {
		case e == nil:
			problem = "not reported"
		case e.PID == 0:
		case e.PID != pid(end) || (e.Process != end.Name && e.Process != ""):
			problem = fmt.Sprintf("pid %d (%s): %s", e.PID, e.Process, e.raw)
		default:
			known++
		}
		if problem == "" {
			continue
		}
		if wrong++; wrong <= 10 {
			t.Errorf("%s with pid %d: %s", end.Name, pid(end), problem)
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d are wrong", wrong, len(ends))
	}
	return known
}

// TestContainer: a process in a control group named as container runtimes name
// them shows the container.
func TestContainer(t *testing.T) {
	need.Root(t)
	own, err := unifiedGroup()
	need.That(t, err == nil, "a unified control group hierarchy")
	const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	dir := filepath.Join(own, "docker-"+id+".scope")
	err = os.Mkdir(dir, 0o755)
	need.That(t, err == nil, "the right to make a control group")
	t.Cleanup(func() { // after the children, which leave it by their end
		var err error
		for range 100 {
			if err = os.Remove(dir); err == nil {
				return
			}
			waitABit()
		}
		t.Error(err)
	})
	ns := tcptest.NewNetNS(t)
	server, at := serve(t, ns, tcptest.ServerConfig{})
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(server.PID)), 0); err != nil {
		t.Fatal(err)
	}
	client, ledger := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 3, Send: 10})
	_ = client
	for _, source := range sourceNames {
		t.Run(source, func(t *testing.T) {
			got := listed(t, "--source", source, "--netns", ns.Path())
			ownersAgree(t, got, ledger)
			in := 0
			for _, row := range got {
				want := ""
				if text(row, "pid") == strconv.Itoa(server.PID) {
					in++
					want = id[:12]
				}
				if text(row, "container") != want {
					t.Errorf("container %q, want %q: %v", text(row, "container"), want, row)
				}
			}
			if in != 4 {
				t.Errorf("%d sockets of the container, want a listener and 3 connections", in)
			}
			if n := len(listed(t, "--source", source, "--netns", ns.Path(), "container", id[:12])); n != in {
				t.Errorf("the filter finds %d of %d", n, in)
			}
		})
	}
}
