package enrich

import (
	"io"
	"maps"
	"os"
	"strconv"
	"strings"
)

// maxServices bounds what is read of a services file, maxServiceName the names
// taken from it; bytes.
const (
	maxServices    = 4 << 20
	maxServiceName = 64
)

// Services are names of TCP ports.
type Services map[uint16]string

// Name returns the well-known name of a port, empty when there is none.
func (s Services) Name(port uint16) string { return s[port] }

// ReadServices returns the built-in names, overridden by those of a file of the
// form of services(5). A path that is empty or cannot be read adds nothing.
func ReadServices(path string) Services {
	s := make(Services, len(wellKnown)+x11Ports)
	maps.Copy(s, wellKnown)
	for port := range uint16(x11Ports) {
		s[x11First+port] = "x11"
	}
	if path == "" {
		return s
	}
	f, err := os.Open(path)
	if err != nil {
		return s
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxServices))
	if err == nil {
		s.parse(string(b))
	}
	return s
}

// parse adds the names of a services file: "name port/protocol aliases # note".
// Of several names of one port the first counts.
func (s Services) parse(text string) {
	taken := make(map[uint16]bool)
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) < 2 || len(fields[0]) > maxServiceName {
			continue
		}
		number, ok := strings.CutSuffix(fields[1], "/tcp")
		if !ok {
			continue
		}
		port, err := strconv.ParseUint(number, 10, 16)
		if err != nil || port == 0 || taken[uint16(port)] {
			continue
		}
		taken[uint16(port)] = true
		s[uint16(port)] = strings.Clone(fields[0])
	}
}

// X11 has a port for each display (RFC 1013 and the IANA registry).
const (
	x11First = 6000
	x11Ports = 64
)

// wellKnown are names of the IANA service name and port number registry for TCP
// ports that are met often. Ports whose registered name is not what they are
// used for nowadays (3000, 5000, 6443, 9092 and the like) are left out: no name
// is better than a misleading one.
var wellKnown = map[uint16]string{
	1: "tcpmux", 7: "echo", 9: "discard", 11: "systat", 13: "daytime", 17: "qotd", 19: "chargen",
	20: "ftp-data", 21: "ftp", 22: "ssh", 23: "telnet", 25: "smtp", 37: "time", 43: "nicname",
	49: "tacacs", 53: "domain", 70: "gopher", 79: "finger", 80: "http", 88: "kerberos",
	102: "iso-tsap", 110: "pop3", 111: "sunrpc", 113: "ident", 119: "nntp", 123: "ntp", 135: "epmap",
	137: "netbios-ns", 138: "netbios-dgm", 139: "netbios-ssn", 143: "imap", 161: "snmp",
	162: "snmptrap", 177: "xdmcp", 179: "bgp", 194: "irc", 199: "smux", 220: "imap3", 264: "bgmp",
	389: "ldap", 427: "svrloc", 443: "https", 444: "snpp", 445: "microsoft-ds", 464: "kpasswd",
	465: "submissions", 500: "isakmp", 502: "mbap", 512: "exec", 513: "login", 514: "shell",
	515: "printer", 540: "uucp", 543: "klogin", 544: "kshell", 548: "afpovertcp", 554: "rtsp",
	563: "nntps", 587: "submission", 593: "http-rpc-epmap", 623: "oob-ws-http", 631: "ipp",
	636: "ldaps", 646: "ldp", 647: "dhcp-failover", 655: "tinc", 664: "oob-ws-https", 674: "acap",
	700: "epp", 749: "kerberos-adm", 830: "netconf-ssh", 847: "dhcp-failover2", 853: "domain-s",
	860: "iscsi", 861: "owamp-control", 873: "rsync", 989: "ftps-data", 990: "ftps", 992: "telnets",
	993: "imaps", 995: "pop3s", 1080: "socks", 1098: "rmiactivation", 1099: "rmiregistry",
	1194: "openvpn", 1352: "lotusnote", 1414: "ibm-mqseries", 1433: "ms-sql-s", 1434: "ms-sql-m",
	1494: "ica", 1512: "wins", 1701: "l2tp", 1719: "h323gatestat", 1720: "h323hostcall",
	1723: "pptp", 1812: "radius", 1813: "radius-acct", 1883: "mqtt", 1900: "ssdp",
	1935: "macromedia-fcs", 2000: "cisco-sccp", 2049: "nfs", 2083: "radsec", 2375: "docker",
	2376: "docker-s", 2377: "swarm", 2379: "etcd-client", 2380: "etcd-server", 2401: "cvspserver",
	2404: "iec-104", 2598: "citriximaclient", 2628: "dict", 2775: "smpp", 2947: "gpsd",
	3205: "isns", 3260: "iscsi-target", 3268: "msft-gc", 3269: "msft-gc-ssl", 3283: "net-assistant",
	3306: "mysql", 3389: "ms-wbt-server", 3478: "stun", 3493: "nut", 3632: "distcc", 3689: "daap",
	3690: "svn", 3702: "ws-discovery", 3868: "diameter", 4190: "sieve", 4369: "epmd", 4420: "nvme",
	4500: "ipsec-nat-t", 4730: "gearman", 4786: "smart-install", 4840: "opcua-tcp",
	4843: "opcua-tls", 4899: "radmin-port", 4949: "munin", 5060: "sip", 5061: "sips",
	5222: "xmpp-client", 5269: "xmpp-server", 5280: "xmpp-bosh", 5349: "stuns", 5353: "mdns",
	5355: "llmnr", 5357: "wsdapi", 5432: "postgresql", 5445: "smbdirect", 5666: "nrpe",
	5671: "amqps", 5672: "amqp", 5683: "coap", 5684: "coaps", 5868: "diameters", 5900: "rfb",
	5984: "couchdb", 5985: "wsman", 5986: "wsmans", 6379: "redis", 6446: "mysql-proxy",
	6513: "netconf-tls", 6514: "syslog-tls", 6566: "sane-port", 6653: "openflow", 6667: "ircu",
	6697: "ircs-u", 7000: "afs3-fileserver", 7474: "neo4j", 8008: "http-alt", 8080: "http-alt",
	8140: "puppet", 8443: "pcsync-https", 8554: "rtsp-alt", 8883: "secure-mqtt",
	9100: "pdl-datastream", 9101: "bacula-dir", 9102: "bacula-fd", 9103: "bacula-sd", 9389: "adws",
	9418: "git", 10000: "ndmp", 10050: "zabbix-agent", 10051: "zabbix-trigger", 10080: "amanda",
	10809: "nbd", 11211: "memcache", 11371: "pksd", 16992: "amt-soap-http", 16993: "amt-soap-https",
	20000: "dnp", 25565: "minecraft", 27017: "mongodb", 33060: "mysqlx", 44818: "EtherNet-IP-2",
	47808: "bacnet",
}
