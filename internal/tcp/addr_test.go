package tcp

import (
	"net/netip"
	"testing"
)

func TestAddr(t *testing.T) {
	for _, tt := range []struct {
		in, text                   string
		is4, unspecified, loopback bool
	}{
		{"192.0.2.1", "192.0.2.1", true, false, false},
		{"::ffff:192.0.2.1", "192.0.2.1", true, false, false},
		{"0.0.0.0", "0.0.0.0", true, true, false},
		{"127.9.9.9", "127.9.9.9", true, false, true},
		{"::", "::", false, true, false},
		{"::1", "::1", false, false, true},
		{"2001:db8::1", "2001:db8::1", false, false, false},
		{"fe80::1%eth0", "fe80::1", false, false, false},
	} {
		a, err := AddrOf(tt.in)
		if err != nil {
			t.Fatal(err)
		}
		if a.String() != tt.text || string(a.AppendTo(nil)) != tt.text || a.Is4() != tt.is4 ||
			a.IsUnspecified() != tt.unspecified || a.IsLoopback() != tt.loopback {
			t.Errorf("%s: got %v, is4 %v, unspecified %v, loopback %v", tt.in, a, a.Is4(), a.IsUnspecified(), a.IsLoopback())
		}
		if AddrFrom(a.IP()) != a {
			t.Errorf("%s does not survive netip", tt.in)
		}
	}
	if AddrFrom(netip.Addr{}) != (Addr{}) {
		t.Error("no address is not ::")
	}
	if AddrFrom4([4]byte{192, 0, 2, 1}) != AddrFrom(netip.MustParseAddr("::ffff:192.0.2.1")) {
		t.Error("IPv4 does not equal its mapped form")
	}
	if _, err := AddrOf("nonsense"); err == nil {
		t.Error("nonsense is an address")
	}
	tu := Tuple{Local: Addr{15: 1}, Remote: Addr{15: 2}, LocalPort: 3, RemotePort: 4}
	if r := tu.Reverse(); r.Local != tu.Remote || r.RemotePort != 3 || r.Reverse() != tu {
		t.Errorf("reversed is %+v", r)
	}
}
