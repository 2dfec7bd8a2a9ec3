package tcp

import (
	"encoding/binary"
	"hash/fnv"
	"math/bits"
)

// ID names one connection for the life of a store. It is derived, not drawn:
// the same socket gets the same ID from every source that knows its cookie, in
// every process and after a restart. 0 is no ID.
type ID uint64

// idAlphabet is the extended hex alphabet of RFC 4648, section 7, in lower case.
const idAlphabet = "0123456789abcdefghijklmnopqrstuv"

// idLen is the length of the text form: the letter c and 13 digits of 5 bits.
const idLen = 14

// AppendTo appends the text form: "c" and 13 characters of base32hex.
func (id ID) AppendTo(b []byte) []byte {
	b = append(b, 'c')
	for shift := 60; shift >= 0; shift -= 5 {
		b = append(b, idAlphabet[id>>shift&31])
	}
	return b
}

func (id ID) String() string { return string(id.AppendTo(make([]byte, 0, idLen))) }

// ParseID parses the text form; ok is false when s does not have that shape.
func ParseID(s string) (id ID, ok bool) {
	if len(s) != idLen || s[0] != 'c' {
		return 0, false
	}
	for i := 1; i < idLen; i++ {
		var d byte
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			d = c - '0'
		case c >= 'a' && c <= 'v':
			d = c - 'a' + 10
		default:
			return 0, false
		}
		if i == 1 && d > 15 { // 13 digits hold 65 bits, an ID has 64
			return 0, false
		}
		id = id<<5 | ID(d)
	}
	return id, true
}

// IDs derives IDs for the sockets of one boot of one host, or for the connections
// that one observer saw.
type IDs struct{ seed uint64 }

// NewIDs returns the deriver for a boot, named by
// /proc/sys/kernel/random/boot_id, or for an observer: the digest of a capture
// file, or the name of who captures.
func NewIDs(origin string) IDs {
	h := fnv.New64a()
	_, _ = h.Write([]byte(origin))
	return IDs{seed: h.Sum64()}
}

// Socket derives the ID of a socket from its kernel cookie, which is never
// reused during a boot.
func (s IDs) Socket(netns uint32, cookie uint64) ID {
	return nonZero(mix(mix(s.seed, uint64(netns)), cookie))
}

// Again derives the ID of a later connection of a socket whose first one has the
// given ID; opened is the boot time of its SYN.
func (s IDs) Again(id ID, opened int64) ID { return nonZero(mix(uint64(id), uint64(opened))) }

// Unstable derives an ID where the source has no cookie (procfs): the tuple and
// inode of a socket may come back, so such an ID does not outlive the program.
func (s IDs) Unstable(k Key, inode uint32) ID {
	return nonZero(mixTuple(mix(s.seed, uint64(k.NetNS)<<32|uint64(inode)), &k.Tuple))
}

// Packets derives the ID of a connection that is known from packets alone. t has
// the initiator as Local, whichever end is the local one: the choice of local
// networks does not change IDs. first is the time of its first packet,
// nanoseconds since 1970.
func (s IDs) Packets(t Tuple, first int64) ID {
	return nonZero(mixTuple(mix(s.seed, uint64(first)), &t))
}

func mixTuple(h uint64, t *Tuple) uint64 {
	for _, a := range [2]Addr{t.Local, t.Remote} {
		h = mix(h, binary.LittleEndian.Uint64(a[:8]))
		h = mix(h, binary.LittleEndian.Uint64(a[8:]))
	}
	return mix(h, uint64(t.LocalPort)<<16|uint64(t.RemotePort))
}

func nonZero(h uint64) ID {
	if h == 0 {
		return 1
	}
	return ID(h)
}

// mix folds v into h by a 128-bit multiplication; for a fixed h it is a
// bijection followed by a fold, so distinct cookies collide as rarely as random
// 64-bit numbers do.
func mix(h, v uint64) uint64 {
	hi, lo := bits.Mul64(h^v^0x9e3779b97f4a7c15, 0xd6e8feb86659fd93)
	hi2, lo2 := bits.Mul64(hi^lo^v, 0xff51afd7ed558ccd)
	return hi2 ^ lo2 ^ h<<1
}
