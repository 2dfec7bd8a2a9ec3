package enrich

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// nameServer answers PTR questions on loopback: a minimal server of RFC 1035.
type nameServer struct {
	conn  net.PacketConn
	names map[string]string // question, as 1.2.0.192.in-addr.arpa, to name
	mute  string            // a question that is never answered
	asked atomic.Int64
	done  chan struct{}
}

func newNameServer(t *testing.T, names map[string]string, mute string) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{conn: conn, names: names, mute: mute, done: make(chan struct{})}
	go s.serve()
	t.Cleanup(func() {
		conn.Close()
		<-s.done
	})
	return s
}

func (s *nameServer) serve() {
	defer close(s.done)
	buf := make([]byte, 512)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		s.asked.Add(1)
		if answer := s.answer(buf[:n]); answer != nil {
			_, _ = s.conn.WriteTo(answer, from)
		}
	}
}

func (s *nameServer) answer(q []byte) []byte {
	const header = 12
	var labels []string
	at := header
	for at < len(q) && q[at] != 0 {
		labels = append(labels, string(q[at+1:at+1+int(q[at])]))
		at += 1 + int(q[at])
	}
	question := strings.Join(labels, ".")
	if question == s.mute {
		return nil
	}
	at += 5 // the end of the name, type and class
	name, ok := s.names[question]
	out := append([]byte(nil), q[:at]...)
	binary.BigEndian.PutUint16(out[2:], 0x8180) // an answer, recursion available
	clear(out[6:12])
	if !ok {
		out[3] |= 3 // no such name
		return out
	}
	out[7] = 1
	out = append(out, 0xc0, header, 0, 12, 0, 1, 0, 0, 0, 60)
	var rdata []byte
	for label := range strings.SplitSeq(name, ".") {
		rdata = append(append(rdata, byte(len(label))), label...)
	}
	rdata = append(rdata, 0)
	out = binary.BigEndian.AppendUint16(out, uint16(len(rdata)))
	return append(out, rdata...)
}

func (s *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp4", s.conn.LocalAddr().String())
	}}
}

// A real resolver against a real server: a name, no name, no answer, IPv6.
func TestReverseDNS(t *testing.T) {
	v6 := "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
	server := newNameServer(t, map[string]string{
		"1.2.0.192.in-addr.arpa": "one.example.net",
		v6:                       "six.example.net",
	}, "3.2.0.192.in-addr.arpa")
	r := NewReverseDNS(ReverseConfig{Resolver: server.resolver(), Timeout: 300 * time.Millisecond})
	defer r.Close()
	want := map[string]string{
		"192.0.2.1": "one.example.net", "2001:db8::1": "six.example.net",
		"192.0.2.2": "", "192.0.2.3": "",
	}
	for a := range want {
		if name, known := r.Lookup(addr(a)); known || name != "" {
			t.Errorf("%s is known before it was asked for: %q", a, name)
		}
	}
	if err := r.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	for a, want := range want {
		if name, known := r.Lookup(addr(a)); !known || name != want {
			t.Errorf("%s: %q, known %v, want %q", a, name, known, want)
		}
	}
	asked := server.asked.Load()
	for range 10 {
		r.Lookup(addr("192.0.2.1"))
		r.Lookup(addr("192.0.2.2"))
		r.Lookup(addr("127.0.0.1"))
		r.Lookup(addr("::"))
	}
	if err := r.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := server.asked.Load(); now != asked {
		t.Errorf("%d questions for what was known", now-asked)
	}
	if name, known := r.Lookup(addr("127.0.0.7")); name != "localhost" || !known {
		t.Errorf("loopback: %q, %v", name, known)
	}
}

// counting is a resolver that counts, and waits until it is let go.
type counting struct {
	mu            sync.Mutex
	running, most int
	asked         []string
	gate          chan struct{}
	name          string
}

func (c *counting) LookupAddr(ctx context.Context, a string) ([]string, error) {
	c.mu.Lock()
	c.asked = append(c.asked, a)
	c.running++
	c.most = max(c.most, c.running)
	name := c.name
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.running--
		c.mu.Unlock()
	}()
	select {
	case <-c.gate:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if name == "" {
		return nil, errors.New("no such name")
	}
	return []string{"z.example.net.", name + "."}, nil
}

func TestReverseDNSBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counting{gate: make(chan struct{}), name: "a.example.net"}
		r := NewReverseDNS(ReverseConfig{Resolver: c, Workers: 3, MaxPending: 10, MaxEntries: 20, Timeout: time.Hour})
		for i := range 100 {
			r.Lookup(addr(fmt.Sprintf("192.0.2.%d", i)))
		}
		synctest.Wait()
		if c.most != 3 || r.pending != 10 || len(r.entries) != 20 || r.lru.Len() != 20 {
			t.Errorf("%d at once, %d pending, %d entries", c.most, r.pending, len(r.entries))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("wait: %v", err)
		}
		close(c.gate)
		if err := r.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if len(c.asked) != 10 {
			t.Errorf("%d questions", len(c.asked))
		}
		r.Close()
		r.Lookup(addr("198.51.100.1"))
		synctest.Wait()
		if len(c.asked) != 10 {
			t.Error("asked after Close")
		}
	})
}

// Close does not wait for answers.
func TestReverseDNSClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counting{gate: make(chan struct{})}
		r := NewReverseDNS(ReverseConfig{Resolver: c, Workers: 2, Timeout: time.Hour})
		for i := range 10 {
			r.Lookup(addr(fmt.Sprintf("192.0.2.%d", i)))
		}
		synctest.Wait()
		r.Close()
		if r.pending != 0 || r.workers != 0 {
			t.Errorf("%d pending, %d workers", r.pending, r.workers)
		}
		if err := r.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if _, known := r.Lookup(addr("192.0.2.0")); known {
			t.Error("an abandoned question is known")
		}
	})
}

func TestReverseDNSExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counting{gate: make(chan struct{}), name: "a.example.net"}
		close(c.gate)
		r := NewReverseDNS(ReverseConfig{Resolver: c, TTL: time.Hour, NegativeTTL: time.Minute})
		defer r.Close()
		a := addr("192.0.2.1")
		look := func() (string, bool) {
			name, known := r.Lookup(a)
			synctest.Wait()
			return name, known
		}
		look()
		if name, _ := look(); name != "a.example.net" || len(c.asked) != 1 {
			t.Fatalf("%q after %d questions: of two names the first in order counts", name, len(c.asked))
		}
		time.Sleep(time.Hour)
		c.mu.Lock()
		c.name = ""
		c.mu.Unlock()
		if name, known := look(); name != "a.example.net" || !known || len(c.asked) != 2 {
			t.Errorf("%q, %v after %d questions: an old name stays until there is a new answer", name, known, len(c.asked))
		}
		if name, known := look(); name != "" || !known || len(c.asked) != 2 {
			t.Errorf("%q, %v after %d questions", name, known, len(c.asked))
		}
		time.Sleep(time.Minute)
		look()
		if len(c.asked) != 3 {
			t.Errorf("%d questions: that there is no name is believed for a shorter time", len(c.asked))
		}
	})
}

func TestBestName(t *testing.T) {
	for _, tt := range []struct {
		names []string
		err   error
		want  string
	}{
		{nil, nil, ""},
		{[]string{"b.example.", "a.example."}, nil, "a.example"},
		{[]string{".", strings.Repeat("x", maxName+1), "y.example"}, nil, "y.example"},
		{[]string{"a"}, errors.New("broken"), ""},
	} {
		if got := bestName(tt.names, tt.err); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.names, got, tt.want)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	c := &counting{gate: make(chan struct{}), name: "a.example.net"}
	close(c.gate)
	r := NewReverseDNS(ReverseConfig{Resolver: c})
	defer r.Close()
	a := tcp.AddrFrom4([4]byte{192, 0, 2, 1})
	r.Lookup(a)
	if err := r.Wait(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		r.Lookup(a)
	}
}
