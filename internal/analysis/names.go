package analysis

import (
	"bytes"
	"encoding/binary"
)

// Names are what the client called the other end by, in the first bytes that it
// sent. They are bytes from the wire, shown to nobody before being sanitized.
type Names struct {
	// SNI is the host name of the TLS ClientHello (RFC 6066, section 3).
	SNI string
	// ALPN is the list of protocols that the client offers, in its order, joined
	// by commas (RFC 7301, section 3.1).
	ALPN string
	// HTTPHost is the host of the first HTTP/1 request as sent, with its port if
	// there was one.
	HTTPHost string
	// ECH says that the ClientHello has an encrypted one inside: SNI is then the
	// name of who can decrypt it, or, where a client sends the extension as
	// grease, the real one. The two look the same on purpose (RFC 9849).
	ECH bool
}

const (
	// nameBytes is how much of the client's data may hold a name.
	nameBytes = 4 << 10
	// nameText is the most bytes of one name; longer ones are not taken. It is
	// what a domain name may have (RFC 1035, section 2.3.4).
	nameText = 255
	// nameReach is how far past a hole data may come before the hole counts as
	// lost for good: the largest window that a client can use at once.
	nameReach = 64 << 10
	// nameTries is how many segments may come without the stream getting on.
	nameTries = 64
	// nameIslands is how many pieces beyond a hole are kept.
	nameIslands = 4
)

// A nameReader takes the names out of what the client of one connection sends.
// Its zero value is ready. It holds memory only while the names are spread over
// several segments, at most nameBytes and for a bounded number of segments.
type nameReader struct {
	part *namePart
	done bool
}

// A namePart is the beginning of a stream of which more is needed.
type namePart struct {
	buf []byte // what came, with holes
	// have is how much is there without a hole; islands is what lies beyond it.
	have    int
	tries   int
	islands [nameIslands]span
}

// A span is the bytes from lo up to hi; empty is unused.
type span struct{ lo, hi int }

// add takes the payload of a segment of the client. rel is where it begins, in
// bytes from the first one that the client sent: the sequence number less that
// of the SYN, less 1. It may be what was seen before, begin before the first
// byte (as a keep-alive does), or leave a hole. done says that nothing more is
// to be learnt, whether or not there was a name; the payload of later segments
// need not be handed over. The payload is not kept.
//
// Where a connection is not seen from its start the caller may take the first
// payload seen for the beginning: what is no hello and no request gives no name.
func (r *nameReader) add(rel uint32, payload []byte, names *Names) (done bool) {
	if r.done || len(payload) == 0 {
		return r.done
	}
	at := int(int32(rel))
	if at < 0 {
		if at+len(payload) <= 0 {
			return false
		}
		payload, at = payload[-at:], 0
	}
	p := r.part
	if p == nil && at == 0 {
		first := payload[:min(len(payload), nameBytes)]
		want := min(readNames(first, names), nameBytes)
		if want <= len(first) {
			return r.finish()
		}
		r.part = &namePart{buf: append(make([]byte, 0, max(want, min(2*len(first), nameBytes))), first...), have: len(first)}
		return false
	}
	if p == nil {
		p = &namePart{}
		r.part = p
	}
	before := p.have
	if at < nameBytes {
		p.put(at, payload[:min(len(payload), nameBytes-at)])
	}
	if p.have > before {
		p.tries = 0
		if min(readNames(p.buf[:p.have], names), nameBytes) <= p.have {
			return r.finish()
		}
	} else {
		p.tries++
	}
	if p.tries >= nameTries || at >= p.have+nameReach {
		return r.finish()
	}
	return false
}

func (r *nameReader) finish() bool {
	r.part, r.done = nil, true
	return true
}

// put writes b at an offset. What already connects to the beginning stays as it
// came first.
func (p *namePart) put(at int, b []byte) {
	if at < p.have {
		if at+len(b) <= p.have {
			return
		}
		b, at = b[p.have-at:], p.have
	}
	end := at + len(b)
	if at > p.have && !p.keep(span{at, end}) {
		return
	}
	if end > len(p.buf) {
		if end > cap(p.buf) {
			p.buf = append(make([]byte, 0, min(nameBytes, 2*end)), p.buf...)
		}
		p.buf = p.buf[:end]
	}
	copy(p.buf[at:], b)
	if at > p.have {
		return
	}
	p.have = end
	for again := true; again; {
		again = false
		for i, s := range p.islands {
			if s.hi > 0 && s.lo <= p.have {
				p.have = max(p.have, s.hi)
				p.islands[i] = span{}
				again = true
			}
		}
	}
}

// keep remembers an island, joined with those it touches; false when there is
// no room for another.
func (p *namePart) keep(s span) bool {
	for i, o := range p.islands {
		if o.hi > 0 && s.lo <= o.hi && o.lo <= s.hi {
			s = span{min(s.lo, o.lo), max(s.hi, o.hi)}
			p.islands[i] = span{}
		}
	}
	for i, o := range p.islands {
		if o.hi == 0 {
			p.islands[i] = s
			return true
		}
	}
	return false
}

// readNames looks at the beginning of a stream and takes what names it has. It
// returns the length that the beginning must have before more can be found,
// which is no more than len(b) when all is found, or nothing will be.
func readNames(b []byte, names *Names) (want int) {
	skip, want := proxyHeader(b)
	if want > 0 {
		return want
	}
	if skip == len(b) {
		return skip + 1
	}
	rest := b[skip:]
	if rest[0] == recordHandshake {
		// What there is of a hello is read at once: the rest may be lost, cut
		// off by the capture, or beyond what is kept.
		var hello []byte
		hello, want = joinHello(rest)
		parseClientHello(hello, names)
	} else {
		var host []byte
		host, want = parseHTTPHost(rest)
		if len(host) > 0 && len(host) <= nameText {
			names.HTTPHost = string(host)
		}
	}
	if want == 0 {
		return 0
	}
	return skip + want
}

// The PROXY protocol of HAProxy, versions 1 and 2: what a balancer writes before
// the client's own bytes.
const (
	proxyV1     = "PROXY "
	proxyV1Max  = 107 // with its line end
	proxyV2     = "\r\n\r\n\x00\r\nQUIT\n"
	proxyV2Head = len(proxyV2) + 4
)

// proxyHeader returns the length of a PROXY header, 0 if there is none. want,
// unless 0, is the length needed to tell.
func proxyHeader(b []byte) (skip, want int) {
	for _, sign := range [2]string{proxyV1, proxyV2} {
		if n := min(len(b), len(sign)); string(b[:n]) != sign[:n] {
			continue
		} else if n < len(sign) {
			return 0, len(b) + 1
		}
		if sign == proxyV1 {
			i := bytes.IndexByte(b[:min(len(b), proxyV1Max)], '\n')
			switch {
			case i > 0:
				return i + 1, 0
			case len(b) < proxyV1Max:
				return 0, len(b) + 1
			}
			return 0, 0
		}
		if len(b) < proxyV2Head {
			return 0, proxyV2Head
		}
		n := proxyV2Head + int(binary.BigEndian.Uint16(b[proxyV2Head-2:]))
		if n > len(b) {
			return 0, n
		}
		return n, 0
	}
	return 0, 0
}
