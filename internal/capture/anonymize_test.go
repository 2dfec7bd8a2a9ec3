package capture

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// panKey is the key of the sample that comes with the authors' implementation.
var panKey = []byte{
	21, 34, 23, 141, 51, 164, 207, 128, 19, 10, 91, 22, 73, 144, 125, 16,
	216, 152, 143, 131, 121, 121, 101, 39, 98, 87, 76, 45, 42, 132, 34, 2,
}

func TestCryptoPAn(t *testing.T) {
	p, err := newCryptoPAn(panKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range [][2]string{
		{"128.11.68.132", "135.242.180.132"},
		{"129.118.74.4", "134.136.186.123"},
		{"130.132.252.244", "133.68.164.234"},
		{"141.223.7.43", "141.167.8.160"},
		{"141.233.145.108", "141.129.237.235"},
		{"152.163.225.39", "151.140.114.167"},
		{"156.29.3.236", "147.225.12.42"},
		{"165.247.96.84", "162.9.99.234"},
		{"166.107.77.190", "160.132.178.185"},
		{"192.102.249.13", "252.138.62.131"},
	} {
		in := netip.MustParseAddr(v[0]).As4()
		for range 2 { // computed, and kept
			if got := netip.AddrFrom4(p.four(in)).String(); got != v[1] {
				t.Errorf("%s becomes %s, want %s", v[0], got, v[1])
			}
		}
	}
	// Prefixes stay common, bit by bit, and no more than they were.
	common := func(a, b []byte) int {
		n := 0
		for n < len(a)*8 && a[n/8]>>(7-n%8)&1 == b[n/8]>>(7-n%8)&1 {
			n++
		}
		return n
	}
	base := [16]byte{0x20, 0x01, 0x0d, 0xb8}
	mapped := p.six(base)
	for bit := range 128 {
		other := base
		other[bit/8] ^= 0x80 >> (bit % 8)
		got := p.six(other)
		if n := common(mapped[:], got[:]); n != bit {
			t.Errorf("%d common bits became %d", bit, n)
		}
	}
	if _, err := newCryptoPAn(panKey[:31]); err == nil {
		t.Error("a short key: no error")
	}
}

// addresses are those of the test frames, in every form they have there.
var addresses = [][]byte{
	host4a.AsSlice(), host4b.AsSlice(), host6a.AsSlice(), host6b.AsSlice(),
	[]byte("\xc0\x00\x02\x09"),                                             // in IP options
	[]byte("\x00\x11\x22\x33\x44\x55"), []byte("\x00\x66\x77\x88\x99\xaa"), // Ethernet
	[]byte("\x02\x00\x00\x00\x00\x01"), []byte("\x02\x00\x00\x00\x00\x02"), []byte("\x02\x00\x00\x00\x00\x03"), []byte("\x02\x00\x00\x00\x00\x04"), // 802.11
	[]byte("\x01\x02\x03\x04\x05\x06"), // SLL
}

// checkAnonymized holds an anonymised frame against the original.
func checkAnonymized(t *testing.T, link LinkType, data []byte, keep bool) []byte {
	t.Helper()
	a, err := NewAnonymizer(AnonymizeOptions{Key: panKey, KeepPayload: keep})
	if err != nil {
		t.Fatal(err)
	}
	f := Frame{Link: link, Data: bytes.Clone(data), WireLen: uint32(len(data)), Comment: "192.0.2.1"}
	before := f
	a.Frame(&f)
	if !bytes.Equal(before.Data, data) {
		t.Error("the original is changed")
	}
	if f.Comment != "" || f.WireLen != before.WireLen {
		t.Errorf("comment %q, wire length %d", f.Comment, f.WireLen)
	}
	var was, is Segment
	r := Decode(&before, &was)
	if got := Decode(&f, &is); r == TCP && got != TCP || keep && got != r {
		t.Fatalf("Decode = %v before and %v after", r, got)
	}
	if r != TCP {
		return f.Data
	}
	if was.Tuple.LocalPort != is.Tuple.LocalPort || was.Seq != is.Seq || was.Len != is.Len || was.TCPOffset != is.TCPOffset || was.Opts != is.Opts {
		t.Errorf("the segment changed: %+v, %+v", was, is)
	}
	if keep {
		if was, is := badChecksum(&before, &was), badChecksum(&f, &is); was != is {
			t.Errorf("the checksum was bad: %t, and is: %t", was, is)
		}
		if was.Info != is.Info {
			t.Errorf("Info was %b and is %b", was.Info, is.Info)
		}
	} else if end := int(is.TCPOffset) + int(is.HeaderLen); len(f.Data) > max(end, int(is.TCPOffset)+20) {
		t.Errorf("%d bytes behind the TCP header", len(f.Data)-end)
	}
	return f.Data
}

func TestAnonymizeEncapsulations(t *testing.T) {
	for _, e := range encapsulations() {
		t.Run(e.name, func(t *testing.T) {
			whole := checkAnonymized(t, e.link, e.data, true)
			if len(whole) != len(e.data) {
				t.Errorf("%d bytes became %d", len(e.data), len(whole))
			}
			cut := checkAnonymized(t, e.link, e.data, false)
			for _, b := range [][]byte{whole, cut} {
				for _, a := range addresses {
					if bytes.Contains(e.data, a) && bytes.Contains(b, a) && e.link != LinkIPOver1394 {
						t.Errorf("% x is still there", a)
					}
				}
			}
			wrong := bytes.Clone(e.data)
			wrong[len(wrong)-1]++
			checkAnonymized(t, e.link, wrong, true)
			for n := range e.data {
				checkAnonymized(t, e.link, e.data[:n], false)
			}
		})
	}
}

// TestAnonymizeChecksums lets tshark verify what tunnels carry, in all layers.
func TestAnonymizeChecksums(t *testing.T) {
	vxlan := join("\x08\x00\x00\x00\x00\x00\x07\x00", ether(0x86dd, segment6()))
	frames := [][]byte{
		ether(0x0800, segment4()),
		ether(0x86dd, ip6(protoUDP, udp(4789, vxlan))),
		ether(0x86dd, ip6(protoICMPv6, icmpError(1, segment6()))),
		ether(0x0800, ip4(protoICMP, icmpError(3, segment4()))),
		ether(0x0800, ip4With(protoTCP, join("\x07\x07\x04\xc0\x00\x02\x09\x00"), 0, plain.bytes())),
	}
	a, err := NewAnonymizer(AnonymizeOptions{KeepPayload: true})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w, err := NewWriter(&out, WriterOptions{Interfaces: testInterfaces()})
	if err != nil {
		t.Fatal(err)
	}
	for i, data := range frames {
		f := Frame{Number: uint64(i), Link: LinkEthernet, Data: data, WireLen: uint32(len(data))}
		a.Frame(&f)
		if err := w.Write(&f, ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	got := tshark(t, out.Bytes(), "tshark", "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE",
		"-T", "fields", "-e", "ip.checksum.status", "-e", "tcp.checksum.status", "-e", "udp.checksum.status", "-e", "icmp.checksum.status", "-e", "icmpv6.checksum.status", "-r")
	if strings.Contains(got, "0") || strings.Count(got, "1") < 10 {
		t.Errorf("status of the checksums, 1 is good:\n%s", got)
	}
}

func TestAnonymizeOthers(t *testing.T) {
	four := func(s string) []byte { return netip.MustParseAddr(s).AsSlice() }
	sum := func(src, dst netip.Addr) []byte { return fill(protoTCP, src, dst, plain.bytes()) }
	home := ip6Whole(60, join(byte(protoTCP), "\x02\x01\x02\x00\x00\xc9\x10", host6b.AsSlice()), sum(host6b, host6b))
	tests := []struct {
		name   string
		link   LinkType
		data   []byte
		secret []byte
		kept   int // without payload
	}{
		{"arp", LinkEthernet, ether(0x0806, join("\x00\x01\x08\x00\x06\x04\x00\x01", make([]byte, 6), four("192.0.2.1"), make([]byte, 6), four("192.0.2.9"), "pad")), four("192.0.2.9"), 42},
		{"arp of something else", LinkEthernet, ether(0x0806, join("\x00\x01\x08\x01\x06\x04\x00\x01", make([]byte, 16), four("192.0.2.9"))), four("192.0.2.9"), 14},
		{"dns", LinkEthernet, ether(0x0800, ip4(protoUDP, udp(53, join("query", four("192.0.2.9"))))), host4a.AsSlice(), 42},
		{"redirect", LinkRaw, ip4(protoICMP, join("\x05\x01\x00\x00", four("192.0.2.9"), segment4())), four("192.0.2.9"), 20 + 8 + 20 + 32},
		{"add_addr", LinkRaw, ip4(protoTCP, segmentSpec{options: join("\x1e\x08\x34\x01", four("192.0.2.9"))}.bytes()), four("192.0.2.9"), 48},
		{"add_addr of ipv6", LinkRaw, ip4(protoTCP, segmentSpec{options: join("\x1e\x14\x36\x01", host6a.AsSlice())}.bytes()), host6a.AsSlice(), 60},
		{"home address", LinkRaw, home, host6b.AsSlice(), 40 + 24 + 32},
		{"later fragment", LinkRaw, ip4With(protoTCP, nil, 185, host4a.AsSlice()), host4b.AsSlice(), 20},
		{"half an ip header", LinkRaw, segment4()[:18], []byte("\xc6\x33"), 0},
		{"unknown ethertype", LinkEthernet, ether(0x1234, segment4()), []byte("\x00\x11\x22\x33\x44\x55"), 14},
		{"pktap", LinkPKTAP, join("\x20\x00\x00\x00\x01\x00\x00\x00\x65\x00\x00\x00", "secretprocess\x00\x00\x00\x00\x00\x00\x00", segment4()), []byte("secret"), 32 + 52},
		{"nflog", LinkNFLog, join("\x02\x00\x00\x00\x0a\x00\x0a\x00secret\x00\x00", byte(4+len(segment4())), "\x00\x09\x00", segment4()), []byte("secret"), 20 + 52},
		{"pflog", LinkPFLog, join("\x10\x02\x00\x00secretsecret", segment4()), []byte("secret"), 16 + 52},
		{"teredo origin", LinkRaw, ip4(protoUDP, udp(3544, join("\x00\x00\x12\x34secr", segment6()))), []byte("secr"), 28 + 8 + 40 + 32},
		{"source route", LinkRaw, ip6Whole(43, join(byte(protoTCP), "\x02\x00\x01\x00\x00\x00\x00", host6a.AsSlice()), sum(host6a, host6a)), host6a.AsSlice(), 40 + 24 + 32},
		{"unknown route", LinkRaw, ip6Ext(43, join(byte(protoTCP), "\x01\x63\x01\x00\x00\x00\x00secret\x00\x00"), plain.bytes()), []byte("secret"), 40 + 16 + 32},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if !bytes.Contains(tt.data, tt.secret) {
				t.Fatal("the test's frame lacks what is looked for")
			}
			whole := checkAnonymized(t, tt.link, tt.data, true)
			cut := checkAnonymized(t, tt.link, tt.data, false)
			if bytes.Contains(cut, tt.secret) || bytes.Contains(whole, tt.secret) {
				t.Errorf("% x is still there", tt.secret)
			}
			if len(cut) != tt.kept || len(whole) != len(tt.data) {
				t.Errorf("%d of %d bytes are kept, want %d; with payload %d", len(cut), len(tt.data), tt.kept, len(whole))
			}
		})
	}
}

// TestAnonymizeKey: the same key gives the same addresses in every file, and
// without one there is a new key each time.
// TestAnonymizeAddr checks that an address becomes what it becomes in a frame.
func TestAnonymizeAddr(t *testing.T) {
	a, err := NewAnonymizer(AnonymizeOptions{Key: panKey})
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{ether(0x0800, segment4()), ether(0x86dd, segment6())} {
		var before, after Segment
		f := Frame{Link: LinkEthernet, Data: bytes.Clone(data), WireLen: uint32(len(data))}
		if Decode(&f, &before) != TCP {
			t.Fatal("no segment")
		}
		a.Frame(&f)
		if Decode(&f, &after) != TCP {
			t.Fatal("no segment any more")
		}
		if got := a.Addr(before.Tuple.Local); got != after.Tuple.Local || got == before.Tuple.Local {
			t.Errorf("%v becomes %v, in a frame %v", before.Tuple.Local, got, after.Tuple.Local)
		}
		if got := a.Addr(before.Tuple.Remote); got != after.Tuple.Remote {
			t.Errorf("%v becomes %v, in a frame %v", before.Tuple.Remote, got, after.Tuple.Remote)
		}
	}
	if lo := tcp.AddrFrom4([4]byte{127, 0, 0, 1}); a.Addr(lo) != lo {
		t.Error("the loopback address was changed")
	}
}

func TestAnonymizeKey(t *testing.T) {
	data := ether(0x0800, segment4())
	run := func(o AnonymizeOptions) []byte {
		a, err := NewAnonymizer(o)
		if err != nil {
			t.Fatal(err)
		}
		if o.Key != nil && !bytes.Equal(a.Key(), o.Key) {
			t.Error("Key is not what was given")
		}
		f := Frame{Link: LinkEthernet, Data: data, WireLen: uint32(len(data))}
		a.Frame(&f)
		return bytes.Clone(f.Data)
	}
	if diff := cmp.Diff(run(AnonymizeOptions{Key: panKey}), run(AnonymizeOptions{Key: panKey})); diff != "" {
		t.Error(diff)
	}
	if bytes.Equal(run(AnonymizeOptions{}), run(AnonymizeOptions{})) {
		t.Error("two random keys gave the same")
	}
	if _, err := NewAnonymizer(AnonymizeOptions{Key: []byte("short")}); err == nil {
		t.Error("a short key: no error")
	}
}

func TestHeadersOnly(t *testing.T) {
	for _, e := range encapsulations() {
		f := Frame{Link: e.link, Data: e.data, WireLen: uint32(len(e.data))}
		var s Segment
		Decode(&f, &s)
		HeadersOnly(&f)
		if want := int(s.TCPOffset) + 32; len(f.Data) != want || f.WireLen != uint32(len(e.data)) {
			t.Errorf("%s: %d bytes are left of %d, want %d", e.name, len(f.Data), len(e.data), want)
		}
	}
}
