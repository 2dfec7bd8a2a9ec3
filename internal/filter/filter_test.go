package filter

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// equal reports whether two filters have equal trees.
func equal(a, b *Filter) bool { return diff(a, b) == "" }

func diff(a, b *Filter) string {
	return cmp.Diff(a.root, b.root,
		cmp.Comparer(func(x, y *tcp.Field) bool { return x == y }),
		cmp.Comparer(func(x, y Value) bool { return x == y }))
}

func TestParseArgs(t *testing.T) {
	web := named(t)["web"]
	for _, args := range [][]string{
		nil,
		{web.ID.String()},
		{"id", "==", web.ID.String()},
		{"state", "established", "sport", "=", ":443"},
		{"state established", "sport = :443"},
		{"(", "sport", "=", ":443", ")"},
		{"not", "id", "c0000000000001"},
	} {
		f, err := ParseArgs(args)
		if err != nil {
			t.Errorf("%q: %v", args, err)
			continue
		}
		if !f.Match(web) {
			t.Errorf("%q does not match", args)
		}
	}
	// Quotes that the shell took away are put back where nothing else parses.
	for want, args := range map[string][]string{
		`process == "my app"`:                       {"process", "my app"},
		`process in {"my app", "x"}`:                {"process", "in", `{"my app",`, "x}"},
		`process ~ "^nginx"`:                        {"process", "~", "^nginx"},
		`process !~* "^a b$" and pid == 1`:          {"process", "!~*", "^a b$", "pid", "1"},
		`cmdline contains "--x=(1)" and port == 80`: {"cmdline", "contains", "--x=(1)", "port 80"},
		`state == ESTABLISHED and dport == 443`:     {"state established", "and dport = :443"},
	} {
		f, err := ParseArgs(args)
		if err != nil || f.String() != want {
			t.Errorf("%q: got %v, %v; want %s", args, f, err, want)
		}
	}
	// When nothing helps, the error is that of the plain text.
	_, err := ParseArgs([]string{"process", "my app", "rttt", ">", "5ms"})
	if err == nil || !strings.Contains(err.Error(), `"app"`) {
		t.Errorf("got %v", err)
	}
	if _, err := ParseArgsWith([]string{"opened", ">", "now-1h"}, Options{Now: now}); err != nil {
		t.Error(err)
	}
	if _, err := ParseArgs([]string{"opened", ">", "now-1h"}); err == nil {
		t.Error("now has a meaning without a clock")
	}
}

func TestMatchesAll(t *testing.T) {
	for text, want := range map[string]bool{"": true, "tcp": true, "src *": true, "state all": false, "port 1": false} {
		f, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if f.MatchesAll() != want || f.Text() != text {
			t.Errorf("%q: MatchesAll is %v", text, f.MatchesAll())
		}
	}
}

func TestFields(t *testing.T) {
	f, err := Parse(`(port 443 or client 10.0.0.1) and process ~ "x" and state listen and accept_queue > 80% and port 80`)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, fd := range f.Fields(nil) {
		got[fd.Name]++
	}
	want := map[string]int{
		"local_port": 1, "remote_port": 1, "direction": 1, "local_ip": 1, "remote_ip": 1, "process": 1,
		"state": 1, "accept_queue": 1, "backlog": 1,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func TestWalk(t *testing.T) {
	f, err := Parse("port 80 and not (state listen or rtt > 1ms xor has(rtt))")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	Walk(f.Node(), func(n Node) bool {
		got = append(got, strings.TrimPrefix(reflect.TypeOf(n).String(), "*filter."))
		_, xor := n.(*Xor)
		return !xor
	})
	if want := "And Compare Not Or StateIn Xor"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestLimits(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"text", strings.Repeat(" ", MaxText+1), "longer than 64 KiB"},
		{"parentheses", strings.Repeat("(", 30_000), "nested deeper"},
		{"closed parentheses", strings.Repeat("(", 2000) + "tcp" + strings.Repeat(")", 2000), "nested deeper"},
		{"not", strings.Repeat("not ", 10_000) + "tcp", "nested deeper"},
		{"xor", "ip" + strings.Repeat(" xor ip", 5000), "nested deeper"},
		{"flags", "tcp[13] & " + strings.Repeat("(", 5000), "nested deeper"},
		{"expression", `process ~ "` + strings.Repeat("a", maxRegexp+1) + `"`, "longer than 4 KiB"},
		{"program", `process ~ "(a{1000}){1000}"`, "not a regular expression"},
		{"programs", strings.Repeat(`process ~ "[a-z]{900}" `, 50), "too large"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %s", err, tt.want)
			}
			var fe *Error
			if !errors.As(err, &fe) {
				t.Fatalf("%T is not an *Error", err)
			}
			if s := fe.Caret(); len(s) > 2000 {
				t.Errorf("Caret is %d bytes long", len(s))
			}
		})
	}
	// What is within the limits parses.
	for _, text := range []string{
		strings.Repeat("(", 999) + "tcp" + strings.Repeat(")", 999),
		strings.Repeat("! ", 999) + "tcp",
		"port 1" + strings.Repeat(" or 1", 12_000) + " or 2",
		"port in {1" + strings.Repeat(",1", 30_000) + "}",
	} {
		f, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		f.Match(&tcp.Conn{})
	}
}

// TestLinear shows that texts made to be slow are not: each of these took seconds
// with a quadratic parser. The test's own time limit is the bound.
func TestLinear(t *testing.T) {
	for _, text := range []string{
		"port 80 or " + strings.Repeat("x-", 30_000),
		"port 80 or " + strings.Repeat("1-", 30_000),
		strings.Repeat("[:", 30_000),
		strings.Repeat("state x ", 8000),
		strings.Repeat("port 80 or q ", 5000),
		"port in {" + strings.Repeat("q,", 30_000),
		strings.Repeat("state established ", 3600),
		strings.Repeat("host ", 13_000),
		strings.Repeat("\x00", 60_000),
		strings.Repeat("界", 20_000),
	} {
		start := time.Now()
		_, err := Parse(text)
		if err != nil {
			var fe *Error
			if errors.As(err, &fe) {
				_ = fe.Caret()
			}
		}
		if d := time.Since(start); d > time.Second {
			t.Logf("%.20q… took %v", text, d)
		}
		Complete(text, len(text))
	}
}
