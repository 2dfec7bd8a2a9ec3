package tui

import (
	"context"
	"sync"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// feedMsg is news: a snapshot if there is a new one, and what has happened.
type feedMsg struct {
	snap   *tcp.Snapshot
	events []tcp.Event
	// skipped is the events that were too many to be kept.
	skipped uint64
	status  Status
}

// intervalSteps are how often the screen takes a new snapshot.
var intervalSteps = []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute}

const (
	// readerBuffer is how many events wait for us before they are counted
	// instead of kept; maxPending how many wait for the next look.
	readerBuffer = 1 << 15
	maxPending   = 1 << 15
)

// pending gathers events until the next look.
type pending struct {
	mu      sync.Mutex
	events  []tcp.Event
	skipped uint64
}

func (p *pending) add(es []tcp.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	room := max(maxPending-len(p.events), 0)
	if room < len(es) {
		p.skipped += uint64(len(es) - room)
		es = es[:room]
	}
	p.events = append(p.events, es...)
}

func (p *pending) take() (es []tcp.Event, skipped uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	es, skipped = p.events, p.skipped
	p.events, p.skipped = nil, 0
	return es, skipped
}

// follow sends news of a view until ctx ends: snapshots at most once an interval,
// events soon after they happened. All that it started has ended on return.
func follow(ctx context.Context, cfg *Config, intervals <-chan time.Duration, send func(feedMsg)) {
	var p pending
	sub := cfg.View.Subscribe(readerBuffer)
	var reader sync.WaitGroup
	reader.Go(func() {
		defer sub.Close()
		var es []tcp.Event
		for {
			var err error
			if es, err = sub.Next(ctx, es[:0]); err != nil {
				return
			}
			p.add(es)
		}
	})
	defer reader.Wait()

	ticker := time.NewTicker(cfg.Poll)
	defer ticker.Stop()
	interval := intervalSteps[0]
	var last feedMsg
	var seq uint64
	for {
		s := cfg.View.Snapshot()
		msg := feedMsg{status: cfg.Status()}
		// A pass more or less: those of the source are a second apart, about.
		due := last.snap == nil || interval <= intervalSteps[0] || s.Time.Sub(last.snap.Time) >= interval-intervalSteps[0]/2
		if s.Seq != seq && due {
			msg.snap, seq = s, s.Seq
			last.snap = s
		}
		if interval <= intervalSteps[0] || msg.snap != nil {
			msg.events, msg.skipped = p.take()
		}
		if msg.snap != nil || len(msg.events) > 0 || msg.status != last.status {
			last.status = msg.status
			send(msg)
		}
		select {
		case <-ctx.Done():
			return
		case interval = <-intervals:
		case <-ticker.C:
		}
	}
}

// pace is how fast things happen, out of the tracker's own counts.
type pace struct {
	opened, closed, retransmits, resets float64 // a second
	every                               float64 // seconds between snapshots
	skipped                             uint64
	gaps                                uint64
	lost                                tcp.Loss

	retransmitted, reset uint64 // since the last snapshot
}

// took works rates out of two snapshots.
func (p *pace) took(was, is *tcp.Snapshot) {
	p.lost = is.Stats.Lost
	secs := is.Time.Sub(was.Time).Seconds()
	if was.Seq == 0 || secs <= 0 {
		p.retransmitted, p.reset = 0, 0
		return
	}
	p.every = secs
	p.opened = float64(is.Stats.Opened-was.Stats.Opened) / secs
	p.closed = float64(is.Stats.Closed+is.Stats.Vanished-was.Stats.Closed-was.Stats.Vanished) / secs
	p.retransmits, p.resets = float64(p.retransmitted)/secs, float64(p.reset)/secs
	p.retransmitted, p.reset = 0, 0
}

func (p *pace) happened(e *tcp.Event) {
	switch e.Type {
	case tcp.EventRetransmit:
		p.retransmitted++
	case tcp.EventReset:
		p.reset++
	case tcp.EventGap:
		p.gaps++
		if e.Gap != nil {
			p.skipped += e.Gap.Skipped
		}
	default:
	}
}
