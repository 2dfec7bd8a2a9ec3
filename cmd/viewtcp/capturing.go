package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// capturing is one live capture at work. One goroutine a namespace reads packets
// and takes them all the way to the output under mu, so that nothing is copied
// that need not wait; another one looks at what waits, and at the clock.
type capturing struct {
	e      env
	c      *captureFlags
	filter *filter.Filter
	// kernel is the filter that the kernel gets; nil is every frame.
	kernel *filter.Filter
	match  filter.PacketPredicate
	// light says that nobody asks for what the analysis tells.
	light bool
	// needsConn says that the filter asks for more than a packet has.
	needsConn bool
	ids       tcp.IDs
	local     func(tcp.Addr) bool
	spaces    []*space
	join      joiner
	enough    chan struct{} // closed when no more packets are wanted

	mu       sync.Mutex // guards what follows, and the spaces but for their capture
	queue    holdQueue
	released int64 // when the queue was last looked at
	file     *captureOutput
	text     *packetList
	conns    *endedConns
	recorder *recording
	view     filter.Packet
	streams  uint32
	// now is about the present, nanoseconds since 1970, and fresh for how many
	// packets it stays.
	now    int64
	fresh  int
	done   bool // no more packets are wanted
	failed error
	counts captureCounts
	// byID finds the connections whose last values are waited for.
	byID map[tcp.ID]*joined
	host string
	// tellAt is when drops may be told of again.
	tellAt time.Time
}

// captureCounts are where the packets went.
type captureCounts struct {
	seen, notTCP, unmatched, matched, unjoined uint64
	// told is how many drops of the kernel the user knows of.
	told uint64
}

// lockedWriter lets several goroutines warn.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func newCapturing(e env, c *captureFlags, f *filter.Filter) *capturing {
	e.stderr = &lockedWriter{w: e.stderr}
	p := &capturing{
		e: e, c: c, filter: f, kernel: kernelFilter(f), match: f.PacketPredicate(), needsConn: f.NeedsConn(),
		ids: tcp.NewIDs("capture " + bootID() + hostname()), enough: make(chan struct{}), byID: make(map[tcp.ID]*joined),
	}
	if c.connections {
		// A connection is judged by what it is in the end, for which all of its
		// packets are needed.
		p.kernel = f.Symmetric()
	}
	p.light = c.onlyRecords() && !p.needsConn
	if f.MatchesAll() && p.kernel == nil {
		p.match = nil
	}
	return p
}

func (p *capturing) run(ctx context.Context) (err error) {
	if p.local, err = localNet(p.c.localNets); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := p.open(); err != nil {
		return err
	}
	if err := p.openOutputs(ctx); err != nil {
		return err
	}
	unfollow := p.follow()
	err = p.readAll(ctx)
	p.finish(2 * holdLongest)
	err = errors.Join(err, unfollow(), p.failed, p.end())
	p.summary()
	switch {
	case err != nil:
		return err
	case p.c.failEmpty && p.counts.matched == 0:
		return exitError{exitEmpty}
	case ctx.Err() != nil:
		return exitError{exitOK} // Ctrl-C is how a capture ends
	}
	return nil
}

// readAll reads until all is over, which may be the end of ctx.
func (p *capturing) readAll(ctx context.Context) error {
	stop := func() {
		for _, s := range p.spaces {
			s.live.Stop()
		}
	}
	var timeout <-chan time.Time
	if p.c.lasts > 0 {
		timer := time.NewTimer(p.c.lasts)
		defer timer.Stop()
		timeout = timer.C
	}
	ended := make(chan error)
	for _, s := range p.spaces {
		go func() { ended <- p.read(s) }()
	}
	every := tickEvery
	if p.light {
		every *= 5 // nobody waits for output
		if p.c.noProcess && len(p.spaces) == 1 {
			every *= 5 // nor do packets wait for anything
		}
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var errs []error
	interrupted, enough := ctx.Done(), p.enough
	for running := len(p.spaces); running > 0; {
		select {
		case <-interrupted:
			interrupted = nil
			stop()
		case <-timeout:
			stop()
		case <-enough:
			enough = nil
			stop()
		case err := <-ended:
			running--
			if err != nil {
				errs = append(errs, err)
			}
		case <-ticker.C:
			p.tick()
		}
	}
	return errors.Join(errs...)
}

// tickEvery is how often what waits is looked at, and output flushed.
const tickEvery = 20 * time.Millisecond

// read takes in the packets of one namespace until the capture is stopped.
func (p *capturing) read(s *space) error {
	gone := 0
	for {
		err := s.live.Next(&s.frame)
		switch {
		case err == nil: // before all that would have to be allocated to ask
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, new(*capture.InterfaceGoneError)):
			if gone++; gone == len(s.live.Interfaces()) {
				return err
			}
			p.e.warn(err.Error())
			continue
		case err != nil:
			return err
		}
		p.mu.Lock()
		p.frame(s)
		p.mu.Unlock()
	}
}

// fail ends the capture with an error.
func (p *capturing) fail(err error) {
	if p.failed == nil {
		p.failed = err
	}
	p.stop()
}

// stop asks for the end; nothing more is wanted.
func (p *capturing) stop() {
	if !p.done {
		p.done = true
		close(p.enough)
	}
}

// tick looks at what waits, flushes the output and tells of drops.
func (p *capturing) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now().UnixNano()
	p.now, p.fresh = now, freshPackets
	p.release(now)
	for _, s := range p.spaces {
		if s.analyzer != nil {
			s.analyzer.Advance(now)
		}
	}
	p.flush()
	if p.recorder != nil {
		p.recorder.tick(p, time.Now())
	}
	p.tellDrops()
}

// flush hands on what was written.
func (p *capturing) flush() {
	if p.file != nil {
		if err := p.file.flush(); err != nil {
			p.fail(err)
		}
	}
	if p.text != nil {
		if p.text.flush(); p.text.err != nil {
			p.fail(p.text.err)
		}
	}
	if p.conns != nil {
		if err := p.conns.flush(); err != nil {
			p.fail(err)
		}
	}
}

// finish lets go of all that still waits, as soon as its connection is known, and
// after a time with what is known.
func (p *capturing) finish(within time.Duration) {
	end := time.Now().Add(within)
	for {
		p.mu.Lock()
		now := time.Now()
		p.release(now.UnixNano())
		for now.After(end) && p.queue.len() > 0 && !p.done {
			p.emitFirst(now.UnixNano())
		}
		left := p.queue.len()
		if p.done {
			left = 0
		}
		p.mu.Unlock()
		if left == 0 {
			return
		}
		time.Sleep(liveBlock)
	}
}

// stats are the counts of all namespaces.
func (p *capturing) stats() (sum capture.LiveStats) {
	for _, s := range p.spaces {
		sum = sum.Add(s.live.Stats())
	}
	return sum
}

// tellDrops warns when the kernel had to drop packets since it was last asked,
// each second at most. p.mu is held.
func (p *capturing) tellDrops() {
	now := time.Now()
	if now.Before(p.tellAt) {
		return
	}
	p.tellAt = now.Add(5 * tickEvery)
	dropped := p.stats().Dropped
	if n := dropped - p.counts.told; n > 0 {
		p.counts.told, p.tellAt = dropped, now.Add(time.Second)
		p.e.warn(fmt.Sprintf("gap: the kernel dropped %d packets because the ring was full (--buffer makes it larger, a filter or -s the packets fewer or smaller)", n))
	}
}

// summary says at the end where the packets went.
func (p *capturing) summary() {
	n, dropped := &p.counts, p.stats().Dropped
	parts := []string{strconv.FormatUint(n.seen, 10) + " packets seen"}
	switch matched := strconv.FormatUint(n.matched, 10); {
	case p.file != nil:
		parts = append(parts, matched+" written")
	case p.conns != nil:
		parts = append(parts, matched+" analysed")
	case p.text != nil:
		parts = append(parts, matched+" printed")
	}
	if p.recorder != nil {
		parts = append(parts, p.recorder.summary(p.cutByKernel()))
	}
	if left := n.seen - n.matched; left > 0 {
		parts = append(parts, strconv.FormatUint(left, 10)+" not asked for")
	}
	parts = append(parts, strconv.FormatUint(dropped, 10)+" dropped by the kernel")
	if n.unjoined > 0 {
		parts = append(parts, strconv.FormatUint(n.unjoined, 10)+" without a process")
	}
	p.e.warn(strings.Join(parts, ", "))
}

// close gives the captures back.
func (p *capturing) close() error {
	var errs []error
	for _, s := range p.spaces {
		errs = append(errs, s.live.Close())
		if s.cutoff != nil {
			errs = append(errs, s.cutoff.Close())
		}
	}
	return errors.Join(errs...)
}

// openOutputs prepares file and text.
func (p *capturing) openOutputs(ctx context.Context) error {
	p.host = hostname()
	if p.c.write != "" {
		file, err := newCaptureOutput(ctx, p)
		if err != nil {
			return err
		}
		p.file = file
	}
	if p.c.record.dir != "" {
		if err := p.openRecorder(); err != nil {
			return err
		}
	}
	switch {
	case p.c.connections:
		conns, err := newEndedConns(p.e, &p.c.common, p.filter.Predicate())
		p.conns = conns
		return err
	case p.c.write == "" && p.recorder == nil || p.c.outputAsked:
		p.text = &packetList{
			out: p.e.stdout, format: p.c.format, header: !p.c.noHeader, color: p.c.useColor(p.e.stdout), live: !p.c.noProcess,
		}
	}
	return nil
}

// end finishes the output.
func (p *capturing) end() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.spaces {
		if s.analyzer != nil {
			s.analyzer.Flush()
		}
	}
	var errs []error
	if p.file != nil {
		errs = append(errs, p.file.end(time.Now().UnixNano()))
	}
	if p.text != nil && p.text.err == nil {
		errs = append(errs, p.text.finish())
	}
	if p.conns != nil {
		errs = append(errs, p.conns.end())
	}
	if p.recorder != nil {
		errs = append(errs, p.recorder.Close())
	}
	return errors.Join(errs...)
}
