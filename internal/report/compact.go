package report

import "math"

// edgePoints is how many packets at either end of a connection stay single: the
// ladder shows them.
const edgePoints = 32

// How much may be lost to make points fewer, in the order in which it is tried.
const (
	// mergeRuns joins only packets that carry on from each other and about
	// which there is nothing to say.
	mergeRuns = iota
	// mergeNotes joins flagged packets with others of the same flags, too.
	mergeNotes
	// mergeVerdicts joins packets of the same verdict, wherever they belong.
	mergeVerdicts
	// mergeAll joins what one end sent.
	mergeAll
)

// compact merges points until at most limit are left, as little as possible:
// with longer and longer runs first, with more and more different packets then.
// What had to be given up once is not tried again.
func (pl *plot) compact(limit int) {
	n := len(pl.points)
	if n <= limit {
		return
	}
	total := max(pl.points[n-1].time-pl.points[0].time, 1)
	for ; pl.how <= mergeAll; pl.how++ {
		// Traffic comes in bursts, so that runs far shorter than an even share of
		// the time may do. A connection that goes on as before needs runs twice as
		// long by the time that it is compacted again.
		pl.width = max(total/int64(limit)/128, 2*pl.width, 1000)
		for {
			pl.merge(pl.width, pl.how)
			if len(pl.points) <= limit {
				return
			}
			if pl.width > total {
				break
			}
			pl.width += pl.width / 2
		}
		pl.width = 0
	}
	pl.how = mergeAll
	// Clocks that run backwards defeat merging by time.
	edge := min(edgePoints, limit/2)
	n = len(pl.points)
	pl.points = append(pl.points[:limit-edge], pl.points[n-edge:]...)
}

// merge joins, in place, points that the width and the kind of merging allow.
func (pl *plot) merge(width int64, how int) {
	ps := pl.points
	if len(ps) <= 2*edgePoints {
		return
	}
	last := len(ps) - edgePoints
	n := edgePoints
	// open is the point of each direction that may be added to.
	open := [2]int{-1, -1}
	for i := edgePoints; i < len(ps); i++ {
		p := ps[i]
		if i < last {
			if j := open[p.from]; j >= 0 && ps[j].takes(&p, width, how) {
				ps[j].join(&p)
				continue
			}
		}
		ps[n] = p
		open[p.from] = n
		n++
	}
	pl.points = ps[:n]
}

// takes reports whether q, the next of its direction, may become part of p.
func (p *point) takes(q *point, width int64, how int) bool {
	if d := q.time + int64(q.span)*1000 - p.time; d < 0 || d > width || d/1000 > math.MaxUint32 {
		return false
	}
	if uint64(p.len)+uint64(q.len) > math.MaxUint32 {
		return false
	}
	const (
		ends   = flagSYN | flagFIN | flagRST
		silent = anaWindowUpdate | anaKeepAlive
	)
	plain := p.verdict|q.verdict == 0 && (p.flags|q.flags)&ends == 0
	runs := plain && (p.analysis|q.analysis)&^silent == 0
	switch how {
	case mergeRuns:
		return runs && q.seq == p.seq+int64(p.len)
	case mergeNotes:
		if runs {
			return q.seq == p.seq+int64(p.len)
		}
		return plain && p.analysis == q.analysis
	case mergeVerdicts:
		return p.verdict == q.verdict && (p.flags|q.flags)&ends == 0
	default:
		return true
	}
}

func (p *point) join(q *point) {
	p.span = uint32((q.time + int64(q.span)*1000 - p.time) / 1000)
	p.seq = min(p.seq, q.seq)
	p.ack = q.ack
	p.n += q.n
	p.len += q.len
	p.winMin, p.winMax = min(p.winMin, q.winMin), max(p.winMax, q.winMax)
	if q.rttMax != 0 {
		if p.rttMin == 0 || q.rttMin < p.rttMin {
			p.rttMin = q.rttMin
		}
		p.rttMax = max(p.rttMax, q.rttMax)
	}
	p.inFlight = max(p.inFlight, q.inFlight)
	p.flags |= q.flags
	p.analysis |= q.analysis
	p.verdict = max(p.verdict, q.verdict)
}
