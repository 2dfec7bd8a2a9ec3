package analysis_test

import (
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/analysis"
	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
)

// verdicts compares one way's verdicts with the truth.
type verdicts struct{ hit, missed, wrong int }

func (v *verdicts) add(got, want bool) {
	switch {
	case got && want:
		v.hit++
	case want:
		v.missed++
	case got:
		v.wrong++
	}
}

// f1 is the harmonic mean of recall and precision; 1 where there was nothing to
// find and nothing was found.
func (v *verdicts) f1() float64 {
	if v.hit+v.missed+v.wrong == 0 {
		return 1
	}
	return 2 * float64(v.hit) / float64(2*v.hit+v.missed+v.wrong)
}

// TestKernelVerdicts: real kernels over bad links. Where the sender captures,
// the verdicts add up to what each kernel says it sent again; where the receiver
// does, they find what was sent again and do not take what was overtaken for it.
func TestKernelVerdicts(t *testing.T) {
	const (
		kb  = 1 << 10
		us  = time.Microsecond
		ms  = time.Millisecond
		lan = 50 * us // there and back: 0.1 ms
		wan = 8 * ms
	)
	off := func(names ...string) map[string]string {
		m := map[string]string{}
		for _, n := range names {
			m["net/ipv4/"+n] = "0"
		}
		return m
	}
	bulk := []tcptest.Flow{{Send: 1500 * kb}}
	chatty := make([]tcptest.Flow, 20)
	for i := range chatty {
		chatty[i] = tcptest.Flow{Send: 200 + 50*i, Reply: 30 * kb, Rounds: 3}
	}
	both := func(i tcptest.Impairment) tcptest.LinkConfig { return tcptest.LinkConfig{There: i, Back: i} }
	with := func(c tcptest.LinkConfig, s map[string]string) tcptest.LinkConfig { c.Sysctls = s; return c }
	six := func(c tcptest.LinkConfig) tcptest.LinkConfig { c.IPv6 = true; return c }
	for _, tt := range []struct {
		name  string
		cfg   tcptest.LinkConfig
		flows []tcptest.Flow
		floor float64 // of F1 at the far end
	}{
		{"WAN loss", both(tcptest.Impairment{Delay: wan, Loss: 0.02}), bulk, 0.98},
		{"WAN burst", both(tcptest.Impairment{Delay: wan, Loss: 0.03, Burst: 4}), bulk, 0.95},
		{"WAN reordering", both(tcptest.Impairment{Delay: wan, Loss: 0.005, Reorder: 0.03, ReorderBy: 3 * ms}), bulk, 0.95},
		{"WAN jitter", both(tcptest.Impairment{Delay: wan, Jitter: 4 * ms, Loss: 0.005}), []tcptest.Flow{{Send: 400 * kb}}, 0.95},
		{"WAN copies", both(tcptest.Impairment{Delay: wan, Duplicate: 0.03, Loss: 0.01}), bulk, 0.95},
		{"WAN loss without timestamps", with(both(tcptest.Impairment{Delay: wan, Loss: 0.02}), off("tcp_timestamps")), bulk, 0.97},
		{"WAN loss without SACK", with(both(tcptest.Impairment{Delay: wan, Loss: 0.02}), off("tcp_sack")), []tcptest.Flow{{Send: 500 * kb}}, 0.95},
		{"WAN IPv6", six(both(tcptest.Impairment{Delay: wan, Loss: 0.02, Reorder: 0.01, ReorderBy: 2 * ms})), bulk, 0.95},
		{"WAN requests", both(tcptest.Impairment{Delay: wan, Loss: 0.03}), chatty, 0.9},
		{"LAN loss", both(tcptest.Impairment{Delay: lan, Loss: 0.02}), bulk, 0.95},
		{"LAN burst", both(tcptest.Impairment{Delay: lan, Loss: 0.03, Burst: 4}), bulk, 0.95},
		{"LAN reordering", both(tcptest.Impairment{Delay: lan, Loss: 0.01, Reorder: 0.03, ReorderBy: 100 * us}), bulk, 0.95},
		{"LAN copies", both(tcptest.Impairment{Delay: lan, Duplicate: 0.03, Loss: 0.02}), bulk, 0.95},
		{"LAN without timestamps", with(both(tcptest.Impairment{Delay: lan, Loss: 0.02, Reorder: 0.01, ReorderBy: 80 * us}), off("tcp_timestamps")), bulk, 0.95},
		{"LAN IPv6", six(both(tcptest.Impairment{Delay: lan, Loss: 0.02})), bulk, 0.95},
		{"LAN requests", both(tcptest.Impairment{Delay: lan, Loss: 0.03}), chatty, 0.9},
		{"slow reader", both(tcptest.Impairment{Delay: ms}), []tcptest.Flow{{Send: 300 * kb, ReadPause: 20 * ms, ReadBuffer: 4096}}, 0.95},
		{"bottleneck", tcptest.LinkConfig{There: tcptest.Impairment{Delay: ms, Rate: 50e6, Queue: 30_000}}, bulk, 0.95},
		{"lost SYNs", tcptest.LinkConfig{There: tcptest.Impairment{Delay: ms, Lose: func(n int, _ []byte) bool { return n == 0 }}}, []tcptest.Flow{{Send: kb}}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.cfg.Seed = 7
			l := tcptest.NewLink(t, tt.cfg)
			results, err := l.Run(tt.flows...)
			if err != nil {
				t.Fatal(err)
			}
			record, err := l.Record()
			if err != nil {
				t.Fatal(err)
			}
			truth := record.Truth()
			var far verdicts
			copies := verdicts{}
			type way struct{ from, to netip.AddrPort }
			sent := map[way]uint32{}
			for end := range record.Ends {
				addLink(t, record, end, func(f *tcptest.LinkFrame, p *analysis.Packet) {
					again, want := p.Verdict == analysis.VerdictRetransmission, truth[f.Passage]
					switch {
					case !f.Out:
						far.add(again, want.Retransmission && !f.Copied)
						copies.add(p.Verdict == analysis.VerdictNetworkDuplicate, f.Copied)
						if again != want.Retransmission && !f.Copied && testing.Verbose() {
							t.Logf("end %d: seq %d len %d: %v (%v), truth %+v, fate %05b", end, p.RelSeq, want.Len, p.Verdict, p.Reason, want.Retransmission, record.Passages[f.Passage].Fate)
						}
					case again:
						sent[way{want.From, want.To}]++
						fallthrough
					default:
						if again != want.Retransmission {
							t.Errorf("sent by end %d: seq %d len %d: %v (%v), truth %v", end, p.RelSeq, want.Len, p.Verdict, p.Reason, want.Retransmission)
						}
					}
				})
			}
			for _, r := range results {
				for _, e := range r.Ends {
					if got := sent[way{e.Local, e.Remote}]; got != e.Info.Total_retrans {
						t.Errorf("%s to %s: %d retransmissions, the kernel says %d", e.Local, e.Remote, got, e.Info.Total_retrans)
					}
				}
			}
			t.Logf("far end: %+v, F1 %.3f; copies %+v", far, far.f1(), copies)
			// A few wrong verdicts of few say nothing.
			if far.f1() < tt.floor && far.missed+far.wrong > 2 {
				t.Errorf("F1 at the far end is %.3f, want %.3f", far.f1(), tt.floor)
			}
		})
	}
}

// addLink analyses what one end of a link saw.
func addLink(t *testing.T, record *tcptest.LinkRecord, end int, each func(*tcptest.LinkFrame, *analysis.Packet)) {
	t.Helper()
	a := analysis.New(analysis.DefaultConfig())
	var (
		s capture.Segment
		p analysis.Packet
	)
	for i := range record.Ends[end] {
		f := &record.Ends[end][i]
		frame := capture.Frame{Time: f.Time, Number: uint64(i + 1), Link: 101, Data: f.Data, WireLen: uint32(f.WireLen)}
		if capture.Decode(&frame, &s) != capture.TCP {
			continue
		}
		a.Add(&s, &p)
		each(f, &p)
	}
}

// TestKernelNumbers: what an undisturbed exchange shows is what both kernels
// counted.
func TestKernelNumbers(t *testing.T) {
	t.Parallel()
	const delay = 5 * time.Millisecond
	path := tcptest.Impairment{Delay: delay}
	l := tcptest.NewLink(t, tcptest.LinkConfig{There: path, Back: path})
	flow := tcptest.Flow{Send: 70_000, Reply: 50_000, Rounds: 3}
	results, err := l.Run(flow)
	if err != nil {
		t.Fatal(err)
	}
	record, err := l.Record()
	if err != nil {
		t.Fatal(err)
	}
	var row tcp.Conn
	var a *analysis.Analyzer
	cfg := analysis.DefaultConfig()
	cfg.OnEnd = func(c *analysis.Conn) {
		client := tcp.AddrFrom(l.Addrs[0])
		a.Fill(c, tcp.NewIDs("test"), func(addr tcp.Addr) bool { return addr == client }, &row)
	}
	a = analysis.New(cfg)
	var (
		s capture.Segment
		p analysis.Packet
	)
	for i := range record.Ends[0] {
		f := &record.Ends[0][i]
		if capture.Decode(&capture.Frame{Time: f.Time, Link: 101, Data: f.Data, WireLen: uint32(f.WireLen)}, &s) == capture.TCP {
			a.Add(&s, &p)
		}
	}
	a.Flush()
	info := results[0].Ends[0].Info
	m, st := &row.Metrics, row.Packets
	if m.BytesSent != uint64(flow.Send*flow.Rounds) || m.BytesReceived != uint64(flow.Reply*flow.Rounds) || !row.Complete || m.BytesMissed != 0 {
		t.Errorf("%d bytes sent, %d received, %d missed, complete %v", m.BytesSent, m.BytesReceived, m.BytesMissed, row.Complete)
	}
	if m.Retransmits != info.Total_retrans {
		t.Errorf("%d retransmits, the kernel says %d", m.Retransmits, info.Total_retrans)
	}
	if m.SegmentsSent != info.Segs_out || m.SegmentsReceived != info.Segs_in {
		// The kernel counts those that it sent and took, to the last.
		if math.Abs(float64(m.SegmentsSent)-float64(info.Segs_out)) > 2 || math.Abs(float64(m.SegmentsReceived)-float64(info.Segs_in)) > 2 {
			t.Errorf("%d segments sent, %d received; the kernel says %d and %d", m.SegmentsSent, m.SegmentsReceived, info.Segs_out, info.Segs_in)
		}
	}
	if least := uint32(2 * delay.Microseconds()); row.Handshake < least || m.MinRTT < least || st.InitialRTT < least || st.RTTMin[0] < least {
		t.Errorf("handshake %d, RTT %d, initial %d, of data %d; none can be less than %d", row.Handshake, m.MinRTT, st.InitialRTT, st.RTTMin[0], least)
	}
	if st.RTTMin[1] > uint32(delay.Microseconds()) {
		t.Errorf("the client took %d us to acknowledge", st.RTTMin[1])
	}
	if row.Reason != tcp.CloseFIN || row.ClosedBy == tcp.SideUnknown || st.ConnState != "SF" || row.Direction != tcp.Outbound {
		t.Errorf("closed by %v, %v, %s, %v", row.ClosedBy, row.Reason, st.ConnState, row.Direction)
	}
	t.Logf("history %s, completeness %d, states %v", st.History, st.Completeness, row.State)
}
