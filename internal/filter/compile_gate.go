package filter

import (
	"math"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// gate is the terms that nearly every filter has, on what lies side by side at
// the head of a connection, in one test: a set of states, one range for each
// port, and one IPv4 network for each address. Whatever is not asked for passes.
type gate struct {
	states        uint32
	local, remote numRange // ports
	localIP       addrRange
	remoteIP      addrRange
	// has counts the terms taken in; each part holds one.
	has                                           int
	hasState, hasLocal, hasRemote, hasLIP, hasRIP bool
}

// fuse takes what it can from the terms of an "and" into one predicate, and
// returns it with the terms left over; nil when that would not save a call.
func fuse(nodes []Node) (predicate, []Node) {
	g := gate{
		states: math.MaxUint32, local: numRange{n: math.MaxUint16}, remote: numRange{n: math.MaxUint16},
	}
	var rest []Node
	for _, n := range nodes {
		if !g.take(n) {
			rest = append(rest, n)
		}
	}
	if g.has < 2 {
		return nil, nodes
	}
	return g.predicate(), rest
}

// take adds a term to the gate, if it is of the right kind and its place free.
func (g *gate) take(n Node) bool {
	switch n := n.(type) {
	case *StateIn:
		return g.put(&g.hasState, func() { g.states = uint32(n.Set) })
	case *Compare:
		if n.Op == Ne || n.Op == AnyNe {
			return false
		}
		switch n.Ref.Kind() {
		case tcp.KindPort:
			return g.takePort(n.Ref, rangeOf(n.Op, n.Value.Num))
		case tcp.KindAddr:
			if rs := addrRanges(n); len(rs) == 1 && rs[0].v4 {
				return g.takeAddr(n.Ref, rs[0])
			}
		default:
		}
	case *In:
		if !n.Negate && len(n.Items) == 1 && n.Ref.Kind() == tcp.KindPort {
			s := n.Items[0]
			return g.takePort(n.Ref, numRange{lo: s.Lo.Num, n: s.Hi.Num - s.Lo.Num})
		}
	}
	return false
}

func (g *gate) put(taken *bool, set func()) bool {
	if *taken {
		return false
	}
	*taken = true
	g.has++
	set()
	return true
}

// side tells whether a Ref is of the local or the remote end.
func side(r Ref) (local, remote bool) {
	if r.Field != nil {
		switch r.Field.Name {
		case "local_port", "local_ip":
			return true, false
		case "remote_port", "remote_ip":
			return false, true
		default:
			return false, false
		}
	}
	return r.End == EndSrc, r.End == EndDst
}

func (g *gate) takePort(r Ref, ports numRange) bool {
	// Port 0 is unknown and in no range; nor is what is beyond the last port.
	if ports.lo > math.MaxUint16 || ports.lo+ports.n == 0 {
		return false
	}
	if ports.lo == 0 {
		ports.lo, ports.n = 1, ports.n-1
	}
	ports.n = min(ports.n, math.MaxUint16-ports.lo)
	switch local, remote := side(r); {
	case local:
		return g.put(&g.hasLocal, func() { g.local = ports })
	case remote:
		return g.put(&g.hasRemote, func() { g.remote = ports })
	default:
		return false
	}
}

func (g *gate) takeAddr(r Ref, a addrRange) bool {
	switch local, remote := side(r); {
	case local:
		return g.put(&g.hasLIP, func() { g.localIP = a })
	case remote:
		return g.put(&g.hasRIP, func() { g.remoteIP = a })
	default:
		return false
	}
}

func (g *gate) predicate() predicate {
	states := g.states
	llo, ln := uint32(g.local.lo), uint32(g.local.n)
	rlo, rn := uint32(g.remote.lo), uint32(g.remote.n)
	head := func(c *tcp.Conn) bool {
		return states>>(c.State&31)&1 != 0 && uint32(c.LocalPort)-llo <= ln && uint32(c.RemotePort)-rlo <= rn
	}
	switch {
	case g.hasLIP && g.hasRIP:
		local, remote := oneAddr(EndSrc, g.localIP, Eq), oneAddr(EndDst, g.remoteIP, Eq)
		return func(c *tcp.Conn) bool { return head(c) && local(c) && remote(c) }
	case g.hasRIP:
		lo, n := g.remoteIP.lo.lo, g.remoteIP.hi.lo-g.remoteIP.lo.lo
		return func(c *tcp.Conn) bool {
			a := number128(&c.Remote)
			return states>>(c.State&31)&1 != 0 && uint32(c.LocalPort)-llo <= ln && uint32(c.RemotePort)-rlo <= rn &&
				a.hi == 0 && a.lo-lo <= n && c.State != tcp.Listen
		}
	case g.hasLIP:
		lo, n := g.localIP.lo.lo, g.localIP.hi.lo-g.localIP.lo.lo
		return func(c *tcp.Conn) bool {
			a := number128(&c.Local)
			return states>>(c.State&31)&1 != 0 && uint32(c.LocalPort)-llo <= ln && uint32(c.RemotePort)-rlo <= rn &&
				a.hi == 0 && a.lo-lo <= n
		}
	default:
		return head
	}
}
