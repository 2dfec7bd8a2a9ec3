package tui

import (
	"context"
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

// readerBuffer is how many events wait for the next look before they are counted
// instead of kept.
const readerBuffer = 1 << 15

// follow sends news of a view until ctx ends: snapshots at most once an interval,
// events soon after they happened.
func follow(ctx context.Context, cfg *Config, intervals <-chan time.Duration, send func(feedMsg)) {
	sub := cfg.View.Subscribe(readerBuffer)
	defer sub.Close()
	// Events are looked for, not waited for: a snapshot and what led to it come
	// together, and a host with nothing new wakes nobody.
	at, stop := context.WithCancel(context.Background())
	stop()
	ticker := time.NewTicker(cfg.Poll)
	defer ticker.Stop()
	interval := intervalSteps[0]
	var (
		events []tcp.Event
		last   *tcp.Snapshot
		status Status
	)
	for {
		s := cfg.View.Snapshot()
		for {
			events, _ = sub.Next(at, events)
			newer := cfg.View.Snapshot()
			if newer.Seq == s.Seq {
				break
			}
			s = newer
		}
		msg := feedMsg{status: cfg.Status()}
		// A pass more or less: those of the source are a second apart, about.
		due := last == nil || interval <= intervalSteps[0] || s.Time.Sub(last.Time) >= interval-intervalSteps[0]/2
		if s.Seq != 0 && (last == nil || s.Seq != last.Seq) && due {
			msg.snap, last = s, s
		}
		if interval <= intervalSteps[0] || msg.snap != nil {
			msg.events, events = events, nil
		} else if n := len(events) - readerBuffer; n > 0 {
			msg.skipped = uint64(n)
			events = events[:readerBuffer]
		}
		if msg.snap != nil || len(msg.events) > 0 || msg.status != status || msg.skipped > 0 {
			status = msg.status
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
	gaps                                uint64 // intervals in which something may be missing
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

// interval is the time between the last two snapshots.
func (p *pace) interval() time.Duration { return time.Duration(p.every * float64(time.Second)) }

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
