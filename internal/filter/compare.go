package filter

import (
	"regexp/syntax"
	"strings"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// relations are the spellings of each relation: ss's, pcap-filter's and
// Wireshark's.
var relations = map[string]Op{
	"=": Eq, "==": Eq, "eq": Eq, "any_eq": Eq,
	"!=": Ne, "ne": Ne, "neq": Ne, "all_ne": Ne,
	"<": Lt, "lt": Lt, "<=": Le, "le": Le, "leq": Le,
	">": Gt, "gt": Gt, ">=": Ge, "ge": Ge, "geq": Ge,
	"===": AllEq, "all_eq": AllEq, "!==": AnyNe, "~=": AnyNe, "any_ne": AnyNe,
}

// relation returns the relation that t spells.
func relation(t token) (Op, bool) {
	switch t.kind {
	case tokOp:
		op, ok := relations[t.text]
		return op, ok
	case tokWord:
		op, ok := relations[strings.ToLower(t.text)]
		return op, ok
	default:
		return 0, false
	}
}

// startsComparison reports whether what follows a field of kind bool is its
// relation or value, rather than the next condition.
func (p *parser) startsComparison() bool {
	t := p.peek()
	if _, ok := relation(t); ok {
		return true
	}
	if t.is("not") && p.peekAt(1).is("in") || t.is("in") || t.kind == tokLBrace || t.op("~", "~*", "=~", "!~", "!~*") {
		return true
	}
	_, ok := parseBool(t.text)
	return ok && t.kind == tokWord
}

// comparison parses what follows the name of a value: a relation and a literal,
// or a literal alone, which means equality.
func (p *parser) comparison(r Ref, name token) Node {
	p.expectRef(wantOperator|wantValue, r)
	t := p.peek()
	if op, ok := relation(t); ok {
		p.next()
		return p.relationTo(r, name, op)
	}
	switch {
	case t.is("in"):
		p.next()
		return p.set(r, name, false)
	case t.is("not") && p.peekAt(1).is("in"):
		p.next()
		p.next()
		return p.set(r, name, true)
	case t.is("between"):
		p.next()
		return p.between(r, name)
	case t.op("~", "=~"):
		p.next()
		return p.match(r, t, false, false)
	case t.op("~*") || t.is("matches"):
		p.next()
		return p.match(r, t, true, false)
	case t.op("!~", "!~*"):
		p.next()
		return p.match(r, t, t.text == "!~*", true)
	case t.is("contains"):
		p.next()
		return p.contains(r, t)
	case t.kind == tokLBrace:
		return p.set(r, name, false)
	case t.kind == tokWord && !isConnective(t) && !t.is("not"), t.kind == tokString:
		return p.relationTo(r, name, Eq)
	case t.kind == tokOp && !isConnective(t) && t.text != "!":
		return p.fail(t, quote(t.text)+" is not a relation: use one of == != < <= > >= ~ in contains", "")
	default:
		end := token{pos: name.pos, end: name.end}
		if t.kind == tokEOF {
			end = t
		}
		return p.fail(end, name.text+" needs a relation and a value; has("+r.String()+") tests whether it is known", "")
	}
}

// relationTo parses the literal after a relation.
func (p *parser) relationTo(r Ref, name token, op Op) Node {
	if r.End != EndEither && r.Kind() != tcp.KindState {
		op = singleOp(op)
	}
	p.expectRef(wantValue, r)
	if p.peek().kind == tokLBrace {
		if op != Eq && op != Ne {
			return p.fail(p.peek(), "a set goes with in, not with "+op.String(), "")
		}
		return p.set(r, name, op == Ne)
	}
	if n, ok := p.ratio(r, op); ok {
		return n
	}
	if op.ordered() && !hasOrder(r.Kind()) {
		return p.fail(p.toks[p.i-1], r.String()+" has no order: use ==, != or in", "")
	}
	first := p.peek()
	item, ok := p.item(r, name)
	if !ok {
		return nil
	}
	if r.Kind() == tcp.KindState {
		return stateNode(item, op == Ne || op == AnyNe)
	}
	if op.ordered() {
		if r.Kind() == tcp.KindAddr && !item.Lo.Prefix.IsSingleIP() {
			return p.fail(first, "a network has no place in an order: use == or in", "")
		}
		if r.Kind() == tcp.KindPort && !item.isSingle() {
			return p.fail(first, "a range has no place in an order: use == or in", "")
		}
		// A day counts from its beginning.
		return &Compare{Ref: r, Op: op, Value: item.Lo}
	}
	if item.isSingle() {
		return &Compare{Ref: r, Op: op, Value: item.Lo}
	}
	if op != Eq && op != Ne {
		return p.fail(first, "a range goes with == or in, not with "+op.String(), "")
	}
	return newIn(r, []Span{item}, op == Ne)
}

// singleOp drops the distinction that only values of two ends make.
func singleOp(op Op) Op {
	switch op {
	case AllEq:
		return Eq
	case AnyNe:
		return Ne
	default:
		return op
	}
}

func hasOrder(k tcp.Kind) bool {
	switch k {
	case tcp.KindEnum, tcp.KindBool, tcp.KindState, tcp.KindID:
		return false
	default:
		return true
	}
}

// set parses the values after "in": {a, b}, (a, b), or one value or range.
func (p *parser) set(r Ref, name token, neg bool) Node {
	open := p.peek()
	end := tokRBrace
	switch open.kind {
	case tokLBrace:
	case tokLParen:
		end = tokRParen
	default:
		item, ok := p.item(r, name)
		if !ok {
			return nil
		}
		if r.Kind() == tcp.KindState {
			return stateNode(item, neg)
		}
		return newIn(r, []Span{item}, neg)
	}
	p.next()
	var items []Span
	var states tcp.StateSet
	for {
		t := p.peek()
		switch t.kind {
		case end:
			if len(items) == 0 {
				return p.fail(t, "a set needs at least one value", "")
			}
			p.next()
			if r.Kind() == tcp.KindState {
				return stateNode(single(Value{Num: uint64(states)}), neg)
			}
			return newIn(r, items, neg)
		case tokComma:
			if len(items) == 0 {
				return p.fail(t, "a value is missing before the comma", "")
			}
			p.next()
			continue
		case tokEOF:
			p.expectRef(wantValue, r)
			return p.fail(open, "this set is never closed", "")
		default:
		}
		item, ok := p.item(r, name)
		if !ok {
			return nil
		}
		states |= tcp.StateSet(item.Lo.Num)
		items = append(items, item)
	}
}

// between parses "A and B", both included.
func (p *parser) between(r Ref, name token) Node {
	if !hasOrder(r.Kind()) {
		return p.fail(p.toks[p.i-1], r.String()+" has no order: use ==, != or in", "")
	}
	first := p.peek()
	lo, ok := p.literal(r, name)
	if !ok {
		return nil
	}
	if t := p.next(); !t.is("and") && !t.op("&&") {
		return p.fail(t, "between needs two values: between A and B", "")
	}
	hi, ok := p.literal(r, name)
	if !ok {
		return nil
	}
	item, ok := p.span(r, first, lo, hi)
	if !ok {
		return nil
	}
	return newIn(r, []Span{item}, false)
}

// item parses one value or a range A..B.
func (p *parser) item(r Ref, name token) (Span, bool) {
	first := p.peek()
	lo, ok := p.literal(r, name)
	if !ok {
		return Span{}, false
	}
	if p.peek().kind != tokDots {
		if r.Kind() == tcp.KindPort {
			return p.span(r, first, lo, lo)
		}
		return lo, true
	}
	dots := p.next()
	if !hasOrder(r.Kind()) {
		p.fail(dots, r.String()+" has no order, so no ranges", "")
		return Span{}, false
	}
	hi, ok := p.literal(r, name)
	if !ok {
		return Span{}, false
	}
	return p.span(r, first, lo, hi)
}

// span joins two values to a range and checks that it is one.
func (p *parser) span(r Ref, first token, lo, hi Span) (Span, bool) {
	s := Span{Lo: lo.Lo, Hi: hi.Hi}
	whole := token{pos: first.pos, end: p.toks[max(p.i-1, 0)].end}
	msg := ""
	switch r.Kind() {
	case tcp.KindAddr:
		a, b := s.Lo.Prefix, s.Hi.Prefix
		switch {
		case !a.IsSingleIP() || !b.IsSingleIP():
			msg = "the ends of a range are addresses, not networks"
		case a.Addr().Is4() != b.Addr().Is4():
			msg = "the ends of a range are of one IP version"
		case b.Addr().Less(a.Addr()):
			msg = "this range is empty: its end is before its beginning"
		}
	case tcp.KindString:
		if s.Hi.Str < s.Lo.Str {
			msg = "this range is empty: its end is before its beginning"
		}
	default:
		if s.Hi.Num < s.Lo.Num {
			msg = "this range is empty: its end is before its beginning"
		}
	}
	if msg != "" {
		p.fail(whole, msg, "")
		return Span{}, false
	}
	return s, true
}

// contains parses the text after "contains".
func (p *parser) contains(r Ref, op token) Node {
	t := p.next()
	if !isText(r.Kind()) {
		return p.fail(op, "contains applies to text; "+r.String()+" is not", "")
	}
	if t.kind != tokString && t.kind != tokWord {
		return p.fail(t, "contains needs a text", "")
	}
	if r.Kind() == tcp.KindState {
		return statesWhere(func(s string) bool { return strings.Contains(s, strings.ToUpper(t.text)) })
	}
	return &Contains{Ref: r, Text: t.text}
}

func isText(k tcp.Kind) bool {
	return k == tcp.KindString || k == tcp.KindEnum || k == tcp.KindState
}

// match parses the regular expression after "~" and its relatives.
func (p *parser) match(r Ref, op token, fold, neg bool) Node {
	t := p.next()
	if !isText(r.Kind()) {
		hint := "use a relation such as == or in"
		if r.Kind() == tcp.KindAddr {
			hint = "use a network, such as == 10.0.0.0/8"
		}
		return p.fail(op, "regular expressions apply to text; "+r.String()+" is not: "+hint, "")
	}
	if t.kind != tokString && t.kind != tokWord {
		return p.fail(t, "a regular expression is missing, in quotes", "")
	}
	if msg := p.checkRegexp(t.text, fold); msg != "" {
		return p.fail(t, msg, "")
	}
	if r.Kind() == tcp.KindState {
		// States are few: the expression is applied to their names now.
		test := matcher(t.text, fold)
		return statesWhere(func(s string) bool { return test(s) != neg })
	}
	return &Match{Ref: r, Pattern: t.text, Fold: fold, Negate: neg}
}

// checkRegexp says what is wrong with a regular expression, or "". It bounds the
// size of the program before it is compiled: a{1000} is a short text.
func (p *parser) checkRegexp(pattern string, fold bool) string {
	if len(pattern) > maxRegexp {
		return "this regular expression is longer than 4 KiB"
	}
	flags := syntax.Perl
	if fold {
		flags |= syntax.FoldCase
	}
	re, err := syntax.Parse(pattern, flags)
	if err != nil {
		return "this is not a regular expression (RE2): " + quoteless(strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	if p.program += programSize(re); p.program > maxProgram {
		return "the regular expressions of this filter are too large"
	}
	return ""
}

// programSize estimates the instructions that re compiles to.
func programSize(re *syntax.Regexp) int {
	n := 1 + len(re.Rune)/2
	for _, s := range re.Sub {
		n = min(n+programSize(s), maxProgram+1)
	}
	if re.Op == syntax.OpRepeat {
		n = min(n*max(re.Min, re.Max, 1), maxProgram+1)
	}
	return n
}
