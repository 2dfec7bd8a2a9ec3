package filter

import (
	"encoding/binary"
	"math"
	"net/netip"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// addr128 is an address as a number. IPv4 is in its mapped form, as in tcp.Addr.
type addr128 struct{ hi, lo uint64 }

func number128(a *tcp.Addr) addr128 {
	return addr128{hi: binary.BigEndian.Uint64(a[:8]), lo: binary.BigEndian.Uint64(a[8:])}
}

func (a addr128) less(b addr128) bool { return a.hi < b.hi || a.hi == b.hi && a.lo < b.lo }

// is4 reports whether a is in ::ffff:0:0/96.
func (a addr128) is4() bool { return a.hi == 0 && a.lo>>32 == 0xffff }

func (a addr128) next() addr128 {
	a.lo++
	if a.lo == 0 {
		a.hi++
	}
	return a
}

func (a addr128) prev() addr128 {
	if a.lo == 0 {
		a.hi--
	}
	a.lo--
	return a
}

// addrRange is the addresses from lo to hi of one IP version: IPv4 in its mapped
// form lies in the middle of IPv6, but is none of it.
type addrRange struct {
	lo, hi addr128
	v4     bool
}

func (r addrRange) has(a addr128) bool {
	return !a.less(r.lo) && !r.hi.less(a) && a.is4() == r.v4
}

// empty is a range without addresses.
func (r addrRange) empty() bool { return r.hi.less(r.lo) }

// allOf is every address of an IP version.
func allOf(v4 bool) addrRange {
	if v4 {
		return addrRange{lo: addr128{lo: 0xffff << 32}, hi: addr128{lo: 0xffff<<32 | 0xffffffff}, v4: true}
	}
	return addrRange{hi: addr128{hi: math.MaxUint64, lo: math.MaxUint64}}
}

func prefixRange(p netip.Prefix) addrRange {
	a := tcp.AddrFrom(p.Addr())
	r := addrRange{lo: number128(&a), v4: p.Addr().Is4()}
	n := p.Bits()
	if r.v4 {
		n += 96
	}
	host := addr128{}
	switch {
	case n <= 64:
		host.lo = math.MaxUint64
		if n < 64 {
			host.hi = math.MaxUint64 >> n
		}
	case n < 128:
		host.lo = math.MaxUint64 >> (n - 64)
	}
	r.lo.hi &^= host.hi
	r.lo.lo &^= host.lo
	r.hi = addr128{hi: r.lo.hi | host.hi, lo: r.lo.lo | host.lo}
	return r
}

func spanRange(s Span) addrRange {
	r := prefixRange(s.Lo.Prefix)
	r.hi = prefixRange(s.Hi.Prefix).hi
	return r
}

// addrRanges returns the addresses for which a comparison holds; for Ne and
// AnyNe, those for which it does not. Addresses of another IP version are
// neither before nor after.
func addrRanges(n *Compare) []addrRange {
	at := prefixRange(n.Value.Prefix)
	r := allOf(at.v4)
	switch n.Op {
	case Lt, Ge:
		if n.Op == Ge {
			r.lo = at.lo
			break
		}
		if at.lo == r.lo {
			return nil
		}
		r.hi = at.lo.prev()
	case Le:
		r.hi = at.hi
	case Gt:
		if at.hi == r.hi {
			return nil
		}
		r.lo = at.hi.next()
	default:
		return []addrRange{at}
	}
	if r.empty() {
		return nil
	}
	return []addrRange{r}
}

// compileAddr makes a test of an address: local_ip and remote_ip of a field, or
// that of an end.
func compileAddr(r Ref, ranges []addrRange, op Op) predicate {
	neg := op == Ne || op == AnyNe
	end := r.End
	if r.Field != nil {
		switch r.Field.Name {
		case "local_ip":
			end = EndSrc
		case "remote_ip":
			end = EndDst
		default:
			get, in := r.Field.Addr, addrTest(ranges)
			return func(c *tcp.Conn) bool {
				a, ok := get(c)
				return ok && in(number128(&a)) != neg
			}
		}
	}
	if len(ranges) == 1 && !neg && ranges[0].v4 {
		if p := oneAddr(end, ranges[0], op); p != nil {
			return p
		}
	}
	in := addrTest(ranges)
	known := familyTest(r.Family)
	switch end {
	case EndSrc:
		return func(c *tcp.Conn) bool {
			a := number128(&c.Local)
			return known(a) && in(a) != neg
		}
	case EndDst:
		return func(c *tcp.Conn) bool {
			a := number128(&c.Remote)
			return c.State != tcp.Listen && known(a) && in(a) != neg
		}
	case EndClient, EndServer:
		server := end == EndServer
		return func(c *tcp.Conn) bool {
			a, ok := clientAddr(c, server)
			return ok && in(number128(a)) != neg
		}
	default:
	}
	every := op == Ne || op == AllEq
	return func(c *tcp.Conn) bool {
		l, r := number128(&c.Local), number128(&c.Remote)
		lok, rok := known(l), c.State != tcp.Listen && known(r)
		if every {
			return (lok || rok) && (!lok || in(l) != neg) && (!rok || in(r) != neg)
		}
		return lok && in(l) != neg || rok && in(r) != neg
	}
}

// oneAddr makes the test for the usual case of one IPv4 address or network.
func oneAddr(e End, r addrRange, op Op) predicate {
	lo, n := r.lo.lo, r.hi.lo-r.lo.lo
	switch {
	case e == EndSrc:
		return func(c *tcp.Conn) bool {
			a := number128(&c.Local)
			return a.hi == 0 && a.lo-lo <= n
		}
	case e == EndDst:
		return func(c *tcp.Conn) bool {
			a := number128(&c.Remote)
			return a.hi == 0 && a.lo-lo <= n && c.State != tcp.Listen
		}
	case e == EndEither && op != AllEq:
		return func(c *tcp.Conn) bool {
			l, r := number128(&c.Local), number128(&c.Remote)
			return l.hi == 0 && l.lo-lo <= n || r.hi == 0 && r.lo-lo <= n && c.State != tcp.Listen
		}
	default:
		return nil
	}
}

// addrTest tests for addresses in ranges.
func addrTest(rs []addrRange) func(addr128) bool {
	if len(rs) == 1 {
		r := rs[0]
		return r.has
	}
	return func(a addr128) bool {
		for _, r := range rs {
			if r.has(a) {
				return true
			}
		}
		return false
	}
}

// familyTest tells whether an address counts as known to a Ref of an IP version.
func familyTest(family uint8) func(addr128) bool {
	switch family {
	case 4:
		return addr128.is4
	case 6:
		return func(a addr128) bool { return !a.is4() }
	default:
		return func(addr128) bool { return true }
	}
}

// clientAddr returns the address of the client, or of the server.
func clientAddr(c *tcp.Conn, server bool) (*tcp.Addr, bool) {
	local, ok := localIsServer(c)
	switch {
	case !ok:
		return nil, false
	case local == server:
		return &c.Local, true
	default:
		return &c.Remote, c.State != tcp.Listen
	}
}
