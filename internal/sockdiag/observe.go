package sockdiag

import (
	"strconv"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// observe describes the living socket of m. o must be zero but for what the
// caller set of time and namespace. keepsUID says that this kernel knows the
// user of a socket without a file (see uidKept).
func (m *diagMessage) observe(o *tcp.Observation, keepsUID bool) {
	o.Kind = tcp.Seen
	o.Tuple = m.tuple()
	o.Cookie = m.id.cookie()
	o.State = tcp.KernelState(m.state)
	o.IPv6 = m.family == afInet6
	o.Has |= tcp.HasCookie
	if m.inode != 0 {
		o.Inode = m.inode
		o.Has |= tcp.HasInode
	}
	mini := m.info == nil && o.State != tcp.Listen
	if !mini && (m.inode != 0 || m.uid != 0 || keepsUID) {
		o.UID = m.uid
		o.Has |= tcp.HasUID
	}
	if !mini && len(m.cong) > 1 && m.cong[0] != 0 {
		copy(o.Metrics.CC[:len(o.Metrics.CC)-1], m.cong)
		o.Has |= tcp.HasCC
	}
	if o.State == tcp.Listen {
		o.Direction = tcp.Listening
		o.Metrics.AcceptQueue, o.Metrics.Backlog = m.rqueue, m.wqueue
		o.Has |= tcp.HasAcceptQueue | tcp.HasBacklog
		return // its tcp_info holds the defaults of sockets to come
	}
	if mini {
		// TIME_WAIT, request and orphaned FIN_WAIT2 sockets.
		o.Mini = true
		if o.State == tcp.SynRecv {
			o.Direction = tcp.Inbound
		}
		return
	}
	o.Metrics.RecvQueue, o.Metrics.SendQueue = m.rqueue, m.wqueue
	has, acked := decodeTCPInfo(m.info, &o.Metrics)
	o.Has |= has | tcp.HasRecvQueue | tcp.HasSendQueue
	if finReceived(o.State) {
		takeFIN(&o.Metrics, o.Has)
	}
	if o.State == tcp.SynSent {
		o.Has &^= tcp.HasSndWnd // none was advertised yet
	}
	o.Direction = direction(o, acked)
}

// uidKept is the first kernel that knows the user of a socket without a file: not
// accepted yet, or closed by its process. Earlier ones report root
// (sock_i_uid, net/core/sock.c).
var uidKept = [2]int{6, 17}

// kernelVersion reads the first two numbers of a release as uname(2) gives it.
func kernelVersion(release string) (v [2]int) {
	for i := range v {
		n := 0
		for n < len(release) && release[n] >= '0' && release[n] <= '9' {
			n++
		}
		v[i], _ = strconv.Atoi(release[:n])
		if n == len(release) || release[n] != '.' {
			break
		}
		release = release[n+1:]
	}
	return v
}

// finReceived says of a state that the peer's FIN has been received in order,
// and so been counted as a byte. TIME_WAIT has no counters.
func finReceived(s tcp.State) bool {
	switch s {
	case tcp.CloseWait, tcp.LastAck, tcp.Closing:
		return true
	default:
		return false
	}
}

func takeFIN(m *tcp.Metrics, has tcp.Has) {
	if has&tcp.HasBytesReceived != 0 && m.BytesReceived > 0 {
		m.BytesReceived--
	}
}

// direction tells which end opened a connection. The kernel counts the SYN that
// it sent itself among the acknowledged bytes, and not the SYN-ACK with which
// it accepted a connection: with nothing in flight and no FIN sent, the
// difference to the payload is 1 or 0. Retransmissions may blur it.
func direction(o *tcp.Observation, acked uint64) tcp.Direction {
	switch o.State {
	case tcp.SynSent:
		return tcp.Outbound
	case tcp.Established, tcp.CloseWait:
	default:
		return tcp.DirectionUnknown
	}
	m := &o.Metrics
	if o.Has&tcp.HasBytesSent == 0 || m.Unacked != 0 || m.Retransmits != 0 {
		return tcp.DirectionUnknown
	}
	switch acked {
	case m.BytesSent:
		return tcp.Inbound
	case m.BytesSent + 1:
		return tcp.Outbound
	default:
		return tcp.DirectionUnknown
	}
}

// observeDestroyed describes the end of a socket. k is what the last dump knew
// of it, nil if nothing. It reports false when neither a connection nor a known
// listener ended: a socket that was only bound, or only made, is destroyed with
// the same message.
func (m *diagMessage) observeDestroyed(o *tcp.Observation, k *known) bool {
	o.Tuple = m.tuple()
	// close(2) with SO_LINGER 0, a connect(2) that failed and one to AF_UNSPEC
	// go through tcp_disconnect(), which clears one end and all counters.
	cleared := o.RemotePort == 0
	if cleared && k == nil && !everConnected(m.info) {
		return false
	}
	o.Kind = tcp.SeenClosed
	o.Cookie = m.id.cookie()
	o.State = tcp.Closed
	o.IPv6 = m.family == afInet6
	o.Has |= tcp.HasCookie
	if k != nil {
		k.describe(o)
		if cleared {
			o.Tuple = k.tuple
		}
		if o.WasListening = k.state == tcp.Listen; o.WasListening {
			return true
		}
	}
	if cleared || m.info == nil {
		// What the last dump showed is not what the connection came to.
		o.Inexact = true
		return true
	}
	has, acked := decodeTCPInfo(m.info, &o.Metrics)
	o.Has |= has &^ (tcp.HasUnacked | tcp.HasNotSent | tcp.HasLost)
	o.Metrics.Unacked, o.Metrics.NotSent, o.Metrics.Lost = 0, 0, 0
	switch {
	case k != nil && finReceived(k.state):
		takeFIN(&o.Metrics, o.Has)
	case o.Has&tcp.HasBytesReceived != 0 && o.Metrics.BytesReceived > 0:
		// The state that would tell whether a FIN was counted is gone.
		o.Inexact = true
	}
	// All payload, the own SYN and the own FIN were acknowledged.
	if o.Direction == tcp.DirectionUnknown && o.Has&tcp.HasBytesSent != 0 && acked == o.Metrics.BytesSent+2 {
		o.Direction = tcp.Outbound
	}
	return true
}
