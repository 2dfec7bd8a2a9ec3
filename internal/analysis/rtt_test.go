package analysis

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestQuantile: percentiles are within what the documentation says, over nine
// orders of magnitude.
func TestQuantile(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, tt := range []struct {
		name string
		draw func() float64
	}{
		{"uniform", func() float64 { return 1e6 + 1e6*rnd.Float64() }},
		{"log-uniform", func() float64 { return math.Pow(10, 2+9*rnd.Float64()) }},
		{"exponential", func() float64 { return 5e5 * rnd.ExpFloat64() }},
		{"constant", func() float64 { return 20_000_000 }},
		{"short", func() float64 { return 1000 * rnd.Float64() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := New(DefaultConfig())
			var r RTT
			all := make([]float64, 20_001)
			sum := 0.0
			for i := range all {
				v := math.Floor(tt.draw())
				all[i] = v
				sum += v
				a.sample(&r, int64(v))
			}
			slices.Sort(all)
			for _, q := range []float64{0, 0.01, 0.5, 0.95, 0.999, 1} {
				want := all[int(q*float64(len(all)-1))]
				got := float64(a.Quantile(&r, q))
				if math.Abs(got-want) > want/31+rttUnit {
					t.Errorf("quantile %v is %v, want %v", q, got, want)
				}
			}
			if got, want := float64(r.Avg()), sum/float64(len(all)); math.Abs(got-want) > 1 {
				t.Errorf("mean %v, want %v", got, want)
			}
			if math.Abs(float64(r.Min())-all[0]) > all[0]/1e6 || math.Abs(float64(r.Max())-all[len(all)-1]) > all[len(all)-1]/1e6 {
				t.Errorf("from %v to %v, want %v to %v", r.Min(), r.Max(), all[0], all[len(all)-1])
			}
			a.freeRTT(&r)
			if a.pages.used != 0 {
				t.Errorf("%d pages are left", a.pages.used)
			}
		})
	}
}

// TestRTTCounters: a full counter keeps the proportions, negative times are no
// samples, and without room for a histogram the mean stands in.
func TestRTTCounters(t *testing.T) {
	a := New(DefaultConfig())
	var r RTT
	for range 200_000 {
		a.sample(&r, 1_000_000)
	}
	for range 20_000 {
		a.sample(&r, 3_000_000)
	}
	a.sample(&r, -5)
	if r.N != 220_000 {
		t.Errorf("%d samples", r.N)
	}
	if got := a.Quantile(&r, 0.8); got > 1_040*time.Microsecond {
		t.Errorf("80th percentile %v", got)
	}
	if got := a.Quantile(&r, 0.99); got < 2_900*time.Microsecond {
		t.Errorf("99th percentile %v", got)
	}
	var empty RTT
	if a.Quantile(&empty, 0.5) != 0 || empty.Avg() != 0 || empty.Min() != 0 {
		t.Error("something from nothing")
	}
	a.pages.limit = a.pages.used
	a.sample(&empty, 2_000_000)
	if got := a.Quantile(&empty, 0.5); got != 2*time.Millisecond || a.Stats().DroppedRTTs != 1 {
		t.Errorf("median %v without a histogram, %d dropped", got, a.Stats().DroppedRTTs)
	}
}

// TestSmoothed follows the example of RFC 6298, section 2.
func TestSmoothed(t *testing.T) {
	a := New(DefaultConfig())
	var r RTT
	a.sample(&r, 100)
	if r.Smoothed() != 100 || r.Var() != 50 {
		t.Errorf("after the first: %v, %v", r.Smoothed(), r.Var())
	}
	a.sample(&r, 180)
	if r.Smoothed() != 110 || r.Var() != 57 { // 3/4·50 + 1/4·80 = 57.5
		t.Errorf("after the second: %v, %v", r.Smoothed(), r.Var())
	}
}

// TestKarn: what was sent twice is not timed, what was sent once is, by the
// newest segment that the acknowledgement ends at.
func TestKarn(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []int // of the client's data, milliseconds
	}{
		{"each", `
			20 > P. 1:100 ack 1
			30 > P. 101:100 ack 1
			40 < . 1 ack 101
			55 < . 1 ack 201`, []int{20, 25}},
		{"one for two", `
			20 > P. 1:100 ack 1
			30 > P. 101:100 ack 1
			45 < . 1 ack 201`, []int{15}},
		{"sent again", `
			20 > P. 1:100 ack 1
			90 > P. 1:100 ack 1
			99 < . 1 ack 101`, nil},
		{"an older one was sent again", `
			20 > P. 1:100 ack 1
			21 > P. 101:100 ack 1
			90 > P. 1:100 ack 1
			99 < . 1 ack 201`, nil},
		{"part of a segment", `
			20 > P. 1:100 ack 1
			30 < . 1 ack 51
			40 < . 1 ack 101`, []int{20}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			play(t, DefaultConfig(), tt.text, func(t *testing.T, a *Analyzer, c *Conn) {
				t.Helper()
				r := &c.Sides[0].RTT
				sum := 0
				for _, ms := range tt.want {
					sum += ms
				}
				if int(r.N) != len(tt.want) || r.sum != int64(sum)*1e6 {
					t.Errorf("%d samples of %d ns in all, want %v ms", r.N, r.sum, tt.want)
				}
			})
		})
	}
}
