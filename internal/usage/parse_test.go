package usage

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseStat(t *testing.T) {
	const text = "cpu  100 20 30 4000 50 6 7 8 9 10\ncpu0 1 2 3\ncpu1 1 2 3\nintr 5 5\nctxt 1\n"
	got, err := parseStat([]byte(text))
	want := cpuTimes{user: 120 * tick, system: 43 * tick, iowait: 50 * tick, steal: 8 * tick, cpus: 2}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "cpu", "cpu a b c d e", "cpu 18446744073709551615 1 1 1 1", "intr 1 2 3 4 5"} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestParseProcess(t *testing.T) {
	const tail = " S 1 42 42 0 -1 4194560 1 2 3 4 150 25 5 6 20 0 3 0 98765 1000000 321 18446744073709551615 1\n"
	for _, name := range []string{"nginx", "a b", "x) S (y", "new\nline", ""} {
		got, err := parseProcess([]byte("42 (" + name + ")" + tail))
		want := processStat{
			comm: name, state: 'S', user: 150 * tick, system: 25 * tick, start: 98765 * tick * 1000, threads: 3, rss: 321,
		}
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v; want %+v", name, got, err, want)
		}
	}
	k, err := parseProcess([]byte("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 3 0 0 1\n"))
	if err != nil || !k.kthread {
		t.Errorf("kernel thread: %+v, %v", k, err)
	}
	for _, bad := range []string{"", "1", "1 (a", "1 )a(", "1 (a) S 1 2 3", "1 (a) S 1 1 1 1 1 1 1 1 1 1 -5 1 1 1 1 1 1 1 1 1 1 1"} {
		if _, err := parseProcess([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestParsePressure(t *testing.T) {
	const text = "some avg10=0.12 avg60=0.00 avg300=0.00 total=123456\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=78\n"
	some, full, has, err := parsePressure([]byte(text))
	if some != 123456 || full != 78 || !has || err != nil {
		t.Errorf("got %d, %d, %v, %v", some, full, has, err)
	}
	if _, _, has, err = parsePressure([]byte("some avg10=0.12 total=1\n")); has || err != nil {
		t.Errorf("without full: %v, %v", has, err)
	}
	for _, bad := range []string{"", "full total=1\n", "some total=-1\n", "some total=\n"} {
		if _, _, _, err := parsePressure([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestParseRest(t *testing.T) {
	s, ok := parseSockstat([]byte("sockets: used 5\nTCP: inuse 4 orphan 1 tw 2 alloc 9 mem 3\nUDP: inuse 1\n"), "TCP:")
	if want := (sockstat{inUse: 4, orphans: 1, timeWait: 2, memory: 3}); !ok || s != want {
		t.Errorf("sockstat: %+v, %v", s, ok)
	}
	if _, ok := parseSockstat([]byte("UDP: inuse 4\n"), "TCP:"); ok {
		t.Error("sockstat without TCP was taken")
	}
	var disk []uint64
	err := parseDisks([]byte(" 8 0 sda 1 2 100 4 5 6 200 8 0 30 40 0\n\n"), func(name []byte, r, w, busy uint64) {
		disk = append(disk, r, w, busy)
		if string(name) != "sda" {
			t.Errorf("disk %q", name)
		}
	})
	if diff := cmp.Diff([]uint64{51200, 102400, 30000}, disk); err != nil || diff != "" {
		t.Errorf("disks: %v\n%s", err, diff)
	}
	if err := parseDisks([]byte("8 0 sda 1\n"), nil); err == nil {
		t.Error("a short line of disks was taken")
	}
	if v, err := parseLoad([]byte("1.25 0.50 0.10 2/300 99\n")); v != 1250 || err != nil {
		t.Errorf("load: %d, %v", v, err)
	}
	for _, bad := range []string{"", "x", "-1", "NaN", "1e300"} {
		if _, err := parseLoad([]byte(bad)); err == nil {
			t.Errorf("load %q was taken", bad)
		}
	}
	if ns, err := parseNumbers([]byte("32768\t60999\n")); err != nil || !cmp.Equal(ns, []uint64{32768, 60999}) {
		t.Errorf("numbers: %v, %v", ns, err)
	}
	if p, ok := cgroupPath([]byte("12:cpu:/x\n0::/system.slice/a.service\n")); p != "/system.slice/a.service" || !ok {
		t.Errorf("cgroup: %q, %v", p, ok)
	}
	if _, ok := cgroupPath([]byte("1:cpu:/x\n")); ok {
		t.Error("a cgroup of version 1 was taken")
	}
}

// FuzzParsers checks that no file makes a parser panic, hang or show a value that
// is not in it.
func FuzzParsers(f *testing.F) {
	for _, s := range []string{
		"cpu  100 20 30 4000 50 6 7 8 9 10\ncpu0 1\n", "1 (a) b) S 1 42 42 0 -1 4194560 1 2 3 4 150 25 5 6 20 0 3 0 98765 1 321 1\n",
		"some avg10=0.12 total=123456\nfull total=78\n", "Tcp: A B\nTcp: 1 -1\n", "TCP: inuse 4 orphan 1\n",
		" 8 0 sda 1 2 100 4 5 6 200 8 0 30 40 0\n", "32768\t60999\n", "0::/a\n", "MemTotal: 12 kB\n", "0.50 1 2 3/4 5\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = parseStat(b)
		if p, err := parseProcess(b); err == nil && len(p.comm) > len(b) {
			t.Errorf("name %q", p.comm)
		}
		_, _, _, _ = parsePressure(b)
		_, _ = parseSockstat(b, "TCP:")
		_ = parseDisks(b, func([]byte, uint64, uint64, uint64) {})
		_, _ = parseNumbers(b)
		_, _ = parseLoad(b)
		_, _ = cgroupPath(b)
		eachPair(b, func([]byte, uint64) {})
	})
}
