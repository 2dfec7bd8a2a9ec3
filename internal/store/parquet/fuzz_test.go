package parquet

import (
	"bytes"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

// seedBatches are batches as they stand in the log. They are small: what is
// found interesting is made smaller byte by byte, which takes long.
func seedBatches(tb testing.TB) [][]byte {
	tb.Helper()
	conn := &tcp.Conn{
		ID: 77, Has: tcp.HasRTT | tcp.HasBytesSent, Metrics: tcp.Metrics{RTT: 300, BytesSent: 1 << 33},
		Names: &tcp.Names{Service: "web"}, Packets: &tcp.PacketStats{History: "ShA"},
	}
	var out [][]byte
	for _, b := range []store.Batch{
		{ID: store.BatchID{Agent: "a", Epoch: 1, Sequence: 1}, Records: []store.Record{
			{Kind: store.Close, Time: 5, Conn: conn},
			{Kind: store.Snapshot, Time: 9, Since: 3, Conn: &tcp.Conn{ID: 78, Has: tcp.HasBytesSent}, Deltas: new(store.Counters)},
		}},
		{
			Samples: []store.Sample{{Time: 5, Span: 1e6, ID: 9, SendRate: 1 << 40, RTT: 77}, {Time: -1}},
			Events:  []store.Event{{Time: 3, Type: "gap", Unknown: true, Text: "x\x00\xff"}},
			Peaks:   []store.Peak{{Time: 60e9, Interval: store.Minute, Set: store.ByService, Service: "s", MaxOpen: 3}},
		},
		{Events: []store.Event{{Time: 1, Type: "mark"}}},
	} {
		var enc batchEncoder
		p, err := enc.append(nil, &b)
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// FuzzWAL reads files of the log: whatever stands in one, what is handed out has a
// right checksum and a rising number, and all bytes are accounted for.
func FuzzWAL(f *testing.F) {
	file := appendLogHeader(nil, 5, 1, 99)
	for i, p := range seedBatches(f)[1:] {
		file = appendFrame(file, 99, uint64(5+i), p)
	}
	f.Add(file)
	f.Add(file[:len(file)-3])
	f.Add(append(bytes.Clone(file[:80]), file[90:]...))
	f.Add([]byte(logMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		first, salt, err := parseLogHeader(b)
		if err != nil {
			first, salt = 5, 99
		}
		next, total := first, 0
		scratch := new(vec)
		cuts := parseFrames(b, salt, first, func(seq uint64, payload []byte) {
			if seq < next {
				t.Fatalf("frame %d after %d", seq, next-1)
			}
			next = seq + 1
			total += frameHeader + len(payload)
			if b, err := parseBatch(seq, payload); err == nil {
				_ = b.check(scratch)
			}
		})
		end := min(logHeaderSize, len(b))
		for _, c := range cuts {
			if c.offset < end {
				t.Fatalf("cut at %d within what came before", c.offset)
			}
			end = c.offset + c.bytes
			total += c.bytes
		}
		if total != len(b)-min(logHeaderSize, len(b)) {
			t.Fatalf("%d of %d bytes are accounted for", total, len(b))
		}
	})
}

// FuzzBatch decodes batches; one that is accepted comes back the same.
func FuzzBatch(f *testing.F) {
	for _, p := range seedBatches(f) {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		b, err := parseBatch(1, p)
		if err != nil {
			return
		}
		if b.check(new(vec)) != nil || b.blocks[0] == nil {
			return
		}
		rows := func(bl *block) (out []string) {
			all := spanOf(time.Time{}, time.Time{})
			err := eachRow(t.Context(), blockSource{[]block{*bl}}, store.RecordColumns(), nil, all, new(store.Answer), func(r *store.Record) error {
				out = append(out, storetest.Print(store.RecordColumns(), r))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		one := rows(b.blocks[0])
		all := make([]uint32, b.blocks[0].rows)
		for i := range all {
			all[i] = uint32(i)
		}
		body, err := selectRows([]selection{{blockSource{[]block{*b.blocks[0]}}, all}})
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseBlock(uint64(len(all)), body)
		if err != nil {
			t.Fatal(err)
		}
		two := rows(&again)
		for i := range one {
			if one[i] != two[i] {
				t.Fatalf("row %d was\n%s\nand is\n%s", i, one[i], two[i])
			}
		}
	})
}

// FuzzSegment opens files that may be no segments: an error, never a panic.
func FuzzSegment(f *testing.F) {
	e, err := Open(testConfig(f.TempDir()))
	if err != nil {
		f.Fatal(err)
	}
	defer e.Close()
	m := []store.Event{{Time: 5, Type: "mark", Text: "deploy"}}
	if err := e.Append(f.Context(), &store.Batch{Events: m}); err != nil {
		f.Fatal(err)
	}
	if err := e.Maintain(true); err != nil {
		f.Fatal(err)
	}
	info := e.view.Load().segments[0]
	b, err := readFile(e.fs, info.name(), 1<<20)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		s, err := openSegment(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		_ = s.verify()
	})
}

func FuzzManifest(f *testing.F) {
	m := manifest{Next: 4, Segments: []segmentInfo{{Number: 2, Table: "events", Day: "2026-11-01", Rows: 3}}}
	b, err := m.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseManifest(b)
		if err != nil {
			return
		}
		if _, err := m.encode(); err != nil {
			t.Fatal(err)
		}
	})
}
