package filter

import (
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// state parses what follows the word state: ss's form, or a comparison.
func (p *parser) state(t token, single bool) Node {
	next := p.peek()
	_, related := relation(next)
	if next.kind == tokWord && !related && !isConnective(next) &&
		!next.is("in") && !next.is("not") && !next.is("contains") && !next.is("matches") && !next.is("between") {
		return p.stateRun(t, single)
	}
	return p.comparison(Ref{Field: tcp.FieldByName("state")}, t)
}

// stateRun parses ss's state filter, after its first word: adjacent "state"
// words add states, "exclude" words take them away, beginning with none or with
// all. After "not" it is one word long.
func (p *parser) stateRun(t token, single bool) Node {
	var set tcp.StateSet
	if !t.is("state") {
		set = tcp.AllStates
	}
	ref := Ref{Field: tcp.FieldByName("state")}
	for {
		item, ok := p.literal(ref, t)
		if !ok {
			return nil
		}
		if m := tcp.StateSet(item.Lo.Num); t.is("state") {
			set |= m
		} else {
			set &^= m
		}
		next := p.peek()
		if single || !next.is("state") && !next.is("exclude") && !next.is("excl") {
			return newStateIn(set)
		}
		if _, ok := tcp.ParseState(p.peekAt(1).text); !ok || p.peekAt(1).kind != tokWord {
			return newStateIn(set)
		}
		t = p.next()
	}
}

// stateNode tests for a set of states that value parsed.
func stateNode(item Span, neg bool) Node {
	m := tcp.StateSet(item.Lo.Num)
	if neg {
		m = tcp.AllStates &^ m
	}
	return newStateIn(m)
}

// statesWhere tests for the states whose name passes a test.
func statesWhere(test func(string) bool) Node {
	var m tcp.StateSet
	for s := tcp.State(1); s < tcp.NumStates; s++ {
		if test(s.String()) {
			m |= tcp.States(s)
		}
	}
	return newStateIn(m)
}

func unknownState(text string) string { return quote(text) + " is not a state" }

// stateWords are the spellings of states to suggest.
func stateWords() []string {
	words := tcp.StateGroupNames()
	for _, s := range tcp.StateNames() {
		words = append(words, stateWord(s))
	}
	return append(words, "syn-received", "closed", "listening")
}

// stateWord writes the name of a state as ss does.
func stateWord(name string) string {
	b := []byte(name)
	for i, c := range b {
		switch {
		case c == '_':
			b[i] = '-'
		case c >= 'A' && c <= 'Z':
			b[i] = c + 'a' - 'A'
		}
	}
	switch s := string(b); s {
	case "fin-wait1":
		return "fin-wait-1"
	case "fin-wait2":
		return "fin-wait-2"
	case "listen":
		return "listening"
	case "closing":
		return "CLOSING" // the word in lower case is the group
	default:
		return s
	}
}
