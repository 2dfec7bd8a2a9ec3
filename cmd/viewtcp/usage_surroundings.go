package main

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/usage"
	"github.com/viewtcp/viewtcp/internal/web"
)

// surroundings are what serve watches besides the sockets of the host: what it
// uses, what log files say, what passes by on taps.
type surroundings struct {
	sampling *sampling // nil without history
	tailing  *tailing  // nil without history
	taps     []*tap
	flags    *serveFlags
	log      *slog.Logger

	stop    context.CancelFunc
	running sync.WaitGroup
}

// newSurroundings prepares what a configuration asks for.
func newSurroundings(d *daemon) (*surroundings, error) {
	s := &surroundings{flags: d.flags, log: d.log}
	if h := d.history; h != nil {
		s.sampling = &sampling{log: d.log.With("component", "usage"), view: d.view, keep: h.addUsage, every: usage.Every}
		s.tailing = &tailing{log: d.log.With("component", "tail"), mark: h.mark}
	}
	taps, err := d.flags.tapsWith(&d.cfg)
	if err != nil {
		return nil, err
	}
	for _, c := range taps {
		log := d.log.With("component", "tap")
		var t *tap
		if d.engine != nil {
			t, err = newTap(c, d.engine, log)
		} else {
			t, err = newTap(c, nil, log)
		}
		if err != nil {
			return nil, err
		}
		s.taps = append(s.taps, t)
	}
	return s, nil
}

// start watches until ctx ends or end is called.
func (s *surroundings) start(ctx context.Context, c *serveConfig) {
	ctx, s.stop = context.WithCancel(ctx)
	if s.sampling != nil {
		s.running.Go(func() { s.sampling.run(ctx) })
	}
	if s.tailing != nil {
		s.tailing.start(ctx, c)
	}
	for _, t := range s.taps {
		s.running.Go(func() { t.run(ctx) })
	}
}

// reload does what a new configuration says, as far as that needs no restart.
func (s *surroundings) reload(ctx context.Context) func(was, is *serveConfig) {
	return func(was, is *serveConfig) {
		if s.tailing != nil {
			s.tailing.reload(ctx)(was, is)
		}
		before, _ := s.flags.tapsWith(was) // both were checked when they were read
		after, _ := s.flags.tapsWith(is)
		if !slices.EqualFunc(before, after, tapConfig.equal) {
			s.log.Warn("this change needs a restart", "key", "tap")
		}
	}
}

// end stops watching and waits until what was seen was handed on. It may be called
// more than once.
func (s *surroundings) end() {
	if s.stop == nil {
		return
	}
	s.stop()
	if s.tailing != nil {
		s.tailing.end()
	}
	s.running.Wait()
}

// view is what is shown: the host's own connections, and those of taps.
func (s *surroundings) view(own tcp.View) tcp.View {
	if len(s.taps) == 0 {
		return own
	}
	return &tappedView{View: own, taps: s.taps}
}

// usage is what is known of usage, nil without history.
func (d *daemon) usage() web.Usage {
	if d.engine == nil {
		return nil // and no interface around a nil pointer
	}
	return storedUsage{d.engine}
}
