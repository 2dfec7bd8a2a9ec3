package filter

import (
	"strings"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// parser is a recursive-descent parser. The first failure moves it to the end of
// the text, so that callers need no checks but for nil nodes.
type parser struct {
	text    string
	toks    []token
	i       int
	opt     Options
	err     *Error
	depth   int
	program int // instructions of regular expressions so far
	// again is the last pcap-filter primitive: "port 80 or 443" repeats it.
	again *primitive
	// bareFlags is a test of flags that still may be followed by its relation,
	// as in "(tcp[13] & 2) != 0".
	bareFlags *Flags
	// negated says that the next condition stands after "not", where a run of
	// ss's state words ends after one.
	negated bool
	// want is what could stand at the end of the text; see Complete.
	want    expectation
	wantRef Ref
}

func newParser(text string, o Options) *parser {
	p := &parser{text: text, opt: o}
	if len(text) > MaxText {
		p.err = &Error{Text: text, Pos: MaxText, End: MaxText, Msg: "the expression is longer than 64 KiB"}
	} else {
		p.toks, p.err = lex(text)
	}
	if p.err != nil {
		p.toks = []token{{kind: tokEOF, pos: len(text), end: len(text)}}
	}
	return p
}

func (p *parser) peek() token { return p.toks[p.i] }

// peekAt returns the token n after the next one.
func (p *parser) peekAt(n int) token { return p.toks[min(p.i+n, len(p.toks)-1)] }

func (p *parser) next() token {
	t := p.toks[p.i]
	if t.kind != tokEOF {
		p.i++
	}
	return t
}

// accept consumes the next token if it is the word w.
func (p *parser) accept(w string) bool {
	if p.peek().is(w) {
		p.i++
		return true
	}
	return false
}

// fail records the first error, at t, and returns nil.
func (p *parser) fail(t token, msg, suggestion string) Node {
	if p.err == nil {
		p.err = &Error{Text: p.text, Pos: t.pos, End: t.end, Msg: msg, Suggestion: suggestion}
	}
	p.i = len(p.toks) - 1
	return nil
}

// enter counts one level of nesting; leave undoes it.
func (p *parser) enter(t token) bool {
	if p.depth++; p.depth > MaxDepth {
		p.fail(t, "the expression is nested deeper than 1000 levels", "")
		return false
	}
	return true
}

func (p *parser) leave() { p.depth-- }

func (p *parser) parse() Node {
	if p.err != nil {
		return nil
	}
	if p.peek().kind == tokEOF {
		p.expect(wantOperand)
		return All{}
	}
	n := p.or()
	if t := p.peek(); p.err == nil && t.kind != tokEOF {
		switch t.kind {
		case tokRParen:
			return p.fail(t, "this parenthesis closes nothing", "")
		default:
			return p.fail(t, "unexpected "+quote(p.raw(t)), "")
		}
	}
	return n
}

// raw is the text of a token as written.
func (p *parser) raw(t token) string { return p.text[t.pos:t.end] }

func isOr(t token) bool  { return t.is("or") || t.op("||", "|") }
func isXor(t token) bool { return t.is("xor") || t.op("^^") }
func isAnd(t token) bool { return t.is("and") || t.op("&&", "&") }

func isConnective(t token) bool { return isOr(t) || isXor(t) || isAnd(t) }

func (p *parser) or() Node {
	terms := []Node{p.xor()}
	for isOr(p.peek()) {
		p.next()
		terms = append(terms, p.xor())
	}
	if p.err != nil {
		return nil
	}
	return newOr(terms...)
}

func (p *parser) xor() Node {
	n := p.and()
	// A chain leans to the left, so its length is depth.
	before := p.depth
	for isXor(p.peek()) {
		if !p.enter(p.next()) {
			return nil
		}
		n = &Xor{A: n, B: p.and()}
	}
	p.depth = before
	return n
}

func (p *parser) and() Node {
	terms := []Node{p.unary()}
	for {
		p.expect(wantConnective | wantOperand)
		t := p.peek()
		if isAnd(t) {
			p.next()
		} else if !startsOperand(t) {
			break
		}
		terms = append(terms, p.unary())
	}
	if p.err != nil {
		return nil
	}
	return newAnd(terms...)
}

func startsOperand(t token) bool {
	switch t.kind {
	case tokWord:
		return !isConnective(t)
	case tokString, tokLParen:
		return true
	case tokOp:
		return t.text == "!"
	default:
		return false
	}
}

func (p *parser) unary() Node {
	t := p.peek()
	if !t.is("not") && !t.op("!") {
		return p.primary()
	}
	p.next()
	if !p.enter(t) {
		return nil
	}
	defer p.leave()
	p.negated = true
	n := p.unary()
	p.negated = false
	if p.err != nil {
		return nil
	}
	return negate(n)
}

func (p *parser) primary() Node {
	p.expect(wantOperand)
	p.bareFlags = nil
	t := p.next()
	switch t.kind {
	case tokLParen:
		return p.group(t)
	case tokWord:
		return p.word(t)
	case tokString:
		return p.fail(t, "a text alone is not a condition", "process "+quote(t.text))
	case tokEOF:
		return p.fail(t, "a condition is missing here", "")
	default:
		if isConnective(t) || t.kind == tokOp {
			return p.fail(t, "a condition is missing before "+quote(t.text), "")
		}
		return p.fail(t, "unexpected "+quote(t.text)+" where a condition should begin", "")
	}
}

func (p *parser) group(open token) Node {
	if !p.enter(open) {
		return nil
	}
	defer p.leave()
	p.negated = false
	n := p.or()
	if p.err != nil {
		return nil
	}
	flags := p.bareFlags
	p.bareFlags = nil
	if t := p.peek(); t.kind != tokRParen {
		if t.kind == tokEOF {
			return p.fail(open, "this parenthesis is never closed", "")
		}
		return p.fail(t, "unexpected "+quote(p.raw(t))+" inside parentheses", "")
	}
	p.next()
	if f, ok := n.(*Flags); ok && f == flags && p.peek().kind == tokOp {
		return p.flagRelation(f)
	}
	return n
}

// word parses a condition that begins with a word.
func (p *parser) word(t token) Node {
	again, negated := p.again, p.negated
	p.again, p.negated = nil, false
	low := strings.ToLower(t.text)
	switch low {
	case "and", "or", "xor":
		return p.fail(t, "a condition is missing before "+quote(t.text), "")
	case "state":
		return p.state(t, negated)
	case "exclude", "excl":
		return p.stateRun(t, negated)
	case "has":
		return p.has(t)
	case "tcp":
		if p.peek().kind == tokLBracket {
			return p.flagBytes(t)
		}
		return p.qualified(All{})
	case "ip", "ip4", "inet":
		return p.qualified(familyIs("ipv4"))
	case "ip6", "ipv6", "inet6":
		return p.qualified(familyIs("ipv6"))
	case "proto":
		return p.proto(All{})
	case "inbound", "outbound":
		return &Compare{Ref: Ref{Field: tcp.FieldByName("direction")}, Op: Eq, Value: Value{Str: low}}
	}
	if pr, ok := p.primitiveAt(t); ok {
		return p.primitive(t, pr)
	}
	if n, ok := p.wireshark(t, low); ok {
		return n
	}
	if f := tcp.FieldByName(low); f != nil {
		if f.Kind == tcp.KindBool && !p.startsComparison() {
			p.expect(wantOperator)
			return &Compare{Ref: Ref{Field: f}, Op: Eq, Value: Value{Num: 1}}
		}
		if low == "cgroup" {
			return p.cgroup(t, f)
		}
		return p.comparison(Ref{Field: f}, t)
	}
	if n, ok := p.bareValue(t, again); ok {
		return n
	}
	if msg, ok := refused[low]; ok {
		return p.fail(t, msg, "")
	}
	return p.unknown(t, low)
}

// bareValue parses a value that stands alone: an address, a port with its colon,
// an ID, or what repeats the pcap-filter primitive before it.
func (p *parser) bareValue(t token, again *primitive) (Node, bool) {
	if again != nil && again.takes(p, t) {
		p.again = again
		return p.primitiveValue(t, *again), true
	}
	if looksLikeAddr(t.text) {
		return p.primitiveValue(t, primitive{ends: []endpoint{eitherEnd}}), true
	}
	if len(t.text) > 1 && (t.text[0] == ':' || strings.HasPrefix(t.text, "*:")) {
		return p.primitiveValue(t, primitive{ends: []endpoint{eitherEnd}}), true
	}
	if id, ok := tcp.ParseID(t.text); ok {
		return &Compare{Ref: Ref{Field: tcp.FieldByName("id")}, Op: Eq, Value: Value{Num: uint64(id)}}, true
	}
	return nil, false
}

// unknown reports a word that means nothing where a condition begins.
func (p *parser) unknown(t token, low string) Node {
	if _, ok := tcp.ParseState(t.text); ok {
		return p.fail(t, quote(t.text)+" is a state: it needs the word state before it", "state "+t.text)
	}
	if isDigit(t.text[0]) {
		return p.fail(t, "a number alone is not a condition: a port is written port 443, a process pid 123", "")
	}
	if msg := refusedPrefix(low); msg != "" {
		return p.fail(t, msg, "")
	}
	if _, ok := p.port(t.text); ok {
		return p.fail(t, quote(t.text)+" is the name of a port: it needs the word port before it", "port "+low)
	}
	if s := nearest(low, operandWords()); s != "" {
		return p.fail(t, "unknown field or word "+quote(t.text), s)
	}
	msg := "unknown field or word " + quote(t.text)
	if strings.Trim(low, "abcdefghijklmnopqrstuvwxyz0123456789_-") == "" {
		msg += "; a process is found with process " + t.text
	}
	return p.fail(t, msg, "")
}

// has parses has(NAME), after the word.
func (p *parser) has(t token) Node {
	if open := p.next(); open.kind != tokLParen {
		return p.fail(open, "has needs a name in parentheses, such as has(rtt)", "")
	}
	p.expect(wantField)
	name := p.next()
	if name.kind != tokWord {
		return p.fail(name, "has needs a name in parentheses, such as has(rtt)", "")
	}
	ref, ok := p.refNamed(name)
	if !ok {
		return p.fail(name, "unknown field "+quote(name.text), nearest(name.text, fieldNames()))
	}
	if end := p.next(); end.kind != tokRParen {
		return p.fail(end, "has takes one name and a closing parenthesis", "")
	}
	return &Has{Ref: ref}
}

// refNamed resolves the name of a value, which may take a second word ("client
// port").
func (p *parser) refNamed(t token) (Ref, bool) {
	low := strings.ToLower(t.text)
	if f := tcp.FieldByName(low); f != nil {
		return Ref{Field: f}, true
	}
	if ep, ok := endpoints[low]; ok {
		if p.accept("port") {
			return ep.port, true
		}
		return ep.addr, true
	}
	if ref, ok := portWords[low]; ok {
		return ref, true
	}
	ref, ok := wiresharkRefs[low]
	return ref, ok
}

func familyIs(family string) Node {
	return &Compare{Ref: Ref{Field: tcp.FieldByName("family")}, Op: Eq, Value: Value{Str: family}}
}
