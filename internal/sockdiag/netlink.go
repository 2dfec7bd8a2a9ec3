package sockdiag

import (
	"encoding/binary"
	"errors"
	"syscall"
)

// Message framing of include/uapi/linux/netlink.h. All numbers are in the
// host's byte order.
const (
	nlHeaderLen   = 16
	nlAttrLen     = 4
	nlAlignment   = 4
	nlAttrType    = 0x3fff // NLA_TYPE_MASK
	nlError       = 2      // NLMSG_ERROR
	nlDone        = 3      // NLMSG_DONE
	nlOverrun     = 4      // NLMSG_OVERRUN
	nlRequest     = 0x1    // NLM_F_REQUEST
	nlAck         = 0x4    // NLM_F_ACK
	nlInterrupted = 0x10   // NLM_F_DUMP_INTR
	nlDump        = 0x300  // NLM_F_DUMP
)

// Errors of messages that are not what the headers promise.
var (
	errTruncated = errors.New("netlink message is cut short")
	errFamily    = errors.New("socket is neither AF_INET nor AF_INET6")
	errProtocol  = errors.New("socket is not TCP")
)

// nlHeader is struct nlmsghdr.
type nlHeader struct {
	typ, flags uint16
	seq, port  uint32
}

// cutMessage takes the first message off a datagram. body and rest share
// memory with b.
func cutMessage(b []byte) (h nlHeader, body, rest []byte, err error) {
	if len(b) < nlHeaderLen {
		return h, nil, nil, errTruncated
	}
	n := binary.NativeEndian.Uint32(b)
	if n < nlHeaderLen || uint64(n) > uint64(len(b)) {
		return h, nil, nil, errTruncated
	}
	h = nlHeader{
		typ:   binary.NativeEndian.Uint16(b[4:]),
		flags: binary.NativeEndian.Uint16(b[6:]),
		seq:   binary.NativeEndian.Uint32(b[8:]),
		port:  binary.NativeEndian.Uint32(b[12:]),
	}
	return h, b[nlHeaderLen:n], b[min(nlAlign(int(n)), len(b)):], nil
}

// cutAttribute takes the first attribute (struct nlattr) off b.
func cutAttribute(b []byte) (typ uint16, value, rest []byte, err error) {
	if len(b) < nlAttrLen {
		return 0, nil, nil, errTruncated
	}
	n := int(binary.NativeEndian.Uint16(b))
	if n < nlAttrLen || n > len(b) {
		return 0, nil, nil, errTruncated
	}
	typ = binary.NativeEndian.Uint16(b[2:]) & nlAttrType
	return typ, b[nlAttrLen:n], b[min(nlAlign(n), len(b)):], nil
}

func nlAlign(n int) int { return (n + nlAlignment - 1) &^ (nlAlignment - 1) }

// appendMessage appends a request with its header.
func appendMessage(b []byte, typ, flags uint16, seq uint32, body []byte) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(nlHeaderLen+len(body)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, flags)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = binary.NativeEndian.AppendUint32(b, 0)
	return append(b, body...)
}

// status is the errno of an NLMSG_ERROR message (0 acknowledges a request) or
// of the end of a dump, which old kernels leave out.
func status(typ uint16, body []byte) (syscall.Errno, error) {
	if len(body) < 4 {
		if typ == nlDone {
			return 0, nil
		}
		return 0, errTruncated
	}
	code := int32(binary.NativeEndian.Uint32(body))
	if code > 0 {
		return 0, nil // a dump may end with the length of its last message
	}
	return syscall.Errno(-int64(code)), nil
}
