package sockdiag

import (
	"encoding/binary"
)

// Requests for the ids by which one network namespace knows others
// (include/uapi/linux/net_namespace.h, include/uapi/linux/rtnetlink.h).
const (
	rtmNewNSID  = 88 // RTM_NEWNSID
	rtmGetNSID  = 90 // RTM_GETNSID
	netnsaNSID  = 1  // NETNSA_NSID
	netnsaFD    = 3  // NETNSA_FD
	noNSID      = -1 // NETNSA_NSID_NOT_ASSIGNED; in a request: any that is free
	rtGenMsgLen = 4  // struct rtgenmsg, padded
)

// appendNSIDGet appends the body of a request for the id of the namespace that
// fd is open on.
func appendNSIDGet(b []byte, fd int) []byte {
	b = append(b, make([]byte, rtGenMsgLen)...) // AF_UNSPEC
	return appendAttribute32(b, netnsaFD, uint32(fd))
}

// appendNSIDNew appends the body of a request that gives the namespace a free
// id.
func appendNSIDNew(b []byte, fd int) []byte {
	b = appendNSIDGet(b, fd)
	free := int32(noNSID)
	return appendAttribute32(b, netnsaNSID, uint32(free))
}

func appendAttribute32(b []byte, typ uint16, v uint32) []byte {
	b = binary.NativeEndian.AppendUint16(b, nlAttrLen+4)
	b = binary.NativeEndian.AppendUint16(b, typ)
	return binary.NativeEndian.AppendUint32(b, v)
}

// parseNSID reads the answer; noNSID says that the namespace has none.
func parseNSID(b []byte) (int32, error) {
	if len(b) < rtGenMsgLen {
		return 0, errTruncated
	}
	id := int32(noNSID)
	for b = b[rtGenMsgLen:]; len(b) >= nlAttrLen; {
		typ, value, rest, err := cutAttribute(b)
		if err != nil {
			return 0, err
		}
		if typ == netnsaNSID {
			if len(value) != 4 {
				return 0, errTruncated
			}
			id = int32(binary.NativeEndian.Uint32(value))
		}
		b = rest
	}
	return id, nil
}
