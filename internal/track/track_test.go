package track

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bed drives a tracker as a source would, on a clock of its own.
type bed struct {
	t      *testing.T
	track  *Tracker
	sub    tcp.Subscription
	source tcp.SourceKind
	now    tcp.Stamp
}

const ns1, ns2 = 4026531840, 4026532999

func newBed(t *testing.T, change ...func(*Config)) *bed {
	t.Helper()
	cfg := DefaultConfig()
	cfg.IDs = tcp.NewIDs("b0071d")
	cfg.EphemeralLow, cfg.EphemeralHigh = 32768, 60999
	for _, c := range change {
		c(&cfg)
	}
	b := &bed{t: t, track: New(cfg), source: tcp.SourceEBPF, now: tcp.Stamp{Wall: 1_700_000_000e9, Boot: 1000e9}}
	b.sub = b.track.Subscribe(1 << 16)
	t.Cleanup(b.sub.Close)
	return b
}

func (b *bed) tick(d time.Duration) tcp.Stamp { b.now = b.now.Add(d); return b.now }

func (b *bed) apply(batch tcp.Batch) {
	b.t.Helper()
	batch.Source = b.source
	if batch.Time.IsZero() {
		batch.Time = b.now
	}
	if err := b.track.Apply(&batch); err != nil {
		b.t.Fatal(err)
	}
}

// pass applies a whole walk over namespace ns1 which began now.
func (b *bed) pass(kind tcp.PassKind, obs ...tcp.Observation) {
	b.t.Helper()
	b.passBegun(b.now, kind, obs...)
}

func (b *bed) passBegun(begin tcp.Stamp, kind tcp.PassKind, obs ...tcp.Observation) {
	b.t.Helper()
	for i := range obs {
		obs[i].Kind = tcp.Seen
		if obs[i].Time.IsZero() {
			obs[i].Time = begin
		}
	}
	b.apply(tcp.Batch{Observations: obs, Pass: tcp.Pass{
		Kind: kind, Begin: begin, End: true, Minis: true, Namespaces: []uint32{ns1}, AllNamespaces: kind == tcp.PassFull,
	}})
}

// event applies one event that happens now.
func (b *bed) event(kind tcp.ObservationKind, o tcp.Observation) {
	b.t.Helper()
	o.Kind = kind
	if o.Time.IsZero() {
		o.Time = b.now
	}
	if kind == tcp.SeenClosed {
		o.State = tcp.Closed
	}
	b.apply(tcp.Batch{Observations: []tcp.Observation{o}, Pass: tcp.Pass{Kind: tcp.PassEvents}})
}

// told returns the events since the last call, as "type id-of-cookie".
func (b *bed) told() []string {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	cancel()
	evs, err := b.sub.Next(ctx, nil)
	if err != nil && !errors.Is(err, context.Canceled) {
		b.t.Fatal(err)
	}
	var out []string
	for _, e := range evs {
		if e.Conn == nil {
			out = append(out, e.Type.String())
			continue
		}
		out = append(out, fmt.Sprintf("%s %d", e.Type, e.Conn.Cookie))
	}
	return out
}

func (b *bed) wantTold(want ...string) {
	b.t.Helper()
	if diff := cmp.Diff(want, b.told()); diff != "" {
		b.t.Errorf("events (-want +got):\n%s", diff)
	}
}

// only returns the single connection of the snapshot that has the cookie.
func (b *bed) only(cookie uint64) *tcp.Conn {
	b.t.Helper()
	var found *tcp.Conn
	for _, c := range b.track.Snapshot().Conns {
		if c.Cookie == cookie {
			if found != nil {
				b.t.Fatalf("cookie %d is in the snapshot twice", cookie)
			}
			found = c
		}
	}
	if found == nil {
		b.t.Fatalf("cookie %d is not in the snapshot", cookie)
	}
	return found
}

func (b *bed) wantGone(cookie uint64) {
	b.t.Helper()
	for _, c := range b.track.Snapshot().Conns {
		if c.Cookie == cookie {
			b.t.Fatalf("cookie %d is still there as %s", cookie, c.State)
		}
	}
}

// sock is an established socket 10.0.0.1:lport → 10.0.0.2:rport.
func sock(cookie uint64, lport, rport uint16) tcp.Observation {
	return tcp.Observation{
		Key: tcp.Key{NetNS: ns1, Tuple: tcp.Tuple{
			Local: tcp.AddrFrom4([4]byte{192, 0, 2, 1}), Remote: tcp.AddrFrom4([4]byte{192, 0, 2, 2}),
			LocalPort: lport, RemotePort: rport,
		}},
		Cookie: cookie, State: tcp.Established, Inode: uint32(cookie), Has: tcp.HasInode,
	}
}

func with(o tcp.Observation, change func(*tcp.Observation)) tcp.Observation {
	change(&o)
	return o
}

func mini(o tcp.Observation, s tcp.State) tcp.Observation {
	o.Mini, o.State, o.Inode, o.Has = true, s, 0, 0
	return o
}

func bytes(o tcp.Observation, sent, received uint64) tcp.Observation {
	o.Has |= tcp.HasBytesSent | tcp.HasBytesReceived
	o.Metrics.BytesSent, o.Metrics.BytesReceived = sent, received
	return o
}

func TestLifeFromEvents(t *testing.T) {
	b := newBed(t)
	b.pass(tcp.PassFull)
	open := with(sock(7, 40000, 443), func(o *tcp.Observation) {
		o.Opened = b.tick(time.Second)
		o.Time = b.tick(3 * time.Millisecond)
		o.Has |= tcp.HasHandshake
		o.Handshake = 3000
		o.Direction = tcp.Outbound
	})
	b.event(tcp.SeenOpened, open)
	b.wantTold("opened 7", "established 7")
	b.tick(time.Second)
	b.pass(tcp.PassDelta, open)
	if c := b.only(7); !c.OpenedExact || c.Handshake != 3000 || c.Direction != tcp.Outbound {
		t.Errorf("connection is %+v", c)
	}
	b.tick(time.Second)
	b.event(tcp.SeenClosed, with(bytes(open, 100, 50), func(o *tcp.Observation) {
		o.Time = b.now
		o.FirstFIN, o.Reason = tcp.SideRemote, tcp.CloseFIN
	}))
	b.wantTold("closed 7")
	b.pass(tcp.PassDelta)
	b.wantGone(7)
	s := b.track.Snapshot().Stats
	if s.Opened != 1 || s.Closed != 1 || s.Established != 1 || s.Vanished != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestCloseCarriesTheWholeStory(t *testing.T) {
	b := newBed(t)
	b.pass(tcp.PassFull)
	sub := b.track.Subscribe(10)
	defer sub.Close()
	opened := b.tick(time.Second)
	b.tick(10 * time.Millisecond)
	b.event(tcp.SeenClosed, with(bytes(sock(7, 40000, 443), 100, 50), func(o *tcp.Observation) {
		o.Opened, o.Handshake, o.Reason, o.FirstFIN = opened, 500, tcp.CloseFIN, tcp.SideLocal
		o.Has |= tcp.HasHandshake
		o.Owner, o.Attribution = tcp.Owner{PID: 12, Start: 99, Comm: tcp.MakeComm("curl")}, tcp.AttributionExact
	}))
	evs, err := sub.Next(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(evs) != 3 {
		t.Fatalf("%d events, want opened, established and closed", len(evs))
	}
	if evs[0].Time != opened || evs[1].Time != opened.Add(500*time.Microsecond) || evs[2].Time != b.now {
		t.Errorf("times of events: %v", evs)
	}
	c := evs[2].Conn
	if d, ok := c.Duration(); !ok || d != 10*time.Millisecond {
		t.Errorf("duration %v, %v", d, ok)
	}
	if c.Process == nil || c.Process.Name != "curl" || c.Process.PID != 12 {
		t.Errorf("process %+v", c.Process)
	}
	if c.ClosedBy != tcp.SideLocal || c.Reason != tcp.CloseFIN || c.Metrics.BytesSent != 100 || !c.Complete {
		t.Errorf("closed as %+v", c)
	}
	if evs[0].Seq+1 != evs[1].Seq || evs[1].Seq+1 != evs[2].Seq {
		t.Errorf("sequence numbers have holes: %v", evs)
	}
}

func TestPreexistingIsNotReplayed(t *testing.T) {
	b := newBed(t)
	b.pass(tcp.PassFull, sock(1, 40000, 443))
	b.wantTold()
	if c := b.only(1); !c.Opened.IsZero() {
		t.Errorf("opened is %v for a connection older than the observation", c.Opened)
	}
	b.tick(time.Second)
	b.event(tcp.SeenClosed, sock(1, 40000, 443))
	b.wantTold("closed 1")
}

func TestPolledSourceDatesNewConnections(t *testing.T) {
	b := newBed(t)
	b.source = tcp.SourceNetlink
	b.pass(tcp.PassFull, sock(1, 40000, 443))
	b.tick(2 * time.Second)
	b.pass(tcp.PassFull, sock(1, 40000, 443), sock(2, 40001, 443))
	b.wantTold("opened 2", "established 2")
	if c := b.only(2); c.Opened != b.now || c.OpenedExact {
		t.Errorf("opened %v exact %v; want the time of the dump, inexact", c.Opened, c.OpenedExact)
	}
}

func TestTupleReuseIsANewConnection(t *testing.T) {
	b := newBed(t)
	b.pass(tcp.PassFull, sock(1, 40000, 443))
	first := b.only(1).ID
	b.event(tcp.SeenClosed, with(sock(1, 40000, 443), func(o *tcp.Observation) { o.Time = b.tick(time.Second) }))
	b.event(tcp.SeenOpened, with(sock(2, 40000, 443), func(o *tcp.Observation) { o.Opened = b.tick(time.Second) }))
	b.pass(tcp.PassDelta)
	if second := b.only(2).ID; second == first {
		t.Error("two connections of one tuple have one id")
	}
	b.wantGone(1)
}

func TestCookieReuseIsANewConnection(t *testing.T) {
	b := newBed(t)
	b.pass(tcp.PassFull)
	first := with(sock(1, 40000, 443), func(o *tcp.Observation) { o.Opened = b.tick(time.Second) })
	b.event(tcp.SeenOpened, first)
	b.event(tcp.SeenClosed, with(first, func(o *tcp.Observation) { o.Time = b.tick(time.Millisecond) }))
	again := with(sock(1, 40001, 443), func(o *tcp.Observation) { o.Opened = b.tick(time.Millisecond) })
	b.event(tcp.SeenOpened, again)
	b.pass(tcp.PassDelta, again)
	if c := b.only(1); c.LocalPort != 40001 || c.ID == b.track.cfg.IDs.Socket(ns1, 1) {
		t.Errorf("the second connection of a socket is %v with id %v", c.Tuple, c.ID)
	}
	b.event(tcp.SeenClosed, with(again, func(o *tcp.Observation) { o.Time = b.tick(time.Millisecond) }))
	b.wantTold("opened 1", "established 1", "closed 1", "opened 1", "established 1", "closed 1")
}

func TestLateEventDoesNotTurnBack(t *testing.T) {
	b := newBed(t)
	b.pass(tcp.PassFull)
	opened := with(sock(1, 40000, 443), func(o *tcp.Observation) { o.Opened = b.tick(time.Second); o.Time = b.now })
	b.tick(time.Second)
	b.pass(tcp.PassDelta, with(opened, func(o *tcp.Observation) { o.State, o.Time = tcp.CloseWait, b.now }))
	b.event(tcp.SeenOpened, opened)
	b.tick(time.Second)
	b.pass(tcp.PassDelta)
	if c := b.only(1); c.State != tcp.CloseWait {
		t.Errorf("an event from before the walk made the state %v", c.State)
	}
}

func TestChangeOfSourceKeepsIdentity(t *testing.T) {
	b := newBed(t)
	b.pass(tcp.PassFull, bytes(sock(1, 40000, 443), 10, 20))
	id := b.only(1).ID
	b.source = tcp.SourceNetlink
	b.tick(time.Second)
	b.pass(tcp.PassFull, bytes(sock(1, 40000, 443), 11, 21))
	if c := b.only(1); c.ID != id || c.Source != tcp.SourceNetlink || c.Metrics.BytesSent != 11 {
		t.Errorf("after the change: %+v", c)
	}
	// procfs has no cookie; tuple and inode tell. What it cannot know is
	// unknown again, not stale.
	b.source = tcp.SourceProcfs
	b.tick(time.Second)
	b.pass(tcp.PassFull, with(sock(0, 40000, 443), func(o *tcp.Observation) { o.Inode = 1 }))
	if c := b.only(1); c.ID != id || c.Has&tcp.HasBytesSent != 0 {
		t.Errorf("after procfs: %+v", c)
	}
	b.wantTold()
}

func TestSourceWithCookiesTakesOver(t *testing.T) {
	b := newBed(t)
	b.source = tcp.SourceProcfs
	b.pass(tcp.PassFull, with(sock(0, 40000, 443), func(o *tcp.Observation) { o.Inode = 9 }))
	id := b.only(0).ID
	b.source = tcp.SourceEBPF
	b.tick(time.Second)
	b.pass(tcp.PassFull, with(sock(5, 40000, 443), func(o *tcp.Observation) { o.Inode = 9 }))
	if c := b.only(5); c.ID != id {
		t.Errorf("id changed from %v to %v with the source", id, c.ID)
	}
}

func TestDumpThatOverlapsAClose(t *testing.T) {
	b := newBed(t)
	b.pass(tcp.PassFull, sock(1, 40000, 443))
	begin := b.tick(time.Second)
	b.event(tcp.SeenClosed, with(sock(1, 40000, 443), func(o *tcp.Observation) { o.Time = b.tick(time.Millisecond) }))
	b.wantTold("closed 1")
	// The dump read the socket before it closed.
	b.passBegun(begin, tcp.PassFull, sock(1, 40000, 443))
	b.wantGone(1)
	b.wantTold()
	// And the tombstone outlives that dump, but not the next one.
	b.tick(time.Second)
	b.pass(tcp.PassFull)
	if n := len(b.track.tombs.queue); n != 0 {
		t.Errorf("%d tombstones left after a dump begun after the close", n)
	}
}

func TestDumpThatOverlapsAnOpen(t *testing.T) {
	b := newBed(t)
	b.pass(tcp.PassFull)
	begin := b.tick(time.Second)
	b.event(tcp.SeenOpened, with(sock(1, 40000, 443), func(o *tcp.Observation) {
		o.Opened = b.now
		o.Time = b.tick(time.Millisecond)
	}))
	// The dump began before and does not show it.
	b.passBegun(begin, tcp.PassFull)
	b.passBegun(begin.Add(time.Microsecond), tcp.PassFull)
	b.only(1)
	b.wantTold("opened 1", "established 1")
}

func TestLostCloseIsReconciled(t *testing.T) {
	b := newBed(t)
	b.pass(tcp.PassFull, sock(1, 40000, 443), sock(2, 40001, 443))
	b.apply(tcp.Batch{Pass: tcp.Pass{Kind: tcp.PassEvents}, Lost: tcp.Loss{Closes: 1, BytesSent: 10, BytesReceived: 20}})
	b.wantTold("gap")
	b.tick(time.Second)
	b.pass(tcp.PassFull, sock(2, 40001, 443))
	b.wantTold() // its close may still be on its way
	b.tick(time.Second)
	b.pass(tcp.PassDelta)
	b.wantTold("closed 1")
	s := b.track.Snapshot().Stats
	if s.Vanished != 1 || s.Closed != 0 || s.Lost.Closes != 1 || s.Lost.BytesSent != 10 {
		t.Errorf("stats %+v", s)
	}
	// A close that comes late is the same close.
	b.event(tcp.SeenClosed, sock(1, 40000, 443))
	b.wantTold()
}

func TestUncountedLossAsksForAFullPass(t *testing.T) {
	b := newBed(t)
	b.pass(tcp.PassFull, sock(1, 40000, 443), sock(2, 40001, 443))
	asked := 0
	walk := func(sockets int) {
		b.apply(tcp.Batch{
			Pass:   tcp.Pass{Kind: tcp.PassDelta, Begin: b.tick(time.Second), End: true, Namespaces: []uint32{ns1}, Sockets: sockets},
			Resync: func() { asked++ },
		})
	}
	walk(2)
	walk(1)
	if asked != 0 {
		t.Error("one pass with fewer sockets is no proof")
	}
	walk(1)
	if asked != 1 {
		t.Errorf("asked %d times after two passes that walked fewer sockets than are followed", asked)
	}
	walk(2)
	walk(1)
	walk(2)
	if asked != 1 {
		t.Errorf("asked %d times without two such passes in a row", asked)
	}
}

func TestIncompletePassRemovesNothing(t *testing.T) {
	b := newBed(t)
	b.pass(tcp.PassFull, sock(1, 40000, 443))
	for range 3 {
		b.apply(tcp.Batch{Pass: tcp.Pass{
			Kind: tcp.PassFull, Begin: b.tick(time.Second), End: true, Namespaces: []uint32{ns1}, Incomplete: "the dump was interrupted",
		}})
	}
	b.only(1)
	if got := b.track.Snapshot().Stats.Incomplete; got != "the dump was interrupted" {
		t.Errorf("incomplete is %q", got)
	}
}

func TestNamespaceThatIsGone(t *testing.T) {
	b := newBed(t)
	other := with(sock(2, 40001, 443), func(o *tcp.Observation) { o.NetNS = ns2 })
	b.apply(tcp.Batch{
		Observations: []tcp.Observation{with(sock(1, 40000, 443), func(o *tcp.Observation) { o.Kind = tcp.Seen }), with(other, func(o *tcp.Observation) { o.Kind = tcp.Seen })},
		Pass:         tcp.Pass{Kind: tcp.PassFull, Begin: b.now, End: true, Namespaces: []uint32{ns1, ns2}, AllNamespaces: true},
	})
	b.only(2)
	// A pass over one namespace says nothing of the other…
	for range 3 {
		b.apply(tcp.Batch{Pass: tcp.Pass{Kind: tcp.PassFull, Begin: b.tick(time.Second), End: true, Namespaces: []uint32{ns2 + 1}}})
	}
	b.only(2)
	// …a pass over all does.
	b.tick(time.Second)
	b.pass(tcp.PassFull, sock(1, 40000, 443))
	b.tick(time.Second)
	b.pass(tcp.PassDelta)
	b.wantGone(2)
	b.only(1)
}

func TestRemnantKeepsTheIdentity(t *testing.T) {
	b := newBed(t)
	b.pass(tcp.PassFull, sock(1, 40000, 443))
	id := b.only(1).ID
	b.event(tcp.SeenClosed, with(sock(1, 40000, 443), func(o *tcp.Observation) {
		o.Owner, o.Attribution = tcp.Owner{PID: 5, Comm: tcp.MakeComm("x")}, tcp.AttributionExact
		o.Reason = tcp.CloseFIN
	}))
	b.tick(time.Second)
	b.pass(tcp.PassDelta, mini(sock(1, 40000, 443), tcp.TimeWait))
	c := b.only(1)
	if c.ID != id || c.State != tcp.TimeWait || !c.Remnant || c.Open() || c.Process == nil {
		t.Errorf("remnant is %+v", c)
	}
	if s := b.track.Snapshot().Stats; s.Open != 0 || s.Remnants != 1 {
		t.Errorf("stats %+v", s)
	}
	b.tick(time.Second)
	b.pass(tcp.PassDelta)
	b.wantGone(1)
	b.wantTold("closed 1")
}

func TestRemnantWithACookieOfItsOwn(t *testing.T) {
	b := newBed(t)
	b.source = tcp.SourceNetlink
	b.pass(tcp.PassFull, sock(1, 40000, 443))
	id := b.only(1).ID
	b.event(tcp.SeenClosed, sock(1, 40000, 443))
	b.tick(time.Second)
	b.pass(tcp.PassFull, mini(sock(77, 40000, 443), tcp.TimeWait))
	if c := b.only(77); c.ID != id {
		t.Errorf("remnant has id %v, its connection %v", c.ID, id)
	}
	b.tick(time.Second)
	b.pass(tcp.PassFull)
	b.wantGone(77)
}

func TestProcfsCloseByTimeWait(t *testing.T) {
	b := newBed(t)
	b.source = tcp.SourceProcfs
	b.pass(tcp.PassFull, with(sock(0, 40000, 443), func(o *tcp.Observation) { o.Inode = 9 }))
	b.tick(time.Second)
	b.pass(tcp.PassFull, mini(sock(0, 40000, 443), tcp.TimeWait))
	if got := b.told(); !slices.Equal(got, []string{"closed 0"}) {
		t.Errorf("events %v", got)
	}
	if s := b.track.Snapshot().Stats; s.Closed != 1 || s.Remnants != 1 || s.Open != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestSYNFloodNeverEvictsTheEstablished(t *testing.T) {
	b := newBed(t, func(c *Config) { c.MaxHalfOpen = 100; c.MaxConns = 50 })
	conns := make([]tcp.Observation, 0, 2000)
	for i := range 50 {
		conns = append(conns, sock(uint64(i+1), uint16(1000+i), 443))
	}
	for i := range 1000 {
		conns = append(conns, mini(sock(uint64(10000+i), uint16(2000+i), 443), tcp.SynRecv))
	}
	b.pass(tcp.PassFull, conns...)
	s := b.track.Snapshot().Stats
	if s.Open != 50 || s.HalfOpen != 100 || s.HalfOpenEvicted != 900 || s.Rejected != 0 {
		t.Errorf("stats %+v", s)
	}
	b.only(1)
	b.only(10999) // the newest request is there
	b.wantGone(10000)
}

func TestFullTableCountsWhatItRejects(t *testing.T) {
	b := newBed(t, func(c *Config) { c.MaxConns = 2 })
	b.pass(tcp.PassFull, sock(1, 1, 443), sock(2, 2, 443), sock(3, 3, 443))
	if s := b.track.Snapshot().Stats; s.Open != 2 || s.Rejected != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestRequestBecomesConnection(t *testing.T) {
	b := newBed(t)
	b.pass(tcp.PassFull, mini(sock(4, 80, 50000), tcp.SynRecv))
	b.wantTold()
	opened := b.now
	b.event(tcp.SeenOpened, with(sock(4, 80, 50000), func(o *tcp.Observation) {
		o.Opened, o.Direction = opened, tcp.Inbound
		o.Time = b.tick(time.Millisecond)
	}))
	b.wantTold("opened 4", "established 4")
	b.pass(tcp.PassDelta)
	if s := b.track.Snapshot().Stats; s.HalfOpen != 0 || s.Open != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestSynSentThenRetransmitThenTimeout(t *testing.T) {
	b := newBed(t)
	b.pass(tcp.PassFull)
	syn := with(sock(3, 0, 81), func(o *tcp.Observation) { o.State, o.Opened = tcp.SynSent, b.now })
	b.tick(time.Second)
	bound := with(syn, func(o *tcp.Observation) { o.LocalPort = 40003 })
	b.event(tcp.SeenRetransmit, bound)
	b.wantTold("opened 3", "retransmit 3")
	b.tick(time.Second)
	b.event(tcp.SeenClosed, with(bound, func(o *tcp.Observation) { o.Reason = tcp.CloseTimeout }))
	b.wantTold("closed 3")
	if s := b.track.Snapshot().Stats; s.Established != 0 {
		t.Errorf("a connection that was never answered counts as established: %+v", s)
	}
}

func TestLocalPortChosenLater(t *testing.T) {
	b := newBed(t)
	b.pass(tcp.PassFull)
	b.tick(time.Second)
	b.pass(tcp.PassDelta, with(sock(3, 0, 81), func(o *tcp.Observation) { o.State, o.Opened = tcp.SynSent, b.now }))
	id := b.only(3).ID
	b.event(tcp.SeenOpened, with(sock(3, 40003, 81), func(o *tcp.Observation) { o.Time = b.tick(time.Millisecond) }))
	b.tick(time.Second)
	b.pass(tcp.PassDelta)
	if c := b.only(3); c.LocalPort != 40003 || c.ID != id {
		t.Errorf("connection is %v %v", c.Tuple, c.ID)
	}
	b.wantTold("opened 3", "established 3")
}

func TestPeers(t *testing.T) {
	b := newBed(t)
	a := sock(1, 40000, 80)
	z := with(sock(2, 80, 40000), func(o *tcp.Observation) { o.Local, o.Remote = o.Remote, o.Local })
	b.pass(tcp.PassFull, a, z)
	if ca, cz := b.only(1), b.only(2); ca.PeerID != cz.ID || cz.PeerID != ca.ID {
		t.Errorf("peers: %v ↔ %v", ca, cz)
	}
}

func TestPeersAcrossNamespaces(t *testing.T) {
	b := newBed(t)
	a := sock(1, 40000, 80)
	z := with(sock(2, 80, 40000), func(o *tcp.Observation) { o.Local, o.Remote, o.NetNS = o.Remote, o.Local, ns2 })
	b.pass(tcp.PassFull, a, z)
	if ca, cz := b.only(1), b.only(2); ca.PeerID != cz.ID || cz.PeerID != ca.ID {
		t.Error("the two ends in two namespaces are not linked")
	}
	// With a third namespace of the same addresses nobody can tell.
	b2 := newBed(t)
	z2 := with(z, func(o *tcp.Observation) { o.NetNS, o.Cookie = ns2+1, 3 })
	b2.pass(tcp.PassFull, z, z2, a)
	if c := b2.only(1); c.PeerID != 0 {
		t.Error("an ambiguous peer was linked")
	}
}

func TestDirection(t *testing.T) {
	listen := tcp.Observation{Key: tcp.Key{NetNS: ns1, Tuple: tcp.Tuple{LocalPort: 443}}, Cookie: 9, State: tcp.Listen}
	for name, tc := range map[string]struct {
		obs  []tcp.Observation
		want tcp.Direction
	}{
		"listener of any address":   {[]tcp.Observation{sock(1, 443, 50000), listen}, tcp.Inbound},
		"listener of this address":  {[]tcp.Observation{sock(1, 443, 50000), with(listen, func(o *tcp.Observation) { o.Local = tcp.AddrFrom4([4]byte{192, 0, 2, 1}) })}, tcp.Inbound},
		"listener of another":       {[]tcp.Observation{sock(1, 443, 50000), with(listen, func(o *tcp.Observation) { o.Local = tcp.AddrFrom4([4]byte{192, 0, 2, 9}) })}, tcp.DirectionUnknown},
		"listener elsewhere":        {[]tcp.Observation{sock(1, 443, 50000), with(listen, func(o *tcp.Observation) { o.NetNS = ns2 })}, tcp.DirectionUnknown},
		"automatic port":            {[]tcp.Observation{sock(1, 50000, 443)}, tcp.Outbound},
		"two automatic ports":       {[]tcp.Observation{sock(1, 50000, 50001)}, tcp.DirectionUnknown},
		"no automatic port":         {[]tcp.Observation{sock(1, 22, 1022)}, tcp.DirectionUnknown},
		"SYN sent from a low port":  {[]tcp.Observation{with(sock(1, 22, 1022), func(o *tcp.Observation) { o.State = tcp.SynSent })}, tcp.Outbound},
		"the source says otherwise": {[]tcp.Observation{listen, with(sock(1, 443, 50000), func(o *tcp.Observation) { o.Direction = tcp.Outbound })}, tcp.Outbound},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			b.pass(tcp.PassFull, tc.obs...)
			if got := b.only(1).Direction; got != tc.want {
				t.Errorf("direction %v, want %v", got, tc.want)
			}
		})
	}
}

func TestRates(t *testing.T) {
	b := newBed(t)
	b.pass(tcp.PassFull, bytes(sock(1, 40000, 443), 1000, 0))
	if c := b.only(1); c.Has&tcp.HasSendRate != 0 {
		t.Error("a rate is known after one observation")
	}
	b.tick(2 * time.Second)
	b.pass(tcp.PassDelta, bytes(sock(1, 40000, 443), 3000, 500))
	if c := b.only(1); c.Metrics.SendRate != 1000 || c.Metrics.ReceiveRate != 250 || c.Has&tcp.HasSendRate == 0 {
		t.Errorf("rates %d, %d", c.Metrics.SendRate, c.Metrics.ReceiveRate)
	}
	held := b.only(1)
	b.tick(time.Second)
	b.pass(tcp.PassDelta) // unchanged
	if c := b.only(1); c.Metrics.SendRate != 0 || c.Has&tcp.HasSendRate == 0 {
		t.Errorf("rate of a quiet connection is %d", c.Metrics.SendRate)
	}
	if held.Metrics.SendRate != 1000 {
		t.Error("a published connection changed under its reader")
	}
}

func TestAttributionOnlyImproves(t *testing.T) {
	b := newBed(t)
	owner := func(pid int32, a tcp.Attribution) func(*tcp.Observation) {
		return func(o *tcp.Observation) {
			o.Owner = tcp.Owner{PID: pid, Start: 1, Comm: tcp.MakeComm("p")}
			o.Attribution = a
		}
	}
	b.pass(tcp.PassFull, with(sock(1, 40000, 443), owner(10, tcp.AttributionInherited)))
	b.tick(time.Second)
	b.pass(tcp.PassFull, with(sock(1, 40000, 443), owner(11, tcp.AttributionExact)))
	b.tick(time.Second)
	b.pass(tcp.PassFull, with(sock(1, 40000, 443), owner(10, tcp.AttributionScan)))
	if c := b.only(1); c.Process.PID != 11 || c.Attribution != tcp.AttributionExact {
		t.Errorf("process %d by %v", c.Process.PID, c.Attribution)
	}
}

func TestProcessDescriptions(t *testing.T) {
	b := newBed(t)
	o := with(sock(1, 40000, 443), func(o *tcp.Observation) {
		o.Owner, o.Attribution = tcp.Owner{PID: 10, Start: 7, Comm: tcp.MakeComm("sh")}, tcp.AttributionScan
	})
	b.pass(tcp.PassFull, o)
	if p := b.only(1).Process; p.Name != "sh" || p.Exe != "" {
		t.Errorf("process before its description: %+v", p)
	}
	b.tick(time.Second)
	o.Kind = tcp.Seen
	b.apply(tcp.Batch{
		Processes:    []*tcp.Process{{ProcessID: tcp.ProcessID{PID: 10, Start: 7}, Name: "curl", Exe: "/usr/bin/curl"}},
		Observations: []tcp.Observation{o},
		Pass:         tcp.Pass{Kind: tcp.PassDelta, Begin: b.now, End: true, Namespaces: []uint32{ns1}},
	})
	if p := b.only(1).Process; p.Name != "curl" || p.Exe != "/usr/bin/curl" {
		t.Errorf("process after its description: %+v", p)
	}
}

func TestSlowReaderIsToldWhatItMissed(t *testing.T) {
	b := newBed(t)
	b.pass(tcp.PassFull)
	slow := b.track.Subscribe(2)
	defer slow.Close()
	for i := range 5 {
		b.event(tcp.SeenClosed, bytes(sock(uint64(i+1), uint16(i+1), 443), 10, 1))
	}
	evs, err := slow.Next(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(evs) != 3 || evs[2].Type != tcp.EventGap {
		t.Fatalf("events %v, want two and a gap", evs)
	}
	if g := evs[2].Gap; g.Skipped != 3 || g.Closes != 3 || g.BytesSent != 30 || g.BytesReceived != 3 || g.Where != "reader" {
		t.Errorf("gap %+v", g)
	}
}

func TestEnd(t *testing.T) {
	b := newBed(t)
	b.event(tcp.SeenClosed, sock(1, 1, 443))
	b.track.End()
	evs, err := b.sub.Next(t.Context(), nil)
	if len(evs) != 1 || err != nil {
		t.Fatalf("%v, %v; want the waiting event", evs, err)
	}
	if _, err := b.sub.Next(t.Context(), nil); !errors.Is(err, io.EOF) {
		t.Errorf("error %v, want EOF", err)
	}
}

// TestInvariants drives the tracker at random and checks after every pass that
// the snapshot is what the driver knows to be true.
func TestInvariants(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			b := newBed(t)
			b.pass(tcp.PassFull)
			alive := map[uint64]tcp.Observation{}
			next := uint64(1)
			for range 2000 {
				b.tick(time.Millisecond)
				switch r.IntN(10) {
				case 0, 1, 2, 3:
					o := with(sock(next, uint16(r.IntN(500)+1), 443), func(o *tcp.Observation) { o.Opened = b.now })
					taken := false
					for _, a := range alive {
						taken = taken || a.Tuple == o.Tuple
					}
					if taken {
						continue
					}
					next++
					alive[o.Cookie] = o
					if r.IntN(4) > 0 { // else the record was dropped
						b.event(tcp.SeenOpened, o)
					}
				case 4, 5, 6:
					for c, o := range alive {
						delete(alive, c)
						if r.IntN(5) > 0 {
							b.event(tcp.SeenClosed, o)
						}
						break
					}
				case 7:
					all := make([]tcp.Observation, 0, len(alive))
					for _, o := range alive {
						all = append(all, o)
					}
					b.pass(tcp.PassFull, all...)
					b.tick(time.Millisecond)
					b.pass(tcp.PassDelta) // what was missed twice is gone
					s := b.track.Snapshot()
					if s.Stats.Open != len(alive) || len(s.Conns) != len(alive) {
						t.Fatalf("%d open in the snapshot, %d alive", s.Stats.Open, len(alive))
					}
					for _, c := range s.Conns {
						if _, ok := alive[c.Cookie]; !ok {
							t.Fatalf("cookie %d is dead", c.Cookie)
						}
					}
				}
				s := b.track
				st := s.stats
				if open := uint64(s.table.count[roleConn]); st.Opened != st.Closed+st.Vanished+open {
					t.Fatalf("opened %d ≠ closed %d + vanished %d + open %d", st.Opened, st.Closed, st.Vanished, open)
				}
			}
		})
	}
}

func benchPass(n int) []tcp.Observation {
	obs := make([]tcp.Observation, n)
	for i := range obs {
		obs[i] = bytes(sock(uint64(i+1), uint16(i), uint16(i>>16)+443), uint64(i), 1)
		obs[i].Kind = tcp.Seen
	}
	return obs
}

func BenchmarkFirstPass(b *testing.B) {
	obs := benchPass(20_000)
	b.ReportAllocs()
	for b.Loop() {
		t := New(DefaultConfig())
		_ = t.Apply(&tcp.Batch{Source: tcp.SourceEBPF, Time: tcp.Stamp{Wall: 1, Boot: 2}, Observations: obs, Pass: tcp.Pass{Kind: tcp.PassFull, Begin: tcp.Stamp{Wall: 1, Boot: 1}, End: true, Namespaces: []uint32{ns1}}})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/20_000, "ns/socket")
}

func BenchmarkQuietDelta(b *testing.B) {
	t := New(DefaultConfig())
	at := tcp.Stamp{Wall: 1e18, Boot: 1e12}
	_ = t.Apply(&tcp.Batch{Source: tcp.SourceEBPF, Time: at, Observations: benchPass(20_000), Pass: tcp.Pass{Kind: tcp.PassFull, Begin: at, End: true, Namespaces: []uint32{ns1}}})
	b.ReportAllocs()
	for b.Loop() {
		at = at.Add(time.Second)
		_ = t.Apply(&tcp.Batch{Source: tcp.SourceEBPF, Time: at, Pass: tcp.Pass{Kind: tcp.PassDelta, Begin: at, End: true, Namespaces: []uint32{ns1}}})
	}
}

// BenchmarkStorm is a pair of ends that open and close within one batch of 512,
// with a pass over all sockets after every 8,000 pairs.
func BenchmarkStorm(b *testing.B) {
	t := New(DefaultConfig())
	sub := t.Subscribe(1 << 14)
	defer sub.Close()
	var evs []tcp.Event
	at := tcp.Stamp{Wall: 1e18, Boot: 1e12}
	obs := make([]tcp.Observation, 0, 512)
	cookie, pairs := uint64(1), 0
	b.ReportAllocs()
	for b.Loop() {
		at = at.Add(125 * time.Microsecond)
		port := uint16(10_000 + pairs%50_000)
		var ends [2]tcp.Observation
		ends[0] = bytes(sock(cookie, port, 443), 10, 10)
		ends[1] = ends[0]
		ends[1].Cookie, ends[1].Tuple = cookie+1, ends[0].Reverse()
		cookie += 2
		for _, kind := range []tcp.ObservationKind{tcp.SeenOpened, tcp.SeenClosed} {
			for _, o := range ends {
				o.Kind, o.Time, o.Opened = kind, at, at
				if kind == tcp.SeenClosed {
					o.State, o.Time = tcp.Closed, at.Add(time.Microsecond)
				}
				obs = append(obs, o)
			}
		}
		if len(obs) == cap(obs) {
			_ = t.Apply(&tcp.Batch{Source: tcp.SourceEBPF, Time: at, Observations: obs, Pass: tcp.Pass{Kind: tcp.PassEvents}})
			evs, _ = sub.Next(context.Background(), evs[:0])
			obs = obs[:0]
		}
		if pairs++; pairs%8000 == 0 {
			at = at.Add(time.Microsecond)
			_ = t.Apply(&tcp.Batch{Source: tcp.SourceEBPF, Time: at, Pass: tcp.Pass{Kind: tcp.PassDelta, Minis: true, Begin: at, End: true, Namespaces: []uint32{ns1}}})
		}
	}
}
