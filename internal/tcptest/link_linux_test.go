package tcptest

import (
	"bytes"
	"net/netip"
	"testing"
	"time"
)

// TestLink: what the link saw being sent again is what the kernels of both ends
// say they sent again, for every connection.
func TestLink(t *testing.T) {
	const kb = 1 << 10
	loss := Impairment{Delay: 5 * time.Millisecond, Loss: 0.03}
	many := make([]Flow, 30)
	for i := range many {
		many[i] = Flow{Send: 200 + i, Reply: 20 * kb}
	}
	for _, tt := range []struct {
		name  string
		cfg   LinkConfig
		flows []Flow
		fates Fate // must have happened to some packet
		again bool // something must have been sent again
	}{
		{"perfect", LinkConfig{}, []Flow{{Send: 500 * kb, Reply: 300 * kb}}, 0, false},
		{"loss", LinkConfig{Seed: 1, There: loss, Back: loss}, []Flow{{Send: 500 * kb, Reply: 500 * kb}}, FateLost, true},
		{"IPv6", LinkConfig{Seed: 2, There: loss, Back: loss, IPv6: true}, []Flow{{Send: 300 * kb, Reply: 300 * kb}}, FateLost, true},
		{
			"no options",
			LinkConfig{Seed: 6, There: loss, Back: loss, Sysctls: map[string]string{"net/ipv4/tcp_sack": "0", "net/ipv4/tcp_timestamps": "0"}},
			[]Flow{{Send: 300 * kb, Reply: 300 * kb}},
			FateLost, true,
		},
		{
			"everything",
			LinkConfig{Seed: 3, There: Impairment{
				Delay: 2 * time.Millisecond, Jitter: time.Millisecond, Loss: 0.01, Burst: 2, Duplicate: 0.02,
				Reorder: 0.02, ReorderBy: 3 * time.Millisecond, Rate: 20e6, Queue: 9_000,
			}, Back: loss},
			[]Flow{{Send: 500 * kb}},
			FateLost | FateOverflow | FateDuplicated | FateHeld | FateOvertaken, true,
		},
		{"many", LinkConfig{Seed: 4, There: Impairment{Delay: time.Millisecond, Loss: 0.08}, Back: loss}, many, FateLost, true},
		{"reset", LinkConfig{Seed: 5, There: loss, Back: loss}, []Flow{{Send: 200 * kb, Abort: true}}, 0, false},
		{"refused", LinkConfig{There: Impairment{Delay: time.Millisecond}}, []Flow{{Refused: true}}, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := NewLink(t, tt.cfg)
			results, err := l.Run(tt.flows...)
			if err != nil {
				t.Fatal(err)
			}
			record, err := l.Record()
			if err != nil {
				t.Fatal(err)
			}
			type way struct{ from, to netip.AddrPort }
			again := make(map[way]uint32)
			total := uint32(0)
			var fates Fate
			for i, truth := range record.Truth() {
				fates |= record.Passages[i].Fate
				if truth.Retransmission {
					again[way{truth.From, truth.To}]++
					total++
				}
			}
			for i, f := range tt.flows {
				for _, end := range results[i].Ends {
					if got := again[way{end.Local, end.Remote}]; got != end.Info.Total_retrans {
						t.Errorf("%s to %s: %d packets sent again, the kernel says %d", end.Local, end.Remote, got, end.Info.Total_retrans)
					}
				}
				sent, received := &results[i].Ends[0].Info, &results[i].Ends[1].Info
				if !f.Abort && !f.Refused && received.Bytes_received != uint64(f.Send)+1 {
					t.Errorf("%d bytes received with the FIN, %d sent", received.Bytes_received, sent.Bytes_sent)
				}
			}
			t.Logf("%d packets, %d sent again, fates %05b", len(record.Passages), total, fates)
			if fates&tt.fates != tt.fates || tt.again && total == 0 {
				t.Errorf("fates %05b, want %05b", fates, tt.fates)
			}
			for end := range record.Ends {
				var last int64
				in := 0
				for i := range record.Ends[end] {
					f := &record.Ends[end][i]
					if f.Time < last {
						t.Fatal("a capture is not in order")
					}
					last = f.Time
					if p := &record.Passages[f.Passage]; f.Out != (p.From == end) || f.Out && f.Time != p.Sent || !f.Out && f.Time != p.Arrived && f.Time != p.Again {
						t.Fatalf("frame %+v of %+v", f, p)
					}
					if !f.Out {
						in++
					}
					if f.WireLen > 1500 {
						t.Fatalf("a packet of %d bytes", f.WireLen)
					}
				}
				var b bytes.Buffer
				if err := record.WritePcap(&b, end); err != nil || in == 0 || b.Len() < 24+16*len(record.Ends[end]) {
					t.Errorf("%d bytes of capture, %d packets in: %v", b.Len(), in, err)
				}
			}
		})
	}
}
