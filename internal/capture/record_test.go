package capture

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

var testInterface = Interface{Name: "eth0", Link: LinkEthernet}

// start is when the packets of tests begin.
const start = int64(1_753_900_000_000_000_000)

// smallRecorder keeps little, so that a test meets all bounds.
func smallRecorder() RecorderConfig {
	cfg := DefaultRecorderConfig()
	cfg.Interfaces = []Interface{testInterface}
	cfg.SegmentBytes = 64 << 10
	return cfg
}

// talk makes the packets of connections that take turns: number i is of
// connection i modulo conns, and goes forth and back in turns.
type talk struct {
	conns, payload int
	sent           map[int][2]uint32
	n              int
}

func (k *talk) next(tb testing.TB) (Frame, Segment, tcp.Tuple) {
	tb.Helper()
	if k.sent == nil {
		k.sent = make(map[int][2]uint32)
	}
	i, turn := k.n%k.conns, k.n/k.conns
	k.n++
	m := made{
		src: "192.0.2.1", dst: "198.51.100.7", sport: uint16(1024 + i), dport: 443, flags: ACK, payload: k.payload,
	}
	seq := k.sent[i]
	if turn%2 == 1 {
		m.src, m.dst, m.sport, m.dport = m.dst, m.src, m.dport, m.sport
	}
	m.seq = seq[turn%2]
	seq[turn%2] += uint32(k.payload)
	k.sent[i] = seq
	f := Frame{Time: start + int64(k.n)*1000, Number: uint64(k.n), Link: LinkEthernet, Data: m.ethernet(), Way: WayIn}
	f.WireLen = uint32(len(f.Data))
	var s Segment
	if r := Decode(&f, &s); r != TCP {
		tb.Fatalf("no TCP: %v", r)
	}
	t := s.Tuple
	if turn%2 == 1 {
		t = t.Reverse()
	}
	return f, s, t
}

func newTestRecorder(tb testing.TB, dir string, cfg RecorderConfig) *Recorder {
	tb.Helper()
	r, err := NewRecorder(dir, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = r.Close() })
	return r
}

func checkStats(tb testing.TB, s RecorderStats) {
	tb.Helper()
	if s.Added != s.Recorded+s.Cut+s.Unsampled+s.Lost {
		tb.Errorf("the counts do not add up: %+v", s)
	}
}

// openRecording opens what a recorder left.
func openRecording(tb testing.TB, dir string) *Recording {
	tb.Helper()
	rec, err := OpenRecording(dir)
	if err != nil {
		tb.Fatal(err)
	}
	return rec
}

// connsOf lists all connections of a recording.
func connsOf(tb testing.TB, rec *Recording) []RecordedConn {
	tb.Helper()
	conns, err := rec.Connections(RecordQuery{})
	if err != nil {
		tb.Fatal(err)
	}
	return conns
}

// findAll reads the packets of a query; data is copied.
func findAll(tb testing.TB, dir string, q RecordQuery) []Frame {
	tb.Helper()
	found := openRecording(tb, dir).Find(q)
	defer found.Close()
	var out []Frame
	for {
		var f Frame
		if err := found.Next(&f); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			tb.Fatal(err)
		}
		f.Data = bytes.Clone(f.Data)
		out = append(out, f)
	}
}

func TestRecorderFinds(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	r := newTestRecorder(t, dir, smallRecorder())
	want := make(map[tcp.Tuple][]Frame)
	k := talk{conns: 40, payload: 10}
	for range 4000 {
		f, s, tuple := k.next(t)
		if k.n%100 == 0 {
			f.Comment = "curl (99)"
		}
		r.Add(&f, &s)
		f.Data, f.Number = bytes.Clone(f.Data[:54]), uint64(len(want[tuple])+1)
		want[tuple] = append(want[tuple], f)
	}
	r.Tick(time.Unix(0, start+5_000_000))
	check := func(t *testing.T, live bool) {
		t.Helper()
		rec := openRecording(t, dir)
		segs := rec.Segments()
		if len(segs) < 4 || segs[len(segs)-1].Live != live {
			t.Errorf("segments %+v", segs)
		}
		conns := connsOf(t, rec)
		if len(conns) != 40 {
			t.Fatalf("%d connections", len(conns))
		}
		for _, c := range conns {
			w := want[c.Tuple]
			if w == nil {
				w = want[c.Tuple.Reverse()]
			}
			if int(c.Packets) != len(w) || c.First != w[0].Time || c.Last != w[len(w)-1].Time {
				t.Errorf("%+v, want %d packets from %d to %d", c, len(w), w[0].Time, w[len(w)-1].Time)
			}
		}
		for tuple, w := range want {
			got := findAll(t, dir, RecordQuery{Tuples: []tcp.Tuple{tuple.Reverse()}})
			if diff := cmp.Diff(w, got); diff != "" {
				t.Fatalf("%v (-added +found):\n%s", tuple, diff)
			}
		}
		if got := findAll(t, dir, RecordQuery{}); len(got) != 4000 {
			t.Errorf("%d packets in all", len(got))
		}
		if got := findAll(t, dir, RecordQuery{From: start + 1000*1000, To: start + 2000*1000}); len(got) != 1001 || got[0].Time != start+1000*1000 {
			t.Errorf("%d packets of a span of time", len(got))
		}
		some := findAll(t, dir, RecordQuery{Match: func(t tcp.Tuple) bool { return t.LocalPort < 1034 || t.RemotePort < 1034 }})
		if len(some) != 4000 { // port 443 is below, too
			t.Errorf("%d packets match", len(some))
		}
		if got := findAll(t, dir, RecordQuery{Tuples: []tcp.Tuple{{LocalPort: 1}}}); len(got) != 0 {
			t.Errorf("%d packets of a connection that never was", len(got))
		}
		if diff := cmp.Diff("eth0", rec.Interfaces()[0].Name); diff != "" {
			t.Error(diff)
		}
	}
	t.Run("live", func(t *testing.T) { check(t, true) })
	st := r.Stats()
	checkStats(t, st)
	if st.Recorded != 4000 || st.Segments < 4 {
		t.Errorf("%+v", st)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	t.Run("sealed", func(t *testing.T) { check(t, false) })
	if runtime.GOOS != "windows" {
		for name, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "lock"): 0o600} {
			if st, err := os.Stat(name); err != nil || st.Mode().Perm() != want {
				t.Errorf("%s: %v, %v", name, st.Mode(), err)
			}
		}
		files, _ := filepath.Glob(filepath.Join(dir, "packets-*"))
		for _, name := range files {
			if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", name, st.Mode(), err)
			}
		}
	}
}

// TestRecorderTellsDrops: what the kernel dropped is counted in the segment that was
// open, while it is written, when it is sealed, and when its index is made anew.
func TestRecorderTellsDrops(t *testing.T) {
	dir := t.TempDir()
	cfg := smallRecorder()
	cfg.SegmentBytes = 1 << 20
	r := newTestRecorder(t, dir, cfg)
	k := talk{conns: 3, payload: 10}
	add := func(dropped uint64) {
		r.Drops(0, InterfaceStats{Received: 100, OSDropped: dropped})
		for range 10 {
			f, s, _ := k.next(t)
			r.Add(&f, &s)
		}
	}
	lost := func(name string, want ...uint64) {
		t.Helper()
		var got []uint64
		for _, s := range openRecording(t, dir).Segments() {
			got = append(got, s.Lost)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: missing %d, want %d", name, got, want)
		}
	}
	add(0)
	add(7)
	add(7)
	add(12)
	r.Tick(time.Unix(0, start+5_000_000))
	lost("live", 12)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	lost("sealed", 12)
	index, err := filepath.Glob(filepath.Join(dir, "*"+extIndex))
	if err != nil || len(index) != 1 {
		t.Fatal(index, err)
	}
	if err := os.Remove(index[0]); err != nil {
		t.Fatal(err)
	}
	lost("without its index", 12)
	if dropped := droppedIn(t, strings.TrimSuffix(index[0], extIndex)+extSealed); !slices.Equal(dropped, []uint64{7, 5}) {
		t.Errorf("the packets after the gaps say %d", dropped)
	}
	// The counters are those since the capture began, not since the segment did.
	again := newTestRecorder(t, dir, cfg)
	again.Drops(0, InterfaceStats{OSDropped: 0})
	f, s, _ := k.next(t)
	again.Add(&f, &s)
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	lost("a later one", 12, 0)
}

// droppedIn is what the packets of a file say is missing before them.
func droppedIn(tb testing.TB, path string) (dropped []uint64) {
	tb.Helper()
	file, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	r, err := NewReader(file, ReadOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Close()
	for {
		var f Frame
		switch err := r.Next(&f); {
		case errors.Is(err, io.EOF):
			return dropped
		case err != nil:
			tb.Fatal(err)
		case f.Dropped > 0:
			dropped = append(dropped, f.Dropped)
		}
	}
}

func TestRecorderLeavesPayloadOut(t *testing.T) {
	for _, tt := range []struct {
		snaplen uint32
		want    int
	}{{0, 54}, {20, 54}, {60, 60}, {1000, 154}} {
		dir := t.TempDir()
		cfg := smallRecorder()
		cfg.Snaplen = tt.snaplen
		r := newTestRecorder(t, dir, cfg)
		k := talk{conns: 1, payload: 100}
		f, s, tuple := k.next(t)
		r.Add(&f, &s)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		got := findAll(t, dir, RecordQuery{Tuples: []tcp.Tuple{tuple}})
		if len(got) != 1 || len(got[0].Data) != tt.want || got[0].WireLen != 154 {
			t.Errorf("snaplen %d: %+v", tt.snaplen, got)
		}
	}
}

func TestRecorderKeepsNestedHeaders(t *testing.T) {
	inner := made{src: "2001:db8::1", dst: "2001:db8::2", sport: 1, dport: 2, payload: 300, flags: ACK}
	outer := made{src: "192.0.2.1", dst: "192.0.2.2", proto: protoUDP, dport: 4789, inside: append(make([]byte, 8), inner.ethernet()...)}
	f := Frame{Time: start, Link: LinkEthernet, Data: outer.ethernet()}
	f.WireLen = uint32(len(f.Data))
	var s Segment
	if r := Decode(&f, &s); r != TCP {
		t.Fatal(r)
	}
	dir := t.TempDir()
	cfg := smallRecorder()
	cfg.Snaplen = 96
	r := newTestRecorder(t, dir, cfg)
	r.Add(&f, &s)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	got := findAll(t, dir, RecordQuery{Tuples: []tcp.Tuple{s.Tuple}})
	if len(got) != 1 || len(got[0].Data) != len(f.Data)-300 {
		t.Fatalf("%+v", got)
	}
	var again Segment
	if r := Decode(&got[0], &again); r != TCP || again.Len != 300 || again.Tuple != s.Tuple {
		t.Errorf("%v, %+v", r, again)
	}
}

// sizeOf is what a directory takes.
func sizeOf(tb testing.TB, dir string) (total int64) {
	tb.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	for _, e := range entries {
		if st, err := e.Info(); err == nil {
			total += st.Size()
		}
	}
	return total
}

func TestRecorderBounds(t *testing.T) {
	dir := t.TempDir()
	cfg := smallRecorder()
	cfg.TotalBytes = 4 * cfg.SegmentBytes
	r := newTestRecorder(t, dir, cfg)
	k := talk{conns: 30, payload: 5}
	for i := range 12_000 {
		f, s, _ := k.next(t)
		r.Add(&f, &s)
		if i%500 == 0 {
			if n := sizeOf(t, dir); n > cfg.TotalBytes {
				t.Fatalf("%d bytes on disk, at most %d are allowed", n, cfg.TotalBytes)
			}
		}
	}
	st := r.Stats()
	if st.Removed == 0 || st.Bytes > cfg.TotalBytes || st.Lost != 0 {
		t.Errorf("%+v", st)
	}
	// By age: nothing is left but what is open.
	r.Tick(time.Unix(0, start).Add(cfg.TotalAge + time.Hour))
	r.Tick(time.Unix(0, start).Add(3*cfg.TotalAge + time.Hour))
	if st := r.Stats(); st.Segments != 0 {
		t.Errorf("%+v", st)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRecorderSegmentAge(t *testing.T) {
	dir := t.TempDir()
	cfg := smallRecorder()
	cfg.SegmentAge = time.Minute
	r := newTestRecorder(t, dir, cfg)
	k := talk{conns: 2}
	for i := range 4 {
		f, s, _ := k.next(t)
		f.Time = start + int64(i)*int64(40*time.Second)
		r.Add(&f, &s)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if segs := openRecording(t, dir).Segments(); len(segs) != 2 {
		t.Errorf("%+v", segs)
	}
}

func TestRecorderAlone(t *testing.T) {
	dir := t.TempDir()
	r := newTestRecorder(t, dir, smallRecorder())
	if _, err := NewRecorder(dir, smallRecorder()); !errors.Is(err, ErrRecorderRunning) {
		t.Errorf("a second recorder: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	again := newTestRecorder(t, dir, smallRecorder())
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	k := talk{conns: 1}
	f, s, _ := k.next(t)
	again.Add(&f, &s)
	if st := again.Stats(); st.Lost != 1 {
		t.Errorf("after the end: %+v", st)
	}
}

func TestRecorderOrdersTimes(t *testing.T) {
	dir := t.TempDir()
	r := newTestRecorder(t, dir, smallRecorder())
	rnd := rand.New(rand.NewPCG(5, 6))
	k := talk{conns: 7}
	for range 3000 {
		f, s, _ := k.next(t)
		f.Time += rnd.Int64N(200_000) // as several processors do
		r.Add(&f, &s)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	got := findAll(t, dir, RecordQuery{})
	if len(got) != 3000 {
		t.Errorf("%d packets", len(got))
	}
	for i := 1; i < len(got); i++ {
		if got[i].Time < got[i-1].Time {
			t.Fatalf("packet %d is earlier than the one before", i)
		}
	}
}

func TestRecorderNewInterface(t *testing.T) {
	dir := t.TempDir()
	r := newTestRecorder(t, dir, smallRecorder())
	k := talk{conns: 1}
	for i := range 4 {
		f, s, _ := k.next(t)
		if i >= 2 {
			f.Interface, f.Link, f.Data = 1, LinkRaw, f.Data[14:]
			if Decode(&f, &s) != TCP {
				t.Fatal("no TCP")
			}
		}
		r.Add(&f, &s)
	}
	f, s, _ := k.next(t)
	f.Interface = 7
	r.Add(&f, &s)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if st := r.Stats(); st.Lost != 1 || st.Recorded != 4 {
		t.Errorf("%+v", st)
	}
	got := findAll(t, dir, RecordQuery{})
	if len(got) != 4 || got[1].Link != LinkEthernet || got[2].Link != LinkRaw || got[3].Interface != 1 {
		t.Errorf("%+v", got)
	}
}

func TestRecorderRefuses(t *testing.T) {
	for name, change := range map[string]func(*RecorderConfig){
		"tiny segments": func(c *RecorderConfig) { c.SegmentBytes = 100 },
		"huge segments": func(c *RecorderConfig) { c.SegmentBytes, c.TotalBytes = 1<<40, 1<<42 },
		"small total":   func(c *RecorderConfig) { c.TotalBytes = c.SegmentBytes },
		"age":           func(c *RecorderConfig) { c.SegmentAge = -1 },
		"snaplen":       func(c *RecorderConfig) { c.Snaplen = 1 << 20 },
	} {
		cfg := smallRecorder()
		change(&cfg)
		if r, err := NewRecorder(t.TempDir(), cfg); err == nil {
			t.Errorf("%s: no error", name)
			_ = r.Close()
		}
	}
}

func TestMetaOfComments(t *testing.T) {
	r := &Recorder{cfg: RecorderConfig{SampleRate: 8, Cutoff: Cutoff{Packets: 100, Bytes: 5000}}}
	want := indexMeta{sample: 8, cutoff: Cutoff{Packets: 100, Bytes: 5000}}
	if got := metaOf(r.comments()); got != want {
		t.Errorf("%+v from %q", got, r.comments())
	}
	if got := metaOf([]string{"sampled: one in x", "", "hello"}); got != (indexMeta{sample: 1}) {
		t.Errorf("%+v", got)
	}
}

func TestParseName(t *testing.T) {
	base := baseName(start, 42)
	for _, ext := range []string{extLive, extSealed, extIndex, extDamaged, extIndex + extTemp} {
		b, n, e, ok := parseName(base + ext)
		if !ok || b != base || n != 42 || e != ext {
			t.Errorf("%s: %s, %d, %s, %v", base+ext, b, n, e, ok)
		}
	}
	for _, name := range []string{"packets-1.pcapng", base, base + ".pcapng.gz", "x" + base + ".idx", strings.Replace(base, "-000042", "-42", 1) + extIndex, fmt.Sprintf("packets-20260101T000000Z-%s.idx", strings.Repeat("9", 30))} {
		if _, _, _, ok := parseName(name); ok {
			t.Errorf("%s is taken for a file of a recording", name)
		}
	}
}

func BenchmarkRecorderAdd(b *testing.B) {
	for _, conns := range []int{100, 10_000} {
		b.Run(fmt.Sprint(conns), func(b *testing.B) {
			cfg := DefaultRecorderConfig()
			cfg.Interfaces = []Interface{testInterface}
			cfg.TotalBytes = 2 * cfg.SegmentBytes
			r := newTestRecorder(b, b.TempDir(), cfg)
			k := talk{conns: conns, payload: 60}
			type packet struct {
				f Frame
				s Segment
			}
			packets := make([]packet, conns)
			for i := range packets {
				packets[i].f, packets[i].s, _ = k.next(b)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				p := &packets[i%conns]
				p.f.Time += int64(conns) * 5000
				r.Add(&p.f, &p.s)
				i++
			}
		})
	}
}
