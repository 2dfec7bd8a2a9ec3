package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/viewtcp/viewtcp/internal/analysis"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// TestScore holds the analysis against the captures of VIEWTCP_CAPTURES, which
// are not part of the repository. The floors are the targets of the project, or
// just below what was reached where that is better.
func TestScore(t *testing.T) {
	dir := need.Captures(t)
	r, err := score(t.Context(), dir, analysis.DefaultConfig())
	need.That(t, !errors.Is(err, errNoTruth), "truth/files.csv beside the captures")
	if err != nil {
		t.Fatal(err)
	}
	for _, floor := range []struct {
		name     string
		got, min float64
	}{
		{"packets with equal flags", r.masks.part(), 0.999},
		{"stream numbers", r.numbered.part(), 0.995},
		{"directions", r.dirs.part(), 0.999},
		{"bytes in flight", r.flights.part(), 0.998},
		{"ack RTT", r.ackRTTs.part(), 0.998},
		{"numbers of duplicate ACKs", r.dups.part(), 0.999},
		{"streams", r.streams.part(), 0.99},
		{"packets of streams", r.packets.part(), 0.99},
		{"bytes of streams", r.bytes.part(), 0.99},
		{"payload of streams", r.payload.part(), 0.99},
		{"completeness", r.completeness.part(), 0.995},
		{"initial RTT", r.initialRTT.part(), 0.99},
		{"ends exact at the sender", r.connections.part(), 1},
		{"retransmissions at the sender", r.sender.f1(), 1},
		{"retransmissions at the far end", r.far.f1(), 0.98},
		{"copies at the far end", r.farCopies.f1(), 0.95},
	} {
		if floor.got < floor.min {
			t.Errorf("%s: %.5f, want %.5f", floor.name, floor.got, floor.min)
		}
	}
	if t.Failed() {
		var b bytes.Buffer
		r.print(&printer{w: &b}, 5)
		t.Log(b.String())
	}
}

func TestTally(t *testing.T) {
	var a tally
	for range 8 {
		a.add(true, true)
	}
	a.add(false, true)
	a.add(false, true)
	a.add(true, false)
	a.add(false, false)
	if a != (tally{8, 2, 1}) || a.recall() != 0.8 || a.f1() < 0.842 || a.f1() > 0.843 {
		t.Errorf("%+v, recall %v, F1 %v", a, a.recall(), a.f1())
	}
	if (tally{}).f1() != 1 || (tally{missed: 1, wrong: 1}).f1() != 0 || (share{}).part() != 1 {
		t.Error("the ends of the scale")
	}
}

func TestCommand(t *testing.T) {
	t.Setenv("VIEWTCP_CAPTURES", "")
	var b bytes.Buffer
	if err := command(context.Background(), nil, &b); err == nil || !strings.Contains(err.Error(), "VIEWTCP_CAPTURES") {
		t.Errorf("without a directory: %v", err)
	}
	if err := command(context.Background(), []string{t.TempDir()}, &b); !errors.Is(err, errNoTruth) {
		t.Errorf("of an empty directory: %v", err)
	}
	if err := command(context.Background(), []string{"-no-such-flag"}, &b); err == nil {
		t.Error("any flag will do")
	}
}
