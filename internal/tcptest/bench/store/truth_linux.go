package main

import (
	"cmp"
	"slices"
	"time"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

// truth is what the answers must be, found by going through the same records once
// more, without the store.
type truth struct {
	begin, end time.Time
	// starts and ends are the moments when connections began and ended, by service.
	starts, ends map[string][]int64
	peaks        map[string]int
	// remotes are the bytes sent to each in the day that is asked about.
	day     time.Time
	remotes map[tcp.Addr]uint64
	// retransmits and segments are by hour.
	retransmits, segments map[int64]uint64
	// rtts are by process, of each connection once.
	rtts map[string][]uint32
	rare tcp.Addr
	// few are the ids of all connections of the rare remote.
	few []tcp.ID
}

type lastRow struct {
	process, service string
	rtt              uint32
	time             int64
}

func findTruth(o *options, begin time.Time) *truth {
	t := &truth{
		begin: begin, end: begin.Add(time.Duration(o.days * 24 * float64(time.Hour))),
		starts: make(map[string][]int64), ends: make(map[string][]int64), peaks: make(map[string]int),
		remotes: make(map[tcp.Addr]uint64), retransmits: make(map[int64]uint64), segments: make(map[int64]uint64),
		rtts: make(map[string][]uint32),
	}
	t.day = begin.Add(t.end.Sub(begin) / 2).Truncate(24 * time.Hour)
	open := make(map[tcp.ID]lastRow)
	times := make(map[tcp.Addr]int)
	t.each(o, func(r *store.Record) {
		c := r.Conn
		process, service := c.Process.Name, c.Names.Service
		if r.Since == 0 {
			t.starts[service] = append(t.starts[service], r.Start())
		}
		if r.Kind == store.Close {
			t.ends[service] = append(t.ends[service], r.Time)
		}
		switch {
		case r.Kind == store.Close && r.Since == 0:
			t.rtts[process] = append(t.rtts[process], c.Metrics.RTT)
		case r.Kind == store.Close:
			delete(open, c.ID)
			t.rtts[process] = append(t.rtts[process], c.Metrics.RTT)
		default:
			open[c.ID] = lastRow{process, service, c.Metrics.RTT, r.Time}
		}
		if at := r.Time - t.day.UnixNano(); at >= 0 && at < 24*store.Hour {
			n, _ := r.Delta(store.BytesSent)
			t.remotes[c.Remote] += n
		}
		hour := r.Time - r.Time%store.Hour
		n, _ := r.Delta(store.Retransmits)
		t.retransmits[hour] += n
		n, _ = r.Delta(store.SegmentsSent)
		t.segments[hour] += n
		times[c.Remote]++
	})
	for _, l := range open {
		t.rtts[l.process] = append(t.rtts[l.process], l.rtt)
		t.ends[l.service] = append(t.ends[l.service], t.end.UnixNano())
	}
	best := 0
	for a, n := range times {
		if n >= 3 && (best == 0 || n < best || n == best && a.String() < t.rare.String()) {
			best, t.rare = n, a
		}
	}
	seen := make(map[tcp.ID]bool)
	t.each(o, func(r *store.Record) {
		if r.Conn.Remote == t.rare {
			seen[r.Conn.ID] = true
		}
	})
	for id := range seen {
		t.few = append(t.few, id)
	}
	slices.Sort(t.few)
	for _, v := range t.rtts {
		slices.Sort(v)
	}
	return t
}

// each goes through all records.
func (t *truth) each(o *options, fn func(*store.Record)) {
	g := storetest.NewGenerator(1, o.rows, t.begin, o.days)
	var rows []store.Record
	for n := 0; n < o.rows; n += len(rows) {
		rows = g.Next(rows[:0], 1000)
		for i := range rows {
			fn(&rows[i])
		}
	}
}

// measured makes the peaks that a builder would have measured: of each service, by
// the minute and by the hour. It calls fn with some at a time.
func (t *truth) measured(fn func([]store.Peak) error) error {
	for _, service := range slices.Sorted(keysOf(t.starts)) {
		starts, ends := t.starts[service], t.ends[service]
		slices.Sort(starts)
		slices.Sort(ends)
		var out []store.Peak
		begin, end := t.begin.UnixNano(), t.end.UnixNano()
		open, hourMax, i, j := 0, 0, 0, 0
		for minute := begin; minute < end; minute += store.Minute {
			if minute%store.Hour == 0 {
				hourMax = open
			}
			most := open
			for i < len(starts) && starts[i] < minute+store.Minute || j < len(ends) && ends[j] < minute+store.Minute {
				if i == len(starts) || j < len(ends) && ends[j] <= starts[i] {
					open--
					j++
					continue
				}
				open++
				i++
				// Who was open before the beginning counts from there.
				if starts[i-1] >= minute || minute == begin {
					most = max(most, open)
				}
			}
			hourMax = max(hourMax, most)
			t.peaks[service] = max(t.peaks[service], most)
			p := store.Peak{Time: minute, Interval: store.Minute, Set: store.ByService, Host: "web-1", Service: service, MaxOpen: uint64(most), Open: uint64(max(open, 0)), Observed: 60e6}
			if most > 0 {
				out = append(out, p)
			}
			if next := minute + store.Minute; next%store.Hour == 0 && hourMax > 0 {
				p.Time, p.Interval, p.MaxOpen, p.Observed = next-store.Hour, store.Hour, uint64(hourMax), 3600e6
				out = append(out, p)
			}
		}
		slices.SortStableFunc(out, func(a, b store.Peak) int { return cmp.Compare(a.Time, b.Time) })
		for len(out) > 0 {
			n := min(len(out), 20000)
			if err := fn(out[:n]); err != nil {
				return err
			}
			out = out[n:]
		}
	}
	return nil
}

func keysOf[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}
