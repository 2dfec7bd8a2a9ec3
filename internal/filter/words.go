package filter

import (
	"strings"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

const onlyTCP = "only TCP connections are kept, so this would match nothing"

// refused are words of ss and pcap-filter that have no meaning on connections,
// with the reason.
var refused = map[string]string{
	"autobound": "whether the kernel chose the local port is not recorded; outbound is what autobound usually means",
	"fwmark":    "the mark of a socket is not recorded",
	"dev":       "the device a socket is bound to is not recorded; for packets there is interface",
	"less":      "less is about the length of packets; a connection has bytes_sent and bytes_received",
	"greater":   "greater is about the length of packets; a connection has bytes_sent and bytes_received",
	"len":       "len is about single packets; a connection has bytes_sent and bytes_received",
	"gateway":   "link-layer addresses are not known of a connection",
	"ether":     "link-layer addresses are not known of a connection",
	"wlan":      "link-layer addresses are not known of a connection",
	"vlan":      "VLANs are not known of a connection",
	"mpls":      "MPLS labels are not known of a connection",
	"pppoes":    "PPPoE sessions are not known of a connection",
	"geneve":    "tunnels are not known of a connection",
	"vxlan":     "tunnels are not known of a connection",
	"broadcast": "TCP has no broadcast",
	"multicast": "TCP has no multicast",
	"udp":       onlyTCP,
	"icmp":      onlyTCP,
	"icmp6":     onlyTCP,
	"icmpv6":    onlyTCP,
	"arp":       onlyTCP,
	"rarp":      onlyTCP,
	"sctp":      onlyTCP,
	"dns":       onlyTCP,
	"igmp":      onlyTCP,
	"quic":      onlyTCP,
	"unix":      onlyTCP,
}

// refusedPrefix explains display filter names of Wireshark that connections do
// not have.
func refusedPrefix(low string) string {
	switch {
	case strings.HasPrefix(low, "tcp.analysis."):
		return quote(low) + " is about single packets; a connection has counts such as retransmissions and dup_acks"
	case strings.HasPrefix(low, "tcp.") && nearest(low, wiresharkWords()) == "":
		return quote(low) + " is about single packets, which a connection has many of"
	case strings.HasPrefix(low, "frame."), strings.HasPrefix(low, "eth."), strings.HasPrefix(low, "udp."),
		strings.HasPrefix(low, "dns."), strings.HasPrefix(low, "icmp."), strings.HasPrefix(low, "http."),
		strings.HasPrefix(low, "tls."):
		if nearest(low, wiresharkWords()) == "" {
			return quote(low) + " is not known of a connection"
		}
	}
	return ""
}

// operandKeywords are the words besides fields that begin a condition.
var operandKeywords = []string{
	"state", "exclude", "src", "dst", "sport", "dport", "host", "net", "port", "portrange",
	"local", "remote", "client", "server", "addr", "tcp", "ip", "ip6", "has", "not",
	"inbound", "outbound", "proto",
}

func fieldNames() []string {
	var names []string
	for _, f := range tcp.Fields() {
		names = append(names, f.Name)
		if f.Short != "" {
			names = append(names, f.Short)
		}
		names = append(names, f.Aliases...)
	}
	return names
}

func wiresharkWords() []string {
	var names []string
	for n := range wiresharkRefs {
		names = append(names, n)
	}
	for n := range wiresharkCounts {
		names = append(names, n)
	}
	for _, n := range flagWords {
		names = append(names, "tcp.flags."+n)
	}
	return sortedUnique(names)
}

// operandWords are all words that can begin a condition.
func operandWords() []string {
	return append(append(fieldNames(), operandKeywords...), wiresharkWords()...)
}

// qualifiable are the primitives that pcap-filter lets a protocol stand before,
// as in "tcp port 80".
var qualifiable = []string{"host", "net", "port", "portrange", "src", "dst", "proto"}

// qualified parses the primitive after a protocol word, if there is one, so that
// "not tcp port 80" negates both.
func (p *parser) qualified(proto Node) Node {
	t := p.peek()
	for _, w := range qualifiable {
		if !t.is(w) {
			continue
		}
		p.next()
		if w == "proto" {
			return p.proto(proto)
		}
		pr, ok := p.primitiveAt(t)
		if !ok {
			p.i--
			break
		}
		n := p.primitive(t, pr)
		if p.err != nil {
			return nil
		}
		if _, ok := proto.(All); ok {
			return n
		}
		return newAnd(proto, n)
	}
	return proto
}

// proto parses the protocol after "proto".
func (p *parser) proto(family Node) Node {
	t := p.next()
	if t.kind != tokWord {
		return p.fail(t, "a protocol is missing here", "tcp")
	}
	switch strings.TrimPrefix(strings.ToLower(t.text), `\`) {
	case "tcp", "6":
		return family
	default:
		return p.fail(t, onlyTCP, "")
	}
}

// cgroup parses ss's "cgroup PATH": its paths are those of the mounted file
// system, ours those of the hierarchy.
func (p *parser) cgroup(t token, f *tcp.Field) Node {
	n := p.comparison(Ref{Field: f}, t)
	c, ok := n.(*Compare)
	if !ok {
		return n
	}
	path := c.Value.Str
	for cut := true; cut; {
		cut = false
		for _, mount := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
			if rest, ok := strings.CutPrefix(path, mount); ok && (rest == "" || rest[0] == '/') {
				path, cut = "/"+strings.Trim(rest, "/"), true
			}
		}
	}
	return &Compare{Ref: c.Ref, Op: c.Op, Value: Value{Str: path}}
}
