package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/enrich"
	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/host"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/track"
)

// look is one way of following the connections of the host: a source, here or in
// a collector, and the tracker that it feeds.
type look struct {
	e    env
	c    *common
	pick choice
	// tracker is replaced when a source fails and the next one starts.
	tracker *track.Tracker
	// started is called with each tracker before anything reaches it.
	started func(*track.Tracker)
	// ready is called once the first pass of a source has ended.
	ready func(src tcp.SourceKind)
}

func (c *common) choice() choice { return choice{source: c.source, netns: c.netns} }

func newLook(e env, c *common) *look {
	return &look{e: e, c: c, pick: c.choice(), started: func(*track.Tracker) {}, ready: func(tcp.SourceKind) {}}
}

// lookOnce walks all sockets once.
func lookOnce(ctx context.Context, e env, c *common) (*tcp.Snapshot, error) {
	l := newLook(e, c)
	l.pick.once = true
	err := l.feed(ctx, tcp.Source.Once)
	if err != nil {
		return nil, err
	}
	return l.tracker.Snapshot(), nil
}

// feed runs a source's method into the tracker.
func (l *look) feed(ctx context.Context, method func(tcp.Source, context.Context, tcp.Sink) error) error {
	if l.c.collector != "" {
		return l.feedRemote(ctx, method)
	}
	reset := func() {
		l.tracker = newTracker(l.c, bootID(), hostname())
		l.started(l.tracker)
	}
	return l.pick.with(reset, func(src tcp.Source, fell []string) error {
		return method(src, ctx, newAttacher().sink(l.sink(func(incomplete string) string {
			return partial(src.Kind(), l.c.netns, fell, incomplete)
		})))
	})
}

func (l *look) feedRemote(ctx context.Context, method func(tcp.Source, context.Context, tcp.Sink) error) error {
	client, err := dialCollector(ctx, l.c.collector, l.c.source, l.c.netns)
	if err != nil {
		return err
	}
	h := client.Hello()
	l.tracker = newTracker(l.c, h.BootID, h.Host)
	l.started(l.tracker)
	return method(client, ctx, l.sink(func(incomplete string) string {
		switch {
		case incomplete == "":
			return h.Warning
		case h.Warning == "":
			return "partial view: " + incomplete
		default:
			return h.Warning + "; " + incomplete
		}
	}))
}

// sink feeds the tracker and, when the first pass has ended, prints the warning
// for what is hidden and what the pass says that it left out.
func (l *look) sink(warning func(incomplete string) string) tcp.Sink {
	t, passed := l.tracker, false
	return func(b *tcp.Batch) error {
		source, end := b.Source, b.Pass.End
		if err := t.Apply(b); err != nil {
			return err
		}
		if end && !passed {
			passed = true
			l.e.warn(warning(t.Snapshot().Stats.Incomplete))
			l.ready(source)
		}
		return nil
	}
}

func newTracker(c *common, boot, hostName string) *track.Tracker {
	cfg := track.DefaultConfig()
	cfg.IDs = tcp.NewIDs(boot)
	cfg.EphemeralLow, cfg.EphemeralHigh = ephemeralPorts()
	cfg.Names = names(c, hostName)
	cfg.Expect = socketsInUse()
	return track.New(cfg)
}

// names returns what names connections; with -n that is the host's name alone.
func names(c *common, hostName string) func(*tcp.Conn) *tcp.Names {
	if c.noNames {
		only := &tcp.Names{Host: hostName}
		return func(*tcp.Conn) *tcp.Names { return only }
	}
	cfg := enrich.DefaultConfig()
	cfg.Host = hostName
	return enrich.New(cfg).Names
}

func bootID() string {
	id, err := host.BootID()
	if err != nil {
		return "" // ids are then stable within this program only
	}
	return id
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}

// socketsInUse reads how many TCP sockets there are in the own namespace, 0 when
// that cannot be known (/proc/net/sockstat).
func socketsInUse() int {
	b, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		var inUse, orphans, timeWait int
		if _, err := fmt.Sscanf(line, "TCP: inuse %d orphan %d tw %d", &inUse, &orphans, &timeWait); err == nil {
			return min(max(inUse, 0)+max(timeWait, 0), 1<<20)
		}
	}
	return 0
}

// ephemeralPorts reads the range that the kernel takes automatic ports from.
func ephemeralPorts() (low, high uint16) {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 0, 0
	}
	if _, err := fmt.Sscan(string(b), &low, &high); err != nil {
		return 0, 0
	}
	return low, high
}

// filterOptions are what filters of a command line may refer to.
func filterOptions() filter.Options {
	return filter.Options{Now: time.Now(), Services: filter.SystemServices()}
}
