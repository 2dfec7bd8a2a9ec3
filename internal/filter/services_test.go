package filter

import (
	"errors"
	"strings"
	"testing"
	"testing/iotest"
)

const servicesFile = `# a comment
tcpmux		1/tcp				# TCP port service multiplexer
echo		7/tcp
echo		7/udp
discard		9/tcp		sink null
https		4443/tcp   # not the usual one
SHOP		7777/tcp	Kiosk
udponly		99/udp
bad		x/tcp
zero		0/tcp
toolarge	70000/tcp
lonely
`

func TestReadServices(t *testing.T) {
	s, err := ReadServices(strings.NewReader(servicesFile))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]uint16{
		"tcpmux": 1, "echo": 7, "null": 9, "sink": 9, "shop": 7777, "kiosk": 7777, "KIOSK": 7777,
		"https": 4443, "ssh": 22, "udponly": 0, "bad": 0, "zero": 0, "toolarge": 0, "lonely": 0, "9/tcp": 0,
	} {
		if got, ok := s.lookup(name); got != want || ok != (want != 0) {
			t.Errorf("%s is %d, %v; want %d", name, got, ok, want)
		}
	}
	f, err := ParseWith("port kiosk", Options{Services: s})
	if err != nil || f.String() != "port == 7777" {
		t.Errorf("got %v, %v", f, err)
	}
	boom := errors.New("boom")
	if _, err := ReadServices(iotest.ErrReader(boom)); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	var none Services
	if p, _ := none.lookup("https"); p != 443 {
		t.Errorf("https is %d", p)
	}
	for name, port := range SystemServices() {
		if port == 0 {
			t.Errorf("%s has no port", name)
		}
	}
}
