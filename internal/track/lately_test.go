package track

import (
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// TestLookupAt: packets tell which of the users of a tuple is meant by their
// time, also when all of them are gone.
func TestLookupAt(t *testing.T) {
	b := newBed(t)
	b.track.RememberClosed(10 * time.Second)
	at := func(c *tcp.Conn) uint64 {
		if c == nil {
			return 0
		}
		return c.Cookie
	}
	var opened []int64
	var o tcp.Observation
	for cookie := range uint64(3) {
		o = sock(cookie+1, 40000, 443)
		o.Opened = b.tick(time.Second)
		opened = append(opened, o.Opened.Wall)
		b.event(tcp.SeenOpened, o)
		b.tick(100 * time.Millisecond)
		b.event(tcp.SeenClosed, o)
	}
	live := sock(4, 40000, 443)
	live.Opened = b.tick(time.Second)
	b.event(tcp.SeenOpened, live)
	b.pass(tcp.PassFull, live) // after which no tombstone stands any more
	b.tick(10 * time.Millisecond)
	b.pass(tcp.PassFull, live)
	for i, want := range []uint64{1, 2, 3} {
		for _, late := range []time.Duration{-time.Millisecond, 0, 50 * time.Millisecond, 500 * time.Millisecond} {
			if c := b.track.LookupAt(o.Tuple, ns1, opened[i]+int64(late)); at(c) != want {
				t.Errorf("%v after opening %d: found %d", late, want, at(c))
			}
		}
	}
	if c := b.track.LookupAt(o.Tuple, 0, live.Opened.Wall); at(c) != 4 {
		t.Errorf("alive: found %d", at(c))
	}
	if c := b.track.LookupAt(o.Tuple, ns1, opened[0]-int64(time.Second)); c != nil {
		t.Errorf("before all: found %d", at(c))
	}
	if c := b.track.LookupAt(o.Reverse(), ns1, live.Opened.Wall); c != nil {
		t.Errorf("the other end: found %d", at(c))
	}
	if c := b.track.LookupAt(o.Tuple, ns2, live.Opened.Wall); c != nil {
		t.Errorf("in another namespace: found %d", at(c))
	}
	other := sock(5, 40000, 443)
	other.NetNS = ns2
	other.Opened = live.Opened
	b.event(tcp.SeenOpened, other)
	if c := b.track.LookupAt(o.Tuple, 0, live.Opened.Wall); c != nil {
		t.Errorf("chose %d of two namespaces", at(c))
	}
	if c := b.track.LookupAt(o.Tuple, ns2, live.Opened.Wall); at(c) != 5 {
		t.Errorf("in the second namespace: found %d", at(c))
	}

	b.tick(11 * time.Second)
	b.event(tcp.Seen, live)
	if c := b.track.LookupAt(o.Tuple, ns1, opened[2]); c != nil {
		t.Errorf("long after its close: found %d", at(c))
	}
}

// TestLookupAtForgets: what is remembered of closed connections is bounded.
func TestLookupAtForgets(t *testing.T) {
	var l lately
	l.keep, l.byTuple = int64(time.Hour), make(map[tcp.Tuple]*late)
	for i := range maxLate + 5000 {
		l.add(&tcp.Conn{Key: tcp.Key{Tuple: tcp.Tuple{LocalPort: uint16(i), RemotePort: uint16(i >> 18)}}}, int64(i))
		l.expire(int64(i))
	}
	if n := len(l.queue) - l.head; n != maxLate {
		t.Errorf("%d are kept, want %d", n, maxLate)
	}
	chained := 0
	for _, top := range l.byTuple {
		for p := top; p != nil; p = p.before {
			chained++
		}
	}
	if chained != maxLate {
		t.Errorf("%d are found, want %d", chained, maxLate)
	}
	l.expire(int64(3 * time.Hour))
	if len(l.byTuple) != 0 || l.head != len(l.queue) {
		t.Errorf("%d tuples, %d of %d left", len(l.byTuple), len(l.queue)-l.head, len(l.queue))
	}
}

func TestListener(t *testing.T) {
	b := newBed(t)
	listen := func(cookie uint64, local tcp.Addr, remote tcp.Addr, port uint16) {
		o := sock(cookie, port, 0)
		o.Local, o.Remote, o.State = local, remote, tcp.Listen
		b.event(tcp.Seen, o)
	}
	one := tcp.AddrFrom4([4]byte{192, 0, 2, 1})
	listen(1, one, any4, 80)
	listen(2, any4, any4, 81)
	listen(3, any6, any6, 82)
	six := tcp.Addr{0x20, 0x01, 0x0d, 0xb8, 15: 1}
	for _, tt := range []struct {
		local tcp.Addr
		port  uint16
		netns uint32
		want  uint64
	}{
		{one, 80, ns1, 1},
		{tcp.AddrFrom4([4]byte{192, 0, 2, 9}), 80, ns1, 0},
		{one, 81, ns1, 2},
		{six, 81, ns1, 0},
		{one, 82, ns1, 3},
		{six, 82, ns1, 3},
		{one, 80, ns2, 0},
		{one, 83, ns1, 0},
	} {
		c := b.track.Listener(tt.local, tt.port, tt.netns)
		if got := c != nil; got != (tt.want != 0) || got && c.Cookie != tt.want {
			t.Errorf("%v port %d: got %+v, want %d", tt.local, tt.port, c, tt.want)
		}
	}
}
