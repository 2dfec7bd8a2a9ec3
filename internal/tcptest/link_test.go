package tcptest

import (
	"math"
	"testing"
	"time"
)

// TestImpairer: the shares are those asked for, and a seed gives the same fates.
func TestImpairer(t *testing.T) {
	const n = 200_000
	for _, tt := range []struct {
		name      string
		im        Impairment
		fate      Fate
		share     float64
		perBurst  float64
		atMost    time.Duration
		inOrder   bool
		hasCopies bool
	}{
		{"perfect", Impairment{Delay: time.Millisecond}, FateLost, 0, 0, time.Millisecond, true, false},
		{"loss", Impairment{Loss: 0.05}, FateLost, 0.05, 1.05, 0, true, false},
		{"bursts", Impairment{Loss: 0.05, Burst: 4}, FateLost, 0.05, 4, 0, true, false},
		{"jitter", Impairment{Jitter: time.Millisecond}, FateLost, 0, 0, time.Millisecond, false, false},
		{"jitter in order", Impairment{Jitter: time.Millisecond, Ordered: true}, FateLost, 0, 0, time.Millisecond, true, false},
		{"held", Impairment{Reorder: 0.1, ReorderBy: time.Second}, FateHeld, 0.1, 0, time.Second, false, false},
		{"copies", Impairment{Duplicate: 0.02}, FateDuplicated, 0.02, 0, 0, true, true},
		// 1,000 bytes each 10 µs at 400 Mbit/s: half of them fit.
		{"bottleneck", Impairment{Rate: 400e6, Queue: 50_000}, FateOverflow, 0.5, 0, time.Millisecond, true, false},
		{"every tenth", Impairment{Lose: func(n int, _ []byte) bool { return n%10 == 0 }}, FateLost, 0.1, 1, 0, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			packet := make([]byte, 1000)
			a, b := newImpairer(tt.im, 7, 1), newImpairer(tt.im, 7, 1)
			var now, last int64
			var count, bursts, copies, disorder int
			before := false
			for range n {
				now += 10_000
				fate, due, again := a.decide(now, packet)
				if f, d, g := b.decide(now, packet); f != fate || d != due || g != again {
					t.Fatal("the same seed decides otherwise")
				}
				is := fate&tt.fate != 0
				if is {
					count++
				}
				if is && !before {
					bursts++
				}
				before = is
				if fate&(FateLost|FateOverflow) != 0 {
					continue
				}
				if again != 0 {
					copies++
				}
				if due < last {
					disorder++
				}
				last = due
				if d := time.Duration(due - now); d < tt.im.Delay || d > tt.atMost {
					t.Fatalf("delayed by %v", d)
				}
			}
			if share := float64(count) / n; math.Abs(share-tt.share) > 0.1*tt.share {
				t.Errorf("share %.4f, want %.4f", share, tt.share)
			}
			if mean := float64(count) / float64(bursts); tt.perBurst > 0 && math.Abs(mean-tt.perBurst) > 0.1*tt.perBurst {
				t.Errorf("%.2f in a burst, want %.2f", mean, tt.perBurst)
			}
			if (disorder == 0) != tt.inOrder || (copies > 0) != tt.hasCopies {
				t.Errorf("%d overtaken, %d copies", disorder, copies)
			}
		})
	}
}

func TestUnderway(t *testing.T) {
	var u underway
	for i, due := range []int64{5, 3, 5, 1, 3} {
		u.add(due, i, false, nil)
	}
	var got []int
	for {
		due, ok := u.next()
		if !ok {
			break
		}
		a := u.take()
		if a.due != due {
			t.Errorf("due %d, taken %d", due, a.due)
		}
		got = append(got, a.id)
	}
	want := [5]int{3, 1, 4, 0, 2}
	if len(got) != len(want) || [5]int(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
}
