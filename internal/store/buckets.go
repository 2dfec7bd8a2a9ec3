package store

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Durations are counted in fixed buckets, four to a power of two, so that
// histograms of any rows add up: bucket 0 holds 0, buckets 1 to 3 hold 1 to 3,
// and from 4 on bucket b holds the microseconds from BucketLow(b) up to, not
// including, BucketLow(b+1), which is at most 25 % more.

// NumBuckets bounds arrays indexed by bucket.
const NumBuckets = 4 * 62

// Bucket returns the bucket of a duration in microseconds.
func Bucket(us uint64) uint8 {
	if us < 4 {
		return uint8(us)
	}
	us = min(us, 1<<63-1)
	e := bits.Len64(us) - 1 // at least 2
	return uint8(4*(e-1) + int(us>>(e-2)&3))
}

// BucketLow returns the smallest duration of a bucket, microseconds.
func BucketLow(b uint8) uint64 {
	if b < 4 {
		return uint64(b)
	}
	e := int(b)/4 + 1
	if e > 62 {
		return 1 << 63
	}
	return uint64(4+b%4) << (e - 2)
}

// Histogram counts durations by bucket.
type Histogram [NumBuckets]uint32

// AppendTo appends the form in which histograms are stored: for each bucket that
// is not empty, by ascending number, the number as a byte and the count as a
// base-128 varint.
func (h *Histogram) AppendTo(b []byte) []byte {
	for i, n := range h {
		if n != 0 {
			b = binary.AppendUvarint(append(b, uint8(i)), uint64(n))
		}
	}
	return b
}

// AddEncoded adds a stored histogram. Its error wraps ErrDamaged.
func (h *Histogram) AddEncoded(s string) error {
	last := -1
	for len(s) > 0 {
		i := int(s[0])
		if i <= last || i >= NumBuckets {
			return fmt.Errorf("histogram: bucket %d after %d: %w", i, last, ErrDamaged)
		}
		last = i
		if len(s) > 1 && s[1] < 0x80 { // nearly all
			h[i] += uint32(s[1])
			s = s[2:]
			continue
		}
		var n, shift uint64
		j := 1
		for {
			if j >= len(s) || shift > 28 {
				return fmt.Errorf("histogram: count of bucket %d: %w", i, ErrDamaged)
			}
			n |= uint64(s[j]&0x7f) << shift
			shift += 7
			j++
			if s[j-1] < 0x80 {
				break
			}
		}
		h[i] += uint32(n)
		s = s[j:]
	}
	return nil
}

// Quantile returns bounds of the q-th quantile (0 to 1) in microseconds: it is
// at least low and less than high. ok is false when nothing was counted.
func (h *Histogram) Quantile(q float64) (low, high uint64, ok bool) {
	var total uint64
	for _, n := range h {
		total += uint64(n)
	}
	if total == 0 {
		return 0, 0, false
	}
	rank := uint64(q * float64(total-1))
	for i, n := range h {
		if rank < uint64(n) {
			return BucketLow(uint8(i)), BucketLow(uint8(i) + 1), true
		}
		rank -= uint64(n)
	}
	return 0, 0, false
}
