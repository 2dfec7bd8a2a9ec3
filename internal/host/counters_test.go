package host

import (
	"maps"
	"testing"
)

func TestEachCounter(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       map[string]uint64
		fails      bool
	}{
		{
			"as the kernel writes it", "Tcp: RtoMin MaxConn RetransSegs\nTcp: 200 -1 7\nTcpExt: ListenDrops New\nTcpExt: 3\n",
			map[string]uint64{"Tcp.RtoMin": 200, "Tcp.RetransSegs": 7, "TcpExt.ListenDrops": 3},
			false,
		},
		{"fewer values", "Tcp: A B C\nTcp: 1 2\n", map[string]uint64{"Tcp.A": 1, "Tcp.B": 2}, false},
		{"empty", "", map[string]uint64{}, false},
		{"no group", "Tcp", map[string]uint64{}, true},
		{"no values", "Tcp: A\n", map[string]uint64{}, true},
		{"values of another group", "Ip: A\nIp: 1\nTcp: A\nIp: 1\n", map[string]uint64{"Ip.A": 1}, true},
		{"more values than names", "Tcp: A\nTcp: 1 2\n", map[string]uint64{"Tcp.A": 1}, false},
		{"the largest", "Tcp: A B\nTcp: 18446744073709551615 18446744073709551616\n", map[string]uint64{"Tcp.A": 1<<64 - 1}, false},
	} {
		got := make(map[string]uint64)
		err := EachCounter([]byte(tt.text), func(group, name []byte, v uint64) { got[string(group)+"."+string(name)] = v })
		if !maps.Equal(got, tt.want) || (err != nil) != tt.fails {
			t.Errorf("%s: %v, %v; want %v", tt.name, got, err, tt.want)
		}
	}
}

func FuzzEachCounter(f *testing.F) {
	f.Add("Tcp: A B\nTcp: 1 -1\nTcpExt: C\nTcpExt: 18446744073709551615\n")
	f.Add("Tcp\n\n:\n:")
	f.Fuzz(func(t *testing.T, text string) {
		n := 0
		_ = EachCounter([]byte(text), func(group, name []byte, _ uint64) {
			if n++; len(name) == 0 {
				t.Errorf("a counter without a name in %q", group)
			}
		})
		if n > len(text) {
			t.Errorf("%d counters of %d bytes", n, len(text))
		}
	})
}
