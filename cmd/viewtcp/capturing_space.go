package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/analysis"
	"github.com/viewtcp/viewtcp/internal/bpf"
	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// space is the capture in one network namespace.
type space struct {
	netns  netns.Namespace
	live   *capture.Live
	cutoff *bpf.Cutoff // in the kernel; nil is none
	// base is the number of its first interface in the output.
	base     uint32
	analyzer *analysis.Analyzer
	joined   map[uint32]*joined
	light    lightConns // instead of the two, where nothing is analysed
	any      joined     // instead of all, where nothing is asked of connections
	last     *joined
	names    map[uint32]string // of interfaces, by their index
	own      map[tcp.Addr]bool // addresses of the interfaces

	whole   capture.Reassembler
	frame   capture.Frame
	segment capture.Segment
	verdict analysis.Packet
}

// do runs a function inside the namespace; nil is where it runs anyway.
func (s *space) do() func(func()) error {
	if s.netns.Self {
		return nil
	}
	return func(fn func()) error { return s.netns.Do(func() error { fn(); return nil }) }
}

// open begins to capture in each namespace.
func (p *capturing) open() error {
	list, hidden, err := captureNamespaces(p.c.netns)
	if err != nil {
		return err
	}
	if hidden > 0 {
		p.e.warn(fmt.Sprintf("%d other network namespaces, or more, are hidden and not captured: that needs CAP_SYS_PTRACE and CAP_SYS_ADMIN", hidden))
	}
	cfg := p.c.liveConfig(p.kernel)
	if n := len(list); n > 1 && p.c.ringBytes == 0 {
		cfg.RingBytes = max(cfg.RingBytes/n, 4<<20)
		cfg.BlockBytes = 512 << 10
	}
	base := uint32(0)
	for _, ns := range list {
		s := &space{netns: ns, base: base, joined: make(map[uint32]*joined), names: make(map[uint32]string)}
		cfg.Do = s.do()
		cfg.FilterFD = 0
		if err = p.cutInKernel(&cfg, s); err == nil {
			s.live, err = capture.OpenLive(cfg)
		}
		if err != nil && s.cutoff != nil {
			_ = s.cutoff.Close()
		}
		switch {
		case err == nil:
		case len(list) > 1 && (errors.As(err, new(*capture.NoInterfaceError)) || !ns.Self && !errors.Is(err, tcp.ErrPermission)):
			continue // not in this namespace, or it has just ended
		case len(list) > 1 && !ns.Self:
			p.e.warn("not captured: " + err.Error())
			continue
		default:
			return wrongInterface(err)
		}
		p.spaces = append(p.spaces, s)
		base += uint32(len(s.live.Interfaces()))
		s.own = ownAddresses(s.do())
		p.analyze(s)
	}
	if len(p.spaces) == 0 {
		return usagef("no network namespace has an interface %s", strings.Join(p.c.interfaces, ", "))
	}
	return nil
}

// analyze gives a namespace its analyzer.
func (p *capturing) analyze(s *space) {
	cfg := analysis.DefaultConfig()
	cfg.Wireshark40 = p.c.wireshark == "4.0"
	cfg.Memory = 256 << 20
	cfg.HalfOpenTimeout, cfg.IdleTimeout, cfg.ClosedTimeout = 3*time.Minute, 2*time.Hour, time.Minute
	if p.c.connections {
		cfg.ClosedTimeout = 2 * time.Second // after which it is printed
	}
	cfg.OnEnd = func(c *analysis.Conn) { p.ended(s, c) }
	if !p.light {
		s.analyzer = analysis.New(cfg)
	}
	s.any = joined{space: s, settled: true}
}

// loopback reports whether the frame at hand came by an interface that leads back
// to this host.
func (p *capturing) loopback(s *space) bool {
	at := s.live.Interfaces()[s.frame.Interface]
	if at.Index != 0 || s.frame.Link != capture.LinkLinuxSLL2 || len(s.frame.Data) < 20 {
		return at.Loopback
	}
	b := s.frame.Data
	return int(b[8])<<8|int(b[9]) == arphrdLoopback
}

// arphrdLoopback is ARPHRD_LOOPBACK of include/uapi/linux/if_arp.h, which a header
// of LINKTYPE_LINUX_SLL2 holds.
const arphrdLoopback = 772

// interfaceName is where the frame at hand was captured.
func (p *capturing) interfaceName(s *space) string {
	at := s.live.Interfaces()[s.frame.Interface]
	if at.Index != 0 || s.frame.Link != capture.LinkLinuxSLL2 || len(s.frame.Data) < 20 {
		return at.Name
	}
	b := s.frame.Data
	index := uint32(b[4])<<24 | uint32(b[5])<<16 | uint32(b[6])<<8 | uint32(b[7])
	name, ok := s.names[index]
	if !ok {
		find := func() {
			if i, err := net.InterfaceByIndex(int(index)); err == nil {
				name = i.Name
			}
		}
		if do := s.do(); do == nil {
			find()
		} else if do(find) != nil {
			name = ""
		}
		s.names[index] = name
	}
	return name
}

// ownAddresses are those of a namespace; none where they cannot be read.
func ownAddresses(do func(func()) error) map[tcp.Addr]bool {
	var addrs []net.Addr
	find := func() { addrs, _ = net.InterfaceAddrs() }
	if do == nil {
		find()
	} else if do(find) != nil {
		return nil
	}
	own := make(map[tcp.Addr]bool, len(addrs))
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				own[tcp.AddrFrom(ip)] = true
			}
		}
	}
	return own
}
