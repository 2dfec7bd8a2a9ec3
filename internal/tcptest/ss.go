package tcptest

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// An SSRow is one socket as ss(8) of iproute2 prints it.
type SSRow struct {
	// NetNS is the namespace that ss ran in; ss itself does not say.
	NetNS uint32
	State tcp.State
	// RecvQ and SendQ are the columns of these names.
	RecvQ, SendQ uint64
	// Local and Remote are unmapped; port 0 stands for "*".
	Local, Remote netip.AddrPort
	// IPv6 says that ss printed an IPv6 address, or "*" for both families.
	IPv6               bool
	Cookie, Inode, UID uint64
	// Users is from -p.
	Users []SSUser
	// CC is the congestion control algorithm.
	CC         string
	AppLimited bool
	// Tokens are the named values of tcp_info exactly as printed: "rtt" is
	// "0.058/0.033" (milliseconds), "retrans" is "0/3" (now, in all),
	// "pacing_rate" is "115161738368bps". ss leaves out most zeros.
	Tokens map[string]string
}

// SSUser is a process that has the socket open.
type SSUser struct {
	Name    string
	PID, FD int
}

// ssFlags are the words before the congestion control algorithm.
var ssFlags = map[string]bool{"ts": true, "sack": true, "ecn": true, "ecnseen": true, "fastopen": true}

// ssRates are words whose value is the next word.
var ssRates = map[string]bool{"send": true, "pacing_rate": true, "delivery_rate": true}

// ssDetails are names that are no part of tcp_info.
var ssDetails = map[string]bool{"timer": true, "users": true, "fwmark": true, "cgroup": true, "v6only": true, "skmem": true}

// Mini reports whether ss knows no tcp_info of the socket, as of TIME_WAIT.
func (r *SSRow) Mini() bool { return len(r.Tokens) == 0 && r.State != tcp.Listen }

// Key names the socket in messages.
func (r *SSRow) Key() string {
	return fmt.Sprintf("%s %s -> %s (netns %d, cookie %d, inode %d)", r.State, r.Local, r.Remote, r.NetNS, r.Cookie, r.Inode)
}

// ParseSS reads the output of ss -tinaeOH, with or without -p and -m.
func ParseSS(out []byte) ([]SSRow, error) {
	var rows []SSRow
	for line := range bytes.Lines(out) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		r, err := parseSSLine(string(line))
		if err != nil {
			return nil, fmt.Errorf("parsing ss: %w in %.200q", err, line)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func parseSSLine(line string) (r SSRow, err error) {
	line, r.Users, err = cutSSUsers(line)
	if err != nil {
		return r, err
	}
	f := strings.Fields(line)
	if len(f) < 5 {
		return r, fmt.Errorf("%d fields", len(f))
	}
	if r.State, err = parseSSState(f[0]); err != nil {
		return r, err
	}
	if r.RecvQ, err = strconv.ParseUint(f[1], 10, 64); err != nil {
		return r, fmt.Errorf("Recv-Q: %w", err)
	}
	if r.SendQ, err = strconv.ParseUint(f[2], 10, 64); err != nil {
		return r, fmt.Errorf("Send-Q: %w", err)
	}
	if r.Local, r.IPv6, err = parseSSAddr(f[3]); err != nil {
		return r, err
	}
	if r.Remote, _, err = parseSSAddr(f[4]); err != nil {
		return r, err
	}
	r.Tokens = make(map[string]string)
	return r, r.details(f[5:])
}

func (r *SSRow) details(words []string) (err error) {
	for i := 0; i < len(words) && err == nil; i++ {
		word := words[i]
		name, value, pair := strings.Cut(word, ":")
		switch {
		case name == "ino":
			r.Inode, err = strconv.ParseUint(value, 10, 64)
		case name == "uid":
			r.UID, err = strconv.ParseUint(value, 10, 64)
		case name == "sk":
			r.Cookie, err = strconv.ParseUint(value, 16, 64)
		case ssDetails[name]:
		case ssRates[word]:
			i++
			if i == len(words) {
				return fmt.Errorf("%s without a value", word)
			}
			r.Tokens[word] = words[i]
		case word == "app_limited":
			r.AppLimited = true
		case pair:
			r.Tokens[name] = value
		case ssFlags[word] || strings.ContainsAny(word, "<->"):
		case r.CC == "":
			r.CC = word
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func parseSSState(s string) (tcp.State, error) {
	set, ok := tcp.ParseState(s)
	if ok {
		for st := tcp.State(1); st < tcp.NumStates; st++ {
			if set == tcp.States(st) {
				return st, nil
			}
		}
	}
	return 0, fmt.Errorf("state %q", s)
}

// parseSSAddr reads 127.0.0.1:80, [::1]:80, 127.0.0.53%lo:53, *:80 and 0.0.0.0:*.
func parseSSAddr(s string) (ap netip.AddrPort, v6 bool, err error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return ap, false, fmt.Errorf("address %q without a port", s)
	}
	host, _, _ := strings.Cut(s[:i], "%")
	var port uint64
	if s[i+1:] != "*" {
		if port, err = strconv.ParseUint(s[i+1:], 10, 16); err != nil {
			return ap, false, fmt.Errorf("address %q: %w", s, err)
		}
	}
	ip := netip.IPv6Unspecified()
	if host != "*" {
		if ip, err = netip.ParseAddr(strings.Trim(host, "[]")); err != nil {
			return ap, false, fmt.Errorf("address %q: %w", s, err)
		}
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(port)), ip.Is6(), nil
}

// cutSSUsers takes users:(("name",pid=1,fd=3),…) out of a line. The name may hold
// any byte but is at most 15 long; one that imitates the syntax is misread.
func cutSSUsers(line string) (rest string, users []SSUser, err error) {
	const begin = ` users:((`
	i := strings.Index(line, begin)
	if i < 0 {
		return line, nil, nil
	}
	s := line[i+len(begin)-1:]
	for {
		var u SSUser
		var num string
		var ok bool
		s, ok = strings.CutPrefix(s, `("`)
		if ok {
			u.Name, s, ok = strings.Cut(s, `",pid=`)
		}
		if ok {
			num, s, ok = strings.Cut(s, `,fd=`)
		}
		if ok {
			u.PID, err = strconv.Atoi(num)
			ok = err == nil
		}
		if ok {
			num, s, ok = strings.Cut(s, `)`)
		}
		if ok {
			u.FD, err = strconv.Atoi(num)
			ok = err == nil
		}
		if !ok {
			return "", nil, fmt.Errorf("users in %.200q", line)
		}
		users = append(users, u)
		if next, more := strings.CutPrefix(s, ","); more {
			s = next
			continue
		}
		return line[:i] + " " + strings.TrimPrefix(s, ")"), users, nil
	}
}

// FIN states are those in which the peer's FIN arrived and was counted by the
// kernel as a byte received.
var finStates = tcp.States(tcp.CloseWait, tcp.LastAck, tcp.Closing)

// Row converts to what ViewTCP should print for the socket: keys, units and
// meaning of its fields. Values are uint64, bool and string.
func (r *SSRow) Row() Row {
	row := Row{
		"netns": uint64(r.NetNS), "cookie": strconv.FormatUint(r.Cookie, 10), "state": r.State.String(),
		"local_ip": r.Local.Addr().String(), "local_port": uint64(r.Local.Port()),
	}
	if r.Inode != 0 {
		row["inode"] = r.Inode
	}
	if r.State == tcp.Listen {
		row["uid"], row["accept_queue"], row["backlog"] = r.UID, r.RecvQ, r.SendQ
		return row
	}
	row["remote_ip"], row["remote_port"] = r.Remote.Addr().String(), uint64(r.Remote.Port())
	if r.Mini() {
		return row
	}
	row["uid"], row["recv_queue"], row["send_queue"] = r.UID, r.RecvQ, r.SendQ
	if r.CC != "" {
		row["congestion_control"] = r.CC
	}
	for _, t := range ssTokens {
		if s, ok := r.Tokens[t.name]; ok && t.parse != nil {
			t.parse(r, row, s)
		}
	}
	return row
}
