package filter

import (
	"net/netip"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Node is one node of a parsed expression: *And, *Or, *Xor, *Not, All, *Compare,
// *In, *Match, *Contains, *Has, *Ratio, *StateIn or *Flags. Trees are immutable.
type Node interface{ node() }

// And holds when all of Nodes do. There are at least two, and none is an *And.
type And struct{ Nodes []Node }

// Or holds when any of Nodes does. There are at least two, and none is an *Or.
type Or struct{ Nodes []Node }

// Xor holds when exactly one of its two sides does.
type Xor struct{ A, B Node }

// Not holds when Node does not, also where that is for want of a value.
type Not struct{ Node Node }

// All holds for every connection.
type All struct{}

// Compare relates one value to a literal. It is false when the value is unknown.
type Compare struct {
	Ref   Ref
	Op    Op
	Value Value
}

// In holds when the value is in one of Items; with Negate, when it is known and
// in none of them.
type In struct {
	Ref    Ref
	Items  []Span
	Negate bool
}

// Match holds when the text matches the regular expression (RE2 syntax,
// unanchored); with Negate, when it is known and does not.
type Match struct {
	Ref     Ref
	Pattern string
	// Fold ignores case.
	Fold, Negate bool
}

// Contains holds when the text has Text in it.
type Contains struct {
	Ref  Ref
	Text string
}

// Has holds when the value is known.
type Has struct{ Ref Ref }

// Ratio compares a field with a share of another one. It is false when one of
// the two is unknown or Of is zero.
type Ratio struct {
	Field, Of *tcp.Field
	Op        Op
	// Share is the literal in thousandths of a percent.
	Share uint64
}

// StateIn holds when the state is known and in Set, which is neither empty nor
// every state that there is.
type StateIn struct{ Set tcp.StateSet }

// Flags tests the TCP flags of the segments of a connection. With Set, some
// segment carried one of Mask; without, it is known that none carried any. On a
// single packet it is a test of that packet's flags.
type Flags struct {
	Mask uint16
	Set  bool
}

func (*And) node()      {}
func (*Or) node()       {}
func (*Xor) node()      {}
func (*Not) node()      {}
func (All) node()       {}
func (*Compare) node()  {}
func (*In) node()       {}
func (*Match) node()    {}
func (*Contains) node() {}
func (*Has) node()      {}
func (*Ratio) node()    {}
func (*StateIn) node()  {}
func (*Flags) node()    {}

// Walk calls fn for n and all below it, parents first. When fn returns false,
// what is below that node is left out.
func Walk(n Node, fn func(Node) bool) {
	if n == nil || !fn(n) {
		return
	}
	switch n := n.(type) {
	case *And:
		for _, m := range n.Nodes {
			Walk(m, fn)
		}
	case *Or:
		for _, m := range n.Nodes {
			Walk(m, fn)
		}
	case *Xor:
		Walk(n.A, fn)
		Walk(n.B, fn)
	case *Not:
		Walk(n.Node, fn)
	}
}

// End says of which end an address or a port is, where the fields local_ip,
// local_port, remote_ip and remote_port do not say it.
type End uint8

// The ends. Src and Dst are the local and the remote end of a connection, and
// the sender and the receiver of a packet. Either is both: a comparison holds
// when one of the two known values meets it; with Ne, and with In.Negate, when
// all known values do (Wireshark's rule). Client and Server follow from the
// direction and are unknown without one.
const (
	EndNone End = iota
	EndSrc
	EndDst
	EndEither
	EndClient
	EndServer
)

// Ref names what a test reads: a field, or the address or port of an end.
type Ref struct {
	// Field is nil when End is set.
	Field *tcp.Field
	End   End
	// Port says that an end's port is meant, not its address.
	Port bool
	// Family is 4 or 6 when the address of an end counts as known only in that
	// IP version, else 0.
	Family uint8
}

// Kind is the type of the values.
func (r Ref) Kind() tcp.Kind {
	switch {
	case r.Field != nil:
		return r.Field.Kind
	case r.Port:
		return tcp.KindPort
	default:
		return tcp.KindAddr
	}
}

var (
	endAddrNames = [...]string{"", "src", "dst", "addr", "client", "server"}
	endPortNames = [...]string{"", "sport", "dport", "port", "client port", "server port"}
	endV4Names   = [...]string{"", "ip.src", "ip.dst", "ip.addr", "", ""}
	endV6Names   = [...]string{"", "ipv6.src", "ipv6.dst", "ipv6.addr", "", ""}
)

// String returns the canonical name.
func (r Ref) String() string {
	if r.Field != nil {
		return r.Field.Name
	}
	if int(r.End) >= len(endAddrNames) {
		return ""
	}
	switch {
	case r.Port:
		return endPortNames[r.End]
	case r.Family == 4:
		return endV4Names[r.End]
	case r.Family == 6:
		return endV6Names[r.End]
	default:
		return endAddrNames[r.End]
	}
}

// Op is a relation.
type Op uint8

// The relations. AllEq and AnyNe differ from Eq and Ne on EndEither only: all
// known values are equal, and one known value differs.
const (
	Eq Op = iota + 1
	Ne
	Lt
	Le
	Gt
	Ge
	AllEq
	AnyNe
)

var opNames = [...]string{"", "==", "!=", "<", "<=", ">", ">=", "===", "!=="}

func (o Op) String() string {
	if int(o) < len(opNames) {
		return opNames[o]
	}
	return ""
}

// ordered reports whether the relation needs an order of the values.
func (o Op) ordered() bool { return o == Lt || o == Le || o == Gt || o == Ge }

// Value is one literal, by the kind of what it is compared with: Prefix for
// addresses (a single address has all its bits), Str for strings and enums, Num
// for all else, in the units of tcp.Kind.
type Value struct {
	Num    uint64
	Str    string
	Prefix netip.Prefix
}

// Span is the values from Lo to Hi, both included; a single one has Lo == Hi.
type Span struct{ Lo, Hi Value }

func single(v Value) Span { return Span{Lo: v, Hi: v} }

func (s Span) isSingle() bool { return s.Lo == s.Hi }

// negate returns the negation of n without stacking negations.
func negate(n Node) Node {
	if m, ok := n.(*Not); ok {
		return m.Node
	}
	return &Not{Node: n}
}

// newAnd joins terms, flat; no terms hold always.
func newAnd(terms ...Node) Node {
	var flat []Node
	for _, t := range terms {
		if a, ok := t.(*And); ok {
			flat = append(flat, a.Nodes...)
		} else {
			flat = append(flat, t)
		}
	}
	switch len(flat) {
	case 0:
		return All{}
	case 1:
		return flat[0]
	default:
		return &And{Nodes: flat}
	}
}

// newOr joins terms, flat; there must be one.
func newOr(terms ...Node) Node {
	var flat []Node
	for _, t := range terms {
		if o, ok := t.(*Or); ok {
			flat = append(flat, o.Nodes...)
		} else {
			flat = append(flat, t)
		}
	}
	if len(flat) == 1 {
		return flat[0]
	}
	return &Or{Nodes: flat}
}

// newIn makes the simplest test for membership.
func newIn(r Ref, items []Span, neg bool) Node {
	if len(items) == 1 && items[0].isSingle() {
		op := Eq
		if neg {
			op = Ne
		}
		return &Compare{Ref: r, Op: op, Value: items[0].Lo}
	}
	return &In{Ref: r, Items: items, Negate: neg}
}

// newStateIn makes the simplest test of the state.
func newStateIn(m tcp.StateSet) Node {
	switch m &= tcp.AllStates; m {
	case 0:
		return &Not{Node: All{}}
	case tcp.AllStates:
		return &Has{Ref: Ref{Field: tcp.FieldByName("state")}}
	default:
		return &StateIn{Set: m}
	}
}
