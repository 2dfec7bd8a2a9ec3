package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/track"
)

// packetRecorder keeps the recent past of packets while serve runs: a capture
// whose connections are those of serve's own tracker.
type packetRecorder struct {
	dir  string
	log  *slog.Logger
	view *liveView

	mu      sync.Mutex
	p       *capturing         // guarded by mu; nil while nothing is recorded
	why     string             // guarded by mu; why nothing is
	stop    context.CancelFunc // guarded by mu
	running sync.WaitGroup
	known   bool // guarded by mu; the source has seen all connections
	// total is what captures that have ended counted.
	total recorderCounts // guarded by mu
}

// recorderCounts are the numbers of recorders; those of several add up.
type recorderCounts struct {
	added, recorded, cut, unsampled, lost, dropped uint64
	segments                                       int
	bytes                                          int64
}

const (
	// recordAgain is the time between the end of a capture and the next attempt.
	recordAgain = 5 * time.Second
	// recordSegment is how large a file of packets becomes, bytes. What its index
	// will say is in memory until then: 5 MB for the headers of short connections,
	// of which there may be two, this one and the one that is being sealed.
	recordSegment = 16 << 20
	// recordLast is how long the last packets wait for their connections: the
	// source may have ended before them, and tells of none any more.
	recordLast = time.Second
	// recordClosed is how long after its close a socket is found: twice as long as
	// a packet may wait for it.
	recordClosed = 2 * holdLongest
)

// captureFlags are the flags of capture that record as the configuration says.
func (c *packetsConfig) captureFlags(dir string) (*captureFlags, error) {
	f := &captureFlags{interfaces: c.interfaces, comments: commentsAll, wireshark: "4.4", snaplen: uint32(c.snaplen), ringBytes: ringSize(c.ring)}
	f.source, f.netns = "auto", c.netns
	f.record = recordFlags{dir: dir, size: formatSize(c.maxBytes), age: c.maxAge, cutoff: c.cutoff, sample: uint32(c.sample)}
	if err := f.record.check(f); err != nil {
		return f, err
	}
	f.record.cfg.SegmentBytes = min(f.record.cfg.SegmentBytes, recordSegment)
	return f, nil
}

// start records until the context ends or stop is called. What cannot work here
// is told once; what fails later is tried again.
func (r *packetRecorder) start(ctx context.Context, c *packetsConfig) {
	if !c.enabled {
		r.idle("packets are not recorded: packets.enabled is false")
		return
	}
	flags, err := c.captureFlags(r.dir)
	var p *capturing
	if err == nil {
		p, err = r.open(ctx, flags)
	}
	if err != nil {
		r.idle("packets are not recorded: " + err.Error())
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	r.mu.Lock()
	r.stop = cancel
	r.mu.Unlock()
	r.running.Go(func() {
		for {
			r.follow(ctx, p)
			for p = nil; p == nil; {
				timer := time.NewTimer(recordAgain)
				select {
				case <-ctx.Done():
					timer.Stop()
					return
				case <-timer.C:
				}
				if p, err = r.open(ctx, flags); err != nil {
					p = nil
					r.idle("packets are not recorded: " + err.Error())
				}
			}
		}
	})
}

// end stops recording and waits until the files are whole.
func (r *packetRecorder) end() {
	r.mu.Lock()
	stop := r.stop
	r.stop = nil
	r.mu.Unlock()
	if stop != nil {
		stop()
	}
	r.running.Wait()
}

func (r *packetRecorder) idle(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.why = why
}

// open begins a capture; it reads nothing yet.
func (r *packetRecorder) open(ctx context.Context, flags *captureFlags) (*capturing, error) {
	all, err := filter.Parse("")
	if err != nil {
		return nil, err
	}
	p := newCapturing(env{stderr: &logLines{log: r.log}}, flags, all)
	p.join.begun = time.Now().UnixNano()
	if err = p.open(); err == nil {
		err = p.openOutputs(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if t, _ := r.view.current(); t != nil {
		p.join.tracker.Store(t)
	}
	p.join.known.Store(r.known)
	r.p, r.why = p, ""
	return p, nil
}

// follow reads packets until the capture ends.
func (r *packetRecorder) follow(ctx context.Context, p *capturing) {
	err := p.readAll(ctx)
	p.finish(recordLast)
	err = errors.Join(err, p.failed, p.end())
	r.mu.Lock()
	r.total = r.countsOf(p)
	r.total.segments, r.total.bytes = 0, 0
	r.p = nil
	if err != nil {
		r.why = "packets are not recorded: " + err.Error()
	}
	r.mu.Unlock()
	err = errors.Join(err, p.close())
	if err != nil {
		r.log.Error("recording packets ended", "err", err)
	}
}

// begin joins packets with the connections of a tracker. Where none are recorded
// it need not remember what has closed.
func (r *packetRecorder) begin(t *track.Tracker) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.p != nil {
		t.RememberClosed(recordClosed)
		r.p.join.tracker.Store(t)
	}
}

// passed says that the source has seen all connections.
func (r *packetRecorder) passed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known = true
	if r.p != nil {
		r.p.join.known.Store(true)
	}
}

// countsOf adds the counts of a capture to those before it. r.mu is held.
func (r *packetRecorder) countsOf(p *capturing) recorderCounts {
	n := r.total
	if p == nil || p.recorder == nil {
		return n
	}
	st := p.recorder.Stats()
	n.added += st.Added
	n.recorded += st.Recorded
	n.cut += st.Cut + p.cutByKernel()
	n.unsampled += st.Unsampled
	n.lost += st.Lost
	n.dropped += p.stats().Dropped
	n.segments, n.bytes = st.Segments, st.Bytes
	return n
}

// counts are what became of packets, and why there is no recording if there is
// none.
func (r *packetRecorder) counts() (n recorderCounts, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.countsOf(r.p), r.why
}

// where says what is recorded, for people.
func (r *packetRecorder) where() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.p == nil {
		return r.why
	}
	var names []string
	for _, s := range r.p.spaces {
		for _, at := range s.live.Interfaces() {
			names = append(names, at.Name)
		}
	}
	what := "headers"
	if n := r.p.c.snaplen; n > 0 {
		what = fmt.Sprintf("%d bytes of each", n)
	}
	return "recording packets (" + what + ") on " + strings.Join(names, ", ") + ", up to " + r.p.c.record.size
}

// flush writes out what waits in memory.
func (r *packetRecorder) flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.p != nil && r.p.recorder != nil {
		r.p.recorder.Tick(time.Now())
	}
}
