package enrich

import (
	"container/list"
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// maxName bounds a name of the DNS, in bytes (RFC 1035, section 2.3.4).
const maxName = 253

// Resolver asks the DNS; *net.Resolver is one.
type Resolver interface {
	LookupAddr(ctx context.Context, addr string) (names []string, err error)
}

// ReverseConfig bounds a ReverseDNS.
type ReverseConfig struct {
	// Resolver answers; nil is the system's.
	Resolver Resolver
	// Workers is how many questions are asked at once, Timeout how long each
	// may take.
	Workers int
	Timeout time.Duration
	// TTL is how long a name is believed, NegativeTTL how long the lack of one.
	TTL, NegativeTTL time.Duration
	// MaxEntries bounds the addresses remembered, MaxPending those waiting for
	// an answer; above that addresses stay unknown until asked for again.
	MaxEntries, MaxPending int
	// Now reads the clock; nil is time.Now.
	Now func() time.Time
}

// DefaultReverseConfig returns the bounds for one host.
func DefaultReverseConfig() ReverseConfig {
	return ReverseConfig{
		Workers:     8,
		Timeout:     2 * time.Second,
		TTL:         10 * time.Minute,
		NegativeTTL: time.Minute,
		MaxEntries:  16384,
		MaxPending:  4096,
	}
}

// ReverseDNS finds the names of addresses in the background. It may be used
// from several goroutines, and must be closed. It asks for nothing but what
// Lookup was called with.
type ReverseDNS struct {
	cfg    ReverseConfig
	ctx    context.Context //nolint:containedctx // the life of the workers, ended by Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	entries map[tcp.Addr]*list.Element // of *answer
	lru     list.List                  // last used first
	queue   []tcp.Addr
	pending int // in the queue or being asked
	workers int
	changes uint64
	idle    chan struct{} // closed when nothing is pending; nil when nobody waits
}

type answer struct {
	addr    tcp.Addr
	name    string
	expires time.Time
	known   bool
	asking  bool
}

// NewReverseDNS returns an empty cache. Zero values of cfg stand for the
// defaults. It asks nothing and starts nothing before the first Lookup.
func NewReverseDNS(cfg ReverseConfig) *ReverseDNS {
	d := DefaultReverseConfig()
	if cfg.Resolver == nil {
		cfg.Resolver = &net.Resolver{PreferGo: true}
	}
	if cfg.Workers <= 0 {
		cfg.Workers = d.Workers
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = d.Timeout
	}
	if cfg.TTL <= 0 {
		cfg.TTL = d.TTL
	}
	if cfg.NegativeTTL <= 0 {
		cfg.NegativeTTL = d.NegativeTTL
	}
	if cfg.MaxEntries <= 0 {
		cfg.MaxEntries = d.MaxEntries
	}
	if cfg.MaxPending <= 0 {
		cfg.MaxPending = d.MaxPending
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &ReverseDNS{cfg: cfg, ctx: ctx, cancel: cancel, entries: make(map[tcp.Addr]*list.Element)}
}

// Lookup returns the name of an address if there was an answer; an empty name
// that is known says that the address has none. It never waits: what is not
// known is asked for, and there with a later call. A name that is older than its
// time is asked for again, and meanwhile still given.
func (r *ReverseDNS) Lookup(addr tcp.Addr) (name string, known bool) {
	switch {
	case addr.IsUnspecified():
		return "", true
	case addr.IsLoopback(): // RFC 6761, section 6.3: no server needs to be asked
		return "localhost", true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	el, ok := r.entries[addr]
	if ok {
		r.lru.MoveToFront(el)
	} else {
		el = r.lru.PushFront(&answer{addr: addr})
		r.entries[addr] = el
	}
	a := el.Value.(*answer)
	if !a.asking && (!a.known || !r.cfg.Now().Before(a.expires)) {
		r.ask(a)
	}
	r.evict()
	return a.name, a.known
}

// ask queues a question, unless too many wait.
func (r *ReverseDNS) ask(a *answer) {
	if r.pending >= r.cfg.MaxPending || r.ctx.Err() != nil {
		return
	}
	a.asking = true
	r.pending++
	r.queue = append(r.queue, a.addr)
	if r.workers < r.cfg.Workers {
		r.workers++
		r.wg.Go(r.work)
	}
}

// evict forgets the addresses used longest ago while there are too many.
func (r *ReverseDNS) evict() {
	for r.lru.Len() > r.cfg.MaxEntries {
		el := r.lru.Back()
		a := el.Value.(*answer)
		r.lru.Remove(el)
		delete(r.entries, a.addr)
	}
}

// work answers questions until there are none.
func (r *ReverseDNS) work() {
	for {
		r.mu.Lock()
		if len(r.queue) == 0 || r.ctx.Err() != nil {
			r.pending -= len(r.queue) // given up by Close
			r.queue = nil
			r.workers--
			r.done()
			r.mu.Unlock()
			return
		}
		addr := r.queue[0]
		r.queue = r.queue[1:]
		r.mu.Unlock()

		ctx, cancel := context.WithTimeout(r.ctx, r.cfg.Timeout)
		names, err := r.cfg.Resolver.LookupAddr(ctx, addr.String())
		cancel()

		r.mu.Lock()
		r.pending--
		if r.ctx.Err() == nil { // else the error is Close's, not the server's
			r.answer(addr, bestName(names, err))
		}
		r.done()
		r.mu.Unlock()
	}
}

// answer stores what a question brought.
func (r *ReverseDNS) answer(addr tcp.Addr, name string) {
	el, ok := r.entries[addr]
	if !ok {
		return // forgotten meanwhile
	}
	a := el.Value.(*answer)
	ttl := r.cfg.TTL
	if name == "" {
		ttl = r.cfg.NegativeTTL
	}
	if !a.known || a.name != name {
		r.changes++
	}
	a.name, a.known, a.asking, a.expires = name, true, false, r.cfg.Now().Add(ttl)
}

// done tells those who wait that nothing is pending any more.
func (r *ReverseDNS) done() {
	if r.pending == 0 && r.idle != nil {
		close(r.idle)
		r.idle = nil
	}
}

// bestName picks one of several names: the first in order, because servers
// rotate them. Names that are too long are not names.
func bestName(names []string, err error) string {
	if err != nil {
		return ""
	}
	best := ""
	for _, n := range slices.Sorted(slices.Values(names)) {
		if n = strings.TrimSuffix(n, "."); n != "" && len(n) <= maxName {
			best = n
			break
		}
	}
	return strings.Clone(best)
}

// Wait waits until every question so far has an answer or ran out of time, or
// until ctx ends.
func (r *ReverseDNS) Wait(ctx context.Context) error {
	r.mu.Lock()
	if r.pending == 0 {
		r.mu.Unlock()
		return nil
	}
	if r.idle == nil {
		r.idle = make(chan struct{})
	}
	idle := r.idle
	r.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Changes counts answers that told something new: who keeps names should look
// them up again when it has grown.
func (r *ReverseDNS) Changes() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changes
}

// Close ends all questions and waits for the workers. Lookup then still gives
// what is known.
func (r *ReverseDNS) Close() error {
	r.mu.Lock()
	// Under the lock, so that no worker starts after the wait below began.
	r.cancel()
	r.mu.Unlock()
	r.wg.Wait()
	return nil
}
