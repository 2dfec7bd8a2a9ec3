package filter

import (
	"cmp"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// reference evaluates a tree as slowly and plainly as it can, through the
// getters of the registry: what compile must agree with.
func reference(n Node, c *tcp.Conn) bool {
	switch n := n.(type) {
	case All:
		return true
	case *And:
		for _, m := range n.Nodes {
			if !reference(m, c) {
				return false
			}
		}
		return true
	case *Or:
		for _, m := range n.Nodes {
			if reference(m, c) {
				return true
			}
		}
		return false
	case *Xor:
		return reference(n.A, c) != reference(n.B, c)
	case *Not:
		return !reference(n.Node, c)
	case *Has:
		return len(values(n.Ref, c)) > 0
	case *Compare:
		holds := func(v Value) bool {
			d, ordered := order(n.Ref, v, n.Value)
			switch n.Op {
			case Eq, AllEq:
				return same(n.Ref, v, single(n.Value))
			case Ne, AnyNe:
				return !same(n.Ref, v, single(n.Value))
			case Lt:
				return ordered && d < 0
			case Le:
				return ordered && d <= 0
			case Gt:
				return ordered && d > 0
			default:
				return ordered && d >= 0
			}
		}
		return quantify(values(n.Ref, c), n.Op == Ne || n.Op == AllEq, holds)
	case *In:
		return quantify(values(n.Ref, c), n.Negate, func(v Value) bool {
			for _, s := range n.Items {
				if same(n.Ref, v, s) {
					return !n.Negate
				}
			}
			return n.Negate
		})
	case *Match:
		p := n.Pattern
		if n.Fold {
			p = "(?i)" + p
		}
		re, ok := compiled.Load(p)
		if !ok {
			// One is kept: the connections come one after the other.
			compiled.Clear()
			re, _ = compiled.LoadOrStore(p, regexp.MustCompile(p))
		}
		return quantify(values(n.Ref, c), false, func(v Value) bool { return re.(*regexp.Regexp).MatchString(v.Str) != n.Negate })
	case *Contains:
		return quantify(values(n.Ref, c), false, func(v Value) bool { return strings.Contains(v.Str, n.Text) })
	case *Ratio:
		part, ok1 := n.Field.Num(c)
		whole, ok2 := n.Of.Num(c)
		if !ok1 || !ok2 || whole == 0 {
			return false
		}
		u := func(v uint64) *big.Int { return new(big.Int).SetUint64(v) }
		d := new(big.Int).Mul(u(part), u(100_000)).Cmp(new(big.Int).Mul(u(whole), u(n.Share)))
		switch n.Op {
		case Eq:
			return d == 0
		case Ne:
			return d != 0
		case Lt:
			return d < 0
		case Le:
			return d <= 0
		case Gt:
			return d > 0
		default:
			return d >= 0
		}
	case *StateIn:
		return c.State != tcp.StateUnknown && n.Set.Has(c.State)
	case *Flags:
		set, known := flagsOf(c)
		if n.Set {
			return set&n.Mask != 0
		}
		return known&n.Mask == n.Mask && set&n.Mask == 0
	}
	return false
}

// compiled is the regular expression that reference saw last.
var compiled sync.Map

func quantify(vs []Value, every bool, holds func(Value) bool) bool {
	for _, v := range vs {
		if holds(v) != every {
			return !every
		}
	}
	return every && len(vs) > 0
}

// values returns the known values that a Ref stands for.
func values(r Ref, c *tcp.Conn) []Value {
	if r.Field != nil {
		switch {
		case r.Field.Str != nil:
			if s, ok := r.Field.Str(c); ok {
				return []Value{{Str: s}}
			}
		case r.Field.Addr != nil:
			if a, ok := r.Field.Addr(c); ok {
				return []Value{{Prefix: netip.PrefixFrom(a.IP(), a.IP().BitLen())}}
			}
		default:
			if v, ok := r.Field.Num(c); ok {
				return []Value{{Num: v}}
			}
		}
		return nil
	}
	side := []string{"local", "remote"}
	switch r.End {
	case EndSrc:
		side = side[:1]
	case EndDst:
		side = side[1:]
	case EndClient, EndServer:
		local, remote := "local", "remote"
		if r.End == EndClient {
			local, remote = remote, local
		}
		switch c.Direction {
		case tcp.Inbound, tcp.Listening:
			side = []string{local}
		case tcp.Outbound:
			side = []string{remote}
		default:
			side = nil
		}
	default:
	}
	var vs []Value
	for _, s := range side {
		name := s + "_ip"
		if r.Port {
			name = s + "_port"
		}
		for _, v := range values(Ref{Field: tcp.FieldByName(name)}, c) {
			if r.Port || r.Family == 0 || v.Prefix.Addr().Is4() == (r.Family == 4) {
				vs = append(vs, v)
			}
		}
	}
	return vs
}

func same(r Ref, v Value, s Span) bool {
	if r.Kind() == tcp.KindAddr && s.isSingle() {
		return s.Lo.Prefix.Contains(v.Prefix.Addr())
	}
	if s.isSingle() && r.Field != nil && foldFields[r.Field.Name] {
		return strings.EqualFold(v.Str, s.Lo.Str)
	}
	lo, ok1 := order(r, v, s.Lo)
	hi, ok2 := order(r, v, s.Hi)
	return ok1 && ok2 && lo >= 0 && hi <= 0
}

func order(r Ref, a, b Value) (d int, ok bool) {
	switch r.Kind() {
	case tcp.KindString, tcp.KindEnum:
		return strings.Compare(a.Str, b.Str), true
	case tcp.KindAddr:
		x, y := a.Prefix.Addr(), b.Prefix.Addr()
		return x.Compare(y), x.Is4() == y.Is4()
	default:
		return cmp.Compare(a.Num, b.Num), true
	}
}

// TestCompileAgrees compares the compiled form of every field and relation with
// the reference, on connections whose values and known bits are random.
func TestCompileAgrees(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	conns := make([]*tcp.Conn, 400)
	for i := range conns {
		conns[i] = randomConn(r)
	}
	var texts []string
	add := func(name string, kind tcp.Kind, enum []string) {
		values := map[tcp.Kind][]string{
			tcp.KindString: {"a", "nginx", "b"}, tcp.KindEnum: enumWords(&tcp.Field{Enum: enum}),
			tcp.KindBool: {"true", "false"}, tcp.KindState: {"established", "listen", "closing"},
			tcp.KindAddr: {"10.0.0.1", "10.0.0.2", "2001:db8::1", "::2"}, tcp.KindID: {tcp.ID(1).String(), tcp.ID(3).String()},
			tcp.KindTime:     {"1970-01-01T00:00:00.000000001Z", "1970-01-01T00:00:00.000000002Z"},
			tcp.KindDuration: {"1us", "2us"},
		}[kind]
		if values == nil {
			values = []string{"0", "1", "2", "3"}
		}
		for _, v := range values {
			for _, op := range []string{"==", "!="} {
				texts = append(texts, name+" "+op+" "+v)
			}
			if hasOrder(kind) {
				for _, op := range []string{"<", "<=", ">", ">="} {
					texts = append(texts, name+" "+op+" "+v)
				}
			}
			texts = append(texts, name+" in {"+strings.Join(values[:2], ", ")+"}", name+" not in {"+strings.Join(values[:2], ", ")+"}")
		}
		switch {
		case kind == tcp.KindAddr:
			texts = append(texts, name+" in {10.0.0.0/31, ::/64}", name+" not in {10.0.0.1 .. 10.0.0.2}", name+" == ::/0", name+" != 0.0.0.0/0", name+" == 2001:db8::/127")
		case hasOrder(kind):
			texts = append(texts, name+" between "+values[0]+" and "+values[1], name+" not in {"+values[0]+".."+values[1]+"}")
		}
		if isText(kind) {
			texts = append(texts, name+` ~ "^n"`, name+` !~ "n$"`, name+` ~* "^A$"`, name+" contains n", name+` ~ "n.*x"`, name+` ~ "in"`, name+` ~ "^nginx$"`)
		}
	}
	for _, f := range tcp.Fields() {
		if f.Name != "host" { // host == a is no name of a host, so its field needs quotes
			add(f.Name, f.Kind, f.Enum)
		}
		texts = append(texts, "has("+f.Name+")")
	}
	for _, n := range []string{"src", "dst", "addr", "client", "server"} {
		add(n, tcp.KindAddr, nil)
		texts = append(texts, "has("+n+")")
	}
	for _, n := range []string{"sport", "dport", "port", "client port", "server port", "tcp.port"} {
		add(n, tcp.KindPort, nil)
		texts = append(texts, "has("+n+")", n+" in {1, 2, 3, 5, 7, 9, 11}")
	}
	for _, n := range []string{"addr", "port"} {
		v := map[string]string{"addr": "10.0.0.1", "port": "1"}[n]
		texts = append(texts, n+" === "+v, n+" !== "+v)
	}
	for _, v := range []string{"10.0.0.1", "10.0.0.0/8"} {
		for _, op := range []string{"==", "!=", "===", "!=="} {
			texts = append(texts, "ip.addr "+op+" "+v, "ip.src "+op+" "+v, "ip.dst "+op+" "+v)
		}
	}
	texts = append(texts, "ipv6.addr == ::2", "ipv6.addr != ::2", "ipv6.addr !== ::2", "ipv6.dst in {::1..::3}", "ipv6.addr > ::1", "has(ip.src)", "has(ipv6.addr)",
		"accept_queue > 80%", "accept_queue <= 50%", "retransmits == 100%", "retransmits != 100%", "unacked >= 33.333%", "unacked < 200%",
		"tcp.flags.syn", "tcp.flags.fin == 0", "tcp.flags.reset == 1", "tcp.flags.reset == 0", "tcp.flags & 0x105 == 0", "tcp.flags & 0x30",
		"src 10.0.0.1:1", "dst != 10.0.0.1:1", "host != 10.0.0.1:2", `host in {"a", "B"}`, `host == "a"`, `host != "A"`, "host == 10.0.0.0/8", "src and dst net 10",
		"state connected sport > 0 remote 10.0.0.0/8", "state connected sport 1 dport 1", "sport 1 dport > 1 src 10.0.0.1 dst 192.0.0.0/8",
		"sport <= 2 and dport >= 0 and src 10.0.0.0/30", "sport 0 dport 1", "sport < 1 and dport 1", "sport in {1..2} and dport in {0..1}",
		"local_port 1 and sport 2 and remote_port 1", "state listen remote 0.0.0.0/0", "state != listen and local > 10.0.0.1 and dport != 3",
		"dport >= 65535 and sport 1", "dport > 65535 and sport 1", "state established dst ::/0 sport 1", "dst < 10.0.0.2 and src >= 192.0.0.0 and state big",
		"port 1 and rtt > 0 xor not (state established or pid 1 and dst 10.0.0.1)",
		"port 1 or port 2 or rtt 1us or pid 2", "port 1 port 2 rtt > 0 tx > 0 rx > 0 state connected",
	)
	matched := 0
	for _, text := range texts {
		f, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		some := false
		for _, c := range conns {
			got := f.Match(c)
			some = some || got
			if want := reference(f.root, c); got != want {
				t.Errorf("%s: got %v, want %v for %+v", text, got, want, c)
				break
			}
		}
		if some {
			matched++
		}
		if again, err := Parse(f.String()); err != nil || !equal(f, again) {
			t.Errorf("%s: canonical text %s: %v", text, f, err)
		}
	}
	t.Logf("%d expressions agree, %d of them with matches, on %d connections", len(texts), matched, len(conns))
	if matched < len(texts)/2 {
		t.Error("most expressions match nothing, so the comparison means little")
	}
}

func TestNoAllocations(t *testing.T) {
	conns := rows(100)
	for _, c := range named(t) {
		conns = append(conns, c)
	}
	texts := []string{realistic, selective, worstCase, textual}
	for _, tt := range forms {
		texts = append(texts, tt.text)
	}
	for _, text := range texts {
		f, err := ParseWith(text, Options{Now: now})
		if err != nil {
			continue // the place of an ID
		}
		if raceEnabled && (strings.Contains(text, "~") || strings.Contains(text, "matches")) {
			continue
		}
		match := f.Predicate()
		n := testing.AllocsPerRun(10, func() {
			for _, c := range conns {
				match(c)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", text, n)
		}
	}
}
