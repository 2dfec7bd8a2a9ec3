//go:build 386 || amd64 || arm64

package bpf

import (
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
)

// TestRecoveries: a loss in the middle of a stream is found by the receiver's
// SACKs, so that the sender recovers without its timer; a loss at the end, with
// the probe for it, leaves nothing but the timer.
func TestRecoveries(t *testing.T) {
	const send = 300 << 10
	// Packets of the client, by how much payload they carry.
	data := func(packet []byte) int { return len(packet) - 52 } // IPv4, and TCP with timestamps
	for _, tt := range []struct {
		name     string
		flow     tcptest.Flow
		lose     func() func(n int, packet []byte) bool
		recovers bool
		timeouts bool
	}{
		{"nothing lost", tcptest.Flow{Send: send}, nil, false, false},
		{
			"in the middle", tcptest.Flow{Send: send}, func() func(int, []byte) bool {
				segments := 0
				return func(_ int, packet []byte) bool {
					if data(packet) > 1000 {
						segments++
					}
					return data(packet) > 1000 && segments == 40
				}
			}, true, false,
		},
		{
			"twice, apart", tcptest.Flow{Send: send, Rounds: 2, Reply: 1, Pause: 100 * time.Millisecond}, func() func(int, []byte) bool {
				segments := 0
				return func(_ int, packet []byte) bool {
					if data(packet) > 1000 {
						segments++
					}
					return data(packet) > 1000 && (segments == 40 || segments == 250)
				}
			}, true, false,
		},
		{
			"the only segment, and the probe for it", tcptest.Flow{Send: 500, Reply: 1}, func() func(int, []byte) bool {
				lost := 0
				return func(_ int, packet []byte) bool {
					if data(packet) == 500 && lost < 3 {
						lost++
						return true
					}
					return false
				}
			}, false, true,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := tcptest.Impairment{Delay: 5 * time.Millisecond}
			cfg := tcptest.LinkConfig{There: path, Back: path}
			if tt.lose != nil {
				cfg.There.Lose = tt.lose()
			}
			l := tcptest.NewLink(t, cfg)
			space, err := netns.Open(l.Ends[0].Path())
			if err != nil {
				t.Fatal(err)
			}
			w := startWatch(t, newSource(t, func(c *Config) { c.Namespace = &space }))
			results, err := l.Run(tt.flow)
			if err != nil {
				t.Fatal(err)
			}
			client := &results[0].Ends[0]
			o := w.final(t, client.Cookie)
			if o.Has&tcp.HasRecoveries == 0 {
				t.Fatal("recoveries and timeouts are not known")
			}
			info := &client.Info
			t.Logf("%d recoveries, %d timeouts; the kernel: %d timeouts, %d sent again",
				o.Metrics.Recoveries, o.Metrics.Timeouts, info.Total_rto, info.Total_retrans)
			if o.Metrics.Retransmits != info.Total_retrans {
				t.Errorf("%d retransmits, the kernel says %d", o.Metrics.Retransmits, info.Total_retrans)
			}
			if (o.Metrics.Recoveries >= 1) != tt.recovers {
				t.Errorf("%d recoveries", o.Metrics.Recoveries)
			}
			// A machine that stands still for a moment gives timeouts unasked.
			if o.Metrics.Timeouts != info.Total_rto || tt.timeouts && info.Total_rto == 0 {
				t.Errorf("%d timeouts, the kernel says %d", o.Metrics.Timeouts, info.Total_rto)
			}
			record, err := l.Record()
			if err != nil {
				t.Fatal(err)
			}
			lost := 0
			for i := range record.Passages {
				if record.Passages[i].Fate&tcptest.FateLost != 0 {
					lost++
				}
			}
			if (lost > 0) != (tt.lose != nil) {
				t.Errorf("%d packets lost", lost)
			}
		})
	}
}
