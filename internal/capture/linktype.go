package capture

import "strconv"

// Link types that Decode knows, by their numbers in the registry of the tcpdump
// group. Some have several: the numbers below 100 were once those of one system
// or the other.
const (
	LinkNull              LinkType = 0 // BSD loopback, address family in host order
	LinkEthernet          LinkType = 1
	LinkTokenRing         LinkType = 6
	LinkARCNETBSD         LinkType = 7
	LinkSLIP              LinkType = 8
	LinkPPP               LinkType = 9
	LinkFDDI              LinkType = 10
	LinkRawBSD            LinkType = 12 // DLT_RAW of most systems
	LinkRawOpenBSD        LinkType = 14
	LinkPPPHDLC           LinkType = 50
	LinkPPPEther          LinkType = 51 // PPPoE without its Ethernet header
	LinkATM               LinkType = 100
	LinkRaw               LinkType = 101 // IPv4 or IPv6
	LinkCHDLC             LinkType = 104
	LinkIEEE80211         LinkType = 105
	LinkFrameRelay        LinkType = 107
	LinkLoop              LinkType = 108 // OpenBSD loopback, address family in network order
	LinkEnc               LinkType = 109 // OpenBSD's view of IPsec
	LinkLinuxSLL          LinkType = 113
	LinkPFLog             LinkType = 117
	LinkPrism             LinkType = 119
	LinkIPOverFC          LinkType = 122
	LinkSunATM            LinkType = 123
	LinkRadiotap          LinkType = 127
	LinkARCNETLinux       LinkType = 129
	LinkIPOver1394        LinkType = 138
	LinkAVS               LinkType = 163
	LinkPPPD              LinkType = 166
	LinkJuniperPPPoE      LinkType = 167
	LinkJuniperEther      LinkType = 178
	LinkJuniperPPP        LinkType = 179
	LinkJuniperFrameRelay LinkType = 180
	LinkJuniperCHDLC      LinkType = 181
	LinkPPI               LinkType = 192
	LinkERF               LinkType = 197
	LinkPPPWithDir        LinkType = 204
	LinkCHDLCWithDir      LinkType = 205
	LinkFrameRelayDir     LinkType = 206
	LinkMPLS              LinkType = 219
	LinkIPNet             LinkType = 226
	LinkIPv4              LinkType = 228
	LinkIPv6              LinkType = 229
	LinkNFLog             LinkType = 239
	LinkNetAnalyzer       LinkType = 240
	LinkNetAnalyzerRaw    LinkType = 241
	LinkIPOIB             LinkType = 242
	LinkPKTAP             LinkType = 258
	LinkEPON              LinkType = 259
	LinkEthernetMPacket   LinkType = 274
	LinkLinuxSLL2         LinkType = 276
	LinkDSATagBRCM        LinkType = 281
	LinkDSATagBRCMBefore  LinkType = 282
	LinkDSATag            LinkType = 283
	LinkEDSATag           LinkType = 284
)

// String is the name of the registry without its prefix, or the number.
func (l LinkType) String() string {
	switch l {
	case LinkNull:
		return "NULL"
	case LinkEthernet:
		return "ETHERNET"
	case LinkTokenRing:
		return "IEEE802_5"
	case LinkARCNETBSD:
		return "ARCNET_BSD"
	case LinkSLIP:
		return "SLIP"
	case LinkPPP:
		return "PPP"
	case LinkFDDI:
		return "FDDI"
	case LinkRaw, LinkRawBSD, LinkRawOpenBSD:
		return "RAW"
	case LinkPPPHDLC:
		return "PPP_HDLC"
	case LinkPPPEther:
		return "PPP_ETHER"
	case LinkATM:
		return "ATM_RFC1483"
	case LinkCHDLC:
		return "C_HDLC"
	case LinkIEEE80211:
		return "IEEE802_11"
	case LinkFrameRelay:
		return "FRELAY"
	case LinkLoop:
		return "LOOP"
	case LinkEnc:
		return "ENC"
	case LinkLinuxSLL:
		return "LINUX_SLL"
	case LinkPFLog:
		return "PFLOG"
	case LinkPrism:
		return "IEEE802_11_PRISM"
	case LinkIPOverFC:
		return "IP_OVER_FC"
	case LinkSunATM:
		return "SUNATM"
	case LinkRadiotap:
		return "IEEE802_11_RADIOTAP"
	case LinkARCNETLinux:
		return "ARCNET_LINUX"
	case LinkIPOver1394:
		return "APPLE_IP_OVER_IEEE1394"
	case LinkAVS:
		return "IEEE802_11_AVS"
	case LinkPPPD:
		return "PPP_PPPD"
	case LinkJuniperPPPoE:
		return "JUNIPER_PPPOE"
	case LinkJuniperEther:
		return "JUNIPER_ETHER"
	case LinkJuniperPPP:
		return "JUNIPER_PPP"
	case LinkJuniperFrameRelay:
		return "JUNIPER_FRELAY"
	case LinkJuniperCHDLC:
		return "JUNIPER_CHDLC"
	case LinkPPI:
		return "PPI"
	case LinkERF:
		return "ERF"
	case LinkPPPWithDir:
		return "PPP_WITH_DIR"
	case LinkCHDLCWithDir:
		return "C_HDLC_WITH_DIR"
	case LinkFrameRelayDir:
		return "FRELAY_WITH_DIR"
	case LinkMPLS:
		return "MPLS"
	case LinkIPNet:
		return "IPNET"
	case LinkIPv4:
		return "IPV4"
	case LinkIPv6:
		return "IPV6"
	case LinkNFLog:
		return "NFLOG"
	case LinkNetAnalyzer:
		return "NETANALYZER"
	case LinkNetAnalyzerRaw:
		return "NETANALYZER_TRANSPARENT"
	case LinkIPOIB:
		return "IPOIB"
	case LinkPKTAP:
		return "PKTAP"
	case LinkEPON:
		return "EPON"
	case LinkEthernetMPacket:
		return "ETHERNET_MPACKET"
	case LinkLinuxSLL2:
		return "LINUX_SLL2"
	case LinkDSATagBRCM:
		return "DSA_TAG_BRCM"
	case LinkDSATagBRCMBefore:
		return "DSA_TAG_BRCM_PREPEND"
	case LinkDSATag:
		return "DSA_TAG_DSA"
	case LinkEDSATag:
		return "DSA_TAG_EDSA"
	}
	return "LINKTYPE " + strconv.Itoa(int(l))
}
