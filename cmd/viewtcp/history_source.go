package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"

	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/store/parquet"
)

// historySource are the flags that say whose history is read.
type historySource struct{ data string }

func (s *historySource) add(fs *pflag.FlagSet) {
	fs.StringVar(&s.data, "data", "", "read the history in this data directory, also while viewtcp serve writes it (default VIEWTCP_DATA, else the usual one)")
}

// A historian answers questions about the past, out of a data directory or by
// asking a daemon.
type historian struct {
	store.Querier
	// where names whose history it is, for messages.
	where    string
	progress *waiting
}

// open finds the history.
func (s *historySource) open(_ context.Context, e env) (*historian, error) {
	dir, err := dataDir(s.data)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, storeDir)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no history in %s: start viewtcp serve, which collects and keeps it, or name its directory with --data DIR", dir)
	}
	r, err := parquet.OpenReadOnly(path)
	if err != nil {
		return nil, fmt.Errorf("reading the history in %s: %w", dir, err)
	}
	return &historian{Querier: r, where: dir, progress: wait(e)}, nil
}

// end ends the reading.
func (h *historian) end() { h.progress.stop() }

// waiting shows on a terminal that something is read, once a second has passed.
// nil shows nothing.
type waiting struct {
	e     env
	rows  atomic.Uint64
	once  sync.Once
	end   chan struct{}
	ended chan struct{}
}

func wait(e env) *waiting {
	if !isTerminal(e.stderr) {
		return nil
	}
	w := &waiting{e: e, end: make(chan struct{}), ended: make(chan struct{})}
	go w.draw()
	return w
}

func (w *waiting) draw() {
	defer close(w.ended)
	begin, drawn := time.Now(), false
	next := time.NewTimer(progressAfter)
	defer next.Stop()
	for {
		select {
		case <-w.end:
			if drawn {
				fmt.Fprint(w.e.stderr, "\r\x1b[K")
			}
			return
		case <-next.C:
		}
		next.Reset(progressEvery)
		line := fmt.Sprintf("reading history: %s", time.Since(begin).Round(time.Second))
		if n := w.rows.Load(); n > 0 {
			line += ", " + countShort(n) + " rows so far"
		}
		line += " (Ctrl-C stops)"
		drawn = true
		fmt.Fprintf(w.e.stderr, "\r%s\x1b[K", output.Cut(line, max(width(w.e.stderr), 40)-1))
	}
}

// row counts a row that was read.
func (w *waiting) row() {
	if w != nil {
		w.rows.Add(1)
	}
}

// stop removes what was drawn. It can be called more than once, and is before
// anything else is written.
func (w *waiting) stop() {
	if w == nil {
		return
	}
	w.once.Do(func() { close(w.end) })
	<-w.ended
}
