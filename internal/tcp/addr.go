package tcp

import "net/netip"

// Addr is an IP address without pointers. IPv4 is kept in its mapped form
// (::ffff:a.b.c.d), so that an IPv4 peer of an IPv6 socket equals the same peer
// of an IPv4 socket.
type Addr [16]byte

// v4Prefix is ::ffff:0:0/96 (RFC 4291, section 2.5.5.2).
var v4Prefix = [12]byte{10: 0xff, 11: 0xff}

// AddrFrom4 returns the mapped form of an IPv4 address.
func AddrFrom4(b [4]byte) Addr {
	a := Addr{10: 0xff, 11: 0xff}
	copy(a[12:], b[:])
	return a
}

// AddrFrom converts from the standard library's type; zones are dropped and the
// invalid address becomes ::.
func AddrFrom(ip netip.Addr) Addr {
	if !ip.IsValid() {
		return Addr{}
	}
	return ip.As16()
}

// Is4 reports whether a is an IPv4 address.
func (a Addr) Is4() bool { return [12]byte(a[:12]) == v4Prefix }

// IP converts to the standard library's type, IPv4 unmapped.
func (a Addr) IP() netip.Addr { return netip.AddrFrom16(a).Unmap() }

// IsUnspecified reports whether a is 0.0.0.0 or ::.
func (a Addr) IsUnspecified() bool {
	return a == Addr{} || a == Addr{10: 0xff, 11: 0xff}
}

// IsLoopback reports whether a is in 127.0.0.0/8 or is ::1.
func (a Addr) IsLoopback() bool {
	if a.Is4() {
		return a[12] == 127
	}
	return a == Addr{15: 1}
}

// AppendTo appends the usual text form.
func (a Addr) AppendTo(b []byte) []byte { return a.IP().AppendTo(b) }

func (a Addr) String() string { return a.IP().String() }

// Tuple names the two ends of a connection. It has no pointers, so maps keyed
// by it cost the garbage collector nothing.
type Tuple struct {
	Local, Remote         Addr
	LocalPort, RemotePort uint16
}

// Reverse returns the tuple as the other end sees it.
func (t Tuple) Reverse() Tuple {
	return Tuple{Local: t.Remote, Remote: t.Local, LocalPort: t.RemotePort, RemotePort: t.LocalPort}
}

// Key names a socket among those alive at one moment: tuples repeat across
// network namespaces, and over time.
type Key struct {
	Tuple
	// NetNS is the inode number of the network namespace as in
	// /proc/PID/ns/net; 0 is unknown.
	NetNS uint32
}
