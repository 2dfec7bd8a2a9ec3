package analysis_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/analysis"
	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcptest"
)

// A path is one kind of network between two kernels, and what goes over it.
type path struct {
	name  string
	cfg   tcptest.LinkConfig
	flows []tcptest.Flow
	// lan says that the round trip is 0.1 ms.
	lan bool
}

func paths() []path {
	const kb = 1 << 10
	const ms = time.Millisecond
	type impair = tcptest.Impairment
	both := func(seed uint64, im impair) tcptest.LinkConfig {
		return tcptest.LinkConfig{Seed: seed, There: im, Back: im}
	}
	without := func(c tcptest.LinkConfig, names ...string) tcptest.LinkConfig {
		c.Sysctls = make(map[string]string)
		for _, name := range names {
			c.Sysctls["net/ipv4/tcp_"+name] = "0"
		}
		return c
	}
	six := func(c tcptest.LinkConfig) tcptest.LinkConfig {
		c.IPv6 = true
		return c
	}
	bulk := []tcptest.Flow{{Send: 1500 * kb}, {Send: 20, Reply: 700 * kb}}
	more := []tcptest.Flow{{Send: 4000 * kb}, {Send: 20, Reply: 2000 * kb}}
	less := []tcptest.Flow{{Send: 400 * kb}, {Send: 20, Reply: 200 * kb}}
	short := make([]tcptest.Flow, 60)
	for i := range short {
		short[i] = tcptest.Flow{Send: 150 + i, Reply: 500 + 400*i}
	}
	lan := func(change func(*impair)) impair {
		im := impair{Delay: 50 * time.Microsecond}
		change(&im)
		return im
	}
	lost := func(share float64) impair { return impair{Delay: 10 * ms, Loss: share} }
	return []path{
		{"clean", both(1, impair{Delay: 5 * ms}), bulk, false},
		{"loss 0.5 %", both(2, lost(0.005)), bulk, false},
		{"loss 1 %", both(3, lost(0.01)), bulk, false},
		{"loss 3 %", both(4, lost(0.03)), bulk, false},
		{"loss 10 %", both(5, impair{Delay: 3 * ms, Loss: 0.1}), less, false},
		{"bursts", both(6, impair{Delay: 15 * ms, Loss: 0.02, Burst: 4}), bulk, false},
		{"acknowledgements lost", tcptest.LinkConfig{Seed: 7, There: impair{Delay: 10 * ms}, Back: lost(0.2)}, bulk, false},
		{"reordered", both(8, impair{Delay: 10 * ms, Loss: 0.005, Reorder: 0.03, ReorderBy: 4 * ms}), bulk, false},
		{"jitter", both(9, impair{Delay: 8 * ms, Jitter: 4 * ms, Loss: 0.005}), bulk, false},
		{"duplicated", both(10, impair{Delay: 10 * ms, Loss: 0.01, Duplicate: 0.03}), bulk, false},
		{"bottleneck", tcptest.LinkConfig{Seed: 11, There: impair{Delay: 5 * ms, Rate: 20e6, Queue: 40_000}, Back: impair{Delay: 5 * ms}}, bulk, false},
		{"no SACK", without(both(12, lost(0.01)), "sack"), bulk, false},
		{"no timestamps", without(both(13, lost(0.01)), "timestamps"), bulk, false},
		{"neither", without(both(14, impair{Delay: 10 * ms, Loss: 0.01, Reorder: 0.01, ReorderBy: 3 * ms}), "sack", "timestamps"), bulk, false},
		{"no scaling", without(both(15, lost(0.01)), "window_scaling"), less, false},
		{"no RACK", without(both(16, lost(0.02)), "recovery"), bulk, false},
		{"IPv6", six(both(17, lost(0.02))), bulk, false},
		{"slow reader", both(18, impair{Delay: 5 * ms, Loss: 0.005}), []tcptest.Flow{{Send: 300 * kb, ReadBuffer: 8 * kb, ReadPause: 40 * ms}}, false},
		{"keep-alive", both(19, impair{Delay: 5 * ms, Loss: 0.02}), []tcptest.Flow{{Send: 1000, Reply: 1000, Rounds: 2, Pause: 3500 * ms, KeepAlive: true}}, false},
		{"short connections", both(20, lost(0.05)), short, false},
		{"thinking", both(21, lost(0.02)), []tcptest.Flow{{Send: 30 * kb, Reply: 30 * kb, Rounds: 8, Pause: 150 * ms}}, false},
		{"reset", both(22, lost(0.02)), []tcptest.Flow{{Send: 300 * kb, Abort: true}, {Refused: true}}, false},

		{"LAN, clean", both(30, lan(func(*impair) {})), bulk, true},
		{"LAN, loss 1 %", both(31, lan(func(i *impair) { i.Loss = 0.01 })), more, true},
		{"LAN, bursts", both(32, lan(func(i *impair) { i.Loss, i.Burst = 0.01, 3 })), more, true},
		{"LAN, reordered", both(33, lan(func(i *impair) { i.Loss, i.Reorder, i.ReorderBy = 0.005, 0.02, 100*time.Microsecond })), more, true},
		{"LAN, duplicated", both(34, lan(func(i *impair) { i.Loss, i.Duplicate = 0.01, 0.03 })), more, true},
		{"LAN, no timestamps", without(both(35, lan(func(i *impair) { i.Loss = 0.01 })), "timestamps"), more, true},
		{"LAN, neither", without(both(36, lan(func(i *impair) { i.Loss, i.Reorder, i.ReorderBy = 0.01, 0.01, 100*time.Microsecond })), "sack", "timestamps"), more, true},
	}
}

// A tally compares verdicts with what the sending kernel did. Of those missed
// some were hidden: all that was sent before of the bytes, and after them, had
// been lost, so that the far end has nothing to compare with.
type tally struct{ right, wrong, missed, hidden int }

func (s *tally) add(said, is, hidden bool) {
	switch {
	case said && is:
		s.right++
	case said:
		s.wrong++
	case is:
		s.missed++
		if hidden {
			s.hidden++
		}
	}
}

func (s *tally) sum(t tally) {
	s.right += t.right
	s.wrong += t.wrong
	s.missed += t.missed
	s.hidden += t.hidden
}

func (s tally) f1() float64 { return share(2*s.right, 2*s.right+s.wrong+s.missed) }

// visible leaves out what was hidden.
func (s tally) visible() tally {
	s.missed -= s.hidden
	return s
}

func share(a, b int) float64 {
	if b == 0 {
		return 1
	}
	return float64(a) / float64(b)
}

func (s tally) String() string {
	return fmt.Sprintf("recall %.3f precision %.3f F1 %.3f of %d; without %d hidden ones F1 %.3f",
		share(s.right, s.right+s.missed), share(s.right, s.right+s.wrong), s.f1(), s.right+s.missed, s.hidden, s.visible().f1())
}

// TestPaths holds our verdicts against kernels that really sent, over many kinds
// of path: at the sending end each packet must be told apart, and each connection
// have exactly the counters of its kernel; at the far end nearly all packets.
func TestPaths(t *testing.T) {
	var far [2]tally // by lan
	for _, tt := range paths() {
		if testing.Short() && tt.name != "loss 3 %" {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
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
			var near, distant tally
			for end := range record.Ends {
				verdicts, a := analyzeEnd(t, record, end)
				hidden := hiddenAt(record, truth, end)
				for i, v := range verdicts {
					f := &record.Ends[end][i]
					passage := &record.Passages[f.Passage]
					said := v.verdict == analysis.VerdictRetransmission
					is := truth[f.Passage].Retransmission && !f.Copied
					to := &distant
					if f.Out {
						to = &near
					}
					to.add(said, is, hidden[i])
					if said != is && (f.Out || testing.Verbose()) {
						t.Logf("end %d, sent here: %v, copy: %v, hidden: %v: %s: %s; sent again: %v, fate %05b, %+v", end, f.Out, f.Copied,
							hidden[i], v.verdict, v.reason, is, passage.Fate, truth[f.Passage])
					}
				}
				checkCounters(t, a, end, results)
			}
			if near.wrong != 0 || near.missed != 0 {
				t.Errorf("at the sending end: %s", near)
			}
			t.Logf("%d packets; far end %s", len(record.Passages), distant)
			i := 0
			if tt.lan {
				i = 1
			}
			far[i].sum(distant)
		})
	}
	t.Logf("far end, 6 to 30 ms: %s", far[0])
	t.Logf("far end, 0.1 ms:     %s", far[1])
	if testing.Short() {
		return
	}
	for i, floor := range [2]float64{0.98, 0.95} {
		if got := far[i].visible().f1(); got < floor {
			t.Errorf("F1 %.3f, want %.2f", got, floor)
		}
		// How much is hidden depends on chance and on how short connections are.
		if got := far[i].f1(); got < floor-0.03 {
			t.Errorf("with the hidden ones F1 %.3f, want %.2f", got, floor-0.03)
		}
	}
}

// judged is what the analysis said of one frame.
type judged struct {
	verdict analysis.Verdict
	reason  analysis.Reason
}

// analyzeEnd runs one end's frames through decoder and analyzer.
func analyzeEnd(t *testing.T, record *tcptest.LinkRecord, end int) ([]judged, *analysis.Analyzer) {
	t.Helper()
	a := analysis.New(analysis.DefaultConfig())
	all := make([]judged, len(record.Ends[end]))
	var s capture.Segment
	var p analysis.Packet
	for i := range record.Ends[end] {
		f := &record.Ends[end][i]
		frame := capture.Frame{
			Time: f.Time, Number: uint64(i + 1), Link: capture.LinkRaw, Data: f.Data, WireLen: uint32(f.WireLen),
		}
		if reason := capture.Decode(&frame, &s); reason != capture.TCP {
			t.Fatalf("frame %d: %s", i+1, reason)
		}
		a.Add(&s, &p)
		all[i] = judged{p.Verdict, p.Reason}
	}
	return all, a
}

// endpoints is one way of a connection.
type endpoints struct{ from, to netip.AddrPort }

// hiddenAt tells which packets that arrived at an end could not be known to be
// sent again: no byte from their first one on had come before.
func hiddenAt(record *tcptest.LinkRecord, truth []tcptest.LinkTruth, end int) []bool {
	next := make(map[endpoints]uint32)
	hidden := make([]bool, len(record.Ends[end]))
	for i := range record.Ends[end] {
		f := &record.Ends[end][i]
		t := &truth[f.Passage]
		if f.Out || t.Len == 0 {
			continue
		}
		w := endpoints{t.From, t.To}
		top, known := next[w]
		hidden[i] = !known || int32(t.Seq-top) >= 0
		if to := t.Seq + uint32(t.Len); !known || int32(to-top) > 0 {
			next[w] = to
		}
	}
	return hidden
}

// checkCounters compares the connections of a capture made at one end with the
// counters of that end's kernel.
func checkCounters(t *testing.T, a *analysis.Analyzer, end int, results []tcptest.FlowResult) {
	t.Helper()
	sides := make(map[endpoints]*analysis.Side)
	for _, c := range a.Conns() {
		from := netip.AddrPortFrom(c.Tuple.Local.IP(), c.Tuple.LocalPort)
		to := netip.AddrPortFrom(c.Tuple.Remote.IP(), c.Tuple.RemotePort)
		sides[endpoints{from, to}], sides[endpoints{to, from}] = &c.Sides[0], &c.Sides[1]
	}
	for i := range results {
		e := &results[i].Ends[end]
		if !e.Local.IsValid() {
			continue // refused
		}
		s, peer := sides[endpoints{e.Local, e.Remote}], sides[endpoints{e.Remote, e.Local}]
		if s == nil {
			t.Errorf("no connection %s to %s", e.Local, e.Remote)
			continue
		}
		if got := s.Verdicts[analysis.VerdictRetransmission]; got != e.Info.Total_retrans {
			t.Errorf("%s to %s: %d retransmissions, the kernel says %d", e.Local, e.Remote, got, e.Info.Total_retrans)
		}
		if sent := e.Info.Bytes_sent - e.Info.Bytes_retrans; s.UniqueBytes != sent {
			t.Errorf("%s to %s: %d bytes, the kernel says %d", e.Local, e.Remote, s.UniqueBytes, sent)
		}
		if s.RetransmittedBytes != e.Info.Bytes_retrans {
			t.Errorf("%s to %s: %d bytes sent again, the kernel says %d", e.Local, e.Remote, s.RetransmittedBytes, e.Info.Bytes_retrans)
		}
		// The kernel counts a FIN as one byte received; after a reset, what still
		// comes is not.
		if s.RSTs+peer.RSTs > 0 {
			continue
		}
		if received := e.Info.Bytes_received - uint64(min(peer.FINs, 1)); peer.UniqueBytes != received {
			t.Errorf("%s from %s: %d bytes, the kernel says %d", e.Local, e.Remote, peer.UniqueBytes, received)
		}
	}
}
