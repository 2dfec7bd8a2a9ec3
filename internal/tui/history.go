package tui

import (
	"math"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

const (
	// historyLen is how many samples are kept of a connection: four minutes of
	// the usual pace.
	historyLen = 240
	// maxHistories bounds the connections that samples are kept of.
	maxHistories = 512
)

// The series kept of a connection.
const (
	seriesRX = iota
	seriesTX
	seriesRTT
	seriesCWND
	seriesRetransmits
	numSeries
)

// history holds samples of one connection in a ring.
type history struct {
	ring [numSeries][historyLen]float32
	at   [historyLen]int64 // when, in nanoseconds of the boot clock
	n    int               // samples ever taken
	used uint64
	// retransmits is the total of the last sample.
	retransmits uint32
}

// histories are those of connections that were in sight lately.
type histories struct {
	byID map[tcp.ID]*history
	used uint64
}

// add takes a sample of a row; every is the time from one sample to the next.
func (hs *histories) add(r *row, now int64, every time.Duration) {
	c := r.conn
	if c.State == tcp.Listen || r.closed != 0 {
		return
	}
	if hs.byID == nil {
		hs.byID = make(map[tcp.ID]*history)
	}
	hs.used++
	h := hs.byID[c.ID]
	if h == nil {
		if len(hs.byID) >= maxHistories {
			hs.evict()
		}
		h = &history{}
		hs.byID[c.ID] = h
	}
	h.used = hs.used
	if h.n > 0 && h.last() >= now {
		return // taken already
	}
	whole := h.skip(now, every)
	v := noSample()
	if c.Has&tcp.HasReceiveRate != 0 {
		v[seriesRX] = float32(c.Metrics.ReceiveRate)
	}
	if c.Has&tcp.HasSendRate != 0 {
		v[seriesTX] = float32(c.Metrics.SendRate)
	}
	if c.Has&tcp.HasRTT != 0 {
		v[seriesRTT] = float32(c.Metrics.RTT)
	}
	if c.Has&tcp.HasCWND != 0 {
		v[seriesCWND] = float32(c.Metrics.CWND)
	}
	if c.Has&tcp.HasRetransmits != 0 {
		if whole {
			v[seriesRetransmits] = float32(c.Metrics.Retransmits - h.retransmits)
		}
		h.retransmits = c.Metrics.Retransmits
	}
	h.push(&v, now)
}

// noSample is a sample of which nothing is known.
func noSample() (v [numSeries]float32) {
	for i := range v {
		v[i] = float32(math.NaN())
	}
	return v
}

func (h *history) push(v *[numSeries]float32, at int64) {
	for i := range v {
		h.ring[i][h.n%historyLen] = v[i]
	}
	h.at[h.n%historyLen] = at
	h.n++
}

// skip leaves the places empty of samples that were not taken because the row was
// out of sight. It reports whether there are none, so that what was counted since
// the last sample is of one interval.
func (h *history) skip(now int64, every time.Duration) (whole bool) {
	if h.n == 0 || every <= 0 {
		return false
	}
	last := h.last()
	missed := (now-last+int64(every)/2)/int64(every) - 1
	none := noSample()
	for i := max(missed-historyLen, 0); i < missed; i++ {
		h.push(&none, last+(i+1)*int64(every))
	}
	return missed <= 0
}

// last is when the latest sample was taken; there must be one.
func (h *history) last() int64 { return h.at[(h.n-1)%historyLen] }

// first is the number of the oldest sample that is kept, span the time since.
func (h *history) first() int { return max(h.n-historyLen, 0) }

func (h *history) span(now int64) time.Duration {
	return time.Duration(now - h.at[h.first()%historyLen])
}

// evict forgets the quarter that was not in sight for longest.
func (hs *histories) evict() {
	limit := hs.used - min(hs.used, maxHistories*3/4)
	for id, h := range hs.byID {
		if h.used <= limit {
			delete(hs.byID, id)
		}
	}
	for id := range hs.byID {
		if len(hs.byID) < maxHistories {
			return
		}
		delete(hs.byID, id)
	}
}

// values appends a series in order of time.
func (h *history) values(dst []float64, series int) []float64 {
	for i := h.first(); i < h.n; i++ {
		dst = append(dst, float64(h.ring[series][i%historyLen]))
	}
	return dst
}
