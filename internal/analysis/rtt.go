package analysis

import (
	"math/bits"
	"time"
)

// RTT sums up round trip times. Min, Max and Avg are right to 24 bits, a
// nanosecond up to 16 ms; Quantile is within 1/32 of the true value (3.2 %), or
// 64 ns.
type RTT struct {
	sum int64
	N   uint32
	// pages is the histogram: see rttPage. It has one of 1<<thin samples.
	pages uint32
	thin  uint8
	// Nanoseconds, in little space, as there are two for each connection.
	// smoothed and varied are SRTT and RTTVAR of RFC 6298.
	min, max, smoothed, varied float32
}

// Min and Max are the extremes; 0 without samples.
func (r *RTT) Min() time.Duration { return time.Duration(r.min) }

// Max is documented at Min.
func (r *RTT) Max() time.Duration { return time.Duration(r.max) }

// Avg is the mean; 0 without samples.
func (r *RTT) Avg() time.Duration {
	if r.N == 0 {
		return 0
	}
	return time.Duration(r.sum / int64(r.N))
}

// Smoothed and Var are SRTT and RTTVAR as RFC 6298, section 2, defines them.
func (r *RTT) Smoothed() time.Duration { return time.Duration(r.smoothed) }

// Var is documented at Smoothed.
func (r *RTT) Var() time.Duration { return time.Duration(r.varied) }

// The histogram is log-linear, as HdrHistogram's: each octave of multiples of
// rttUnit is cut into rttParts equal buckets. Octaves are allocated when first
// used: most connections use two or three.
const (
	rttUnit  = 64 // nanoseconds
	rttParts = 16
)

// rttPage counts the samples of one octave.
type rttPage struct {
	next   uint32
	counts [rttParts]uint16
	octave uint8
}

// bucket returns the octave and the part of a time. Octave 0 counts in single
// units; octave n > 0 begins at rttParts<<(n-1) units.
func bucket(ns int64) (octave uint8, part int) {
	v := uint64(max(ns, 0)) / rttUnit
	n := bits.Len64(v)
	if n <= 4 {
		return 0, int(v)
	}
	return uint8(n - 4), int(v>>(n-5)) & (rttParts - 1)
}

// middle returns the middle of a bucket, nanoseconds.
func middle(octave uint8, part int) int64 {
	if octave == 0 {
		return int64(part)*rttUnit + rttUnit/2
	}
	width := int64(rttUnit) << (octave - 1)
	return int64(rttParts+part)*width + width/2
}

// sample takes in one round trip, nanoseconds. Time may go back in captures;
// such samples are no round trips.
func (a *Analyzer) sample(r *RTT, ns int64) {
	if ns < 0 {
		return
	}
	if t := float32(ns); r.N == 0 {
		r.min, r.max = t, t
		r.smoothed, r.varied = t, t/2
	} else {
		r.min, r.max = min(r.min, t), max(r.max, t)
		r.varied += (max(r.smoothed-t, t-r.smoothed) - r.varied) / 4
		r.smoothed += (t - r.smoothed) / 8
	}
	if r.N < 1<<32-1 {
		r.N++
		r.sum += ns
	}
	octave, part := bucket(ns)
	i, prev := r.pages, uint32(0)
	for i != 0 && a.pages.at(i).octave != octave {
		prev, i = i, a.pages.at(i).next
	}
	switch {
	case i == 0:
		if i = a.pages.get(); i == 0 {
			a.stats.DroppedRTTs++
			return
		}
		*a.pages.at(i) = rttPage{next: r.pages, octave: octave}
		r.pages = i
	case prev != 0: // the octave in use comes first
		a.pages.at(prev).next = a.pages.at(i).next
		a.pages.at(i).next = r.pages
		r.pages = i
	}
	// Which samples count is decided by their number, mixed so that it has
	// nothing to do with a rhythm of theirs.
	if r.thin > 0 && r.N*2654435769>>(32-r.thin) != 0 {
		return
	}
	page := a.pages.at(i)
	if page.counts[part] == 1<<16-1 {
		a.halve(r)
	}
	page.counts[part]++
}

// halve makes room in counters that are full. From then on every second sample
// that counted does no more, so that all weigh the same.
func (a *Analyzer) halve(r *RTT) {
	r.thin = min(r.thin+1, 31)
	for i := r.pages; i != 0; i = a.pages.at(i).next {
		page := a.pages.at(i)
		for j := range page.counts {
			page.counts[j] -= page.counts[j] / 2
		}
	}
}

// Quantile returns the time that a part q of the samples does not exceed; 0
// without samples. r must be of a connection that the Analyzer still has.
func (a *Analyzer) Quantile(r *RTT, q float64) time.Duration {
	var octaves [64]uint32
	total := uint64(0)
	for i := r.pages; i != 0; i = a.pages.at(i).next {
		page := a.pages.at(i)
		octaves[page.octave&63] = i
		for _, n := range page.counts {
			total += uint64(n)
		}
	}
	if total == 0 {
		return r.Avg()
	}
	rank := uint64(q * float64(total-1))
	seen := uint64(0)
	for octave, i := range octaves {
		if i == 0 {
			continue
		}
		for part, n := range a.pages.at(i).counts {
			if seen += uint64(n); seen > rank {
				// The extremes are known exactly, and bound all else.
				return time.Duration(min(max(float32(middle(uint8(octave), part)), r.min), r.max))
			}
		}
	}
	return r.Max()
}

func (a *Analyzer) freeRTT(r *RTT) {
	for i := r.pages; i != 0; {
		next := a.pages.at(i).next
		a.pages.put(i)
		i = next
	}
	r.pages = 0
}
