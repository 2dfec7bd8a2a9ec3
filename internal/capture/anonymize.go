package capture

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// anonymizeKeySize is the length of a key, bytes.
const anonymizeKeySize = 32

// AnonymizeOptions are for NewAnonymizer.
type AnonymizeOptions struct {
	// Key of 32 bytes: the same key gives the same addresses, so that several
	// files match. A random one is made when it is nil.
	Key []byte
	// KeepPayload keeps what stands behind the headers. It is not rewritten:
	// addresses in DNS, HTTP and the like stay readable, and so does all else.
	KeepPayload bool
}

// Anonymizer replaces the addresses of frames by others: IP addresses so that
// common prefixes stay common (Crypto-PAn), in outer and inner headers of
// tunnels, in options, in what ICMP errors quote and in ARP; link layer
// addresses by a keyed hash, marked as locally administered. The internet
// checksums above them are adjusted: right ones stay right, wrong ones wrong.
// What stands behind the last header is cut off unless KeepPayload is set, and
// comments are dropped.
//
// It pseudonymises and does no more: who knows the key, or recognises a few
// addresses by their traffic, learns prefixes of others. Ports, times, lengths,
// VLANs, TCP timestamps and IP identifications are untouched. Authentication
// headers (AH) no longer verify.
//
// The unspecified and loopback addresses and the limited broadcast address stay
// as they are. It is used by one goroutine.
type Anonymizer struct {
	key  []byte
	keep bool
	pan  *cryptoPAn
	mac  cipher.Block

	buf   []byte
	seg   Segment
	trace trace
	sums  []coverage
}

// NewAnonymizer returns an anonymiser for all frames of one or more files.
func NewAnonymizer(o AnonymizeOptions) (*Anonymizer, error) {
	key := append([]byte(nil), o.Key...)
	if o.Key == nil {
		key = make([]byte, anonymizeKeySize)
		if _, err := rand.Read(key); err != nil {
			return nil, fmt.Errorf("anonymising: making a key: %w", err)
		}
	}
	pan, err := newCryptoPAn(key)
	if err != nil {
		return nil, err
	}
	derived := sha256.Sum256(append([]byte("link layer addresses"), key...))
	mac, err := aes.NewCipher(derived[:16])
	if err != nil {
		return nil, fmt.Errorf("anonymising: %w", err)
	}
	return &Anonymizer{key: key, keep: o.KeepPayload, pan: pan, mac: mac}, nil
}

// Key returns the key in use: with it other files can be made to match.
func (a *Anonymizer) Key() []byte { return append([]byte(nil), a.key...) }

// Addr returns what Frame makes of an address.
func (a *Anonymizer) Addr(addr tcp.Addr) tcp.Addr {
	if addr.Is4() {
		a.four(addr[12:])
	} else {
		a.six(addr[:])
	}
	return addr
}

// coverage is a checksum, and what it covers besides its own begin: the
// addresses of a pseudo header.
type coverage struct {
	start, end int // of the covered bytes
	field      int
	src, dst   int // of the pseudo header's addresses; 0 is none
	size       int // of either
	udp        bool
	want       uint16
}

// Frame replaces f.Data by an anonymised copy that is valid until the next
// call, and drops f.Comment. Lengths on the wire are kept.
func (a *Anonymizer) Frame(f *Frame) {
	a.buf = append(a.buf[:0], f.Data...)
	f.Data = a.buf
	f.Comment = ""
	keep := a.collect(f)
	for i := range a.sums {
		a.sums[i].want = a.sum(&a.sums[i])
	}
	a.rewrite(f.Link)
	// From the innermost out: an outer one covers the inner.
	for _, c := range slices.Backward(a.sums) {
		a.adjust(&c)
	}
	if !a.keep {
		f.Data = f.Data[:keep]
	}
}

// collect finds the headers and the checksums among them, and where the last
// header ends.
func (a *Anonymizer) collect(f *Frame) int {
	a.trace.n = 0
	reason := traceFrame(f, &a.seg, &a.trace)
	a.sums = a.sums[:0]
	var ip coverage // pseudo header of the last IP header
	for _, t := range a.trace.at[:a.trace.n] {
		a.cover(t, &ip)
	}
	return headersEnd(f, &a.seg, &a.trace, reason)
}

// traceFrame decodes a frame and keeps where its headers are.
func traceFrame(f *Frame, s *Segment, t *trace) Reason {
	*s = Segment{}
	w := walker{data: f.Data, end: wireEnd(f), link: f.Link, s: s, trace: t}
	reason := w.run(linkStep(f.Link))
	t.end = len(w.data)
	return reason
}

// HeadersOnly cuts f.Data behind the TCP header, or behind the last header that
// is known. The length on the wire is kept.
func HeadersOnly(f *Frame) {
	var (
		s Segment
		t trace
	)
	reason := traceFrame(f, &s, &t)
	f.Data = f.Data[:headersEnd(f, &s, &t, reason)]
}

// headersEnd is where the last known header ends.
func headersEnd(f *Frame, s *Segment, t *trace, reason Reason) int {
	if t.n == 0 {
		return 0
	}
	last := t.at[t.n-1]
	b := f.Data[last.off:max(t.end, last.off)]
	n := 0
	switch last.step {
	case stepTCP: // as far as it goes
		n = 20
		if reason == TCP {
			n = max(n, int(s.HeaderLen))
		}
		n = min(n, len(b))
	case stepEthernet:
		n = 14
	case stepVLAN:
		n = 4
	case stepUDP, stepICMP, stepICMPv6:
		n = 8
	case stepARP:
		if isARP(b) {
			n = 28
		}
	case stepIP, stepIPv4, stepIPv6:
		switch {
		case is4(b):
			n = max(20, int(b[0]&15)*4)
		case is6(b):
			n = 40
		}
	default: // nothing is needed of it
	}
	if n > len(b) {
		n = 0
	}
	return last.off + n
}

// is4 and is6 tell whether the fixed part of an IP header is there.
func is4(b []byte) bool { return len(b) >= 20 && b[0]>>4 == 4 }
func is6(b []byte) bool { return len(b) >= 40 && b[0]>>4 == 6 }

// isARP knows requests and replies for IPv4 on Ethernet and its like.
func isARP(b []byte) bool {
	return len(b) >= 28 && binary.BigEndian.Uint16(b[2:]) == etypeIPv4 && b[4] == 6 && b[5] == 4
}

// cover adds the checksum of a header, if it has one.
func (a *Anonymizer) cover(t traced, ip *coverage) {
	b := a.buf[t.off:]
	end := len(a.buf)
	add := func(field int, c coverage) {
		if t.off+field+2 <= end {
			c.start, c.end, c.field = t.off, end, t.off+field
			a.sums = append(a.sums, c)
		}
	}
	switch t.step {
	case stepIP, stepIPv4, stepIPv6:
		*ip = coverage{}
		switch {
		case t.step != stepIPv6 && is4(b):
			*ip = coverage{src: t.off + 12, dst: t.off + 16, size: 4}
			header := min(max(20, int(b[0]&15)*4), len(b))
			a.sums = append(a.sums, coverage{start: t.off, end: t.off + header, field: t.off + 10})
		case t.step != stepIPv4 && is6(b):
			*ip = coverage{src: t.off + 8, dst: t.off + 24, size: 16}
			a.eachRouting(t.off, false, func(_ int, final int) {
				if final > 0 {
					ip.dst = final
				}
			}, func(home int) { ip.src = home })
		}
	case stepTCP:
		add(16, *ip)
	case stepUDP:
		if len(b) >= 8 && binary.BigEndian.Uint16(b[6:]) != 0 {
			c := *ip
			c.udp = true
			add(6, c)
		}
	case stepICMP:
		add(2, coverage{})
	case stepICMPv6:
		add(2, *ip)
	case stepGRE:
		if len(b) >= 6 && b[0]&0x80 != 0 {
			add(4, coverage{})
		}
	default:
	}
}

// sum is the folded sum of all that changes under a checksum, and of what does
// not in between.
func (a *Anonymizer) sum(c *coverage) uint16 {
	sum := checksumAdd(0, a.buf[c.start:c.end])
	if c.size > 0 {
		sum = checksumAdd(sum, a.buf[c.src:c.src+c.size])
		sum = checksumAdd(sum, a.buf[c.dst:c.dst+c.size])
	}
	return checksumFold(sum)
}

// adjust changes a checksum so that the sum is what it was.
func (a *Anonymizer) adjust(c *coverage) {
	now := a.sum(c)
	if now == c.want {
		return
	}
	field := a.buf[c.field : c.field+2]
	// In one's complement, field + want - now.
	v := checksumFold(uint64(binary.BigEndian.Uint16(field)) + uint64(c.want) + uint64(^now))
	if v == 0 && c.udp { // 0 is no checksum
		v = 0xffff
	}
	binary.BigEndian.PutUint16(field, v)
}
