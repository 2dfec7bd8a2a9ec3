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

	"github.com/viewtcp/viewtcp/internal/analysis"
	"github.com/viewtcp/viewtcp/internal/bpf"
	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/netns"
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
	done     bool // no more packets are wanted
	failed   error
	counts   captureCounts
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

// space is the capture in one network namespace.
type space struct {
	netns  netns.Namespace
	live   *capture.Live
	cutoff *bpf.Cutoff // in the kernel; nil is none
	// base is the number of its first interface in the output.
	base     uint32
	analyzer *analysis.Analyzer
	joined   map[uint32]*joined
	last     *joined
	names    map[uint32]string // of interfaces, by their index

	whole   capture.Reassembler
	frame   capture.Frame
	segment capture.Segment
	verdict analysis.Packet
}

// do runs a function inside the namespace; nil is where it runs anyway.
func (s *space) do() func(func()) error {
	if s.netns.Self {
		return nil
	}
	return func(fn func()) error { return s.netns.Do(func() error { fn(); return nil }) }
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
	if !f.MatchesAll() || p.kernel != nil {
		return p
	}
	p.match = nil
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
	p.finish()
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

// open begins to capture in each namespace.
func (p *capturing) open() error {
	list, hidden, err := captureNamespaces(p.c.netns)
	if err != nil {
		return err
	}
	if hidden > 0 {
		p.e.warn(fmt.Sprintf("%d other network namespaces, or more, are hidden and not captured: that needs CAP_SYS_PTRACE and CAP_SYS_ADMIN", hidden))
	}
	cfg := p.c.liveConfig(p.kernel)
	if n := len(list); n > 1 && p.c.ringBytes == 0 {
		cfg.RingBytes = max(cfg.RingBytes/n, 4<<20)
		cfg.BlockBytes = 512 << 10
	}
	base := uint32(0)
	for _, ns := range list {
		s := &space{netns: ns, base: base, joined: make(map[uint32]*joined), names: make(map[uint32]string)}
		cfg.Do = s.do()
		cfg.FilterFD = 0
		if err = p.cutInKernel(&cfg, s); err == nil {
			s.live, err = capture.OpenLive(cfg)
		}
		if err != nil && s.cutoff != nil {
			_ = s.cutoff.Close()
		}
		switch {
		case err == nil:
		case len(list) > 1 && (errors.As(err, new(*capture.NoInterfaceError)) || !ns.Self && !errors.Is(err, tcp.ErrPermission)):
			continue // not in this namespace, or it has just ended
		case len(list) > 1 && !ns.Self:
			p.e.warn("not captured: " + err.Error())
			continue
		default:
			return wrongInterface(err)
		}
		p.spaces = append(p.spaces, s)
		base += uint32(len(s.live.Interfaces()))
		p.analyze(s)
	}
	if len(p.spaces) == 0 {
		return usagef("no network namespace has an interface %s", strings.Join(p.c.interfaces, ", "))
	}
	return nil
}

// analyze gives a namespace its analyzer.
func (p *capturing) analyze(s *space) {
	cfg := analysis.DefaultConfig()
	cfg.Wireshark40 = p.c.wireshark == "4.0"
	cfg.Memory = 256 << 20
	cfg.HalfOpenTimeout, cfg.IdleTimeout, cfg.ClosedTimeout = 3*time.Minute, 2*time.Hour, time.Minute
	if p.c.connections {
		cfg.ClosedTimeout = 2 * time.Second // after which it is printed
	}
	cfg.OnEnd = func(c *analysis.Conn) { p.ended(s, c) }
	s.analyzer = analysis.New(cfg)
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
	ticker := time.NewTicker(tickEvery)
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

// frame takes in the frame of a namespace. p.mu is held.
func (p *capturing) frame(s *space) {
	if p.done {
		return
	}
	p.counts.seen++
	s.frame.Number = p.counts.seen
	now := time.Now().UnixNano()
	var j *joined
	if s.whole.Decode(&s.frame, &s.segment) == capture.TCP {
		s.analyzer.Add(&s.segment, &s.verdict)
		j = p.joinedOf(s)
		p.look(j, s.segment.Time, now)
	} else {
		p.counts.notTCP++
		if p.kernel != nil || p.file == nil {
			return // the filter is about TCP, and so is the text
		}
	}
	wait := j != nil && !j.settled || len(p.spaces) > 1
	if !wait && p.queue.len() == 0 {
		p.emit(s, &s.frame, &s.segment, &s.verdict, j, now)
		return
	}
	for p.queue.full() {
		p.emitFirst(now)
	}
	p.queue.add(s, j)
	if now-p.released >= int64(2*time.Millisecond) {
		p.release(now)
	}
}

// joinedOf returns the connection of the segment at hand.
func (p *capturing) joinedOf(s *space) *joined {
	v := &s.verdict
	if s.last != nil && s.last.stream == v.Stream {
		return s.last
	}
	j := s.joined[v.Stream]
	if j == nil {
		syn := s.segment.Flags&(capture.SYN|capture.ACK) == capture.SYN
		j = &joined{
			space: s, stream: v.Stream, number: p.streams, tuple: v.Conn.Tuple, first: s.segment.Time, syn: syn,
			conn: v.Conn, settled: p.c.noProcess, looped: v.Conn.Tuple.Local.IsLoopback() || p.loopback(s),
			iface: p.interfaceName(s),
		}
		p.streams++
		s.joined[v.Stream] = j
	}
	s.last = j
	return j
}

// look brings the sockets of a connection up to date.
func (p *capturing) look(j *joined, at, now int64) {
	if p.c.noProcess {
		return
	}
	p.join.look(j, at, now)
	if p.conns == nil || j.looked != now {
		return
	}
	for _, c := range j.ends {
		if c != nil && c.Closed.IsZero() {
			p.byID[c.ID] = j
		}
	}
}

// emitFirst lets go of the first packet of the queue.
func (p *capturing) emitFirst(now int64) {
	h := p.queue.first()
	p.emit(h.space, &h.frame, &h.segment, &h.verdict, h.joined, now)
	p.queue.drop()
}

// release lets go of what need not wait any longer. p.mu is held.
func (p *capturing) release(now int64) {
	p.released = now
	for p.queue.len() > 0 {
		h := p.queue.first()
		if age := now - h.frame.Time; len(p.spaces) > 1 && age >= 0 && age < int64(orderFor) {
			return // another namespace may still bring an earlier one
		}
		if j := h.joined; j != nil {
			p.look(j, h.segment.Time, now)
			if !j.settled {
				return
			}
		}
		p.emitFirst(now)
	}
}

// orderFor is how much later than an other one's a namespace's packets may come.
const orderFor = 3 * liveBlock

// matches reports whether the filter wants a packet: as one of either end's
// connections.
func (p *capturing) matches(t *capture.Segment, j *joined, now int64) bool {
	if p.match == nil {
		return true
	}
	p.view.Set(t.Tuple, uint16(t.Flags))
	if !p.needsConn {
		return p.match(&p.view, nil)
	}
	here := false
	for i := range j.ends {
		if j.ends[i] != nil {
			here = true
			if p.match(&p.view, p.row(j, i, now)) {
				return true
			}
		}
	}
	return !here && p.match(&p.view, p.row(j, 0, now))
}

// emit sends a packet where it belongs. p.mu is held.
func (p *capturing) emit(s *space, f *capture.Frame, t *capture.Segment, v *analysis.Packet, j *joined, now int64) {
	if p.done {
		return
	}
	if j != nil {
		if !p.matches(t, j, now) {
			p.counts.unmatched++
			return
		}
		j.wanted = true
		if !p.c.noProcess && j.process(0) == nil && j.process(1) == nil {
			p.counts.unjoined++
		}
	}
	p.counts.matched++
	if p.file != nil {
		if err := p.file.write(s, f, p.comment(t, v, j), now); err != nil {
			p.fail(err)
			return
		}
	}
	if p.recorder != nil && j != nil {
		p.record(s, f, t, j)
	}
	if p.text != nil && j != nil {
		if err := p.print(t, v, j); err != nil {
			p.fail(err)
			return
		}
	}
	if p.c.count > 0 && p.counts.matched >= p.c.count {
		p.stop()
	}
}

// comment is what stands beside a packet in a file.
func (p *capturing) comment(t *capture.Segment, v *analysis.Packet, j *joined) string {
	if j == nil || p.c.comments == commentsNone || p.c.comments == commentsFirst && j.told != 0 {
		return ""
	}
	j.told = t.Time
	return verdictComment(j.comment(j.side(&t.Tuple)), v)
}

// print writes a packet as text.
func (p *capturing) print(t *capture.Segment, v *analysis.Packet, j *joined) error {
	i := j.side(&t.Tuple)
	from := v.Initiator
	switch known := [2]bool{j.ends[i] != nil, j.ends[i^1] != nil}; {
	case known[0] != known[1]:
		from = known[0]
	case known[0]:
		from = true
	case p.local != nil && p.local(t.Tuple.Local) != p.local(t.Tuple.Remote):
		from = p.local(t.Tuple.Local)
	}
	own := i
	if !from {
		own = i ^ 1
	}
	v.Stream = j.number
	return p.text.add(&packetRow{seg: t, v: v, fromLocal: from, own: j.end(own), peer: j.end(own ^ 1)})
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
	p.release(now)
	for _, s := range p.spaces {
		s.analyzer.Advance(now)
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

// finish lets go of all that still waits, as soon as its connection is known.
func (p *capturing) finish() {
	for {
		p.mu.Lock()
		p.release(time.Now().UnixNano())
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
