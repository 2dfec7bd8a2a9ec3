package tcptest

import (
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcp"

	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

func TestNetNS(t *testing.T) {
	n := NewNetNS(t)
	host, err := HostNetNS()
	if err != nil {
		t.Fatal(err)
	}
	if n.Inode() == host || n.Inode() == 0 {
		t.Fatalf("inode %d, the host's is %d", n.Inode(), host)
	}
	inside := func() uint32 {
		ino, err := netNSInode(threadNetNS)
		if err != nil {
			t.Error(err)
		}
		return ino
	}
	if err := n.Do(func() {
		if got := inside(); got != n.Inode() {
			t.Errorf("inside: namespace %d, want %d", got, n.Inode())
		}
		fd, addr, err := listen(IPv4, netip.MustParseAddrPort("127.0.0.1:0"), 1)
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(fd)
		c, err := connect(IPv4, addr)
		if err != nil {
			t.Fatalf("lo is not up: %v", err)
		}
		syscall.Close(c)
	}); err != nil {
		t.Fatal(err)
	}
	if got := inside(); got != host {
		t.Errorf("after: namespace %d, want %d", got, host)
	}
}

func TestVethAndLoss(t *testing.T) {
	a, b := NewNetNS(t), NewNetNS(t)
	need.Programs(t, "ss")
	l := Lossy(t, a, b, 5, 200<<10)
	if len(l) != 10 {
		t.Fatalf("%d ends, want 10", len(l))
	}
	for _, e := range l {
		if want := uint64(100 + 200<<10); e.Sent != want || e.Received != want {
			t.Errorf("%s: sent %d, received %d, want %d", e.Side, e.Sent, e.Received, want)
		}
	}
	rows, err := SS(t.Context(), a, b)
	if err != nil {
		t.Fatal(err)
	}
	byCookie := l.ByCookie()
	var retransmits uint64
	found := 0
	for i := range rows {
		row := rows[i].Row()
		retransmits += row.num("retransmits")
		if e := byCookie[rows[i].Cookie]; e != nil {
			found++
			if got := row.num("bytes_sent"); got != e.Sent {
				t.Errorf("%s: ss says %d bytes sent, the ledger %d", rows[i].Key(), got, e.Sent)
			}
		}
	}
	if found != 10 || retransmits == 0 {
		t.Errorf("found %d of 10 sockets, %d retransmits; want some", found, retransmits)
	}
}

func TestStates(t *testing.T) {
	n := NewNetNS(t)
	need.Programs(t, "ss")
	want := States(t, n)
	checkStates(t, n, want)
	for _, f := range Families() {
		var states []string
		for _, s := range want {
			if s.Family == f && !slices.Contains(states, s.State) {
				states = append(states, s.State)
			}
		}
		if len(states) != len(tcp.StateNames())-1 {
			t.Errorf("%s: states %v: all but CLOSED should be there", f, states)
		}
	}
	rows, err := SS(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(want) {
		t.Errorf("ss lists %d sockets, the role told of %d", len(rows), len(want))
	}
}

func TestHalfOpen(t *testing.T) {
	n := NewNetNS(t)
	need.Programs(t, "ss")
	const count = 500
	want := HalfOpen(t, n, count)
	if len(want) != 2*count {
		t.Fatalf("%d sockets, want %d", len(want), 2*count)
	}
	checkStates(t, n, want)
}

// checkStates looks each socket up in ss.
func checkStates(t *testing.T, n *NetNS, want []Socket) {
	t.Helper()
	rows, err := SS(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	type ends struct{ local, remote netip.AddrPort }
	byEnds := map[ends]*SSRow{}
	for i := range rows {
		byEnds[ends{rows[i].Local, rows[i].Remote}] = &rows[i]
	}
	for _, s := range want {
		remote := s.Remote
		if s.State == tcp.Listen.String() { // ss prints the unspecified address
			remote = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
			if s.Family != IPv4 {
				remote = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
			}
		}
		r := byEnds[ends{s.Local, remote}]
		switch {
		case r == nil:
			t.Errorf("ss does not list %+v", s)
		case r.State.String() != s.State || (s.Cookie != 0 && r.Cookie != s.Cookie) || r.Mini() != s.Mini:
			t.Errorf("ss says %s, mini %v, of %+v", r.Key(), r.Mini(), s)
		case (s.Orphan || s.Mini) != (r.Inode == 0):
			t.Errorf("inode %d of %+v", r.Inode, s)
		}
	}
}

func TestServerAndClient(t *testing.T) {
	for _, network := range []string{"tcp4", "tcp6", "tcp"} {
		t.Run(network, func(t *testing.T) {
			server := Start(t, "server", ServerConfig{Network: network})
			var at Listening
			if err := server.Recv(&at); err != nil {
				t.Fatal(err)
			}
			client := Start(t, "client", ClientConfig{To: at.Addr, Count: 3, Send: 1000, Name: "vt client"})
			var c, s Ledger
			if err := client.Recv(&c); err != nil {
				t.Fatal(err)
			}
			if err := client.Call(Op{Op: "send", Bytes: 234}, &c); err != nil {
				t.Fatal(err)
			}
			if err := server.Call(Op{Op: "ledger"}, &s); err != nil {
				t.Fatal(err)
			}
			if len(c) != 3 || len(s) != 3 {
				t.Fatalf("%d and %d ends, want 3", len(c), len(s))
			}
			for _, e := range append(c, s...) {
				if e.Sent != 1234 || e.Received != 1234 || e.Cookie == 0 {
					t.Errorf("%+v: want 1234 bytes each way and a cookie", e)
				}
			}
			comm, err := os.ReadFile("/proc/" + strconv.Itoa(client.PID) + "/comm")
			if err != nil || strings.TrimSpace(string(comm)) != "vt client" {
				t.Errorf("comm %q, %v", comm, err)
			}
			if c[0].PID != client.PID || s[0].PID != server.PID {
				t.Errorf("pids %d and %d, want %d and %d", c[0].PID, s[0].PID, client.PID, server.PID)
			}
		})
	}
}

func TestChildErrors(t *testing.T) {
	c, err := Launch("nobody", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Recv(nil); err == nil || !strings.Contains(err.Error(), `no role "nobody"`) {
		t.Errorf("got %v", err)
	}
	if err := c.Close(); err == nil {
		t.Error("a failed role's Close returned no error")
	}
	if err := c.Recv(nil); err == nil {
		t.Error("Recv after the end returned no error")
	}
}

func TestPrefork(t *testing.T) {
	server := Start(t, "prefork", PreforkConfig{Workers: 3})
	var at Listening
	if err := server.Recv(&at); err != nil {
		t.Fatal(err)
	}
	client := Start(t, "client", ClientConfig{To: at.Addr, Count: 9, Send: preforkReply})
	var made Ledger
	if err := client.Recv(&made); err != nil {
		t.Fatal(err)
	}
	workers := map[int]int{}
	for range made {
		var e End
		if err := server.Recv(&e); err != nil {
			t.Fatal(err)
		}
		workers[e.PID]++
		if !slices.Contains(at.Workers, e.PID) || e.PID == server.PID {
			t.Errorf("%d is none of the workers %v", e.PID, at.Workers)
		}
		if !slices.ContainsFunc(made, func(c End) bool { return c.Local == e.Remote && c.Remote == e.Local }) {
			t.Errorf("%+v is no connection of the client", e)
		}
	}
	t.Logf("accepted by worker: %v", workers)
}

func TestHold(t *testing.T) {
	need.Programs(t, "ss")
	for _, test := range []struct {
		name string
		make func() (*Hold, error)
	}{
		{"two processes", func() (*Hold, error) { return HoldSockets(400) }},
		{"one process", func() (*Hold, error) { return HoldSocketsAlone(400) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, err := test.make()
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := h.Close(); err != nil {
					t.Error(err)
				}
			}()
			if err := h.Chat(40, 10); err != nil {
				t.Fatal(err)
			}
			l, err := h.Ledger()
			if err != nil {
				t.Fatal(err)
			}
			rows, err := SSWithUsers(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			byCookie := l.ByCookie()
			found, chatted := 0, 0
			for i := range rows {
				e := byCookie[rows[i].Cookie]
				if e == nil {
					continue
				}
				found++
				if e.Sent == 110 {
					chatted++
				}
				if got := rows[i].Row().num("bytes_sent"); got != e.Sent {
					t.Errorf("%s: %d bytes sent, the ledger says %d", rows[i].Key(), got, e.Sent)
				}
				if u := rows[i].Users; len(u) != 1 || u[0].PID != e.PID {
					t.Errorf("%s: users %v, the ledger says %d", rows[i].Key(), u, e.PID)
				}
			}
			if found != 400 || h.Sockets() != 400 || chatted != 40 {
				t.Errorf("found %d, held %d, chatted on %d; want 400, 400, 40", found, h.Sockets(), chatted)
			}
		})
	}
}

func TestStorm(t *testing.T) {
	for _, test := range []struct {
		name string
		cfg  StormConfig
	}{
		{"plain", StormConfig{}},
		{"all closes", StormConfig{Modes: CloseModes(), Sent: [2]int{9, 500}, Reply: [2]int{0, 300}}},
		{"two clients, paced", StormConfig{Clients: 2, Rate: 4000}},
		{"go listener", StormConfig{GoListener: true, Modes: CloseModes()}},
		{"ipv6", StormConfig{Family: IPv6}},
		{"mapped", StormConfig{Family: Mapped, GoListener: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			const count = 400
			test.cfg.Connections = count
			s, err := StartStorm(test.cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}()
			for range 2 {
				r, err := s.Run()
				if err != nil {
					t.Fatal(err)
				}
				checkStorm(t, s, r, count)
			}
		})
	}
}

// checkStorm holds the two sides' ledgers against each other.
func checkStorm(t *testing.T, s *Storm, r *StormResult, count int) {
	t.Helper()
	if len(r.Ledger.ByCookie()) != 2*count {
		t.Fatalf("%d distinct cookies, want %d", len(r.Ledger.ByCookie()), 2*count)
	}
	// A tuple whose client did not close first is free at once and may come
	// again, so that it does not name a connection.
	type story struct {
		client, server netip.AddrPort
		sent, reply    uint64
		close          CloseMode
	}
	stories := map[story]int{}
	clients := 0
	for _, e := range r.Ledger {
		if e.Side == "client" {
			clients++
			stories[story{e.Local, e.Remote, e.Sent, e.Received, e.Close}]++
			continue
		}
		if e.PID != s.Server.PID {
			t.Errorf("%+v: the server is %d", e, s.Server.PID)
		}
		stories[story{e.Remote, e.Local, e.Received, e.Sent, e.Close}]--
	}
	for st, n := range stories {
		if n != 0 {
			t.Fatalf("clients tell %d times more often than servers: %+v", n, st)
		}
	}
	if clients != count {
		t.Errorf("%d client ends, want %d", clients, count)
	}
	sent, received := r.Ledger.Bytes()
	if sent != received || sent == 0 {
		t.Errorf("%d bytes sent, %d received", sent, received)
	}
}

func TestPIDReuse(t *testing.T) {
	before, _ := os.ReadFile(pidMax)
	p := StartPIDReuse(t, PIDReuseConfig{}, InNewNetNS())
	const count = 600
	ends, err := p.Children(count)
	if err != nil {
		t.Fatal(err)
	}
	pids, names := map[int]int{}, map[string]bool{}
	for _, e := range ends {
		pids[e.PID]++
		names[e.Name] = true
		if e.PID > 400 || e.HostPID == 0 || e.HostPID == e.PID || e.Start == 0 || e.Cookie == 0 || e.Local.Port() == 0 {
			t.Fatalf("%+v", e)
		}
	}
	if len(ends) != count || len(names) != count || len(pids) == count {
		t.Errorf("%d children with %d names and %d pids: pids should repeat, names not", len(ends), len(names), len(pids))
	}
	out := t.TempDir() + "/out"
	pid, err := p.Exec(out, "/bin/sh", "-c", "echo $$; exec sleep 60")
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if b, err := os.ReadFile(out); err != nil || len(b) > 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if status, err := p.Stop(pid, syscall.SIGTERM); err != nil || status != -1 {
		t.Errorf("status %d, %v; want one of a signal", status, err)
	}
	if b, err := os.ReadFile(out); err != nil || strings.TrimSpace(string(b)) != strconv.Itoa(pid) {
		t.Errorf("the program says %q, %v; its pid is %d", b, err, pid)
	}
	if after, _ := os.ReadFile(pidMax); string(after) != string(before) {
		t.Errorf("pid_max of the host was %s and is %s", before, after)
	}
}
