package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// recordInto makes a recording of so many packets, and returns the paths of its
// segments, oldest first.
func recordInto(tb testing.TB, dir string, packets int) []string {
	tb.Helper()
	r := newTestRecorder(tb, dir, smallRecorder())
	k := talk{conns: 5, payload: 3}
	for range packets {
		f, s, _ := k.next(tb)
		r.Add(&f, &s)
	}
	if err := r.Close(); err != nil {
		tb.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*"+extSealed))
	if err != nil || len(paths) == 0 {
		tb.Fatal(paths, err)
	}
	return paths
}

// asLive gives a segment the name that it had while it was written.
func asLive(tb testing.TB, path string) string {
	tb.Helper()
	live := path + ".part"
	if err := errors.Join(os.Rename(path, live), os.Remove(strings.TrimSuffix(path, extSealed)+extIndex)); err != nil {
		tb.Fatal(err)
	}
	return live
}

// blockEnds returns where each packet of a segment ends.
func blockEnds(tb testing.TB, b []byte) (ends []int64) {
	tb.Helper()
	r, err := NewReader(bytes.NewReader(b), ReadOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	var f Frame
	for r.Next(&f) == nil {
		ends = append(ends, r.offset())
	}
	return ends
}

func TestRepairTornSegment(t *testing.T) {
	dir := t.TempDir()
	whole, err := os.ReadFile(recordInto(t, dir, 200)[0])
	if err != nil {
		t.Fatal(err)
	}
	ends := blockEnds(t, whole)
	if len(ends) != 200 {
		t.Fatal(len(ends))
	}
	// Zeros may be what was missing.
	wholeIn := func(data []byte) (count int) {
		for _, e := range ends {
			if e <= int64(len(data)) && bytes.Equal(data[:e], whole[:e]) {
				count++
			}
		}
		return count
	}
	var cuts []int64
	for i := range 64 {
		cuts = append(cuts, int64(len(whole)*i/64))
	}
	for n := ends[198]; n <= ends[199]; n++ { // every byte of the last packet
		cuts = append(cuts, n)
	}
	for _, zeros := range []int{0, 5000} {
		for _, n := range cuts {
			dir := t.TempDir()
			path := filepath.Join(dir, baseName(start, 3)+extLive)
			data := append(bytes.Clone(whole[:n]), make([]byte, zeros)...)
			want := wholeIn(data)
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := NewRecorder(dir, smallRecorder())
			if err != nil {
				t.Fatal(err)
			}
			st := r.Stats()
			if len(st.Repairs) != 1 || st.Repairs[0].Err != nil || st.Repairs[0].Packets != want || st.Repairs[0].Damaged {
				t.Fatalf("cut at %d: %+v, want %d packets", n, st.Repairs, want)
			}
			// It records on, under a higher number.
			k := talk{conns: 1}
			f, s, _ := k.next(t)
			r.Add(&f, &s)
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			segs := openRecording(t, dir).Segments()
			if len(segs) != min(want, 1)+1 || segs[len(segs)-1].number != 4 {
				t.Fatalf("cut at %d: %+v", n, segs)
			}
			if got := findAll(t, dir, RecordQuery{}); len(got) != want+1 {
				t.Fatalf("cut at %d: %d packets of %d", n, len(got)-1, want)
			}
			live, _ := filepath.Glob(filepath.Join(dir, "*.part"))
			if len(live) != 0 {
				t.Errorf("cut at %d: left behind %v", n, live)
			}
		}
	}
}

func TestRepairKeepsSealed(t *testing.T) {
	dir := t.TempDir()
	paths := recordInto(t, dir, 3000)
	if len(paths) < 3 {
		t.Fatal(paths)
	}
	before := findAll(t, dir, RecordQuery{})
	live := asLive(t, paths[len(paths)-1])
	st, err := os.Stat(live)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(live, st.Size()-10); err != nil {
		t.Fatal(err)
	}
	// What is no part of it, or means nothing, is left or cleared away.
	stray := []string{"notes.txt", baseName(start, 90) + extIndex, baseName(start, 91) + extIndex + extTemp}
	for _, name := range stray {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := newTestRecorder(t, dir, smallRecorder())
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	after := findAll(t, dir, RecordQuery{})
	if diff := cmp.Diff(before[:len(before)-1], after); diff != "" {
		t.Errorf("packets (-before +after):\n%s", diff)
	}
	for i, name := range stray {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != (i == 0) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRepairDamaged(t *testing.T) {
	dir := t.TempDir()
	live := asLive(t, recordInto(t, dir, 100)[0])
	b, err := os.ReadFile(live)
	if err != nil {
		t.Fatal(err)
	}
	garbage := bytes.Repeat([]byte("garbage!"), maxTorn/8+1)
	if err := os.WriteFile(live, append(b, garbage...), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newTestRecorder(t, dir, smallRecorder())
	st := r.Stats()
	if len(st.Repairs) != 1 || !st.Repairs[0].Damaged || st.Repairs[0].Packets != 100 || st.Repairs[0].Cut != int64(len(garbage)) {
		t.Errorf("%+v", st.Repairs)
	}
	kept, err := os.ReadFile(strings.TrimSuffix(live, extLive) + extDamaged)
	if err != nil || !bytes.Equal(kept, garbage) {
		t.Errorf("%d bytes kept, %v", len(kept), err)
	}
	if got := findAll(t, dir, RecordQuery{}); len(got) != 100 {
		t.Errorf("%d packets", len(got))
	}
}

func TestRepairIndex(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"missing":   os.Remove,
		"truncated": func(p string) error { return os.Truncate(p, 100) },
		"empty":     func(p string) error { return os.Truncate(p, 0) },
		"flipped": func(p string) error {
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			b[len(b)/2] ^= 1
			return os.WriteFile(p, b, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := recordInto(t, dir, 300)[0]
			if err := spoil(strings.TrimSuffix(path, extSealed) + extIndex); err != nil {
				t.Fatal(err)
			}
			// Readers manage without.
			if got := findAll(t, dir, RecordQuery{}); len(got) != 300 {
				t.Errorf("%d packets before the repair", len(got))
			}
			r := newTestRecorder(t, dir, smallRecorder())
			if st := r.Stats(); len(st.Repairs) != 1 || st.Repairs[0].Packets != 300 || st.Repairs[0].Err != nil {
				t.Errorf("%+v", st.Repairs)
			}
			if got := findAll(t, dir, RecordQuery{}); len(got) != 300 {
				t.Errorf("%d packets after the repair", len(got))
			}
			if _, _, err := readIndex(strings.TrimSuffix(path, extSealed) + extIndex); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRepairLaterVersion leaves alone what a later program wrote.
func TestRepairLaterVersion(t *testing.T) {
	dir := t.TempDir()
	path := strings.TrimSuffix(recordInto(t, dir, 10)[0], extSealed) + extIndex
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[4] = indexVersion + 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	r := newTestRecorder(t, dir, smallRecorder())
	if st := r.Stats(); len(st.Repairs) != 1 || st.Repairs[0].Err == nil || st.Segments != 0 {
		t.Errorf("%+v", st)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, b) {
		t.Errorf("it was touched, %v", err)
	}
	if _, err := OpenRecording(dir); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("opening: %v", err)
	}
}

// testIndex is an index of nine packets of three connections.
func testIndex(tb testing.TB) []byte {
	tb.Helper()
	var b indexBuilder
	k := talk{conns: 3}
	for i := range 9 {
		_, s, _ := k.next(tb)
		key, _ := keyOf(&s.Tuple)
		if i < 3 {
			b.add(&key)
		}
		b.packet(uint32(i%3), int64(100+i*64)/4*4, int64(i))
	}
	return b.encode(indexMeta{size: 4096})
}

func TestIndexBroken(t *testing.T) {
	good := testIndex(t)
	if x, err := parseIndex(good); err != nil || x.count() != 3 || x.packets() != 9 || x.first != 0 || x.last != 8 {
		t.Fatal(x, err)
	}
	for i := range good { // every single byte counts
		if i == 4 {
			continue // the version
		}
		bad := bytes.Clone(good)
		bad[i] ^= 0x40
		if _, err := parseIndex(bad); !errors.Is(err, errIndex) {
			t.Errorf("byte %d: %v", i, err)
		}
	}
	for n := range good {
		if _, err := parseIndex(good[:n]); !errors.Is(err, errIndex) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
}

func FuzzIndex(f *testing.F) {
	f.Add(testIndex(f), false)
	f.Add(new(indexBuilder).encode(indexMeta{}), true)
	f.Fuzz(func(t *testing.T, data []byte, fix bool) {
		if fix && len(data) >= indexCRC { // most mutations end at the checksum otherwise
			data = fixCRC(data)
		}
		x, err := parseIndex(data)
		if err != nil {
			return
		}
		total := 0
		for i := range x.count() {
			c := x.conn(i)
			if j, ok := x.find(&c.key); !ok || j != i {
				t.Fatalf("connection %d is found at %d, %v", i, j, ok)
			}
			for _, at := range x.appendOffsets(nil, i) {
				if at < 0 || at >= x.size {
					t.Fatalf("a packet at %d of %d", at, x.size)
				}
				total++
			}
		}
		if total != x.packets() {
			t.Fatalf("%d of %d packets", total, x.packets())
		}
	})
}

// FuzzRepair gives a recorder a segment with anything in it.
func FuzzRepair(f *testing.F) {
	path := recordInto(f, f.TempDir(), 20)[0]
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	index, err := os.ReadFile(strings.TrimSuffix(path, extSealed) + extIndex)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole, index, true)
	f.Add(whole[:len(whole)-7], []byte{}, false)
	f.Add([]byte{}, index, true)
	f.Fuzz(func(t *testing.T, segment, index []byte, sealed bool) {
		dir := t.TempDir()
		name := filepath.Join(dir, baseName(start, 1))
		ext := extLive
		if sealed {
			ext = extSealed
		}
		if err := errors.Join(os.WriteFile(name+ext, segment, 0o600), os.WriteFile(name+extIndex, index, 0o600)); err != nil {
			t.Fatal(err)
		}
		r, err := NewRecorder(dir, smallRecorder())
		if err != nil {
			t.Fatal(err)
		}
		st := r.Stats()
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		// What it calls mended can be read.
		rec, err := OpenRecording(dir)
		if len(st.Repairs) == 1 && st.Repairs[0].Err != nil {
			return
		}
		if err != nil {
			t.Fatalf("after %+v: %v", st.Repairs, err)
		}
		found := rec.Find(RecordQuery{})
		defer found.Close()
		var frame Frame
		for err == nil {
			err = found.Next(&frame)
		}
		if len(st.Repairs) == 1 && frame.Number != uint64(st.Repairs[0].Packets) {
			t.Fatalf("%d packets after %+v: %v", frame.Number, st.Repairs, err)
		}
	})
}

// fixCRC ends data with its checksum.
func fixCRC(data []byte) []byte {
	data = bytes.Clone(data)
	body := len(data) - indexCRC
	binary.LittleEndian.PutUint32(data[body:], crc32.Checksum(data[:body], castagnoli))
	return data
}
