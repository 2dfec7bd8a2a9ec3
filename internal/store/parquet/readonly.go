package parquet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Reader answers queries about a data directory that another process may be
// writing at the same time. It is a store.Querier. It takes no lock and writes
// nothing: each query reads manifest and log anew, so that it sees what was
// durable when it began, and goes on reading files that are removed meanwhile.
//
// A Reader remembers what the footers of segments say, a few megabytes at most, but
// holds no file between queries and need not be closed.
type Reader struct {
	dir   string
	fs    fileSystem
	metas segmentCache
}

var (
	_ store.Querier = (*Reader)(nil)
	_ store.Querier = (*Engine)(nil)
)

// OpenReadOnly prepares to read the history in a directory. Its errors wrap
// fs.ErrNotExist when there is none, and store.ErrVersion when it is of a format
// that this program does not know.
func OpenReadOnly(dir string) (*Reader, error) {
	r := &Reader{dir: dir, fs: osFS{dir}}
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	m, err := r.take(context.Background(), func(*segmentInfo) bool { return false })
	if err != nil {
		return nil, err
	}
	defer m.release()
	if m.view.number == 0 && len(m.view.unsealed) == 0 {
		if _, err := os.Stat(osFS{dir}.path(logDir)); err != nil {
			return nil, fmt.Errorf("no history in %q: %w", dir, fs.ErrNotExist)
		}
	}
	return r, nil
}

// Connections implements store.Querier.
func (r *Reader) Connections(ctx context.Context, q *store.Query, fn func(*store.Record) error) (*store.Answer, error) {
	return r.queries().connections(ctx, q, fn)
}

// Records implements store.Querier.
func (r *Reader) Records(ctx context.Context, q *store.Query, fn func(*store.Record) error) (*store.Answer, error) {
	return r.queries().records(ctx, q, fn)
}

// Aggregate implements store.Querier.
func (r *Reader) Aggregate(ctx context.Context, q *store.Query, fn func(*store.Group) error) (*store.Answer, error) {
	return r.queries().aggregate(ctx, q, fn)
}

// Samples implements store.Querier.
func (r *Reader) Samples(ctx context.Context, id tcp.ID, from, to time.Time, fn func(*store.Sample) error) (*store.Answer, error) {
	return r.queries().samples(ctx, id, from, to, fn)
}

// Events implements store.Querier.
func (r *Reader) Events(ctx context.Context, from, to time.Time, types []string, fn func(*store.Event) error) (*store.Answer, error) {
	return r.queries().events(ctx, from, to, types, fn)
}

func (r *Reader) queries() *querier { return &querier{take: r.take} }

// maxTries is how often files are looked for that a writer just replaced. It
// replaces them seconds apart.
const maxTries = 20

// take reads manifest and log of one moment and opens the segments that may be
// read, so that they stay readable.
func (r *Reader) take(ctx context.Context, use func(*segmentInfo) bool) (*moment, error) {
	var last error
	for range maxTries {
		m, err := r.look(ctx, use)
		if err == nil {
			return m, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errChanged) {
			return nil, fmt.Errorf("history in %q: %w", r.dir, err)
		}
		last = err
	}
	return nil, fmt.Errorf("history in %q: files keep vanishing: %w", r.dir, last)
}

var errChanged = errors.New("manifest was replaced while the log was read")

func (r *Reader) look(ctx context.Context, use func(*segmentInfo) bool) (_ *moment, err error) {
	manifest, err := r.manifest()
	if err != nil {
		return nil, err
	}
	m := &moment{fs: r.fs, metas: &r.metas, files: make(map[uint64]file), report: func(*segmentInfo, error) {}}
	m.release = func() {
		for _, f := range m.files {
			_ = f.Close() // only read
		}
	}
	defer func() {
		if err != nil {
			m.release()
		}
	}()
	m.view = &view{number: manifest.Serial, segments: manifest.Segments, sealed: manifest.Sealed, open: manifest.Open}
	if err := r.log(ctx, m, manifest); err != nil {
		return nil, err
	}
	m.before, err = loadOpen(r.fs, manifest.Open)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	m.lost = m.lost || err != nil
	for i := range manifest.Segments {
		g := &manifest.Segments[i]
		if !use(g) {
			continue
		}
		f, err := r.fs.Open(g.name())
		if err != nil {
			return nil, err
		}
		m.files[g.Number] = f
	}
	// The log is cut only after the manifest names what was in it.
	after, err := r.manifest()
	if err == nil && after.Serial != manifest.Serial {
		err = errChanged
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// manifest reads the manifest; without one nothing is sealed.
func (r *Reader) manifest() (*manifest, error) {
	b, err := readFile(r.fs, manifestName, 1<<30)
	if errors.Is(err, fs.ErrNotExist) {
		return new(manifest), nil
	}
	if err != nil {
		return nil, err
	}
	return parseManifest(b)
}

// log reads the batches that are in no segment yet. A frame that ends with the
// file is being written, and was not acknowledged. It stops between two batches
// when the context ends: a log can be large.
func (r *Reader) log(ctx context.Context, m *moment, known *manifest) error {
	entries, err := r.fs.ReadDir(logDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var numbers []uint64
	for _, e := range entries {
		if n, ok := numberOf(e.Name(), logSuffix); ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	newest := make(map[agentKey]uint64)
	for _, a := range known.Agents {
		newest[agentKey{a.Agent, a.Epoch}] = a.Sequence
	}
	scratch := new(vec)
	for i, n := range numbers {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := readFile(r.fs, logName(n), maxLogFile)
		if err != nil {
			return err
		}
		first, salt, err := parseLogHeader(b)
		if errors.Is(err, store.ErrVersion) {
			return err
		}
		if err != nil {
			// The newest file may just be beginning.
			m.lost = m.lost || i < len(numbers)-1 || len(b) > logHeaderSize
			continue
		}
		cuts := parseFrames(b, salt, first, func(seq uint64, payload []byte) {
			if seq <= known.Sealed || ctx.Err() != nil {
				return
			}
			lb, err := parseBatch(seq, payload)
			if err == nil {
				err = lb.check(scratch)
			}
			if err != nil {
				m.lost = true
				return
			}
			if k := (agentKey{lb.id.Agent, lb.id.Epoch}); lb.id.Agent != "" {
				if lb.id.Sequence <= newest[k] {
					return // sent again after an error that had not undone it
				}
				newest[k] = lb.id.Sequence
			}
			m.view.unsealed = append(m.view.unsealed, lb)
			m.view.rows += lb.rows()
		})
		for _, c := range cuts {
			m.lost = m.lost || !c.torn && c.bytes > 0
		}
	}
	return ctx.Err()
}
