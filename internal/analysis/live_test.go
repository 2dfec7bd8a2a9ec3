package analysis

import (
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// loopbackPair is a handshake, a request and a reset between two ends of one
// address.
func loopbackPair(a *Analyzer, first int64) {
	me := tcp.AddrFrom4([4]byte{127, 0, 0, 1})
	out := tcp.Tuple{Local: me, Remote: me, LocalPort: 40000, RemotePort: 80}
	var p Packet
	send := func(t tcp.Tuple, f capture.Flags, seq, ack, length uint32) {
		first += int64(time.Millisecond)
		a.Add(&capture.Segment{Time: first, Tuple: t, Flags: f, Seq: seq, Ack: ack, Len: length, WireLen: 54 + length, Window: 1000, HeaderLen: 20}, &p)
	}
	send(out, capture.SYN, 100, 0, 0)
	send(out.Reverse(), capture.SYN|capture.ACK, 500, 101, 0)
	send(out, capture.ACK, 101, 501, 0)
	send(out, capture.ACK, 101, 501, 30)
	send(out.Reverse(), capture.RST|capture.ACK, 501, 131, 0)
}

// TestAdvance: in a quiet capture connections end by the clock.
func TestAdvance(t *testing.T) {
	var ended []EndReason
	cfg := DefaultConfig()
	cfg.ClosedTimeout = 2 * time.Second
	cfg.OnEnd = func(c *Conn) { ended = append(ended, c.End) }
	a := New(cfg)
	start := int64(1_700_000_000e9)
	loopbackPair(a, start)
	a.Advance(start) // a clock that lags behind changes nothing
	a.Advance(start + int64(time.Second))
	if len(ended) > 0 {
		t.Fatalf("ended after a second: %v", ended)
	}
	a.Advance(start + int64(3*time.Second))
	if len(ended) != 1 || ended[0] != EndExpired {
		t.Errorf("after three seconds: %v", ended)
	}
}

// TestFillEnd: each end of a connection inside one host sees it its own way,
// though both have the same address.
func TestFillEnd(t *testing.T) {
	a := New(DefaultConfig())
	loopbackPair(a, 1_700_000_000e9)
	c := a.Conns()[0]
	var rows [2]tcp.Conn
	for at := range rows {
		a.FillEnd(c, at, tcp.NewIDs("x"), &rows[at])
	}
	client, server := &rows[0], &rows[1]
	if client.LocalPort != 40000 || server.LocalPort != 80 || client.Direction != tcp.Outbound || server.Direction != tcp.Inbound {
		t.Errorf("ends %d %s, %d %s", client.LocalPort, client.Direction, server.LocalPort, server.Direction)
	}
	if client.Metrics.BytesSent != 30 || server.Metrics.BytesReceived != 30 || client.Packets.Packets != [2]uint64{3, 2} || server.Packets.Packets != [2]uint64{2, 3} {
		t.Errorf("client %+v %v, server %+v %v", client.Metrics, client.Packets.Packets, server.Metrics, server.Packets.Packets)
	}
	if client.Reason != tcp.CloseRSTReceived || server.Reason != tcp.CloseRSTSent {
		t.Errorf("reasons %s, %s", client.Reason, server.Reason)
	}
}
