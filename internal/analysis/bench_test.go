package analysis

import (
	"encoding/binary"
	"runtime"
	"strconv"
	"testing"

	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// traffic makes the segments of many connections, interleaved: a handshake, data
// with an acknowledgement for each two segments, and FINs. It is called again
// and again for the next segment.
type traffic struct {
	conns, rounds, spread int
	// open is a window of connections that are alive at a time.
	from, at, step int
	now            int64
	seg            capture.Segment
}

const trafficMSS = 1448

// steps of a connection: SYN, SYN-ACK, ACK, rounds of two data segments and an
// ACK, FIN, FIN-ACK, ACK.
func (tr *traffic) steps() int { return 6 + 3*tr.rounds }

// next returns the next segment; false when all connections are over.
func (tr *traffic) next() (*capture.Segment, bool) {
	if tr.at >= min(tr.from+tr.spread, tr.conns) {
		tr.at = tr.from
		if tr.step++; tr.step >= tr.steps() {
			tr.step = 0
			tr.from += tr.spread
			tr.at = tr.from
			if tr.from >= tr.conns {
				return nil, false
			}
		}
	}
	tr.fill(tr.at, tr.step)
	tr.at++
	tr.now += 1000
	return &tr.seg, true
}

func (tr *traffic) fill(conn, step int) {
	var client [4]byte
	binary.BigEndian.PutUint32(client[:], 0x0a000000+uint32(conn>>12))
	t := tcp.Tuple{
		Local: tcp.AddrFrom4(client), Remote: tcp.AddrFrom4([4]byte{192, 0, 2, 1}),
		LocalPort: 10_000 + uint16(conn&0xfff), RemotePort: 443,
	}
	s := &tr.seg
	*s = capture.Segment{
		Time: tr.now, WireLen: 66, CapLen: 66, Tuple: t, Window: 500, HeaderLen: 32, Flags: capture.ACK,
		Opts: capture.OptTimestamps, TSVal: uint32(tr.now / 1e6), Info: capture.HasIPID, IPID: uint32(step + 1),
		Seq: 1001, Ack: 5001,
	}
	back := func() {
		s.Tuple = t.Reverse()
		s.Seq, s.Ack = s.Ack, s.Seq
	}
	data := uint32(tr.rounds) * 2 * trafficMSS
	switch last := tr.steps() - 3; step {
	case 0:
		s.Flags, s.Seq, s.Ack, s.Opts, s.WScale, s.MSS = capture.SYN, 1000, 0, s.Opts|capture.OptWScale|capture.OptMSS, 7, 1460
	case 1:
		s.Ack, s.Seq = 5000, 1001
		back()
		s.Flags, s.Opts, s.WScale, s.MSS = capture.SYN|capture.ACK, s.Opts|capture.OptWScale|capture.OptMSS, 7, 1460
	case 2:
	case last:
		s.Seq += data
		s.Flags |= capture.FIN
	case last + 1:
		s.Seq += data + 1
		back()
		s.Flags |= capture.FIN
	case last + 2:
		s.Seq += data + 1
		s.Ack++
	default:
		round, part := uint32(step-3)/3, (step-3)%3
		s.Seq += (2*round + uint32(part)) * trafficMSS
		if part == 2 {
			back()
		} else {
			s.Len, s.WireLen = trafficMSS, 66+trafficMSS
		}
	}
}

// BenchmarkAdd is the cost of a segment, with few and with many connections
// alive at a time.
func BenchmarkAdd(b *testing.B) {
	for _, spread := range []int{1, 100, 10_000, 90_000} {
		b.Run(strconv.Itoa(spread), func(b *testing.B) {
			b.ReportAllocs()
			cfg := DefaultConfig()
			cfg.MaxConns = 2 * spread
			a := New(cfg)
			tr := traffic{conns: 1 << 30, rounds: 6, spread: spread}
			// The tables grow to their size before the clock counts.
			var p Packet
			for range 2 * spread * tr.steps() {
				s, _ := tr.next()
				a.Add(s, &p)
			}
			for b.Loop() {
				s, _ := tr.next()
				a.Add(s, &p)
			}
		})
	}
}

// BenchmarkTraffic is what of BenchmarkAdd is the making of segments.
func BenchmarkTraffic(b *testing.B) {
	tr := traffic{conns: 1 << 30, rounds: 6, spread: 10_000}
	for b.Loop() {
		tr.next()
	}
}

// BenchmarkConns is the memory of 90,000 connections.
func BenchmarkConns(b *testing.B) {
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		a := New(DefaultConfig())
		tr := traffic{conns: 90_000, rounds: 6, spread: 1000}
		var p Packet
		for {
			s, ok := tr.next()
			if !ok {
				break
			}
			a.Add(s, &p)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/90_000, "B/conn")
		runtime.KeepAlive(a)
	}
}
