package filter

import (
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Limits of one expression. They bound the memory and the stack that a text from
// anywhere (a URL, a rule file) can ask for.
const (
	// MaxText is the longest text, in bytes.
	MaxText = 64 << 10
	// MaxDepth is the deepest nesting of parentheses and negations.
	MaxDepth = 1000
	// maxRegexp is the longest regular expression in bytes, and maxProgram the
	// instructions that all of a filter's may compile to.
	maxRegexp  = 4 << 10
	maxProgram = 20_000
)

// Options are what an expression's meaning depends on besides its text. The zero
// Options are valid.
type Options struct {
	// Now is the moment that "now", "today" and "yesterday" refer to; its
	// location is the one of times written without a zone. When zero, such
	// words are errors and times are in UTC.
	Now time.Time
	// Services are port names besides the built-in ones, and win over them.
	Services Services
}

// Filter is one parsed expression. It is immutable and safe for concurrent use.
type Filter struct {
	text string
	root Node
	pred func(*tcp.Conn) bool
}

// Parse parses an expression with the zero Options. The empty text matches every
// connection. An error is always an *Error.
func Parse(text string) (*Filter, error) { return ParseWith(text, Options{}) }

// ParseWith parses an expression. An error is always an *Error.
func ParseWith(text string, o Options) (*Filter, error) {
	p := newParser(text, o)
	root := p.parse()
	if p.err != nil {
		return nil, p.err
	}
	return &Filter{text: text, root: root, pred: compile(root)}, nil
}

// ParseArgs parses the arguments of a command line, joined by blanks. Where that
// does not parse, but does with quotes around arguments that a shell took them
// from (process "my app", process ~ "^nginx"), that is what is meant.
func ParseArgs(args []string) (*Filter, error) { return ParseArgsWith(args, Options{}) }

// ParseArgsWith is ParseArgs with Options.
func ParseArgsWith(args []string, o Options) (*Filter, error) {
	f, err := ParseWith(strings.Join(args, " "), o)
	if err == nil || len(args) < 2 {
		return f, err
	}
	for _, blanks := range []bool{false, true} {
		if quoted, err := ParseWith(requote(args, blanks), o); err == nil {
			return quoted, nil
		}
	}
	return nil, err
}

// requote joins arguments with quotes around those that stand after a relation
// for texts and, with blanks, around those that have blanks in them.
func requote(args []string, blanks bool) string {
	var b []byte
	for i, a := range args {
		if i > 0 {
			b = append(b, ' ')
		}
		if !strings.ContainsAny(a, `"'`) && (i > 0 && textRelation(args[i-1]) || blanks && strings.ContainsAny(a, " \t")) {
			b = appendQuoted(b, a)
		} else {
			b = append(b, a...)
		}
	}
	return string(b)
}

func textRelation(s string) bool {
	switch strings.ToLower(s) {
	case "~", "~*", "=~", "!~", "!~*", "matches", "contains":
		return true
	default:
		return false
	}
}

// Match reports whether the expression holds for c. It does not allocate.
func (f *Filter) Match(c *tcp.Conn) bool { return f.pred(c) }

// Predicate returns the compiled expression, for loops over many connections.
func (f *Filter) Predicate() func(*tcp.Conn) bool { return f.pred }

// Node returns the root of the tree. Callers must not change it.
func (f *Filter) Node() Node { return f.root }

// MatchesAll reports whether the expression is one that every connection meets.
func (f *Filter) MatchesAll() bool {
	_, ok := f.root.(All)
	return ok
}

// Text returns the expression as it was written.
func (f *Filter) Text() string { return f.text }

// String returns the canonical text: canonical names, no abbreviations, times
// made absolute. It parses to a filter that is equal to f, with any Options.
func (f *Filter) String() string { return string(appendNode(nil, f.root, 0)) }

// Fields appends the fields that the expression reads to dst, each once, for
// readers that fetch only what they need. Ends count as the fields behind them.
func (f *Filter) Fields(dst []*tcp.Field) []*tcp.Field {
	first := len(dst)
	add := func(names ...string) {
		for _, n := range names {
			fd := tcp.FieldByName(n)
			seen := fd == nil
			for _, have := range dst[first:] {
				seen = seen || have == fd
			}
			if !seen {
				dst = append(dst, fd)
			}
		}
	}
	ref := func(r Ref) {
		if r.Field != nil {
			add(r.Field.Name)
			return
		}
		local, remote := "local_ip", "remote_ip"
		if r.Kind() == tcp.KindPort {
			local, remote = "local_port", "remote_port"
		}
		switch r.End {
		case EndSrc:
			add(local)
		case EndDst:
			add(remote)
		case EndClient, EndServer:
			add("direction", local, remote)
		default:
			add(local, remote)
		}
	}
	Walk(f.root, func(n Node) bool {
		switch n := n.(type) {
		case *Compare:
			ref(n.Ref)
		case *In:
			ref(n.Ref)
		case *Match:
			ref(n.Ref)
		case *Contains:
			ref(n.Ref)
		case *Has:
			ref(n.Ref)
		case *Ratio:
			add(n.Field.Name, n.Of.Name)
		case *StateIn:
			add("state")
		case *Flags:
			add("state", "close_reason", "closed_by", "fins", "syns", "resets")
		}
		return true
	})
	return dst
}
