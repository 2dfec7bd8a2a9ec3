package filter

import (
	"strings"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// expectation is a set of what could come next.
type expectation uint8

const (
	wantOperand    expectation = 1 << iota // a condition
	wantConnective                         // and, or, xor, a parenthesis
	wantOperator                           // a relation for wantRef
	wantValue                              // a literal for wantRef
	wantField                              // the name of a field
	wantEndWord                            // host, net, port after src or dst
	wantTruth                              // 1 or 0
)

// expect notes what could come next, if the text ends here.
func (p *parser) expect(e expectation) {
	if p.err == nil && p.peek().kind == tokEOF {
		p.want |= e
	}
}

func (p *parser) expectRef(e expectation, r Ref) {
	if p.err == nil && p.peek().kind == tokEOF {
		p.want |= e
		p.wantRef = r
	}
}

// Complete returns the words that could stand at the cursor, a byte offset into
// text: those that begin with the part of a word before it, sorted. It returns
// none inside quotes and after an error.
func Complete(text string, cursor int) []string {
	cursor = min(max(cursor, 0), len(text))
	start := cursor
	for start > 0 && completesWord(text[start-1]) {
		start--
	}
	partial := text[start:cursor]
	// The colon before the name of a port is part of what is completed.
	p := newParser(strings.TrimSuffix(text[:start], ":"), Options{})
	p.parse()
	if p.want == 0 {
		return nil
	}
	var out []string
	for _, w := range p.candidates() {
		if len(w) >= len(partial) && strings.EqualFold(w[:len(partial)], partial) {
			out = append(out, w)
		}
	}
	return sortedUnique(out)
}

// completesWord reports whether c belongs to the word being completed. A colon
// does not: the names of ports come after it.
func completesWord(c byte) bool { return c != ':' && wordByte(c) }

func (p *parser) candidates() []string {
	var words []string
	if p.want&wantOperand != 0 {
		words = append(words, operandWords()...)
	}
	if p.want&wantConnective != 0 {
		words = append(words, "and", "or", "xor")
	}
	if p.want&wantField != 0 {
		words = append(words, fieldNames()...)
		words = append(words, "src", "dst", "sport", "dport", "client", "server")
	}
	if p.want&wantEndWord != 0 {
		words = append(words, "host", "net", "port", "portrange")
	}
	if p.want&wantTruth != 0 {
		words = append(words, "0", "1", "false", "true")
	}
	if p.want&wantOperator != 0 {
		words = append(words, operatorWords(p.wantRef)...)
	}
	if p.want&wantValue != 0 {
		words = append(words, valueWords(p.wantRef)...)
	}
	return words
}

func operatorWords(r Ref) []string {
	words := []string{"==", "!=", "in", "not in"}
	if hasOrder(r.Kind()) {
		words = append(words, "<", "<=", ">", ">=", "between")
	}
	if isText(r.Kind()) {
		words = append(words, "~", "~*", "!~", "!~*", "contains", "matches")
	}
	return words
}

func valueWords(r Ref) []string {
	switch r.Kind() {
	case tcp.KindState:
		return stateWords()
	case tcp.KindEnum:
		return enumWords(r.Field)
	case tcp.KindBool:
		return []string{"false", "true"}
	case tcp.KindPort:
		return serviceNames(nil)
	case tcp.KindTime:
		return []string{"now-1h", "today", "yesterday"}
	default:
		return nil
	}
}
