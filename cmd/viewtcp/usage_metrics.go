package main

import "github.com/viewtcp/viewtcp/internal/tail"

// metrics writes what became of lines of log files and of packets of taps.
func (s *surroundings) metrics(x *exposition) {
	if s == nil {
		return
	}
	if s.tailing != nil {
		n := s.tailing.stats()
		x.counter("viewtcp_tail_lines_total", "Lines read of log files.", n.Lines)
		x.family("viewtcp_tail_matches_total", "counter", "Lines that matched a rule, by what became of them.")
		x.sample("viewtcp_tail_matches_total", float64(n.Marked), "outcome", "marked")
		x.sample("viewtcp_tail_matches_total", float64(n.Suppressed), "outcome", "suppressed")
		x.sample("viewtcp_tail_matches_total", float64(n.Failed), "outcome", "failed")
	}
	if len(s.taps) == 0 {
		return
	}
	counts := make([]tapCounts, len(s.taps))
	open := make([]int, len(s.taps))
	for i, t := range s.taps {
		t.mu.Lock()
		counts[i] = t.counts
		t.mu.Unlock()
		open[i] = len(t.snapshot.Load().Conns)
	}
	x.family("viewtcp_tap_connections", "gauge", "Connections open on a tap.")
	for i, t := range s.taps {
		x.sample("viewtcp_tap_connections", float64(open[i]), "tap", t.iface)
	}
	for _, f := range []struct {
		name, help string
		value      func(*tapCounts) uint64
	}{
		{"viewtcp_tap_segments_total", "TCP segments seen on a tap.", func(n *tapCounts) uint64 { return n.segments }},
		{"viewtcp_tap_others_total", "Frames of a tap that are no TCP segments.", func(n *tapCounts) uint64 { return n.others }},
		{"viewtcp_tap_dropped_total", "Frames of a tap that the kernel dropped.", func(n *tapCounts) uint64 { return n.lost }},
		{"viewtcp_tap_rows_total", "Rows of history made of a tap.", func(n *tapCounts) uint64 { return n.rows }},
	} {
		x.family(f.name, "counter", f.help)
		for i, t := range s.taps {
			x.sample(f.name, float64(f.value(&counts[i])), "tap", t.iface)
		}
	}
}

// stats are the counts of this tailer and of those before it.
func (t *tailing) stats() tail.Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.before
	if t.tailer != nil {
		n = addTails(n, t.tailer.Stats())
	}
	return n
}

// addTails adds the counts that are shown.
func addTails(a, b tail.Stats) tail.Stats {
	a.Lines += b.Lines
	a.Matched += b.Matched
	a.Marked += b.Marked
	a.Suppressed += b.Suppressed
	a.Failed += b.Failed
	return a
}
