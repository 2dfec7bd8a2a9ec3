package capture

import (
	"encoding/binary"
	"slices"
)

// Bounds of a Reassembler. Together they keep it within 32 MiB, whatever comes.
const (
	maxFragmented = 512    // IP packets that wait for the rest of them
	maxPieces     = 64     // of one packet, not counting those that touch
	maxPacket     = 65_535 // bytes behind the IP header
	// fragmentWait is how long a packet waits, in the time of the capture:
	// identifications come again.
	fragmentWait = 30_000_000_000
)

// Reassembler decodes frames as Decode does, and puts fragments of IP packets
// together first, at any depth of tunnels: the segment is then found in the
// frame that completes it, as in Wireshark. It is used by one goroutine; the
// zero value is ready.
//
// Fragments that were not captured whole cannot be put together: of those the
// first one is decoded alone.
type Reassembler struct {
	index  map[fragmentKey]int // into slots
	slots  []fragmented
	next   int // slot to use next, and so the oldest
	packet []byte
}

// fragmentKey names the packet that a fragment is of (RFC 791, section 2.3).
type fragmentKey struct {
	src, dst [16]byte
	id       uint32
	proto    byte
	six      bool
	vlan     uint16
}

// fragmented is a packet of which fragments have come.
type fragmented struct {
	key    fragmentKey
	used   bool
	time   int64
	header []byte // of the first fragment, from the IP header to the payload
	at     int    // of an IPv6 fragment header in it
	data   []byte
	pieces []piece // in order, not touching
	total  int     // length of the payload; 0 until the last fragment has come
}

type piece struct{ from, to int }

// fragment is where an IP packet in a frame is one.
type fragment struct {
	ip, header, payload int // offsets of the IP header, of an IPv6 fragment header, of the payload
	end                 int // where the payload ends on the wire
	offset              int // of the payload in the packet
	id                  uint32
	proto               byte
	more, six           bool
}

// Decode is like the function, and returns LaterFragment for every fragment but
// the one that completes its packet. A segment that was put together has
// Reassembled set in its Info: its payload is valid until the next call, and its
// TCPOffset is not one in f.
func (r *Reassembler) Decode(f *Frame, s *Segment) Reason {
	*s = Segment{Time: f.Time, Number: f.Number, WireLen: f.WireLen, CapLen: uint32(len(f.Data))}
	w := walker{data: f.Data, end: wireEnd(f), link: f.Link, s: s}
	reason := w.run(linkStep(f.Link))
	if w.frag.payload == 0 {
		return reason
	}
	g := w.frag
	if g.end > len(f.Data) || g.end <= g.payload || g.offset+g.end-g.payload > maxPacket {
		return reason
	}
	whole := r.add(f, &g, s.VLAN)
	if whole == nil {
		return LaterFragment
	}
	// What stands before the IP header tells lengths of the fragment's own frame.
	outer, vlan := s.Info&(HasVLAN|Tunneled), s.VLAN
	reason = Decode(&Frame{Time: f.Time, Number: f.Number, Link: LinkRaw, Data: whole, WireLen: uint32(len(whole))}, s)
	s.WireLen, s.CapLen = f.WireLen, uint32(len(f.Data))
	if s.Info&HasVLAN == 0 {
		s.VLAN = vlan
	}
	s.Info |= Reassembled | outer
	return reason
}

// add keeps a fragment, and returns the packet when it is whole.
func (r *Reassembler) add(f *Frame, g *fragment, vlan uint16) []byte {
	p := r.find(f, g, vlan)
	from, to := g.offset, g.offset+g.end-g.payload
	if !g.more {
		p.total = to
	}
	if from == 0 {
		p.header = append(p.header[:0], f.Data[g.ip:g.payload]...)
		p.at = g.header - g.ip
	}
	if len(p.data) < to { // gaps are filled before it is used
		p.data = slices.Grow(p.data, to-len(p.data))[:to]
	}
	copy(p.data[from:], f.Data[g.payload:g.end])
	p.insert(piece{from, to})
	if p.total == 0 || len(p.pieces) != 1 || p.pieces[0].from != 0 || p.pieces[0].to < p.total {
		return nil
	}
	r.packet = p.append(r.packet[:0])
	r.drop(p)
	return r.packet
}

// find returns the packet of a fragment, a new one in the place of the oldest
// if there is none.
func (r *Reassembler) find(f *Frame, g *fragment, vlan uint16) *fragmented {
	if r.slots == nil {
		r.slots = make([]fragmented, maxFragmented)
		r.index = make(map[fragmentKey]int, maxFragmented)
	}
	key := fragmentKey{id: g.id, proto: g.proto, six: g.six, vlan: vlan}
	if ip := f.Data[g.ip:]; g.six {
		copy(key.src[:], ip[8:24])
		copy(key.dst[:], ip[24:40])
	} else {
		copy(key.src[:], ip[12:16])
		copy(key.dst[:], ip[16:20])
	}
	i, ok := r.index[key]
	if !ok {
		i = r.next
		r.next = (r.next + 1) % len(r.slots)
		r.drop(&r.slots[i])
		r.index[key] = i
	}
	p := &r.slots[i]
	if !ok || f.Time-p.time > fragmentWait {
		*p = fragmented{key: key, used: true, header: p.header[:0], data: p.data[:0], pieces: p.pieces[:0]}
	}
	p.time = f.Time
	return p
}

func (r *Reassembler) drop(p *fragmented) {
	if p.used {
		delete(r.index, p.key)
		p.used = false
	}
}

// insert adds a piece and joins it with those it touches. Beyond the bound it
// is lost, and the packet with it.
func (p *fragmented) insert(n piece) {
	i := 0
	for i < len(p.pieces) && p.pieces[i].to < n.from {
		i++
	}
	j := i
	for j < len(p.pieces) && p.pieces[j].from <= n.to {
		n.from, n.to = min(n.from, p.pieces[j].from), max(n.to, p.pieces[j].to)
		j++
	}
	if i == j {
		if len(p.pieces) == maxPieces {
			return
		}
		p.pieces = append(p.pieces, piece{})
		copy(p.pieces[i+1:], p.pieces[i:])
		p.pieces[i] = n
		return
	}
	p.pieces[i] = n
	p.pieces = append(p.pieces[:i+1], p.pieces[j:]...)
}

// append appends the packet as it would have come, had it been whole: with the
// header of its first fragment, but for lengths and fragment fields.
func (p *fragmented) append(b []byte) []byte {
	b = append(b, p.header...)
	b = append(b, p.data[:p.total]...)
	if b[0]>>4 == 6 {
		binary.BigEndian.PutUint16(b[4:], uint16(min(len(b)-40, maxPacket)))
		binary.BigEndian.PutUint16(b[p.at+2:], 0)
		return b
	}
	binary.BigEndian.PutUint16(b[2:], uint16(min(len(b), maxPacket)))
	b[6] &^= 0x3f
	b[7] = 0
	return b
}
