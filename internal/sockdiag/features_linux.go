package sockdiag

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/host"
	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Features implements tcp.Source.
func (s *Source) Features() []tcp.Feature {
	return []tcp.Feature{
		s.dumpFeature(),
		infoFeature(),
		s.closesFeature(),
		s.namespacesFeature(),
		s.destroyFeature(),
	}
}

func (s *Source) dumpFeature() tcp.Feature {
	f := tcp.Feature{Name: "netlink.dump", Available: true, Reason: "the kernel answers INET_DIAG requests for TCP"}
	if err := s.probe(); err != nil {
		f.Available, f.Reason = false, err.Error()
		f.Remedy = "load the kernel module tcp_diag"
	}
	return f
}

// infoFeature asks for the size of struct tcp_info by a socket that is neither
// bound nor connected.
func infoFeature() tcp.Feature {
	f := tcp.Feature{Name: "netlink.tcp_info"}
	n, err := infoSize()
	switch {
	case err != nil:
		f.Reason = err.Error()
	case n < infoBytesRetrans+8:
		f.Reason = fmt.Sprintf("this kernel's tcp_info has %d bytes: bytes sent, retransmitted bytes and later fields are unknown", n)
		f.Remedy = "Linux 4.19 or later"
	case n < infoComplete:
		f.Available = true
		f.Reason = fmt.Sprintf("this kernel's tcp_info has %d bytes: the windows or out-of-order counts are unknown", n)
		f.Remedy = "Linux 6.2 or later"
	default:
		f.Available = true
		f.Reason = fmt.Sprintf("this kernel's tcp_info has %d bytes: all fields", n)
	}
	return f
}

func (s *Source) closesFeature() tcp.Feature {
	f := tcp.Feature{Name: "netlink.closes"}
	ev, err := hear(s.cfg.ReceiveBuffer, false)
	if err != nil {
		f.Reason = err.Error()
		f.Remedy = "Linux 4.2 or later; until then connections shorter than the time between dumps are missed"
		return f
	}
	defer func() { _ = ev.close() }()
	f.Available = true
	f.Reason = "the groups of destroyed sockets can be joined; a connection that no dump showed has no process, and where its process aborted it (SO_LINGER 0) or connect(2) failed, neither both ends nor bytes"
	return f
}

func (s *Source) namespacesFeature() tcp.Feature {
	f := tcp.Feature{Name: "netlink.namespaces"}
	list, hidden, err := netns.List()
	if err != nil {
		f.Reason = err.Error()
		return f
	}
	f.Available = true
	f.Reason = fmt.Sprintf("%d network namespaces found; in a new one, closes are heard from its first dump on", len(list))
	if hidden > 0 {
		f.Reason = fmt.Sprintf("%d network namespaces found; those of %d processes cannot be seen", len(list), hidden)
		f.Remedy = "CAP_SYS_PTRACE, or run as root"
	}
	deny := func(reason, remedy string) {
		f.Available, f.Reason, f.Remedy = false, reason, remedy
	}
	if !host.HasCapability(unix.CAP_SYS_ADMIN) {
		deny("entering another network namespace needs CAP_SYS_ADMIN", "CAP_SYS_ADMIN, or run as root")
		return f
	}
	for _, ns := range list {
		if err := ns.Do(func() error { return nil }); err != nil && !gone(err) {
			deny(err.Error(), "CAP_SYS_ADMIN in the user namespace that owns it, or run as root")
			return f
		}
	}
	ev, err := hear(s.cfg.ReceiveBuffer, true)
	if err != nil {
		return f // closesFeature tells of it
	}
	defer func() { _ = ev.close() }()
	switch {
	case ev.silent != nil:
		deny("sockets of other namespaces are dumped, but: "+ev.silent.Error(), "CAP_NET_BROADCAST, or run as root")
	case !host.HasCapability(unix.CAP_NET_ADMIN):
		deny("closes are heard only in those namespaces that have an id already", "CAP_NET_ADMIN, or run as root")
	}
	return f
}

// destroyFeature asks to close a socket that cannot exist: its port is 0.
func (s *Source) destroyFeature() tcp.Feature {
	f := tcp.Feature{Name: "netlink.destroy"}
	c, err := dial(s.self, unix.NETLINK_SOCK_DIAG, s.in)
	if err != nil {
		f.Reason = err.Error()
		return f
	}
	defer func() { _ = c.close() }()
	loopback := tcp.AddrFrom4([4]byte{127, 0, 0, 1})
	family, id := makeSockID(tcp.Tuple{Local: loopback, Remote: loopback}, noCookie-1)
	switch err := c.destroy(family, &id); {
	case !isGone(err):
		f.Reason = "SOCK_DESTROY is not answered as it should"
		if err != nil {
			f.Reason = "SOCK_DESTROY: " + err.Error()
		}
		f.Remedy = "a kernel with CONFIG_INET_DIAG_DESTROY"
	case !host.HasCapability(unix.CAP_NET_ADMIN):
		f.Reason = "closing a socket needs CAP_NET_ADMIN"
		f.Remedy = "CAP_NET_ADMIN, or run as root"
	default:
		f.Available, f.Reason = true, "SOCK_DESTROY is there, and the right to use it"
	}
	return f
}
