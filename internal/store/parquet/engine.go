package parquet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/viewtcp/viewtcp/internal/disk"
	"github.com/viewtcp/viewtcp/internal/store"
)

// Engine keeps history in one data directory. It is a store.Appender.
//
// One goroutine writes the log and another one seals, merges and expires
// segments; Close waits for both.
type Engine struct {
	cfg  Config
	fs   fileSystem
	log  *slog.Logger
	lock *os.File

	commits  chan *commit
	stop     chan struct{}
	stopOnce sync.Once
	wake     chan struct{} // asks for maintenance
	running  sync.WaitGroup
	// stuck says that the last maintenance failed.
	stuck atomic.Bool

	// view is what readers see. It is replaced, never changed.
	view  atomic.Pointer[view]
	metas segmentCache

	// writing guards the log and what follows from it. It is held while the log
	// is synced; readers and Status never take it.
	writing sync.Mutex
	logs    []logFile // oldest first; the last one may be open
	current *openLog
	lastLog uint64 // highest number of a file; none comes back
	nextSeq uint64
	agents  map[agentKey]agentState
	buf     []byte

	// maintaining guards the manifest and lets one seal, merge or expiry run at a
	// time. It is taken before writing.
	maintaining sync.Mutex
	manifest    manifest
	paces       map[store.Table]pace

	// mu guards the rest and is held for moments only.
	mu       sync.Mutex
	status   store.Status
	alive    map[string]agentState // newest of each agent
	live     map[*view]int         // views in use
	obsolete []obsolete
}

// A view is the stored rows at one moment.
type view struct {
	number   uint64
	segments []segmentInfo // by ascending number
	// sealed is the last frame that is in segments; unsealed are the batches
	// after it.
	sealed   uint64
	open     uint64
	unsealed []*loggedBatch
	rows     uint64 // of unsealed
}

// An obsolete file goes when no view before the one that dropped it is in use.
type obsolete struct {
	name string
	view uint64
}

type agentKey struct {
	agent string
	epoch uint64
}

// A logFile is a file of the log with what it holds.
type logFile struct {
	number      uint64
	first, last uint64 // frames; last < first when it has none
	size        int64
}

// A commit is a batch on its way to the disk.
type commit struct {
	ctx     context.Context
	id      store.BatchID
	time    int64
	payload []byte
	done    chan error
	state   commitState
}

type commitState uint8

const (
	commitPending commitState = iota
	commitWriting
	commitDuplicate
	commitRefused
)

// Open opens a data directory, making it if need be, and replays its log. What it
// finds damaged it sets aside and reports in Status. Its errors wrap ErrLocked
// when another process has the directory, and ErrVersion, having touched nothing,
// when the data is of a format that this program does not know.
func Open(cfg Config) (*Engine, error) { return open(cfg, osFS{cfg.Dir}) }

func open(cfg Config, fsys fileSystem) (*Engine, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now //nolint:forbidigo // the default of the injected clock
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Engine{
		cfg: cfg, fs: fsys, log: cfg.Logger,
		commits: make(chan *commit), stop: make(chan struct{}), wake: make(chan struct{}, 1),
		agents: make(map[agentKey]agentState), alive: make(map[string]agentState),
		live: make(map[*view]int), paces: make(map[store.Table]pace),
	}
	if err := fsys.MkdirAll("."); err != nil {
		return nil, fmt.Errorf("making data directory %q: %w", cfg.Dir, err)
	}
	lock, err := disk.Lock(osFS{cfg.Dir}.path(lockName), 0o600)
	if errors.Is(err, disk.ErrLocked) {
		return nil, fmt.Errorf("data directory %q: %w", cfg.Dir, store.ErrLocked)
	}
	if err != nil {
		return nil, fmt.Errorf("data directory %q must be writable: %w", cfg.Dir, err)
	}
	e.lock = lock
	if err := e.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("opening %q: %w", cfg.Dir, err), lock.Close())
	}
	e.running.Add(2)
	go e.write()
	go e.maintain()
	return e, nil
}

// Append implements store.Appender.
func (e *Engine) Append(ctx context.Context, b *store.Batch) error {
	if b.Rows() == 0 && b.ID == (store.BatchID{}) {
		return nil
	}
	c := &commit{ctx: ctx, id: b.ID, time: b.Time, done: make(chan error, 1)}
	var err error
	if c.payload, err = e.encode(b); err != nil {
		return err
	}
	select {
	case e.commits <- c:
	case <-ctx.Done():
		return ctx.Err()
	case <-e.stop:
		return store.ErrClosed
	}
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// encoders keep their memory between batches.
var encoders = sync.Pool{New: func() any { return new(pooledEncoder) }}

type pooledEncoder struct {
	batchEncoder
	buf []byte
}

func (e *Engine) encode(b *store.Batch) ([]byte, error) {
	enc := encoders.Get().(*pooledEncoder)
	defer encoders.Put(enc)
	var err error
	if enc.buf, err = enc.append(enc.buf[:0], b); err != nil {
		return nil, err
	}
	if len(enc.buf) > maxFrame {
		return nil, fmt.Errorf("batch of %d bytes: %w", len(enc.buf), store.ErrInvalid)
	}
	// Kept until it is sealed, so without spare room.
	return append(make([]byte, 0, len(enc.buf)), enc.buf...), nil
}

// LastBatch implements store.Appender.
func (e *Engine) LastBatch(agent string) (last store.BatchID, alive int64, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	a, ok := e.alive[agent]
	return store.BatchID{Agent: agent, Epoch: a.Epoch, Sequence: a.Sequence}, a.Alive, ok
}

// Close implements store.Appender.
func (e *Engine) Close() error {
	err := store.ErrClosed
	e.stopOnce.Do(func() {
		close(e.stop)
		e.running.Wait()
		e.maintaining.Lock()
		defer e.maintaining.Unlock()
		e.writing.Lock()
		defer e.writing.Unlock()
		err = e.closeLog()
		err = errors.Join(err, e.lock.Close())
		e.mu.Lock()
		e.status.State = store.StateClosed
		e.mu.Unlock()
	})
	return err
}

// acquire returns the present view. Its files stay until release.
func (e *Engine) acquire() *view {
	e.mu.Lock()
	defer e.mu.Unlock()
	v := e.view.Load()
	e.live[v]++
	return v
}

func (e *Engine) release(v *view) {
	e.mu.Lock()
	if e.live[v]--; e.live[v] == 0 {
		delete(e.live, v)
	}
	names := e.unused()
	e.mu.Unlock()
	e.removeAll(names)
}

// publish replaces the view by what change makes of it, and drops files.
func (e *Engine) publish(change func(v *view), drop ...string) {
	e.mu.Lock()
	v := *e.view.Load()
	v.number++
	change(&v)
	e.view.Store(&v)
	for _, name := range drop {
		e.obsolete = append(e.obsolete, obsolete{name, v.number})
	}
	names := e.unused()
	e.mu.Unlock()
	e.removeAll(names)
}

// unused takes the obsolete files that no view needs. It is called with mu held.
func (e *Engine) unused() (names []string) {
	oldest := ^uint64(0)
	for v := range e.live {
		oldest = min(oldest, v.number)
	}
	keep := e.obsolete[:0]
	for _, o := range e.obsolete {
		if oldest < o.view {
			keep = append(keep, o)
		} else {
			names = append(names, o.name)
		}
	}
	e.obsolete = keep
	return names
}

// removeAll removes files that nothing names any more. What cannot be removed is
// found at the next start.
func (e *Engine) removeAll(names []string) {
	for _, name := range names {
		if err := e.fs.Remove(name); err != nil {
			e.log.Warn("obsolete file stays", "file", name, "err", err)
		}
	}
}
