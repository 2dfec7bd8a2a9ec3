package report

import (
	"cmp"
	"maps"
	"math/bits"
	"slices"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// summary counts over all connections and packets, whatever is listed.
type summary struct {
	conns, packets uint64
	// wirePackets and wireBytes come from the connections, so they count what
	// Packet was not called for, too.
	wirePackets, wireBytes uint64
	payload                uint64
	retransmissions        uint64
	// resets, by who sent them: local, remote; resetConns counts connections.
	resets     [2]uint64
	resetConns uint64

	states, connStates, reasons map[string]uint64
	hosts                       map[tcp.Addr]traffic
	// hostsLost says that hosts became too large once.
	hostsLost bool
	ports     map[uint16]traffic

	timeline   timeline
	handshakes histogram
	acks       histogram
	findings   [len(findingKinds)]finding
}

type traffic struct{ conns, bytes, packets uint64 }

func (t *traffic) add(u traffic) {
	t.conns += u.conns
	t.bytes += u.bytes
	t.packets += u.packets
}

// maxHosts bounds the table of hosts: when it is full, the quieter half goes. A
// host that comes back counts from zero, and the page says so.
const maxHosts = 1 << 16

func newSummary() summary {
	return summary{
		states: make(map[string]uint64), connStates: make(map[string]uint64), reasons: make(map[string]uint64),
		hosts: make(map[tcp.Addr]traffic), ports: make(map[uint16]traffic),
		timeline: timeline{shift: firstShift},
	}
}

func (s *summary) packet(p *Point) {
	s.packets++
	if b := s.timeline.bin(p.Time); b != nil {
		b.packets++
		b.bytes += uint64(p.Len)
		if p.Verdict == verdictRetransmission {
			b.retransmissions++
		}
	}
	if p.RTT != 0 {
		s.acks.add(p.RTT)
	}
}

func (s *summary) conn(stream uint32, c *tcp.Conn, in *interest) {
	s.conns++
	s.states[c.State.String()]++
	if c.Reason != tcp.CloseUnknown {
		s.reasons[c.Reason.String()]++
	}
	t := traffic{conns: 1, bytes: c.Metrics.BytesSent + c.Metrics.BytesReceived}
	s.payload += t.bytes
	s.retransmissions += uint64(in.retransmissions)
	if p := c.Packets; p != nil {
		t.packets = p.Packets[0] + p.Packets[1]
		s.wirePackets += t.packets
		s.wireBytes += p.WireBytes[0] + p.WireBytes[1]
		if p.ConnState != "" {
			s.connStates[p.ConnState]++
		}
		s.resets[0] += uint64(p.Resets[0])
		s.resets[1] += uint64(p.Resets[1])
	}
	if in.resets > 0 {
		s.resetConns++
	}
	s.host(c.Local, t)
	if c.Remote != c.Local {
		s.host(c.Remote, t)
	}
	server := c.RemotePort
	if c.Direction == tcp.Inbound {
		server = c.LocalPort
	}
	port := s.ports[server]
	port.add(t)
	s.ports[server] = port
	if in.slow != 0 {
		s.handshakes.add(in.slow)
	}
	if !c.Opened.IsZero() {
		if b := s.timeline.bin(c.Opened.Wall); b != nil {
			b.opened++
		}
	}
	for i := range s.findings {
		s.findings[i].offer(stream, findingKinds[i].value(c, in))
	}
}

func (s *summary) host(a tcp.Addr, t traffic) {
	h, ok := s.hosts[a]
	if !ok && len(s.hosts) >= maxHosts {
		all := topTraffic(s.hosts, maxHosts, func(a, b tcp.Addr) int { return slices.Compare(a[:], b[:]) })
		for _, h := range all[maxHosts/2:] {
			delete(s.hosts, h.key)
		}
		s.hostsLost = true
	}
	h.add(t)
	s.hosts[a] = h
}

type talker[K comparable] struct {
	key K
	traffic
}

// topTraffic lists the n entries with the most bytes, and packets among equals.
func topTraffic[K comparable](m map[K]traffic, n int, less func(a, b K) int) []talker[K] {
	all := make([]talker[K], 0, len(m))
	for k, t := range maps.All(m) {
		all = append(all, talker[K]{k, t})
	}
	slices.SortFunc(all, func(a, b talker[K]) int {
		return cmp.Or(cmp.Compare(b.bytes, a.bytes), cmp.Compare(b.packets, a.packets), cmp.Compare(b.conns, a.conns), less(a.key, b.key))
	})
	return all[:min(n, len(all))]
}

// timeline counts by time, in bins that double in width whenever the capture
// turns out to be longer.
type timeline struct {
	base  int64
	begun bool
	shift uint // a bin is 1<<shift ns
	bins  []timeBin
}

type timeBin struct{ packets, bytes, retransmissions, opened uint64 }

const (
	maxBins    = 256
	firstShift = 14 // 16 µs
)

// bin finds the bin of a moment; nil when it is before the first packet.
func (t *timeline) bin(at int64) *timeBin {
	if !t.begun {
		t.base, t.begun = at, true
		t.bins = make([]timeBin, 0, maxBins)
	}
	d := uint64(at - t.base)
	if at < t.base {
		return nil
	}
	for d>>t.shift >= maxBins {
		t.double()
	}
	i := int(d >> t.shift)
	for len(t.bins) <= i {
		t.bins = append(t.bins, timeBin{})
	}
	return &t.bins[i]
}

func (t *timeline) double() {
	n := (len(t.bins) + 1) / 2
	for i := range n {
		b := t.bins[2*i]
		if 2*i+1 < len(t.bins) {
			c := t.bins[2*i+1]
			b.packets += c.packets
			b.bytes += c.bytes
			b.retransmissions += c.retransmissions
			b.opened += c.opened
		}
		t.bins[i] = b
	}
	t.bins = t.bins[:n]
	t.shift++
}

// histogram counts durations in bins a quarter of an octave wide: bin 4k+j
// begins at (1+j/4)·2^k µs.
type histogram [32 * 4]uint64

func (h *histogram) add(us uint32) {
	k := bits.Len32(us) - 1
	j := uint64(us) << 2 >> k & 3
	h[uint64(4*k)+j]++
}

// A finding is a kind of trouble with its worst connections.
type finding struct {
	total uint64 // connections
	sum   uint64
	worst []findingItem
}

type findingItem struct {
	stream uint32
	value  uint64
}

// worstPer is how many connections a finding names. It is small enough that
// choose always keeps them.
const worstPer = 8

func (f *finding) offer(stream uint32, value uint64) {
	if value == 0 {
		return
	}
	f.total++
	f.sum += value
	i := len(f.worst)
	for i > 0 && f.worst[i-1].value < value {
		i--
	}
	if i < worstPer {
		f.worst = slices.Insert(f.worst, i, findingItem{stream, value})
		f.worst = f.worst[:min(len(f.worst), worstPer)]
	}
}

// findingKinds are the findings in the order of the page, which knows their
// names.
var findingKinds = [...]struct {
	name  string
	value func(*tcp.Conn, *interest) uint64
}{
	{"retransmissions", func(_ *tcp.Conn, in *interest) uint64 { return uint64(in.retransmissions) }},
	{"zero_windows", func(_ *tcp.Conn, in *interest) uint64 { return uint64(in.zeroWindows) }},
	{"unanswered", func(_ *tcp.Conn, in *interest) uint64 { return uint64(in.unanswered) }},
	{"resets", func(_ *tcp.Conn, in *interest) uint64 { return uint64(in.resets) }},
	{"slow_handshakes", func(_ *tcp.Conn, in *interest) uint64 { return uint64(in.slow) }},
	{"lost_segments", func(_ *tcp.Conn, in *interest) uint64 { return uint64(in.lost) }},
}
