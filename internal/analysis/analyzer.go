package analysis

import (
	"cmp"
	"math/rand/v2"
	"reflect"
	"slices"
	"time"

	"github.com/viewtcp/viewtcp/internal/capture"
)

// Config bounds an Analyzer and says whose definitions to follow.
type Config struct {
	// MaxConns is how many connections are kept at a time, of those that are
	// proven: seen from both ends, and more than an attempt.
	MaxConns int
	// MaxHalfOpen is how many others are kept. They have a cap of their own, so
	// that a SYN flood or a scan evicts nothing but itself.
	MaxHalfOpen int
	// MaxUnacked bounds the unacknowledged segments kept of one side; Wireshark
	// keeps 10,000.
	MaxUnacked int
	// MaxHoles bounds the gaps in sequence space kept of one side.
	MaxHoles int
	// Memory bounds all tables together, bytes.
	Memory int64

	// HalfOpenTimeout, IdleTimeout and ClosedTimeout end connections of which
	// nothing was seen for so long, in the time of the packets: unproven ones,
	// proven ones, and those closed by both ends or reset. They are looked for
	// now and then, so that a connection may live an eighth longer. 0 is never:
	// later segments of an ended connection begin a new stream.
	HalfOpenTimeout, IdleTimeout, ClosedTimeout time.Duration

	// Wireshark40 follows Wireshark 4.0 where it differs from 4.4.
	Wireshark40 bool

	// OnEnd, if not nil, is called with each connection that the analyzer lets
	// go of; Conn.End says why. The Conn is not valid afterwards.
	OnEnd func(*Conn)
}

// DefaultConfig suits the analysis of files: long timeouts, so that streams are
// those of tshark, and 1 GiB at the most.
func DefaultConfig() Config {
	return Config{
		MaxConns:        1 << 20,
		MaxHalfOpen:     1 << 16,
		MaxUnacked:      10_000,
		MaxHoles:        256,
		Memory:          1 << 30,
		HalfOpenTimeout: time.Hour,
		IdleTimeout:     24 * time.Hour,
		ClosedTimeout:   24 * time.Hour,
	}
}

// Stats counts what passed through an Analyzer. Segments is the sum of
// Sides[].Packets of all connections, ended ones included, and of ICMP.
type Stats struct {
	// Segments is the calls of Add; ICMP those of them quoted in ICMP errors.
	Segments, ICMP uint64
	// Streams is how many connections were begun.
	Streams uint64
	// Conns and HalfOpen are kept now: proven ones, closed ones included, and
	// others.
	Conns, HalfOpen int
	// Ended counts the connections let go of, by EndReason.
	Ended [len(endNames)]uint64
	// EvictedHalfOpen is how many of Ended[EndEvicted] were unproven.
	EvictedHalfOpen uint64
	// DroppedUnacked, DroppedHoles and DroppedRTTs count what was not kept
	// because a bound was reached: flags, verdicts and percentiles may be less
	// exact then. DroppedNames counts the connections whose names were not read
	// or kept for the same reason.
	DroppedUnacked, DroppedHoles, DroppedRTTs, DroppedNames uint64
}

// Analyzer turns segments into connections. It must not be used by two
// goroutines at a time.
type Analyzer struct {
	cfg    Config
	stats  Stats
	table  table
	conns  pool[Conn]
	lists  [numLists]list
	nodes  pool[unacked]
	holes  pool[hole]
	sacks  pool[sackBlocks]
	pages  pool[rttPage]
	rares  pool[Rare]
	noRare Rare
	recent recent
	naming naming
	// histories keeps one text of each history seen.
	histories map[string]string

	now       int64 // the latest time of any segment
	sweepAt   int64
	sweepStep int64
	last      uint32 // the connection of the previous segment, 0 is none
}

// New returns an Analyzer. Bounds of 0 mean those of DefaultConfig.
func New(cfg Config) *Analyzer {
	d := DefaultConfig()
	fallback := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	fallback(&cfg.MaxConns, d.MaxConns)
	fallback(&cfg.MaxHalfOpen, d.MaxHalfOpen)
	fallback(&cfg.MaxUnacked, d.MaxUnacked)
	fallback(&cfg.MaxHoles, d.MaxHoles)
	if cfg.Memory <= 0 {
		cfg.Memory = d.Memory
	}
	// Connections come first; what hangs on them shares the rest.
	share := func(percent, size int64) uint32 {
		return uint32(min(max(cfg.Memory/100*percent/size, poolChunk), 1<<31))
	}
	a := &Analyzer{cfg: cfg}
	each := reflect.TypeFor[Conn]().Size() + 2*reflect.TypeFor[slot]().Size() + 2*reflect.TypeFor[Rare]().Size()
	most := min(share(70, int64(each)), uint32(cfg.MaxConns+cfg.MaxHalfOpen))
	a.conns, a.rares = newPool[Conn](most), newPool[Rare](2*most)
	a.nodes = newPool[unacked](share(15, int64(reflect.TypeFor[unacked]().Size())))
	a.sacks = newPool[sackBlocks](share(2, int64(reflect.TypeFor[sackBlocks]().Size())))
	a.holes = newPool[hole](share(5, int64(reflect.TypeFor[hole]().Size())))
	a.pages = newPool[rttPage](share(8, int64(reflect.TypeFor[rttPage]().Size())))
	a.table.init([2]uint64{rand.Uint64(), rand.Uint64()})
	a.recent.init(a.table.seed[0])
	a.naming.init()
	a.histories = make(map[string]string)
	for _, d := range [...]time.Duration{cfg.HalfOpenTimeout, cfg.IdleTimeout, cfg.ClosedTimeout} {
		if d > 0 && (a.sweepStep == 0 || int64(d)/8 < a.sweepStep) {
			a.sweepStep = max(int64(d)/8, 1)
		}
	}
	return a
}

// Stats returns the counters.
func (a *Analyzer) Stats() Stats {
	s := a.stats
	s.HalfOpen = a.lists[listHalfOpen].n
	s.Conns = a.lists[listOpen].n + a.lists[listClosed].n
	return s
}

// Conns returns the connections that are kept, in the order of their streams.
// They are valid until the next call of Add or Flush.
func (a *Analyzer) Conns() []*Conn {
	refs := make([]*Conn, 0, a.conns.used)
	for l := range a.lists {
		for i := a.lists[l].head; i != 0; {
			c := a.conns.at(i)
			refs = append(refs, c)
			i = c.place.next
		}
	}
	slices.SortFunc(refs, func(x, y *Conn) int { return cmp.Compare(x.Stream, y.Stream) })
	return refs
}

// Flush ends all connections, in the order of their streams, and leaves an
// empty Analyzer that counts on.
func (a *Analyzer) Flush() {
	for _, c := range a.Conns() {
		a.end(c.place.self, EndFlushed)
	}
}

// Add takes the next segment, in the order of the capture, and fills p.
func (a *Analyzer) Add(s *capture.Segment, p *Packet) {
	a.stats.Segments++
	if s.Time > a.now {
		a.now = s.Time
		if a.sweepStep != 0 && a.now >= a.sweepAt {
			a.sweep()
		}
	}
	*p = Packet{}
	streams := a.stats.Streams
	ref, dir := a.stream(s, p)
	a.last = ref
	c := a.conns.at(ref)
	p.Conn, p.Stream, p.Initiator = c, c.Stream, dir == 0
	if s.Info&capture.InICMP != 0 {
		a.stats.ICMP++
		c.ICMP++
		a.progress(c, s, a.stats.Streams != streams)
		return
	}
	fwd, rev := &c.Sides[dir], &c.Sides[dir^1]
	if c.Last != 0 {
		p.TimeSincePrevious = time.Duration(s.Time - c.Last)
	}
	rebase(fwd, rev, s)
	a.judge(c, dir, s, p)
	switch {
	case s.Info&capture.BadLength != 0:
		p.Flags = 0 // nothing of it can be trusted
	case s.Info&capture.Fragment != 0:
		fwd.w.fragment(s)
	default:
		a.sequence(c, dir, s, p)
	}
	a.progress(c, s, a.stats.Streams != streams)
	a.options(c, dir, s, p)
	if len(s.Payload) > 0 {
		a.read(ref, c, dir, s)
	}
	p.RelSeq, p.RelAck = s.Seq-fwd.w.base, s.Ack-rev.w.base
	c.zeek(dir, s, p)
	c.transition(dir, s)
	a.count(c, dir, s, p)
	a.settle(ref, c, dir, s)
}
