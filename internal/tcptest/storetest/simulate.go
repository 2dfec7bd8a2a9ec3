package storetest

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Simulate lives through a time on a host and returns what a store.Builder makes
// of it, with peaks, in batches. The observation ends at the end and, with
// restart, once in between.
func Simulate(seed uint64, begin time.Time, length time.Duration, restart bool) []store.Batch {
	const step = 5 * time.Second
	s := simulation{rng: rand.New(rand.NewPCG(seed, 3)), now: begin.UnixNano(), ids: tcp.NewIDs("simulated")}
	var out []store.Batch
	take := func() {
		var b store.Batch
		if s.builder.Take(&b) {
			out = append(out, b)
		}
	}
	watch := func(epoch uint64) {
		cfg := store.DefaultBuilderConfig()
		cfg.Agent, cfg.Host, cfg.BootID, cfg.Epoch, cfg.Lead = "sim", "a", "boot", epoch, step
		s.builder = store.NewBuilder(cfg)
	}
	watch(1)
	s.builder.Start(s.snapshot(), nil, 0)
	end := begin.Add(length).UnixNano()
	half := begin.UnixNano() + int64(length)*3/5
	for s.now < end {
		if restart && s.now >= half {
			restart = false
			s.builder.Stop(s.snapshot())
			take()
			last, alive := s.baselines(out), s.now
			s.step(400 * time.Second)
			watch(2)
			s.builder.Start(s.snapshot(), last, alive)
		}
		for _, ev := range s.step(step) {
			s.builder.Event(&ev)
		}
		s.builder.Snapshot(s.snapshot())
		if s.rng.IntN(300) == 0 {
			take()
		}
	}
	s.builder.Stop(s.snapshot())
	take()
	return out
}

type simulation struct {
	rng     *rand.Rand
	now     int64
	seq     uint64
	ids     tcp.IDs
	opened  uint64
	live    []*tcp.Conn
	ends    []int64
	builder *store.Builder
}

func (s *simulation) snapshot() *tcp.Snapshot {
	snap := &tcp.Snapshot{Seq: s.seq, Time: stamp(s.now)}
	for _, c := range s.live {
		x := *c
		x.Updated = snap.Time
		snap.Conns = append(snap.Conns, &x)
	}
	return snap
}

func stamp(wall int64) tcp.Stamp { return tcp.Stamp{Wall: wall, Boot: wall - 1<<60} }

// step opens and closes connections; its events are in their order.
func (s *simulation) step(d time.Duration) (events []tcp.Event) {
	until := s.now + int64(d)
	emit := func(t tcp.EventType, at int64, c *tcp.Conn) {
		x := *c
		x.Updated = stamp(at)
		events = append(events, tcp.Event{Time: stamp(at), Type: t, Conn: &x})
	}
	for range s.rng.IntN(8) / 5 {
		s.opened++
		at := s.now + s.rng.Int64N(int64(d))
		c := &tcp.Conn{
			Cookie: s.opened, ID: s.ids.Socket(1, s.opened), State: tcp.Established, Opened: stamp(at), OpenedExact: true,
			Direction: tcp.Direction(1 + s.opened%2), Has: allMetrics, Source: tcp.SourceEBPF, Complete: true,
			Process: &tcp.Process{ProcessID: tcp.ProcessID{PID: int32(1 + s.opened%3)}, Name: []string{"nginx", "curl", "sshd"}[s.opened%3]},
			Names:   &tcp.Names{Service: []string{"web", "ssh", "", "db"}[s.rng.IntN(4)]},
		}
		c.Local, c.Remote = tcp.AddrFrom4([4]byte{10, 0, 0, 1}), tcp.AddrFrom4([4]byte{192, 0, 2, byte(s.opened)})
		c.LocalPort, c.RemotePort = 443, uint16(20000+s.opened%40000)
		c.Metrics.RTT, c.Handshake = uint32(1+s.rng.IntN(90000)), uint32(1+s.rng.IntN(90000))
		life := []int64{s.rng.Int64N(int64(time.Second)), s.rng.Int64N(30 * store.Minute / 10), s.rng.Int64N(store.Hour)}[min(s.rng.IntN(12), 2)%3]
		s.live, s.ends = append(s.live, c), append(s.ends, at+life)
		emit(tcp.EventOpened, at, c)
	}
	for i, c := range slices.Backward(s.live) {
		if s.rng.IntN(3) == 0 {
			c.Metrics.BytesSent += uint64(s.rng.IntN(100000))
			c.Metrics.BytesReceived += uint64(s.rng.IntN(10000))
			c.Metrics.SegmentsSent += uint32(1 + s.rng.IntN(100))
			c.Metrics.SegmentsReceived++
			c.Metrics.Retransmits += uint32(s.rng.IntN(20) / 19)
		}
		c.Metrics.SegmentsSent++ // so that something is counted of each
		if s.ends[i] >= until {
			continue
		}
		c.Closed, c.State, c.Reason = stamp(s.ends[i]), tcp.Closed, tcp.CloseFIN
		emit(tcp.EventClosed, s.ends[i], c)
		s.live, s.ends = slices.Delete(s.live, i, i+1), slices.Delete(s.ends, i, i+1)
	}
	slices.SortStableFunc(events, func(a, b tcp.Event) int {
		return cmp.Or(cmp.Compare(a.Time.Wall, b.Time.Wall), cmp.Compare(a.Type, b.Type))
	})
	for i := range events {
		s.seq++
		events[i].Seq = s.seq
	}
	s.now = until
	return events
}

// baselines are the last rows of the connections that have no end.
func (s *simulation) baselines(bs []store.Batch) []store.Record {
	last := make(map[tcp.ID]store.Record)
	for i := range bs {
		for _, r := range bs[i].Records {
			if last[r.Conn.ID] = r; r.Kind == store.Close {
				delete(last, r.Conn.ID)
			}
		}
	}
	var out []store.Record
	for _, r := range last {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b store.Record) int { return int(int64(a.Conn.Cookie) - int64(b.Conn.Cookie)) })
	return out
}
