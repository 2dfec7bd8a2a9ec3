package capture

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

func TestRecorderSamples(t *testing.T) {
	dir := t.TempDir()
	cfg := smallRecorder()
	cfg.SampleRate = 4
	r := newTestRecorder(t, dir, cfg)
	k := talk{conns: 400}
	for range 4 * 400 {
		f, s, _ := k.next(t)
		r.Add(&f, &s)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	st := r.Stats()
	checkStats(t, st)
	rec := openRecording(t, dir)
	conns := connsOf(t, rec)
	if len(conns) < 60 || len(conns) > 140 {
		t.Errorf("%d of 400 connections", len(conns))
	}
	for _, c := range conns {
		if c.Packets != 4 {
			t.Errorf("not whole: %+v", c)
		}
	}
	if seg := rec.Segments()[0]; seg.SampleRate != 4 || st.Unsampled != uint64(4*(400-len(conns))) {
		t.Errorf("%+v, %+v", seg, st)
	}
}

func TestRecorderCutoff(t *testing.T) {
	type pkt struct {
		back  bool
		flags Flags
		seq   uint32
		len   int
		keep  bool
	}
	tests := []struct {
		name  string
		limit Cutoff
		pkts  []pkt
	}{
		{"no limit", Cutoff{}, []pkt{{false, ACK, 1, 9, true}, {false, ACK, 10, 9, true}}},
		{"packets", Cutoff{Packets: 2}, []pkt{
			{false, SYN, 100, 0, true},
			{true, SYN | ACK, 500, 0, true},
			{false, ACK, 101, 0, true},
			{false, ACK, 101, 10, false},
			{false, ACK, 111, 10, false},
			{true, ACK, 501, 0, true},
			{true, ACK, 501, 10, false},
			{false, ACK, 101, 10, true}, // a retransmission
			{false, ACK, 111, 20, true}, // one with new data behind
			{false, ACK, 131, 10, false},
			{false, ACK, 140, 0, true}, // a keep-alive
			{false, ACK, 141, 0, false},
			{true, ACK | RST, 511, 0, true},
			{false, ACK | FIN, 141, 5, true},
			{false, ACK | FIN, 141, 5, true},
			// A new connection of the same ends.
			{false, SYN, 9000, 0, true},
			{false, SYN, 9000, 0, true},
			{false, ACK, 9001, 1, false},
			{true, SYN | ACK, 77, 0, true},
			{true, ACK, 78, 5, true},
			{true, ACK, 83, 5, false},
		}},
		{"bytes", Cutoff{Bytes: 15}, []pkt{
			{false, ACK, 1, 10, true}, {false, ACK, 11, 10, true}, {false, ACK, 21, 10, false}, {true, ACK, 1, 10, true},
		}},
		{"wrap", Cutoff{Packets: 1}, []pkt{
			{false, ACK, 0xfffffff0, 0x20, true}, {false, ACK, 0x10, 4, false}, {false, ACK, 0xfffffff0, 0x20, true},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			cfg := smallRecorder()
			cfg.Cutoff = tt.limit
			r := newTestRecorder(t, dir, cfg)
			var want []uint32
			cut := uint64(0)
			for i, p := range tt.pkts {
				m := made{src: "192.0.2.1", dst: "192.0.2.2", sport: 1, dport: 2, flags: p.flags, seq: p.seq, payload: p.len}
				if p.back {
					m.src, m.dst, m.sport, m.dport = m.dst, m.src, m.dport, m.sport
				}
				f := Frame{Time: start + int64(i), Link: LinkEthernet, Data: m.ethernet()}
				var s Segment
				Decode(&f, &s)
				r.Add(&f, &s)
				if p.keep {
					want = append(want, uint32(i))
				} else {
					cut++
				}
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			var got []uint32
			for _, f := range findAll(t, dir, RecordQuery{}) {
				got = append(got, uint32(f.Time-start))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("packets kept (-want +got):\n%s", diff)
			}
			st := r.Stats()
			checkStats(t, st)
			rec := openRecording(t, dir)
			conns := connsOf(t, rec)
			if len(conns) != 1 || conns[0].Cut != cut || st.Cut != cut || rec.Segments()[0].Cutoff != tt.limit {
				t.Errorf("%+v, want %d cut, %+v", conns, cut, st)
			}
		})
	}
}

func TestConnTableForgets(t *testing.T) {
	table := newConnTable(8, true)
	key := func(i int) *connKey {
		var k connKey
		binary.BigEndian.PutUint32(k[:], uint32(i))
		return &k
	}
	for i := range 1000 {
		_, c, _ := table.get(key(i))
		c.packets[0] = uint32(i)
		// One that is used all the time stays.
		_, busy, isNew := table.get(key(1 << 20))
		if isNew != (i == 0) || busy.packets[0] != uint32(i) {
			t.Fatalf("round %d: new %v, %d packets", i, isNew, busy.packets[0])
		}
		busy.packets[0]++
		if n := len(table.young.entries) + len(table.old.entries) - table.moved; n > 8 {
			t.Fatalf("%d connections in memory", n)
		}
	}
	if _, c, isNew := table.get(key(3)); !isNew || c.packets[0] != 0 {
		t.Errorf("an old connection is still there: %+v", c)
	}
	if table.forgotten == 0 {
		t.Error("forgotten connections were not counted")
	}
}

// TestRecorderForgets gives a connection two places in one index.
func TestRecorderForgets(t *testing.T) {
	dir := t.TempDir()
	cfg := smallRecorder()
	cfg.MaxConns = 4
	r := newTestRecorder(t, dir, cfg)
	k := talk{conns: 20}
	for range 200 {
		f, s, _ := k.next(t)
		r.Add(&f, &s)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	conns := connsOf(t, openRecording(t, dir))
	if len(conns) != 20 {
		t.Fatalf("%d connections", len(conns))
	}
	for _, c := range conns {
		if got := findAll(t, dir, RecordQuery{Tuples: []tcp.Tuple{c.Tuple}}); len(got) != 10 || c.Packets != 10 {
			t.Errorf("%d packets of %+v", len(got), c)
		}
	}
}
