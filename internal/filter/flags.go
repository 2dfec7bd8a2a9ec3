package filter

import (
	"strings"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// The TCP flags (RFC 9293, section 3.1; AE of RFC 9768).
const (
	flagFIN = 1 << iota
	flagSYN
	flagRST
	flagPSH
	flagACK
	flagURG
	flagECE
	flagCWR
	flagAE
	allFlags = 1<<iota - 1
)

// flagWords are Wireshark's names of the flags, by bit.
var flagWords = []string{"fin", "syn", "reset", "push", "ack", "urg", "ece", "cwr", "ae"}

// flagNamed returns the bit of a flag's name in Wireshark or pcap-filter, or 0.
func flagNamed(name string) uint16 {
	switch name {
	case "rst":
		return flagRST
	case "psh":
		return flagPSH
	case "ecn":
		return flagECE
	case "ns":
		return flagAE
	}
	for i, n := range flagWords {
		if n == name {
			return 1 << i
		}
	}
	return 0
}

// flagBytes parses pcap-filter's tcp[13] or tcp[tcpflags], after "tcp".
func (p *parser) flagBytes(t token) Node {
	p.next()
	index := p.next()
	if !index.is("tcpflags") && !index.is("13") && !index.is("0xd") || p.peek().kind != tokRBracket {
		for k := p.peek().kind; k != tokRBracket && k != tokEOF; k = p.peek().kind {
			p.next()
		}
		whole := token{pos: t.pos, end: p.peek().end}
		return p.fail(whole, "of the TCP header, only the flags are known of a connection", "tcp[tcpflags]")
	}
	p.next()
	return p.flagMask(token{pos: t.pos, end: p.toks[p.i-1].end})
}

// flagMask parses "& MASK", perhaps with a relation, after the flags t.
func (p *parser) flagMask(t token) Node {
	and := p.peek()
	if !and.op("&") {
		if _, ok := relation(and); ok {
			return p.fail(and, "a connection has many segments: test bits, as in tcp[tcpflags] & tcp-syn != 0", "")
		}
		return p.fail(t, "the flags need bits to test, as in tcp[tcpflags] & tcp-syn != 0", "")
	}
	p.next()
	mask, ok := p.flagBits()
	if !ok {
		return nil
	}
	if mask == 0 {
		return p.fail(token{pos: t.pos, end: p.toks[p.i-1].end}, "this tests no bit", "")
	}
	f := &Flags{Mask: mask, Set: true}
	if _, ok := relation(p.peek()); ok {
		return p.flagRelation(f)
	}
	p.bareFlags = f
	return f
}

// flagRelation parses what the masked bits are compared with.
func (p *parser) flagRelation(f *Flags) Node {
	rel := p.next()
	op, ok := relation(rel)
	if !ok {
		return p.fail(rel, "masked flags are compared with 0", "")
	}
	at := p.peek()
	v, ok := p.flagBits()
	if !ok {
		return nil
	}
	one := f.Mask&(f.Mask-1) == 0
	switch op = singleOp(op); {
	case v == 0 && (op == Ne || op == Gt), one && v == f.Mask && (op == Eq || op == Ge):
		return f
	case v == 0 && op == Eq, one && v == f.Mask && (op == Ne || op == Lt):
		return &Flags{Mask: f.Mask}
	default:
		return p.fail(at, "a connection has many segments: masked flags are compared with == 0 or != 0", "")
	}
}

// flagBits parses a number, a flag of pcap-filter such as tcp-syn, or several of
// them with | between and parentheses around.
func (p *parser) flagBits() (uint16, bool) {
	t := p.next()
	if t.kind == tokLParen {
		if !p.enter(t) {
			return 0, false
		}
		defer p.leave()
		var mask uint16
		for {
			m, ok := p.flagBits()
			if !ok {
				return 0, false
			}
			mask |= m
			switch end := p.next(); {
			case end.kind == tokRParen:
				return mask, true
			case !end.op("|") && !end.is("or"):
				p.fail(end, "the flags inside parentheses are joined by |", "")
				return 0, false
			}
		}
	}
	if t.kind == tokWord {
		low := strings.ToLower(t.text)
		if name, ok := strings.CutPrefix(low, "tcp-"); ok {
			if m := flagNamed(name); m != 0 {
				return m, true
			}
			p.fail(t, "unknown TCP flag "+quote(t.text), nearest(low, pcapFlags))
			return 0, false
		}
		if v, msg := parseCount(low); msg == "" && v <= allFlags {
			return uint16(v), true
		}
	}
	p.fail(t, "a number or a flag such as tcp-syn is missing here", "")
	return 0, false
}

// pcapFlags are pcap-filter's names of the flags.
var pcapFlags = []string{
	"tcp-fin", "tcp-syn", "tcp-rst", "tcp-push", "tcp-ack", "tcp-urg", "tcp-ece", "tcp-cwr",
}

// states in which a FIN was sent or received.
const finStates = tcp.StateSet(1<<tcp.FinWait1 | 1<<tcp.FinWait2 | 1<<tcp.CloseWait |
	1<<tcp.Closing | 1<<tcp.LastAck | 1<<tcp.TimeWait)

// states of a connection that carried neither FIN nor RST.
const youngStates = tcp.StateSet(1<<tcp.SynSent | 1<<tcp.SynRecv | 1<<tcp.Established)

// flagsOf returns the flags that segments of c carried, and which of them are
// known, either way. Packets show all; else they follow from how far the
// connection came and how it ended.
func flagsOf(c *tcp.Conn) (set, known uint16) {
	if c.SawReset {
		set |= flagRST
	}
	if c.Packets != nil {
		return set | c.Packets.Flags, allFlags
	}
	switch c.Reason {
	case tcp.CloseFIN:
		set |= flagFIN
		if !c.SawReset {
			known |= flagRST // all of it was seen to end in order
		}
	case tcp.CloseRSTSent, tcp.CloseRSTReceived:
		set |= flagRST
	case tcp.CloseRefused:
		set |= flagRST
		known |= flagFIN
	default:
	}
	if c.State != tcp.StateUnknown && c.State != tcp.Listen {
		set |= flagSYN
	}
	in := tcp.StateSet(1) << (c.State & 15)
	if in&finStates != 0 {
		set |= flagFIN
		known |= flagRST
	}
	if in&youngStates != 0 {
		known |= flagFIN | flagRST
	}
	return set, known | set
}
