package procfs

import (
	"container/list"
	"sync"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Bounds of what is kept of one process, in bytes.
const (
	maxExe    = 4096
	maxCgroup = 4096
)

const (
	// idleAfter is how long details that nobody asks for are kept.
	idleAfter = 5 * time.Minute
	// announceAfter is when a process is given out as new again.
	announceAfter = 2 * time.Minute
	// retryAfter is when a process that was over the budget is read.
	retryAfter = 100 * time.Millisecond
	// forgetAfter bounds how long details are believed when the start of the
	// process is not known, so that its number may have been given away.
	forgetAfter = 2 * time.Second
)

// Processes finds out what a process is: its program, arguments, user, container
// and unit. It may be used from several goroutines.
//
// Details are kept by (pid, start) and never attributed to another process that
// got the same number. The cache is bounded; so is the work in each second.
type Processes struct {
	cfg Config
	now func() time.Time

	mu      sync.Mutex
	entries map[tcp.ProcessID]*list.Element // of *entry
	lru     list.List                       // last used first
	users   users
	buf     []byte
	// tokens is how many processes may be read now; refilled up to
	// cfg.LookupsPerSecond.
	tokens   float64
	refilled time.Time
	stats    ProcessStats
}

// ProcessStats counts what a Processes did. Every Resolve of a process that was
// not in the cache is a read or was postponed.
type ProcessStats struct {
	// Reads counts processes read, Gone those of them that had ended, Postponed
	// those that were over the budget.
	Reads, Gone, Postponed uint64
	// Cached is the number of processes in the cache.
	Cached int
}

type entry struct {
	key     tcp.ProcessID
	process *tcp.Process
	// asked is the name that the last owner came with.
	asked tcp.Comm
	// read is when the details were read, used when they were asked for, and
	// announced when they were last given out as new.
	read, used, announced time.Time
	// partial says that there was no time to read the details.
	partial bool
	// gone says that the process has ended: nothing more can be learned.
	gone bool
}

// NewProcesses returns an empty cache below cfg.Root.
func NewProcesses(cfg Config) *Processes {
	cfg = cfg.withDefaults()
	return &Processes{
		cfg:     cfg,
		now:     time.Now,
		entries: make(map[tcp.ProcessID]*list.Element),
		users:   users{path: cfg.Passwd},
		tokens:  float64(cfg.LookupsPerSecond),
	}
}

// Resolve describes the process behind an owner, under the pid and start of o.
// The result is immutable and shared by all who ask for the same process; isNew
// says that it is not the one that was returned for this process before, or that
// isNew was last said two minutes ago, so that who forgets processes not used
// for a while hears of them again. It is nil when o has no pid.
//
// A process that has ended, that may not be read, or for which there is no time
// now has only the pid and name that o brought; in the last case the details
// come with a later call.
func (p *Processes) Resolve(o tcp.Owner) (process *tcp.Process, isNew bool) {
	if o.PID == 0 {
		return nil, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	id := tcp.ProcessID{PID: o.PID, Start: o.Start}
	el, ok := p.entries[id]
	if !ok {
		e := &entry{key: id, used: now, announced: now, asked: o.Comm}
		e.process = p.describe(o, e, now)
		p.entries[id] = p.lru.PushFront(e)
		p.evict(now)
		return e.process, true
	}
	e := el.Value.(*entry)
	e.used = now
	p.lru.MoveToFront(el)
	if !p.stale(e, o, now) {
		return e.process, e.announce(now)
	}
	e.asked = o.Comm
	old := e.process
	fresh := p.describe(o, e, now)
	// What was known of a process stays known when it has ended.
	if e.partial || e.gone && o.Start != 0 || *fresh == *old {
		return old, e.announce(now)
	}
	e.process, e.announced = fresh, now
	return fresh, true
}

// announce reports whether it is time to give the process out as new again.
func (e *entry) announce(now time.Time) bool {
	if now.Sub(e.announced) < announceAfter {
		return false
	}
	e.announced = now
	return true
}

// stale reports whether details should be read again.
func (p *Processes) stale(e *entry, o tcp.Owner, now time.Time) bool {
	age := now.Sub(e.read)
	switch {
	case e.partial:
		return age >= retryAfter
	case o.Start == 0:
		return age >= forgetAfter
	case e.gone || o.Comm == e.asked || o.Comm == (tcp.Comm{}):
		return false
	default: // it has called itself something else: probably an exec
		return age >= p.cfg.RefreshAfter
	}
}

// describe reads a process, or makes do with the owner, and notes in e which.
func (p *Processes) describe(o tcp.Owner, e *entry, now time.Time) *tcp.Process {
	e.read = now
	e.gone, e.partial = false, false
	if !p.take(now) {
		e.partial = true
		p.stats.Postponed++
		return bare(o)
	}
	p.stats.Reads++
	process, err := p.read(o)
	if err != nil {
		e.gone = true
		p.stats.Gone++
		return bare(o)
	}
	if process.HasUID {
		process.User = p.users.name(process.UID, now)
	}
	return process
}

// bare is what is known of a process that cannot be read.
func bare(o tcp.Owner) *tcp.Process {
	return &tcp.Process{ProcessID: tcp.ProcessID{PID: o.PID, Start: o.Start}, Name: o.Comm.String()}
}

// take uses up one lookup of the budget.
func (p *Processes) take(now time.Time) bool {
	limit := float64(p.cfg.LookupsPerSecond)
	if !p.refilled.IsZero() {
		p.tokens = min(limit, p.tokens+max(0, now.Sub(p.refilled).Seconds())*limit)
	}
	p.refilled = now
	if p.tokens < 1 {
		return false
	}
	p.tokens--
	return true
}

// evict drops the process that was asked for longest ago while there are too
// many, and those that nobody has asked for in a while.
func (p *Processes) evict(now time.Time) {
	for el := p.lru.Back(); el != nil; el = p.lru.Back() {
		e := el.Value.(*entry)
		if p.lru.Len() <= p.cfg.MaxProcesses && now.Sub(e.used) < idleAfter {
			return
		}
		p.lru.Remove(el)
		delete(p.entries, e.key)
	}
}

// Stats returns the counts so far.
func (p *Processes) Stats() ProcessStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Cached = len(p.entries)
	return s
}
