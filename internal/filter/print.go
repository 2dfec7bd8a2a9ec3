package filter

import (
	"strconv"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Precedence levels of the canonical text.
const (
	precOr = iota + 1
	precXor
	precAnd
	precNot
)

// appendNode appends the canonical text of n, in parentheses where it binds less
// tightly than its surroundings.
func appendNode(b []byte, n Node, prec int) []byte {
	own := precedence(n)
	if own < prec {
		b = append(b, '(')
		b = appendNode(b, n, 0)
		return append(b, ')')
	}
	switch n := n.(type) {
	case All:
		return append(b, "tcp"...)
	case *And:
		return appendList(b, n.Nodes, " and ", own)
	case *Or:
		return appendList(b, n.Nodes, " or ", own)
	case *Xor:
		b = appendNode(b, n.A, own)
		b = append(b, " xor "...)
		return appendNode(b, n.B, own+1)
	case *Not:
		b = append(b, "not "...)
		return appendNode(b, n.Node, own)
	case *Compare:
		b = append(b, n.Ref.String()...)
		b = append(b, ' ')
		b = append(b, n.Op.String()...)
		b = append(b, ' ')
		return appendValue(b, n.Ref, n.Value)
	case *In:
		return appendIn(b, n)
	case *Match:
		b = append(b, n.Ref.String()...)
		b = append(b, ' ')
		if n.Negate {
			b = append(b, '!')
		}
		b = append(b, '~')
		if n.Fold {
			b = append(b, '*')
		}
		b = append(b, ' ')
		return appendQuoted(b, n.Pattern)
	case *Contains:
		b = append(b, n.Ref.String()...)
		b = append(b, " contains "...)
		return appendQuoted(b, n.Text)
	case *Has:
		b = append(b, "has("...)
		b = append(b, n.Ref.String()...)
		return append(b, ')')
	case *Ratio:
		b = append(b, n.Field.Name...)
		b = append(b, ' ')
		b = append(b, n.Op.String()...)
		b = append(b, ' ')
		return appendPercent(b, n.Share)
	case *StateIn:
		return appendStates(b, n.Set)
	case *Flags:
		return appendFlags(b, n)
	}
	return b
}

func precedence(n Node) int {
	switch n.(type) {
	case *Or:
		return precOr
	case *Xor:
		return precXor
	case *And:
		return precAnd
	default:
		return precNot
	}
}

func appendList(b []byte, nodes []Node, sep string, prec int) []byte {
	for i, n := range nodes {
		if i > 0 {
			b = append(b, sep...)
		}
		b = appendNode(b, n, prec+1)
	}
	return b
}

func appendIn(b []byte, n *In) []byte {
	b = append(b, n.Ref.String()...)
	if n.Negate {
		b = append(b, " not"...)
	}
	b = append(b, " in {"...)
	for i, s := range n.Items {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = appendValue(b, n.Ref, s.Lo)
		if !s.isSingle() {
			b = append(b, ".."...)
			b = appendValue(b, n.Ref, s.Hi)
		}
	}
	return append(b, '}')
}

func appendValue(b []byte, r Ref, v Value) []byte {
	switch r.Kind() {
	case tcp.KindString:
		return appendQuoted(b, v.Str)
	case tcp.KindEnum:
		return append(b, v.Str...)
	case tcp.KindAddr:
		if v.Prefix.IsSingleIP() {
			return v.Prefix.Addr().AppendTo(b)
		}
		return v.Prefix.AppendTo(b)
	case tcp.KindPort:
		return strconv.AppendUint(b, v.Num, 10)
	default:
		return r.Field.AppendNum(b, v.Num)
	}
}

// appendPercent appends thousandths of a percent.
func appendPercent(b []byte, share uint64) []byte {
	b = strconv.AppendUint(b, share/1000, 10)
	if frac := share % 1000; frac != 0 {
		b = append(b, '.', byte('0'+frac/100), byte('0'+frac/10%10), byte('0'+frac%10))
	}
	return append(b, '%')
}

func appendStates(b []byte, m tcp.StateSet) []byte {
	b = append(b, "state "...)
	if m&(m-1) != 0 {
		b = append(b, "in {"...)
	} else {
		b = append(b, "== "...)
	}
	first := true
	for _, name := range tcp.StateNames() {
		s, _ := tcp.ParseState(name)
		if m&s == 0 {
			continue
		}
		if !first {
			b = append(b, ", "...)
		}
		first = false
		b = append(b, name...)
	}
	if m&(m-1) != 0 {
		b = append(b, '}')
	}
	return b
}

func appendFlags(b []byte, n *Flags) []byte {
	for i, name := range flagWords {
		if n.Mask == 1<<i {
			b = append(b, "tcp.flags."...)
			b = append(b, name...)
			if n.Set {
				return append(b, " == 1"...)
			}
			return append(b, " == 0"...)
		}
	}
	b = append(b, "tcp.flags & 0x"...)
	b = strconv.AppendUint(b, uint64(n.Mask), 16)
	if n.Set {
		return append(b, " != 0"...)
	}
	return append(b, " == 0"...)
}
