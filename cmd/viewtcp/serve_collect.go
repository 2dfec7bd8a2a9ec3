package main

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/track"
	"github.com/viewtcp/viewtcp/internal/wire"
)

// collection feeds one tracker after the other from the best source there is, for
// as long as serve runs.
type collection struct {
	e    env
	c    *common
	pick choice
	log  *slog.Logger
	view *liveView
	// started is called with each tracker before anything reaches it, passed when
	// its first pass has ended.
	started func(*track.Tracker)
	passed  func()
	// ready is closed when the first pass of all has ended.
	ready chan struct{}

	mu       sync.Mutex
	features []tcp.Feature // guarded by mu
	restarts uint64        // guarded by mu
}

// collectAgain is the time between the end of a source and the next attempt.
const collectAgain = 5 * time.Second

// run collects until ctx ends. A source that ends otherwise is told of and
// followed by another; only when none ever worked the error is returned.
func (c *collection) run(ctx context.Context) error {
	worked := false
	for {
		l := newLook(env{stdin: c.e.stdin, stdout: c.e.stdout, stderr: c.view}, c.c)
		l.pick = c.pick
		l.started = func(t *track.Tracker) {
			c.view.begin(t)
			c.started(t)
		}
		l.ready = func(src tcp.SourceKind) {
			c.view.ready(src)
			c.passed()
			if !worked {
				worked = true
				// The start is over, and what it needed is not needed again.
				debug.FreeOSMemory()
				close(c.ready) // who waits for it tells of it
				return
			}
			s := c.view.Snapshot().Stats
			c.log.Info("collecting again", "source", src.String(), "open", s.Open, "listening", s.Listening)
			if w := c.view.status().Warning; w != "" {
				c.log.Warn("not everything can be seen", "reason", w)
			}
		}
		err := l.feed(ctx, c.follow)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			err = errors.New("the source ended")
		}
		if !worked {
			return err
		}
		c.view.fail(err)
		c.log.Error("connections are not followed", "err", err, "again_in", collectAgain)
		timer := time.NewTimer(collectAgain)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		c.mu.Lock()
		c.restarts++
		c.mu.Unlock()
	}
}

// follow runs a source, having asked it what it can show.
func (c *collection) follow(src tcp.Source, ctx context.Context, sink tcp.Sink) error { //nolint:revive // as a method expression has it
	if _, remote := src.(*wire.Client); !remote { // that one was asked one thing already
		fs := src.Features()
		c.mu.Lock()
		c.features = fs
		c.mu.Unlock()
	}
	return src.Run(ctx, sink)
}

// found is what the source can and cannot show.
func (c *collection) found() []tcp.Feature {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.features
}

func (c *collection) restarted() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.restarts
}

// caughtUp waits until the source has told what happened until a moment, or a
// time is over.
func (c *collection) caughtUp(ctx context.Context, until tcp.Stamp) {
	t, _ := c.view.current()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for t != nil && t.HeardUntil().Boot < until.Boot {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
