package filter

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"
)

// Services are names of TCP ports.
type Services map[string]uint16

// builtinServices are the names that need no file: IANA's, and what people and
// ss scripts write.
var builtinServices = Services{
	"ftp-data": 20, "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "domain": 53, "dns": 53,
	"gopher": 70, "http": 80, "www": 80, "kerberos": 88, "pop3": 110, "sunrpc": 111,
	"nntp": 119, "ntp": 123, "epmap": 135, "netbios-ssn": 139, "imap": 143, "imap2": 143,
	"snmp": 161, "bgp": 179, "ldap": 389, "https": 443, "microsoft-ds": 445, "smb": 445,
	"submissions": 465, "submission": 587, "ldaps": 636, "rsync": 873, "domain-s": 853,
	"ftps": 990, "imaps": 993, "pop3s": 995, "socks": 1080, "openvpn": 1194,
	"ms-sql-s": 1433, "mssql": 1433, "mqtt": 1883, "nfs": 2049, "etcd": 2379, "mysql": 3306,
	"ms-wbt-server": 3389, "rdp": 3389, "svn": 3690, "epmd": 4369, "sip": 5060,
	"sip-tls": 5061, "xmpp-client": 5222, "xmpp-server": 5269, "postgresql": 5432,
	"postgres": 5432, "amqp": 5672, "amqps": 5671, "rfb": 5900, "vnc": 5900, "x11": 6000,
	"redis": 6379, "kube-apiserver": 6443, "ircd": 6667, "http-alt": 8080,
	"https-alt": 8443, "secure-mqtt": 8883, "cassandra": 9042, "prometheus": 9090,
	"kafka": 9092, "elasticsearch": 9200, "git": 9418, "memcached": 11211, "mongodb": 27017,
}

// lookup finds a port by its name, in any case.
func (s Services) lookup(name string) (uint16, bool) {
	name = strings.ToLower(name)
	if p, ok := s[name]; ok {
		return p, true
	}
	p, ok := builtinServices[name]
	return p, ok
}

// maxServices bounds what ReadServices keeps; Debian's file has some 500 names.
const maxServices = 20_000

// ReadServices reads the TCP names of a file in the format of services(5). Lines
// that are not of that format are passed over; the first port of a name counts.
func ReadServices(r io.Reader) (Services, error) {
	s := Services{}
	sc := bufio.NewScanner(r)
	for sc.Scan() && len(s) < maxServices {
		line, _, _ := strings.Cut(sc.Text(), "#")
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		number, proto, _ := strings.Cut(words[1], "/")
		port, err := strconv.ParseUint(number, 10, 16)
		if err != nil || proto != "tcp" || port == 0 {
			continue
		}
		for i, name := range words {
			name = strings.ToLower(name)
			if _, ok := s[name]; i != 1 && !ok {
				s[name] = uint16(port)
			}
		}
	}
	return s, sc.Err()
}

// SystemServices reads the system's own file of port names, and returns none
// where there is no such file.
func SystemServices() Services {
	f, err := os.Open("/etc/services")
	if err != nil {
		return nil
	}
	defer f.Close()
	s, err := ReadServices(f)
	if err != nil {
		return nil
	}
	return s
}
