package filter

import (
	"math"
	"math/bits"
	"slices"
	"strings"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// predicate is one compiled test. Predicates have no state and allocate nothing.
type predicate = func(*tcp.Conn) bool

// compile turns a tree into a predicate. Each leaf becomes a closure that is
// specialised for its field, so that a test costs one indirect call.
func compile(n Node) predicate {
	switch n := n.(type) {
	case *And:
		first, rest := fuse(n.Nodes)
		terms := compileAll(rest)
		if first != nil {
			terms = slices.Insert(terms, 0, first)
		}
		return all(terms)
	case *Or:
		return some(compileAll(n.Nodes))
	case *Xor:
		a, b := compile(n.A), compile(n.B)
		return func(c *tcp.Conn) bool { return a(c) != b(c) }
	case *Not:
		p := compile(n.Node)
		return func(c *tcp.Conn) bool { return !p(c) }
	case *Compare:
		return compileCompare(n)
	case *In:
		return compileIn(n)
	case *Match:
		m := matcher(n.Pattern, n.Fold)
		if neg := n.Negate; neg {
			return text(n.Ref.Field, func(s string) bool { return !m(s) })
		}
		return text(n.Ref.Field, m)
	case *Contains:
		want := n.Text
		return text(n.Ref.Field, func(s string) bool { return strings.Contains(s, want) })
	case *Has:
		return compileHas(n.Ref)
	case *Ratio:
		return compileRatio(n)
	case *StateIn:
		set := uint32(n.Set)
		return func(c *tcp.Conn) bool { return set>>(c.State&31)&1 != 0 }
	case *Flags:
		mask, set := n.Mask, n.Set
		return func(c *tcp.Conn) bool {
			on, known := flagsOf(c)
			if set {
				return on&mask != 0
			}
			return on&mask == 0 && known&mask == mask
		}
	default:
		return func(*tcp.Conn) bool { return true }
	}
}

// compileAll compiles terms, the cheap ones first: the order does not show in
// the outcome.
func compileAll(nodes []Node) []predicate {
	nodes = slices.Clone(nodes)
	slices.SortStableFunc(nodes, func(a, b Node) int { return cost(a) - cost(b) })
	ps := make([]predicate, len(nodes))
	for i, n := range nodes {
		ps[i] = compile(n)
	}
	return ps
}

// cost ranks a test: those of the connection's own memory, those that follow a
// pointer, and those that read through texts.
func cost(n Node) int {
	ref := Ref{}
	switch n := n.(type) {
	case *Match, *Contains:
		return 3
	case *Compare:
		ref = n.Ref
	case *In:
		ref = n.Ref
	case *And, *Or, *Xor, *Not:
		worst := 0
		Walk(n, func(m Node) bool {
			switch m.(type) {
			case *Compare, *In, *Match, *Contains:
				worst = max(worst, cost(m))
			}
			return worst < 3
		})
		return worst
	default:
		return 0
	}
	switch {
	case ref.Field == nil:
		return 0
	case ref.Field.Kind == tcp.KindString:
		return 2
	case ref.Field.Group == tcp.GroupPackets, ref.Field.Group == tcp.GroupProcess:
		return 1
	default:
		return 0
	}
}

// all joins terms by "and". Up to five cost no loop.
func all(p []predicate) predicate {
	switch len(p) {
	case 1:
		return p[0]
	case 2:
		a, b := p[0], p[1]
		return func(c *tcp.Conn) bool { return a(c) && b(c) }
	case 3:
		a, b, d := p[0], p[1], p[2]
		return func(c *tcp.Conn) bool { return a(c) && b(c) && d(c) }
	case 4:
		a, b, d, e := p[0], p[1], p[2], p[3]
		return func(c *tcp.Conn) bool { return a(c) && b(c) && d(c) && e(c) }
	case 5:
		a, b, d, e, f := p[0], p[1], p[2], p[3], p[4]
		return func(c *tcp.Conn) bool { return a(c) && b(c) && d(c) && e(c) && f(c) }
	}
	return func(c *tcp.Conn) bool {
		for _, t := range p {
			if !t(c) {
				return false
			}
		}
		return true
	}
}

// some joins terms by "or".
func some(p []predicate) predicate {
	switch len(p) {
	case 2:
		a, b := p[0], p[1]
		return func(c *tcp.Conn) bool { return a(c) || b(c) }
	case 3:
		a, b, d := p[0], p[1], p[2]
		return func(c *tcp.Conn) bool { return a(c) || b(c) || d(c) }
	}
	return func(c *tcp.Conn) bool {
		for _, t := range p {
			if t(c) {
				return true
			}
		}
		return false
	}
}

func compileCompare(n *Compare) predicate {
	switch n.Ref.Kind() {
	case tcp.KindString, tcp.KindEnum:
		return compileText(n)
	case tcp.KindAddr:
		return compileAddr(n.Ref, addrRanges(n), n.Op)
	case tcp.KindPort:
		if n.Ref.Field == nil {
			return compilePort(n.Ref, []numRange{rangeOf(n.Op, n.Value.Num)}, n.Op)
		}
	default:
	}
	r := rangeOf(n.Op, n.Value.Num)
	return number(n.Ref.Field, r, n.Op == Ne)
}

func compileIn(n *In) predicate {
	op := Eq
	if n.Negate {
		op = Ne
	}
	switch n.Ref.Kind() {
	case tcp.KindString, tcp.KindEnum:
		return compileTexts(n)
	case tcp.KindAddr:
		var rs []addrRange
		for _, s := range n.Items {
			rs = append(rs, spanRange(s))
		}
		return compileAddr(n.Ref, rs, op)
	default:
	}
	var rs []numRange
	for _, s := range n.Items {
		rs = append(rs, numRange{lo: s.Lo.Num, n: s.Hi.Num - s.Lo.Num})
	}
	rs = mergeRanges(rs)
	if n.Ref.Field == nil {
		return compilePort(n.Ref, rs, op)
	}
	if len(rs) == 1 {
		return number(n.Ref.Field, rs[0], n.Negate)
	}
	get, neg := n.Ref.Field.Num, n.Negate
	return func(c *tcp.Conn) bool {
		v, ok := get(c)
		return ok && inRanges(rs, v) != neg
	}
}

// numRange is the numbers from lo to lo+n.
type numRange struct{ lo, n uint64 }

func (r numRange) has(v uint64) bool { return v-r.lo <= r.n }

// noNumber is an empty range as far as values go: no field reaches it.
var noNumber = numRange{lo: math.MaxUint64}

// rangeOf returns the numbers for which op holds; for Ne and AnyNe, those for
// which it does not.
func rangeOf(op Op, v uint64) numRange {
	switch op {
	case Lt:
		if v == 0 {
			return noNumber
		}
		return numRange{n: v - 1}
	case Le:
		return numRange{n: v}
	case Gt:
		if v == math.MaxUint64 {
			return noNumber
		}
		return numRange{lo: v + 1, n: math.MaxUint64 - v - 1}
	case Ge:
		return numRange{lo: v, n: math.MaxUint64 - v}
	default:
		return numRange{lo: v}
	}
}

// mergeRanges sorts ranges and joins those that overlap or touch.
func mergeRanges(rs []numRange) []numRange {
	slices.SortFunc(rs, func(a, b numRange) int {
		switch {
		case a.lo < b.lo:
			return -1
		case a.lo > b.lo:
			return 1
		default:
			return 0
		}
	})
	out := rs[:1]
	for _, r := range rs[1:] {
		last := &out[len(out)-1]
		end := last.lo + last.n
		if r.lo <= end || r.lo == end+1 {
			last.n = max(end, r.lo+r.n) - last.lo
			continue
		}
		out = append(out, r)
	}
	return out
}

// inRanges searches sorted ranges that do not overlap.
func inRanges(rs []numRange, v uint64) bool {
	if len(rs) <= 8 {
		for _, r := range rs {
			if r.has(v) {
				return true
			}
		}
		return false
	}
	lo, hi := 0, len(rs)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if rs[mid].lo+rs[mid].n < v {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < len(rs) && rs[lo].has(v)
}

func compileRatio(n *Ratio) predicate {
	field, of, op := n.Field.Num, n.Of.Num, n.Op
	share := n.Share
	return func(c *tcp.Conn) bool {
		part, ok1 := field(c)
		whole, ok2 := of(c)
		if !ok1 || !ok2 || whole == 0 {
			return false
		}
		// part/whole against share/100,000, without rounding.
		ahi, alo := bits.Mul64(part, 100_000)
		bhi, blo := bits.Mul64(whole, share)
		less := ahi < bhi || ahi == bhi && alo < blo
		equal := ahi == bhi && alo == blo
		switch op {
		case Eq:
			return equal
		case Ne:
			return !equal
		case Lt:
			return less
		case Le:
			return less || equal
		case Gt:
			return !less && !equal
		default:
			return !less
		}
	}
}

func compileHas(r Ref) predicate {
	if r.Field != nil {
		f := r.Field
		return f.Known
	}
	if r.Port {
		return compilePort(r, []numRange{{lo: 1, n: math.MaxUint16}}, Eq)
	}
	return compileAddr(r, []addrRange{allOf(true), allOf(false)}, Eq)
}
