package tcptest

import (
	"net/netip"
	"testing"

	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// A Scene is a host's worth of real sockets: several hundred in several
// namespaces, all states and families, with loss, quiet when NewScene returns.
type Scene struct {
	// Namespaces are the ones that the scene is in; nil is the own one. One of
	// the others is kept alive by a process only.
	Namespaces []*NetNS
	// Sockets are those that are in a state on purpose.
	Sockets []Socket
	// Ledger is both ends of the connections that carried data.
	Ledger Ledger

	host   uint32
	inodes map[uint32]bool
	ends   map[[2]netip.AddrPort]bool
}

// Foreign reports whether a row has no part in the scene: its namespace is
// another, or it is the own one, where the machine's other programs have
// connections too. It is for CompareOptions.Ignore.
func (s *Scene) Foreign(row Row) bool {
	ns := uint32(row.num("netns"))
	local, remote := row.Ends()
	return !s.inodes[ns] || (ns == s.host && !s.ends[[2]netip.AddrPort{local, remote}])
}

// NewScene makes the scene; it ends with the test. n is about the number of
// connected sockets, besides a hundred in States. It needs root, ip, nft and
// ss.
func NewScene(tb testing.TB, n int) *Scene {
	tb.Helper()
	need.Root(tb)
	need.Programs(tb, "ip", "nft", "ss")
	s := &Scene{Namespaces: []*NetNS{nil}}
	hold := func(h *Hold, err error) *Hold {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() {
			if err := h.Close(); err != nil {
				tb.Error(err)
			}
		})
		l, err := h.Ledger()
		if err != nil {
			tb.Fatal(err)
		}
		s.Ledger = append(s.Ledger, l...)
		return h
	}
	hold(HoldSockets(n / 2))
	states := NewNetNS(tb)
	s.Namespaces = append(s.Namespaces, states)
	s.Sockets = States(tb, states)
	alone := hold(HoldSocketsAlone(n/2, InNewNetNS()))
	held, err := alone.Pairs[0].NetNS()
	if err != nil {
		tb.Fatal(err)
	}
	s.Namespaces = append(s.Namespaces, held)

	a, b := NewNetNS(tb), NewNetNS(tb)
	s.Namespaces = append(s.Namespaces, a, b)
	l := Lossy(tb, a, b, 20, 200<<10)
	s.Ledger = append(s.Ledger, l...)

	if s.host, err = HostNetNS(); err != nil {
		tb.Fatal(err)
	}
	s.inodes, s.ends = map[uint32]bool{s.host: true}, map[[2]netip.AddrPort]bool{}
	for _, n := range s.Namespaces[1:] {
		s.inodes[n.Inode()] = true
	}
	for _, e := range s.Ledger {
		s.ends[[2]netip.AddrPort{e.Local, e.Remote}] = true
	}
	return s
}

// Lossy links two namespaces, opens count connections from a to b, sends bytes
// over each of them and back while 5 % of all packets are lost, and keeps them.
func Lossy(tb testing.TB, a, b *NetNS, count, bytes int) Ledger {
	tb.Helper()
	// Addresses for documentation: RFC 5737.
	VethPair(tb, a, b, netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("192.0.2.2/24"))
	server := Start(tb, "server", ServerConfig{Addr: "192.0.2.2:0"}, InNetNS(b))
	var at Listening
	if err := server.Recv(&at); err != nil {
		tb.Fatal(err)
	}
	client := Start(tb, "client", ClientConfig{To: at.Addr, Count: count, Send: 100}, InNetNS(a))
	var l Ledger
	if err := client.Recv(&l); err != nil {
		tb.Fatal(err)
	}
	undoA, undoB := Loss(tb, a, 50, ""), Loss(tb, b, 50, "")
	if err := client.Call(Op{Op: "send", Bytes: bytes}, &l); err != nil {
		tb.Fatal(err)
	}
	undoA()
	undoB()
	var ends Ledger
	if err := server.Call(Op{Op: "ledger"}, &ends); err != nil {
		tb.Fatal(err)
	}
	return append(l, ends...)
}
