package usage

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/host"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// burnEnv makes this binary a process that uses a CPU until its input ends.
const burnEnv = "VIEWTCP_TEST_BURN"

func TestMain(m *testing.M) {
	if os.Getenv(burnEnv) != "" {
		burn()
	}
	os.Exit(m.Run())
}

func burn() {
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1)) // ends with the parent
		os.Exit(0)
	}()
	for x := uint64(1); ; {
		x = x*6364136223846793005 + 1
	}
}

func testSampler(tb testing.TB, change func(*Config)) *Sampler {
	tb.Helper()
	cfg := DefaultConfig()
	cfg.Host, cfg.Busiest = "alpha", 1000
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func find(rows []store.Usage, pid int) *store.Usage {
	for i := range rows {
		if rows[i].Scope == store.ScopeProcess && rows[i].PID == uint64(pid) {
			return &rows[i]
		}
	}
	return nil
}

// TestBusyProcess finds a process that burns a CPU, how much it used and since
// when it is there, and does not see it any more when it is gone.
func TestBusyProcess(t *testing.T) {
	s := testSampler(t, func(c *Config) { c.Scan = 1 << 20 })
	rows := s.Append(nil, host.Now(), nil)
	if len(rows) != 1 || rows[0].Scope != store.ScopeHost || rows[0].Has&(1<<store.CPUUser) != 0 {
		t.Fatalf("first sample: %d rows, CPU time known", len(rows))
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), burnEnv+"=1", "GOMAXPROCS=2")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	var total uint64
	deadline := time.Now().Add(60 * time.Second)
	for total < 200_000 {
		if time.Now().After(deadline) {
			t.Fatalf("the process used %d µs only", total)
		}
		time.Sleep(50 * time.Millisecond)
		u := find(s.Append(nil, host.Now(), nil), pid)
		if u == nil {
			continue
		}
		user, ok := u.Value(store.CPUUser)
		system, ok2 := u.Value(store.CPUSystem)
		if !ok || !ok2 {
			t.Fatalf("CPU time of a process that began under our eyes is unknown: %+v", u)
		}
		total += user + system
		if d := time.Unix(0, u.Started).Sub(began); d < -2*time.Second || d > 30*time.Second {
			t.Errorf("it began %v after it was started", d)
		}
		if mem, ok := u.Value(store.Memory); !ok || mem < 1<<18 {
			t.Errorf("resident memory %d, %v", mem, ok)
		}
		if n, ok := u.Value(store.Threads); !ok || n < 1 {
			t.Errorf("threads %d, %v", n, ok)
		}
		if u.Host != "alpha" || u.Process == "" {
			t.Errorf("row %+v", u)
		}
	}
	// No more than what passed, on as many CPUs as it may use.
	if limit := uint64(time.Since(began).Microseconds()) * uint64(runtime.NumCPU()); total > limit+20_000 {
		t.Errorf("it used %d µs within %d", total, limit)
	}
	_ = in.Close()
	_ = cmd.Wait()
	if u := find(s.Append(nil, host.Now(), nil), pid); u != nil {
		t.Errorf("a process that ended is still told of: %+v", u)
	}
}

// TestHost checks the machine's own row against what is known otherwise.
func TestHost(t *testing.T) {
	s := testSampler(t, nil)
	s.Append(nil, host.Now(), nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	const conns = 5
	for range conns {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	// Somebody holds a port of the range, and somebody a socket.
	self := &tcp.Process{ProcessID: selfID(t), Name: "self", User: "me", Unit: "my.service"}
	snap := &tcp.Snapshot{}
	for i := range 3 {
		c := &tcp.Conn{State: tcp.Established, Process: self}
		c.LocalPort = uint16(40000 + i/2)
		snap.Conns = append(snap.Conns, c)
	}
	rows := s.Append(nil, host.Now(), snap)
	u := &rows[0]
	for m, atLeast := range map[store.Measure]uint64{
		store.ActiveOpens: conns, store.PassiveOpens: conns, store.OutSegs: conns, store.InSegs: conns,
		store.CPUs: 1, store.MemoryTotal: 1 << 20, store.MemoryAvailable: 1, store.TCPInUse: 1,
		store.CPUUser: 0, store.CPUIOWait: 0, store.RetransSegs: 0, store.ListenOverflows: 0, store.EphemeralPorts: 1000,
		store.TCPMemoryLimit: 1 << 16, store.Load1: 0,
	} {
		if v, ok := u.Value(m); !ok || v < atLeast {
			t.Errorf("%s is %d, %v; want at least %d", m, v, ok, atLeast)
		}
	}
	if v, ok := u.Value(store.EphemeralUsed); !ok || v != 2 {
		t.Errorf("ports used: %d, %v; want 2", v, ok)
	}
	if _, err := os.Stat("/proc/pressure/cpu"); err == nil {
		for _, m := range []store.Measure{store.PressureCPU, store.PressureMemory, store.PressureIO} {
			if _, ok := u.Value(m); !ok {
				t.Errorf("%s is unknown, but this kernel has it", m)
			}
		}
	}
	p := find(rows, os.Getpid())
	if p == nil {
		t.Fatal("the process with sockets is missing")
	}
	if n, ok := p.Value(store.Sockets); !ok || n != 3 || p.User != "me" || p.Unit != "my.service" {
		t.Errorf("process with sockets: %d, %v, %+v", n, ok, p)
	}
	if _, ok := p.Value(store.ReadBytes); ok && p.Span == 0 {
		t.Error("what was read before the first look is known")
	}
}

// selfID is this process as sources name it.
func selfID(t *testing.T) tcp.ProcessID {
	t.Helper()
	b, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	st, err := parseProcess(b)
	if err != nil {
		t.Fatal(err)
	}
	return tcp.ProcessID{PID: int32(os.Getpid()), Start: st.start}
}

// fixture writes a /proc of one CPU and some processes.
func fixture(tb testing.TB, files map[string]string) string {
	tb.Helper()
	dir := tb.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

func statLine(pid int, comm string, user, start uint64) string {
	return fmt.Sprintf("%d (%s) S 1 1 1 0 -1 0 0 0 0 0 %d 0 0 0 20 0 1 0 %d 0 7 0\n", pid, comm, user, start)
}

// TestUnknownStaysUnknown looks at a kernel that shows nearly nothing.
func TestUnknownStaysUnknown(t *testing.T) {
	dir := fixture(t, map[string]string{"stat": "cpu 1 1 1 1 1\n", "5/stat": statLine(5, "x", 9, 1), "6/stat": "garbage", "meminfo": "MemTotal: 5 kB\n"})
	s := testSampler(t, func(c *Config) { c.Proc, c.Blocks = dir, dir })
	s.Append(nil, tcp.Stamp{Wall: 1e18, Boot: 1e12}, nil)
	rows := s.Append(nil, tcp.Stamp{Wall: 1e18 + 1e10, Boot: 1e12 + 1e10}, nil)
	want := uint64(1<<store.CPUUser | 1<<store.CPUSystem | 1<<store.CPUIOWait | 1<<store.CPUSteal)
	if len(rows) != 1 || rows[0].Has != want || rows[0].Span != 10_000_000 {
		t.Errorf("%d rows; the first knows %b, want %b", len(rows), rows[0].Has, want)
	}
	if _, err := New(Config{Proc: dir + "/none"}); err == nil {
		t.Error("a proc that is not there was taken")
	}
}

// TestTurns lets more processes use CPU than may be looked at: each has its turn,
// and is told of over its own time.
func TestTurns(t *testing.T) {
	const count, scan = 50, 10
	files := map[string]string{"stat": "cpu 1 1 1 1 1\n"}
	for i := range count {
		files[fmt.Sprintf("%d/stat", 100+i)] = statLine(100+i, "worker", 0, 1)
	}
	dir := fixture(t, files)
	s := testSampler(t, func(c *Config) { c.Proc, c.Blocks, c.Scan, c.Busiest = dir, dir, scan, 5 })
	now := tcp.Stamp{Wall: 1e18, Boot: 1e12}
	told := make(map[uint64]uint64)
	for round := range 40 {
		for i := range count {
			// All use ten ticks a round, half of a CPU.
			name := filepath.Join(dir, fmt.Sprintf("%d/stat", 100+i))
			if err := os.WriteFile(name, []byte(statLine(100+i, "worker", uint64(10*(round+1)), 1)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		looked := s.round
		for _, u := range s.Append(nil, now, nil)[1:] {
			used, ok := u.Value(store.CPUUser)
			if !ok || u.Span == 0 || used != u.Span/2 {
				t.Fatalf("round %d: process %d used %d µs of %d", looked, u.PID, used, u.Span)
			}
			told[u.PID] += u.Span
		}
		now = now.Add(200 * time.Millisecond)
	}
	if len(s.processes) != count {
		t.Errorf("%d processes were looked at, want %d", len(s.processes), count)
	}
	if len(told) < 5 {
		t.Errorf("only %d processes were told of", len(told))
	}
}

// TestReusedNumber gives a number to another process between two samples.
func TestReusedNumber(t *testing.T) {
	dir := fixture(t, map[string]string{"stat": "cpu 1 1 1 1 1\n", "7/stat": statLine(7, "old", 5000, 1)})
	s := testSampler(t, func(c *Config) { c.Proc, c.Blocks = dir, dir })
	now := tcp.Stamp{Wall: 1e18, Boot: 1e12}
	s.Append(nil, now, nil)
	began := uint64(now.Boot)/1e7 + 100 // a second later
	if err := os.WriteFile(filepath.Join(dir, "7/stat"), []byte(statLine(7, "new", 30, began)), 0o644); err != nil {
		t.Fatal(err)
	}
	rows := s.Append(nil, now.Add(10*time.Second), nil)
	u := find(rows, 7)
	if u == nil {
		t.Fatal("the new process is missing")
	}
	if v, ok := u.Value(store.CPUUser); !ok || v != 300_000 || u.Process != "new" {
		t.Errorf("it is %q and used %d µs, %v", u.Process, v, ok)
	}
	if want := now.Wall + 1e9; u.Started != want {
		t.Errorf("it began at %d, want %d", u.Started, want)
	}
}

// BenchmarkSample measures one sample of this machine; at one each 10 s, a core
// has 10 ms for a thousandth.
func BenchmarkSample(b *testing.B) {
	cfg := DefaultConfig()
	s, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	var rows []store.Usage
	b.ReportAllocs()
	for b.Loop() {
		rows = s.Append(rows[:0], host.Now(), nil)
	}
	b.ReportMetric(float64(len(s.processes)), "processes")
}
