package tcp

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// TestRegistry holds each field against what all that is built from the registry
// relies on.
func TestRegistry(t *testing.T) {
	nameForm := regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	seen := map[string]string{}
	columns := map[string]string{}
	table := map[int]string{}
	drop := map[int]string{}
	for _, f := range Fields() {
		names := append([]string{f.Name}, f.Aliases...)
		if f.Short != "" {
			names = append(names, f.Short)
		}
		for _, n := range names {
			if !nameForm.MatchString(n) {
				t.Errorf("%s: %q is not a name", f.Name, n)
			}
			if other, ok := seen[n]; ok {
				t.Errorf("%q is a name of %s and of %s", n, other, f.Name)
			}
			seen[n] = f.Name
			if FieldByName(n) != f || FieldByName(strings.ToUpper(n)) != f {
				t.Errorf("FieldByName(%q) is not %s", n, f.Name)
			}
		}
		if f.Column == "" || f.Doc == "" || f.Group.String() == "" || f.Kind.String() == "" {
			t.Errorf("%s lacks its column, doc, group or kind", f.Name)
		}
		if other, ok := columns[f.Column]; ok {
			t.Errorf("column %s heads %s and %s", f.Column, other, f.Name)
		}
		columns[f.Column] = f.Name
		if !strings.HasSuffix(f.Doc, ".") || strings.ContainsAny(f.Doc, "\n|") {
			t.Errorf("%s: doc is not one sentence: %q", f.Name, f.Doc)
		}

		wantStr := f.Kind == KindString || f.Kind == KindEnum
		wantAddr := f.Kind == KindAddr
		if (f.Str != nil) != wantStr || (f.Addr != nil) != wantAddr || (f.Num != nil) != (!wantStr && !wantAddr) {
			t.Errorf("%s: the getter does not fit kind %v", f.Name, f.Kind)
		}
		if (f.Enum != nil) != (f.Kind == KindEnum) {
			t.Errorf("%s: kind %v and values %q", f.Name, f.Kind, f.Enum)
		}
		if (f.Kind == KindDuration) != strings.HasSuffix(f.Name, "_us") {
			t.Errorf("%s: durations, and they alone, end in _us", f.Name)
		}
		if f.Kind == KindDuration && f.Short != strings.TrimSuffix(f.Name, "_us") {
			t.Errorf("%s: the name without the unit is %q", f.Name, f.Short)
		}

		if (f.Table == 0) != (f.Drop == 0) {
			t.Errorf("%s: place %d in the table, but order of dropping %d", f.Name, f.Table, f.Drop)
		}
		if f.Table != 0 {
			if table[f.Table] != "" || drop[f.Drop] != "" {
				t.Errorf("%s shares its place %d or %d with %s%s", f.Name, f.Table, f.Drop, table[f.Table], drop[f.Drop])
			}
			table[f.Table], drop[f.Drop] = f.Name, f.Name
		}
	}
	for name, want := range map[string]string{"local": "local_ip local_port", "remote": "remote_ip remote_port", "pid": "pid", "no_such_field": "", "": ""} {
		var got []string
		for _, f := range FieldsByName(name) {
			got = append(got, f.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("FieldsByName(%q) is %q, want %q", name, got, want)
		}
	}
	if FieldByName("no_such_field") != nil || FieldByName("") != nil {
		t.Error("a field that is none has been found")
	}
	names := FieldNames()
	if len(names) != len(Fields()) || !slices.IsSorted(names) {
		t.Errorf("FieldNames: %d of %d, sorted %v", len(names), len(Fields()), slices.IsSorted(names))
	}
}

// TestContract checks that the fields which scripts rely on are there.
func TestContract(t *testing.T) {
	for n := range strings.FieldsSeq(`
		id peer_id host netns cookie family direction source observer interface complete sample_rate
		local_ip local_port remote_ip remote_port remote_name sni alpn http_host service country asn as_org
		nat_remote_ip nat_remote_port pid process exe cmdline uid user container unit cgroup attribution
		state opened opened_exact closed duration_us handshake_us closed_by close_reason
		bytes_sent bytes_received bytes_missed segments_sent segments_received send_rate receive_rate
		send_queue recv_queue notsent unacked accept_queue backlog
		rtt_us rttvar_us min_rtt_us rto_us mss pmtu retransmits bytes_retransmitted lost reordering dsack_dups
		ooo_received ecn_ce cwnd ssthresh snd_wnd rcv_wnd delivery_rate pacing_rate app_limited busy_us
		rwnd_limited_us sndbuf_limited_us congestion_control
		packets_sent packets_received wire_bytes_sent wire_bytes_received initial_rtt_us retransmissions
		fast_retransmissions spurious_retransmissions out_of_order dup_acks lost_segments zero_windows
		window_full keep_alives resets fins syns conn_state history completeness`) {
		if f := FieldByName(n); f == nil || f.Name != n {
			t.Errorf("the field %s is missing", n)
		}
	}
}

// TestUnknown checks that nothing is known of the zero connection but what is
// never unknown, and that what is unknown leaves no trace in a text.
func TestUnknown(t *testing.T) {
	always := map[string]string{
		"family": "ipv6", "direction": "unknown", "complete": "false", "attribution": "unknown",
		"local_ip": "::", "remote_ip": "::",
	}
	for _, f := range Fields() {
		want, known := always[f.Name]
		got, ok := f.AppendText([]byte("x"), &Conn{})
		if ok != known || f.Known(&Conn{}) != known || string(got) != "x"+want {
			t.Errorf("%s of the zero connection is %q, known %v", f.Name, got[1:], ok)
		}
	}
	// A listener has no other end.
	l := &Conn{State: Listen}
	for _, n := range []string{"remote_ip", "remote_port"} {
		if FieldByName(n).Known(l) {
			t.Errorf("%s of a listener is known", n)
		}
	}
}

// TestHas checks that a metric with its bit is known though it is zero, and
// unknown without it though it is not, and that no two fields that differ read
// the same value.
func TestHas(t *testing.T) {
	var full Conn
	full.Has = ^Has(0)
	bare := Conn{Metrics: Metrics{BytesSent: 1, RTT: 1, CWND: 1, Lost: 1}, UID: 1, Cookie: 1}
	for _, f := range Fields() {
		switch f.Group {
		case GroupVolume, GroupPath, GroupWindows:
		default:
			if !slices.Contains([]string{"cookie", "inode", "uid", "handshake_us"}, f.Name) {
				continue
			}
		}
		if !f.Known(&full) {
			t.Errorf("%s is unknown though its bit is set", f.Name)
		}
		if f.Known(&bare) {
			t.Errorf("%s is known though its bit is clear", f.Name)
		}
		needs := 0
		for bit := range 64 {
			if !f.Known(&Conn{Has: ^(1 << bit)}) {
				needs++
			}
		}
		if needs != 1 {
			t.Errorf("%s depends on %d bits", f.Name, needs)
		}
	}
}

// sample is a connection of which every field is known.
func sample() *Conn {
	process := &Process{
		ProcessID: ProcessID{PID: 812, Start: 5}, Name: "nginx", Exe: "/usr/sbin/nginx", Cmdline: "nginx: worker",
		User: "www-data", Container: "0123456789ab", Unit: "nginx.service", Cgroup: "/system.slice/nginx.service",
	}
	names := &Names{
		Host: "web1", RemoteName: "client.example.org", SNI: "example.org", ALPN: "h2", HTTPHost: "www.example.org",
		Service: "nginx.service", Country: "DE", ASN: 64496, ASOrg: "Example", Observer: "tap0", Interface: "eth0",
		NATRemote: AddrFrom4([4]byte{203, 0, 113, 9}), NATPort: 4444, SampleRate: 10,
	}
	packets := &PacketStats{
		Packets: [2]uint64{1, 2}, WireBytes: [2]uint64{3, 4}, Retransmissions: [2]uint32{5, 6},
		RTTSamples: [2]uint32{8, 9},
		InitialRTT: 700, ConnState: "SF", History: "ShADadFf", Completeness: 31,
	}
	return &Conn{
		Key: Key{Tuple: Tuple{
			Local: AddrFrom4([4]byte{192, 0, 2, 1}), Remote: AddrFrom4([4]byte{198, 51, 100, 7}),
			LocalPort: 443, RemotePort: 51000,
		}, NetNS: 4026531840},
		ID: 0x0123456789abcdef, PeerID: 2, Cookie: 1 << 63, Has: ^Has(0),
		Opened: Stamp{Wall: 1_700_000_000_000_000_001, Boot: 1e9}, Closed: Stamp{Wall: 1_700_000_002_000_000_000, Boot: 3e9},
		Process: process, Names: names, Packets: packets,
		Metrics: Metrics{
			BytesSent: 1 << 40, BytesReceived: 7, RTT: 60_000, RTTVar: 10, MinRTT: 50_000, CC: MakeCC("cubic"),
			AppLimited: true, PacingRate: 9, Retransmits: 3,
		},
		Handshake: 123, Inode: 456, UID: 33, State: Closed, Direction: Inbound, Source: SourceEBPF,
		Attribution: AttributionExact, ClosedBy: SideRemote, Reason: CloseRSTReceived, OpenedExact: true, Complete: true,
	}
}

func TestAppendText(t *testing.T) {
	c := sample()
	want := map[string]string{
		"id": "c028q5cu4qnjff", "peer_id": "c0000000000002", "host": "web1", "netns": "4026531840",
		"cookie": "9223372036854775808", "inode": "456", "family": "ipv4", "direction": "inbound", "source": "ebpf",
		"complete": "true", "local_ip": "192.0.2.1", "local_port": "443", "remote_ip": "198.51.100.7",
		"nat_remote_ip": "203.0.113.9", "nat_remote_port": "4444", "asn": "64496", "pid": "812", "process": "nginx",
		"uid": "33", "attribution": "exact", "state": "CLOSED", "opened": "2023-11-14T22:13:20.000000001Z",
		"closed": "2023-11-14T22:13:22.000000000Z", "opened_exact": "true", "duration_us": "2000000", "handshake_us": "123",
		"closed_by": "remote", "close_reason": "rst_received", "bytes_sent": "1099511627776", "rtt_us": "60000",
		"congestion_control": "cubic", "app_limited": "true", "packets_sent": "1", "packets_received": "2",
		"retransmissions": "11", "retransmissions_sent": "5", "initial_rtt_us": "700", "conn_state": "SF", "completeness": "31",
	}
	buf := make([]byte, 0, 256)
	for _, f := range Fields() {
		got, ok := f.AppendText(buf[:0], c)
		if !ok || len(got) == 0 {
			t.Errorf("%s of a connection with everything is %q, known %v", f.Name, got, ok)
		}
		if w, ok := want[f.Name]; ok && w != string(got) {
			t.Errorf("%s is %q, want %q", f.Name, got, w)
		}
		if f.Kind == KindEnum && !slices.Contains(f.Enum, string(got)) {
			t.Errorf("%s is %q, none of %q", f.Name, got, f.Enum)
		}
		if n := testing.AllocsPerRun(20, func() { buf, _ = f.AppendText(buf[:0], c) }); n != 0 {
			t.Errorf("%s: %v allocations", f.Name, n)
		}
	}
	v6 := &Conn{Key: Key{Tuple: Tuple{Local: Addr{15: 1}, Remote: Addr{0: 0x20, 1: 1, 2: 0x0d, 3: 0xb8, 15: 9}}}}
	for n, w := range map[string]string{"local_ip": "::1", "remote_ip": "2001:db8::9", "family": "ipv6"} {
		if got, _ := FieldByName(n).AppendText(nil, v6); string(got) != w {
			t.Errorf("%s is %q, want %q", n, got, w)
		}
	}
}

func TestFamily(t *testing.T) {
	v4, v6, any4, any6 := AddrFrom4([4]byte{192, 0, 2, 1}), Addr{15: 1}, AddrFrom4([4]byte{}), Addr{}
	for _, tt := range []struct {
		local, remote Addr
		want          string
	}{
		{v4, v4, "ipv4"}, {v6, v6, "ipv6"}, {any4, any4, "ipv4"}, {any6, any6, "ipv6"}, {any6, v4, "ipv4"}, {v6, any6, "ipv6"},
	} {
		c := &Conn{Key: Key{Tuple: Tuple{Local: tt.local, Remote: tt.remote}}}
		if got := family(c); got != tt.want {
			t.Errorf("%v to %v is %s, want %s", tt.local, tt.remote, got, tt.want)
		}
	}
}

// TestOrder: numbers go from the largest on, ports and texts from the smallest, what
// is unknown is last, and what is equal stays in its order: each also in reverse.
func TestOrder(t *testing.T) {
	conn := func(port uint16, rtt uint32, process string) *Conn {
		c := &Conn{Key: Key{Tuple: Tuple{LocalPort: port}}, Metrics: Metrics{RTT: rtt}}
		if rtt > 0 {
			c.Has = HasRTT
		}
		if process != "" {
			c.Process = &Process{Name: process}
		}
		return c
	}
	for _, tt := range []struct {
		field   string
		reverse bool
		want    string // local ports
	}{
		{"rtt_us", false, "14325"},
		{"rtt_us", true, "31425"},
		{"process", false, "31425"},
		{"process", true, "21435"},
		{"local_port", false, "12345"},
		{"local_port", true, "54321"},
	} {
		conns := []*Conn{conn(1, 900, "b"), conn(2, 0, "c"), conn(3, 100, "a"), conn(4, 900, "b"), conn(5, 0, "")}
		slices.SortStableFunc(conns, FieldByName(tt.field).Order(tt.reverse))
		var got []byte
		for _, c := range conns {
			got = strconv.AppendUint(got, uint64(c.LocalPort), 10)
		}
		if string(got) != tt.want {
			t.Errorf("%s, reverse %t: %s, want %s", tt.field, tt.reverse, got, tt.want)
		}
	}
}

func TestCompare(t *testing.T) {
	known := func(rtt uint32) *Conn { return &Conn{Has: HasRTT, Metrics: Metrics{RTT: rtt}} }
	to := func(a Addr) *Conn { return &Conn{Key: Key{Tuple: Tuple{Remote: a}}} }
	proc := func(n string) *Conn { return &Conn{Process: &Process{Name: n}} }
	for _, tt := range []struct {
		field string
		a, b  *Conn
		want  int
	}{
		{"rtt_us", known(1), known(2), -1},
		{"rtt_us", known(2), known(1), 1},
		{"rtt_us", known(2), known(2), 0},
		{"rtt_us", known(9), &Conn{}, -1},
		{"rtt_us", &Conn{}, known(9), 1},
		{"rtt_us", &Conn{}, &Conn{}, 0},
		{"process", proc("a"), proc("b"), -1},
		{"process", proc("b"), proc("a"), 1},
		{"process", proc("z"), proc(""), -1},
		{"remote_ip", to(AddrFrom4([4]byte{9, 0, 0, 1})), to(AddrFrom4([4]byte{10, 0, 0, 1})), -1},
		{"remote_ip", to(AddrFrom4([4]byte{10, 0, 0, 1})), to(Addr{15: 1}), -1},
		{"remote_ip", &Conn{State: Listen}, to(Addr{15: 1}), 1},
		{"remote_ip", &Conn{State: Listen}, &Conn{State: Listen}, 0},
	} {
		if got := FieldByName(tt.field).Compare(tt.a, tt.b); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.field, got, tt.want)
		}
	}
	// Every field orders totally: a and b one way are b and a the other.
	all := []*Conn{sample(), {}, {State: Listen}, known(5), proc("x")}
	for _, f := range Fields() {
		for i, a := range all {
			for j, b := range all {
				if f.Compare(a, b) != -f.Compare(b, a) {
					t.Errorf("%s: %d and %d have no order", f.Name, i, j)
				}
			}
		}
	}
}

func TestDuration(t *testing.T) {
	at := func(s int64) Stamp { return Stamp{Wall: s * 1e9, Boot: s * 1e9} }
	var clock atomic.Int64
	clock.Store(7e9)
	for _, tt := range []struct {
		c    Conn
		want string
	}{
		{Conn{Opened: at(1), Updated: at(4)}, "3s true"},
		{Conn{Opened: at(1), Closed: at(3), Updated: at(9)}, "2s true"},
		{Conn{Opened: at(5), Updated: at(4)}, "0s true"},
		{Conn{Updated: at(4)}, "0s false"},
		{Conn{Opened: at(1), Updated: at(4), Clock: &clock}, "6s true"},
		{Conn{Opened: at(1), Closed: at(3), Updated: at(4), Clock: &clock}, "2s true"},
		{Conn{Opened: Stamp{Wall: 9e18, Boot: 1e9}, Updated: Stamp{Wall: 1, Boot: 2e9}}, "1s true"},
	} {
		d, ok := tt.c.Duration()
		if got := fmt.Sprint(d, ok); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}
