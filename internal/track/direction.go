package track

import "github.com/viewtcp/viewtcp/internal/tcp"

// listener is an address that a LISTEN socket answers on.
type listener struct {
	netns uint32
	addr  tcp.Addr
	port  uint16
}

var (
	any4 = tcp.AddrFrom4([4]byte{})
	any6 = tcp.Addr{}
)

func (t *Tracker) listening(netns uint32, addr tcp.Addr, port uint16) bool {
	return t.listeners[listener{netns, addr, port}] > 0 ||
		t.listeners[listener{netns, any6, port}] > 0 ||
		(addr.Is4() && t.listeners[listener{netns, any4, port}] > 0)
}

// infer finds which end opened a connection when its source did not see it: a
// port that is being listened on was connected to; an automatic port connected.
// Anything else stays unknown.
func (t *Tracker) infer(c *tcp.Conn) tcp.Direction {
	switch {
	case t.listening(c.NetNS, c.Local, c.LocalPort):
		return tcp.Inbound
	case c.State == tcp.SynSent:
		return tcp.Outbound
	case c.PeerID != 0 && t.listening(c.NetNS, c.Remote, c.RemotePort):
		return tcp.Outbound
	case t.ephemeral(c.LocalPort) && !t.ephemeral(c.RemotePort):
		return tcp.Outbound
	}
	return tcp.DirectionUnknown
}

func (t *Tracker) ephemeral(port uint16) bool {
	return t.cfg.EphemeralHigh != 0 && port >= t.cfg.EphemeralLow && port <= t.cfg.EphemeralHigh
}
