package filter

import "github.com/viewtcp/viewtcp/internal/tcp"

// Packet is what a filter reads of one TCP segment. One Packet is used for one
// segment after the other.
type Packet struct {
	// view has the sender as its local end, so that the tests of connections
	// serve for packets too.
	view  tcp.Conn
	stats tcp.PacketStats
}

// Set makes p stand for a segment: t has the sender as Local, flags are the bits
// after the data offset (RFC 9293, section 3.1; FIN is bit 0).
func (p *Packet) Set(t tcp.Tuple, flags uint16) {
	p.view.Tuple = t
	p.view.IPv6 = !t.Remote.Is4()
	p.stats.Flags = flags & allFlags
	p.view.Packets = &p.stats
}

// PacketPredicate is an expression compiled for packets.
type PacketPredicate func(p *Packet, c *tcp.Conn) bool

// PacketPredicate compiles the expression for segments. What a segment has is
// read from it: src, dst, sport and dport are those of the sender and the
// receiver, tcp.flags its own flags, and family the version of its IP header.
// All else, client, server, local and remote included, is read from the
// connection that the segment belongs to. Without one (nil) it is unknown, and
// comparisons with it are false.
//
// The predicate allocates nothing and is safe for concurrent use.
func (f *Filter) PacketPredicate() PacketPredicate { return compilePacket(f.root) }

// NeedsConn reports whether the expression reads more than a segment has.
func (f *Filter) NeedsConn() bool { return !packetOnly(f.root) }

// OnPacket reports whether a test reads nothing but what each segment has: see
// PacketPredicate. Compounds do when all below them do.
func OnPacket(n Node) bool { return packetOnly(n) }

// Symmetric returns what of the expression every packet of a matching connection
// meets, whichever way it goes: the terms about the addresses and ports of either
// end. It is for those who need all packets of the connections that are asked for.
func (f *Filter) Symmetric() *Filter {
	terms := []Node{f.root}
	if and, ok := f.root.(*And); ok {
		terms = and.Nodes
	}
	var kept []Node
	for _, n := range terms {
		if symmetric(n) {
			kept = append(kept, n)
		}
	}
	root := newAnd(kept...)
	return &Filter{text: string(appendNode(nil, root, 0)), root: root, pred: compile(root)}
}

func symmetric(n Node) bool {
	either := func(r Ref) bool { return r.Field == nil && r.End == EndEither }
	ok := true
	Walk(n, func(m Node) bool {
		switch m := m.(type) {
		case *And, *Or, *Xor, *Not, All:
		case *Compare:
			ok = ok && either(m.Ref)
		case *In:
			ok = ok && either(m.Ref)
		default:
			ok = false
		}
		return ok
	})
	return ok
}

// PredicateOf compiles a part of a tree, for those who look at terms one by one.
func PredicateOf(n Node) func(*tcp.Conn) bool { return compile(n) }

func packetOnly(n Node) bool {
	only := true
	Walk(n, func(m Node) bool {
		switch m := m.(type) {
		case *Compare:
			only = only && refOnPacket(m.Ref)
		case *In:
			only = only && refOnPacket(m.Ref)
		case *Match:
			only = only && refOnPacket(m.Ref)
		case *Contains:
			only = only && refOnPacket(m.Ref)
		case *Has:
			only = only && refOnPacket(m.Ref)
		case *Ratio, *StateIn:
			only = false
		}
		return only
	})
	return only
}

func refOnPacket(r Ref) bool {
	if r.Field != nil {
		return r.Field.Name == "family"
	}
	return r.End == EndSrc || r.End == EndDst || r.End == EndEither
}

func compilePacket(n Node) PacketPredicate {
	if packetOnly(n) {
		test := compile(n)
		return func(p *Packet, _ *tcp.Conn) bool { return test(&p.view) }
	}
	switch n := n.(type) {
	case *And:
		terms := compilePackets(n.Nodes)
		return func(p *Packet, c *tcp.Conn) bool {
			for _, t := range terms {
				if !t(p, c) {
					return false
				}
			}
			return true
		}
	case *Or:
		terms := compilePackets(n.Nodes)
		return func(p *Packet, c *tcp.Conn) bool {
			for _, t := range terms {
				if t(p, c) {
					return true
				}
			}
			return false
		}
	case *Xor:
		a, b := compilePacket(n.A), compilePacket(n.B)
		return func(p *Packet, c *tcp.Conn) bool { return a(p, c) != b(p, c) }
	case *Not:
		t := compilePacket(n.Node)
		return func(p *Packet, c *tcp.Conn) bool { return !t(p, c) }
	default:
		test := compile(n)
		return func(_ *Packet, c *tcp.Conn) bool { return c != nil && test(c) }
	}
}

// compilePackets compiles terms, those that read the segment alone first.
func compilePackets(nodes []Node) []PacketPredicate {
	var own, others []PacketPredicate
	for _, n := range nodes {
		if packetOnly(n) {
			own = append(own, compilePacket(n))
		} else {
			others = append(others, compilePacket(n))
		}
	}
	return append(own, others...)
}
