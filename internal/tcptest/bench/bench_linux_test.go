package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/tcptest"
)

func TestMain(m *testing.M) {
	tcptest.Main(m, tcptest.Role{Name: "build capture", Run: buildCaptureRole})
}

func TestParseOptions(t *testing.T) {
	o, err := parseOptions([]string{"-run", "P1,P4", "-sizes", "2000,1000", "-full"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{1000, 2000, 100_000}, o.sizes); diff != "" || len(o.run) != 2 {
		t.Errorf("run %v, sizes %s", o.run, diff)
	}
	for _, args := range [][]string{{"-run", "P99"}, {"-sizes", "x"}, {"-sizes", "1"}} {
		if _, err := parseOptions(args); err == nil {
			t.Errorf("no error for %v", args)
		}
	}
}

func TestParseGoBench(t *testing.T) {
	got, err := parseGoBench(strings.NewReader(`goos: linux
BenchmarkFilter/worst/rows=10000-2   	    5000	    123456 ns/op	        12.35 ns/row	       0 B/op	       0 allocs/op
PASS
ok  	x	1.2s
`))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].values["ns/row"] != 12.35 || got[0].values["ns/op"] != 123456 {
		t.Errorf("got %+v", got)
	}
	if _, err := parseGoBench(strings.NewReader("BenchmarkX 1 y ns/op")); err == nil {
		t.Error("no error for a value that is no number")
	}
}

func TestParseMemory(t *testing.T) {
	now, peak, err := parseMemory(strings.NewReader("Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\n"))
	if err != nil || now != 1<<20 || peak != 2<<20 {
		t.Errorf("%d, %d, %v", now, peak, err)
	}
	if _, _, err := parseMemory(strings.NewReader("Name:\tx\n")); err == nil {
		t.Error("no error without VmRSS")
	}
}

func TestTimeWait(t *testing.T) {
	const text = "sockets: used 290\nTCP: inuse 5 orphan 0 tw 12 alloc 7 mem 1\nUDP: inuse 1 mem 2\n"
	if got := timeWait(text); got != 12 {
		t.Errorf("got %d, want 12", got)
	}
	if got := timeWait("TCP: tw"); got != 0 {
		t.Errorf("got %d of a cut line", got)
	}
}

func TestTally(t *testing.T) {
	n := func(v uint64) *uint64 { return &v }
	l := tcptest.Ledger{
		{PID: 1, Cookie: 1, Sent: 10, Received: 20},
		{PID: 2, Cookie: 2, Sent: 10, Received: 20},
		{PID: 3, Cookie: 3, Sent: 10, Received: 20},
		{PID: 4, Cookie: 4, Sent: 10, Received: 20},
	}
	got := tallyOf(l, []event{
		{Cookie: 1, PID: 1, Sent: n(10), Received: n(20), Complete: true},
		{Cookie: 1, PID: 1, Sent: n(10), Received: n(20), Complete: true},
		{Cookie: 2, PID: 9, Sent: n(10), Received: n(21)},
		{Cookie: 3, Sent: n(10), Received: n(21), Complete: true},
		{Cookie: 4, PID: 4},
		{Cookie: 99},
	})
	want := tally{closes: 4, twice: 1, pidRight: 2, pidWrong: 1, pidUnknown: 1, bytesRight: 1, bytesInexact: 1, bytesUnknown: 1, bytesWrong: 1, example: got.example}
	if got != want || got.example == "" {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestProcessorTime(t *testing.T) {
	p, err := start(t.Context(), nil, "/bin/sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exec sleep 60")
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	for range 100 {
		d, err := p.cpu()
		if err != nil {
			t.Fatal(err)
		}
		if d > 0 {
			if now, peak, err := p.memory(); err != nil || now == 0 || peak < now {
				t.Errorf("memory %d, %d, %v", now, peak, err)
			}
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("a busy program took no time")
}

func TestParseEvent(t *testing.T) {
	e, err := parseEvent([]byte(`{"event":"closed","seq":3,"cookie":"18446744073709551615","pid":7,"local_port":80,"bytes_sent":0,"complete":true}`))
	if err != nil {
		t.Fatal(err)
	}
	if e.Cookie != 1<<64-1 || e.PID != 7 || e.Sent == nil || e.Received != nil || !e.Complete {
		t.Errorf("got %+v", e)
	}
	for _, line := range []string{"", `{"cookie":"x"}`} {
		if _, err := parseEvent([]byte(line)); err == nil {
			t.Errorf("no error for %q", line)
		}
	}
}
