package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

// ringBlockOf lays frames out as the kernel does.
func ringBlockOf(frames ...[]byte) []byte {
	const room = 32 // between headers and frame
	put32 := binary.NativeEndian.PutUint32
	mem := make([]byte, blockHeader)
	for i, f := range frames {
		h := make([]byte, pktAllHeaders+room)
		put32(h[offPktSec:], 1)
		put32(h[offPktNsec:], uint32(i))
		put32(h[offPktSnaplen:], uint32(len(f)))
		put32(h[offPktLen:], uint32(len(f)+i))
		binary.NativeEndian.PutUint16(h[offPktMAC:], uint16(len(h)))
		binary.BigEndian.PutUint16(h[offSLLProtocol:], etypeIPv4)
		put32(h[offSLLIndex:], 3)
		binary.NativeEndian.PutUint16(h[offSLLHardware:], 1)
		h[offSLLType], h[offSLLAddrLen] = pktTypeOutgoing, 6
		copy(h[offSLLAddr:], "\x02\x00\x00\x00\x00\x01")
		put32(h[offPktStatus:], statusVLAN|statusVLANTPID)
		put32(h[offPktVLANTCI:], 7)
		binary.NativeEndian.PutUint16(h[offPktVLANTID:], etypeQinQ)
		h = append(h, f...)
		for len(h)%8 != 0 {
			h = append(h, 0)
		}
		put32(h, uint32(len(h)))
		mem = append(mem, h...)
	}
	put32(mem, blockVersion)
	put32(mem[offBlockPackets:], uint32(len(frames)))
	put32(mem[offBlockFirst:], blockHeader)
	put32(mem[offBlockLen:], uint32(len(mem)))
	return mem
}

// walkRing reads a block to its end.
func walkRing(mem []byte, link LinkType, each func(*Frame)) error {
	b, err := openBlock(mem)
	if err != nil {
		return err
	}
	for {
		var rf ringFrame
		ok, err := b.head(&rf)
		if err != nil || !ok {
			return err
		}
		var f Frame
		if err := rf.fill(&f, link); err != nil {
			return err
		}
		each(&f)
		if err := b.skip(); err != nil {
			return err
		}
	}
}

func TestRingFill(t *testing.T) {
	frame := []byte("abcdefABCDEF\x08\x00rest")
	for _, tt := range []struct {
		link LinkType
		want string
	}{
		{LinkEthernet, "abcdefABCDEF\x88\xa8\x00\x07\x08\x00rest"},
		{LinkRaw, "abcdefABCDEF\x08\x00rest"},
		{LinkLinuxSLL2, "\x88\xa8\x00\x00\x00\x00\x00\x03\x00\x01\x04\x06\x02\x00\x00\x00\x00\x01\x00\x00\x00\x07\x08\x00abcdefABCDEF\x08\x00rest"},
	} {
		var got []Frame
		if err := walkRing(ringBlockOf(frame, frame), tt.link, func(f *Frame) {
			g := *f
			g.Data = bytes.Clone(f.Data)
			got = append(got, g)
		}); err != nil {
			t.Fatal(err)
		}
		if len(got) != 2 || string(got[1].Data) != tt.want || got[1].WireLen != uint32(len(tt.want)+1) ||
			got[1].Time != nanosecondsPerSec+1 || got[1].Way != WayOut || got[1].Link != tt.link {
			t.Errorf("%v: %+v", tt.link, got)
		}
	}
}

func TestRingBroken(t *testing.T) {
	put := func(off int, v uint32) func([]byte) {
		return func(b []byte) { binary.NativeEndian.PutUint32(b[off:], v) }
	}
	const first = blockHeader
	for name, change := range map[string]func([]byte){
		"version":         put(offBlockVersion, 1),
		"first before":    put(offBlockFirst, 8),
		"first beyond":    put(offBlockFirst, 1<<20),
		"next backwards":  put(first+offPktNext, 1),
		"next beyond":     put(first+offPktNext, 1<<31),
		"frame beyond":    put(first+offPktSnaplen, 1<<31),
		"frame too early": func(b []byte) { binary.NativeEndian.PutUint16(b[first+offPktMAC:], 20) },
		"no room":         func(b []byte) { binary.NativeEndian.PutUint16(b[first+offPktMAC:], pktAllHeaders) },
		"too many":        put(offBlockPackets, 9),
	} {
		mem := ringBlockOf([]byte("abcdefABCDEF\x08\x00rest"), []byte("abcdefABCDEF\x08\x00"))
		change(mem)
		if err := walkRing(mem, LinkLinuxSLL2, func(*Frame) {}); !errors.Is(err, errRing) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzRing(f *testing.F) {
	f.Add(ringBlockOf([]byte("abcdefABCDEF\x08\x00rest"), nil, []byte("x")))
	f.Fuzz(func(t *testing.T, mem []byte) {
		for _, link := range []LinkType{LinkEthernet, LinkRaw, LinkLinuxSLL2} {
			n := 0
			_ = walkRing(bytes.Clone(mem), link, func(*Frame) { n++ })
			if n > len(mem)/pktAllHeaders {
				t.Fatalf("%d frames in %d bytes", n, len(mem))
			}
		}
	})
}
