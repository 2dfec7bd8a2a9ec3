package sockdiag

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// gather is how long closes are left to add up before they are read. Waking for
// each would cost more than the rest of the work.
const gather = 10 * time.Millisecond

// Run implements tcp.Source. Closes are listened for before the first dump, so
// that a connection is either in that dump or heard of. Where they cannot be
// heard, dumps alone serve; Features says so.
func (s *Source) Run(ctx context.Context, sink tcp.Sink) error {
	out := &output{source: s, sink: sink}
	ev, err := hear(s.cfg.ReceiveBuffer, s.others())
	if err != nil {
		s.cfg.Logger.Warn("closes are not heard, connections shorter than a dump are missed", "err", err)
		return s.poll(ctx, out)
	}
	defer func() { _ = ev.close() }()
	ev.self = s.self.Inode
	ev.covered[ev.self] = s.own()
	if ev.silent != nil {
		s.cfg.Logger.Warn("closes in other network namespaces are not heard", "err", ev.silent)
	}
	// A deadline in the past wakes the reader.
	stop := context.AfterFunc(ctx, func() { ev.until(time.Unix(1, 0)) })
	defer stop()
	for first := true; ; first = false {
		begin := s.cfg.Now()
		if err := s.walkAgain(ctx, out, ev, first); err != nil {
			return ended(ctx, err)
		}
		pause := s.pause(begin, s.cfg.Now())
		if err := s.listen(ctx, out, ev, pause); err != nil {
			return ended(ctx, err)
		}
	}
}

// ended is nil when ctx ended: that is how a run is meant to end.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// walkAgain walks; once a first walk has shown that it works, a failure is one
// of the moment.
func (s *Source) walkAgain(ctx context.Context, out *output, ev *events, first bool) error {
	err := s.walk(ctx, out, ev)
	if err == nil || first || out.err != nil || ctx.Err() != nil {
		return err
	}
	s.warnOnce("dumping", err)
	out.seen = out.seen[:0]
	return nil
}

// poll is Run without events.
func (s *Source) poll(ctx context.Context, out *output) error {
	for first := true; ; first = false {
		begin := s.cfg.Now()
		if err := s.walkAgain(ctx, out, nil, first); err != nil {
			return ended(ctx, err)
		}
		if !sleep(ctx, s.pause(begin, s.cfg.Now())) {
			return nil
		}
	}
}

// listen reports closes for a time, or until some were lost and a walk must
// tell what is left.
func (s *Source) listen(ctx context.Context, out *output, ev *events, d time.Duration) error {
	end := time.Now().Add(d)
	// Once lost there is nothing to be gained from a storm of walks.
	soonest := time.Now().Add(min(d, s.cfg.DumpEvery/8))
	for {
		if s.walkNow {
			end = soonest
		}
		ev.until(end)
		if err := ctx.Err(); err != nil {
			return err // after until, whose effect the end of ctx overrules
		}
		n, err := ev.receive(true)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return ctx.Err()
		case err != nil && !errors.Is(err, unix.EAGAIN):
			if err := s.overrun(ev, err); err != nil {
				return err
			}
		default:
			if err := s.take(out, ev, n); err != nil {
				return err
			}
		}
		if n == eventsAtOnce || ev.overrun {
			if err := s.drain(out, ev); err != nil {
				return err
			}
			continue
		}
		if err := out.flushClosed(); err != nil {
			return err
		}
		if !sleep(ctx, gather) {
			return ctx.Err()
		}
	}
}

// own says that the own namespace is looked at, others that any other is.
func (s *Source) own() bool {
	return s.cfg.Namespaces == nil || slices.ContainsFunc(s.cfg.Namespaces, func(ns netns.Namespace) bool {
		return ns.Inode == s.self.Inode
	})
}

func (s *Source) others() bool {
	return s.cfg.Namespaces == nil || slices.ContainsFunc(s.cfg.Namespaces, func(ns netns.Namespace) bool {
		return ns.Inode != s.self.Inode
	})
}

// sleep waits for d and reports false when ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
