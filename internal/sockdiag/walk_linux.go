package sockdiag

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// output hands batches to a sink. Observations of a walk and of closes are
// collected apart, because they go out as different kinds of pass.
type output struct {
	source *Source
	sink   tcp.Sink
	pass   tcp.Pass
	seen   []tcp.Observation
	closed []tcp.Observation
	lost   tcp.Loss
	// err is what the sink said; nothing is handed over after it.
	err error
}

func (o *output) send(b *tcp.Batch) error {
	if o.err != nil {
		return o.err
	}
	b.Source, b.Time = tcp.SourceNetlink, o.source.cfg.Now()
	o.err = o.sink(b)
	return o.err
}

// flushSeen hands over what the walk has shown so far; end is its last batch.
func (o *output) flushSeen(end bool) error {
	if len(o.seen) == 0 && !end {
		return nil
	}
	b := tcp.Batch{Pass: o.pass, Observations: o.seen}
	b.Pass.End = end
	if !end {
		b.Pass = tcp.Pass{Kind: o.pass.Kind, Begin: o.pass.Begin}
	}
	err := o.send(&b)
	o.seen = o.seen[:0]
	return err
}

// flushClosed hands over the closes heard of so far, and what of them was lost.
func (o *output) flushClosed() error {
	if len(o.closed) == 0 && !o.lost.Any() {
		return nil
	}
	err := o.send(&tcp.Batch{Pass: tcp.Pass{Kind: tcp.PassEvents}, Observations: o.closed, Lost: o.lost})
	o.closed, o.lost = o.closed[:0], tcp.Loss{}
	return err
}

// walk is one full pass. ev, if not nil, is read meanwhile, so that its buffer
// does not run over during a long dump.
func (s *Source) walk(ctx context.Context, out *output, ev *events) error {
	begin := s.cfg.Now()
	out.pass = tcp.Pass{Kind: tcp.PassFull, Begin: begin, Minis: true}
	list, all, err := s.namespaces()
	if err != nil {
		return err
	}
	between := func() error { return nil }
	if ev != nil {
		// What is queued was named by the ids in force until now.
		if err := s.drain(out, ev); err != nil {
			return err
		}
		s.walkNow = false // this is it
		s.identify(ev, list)
		between = func() error { return s.drain(out, ev) }
	}
	s.lookup.reset()
	if s.cfg.Owners != nil {
		s.lookUpFirst(ctx, begin, list)
	}
	s.pass++
	s.pending, s.slots = s.pending[:0], s.slots[:0]
	failed := error(nil)
	for _, ns := range list {
		err := s.walkNamespace(ctx, ns, out, between)
		switch {
		case out.err != nil:
			return out.err
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			out.pass.Namespaces = append(out.pass.Namespaces, ns.Inode)
		case gone(err):
			// Or only the process whose path served to enter it: the next
			// listing tells.
			all = false
		case errors.Is(err, tcp.ErrPermission):
			// Features tells of it; what is shown is whole all the same.
			all = false
			failed = err
			s.warnOnce("entering a network namespace", err)
		default:
			all = false
			failed = fmt.Errorf("network namespace %s: %w", ns, err)
			out.pass.Incomplete = failed.Error()
			s.warnOnce("dumping a network namespace", failed)
		}
	}
	if failed != nil && len(out.pass.Namespaces) == 0 {
		return failed
	}
	if s.cfg.Namespaces == nil {
		s.addGone(&out.pass, list)
	}
	out.pass.AllNamespaces = all
	if err := s.settlePending(ctx, out); err != nil {
		return err
	}
	if ev != nil {
		// A close that this pass did not show any more comes before its end.
		if err := s.drain(out, ev); err != nil {
			return err
		}
	}
	s.known.expire(s.pass)
	return out.flushSeen(true)
}

// addGone adds the namespaces that earlier walks dumped and that are not found
// any more, as long as it takes a reader to draw its conclusions. Otherwise
// their sockets would stay where AllNamespaces cannot be claimed.
func (s *Source) addGone(p *tcp.Pass, list []netns.Namespace) {
	for _, inode := range p.Namespaces {
		s.dumped[inode] = s.pass
	}
	for _, ns := range list {
		if _, ok := s.dumped[ns.Inode]; ok {
			s.dumped[ns.Inode] = s.pass
		}
	}
	for inode, pass := range s.dumped {
		switch {
		case pass == s.pass:
		case s.pass-pass > goneFor:
			delete(s.dumped, inode)
		default:
			p.Namespaces = append(p.Namespaces, inode)
		}
	}
}

// lookUpFirst finds owners before the walk, so that it can report them at once:
// the first time for all sockets, which a walk without numbers lists cheaply,
// and now and then for all that are known.
func (s *Source) lookUpFirst(ctx context.Context, begin tcp.Stamp, list []netns.Namespace) {
	first := s.scanned.IsZero()
	if !first && begin.Sub(s.scanned) < s.cfg.RescanEvery {
		return
	}
	s.scanned = begin
	if first {
		for _, ns := range list {
			// What goes wrong here goes wrong in the walk again, and is told there.
			_ = s.dump(ctx, ns, 0, allStates, func(m *diagMessage) error {
				if m.inode != 0 {
					s.lookup.want[m.inode] = struct{}{}
				}
				return nil
			}, nil)
		}
	} else {
		for i := range s.known.slots {
			if k := &s.known.slots[i]; k.used && k.inode != 0 {
				s.lookup.want[k.inode] = struct{}{}
			}
		}
	}
	if len(s.lookup.want) == 0 {
		return
	}
	err := s.lookup.run(ctx, s.cfg.Owners)
	if err != nil {
		s.warnOnce("finding the owners of sockets", err)
	}
	s.lookup.applyAll(&s.known, err == nil)
}

// walkNamespace reports all sockets of one namespace.
func (s *Source) walkNamespace(ctx context.Context, ns netns.Namespace, out *output, between func() error) error {
	now := s.cfg.Now()
	visit := func(m *diagMessage) error { return s.visit(m, ns.Inode, now, out) }
	return s.dump(ctx, ns, extInfo|extCong, allStates, visit, func() error {
		err := between()
		now = s.cfg.Now() // of the next datagram, which is there already
		return err
	})
}

// visit reports one socket of a dump.
func (s *Source) visit(m *diagMessage, netns uint32, now tcp.Stamp, out *output) error {
	out.seen = append(out.seen, tcp.Observation{})
	o := &out.seen[len(out.seen)-1]
	o.NetNS, o.Time = netns, now
	m.observe(o, s.keepsUID)
	i, k, again := s.known.note(o, s.pass)
	if again {
		out.seen = out.seen[:len(out.seen)-1]
		return nil
	}
	if k != nil {
		if s.cfg.Owners != nil && k.unowned() {
			if _, found := s.lookup.found[k.inode]; found {
				s.lookup.apply(k)
			} else if len(s.pending) < maxPending {
				s.pending, s.slots = append(s.pending, *o), append(s.slots, i)
				out.seen = out.seen[:len(out.seen)-1]
				return nil
			}
		}
		k.complete(o)
	}
	if len(out.seen) < batchLen {
		return nil
	}
	return out.flushSeen(false)
}

// settlePending looks up the owners of the sockets that this walk was the first
// to show, and reports them.
func (s *Source) settlePending(ctx context.Context, out *output) error {
	if len(s.pending) == 0 {
		return nil
	}
	clear(s.lookup.want)
	for i := range s.pending {
		s.lookup.want[s.pending[i].Inode] = struct{}{}
	}
	if err := s.lookup.run(ctx, s.cfg.Owners); err != nil {
		s.warnOnce("finding the owners of sockets", err)
	}
	for i := range s.pending {
		o, k := &s.pending[i], s.known.at(s.slots[i])
		s.lookup.apply(k)
		if k.destroyed {
			continue
		}
		k.complete(o)
		out.seen = append(out.seen, *o)
		if len(out.seen) >= batchLen {
			if err := out.flushSeen(false); err != nil {
				return err
			}
		}
	}
	return nil
}

// pause is how long to wait from now until the next walk.
func (s *Source) pause(begin, now tcp.Stamp) time.Duration {
	took := now.Sub(begin)
	return max(s.cfg.DumpEvery-took, took)
}
