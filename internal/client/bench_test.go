package client

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
	"github.com/viewtcp/viewtcp/internal/web"
)

// onlySnapshot is a view that shows the same all the time.
type onlySnapshot struct {
	tcp.View
	snap *tcp.Snapshot
}

func (s onlySnapshot) Snapshot() *tcp.Snapshot { return s.snap }

// BenchmarkList asks a daemon over loopback for 10,000 connections with all their
// fields: the server's work and the client's.
func BenchmarkList(b *testing.B) {
	snap := &tcp.Snapshot{Seq: 1, Time: tcp.Stamp{Wall: 1e18, Boot: 1e15}}
	for _, r := range storetest.NewGenerator(1, 10_000, storetest.Begin, 1).Next(nil, 10_000) {
		snap.Conns = append(snap.Conns, r.Conn)
	}
	f := newFeeder(b)
	s, err := web.New(web.Config{View: onlySnapshot{f.track, snap}, Token: testToken})
	if err != nil {
		b.Fatal(err)
	}
	hs := httptest.NewServer(s.Handler())
	defer hs.Close()
	defer s.Close()
	c, err := New(hs.URL, testToken)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	b.ReportAllocs()
	for b.Loop() {
		l, err := c.List(b.Context(), "", time.Time{})
		if err != nil || len(l.Conns) != len(snap.Conns) {
			b.Fatal(err)
		}
	}
}
