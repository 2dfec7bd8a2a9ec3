package track

import (
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

func TestLookup(t *testing.T) {
	b := newBed(t)
	o := sock(1, 40000, 443)
	if c := b.track.Lookup(o.Tuple, 0); c != nil {
		t.Fatalf("found %+v before there was one", c)
	}
	b.event(tcp.SeenOpened, o)
	first := b.track.Lookup(o.Tuple, ns1)
	if first == nil || first.Cookie != 1 {
		t.Fatalf("got %+v", first)
	}
	if c := b.track.Lookup(o.Tuple, ns2); c != nil {
		t.Errorf("found %+v in another namespace", c)
	}
	if c := b.track.Lookup(o.Reverse(), 0); c != nil {
		t.Errorf("found %+v by the tuple of the other end", c)
	}

	// What was handed out does not change any more.
	b.tick(time.Second)
	sent := bytes(o, 100, 0)
	b.event(tcp.SeenClosed, sent)
	if first.State != tcp.Established || !first.Closed.IsZero() {
		t.Errorf("changed under its reader: %+v", first)
	}
	closed := b.track.Lookup(o.Tuple, 0)
	if closed == nil || closed.State != tcp.Closed || closed.Metrics.BytesSent != 100 {
		t.Errorf("after the close: %+v", closed)
	}

	// The tuple's next user comes before its last one.
	again := sock(2, 40000, 443)
	b.event(tcp.SeenOpened, again)
	if c := b.track.Lookup(o.Tuple, 0); c == nil || c.Cookie != 2 {
		t.Errorf("after reuse: %+v", c)
	}

	// The same addresses in two namespaces are two connections.
	other := sock(3, 40000, 443)
	other.NetNS = ns2
	b.event(tcp.SeenOpened, other)
	if c := b.track.Lookup(o.Tuple, 0); c != nil {
		t.Errorf("chose %+v of two", c)
	}
	if c := b.track.Lookup(o.Tuple, ns2); c == nil || c.Cookie != 3 {
		t.Errorf("in the second namespace: %+v", c)
	}
}
