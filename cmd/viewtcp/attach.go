package main

import (
	"github.com/viewtcp/viewtcp/internal/procfs"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// attacher describes the processes of a stream of batches, on the side that has
// the rights to read about them.
type attacher struct {
	processes *procfs.Processes
	sent      map[tcp.ProcessID]sentProcess
	batch     []*tcp.Process
}

type sentProcess struct {
	process *tcp.Process
	at      int64
}

const (
	// describeAgain is how often a process still in use is described again, so
	// that a receiver may forget those that are not.
	describeAgain = 60_000_000_000 // ns
	maxSent       = 1 << 16
)

func newAttacher() *attacher {
	return &attacher{processes: procfs.NewProcesses(procfs.DefaultConfig()), sent: make(map[tcp.ProcessID]sentProcess)}
}

// sink returns a sink that adds the descriptions and hands the batch on.
func (a *attacher) sink(next tcp.Sink) tcp.Sink {
	return func(b *tcp.Batch) error {
		a.batch = append(a.batch[:0], b.Processes...)
		var last tcp.Owner
		for i := range b.Observations {
			o := &b.Observations[i].Owner
			if o.PID == 0 || *o == last {
				continue
			}
			last = *o
			a.describe(*o, b.Time.Boot)
		}
		b.Processes = a.batch
		return next(b)
	}
}

func (a *attacher) describe(o tcp.Owner, now int64) {
	p, _ := a.processes.Resolve(o)
	if p == nil {
		return
	}
	id := tcp.ProcessID{PID: o.PID, Start: o.Start}
	s := a.sent[id]
	if s.process == p && now-s.at < describeAgain {
		return
	}
	if len(a.sent) >= maxSent {
		clear(a.sent)
	}
	a.sent[id] = sentProcess{process: p, at: now}
	a.batch = append(a.batch, p)
}
