package parquet

import (
	"context"
	"math"
	"slices"
	"sync"

	"github.com/viewtcp/viewtcp/internal/store"
)

// peaks adds the most that were open at one moment, as it was measured, and of
// what nobody measured whole as rows tell.
//
// Hours are read where they were watched whole; of the others, as of those that
// are not over, minutes; and rows of what is left at both ends.
func (m *moment) peaks(ctx context.Context, x *aggregation, p *plan) error {
	all := &peakScan{x: x, set: p.set}
	var newest int64
	var minutes []span
	s := x.s.whole(store.Minute)
	if p.interval == store.Hour {
		seen, err := all.scan(ctx, m, store.Hour, p.inner)
		if err != nil {
			return err
		}
		var from int64 = math.MaxInt64
		for hour := p.inner.from; hour < p.inner.to; hour += store.Hour {
			if seen.whole[hour] {
				newest = hour + store.Hour
			}
			switch whole := seen.whole[hour]; {
			case !whole && from == math.MaxInt64:
				from = hour
			case whole && from != math.MaxInt64:
				minutes = append(minutes, span{from, hour})
				from = math.MaxInt64
			}
		}
		if from != math.MaxInt64 {
			minutes = append(minutes, span{from, p.inner.to})
		}
		minutes = append(minutes, s.rest(p.inner)...)
	} else {
		minutes = append(minutes, s)
	}
	for _, r := range minutes {
		if r.from >= r.to {
			continue
		}
		seen, err := all.scan(ctx, m, store.Minute, r)
		if err != nil {
			return err
		}
		newest = max(newest, seen.newest)
	}
	if err := all.finish(); err != nil {
		return err
	}
	if newest == 0 {
		x.a.Resolution = store.Raw // nobody measured anything
	}
	// What comes after the newest interval has not been told of yet. What nobody
	// watched was not measured, but rows tell of what was open before and after.
	s.to = max(min(s.to, newest), s.from)
	rest := x.s.rest(s)
	for _, g := range x.a.Gaps {
		if g.Reason == gapObserver && g.From < g.To {
			rest = append(rest, span{max(g.From-floorMod(g.From, store.Minute), x.s.from), min(g.To+floorMod(-g.To, store.Minute), x.s.to)})
		}
	}
	for _, r := range joinSpans(rest) {
		if err := m.raw(ctx, x, r, rawParts{peaks: true, segments: true, log: true}); err != nil {
			return err
		}
	}
	return nil
}

// joinSpans puts ranges in order and joins those that touch.
func joinSpans(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return compareTimes(a.from, b.from) })
	n := 0
	for _, s := range spans {
		switch {
		case s.from >= s.to:
		case n > 0 && s.from <= spans[n-1].to:
			spans[n-1].to = max(spans[n-1].to, s.to)
		default:
			spans[n] = s
			n++
		}
	}
	return spans[:n]
}

// A peakScan reads peaks of one grouping set.
type peakScan struct {
	x   *aggregation
	set store.GroupingSet

	mu sync.Mutex
	// measured are the peaks of each group of each host, and interval.
	measured map[measuredPeak]int64
	hosts    map[string]uint32
}

type measuredPeak struct {
	group, host uint32
	time        int64
}

// seenPeaks is what a scan found of the intervals.
type seenPeaks struct {
	// newest is the end of the newest interval.
	newest int64
	// whole are the intervals that every host that measured anything watched from
	// their beginning to their end.
	whole map[int64]bool
}

func (k *peakScan) scan(ctx context.Context, m *moment, interval int64, s span) (*seenPeaks, error) {
	x := k.x
	seen := &seenPeaks{whole: make(map[int64]bool)}
	part := make(map[int64]map[uint32]uint64) // observed, by interval and host
	fields, number := x.numberIf()
	g := newGrouper(tables[store.Peaks], fields)
	chunks := m.chunksOf(store.Peaks, s.overlaps, x.a)
	err := m.eachChunk(ctx, store.Peaks, chunks, s, x.a, func(_ int, r *chunkRows) error {
		rows, err := peakRows(r, k.set, interval, s)
		if err != nil || len(rows.sel) == 0 {
			return err
		}
		local, gids, err := g.of(r, rows.sel, number)
		if err != nil {
			return err
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.measured == nil {
			k.measured, k.hosts = make(map[measuredPeak]int64), make(map[string]uint32)
		}
		hosts := make([]uint32, len(rows.host.dict)+1)
		for i, h := range rows.host.dict {
			n, ok := k.hosts[h]
			if !ok {
				n = uint32(len(k.hosts))
				k.hosts[h] = n
			}
			hosts[i] = n
		}
		before := len(k.measured)
		for i, row := range rows.sel {
			t := int64(rows.time.nums[row])
			if rows.observed.nums[row] == 0 {
				continue // the observation ended where the interval begins
			}
			seen.newest = max(seen.newest, t+interval)
			h := uint32(0)
			if c := rows.host.codes[row]; c != noCode {
				h = hosts[c]
			}
			if interval == store.Hour {
				if part[t] == nil {
					part[t] = make(map[uint32]uint64)
				}
				part[t][h] = max(part[t][h], rows.observed.nums[row])
			}
			if gids[local[i]] == noCode {
				continue
			}
			// A minute of an hour that was not watched whole counts to the hour.
			at := t
			if x.every == math.MaxInt64 || x.every%store.Hour == 0 {
				at = t - floorMod(t, store.Hour)
			}
			id := measuredPeak{gids[local[i]], h, at}
			k.measured[id] = max(k.measured[id], int64(rows.peak.nums[row]))
		}
		return x.mem.take(64 * int64(len(k.measured)-before))
	}, nil)
	for t, byHost := range part {
		whole := true
		for _, observed := range byHost {
			whole = whole && observed >= uint64(interval/1000)
		}
		seen.whole[t] = whole
	}
	return seen, err
}

// finish puts the hosts together. Their peaks need not be of the same moment.
func (k *peakScan) finish() error {
	type groupTime struct {
		group uint32
		time  int64
	}
	sums := make(map[groupTime]int64)
	for id, n := range k.measured {
		at := groupTime{id.group, id.time}
		if sums[at] > 0 {
			k.x.a.UpperBound = true
		}
		sums[at] += n
	}
	k.x.mu.Lock()
	defer k.x.mu.Unlock()
	for at, n := range sums {
		id := cellID{at.group, k.x.bucket(max(at.time, k.x.s.from))}
		if err := k.x.cells.peak(id, n, 0); err != nil {
			return err
		}
	}
	return nil
}

// pickedPeaks are rows of one set and interval.
type pickedPeaks struct {
	sel                        []uint32
	time, host, peak, observed *vec
}

func peakRows(r *chunkRows, set store.GroupingSet, interval int64, s span) (p pickedPeaks, err error) {
	var sets, intervals *vec
	for _, c := range []struct {
		v    **vec
		name string
	}{{&intervals, "interval_s"}, {&sets, "grouping"}, {&p.time, "time"}} {
		if *c.v, err = r.col(placed(store.Peaks, c.name)); err != nil {
			return p, err
		}
	}
	code := sets.codeOfText(set.String())
	for i, t := range p.time.nums {
		if sets.codes[i] == code && intervals.nums[i] == uint64(interval/1e9) && s.has(int64(t)) {
			p.sel = append(p.sel, uint32(i))
		}
	}
	if len(p.sel) == 0 || code == noCode {
		p.sel = nil
		return p, nil
	}
	for _, c := range []struct {
		v    **vec
		name string
	}{{&p.host, "host"}, {&p.peak, "max_open"}, {&p.observed, "observed_us"}} {
		if *c.v, err = r.col(placed(store.Peaks, c.name)); err != nil {
			return p, err
		}
	}
	return p, nil
}
