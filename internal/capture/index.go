package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sort"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// The index of a segment of recorded packets; docs/format.md describes it.
const (
	indexMagic   = "VTPI"
	indexVersion = 1
	indexHeader  = 64
	indexConn    = 64
	indexCRC     = 4
	keyLen       = 36

	offIndexSize    = 8
	offIndexFirst   = 16
	offIndexLast    = 24
	offIndexConns   = 32
	offIndexPackets = 36
	offIndexSample  = 40
	offIndexCutPkts = 44
	offIndexCutLen  = 48
	offIndexLost    = 56

	offConnPackets = 36
	offConnCut     = 40
	offConnStart   = 44
	offConnFirst   = 48
	offConnLast    = 56
)

// errIndex is wrapped by what is wrong with an index; it can be built again.
var errIndex = errors.New("broken index")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// connKey is a connection without a direction, in the order of the index.
type connKey [keyLen]byte

// keyOf returns the key of a tuple, and 1 if the tuple's local end is the second
// of the key, else 0.
func keyOf(t *tcp.Tuple) (k connKey, dir int) {
	a, b, pa, pb := &t.Local, &t.Remote, t.LocalPort, t.RemotePort
	if c := bytes.Compare(a[:], b[:]); c > 0 || c == 0 && pa > pb {
		a, b, pa, pb, dir = b, a, pb, pa, 1
	}
	copy(k[:16], a[:])
	copy(k[16:32], b[:])
	binary.BigEndian.PutUint16(k[32:], pa)
	binary.BigEndian.PutUint16(k[34:], pb)
	return k, dir
}

// tuple returns the connection as its first end sees it.
func (k *connKey) tuple() tcp.Tuple {
	return tcp.Tuple{
		Local: tcp.Addr(k[:16]), Remote: tcp.Addr(k[16:32]),
		LocalPort: binary.BigEndian.Uint16(k[32:]), RemotePort: binary.BigEndian.Uint16(k[34:]),
	}
}

// sampled tells whether a connection is one of the one in rate that are kept. It
// is the same at both ends, and on every host.
func (k *connKey) sampled(rate uint32) bool {
	if rate <= 1 {
		return true
	}
	h := uint64(fnvOffset)
	for _, b := range k {
		h = (h ^ uint64(b)) * fnvPrime
	}
	return (uint32(h>>32)^uint32(h))%rate == 0
}

// indexBuilder collects what the index of one segment will say.
type indexBuilder struct {
	conns   []builtConn
	packets []builtPacket
}

type builtConn struct {
	key         connKey
	packets     uint32
	cut         uint32
	first, last int64
}

type builtPacket struct {
	time int64
	conn uint32 // index into conns
	at   uint32 // offset in the segment, divided by 4
}

func (b *indexBuilder) reset() { b.conns, b.packets = b.conns[:0], b.packets[:0] }

// size is how long the index will be, bytes.
func (b *indexBuilder) size() int64 {
	return indexHeader + indexConn*int64(len(b.conns)) + 4*int64(len(b.packets)) + indexCRC
}

// add appends a connection and returns its number.
func (b *indexBuilder) add(k *connKey) uint32 {
	b.conns = append(b.conns, builtConn{key: *k})
	return uint32(len(b.conns) - 1)
}

// packet notes a packet of a connection. What it means for the connection is
// found out when all are there.
func (b *indexBuilder) packet(conn uint32, offset, at int64) {
	b.packets = append(b.packets, builtPacket{at, conn, uint32(offset / 4)})
}

// drop takes back all packets from number n on.
func (b *indexBuilder) drop(n int) { b.packets = b.packets[:n] }

// last is the time of the latest packet.
func (b *indexBuilder) last() int64 {
	var t int64
	for i := range b.packets {
		t = max(t, b.packets[i].time)
	}
	return t
}

// count fills in the packets and times of the connections.
func (b *indexBuilder) count() {
	for i := range b.conns {
		b.conns[i].packets = 0
	}
	for i := range b.packets {
		p := &b.packets[i]
		c := &b.conns[p.conn]
		if c.packets == 0 || p.time < c.first {
			c.first = p.time
		}
		if c.packets == 0 || p.time > c.last {
			c.last = p.time
		}
		c.packets++
	}
}

// indexMeta is what an index says about its segment as a whole.
type indexMeta struct {
	size   int64
	sample uint32
	cutoff Cutoff
	lost   uint64
}

// encode writes the index. A connection that was forgotten meanwhile and came
// back is there twice, and becomes one.
func (b *indexBuilder) encode(m indexMeta) []byte {
	b.count()
	order := make([]uint32, len(b.conns))
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(x, y uint32) int { return bytes.Compare(b.conns[x].key[:], b.conns[y].key[:]) })
	merged := make([]builtConn, 0, len(order))
	place := make([]uint32, len(order)) // of a connection in merged
	for _, i := range order {
		c := &b.conns[i]
		if n := len(merged); n > 0 && merged[n-1].key == c.key {
			merged[n-1].join(c)
		} else {
			merged = append(merged, *c)
		}
		place[i] = uint32(len(merged) - 1)
	}

	out := make([]byte, indexHeader+indexConn*len(merged)+4*len(b.packets)+indexCRC)
	le := binary.LittleEndian
	copy(out, indexMagic)
	out[4] = indexVersion
	le.PutUint64(out[offIndexSize:], uint64(m.size))
	le.PutUint32(out[offIndexConns:], uint32(len(merged)))
	le.PutUint32(out[offIndexPackets:], uint32(len(b.packets)))
	le.PutUint32(out[offIndexSample:], max(m.sample, 1))
	le.PutUint32(out[offIndexCutPkts:], m.cutoff.Packets)
	le.PutUint64(out[offIndexCutLen:], m.cutoff.Bytes)
	le.PutUint64(out[offIndexLost:], m.lost)
	var first, last int64
	start, found := uint32(0), false
	next := make([]uint32, len(merged)) // where each connection's next offset goes
	for i := range merged {
		c, e := &merged[i], out[indexHeader+indexConn*i:]
		copy(e, c.key[:])
		le.PutUint32(e[offConnPackets:], c.packets)
		le.PutUint32(e[offConnCut:], c.cut)
		le.PutUint32(e[offConnStart:], start)
		if c.packets > 0 {
			le.PutUint64(e[offConnFirst:], uint64(c.first))
			le.PutUint64(e[offConnLast:], uint64(c.last))
			if !found || c.first < first {
				first = c.first
			}
			if !found || c.last > last {
				last = c.last
			}
			found = true
		}
		next[i] = start
		start += c.packets
	}
	le.PutUint64(out[offIndexFirst:], uint64(first))
	le.PutUint64(out[offIndexLast:], uint64(last))
	offsets := out[indexHeader+indexConn*len(merged):]
	for _, p := range b.packets { // they ascend, and so does each list
		i := place[p.conn]
		le.PutUint32(offsets[4*next[i]:], p.at)
		next[i]++
	}
	body := len(out) - indexCRC
	le.PutUint32(out[body:], crc32.Checksum(out[:body], castagnoli))
	return out
}

func (c *builtConn) join(d *builtConn) {
	if d.packets > 0 {
		if c.packets == 0 || d.first < c.first {
			c.first = d.first
		}
		if c.packets == 0 || d.last > c.last {
			c.last = d.last
		}
	}
	c.packets += d.packets
	c.cut += d.cut
}

// segmentIndex is an index that was read and checked.
type segmentIndex struct {
	indexMeta
	first, last int64
	conns       []byte // count × indexConn
	offsets     []byte // count × 4
}

// parseIndex checks an index whole, so that whatever is read from it later is in
// range.
func parseIndex(b []byte) (*segmentIndex, error) {
	le := binary.LittleEndian
	if len(b) < indexHeader+indexCRC || string(b[:4]) != indexMagic {
		return nil, fmt.Errorf("%w: no index of recorded packets", errIndex)
	}
	if b[4] != indexVersion {
		return nil, fmt.Errorf("index of recorded packets: version %d is not known", b[4])
	}
	body := len(b) - indexCRC
	if crc32.Checksum(b[:body], castagnoli) != le.Uint32(b[body:]) {
		return nil, fmt.Errorf("%w: the checksum is wrong", errIndex)
	}
	conns, packets := uint64(le.Uint32(b[offIndexConns:])), uint64(le.Uint32(b[offIndexPackets:]))
	if indexHeader+indexConn*conns+4*packets != uint64(body) {
		return nil, fmt.Errorf("%w: %d connections and %d packets in %d bytes", errIndex, conns, packets, len(b))
	}
	x := &segmentIndex{
		indexMeta: indexMeta{
			size: int64(le.Uint64(b[offIndexSize:])), sample: le.Uint32(b[offIndexSample:]),
			cutoff: Cutoff{Packets: le.Uint32(b[offIndexCutPkts:]), Bytes: le.Uint64(b[offIndexCutLen:])},
			lost:   le.Uint64(b[offIndexLost:]),
		},
		first: int64(le.Uint64(b[offIndexFirst:])), last: int64(le.Uint64(b[offIndexLast:])),
		conns:   b[indexHeader : indexHeader+indexConn*conns],
		offsets: b[indexHeader+indexConn*conns : body],
	}
	if x.size < 0 {
		return nil, fmt.Errorf("%w: a segment of %d bytes", errIndex, x.size)
	}
	start := uint64(0)
	for i := range x.count() {
		e := x.entry(i)
		if i > 0 && bytes.Compare(x.entry(i - 1)[:keyLen], e[:keyLen]) >= 0 {
			return nil, fmt.Errorf("%w: connection %d is out of order", errIndex, i)
		}
		n := uint64(le.Uint32(e[offConnPackets:]))
		if uint64(le.Uint32(e[offConnStart:])) != start || start+n > packets {
			return nil, fmt.Errorf("%w: the packets of connection %d", errIndex, i)
		}
		for j := start; j < start+n; j++ {
			if at := x.offset(int(j)); at >= x.size || j > start && at <= x.offset(int(j-1)) {
				return nil, fmt.Errorf("%w: a packet of connection %d at offset %d", errIndex, i, at)
			}
		}
		start += n
	}
	if start != packets {
		return nil, fmt.Errorf("%w: %d of %d packets belong to connections", errIndex, start, packets)
	}
	return x, nil
}

func (x *segmentIndex) count() int { return len(x.conns) / indexConn }

func (x *segmentIndex) packets() int { return len(x.offsets) / 4 }

func (x *segmentIndex) entry(i int) []byte { return x.conns[i*indexConn : (i+1)*indexConn] }

func (x *segmentIndex) offset(i int) int64 {
	return int64(binary.LittleEndian.Uint32(x.offsets[4*i:])) * 4
}

// find returns the number of a connection.
func (x *segmentIndex) find(k *connKey) (int, bool) {
	i := sort.Search(x.count(), func(i int) bool { return bytes.Compare(x.entry(i)[:keyLen], k[:]) >= 0 })
	return i, i < x.count() && connKey(x.entry(i)[:keyLen]) == *k
}

// conn returns what the index says of a connection.
func (x *segmentIndex) conn(i int) builtConn {
	e, le := x.entry(i), binary.LittleEndian
	return builtConn{
		key: connKey(e[:keyLen]), packets: le.Uint32(e[offConnPackets:]), cut: le.Uint32(e[offConnCut:]),
		first: int64(le.Uint64(e[offConnFirst:])), last: int64(le.Uint64(e[offConnLast:])),
	}
}

// appendOffsets appends where the packets of a connection are.
func (x *segmentIndex) appendOffsets(dst []int64, i int) []int64 {
	e, le := x.entry(i), binary.LittleEndian
	start, n := int(le.Uint32(e[offConnStart:])), int(le.Uint32(e[offConnPackets:]))
	for j := start; j < start+n; j++ {
		dst = append(dst, x.offset(j))
	}
	return dst
}
