package store_test

import (
	"slices"
	"testing"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

// notStored are fields that follow from others, or that only sockets alive have.
var notStored = []string{
	"inode", "accept_queue", "backlog", "stream", "family", "closed",
	"retransmissions", "fast_retransmissions", "spurious_retransmissions", "out_of_order", "dup_acks",
	"lost_segments", "zero_windows", "window_full", "keep_alives", "resets", "fins", "syns", "reordered",
	"network_duplicates",
}

// TestColumnsCoverTheRegistry checks that each field is stored under its name, or
// is known not to be.
func TestColumnsCoverTheRegistry(t *testing.T) {
	names := make(map[string]bool)
	for _, c := range store.RecordColumns() {
		if names[c.Name] {
			t.Errorf("column %s is there twice", c.Name)
		}
		names[c.Name] = true
	}
	for _, f := range tcp.Fields() {
		if names[f.Name] == slices.Contains(notStored, f.Name) {
			t.Errorf("field %s: stored is %v", f.Name, names[f.Name])
		}
	}
}

func checkColumns[T any](t *testing.T, cols []store.Column[T]) {
	t.Helper()
	last := uint16(0)
	for _, c := range cols {
		if c.Tag <= last {
			t.Errorf("column %s: number %d after %d", c.Name, c.Tag, last)
		}
		last = c.Tag
		nums, strs, addrs := c.Num != nil && c.SetNum != nil, c.Str != nil && c.SetStr != nil, c.Addr != nil && c.SetAddr != nil
		want := [3]bool{c.Type != store.String && c.Type != store.Bytes && c.Type != store.Addr, c.Type == store.String || c.Type == store.Bytes, c.Type == store.Addr}
		if got := [3]bool{nums, strs, addrs}; got != want {
			t.Errorf("column %s of type %d has getters and setters for %v", c.Name, c.Type, got)
		}
	}
}

// TestColumnNumbers pins what is on disks: a number that changes makes data
// unreadable.
func TestColumnNumbers(t *testing.T) {
	checkColumns(t, store.RecordColumns())
	checkColumns(t, store.SampleColumns())
	checkColumns(t, store.EventColumns())
	checkColumns(t, store.PeakColumns())
	checkColumns(t, store.RollupColumns())
	checkColumns(t, store.UsageColumns())
	tags := make(map[string]uint16)
	for _, c := range store.RecordColumns() {
		tags[c.Name] = c.Tag
	}
	for name, tag := range map[string]uint16{
		"kind": 1, "time": 2, "since": 3, "id": 5, "sample_rate": 15, "remote_ip": 22, "service": 30, "pid": 40,
		"attribution": 49, "duration_us": 63, "bytes_sent": 80, "rtt_us": 91, "retransmits": 97, "sndbuf_limited_us": 112,
		"timeouts": 114, "congestion_control": 117, "bytes_sent_delta": 200, "timeouts_delta": 214,
		"packets_sent": 300, "initial_rtt_us": 304, "tcp_flags": 354,
	} {
		if tags[name] != tag {
			t.Errorf("column %s has number %d, want %d", name, tags[name], tag)
		}
	}
}

// TestGettersAgreeWithTheRegistry checks the columns that do not go through the
// registry's getters.
func TestGettersAgreeWithTheRegistry(t *testing.T) {
	g := storetest.NewGenerator(8, 500, storetest.Begin, 1)
	for _, r := range g.Next(nil, 500) {
		for _, c := range store.RecordColumns() {
			f := tcp.FieldByName(c.Name)
			if f == nil || f.Num == nil || c.Num == nil || c.Name == "time" {
				continue
			}
			v, ok := c.Num(&r)
			w, wok := f.Num(r.Conn)
			if ok != wok || ok && v != w {
				t.Fatalf("column %s: %d, %v; field: %d, %v", c.Name, v, ok, w, wok)
			}
		}
	}
}

// TestSettersUndoGetters rebuilds rows out of their columns.
func TestSettersUndoGetters(t *testing.T) {
	g := storetest.NewGenerator(9, 5000, storetest.Begin, 3)
	cols := store.RecordColumns()
	recs := g.Next(nil, 5000)
	storetest.AddPackets(recs)
	for i := range recs {
		var back store.Record
		for j := range cols {
			c := &cols[j]
			switch {
			case c.Num != nil:
				if v, ok := c.Num(&recs[i]); ok {
					c.SetNum(&back, v)
				}
			case c.Str != nil:
				if v, ok := c.Str(&recs[i]); ok {
					c.SetStr(&back, v)
				}
			default:
				if v, ok := c.Addr(&recs[i]); ok {
					c.SetAddr(&back, v)
				}
			}
		}
		got, want := storetest.Print(cols, &back), storetest.Print(cols, &recs[i])
		if got != want {
			t.Fatalf("row came back as\n%s\nwant\n%s", got, want)
		}
		if got, want := back.Start(), recs[i].Start(); got != want {
			t.Errorf("start %d, want %d", got, want)
		}
		for k := range store.NumCounters {
			a, aok := back.Delta(k)
			b, bok := recs[i].Delta(k)
			if a != b || aok != bok {
				t.Errorf("delta of %s: %d, %v; want %d, %v", store.CounterField(k), a, aok, b, bok)
			}
		}
	}
}

func TestBuckets(t *testing.T) {
	last := -1
	for b := range store.NumBuckets {
		low := store.BucketLow(uint8(b))
		if int(store.Bucket(low)) != b {
			t.Errorf("bucket %d begins at %d, which is in bucket %d", b, low, store.Bucket(low))
		}
		if low > 0 && int(store.Bucket(low-1)) != b-1 {
			t.Errorf("bucket of %d is %d, want %d", low-1, store.Bucket(low-1), b-1)
		}
		if b >= 4 && b < store.NumBuckets-1 {
			if high := store.BucketLow(uint8(b + 1)); float64(high-low) > 0.25*float64(low) {
				t.Errorf("bucket %d is too wide: %d to %d", b, low, high)
			}
		}
		last = b
	}
	if got := store.Bucket(1<<64 - 1); int(got) != last {
		t.Errorf("the largest duration is in bucket %d, want %d", got, last)
	}
}

func TestHistogram(t *testing.T) {
	var h, back store.Histogram
	for i := range uint64(100000) {
		h[store.Bucket(i*i)]++
	}
	enc := string(h.AppendTo(nil))
	if err := back.AddEncoded(enc); err != nil || back != h {
		t.Errorf("histogram came back differently: %v", err)
	}
	for _, q := range []float64{0, 0.5, 0.95, 1} {
		v := uint64(q * 99999)
		low, high, ok := h.Quantile(q)
		if !ok || v*v < low || v*v >= high {
			t.Errorf("quantile %v: %d to %d, want %d", q, low, high, v*v)
		}
	}
	for _, bad := range []string{"\x05", "\x05\x01\x05\x01", "\x06\x01\x05\x01", "\xf9\x01", "\x05\xff\xff\xff\xff\xff\xff"} {
		if err := back.AddEncoded(bad); err == nil {
			t.Errorf("%q was taken for a histogram", bad)
		}
	}
}
