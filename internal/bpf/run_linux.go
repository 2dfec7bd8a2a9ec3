//go:build 386 || amd64 || arm64

package bpf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// drainEvery is the longest that an event waits in the ring. The kernel wakes
// the reader earlier only when the ring is a quarter full.
const drainEvery = 20 * time.Millisecond

// heldRings is how many times the ring's size may be held at most.
const heldRings = 8

// reconcileEvery is the least time between two full passes made because
// something was lost.
const reconcileEvery = 2 * time.Second

// Mini-sockets have no storage that could tell whether one was shown already, so
// each walk shows them all. More than fewMinis are shown each minisEvery only.
const (
	fewMinis   = 1000
	minisEvery = 10 * time.Second
)

// drops is what the programs could not write: struct drops of bpf/record.bpf.h.
type drops struct {
	Closes, BytesSent, BytesReceived, Events uint64
}

// run is the state of one Run.
type run struct {
	s      *Source
	ring   *ringbuf.Reader
	record ringbuf.Record
	// held is records taken out of the ring during a walk, whose batches they
	// must not come between.
	held []byte
	// misses is how often the programs were left out, because they would have
	// interrupted themselves.
	misses uint64
	// foreign says that namespaces other than the home one have sockets.
	foreign bool
	// quiet says that the last look into the ring found nothing.
	quiet bool
	// lost says that something was lost since the last full pass.
	lost                bool
	lastFull, lastDelta time.Time
	lastMinis           time.Time

	still *still
	// heard says that events came since the last walk; calm that it showed
	// nothing. lastWalk is when sockets were last walked in truth.
	heard, calm bool
	lastWalk    time.Time
	sockets     int // full ones that it passed
}

// Run reports all sockets, then what happens. It must not be called on a
// source that was made for snapshots.
func (s *Source) Run(ctx context.Context, sink tcp.Sink) (err error) {
	if s.cfg.Snapshot {
		return fmt.Errorf("events of a source made for snapshots: %w", tcp.ErrNotSupported)
	}
	s.batch.start(sink, s.cfg.Now, s.hz, s.home.Inode)
	r := &run{s: s}
	s.batch.batch.Resync = func() { r.lost = true }
	r.ring, err = ringbuf.NewReader(s.maps[collectorMapRing])
	if err != nil {
		return fmt.Errorf("opening the ring: %w", err)
	}
	defer r.ring.Close()
	links, err := s.attachAll()
	defer func() {
		for _, l := range links {
			err = errors.Join(err, l.Close())
		}
	}()
	if err != nil {
		return err
	}
	if err := r.baseline(); err != nil {
		return err
	}
	r.still = openStill(s.home)
	defer func() { err = errors.Join(err, r.still.close()) }()
	s.meanwhile = r.hold
	defer func() { s.meanwhile = nil }()
	return r.loop(ctx)
}

// attachAll attaches every hook that was loaded.
func (s *Source) attachAll() ([]link.Link, error) {
	links := make([]link.Link, 0, len(hooks))
	for _, name := range hooks {
		l, err := s.attach(name)
		switch {
		case err == nil:
			links = append(links, l)
		case required[name]:
			return links, err
		default:
			s.cfg.Logger.Warn("a program is not attached", "program", name, "error", err)
		}
	}
	return links, nil
}

// loop alternates between the ring and walks until ctx ends.
func (r *run) loop(ctx context.Context) error {
	if err := r.full(ctx); err != nil {
		return err
	}
	// The end of ctx must not wait for the next event.
	stop := context.AfterFunc(ctx, func() { _ = r.ring.Flush() })
	defer stop()
	for ctx.Err() == nil {
		deadline, err := r.nextLook()
		if err != nil {
			return err
		}
		if err := r.drain(deadline); err != nil {
			return err
		}
		now := time.Now()
		switch {
		case now.Sub(r.lastFull) >= r.s.cfg.FullEvery,
			r.lost && now.Sub(r.lastFull) >= reconcileEvery:
			if err := r.full(ctx); err != nil {
				return err
			}
		case now.Sub(r.lastDelta) >= r.s.cfg.DeltaEvery:
			if err := r.delta(ctx); err != nil {
				return err
			}
		}
	}
	// What happened before the end belongs to it.
	return r.drain(time.Now())
}

// nextLook is until when to wait for events. After a time without any, the next
// one wakes the reader, which until then sleeps through to the next walk.
func (r *run) nextLook() (time.Time, error) {
	if !r.quiet {
		return time.Now().Add(drainEvery), nil
	}
	if err := r.s.set(collectorVarReaderSleeps, 1); err != nil {
		return time.Time{}, err
	}
	if r.ring.AvailableBytes() > 0 { // it came before it could know
		return time.Now(), nil
	}
	return r.lastDelta.Add(r.s.cfg.DeltaEvery), nil
}

// full walks everything. The ring is emptied before, so that few events are
// older than what the walk shows.
func (r *run) full(ctx context.Context) error {
	if !r.lastFull.IsZero() {
		if err := r.drain(time.Now()); err != nil {
			return err
		}
	}
	r.lost = false
	foreign, err := r.s.fullPass(ctx)
	if err != nil {
		return err
	}
	r.foreign, r.s.batch.foreign = foreign, false
	r.lastFull = time.Now()
	r.lastDelta, r.lastWalk, r.calm = r.lastFull, r.lastFull, false
	return nil
}

func (r *run) delta(ctx context.Context) error {
	if err := r.drain(time.Now()); err != nil {
		return err
	}
	unmoved, err := r.unmoved()
	if err != nil {
		return err
	}
	if unmoved {
		r.lastDelta = time.Now()
		return r.s.passStill(r.sockets)
	}
	minis := r.s.batch.minis <= fewMinis || time.Since(r.lastMinis) >= minisEvery
	if minis {
		r.lastMinis, r.s.batch.minis = time.Now(), 0
	}
	r.s.batch.shown = 0
	err = r.s.deltaPass(ctx, r.foreign || r.s.batch.foreign, minis, func() error { return r.drain(time.Now()) })
	r.lastDelta = time.Now()
	r.lastWalk, r.calm = r.lastDelta, r.s.batch.shown == 0 && r.s.batch.minis == 0
	r.sockets = r.s.batch.batch.Pass.Sockets
	if err != nil {
		return err
	}
	return r.checkMisses()
}

// drain sends what is in the ring until the deadline, then what was lost. With
// a deadline that has passed it sends what is there now.
func (r *run) drain(deadline time.Time) error {
	b := &r.s.batch
	b.begin(tcp.PassEvents)
	if err := b.addHeld(r.held); err != nil {
		return err
	}
	if r.held = r.held[:0]; cap(r.held) > r.s.cfg.RingBytes {
		r.held = nil
	}
	r.quiet = len(b.batch.Observations) == 0
	r.ring.SetDeadline(deadline)
	end := time.Now().Add(4 * drainEvery)
	for {
		err := r.ring.ReadInto(&r.record)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, ringbuf.ErrFlushed) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading the ring: %w", err)
		}
		if r.quiet { // woken: gather the rest of the burst, but not for long
			r.quiet = false
			r.ring.SetDeadline(time.Now().Add(min(drainEvery, time.Until(deadline))))
		}
		if err := b.addEvent(r.record.RawSample); err != nil {
			return err
		}
		// Under a load without end the walks must get their turn.
		if len(b.batch.Observations) == batchSize && time.Now().After(end) {
			break
		}
	}
	lost, err := r.losses()
	if err != nil {
		return err
	}
	if lost.Any() {
		r.lost = true
		b.batch.Lost = lost
	}
	if len(b.batch.Observations) == 0 && !lost.Any() {
		return nil
	}
	r.heard = true
	return b.send()
}

// hold makes room in the ring during a walk, if it fills.
func (r *run) hold() error {
	size := r.s.cfg.RingBytes
	if r.ring.AvailableBytes() < size/4 {
		return nil
	}
	r.ring.SetDeadline(time.Now())
	for len(r.held) < heldRings*size {
		err := r.ring.ReadInto(&r.record)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, ringbuf.ErrFlushed) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading the ring: %w", err)
		}
		r.held = append(r.held, r.record.RawSample...)
	}
	return nil
}

// checkMisses reports the events that were lost because the kernel leaves a
// program out when a softirq calls it while it runs on the same CPU.
func (r *run) checkMisses() error {
	misses, err := r.s.recursionMisses()
	if err != nil || misses == r.misses {
		return err
	}
	b := &r.s.batch
	b.begin(tcp.PassEvents)
	b.batch.Lost.Events = misses - r.misses
	r.misses = misses
	return b.send()
}

// recursionMisses sums the misses of programs that report events. The state of a
// socket is reported by two, so that one of them runs (see on_state_again), and
// a read or write that is missed is followed by others.
func (s *Source) recursionMisses() (uint64, error) {
	var sum uint64
	for _, name := range []string{
		collectorProgOnRetransmit, collectorProgOnSendReset, collectorProgOnReceiveReset,
	} {
		p := s.programs[name]
		if p == nil {
			continue
		}
		stats, err := p.Stats()
		if err != nil {
			return 0, fmt.Errorf("reading the statistics of %s: %w", describe(name), err)
		}
		sum += stats.RecursionMisses
	}
	return sum, nil
}

// baseline forgets what an earlier run lost.
func (r *run) baseline() error {
	if _, err := r.losses(); err != nil {
		return err
	}
	var err error
	r.misses, err = r.s.recursionMisses()
	return err
}

// losses returns what the programs could not write since it was last called.
func (r *run) losses() (tcp.Loss, error) {
	s := r.s
	var each []drops
	if err := s.maps[collectorMapDropped].Lookup(uint32(0), &each); err != nil {
		return tcp.Loss{}, fmt.Errorf("reading what was dropped: %w", err)
	}
	var sum drops
	for _, d := range each {
		sum.Closes += d.Closes
		sum.BytesSent += d.BytesSent
		sum.BytesReceived += d.BytesReceived
		sum.Events += d.Events
	}
	lost := tcp.Loss{
		Closes:        sum.Closes - s.drops.Closes,
		BytesSent:     sum.BytesSent - s.drops.BytesSent,
		BytesReceived: sum.BytesReceived - s.drops.BytesReceived,
		Events:        sum.Events - s.drops.Events,
	}
	s.drops = sum
	return lost, nil
}
