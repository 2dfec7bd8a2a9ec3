package analysis

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// exchange has something of everything that is counted.
const exchange = `
	0   > SEC 0 win 5000 mss 1460 ws 1
	10  < S. 0 ack 1 win 4000 mss 1400 ws 2
	20  > . 1 ack 1 win 2500
	30  > P. 1:100 ack 1 win 2500
	31  > . 101:1400 ack 1 win 2600
	32  > P. 2901:50 ack 1 win 2500 ce
	40  < . 1 ack 101 win 1000
	41  < . 1 ack 101 win 1000 sack 2901-2951
	42  < . 1 ack 101 win 1000 sack 2901-2951
	43  < . 1 ack 101 win 1000 sack 2901-2951
	50  > . 1501:1400 ack 1 win 2500 ts 9
	60  < P.E 1:500 ack 2951 win 900 sack 1-101
	61  > .C 2951 ack 501 win 2500
	90  > P. 2901:50 ack 501 win 2500
	100 < F. 501 ack 2951 win 0
	110 > F. 2951 ack 502 win 2500
	120 < . 502 ack 2952 win 1000
	125 > RU 2952 win 0
`

// TestCounts compares every number of both sides of an exchange.
func TestCounts(t *testing.T) {
	play(t, DefaultConfig(), exchange, func(t *testing.T, a *Analyzer, c *Conn) {
		t.Helper()
		ms := func(n int64) int64 { return n * 1e6 }
		type numbers struct {
			Packets, Wire, Data, Payload, Unique, Again     uint64
			SYN, FIN, RST, PSH, URG, Acks, ECE, CWR, CE     uint32
			SACK, DSACK, Triple                             uint32
			WinMin, WinMax, WinAvg, SegMin, SegMax, SegAvg  uint32
			Initial                                         uint32
			First, Last, FirstData, LastData, Idle, RTTs    int64
			Throughput, Goodput                             uint64
			Dups, Lost, Fast, Retrans, Spurious, ZeroWindow uint32
			MSS                                             uint16
			Scale                                           int8
		}
		of := func(s *Side) numbers {
			zero, r := c.First, a.Rare(s)
			return numbers{
				s.Packets, s.WireBytes, s.DataPackets, s.PayloadBytes, s.UniqueBytes, s.RetransmittedBytes,
				s.SYNs, s.FINs, s.RSTs, s.Pushes, r.Urgents, s.PureAcks, r.ECEs, r.CWRs, r.CEs, s.SACKs, r.DSACKs, r.TripleDupAcks,
				s.WindowMin, s.WindowMax, s.WindowAvg(), s.SegmentMin, s.SegmentMax, s.SegmentAvg(), s.InitialWindow,
				s.First - zero, s.Last - zero, s.FirstData - zero, s.LastData - zero, s.IdleMax, int64(s.RTT.N),
				s.Throughput(), s.Goodput(),
				r.Count(DuplicateAck), r.Count(LostSegment), r.Count(FastRetransmission), r.Count(Retransmission), r.Count(SpuriousRetransmission), r.Count(ZeroWindow),
				s.MSS, s.WScale,
			}
		}
		want := [2]numbers{
			{
				10, 10*54 + 3000, 5, 3000, 2950, 1450, 1, 1, 1, 3, 1, 2, 1, 2, 1, 0, 0, 0,
				5000, 5200, 5025, 50, 1400, 600, 1550,
				0, ms(125), ms(30), ms(90), ms(29), 3, 50_000, 49_166, 0, 1, 1, 2, 1, 0, 1460, 1,
			},
			{
				8, 8*54 + 500, 1, 500, 500, 0, 1, 1, 0, 1, 0, 5, 1, 0, 0, 4, 1, 1,
				0, 4000, 3371, 500, 500, 500, 500,
				ms(10), ms(120), ms(60), ms(60), ms(40), 3, 0, 0, 3, 0, 0, 0, 0, 0, 1400, 2,
			},
		}
		for i := range want {
			if diff := cmp.Diff(want[i], of(&c.Sides[i])); diff != "" {
				t.Errorf("side %d, want to got:\n%s", i, diff)
			}
		}
		if r, i := c.Handshake(); r != ms(10) || i != ms(10) || c.InitialRTT != ms(20) {
			t.Errorf("handshake %d and %d, initial RTT %d", r, i, c.InitialRTT)
		}
		if all := capture.SYN | capture.ACK | capture.FIN | capture.RST | capture.PSH | capture.URG | capture.ECE | capture.CWR; c.TCPFlags != all {
			t.Errorf("flags %b", c.TCPFlags)
		}
		if c.Duration() != ms(125) || !c.Established() || c.Ended != c.First+ms(120) {
			t.Errorf("%d long, established %v, ended after %d", c.Duration(), c.Established(), c.Ended-c.First)
		}
	})
}

// TestFill: the model has the numbers where the registry looks for them, from
// either end.
func TestFill(t *testing.T) {
	play(t, DefaultConfig(), exchange, func(t *testing.T, a *Analyzer, c *Conn) {
		t.Helper()
		ids := tcp.NewIDs("file")
		client := c.Tuple.Local
		rows := map[string]*tcp.Conn{"nil": {}, "client": {}, "server": {}, "neither": {}}
		for name, row := range rows {
			var local func(tcp.Addr) bool
			switch name {
			case "client":
				local = func(addr tcp.Addr) bool { return addr == client }
			case "server":
				local = func(addr tcp.Addr) bool { return addr != client }
			case "neither":
				local = func(tcp.Addr) bool { return false }
			}
			a.Fill(c, ids, local, row)
			if row.ID != ids.Packets(c.Tuple, c.First) {
				t.Errorf("%s: ID %v", name, row.ID)
			}
		}
		text := func(row *tcp.Conn, names ...string) (out []string) {
			for _, f := range tcp.Fields() {
				for _, n := range names {
					if f.Name == n {
						b, _ := f.AppendText(nil, row)
						out = append(out, n+"="+string(b))
					}
				}
			}
			return out
		}
		names := []string{
			"direction", "source", "state", "local_port", "remote_port", "bytes_sent", "bytes_received", "bytes_missed", "complete",
			"retransmits", "bytes_retransmitted", "handshake_us", "closed_by", "close_reason", "mss", "dsack_dups", "ecn_ce", "duration_us",
			"packets_sent", "packets_received", "initial_rtt_us", "rtt_us", "min_rtt_us", "rtt_p95_sent_us", "retransmissions", "dup_acks_received",
			"in_flight_max_sent", "window_max_received", "idle_max_sent_us", "conn_state", "history", "completeness", "stream", "zero_windows",
		}
		common := []string{
			"source=capture", "complete=true", "duration_us=120000", "bytes_missed=0", "close_reason=fin", "initial_rtt_us=20000",
			"conn_state=SF", "history=ShADaTdfwFR", "completeness=63", "stream=0", "retransmissions=2", "zero_windows=0",
		}
		asClient := append([]string{
			"local_port=40000", "remote_port=443", "state=CLOSED", "handshake_us=20000", "closed_by=remote", "bytes_sent=2950", "bytes_received=500",
			"rtt_us=10000", "min_rtt_us=10000", "mss=1400", "retransmits=2", "bytes_retransmitted=1450", "dsack_dups=1", "ecn_ce=0", "packets_sent=10",
			"packets_received=8", "dup_acks_received=3", "rtt_p95_sent_us=10000", "in_flight_max_sent=2800", "window_max_received=4000", "idle_max_sent_us=29000",
		}, common...)
		want := map[string][]string{
			"client":  slices.Concat(asClient, []string{"direction=outbound"}),
			"nil":     slices.Concat(asClient, []string{"direction=outbound"}),
			"neither": slices.Concat(asClient, []string{"direction=transit"}),
			"server": append([]string{
				"direction=inbound", "local_port=443", "remote_port=40000", "state=TIME_WAIT", "handshake_us=10000", "closed_by=local", "bytes_sent=500",
				"bytes_received=2950", "rtt_us=9016", "min_rtt_us=1000", "mss=1460", "retransmits=0", "bytes_retransmitted=0", "dsack_dups=0", "ecn_ce=1",
				"packets_sent=8", "packets_received=10", "dup_acks_received=0", "rtt_p95_sent_us=10000", "in_flight_max_sent=500", "window_max_received=5200",
				"idle_max_sent_us=40000",
			}, common...),
		}
		for name, row := range rows {
			got := text(row, names...)
			for _, w := range want[name] {
				if !slices.Contains(got, w) {
					t.Errorf("%s: no %s in %q", name, w, got)
				}
			}
			if len(got) != len(want[name]) {
				t.Errorf("%s: %d values, want %d", name, len(got), len(want[name]))
			}
		}
	})
}

// TestNaming: names come from the client's data, whoever is local, are kept once
// for all connections that share them, and are let go of with the last.
func TestNaming(t *testing.T) {
	hello := []byte("GET / HTTP/1.1\r\nHost: www.example\r\n\r\n")
	var kept []Names
	cfg := DefaultConfig()
	var a *Analyzer
	cfg.OnEnd = func(c *Conn) {
		kept = append(kept, a.Names(c))
		var row tcp.Conn
		a.Fill(c, tcp.NewIDs("x"), nil, &row)
		if row.Names == nil || row.Names.HTTPHost != "www.example" {
			t.Errorf("the model has %+v", row.Names)
		}
	}
	a = New(cfg)
	var p Packet
	for i := range 100 {
		s := flowSegment(i, 1e18+int64(i), 0, capture.SYN, 0)
		a.Add(&s, &p)
		for at := 0; at < len(hello); at += 10 { // in pieces
			part := hello[at:min(at+10, len(hello))]
			s := flowSegment(i, 1e18+int64(i)+int64(at)*int64(time.Millisecond), 1+uint32(at), capture.ACK, uint32(len(part)))
			s.Payload = part
			a.Add(&s, &p)
		}
	}
	if len(a.naming.known) != 1 || len(a.naming.reading) != 0 {
		t.Errorf("%d sets of names, %d being read", len(a.naming.known), len(a.naming.reading))
	}
	a.Flush()
	if len(kept) != 100 || kept[0].HTTPHost != "www.example" || kept[99] != kept[0] {
		t.Errorf("%d names, %+v", len(kept), kept)
	}
	if len(a.naming.known) != 0 || len(a.naming.free) != 1 {
		t.Errorf("%d sets of names are left", len(a.naming.known))
	}
}

// TestAddAllocates: in the long run a segment costs no memory.
func TestAddAllocates(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxConns = 2000
	a := New(cfg)
	tr := traffic{conns: 1 << 30, rounds: 6, spread: 1000}
	var p Packet
	step := func() {
		s, _ := tr.next()
		a.Add(s, &p)
	}
	for range 200_000 {
		step()
	}
	if n := testing.AllocsPerRun(100_000, step); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
