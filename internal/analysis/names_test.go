package analysis

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// hello is what crypto/tls sends first.
func hello(tb testing.TB, cfg *tls.Config) []byte {
	tb.Helper()
	client, server := net.Pipe()
	defer server.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = tls.Client(client, cfg).HandshakeContext(context.Background())
		_ = client.Close()
	}()
	head := make([]byte, recordHead)
	if _, err := server.Read(head); err != nil {
		tb.Fatal(err)
	}
	b := append(bytes.Clone(head), make([]byte, int(head[3])<<8|int(head[4]))...)
	if _, err := server.Read(b[recordHead:]); err != nil {
		tb.Fatal(err)
	}
	_ = server.Close()
	<-done
	return b
}

// records spreads a handshake message over records of at most n bytes.
func records(b []byte, n int) []byte {
	var out []byte
	for message := b[recordHead:]; len(message) > 0; {
		part := message[:min(n, len(message))]
		message = message[len(part):]
		out = append(out, recordHandshake, 3, 1, byte(len(part)>>8), byte(len(part)))
		out = append(out, part...)
	}
	return out
}

// longHello has its extensions behind n bytes of cipher suites.
func longHello(n int, extensions ...byte) []byte {
	body := append([]byte{3, 3}, make([]byte, 32+1)...)
	body = append(body, byte(n>>8), byte(n))
	body = append(body, make([]byte, n)...)
	body = append(body, 1, 0, byte(len(extensions)>>8), byte(len(extensions)))
	body = append(body, extensions...)
	message := append([]byte{clientHello, 0, byte(len(body) >> 8), byte(len(body))}, body...)
	return append([]byte{recordHandshake, 3, 1, byte(len(message) >> 8), byte(len(message))}, message...)
}

func sniExtension(name string) []byte {
	b := []byte{0, 0, 0, byte(len(name) + 5), 0, byte(len(name) + 3), 0, 0, byte(len(name))}
	return append(b, name...)
}

type stream struct {
	name string
	data []byte
	want Names
}

func streams(tb testing.TB) []stream {
	tb.Helper()
	h2 := []string{"h2", "http/1.1"}
	full := hello(tb, &tls.Config{ServerName: "www.example.org", NextProtos: h2})
	both := Names{SNI: "www.example.org", ALPN: "h2,http/1.1"}
	alpn := []byte{0, 16, 0, 13, 0, 11, 2, 0x1a, 0x1a, 2, 'h', '2', 4, 'd', 'o', 't', '1'}
	v2 := append([]byte(proxyV2), 0x21, 0x11, 0, 12)
	v2 = append(v2, make([]byte, 12)...)
	long := strings.Repeat("a", nameText)
	return []stream{
		{"TLS 1.3", full, both},
		{"TLS 1.2", hello(tb, &tls.Config{ServerName: "a.example", MaxVersion: tls.VersionTLS12}), Names{SNI: "a.example"}},
		{"TLS 1.0", hello(tb, &tls.Config{ServerName: "a.example", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}), Names{SNI: "a.example"}},
		{"address, no name", hello(tb, &tls.Config{ServerName: "192.0.2.1", NextProtos: h2[:1]}), Names{ALPN: "h2"}},
		{"records of 100", records(full, 100), both},
		{"records of 1, cut off", records(full, 1)[:nameBytes/2], both},
		{"grease", longHello(2, append(sniExtension("x.example"), alpn...)...), Names{SNI: "x.example", ALPN: "h2,dot1"}},
		{"encrypted inside", longHello(2, append(sniExtension("public.example"), 0xfe, 0x0d, 0, 1, 0)...), Names{SNI: "public.example", ECH: true}},
		{"longest name", longHello(2, longName(long)...), Names{SNI: long}},
		{"name too long", longHello(2, longName(long+"a")...), Names{}},
		{"name behind the limit", longHello(nameBytes, sniExtension("far.example")...), Names{}},
		{"hello beyond the limit", longHello(100, append(sniExtension("near.example"), append([]byte{0, 21, 0x20, 0}, make([]byte, 1<<13)...)...)...), Names{SNI: "near.example"}},
		{"hostile bytes", longHello(2, sniExtension("\x1b[2J\x00\xff")...), Names{SNI: "\x1b[2J\x00\xff"}},
		{"ServerHello", []byte{recordHandshake, 3, 3, 0, 5, 2, 0, 0, 1, 0}, Names{}},
		{"PROXY 1", append([]byte("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"), full...), both},
		{"PROXY 2", append(bytes.Clone(v2), full...), both},
		{"PROXY 2, HTTP", append(bytes.Clone(v2), "GET / HTTP/1.1\r\nHost: p.example\r\n\r\n"...), Names{HTTPHost: "p.example"}},
		{"HTTP", []byte("GET / HTTP/1.1\r\nUser-Agent: x\r\nhOsT: \t www.example.org:8080 \r\nA: b\r\n\r\n"), Names{HTTPHost: "www.example.org:8080"}},
		{"HTTP 1.0", []byte("GET /x HTTP/1.0\nHost:a\n\n"), Names{HTTPHost: "a"}},
		{"empty lines first", []byte("\r\n\r\nPOST / HTTP/1.1\r\nHost: b\r\n\r\n"), Names{HTTPHost: "b"}},
		{"absolute form", []byte("GET http://user@c.example:81/x?http://d HTTP/1.1\r\nHost: other\r\n\r\n"), Names{HTTPHost: "c.example:81"}},
		{"target with a URL", []byte("GET /?u=http://d HTTP/1.1\r\nHost: e\r\n\r\n"), Names{HTTPHost: "e"}},
		{"CONNECT", []byte("CONNECT f.example:443 HTTP/1.1\r\n\r\n"), Names{HTTPHost: "f.example:443"}},
		{"IPv6", []byte("GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n"), Names{HTTPHost: "[2001:db8::1]:80"}},
		{"two hosts", []byte("GET / HTTP/1.1\r\nHost: one\r\nHost: two\r\n\r\n"), Names{HTTPHost: "one"}},
		{"no host", []byte("GET / HTTP/1.0\r\n\r\nHost: body\r\n"), Names{}},
		{"empty host", []byte("GET / HTTP/1.1\r\nHost:\r\n\r\n"), Names{}},
		{"host too long", []byte("GET / HTTP/1.1\r\nHost: " + long + "a\r\n\r\n"), Names{}},
		{"host behind the limit", []byte("GET / HTTP/1.1\r\nA: " + strings.Repeat("b", nameBytes) + "\r\nHost: c\r\n\r\n"), Names{}},
		{"HTTP/2", []byte(preface2 + "\r\nSM\r\n\r\nHost: x\r\n\r\n"), Names{}},
		{"RTSP", []byte("OPTIONS rtsp://g/ RTSP/1.0\r\nHost: g\r\n\r\n"), Names{}},
		{"SSH", []byte("SSH-2.0-x\r\n"), Names{}},
		{"SMTP", []byte("EHLO host.example\r\n"), Names{}},
		{"SSL 2", []byte{0x80, 0x2e, 1, 3, 1, 0, 0}, Names{}},
		{"binary", []byte{0, 1, 2, 3, 4, 5}, Names{}},
	}
}

func longName(name string) []byte {
	n := len(name)
	b := []byte{0, 0, byte((n + 5) >> 8), byte(n + 5), byte((n + 3) >> 8), byte(n + 3), 0, byte(n >> 8), byte(n)}
	return append(b, name...)
}

func TestNames(t *testing.T) {
	for _, tt := range streams(t) {
		t.Run(tt.name, func(t *testing.T) {
			check := func(how string, names Names) {
				t.Helper()
				if diff := cmp.Diff(tt.want, names); diff != "" {
					t.Fatalf("%s (-want +got):\n%s", how, diff)
				}
			}
			var whole Names
			var r nameReader
			r.add(0, tt.data, &whole)
			check("in one segment", whole)
			const step = 61 // a prime, so that splits fall everywhere over the table
			for cut := 1; cut < len(tt.data); cut++ {
				if cut > 200 && cut%step != 0 {
					continue
				}
				a, b := tt.data[:cut], tt.data[cut:]
				var names Names
				var r nameReader
				if !r.add(0, a, &names) {
					r.add(uint32(cut), b, &names)
				}
				check(fmt.Sprintf("cut at %d", cut), names)
				names, r = Names{}, nameReader{}
				if r.add(uint32(cut), b, &names) {
					continue // data too far ahead gives the beginning up
				}
				r.add(0, a, &names)
				check(fmt.Sprintf("cut at %d, the other way round", cut), names)
			}
			var bytewise Names
			r = nameReader{}
			for i := range tt.data {
				if r.add(uint32(i), tt.data[i:i+1], &bytewise) {
					break
				}
			}
			check("in single bytes", bytewise)
			if r.part != nil && r.done {
				t.Error("memory is held by a reader that is done")
			}
		})
	}
}

// TestNamesShuffled: small pieces, repeated, overlapping and out of order.
func TestNamesShuffled(t *testing.T) {
	data := streams(t)[0].data
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var names Names
		var r nameReader
		at := 0
		for at < len(data) {
			n := min(1+rnd.IntN(100), len(data)-at)
			next := min(n+rnd.IntN(100), len(data)-at)
			if rnd.IntN(3) == 0 {
				r.add(uint32(at+next/2), data[at+next/2:at+next], &names) // beyond a hole
			}
			r.add(uint32(at), data[at:at+n], &names)
			if back := rnd.IntN(at + 1); rnd.IntN(3) == 0 {
				r.add(uint32(back), data[back:at+n], &names)
			}
			at += n
		}
		if names.SNI != "www.example.org" || names.ALPN != "h2,http/1.1" || !r.done {
			t.Fatalf("%+v, done: %v", names, r.done)
		}
	}
}

func TestNamesBeforeTheStart(t *testing.T) {
	var names Names
	var r nameReader
	keepAlive := ^uint32(0)
	if r.add(keepAlive, []byte{0}, &names) || r.part != nil {
		t.Error("a keep-alive is no data")
	}
	r.add(keepAlive, []byte("\x00GET / HTTP/1.1\r\nHo"), &names)
	if r.part == nil {
		t.Fatal("nothing kept")
	}
	r.add(keepAlive, []byte{0}, &names)
	if !r.add(18, []byte("st: a\r\n"), &names) || names.HTTPHost != "a" {
		t.Errorf("%+v", names)
	}
}

// TestNamesGiveUp: a hole that nothing fills holds memory for a while only, and
// what was read before it counts.
func TestNamesGiveUp(t *testing.T) {
	first := longHello(10, append(sniExtension("cut.example"), append([]byte{0, 21, 4, 0}, make([]byte, 1<<10)...)...)...)
	first = first[:200]
	for _, tt := range []struct {
		name string
		feed func(r *nameReader, names *Names)
	}{
		{"far ahead", func(r *nameReader, names *Names) { r.add(nameReach+nameBytes, []byte{1}, names) }},
		{"many", func(r *nameReader, names *Names) {
			for i := range uint32(nameTries) {
				r.add(1000+2*i, []byte{1}, names)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, want := range []string{"cut.example", ""} {
				var names Names
				var r nameReader
				if want != "" {
					r.add(0, first, &names)
				}
				tt.feed(&r, &names)
				if !r.done || r.part != nil || names.SNI != want {
					t.Errorf("done %v, SNI %q, want %q", r.done, names.SNI, want)
				}
			}
		})
	}
}

func FuzzClientHello(f *testing.F) {
	for _, s := range streams(f) {
		f.Add(s.data)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		message, want := joinHello(b)
		if want != 0 && want <= len(b) {
			t.Errorf("wants %d of %d bytes", want, len(b))
		}
		var names Names
		parseClientHello(message, &names)
		parseClientHello(b, &names)
		if len(names.SNI) > nameText || len(names.ALPN) > nameText || names.HTTPHost != "" {
			t.Errorf("%+v", names)
		}
		if !bytes.Equal(before, b) {
			t.Error("the input was written to")
		}
	})
}

func FuzzHTTPHost(f *testing.F) {
	for _, s := range streams(f) {
		f.Add(s.data)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		host, want := parseHTTPHost(b)
		if want != 0 && want <= len(b) {
			t.Errorf("wants %d of %d bytes", want, len(b))
		}
		if want != 0 && len(host) != 0 {
			t.Errorf("has %q, and wants more", host)
		}
		if bytes.ContainsAny(host, "\n") || !bytes.Contains(b, host) {
			t.Errorf("host %q", host)
		}
	})
}

// FuzzNames: however a stream is cut into segments, and in whatever order they
// come, the names are those of the stream in one piece.
func FuzzNames(f *testing.F) {
	for i, s := range streams(f) {
		f.Add(s.data, uint64(i))
	}
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) {
		b = b[:min(len(b), 2*nameBytes)]
		var whole, names Names
		var r nameReader
		r.add(0, b, &whole)
		r = nameReader{}
		rnd := rand.New(rand.NewPCG(seed, 1))
		type piece struct{ lo, hi int }
		var pieces []piece
		for at := 0; at < len(b); {
			n := min(1+rnd.IntN(1500), len(b)-at)
			pieces = append(pieces, piece{at, at + n})
			at += n
		}
		swaps := 0
		for i := range pieces {
			if i > 0 && rnd.IntN(4) == 0 {
				pieces[i-1], pieces[i] = pieces[i], pieces[i-1]
				swaps++
			}
		}
		for _, p := range pieces {
			r.add(uint32(p.lo), b[p.lo:p.hi], &names)
			if r.part != nil && (len(r.part.buf) > nameBytes || cap(r.part.buf) > nameBytes || r.part.have > len(r.part.buf)) {
				t.Fatalf("%d bytes held", cap(r.part.buf))
			}
		}
		if swaps < nameIslands && len(pieces) < nameTries && names != whole {
			t.Errorf("in %v: %+v\nwhole: %+v", pieces, names, whole)
		}
		// Anywhere at all, without any promise but to stand it.
		for _, p := range pieces {
			r.add(rnd.Uint32(), b[p.lo:p.hi], &names)
		}
	})
}

func BenchmarkNames(b *testing.B) {
	data := hello(b, &tls.Config{ServerName: "www.example.org", NextProtos: []string{"h2", "http/1.1"}})
	b.ReportAllocs()
	for b.Loop() {
		var names Names
		var r nameReader
		if !r.add(0, data, &names) {
			b.Fatal("not done")
		}
	}
}

// TestNamesOfCutHello: what a capture that cuts frames shows of a hello still
// names its connection when that ends.
func TestNamesOfCutHello(t *testing.T) {
	whole := longHello(10, append(sniExtension("cut.example"), append([]byte{0, 21, 4, 0}, make([]byte, 1<<10)...)...)...)
	ends := tcp.Tuple{
		Local: tcp.AddrFrom(netip.MustParseAddr("192.0.2.1")), LocalPort: 40000,
		Remote: tcp.AddrFrom(netip.MustParseAddr("192.0.2.2")), RemotePort: 443,
	}
	var got []Names
	var a *Analyzer
	cfg := DefaultConfig()
	cfg.OnEnd = func(c *Conn) { got = append(got, a.Names(c)) }
	a = New(cfg)
	var p Packet
	a.Add(&capture.Segment{Tuple: ends, Time: 1, Seq: 100, Flags: capture.SYN, HeaderLen: 20}, &p)
	a.Add(&capture.Segment{Tuple: ends, Time: 2, Seq: 101, Flags: capture.ACK, HeaderLen: 20, Len: uint32(len(whole)), Payload: whole[:200]}, &p)
	a.Flush()
	if want := []Names{{SNI: "cut.example"}}; !slices.Equal(got, want) {
		t.Errorf("names %+v, want %+v", got, want)
	}
	if n := len(a.naming.reading); n != 0 || a.naming.sets[len(a.naming.sets)-1].users != 0 {
		t.Errorf("%d hellos and the names are kept after the end", n)
	}
}
