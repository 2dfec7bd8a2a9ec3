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

	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/store/parquet"
)

// historyDataHelp says what --data is where history is asked.
const historyDataHelp = "read the history in this data directory, or ask the daemon that works on it (default VIEWTCP_DATA, else the usual one)"

// A historian answers questions about the past, by asking a daemon or out of a
// data directory.
type historian struct {
	store.Querier
	// where names whose history it is, for messages.
	where    string
	progress *waiting
	// close, if not nil, ends the connection to the daemon.
	close func()
}

// openHistory finds the history: that of the daemon that the flags name or that
// runs, else what is in the data directory.
func openHistory(ctx context.Context, e env, d *daemonFlags) (*historian, error) {
	daemon, err := findDaemon(ctx, d)
	switch {
	case err != nil:
		return nil, err
	case daemon != nil:
		return &historian{Querier: daemon, where: "the daemon at " + daemon.URL(), progress: wait(e), close: daemon.Close}, nil
	}
	dir, err := dataDir(d.data())
	if err != nil {
		return nil, err
	}
	r, err := parquet.OpenReadOnly(filepath.Join(dir, storeDir))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("there is no history in %s: start viewtcp serve, which collects and keeps it, or say where it is with --data DIR or --server URL", dir)
	case err != nil:
		return nil, err
	}
	return &historian{Querier: r, where: dir, progress: wait(e)}, nil
}

// end ends the reading.
func (h *historian) end() {
	h.progress.stop()
	if h.close != nil {
		h.close()
	}
}

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
