package capture

import "testing"

// badChecksum reports whether the checksum of a decoded segment is wrong. Of one that
// was not captured whole, or that ICMP quotes, it is not known.
func badChecksum(f *Frame, s *Segment) bool {
	length := int(s.HeaderLen) + int(s.Len)
	if s.Info&(InICMP|CutHeader|Fragment|BadLength) != 0 || len(s.Payload) != int(s.Len) {
		return false
	}
	b := f.Data[s.TCPOffset:]
	if len(b) < length {
		return false
	}
	var sum uint64
	if s.Tuple.Local.Is4() && s.Tuple.Remote.Is4() {
		sum = checksumAdd(checksumAdd(sum, s.Tuple.Local[12:]), s.Tuple.Remote[12:])
	} else {
		sum = checksumAdd(checksumAdd(sum, s.Tuple.Local[:]), s.Tuple.Remote[:])
	}
	sum += protoTCP + uint64(length)
	return checksumFold(checksumAdd(sum, b[:length])) != 0xffff
}

func TestChecksum(t *testing.T) {
	for _, data := range [][]byte{segment4(), segment6()} {
		f := Frame{Link: LinkRaw, Data: append([]byte(nil), data...), WireLen: uint32(len(data))}
		var s Segment
		Decode(&f, &s)
		if badChecksum(&f, &s) {
			t.Error("a right checksum is called wrong")
		}
		f.Data[len(data)-1]++
		if !badChecksum(&f, &s) {
			t.Error("a wrong checksum is not seen")
		}
	}
}
