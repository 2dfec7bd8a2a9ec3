package filter

import (
	"testing"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

func TestPacketPredicate(t *testing.T) {
	conns := named(t)
	web := conns["web"] // serves 198.51.100.7:51000 on 192.0.2.1:443
	sent, received := web.Tuple, web.Reverse()
	const syn, ack = flagSYN, flagACK
	tests := []struct {
		text  string
		tuple tcp.Tuple
		flags uint16
		conn  *tcp.Conn
		want  bool
	}{
		// src and dst are sender and receiver, whichever end that is.
		{"sport 443", sent, ack, web, true},
		{"sport 443", received, ack, web, false},
		{"dport 443", received, ack, web, true},
		{"src host 192.0.2.1", sent, ack, nil, true},
		{"src host 192.0.2.1", received, ack, nil, false},
		{"host 192.0.2.1 and port 51000", received, ack, nil, true},
		{"ip.src == 198.51.100.7", received, ack, nil, true},
		// local and remote are those of the connection, and unknown without one.
		{"local_port == 443", received, ack, web, true},
		{"remote port 443", received, ack, web, false},
		{"local_port == 443", sent, ack, nil, false},
		{"local_port != 80", sent, ack, nil, false},
		{"not local_port == 443", sent, ack, nil, true},
		{"server port 443", received, ack, web, true},
		{"client port 443", sent, ack, web, false},
		// Flags are those of the packet.
		{"tcp.flags.syn == 1", sent, syn | ack, web, true},
		{"tcp.flags.syn == 1", sent, ack, web, false},
		{"tcp.flags.syn == 0", sent, ack, web, true},
		{"tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", sent, ack, nil, false},
		{"ip", sent, ack, nil, true},
		{"ip6", sent, ack, nil, false},
		// The rest is the connection's.
		{"process nginx", sent, ack, web, true},
		{"process nginx", sent, ack, nil, false},
		{"process != curl", sent, ack, nil, false},
		{"has(pid)", sent, ack, nil, false},
		{"process nginx and sport 443 and tcp.flags.ack == 1", sent, ack, web, true},
		{"process nginx and sport 443 and tcp.flags.ack == 1", received, ack, web, false},
		{"process curl or dport 443", received, ack, web, true},
		{"process nginx xor dport 443", received, ack, web, false},
		{"state established and rtt > 50ms", received, ack, web, true},
		{"not (process nginx and dport 443)", received, ack, web, false},
		{"", sent, 0, nil, true},
	}
	var p Packet
	for _, tt := range tests {
		f, err := Parse(tt.text)
		if err != nil {
			t.Fatalf("%q: %v", tt.text, err)
		}
		p.Set(tt.tuple, tt.flags)
		if got := f.PacketPredicate()(&p, tt.conn); got != tt.want {
			t.Errorf("%q on %v, flags %#x, connection known: %v: got %v", tt.text, tt.tuple, tt.flags, tt.conn != nil, got)
		}
	}
}

func TestNeedsConn(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "port 443 and not host 192.0.2.1": false, "tcp.flags.syn == 1 xor ip6": false,
		"sport in {1, 2}": false, "has(src)": false,
		"process curl": true, "port 443 or not rtt > 1ms": true, "local_port == 1": true, "server port 1": true,
		"state established": true, "port 443 xor retransmits > 1%": true, "sni contains x": true, "process ~ x": true, "pid in {1, 2}": true,
	} {
		f, err := Parse(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if got := f.NeedsConn(); got != want {
			t.Errorf("%q: needs a connection: %v, want %v", text, got, want)
		}
		web := named(t)["web"]
		if PredicateOf(f.Node())(web) != f.Match(web) {
			t.Errorf("%q: its tree is another predicate", text)
		}
		if OnPacket(f.Node()) == want {
			t.Errorf("%q: OnPacket and NeedsConn agree", text)
		}
	}
}

func TestSymmetric(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "",
		"port 443":                            "port == 443",
		"process curl and port 443":           "port == 443",
		"dport 443 and not host 192.0.2.9":    "not addr == 192.0.2.9",
		"tcp.flags.syn == 1":                  "",
		"port 443 or close_reason == refused": "",
		"close_reason == refused and (port 1 or net 10.0.0.0/8) and ip6": "(port == 1 or addr == 10.0.0.0/8)",
	} {
		f, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		w, err := Parse(want)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Symmetric(); got.String() != w.String() {
			t.Errorf("%q: %q, want %q", text, got, w)
		}
	}
}

func TestPacketPredicateAllocates(t *testing.T) {
	f, err := Parse("process nginx and (sport 443 or tcp.flags.syn == 1) and not net 10.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	web, match := named(t)["web"], f.PacketPredicate()
	var p Packet
	if n := testing.AllocsPerRun(100, func() {
		p.Set(web.Tuple, flagACK)
		if !match(&p, web) {
			t.Fatal("no match")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPacketPredicate(b *testing.B) {
	f, err := Parse("port 443 and not net 10.0.0.0/8")
	if err != nil {
		b.Fatal(err)
	}
	web, match := named(b)["web"], f.PacketPredicate()
	var p Packet
	b.ReportAllocs()
	for b.Loop() {
		p.Set(web.Tuple, flagACK)
		match(&p, nil)
	}
}
