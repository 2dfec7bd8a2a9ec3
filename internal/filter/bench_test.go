package filter

import (
	"fmt"
	"testing"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// rows makes connections such as a busy server has; in each, every term of
// worstCase holds.
func rows(n int) []*tcp.Conn {
	nginx := &tcp.Process{ProcessID: tcp.ProcessID{PID: 812, Start: 1}, Name: "nginx", Exe: "/usr/sbin/nginx", User: "www-data"}
	states := []tcp.State{tcp.Established, tcp.Established, tcp.Established, tcp.CloseWait}
	out := make([]*tcp.Conn, n)
	for i := range out {
		out[i] = &tcp.Conn{
			Key: tcp.Key{Tuple: tcp.Tuple{
				Local:     tcp.AddrFrom4([4]byte{192, 0, 2, 1}),
				Remote:    tcp.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}),
				LocalPort: 443, RemotePort: uint16(1024 + i%60000),
			}, NetNS: 4026531840},
			ID: tcp.ID(i + 1), Process: nginx, State: states[i%len(states)], Direction: tcp.Inbound,
			Source: tcp.SourceEBPF, Attribution: tcp.AttributionExact,
			Has: tcp.HasRTT | tcp.HasRetransmits | tcp.HasBytesSent | tcp.HasBytesReceived | tcp.HasCWND,
			Metrics: tcp.Metrics{
				RTT: uint32(10_000 + i*37%90_000), Retransmits: uint32(i % 7),
				BytesSent: uint64(i) * 1000, CWND: 10,
			},
		}
	}
	return out
}

const (
	// realistic ends at its first or second term for most rows.
	realistic = "state established and dport = :443 and not remote 10.0.0.0/8 and rtt > 50ms and retransmits > 3"
	// selective tests three terms of most rows.
	selective = "sport = :443 and process nginx and rtt > 50ms and retransmits > 3 and state established"
	// worstCase evaluates five terms of every row.
	worstCase = "state connected and sport = :443 and remote 198.51.0.0/16 and rtt > 5ms and retransmits < 100"
	// textual does so with texts and regular expressions.
	textual = `process == nginx and user == www-data and exe ~ "^/usr/sbin/" and process ~ "g.n" and direction inbound`
)

func BenchmarkFilter(b *testing.B) {
	conns := rows(10_000)
	run := func(name string, conns []*tcp.Conn, match func(*tcp.Conn) bool) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			matched := 0
			for b.Loop() {
				matched = 0
				for _, c := range conns {
					if match(c) {
						matched++
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(conns)), "ns/row")
			b.ReportMetric(float64(matched), "matched")
		})
	}
	for _, bm := range []struct {
		name, text string
		rows       int
	}{
		{"realistic", realistic, 10_000}, {"selective", selective, 10_000}, {"worst", worstCase, 10_000}, {"texts", textual, 1000},
	} {
		f, err := Parse(bm.text)
		if err != nil {
			b.Fatal(err)
		}
		run(fmt.Sprintf("%s/rows=%d", bm.name, bm.rows), conns[:bm.rows], f.Predicate())
	}
	run("worst/written-by-hand", conns, byHand)
}

// byHand is worstCase as one would write it in Go: what is left to gain.
func byHand(c *tcp.Conn) bool {
	return c.State != tcp.StateUnknown && c.State != tcp.Listen && c.State != tcp.Closed &&
		c.LocalPort == 443 &&
		c.Remote.Is4() && c.Remote[12] == 198 && c.Remote[13] == 51 &&
		c.Has&tcp.HasRTT != 0 && c.Metrics.RTT > 5000 &&
		c.Has&tcp.HasRetransmits != 0 && c.Metrics.Retransmits < 100
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(realistic); err != nil {
			b.Fatal(err)
		}
	}
}
