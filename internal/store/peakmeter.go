package store

import (
	"cmp"
	"slices"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// A peakMeter measures the most connections that were open at one moment of each
// minute and hour. Openings and ends are put in order within the grace that late
// events have, and then counted one by one: the peak is exact, not sampled. A
// connection is open from its opening up to, not including, its end.
type peakMeter struct {
	host  string
	edges []edge
	// done is until when edges were counted; later ones that lie before it count
	// as at it.
	done int64
	// minute and hour are the starts of the intervals that done is in; since is
	// from when the minute was observed, hourSince the hour.
	minute, hour     int64
	since, hourSince int64

	all     peakCount
	service peakSet
	process peakSet
}

// peakGroups are the groups of one connection.
type peakGroups struct{ service, process uint32 }

// An edge is a moment when a group grows or shrinks.
type edge struct {
	at     int64
	groups peakGroups
	delta  int8
}

// A peakCount is how many connections of a group are open, and the most that were
// in the minute and in the hour.
type peakCount struct {
	open, max, hourMax int64
	// refs are the connections that are open or whose edges wait.
	refs int
}

func (p *peakCount) add(delta int64) {
	p.open += delta
	p.max = max(p.max, p.open)
}

// A peakSet is the groups of one grouping set.
type peakSet struct {
	index  map[string]uint32
	names  []string
	counts []peakCount
	free   []uint32
}

// maxGroups bounds the groups of a set, because processes choose their names;
// OtherGroup is the name of all beyond it.
const (
	maxGroups  = 4096
	OtherGroup = "~other"
)

func (s *peakSet) of(name string) uint32 {
	if i, ok := s.index[name]; ok {
		return i
	}
	if len(s.index) >= maxGroups {
		name = OtherGroup
		if i, ok := s.index[name]; ok {
			return i
		}
	}
	i := uint32(len(s.names))
	if n := len(s.free); n > 0 {
		i, s.free = s.free[n-1], s.free[:n-1]
		s.names[i], s.counts[i] = name, peakCount{}
	} else {
		s.names, s.counts = append(s.names, name), append(s.counts, peakCount{})
	}
	s.index[name] = i
	return i
}

// forget makes room of groups that nothing belongs to any more.
func (s *peakSet) forget() {
	for i := range s.counts {
		if c := &s.counts[i]; c.refs == 0 && c.open == 0 && s.index[s.names[i]] == uint32(i) && s.names[i] != "" {
			delete(s.index, s.names[i])
			s.names[i] = ""
			s.free = append(s.free, uint32(i))
		}
	}
}

func newPeakMeter(host string) peakMeter {
	return peakMeter{
		host: host, service: peakSet{index: make(map[string]uint32)}, process: peakSet{index: make(map[string]uint32)},
	}
}

// start begins to measure.
func (m *peakMeter) start(now int64) {
	m.done, m.since, m.hourSince = now, now, now
	m.minute, m.hour = now-mod(now, Minute), now-mod(now, Hour)
}

func (m *peakMeter) groupsOf(c *tcp.Conn) peakGroups {
	service, process := "", ""
	if c.Names != nil {
		service = c.Names.Service
	}
	if c.Process != nil {
		process = c.Process.Name
	}
	return peakGroups{m.service.of(service), m.process.of(process)}
}

// maxEdges is how many edges wait before those that are old enough are counted.
const maxEdges = 1 << 16

// move notes that a group grows or shrinks by one.
func (m *peakMeter) move(at int64, g peakGroups, delta int8) {
	if delta > 0 {
		m.service.counts[g.service].refs++
		m.process.counts[g.process].refs++
	}
	m.edges = append(m.edges, edge{max(at, m.done), g, delta})
}

// finish counts all edges up to a time, which no edge to come is expected to lie
// before, and appends the peaks of the intervals that ended by it.
func (m *peakMeter) finish(dst []Peak, until int64) []Peak {
	if until <= m.done {
		if m.done-until < Hour {
			return dst
		}
		// The clock was set back: go on from there, in a new interval.
		dst = m.flush(dst, m.done, m.done)
		for i := range m.edges {
			m.edges[i].at = until
		}
		m.start(until)
	}
	if until-m.done > Hour {
		// The clock was set forward, or the host slept: what is between has no
		// peaks of its own.
		dst = m.flush(dst, m.done, m.done)
		for i := range m.edges {
			m.edges[i].at = max(m.edges[i].at, until)
		}
		m.start(until)
	}
	if next := m.minute + Minute; until < next && len(m.edges) < maxEdges {
		return dst
	}
	m.sort()
	n := 0
	for n < len(m.edges) && m.edges[n].at < until {
		e := &m.edges[n]
		for e.at >= m.minute+Minute {
			dst = m.endMinute(dst)
		}
		m.count(e)
		n++
	}
	m.edges = append(m.edges[:0], m.edges[n:]...)
	for until >= m.minute+Minute {
		dst = m.endMinute(dst)
	}
	m.done = until
	return dst
}

func (m *peakMeter) sort() {
	slices.SortFunc(m.edges, func(a, b edge) int {
		if a.at != b.at {
			return cmp.Compare(a.at, b.at)
		}
		return cmp.Compare(a.delta, b.delta) // ends first
	})
}

func (m *peakMeter) count(e *edge) {
	m.all.add(int64(e.delta))
	m.service.counts[e.groups.service].add(int64(e.delta))
	m.process.counts[e.groups.process].add(int64(e.delta))
	if e.delta < 0 {
		m.service.counts[e.groups.service].refs--
		m.process.counts[e.groups.process].refs--
	}
}

// endMinute appends the peaks of the minute, and of the hour if it ends with it.
func (m *peakMeter) endMinute(dst []Peak) []Peak {
	end := m.minute + Minute
	dst = m.minutePeaks(dst, end)
	m.minute, m.since = end, end
	if end-m.hour >= Hour {
		dst = m.hourPeaks(dst, end)
		m.hour, m.hourSince = end, end
		m.service.forget()
		m.process.forget()
	}
	return dst
}

// flush appends the peaks of the minute and the hour that were begun.
func (m *peakMeter) flush(dst []Peak, until, end int64) []Peak {
	m.sort()
	for i := range m.edges {
		if m.edges[i].at <= until {
			m.count(&m.edges[i])
		}
	}
	m.edges = slices.DeleteFunc(m.edges, func(e edge) bool { return e.at <= until })
	dst = m.minutePeaks(dst, end)
	return m.hourPeaks(dst, end)
}

// stop is finish at the end of the observation.
func (m *peakMeter) stop(dst []Peak, now int64) []Peak {
	dst = m.finish(dst, now)
	return m.flush(dst, now, now)
}

func (m *peakMeter) minutePeaks(dst []Peak, end int64) []Peak {
	observed := uint64(max(end-m.since, 0)) / 1000
	return m.each(dst, func(p *peakCount) (Peak, bool) {
		out := Peak{Time: m.minute, Interval: Minute, MaxOpen: uint64(max(p.max, 0)), Open: uint64(max(p.open, 0)), Observed: observed}
		p.hourMax = max(p.hourMax, p.max)
		ok := p.max > 0
		p.max = p.open
		return out, ok
	})
}

func (m *peakMeter) hourPeaks(dst []Peak, end int64) []Peak {
	observed := uint64(max(end-m.hourSince, 0)) / 1000
	return m.each(dst, func(p *peakCount) (Peak, bool) {
		out := Peak{Time: m.hour, Interval: Hour, MaxOpen: uint64(max(p.hourMax, 0)), Open: uint64(max(p.open, 0)), Observed: observed}
		ok := p.hourMax > 0
		p.hourMax = p.open
		return out, ok
	})
}

// each appends a row for each group of each set.
func (m *peakMeter) each(dst []Peak, row func(*peakCount) (Peak, bool)) []Peak {
	add := func(p Peak, ok bool, set GroupingSet, service, process string) {
		if ok {
			p.Set, p.Host, p.Service, p.Process = set, m.host, service, process
			dst = append(dst, p)
		}
	}
	p, ok := row(&m.all)
	add(p, ok, ByHost, "", "")
	for i := range m.service.counts {
		p, ok := row(&m.service.counts[i])
		add(p, ok, ByService, m.service.names[i], "")
		add(p, ok, ByHostService, m.service.names[i], "")
	}
	for i := range m.process.counts {
		p, ok := row(&m.process.counts[i])
		add(p, ok, ByProcess, "", m.process.names[i])
	}
	return dst
}
