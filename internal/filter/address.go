package filter

import (
	"net/netip"
	"strconv"
	"strings"
)

// looksLikeAddr reports whether a word can only be meant as an address or a
// network: what else a word may be has no dots and digits alone, and no colons.
func looksLikeAddr(s string) bool {
	if s == "" {
		return false
	}
	if s[0] == '[' {
		return true
	}
	host, _, _ := strings.Cut(s, "/")
	if strings.Count(host, ":") >= 2 {
		return strings.Trim(host, "0123456789abcdefABCDEF:.") == ""
	}
	host, _, _ = strings.Cut(host, ":")
	return isDigit(s[0]) && strings.IndexByte(host, '.') > 0 && strings.Trim(host, "0123456789.") == ""
}

// parsePrefix reads an address or a network. With partial, IPv4 may have fewer
// than four numbers, each missing one widening the network by 8 bits (as in
// pcap-filter's net); with a length, missing numbers are zero (as in ss). IPv4
// in IPv6 form becomes IPv4, and bits beyond the length become zero.
func parsePrefix(s string, partial bool) (p netip.Prefix, msg string) {
	host, length, hasLen := strings.Cut(s, "/")
	if h, ok := strings.CutPrefix(host, "["); ok {
		inner, ok := strings.CutSuffix(h, "]")
		switch {
		case ok:
			host = inner
		case strings.HasSuffix(length, "]"): // [2001:db8::/32]
			host, length = h, strings.TrimSuffix(length, "]")
		default:
			return p, quote(s) + " has no closing bracket"
		}
	}
	given := 4
	if dots := strings.Count(host, "."); dots < 3 && !strings.Contains(host, ":") && (partial || hasLen) {
		given = dots + 1
		host += strings.Repeat(".0", 3-dots)
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return p, quote(s) + " is not an address; names are not resolved"
	}
	if a.Zone() != "" {
		return p, quote(s) + " has a zone, which connections do not"
	}
	n := a.BitLen()
	if hasLen {
		if strings.Contains(length, ".") && a.Is4() {
			mask, err := netip.ParseAddr(length)
			if err != nil || !mask.Is4() {
				return p, quote(length) + " is not a network mask"
			}
			if n, msg = maskLen(mask); msg != "" {
				return p, msg
			}
		} else if l, err := strconv.ParseUint(length, 10, 8); err != nil || int(l) > n {
			return p, quote(length) + " is not a prefix length from 0 to " + strconv.Itoa(n)
		} else {
			n = int(l)
		}
	} else if given < 4 {
		n = 8 * given
	}
	if a.Is4In6() && n >= 96 {
		a, n = a.Unmap(), n-96
	}
	return netip.PrefixFrom(a, n).Masked(), ""
}

// maskLen returns the length of an IPv4 network mask.
func maskLen(mask netip.Addr) (int, string) {
	b := mask.As4()
	m := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	n := 0
	for ; m&(1<<31) != 0; n++ {
		m <<= 1
	}
	if m != 0 {
		return 0, quote(mask.String()) + " is not a network mask: its ones are not all on the left"
	}
	return n, ""
}

// hostPort is the address and port that a word of ss's host syntax names; empty
// parts are not constrained.
type hostPort struct {
	family     uint8 // 4 or 6 when written as inet: or inet6:
	host, port string
}

// cutHostPort splits [FAMILY:]ADDRESS[:PORT]. IPv6 with a port needs brackets, or
// a prefix length before the port.
func cutHostPort(s string) hostPort {
	var hp hostPort
	low := strings.ToLower(s)
	switch {
	case strings.HasPrefix(low, "inet:"):
		hp.family, s = 4, s[len("inet:"):]
	case strings.HasPrefix(low, "inet6:"):
		hp.family, s = 6, s[len("inet6:"):]
	}
	from := 0
	if i := strings.LastIndexByte(s, ']'); i >= 0 {
		from = i
	}
	if i := strings.IndexByte(s[from:], '/'); i >= 0 {
		from += i
	}
	hp.host = s
	if i := strings.LastIndexByte(s, ':'); i >= from && (from > 0 || strings.Count(s, ":") == 1) {
		hp.host, hp.port = s[:i], s[i+1:]
	}
	if hp.host == "*" {
		hp.host = ""
	}
	if hp.port == "*" {
		hp.port = ""
	}
	return hp
}
