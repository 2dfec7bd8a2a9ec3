package sockdiag

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
)

// cpu is the processor time that this process has used, in the kernel and out.
func cpu(tb testing.TB) time.Duration {
	tb.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkDump walks real sockets of one namespace: with everything that Once
// does, the kernel and the parser alone, and by the two requests of the newer
// interface.
func BenchmarkDump(b *testing.B) {
	n := tcptest.NewNetNS(b)
	for _, size := range []struct {
		name    string
		sockets int
	}{{"10", 10}, {"1k", 1000}, {"20k", 20000}} {
		hold, err := tcptest.HoldSockets(size.sockets, tcptest.InNetNS(n))
		if err != nil {
			b.Fatal(err)
		}
		s := newSource(b, nil, n)
		ns := namespace(b, n)
		report := func(b *testing.B, sockets int, start time.Duration) {
			b.Helper()
			used := cpu(b) - start
			b.ReportMetric(float64(used.Microseconds())/1000/float64(b.N), "cpu-ms/op")
			b.ReportMetric(float64(used.Nanoseconds())/1000/float64(b.N)/float64(sockets), "cpu-µs/socket")
		}
		b.Run("once/"+size.name, func(b *testing.B) {
			b.ReportAllocs()
			sockets := 0
			sink := func(batch *tcp.Batch) error { sockets += len(batch.Observations); return nil }
			start := cpu(b)
			for b.Loop() {
				sockets = 0
				if err := s.Once(b.Context(), sink); err != nil {
					b.Fatal(err)
				}
			}
			report(b, sockets, start)
		})
		b.Run("parse/"+size.name, func(b *testing.B) {
			b.ReportAllocs()
			sockets := 0
			visit := func(*diagMessage) error { sockets++; return nil }
			start := cpu(b)
			for b.Loop() {
				sockets = 0
				if err := s.dump(b.Context(), ns, extInfo|extCong, allStates, visit, nil); err != nil {
					b.Fatal(err)
				}
			}
			report(b, sockets, start)
		})
		b.Run("two-requests/"+size.name, func(b *testing.B) {
			b.ReportAllocs()
			sockets := 0
			visit := func(*diagMessage) error { sockets++; return nil }
			var id sockID
			start := cpu(b)
			for b.Loop() {
				sockets = 0
				c, err := dial(ns, unix.NETLINK_SOCK_DIAG, s.in)
				if err != nil {
					b.Fatal(err)
				}
				for _, family := range []uint8{afInet, afInet6} {
					request := appendRequest(nil, family, extInfo|extCong, allStates, &id)
					if err := c.dumpOne(b.Context(), sockDiagByFamily, request, visit, nil); err != nil {
						b.Fatal(err)
					}
				}
				_ = c.close()
			}
			report(b, sockets, start)
		})
		if err := hold.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
