package filter

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// now is the moment that tests call now: a Friday, off UTC.
var now = time.Date(2026, 7, 31, 12, 0, 0, 0, time.FixedZone("", 2*3600))

func stamp(t time.Time) tcp.Stamp {
	return tcp.Stamp{Wall: t.UnixNano(), Boot: t.UnixNano() - now.Add(-time.Hour*24*30).UnixNano()}
}

func addr(tb testing.TB, s string) tcp.Addr {
	tb.Helper()
	a, err := tcp.AddrOf(s)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// named are the connections that the tables speak of:
//
//	web     nginx serves 198.51.100.7:51000 on 192.0.2.1:443, from Germany
//	curl    curl on this host to [2001:db8::1]:443, fully known, slow
//	ssh     an inbound SSH connection over IPv6, nothing known but the tuple
//	listen  sshd listening on 22, with a long accept queue
//	dead    a closed connection that was refused
//	tw      a TIME_WAIT remnant, no process
//	pcap    a connection of a capture, direction unknown
func named(tb testing.TB) map[string]*tcp.Conn {
	tb.Helper()
	return map[string]*tcp.Conn{
		"web": {
			Key: tcp.Key{Tuple: tcp.Tuple{Local: addr(tb, "192.0.2.1"), Remote: addr(tb, "198.51.100.7"), LocalPort: 443, RemotePort: 51000}, NetNS: 4026531840},
			ID:  0x1234567890abcdef, State: tcp.Established, Direction: tcp.Inbound, Source: tcp.SourceEBPF,
			Attribution: tcp.AttributionExact, Complete: true, OpenedExact: true,
			Opened: stamp(now.Add(-5 * time.Minute)), Updated: stamp(now),
			Process: &tcp.Process{
				ProcessID: tcp.ProcessID{PID: 812, Start: 1}, Name: "nginx", Exe: "/usr/sbin/nginx", Cmdline: "nginx: worker process",
				User: "www-data", Unit: "nginx.service", Cgroup: "/system.slice/nginx.service",
			},
			Names: &tcp.Names{Host: "web1", Country: "DE", ASN: 13335, ASOrg: "Example GmbH", SNI: "Shop.example.org", Service: "nginx.service"},
			Has:   tcp.HasRTT | tcp.HasMinRTT | tcp.HasRetransmits | tcp.HasBytesSent | tcp.HasBytesReceived | tcp.HasUID | tcp.HasSegmentsSent | tcp.HasCC | tcp.HasDeliveryRate | tcp.HasCookie,
			UID:   33, Cookie: 0x1f,
			Metrics: tcp.Metrics{RTT: 60_000, RTTVar: 2000, MinRTT: 12_000, Retransmits: 5, SegmentsSent: 100, BytesSent: 2_000_000, BytesReceived: 3000, CC: tcp.MakeCC("bbr"), DeliveryRate: 1_250_000, AppLimited: true},
		},
		"curl": {
			Key: tcp.Key{Tuple: tcp.Tuple{Local: addr(tb, "2001:db8::99"), Remote: addr(tb, "2001:db8::1"), LocalPort: 40000, RemotePort: 443}},
			ID:  2, State: tcp.Established, Direction: tcp.Outbound, Source: tcp.SourceEBPF, IPv6: true,
			Opened: stamp(now.Add(-26 * time.Hour)), Updated: stamp(now),
			Process: &tcp.Process{ProcessID: tcp.ProcessID{PID: 99, Start: 1}, Name: "my app", Exe: "/usr/bin/curl", User: "ann"},
			Names:   &tcp.Names{Country: "FR", RemoteName: "www.example.net"},
			Has:     tcp.HasRTT | tcp.HasRetransmits | tcp.HasBytesSent,
			Metrics: tcp.Metrics{RTT: 400_000, Retransmits: 0, BytesSent: 64 << 10},
		},
		"ssh": {
			Key:   tcp.Key{Tuple: tcp.Tuple{Local: addr(tb, "2001:db8::99"), Remote: addr(tb, "2001:db8:1::7"), LocalPort: 22, RemotePort: 50022}},
			State: tcp.FinWait2, Direction: tcp.Inbound,
		},
		"listen": {
			Key:   tcp.Key{Tuple: tcp.Tuple{Local: addr(tb, "0.0.0.0"), LocalPort: 22}},
			State: tcp.Listen, Direction: tcp.Listening, Source: tcp.SourceNetlink,
			Has: tcp.HasAcceptQueue | tcp.HasBacklog, Metrics: tcp.Metrics{AcceptQueue: 90, Backlog: 100},
		},
		"dead": {
			Key:   tcp.Key{Tuple: tcp.Tuple{Local: addr(tb, "10.0.0.5"), Remote: addr(tb, "10.0.0.1"), LocalPort: 40001, RemotePort: 8080}},
			State: tcp.Closed, Direction: tcp.Outbound, Reason: tcp.CloseRefused, ClosedBy: tcp.SideRemote, SawReset: true,
			Opened: stamp(now.Add(-24*time.Hour - time.Second)), Closed: stamp(now.Add(-24 * time.Hour)),
		},
		"tw": {
			Key:   tcp.Key{Tuple: tcp.Tuple{Local: addr(tb, "10.0.0.5"), Remote: addr(tb, "10.1.2.3"), LocalPort: 40002, RemotePort: 80}},
			State: tcp.TimeWait, Direction: tcp.Outbound, Remnant: true, Reason: tcp.CloseFIN, ClosedBy: tcp.SideLocal, Source: tcp.SourceProcfs,
		},
		"pcap": {
			Key:    tcp.Key{Tuple: tcp.Tuple{Local: addr(tb, "203.0.113.1"), Remote: addr(tb, "203.0.113.2"), LocalPort: 5000, RemotePort: 8443}},
			Source: tcp.SourceCapture,
			Names:  &tcp.Names{Observer: "tap0", Interface: "eth1"},
			Packets: &tcp.PacketStats{
				Packets: [2]uint64{10, 20}, Retransmissions: [2]uint32{1, 3}, Flags: flagACK | flagPSH | flagRST,
				ConnState: "OTH", InitialRTT: 30_000, Completeness: 28,
			},
		},
	}
}

// randomConn makes a connection of values near those that literals have, each
// known or not by chance.
func randomConn(r *rand.Rand) *tcp.Conn {
	small := func() uint32 { return uint32(r.IntN(4)) }
	ip := func() tcp.Addr {
		switch r.IntN(4) {
		case 0:
			return tcp.AddrFrom4([4]byte{10, 0, 0, byte(small())})
		case 1:
			return tcp.Addr{0: 0x20, 1: 1, 2: 0xd, 3: 0xb8, 15: byte(small())}
		case 2:
			return tcp.Addr{15: byte(small())}
		default:
			return tcp.AddrFrom4([4]byte{192, byte(small()), 2, byte(small())})
		}
	}
	c := &tcp.Conn{
		Key: tcp.Key{Tuple: tcp.Tuple{Local: ip(), Remote: ip(), LocalPort: uint16(small()), RemotePort: uint16(small())}, NetNS: small()},
		ID:  tcp.ID(small()), PeerID: tcp.ID(small()), Cookie: uint64(small()), Has: tcp.Has(r.Uint64()),
		Handshake: small(), Inode: small(), UID: small(), State: tcp.State(r.IntN(tcp.NumStates)),
		Direction: tcp.Direction(r.IntN(5)), Source: tcp.SourceKind(r.IntN(5)), Attribution: tcp.Attribution(r.IntN(4)),
		ClosedBy: tcp.Side(r.IntN(3)), Reason: tcp.CloseReason(r.IntN(8)),
		OpenedExact: small() == 0, Complete: small() == 0, IPv6: small() == 0, Remnant: small() == 0, SawReset: small() == 0,
	}
	for _, s := range []*tcp.Stamp{&c.Opened, &c.Closed, &c.Updated} {
		if small() != 0 {
			*s = tcp.Stamp{Wall: int64(small()), Boot: int64(small()) * 1000}
		}
	}
	m := &c.Metrics
	for _, v := range []*uint64{&m.BytesSent, &m.BytesReceived, &m.BytesRetransmitted, &m.BytesMissed, &m.SendRate, &m.ReceiveRate, &m.DeliveryRate, &m.PacingRate, &m.Busy, &m.RwndLimited, &m.SndbufLimited} {
		*v = uint64(small())
	}
	for _, v := range []*uint32{&m.SegmentsSent, &m.SegmentsReceived, &m.SendQueue, &m.RecvQueue, &m.NotSent, &m.Unacked, &m.AcceptQueue, &m.Backlog, &m.RTT, &m.RTTVar, &m.MinRTT, &m.RTO, &m.MSS, &m.PMTU, &m.Retransmits, &m.Lost, &m.Reordering, &m.DSACKDups, &m.OOOReceived, &m.ECNCE, &m.CWND, &m.SSThresh, &m.SndWnd, &m.RcvWnd} {
		*v = small()
	}
	m.AppLimited = small() == 0
	m.CC = tcp.MakeCC([]string{"cubic", "bbr"}[r.IntN(2)])
	word := func() string { return []string{"", "a", "B", "nginx"}[r.IntN(4)] }
	if small() != 0 {
		c.Process = &tcp.Process{ProcessID: tcp.ProcessID{PID: int32(small())}, Name: word(), Exe: word(), Cmdline: word(), User: word(), Container: word(), Unit: word(), Cgroup: word()}
	}
	if small() != 0 {
		c.Names = &tcp.Names{Host: word(), RemoteName: word(), SNI: word(), ALPN: word(), HTTPHost: word(), Service: word(), Country: word(), ASN: small(), ASOrg: word(), Observer: word(), Interface: word(), NATRemote: ip(), NATPort: uint16(small()), SampleRate: small()}
	}
	if small() == 0 {
		two := func() [2]uint32 { return [2]uint32{small(), small()} }
		c.Packets = &tcp.PacketStats{
			Packets: [2]uint64{uint64(small()), 2}, Retransmissions: two(), DupAcks: two(), FINs: two(), SYNs: two(), Resets: two(),
			InitialRTT: small(), ConnState: word(), Flags: uint16(r.IntN(512)), Completeness: uint8(small()),
		}
	}
	return c
}
