package capture

import (
	"encoding/binary"
	"math"
	"net/netip"

	"golang.org/x/net/bpf"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Where the numbers of a segment are in the scratch memory of a program. An IPv6
// address takes four places, an IPv4 address the first of them.
const (
	slotSrc   = 0
	slotDst   = 4
	slotSPort = 8
	slotDPort = 9
	slotFlags = 10
)

// An expr is what is left of a filter when only one IP version is looked at: a
// formula over numbers in scratch memory.
type expr interface {
	// emit makes code that goes to one of the labels, which come later.
	emit(c *compiler, yes, no label)
	size() int
	visit(fn func(slot int))
}

type (
	truth bool
	// inRanges tests whether a number is in one of the ranges.
	inRanges struct {
		slot   int
		ranges []span32
	}
	// anyBit tests whether a number has one of the bits.
	anyBit struct {
		slot int
		mask uint32
	}
	allOf   struct{ terms []expr }
	anyOf   struct{ terms []expr }
	inverse struct{ term expr }
)

// span32 is the numbers from lo to hi, both included.
type span32 struct{ lo, hi uint32 }

// tree is a filter as seen by one IP version.
type tree struct {
	root expr
	used [16]bool
}

func (t *tree) uses(slot int) bool { return t.used[slot] }

func newTree(root filter.Node, version int) *tree {
	b := treeBuilder{version: version, work: maxTreeWork}
	t := &tree{root: b.build(root, true)}
	if t.root.size() > maxTree || b.work < 0 {
		t.root = truth(true)
	}
	t.root.visit(func(slot int) { t.used[slot] = true })
	return t
}

// treeBuilder turns nodes into formulas that hold whenever the node does (above)
// or only when the node does (not above). What cannot be decided is true in the
// first, and false in the second; a negation swaps the two.
type treeBuilder struct {
	version int
	// work bounds the nodes that are built: a chain of xor doubles them.
	work int
}

func (b *treeBuilder) build(n filter.Node, above bool) expr {
	if b.work--; b.work < 0 {
		return truth(above)
	}
	switch n := n.(type) {
	case filter.All:
		return truth(true)
	case *filter.And:
		return both(b.list(n.Nodes, above)...)
	case *filter.Or:
		return either(b.list(n.Nodes, above)...)
	case *filter.Not:
		return not(b.build(n.Node, !above))
	case *filter.Xor:
		return either(
			both(b.build(n.A, above), not(b.build(n.B, !above))),
			both(not(b.build(n.A, !above)), b.build(n.B, above)))
	case *filter.Flags:
		e := expr(anyBit{slot: slotFlags, mask: uint32(n.Mask) & 0x1ff})
		if !n.Set {
			e = not(e)
		}
		return e
	case *filter.Compare:
		if n.Ref.Field != nil && n.Ref.Field.Name == "family" {
			return b.family(n)
		}
		return b.end(n.Ref, n.Op, above, func() ([]filter.Span, bool) { return comparedSpans(n) })
	case *filter.In:
		op := filter.Eq
		if n.Negate {
			op = filter.Ne
		}
		return b.end(n.Ref, op, above, func() ([]filter.Span, bool) { return n.Items, true })
	default:
		return truth(above)
	}
}

func (b *treeBuilder) list(nodes []filter.Node, above bool) []expr {
	es := make([]expr, len(nodes))
	for i, n := range nodes {
		es[i] = b.build(n, above)
	}
	return es
}

func (b *treeBuilder) family(n *filter.Compare) expr {
	want := "ipv4"
	if b.version == 6 {
		want = "ipv6"
	}
	switch n.Op {
	case filter.Eq, filter.AllEq:
		return truth(n.Value.Str == want)
	case filter.Ne, filter.AnyNe:
		return truth(n.Value.Str != want)
	default:
		return truth(true)
	}
}

// comparedSpans returns the values that meet a comparison; for Ne and AnyNe,
// those that do not.
func comparedSpans(n *filter.Compare) ([]filter.Span, bool) {
	v := n.Value
	if n.Ref.Kind() == tcp.KindPort {
		lo, hi := uint64(0), uint64(math.MaxUint16)
		switch n.Op {
		case filter.Lt:
			if v.Num == 0 {
				return nil, true
			}
			hi = v.Num - 1
		case filter.Le:
			hi = v.Num
		case filter.Gt:
			lo = v.Num + 1
		case filter.Ge:
			lo = v.Num
		default:
			lo, hi = v.Num, v.Num
		}
		if lo > hi {
			return nil, true
		}
		return []filter.Span{{Lo: filter.Value{Num: lo}, Hi: filter.Value{Num: hi}}}, true
	}
	switch n.Op {
	case filter.Eq, filter.Ne, filter.AllEq, filter.AnyNe:
		return []filter.Span{{Lo: v, Hi: v}}, true
	default:
		return nil, false // an order of addresses
	}
}

// end builds the test of an address or a port of one end or of both.
func (b *treeBuilder) end(r filter.Ref, op filter.Op, above bool, values func() ([]filter.Span, bool)) expr {
	if r.Kind() != tcp.KindPort && r.Kind() != tcp.KindAddr {
		return truth(above)
	}
	guess := false // the ends of a connection: the packet does not say which is which
	if r.Field != nil {
		switch r.Field.Name {
		case "local_ip", "remote_ip", "local_port", "remote_port":
			guess = true
		default:
			return truth(above)
		}
	} else if r.End == filter.EndClient || r.End == filter.EndServer {
		guess = true
	}
	if guess && !above {
		return truth(false)
	}
	items, ok := values()
	if !ok {
		return truth(above)
	}
	src, ok := b.passes(r, op, items, slotSrc, slotSPort)
	if !ok {
		return truth(above)
	}
	dst, _ := b.passes(r, op, items, slotDst, slotDPort)
	switch {
	case guess:
		return either(src.passes, dst.passes)
	case r.End == filter.EndSrc:
		return src.passes
	case r.End == filter.EndDst:
		return dst.passes
	case op == filter.Ne || op == filter.AllEq:
		// All known values pass, and there is one.
		return both(either(src.known, dst.known),
			either(not(src.known), src.passes), either(not(dst.known), dst.passes))
	default:
		return either(src.passes, dst.passes)
	}
}

// side is the test of one end: whether its value is known, and whether it is and
// passes.
type side struct{ known, passes expr }

func (b *treeBuilder) passes(r filter.Ref, op filter.Op, items []filter.Span, addr, port int) (side, bool) {
	neg := op == filter.Ne || op == filter.AnyNe
	var s side
	var in expr
	if r.Kind() == tcp.KindPort {
		s.known = inRanges{slot: port, ranges: []span32{{1, math.MaxUint16}}}
		var rs []span32
		for _, it := range items {
			lo, hi := max(it.Lo.Num, 1), min(it.Hi.Num, math.MaxUint16)
			if lo <= hi {
				rs = append(rs, span32{uint32(lo), uint32(hi)})
			}
		}
		in = ranges(port, rs)
	} else {
		s.known = truth(r.Family == 0 || int(r.Family) == b.version)
		var ok bool
		if in, ok = b.addresses(items, addr); !ok {
			return s, false
		}
	}
	if neg {
		in = not(in)
	}
	s.passes = both(s.known, in)
	return s, true
}

// addresses tests for networks, and for ranges of IPv4 addresses.
func (b *treeBuilder) addresses(items []filter.Span, slot int) (expr, bool) {
	var v4 []span32
	var v6 []expr
	for _, it := range items {
		lo, hi := it.Lo.Prefix, it.Hi.Prefix
		if !lo.IsValid() || !hi.IsValid() {
			return nil, false
		}
		is4 := lo.Addr().Is4()
		switch {
		case is4 != hi.Addr().Is4():
			return nil, false
		case is4 != (b.version == 4):
		case is4:
			first, _ := bounds4(lo)
			_, last := bounds4(hi)
			if first <= last {
				v4 = append(v4, span32{first, last})
			}
		case lo != hi:
			return nil, false
		default:
			b.work -= 4
			v6 = append(v6, prefix6(lo, slot))
		}
	}
	if b.version == 4 {
		return ranges(slot, v4), true
	}
	return either(v6...), true
}

func bounds4(p netip.Prefix) (first, last uint32) {
	a := p.Masked().Addr().As4()
	first = binary.BigEndian.Uint32(a[:])
	return first, first | uint32(uint64(math.MaxUint32)>>p.Bits())
}

// prefix6 compares the words of a network one by one.
func prefix6(p netip.Prefix, slot int) expr {
	a := p.Masked().Addr().As16()
	var es []expr
	for word, left := 0, p.Bits(); left > 0; word, left = word+1, left-32 {
		first := binary.BigEndian.Uint32(a[4*word:])
		last := first | uint32(uint64(math.MaxUint32)>>min(left, 32))
		es = append(es, inRanges{slot: slot + word, ranges: []span32{{first, last}}})
	}
	return both(es...)
}

func ranges(slot int, rs []span32) expr {
	if len(rs) == 0 {
		return truth(false)
	}
	return inRanges{slot: slot, ranges: rs}
}

// both joins by "and", either by "or"; constants go away.
func both(terms ...expr) expr {
	var left []expr
	for _, t := range terms {
		switch t := t.(type) {
		case truth:
			if !t {
				return t
			}
		default:
			left = append(left, t)
		}
	}
	switch len(left) {
	case 0:
		return truth(true)
	case 1:
		return left[0]
	default:
		return allOf{left}
	}
}

func either(terms ...expr) expr {
	var left []expr
	for _, t := range terms {
		switch t := t.(type) {
		case truth:
			if t {
				return t
			}
		default:
			left = append(left, t)
		}
	}
	switch len(left) {
	case 0:
		return truth(false)
	case 1:
		return left[0]
	default:
		return anyOf{left}
	}
}

func not(e expr) expr {
	switch e := e.(type) {
	case truth:
		return !e
	case inverse:
		return e.term
	default:
		return inverse{e}
	}
}

func (e truth) emit(c *compiler, yes, no label) {
	if e {
		c.asm.goTo(yes)
	} else {
		c.asm.goTo(no)
	}
}

func (e inRanges) emit(c *compiler, yes, no label) {
	a := &c.asm
	a.emit(bpf.LoadScratch{Dst: bpf.RegA, N: e.slot})
	for i, r := range e.ranges {
		next := no
		if i < len(e.ranges)-1 {
			next = a.label()
		}
		switch {
		case r.lo == r.hi:
			a.jump(bpf.JumpEqual, r.lo, yes, next)
		case r.lo == 0 && r.hi == math.MaxUint32:
			a.goTo(yes)
		case r.lo == 0:
			a.jump(bpf.JumpGreaterThan, r.hi, next, yes)
		case r.hi == math.MaxUint32:
			a.jump(bpf.JumpGreaterOrEqual, r.lo, yes, next)
		default:
			reached := a.label()
			a.jump(bpf.JumpGreaterOrEqual, r.lo, reached, next)
			a.place(reached)
			a.jump(bpf.JumpGreaterThan, r.hi, next, yes)
		}
		if next != no {
			a.place(next)
		}
	}
}

func (e anyBit) emit(c *compiler, yes, no label) {
	c.asm.emit(bpf.LoadScratch{Dst: bpf.RegA, N: e.slot})
	c.asm.jump(bpf.JumpBitsSet, e.mask, yes, no)
}

func (e allOf) emit(c *compiler, yes, no label) {
	for i, t := range e.terms {
		if i == len(e.terms)-1 {
			t.emit(c, yes, no)
			return
		}
		next := c.asm.label()
		t.emit(c, next, no)
		c.asm.place(next)
	}
}

func (e anyOf) emit(c *compiler, yes, no label) {
	for i, t := range e.terms {
		if i == len(e.terms)-1 {
			t.emit(c, yes, no)
			return
		}
		next := c.asm.label()
		t.emit(c, yes, next)
		c.asm.place(next)
	}
}

func (e inverse) emit(c *compiler, yes, no label) { e.term.emit(c, no, yes) }

func (e truth) size() int    { return 1 }
func (e inRanges) size() int { return 1 + 2*len(e.ranges) }
func (e anyBit) size() int   { return 2 }
func (e allOf) size() int    { return sizes(e.terms) }
func (e anyOf) size() int    { return sizes(e.terms) }
func (e inverse) size() int  { return e.term.size() }

func sizes(es []expr) int {
	n := 0
	for _, e := range es {
		n += e.size()
	}
	return n
}

func (e truth) visit(func(int))       {}
func (e inRanges) visit(fn func(int)) { fn(e.slot) }
func (e anyBit) visit(fn func(int))   { fn(e.slot) }
func (e inverse) visit(fn func(int))  { e.term.visit(fn) }

func (e allOf) visit(fn func(int)) {
	for _, t := range e.terms {
		t.visit(fn)
	}
}

func (e anyOf) visit(fn func(int)) {
	for _, t := range e.terms {
		t.visit(fn)
	}
}
