package sockdiag

import (
	"testing"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// BenchmarkDecode turns recorded messages into observations.
func BenchmarkDecode(b *testing.B) {
	datagrams := fixture(b, "dump.bin")
	var (
		m   diagMessage
		o   tcp.Observation
		set = newKnownSet()
		n   int
	)
	decode := func(h nlHeader, body []byte) {
		if h.typ != tcpDiagGetSock {
			return
		}
		if err := m.parse(body); err != nil {
			b.Fatal(err)
		}
		o = tcp.Observation{}
		m.observe(&o, true)
		set.note(&o, uint32(n))
		n++
	}
	b.ReportAllocs()
	for b.Loop() {
		n = 0
		if err := eachMessage(datagrams, decode); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/socket")
}

// TestDecodeAllocations holds decoding to its budget: nothing for each socket.
func TestDecodeAllocations(t *testing.T) {
	datagrams := fixture(t, "dump.bin")
	var (
		m   diagMessage
		o   tcp.Observation
		set = newKnownSet()
	)
	decode := func(_ nlHeader, body []byte) {
		if m.parse(body) != nil {
			return
		}
		o = tcp.Observation{}
		m.observe(&o, true)
		set.note(&o, 1)
	}
	if n := testing.AllocsPerRun(10, func() { _ = eachMessage(datagrams, decode) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
