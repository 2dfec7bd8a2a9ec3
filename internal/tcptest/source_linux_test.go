package tcptest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/host"
	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// ssSource is a slow source made of ss, so that the suite is tried on real
// sockets without any of the product's sources.
type ssSource struct{}

func (ssSource) Kind() tcp.SourceKind { return tcp.SourceNetlink }
func (ssSource) Close() error         { return nil }

func (ssSource) Features() []tcp.Feature {
	return []tcp.Feature{{Name: "sockets", Available: true}, {Name: "speed", Reason: "it starts ss", Remedy: "use a real source"}}
}

func (s ssSource) Once(ctx context.Context, sink tcp.Sink) error {
	begin := host.Now()
	list, _, err := netns.List()
	if err != nil {
		return err
	}
	b := tcp.Batch{Source: s.Kind(), Time: begin, Pass: tcp.Pass{Kind: tcp.PassFull, Begin: begin, End: true}}
	for _, n := range list {
		visit := &NetNS{path: n.Path, inode: n.Inode}
		if n.Self {
			visit = nil
		}
		rows, err := SSWithUsers(ctx, visit)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue // other tests' namespaces come and go
		}
		b.Pass.Namespaces = append(b.Pass.Namespaces, n.Inode)
		for i := range rows {
			rows[i].NetNS = n.Inode
			b.Observations = append(b.Observations, observationOf(&rows[i], begin))
		}
	}
	return sink(&b)
}

func (s ssSource) Run(ctx context.Context, sink tcp.Sink) error {
	for {
		if err := s.Once(ctx, sink); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// observationOf goes through the fields' names, which is the way back of
// RowOfObservation for those that the suite looks at.
func observationOf(r *SSRow, now tcp.Stamp) tcp.Observation {
	row := r.Row()
	o := tcp.Observation{
		Kind: tcp.Seen, Time: now, State: r.State, Cookie: r.Cookie, Inode: uint32(r.Inode), UID: uint32(r.UID),
		Has: tcp.HasCookie, Mini: r.Mini(), IPv6: r.IPv6,
		Key: tcp.Key{NetNS: r.NetNS, Tuple: tcp.Tuple{
			Local: tcp.AddrFrom(r.Local.Addr()), LocalPort: r.Local.Port(),
			Remote: tcp.AddrFrom(r.Remote.Addr()), RemotePort: r.Remote.Port(),
		}},
	}
	if len(r.Users) > 0 {
		o.Owner = tcp.Owner{PID: int32(r.Users[0].PID), Comm: tcp.MakeComm(r.Users[0].Name)}
		o.Attribution = tcp.AttributionScan
	}
	if o.Inode != 0 {
		o.Has |= tcp.HasInode
	}
	if o.Mini {
		return o
	}
	o.Has |= tcp.HasUID
	m := &o.Metrics
	if o.State == tcp.Listen {
		m.AcceptQueue, m.Backlog = uint32(r.RecvQ), uint32(r.SendQ)
		o.Has |= tcp.HasAcceptQueue | tcp.HasBacklog
		return o
	}
	m.RecvQueue, m.SendQueue, m.CC, m.AppLimited = uint32(r.RecvQ), uint32(r.SendQ), tcp.MakeCC(r.CC), r.AppLimited
	o.Has |= tcp.HasRecvQueue | tcp.HasSendQueue | tcp.HasCC
	set32 := func(key string, bit tcp.Has, to *uint32) {
		if row.has(key) {
			*to = uint32(row.num(key))
			o.Has |= bit
		}
	}
	set64 := func(key string, bit tcp.Has, to *uint64) {
		if row.has(key) {
			*to = row.num(key)
			o.Has |= bit
		}
	}
	set32("rtt_us", tcp.HasRTT, &m.RTT)
	set32("rttvar_us", tcp.HasRTT, &m.RTTVar)
	set32("min_rtt_us", tcp.HasMinRTT, &m.MinRTT)
	set32("rto_us", tcp.HasRTO, &m.RTO)
	set32("mss", tcp.HasMSS, &m.MSS)
	set32("pmtu", tcp.HasPMTU, &m.PMTU)
	set32("cwnd", tcp.HasCWND, &m.CWND)
	set32("ssthresh", tcp.HasSSThresh, &m.SSThresh)
	set32("retransmits", tcp.HasRetransmits, &m.Retransmits)
	set32("lost", tcp.HasLost, &m.Lost)
	m.Reordering = 3 // the default, which ss leaves out
	o.Has |= tcp.HasReordering
	set32("reordering", tcp.HasReordering, &m.Reordering)
	set32("dsack_dups", tcp.HasDSACKDups, &m.DSACKDups)
	set32("ooo_received", tcp.HasOOOReceived, &m.OOOReceived)
	set32("ecn_ce", tcp.HasECNCE, &m.ECNCE)
	set32("unacked", tcp.HasUnacked, &m.Unacked)
	set32("notsent", tcp.HasNotSent, &m.NotSent)
	set32("snd_wnd", tcp.HasSndWnd, &m.SndWnd)
	set32("segments_sent", tcp.HasSegmentsSent, &m.SegmentsSent)
	set32("segments_received", tcp.HasSegmentsReceived, &m.SegmentsReceived)
	set64("bytes_sent", tcp.HasBytesSent, &m.BytesSent)
	set64("bytes_received", tcp.HasBytesReceived, &m.BytesReceived)
	set64("bytes_retransmitted", tcp.HasBytesRetransmitted, &m.BytesRetransmitted)
	set64("delivery_rate", tcp.HasDeliveryRate, &m.DeliveryRate)
	set64("pacing_rate", tcp.HasPacingRate, &m.PacingRate)
	set64("busy_us", tcp.HasLimited, &m.Busy)
	set64("rwnd_limited_us", tcp.HasLimited, &m.RwndLimited)
	set64("sndbuf_limited_us", tcp.HasLimited, &m.SndbufLimited)
	return o
}

func TestSuiteOnSS(t *testing.T) {
	TestSource(t, func(*testing.T) tcp.Source { return ssSource{} })
}

// TestSceneIsRich makes sure that the scene asks sources something.
func TestSceneIsRich(t *testing.T) {
	scene := NewScene(t, 500)
	rows, err := SS(t.Context(), scene.Namespaces...)
	if err != nil {
		t.Fatal(err)
	}
	states, tokens := map[string]int{}, map[string]int{}
	mine := 0
	for i := range rows {
		if scene.Foreign(rows[i].Row()) {
			continue
		}
		mine++
		states[rows[i].State.String()]++
		for name := range rows[i].Tokens {
			tokens[name]++
		}
	}
	if mine < 600 || len(states) != len(tcp.StateNames())-1 {
		t.Errorf("%d sockets in %d states: %v", mine, len(states), states)
	}
	for _, want := range []string{"bytes_retrans", "retrans", "ssthresh", "rtt", "minrtt", "busy"} {
		if tokens[want] == 0 {
			t.Errorf("no socket has %s", want)
		}
	}
	var never []string
	for i := range ssTokens {
		if tokens[ssTokens[i].name] == 0 {
			never = append(never, ssTokens[i].name)
		}
	}
	t.Logf("%d sockets, states %v; tokens %v; never seen: %s", mine, states, slices.Sorted(maps.Keys(tokens)), strings.Join(never, " "))
}
