package filter

import (
	"strings"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// endpoint is the address and the port of one end.
type endpoint struct{ addr, port Ref }

func endAt(e End) endpoint {
	return endpoint{addr: Ref{End: e}, port: Ref{End: e, Port: true}}
}

var (
	srcEnd    = endAt(EndSrc)
	dstEnd    = endAt(EndDst)
	eitherEnd = endAt(EndEither)
)

// endpoints are the words that name ends, with those of any end.
var endpoints = map[string]endpoint{
	"src": srcEnd, "dst": dstEnd, "addr": eitherEnd,
	"client": endAt(EndClient), "server": endAt(EndServer),
	"local":  {addr: Ref{Field: tcp.FieldByName("local_ip")}, port: Ref{Field: tcp.FieldByName("local_port")}},
	"remote": {addr: Ref{Field: tcp.FieldByName("remote_ip")}, port: Ref{Field: tcp.FieldByName("remote_port")}},
}

// portWords are the words for ports.
var portWords = map[string]Ref{
	"port": eitherEnd.port, "sport": srcEnd.port, "dport": dstEnd.port,
	"srcport": srcEnd.port, "dstport": dstEnd.port,
}

// primitive is a condition in the manner of pcap-filter: ends, what of them, and
// a value, which is all that differs when it is repeated.
type primitive struct {
	// ends has one entry, or src and dst with all.
	ends []endpoint
	all  bool
	// what is host, net, port or portrange, or empty for ss's host syntax.
	what string
}

func (pr *primitive) port() bool { return pr.what == "port" || pr.what == "portrange" }

// takes reports whether t can be the value of a repeated primitive.
func (pr *primitive) takes(p *parser, t token) bool {
	if t.kind != tokWord {
		return false
	}
	if pr.port() {
		_, _, ok := p.ports(t.text)
		return ok
	}
	if pr.what == "net" && strings.Trim(t.text, "0123456789./") == "" {
		return true
	}
	return looksLikeAddr(t.text)
}

// primitiveAt reads the words before the value of a primitive; t is the first of
// them, already consumed.
func (p *parser) primitiveAt(t token) (primitive, bool) {
	low := strings.ToLower(t.text)
	switch low {
	case "host":
		if !p.hostMeansAddress() {
			return primitive{}, false
		}
		return primitive{ends: []endpoint{eitherEnd}, what: low}, true
	case "net", "port", "portrange":
		return primitive{ends: []endpoint{eitherEnd}, what: low}, true
	}
	if r, ok := portWords[low]; ok {
		return primitive{ends: []endpoint{{port: r}}, what: "port"}, true
	}
	ep, ok := endpoints[low]
	if !ok {
		return primitive{}, false
	}
	pr := primitive{ends: []endpoint{ep}}
	other := map[string]string{"src": "dst", "dst": "src"}[low]
	if c := p.peek(); other != "" && (isOr(c) || isAnd(c)) && p.peekAt(1).is(other) {
		p.next()
		p.next()
		if isOr(c) {
			pr.ends = []endpoint{eitherEnd}
		} else {
			pr.ends, pr.all = []endpoint{srcEnd, dstEnd}, true
		}
	}
	switch w := p.peek(); {
	case w.is("host"), w.is("net"), w.is("port"), w.is("portrange"):
		p.next()
		pr.what = strings.ToLower(w.text)
	case w.is("addr"), w.is("ip"):
		p.next()
		pr.what = "host"
	}
	return pr, true
}

// hostMeansAddress tells pcap-filter's host from the field of that name, which
// is the host that saw the connection: the field has a relation and a name after
// it, pcap-filter's an address.
func (p *parser) hostMeansAddress() bool {
	t := p.peek()
	if t.op("~", "~*", "=~", "!~", "!~*") || t.is("contains") || t.is("matches") || t.is("between") {
		return false
	}
	v := t
	_, related := relation(t)
	switch {
	case related:
		v = p.peekAt(1)
		if v.kind == tokLBrace {
			v = p.peekAt(2)
		}
	case t.kind == tokLBrace, t.is("in"):
		for i := range 3 {
			if v = p.peekAt(i); v.kind == tokWord && !v.is("in") || v.kind == tokString {
				break
			}
		}
	case t.is("not"):
		v = p.peekAt(2)
		if v.kind == tokLBrace || v.kind == tokLParen {
			v = p.peekAt(3)
		}
	default:
		return t.kind != tokString
	}
	return v.kind == tokWord && looksLikeAddr(cutHostPort(v.text).host)
}

// primitive parses the relation and value of a primitive; t is its first word.
func (p *parser) primitive(t token, pr primitive) Node {
	ref := pr.ends[0].addr
	if pr.port() {
		ref = pr.ends[0].port
	}
	p.expectRef(wantOperator|wantValue, ref)
	if pr.what == "" {
		p.expect(wantEndWord)
	}
	next := p.peek()
	op, related := relation(next)
	direct := next.kind == tokWord && !isConnective(next) && !related && !next.is("in") &&
		!next.is("not") && !next.is("between") && !next.is("contains") && !next.is("matches")
	// ss's host syntax and whole networks may stand after = and != too.
	equality := (op == Eq || op == Ne) && p.peekAt(1).kind == tokWord && !pr.port()
	switch {
	case direct:
		p.again = &pr
		return p.primitiveValue(p.next(), pr)
	case equality:
		p.next()
		n := p.primitiveValue(p.next(), pr)
		if p.err != nil {
			return nil
		}
		if op == Eq {
			p.again = &pr
			return n
		}
		return p.differs(pr, n)
	}
	if len(pr.ends) > 1 {
		var terms []Node
		at := p.i
		for _, ep := range pr.ends {
			p.i = at
			r := ep.addr
			if pr.port() {
				r = ep.port
			}
			terms = append(terms, p.comparison(r, t))
			if p.err != nil {
				return nil
			}
		}
		return newAnd(terms...)
	}
	if op == Eq && pr.port() {
		defer func() { p.again = &pr }()
	}
	name := token{kind: tokWord, text: ref.String(), pos: t.pos, end: p.toks[max(p.i-1, 0)].end}
	return p.comparison(ref, name)
}

// differs turns a test for equality of ends into one for difference, in which
// unknown values are false.
func (p *parser) differs(pr primitive, n Node) Node {
	switch n := n.(type) {
	case *Compare:
		return &Compare{Ref: n.Ref, Op: Ne, Value: n.Value}
	case *In:
		return &In{Ref: n.Ref, Items: n.Items, Negate: true}
	case *And:
		if len(pr.ends) == 1 && pr.ends[0].addr.End != EndEither {
			var terms []Node
			for _, m := range n.Nodes {
				terms = append(terms, p.differs(pr, m))
			}
			return newOr(terms...)
		}
	}
	return newAnd(&Has{Ref: Ref{Field: tcp.FieldByName("remote_ip")}}, negate(n))
}

// primitiveValue makes the condition of a primitive for one value.
func (p *parser) primitiveValue(t token, pr primitive) Node {
	if t.kind != tokWord {
		return p.fail(t, "an address or a port is missing here", "")
	}
	switch pr.what {
	case "port", "portrange":
		return p.portPrimitive(t, pr)
	case "net":
		return p.netPrimitive(t, pr)
	}
	hp := cutHostPort(t.text)
	var prefix []Span
	if hp.host != "" {
		if strings.Trim(hp.host, "0123456789") == "" && hp.port == "" {
			return p.fail(t, quote(t.text)+" is not an address; a port has a colon before it", ":"+t.text)
		}
		addr, msg := parsePrefix(hp.host, false)
		if msg != "" {
			return p.hostName(t, pr, hp, msg)
		}
		prefix = []Span{single(Value{Prefix: addr})}
	}
	var port []Span
	if hp.port != "" {
		v, msg, suggestion := p.portValue(hp.port)
		if msg != "" {
			return p.fail(t, msg, suggestion)
		}
		port = []Span{single(Value{Num: v})}
	}
	n := overEnds(pr, func(ep endpoint) Node {
		var terms []Node
		if prefix != nil {
			terms = append(terms, newIn(ep.addr, prefix, false))
		}
		if port != nil {
			terms = append(terms, newIn(ep.port, port, false))
		}
		return newAnd(terms...)
	}, prefix != nil && port != nil)
	switch hp.family {
	case 4:
		return newAnd(familyIs("ipv4"), n)
	case 6:
		return newAnd(familyIs("ipv6"), n)
	default:
		return n
	}
}

// overEnds makes a condition for each end of a primitive. An address together
// with a port must be of the same end, so that either end is two conditions.
func overEnds(pr primitive, cond func(endpoint) Node, both bool) Node {
	if both && pr.ends[0].addr.End == EndEither {
		return newOr(cond(srcEnd), cond(dstEnd))
	}
	var terms []Node
	for _, ep := range pr.ends {
		terms = append(terms, cond(ep))
	}
	return newAnd(terms...)
}

// hostName reports a name where an address must be.
func (p *parser) hostName(t token, pr primitive, hp hostPort, msg string) Node {
	if hp.port == "" && strings.Trim(strings.ToLower(hp.host), "abcdefghijklmnopqrstuvwxyz0123456789_-.") == "" {
		msg = quote(hp.host) + " is not an address, and names are not resolved"
		if pr.what == "host" && pr.ends[0].addr.End == EndEither {
			return p.fail(t, msg+": compare remote_name, or the host that saw the connection", "host == "+hp.host)
		}
		return p.fail(t, msg+": compare remote_name, sni or http_host", "")
	}
	return p.fail(t, msg, "")
}

func (p *parser) netPrimitive(t token, pr primitive) Node {
	text := t.text
	if p.accept("mask") {
		m := p.next()
		if m.kind != tokWord {
			return p.fail(m, "a network mask is missing here", "")
		}
		text += "/" + m.text
		t.end = m.end
	}
	prefix, msg := parsePrefix(text, true)
	if msg != "" {
		return p.fail(t, msg, "")
	}
	items := []Span{single(Value{Prefix: prefix})}
	return overEnds(pr, func(ep endpoint) Node { return newIn(ep.addr, items, false) }, false)
}

func (p *parser) portPrimitive(t token, pr primitive) Node {
	lo, hi, suggestion, msg := p.portRange(t.text)
	if msg == "" && p.peek().kind == tokDots {
		p.next()
		end := p.next()
		hi, msg, suggestion = p.portValue(end.text)
		if end.kind != tokWord {
			msg = "the end of the range is missing here"
		}
		t.end = end.end
	}
	if msg != "" {
		return p.fail(t, msg, suggestion)
	}
	if hi < lo {
		return p.fail(t, "this range is empty: its end is before its beginning", "")
	}
	items := []Span{{Lo: Value{Num: lo}, Hi: Value{Num: hi}}}
	return overEnds(pr, func(ep endpoint) Node { return newIn(ep.port, items, false) }, false)
}

// portRange reads a port, or two with a hyphen between them. Names may have
// hyphens too.
func (p *parser) portRange(text string) (lo, hi uint64, suggestion, msg string) {
	if lo, hi, ok := p.ports(text); ok {
		return lo, hi, "", ""
	}
	if a, b, ok := strings.Cut(text, "-"); ok {
		if _, ok := p.port(a); ok {
			text = b
		}
	}
	_, msg, suggestion = p.portValue(text)
	return 0, 0, suggestion, msg
}

// ports is portRange without a reason.
func (p *parser) ports(text string) (lo, hi uint64, ok bool) {
	if lo, ok = p.port(text); ok {
		return lo, lo, true
	}
	for i := 0; i < len(text) && i < maxServiceName; i++ {
		if text[i] != '-' {
			continue
		}
		a, ok1 := p.port(text[:i])
		b, ok2 := p.port(text[i+1:])
		if ok1 && ok2 {
			return a, b, true
		}
	}
	return 0, 0, false
}
