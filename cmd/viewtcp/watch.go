package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/track"
)

// watchFlags are the flags of watch beside the common ones.
type watchFlags struct {
	common
	daemonFlags
	lasts   time.Duration
	count   int
	events  string
	ring    string
	verbose bool
}

// readerBuffer is how many events wait for a slow reader before they are counted
// instead of kept.
const readerBuffer = 1 << 17

func newWatch(e env) *cobra.Command {
	var c watchFlags
	cmd := &cobra.Command{
		Use:   "watch [FILTER]",
		Short: "Print what happens to connections as it happens",
		Long: `Print what happens to connections as it happens, until Ctrl-C, --for or --count:
opened, established, retransmit, reset, closed, and gap where something was lost.
Connections that exist already are not replayed; their later events are shown.`,
		Example: `  viewtcp watch
  viewtcp watch --events closed 'duration < 1s' -o jsonl
  viewtcp watch --for 1m process curl`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.setup(cmd); err != nil {
				return err
			}
			collectLess()
			return watch(cmd.Context(), e, &c, args)
		},
	}
	c.addSource(cmd.Flags())
	c.addOutput(cmd.Flags())
	c.add(cmd.Flags())
	fs := cmd.Flags()
	fs.DurationVar(&c.lasts, "for", 0, "stop after this time, as in 90s or 10m")
	fs.IntVar(&c.count, "count", 0, "stop after this many events (0 is never)")
	fs.StringVar(&c.events, "events", "opened,established,retransmit,reset,closed", "events to print, separated by commas; all adds changed; gaps are always printed")
	fs.StringVar(&c.ring, "ring", "", "size of the kernel's event ring for source ebpf, a power of two as in 4MiB")
	fs.BoolVarP(&c.verbose, "verbose", "v", false, "say on stderr when watching has begun, and what was counted at the end")
	return cmd
}

func watch(ctx context.Context, e env, c *watchFlags, args []string) error {
	f, err := c.parseFilter(args, filterOptions())
	if err != nil {
		return err
	}
	w, err := newEventWriter(e, c, f)
	if err != nil {
		return err
	}
	if c.count < 0 || c.lasts < 0 {
		return usagef("--count and --for cannot be negative")
	}
	pick := c.choice()
	if pick.ringBytes, err = ringBytes(c.ring); err != nil {
		return err
	}
	d, err := c.daemon(ctx, &c.daemonFlags)
	if err != nil {
		return err
	}
	if d != nil {
		defer d.Close()
		return watchDaemon(ctx, e, c, d, f, w)
	}
	interrupted := ctx
	ctx, stop := c.limited(ctx)
	defer stop()

	l := newLook(e, &c.common)
	l.pick = pick
	l.ready = func(src tcp.SourceKind) {
		// The start is over, and what it needed is not needed again.
		debug.FreeOSMemory()
		if c.verbose {
			e.warn("watching, source " + src.String())
		}
	}
	printed := make(chan error, 1)
	printing := false
	l.started = func(t *track.Tracker) {
		sub := t.Subscribe(readerBuffer)
		if printing { // the source before this one failed before its first event
			return
		}
		printing = true
		go func() {
			defer sub.Close()
			err := w.follow(sub)
			stop()
			printed <- err
		}()
	}
	err = l.feed(ctx, tcp.Source.Run)
	if !printing {
		return err
	}
	l.tracker.End()
	perr := <-printed
	if c.verbose {
		s := l.tracker.Snapshot().Stats
		e.warn(fmt.Sprintf("%d opened, %d closed, %d vanished, %d closes dropped and counted", s.Opened, s.Closed, s.Vanished, s.Lost.Closes))
	}
	if perr != nil {
		return perr
	}
	return c.outcome(interrupted, err, w.printed)
}

// limited is a context that ends after --for, if that was given.
func (c *watchFlags) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.lasts > 0 {
		return context.WithTimeout(ctx, c.lasts)
	}
	return context.WithCancel(ctx)
}

// outcome is what watching ends with: err, unless that says only that it was to
// end; interrupted is the context that a signal ends.
func (c *watchFlags) outcome(interrupted context.Context, err error, printed int) error {
	switch {
	case err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded):
		return err
	case interrupted.Err() != nil:
		return exitError{exitInterrupted}
	case c.failEmpty && printed == 0:
		return exitError{exitEmpty}
	}
	return nil
}

func ringBytes(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	n, err := filter.ParseSize(text)
	if err != nil || n < 4096 || n > 1<<30 || n&(n-1) != 0 {
		return 0, usagef("--ring %s: it is a power of two between 4KiB and 1GiB", text)
	}
	return int(n), nil
}

// eventWriter prints the events that were asked for.
type eventWriter struct {
	c       *watchFlags
	out     io.Writer
	match   func(*tcp.Conn) bool
	dns     *resolver
	types   [16]bool
	json    *output.JSON
	csv     *output.CSV
	line    *output.EventLine
	buf     []byte
	printed int
}

func newEventWriter(e env, c *watchFlags, f *filter.Filter) (*eventWriter, error) {
	w := &eventWriter{c: c, out: e.stdout, match: f.Predicate(), dns: newResolver(&c.common)}
	w.types[tcp.EventGap] = true
	for name := range strings.SplitSeq(c.events, ",") {
		name = strings.TrimSpace(name)
		if name == "all" {
			for i := range w.types {
				w.types[i] = true
			}
			continue
		}
		t, ok := tcp.ParseEventType(name)
		if !ok {
			hint := ""
			if s := filter.Nearest(name, tcp.EventTypeNames()); s != "" {
				hint = ": did you mean " + s + "?"
			}
			return nil, usagef("--events: there is no event %q%s (they are %s)", name, hint, strings.Join(tcp.EventTypeNames(), ", "))
		}
		w.types[t] = true
	}
	switch c.format {
	case formatTable, formatWide:
		usual := output.EventColumns()
		if c.format == formatWide {
			usual = slices.Concat(usual, output.WideColumns())
		}
		cols, err := c.tableColumns(usual)
		if err != nil {
			return nil, err
		}
		w.line = &output.EventLine{Columns: cols, Color: c.useColor(e.stdout)}
		return w, nil
	case formatJSON:
		return nil, usagef("-o json: a stream has no end; use -o jsonl, one object a line")
	}
	fields, err := c.fields()
	if err != nil {
		return nil, err
	}
	if c.format == formatCSV {
		w.csv = output.NewCSV(fields)
	} else {
		w.json = output.NewJSON(fields)
	}
	return w, nil
}

// follow prints events until the stream ends or enough were printed.
func (w *eventWriter) follow(sub tcp.Subscription) error {
	defer w.dns.close()
	if !w.c.noHeader {
		if w.line != nil {
			w.buf = w.line.AppendHeader(w.buf)
		}
		if w.csv != nil {
			w.buf = w.csv.AppendHeader(w.buf, "event", "seq", "time")
		}
		if err := w.flush(); err != nil {
			return err
		}
	}
	var (
		events []tcp.Event
		err    error
	)
	for {
		// The stream ends when its tracker does, which is after the last batch.
		events, err = sub.Next(context.Background(), events[:0])
		for i := range events {
			// A name shows from the first event after DNS has answered.
			events[i].Conn = w.dns.name(events[i].Conn)
			if !w.wants(&events[i]) {
				continue
			}
			w.append(&events[i])
			if w.printed++; w.c.count > 0 && w.printed >= w.c.count {
				return w.flush()
			}
			if len(w.buf) >= flushAt {
				if err := w.flush(); err != nil {
					return err
				}
			}
		}
		if ferr := w.flush(); ferr != nil {
			return ferr
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (w *eventWriter) wants(e *tcp.Event) bool {
	return w.types[e.Type] && (e.Conn == nil || w.match(e.Conn))
}

func (w *eventWriter) append(e *tcp.Event) {
	switch {
	case w.line != nil:
		w.buf = w.line.Append(w.buf, e)
	case w.csv != nil:
		w.buf = w.csv.AppendEvent(w.buf, e)
	default:
		w.buf = append(w.json.AppendEvent(w.buf, e), '\n')
	}
}

func (w *eventWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	_, err := w.out.Write(w.buf)
	w.buf = w.buf[:0]
	return err
}
