package tui

import (
	"math"

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
	n    int // samples ever taken
	used uint64
	// retransmits is the total of the last sample.
	retransmits uint32
}

// histories are those of connections that were in sight lately.
type histories struct {
	byID map[tcp.ID]*history
	used uint64
}

// add takes a sample of a row.
func (hs *histories) add(r *row) {
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
		if c.Has&tcp.HasRetransmits != 0 {
			h.retransmits = c.Metrics.Retransmits
		}
		hs.byID[c.ID] = h
	}
	h.used = hs.used
	nan := float32(math.NaN())
	v := [numSeries]float32{nan, nan, nan, nan, nan}
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
		v[seriesRetransmits] = float32(c.Metrics.Retransmits - h.retransmits)
		h.retransmits = c.Metrics.Retransmits
	}
	for i := range v {
		h.ring[i][h.n%historyLen] = v[i]
	}
	h.n++
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
	for i := max(h.n-historyLen, 0); i < h.n; i++ {
		dst = append(dst, float64(h.ring[series][i%historyLen]))
	}
	return dst
}
