package capture

import "encoding/binary"

// checksumAdd adds the 16-bit words of b to the sum of the internet checksum
// (RFC 1071), an odd byte at the end as the upper half of a word.
func checksumAdd(sum uint64, b []byte) uint64 {
	for len(b) >= 8 {
		v := binary.BigEndian.Uint64(b)
		sum += v>>32 + v&0xffffffff
		b = b[8:]
	}
	for len(b) >= 2 {
		sum += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint64(b[0]) << 8
	}
	return sum
}

// checksumFold folds a sum into 16 bits. It is 0 only when all words were 0.
func checksumFold(sum uint64) uint16 {
	sum = sum>>32 + sum&0xffffffff
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// Verify checks the checksum of a decoded segment and sets BadChecksum in its
// Info when it is wrong. A segment that was not captured whole, or that ICMP
// quotes, is left as it is, and so are those of the capturing host's own that
// the network card was yet to finish: they look wrong.
func Verify(f *Frame, s *Segment) {
	length := int(s.HeaderLen) + int(s.Len)
	if s.Info&(InICMP|CutHeader|Fragment|BadLength) != 0 || len(s.Payload) != int(s.Len) {
		return
	}
	b := f.Data[s.TCPOffset:]
	if len(b) < length {
		return
	}
	var sum uint64
	if s.Tuple.Local.Is4() && s.Tuple.Remote.Is4() {
		sum = checksumAdd(checksumAdd(sum, s.Tuple.Local[12:]), s.Tuple.Remote[12:])
	} else {
		sum = checksumAdd(checksumAdd(sum, s.Tuple.Local[:]), s.Tuple.Remote[:])
	}
	sum += protoTCP + uint64(length)
	if checksumFold(checksumAdd(sum, b[:length])) != 0xffff {
		s.Info |= BadChecksum
	}
}
