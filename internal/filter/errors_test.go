package filter

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// carets shows errors as a terminal shows them.
var carets = []struct{ text, want string }{
	{"state established and rtt > 50", `
"50" needs a unit: us, ms, s, m, h or d
  state established and rtt > 50
                              ^~
did you mean 50ms?`},
	{"port 443 and rttt > 50ms", `
unknown field or word "rttt"
  port 443 and rttt > 50ms
               ^~~~
did you mean rtt?`},
	{"retransmit > 3", `
unknown field or word "retransmit"
  retransmit > 3
  ^~~~~~~~~~
did you mean retransmits?`},
	{"stat established", `
unknown field or word "stat"
  stat established
  ^~~~
did you mean state?`},
	{"state establishd", `
"establishd" is not a state
  state establishd
        ^~~~~~~~~~
did you mean established?`},
	{"state in {listen, time-wiat}", `
"time-wiat" is not a state
  state in {listen, time-wiat}
                    ^~~~~~~~~
did you mean time-wait?`},
	{"established", `
"established" is a state: it needs the word state before it
  established
  ^~~~~~~~~~~
did you mean state established?`},
	{"direction inbond", `
"inbond" is not a value of direction: one of unknown, inbound, outbound, listen, transit
  direction inbond
            ^~~~~~
did you mean inbound?`},
	{"tcp.flags.sin == 1", `
unknown TCP flag "sin"
  tcp.flags.sin == 1
  ^~~~~~~~~~~~~
did you mean tcp.flags.syn?`},
	{"tcp.prot == 80", `
unknown field or word "tcp.prot"
  tcp.prot == 80
  ^~~~~~~~
did you mean tcp.port?`},
	{"dport = :htps", `
"htps" is neither a port nor the name of one
  dport = :htps
          ^~~~~
did you mean https?`},
	{"port 70000", `
"70000" is not a port: they end at 65535
  port 70000
       ^~~~~`},
	{"local 22", `
"22" is not an address; a port has a colon before it
  local 22
        ^~
did you mean :22?`},
	{"443", `
a number alone is not a condition: a port is written port 443, a process pid 123
  443
  ^~~`},
	{"curl", `
unknown field or word "curl"; a process is found with process curl
  curl
  ^~~~`},
	{`"curl"`, `
a text alone is not a condition
  "curl"
  ^~~~~~
did you mean process "curl"?`},
	{"dst example.com", `
"example.com" is not an address, and names are not resolved: compare remote_name, sni or http_host
  dst example.com
      ^~~~~~~~~~~`},
	{"host web1", `
"web1" is not an address, and names are not resolved: compare remote_name, or the host that saw the connection
  host web1
       ^~~~
did you mean host == web1?`},
	{"src 10.0.0.256", `
"10.0.0.256" is not an address, and names are not resolved: compare remote_name, sni or http_host
  src 10.0.0.256
      ^~~~~~~~~~`},
	{"net 10.0.0.0/33", `
"33" is not a prefix length from 0 to 32
  net 10.0.0.0/33
      ^~~~~~~~~~~`},
	{"net 10.0.0.0 mask 255.0.255.0", `
"255.0.255.0" is not a network mask: its ones are not all on the left
  net 10.0.0.0 mask 255.0.255.0
      ^~~~~~~~~~~~~~~~~~~~~~~~~`},
	{"ip.src == ::1", `
ip.src is IPv4 and never has this value
  ip.src == ::1
            ^~~
did you mean ipv6.src?`},
	{"remote_ip > 10.0.0.0/8", `
a network has no place in an order: use == or in
  remote_ip > 10.0.0.0/8
              ^~~~~~~~~~`},
	{`remote_ip ~ "^10"`, `
regular expressions apply to text; remote_ip is not: use a network, such as == 10.0.0.0/8
  remote_ip ~ "^10"
            ^`},
	{"state > established", `
state has no order: use ==, != or in
  state > established
        ^`},
	{"port 90-80", `
this range is empty: its end is before its beginning
  port 90-80
       ^~~~~`},
	{"dport = 90-80", `
this range is empty: its end is before its beginning
  dport = 90-80
          ^~~~~`},
	{"dport > 80-90", `
a range has no place in an order: use == or in
  dport > 80-90
          ^~~~~`},
	{"https", `
"https" is the name of a port: it needs the word port before it
  https
  ^~~~~
did you mean port https?`},
	{"process ~ ^nginx", `
unexpected character "^"; a regular expression goes in quotes
  process ~ ^nginx
            ^`},
	{"rtt in {9ms..5ms}", `
this range is empty: its end is before its beginning
  rtt in {9ms..5ms}
          ^~~~~~~~`},
	{"rtt > 10%", `
rtt_us is not a share of anything, so it has no percentage
  rtt > 10%
        ^~~`},
	{"rtt > 5parsecs", `
"parsecs" is not a unit of time: use us, ms, s, m, h or d
  rtt > 5parsecs
        ^~~~~~~~`},
	{"rtt > 100ns", `
"100ns" is finer than a microsecond, the resolution of durations
  rtt > 100ns
        ^~~~~`},
	{"send_rate > 10Mb", `
"Mb" could be bytes or bits: write it as in 10MB/s, 100Mbit/s
  send_rate > 10Mb
              ^~~~`},
	{"pid -5", `
numbers cannot be negative here
  pid -5
      ^~`},
	{"opened > lunch", `
"lunch" is not a time, such as 2026-01-31T08:00:00Z, now-10m, today, yesterday
  opened > lunch
           ^~~~~`},
	{"rtt and port 80", `
rtt needs a relation and a value; has(rtt_us) tests whether it is known
  rtt and port 80
  ^~~`},
	{"state established and", `
a condition is missing here
  state established and
                       ^`},
	{"and port 80", `
a condition is missing before "and"
  and port 80
  ^~~`},
	{"port 80 or )", `
unexpected ")" where a condition should begin
  port 80 or )
             ^`},
	{"(port 80", `
this parenthesis is never closed
  (port 80
  ^`},
	{"port 80)", `
this parenthesis closes nothing
  port 80)
         ^`},
	{`process "nginx`, `
the quote that begins here is never closed
  process "nginx
          ^~~~~~`},
	{`process ~ "a("`, "\nthis is not a regular expression (RE2): missing closing ): `a(`\n  process ~ \"a(\"\n            ^~~~"},
	{"country in {DE, FR", `
this set is never closed
  country in {DE, FR
             ^`},
	{"country in {}", `
a set needs at least one value
  country in {}
              ^`},
	{"has rtt", `
has needs a name in parentheses, such as has(rtt)
  has rtt
      ^~~`},
	{"has(rttt)", `
unknown field "rttt"
  has(rttt)
      ^~~~
did you mean rtt?`},
	{"rtt <> 5ms", `
a value for rtt_us is missing here
  rtt <> 5ms
       ^`},
	{"autobound", `
whether the kernel chose the local port is not recorded; outbound is what autobound usually means
  autobound
  ^~~~~~~~~`},
	{"fwmark = 0x01/0x03", `
the mark of a socket is not recorded
  fwmark = 0x01/0x03
  ^~~~~~`},
	{"dev = eth0", `
the device a socket is bound to is not recorded; for packets there is interface
  dev = eth0
  ^~~`},
	{"less 100", `
less is about the length of packets; a connection has bytes_sent and bytes_received
  less 100
  ^~~~`},
	{"greater 100", `
greater is about the length of packets; a connection has bytes_sent and bytes_received
  greater 100
  ^~~~~~~`},
	{"udp port 53", `
only TCP connections are kept, so this would match nothing
  udp port 53
  ^~~`},
	{"ip proto udp", `
only TCP connections are kept, so this would match nothing
  ip proto udp
           ^~~`},
	{"tcp.analysis.ack_rtt > 1", `
"tcp.analysis.ack_rtt" is about single packets; a connection has counts such as retransmissions and dup_acks
  tcp.analysis.ack_rtt > 1
  ^~~~~~~~~~~~~~~~~~~~`},
	{"tcp[13] == 18", `
a connection has many segments: test bits, as in tcp[tcpflags] & tcp-syn != 0
  tcp[13] == 18
          ^~`},
	{"tcp[13] & 18 == 18", `
a connection has many segments: masked flags are compared with == 0 or != 0
  tcp[13] & 18 == 18
                  ^~`},
	{"tcp[0:2] == 80", `
of the TCP header, only the flags are known of a connection
  tcp[0:2] == 80
  ^~~~~~~~
did you mean tcp[tcpflags]?`},
	{"tcp[tcpflags] & tcp-sny != 0", `
unknown TCP flag "tcp-sny"
  tcp[tcpflags] & tcp-sny != 0
                  ^~~~~~~
did you mean tcp-syn?`},
	{"port 80; port 81", `
unexpected character ";"
  port 80; port 81
         ^`},

	// What is not printable never reaches the terminal, and does not move the
	// caret.
	{"process \"\x1b[31mred\" and\trttt > 1s", `
unknown field or word "rttt"
  process "` + "\ufffd" + `[31mred" and rttt > 1s
                         ^~~~
did you mean rtt?`},
	{"process \"\u202egnp\" rttt", `
unknown field or word "rttt"
  process "` + "\ufffd" + `gnp" rttt
                 ^~~~
did you mean rtt?`},
	{"process \"接続\" rttt", `
unknown field or word "rttt"
  process "接続" rttt
                 ^~~~
did you mean rtt?`},
	{"process \"e\u0301\" rttt", `
unknown field or word "rttt"
  process "` + "e\u0301" + `" rttt
              ^~~~
did you mean rtt?`},
	{"process \"a\xffb\" rttt", `
unknown field or word "rttt"
  process "a` + "\ufffd" + `b" rttt
                ^~~~
did you mean rtt?`},
	{"port 80 and \x1b]0;x", `
unexpected character "\x1b"
  port 80 and ` + "\ufffd" + `]0;x
              ^`},
	{"port 80\nrttt", `
unknown field or word "rttt"
  port 80 rttt
          ^~~~
did you mean rtt?`},
	{strings.Repeat("port 80 or ", 30) + "rttt > 5ms" + strings.Repeat(" or port 80", 30), `
unknown field or word "rttt"
  …or port 80 or port 80 or rttt > 5ms or port 80 or port 80 or port 80 or port…
                            ^~~~
did you mean rtt?`},
}

func TestCaret(t *testing.T) {
	for _, tt := range carets {
		t.Run(tt.text, func(t *testing.T) {
			_, err := ParseWith(tt.text, Options{Now: now})
			var fe *Error
			if !errors.As(err, &fe) {
				t.Fatalf("got %v", err)
			}
			if d := cmp.Diff(strings.TrimPrefix(tt.want, "\n"), fe.Caret()); d != "" {
				t.Error(d)
			}
			checkError(t, fe)
		})
	}
}

// checkError holds an error against what callers rely on.
func checkError(t *testing.T, e *Error) {
	t.Helper()
	if e.Pos < 0 || e.End < e.Pos || e.End > len(e.Text) {
		t.Errorf("place %d to %d of %d", e.Pos, e.End, len(e.Text))
	}
	one, many := e.Error(), e.Caret()
	if strings.ContainsRune(one, '\n') {
		t.Errorf("Error() has several lines: %q", one)
	}
	for _, s := range []string{one, many} {
		if !utf8.ValidString(s) {
			t.Errorf("not UTF-8: %q", s)
		}
		for _, r := range s {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Errorf("%q has %q", s, r)
			}
		}
	}
	lines := strings.Split(many, "\n")
	if n := len(lines); n != 3 && n != 4 {
		t.Errorf("Caret() has %d lines: %q", n, many)
	}
}

func TestErrorLine(t *testing.T) {
	_, err := Parse("port 443 and rttt > 1s")
	want := `filter: column 14: unknown field or word "rttt" (did you mean rtt?)`
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	// Columns are characters, not bytes.
	_, err = Parse(`process "接続" rttt`)
	var fe *Error
	if !errors.As(err, &fe) || fe.Column() != 14 {
		t.Errorf("got %v", err)
	}
}

func TestNearest(t *testing.T) {
	for word, want := range map[string]string{
		"rtt_su": "rtt_us", "procss": "process", "RETRANSMIT": "retransmits", "cuontry": "country",
		"zzzzzz": "", "x": "", "bytes_snt": "bytes_sent", "ip.adr": "ip.addr",
	} {
		if got := nearest(word, operandWords()); got != want {
			t.Errorf("nearest(%q) = %q, want %q", word, got, want)
		}
	}
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"ab", "ba", 1}, {"kitten", "sitting", 3}, {"ca", "abc", 3}} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
