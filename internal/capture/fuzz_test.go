package capture

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// linkTypes are all that Decode begins with, and one that it does not know.
func linkTypes() []LinkType {
	list := []LinkType{147}
	for l := range LinkType(300) {
		if linkStep(l) != stepLink {
			list = append(list, l)
			continue
		}
		w := walker{link: l, s: new(Segment)}
		if w.linkHeader() != stop(UnknownLink) {
			list = append(list, l)
		}
	}
	return list
}

func FuzzReader(f *testing.F) {
	f.Add(writeNG(f))
	f.Add(pcapFile(LinkEthernet, ether(0x0800, segment4()), segment6()))
	for _, b := range bombs(f) {
		if len(b.file) < 4096 {
			f.Add(b.file)
		}
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := NewReader(bytes.NewReader(file), ReadOptions{MaxBytes: 1 << 24})
		var frame Frame
		var s Segment
		var out bytes.Buffer
		var last int64
		for n := uint64(1); err == nil; n++ {
			if err = r.Next(&frame); err != nil {
				break
			}
			if frame.Number != n || len(frame.Data) > MaxFrame {
				t.Fatalf("frame %d: number %d, %d bytes", n, frame.Number, len(frame.Data))
			}
			if int(frame.Interface) >= len(r.Interfaces()) || r.Interfaces()[frame.Interface].Link != frame.Link {
				t.Fatalf("frame %d: interface %d of %d", n, frame.Interface, len(r.Interfaces()))
			}
			if r.offset() < last || r.Offset() > int64(len(file)) {
				t.Fatalf("frame %d: offset %d after %d", n, r.offset(), last)
			}
			last = r.offset()
			Decode(&frame, &s)
			// What was read can be written, and is then the same.
			out.Reset()
			w, err := NewWriter(&out, WriterOptions{Interfaces: []Interface{{Link: frame.Link}}})
			if err != nil {
				t.Fatal(err)
			}
			frame.Interface = 0
			if err := errors.Join(w.Write(&frame, ""), w.Flush()); err != nil {
				t.Fatal(err)
			}
			again := readAll(t, openBytes(t, out.Bytes()))[0]
			if again.Time != frame.Time || again.WireLen != frame.WireLen || again.Way != frame.Way || !bytes.Equal(again.Data, frame.Data) {
				t.Fatalf("written and read: %+v, was %+v", again, frame)
			}
		}
		var format *FormatError
		if !errors.Is(err, io.EOF) && !errors.As(err, &format) {
			t.Fatalf("not a FormatError: %v", err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, e := range encapsulations() {
		f.Add(uint16(e.link), uint32(len(e.data)), e.data)
		f.Add(uint16(e.link), uint32(0), e.data[:len(e.data)/2])
	}
	links := linkTypes()
	f.Fuzz(func(t *testing.T, link uint16, wire uint32, data []byte) {
		decode := func(l LinkType) {
			frame := Frame{Time: 1, Number: 2, Link: l, Data: data, WireLen: wire}
			var s Segment
			r := Decode(&frame, &s)
			if r >= NumReasons {
				t.Fatalf("%v: reason %d", l, r)
			}
			if r != TCP {
				return
			}
			// What is told about the segment lies in the frame.
			at := int(s.TCPOffset)
			if at > len(data) || s.Info&InICMP == 0 && len(data)-at < tcpLeast {
				t.Fatalf("%v: TCP at %d of %d", l, at, len(data))
			}
			if s.Info&CutHeader == 0 && s.Info&BadLength == 0 && at+int(s.HeaderLen)+len(s.Payload) > len(data) {
				t.Fatalf("%v: %d bytes of payload behind %d of %d", l, len(s.Payload), at+int(s.HeaderLen), len(data))
			}
			if len(s.Payload) > int(s.Len) {
				t.Fatalf("%v: %d bytes of payload of %d", l, len(s.Payload), s.Len)
			}
			_ = badChecksum(&frame, &s)
			HeadersOnly(&frame)
			var cut Segment
			if r := Decode(&frame, &cut); r != TCP || cut.Seq != s.Seq || cut.Tuple != s.Tuple || len(cut.Payload) > 0 {
				t.Fatalf("%v: without payload %v: %+v, was %+v", l, r, cut, s)
			}
		}
		decode(LinkType(link))
		decode(links[int(link)%len(links)])
	})
}

func FuzzAnonymize(f *testing.F) {
	for _, e := range encapsulations() {
		f.Add(uint16(e.link), e.data)
		f.Add(uint16(e.link), e.data[:len(e.data)*2/3])
	}
	links := linkTypes()
	whole, err := NewAnonymizer(AnonymizeOptions{Key: panKey, KeepPayload: true})
	if err != nil {
		f.Fatal(err)
	}
	cut, err := NewAnonymizer(AnonymizeOptions{Key: panKey})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, link uint16, data []byte) {
		l := LinkType(link)
		if linkStep(l) == stepLink {
			l = links[int(link)%len(links)]
		}
		before := Frame{Link: l, Data: data, WireLen: uint32(len(data))}
		after, short := before, before
		whole.Frame(&after)
		cut.Frame(&short)
		if len(after.Data) != len(data) || len(short.Data) > len(data) {
			t.Fatalf("%v: %d bytes became %d and %d", l, len(data), len(after.Data), len(short.Data))
		}
		if !bytes.HasPrefix(after.Data, short.Data) {
			t.Fatalf("%v: with and without payload differ", l)
		}
		var was, is Segment
		if Decode(&before, &was) != TCP {
			return
		}
		if r := Decode(&after, &is); r != TCP {
			t.Fatalf("%v: TCP became %v", l, r)
		}
		if badChecksum(&before, &was) != badChecksum(&after, &is) {
			t.Fatalf("%v: only one of the checksums is right: %+v became %+v", l, was, is)
		}
		if was.Info != is.Info || was.Seq != is.Seq || was.Tuple.RemotePort != is.Tuple.RemotePort {
			t.Fatalf("%v: %+v became %+v", l, was, is)
		}
	})
}
