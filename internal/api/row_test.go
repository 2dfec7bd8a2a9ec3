package api

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

// values are the texts of all known fields of a connection.
func values(c *tcp.Conn) map[string]string {
	m := make(map[string]string)
	for _, f := range tcp.Fields() {
		if b, ok := f.AppendText(nil, c); ok {
			m[f.Name] = string(b)
		}
	}
	return m
}

// fullConn knows all that there is to know.
func fullConn(t *testing.T) *tcp.Conn {
	t.Helper()
	c := &tcp.Conn{
		Key: tcp.Key{NetNS: 4026531840, Tuple: tcp.Tuple{
			Local: tcp.AddrFrom4([4]byte{192, 0, 2, 1}), Remote: tcp.Addr{0: 0x20, 1: 1, 2: 0xd, 3: 0xb8, 15: 1},
			LocalPort: 40000, RemotePort: 443,
		}},
		ID: 0x123456789, PeerID: 0x987654321, Cookie: 1 << 60, State: tcp.CloseWait, Complete: true,
		Has: ^tcp.Has(0), Opened: tcp.Stamp{Wall: 1_700_000_000_123_456_789, Boot: 5_000_000_000},
		Closed:  tcp.Stamp{Wall: 1_700_000_007_123_456_789, Boot: 12_000_000_000},
		Updated: tcp.Stamp{Wall: 1_700_000_007_123_456_789, Boot: 12_000_000_000},
		Process: &tcp.Process{ProcessID: tcp.ProcessID{PID: 7}, Name: "\x1b[31m\"ngi\\nx\u202e", Exe: "/usr/sbin/nginx", Cmdline: "nginx -g\tx", User: "www", Container: "abc", Unit: "nginx.service", Cgroup: "/a"},
		Names: &tcp.Names{
			Host: "web-1", RemoteName: "db.example", SNI: "sni.example", ALPN: "h2", HTTPHost: "http.example", Service: "nginx",
			Country: "DE", ASN: 64496, ASOrg: "Example", Observer: "tap0", Interface: "eth0",
			NATRemote: tcp.AddrFrom4([4]byte{198, 51, 100, 7}), NATPort: 8443, SampleRate: 10,
		},
		Handshake: 1234, UID: 33, Inode: 99, Direction: tcp.Inbound, Source: tcp.SourceEBPF, Attribution: tcp.AttributionExact,
		ClosedBy: tcp.SideRemote, Reason: tcp.CloseRSTReceived, OpenedExact: true, Remnant: true, SawReset: true, IPv6: true,
	}
	recs := []store.Record{{Kind: store.Close, Time: c.Closed.Wall, Conn: c}}
	storetest.AddPackets(recs)
	c = recs[0].Conn
	m := &c.Metrics
	n := uint64(1000)
	for _, p := range []*uint64{&m.BytesSent, &m.BytesReceived, &m.BytesMissed, &m.SendRate, &m.ReceiveRate, &m.BytesRetransmitted, &m.DeliveryRate, &m.PacingRate, &m.Busy, &m.RwndLimited, &m.SndbufLimited} {
		n++
		*p = n << 33
	}
	for _, p := range []*uint32{&m.SegmentsSent, &m.SegmentsReceived, &m.SendQueue, &m.RecvQueue, &m.NotSent, &m.Unacked, &m.AcceptQueue, &m.Backlog, &m.RTT, &m.RTTVar, &m.MinRTT, &m.RTO, &m.MSS, &m.PMTU, &m.Retransmits, &m.Lost, &m.Reordering, &m.DSACKDups, &m.OOOReceived, &m.ECNCE, &m.CWND, &m.SSThresh, &m.SndWnd, &m.RcvWnd} {
		n++
		*p = uint32(n)
	}
	m.Recoveries, m.Timeouts, m.CAState, m.AppLimited, m.CC = 7, 8, tcp.CALoss, true, tcp.MakeCC("bbr")
	if c.Packets == nil {
		c.Packets = new(tcp.PacketStats)
	}
	p := c.Packets
	p.Stream = 12
	for _, v := range []*[2]uint32{&p.Retransmissions, &p.FastRetransmissions, &p.SpuriousRetransmissions, &p.OutOfOrder, &p.DupAcks, &p.LostSegments, &p.ZeroWindows, &p.WindowFull, &p.KeepAlives, &p.Resets, &p.FINs, &p.SYNs, &p.Reordered, &p.NetworkDuplicates, &p.RTTSamples, &p.RTTMin, &p.RTTAvg, &p.RTTP50, &p.RTTP95, &p.RTTMax, &p.InFlightMax, &p.WindowMin, &p.WindowMax} {
		n += 2
		*v = [2]uint32{uint32(n), uint32(n + 1)}
	}
	p.Packets, p.WireBytes, p.IdleMax = [2]uint64{1 << 40, 2}, [2]uint64{3, 1 << 41}, [2]uint64{5, 6}
	p.InitialRTT, p.ConnState, p.History, p.Completeness, p.Flags = 77, "SF", "ShAdDaFf", 31, 0x1b
	for _, f := range tcp.Fields() {
		if !f.Known(c) {
			t.Fatalf("%s is not known", f.Name)
		}
	}
	return c
}

// TestRowsComeBack checks that each field of the registry is read as it was
// written, known or not.
func TestRowsComeBack(t *testing.T) {
	full := fullConn(t)
	listener := &tcp.Conn{State: tcp.Listen, Direction: tcp.Listening, Has: tcp.HasAcceptQueue | tcp.HasBacklog}
	open := &tcp.Conn{State: tcp.Established, Opened: tcp.Stamp{Wall: 1_666_666_666_666_666_666, Boot: 17}, Updated: tcp.Stamp{Boot: 17_000_017}}
	w, r := NewRowWriter(nil), NewRowReader()
	for name, c := range map[string]*tcp.Conn{"full": full, "empty": {}, "listener": listener, "open": open} {
		row := w.AppendLive(nil, c)
		var parsed map[string]any
		if err := json.Unmarshal(row, &parsed); err != nil {
			t.Fatalf("%s: %v in %s", name, err, row)
		}
		got, err := r.Conn(row, 1<<50)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(values(c), values(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if got.Remnant != c.Remnant || got.SawReset != c.SawReset || got.IPv6 != c.IPv6 {
			t.Errorf("%s: flags %v %v %v", name, got.Remnant, got.SawReset, got.IPv6)
		}
		if c.Packets != nil && got.Packets.Flags != c.Packets.Flags {
			t.Errorf("%s: TCP flags %x, want %x", name, got.Packets.Flags, c.Packets.Flags)
		}
		if again := w.AppendLive(nil, got); !bytes.Equal(again, row) {
			t.Errorf("%s: written again it is\n%s, not\n%s", name, again, row)
		}
	}
}

// TestEachFieldAlone checks that no field hangs on another one.
func TestEachFieldAlone(t *testing.T) {
	full := fullConn(t)
	r := NewRowReader()
	for _, f := range tcp.Fields() {
		switch f.Name {
		case "family", "opened_exact", "nat_remote_ip": // follow from other fields
			continue
		}
		row := NewRowWriter([]*tcp.Field{f}).AppendConn(nil, full)
		c, err := r.Conn(row, 1<<50)
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		want, _ := f.AppendText(nil, full)
		got, ok := f.AppendText(nil, c)
		total := f.Group == tcp.GroupPackets && !bytes.HasSuffix([]byte(f.Name), []byte("_us")) && tcp.FieldByName(f.Name+"_sent") != nil
		if !total && (!ok || !bytes.Equal(got, want)) {
			t.Errorf("%s alone is %s, want %s (row %s)", f.Name, got, want, row)
		}
	}
}

// TestRecordsComeBack checks rows of history column by column.
func TestRecordsComeBack(t *testing.T) {
	g := storetest.NewGenerator(3, 2000, storetest.Begin, 3)
	recs := g.Next(nil, 2000)
	storetest.AddPackets(recs[:200])
	w, r := NewRecordWriter(nil), NewRowReader()
	for i := range recs {
		row := w.AppendRecord(nil, &recs[i])
		got, err := r.Record(row)
		if err != nil {
			t.Fatal(err)
		}
		if want, got := storetest.Print(store.RecordColumns(), &recs[i]), storetest.Print(store.RecordColumns(), got); got != want {
			t.Fatalf("row %s\n got %s\nwant %s", row, got, want)
		}
	}
}

func TestEventsComeBack(t *testing.T) {
	c := fullConn(t)
	w, r := NewRowWriter(nil), NewRowReader()
	for _, e := range []tcp.Event{
		{Seq: 5, Time: tcp.Stamp{Wall: 1e18, Boot: 7}, Type: tcp.EventClosed, Conn: c},
		{Seq: 6, Time: tcp.Stamp{Wall: 1e18, Boot: 7}, Type: tcp.EventReset, By: tcp.SideRemote, Conn: c},
		{Seq: 7, Time: tcp.Stamp{Wall: 1e18, Boot: 7}, Type: tcp.EventGap, Gap: &tcp.Gap{Loss: tcp.Loss{Closes: 1, BytesSent: 2, BytesReceived: 3, Events: 4, Unknown: true}, Source: tcp.SourceEBPF, Where: "ring", Skipped: 9}},
	} {
		got, err := r.Event(w.AppendEvent(nil, &e), func(int64) int64 { return 7 })
		if err != nil {
			t.Fatal(err)
		}
		if got.Seq != e.Seq || got.Time != e.Time || got.Type != e.Type || got.By != e.By {
			t.Errorf("event %+v, want %+v", got, e)
		}
		if diff := cmp.Diff(e.Gap, got.Gap); diff != "" {
			t.Errorf("gap (-want +got):\n%s", diff)
		}
		if e.Conn != nil {
			if diff := cmp.Diff(values(e.Conn), values(got.Conn)); diff != "" {
				t.Errorf("connection (-want +got):\n%s", diff)
			}
		}
	}
}

func TestLiveComesBack(t *testing.T) {
	l := &Live{Seq: 3, Time: 1e18, Boot: 12_000_000_000, Reset: true, More: true, Stats: Counts{Open: 4, LostUnknown: true}, Rows: []*tcp.Conn{fullConn(t), {ID: 5}}, Removed: []tcp.ID{1, 1 << 63}}
	b, err := l.Append(nil, NewRowWriter(nil))
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadLive(b, NewRowReader())
	if err != nil {
		t.Fatal(err)
	}
	if got.Seq != 3 || got.Time != 1e18 || got.Boot != l.Boot || !got.Reset || !got.More || got.Stats != l.Stats || !cmp.Equal(got.Removed, l.Removed) || len(got.Rows) != 2 {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff(values(l.Rows[0]), values(got.Rows[0])); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
}

func TestColumnsComeBack(t *testing.T) {
	e := store.Event{Time: 1e18, Since: 5e17, Type: "mark", ID: 9, Host: "h", By: "local", Count: 3, Source: "s", Where: "w", Closes: 1, BytesSent: 2, BytesReceived: 3, Unknown: true, Text: "\x1b]0;x"}
	var e2 store.Event
	if err := ReadColumns(store.EventColumns(), AppendColumns(nil, store.EventColumns(), &e), &e2); err != nil || e != e2 {
		t.Errorf("event %+v, want %+v (%v)", e2, e, err)
	}
	s := store.Sample{Time: 1e18, Span: 1e6, ID: 7, Host: "h", SendRate: 1, RTT: 5, CWND: 10}
	var s2 store.Sample
	if err := ReadColumns(store.SampleColumns(), AppendColumns(nil, store.SampleColumns(), &s), &s2); err != nil || s != s2 {
		t.Errorf("sample %+v, want %+v (%v)", s2, s, err)
	}
}

// FuzzRow holds the reader of rows against encoding/json: what it takes is JSON,
// and what is JSON of the right types it takes.
func FuzzRow(f *testing.F) {
	w := NewRowWriter(nil)
	f.Add(w.AppendLive(nil, &tcp.Conn{ID: 1, State: tcp.Established}))
	for _, s := range []string{`{}`, `{"id":1}`, `{"a":[{"b":[1,2,{"c":null}]}]}`, `{"process":"\u001b\ud83d\ude00"}`, `{"a":1e5,"b":-0.5}`, `{"rtt_us":-1}`, `{`, `[]`, `{"a":01}`, "{\"process\":\"\xff\"}", `{"opened":"2026-11-23T00:00:00Z","duration_us":18446744073709551615}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewRowReader()
		scanErr := scanObject(data, func([]byte, value) error { return nil })
		var obj map[string]json.RawMessage
		if err := json.Unmarshal(data, &obj); (err == nil && obj != nil) != (scanErr == nil) && !bytes.Contains(data, []byte("[[[[")) && !bytes.Contains(data, []byte("{{{{")) && len(data) < 200 {
			t.Errorf("%q: scanned with %v, encoding/json says %v", data, scanErr, err)
		}
		c, err := r.Conn(data, 1)
		if err != nil {
			return
		}
		// What was understood is written, and read again, the same.
		again, err := r.Conn(w.AppendLive(nil, c), 1)
		if err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		for _, f := range tcp.Fields() {
			switch f.Name {
			case "duration_us": // is cut to what a clock can hold
				continue
			}
			a, aok := f.AppendText(nil, c)
			b, bok := f.AppendText(nil, again)
			if aok != bok || !bytes.Equal(bytes.ToValidUTF8(a, []byte("\ufffd")), b) {
				t.Errorf("%q: %s is %q, then %q", data, f.Name, a, b)
			}
		}
	})
}

func BenchmarkReadRow(b *testing.B) {
	g := storetest.NewGenerator(3, 1000, time.Unix(1_700_000_000, 0), 3)
	recs := g.Next(nil, 1)
	row := NewRecordWriter(nil).AppendRecord(nil, &recs[0])
	r := NewRowReader()
	b.SetBytes(int64(len(row)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Record(row); err != nil {
			b.Fatal(err)
		}
	}
}
