package capture

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// bomb is a broken or hostile file.
type bomb struct {
	name   string
	file   []byte
	frames int    // before the error
	offset int64  // of the error; -1 where it follows from the decompressor
	reason string // part of it; "" is a good end
}

// zeros compresses a header and then zeros.
func zeros(tb testing.TB, head []byte, n int64, useZstd bool) []byte {
	tb.Helper()
	var out bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&out)
	if useZstd {
		z, err := zstd.NewWriter(&out)
		if err != nil {
			tb.Fatal(err)
		}
		w = z
	}
	if _, err := w.Write(head); err != nil {
		tb.Fatal(err)
	}
	block := make([]byte, 1<<20)
	for range n >> 20 {
		if _, err := w.Write(block); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func bombs(tb testing.TB) []bomb {
	tb.Helper()
	frame := make([]byte, 60)
	one := pcapFile(LinkEthernet, frame)
	rec := func(capLen, wireLen uint32) []byte { return join(one, le32(nil, 1, 1, capLen, wireLen)) }
	sec, iface, pkt := ngSection(), ngInterface(LinkEthernet), ngPacket(0, 1, frame)
	good := join(sec, iface, pkt)
	n := int64(len(good))
	block := func(words ...uint32) []byte { return join(good, le32(nil, words...)) }
	patch := func(b []byte, at int, v uint32) []byte {
		b = bytes.Clone(b)
		copy(b[at:], le32(nil, v))
		return b
	}
	epb := func(at int, v uint32) []byte { return join(good, patch(pkt, at, v)) }
	options := func(n int) []byte { return bytes.Repeat(ngOption(99, ""), n) }
	packed := gz(tb, good)
	broken := bytes.Clone(packed)
	broken[len(broken)-6] ^= 0xff // the checksum of the content
	ratio := bytes.Repeat(ngBlock(0x0a, make([]byte, 1<<16)...), 10)

	return []bomb{
		{"empty", nil, 0, 0, "empty"},
		{"three bytes", []byte("\xd4\xc3\xb2"), 0, 0, "too short"},
		{"text", []byte("hello, world"), 0, 0, "neither pcap nor pcapng"},
		{"xz", []byte("\xfd7zXZ\x00\x00\x04"), 0, 0, "xz"},
		{"gzip twice", gz(tb, packed), 0, 0, "compressed twice"},
		{"half a pcap header", one[:20], 0, 0, "middle of its header"},
		{"pcap version", patch(one, 4, 3), 0, 4, "version 3.0"},
		{"half a record header", rec(60, 60)[:len(one)+15], 1, int64(len(one)), "middle of frame 2"},
		{"half a frame", join(rec(60, 60), frame[:59]), 1, int64(len(one)), "middle of frame 2"},
		{"pcap of 40 bytes claiming 1 GiB", join(one[:24], le32(nil, 0, 0, 1<<30, 1<<30)), 0, 24, "limit of 262144"},
		{"caplen 0xffffffff", rec(1<<32-1, 60), 1, int64(len(one)), "4294967295 captured"},
		{"caplen just above", join(rec(MaxFrame+1, 60), make([]byte, MaxFrame+1)), 1, int64(len(one)), "limit of 262144"},
		{"caplen at the limit", join(rec(MaxFrame, 60), make([]byte, MaxFrame)), 2, 0, ""},
		{"empty frames", join(one, make([]byte, 16*1000)), 1001, 0, ""},

		{"half a section header", sec[:11], 0, 0, "middle of its header"},
		{"no byte-order magic", patch(sec, 8, 0x12345678), 0, 0, "byte-order magic"},
		{"pcapng version", patch(sec, 12, 2), 0, 0, "version 2.0"},
		{"section of 12 bytes", join(le32(nil, blockSection, 12, byteOrderMagic), make([]byte, 40)), 0, 0, "two lengths"},
		{"76 bytes claiming 1 GiB", join(sec, iface, le32(nil, blockEnhanced, 1<<30, 0, 0, 0, 1<<30, 1<<30)), 0, 48, "limit of 16777216"},
		{"block length 0", block(5, 0, 0, 0), 1, n, "claims 0 bytes"},
		{"block length 8", block(5, 8, 8, 0), 1, n, "fewer than its own header"},
		{"block length 13", block(5, 13, 0, 13, 0), 1, n, "multiple of 4"},
		{"block length 0xfffffffc", block(5, 0xfffffffc, 0, 0), 1, n, "limit of 16777216"},
		{"block length just above", block(5, maxBlock+4, 0, 0), 1, n, "limit of 16777216"},
		{"block not all there", block(5, 1<<20, 0, 0), 1, n, "middle of a block after frame 1"},
		{"half a block header", block(5, 64), 1, n, "middle of a block after frame 1"},
		{"lengths differ", block(5, 16, 0, 20), 1, n, "two lengths"},
		{"frame not all there", good[:n-1], 0, 48, "middle of frame 1"},
		{"caplen beyond the block", epb(20, 61+3), 1, n, "more than its block holds"},
		{"caplen beyond the limit", epb(20, MaxFrame+1), 1, n, "limit of 262144"},
		{"packet block too short", join(good, ngBlock(blockEnhanced, make([]byte, 16)...)), 1, n, "too short"},
		{"obsolete block too short", join(good, ngBlock(blockPacket, make([]byte, 16)...)), 1, n, "too short"},
		{"simple block too short", join(good, ngBlock(blockSimple)), 1, n, "too short"},
		{"simple block claiming more", join(good, ngBlock(blockSimple, le32(nil, 100)...)), 1, n, "more than its block holds"},
		{"unknown interface", epb(8, 1), 1, n, "interface 1, which is not described"},
		{"interface 0xffffffff", epb(8, 1<<32-1), 1, n, "interface 4294967295"},
		{"interface of an earlier section", join(good, sec, pkt), 1, n + 28, "interface 0, which is not described"},
		{"interface too short", join(sec, ngBlock(blockInterface, make([]byte, 4)...)), 0, 28, "too short"},
		{"statistics too short", join(good, ngBlock(blockStats)), 1, n, "too short"},
		{"statistics of no interface", join(good, ngBlock(blockStats, le32(nil, 9, 0, 0)...), pkt), 2, 0, ""},
		{"1000 options", join(good, ngPacket(0, 1, frame, options(1000)...)), 2, 0, ""},
		{"1001 options", join(good, ngPacket(0, 1, frame, options(1001)...)), 1, n, "more than 1000 options"},
		{"1001 options of an interface", join(sec, ngBlock(blockInterface, join(le32(nil, 1, 0), options(1001))...)), 0, 28, "more than 1000 options"},
		{"option beyond the block", join(good, ngPacket(0, 1, frame, le32(nil, 0xffff0001)...)), 2, 0, ""},
		{"65537 interfaces", join(sec, bytes.Repeat(iface, maxInterfaces+1)), 0, int64(28 + 20*maxInterfaces), "more than 65536 interfaces"},
		{"65537 sections", bytes.Repeat(sec, maxSections+1), 0, 28 * maxSections, "more than 65536 sections"},
		{"a million empty blocks", join(sec, bytes.Repeat(ngBlock(0x0a), 1_000_000)), 0, 0, ""},

		{"half a gzip header", packed[:5], 0, 0, "gzip header"},
		{"half a gzip stream", packed[:len(packed)/2], 0, -1, "gzip data"},
		{"gzip checksum", broken, 1, -1, "corrupt gzip"},
		{"gzip of zeros", zeros(tb, good, 64<<20, false), 1, n, "claims 0 bytes"},
		{"gzip expanding", gz(tb, join(good, bytes.Repeat(ratio, 100))), 1, -1, "100 times its size"},
		{"zstd expanding", zst(tb, join(good, bytes.Repeat(ratio, 100))), 1, -1, "100 times its size"},
		{"half a zstd frame", zst(tb, good)[:20], 0, -1, "zstd data"},
		{"zstd garbage", join("\x28\xb5\x2f\xfd\xff\xff\xff", make([]byte, 100)), 0, -1, "zstd"},
		{"zstd window of 2 GiB", join("\x28\xb5\x2f\xfd\x00\xa8", make([]byte, 100)), 0, -1, "zstd"},
	}
}

// TestBombs: each gives what stands before its fault, then an error with the
// place, and takes no more memory than it is large.
func TestBombs(t *testing.T) {
	all := bombs(t)
	if len(all) < 50 {
		t.Errorf("%d bombs", len(all))
	}
	for _, b := range all {
		t.Run(b.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			frames := 0
			r, err := NewReader(bytes.NewReader(b.file), ReadOptions{})
			if err == nil {
				var f Frame
				for err = r.Next(&f); err == nil; err = r.Next(&f) {
					frames++
				}
				if again := r.Next(&f); !errors.Is(again, err) {
					t.Errorf("Next = %v, then %v", err, again)
				}
			}
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20+16*uint64(len(b.file)) {
				t.Errorf("%d bytes allocated for %d", n, len(b.file))
			}
			if frames != b.frames {
				t.Errorf("%d frames before the error, want %d", frames, b.frames)
			}
			if b.reason == "" {
				if !errors.Is(err, io.EOF) {
					t.Errorf("at the end: %v", err)
				}
				return
			}
			var format *FormatError
			if !errors.As(err, &format) {
				t.Fatalf("not a FormatError: %v", err)
			}
			if b.offset >= 0 && format.Offset != b.offset || !strings.Contains(err.Error(), b.reason) {
				t.Errorf("offset %d, %v; want offset %d and %q", format.Offset, err, b.offset, b.reason)
			}
		})
	}
}

// TestExpansion: the limits can be lifted, and the error says that there is one.
func TestExpansion(t *testing.T) {
	file := gz(t, join(ngSection(), ngInterface(LinkEthernet), bytes.Repeat(ngBlock(0x0a, make([]byte, 1<<16)...), 400), ngPacket(0, 1, make([]byte, 60))))
	for _, tt := range []struct {
		name string
		o    ReadOptions
		ok   bool
	}{
		{"default", ReadOptions{}, false},
		{"higher ratio", ReadOptions{MaxRatio: 2000}, true},
		{"no ratio", ReadOptions{MaxRatio: -1}, true},
		{"bytes", ReadOptions{MaxRatio: -1, MaxBytes: 20 << 20}, false},
		{"no limit", ReadOptions{MaxRatio: -1, MaxBytes: -1}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := NewReader(bytes.NewReader(file), tt.o)
			if err != nil {
				t.Fatal(err)
			}
			var f Frame
			err = r.Next(&f)
			if tt.ok != (err == nil) || !tt.ok && !errors.Is(err, ErrExpansion) {
				t.Errorf("Next = %v", err)
			}
		})
	}
}
