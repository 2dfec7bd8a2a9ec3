package filter

import (
	"strings"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// wiresharkRefs are Wireshark's names of values that connections have.
var wiresharkRefs = map[string]Ref{
	"ip.addr": {End: EndEither, Family: 4}, "ip.host": {End: EndEither, Family: 4},
	"ip.src": {End: EndSrc, Family: 4}, "ip.src_host": {End: EndSrc, Family: 4},
	"ip.dst": {End: EndDst, Family: 4}, "ip.dst_host": {End: EndDst, Family: 4},
	"ipv6.addr": {End: EndEither, Family: 6}, "ipv6.host": {End: EndEither, Family: 6},
	"ipv6.src": {End: EndSrc, Family: 6}, "ipv6.src_host": {End: EndSrc, Family: 6},
	"ipv6.dst": {End: EndDst, Family: 6}, "ipv6.dst_host": {End: EndDst, Family: 6},
	"tcp.port": {End: EndEither, Port: true}, "tcp.srcport": {End: EndSrc, Port: true},
	"tcp.dstport":                          {End: EndDst, Port: true},
	"tls.handshake.extensions_server_name": {Field: tcp.FieldByName("sni")},
	"tls.handshake.extensions_alpn_str":    {Field: tcp.FieldByName("alpn")},
	"http.host":                            {Field: tcp.FieldByName("http_host")},
	"frame.interface_name":                 {Field: tcp.FieldByName("interface")},
	"tcp.stream":                           {Field: tcp.FieldByName("stream")},
	"tcp.completeness":                     {Field: tcp.FieldByName("completeness")},
	"tcp.analysis.initial_rtt":             {Field: tcp.FieldByName("initial_rtt_us")},
	"ip.geoip.country_iso":                 {Field: tcp.FieldByName("country")},
	"ip.geoip.asnum":                       {Field: tcp.FieldByName("asn")},
	"ip.geoip.org":                         {Field: tcp.FieldByName("as_org")},
}

// wiresharkCounts are Wireshark's marks of packets, as counts over a connection.
var wiresharkCounts = map[string]string{
	"tcp.analysis.retransmission":          "retransmissions",
	"tcp.analysis.fast_retransmission":     "fast_retransmissions",
	"tcp.analysis.spurious_retransmission": "spurious_retransmissions",
	"tcp.analysis.out_of_order":            "out_of_order",
	"tcp.analysis.duplicate_ack":           "dup_acks",
	"tcp.analysis.lost_segment":            "lost_segments",
	"tcp.analysis.zero_window":             "zero_windows",
	"tcp.analysis.window_full":             "window_full",
	"tcp.analysis.keep_alive":              "keep_alives",
}

// wireshark parses a condition that begins with a display filter name.
func (p *parser) wireshark(t token, low string) (Node, bool) {
	if !strings.Contains(low, ".") {
		return nil, false
	}
	if r, ok := wiresharkRefs[low]; ok {
		if !p.startsRelation() {
			p.expectRef(wantOperator, r)
			return &Has{Ref: r}, true
		}
		return p.comparison(r, t), true
	}
	if name, ok := wiresharkCounts[low]; ok {
		r := Ref{Field: tcp.FieldByName(name)}
		some := &Compare{Ref: r, Op: Gt}
		set, ok := p.truth()
		if !ok || set {
			return some, true
		}
		return &Compare{Ref: r, Op: Eq}, true
	}
	if name, ok := strings.CutPrefix(low, "tcp.flags."); ok {
		mask := flagNamed(name)
		if mask == 0 {
			return p.fail(t, "unknown TCP flag "+quote(name), prefixed("tcp.flags.", nearest(name, flagWords))), true
		}
		set, ok := p.truth()
		if p.err != nil {
			return nil, true
		}
		return &Flags{Mask: mask, Set: set || !ok}, true
	}
	if low == "tcp.flags" {
		return p.flagMask(t), true
	}
	if low == "ip.version" {
		return p.comparison(Ref{Field: tcp.FieldByName("family")}, t), true
	}
	return nil, false
}

// startsRelation reports whether a relation or a set comes next. After the names
// of Wireshark a value alone is no equality, but a name alone is a test for
// presence.
func (p *parser) startsRelation() bool {
	t := p.peek()
	if _, ok := relation(t); ok {
		return true
	}
	return t.is("in") || t.is("not") && p.peekAt(1).is("in") || t.is("between") ||
		t.is("contains") || t.is("matches") || t.op("~", "~*", "=~", "!~", "!~*")
}

// truth parses "== 1", "!= true" and the like; ok is false when there is no
// relation.
func (p *parser) truth() (set, ok bool) {
	p.expect(wantOperator)
	op, ok := relation(p.peek())
	if !ok {
		v, isBool := parseBool(p.peek().text)
		if !isBool || p.peek().kind != tokWord {
			return false, false
		}
		p.next()
		return v != 0, true
	}
	rel := p.next()
	p.expect(wantTruth)
	t := p.next()
	v, isBool := parseBool(t.text)
	if !isBool || t.kind != tokWord {
		p.fail(t, "this takes 1 or 0, true or false", "")
		return false, false
	}
	switch singleOp(op) {
	case Eq:
		return v != 0, true
	case Ne:
		return v == 0, true
	default:
		p.fail(rel, "this takes == or !=, for it is true or false", "")
		return false, false
	}
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}
