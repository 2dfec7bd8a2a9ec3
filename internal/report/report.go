package report

import (
	"cmp"
	"slices"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Options are what a report is about and how much of it is kept. Zero limits
// mean the defaults.
type Options struct {
	// Title heads the page; empty is the name of the first file.
	Title string
	// Version is ViewTCP's own.
	Version string
	Files   []FileInfo
	// MaxConns is how many connections get plots, 500 by default. They are the
	// first of several rankings in turn: bytes, retransmissions, resets, zero
	// windows, SYNs without answer, slow handshakes.
	MaxConns int
	// MaxPoints bounds the points of one connection, 4,000 by default. See
	// Collector.Packet for what gives way.
	MaxPoints int
	// MaxRows bounds the table of connections, 10,000 by default; the rest is
	// part of the summary and counted.
	MaxRows int
	// MaxMemory bounds the points of all connections together, in bytes, 64 MiB
	// by default. Not in it: some 250 bytes for each connection that has not
	// ended, and about 500 bytes for each of at most twice MaxRows rows.
	MaxMemory int
}

// FileInfo is one capture file of the report. It may be filled until WriteTo,
// through Collector.SetFiles.
type FileInfo struct {
	Name string
	// Size is in bytes; -1 is unknown.
	Size int64
	// Packets counts the frames of the file, TCP or not.
	Packets uint64
	// First and Last are the times of its first and last frame, nanoseconds
	// since 1970 UTC; 0 is unknown.
	First, Last int64
	// Reasons counts the frames that were not analysed, by why.
	Reasons map[string]uint64
}

// Point is one segment as the analysis saw it.
type Point struct {
	// Stream is the number of the connection, as in Conn.
	Stream uint32
	// FromInitiator says that the end which opened the connection sent it.
	FromInitiator bool
	// Verdict: 0 new data, 1 retransmission, 2 reordered, 3 duplicated by the
	// network.
	Verdict uint8
	// Flags are those of the TCP header (RFC 9293, section 3.1), FIN is bit 0.
	Flags uint16
	// Analysis is the set of Wireshark's flags: retransmission 1, fast 2,
	// spurious 4, out_of_order 8, lost_segment 16, ack_lost_segment 32,
	// duplicate_ack 64, zero_window 128, zero_window_probe 256,
	// zero_window_probe_ack 512, window_full 1024, window_update 2048, keep_alive
	// 4096, keep_alive_ack 8192, reused_ports 16384.
	Analysis uint32
	// Time is in nanoseconds since 1970 UTC.
	Time int64
	// Frame is the number of the frame in its file; 0 is unknown.
	Frame uint64
	// Seq and Ack are relative to the first sequence number of each end. They may
	// wrap at 32 bits or not: only the difference to the connection's previous
	// values counts, which is taken to be less than 2 GiB. Ack is meaningless
	// without the flag ACK.
	Seq, Ack uint64
	// Len is the length of the payload, bytes.
	Len uint32
	// InFlight is the sender's unacknowledged bytes after this segment.
	InFlight uint32
	// RTT is the sample that this acknowledgement gives, microseconds; 0 is none.
	RTT uint32
	// Window is what the segment advertises, scaled, bytes.
	Window uint64
	// SACK holds the first and the following sequence number of each block,
	// relative like Ack; the first SACKLen are set.
	SACK    [4][2]uint64
	SACKLen uint8
}

// Bits of Point.Flags and Point.Analysis that decide what a plot keeps.
const (
	flagFIN = 1 << 0
	flagSYN = 1 << 1
	flagRST = 1 << 2
	flagACK = 1 << 4

	anaRetransmission = 1 << 0
	anaZeroWindow     = 1 << 7
	anaWindowUpdate   = 1 << 11
	anaKeepAlive      = 1<<12 | 1<<13
)

const verdictRetransmission = 1

// Collector gathers what a report shows. It is not safe for concurrent use.
type Collector struct {
	o Options

	// plots are slots of connections with packets; free lists those not in use.
	plots []plot
	free  []int32
	index map[uint32]int32
	// recent saves most look-ups in index: packets come in runs.
	recent [recentSlots]recentSlot
	// ended counts slots whose connection has ended.
	ended int
	// used is the bytes of all points; limit is what MaxPoints has become under
	// the pressure of MaxMemory.
	used, limit int

	rows []row
	sum  summary
	// rowCut and plotCut turn away what a choice would not take.
	rowCut, plotCut cut
	// fields is the registry as it was at the start, so that rows stay valid.
	fields  []*tcp.Field
	scratch []byte
}

const recentSlots = 256

type recentSlot struct {
	stream uint32
	slot   int32 // 0 is none: slots count from 1
}

// Limits of a plot that is squeezed, and of a report.
const (
	defaultConns  = 500
	defaultPoints = 4000
	defaultRows   = 10000
	defaultMemory = 64 << 20
	// leastPoints is below which no plot is squeezed to save memory; it leaves
	// room for the exact ends of edgePoints packets each.
	leastPoints = 256
)

// New returns an empty collector.
func New(o Options) *Collector {
	def := func(v *int, to int) {
		if *v <= 0 {
			*v = to
		}
	}
	def(&o.MaxConns, defaultConns)
	def(&o.MaxPoints, defaultPoints)
	def(&o.MaxRows, defaultRows)
	def(&o.MaxMemory, defaultMemory)
	o.MaxPoints = max(o.MaxPoints, leastPoints)
	return &Collector{
		o:      o,
		plots:  make([]plot, 1), // slot 0 is none
		index:  make(map[uint32]int32),
		limit:  o.MaxPoints,
		sum:    newSummary(),
		fields: tcp.Fields(),
	}
}

// SetFiles replaces Options.Files: sizes and counts are known at the end.
func (c *Collector) SetFiles(files []FileInfo) { c.o.Files = files }

// Packet takes the next packet, in the order of the capture. p.Stream's Conn
// must not have been called yet.
//
// Of a connection with more than MaxPoints packets, neighbours that carry on
// from each other become one point that keeps their bytes, count, time span and
// extremes of window, RTT and bytes in flight. Apart stay: the first and last
// packets of the connection, both ends of each gap, and, unless there are too
// many of them alone, everything with SYN, FIN, RST, a verdict or a flag of the
// analysis.
func (c *Collector) Packet(p Point) {
	c.sum.packet(&p)
	slot := c.slot(p.Stream)
	pl := &c.plots[slot]
	pl.tally(&p)
	if pl.muted {
		if pl.packets < pl.wakeAt {
			return
		}
		pl.muted, pl.missed = false, pl.packets-1
		pl.known, pl.acked = [2]bool{}, [2]bool{}
	}
	before := pl.memory()
	pl.add(&p, c.limit)
	c.used += pl.memory() - before
	if c.used > c.o.MaxMemory {
		c.relieve()
	}
}

// Conn takes a connection that has ended, or is as it was at the end of the
// capture. It keeps nothing of conn.
func (c *Collector) Conn(stream uint32, conn *tcp.Conn) {
	in := interestOf(conn)
	in.stream = stream
	slot, ok := c.index[stream]
	if ok {
		// What the verdicts of the packets say goes before Wireshark's flags.
		in.retransmissions = c.plots[slot].interest.retransmissions
	}
	c.sum.conn(stream, conn, &in)
	if !c.rowCut.misses(&in) {
		c.rows = append(c.rows, c.encodeRow(conn, in))
		if len(c.rows) >= 2*c.o.MaxRows {
			c.pruneRows()
		}
	}
	if !ok || c.plots[slot].ended {
		return
	}
	pl := &c.plots[slot]
	if pl.muted || c.plotCut.misses(&in) {
		c.drop(slot)
		return
	}
	pl.ended, pl.interest = true, in
	c.ended++
	if c.ended >= 2*c.o.MaxConns {
		c.prunePlots(c.o.MaxConns)
	}
}

// Drop forgets the packets of a connection that ended and is not to be in the
// report. The chart of the traffic keeps them: it shows the whole capture.
func (c *Collector) Drop(stream uint32) {
	if slot, ok := c.index[stream]; ok {
		c.drop(slot)
	}
}

// slot finds the slot of a stream, or takes a free one.
func (c *Collector) slot(stream uint32) int32 {
	r := &c.recent[stream%recentSlots]
	if r.slot != 0 && r.stream == stream {
		return r.slot
	}
	slot, ok := c.index[stream]
	if !ok {
		if n := len(c.free); n > 0 {
			slot, c.free = c.free[n-1], c.free[:n-1]
		} else {
			slot = int32(len(c.plots))
			c.plots = append(c.plots, plot{})
		}
		c.plots[slot] = plot{stream: stream, inUse: true}
		c.index[stream] = slot
	}
	*r = recentSlot{stream, slot}
	return slot
}

// drop frees a slot.
func (c *Collector) drop(slot int32) {
	pl := &c.plots[slot]
	c.used -= pl.memory()
	if pl.ended {
		c.ended--
	}
	delete(c.index, pl.stream)
	if r := &c.recent[pl.stream%recentSlots]; r.slot == slot {
		*r = recentSlot{}
	}
	*pl = plot{}
	c.free = append(c.free, slot)
}

// prunePlots drops all but the n most interesting plots of ended connections.
func (c *Collector) prunePlots(n int) {
	slots := make([]int32, 0, c.ended)
	in := make([]interest, 0, c.ended)
	for i := range c.plots {
		if c.plots[i].ended {
			slots, in = append(slots, int32(i)), append(in, c.plots[i].interest)
		}
	}
	keep, least := choose(in, n)
	c.plotCut = least
	for i, k := range keep {
		if !k {
			c.drop(slots[i])
		}
	}
}

// pruneRows drops all but the most interesting rows.
func (c *Collector) pruneRows() {
	in := make([]interest, len(c.rows))
	for i := range c.rows {
		in[i] = c.rows[i].interest
	}
	keep, least := choose(in, c.o.MaxRows)
	c.rowCut = least
	n := 0
	for i := range c.rows {
		if keep[i] {
			c.rows[n] = c.rows[i]
			n++
		}
	}
	clear(c.rows[n:])
	c.rows = c.rows[:n]
}

// relieve brings the points well below MaxMemory: plots beyond MaxConns go
// first, then all plots get coarser, then the least interesting of the rest go.
func (c *Collector) relieve() {
	goal := c.o.MaxMemory / 4 * 3
	for c.used > goal {
		var slots []int32
		var in []interest
		for i := range c.plots {
			if pl := &c.plots[i]; pl.inUse && len(pl.points) > 0 {
				slots, in = append(slots, int32(i)), append(in, pl.interest)
			}
		}
		if len(slots) == 0 {
			return
		}
		if len(slots) <= c.o.MaxConns && c.limit > leastPoints {
			c.limit = max(c.limit/2, leastPoints)
			for _, s := range slots {
				pl := &c.plots[s]
				c.used -= pl.memory()
				pl.shrink(c.limit)
				c.used += pl.memory()
			}
			continue
		}
		n := len(slots) / 2
		if len(slots) > c.o.MaxConns {
			n = max(n, c.o.MaxConns)
		}
		keep, _ := choose(in, n)
		for i, k := range keep {
			switch s := slots[i]; {
			case k:
			case c.plots[s].ended:
				c.drop(s)
			default:
				c.mute(s)
			}
		}
	}
}

// mute forgets the points of a connection that goes on. It is heard again when
// it has become much more interesting than it was.
func (c *Collector) mute(slot int32) {
	pl := &c.plots[slot]
	c.used -= pl.memory()
	pl.points, pl.sacks = nil, nil
	pl.muted, pl.wakeAt = true, max(4*pl.packets, leastPoints)
}

// chosen returns the slots to plot, in the order of their streams.
func (c *Collector) chosen() []int32 {
	var slots []int32
	var in []interest
	for i := range c.plots {
		if pl := &c.plots[i]; pl.ended {
			slots, in = append(slots, int32(i)), append(in, pl.interest)
		}
	}
	keep, _ := choose(in, c.o.MaxConns)
	n := 0
	for i, s := range slots {
		if keep[i] {
			slots[n] = s
			n++
		}
	}
	slots = slots[:n]
	slices.SortFunc(slots, func(a, b int32) int {
		return cmp.Compare(c.plots[a].stream, c.plots[b].stream)
	})
	return slots
}
