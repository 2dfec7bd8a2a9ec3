package filter

import (
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// foldFields are the fields whose texts compare without regard to case: codes
// and names that have no case of their own.
var foldFields = map[string]bool{
	"country": true, "sni": true, "http_host": true, "remote_name": true, "host": true,
}

// text makes a test of the text of a field, false when that is unknown.
func text(f *tcp.Field, test func(string) bool) predicate {
	switch f.Name {
	case "process":
		return func(c *tcp.Conn) bool {
			return c.Process != nil && c.Process.Name != "" && test(c.Process.Name)
		}
	case "cmdline":
		return func(c *tcp.Conn) bool {
			return c.Process != nil && c.Process.Cmdline != "" && test(c.Process.Cmdline)
		}
	}
	get := f.Str
	return func(c *tcp.Conn) bool {
		s, ok := get(c)
		return ok && test(s)
	}
}

func compileText(n *Compare) predicate {
	f, want, op := n.Ref.Field, n.Value.Str, n.Op
	if op == Eq || op == Ne {
		neg := op == Ne
		if p := enumSet(f, []string{want}, neg); p != nil {
			return p
		}
		if foldFields[f.Name] {
			return text(f, func(s string) bool { return equalFold(s, want) != neg })
		}
		switch {
		case f.Name == "process" && !neg && want != "":
			return func(c *tcp.Conn) bool { return c.Process != nil && c.Process.Name == want }
		case neg:
			return text(f, func(s string) bool { return s != want })
		default:
			return text(f, func(s string) bool { return s == want })
		}
	}
	return text(f, func(s string) bool {
		switch cmp := strings.Compare(s, want); op {
		case Lt:
			return cmp < 0
		case Le:
			return cmp <= 0
		case Gt:
			return cmp > 0
		default:
			return cmp >= 0
		}
	})
}

// equalFold compares without regard to the case of ASCII letters, the only ones
// in the texts that fold: SQL engines agree on these.
func equalFold(s, t string) bool {
	if len(s) != len(t) {
		return false
	}
	for i := range len(s) {
		if lowerByte(s[i]) != lowerByte(t[i]) {
			return false
		}
	}
	return true
}

func lowerByte(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

func compileTexts(n *In) predicate {
	f, neg := n.Ref.Field, n.Negate
	singles := map[string]struct{}{}
	var names []string
	var ranges []Span
	fold := foldFields[f.Name]
	for _, s := range n.Items {
		if !s.isSingle() {
			ranges = append(ranges, s)
			continue
		}
		names = append(names, s.Lo.Str)
		singles[s.Lo.Str] = struct{}{}
	}
	if len(ranges) == 0 {
		if p := enumSet(f, names, neg); p != nil {
			return p
		}
	}
	return text(f, func(s string) bool {
		var in bool
		switch {
		case fold || len(names) <= 8:
			for _, t := range names {
				if s == t || fold && equalFold(s, t) {
					in = true
					break
				}
			}
		default:
			_, in = singles[s]
		}
		for i := 0; i < len(ranges) && !in; i++ {
			in = ranges[i].Lo.Str <= s && s <= ranges[i].Hi.Str
		}
		return in != neg
	})
}

// enumSet makes a test for values of the enums that a connection keeps as small
// numbers, or returns nil.
func enumSet(f *tcp.Field, values []string, neg bool) predicate {
	if f.Kind != tcp.KindEnum {
		return nil
	}
	// numbered collects the numbers whose names are wanted; unknown values of
	// an enum have no name, or are told apart by first.
	numbered := func(name func(uint8) string, first uint8) uint32 {
		var m uint32
		for n := first; n < 32; n++ {
			s := name(n)
			if s == "" {
				continue
			}
			in := false
			for _, v := range values {
				in = in || v == s
			}
			if in != neg {
				m |= 1 << n
			}
		}
		return m
	}
	switch f.Name {
	case "direction":
		m := numbered(func(n uint8) string { return tcp.Direction(n).String() }, 0)
		return func(c *tcp.Conn) bool { return m>>(c.Direction&31)&1 != 0 }
	case "source":
		m := numbered(func(n uint8) string { return tcp.SourceKind(n).String() }, 1)
		return func(c *tcp.Conn) bool { return m>>(c.Source&31)&1 != 0 }
	case "attribution":
		m := numbered(func(n uint8) string { return tcp.Attribution(n).String() }, 0)
		return func(c *tcp.Conn) bool { return m>>(c.Attribution&31)&1 != 0 }
	case "closed_by":
		m := numbered(func(n uint8) string { return tcp.Side(n).String() }, 1)
		return func(c *tcp.Conn) bool { return m>>(c.ClosedBy&31)&1 != 0 }
	case "close_reason":
		m := numbered(func(n uint8) string { return tcp.CloseReason(n).String() }, 1)
		return func(c *tcp.Conn) bool { return m>>(c.Reason&31)&1 != 0 }
	default:
		return nil
	}
}

// matcher returns a test for a regular expression that checkRegexp has seen.
// Those that are a plain text, perhaps anchored, need no machine.
func matcher(pattern string, fold bool) func(string) bool {
	if !fold {
		if test := plainMatcher(pattern); test != nil {
			return test
		}
	} else {
		pattern = "(?i)" + pattern
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		// Too large a repetition is found only here, and matches nothing.
		return func(string) bool { return false }
	}
	return re.MatchString
}

func plainMatcher(pattern string) func(string) bool {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil
	}
	parts := []*syntax.Regexp{re}
	if re.Op == syntax.OpConcat {
		parts = re.Sub
	}
	var begin, end bool
	if len(parts) > 0 && parts[0].Op == syntax.OpBeginText {
		begin, parts = true, parts[1:]
	}
	if n := len(parts); n > 0 && parts[n-1].Op == syntax.OpEndText {
		end, parts = true, parts[:n-1]
	}
	if len(parts) != 1 || parts[0].Op != syntax.OpLiteral || parts[0].Flags&syntax.FoldCase != 0 {
		return nil
	}
	lit := string(parts[0].Rune)
	switch {
	case begin && end:
		return func(s string) bool { return s == lit }
	case begin:
		return func(s string) bool { return strings.HasPrefix(s, lit) }
	case end:
		return func(s string) bool { return strings.HasSuffix(s, lit) }
	default:
		return func(s string) bool { return strings.Contains(s, lit) }
	}
}
