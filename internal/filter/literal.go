package filter

import (
	"strconv"
	"strings"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// literal parses one value of the kind of r. name is the name as the user wrote
// it: with its unit in it, a duration needs no other. Days are spans, all other
// values single.
func (p *parser) literal(r Ref, name token) (Span, bool) {
	p.expectRef(wantValue, r)
	t := p.next()
	if t.kind != tokWord && t.kind != tokString || t.kind == tokWord && isConnective(t) {
		p.fail(t, "a value for "+r.String()+" is missing here", "")
		return Span{}, false
	}
	text := t.text
	if u := p.peek(); u.kind == tokWord && t.kind == tokWord && isUnit(r.Kind(), text, u.text) {
		p.next()
		text += u.text
		t.end = u.end
	}
	s, msg, suggestion := p.value(r, name, text)
	if msg != "" {
		p.fail(t, msg, suggestion)
		return Span{}, false
	}
	return s, true
}

// value reads text as a value of the kind of r; msg is empty when it is one.
func (p *parser) value(r Ref, name token, text string) (s Span, msg, suggestion string) {
	var v Value
	switch k := r.Kind(); k {
	case tcp.KindString:
		v.Str = text
	case tcp.KindEnum:
		v.Str, msg, suggestion = enumValue(r.Field, text)
	case tcp.KindState:
		m, ok := tcp.ParseState(text)
		if !ok {
			return s, unknownState(text), nearest(text, stateWords())
		}
		v.Num = uint64(m)
	case tcp.KindAddr:
		v.Prefix, msg = parsePrefix(text, false)
		if msg == "" {
			msg, suggestion = checkFamily(r, v)
		}
	case tcp.KindPort:
		lo, hi, suggestion, msg := p.portRange(text)
		return Span{Lo: Value{Num: lo}, Hi: Value{Num: hi}}, msg, suggestion
	case tcp.KindBool:
		b, ok := parseBool(text)
		if !ok {
			msg = quote(text) + " is neither true nor false"
		}
		v.Num = b
	case tcp.KindTime:
		var hi uint64
		v.Num, hi, msg = parseTime(text, p.opt.Now)
		return Span{Lo: v, Hi: Value{Num: hi}}, msg, ""
	case tcp.KindDuration:
		if strings.Trim(text, "0123456789") == "" && strings.EqualFold(name.text, r.Field.Name) {
			v.Num, msg = parseCount(text)
			break
		}
		v.Num, msg = parseDuration(text)
		if msg != "" && strings.Trim(text, "0123456789") == "" {
			suggestion = text + "ms"
		}
	case tcp.KindBytes, tcp.KindRate:
		v.Num, msg = parseBytes(text, k == tcp.KindRate)
	case tcp.KindID:
		id, ok := tcp.ParseID(strings.ToLower(text))
		if !ok {
			msg = quote(text) + " is not an id: c and 13 characters"
		}
		v.Num = uint64(id)
	default:
		v.Num, msg = parseCount(text)
		if msg != "" && strings.HasSuffix(text, "%") {
			msg = r.String() + " is not a share of anything, so it has no percentage"
		}
	}
	return single(v), msg, suggestion
}

// isUnit reports whether word is a unit that belongs to the number before it, as
// in "50 ms".
func isUnit(k tcp.Kind, number, word string) bool {
	if strings.Trim(number, "0123456789.") != "" {
		return false
	}
	switch k {
	case tcp.KindDuration:
		return durationUnits[word] != 0 || word == "ns"
	case tcp.KindBytes, tcp.KindRate:
		_, _, msg := byteUnit(word, k == tcp.KindRate)
		return msg == ""
	default:
		return false
	}
}

func parseBool(s string) (uint64, bool) {
	switch strings.ToLower(s) {
	case "1", "true", "yes":
		return 1, true
	case "0", "false", "no":
		return 0, true
	default:
		return 0, false
	}
}

// enumSpellings are spellings that folding does not reach, by field.
var enumSpellings = map[string]map[string]string{
	"direction": {
		"incoming": "inbound", "outgoing": "outbound", "listening": "listen",
		"listener": "listen", "forwarded": "transit",
	},
	"family":       {"4": "ipv4", "ip4": "ipv4", "v4": "ipv4", "inet": "ipv4", "ip": "ipv4", "6": "ipv6", "ip6": "ipv6", "v6": "ipv6", "inet6": "ipv6"},
	"source":       {"bpf": "ebpf", "proc": "procfs", "pcap": "capture"},
	"close_reason": {"timedout": "timeout", "rstreceive": "rst_received", "rstsend": "rst_sent"},
}

func foldEnum(s string) string {
	return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(s))
}

// enumValue finds the value of an enum that a text stands for, in any case and
// with or without hyphens and underscores.
func enumValue(f *tcp.Field, text string) (v, msg, suggestion string) {
	folded := foldEnum(text)
	for _, e := range f.Enum {
		if e != "" && foldEnum(e) == folded {
			return e, "", ""
		}
	}
	if e, ok := enumSpellings[f.Name][folded]; ok {
		return e, "", ""
	}
	return "", quote(text) + " is not a value of " + f.Name + ": one of " + strings.Join(enumWords(f), ", "), nearest(text, enumWords(f))
}

func enumWords(f *tcp.Field) []string {
	var words []string
	for _, e := range f.Enum {
		if e != "" {
			words = append(words, e)
		}
	}
	return words
}

// checkFamily refuses addresses that a name of one IP version can never have.
func checkFamily(r Ref, v Value) (msg, suggestion string) {
	is4 := v.Prefix.Addr().Is4()
	switch {
	case r.Family == 4 && !is4:
		return r.String() + " is IPv4 and never has this value", endV6Names[r.End]
	case r.Family == 6 && is4:
		return r.String() + " is IPv6 and never has this value", endV4Names[r.End]
	default:
		return "", ""
	}
}

// maxServiceName is longer than any name of a service (RFC 6335 ends them at 15
// characters, but files hold longer ones).
const maxServiceName = 64

// port reads a port: a number or the name of a service, perhaps after ss's colon.
func (p *parser) port(text string) (v uint64, ok bool) {
	name := portName(text)
	if name == "" || len(name) > maxServiceName {
		return 0, false
	}
	if strings.Trim(name, "0123456789") == "" {
		n, err := strconv.ParseUint(name, 10, 16)
		return n, err == nil
	}
	n, ok := p.opt.Services.lookup(name)
	return uint64(n), ok
}

func portName(text string) string { return strings.TrimPrefix(strings.TrimPrefix(text, "*"), ":") }

// portValue is port with a reason where it is none.
func (p *parser) portValue(text string) (v uint64, msg, suggestion string) {
	if v, ok := p.port(text); ok {
		return v, "", ""
	}
	name := portName(text)
	if i := strings.LastIndexByte(name, ':'); i >= 0 {
		return 0, quote(text) + " is not a port; the IP version is written apart, as ip or ip6", ":" + quoteless(name[i+1:])
	}
	if name != "" && strings.Trim(name, "0123456789") == "" {
		return 0, quote(name) + " is not a port: they end at 65535", ""
	}
	return 0, quote(name) + " is neither a port nor the name of one", nearest(name, serviceNames(p.opt.Services))
}

func serviceNames(more Services) []string {
	names := make([]string, 0, len(builtinServices)+len(more))
	for n := range builtinServices {
		names = append(names, n)
	}
	for n := range more {
		names = append(names, n)
	}
	return sortedUnique(names)
}

// ratioOf says which field each percentage is a share of.
var ratioOf = map[string]string{
	"accept_queue":              "backlog",
	"bytes_retransmitted":       "bytes_sent",
	"retransmits":               "segments_sent",
	"unacked":                   "cwnd",
	"lost":                      "unacked",
	"notsent":                   "send_queue",
	"send_queue":                "snd_wnd",
	"recv_queue":                "rcv_wnd",
	"rwnd_limited_us":           "busy_us",
	"sndbuf_limited_us":         "busy_us",
	"busy_us":                   "duration_us",
	"retransmissions_sent":      "packets_sent",
	"retransmissions_received":  "packets_received",
	"ooo_received":              "segments_received",
	"bytes_missed":              "bytes_received",
	"dsack_dups":                "segments_sent",
	"ecn_ce":                    "segments_sent",
	"delivery_rate":             "pacing_rate",
	"min_rtt_us":                "rtt_us",
	"rttvar_us":                 "rtt_us",
	"out_of_order_sent":         "packets_sent",
	"out_of_order_received":     "packets_received",
	"fast_retransmissions_sent": "packets_sent",
}

// ratio parses a percentage, if one comes next and r is a share of something.
func (p *parser) ratio(r Ref, op Op) (Node, bool) {
	t := p.peek()
	if t.kind != tokWord || r.Field == nil {
		return nil, false
	}
	text, ok := strings.CutSuffix(t.text, "%")
	split := false
	if !ok {
		if split = p.peekAt(1).is("%") && t.text != ""; !split {
			return nil, false
		}
	}
	of := tcp.FieldByName(ratioOf[r.Field.Name])
	if of == nil {
		return p.fail(t, r.String()+" is not a share of anything, so it has no percentage", ""), true
	}
	share, msg := parsePercent(text)
	if msg != "" {
		return p.fail(t, msg, ""), true
	}
	p.next()
	if split {
		p.next()
	}
	return &Ratio{Field: r.Field, Of: of, Op: singleOp(op), Share: share}, true
}
