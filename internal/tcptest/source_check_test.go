package tcptest

import (
	"strings"
	"testing"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

var now = tcp.Stamp{Wall: 1_700_000_000_000_000_000, Boot: 1_000_000_000}

// goodWalk is a full pass of one batch with one socket.
func goodWalk() *tcp.Batch {
	return &tcp.Batch{
		Source: tcp.SourceNetlink, Time: now,
		Pass: tcp.Pass{Kind: tcp.PassFull, Begin: now, End: true, Namespaces: []uint32{1}},
		Observations: []tcp.Observation{{
			Kind: tcp.Seen, Time: now, State: tcp.Established, Cookie: 7, Has: tcp.HasCookie | tcp.HasRTT,
			Key:     tcp.Key{NetNS: 1, Tuple: tcp.Tuple{LocalPort: 1, RemotePort: 2}},
			Metrics: tcp.Metrics{RTT: 50},
		}},
	}
}

func TestChecker(t *testing.T) {
	part := func(change func(*tcp.Batch)) []*tcp.Batch {
		b := goodWalk()
		change(b)
		return []*tcp.Batch{b}
	}
	socket := func(change func(*tcp.Observation)) []*tcp.Batch {
		return part(func(b *tcp.Batch) { change(&b.Observations[0]) })
	}
	events := func() *tcp.Batch {
		b := goodWalk()
		b.Pass = tcp.Pass{Kind: tcp.PassEvents}
		b.Observations[0].Kind = tcp.SeenClosed
		b.Observations[0].State = tcp.Closed
		return b
	}
	for _, test := range []struct {
		name    string
		batches []*tcp.Batch
		want    string // part of the error; empty is none
	}{
		{"good", part(func(*tcp.Batch) {}), ""},
		{"good, in two batches with events between", []*tcp.Batch{
			part(func(b *tcp.Batch) { b.Pass.End = false })[0], events(),
			socket(func(o *tcp.Observation) { o.Cookie = 8 })[0],
		}, ""},
		{"other source", part(func(b *tcp.Batch) { b.Source = tcp.SourceEBPF }), "batch of source"},
		{"no time", part(func(b *tcp.Batch) { b.Time = tcp.Stamp{} }), "without time"},
		{"no pass", part(func(b *tcp.Batch) { b.Pass = tcp.Pass{} }), "pass kind 0"},
		{"no end", part(func(b *tcp.Batch) { b.Pass.End = false }), "did not end"},
		{"no begin", part(func(b *tcp.Batch) { b.Pass.Begin = tcp.Stamp{} }), "without a beginning"},
		{"no namespace", part(func(b *tcp.Batch) { b.Pass.Namespaces = nil }), "no namespace"},
		{"twice a namespace", part(func(b *tcp.Batch) { b.Pass.Namespaces = []uint32{1, 1} }), "namespaces [1 1]"},
		{"two passes", append(part(func(*tcp.Batch) {}), goodWalk()), "2 full passes"},
		{"delta first", part(func(b *tcp.Batch) { b.Pass.Kind = tcp.PassDelta }), "before the first full pass"},
		{"one in the other", []*tcp.Batch{
			part(func(b *tcp.Batch) { b.Pass.End = false })[0],
			part(func(b *tcp.Batch) { b.Pass.Begin = now.Add(1) })[0],
		}, "inside the one begun"},
		{"events that end", part(func(b *tcp.Batch) { b.Pass.Kind = tcp.PassEvents }), "claim to be a walk"},
		{"twice a socket", part(func(b *tcp.Batch) { b.Observations = append(b.Observations, b.Observations[0]) }), "twice in one walk"},
		{"event in a walk", socket(func(o *tcp.Observation) { o.Kind = tcp.SeenClosed }), "in a walk"},
		{"no state", socket(func(o *tcp.Observation) { o.State = 0 }), "state 0"},
		{"nowhere", socket(func(o *tcp.Observation) { o.NetNS = 0 }), "no namespace"},
		{"never", socket(func(o *tcp.Observation) { o.Time = tcp.Stamp{} }), "no time"},
		{"value without its bit", socket(func(o *tcp.Observation) { o.Metrics.CWND = 10 }), "cwnd is 10"},
		{"bit without a value", socket(func(o *tcp.Observation) { o.Metrics.RTT = 0 }), "rtt 0"},
		{"infinite threshold", socket(func(o *tcp.Observation) {
			o.Has |= tcp.HasSSThresh
			o.Metrics.SSThresh = 0x7fffffff
		}), "infinite is unknown"},
		{"unlimited pacing", socket(func(o *tcp.Observation) {
			o.Has |= tcp.HasPacingRate
			o.Metrics.PacingRate = ^uint64(0)
		}), "unlimited is unknown"},
		{"metrics of a mini-socket", socket(func(o *tcp.Observation) { o.Mini = true }), "no metrics"},
		{"data of a listener", socket(func(o *tcp.Observation) { o.State = tcp.Listen }), "carries no data"},
		{"owner out of nowhere", socket(func(o *tcp.Observation) { o.Owner.PID = 1 }), "attribution unknown"},
		{"attribution to nobody", socket(func(o *tcp.Observation) { o.Attribution = tcp.AttributionScan }), "without an owner"},
		{"fine start time", socket(func(o *tcp.Observation) { o.Owner.Start = 1 }), "is not cut"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := Checker{Kind: tcp.SourceNetlink}
			for _, b := range test.batches {
				c.Batch(b)
			}
			err := c.Done(true)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
