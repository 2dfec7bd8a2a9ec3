package store

import "github.com/viewtcp/viewtcp/internal/tcp"

// RecordKind says why a row of a connection was written.
type RecordKind uint8

// The kinds of rows.
const (
	// Snapshot is the state of a connection that went on.
	Snapshot RecordKind = 1
	// Close is the end of a connection; there is one for each.
	Close RecordKind = 2
)

var recordKindNames = [...]string{"", "snapshot", "close"}

func (k RecordKind) String() string {
	if int(k) < len(recordKindNames) {
		return recordKindNames[k]
	}
	return ""
}

// Record is one row of a connection. It covers the time after Since, or from the
// connection's opening, up to and including Time.
type Record struct {
	Kind RecordKind
	// Time is when the connection was closed, or when the snapshot was taken;
	// nanoseconds since 1970 UTC.
	Time int64
	// Since is the time of the connection's row before, or when it was first
	// seen if that was after its opening; 0 when the row covers the connection
	// from its opening on.
	Since int64
	// Host saw the connection, during the boot that BootID names.
	Host, BootID string
	// Conn is what was known of it. Its Names.Host gives way to Host. It is
	// shared and immutable, except in records that a reader reuses.
	Conn *tcp.Conn
	// Deltas is how far the counters went after Since; nil when Since is 0,
	// because then that is all they show. A counter that Conn does not know has
	// no delta.
	Deltas *Counters
}

// Counters are the values of a connection that only grow. Their units are those
// of tcp.Metrics.
type Counters [NumCounters]uint64

// Indices of Counters.
const (
	BytesSent = iota
	BytesReceived
	BytesMissed
	SegmentsSent
	SegmentsReceived
	Retransmits
	BytesRetransmitted
	DSACKDups
	OOOReceived
	ECNCE
	Busy
	RwndLimited
	SndbufLimited
	Recoveries
	Timeouts
	NumCounters
)

// A counterInfo ties a counter to its field.
type counterInfo struct {
	field string
	bit   tcp.Has
	get   func(*tcp.Metrics) uint64
}

var counters = [NumCounters]counterInfo{
	BytesSent:          {"bytes_sent", tcp.HasBytesSent, func(m *tcp.Metrics) uint64 { return m.BytesSent }},
	BytesReceived:      {"bytes_received", tcp.HasBytesReceived, func(m *tcp.Metrics) uint64 { return m.BytesReceived }},
	BytesMissed:        {"bytes_missed", tcp.HasBytesMissed, func(m *tcp.Metrics) uint64 { return m.BytesMissed }},
	SegmentsSent:       {"segments_sent", tcp.HasSegmentsSent, func(m *tcp.Metrics) uint64 { return uint64(m.SegmentsSent) }},
	SegmentsReceived:   {"segments_received", tcp.HasSegmentsReceived, func(m *tcp.Metrics) uint64 { return uint64(m.SegmentsReceived) }},
	Retransmits:        {"retransmits", tcp.HasRetransmits, func(m *tcp.Metrics) uint64 { return uint64(m.Retransmits) }},
	BytesRetransmitted: {"bytes_retransmitted", tcp.HasBytesRetransmitted, func(m *tcp.Metrics) uint64 { return m.BytesRetransmitted }},
	DSACKDups:          {"dsack_dups", tcp.HasDSACKDups, func(m *tcp.Metrics) uint64 { return uint64(m.DSACKDups) }},
	OOOReceived:        {"ooo_received", tcp.HasOOOReceived, func(m *tcp.Metrics) uint64 { return uint64(m.OOOReceived) }},
	ECNCE:              {"ecn_ce", tcp.HasECNCE, func(m *tcp.Metrics) uint64 { return uint64(m.ECNCE) }},
	Busy:               {"busy_us", tcp.HasLimited, func(m *tcp.Metrics) uint64 { return m.Busy }},
	RwndLimited:        {"rwnd_limited_us", tcp.HasLimited, func(m *tcp.Metrics) uint64 { return m.RwndLimited }},
	SndbufLimited:      {"sndbuf_limited_us", tcp.HasLimited, func(m *tcp.Metrics) uint64 { return m.SndbufLimited }},
	Recoveries:         {"recoveries", tcp.HasRecoveries, func(m *tcp.Metrics) uint64 { return uint64(m.Recoveries) }},
	Timeouts:           {"timeouts", tcp.HasRecoveries, func(m *tcp.Metrics) uint64 { return uint64(m.Timeouts) }},
}

// CounterField names the field of a counter.
func CounterField(i int) string { return counters[i].field }

// CountersOf reads the counters of a connection; those it does not know are 0.
func CountersOf(c *tcp.Conn) (n Counters) {
	for i := range counters {
		if c.Has&counters[i].bit != 0 {
			n[i] = counters[i].get(&c.Metrics)
		}
	}
	return n
}

// Since returns how far the counters went since an earlier state. One that fell
// back, because a source lost its memory, counts as not moved.
func (n *Counters) Since(base *Counters) (d Counters) {
	for i := range n {
		if n[i] > base[i] {
			d[i] = n[i] - base[i]
		}
	}
	return d
}

// Delta returns how far a counter went in the time that the row covers; ok is
// false when the connection does not know the counter.
func (r *Record) Delta(i int) (v uint64, ok bool) {
	if r.Conn.Has&counters[i].bit == 0 {
		return 0, false
	}
	if r.Deltas != nil {
		return r.Deltas[i], true
	}
	return counters[i].get(&r.Conn.Metrics), true
}

// Start is the first moment that the connection is known to have been open, by
// this row alone: its opening, or else Since, or else Time.
func (r *Record) Start() int64 {
	if d, ok := r.Conn.Duration(); ok {
		return StartOf(r.Time, r.Conn.Opened.Wall, d.Microseconds())
	}
	if r.Since != 0 {
		return r.Since
	}
	return r.Time
}

// StartOf is when a connection was opened, given the time of a row and its fields
// opened and duration_us: the opening, unless the clock was set in between. Then
// it is reckoned back from time, on the clock that does not jump.
func StartOf(time, opened, durationMicros int64) int64 {
	const second = 1_000_000_000
	start := time - durationMicros*1000
	if d := opened - start; -second < d && d < second && opened <= time {
		return opened
	}
	return start
}

// Parts says which parts of its columns the row has.
func (r *Record) Parts() (p Part) {
	if r.Conn.Packets != nil {
		p = PartPackets
	}
	if r.Deltas != nil {
		p |= PartDeltas
	}
	return p
}

func (r *Record) conn() *tcp.Conn {
	if r.Conn == nil {
		r.Conn = new(tcp.Conn)
	}
	return r.Conn
}

func (r *Record) process() *tcp.Process {
	c := r.conn()
	if c.Process == nil {
		c.Process = new(tcp.Process)
	}
	return c.Process
}

func (r *Record) names() *tcp.Names {
	c := r.conn()
	if c.Names == nil {
		c.Names = new(tcp.Names)
	}
	return c.Names
}

func (r *Record) packets() *tcp.PacketStats {
	c := r.conn()
	if c.Packets == nil {
		c.Packets = new(tcp.PacketStats)
	}
	return c.Packets
}

func (r *Record) deltas() *Counters {
	if r.Deltas == nil {
		r.Deltas = new(Counters)
	}
	return r.Deltas
}
