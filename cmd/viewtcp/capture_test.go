package main

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// madeCapture builds captures of TCP between documentation addresses.
type madeCapture struct {
	frames []capture.Frame
	now    int64
}

// captureStart is the time of the first frame.
const captureStart = 1_700_000_000_000_000_000

// side of a made connection.
type madeSide struct {
	ip  string
	tcp uint16
	seq uint32
}

// send adds a segment from a to b and moves a's sequence number on.
func (m *madeCapture) send(a, b *madeSide, flags capture.Flags, payload int) {
	m.sendAt(a, b, a.seq, flags, payload)
	a.seq += uint32(payload)
	if flags&(capture.SYN|capture.FIN) != 0 {
		a.seq++
	}
}

// sendAt adds a segment with a sequence number of its own.
func (m *madeCapture) sendAt(a, b *madeSide, seq uint32, flags capture.Flags, payload int) {
	ack := uint32(0)
	if flags&capture.ACK != 0 {
		ack = b.seq
	}
	src, dst := netip.MustParseAddr(a.ip), netip.MustParseAddr(b.ip)
	h := make([]byte, 20, 20+payload)
	put16(h[0:], a.tcp)
	put16(h[2:], b.tcp)
	put32(h[4:], seq)
	put32(h[8:], ack)
	put16(h[12:], 5<<12|uint16(flags))
	put16(h[14:], 65000)
	h = append(h, bytes.Repeat([]byte{'x'}, payload)...)
	var ip []byte
	if src.Is4() {
		ip = make([]byte, 20)
		ip[0], ip[8], ip[9] = 0x45, 64, 6
		put16(ip[2:], uint16(20+len(h)))
		put16(ip[4:], uint16(len(m.frames)+1))
		copy(ip[12:], src.AsSlice())
		copy(ip[16:], dst.AsSlice())
	} else {
		ip = make([]byte, 40)
		ip[0], ip[6], ip[7] = 0x60, 6, 64
		put16(ip[4:], uint16(len(h)))
		copy(ip[8:], src.AsSlice())
		copy(ip[24:], dst.AsSlice())
	}
	data := slices.Concat(ip, h)
	m.frames = append(m.frames, capture.Frame{
		Time: captureStart + m.now, Number: uint64(len(m.frames) + 1), Link: capture.LinkRaw,
		Data: data, WireLen: uint32(len(data)),
	})
	m.now += 10_000_000
}

// talk adds a whole connection with one request and one reply; lose repeats the
// request, as after a loss.
func (m *madeCapture) talk(client, server string, port uint16, lose bool) {
	c, s := &madeSide{client, port, 1000}, &madeSide{server, 443, 5000}
	m.send(c, s, capture.SYN, 0)
	m.send(s, c, capture.SYN|capture.ACK, 0)
	m.send(c, s, capture.ACK, 0)
	m.send(c, s, capture.PSH|capture.ACK, 100)
	if lose {
		m.now += 300_000_000
		m.sendAt(c, s, c.seq-100, capture.PSH|capture.ACK, 100)
	}
	m.send(s, c, capture.PSH|capture.ACK, 1000)
	m.send(c, s, capture.FIN|capture.ACK, 0)
	m.send(s, c, capture.FIN|capture.ACK, 0)
	m.send(c, s, capture.ACK, 0)
}

// refuse adds an attempt that is answered by a RST.
func (m *madeCapture) refuse(client, server string, port uint16) {
	c, s := &madeSide{client, port, 1000}, &madeSide{server, 81, 0}
	m.send(c, s, capture.SYN, 0)
	m.send(s, c, capture.RST|capture.ACK, 0)
}

// bytes is the capture as a file.
func (m *madeCapture) bytes(tb testing.TB, format capture.Format) []byte {
	tb.Helper()
	var b bytes.Buffer
	w, err := capture.NewWriter(&b, capture.WriterOptions{Format: format, Interfaces: []capture.Interface{{Link: capture.LinkRaw, Name: "made0"}}})
	if err != nil {
		tb.Fatal(err)
	}
	for i := range m.frames {
		if err := w.Write(&m.frames[i], ""); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func (m *madeCapture) file(tb testing.TB, name string, format capture.Format) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(path, m.bytes(tb, format), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// threeConns is a capture of a clean connection, one with a loss, and a refused
// attempt over IPv6.
func threeConns() *madeCapture {
	var m madeCapture
	m.talk("192.0.2.1", "198.51.100.7", 40001, false)
	m.talk("192.0.2.1", "198.51.100.8", 40002, true)
	m.refuse("2001:db8::1", "2001:db8::2", 40003)
	return &m
}

// readFrames reads a capture back.
func readFrames(tb testing.TB, path string) (frames []capture.Frame, tuples []tcp.Tuple) {
	tb.Helper()
	r, err := capture.Open(path, capture.ReadOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Close()
	var f capture.Frame
	var s capture.Segment
	for r.Next(&f) == nil {
		if capture.Decode(&f, &s) != capture.TCP {
			tb.Fatalf("frame %d is no TCP", f.Number)
		}
		c := f
		c.Data = bytes.Clone(f.Data)
		frames, tuples = append(frames, c), append(tuples, s.Tuple)
	}
	return frames, tuples
}

func put16(b []byte, v uint16) { b[0], b[1] = byte(v>>8), byte(v) }

func put32(b []byte, v uint32) { put16(b, uint16(v>>16)); put16(b[2:], uint16(v)) }
