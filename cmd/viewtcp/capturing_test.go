package main

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/track"
)

// TestHoldQueue: packets leave as they came, by time between namespaces, with
// their own data, and the memory comes back.
func TestHoldQueue(t *testing.T) {
	var q holdQueue
	rng := rand.New(rand.NewPCG(1, 2))
	spaces := []*space{{}, {}}
	var last [2]int64
	content := func(n uint64, size int) []byte { return bytes.Repeat([]byte{byte(n), byte(n >> 8)}, size/2) }
	var n, left uint64
	lastOut := [2]uint64{}
	lastTime := int64(0)
	drop := func() {
		h := q.first()
		which := 0
		if h.space == spaces[1] {
			which = 1
		}
		if h.frame.Number <= lastOut[which] {
			t.Fatalf("frame %d of a namespace after %d", h.frame.Number, lastOut[which])
		}
		lastOut[which] = h.frame.Number
		lastTime = h.frame.Time
		if !bytes.Equal(h.frame.Data, content(h.frame.Number, len(h.frame.Data))) {
			t.Fatalf("frame %d has other data", h.frame.Number)
		}
		q.drop()
		left++
	}
	for range 200_000 {
		if q.len() > 0 && rng.IntN(100) < 49 || q.full() {
			drop()
			continue
		}
		which := rng.IntN(2)
		s := spaces[which]
		n++
		last[which] += rng.Int64N(1000)
		s.frame = capture.Frame{Number: n, Time: last[which], Data: content(n, 2*rng.IntN(1000))}
		q.add(s, nil)
		for i := q.head + 1; i < len(q.items); i++ {
			a, b := q.items[i-1], q.items[i]
			if a.space != b.space && a.frame.Time > b.frame.Time {
				t.Fatalf("frames of %d and %d are in the wrong order", a.frame.Time, b.frame.Time)
			}
			if i > q.head+3 {
				break
			}
		}
	}
	for q.len() > 0 {
		drop()
	}
	if left != n || q.bytes != 0 || lastTime == 0 {
		t.Errorf("%d of %d left, %d bytes counted", left, n, q.bytes)
	}
	// A frame larger than a chunk, and a queue that is full.
	s := spaces[0]
	s.frame = capture.Frame{Number: n + 1, Time: last[0] + 1, Data: content(n+1, 2*holdChunkSize)}
	q.add(s, nil)
	drop()
	for !q.full() {
		n++
		s.frame = capture.Frame{Number: n + 1, Time: last[0] + int64(n), Data: content(n+1, 200_000)}
		q.add(s, nil)
	}
	if q.bytes < holdBytes || q.bytes > holdBytes+200_000 {
		t.Errorf("full with %d bytes", q.bytes)
	}
	for q.len() > 0 {
		drop()
	}
	if len(q.free) > holdBytes/holdChunkSize {
		t.Errorf("%d chunks are kept", len(q.free))
	}
}

// TestHoldQueueAllocates: in the long run, waiting costs no memory.
func TestHoldQueueAllocates(t *testing.T) {
	var q holdQueue
	s := &space{frame: capture.Frame{Data: make([]byte, 1500)}}
	round := func() {
		for range 100 {
			s.frame.Time++
			q.add(s, nil)
		}
		for q.len() > 0 {
			q.drop()
		}
	}
	round()
	if n := testing.AllocsPerRun(100, round); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// trackerWith is a tracker that saw one socket open, and perhaps close.
func trackerWith(tb testing.TB, o tcp.Observation, closed *tcp.Stamp) *track.Tracker {
	tb.Helper()
	cfg := track.DefaultConfig()
	cfg.IDs = tcp.NewIDs("boot")
	tr := track.New(cfg)
	tr.RememberClosed(time.Minute)
	o.Kind = tcp.SeenOpened
	apply := func() {
		err := tr.Apply(&tcp.Batch{
			Source: tcp.SourceEBPF, Time: o.Time, Pass: tcp.Pass{Kind: tcp.PassEvents}, Observations: []tcp.Observation{o},
			Processes: []*tcp.Process{{ProcessID: tcp.ProcessID{PID: o.Owner.PID, Start: o.Owner.Start}, Name: "curl", Container: "web"}},
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	apply()
	if closed != nil {
		o.Kind, o.Time, o.State = tcp.SeenClosed, *closed, tcp.Closed
		apply()
	}
	return tr
}

// TestJoiner: a packet is joined with the socket of its time, at once where that
// is certain, and else when it is.
func TestJoiner(t *testing.T) {
	start := tcp.Stamp{Wall: 1_700_000_000e9, Boot: 1000e9}
	later := start.Add
	tuple := tcp.Tuple{
		Local: tcp.AddrFrom4([4]byte{192, 0, 2, 1}), Remote: tcp.AddrFrom4([4]byte{192, 0, 2, 2}), LocalPort: 40000, RemotePort: 443,
	}
	const netnsInode = 4026531840
	sock := func(ns uint32) tcp.Observation {
		return tcp.Observation{
			Key: tcp.Key{Tuple: tuple, NetNS: ns}, Cookie: 7, State: tcp.SynSent, Opened: start, Time: start,
			Owner: tcp.Owner{PID: 4242, Start: 20_000_000}, Attribution: tcp.AttributionExact, Direction: tcp.Outbound,
		}
	}
	closed := later(30 * time.Millisecond)
	for _, tt := range []struct {
		name   string
		o      tcp.Observation
		closed *tcp.Stamp
		// The first packet: when, whether it was a SYN, whose namespace.
		first   time.Duration
		syn     bool
		looped  bool
		netns   uint32
		reverse bool
		age     time.Duration
		found   bool
		settled bool
	}{
		{name: "its own SYN", o: sock(netnsInode), syn: true, netns: netnsInode, found: true, settled: true},
		{name: "an answer", o: sock(netnsInode), syn: true, netns: netnsInode, reverse: true, found: true, settled: true},
		{name: "in the middle", o: sock(netnsInode), first: time.Hour, netns: netnsInode, found: true, settled: true},
		{name: "of a container", o: sock(5), syn: true, netns: netnsInode, found: true, settled: true},
		{name: "on loopback the other end is waited for", o: sock(netnsInode), syn: true, looped: true, netns: netnsInode, found: true},
		{name: "not for ever", o: sock(netnsInode), syn: true, looped: true, netns: netnsInode, age: holdFor, found: true, settled: true},
		{name: "after the close", o: sock(netnsInode), closed: &closed, syn: true, netns: netnsInode, age: time.Second, found: true, settled: true},
		{name: "a SYN after the close is of another one", o: sock(netnsInode), closed: &closed, first: time.Second, syn: true, netns: netnsInode},
		{name: "which may never come", o: sock(netnsInode), closed: &closed, first: time.Second, syn: true, netns: netnsInode, age: holdFor, settled: true},
		{name: "the same tuple long after is another one", o: sock(netnsInode), first: time.Minute, syn: true, netns: netnsInode},
		{name: "unless nothing else is there in time", o: sock(netnsInode), first: time.Minute, syn: true, netns: netnsInode, age: holdFor, found: true, settled: true},
		{name: "before the socket was", o: sock(netnsInode), first: -time.Second, netns: netnsInode},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var n joiner
			n.tracker.Store(trackerWith(t, tt.o, tt.closed))
			n.known.Store(true)
			s := &space{}
			s.netns.Inode = tt.netns
			j := &joined{space: s, tuple: tuple, first: later(tt.first).Wall, syn: tt.syn, looped: tt.looped}
			at := 0
			if tt.reverse {
				j.tuple, at = tuple.Reverse(), 1
			}
			n.look(j, j.first, j.first+int64(tt.age))
			if found := j.ends[at] != nil; found != tt.found || j.settled != tt.settled || j.ends[at^1] != nil {
				t.Fatalf("found %v, settled %v, the other end %v", found, j.settled, j.ends[at^1])
			}
			if !tt.found {
				return
			}
			want := "viewtcp: process curl (pid 4242), connection " + tcp.NewIDs("boot").Socket(tt.o.NetNS, 7).String() + ", container web"
			for from := range 2 {
				if got := j.comment(from); got != want {
					t.Errorf("comment %q, want %q", got, want)
				}
			}
		})
	}
	t.Run("no tracker yet", func(t *testing.T) {
		var n joiner
		n.begun = start.Wall
		j := &joined{space: &space{}, tuple: tuple, first: start.Wall}
		n.look(j, start.Wall, start.Wall+int64(time.Second))
		if j.settled {
			t.Error("settled while the source starts")
		}
		n.look(j, start.Wall, start.Wall+int64(sourceStart+time.Second))
		if !j.settled {
			t.Error("waits for a source that does not come")
		}
	})
	t.Run("a clock that was set back", func(t *testing.T) {
		var n joiner
		n.tracker.Store(trackerWith(t, sock(netnsInode), nil))
		n.known.Store(true)
		j := &joined{space: &space{}, tuple: tuple, first: start.Wall, syn: true}
		j.space.netns.Inode = 1
		j.tuple.LocalPort++
		n.look(j, start.Wall, start.Wall-int64(time.Hour))
		if !j.settled {
			t.Error("waits an hour")
		}
	})
}

// TestParseComment: what a recording says of the ends is read as it was written.
func TestParseComment(t *testing.T) {
	id, other := tcp.NewIDs("x").Socket(1, 2), tcp.NewIDs("x").Socket(1, 3)
	p := func(pid int32, name, container string) *tcp.Process {
		return &tcp.Process{ProcessID: tcp.ProcessID{PID: pid}, Name: name, Container: container}
	}
	for _, ends := range [][]recordedEnd{
		{{known: true, id: id, process: p(4242, "curl", "")}},
		{{known: true, id: id, process: p(4242, "a (pid 1)", "web, or not")}},
		{{known: true, id: id}},
		{{known: true, process: p(1, "systemd", "")}},
		{{known: true, process: p(0, "kernel", "")}},
		{{known: true, id: id, process: p(2, "; to x", "")}, {known: true, id: other, process: p(3, "y", "z")}},
		{{known: true, id: id, process: p(2, "x", "c1")}, {known: true, id: other}},
	} {
		b := []byte("viewtcp: ")
		for i := range ends {
			if i > 0 {
				b = append(b, "; to "...)
			}
			b = ends[i].appendTo(b)
		}
		if diff := cmp.Diff(ends, parseComment(string(b)), cmp.AllowUnexported(recordedEnd{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", b, diff)
		}
	}
	for _, s := range []string{"", "viewtcp: ", "viewtcp: retransmission", "ViewTCP: 5 packets before this one are lost", "hello"} {
		if ends := parseComment(s); ends != nil {
			t.Errorf("%q: %+v", s, ends)
		}
	}
}

func FuzzParseComment(f *testing.F) {
	f.Add("viewtcp: process curl (pid 4242), connection c6qm2doitf2qbf; to process nginx (pid 1), container web")
	f.Add("viewtcp: connection c6qm2doitf2qbf")
	f.Fuzz(func(t *testing.T, s string) {
		ends := parseComment(s)
		if len(ends) > 2 {
			t.Errorf("%d ends", len(ends))
		}
		for _, e := range ends {
			if !e.known || e.id == 0 && e.process == nil {
				t.Errorf("%+v says nothing", e)
			}
		}
	})
}

// TestExtcapArgs: only the command lines of Wireshark become one of ours.
func TestExtcapArgs(t *testing.T) {
	for args, want := range map[string]string{
		"--extcap-interfaces --extcap-version=4.4":           "extcap --extcap-interfaces --extcap-version=4.4",
		"--capture --extcap-interface viewtcp --fifo /run/f": "extcap --capture --extcap-interface viewtcp --fifo /run/f",
		"capture --extcap-interface":                         "capture --extcap-interface",
		"list":                                               "list",
		"":                                                   "",
	} {
		if got := strings.Join(extcapArgs(strings.Fields(args)), " "); got != want {
			t.Errorf("%q became %q", args, got)
		}
	}
}

// TestLightConns: connections of one tuple are told apart by their SYNs, and what
// is not used any more is forgotten.
func TestLightConns(t *testing.T) {
	p := &capturing{c: &captureFlags{noProcess: true}}
	s := &space{}
	a := tcp.Tuple{Local: tcp.AddrFrom4([4]byte{127, 0, 0, 1}), Remote: tcp.AddrFrom4([4]byte{127, 0, 0, 1}), LocalPort: 40000, RemotePort: 80}
	at := func(t tcp.Tuple, f capture.Flags, seq uint32) *joined {
		s.segment = capture.Segment{Tuple: t, Flags: f, Seq: seq}
		return p.lightOf(s)
	}
	first := at(a, capture.SYN, 100)
	for _, again := range []*joined{at(a.Reverse(), capture.SYN|capture.ACK, 7), at(a, capture.SYN, 100), at(a, capture.ACK, 101)} {
		if again != first {
			t.Error("a packet of the first is of another connection")
		}
	}
	if first.tuple != a || !first.syn {
		t.Errorf("%+v", first)
	}
	second := at(a, capture.SYN, 5000)
	if second == first || at(a.Reverse(), capture.ACK, 8) != second {
		t.Error("a SYN with another number is of the first connection")
	}
	for i := range 3 * maxLight {
		b := a
		b.Remote[0] = 1
		b.LocalPort, b.RemotePort = uint16(i), uint16(i>>16)
		at(b, capture.ACK, 1)
		if i%1000 == 0 && at(a, capture.ACK, 102) != second {
			t.Fatalf("in use, and forgotten after %d others", i)
		}
	}
	if n := len(s.light.young) + len(s.light.old); n > 2*maxLight {
		t.Errorf("%d are remembered", n)
	}
}

// TestLightConnsEnded: connections that ended make room although there would be
// more of it, and packets that come soon after an end are still theirs.
func TestLightConnsEnded(t *testing.T) {
	p := &capturing{c: &captureFlags{noProcess: true}}
	s := &space{}
	at := func(port int, f capture.Flags, seq uint32, back bool) *joined {
		tuple := tcp.Tuple{
			Local: tcp.AddrFrom4([4]byte{127, 0, 0, 1}), Remote: tcp.AddrFrom4([4]byte{127, 0, 0, 2}),
			LocalPort: uint16(port), RemotePort: uint16(port >> 16),
		}
		if back {
			tuple = tuple.Reverse()
		}
		s.segment = capture.Segment{Tuple: tuple, Flags: f, Seq: seq}
		return p.lightOf(s)
	}
	alive := at(0, capture.SYN, 1, false)
	for i := 1; i <= 2*maxEnded; i++ {
		c := at(i, capture.SYN, 1, false)
		at(i, capture.FIN|capture.ACK, 2, false)
		if at(i, capture.FIN|capture.ACK, 9, true) != c || at(i, capture.ACK, 3, false) != c {
			t.Fatal("a packet right after the end is of another connection")
		}
		if i > maxEnded/2 && i%100 == 0 {
			b := at(i-maxEnded/2, capture.ACK, 3, false)
			if !b.syn {
				t.Fatalf("forgotten when %d others had ended", maxEnded/2)
			}
		}
	}
	if n := len(s.light.young) + len(s.light.old); n > maxEnded+1 {
		t.Errorf("%d are remembered, %d ended", n, 2*maxEnded)
	}
	if at(0, capture.ACK, 2, false) != alive {
		t.Error("one that goes on was forgotten")
	}
	// The same addresses again, before the end of the first was forgotten.
	again := at(2*maxEnded, capture.SYN, 77, false)
	for i := range maxEnded {
		at(1<<20+i, capture.RST, 1, false)
	}
	if at(2*maxEnded, capture.ACK, 78, false) != again {
		t.Error("forgotten for the end of the connection before it")
	}
}

// TestPresent holds the time that packets are looked at to what is promised of it:
// not before any of them was captured, and read again before long.
func TestPresent(t *testing.T) {
	var p capturing
	begin := time.Now().UnixNano()
	now := p.present(begin - int64(time.Second))
	if now < begin {
		t.Errorf("the present is %d ns before the test", begin-now)
	}
	for i := range freshPackets {
		if got := p.present(begin); got != now {
			t.Fatalf("packet %d is looked at %d ns later, without need", i, got-now)
		}
	}
	p.now = 0
	if got := p.present(-1); got < now {
		t.Errorf("after %d packets the time was not read again", freshPackets+1)
	}
	p.now = begin - 1 // as after a pause
	if got := p.present(begin); got < begin {
		t.Error("a packet is looked at before it was captured")
	}
}

// TestFinishInTime: packets whose connections nobody will tell of any more are let
// go of when their time is over.
func TestFinishInTime(t *testing.T) {
	p := &capturing{c: &captureFlags{noProcess: true}}
	s := &space{}
	p.spaces = []*space{s}
	now := time.Now().UnixNano()
	for range 3 {
		s.frame.Time, s.frame.Data = now, []byte{1}
		p.queue.add(s, &joined{space: s, first: now, sent: true})
	}
	p.join.begun = now // a source that has just begun and told of nothing yet
	p.finish(-time.Second)
	if n := p.queue.len(); n != 0 {
		t.Errorf("%d packets still wait", n)
	}
}
