package capture

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
)

func gz(tb testing.TB, parts ...[]byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	for _, p := range parts {
		z := gzip.NewWriter(&out)
		if _, err := z.Write(p); err != nil {
			tb.Fatal(err)
		}
		if err := z.Close(); err != nil {
			tb.Fatal(err)
		}
	}
	return out.Bytes()
}

func zst(tb testing.TB, b []byte) []byte {
	tb.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		tb.Fatal(err)
	}
	defer z.Close()
	return z.EncodeAll(b, nil)
}

// pcapOf is a file header of any magic and order, and one record.
func pcapOf(order binary.AppendByteOrder, magic uint32, minor uint16, record ...uint32) []byte {
	b := order.AppendUint32(nil, magic)
	b = order.AppendUint16(b, 2)
	b = order.AppendUint16(b, minor)
	for _, v := range append([]uint32{0, 0, 96, uint32(LinkRaw)}, record...) {
		b = order.AppendUint32(b, v)
	}
	return b
}

func TestReadPcap(t *testing.T) {
	le, be := binary.AppendByteOrder(binary.LittleEndian), binary.AppendByteOrder(binary.BigEndian)
	const at = 1_700_000_000
	tests := []struct {
		name string
		file []byte
		want Frame
	}{
		{"micro", append(pcapOf(le, magicMicro, 4, at, 5, 3, 9), "abc"...), Frame{Time: at*1e9 + 5000, WireLen: 9}},
		{"micro swapped", append(pcapOf(be, magicMicro, 4, at, 5, 3, 9), "abc"...), Frame{Time: at*1e9 + 5000, WireLen: 9}},
		{"nano", append(pcapOf(le, magicNano, 4, at, 5, 3, 9), "abc"...), Frame{Time: at*1e9 + 5, WireLen: 9}},
		{"nano swapped", append(pcapOf(be, magicNano, 4, at, 5, 3, 9), "abc"...), Frame{Time: at*1e9 + 5, WireLen: 9}},
		{"modified", append(pcapOf(be, magicModified, 4, at, 5, 3, 9, 2, 0x08000400), "abc"...), Frame{Time: at*1e9 + 5000, WireLen: 9, Way: WayOut}},
		{"lengths the other way round", append(pcapOf(le, magicMicro, 2, at, 5, 9, 3), "abc"...), Frame{Time: at*1e9 + 5000, WireLen: 9}},
		{"lengths perhaps", append(pcapOf(le, magicMicro, 3, at, 5, 9, 3), "abc"...), Frame{Time: at*1e9 + 5000, WireLen: 9}},
		{"after 2038", append(pcapOf(le, magicNano, 4, 1<<32-1, 5, 3, 9), "abc"...), Frame{Time: (1<<32-1)*1e9 + 5, WireLen: 9}},
		{"microseconds of more than a second", append(pcapOf(le, magicMicro, 4, at, 2_000_000, 3, 9), "abc"...), Frame{Time: (at + 2) * 1e9, WireLen: 9}},
		{"longer than the snaplen", append(pcapOf(le, magicMicro, 4, at, 0, 100, 100), strings.Repeat("a", 100)...), Frame{Time: at * 1e9, WireLen: 100, Data: []byte(strings.Repeat("a", 100))}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.Number, tt.want.Link = 1, LinkRaw
			if tt.want.Data == nil {
				tt.want.Data = []byte("abc")
			}
			r := openBytes(t, tt.file)
			if diff := cmp.Diff([]Frame{tt.want}, readAll(t, r)); diff != "" {
				t.Error(diff)
			}
			if r.Offset() != int64(len(tt.file)) || r.Size() != int64(len(tt.file)) {
				t.Errorf("Offset %d, Size %d, want %d", r.Offset(), r.Size(), len(tt.file))
			}
			if len(r.Interfaces()) != 1 || r.Interfaces()[0].SnapLen != 96 {
				t.Errorf("interfaces %+v", r.Interfaces())
			}
		})
	}
}

// swapWords turns words of a block to big-endian order, by their offsets.
func swapWords(b []byte, words ...int) []byte {
	b = bytes.Clone(b)
	for _, w := range words {
		binary.BigEndian.PutUint32(b[w:], binary.LittleEndian.Uint32(b[w:]))
	}
	return b
}

func TestReadPcapng(t *testing.T) {
	data := []byte("some data of a frame")
	big := join(
		swapWords(ngSection(), 4, 8, 24),
		[]byte("\x00\x00\x00\x01\x00\x00\x00\x20\x00\x65\x00\x00\x00\x00\x00\x00\x00\x09\x00\x01\x09\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x20"),
		swapWords(ngPacket(0, 1<<32|7, data), 0, 4, 8, 12, 16, 20, 24, 48),
	)
	binary.BigEndian.PutUint16(big[12:], 1) // version
	binary.BigEndian.PutUint16(big[14:], 0)
	resol := func(b byte, offset string) []byte {
		o := ngOption(9, string([]byte{b}))
		if offset != "" {
			o = append(o, ngOption(14, offset)...)
		}
		return ngBlock(blockInterface, append(le32(nil, uint32(LinkRaw), 0), o...)...)
	}
	file := join(
		ngSection(), ngInterface(LinkEthernet), resol(3, ""), resol(0x80|10, ""), resol(12, ""), resol(9, "\x64\x00\x00\x00\x00\x00\x00\x00"),
		ngBlock(0x0a, make([]byte, 100)...),     // secrets
		ngBlock(0x40000bad, make([]byte, 8)...), // custom
		ngBlock(4, make([]byte, 4)...),          // names
		ngPacket(0, 1_700_000_000_000_001, data, join(ngOption(2, "\x02\x00\x00\x00"), ngOption(1, "first"), ngOption(1, "second"), ngOption(4, "\x03\x00\x00\x00\x00\x00\x00\x00"), "\x00\x00\x00\x00")...),
		ngPacket(1, 1500, data),
		ngPacket(2, 1024+512, data),
		ngPacket(3, 7_000_000, data),
		ngPacket(4, 7, data),
		ngBlock(blockSimple, append(le32(nil, uint32(len(data))), data...)...),
		ngBlock(blockPacket, append(le32(nil, 0x0005_0001, 0, 1500, uint32(len(data)), 99), data...)...),
		ngBlock(blockStats, join(le32(nil, 0, 0, 0), ngOption(5, "\x09\x00\x00\x00\x00\x00\x00\x00"))...),
		big,
		ngSection(), ngInterface(LinkLoop), ngPacket(0, 1, data),
	)
	want := []Frame{
		{Time: 1_700_000_000_000_001_000, Link: LinkEthernet, WireLen: 20, Way: WayOut, Dropped: 3, Comment: "first"},
		{Time: 1_500_000_000, Link: LinkRaw, Interface: 1, WireLen: 20},
		{Time: 1_500_000_000, Link: LinkRaw, Interface: 2, WireLen: 20},
		{Time: 7_000, Link: LinkRaw, Interface: 3, WireLen: 20},
		{Time: 100_000_000_007, Link: LinkRaw, Interface: 4, WireLen: 20},
		{Link: LinkEthernet, WireLen: 20},
		{Time: 1_500_000_000, Link: LinkRaw, Interface: 1, WireLen: 99, Dropped: 5},
		{Time: 1<<32 + 7, Link: LinkRaw, Interface: 5, WireLen: 20},
		{Time: 1000, Link: LinkLoop, Interface: 6, WireLen: 20},
	}
	for i := range want {
		want[i].Number, want[i].Data = uint64(i+1), data
	}
	for name, in := range map[string]io.Reader{
		"plain":         bytes.NewReader(file),
		"byte by byte":  iotest.OneByteReader(bytes.NewReader(file)),
		"gzip":          bytes.NewReader(gz(t, file)),
		"two members":   bytes.NewReader(gz(t, file[:333], file[333:])),
		"zstd":          bytes.NewReader(zst(t, file)),
		"two frames":    bytes.NewReader(append(zst(t, file[:333]), zst(t, file[333:])...)),
		"skipped frame": bytes.NewReader(append([]byte("\x50\x2a\x4d\x18\x04\x00\x00\x00skip"), zst(t, file)...)),
	} {
		t.Run(name, func(t *testing.T) {
			r, err := NewReader(in, ReadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			digest := r.Digest()
			if diff := cmp.Diff(want, readAll(t, r)); diff != "" {
				t.Error(diff)
			}
			if r.Digest() != digest || digest != openBytes(t, file).Digest() {
				t.Error("the digest differs from that of the plain file")
			}
			all := r.Interfaces()
			if len(all) != 7 || len(r.Sections()) != 3 {
				t.Fatalf("%d interfaces, %d sections", len(all), len(r.Sections()))
			}
			if all[0].Stats != (InterfaceStats{Dropped: 9, FrameDropped: 3}) || all[1].Stats.FrameDropped != 5 || all[6].Section != 2 {
				t.Errorf("interfaces %+v", all)
			}
			if all[2].Resolution != 1024 || all[3].Resolution != 1_000_000_000_000 {
				t.Errorf("resolutions %d, %d", all[2].Resolution, all[3].Resolution)
			}
			var f Frame
			if err := r.Next(&f); !errors.Is(err, io.EOF) {
				t.Errorf("after the end: %v", err)
			}
		})
	}
}

// TestReadDigest: the digest is about the content up to the first frame, of
// which only 64 KiB count.
func TestReadDigest(t *testing.T) {
	one := pcapFile(LinkEthernet, make([]byte, 100_000))
	same := append(bytes.Clone(one), pcapFile(LinkEthernet, segment4())[24:]...)
	other := bytes.Clone(one)
	other[50]++
	r := openBytes(t, one)
	want := r.Digest()
	if len(readAll(t, r)) != 1 {
		t.Error("the frame that the digest has read is lost")
	}
	if got := openBytes(t, same).Digest(); got != want {
		t.Error("the digest changes with what follows")
	}
	if got := openBytes(t, other).Digest(); got == want {
		t.Error("the digest does not change with the content")
	}
	if openBytes(t, one[:24]).Digest() == 0 {
		t.Error("no digest without frames")
	}
}

func TestClock(t *testing.T) {
	for _, tt := range []struct {
		resol byte
		ticks uint64
		want  int64
	}{
		{0, 5, 5e9},
		{6, 5, 5000},
		{9, 5, 5},
		{12, 5999, 5},
		{28, 1 << 63, 0},
		{127, 1 << 63, 0},
		{0x80, 5, 5e9},
		{0x80 | 1, 5, 25e8},
		{0x80 | 32, 1700000000<<32 | 1<<31, 1700000000_500000000},
		{0x80 | 63, 1 << 62, 5e8},
		{0x80 | 64, 1 << 63, 5e8},
		{0x80 | 127, 1 << 63, 0},
	} {
		c, _ := newClock(tt.resol)
		if got := c.nanoseconds(tt.ticks); got != tt.want {
			t.Errorf("if_tsresol %#x: %d ticks are %d ns, want %d", tt.resol, tt.ticks, got, tt.want)
		}
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a.pcap.gz")
	if err := os.WriteFile(name, gz(t, pcapFile(LinkEthernet, ether(0x0800, segment4()))), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Open(name, ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(readAll(t, r)); n != 1 || r.Size() != info.Size() || r.Offset() != info.Size() {
		t.Errorf("%d frames, Size %d, Offset %d of %d", n, r.Size(), r.Offset(), info.Size())
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Open(filepath.Join(dir, "none"), ReadOptions{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such file: %v", err)
	}
	if _, err := Open(dir, ReadOptions{}); err == nil || !strings.Contains(err.Error(), "directory") {
		t.Errorf("a directory: %v", err)
	}
}

// TestReadDone: a pipe on which nothing comes does not hold a reader for ever.
func TestReadDone(t *testing.T) {
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	file := pcapFile(LinkEthernet, ether(0x0800, segment4()), make([]byte, 60))
	if _, err := out.Write(file[:len(file)-1]); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	r, err := NewReader(in, ReadOptions{Done: done})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var f Frame
	if err := r.Next(&f); err != nil || f.Number != 1 || r.Size() != -1 {
		t.Fatalf("the first frame: %v, %d", err, f.Number)
	}
	close(done)
	for range 2 {
		if err := r.Next(&f); !errors.Is(err, context.Canceled) {
			t.Errorf("after Done: %v", err)
		}
	}
	if _, err := NewReader(in, ReadOptions{Done: done}); !errors.Is(err, context.Canceled) {
		t.Errorf("opening after Done: %v", err)
	}
}

// TestReadDoneBlocks: nor does a file that has no frames to give.
func TestReadDoneBlocks(t *testing.T) {
	done := make(chan struct{})
	endless := &loopReader{head: ngSection(), loop: bytes.Repeat(ngBlock(0x0a), 1000), at: 50 << 20, hook: func() { close(done) }}
	r, err := NewReader(endless, ReadOptions{Done: done})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var f Frame
	if err := r.Next(&f); !errors.Is(err, context.Canceled) {
		t.Errorf("Next = %v", err)
	}
}

// loopReader repeats a part for ever, and calls a hook after some bytes.
type loopReader struct {
	head, loop []byte
	pos        int
	n, at      int64
	hook       func()
}

func (l *loopReader) Read(b []byte) (int, error) {
	n := 0
	if len(l.head) > 0 {
		n = copy(b, l.head)
		l.head = l.head[n:]
	} else {
		n = copy(b, l.loop[l.pos:])
		l.pos = (l.pos + n) % len(l.loop)
	}
	if l.n += int64(n); l.hook != nil && l.n > l.at {
		l.hook()
		l.hook = nil
	}
	return n, nil
}

// idleReader gives nothing, and no error either.
type idleReader struct{}

func (idleReader) Read([]byte) (int, error) { return 0, nil }

func TestReadNoProgress(t *testing.T) {
	r, err := NewReader(io.MultiReader(bytes.NewReader(pcapFile(LinkEthernet, make([]byte, 60))), idleReader{}), ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var f Frame
	if err := r.Next(&f); err != nil {
		t.Fatal(err)
	}
	if err := r.Next(&f); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("Next = %v", err)
	}
}

// TestReadError: an error of the input is not one of the format.
func TestReadError(t *testing.T) {
	file := pcapFile(LinkEthernet, make([]byte, 60))
	for _, in := range []io.Reader{
		io.MultiReader(bytes.NewReader(file), iotest.ErrReader(&os.PathError{Op: "read", Path: "x", Err: io.ErrClosedPipe})),
		io.MultiReader(bytes.NewReader(gz(t, file)), iotest.ErrReader(&os.PathError{Op: "read", Path: "x", Err: io.ErrClosedPipe})),
	} {
		r, err := NewReader(in, ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var f Frame
		if err := r.Next(&f); err != nil {
			t.Fatal(err)
		}
		var format *FormatError
		if err := r.Next(&f); !errors.Is(err, io.ErrClosedPipe) || errors.As(err, &format) {
			t.Errorf("Next = %v", err)
		}
	}
}
