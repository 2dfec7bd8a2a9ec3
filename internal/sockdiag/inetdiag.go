package sockdiag

import (
	"encoding/binary"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Message types of include/uapi/linux/sock_diag.h and inet_diag.h.
const (
	sockDiagByFamily = 20 // SOCK_DIAG_BY_FAMILY
	sockDestroy      = 21 // SOCK_DESTROY
	tcpDiagGetSock   = 18 // TCPDIAG_GETSOCK: the older request, for both families
)

// Families and the protocol, as in include/linux/socket.h and
// include/uapi/linux/in.h. They are Linux's numbers wherever this is compiled.
const (
	afInet     = 2
	afInet6    = 10
	ipprotoTCP = 6
)

// Multicast groups that tell of destroyed sockets, enum sknetlink_groups of
// include/uapi/linux/sock_diag.h, as bits of sockaddr_nl.
const (
	groupTCPDestroy  = 1 << 0 // SKNLGRP_INET_TCP_DESTROY, 1
	groupTCP6Destroy = 1 << 2 // SKNLGRP_INET6_TCP_DESTROY, 3
)

// Attributes of include/uapi/linux/inet_diag.h.
const (
	diagInfo     = 2  // INET_DIAG_INFO
	diagCong     = 4  // INET_DIAG_CONG
	diagProtocol = 10 // INET_DIAG_PROTOCOL
)

// extInfo and extCong ask for the attributes that requests must ask for.
const (
	extInfo = 1 << (diagInfo - 1)
	extCong = 1 << (diagCong - 1)
)

// allStates asks for every state. The bit of TCP_SYN_RECV stands for request
// sockets too (net/ipv4/inet_diag.c).
const allStates = 1<<12 - 1

// sockIDLen is the size of struct inet_diag_sockid, diagMsgLen that of struct
// inet_diag_msg.
const (
	sockIDLen  = 48
	diagMsgLen = 72
)

// noCookie is INET_DIAG_NOCOOKIE: any socket with the tuple.
const noCookie = ^uint64(0)

// sockID is struct inet_diag_sockid: the ends in network byte order, interface
// and cookie in the host's.
type sockID [sockIDLen]byte

// makeSockID is the identity of a socket that is bound to no interface.
func makeSockID(t tcp.Tuple, cookie uint64) (family uint8, id sockID) {
	binary.BigEndian.PutUint16(id[0:], t.LocalPort)
	binary.BigEndian.PutUint16(id[2:], t.RemotePort)
	if family = familyOf(t); family == afInet {
		copy(id[4:8], t.Local[12:])
		copy(id[20:24], t.Remote[12:])
	} else {
		copy(id[4:20], t.Local[:])
		copy(id[20:36], t.Remote[:])
	}
	binary.NativeEndian.PutUint32(id[40:], uint32(cookie))
	binary.NativeEndian.PutUint32(id[44:], uint32(cookie>>32))
	return family, id
}

// familyOf is AF_INET where both ends are IPv4. The kernel finds an AF_INET6
// socket with mapped addresses by either family.
func familyOf(t tcp.Tuple) uint8 {
	if t.Local.Is4() && (t.Remote.Is4() || t.Remote.IsUnspecified()) {
		return afInet
	}
	return afInet6
}

func (id *sockID) cookie() uint64 {
	return uint64(binary.NativeEndian.Uint32(id[40:])) | uint64(binary.NativeEndian.Uint32(id[44:]))<<32
}

// diagMessage is struct inet_diag_msg and the attributes behind it. Info and
// cong share memory with the datagram and are nil when absent.
type diagMessage struct {
	family, state  uint8
	rqueue, wqueue uint32
	uid, inode     uint32
	id             *sockID
	info, cong     []byte
}

// parse reads the body of a message. m.id points into b.
func (m *diagMessage) parse(b []byte) error {
	if len(b) < diagMsgLen {
		return errTruncated
	}
	*m = diagMessage{
		family: b[0],
		state:  b[1],
		id:     (*sockID)(b[4 : 4+sockIDLen]),
		// idiag_expires, at 52, belongs to timers.
		rqueue: binary.NativeEndian.Uint32(b[56:]),
		wqueue: binary.NativeEndian.Uint32(b[60:]),
		uid:    binary.NativeEndian.Uint32(b[64:]),
		inode:  binary.NativeEndian.Uint32(b[68:]),
	}
	if m.family != afInet && m.family != afInet6 {
		return errFamily
	}
	for b = b[diagMsgLen:]; len(b) >= nlAttrLen; {
		typ, value, rest, err := cutAttribute(b)
		if err != nil {
			return err
		}
		switch typ {
		case diagInfo:
			m.info = value
		case diagCong:
			m.cong = value
		case diagProtocol:
			if len(value) != 1 {
				return errTruncated
			}
			if value[0] != ipprotoTCP {
				return errProtocol
			}
		}
		b = rest
	}
	return nil
}

// tuple is the two ends; AF_INET addresses come in the first four bytes.
func (m *diagMessage) tuple() (t tcp.Tuple) {
	t.LocalPort = binary.BigEndian.Uint16(m.id[0:])
	t.RemotePort = binary.BigEndian.Uint16(m.id[2:])
	if m.family == afInet {
		t.Local = tcp.AddrFrom4([4]byte(m.id[4:8]))
		t.Remote = tcp.AddrFrom4([4]byte(m.id[20:24]))
	} else {
		t.Local = tcp.Addr(m.id[4:20])
		t.Remote = tcp.Addr(m.id[20:36])
	}
	return t
}

// appendRequest appends the body of a request for one family: struct
// inet_diag_req_v2.
func appendRequest(b []byte, family, ext uint8, states uint32, id *sockID) []byte {
	b = append(b, family, ipprotoTCP, ext, 0)
	b = binary.NativeEndian.AppendUint32(b, states)
	return append(b, id[:]...)
}

// appendBothRequest appends the body of a dump request for both families at
// once: struct inet_diag_req. One walk over the kernel's table serves both,
// where struct inet_diag_req_v2 needs two; ss(8) relies on it as well.
func appendBothRequest(b []byte, ext uint8, states uint32) []byte {
	var id sockID
	b = append(b, 0, 0, 0, ext)
	b = append(b, id[:]...)
	b = binary.NativeEndian.AppendUint32(b, states)
	return binary.NativeEndian.AppendUint32(b, 0) // idiag_dbs, unused
}
