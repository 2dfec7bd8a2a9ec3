package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/viewtcp/viewtcp/internal/enrich"
	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// answers stands in for the DNS, which must not be asked by a test.
type answers map[string]string

func (a answers) LookupAddr(_ context.Context, addr string) ([]string, error) {
	if name := a[addr]; name != "" {
		return []string{name + "."}, nil
	}
	return nil, errors.New("no such host")
}

func testResolver(t *testing.T, a answers) *resolver {
	t.Helper()
	cfg := enrich.DefaultReverseConfig()
	cfg.Resolver = a
	r := &resolver{dns: enrich.NewReverseDNS(cfg)}
	t.Cleanup(r.close)
	return r
}

func connTo(d byte, s tcp.State) *tcp.Conn {
	return &tcp.Conn{State: s, Key: tcp.Key{Tuple: tcp.Tuple{Remote: tcp.AddrFrom4([4]byte{192, 0, 2, d}), RemotePort: 443}}}
}

func TestResolveNamesWhatMatches(t *testing.T) {
	r := testResolver(t, answers{"192.0.2.1": "one.example", "192.0.2.2": "two.example"})
	conns := []*tcp.Conn{connTo(1, tcp.Established), connTo(2, tcp.Established), connTo(3, tcp.Established), connTo(1, tcp.Listen)}
	for text, want := range map[string][]string{
		"":                         {"one.example", "two.example", "", ""},
		"dst 192.0.2.2":            {"two.example"},
		"remote_name contains one": {"one.example"},
	} {
		f, err := filter.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range r.choose(t.Context(), conns, f) {
			name := ""
			if c.Names != nil {
				name = c.Names.RemoteName
			}
			got = append(got, name)
		}
		if strings.Join(got, ",") != strings.Join(want, ",") {
			t.Errorf("filter %q: names %q, want %q", text, got, want)
		}
	}
	if conns[0].Names != nil {
		t.Error("a published connection was changed")
	}
}

func TestWatchShowsNamesOnceTheyAreKnown(t *testing.T) {
	r := testResolver(t, answers{"192.0.2.1": "one.example"})
	if err := func() error { r.name(connTo(1, tcp.Established)); return r.dns.Wait(t.Context()) }(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	f, err := filter.Parse("remote_name == one.example")
	if err != nil {
		t.Fatal(err)
	}
	c := &watchFlags{common: common{format: formatJSONL}, events: "closed"}
	w, err := newEventWriter(env{stdout: &out, stderr: &out}, c, f)
	if err != nil {
		t.Fatal(err)
	}
	w.dns = r
	e := tcp.Event{Seq: 1, Type: tcp.EventClosed, Conn: connTo(1, tcp.Closed)}
	e.Conn = w.dns.name(e.Conn)
	if !w.wants(&e) {
		t.Fatal("the event does not match by its name")
	}
	w.append(&e)
	if !strings.Contains(string(w.buf), `"remote_name":"one.example"`) {
		t.Errorf("event %s has no name", w.buf)
	}
}

func TestNothingIsAskedUnasked(t *testing.T) {
	for _, c := range []common{{}, {resolve: true, noNames: true}} {
		if r := newResolver(&c); r != nil {
			t.Errorf("flags %+v ask DNS", c)
		}
	}
}
