package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/analysis"
	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// TestBuildCapture: the file holds each connection once in each copy, whole and
// with right checksums.
func TestBuildCapture(t *testing.T) {
	need.Root(t)
	need.Programs(t, "ip")
	b := bigCapture{Short: 10, Rounds: 2, Bulk: 50_000, Copies: together + 2}
	var file bytes.Buffer
	done, err := b.build(&file)
	if err != nil {
		t.Fatal(err)
	}
	r, err := capture.NewReader(bytes.NewReader(file.Bytes()), capture.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var (
		f      capture.Frame
		s      capture.Segment
		p      analysis.Packet
		before int64
	)
	a := analysis.New(analysis.DefaultConfig())
	for err = r.Next(&f); err == nil; err = r.Next(&f) {
		if reason := capture.Decode(&f, &s); reason != capture.TCP {
			t.Fatalf("frame %d: %s", f.Number, reason)
		}
		if f.Time < before {
			t.Fatalf("frame %d is earlier than the one before", f.Number)
		}
		before = f.Time
		if n := onesComplement(f.Data[14:34], 0); n != 0xffff {
			t.Fatalf("frame %d: IP checksum: the sum is %#x", f.Number, n)
		}
		length := binary.BigEndian.Uint16(f.Data[16:]) - 20
		pseudo := onesComplement(f.Data[26:34], 6+uint32(length))
		if n := onesComplement(f.Data[34:34+length], uint32(pseudo)); n != 0xffff {
			t.Fatalf("frame %d: TCP checksum: the sum is %#x", f.Number, n)
		}
		a.Add(&s, &p)
	}
	if !errors.Is(err, io.EOF) || f.Number != uint64(done.Packets) || int64(file.Len()) != 24+done.Bytes {
		t.Errorf("%d of %d frames: %v", f.Number, done.Packets, err)
	}
	conns := a.Conns()
	if len(conns) != b.conns() {
		t.Errorf("%d connections, want %d", len(conns), b.conns())
	}
	for _, c := range conns {
		sent, received := c.Sides[0].UniqueBytes, c.Sides[1].UniqueBytes
		if bulk := sent == uint64(b.Bulk) && received == 0; !bulk && (sent != 600 || received < shortReply) {
			t.Errorf("a connection of %d and %d bytes", sent, received)
		}
	}

	path := filepath.Join(t.TempDir(), "x.pcap")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := countPackets(path); err != nil || n != done.Packets {
		t.Errorf("%d packets counted: %v", n, err)
	}
	if err := os.WriteFile(path, file.Bytes()[:file.Len()-1], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := countPackets(path); err == nil {
		t.Error("no error for a file that is cut off")
	}
}

// onesComplement is the sum of RFC 1071.
func onesComplement(b []byte, sum uint32) uint16 {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
		sum = sum&0xffff + sum>>16
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

func TestEnsureCapture(t *testing.T) {
	need.Root(t)
	need.Programs(t, "ip")
	dir := filepath.Join(t.TempDir(), "captures")
	b := bigCapture{Short: 2, Rounds: 1, Bulk: 1000, Copies: 2, Snap: 100}
	path, err := ensureCapture(t.Context(), dir, b)
	if err != nil {
		t.Fatal(err)
	}
	first, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ensureCapture(t.Context(), dir, b); err != nil {
		t.Fatal(err)
	}
	if again, err := os.Stat(path); err != nil || !again.ModTime().Equal(first.ModTime()) {
		t.Errorf("made again: %v", err)
	}
	if err := removeCaptures(dir); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("%d files left", len(left))
	}
}

func TestMeasure(t *testing.T) {
	s, err := measure(t.Context(), []string{"X=3"}, "/bin/sh", "-c", `test "$X" = 3 && echo a`)
	if err != nil || s.wall <= 0 || s.memory == 0 {
		t.Errorf("%+v: %v", s, err)
	}
	if _, err := measure(t.Context(), nil, "/bin/sh", "-c", "echo reason >&2; exit 3"); err == nil || !bytes.Contains([]byte(err.Error()), []byte("reason")) {
		t.Errorf("error %v", err)
	}
	if n, err := countLines(t.Context(), "/bin/sh", "-c", "echo a; echo b"); err != nil || n != 2 {
		t.Errorf("%d lines: %v", n, err)
	}
	got := medianOf([]spent{{wall: 3, memory: 1}, {wall: 1, memory: 3}, {wall: 2, memory: 2}})
	if got.wall != 2*time.Nanosecond || got.memory != 2 {
		t.Errorf("median %+v", got)
	}
}
