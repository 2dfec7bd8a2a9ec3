package analysis_test

import (
	"math"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/analysis"
	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
)

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
