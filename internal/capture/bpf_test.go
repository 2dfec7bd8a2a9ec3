package capture

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/bpf"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// made is a frame that a test makes, layer by layer.
type made struct {
	src, dst     string
	sport, dport uint16
	flags        Flags
	seq, ack     uint32
	payload      int
	vlans        []uint16 // types of tags
	proto        byte     // 0 is TCP
	options      int      // words of IPv4 options
	fragment     uint16
	extension    bool // a hop-by-hop header
	inside       []byte
}

func (m made) network() []byte {
	var l4 []byte
	proto := m.proto
	switch proto {
	case 0:
		proto = protoTCP
		l4 = binary.BigEndian.AppendUint16(l4, m.sport)
		l4 = binary.BigEndian.AppendUint16(l4, m.dport)
		l4 = binary.BigEndian.AppendUint32(l4, m.seq)
		l4 = binary.BigEndian.AppendUint32(l4, m.ack)
		l4 = binary.BigEndian.AppendUint16(l4, 5<<12|uint16(m.flags))
		l4 = append(l4, 0xff, 0xff, 0, 0, 0, 0)
		for i := range m.payload {
			l4 = append(l4, byte(i)|0x80)
		}
	case protoUDP:
		l4 = binary.BigEndian.AppendUint16(l4, m.sport)
		l4 = binary.BigEndian.AppendUint16(l4, m.dport)
		l4 = binary.BigEndian.AppendUint16(l4, uint16(8+len(m.inside)))
		l4 = append(append(l4, 0, 0), m.inside...)
	default:
		l4 = append(l4, m.inside...)
	}
	src, dst := netip.MustParseAddr(m.src), netip.MustParseAddr(m.dst)
	var b []byte
	if src.Is4() {
		header := 20 + 4*m.options
		b = append(b, 0x40|byte(header/4), 0)
		b = binary.BigEndian.AppendUint16(b, uint16(header+len(l4)))
		b = append(b, 0, 1)
		b = binary.BigEndian.AppendUint16(b, m.fragment)
		b = append(b, 64, proto, 0, 0)
		b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
		for range m.options {
			b = append(b, 1, 1, 1, 1)
		}
		return append(b, l4...)
	}
	if m.extension {
		l4 = append([]byte{proto, 0, 1, 4, 0, 0, 0, 0}, l4...)
		proto = protoHopByHop
	}
	b = append(b, 0x60, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(l4)))
	b = append(b, proto, 64)
	b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	return append(b, l4...)
}

func etherTypeOf(network []byte) uint16 {
	if len(network) > 0 && network[0]>>4 == 6 {
		return etypeIPv6
	}
	return etypeIPv4
}

func (m made) ethernet() []byte {
	n := m.network()
	b := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}
	for i, t := range m.vlans {
		b = binary.BigEndian.AppendUint16(b, t)
		b = binary.BigEndian.AppendUint16(b, uint16(100+i))
	}
	b = binary.BigEndian.AppendUint16(b, etherTypeOf(n))
	return append(b, n...)
}

// run executes a program as the kernel would on a packet socket.
func run(tb testing.TB, p *Program, data []byte, proto uint16, pktType, hardware uint32) bool {
	tb.Helper()
	ins := make([]bpf.Instruction, len(p.ins))
	for i, in := range p.ins {
		ins[i] = in
		if ext, ok := in.(bpf.LoadExtension); ok {
			switch ext.Num {
			case bpf.ExtProto:
				ins[i] = bpf.LoadConstant{Val: uint32(proto)}
			case bpf.ExtType:
				ins[i] = bpf.LoadConstant{Val: pktType}
			case bpf.ExtLinkLayerType:
				ins[i] = bpf.LoadConstant{Val: hardware}
			default:
			}
		}
	}
	vm, err := bpf.NewVM(ins)
	if err != nil {
		tb.Fatalf("%v\n%s", err, p)
	}
	n, err := vm.Run(data)
	if err != nil {
		tb.Fatalf("%v\n%s", err, p)
	}
	return n > 0
}

func compileText(tb testing.TB, text string, link LinkType) (*filter.Filter, *Program) {
	tb.Helper()
	f, err := filter.Parse(text)
	if err != nil {
		tb.Fatalf("%q: %v", text, err)
	}
	p, err := CompileProgram(f, link, 256)
	if err != nil {
		tb.Fatalf("%q: %v", text, err)
	}
	return f, p
}

func TestProgramAccepts(t *testing.T) {
	web := made{src: "192.0.2.1", dst: "198.51.100.7", sport: 51000, dport: 443, flags: ACK | PSH, payload: 10}
	web6 := made{src: "2001:db8::99", dst: "2001:db8:1::1", sport: 40000, dport: 443, flags: SYN}
	arp := append(make([]byte, 12), 8, 6, 0, 1)
	with := func(m made, change func(*made)) made { change(&m); return m }
	tests := []struct {
		filter string
		frame  []byte
		want   bool
	}{
		{"", web.ethernet(), true},
		{"", arp, false},
		{"port 443", web.ethernet(), true},
		{"port 80", web.ethernet(), false},
		{"not port 80", web.ethernet(), true},
		{"dport 443", web.ethernet(), true},
		{"sport 443", web.ethernet(), false},
		{"portrange 50000-52000", web.ethernet(), true},
		{"portrange 1-442", web.ethernet(), false},
		{"port 443", web6.ethernet(), true},
		{"host 192.0.2.1", web.ethernet(), true},
		{"dst host 192.0.2.1", web.ethernet(), false},
		{"net 198.51.100.0/24", web.ethernet(), true},
		{"net 198.51.101.0/24", web.ethernet(), false},
		{"src net 2001:db8::/32 and dst net 2001:db8:1::/48", web6.ethernet(), true},
		{"src net 2001:db8:1::/48", web6.ethernet(), false},
		{"host 2001:db8::99", web6.ethernet(), true},
		{"host 2001:db8::98", web6.ethernet(), false},
		{"ip", web.ethernet(), true},
		{"ip6", web.ethernet(), false},
		{"ip6", web6.ethernet(), true},
		{"tcp.flags.syn == 1", web6.ethernet(), true},
		{"tcp.flags.syn == 1", web.ethernet(), false},
		{"tcp.flags.syn == 0", web.ethernet(), true},
		{"tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", web.ethernet(), false},
		{"ip.addr != 192.0.2.1", web.ethernet(), false},
		{"ip.addr !== 192.0.2.1", web.ethernet(), true},
		{"ip.addr == 192.0.2.1 xor port 443", web.ethernet(), false},
		{"port in {80, 443, 8000..8100}", web.ethernet(), true},
		{"port in {80, 8000..8100}", web.ethernet(), false},
		// What the wire does not show passes, negated or not.
		{"process curl", web.ethernet(), true},
		{"not process curl", web.ethernet(), true},
		{"process curl and port 80", web.ethernet(), false},
		{"process curl or port 80", web.ethernet(), true},
		{"not (process curl and port 443)", web.ethernet(), true},
		// Either end may be the local one.
		{"local_port == 443", web.ethernet(), true},
		{"local_port == 80", web.ethernet(), false},
		{"not local_port == 443", web.ethernet(), true},
		{"client port 51000 and server port 443", web.ethernet(), true},
		// Tags in the frame.
		{"port 443", with(web, func(m *made) { m.vlans = []uint16{etypeVLAN} }).ethernet(), true},
		{"port 80", with(web, func(m *made) { m.vlans = []uint16{etypeVLAN} }).ethernet(), false},
		{"port 443", with(web6, func(m *made) { m.vlans = []uint16{etypeQinQ, etypeVLAN} }).ethernet(), true},
		{"port 80", with(web6, func(m *made) { m.vlans = []uint16{etypeQinQ, etypeVLAN} }).ethernet(), false},
		{"port 80", with(web, func(m *made) { m.vlans = []uint16{etypeQinQ, etypeVLAN, etypeVLAN} }).ethernet(), true},
		// Options, fragments, extension headers.
		{"port 443", with(web, func(m *made) { m.options = 5 }).ethernet(), true},
		{"port 80", with(web, func(m *made) { m.options = 5 }).ethernet(), false},
		{"port 443", with(web, func(m *made) { m.fragment = 0x2000 }).ethernet(), true},
		{"port 443", with(web, func(m *made) { m.fragment = 0x2001 }).ethernet(), false},
		{"port 80", with(web6, func(m *made) { m.extension = true }).ethernet(), true},
		// Other protocols: tunnels and errors may be about anything.
		{"", with(web, func(m *made) { m.proto = protoUDP }).ethernet(), false},
		{"port 80", with(web, func(m *made) { m.proto, m.dport = protoUDP, 4789 }).ethernet(), true},
		{"port 80", with(web6, func(m *made) { m.proto, m.sport = protoUDP, 6081 }).ethernet(), true},
		{"port 80", with(web, func(m *made) { m.proto = protoGRE }).ethernet(), true},
		{"port 80", with(web, func(m *made) { m.proto, m.inside = protoICMP, []byte{3, 1} }).ethernet(), true},
		{"port 80", with(web, func(m *made) { m.proto, m.inside = protoICMP, []byte{8, 0} }).ethernet(), false},
		{"port 80", with(web6, func(m *made) { m.proto, m.inside = protoICMPv6, []byte{1, 4} }).ethernet(), true},
		{"port 80", with(web6, func(m *made) { m.proto, m.inside = protoICMPv6, []byte{135, 0} }).ethernet(), false},
		{"", with(web, func(m *made) { m.proto = 132 }).ethernet(), false},
	}
	for _, tt := range tests {
		t.Run(tt.filter, func(t *testing.T) {
			_, p := compileText(t, tt.filter, LinkEthernet)
			if got := run(t, p, tt.frame, 0, 0, 1); got != tt.want {
				t.Errorf("passes %v, want %v\n%s", got, tt.want, p)
			}
		})
	}
}

func TestProgramWithoutFilter(t *testing.T) {
	for _, link := range []LinkType{LinkEthernet, LinkRaw, LinkLinuxSLL2, LinkNull} {
		p, err := CompileProgram(nil, link, 96)
		if err != nil {
			t.Fatal(err)
		}
		if !run(t, p, []byte{1}, 0x0806, 0, 1) {
			t.Errorf("%v: a nil filter rejects a frame", link)
		}
	}
}

func TestProgramCooked(t *testing.T) {
	_, p := compileText(t, "port 443", LinkLinuxSLL2)
	data := made{src: "127.0.0.1", dst: "127.0.0.1", sport: 443, dport: 40000}.network()
	for _, tt := range []struct {
		name              string
		proto             uint16
		pktType, hardware uint32
		want              bool
	}{
		{"received on lo", etypeIPv4, 0, hardwareLoopback, true},
		{"sent on lo", etypeIPv4, pktTypeOutgoing, hardwareLoopback, false},
		{"sent elsewhere", etypeIPv4, pktTypeOutgoing, 1, true},
		{"tagged", etypeVLAN, 0, 1, true},
		{"ARP", 0x0806, 0, 1, false},
	} {
		if got := run(t, p, data, tt.proto, tt.pktType, tt.hardware); got != tt.want {
			t.Errorf("%s: passes %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestTunnelPortsComplete holds the list against what Decode looks into.
func TestTunnelPortsComplete(t *testing.T) {
	have := make(map[uint32]bool)
	for _, p := range tunnelPorts {
		have[p] = true
	}
	for port := range uint32(1 << 16) {
		if is := tunnel(uint16(port)) != stop(NotTCP); is != have[port] {
			t.Errorf("port %d: a tunnel to Decode: %v, to programs: %v", port, is, have[port])
		}
	}
	for proto := range 256 {
		for _, not := range notTCP {
			if proto == int(not) && ipProto(byte(proto)) < stepStop {
				t.Errorf("protocol %d is rejected, but Decode looks into it", proto)
			}
		}
	}
	for _, e := range notIP {
		// ARP is looked into for its addresses alone, by the anonymiser.
		if next := etherType(uint16(e)); next < stepStop && next != stepARP {
			t.Errorf("ethertype %#x is rejected, but Decode looks into it", e)
		}
	}
}

// TestProgramString compares with what tcpdump -d prints for such a program.
func TestProgramString(t *testing.T) {
	_, p := compileText(t, "dport 443", LinkRaw)
	s := p.String()
	for _, want := range []string{
		"(000) ldx      #0x0\n", "(001) ldb      [0]\n", "(002) and      #0xf0\n",
		"(003) jeq      #0x40            jt 5\tjf 4\n", "ldh      [x + 2]\n", "st       M[9]\n", "tax\n", "ret      #256\n", "ret      #0\n",
	} {
		if !strings.Contains(s, want) {
			t.Errorf("%q is missing in\n%s", want, s)
		}
	}
}

func TestProgramLongSets(t *testing.T) {
	var b strings.Builder
	for i := range 400 {
		fmt.Fprintf(&b, "%d, ", 2*i+1)
	}
	_, p := compileText(t, "port in {"+b.String()+"40000}", LinkEthernet)
	m := made{src: "192.0.2.1", dst: "192.0.2.2", sport: 2, dport: 4}
	for _, tt := range []struct {
		port uint16
		want bool
	}{{1, true}, {399, true}, {799, true}, {400, false}, {40000, true}, {40001, false}} {
		m.dport = tt.port
		if got := run(t, p, m.ethernet(), 0, 0, 1); got != tt.want {
			t.Errorf("port %d: passes %v, want %v", tt.port, got, tt.want)
		}
	}
	if len(p.Raw()) > maxProgram {
		t.Errorf("%d instructions", len(p.Raw()))
	}
	// What does not fit passes all of TCP.
	b.Reset()
	for i := range 5000 {
		fmt.Fprintf(&b, "%d, ", 2*i+1)
	}
	_, p = compileText(t, "port in {"+b.String()+"40000}", LinkEthernet)
	if len(p.Raw()) > maxProgram {
		t.Errorf("%d instructions", len(p.Raw()))
	}
	m.dport = 60000
	if !run(t, p, m.ethernet(), 0, 0, 1) {
		t.Error("a filter too long for the kernel rejects")
	}
}

// randomFilter writes an expression of a few tests.
func randomFilter(r *rand.Rand, depth int) string {
	ends := []string{"", "src ", "dst ", "local ", "remote ", "client ", "server "}
	ops := []string{"==", "!=", "<", "<=", ">", ">=", "===", "!=="}
	hosts := []string{"192.0.2.1", "192.0.2.2", "198.51.100.7", "2001:db8::1", "2001:db8::2"}
	nets := []string{"192.0.2.0/24", "192.0.0.0/14", "0.0.0.0/0", "2001:db8::/32", "2001:db8::/127", "::/0"}
	pick := func(s []string) string { return s[r.IntN(len(s))] }
	if depth > 0 {
		a, b := randomFilter(r, depth-1), randomFilter(r, depth-1)
		switch r.IntN(5) {
		case 0:
			return "(" + a + ") and (" + b + ")"
		case 1:
			return "(" + a + ") or (" + b + ")"
		case 2:
			return "not (" + a + ")"
		case 3:
			return "(" + a + ") xor (" + b + ")"
		}
	}
	switch r.IntN(12) {
	case 0:
		return pick(ends) + "host " + pick(hosts)
	case 1:
		return pick(ends) + "net " + pick(nets)
	case 2:
		return fmt.Sprintf("%sport %d", pick(ends), 1+r.IntN(4))
	case 3:
		return fmt.Sprintf("%sportrange %d-%d", pick(ends), r.IntN(3), 2+r.IntN(3))
	case 4:
		return fmt.Sprintf("tcp.port %s %d", pick(ops), r.IntN(5))
	case 5:
		return fmt.Sprintf("ip.addr %s %s", pick(ops), hosts[r.IntN(3)])
	case 6:
		return fmt.Sprintf("ipv6.addr %s %s", pick(ops), hosts[3+r.IntN(2)])
	case 7:
		return pick([]string{"ip", "ip6", "tcp", "family == ipv4", "family != ipv4"})
	case 8:
		return fmt.Sprintf("tcp[tcpflags] & %d %s 0", 1+r.IntN(511), pick(ops[:2]))
	case 9:
		return pick([]string{"process curl", "rtt > 5ms", "state established", "has(pid)", "local_port == 3", "remote_ip != 192.0.2.1", "direction == inbound"})
	case 10:
		return pick([]string{"port", "sport", "dport", "tcp.port"}) + pick([]string{" in", " not in"}) + " {1, 3..4, 60000}"
	default:
		return "ip.addr" + pick([]string{" in", " not in"}) + " {192.0.2.1, 198.51.100.0/25, 192.0.2.4..192.0.2.9}"
	}
}

// randomMade makes packets that meet many of those filters.
func randomMade(r *rand.Rand) made {
	v4 := []string{"192.0.2.1", "192.0.2.2", "192.0.2.6", "198.51.100.7", "198.51.100.200"}
	v6 := []string{"2001:db8::1", "2001:db8::2", "2001:db8:5::1", "2002::1"}
	hosts := v4
	if r.IntN(2) == 0 {
		hosts = v6
	}
	m := made{
		src: hosts[r.IntN(len(hosts))], dst: hosts[r.IntN(len(hosts))],
		sport: uint16(r.IntN(6)), dport: uint16(r.IntN(6)), flags: Flags(r.IntN(512)), payload: r.IntN(4),
	}
	if r.IntN(4) == 0 {
		m.options = r.IntN(4)
	}
	switch r.IntN(8) {
	case 0:
		m.vlans = []uint16{etypeVLAN}
	case 1:
		m.vlans = []uint16{etypeQinQ, etypeVLAN, etypeQinQOlder}[:2+r.IntN(2)]
	case 2:
		m.fragment = uint16(r.IntN(4)) | uint16(r.IntN(2))<<13
	case 3:
		m.extension = true
	case 4:
		m.inside = m.ethernet()
		m.proto, m.dport = protoUDP, uint16(tunnelPorts[r.IntN(len(tunnelPorts))])
		m.inside = append(make([]byte, 8), m.inside...)
		m.src, m.dst = "203.0.113.1", "203.0.113.2"
	case 5:
		m.inside = append([]byte{[]byte{3, 11, 8, 0}[r.IntN(4)], 0, 0, 0, 0, 0, 0, 0}, m.network()...)
		m.proto = protoICMP
		m.src, m.dst = "203.0.113.1", "203.0.113.2"
	}
	return m
}

// checkProgram fails if a program rejects a frame whose segment meets the filter,
// whichever end of the connection sent it.
func checkProgram(tb testing.TB, f *filter.Filter, p *Program, link LinkType, data []byte, proto uint16) (passes, meets bool) {
	tb.Helper()
	frame := Frame{Link: link, Data: data, WireLen: uint32(len(data))}
	if link == LinkLinuxSLL2 {
		header := make([]byte, sll2Header)
		binary.BigEndian.PutUint16(header, proto)
		frame.Data = slices.Concat(header, data)
		frame.WireLen += sll2Header
	}
	var s Segment
	passes = run(tb, p, data, proto, 0, 1)
	if Decode(&frame, &s) != TCP {
		return passes, false
	}
	var packet filter.Packet
	packet.Set(s.Tuple, uint16(s.Flags))
	match := f.PacketPredicate()
	conn := &tcp.Conn{Key: tcp.Key{Tuple: s.Tuple}, State: tcp.Established, Direction: tcp.Inbound}
	back := &tcp.Conn{Key: tcp.Key{Tuple: s.Tuple.Reverse()}, State: tcp.Established, Direction: tcp.Outbound}
	meets = match(&packet, nil)
	if !passes && (meets || match(&packet, conn) || match(&packet, back)) {
		tb.Fatalf("%q on %v\nrejects % x\nwhich is %+v\n%s", f, link, data, s.Tuple, p)
	}
	return passes, meets
}

func TestProgramNeverRejectsTooMuch(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	rounds := 4000
	if testing.Short() {
		rounds = 400
	}
	exact, undecided := 0, 0
	for range rounds {
		text := randomFilter(r, r.IntN(4))
		f, err := filter.Parse(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		for _, link := range []LinkType{LinkEthernet, LinkRaw, LinkLinuxSLL2} {
			p, err := CompileProgram(f, link, 256)
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			for range 8 {
				m := randomMade(r)
				data, proto := m.network(), etherTypeOf(m.network())
				if link == LinkEthernet {
					data = m.ethernet()
				}
				whole := len(data)
				if r.IntN(6) == 0 {
					data = data[:r.IntN(len(data)+1)]
				}
				if len(data) == 0 {
					continue
				}
				passes, meets := checkProgram(t, f, p, link, data, proto)
				plain := m.proto == 0 && m.fragment == 0 && !m.extension && len(m.vlans) < 3 && len(data) == whole
				if plain && !f.NeedsConn() && !strings.Contains(text, "addr <") && !strings.Contains(text, "addr >") {
					if passes != meets {
						t.Fatalf("%q on %v: passes %v, meets %v\n% x\n%s", text, link, passes, meets, data, p)
					}
					exact++
				} else {
					undecided++
				}
			}
		}
	}
	if exact < rounds || undecided == 0 {
		t.Errorf("only %d frames were decided exactly, %d not", exact, undecided)
	}
}

func FuzzProgram(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 40 {
		f.Add(randomFilter(r, 2), randomMade(r).ethernet(), uint16(etypeIPv4))
	}
	f.Fuzz(func(t *testing.T, text string, data []byte, proto uint16) {
		if len(data) == 0 || len(text) > 400 {
			return
		}
		fl, err := filter.Parse(text)
		if err != nil {
			return
		}
		for _, link := range []LinkType{LinkEthernet, LinkRaw, LinkLinuxSLL2} {
			p, err := CompileProgram(fl, link, 256)
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			checkProgram(t, fl, p, link, data, proto)
			_ = p.String()
		}
	})
}

func BenchmarkCompileProgram(b *testing.B) {
	f, err := filter.Parse("process curl and (port 443 or net 192.0.2.0/24) and not tcp.flags.syn == 1")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := CompileProgram(f, LinkEthernet, 128); err != nil {
			b.Fatal(err)
		}
	}
}
