package capture

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// trafficFile is a pcap of n packets of 654 bytes on average, data and bare
// ACKs.
func trafficFile(n int) []byte {
	data := segmentSpec{source: 40000, dest: 443, flags: ACK, options: plain.options, payload: make([]byte, 1148)}
	frames := make([][]byte, n)
	for i := range frames {
		s := data
		s.seq = i * 1000
		if i%2 == 1 {
			s.payload = nil
		}
		frames[i] = ether(0x0800, ip4(protoTCP, s.bytes()))
	}
	return pcapFile(LinkEthernet, frames...)
}

func readDecode(tb testing.TB, r *Reader, f *Frame, s *Segment) int {
	tb.Helper()
	n := 0
	for {
		if err := r.Next(f); err != nil {
			if !errors.Is(err, io.EOF) {
				tb.Fatal(err)
			}
			return n
		}
		if Decode(f, s) != TCP {
			tb.Fatal("not TCP")
		}
		n++
	}
}

func BenchmarkReadDecode(b *testing.B) {
	const packets = 100_000
	ng := bytes.NewBuffer(nil)
	w, err := NewWriter(ng, WriterOptions{Interfaces: testInterfaces()})
	if err != nil {
		b.Fatal(err)
	}
	file := trafficFile(packets)
	for _, f := range readAll(b, openBytes(b, file)) {
		if err := w.Write(&f, ""); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	for _, bb := range []struct {
		name string
		file []byte
	}{{"pcap", file}, {"pcapng", ng.Bytes()}} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(bb.file)))
			var f Frame
			var s Segment
			for b.Loop() {
				if n := readDecode(b, openBytes(b, bb.file), &f, &s); n != packets {
					b.Fatalf("%d packets", n)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/packets, "ns/packet")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	vxlan := ether(0x0800, ip4(protoUDP, udp(4789, join("\x08\x00\x00\x00\x00\x00\x07\x00", ether(0x0800, segment4())))))
	for _, bb := range []struct {
		name string
		data []byte
	}{{"ipv4", ether(0x0800, segment4())}, {"ipv6", ether(0x86dd, segment6())}, {"vxlan", vxlan}} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			f := Frame{Link: LinkEthernet, Data: bb.data, WireLen: uint32(len(bb.data))}
			var s Segment
			for b.Loop() {
				if Decode(&f, &s) != TCP {
					b.Fatal("not TCP")
				}
			}
		})
	}
}

func BenchmarkWrite(b *testing.B) {
	b.ReportAllocs()
	w, err := NewWriter(io.Discard, WriterOptions{Interfaces: testInterfaces()})
	if err != nil {
		b.Fatal(err)
	}
	f := testFrames()[0]
	for b.Loop() {
		if err := w.Write(&f, "process curl"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAnonymize(b *testing.B) {
	b.ReportAllocs()
	a, err := NewAnonymizer(AnonymizeOptions{Key: panKey})
	if err != nil {
		b.Fatal(err)
	}
	data := ether(0x0800, segment4())
	for b.Loop() {
		f := Frame{Link: LinkEthernet, Data: data, WireLen: uint32(len(data))}
		a.Frame(&f)
	}
}

// TestAllocs holds the promise of the hot paths.
func TestAllocs(t *testing.T) {
	file := trafficFile(2000)
	ng := writeNG(t)
	all := encapsulations()
	var f Frame
	var s Segment
	if n := testing.AllocsPerRun(10, func() {
		for _, e := range all {
			f = Frame{Link: e.link, Data: e.data, WireLen: uint32(len(e.data))}
			Decode(&f, &s)
		}
	}); n != 0 {
		t.Errorf("Decode of every encapsulation: %v allocations", n)
	}
	r := openBytes(t, file)
	if n := testing.AllocsPerRun(1000, func() {
		if r.Next(&f) != nil || Decode(&f, &s) != TCP {
			t.Fatal("not TCP")
		}
	}); n != 0 {
		t.Errorf("Next and Decode: %v allocations", n)
	}
	w, err := NewWriter(io.Discard, WriterOptions{Interfaces: testInterfaces()})
	if err != nil {
		t.Fatal(err)
	}
	f = readAll(t, openBytes(t, ng))[0]
	if n := testing.AllocsPerRun(1000, func() { _ = w.Write(&f, "process curl") }); n != 0 {
		t.Errorf("Write: %v allocations", n)
	}
}
