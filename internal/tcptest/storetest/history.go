package storetest

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// History makes the rows of n connections that are as awkward as rows can be:
// they begin before and end after days and buckets, on their very edges and at
// the same moments as others, last for no time or for days, are still open, were
// open before anybody looked, change their process, and lack values. The rows are
// in the order in which they would be stored.
func History(seed uint64, n int, begin time.Time, length time.Duration) []store.Record {
	h := history{rng: rand.New(rand.NewPCG(seed, 7)), begin: begin.UnixNano(), length: int64(length)}
	var out []store.Record
	for i := range n {
		out = append(out, h.conn(tcp.ID(h.rng.Uint64()|1), i)...)
	}
	slices.SortStableFunc(out, func(a, b store.Record) int { return cmp.Compare(a.Time, b.Time) })
	return out
}

type history struct {
	rng           *rand.Rand
	begin, length int64
}

// moment is a time of the history, often a round one.
func (h *history) moment() int64 {
	t := h.begin + h.rng.Int64N(h.length)
	switch h.rng.IntN(6) {
	case 0:
		return t - t%store.Hour
	case 1:
		return t - t%store.Minute
	default:
		return t - t%1000 // microseconds, as far as durations go
	}
}

func (h *history) span() int64 {
	switch h.rng.IntN(8) {
	case 0:
		return 0
	case 1:
		return h.rng.Int64N(h.length)
	case 2:
		return h.rng.Int64N(26 * store.Hour)
	case 3:
		return store.Minute * h.rng.Int64N(100)
	default:
		return h.rng.Int64N(5 * store.Minute)
	}
}

func (h *history) process(i int) *tcp.Process {
	if i == 0 {
		return nil
	}
	return &tcp.Process{
		ProcessID: tcp.ProcessID{PID: int32(100 + i)}, Name: []string{"", "nginx", "curl", "my app"}[i],
		Exe: "/opt/" + []string{"", "nginx", "curl", "app"}[i], User: []string{"", "root", "", "www"}[i],
	}
}

// conn makes all rows of one connection.
func (h *history) conn(id tcp.ID, i int) []store.Record {
	rng := h.rng
	c := tcp.Conn{ID: id, Direction: tcp.Direction(rng.IntN(3)), Source: tcp.SourceEBPF, State: tcp.Established, Complete: rng.IntN(2) == 0}
	c.Local, c.LocalPort = tcp.AddrFrom4([4]byte{10, 0, 0, byte(rng.IntN(3))}), []uint16{443, 80, 22, 8000}[rng.IntN(4)]
	c.Remote, c.RemotePort = tcp.AddrFrom4([4]byte{192, 0, 2, byte(rng.IntN(40))}), uint16(30000+rng.IntN(4))
	if rng.IntN(4) == 0 {
		c.Local, c.Remote = tcp.Addr{0x20, 1, 0xd, 0xb8, 15: 1}, tcp.Addr{0x20, 1, 0xd, 0xb8, 15: byte(rng.IntN(5))}
		c.IPv6 = true
	}
	c.Process = h.process(rng.IntN(4))
	if rng.IntN(5) > 0 {
		c.Names = &tcp.Names{
			Service: []string{"", "web", "ssh", "web-2"}[rng.IntN(4)], Country: []string{"", "DE", "FR"}[rng.IntN(3)],
			ASN: uint32(rng.IntN(3)) * 13335, SNI: []string{"", "www.example.com"}[rng.IntN(2)],
		}
	}
	for b := tcp.Has(1); b != 0; b <<= 1 {
		if rng.IntN(4) > 0 {
			c.Has |= b & allMetrics
		}
	}
	c.UID, c.Cookie, c.Handshake = uint32(rng.IntN(3)), uint64(i), uint32(rng.IntN(50000))
	c.Metrics.CC = tcp.MakeCC([]string{"cubic", "bbr"}[rng.IntN(2)])
	host := []string{"a", "a", "b"}[rng.IntN(3)]
	start := h.moment()
	end := start + h.span()
	row := func(kind store.RecordKind, at, since int64, base *store.Counters) store.Record {
		r := store.Record{Kind: kind, Time: at, Since: since, Host: host, BootID: "boot"}
		x := c
		x.Updated = tcp.Stamp{Wall: at, Boot: 1 + at - h.begin + 1<<50}
		if kind == store.Close {
			x.Closed, x.State = x.Updated, tcp.Closed
			x.Reason, x.ClosedBy = tcp.CloseReason(1+rng.IntN(4)), tcp.Side(rng.IntN(3))
		}
		r.Conn = &x
		if since != 0 {
			n := store.CountersOf(&x)
			d := n.Since(base)
			r.Deltas = &d
		}
		return r
	}
	since := int64(0)
	if rng.IntN(5) > 0 {
		c.Opened, c.OpenedExact = tcp.Stamp{Wall: start, Boot: 1 + start - h.begin + 1<<50}, true
	} else {
		since = start // it was open before anybody looked
	}
	grow := func() {
		m := &c.Metrics
		m.BytesSent += uint64(rng.IntN(100000))
		m.BytesReceived += uint64(rng.IntN(3)) * 1000
		m.SegmentsSent += uint32(rng.IntN(100))
		m.SegmentsReceived += uint32(rng.IntN(100))
		m.Retransmits += uint32(rng.IntN(2) * rng.IntN(3))
		m.BytesRetransmitted = uint64(m.Retransmits) * 100
		m.RTT, m.RTTVar, m.MinRTT = uint32(rng.IntN(1000))*100, 7, 50
		m.CWND, m.SndWnd, m.DeliveryRate = uint32(10+rng.IntN(5)), uint32(rng.IntN(1<<17)), rng.Uint64()>>40
		m.Busy = uint64(rng.IntN(1000))
	}
	var out []store.Record
	base := store.Counters{}
	at := start
	for rows := rng.IntN(4) * rng.IntN(4); rows > 0 && end > at; rows-- {
		at += rng.Int64N(end - at)
		if since != 0 && at <= since || at <= start {
			at = max(since, start) + 1000
		}
		if at >= end {
			break
		}
		grow()
		if rng.IntN(20) == 0 {
			c.Process = h.process(rng.IntN(4)) // it called exec
		}
		out = append(out, row(store.Snapshot, at, since, &base))
		base, since = store.CountersOf(&c), at
	}
	if rng.IntN(6) == 0 && len(out) > 0 {
		return out // still open
	}
	grow()
	return append(out, row(store.Close, max(end, at), since, &base))
}
