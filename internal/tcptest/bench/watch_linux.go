package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcptest"
)

// An event is what of a line of viewtcp watch -o jsonl is looked at here.
type event struct {
	Event     string
	Cookie    uint64
	PID       int
	LocalPort int
	Sent      *uint64
	Received  *uint64
	Complete  bool
}

// parseEvent reads one line.
func parseEvent(line []byte) (event, error) {
	var raw struct {
		Event     string  `json:"event"`
		Cookie    string  `json:"cookie"`
		PID       int     `json:"pid"`
		LocalPort int     `json:"local_port"`
		Sent      *uint64 `json:"bytes_sent"`
		Received  *uint64 `json:"bytes_received"`
		Complete  bool    `json:"complete"`
	}
	if err := json.Unmarshal(line, &raw); err != nil {
		return event{}, fmt.Errorf("event %.200q: %w", line, err)
	}
	e := event{
		Event: raw.Event, PID: raw.PID, LocalPort: raw.LocalPort,
		Sent: raw.Sent, Received: raw.Received, Complete: raw.Complete,
	}
	if raw.Cookie != "" {
		var err error
		if e.Cookie, err = strconv.ParseUint(raw.Cookie, 10, 64); err != nil {
			return event{}, fmt.Errorf("event %.200q: %w", line, err)
		}
	}
	return e, nil
}

// A watch is viewtcp watch with all that it said.
type watch struct {
	p *program

	mu     sync.Mutex
	cond   *sync.Cond
	ports  map[int]bool // guarded by mu; local ports of connections told of, until ready
	closed []event      // guarded by mu
	gap    []string     // guarded by mu
	err    error        // guarded by mu
}

func startWatch(ctx context.Context, argv []string) (*watch, error) {
	r, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	w := &watch{ports: make(map[int]bool)}
	w.cond = sync.NewCond(&w.mu)
	if w.p, err = start(ctx, out, argv...); err != nil {
		_ = r.Close()
		return nil, err
	}
	go w.read(r)
	return w, nil
}

// read keeps up with the program with as little work as can be, so that the
// reader is not what is measured: lines are parsed when all is over, but for
// the few before the watch is ready.
func (w *watch) read(r io.ReadCloser) {
	defer r.Close()
	in := bufio.NewReaderSize(r, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		w.mu.Lock()
		switch {
		case err != nil:
			w.err = fmt.Errorf("the watch ended: %w", err)
		case bytes.Contains(line, []byte(`"event":"closed"`)):
			var e event
			if e, w.err = parseEvent(line); w.err == nil {
				w.closed = append(w.closed, e)
				if w.ports != nil { // without eBPF nothing tells of openings so short
					w.ports[e.LocalPort] = true
				}
			}
		case bytes.Contains(line, []byte(`"event":"gap"`)):
			w.gap = append(w.gap, strings.TrimSpace(string(line)))
		case w.ports != nil:
			if e, err := parseEvent(line); err == nil {
				w.ports[e.LocalPort] = true
			}
		}
		w.cond.Broadcast()
		failed := w.err != nil
		w.mu.Unlock()
		if failed {
			return
		}
	}
}

// ready waits until the watch reports connections: its start takes some time,
// and what opens before is not replayed.
func (w *watch) ready(ctx context.Context) error {
	lc := net.ListenConfig{KeepAlive: -1}
	ln, err := lc.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	var d net.Dialer
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); {
		c, err := d.DialContext(ctx, "tcp4", ln.Addr().String())
		if err != nil {
			return err
		}
		local, ok := c.LocalAddr().(*net.TCPAddr)
		_ = c.Close()
		if err := sleep(ctx, 250*time.Millisecond); err != nil {
			return err
		}
		w.mu.Lock()
		seen := ok && w.ports[local.Port]
		err = w.err
		if seen {
			w.ports = nil
		}
		w.mu.Unlock()
		if err != nil {
			return fmt.Errorf("%w: %.300s", err, w.p.stderr.String())
		}
		if seen {
			// Whatever the start left to do is done before the storm.
			return sleep(ctx, 3*time.Second)
		}
	}
	return errors.New("the watch reported nothing for a minute")
}

// closes waits until all ends of the ledger were reported, or nothing more came
// for five seconds.
func (w *watch) closes(ctx context.Context, l tcptest.Ledger) error {
	const step, patience = 100 * time.Millisecond, 5 * time.Second
	before := 0
	for waited := time.Duration(0); waited < patience; waited += step {
		w.mu.Lock()
		n, err := len(w.closed), w.err
		w.mu.Unlock()
		if err != nil {
			return fmt.Errorf("%w: %.300s", err, w.p.stderr.String())
		}
		if n > before {
			before, waited = n, 0
			if n >= len(l) && tallyOf(l, w.events()).closes == len(l) {
				return nil
			}
		}
		if err := sleep(ctx, step); err != nil {
			return err
		}
	}
	return nil
}

func (w *watch) events() []event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed[:len(w.closed):len(w.closed)]
}

func (w *watch) gaps() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gap
}
