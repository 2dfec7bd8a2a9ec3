package capture

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// encapsulation is a frame that holds the plain segment.
type encapsulation struct {
	name  string
	link  LinkType
	data  []byte
	tuple tcp.Tuple
	info  Info
	vlan  uint16
}

// encapsulations are all the ways that Decode knows to the plain segment.
func encapsulations() []encapsulation {
	v4, v6 := segment4(), segment6()
	inner := ether(0x0800, v4)
	wifi := func(fc string, extra ...any) []byte {
		b := join(fc, "\x00\x00\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x03\x10\x00")
		return join(append([]any{b}, extra...)...)
	}
	ppp := join("\xff\x03\x00\x21", v4)
	const ip, tun, vl = HasIPID, Tunneled, HasVLAN
	hop := join(byte(protoTCP), "\x00\x01\x04\x00\x00\x00\x00")
	list := []encapsulation{
		{name: "ethernet", link: LinkEthernet, data: inner, tuple: tuple4, info: ip},
		{name: "ethernet ipv6", link: LinkEthernet, data: ether(0x86dd, v6), tuple: tuple6},
		{name: "padding", link: LinkEthernet, data: join(inner, "paddingpadding"), tuple: tuple4, info: ip},
		{name: "raw", link: LinkRaw, data: v6, tuple: tuple6},
		{name: "raw 12", link: LinkRawBSD, data: v4, tuple: tuple4, info: ip},
		{name: "raw 14", link: LinkRawOpenBSD, data: v4, tuple: tuple4, info: ip},
		{name: "ipv4", link: LinkIPv4, data: v4, tuple: tuple4, info: ip},
		{name: "ipv6", link: LinkIPv6, data: v6, tuple: tuple6},
		{name: "null little", link: LinkNull, data: join("\x02\x00\x00\x00", v4), tuple: tuple4, info: ip},
		{name: "null big", link: LinkNull, data: join("\x00\x00\x00\x02", v4), tuple: tuple4, info: ip},
		{name: "null ipv6", link: LinkNull, data: join("\x1e\x00\x00\x00", v6), tuple: tuple6},
		{name: "null ethertype", link: LinkNull, data: join("\x00\x00\x86\xdd", v6), tuple: tuple6},
		{name: "null ppp", link: LinkNull, data: ppp, tuple: tuple4, info: ip},
		{name: "loop", link: LinkLoop, data: join("\x00\x00\x00\x18", v6), tuple: tuple6},
		{name: "sll", link: LinkLinuxSLL, data: join("\x00\x00\x00\x01\x00\x06\x01\x02\x03\x04\x05\x06\x00\x00\x08\x00", v4), tuple: tuple4, info: ip},
		{name: "sll vlan", link: LinkLinuxSLL, data: join("\x00\x00\x00\x01\x00\x06\x01\x02\x03\x04\x05\x06\x00\x00\x81\x00\x00\x07\x86\xdd", v6), tuple: tuple6, info: vl, vlan: 7},
		{name: "sll llc", link: LinkLinuxSLL, data: join("\x00\x00\x00\x01\x00\x06\x01\x02\x03\x04\x05\x06\x00\x00\x00\x04", snap(0x0800, v4)), tuple: tuple4, info: ip},
		{name: "sll2", link: LinkLinuxSLL2, data: join("\x08\x00\x00\x00\x00\x00\x00\x03\x00\x01\x04\x06\x01\x02\x03\x04\x05\x06\x00\x00", v4), tuple: tuple4, info: ip},
		{name: "ppp", link: LinkPPP, data: ppp, tuple: tuple4, info: ip},
		{name: "ppp compressed", link: LinkPPP, data: join("\x57", v6), tuple: tuple6},
		{name: "ppp multilink", link: LinkPPP, data: join("\x00\x3d\xc0\x00\x00\x01\x21", v4), tuple: tuple4, info: ip},
		{name: "ppp bridged", link: LinkPPP, data: join("\x00\x31\x00\x01", inner), tuple: tuple4, info: ip},
		{name: "ppp mpls", link: LinkPPP, data: join("\x02\x81\x00\x01\x01\x40", v4), tuple: tuple4, info: ip},
		{name: "ppp hdlc", link: LinkPPPHDLC, data: ppp, tuple: tuple4, info: ip},
		{name: "cisco in ppp hdlc", link: LinkPPPHDLC, data: join("\x0f\x00\x08\x00", v4), tuple: tuple4, info: ip},
		{name: "pppd", link: LinkPPPD, data: join("\x01\x03\x00\x21", v4), tuple: tuple4, info: ip},
		{name: "pppd long", link: LinkPPPD, data: join("\x01", ppp), tuple: tuple4, info: ip},
		{name: "ppp with direction", link: LinkPPPWithDir, data: join("\x00", ppp), tuple: tuple4, info: ip},
		{name: "ppp ether", link: LinkPPPEther, data: join("\x11\x00\x00\x01", be16(nil, len(v4)+2), "\x00\x21", v4), tuple: tuple4, info: ip},
		{name: "chdlc", link: LinkCHDLC, data: join("\x0f\x00\x86\xdd", v6), tuple: tuple6},
		{name: "chdlc with direction", link: LinkCHDLCWithDir, data: join("\x01\x0f\x00\x86\xdd", v6), tuple: tuple6},
		{name: "frame relay nlpid", link: LinkFrameRelay, data: join("\x18\x41\x03\xcc", v4), tuple: tuple4, info: ip},
		{name: "frame relay padded snap", link: LinkFrameRelay, data: join("\x18\x41\x03\x00\x80\x00\x00\x00\x86\xdd", v6), tuple: tuple6},
		{name: "frame relay cisco", link: LinkFrameRelayDir, data: join("\x00\x18\x41\x08\x00", v4), tuple: tuple4, info: ip},
		{name: "802.11", link: LinkIEEE80211, data: wifi("\x08\x01", snap(0x0800, v4)), tuple: tuple4, info: ip},
		{name: "802.11 qos", link: LinkIEEE80211, data: wifi("\x88\x02", "\x00\x00", snap(0x0800, v4)), tuple: tuple4, info: ip},
		{name: "802.11 qos ht", link: LinkIEEE80211, data: wifi("\x88\x82", "\x00\x00\x00\x00\x00\x00", snap(0x0800, v4)), tuple: tuple4, info: ip},
		{name: "802.11 wds", link: LinkIEEE80211, data: wifi("\x08\x03", "\x02\x00\x00\x00\x00\x04", snap(0x86dd, v6)), tuple: tuple6},
		{name: "802.11 a-msdu", link: LinkIEEE80211, data: wifi("\x88\x01", "\x80\x00", "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02", be16(nil, len(v4)+8), snap(0x0800, v4), "next"), tuple: tuple4, info: ip},
		{name: "radiotap", link: LinkRadiotap, data: join("\x00\x00\x09\x00\x02\x00\x00\x00\x00", wifi("\x08\x01", snap(0x0800, v4))), tuple: tuple4, info: ip},
		{name: "radiotap padded", link: LinkRadiotap, data: join("\x00\x00\x11\x00\x03\x00\x00\x00", "\x00\x00\x00\x00\x00\x00\x00\x00", "\x20", wifi("\x88\x02", "\x00\x00\x00\x00", snap(0x0800, v4))), tuple: tuple4, info: ip},
		{name: "prism", link: LinkPrism, data: join("\x00\x00\x00\x44\x90\x00\x00\x00", make([]byte, 136), wifi("\x08\x01", snap(0x0800, v4))), tuple: tuple4, info: ip},
		{name: "avs", link: LinkAVS, data: join("\x80\x21\x10\x01\x00\x00\x00\x40", make([]byte, 56), wifi("\x08\x01", snap(0x0800, v4))), tuple: tuple4, info: ip},
		{name: "token ring", link: LinkTokenRing, data: join("\x10\x40\x00\x01\x02\x03\x04\x05\x80\x01\x02\x03\x04\x06\x04\x00\x00\x00", snap(0x0800, v4)), tuple: tuple4, info: ip},
		{name: "fddi", link: LinkFDDI, data: join("\x50\x00\x01\x02\x03\x04\x05\x00\x01\x02\x03\x04\x06", snap(0x0800, v4)), tuple: tuple4, info: ip},
		{name: "arcnet", link: LinkARCNETBSD, data: join("\x01\x02\xf0", v4), tuple: tuple4, info: ip},
		{name: "arcnet linux", link: LinkARCNETLinux, data: join("\x01\x02\x00\x00\xd4\x00\x00\x01", v4), tuple: tuple4, info: ip},
		{name: "slip", link: LinkSLIP, data: join(make([]byte, 16), v4), tuple: tuple4, info: ip},
		{name: "atm", link: LinkATM, data: snap(0x0800, v4), tuple: tuple4, info: ip},
		{name: "atm bridged", link: LinkATM, data: join("\xaa\xaa\x03\x00\x80\xc2\x00\x07\x00\x00", inner), tuple: tuple4, info: ip},
		{name: "sunatm", link: LinkSunATM, data: join("\x02\x00\x00\x20", snap(0x0800, v4)), tuple: tuple4, info: ip},
		{name: "enc", link: LinkEnc, data: join("\x02\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00", v4), tuple: tuple4, info: ip},
		{name: "pflog", link: LinkPFLog, data: join("\x3d\x18", make([]byte, 62), v6), tuple: tuple6},
		{name: "ip over fibre channel", link: LinkIPOverFC, data: join(make([]byte, 16), snap(0x0800, v4)), tuple: tuple4, info: ip},
		{name: "ip over 1394", link: LinkIPOver1394, data: join(make([]byte, 16), "\x08\x00", v4), tuple: tuple4, info: ip},
		{name: "ipoib", link: LinkIPOIB, data: join(make([]byte, 40), "\x08\x00\x00\x00", v4), tuple: tuple4, info: ip},
		{name: "ipnet", link: LinkIPNet, data: join("\x01\x1a", make([]byte, 22), v6), tuple: tuple6},
		{name: "nflog", link: LinkNFLog, data: join("\x02\x00\x00\x00\x08\x00\x01\x00\x08\x00\x00\x00\x05\x00\x0a\x00\x00\x00\x00\x00", byte(4+len(v4)), "\x00\x09\x00", v4), tuple: tuple4, info: ip},
		{name: "nflog big", link: LinkNFLog, data: join("\x0a\x00\x00\x00\x00\x08\x00\x01\x00\x08\x00\x00\x00\x40\x00\x09", v6), tuple: tuple6},
		{name: "pktap", link: LinkPKTAP, data: join("\x10\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00", inner), tuple: tuple4, info: ip},
		{name: "ppi", link: LinkPPI, data: join("\x00\x00\x08\x00\x01\x00\x00\x00", inner), tuple: tuple4, info: ip},
		{name: "erf", link: LinkERF, data: join(make([]byte, 8), "\x82\x00\x00\x00\x00\x00\x00\x00", make([]byte, 8), "\x00\x00", inner), tuple: tuple4, info: ip},
		{name: "mpls", link: LinkMPLS, data: join("\x00\x01\x00\x40\x00\x01\x01\x40", v4), tuple: tuple4, info: ip},
		{name: "netanalyzer", link: LinkNetAnalyzer, data: join("\x00\x00\x00\x00", inner), tuple: tuple4, info: ip},
		{name: "netanalyzer with preamble", link: LinkNetAnalyzerRaw, data: join("\x00\x00\x00\x00\x55\x55\x55\x55\x55\x55\x55\xd5", inner), tuple: tuple4, info: ip},
		{name: "epon", link: LinkEPON, data: join("\x55\x55\xd5\x55\x55\x00\x01\x00", inner), tuple: tuple4, info: ip},
		{name: "dsa", link: LinkDSATag, data: join(inner[:12], "\xc0\x00\x00\x00\x08\x00", v4), tuple: tuple4, info: ip},
		{name: "edsa", link: LinkEDSATag, data: join(inner[:12], "\xda\xda\x00\x00\xc0\x00\x00\x00\x08\x00", v4), tuple: tuple4, info: ip},
		{name: "brcm before", link: LinkDSATagBRCMBefore, data: join("\x00\x00\x00\x01", inner), tuple: tuple4, info: ip},
		{name: "juniper ethernet", link: LinkJuniperEther, data: join("MGC\x80\x00\x02\x01\x00", inner), tuple: tuple4, info: ip},
		{name: "juniper without link header", link: LinkJuniperPPP, data: join("MGC\x02\x02\x00\x00\x00", v4), tuple: tuple4, info: ip},

		{name: "vlan", link: LinkEthernet, data: ether(0x8100, join("\x20\x2a\x08\x00", v4)), tuple: tuple4, info: ip | vl, vlan: 42},
		{name: "qinq", link: LinkEthernet, data: ether(0x88a8, join("\x00\x01\x91\x00\x00\x02\x81\x00\x00\x03\x86\xdd", v6)), tuple: tuple6, info: vl, vlan: 3},
		{name: "802.3 snap", link: LinkEthernet, data: join(ether(len(v4)+8, snap(0x0800, v4)), "padding"), tuple: tuple4, info: ip},
		{name: "802.3 llc", link: LinkEthernet, data: ether(len(v4)+3, join("\x06\x06\x03", v4)), tuple: tuple4, info: ip},
		{name: "isl", link: LinkEthernet, data: join("\x01\x00\x0c\x00\x00\x00\x02\x00\x00\x00\x00\x01\x00\x60\xaa\xaa\x03\x00\x00\x0c\x00\x02\x00\x00\x00\x00", inner), tuple: tuple4, info: ip},
		{name: "pppoe", link: LinkEthernet, data: ether(0x8864, join("\x11\x00\x00\x01", be16(nil, len(v6)+2), "\x00\x57", v6)), tuple: tuple6},
		{name: "mpls control word", link: LinkEthernet, data: ether(0x8847, join("\x00\x01\x01\x40\x00\x00\x00\x00", inner)), tuple: tuple4, info: ip},
		{name: "pbb", link: LinkEthernet, data: ether(0x88e7, join("\x00\x00\x00\x05", inner)), tuple: tuple4, info: ip},
		{name: "fabric path", link: LinkEthernet, data: ether(0x8903, join("\x00\x01", inner)), tuple: tuple4, info: ip},
		{name: "nsh", link: LinkEthernet, data: ether(0x894f, join("\x0f\xc2\x02\x02\x00\x00\x00\xff", v6)), tuple: tuple6},
		{name: "vntag", link: LinkEthernet, data: ether(0x8926, join("\x00\x00\x00\x01\x08\x00", v4)), tuple: tuple4, info: ip},
		{name: "cisco metadata", link: LinkEthernet, data: ether(0x8909, join("\x01\x01\x00\x01\x00\x02\x08\x00", v4)), tuple: tuple4, info: ip},
		{name: "trill", link: LinkEthernet, data: ether(0x22f3, join("\x00\x40\x00\x01\x00\x02\x00\x00\x00\x00", inner)), tuple: tuple4, info: ip},
		{name: "macsec in clear", link: LinkEthernet, data: ether(0x88e5, join("\x20\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x08\x00", v4)), tuple: tuple4, info: ip},

		{name: "ip options", link: LinkRaw, data: ip4With(protoTCP, join("\x07\x07\x04\xc0\x00\x02\x09\x00"), 0, plain.bytes()), tuple: tuple4, info: ip},
		{name: "first fragment", link: LinkRaw, data: ip4With(protoTCP, nil, 0x2000, plain.bytes()), tuple: tuple4, info: ip | Fragment},
		{name: "hop-by-hop", link: LinkRaw, data: ip6Ext(0, hop, plain.bytes()), tuple: tuple6},
		{name: "extension headers", link: LinkRaw, data: ip6Ext(60, join("\x2b\x00\x01\x04\x00\x00\x00\x00", "\x2c\x02\x00\x00\x00\x00\x00\x00", host6b.AsSlice(), "\x33\x00\x00\x01\x00\x00\x00\x07", "\x06\x04", make([]byte, 22)), plain.bytes()), tuple: tuple6, info: ip | Fragment},
		{name: "atomic fragment", link: LinkRaw, data: ip6Ext(44, join("\x06\x00\x00\x00\x00\x00\x00\x07"), plain.bytes()), tuple: tuple6, info: ip},
		{name: "ah", link: LinkRaw, data: ip4(protoAH, join("\x06\x04", make([]byte, 22), fill(protoTCP, host4a, host4b, plain.bytes()))), tuple: tuple4, info: ip},
		{name: "ipip", link: LinkRaw, data: ip4(protoIPIP, v4), tuple: tuple4, info: ip | tun},
		{name: "6in4", link: LinkRaw, data: ip4(protoIPv6, v6), tuple: tuple6, info: tun},
		{name: "4in6", link: LinkRaw, data: ip6(protoIPIP, v4), tuple: tuple4, info: ip | tun},
		{name: "etherip", link: LinkRaw, data: ip4(protoEtherIP, join("\x30\x00", inner)), tuple: tuple4, info: ip | tun},
		{name: "mpls in ip", link: LinkRaw, data: ip4(protoMPLS, join("\x00\x01\x01\x40", v4)), tuple: tuple4, info: ip | tun},
		{name: "ethernet in ipv6", link: LinkRaw, data: ip6(protoEthernet, inner), tuple: tuple4, info: ip | tun},
		{name: "gre", link: LinkRaw, data: ip4(protoGRE, join("\x00\x00\x08\x00", v4)), tuple: tuple4, info: ip | tun},
		{name: "gre with all fields", link: LinkRaw, data: ip4(protoGRE, join("\xf0\x00\x86\xdd\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x02", "\x08\x00\x00\x04\x01\x02\x03\x04", "\x00\x00\x00\x00", v6)), tuple: tuple6, info: tun},
		{name: "pptp", link: LinkRaw, data: ip4(protoGRE, join("\x30\x81\x88\x0b\x00\x10\x00\x01\x00\x00\x00\x01\x00\x00\x00\x02", ppp)), tuple: tuple4, info: ip | tun},
		{name: "nvgre", link: LinkRaw, data: ip4(protoGRE, join("\x20\x00\x65\x58\x00\x00\x01\x00", inner)), tuple: tuple4, info: ip | tun},
		{name: "erspan I", link: LinkRaw, data: ip4(protoGRE, join("\x00\x00\x88\xbe", inner)), tuple: tuple4, info: ip | tun},
		{name: "erspan II", link: LinkRaw, data: ip4(protoGRE, join("\x10\x00\x88\xbe\x00\x00\x00\x01", make([]byte, 8), inner)), tuple: tuple4, info: ip | tun},
		{name: "erspan III", link: LinkRaw, data: ip4(protoGRE, join("\x10\x00\x22\xeb\x00\x00\x00\x01", make([]byte, 11), "\x01", make([]byte, 8), inner)), tuple: tuple4, info: ip | tun},
		{name: "erspan III of ip", link: LinkRaw, data: ip4(protoGRE, join("\x10\x00\x22\xeb\x00\x00\x00\x01", make([]byte, 10), "\x08\x00", v6)), tuple: tuple6, info: tun},
		{name: "wccp", link: LinkRaw, data: ip4(protoGRE, join("\x00\x00\x88\x3e\x00\x00\x00\x00", v4)), tuple: tuple4, info: ip | tun},
		{name: "vxlan", link: LinkRaw, data: ip4(protoUDP, udp(4789, join("\x08\x00\x00\x00\x00\x00\x07\x00", inner))), tuple: tuple4, info: ip | tun},
		{name: "vxlan of linux in ipv6", link: LinkRaw, data: ip6(protoUDP, udp(8472, join("\x08\x00\x00\x00\x00\x00\x07\x00", ether(0x86dd, v6)))), tuple: tuple6, info: tun},
		{name: "vxlan-gpe", link: LinkRaw, data: ip4(protoUDP, udp(4790, join("\x0c\x00\x00\x02\x00\x00\x07\x00", v6))), tuple: tuple6, info: tun},
		{name: "geneve", link: LinkRaw, data: ip4(protoUDP, udp(6081, join("\x01\x00\x65\x58\x00\x00\x07\x00", "\x00\x00\x00\x00", inner))), tuple: tuple4, info: ip | tun},
		{name: "teredo", link: LinkRaw, data: ip4(protoUDP, udp(3544, join("\x00\x01\x00\x00", make([]byte, 9), "\x00\x00", make([]byte, 6), v6))), tuple: tuple6, info: tun},
		{name: "gtp", link: LinkRaw, data: ip4(protoUDP, udp(2152, join("\x36\xff\x00\x00\x00\x00\x00\x01\x00\x00\x00\x85\x01\x00\x00\x00", v4))), tuple: tuple4, info: ip | tun},
		{name: "gtp version 0", link: LinkRaw, data: ip4(protoUDP, udp(3386, join("\x1e\xff", make([]byte, 18), v4))), tuple: tuple4, info: ip | tun},
		{name: "l2tp", link: LinkRaw, data: ip4(protoUDP, udp(1701, join("\x4a\x02\x00\x00\x00\x01\x00\x02\x00\x00\x00\x00\x00\x01\x00", ppp))), tuple: tuple4, info: ip | tun},
		{name: "lisp", link: LinkRaw, data: ip4(protoUDP, udp(4341, join(make([]byte, 8), v6))), tuple: tuple6, info: tun},
		{name: "tzsp", link: LinkRaw, data: ip4(protoUDP, udp(37008, join("\x01\x00\x00\x01\x00\x0a\x01\xff\x01", inner))), tuple: tuple4, info: ip | tun},
		{name: "mpls in udp", link: LinkRaw, data: ip4(protoUDP, udp(6635, join("\x00\x01\x01\x40", v4))), tuple: tuple4, info: ip | tun},

		{name: "icmp", link: LinkRaw, data: ip4(protoICMP, icmpError(3, v4)), tuple: tuple4, info: ip | InICMP},
		{name: "icmpv6", link: LinkRaw, data: ip6(protoICMPv6, icmpError(1, v6)), tuple: tuple6, info: InICMP},
	}
	return list
}

func TestDecodeEncapsulations(t *testing.T) {
	for _, e := range encapsulations() {
		t.Run(e.name, func(t *testing.T) {
			f := Frame{Time: 7, Number: 3, Link: e.link, Data: e.data, WireLen: uint32(len(e.data))}
			var got Segment
			if r := Decode(&f, &got); r != TCP {
				t.Fatalf("Decode = %v", r)
			}
			want := Segment{
				Time: 7, Number: 3, WireLen: f.WireLen, CapLen: f.WireLen, Tuple: e.tuple,
				Seq: 1000, Ack: 2000, Len: 5, Window: 502, Flags: ACK | PSH, HeaderLen: 32,
				TCPOffset: got.TCPOffset, Opts: OptTimestamps, TSVal: 7, TSEcr: 9,
				IPID: got.IPID, TTL: got.TTL, ECN: got.ECN, VLAN: e.vlan, Info: e.info, Payload: []byte("hello"),
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if at := int(got.TCPOffset); string(e.data[at+32:at+37]) != "hello" {
				t.Errorf("TCPOffset %d is not that of the header", at)
			}
			wantID, wantTTL, wantECN := uint32(0), uint8(63), uint8(1)
			if e.tuple == tuple4 {
				wantID, wantTTL, wantECN = 0x1234, 64, 2
			} else if e.info&HasIPID != 0 {
				wantID = 7
			}
			if got.IPID != wantID || got.TTL != wantTTL || got.ECN != wantECN {
				t.Errorf("IPID %#x, TTL %d, ECN %d; want %#x, %d, %d", got.IPID, got.TTL, got.ECN, wantID, wantTTL, wantECN)
			}
		})
	}
}

// TestDecodeCut cuts every encapsulation everywhere: whatever is left decodes
// to the same segment, as far as it goes, or to a reason.
func TestDecodeCut(t *testing.T) {
	for _, e := range encapsulations() {
		for n := range e.data {
			f := Frame{Link: e.link, Data: e.data[:n:n], WireLen: uint32(len(e.data))}
			var s Segment
			r := Decode(&f, &s)
			if r != TCP {
				// Where a field is optional, less may look like another protocol.
				if r != TruncatedHeader && r != NotIP && r != NotTCP {
					t.Errorf("%s cut at %d: %v", e.name, n, r)
				}
				continue
			}
			if s.Tuple != e.tuple || s.HeaderLen != 0 && (s.Len != 5 || s.Seq != 1000 || s.Flags != ACK|PSH) {
				t.Errorf("%s cut at %d: %+v", e.name, n, s)
			}
			if whole := n >= int(s.TCPOffset)+32; whole == (s.Info&CutHeader != 0) {
				t.Errorf("%s cut at %d: CutHeader is %v", e.name, n, !whole)
			}
			if len(s.Payload) > 0 && n < int(s.TCPOffset)+32+len(s.Payload) {
				t.Errorf("%s cut at %d: %d bytes of payload", e.name, n, len(s.Payload))
			}
		}
	}
}

func TestDecodeReasons(t *testing.T) {
	bad := func(at int, b byte) []byte {
		d := ether(0x0800, segment4())
		d[at] = b
		return d
	}
	deep := segment4()
	for range maxLayers {
		deep = ip4(protoIPIP, deep)
	}
	tests := []struct {
		name string
		link LinkType
		data []byte
		want Reason
	}{
		{"empty", LinkEthernet, nil, Malformed},
		{"arp", LinkEthernet, ether(0x0806, make([]byte, 28)), NotIP},
		{"lldp", LinkEthernet, ether(0x88cc, nil), NotIP},
		{"spanning tree", LinkEthernet, ether(38, join("\x42\x42\x03", make([]byte, 35))), NotIP},
		{"novell", LinkEthernet, ether(34, join("\xff\xff", make([]byte, 32))), NotIP},
		{"unknown ethertype", LinkEthernet, ether(0x1234, segment4()), UnknownEtherType},
		{"no length and no type", LinkEthernet, ether(1501, segment4()), UnknownEtherType},
		{"dns", LinkRaw, ip4(protoUDP, udp(53, make([]byte, 20))), NotTCP},
		{"ping", LinkRaw, ip4(protoICMP, icmpError(8, make([]byte, 40))), NotTCP},
		{"icmp about icmp", LinkRaw, ip4(protoICMP, icmpError(3, ip4(protoICMP, icmpError(3, segment4())))), NotTCP},
		{"later fragment", LinkRaw, ip4With(protoTCP, nil, 185, plain.bytes()), LaterFragment},
		{"later fragment of ipv6", LinkRaw, ip6Ext(44, join("\x06\x00\x05\xa8\x00\x00\x00\x07"), plain.bytes()), LaterFragment},
		{"version", LinkEthernet, bad(14, 0x55), Malformed},
		{"header length", LinkEthernet, bad(14, 0x44), Malformed},
		{"total length", LinkEthernet, bad(17, 19), Malformed},
		{"data offset", LinkEthernet, bad(46, 0x40), Malformed},
		{"too short for tcp", LinkRaw, ip4(protoTCP, plain.bytes()[:15]), Malformed},
		{"esp", LinkRaw, ip4(protoESP, make([]byte, 40)), Encrypted},
		{"macsec", LinkEthernet, ether(0x88e5, join("\x2c", make([]byte, 40))), Encrypted},
		{"802.11 protected", LinkIEEE80211, join("\x08\x41", make([]byte, 40)), Encrypted},
		{"802.11 beacon", LinkIEEE80211, join("\x80\x00", make([]byte, 40)), NotIP},
		{"unknown link", 147, segment4(), UnknownLink},
		{"pktap of unknown link", LinkPKTAP, join("\x0c\x00\x00\x00\x01\x00\x00\x00\x93\x00\x00\x00", segment4()), UnknownLink},
		{"too deep", LinkRaw, deep, TooManyLayers},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s Segment
			f := Frame{Link: tt.link, Data: tt.data, WireLen: uint32(len(tt.data))}
			if got := Decode(&f, &s); got != tt.want {
				t.Errorf("Decode = %v, want %v", got, tt.want)
			}
		})
	}
	for r := range NumReasons {
		if r.String() == "unknown" {
			t.Errorf("reason %d has no text", r)
		}
	}
}

func TestDecodeLengths(t *testing.T) {
	zeroTotal := ether(0x0800, segment4())
	zeroTotal[16], zeroTotal[17] = 0, 0
	zeroPayload := ether(0x86dd, segment6())
	zeroPayload[18], zeroPayload[19] = 0, 0
	short := ether(0x0800, ip4(protoTCP, segmentSpec{source: 40000, dest: 443}.bytes()))
	short[17] = 20 + 18
	jumboSegment := ip6Ext(0, join(byte(protoTCP), "\x00\xc2\x04\x00\x00\x00\x2d"), plain.bytes())
	jumboSegment[4], jumboSegment[5] = 0, 0
	quote := segment4()[:28]
	tests := []struct {
		name string
		link LinkType
		data []byte
		wire int // 0 is as captured
		len  uint32
		info Info
	}{
		{"total length 0", LinkEthernet, zeroTotal, 0, 5, HasIPID | NoLen},
		{"total length 0, cut", LinkEthernet, zeroTotal, 60_000, 60_000 - 14 - 20 - 32, HasIPID | NoLen},
		{"payload length 0", LinkEthernet, zeroPayload, 0, 5, NoLen},
		{"cut", LinkEthernet, ether(0x0800, ip4(protoTCP, segmentSpec{payload: make([]byte, 1000)}.bytes()))[:60], 1054, 1000, HasIPID},
		{"length beyond the frame", LinkEthernet, ether(0x0800, ip4(protoTCP, segmentSpec{payload: make([]byte, 1000)}.bytes()))[:60], 60, 6, HasIPID},
		{"header beyond the packet", LinkEthernet, short, 0, 0, HasIPID | CutHeader | BadLength},
		{"jumbo", LinkRaw, jumboSegment, 0, 5, 0},
		{"quote", LinkRaw, ip4(protoICMP, icmpError(11, quote)), 0, 0, HasIPID | InICMP | CutHeader},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := Frame{Link: tt.link, Data: tt.data, WireLen: uint32(max(tt.wire, len(tt.data)))}
			var s Segment
			if r := Decode(&f, &s); r != TCP || s.Len != tt.len || s.Info != tt.info {
				t.Errorf("%v, Len %d, Info %b; want Len %d, Info %b", r, s.Len, s.Info, tt.len, tt.info)
			}
		})
	}
}

func TestDecodeOptions(t *testing.T) {
	tests := []struct {
		name    string
		options string
		want    Segment
	}{
		{"syn", "\x02\x04\x05\xb4\x04\x02\x08\x0a\x00\x00\x00\x01\x00\x00\x00\x00\x01\x03\x03\x07", Segment{Opts: OptMSS | OptSACKPermitted | OptTimestamps | OptWScale, MSS: 1460, WScale: 7, TSVal: 1}},
		{"sack", "\x05\x12\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x05\x00\x00\x00\x07", Segment{Opts: OptSACK, SACKLen: 2, SACK: [4]SACKBlock{{1, 2}, {5, 7}}}},
		{"mptcp", "\x1e\x0c\x01\x81\x00\x00\x00\x00\x00\x00\x00\x00\x1e\x03\x20", Segment{Opts: OptMPTCP, MPTCP: 0}},
		{"fast open", "\x22\x02", Segment{Opts: OptFastOpen}},
		{"fast open, experimental", "\xfe\x04\xf9\x89", Segment{Opts: OptFastOpen}},
		{"end", "\x00\x08\x0a\x00", Segment{}},
		{"length 0", "\x08\x00\x00\x00", Segment{Info: BadOptions}},
		{"over the end", "\x02\x04\x05\xb4\x08\x0a\x00\x00", Segment{Opts: OptMSS, MSS: 1460, Info: BadOptions}},
		{"wrong length", "\x08\x08\x00\x00\x00\x01\x00\x00\x02\x03\x05\x01", Segment{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data := ip6(protoTCP, segmentSpec{options: []byte(tt.options)}.bytes())
			f := Frame{Link: LinkRaw, Data: data, WireLen: uint32(len(data))}
			var got Segment
			if r := Decode(&f, &got); r != TCP {
				t.Fatal(r)
			}
			got = Segment{Info: got.Info, Opts: got.Opts, MSS: got.MSS, WScale: got.WScale, TSVal: got.TSVal, TSEcr: got.TSEcr, SACK: got.SACK, SACKLen: got.SACKLen, MPTCP: got.MPTCP}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
