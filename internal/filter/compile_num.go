package filter

import (
	"math"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// number makes a test of a field that is a number: whether it is known and in r,
// or, with neg, known and not in r. A getter of the registry is two calls through
// pointers; the usual fields are read directly instead, which a test holds
// against their getters.
func number(f *tcp.Field, r numRange, neg bool) predicate {
	if direct := directNumber(f.Name, r.lo, r.n, neg); direct != nil {
		return direct
	}
	get := f.Num
	return func(c *tcp.Conn) bool {
		v, ok := get(c)
		return ok && r.has(v) != neg
	}
}

// directNumber returns the test for the fields it knows, else nil. v-lo <= n is
// one comparison for both ends of a range, for unsigned numbers wrap around.
func directNumber(name string, lo, n uint64, neg bool) predicate {
	switch name {
	case "local_port":
		return compilePort(Ref{End: EndSrc, Port: true}, []numRange{{lo, n}}, negOp(neg))
	case "remote_port":
		return compilePort(Ref{End: EndDst, Port: true}, []numRange{{lo, n}}, negOp(neg))
	case "pid":
		return func(c *tcp.Conn) bool {
			return c.Process != nil && c.Process.PID != 0 && (uint64(c.Process.PID)-lo <= n) != neg
		}
	case "uid":
		return func(c *tcp.Conn) bool { return c.Has&tcp.HasUID != 0 && (uint64(c.UID)-lo <= n) != neg }
	case "netns":
		return func(c *tcp.Conn) bool { return c.NetNS != 0 && (uint64(c.NetNS)-lo <= n) != neg }
	case "bytes_sent":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasBytesSent != 0 && (c.Metrics.BytesSent-lo <= n) != neg
		}
	case "bytes_received":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasBytesReceived != 0 && (c.Metrics.BytesReceived-lo <= n) != neg
		}
	case "bytes_missed":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasBytesMissed != 0 && (c.Metrics.BytesMissed-lo <= n) != neg
		}
	case "segments_sent":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasSegmentsSent != 0 && (uint64(c.Metrics.SegmentsSent)-lo <= n) != neg
		}
	case "segments_received":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasSegmentsReceived != 0 && (uint64(c.Metrics.SegmentsReceived)-lo <= n) != neg
		}
	case "send_rate":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasSendRate != 0 && (c.Metrics.SendRate-lo <= n) != neg
		}
	case "receive_rate":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasReceiveRate != 0 && (c.Metrics.ReceiveRate-lo <= n) != neg
		}
	case "send_queue":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasSendQueue != 0 && (uint64(c.Metrics.SendQueue)-lo <= n) != neg
		}
	case "recv_queue":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasRecvQueue != 0 && (uint64(c.Metrics.RecvQueue)-lo <= n) != neg
		}
	case "notsent":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasNotSent != 0 && (uint64(c.Metrics.NotSent)-lo <= n) != neg
		}
	case "unacked":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasUnacked != 0 && (uint64(c.Metrics.Unacked)-lo <= n) != neg
		}
	case "accept_queue":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasAcceptQueue != 0 && (uint64(c.Metrics.AcceptQueue)-lo <= n) != neg
		}
	case "backlog":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasBacklog != 0 && (uint64(c.Metrics.Backlog)-lo <= n) != neg
		}
	case "rtt_us":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasRTT != 0 && (uint64(c.Metrics.RTT)-lo <= n) != neg
		}
	case "rttvar_us":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasRTT != 0 && (uint64(c.Metrics.RTTVar)-lo <= n) != neg
		}
	case "min_rtt_us":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasMinRTT != 0 && (uint64(c.Metrics.MinRTT)-lo <= n) != neg
		}
	case "rto_us":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasRTO != 0 && (uint64(c.Metrics.RTO)-lo <= n) != neg
		}
	case "mss":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasMSS != 0 && (uint64(c.Metrics.MSS)-lo <= n) != neg
		}
	case "pmtu":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasPMTU != 0 && (uint64(c.Metrics.PMTU)-lo <= n) != neg
		}
	case "retransmits":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasRetransmits != 0 && (uint64(c.Metrics.Retransmits)-lo <= n) != neg
		}
	case "bytes_retransmitted":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasBytesRetransmitted != 0 && (c.Metrics.BytesRetransmitted-lo <= n) != neg
		}
	case "lost":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasLost != 0 && (uint64(c.Metrics.Lost)-lo <= n) != neg
		}
	case "reordering":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasReordering != 0 && (uint64(c.Metrics.Reordering)-lo <= n) != neg
		}
	case "dsack_dups":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasDSACKDups != 0 && (uint64(c.Metrics.DSACKDups)-lo <= n) != neg
		}
	case "ooo_received":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasOOOReceived != 0 && (uint64(c.Metrics.OOOReceived)-lo <= n) != neg
		}
	case "ecn_ce":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasECNCE != 0 && (uint64(c.Metrics.ECNCE)-lo <= n) != neg
		}
	case "cwnd":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasCWND != 0 && (uint64(c.Metrics.CWND)-lo <= n) != neg
		}
	case "ssthresh":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasSSThresh != 0 && (uint64(c.Metrics.SSThresh)-lo <= n) != neg
		}
	case "snd_wnd":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasSndWnd != 0 && (uint64(c.Metrics.SndWnd)-lo <= n) != neg
		}
	case "rcv_wnd":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasRcvWnd != 0 && (uint64(c.Metrics.RcvWnd)-lo <= n) != neg
		}
	case "delivery_rate":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasDeliveryRate != 0 && (c.Metrics.DeliveryRate-lo <= n) != neg
		}
	case "pacing_rate":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasPacingRate != 0 && (c.Metrics.PacingRate-lo <= n) != neg
		}
	case "busy_us":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasLimited != 0 && (c.Metrics.Busy-lo <= n) != neg
		}
	case "rwnd_limited_us":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasLimited != 0 && (c.Metrics.RwndLimited-lo <= n) != neg
		}
	case "sndbuf_limited_us":
		return func(c *tcp.Conn) bool {
			return c.Has&tcp.HasLimited != 0 && (c.Metrics.SndbufLimited-lo <= n) != neg
		}
	}
	return nil
}

func negOp(neg bool) Op {
	if neg {
		return Ne
	}
	return Eq
}

// compilePort makes a test of the port of an end. Port 0 is no port: it is
// unknown, and so it is taken out of the ranges. For Ne and AnyNe, ranges are
// what must not match.
func compilePort(r Ref, ranges []numRange, op Op) predicate {
	var rs []numRange
	for _, x := range ranges {
		if x.lo > math.MaxUint16 {
			continue
		}
		if x.lo == 0 {
			if x.n == 0 {
				continue
			}
			x.lo, x.n = 1, x.n-1
		}
		rs = append(rs, numRange{lo: x.lo, n: min(x.n, math.MaxUint16-x.lo)})
	}
	if len(rs) == 0 {
		rs = []numRange{noNumber}
	}
	neg := op == Ne || op == AnyNe
	if len(rs) == 1 {
		if p := onePort(r.End, uint32(min(rs[0].lo, math.MaxUint32)), uint32(rs[0].n), op); p != nil {
			return p
		}
	}
	in := portTest(rs)
	switch r.End {
	case EndSrc:
		return func(c *tcp.Conn) bool { return c.LocalPort != 0 && in(c.LocalPort) != neg }
	case EndDst:
		return func(c *tcp.Conn) bool { return c.RemotePort != 0 && in(c.RemotePort) != neg }
	case EndClient, EndServer:
		server := r.End == EndServer
		return func(c *tcp.Conn) bool {
			p := clientPort(c, server)
			return p != 0 && in(p) != neg
		}
	default:
	}
	switch op {
	case Ne, AllEq:
		// All known ports pass, and there is one.
		return func(c *tcp.Conn) bool {
			l, r := c.LocalPort, c.RemotePort
			return l|r != 0 && (l == 0 || in(l) != neg) && (r == 0 || in(r) != neg)
		}
	default:
		return func(c *tcp.Conn) bool {
			l, r := c.LocalPort, c.RemotePort
			return l != 0 && in(l) != neg || r != 0 && in(r) != neg
		}
	}
}

// onePort makes the test for the usual case of one port or one range.
func onePort(e End, lo, n uint32, op Op) predicate {
	if op == Ne || op == AnyNe || op == AllEq {
		switch {
		case e == EndSrc && op == Ne:
			return func(c *tcp.Conn) bool { return c.LocalPort != 0 && uint32(c.LocalPort)-lo > n }
		case e == EndDst && op == Ne:
			return func(c *tcp.Conn) bool { return c.RemotePort != 0 && uint32(c.RemotePort)-lo > n }
		}
		return nil
	}
	switch e {
	case EndSrc:
		return func(c *tcp.Conn) bool { return uint32(c.LocalPort)-lo <= n }
	case EndDst:
		return func(c *tcp.Conn) bool { return uint32(c.RemotePort)-lo <= n }
	case EndEither:
		return func(c *tcp.Conn) bool { return uint32(c.RemotePort)-lo <= n || uint32(c.LocalPort)-lo <= n }
	default:
		return nil
	}
}

// portTest tests for ports in sorted ranges, by a bitmap where they are many.
func portTest(rs []numRange) func(uint16) bool {
	if len(rs) == 1 {
		r := rs[0]
		return func(p uint16) bool { return uint64(p)-r.lo <= r.n }
	}
	if len(rs) <= 4 {
		return func(p uint16) bool { return inRanges(rs, uint64(p)) }
	}
	var bitmap [1 << 16 / 64]uint64
	for _, r := range rs {
		for v := r.lo; v <= r.lo+r.n && v <= math.MaxUint16; v++ {
			bitmap[v/64] |= 1 << (v % 64)
		}
	}
	return func(p uint16) bool { return bitmap[p/64]>>(p%64)&1 != 0 }
}

// localIsServer tells which end is the server; ok is false when nothing says so.
// A listener is a server without a client.
func localIsServer(c *tcp.Conn) (server, ok bool) {
	switch c.Direction {
	case tcp.Inbound, tcp.Listening:
		return true, true
	case tcp.Outbound:
		return false, true
	default:
		return false, false
	}
}

// clientPort returns the port of the client, or of the server; 0 is unknown.
func clientPort(c *tcp.Conn, server bool) uint16 {
	local, ok := localIsServer(c)
	switch {
	case !ok:
		return 0
	case local == server:
		return c.LocalPort
	default:
		return c.RemotePort
	}
}
