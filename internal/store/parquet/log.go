package parquet

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/viewtcp/viewtcp/internal/disk"
	"github.com/viewtcp/viewtcp/internal/store"
)

// An openLog is the file that the log is written to.
type openLog struct {
	f    file
	salt uint32
	size int64 // of what is known to be good
}

// groupBytes bounds how much is synced at once.
const groupBytes = 8 << 20

// write is the goroutine that writes the log: it syncs all batches that wait
// together.
func (e *Engine) write() {
	defer e.running.Done()
	var group []*commit
	for {
		group = group[:0]
		select {
		case c := <-e.commits:
			group = append(group, c)
		case <-e.stop:
			return
		}
		size := len(group[0].payload)
	more:
		for size < groupBytes && len(group) < maxGroupFrames {
			select {
			case c := <-e.commits:
				group = append(group, c)
				size += len(c.payload)
			default:
				break more
			}
		}
		e.writing.Lock()
		e.commitGroup(group)
		e.writing.Unlock()
		clear(group)
	}
}

// commitGroup writes and acknowledges batches. It is called with writing held.
func (e *Engine) commitGroup(group []*commit) {
	if e.stuck.Load() && e.view.Load().rows >= maxBehind*uint64(e.cfg.SealRows) {
		e.refuse(group, errBehind)
		return
	}
	staged := make(map[agentKey]uint64)
	e.buf = e.buf[:0]
	first := e.nextSeq
	if err := e.ensureLog(); err != nil {
		e.refuse(group, err)
		return
	}
	seq := first
	for _, c := range group {
		c.state = commitPending
		if err := c.ctx.Err(); err != nil {
			c.state = commitRefused
			c.done <- err
			continue
		}
		if c.id.Agent != "" {
			k := agentKey{c.id.Agent, c.id.Epoch}
			last, ok := staged[k]
			if !ok {
				last = e.agents[k].Sequence
			}
			if c.id.Sequence <= last {
				c.state = commitDuplicate
				continue
			}
			staged[k] = c.id.Sequence
		}
		c.state = commitWriting
		e.buf = appendFrame(e.buf, e.current.salt, seq, c.payload)
		seq++
	}
	if len(e.buf) > 0 {
		if err := e.appendLog(e.buf); err != nil {
			// A duplicate may be one of a batch that was to be written just now.
			e.refuse(group, err)
			return
		}
	}
	e.accept(group, first)
}

// maxBehind is how many times SealRows may wait in memory while they cannot be
// sealed.
const maxBehind = 16

var errBehind = errors.New("too many rows wait to be sealed, which fails: see the log of the program")

// accept acknowledges a group that is on the disk.
func (e *Engine) accept(group []*commit, seq uint64) {
	var batches []*loggedBatch
	var rows, duplicates uint64
	for _, c := range group {
		switch c.state { //nolint:exhaustive // the others wrote nothing
		case commitWriting:
			b, err := parseBatch(seq, c.payload)
			seq++
			if err != nil { // we wrote it ourselves
				e.report(logName(e.logs[len(e.logs)-1].number), 0, 0, err.Error(), "")
				continue
			}
			e.keepAgent(agentState{c.id.Agent, c.id.Epoch, c.id.Sequence, c.time})
			batches = append(batches, b)
			rows += b.rows()
		case commitDuplicate:
			duplicates++
		}
	}
	if len(batches) > 0 {
		e.nextSeq = seq
		newest := &e.logs[len(e.logs)-1]
		newest.last, newest.size = seq-1, e.current.size
		e.publish(func(v *view) {
			v.unsealed = append(v.unsealed, batches...)
			v.rows += rows
		})
	}
	logged := e.logBytes()
	e.mu.Lock()
	e.status.Log = logged
	e.status.Batches += uint64(len(batches))
	e.status.Rows += rows
	e.status.Duplicates += duplicates
	recovered := e.status.State != store.StateOK
	if recovered {
		e.status.State, e.status.Reason, e.status.Since = store.StateOK, "", e.cfg.Now()
	}
	e.mu.Unlock()
	if recovered {
		e.log.Info("writing again")
	}
	for _, c := range group {
		if c.state == commitWriting || c.state == commitDuplicate {
			c.done <- nil
		}
	}
	if e.current != nil && e.current.size >= e.cfg.LogBytes {
		if err := e.closeLog(); err != nil {
			e.log.Warn("closing a file of the log", "err", err)
		}
	}
	if e.view.Load().rows >= uint64(e.cfg.SealRows) {
		e.wakeUp()
	}
}

// refuse tells a group that it was not written, and why.
func (e *Engine) refuse(group []*commit, err error) {
	state := store.StateFailing
	if disk.IsFull(err) {
		state = store.StateFull
	}
	n := uint64(0)
	for _, c := range group {
		if c.state != commitRefused {
			n++
		}
	}
	e.mu.Lock()
	e.status.Refused += n
	changed := e.status.State != state
	if changed {
		e.status.Since = e.cfg.Now()
	}
	e.status.State, e.status.Reason = state, err.Error()
	e.mu.Unlock()
	for _, c := range group {
		if c.state != commitRefused {
			c.done <- fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
	}
	if changed {
		e.log.Error("cannot write", "err", err)
	}
	e.wakeUp() // expiry may free space
}

// keepAgent notes that a batch of an agent is kept.
func (e *Engine) keepAgent(a agentState) {
	if a.Agent != "" {
		e.agents[agentKey{a.Agent, a.Epoch}] = a
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if old, ok := e.alive[a.Agent]; !ok || a.Epoch >= old.Epoch {
		a.Alive = max(a.Alive, old.Alive)
		e.alive[a.Agent] = a
	}
}

// ensureLog opens a new file of the log if none is open.
func (e *Engine) ensureLog() error {
	if e.current != nil {
		return nil
	}
	e.lastLog++
	number := e.lastLog
	var salt [4]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return fmt.Errorf("salt of the log: %w", err)
	}
	l := &openLog{salt: binary.LittleEndian.Uint32(salt[:])}
	name := logName(number)
	f, err := e.fs.Create(name)
	if err != nil {
		return fmt.Errorf("creating log file: %w", err)
	}
	l.f = f
	header := appendLogHeader(nil, e.nextSeq, e.cfg.Now().UnixNano(), l.salt)
	_, err = f.Write(header)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = e.fs.SyncDir(logDir)
	}
	if err != nil {
		err = errors.Join(fmt.Errorf("beginning log file: %w", err), f.Close())
		if rerr := e.fs.Remove(name); rerr != nil {
			e.logs = append(e.logs, logFile{number: number, first: e.nextSeq, last: e.nextSeq - 1})
		}
		return err
	}
	l.size = int64(len(header))
	e.logs = append(e.logs, logFile{number: number, first: e.nextSeq, last: e.nextSeq - 1, size: l.size})
	e.current = l
	return nil
}

// appendLog writes frames and syncs. After an error nothing of them stands in the
// log, as far as the disk lets us.
func (e *Engine) appendLog(b []byte) error {
	l := e.current
	_, err := l.f.Write(b)
	if err == nil {
		if err = l.f.Sync(); err == nil {
			l.size += int64(len(b))
			return nil
		}
	}
	err = fmt.Errorf("writing the log: %w", err)
	// After a failed sync the kernel may have dropped the pages, or not: cut the
	// file, and write no more to it.
	err = errors.Join(err, l.f.Truncate(l.size), l.f.Close())
	e.current = nil
	if last := e.logs[len(e.logs)-1]; last.last < last.first && e.fs.Remove(logName(last.number)) == nil {
		e.logs = e.logs[:len(e.logs)-1]
	}
	// Frames that could not be cut off come back at the next start, so their
	// numbers are not used again. Batches of agents are then told by their id.
	e.nextSeq += maxGroupFrames
	return err
}

// maxGroupFrames is more frames than are ever written together.
const maxGroupFrames = 1 << 12

// logBytes is the size of all files of the log. It is called with writing held.
func (e *Engine) logBytes() (n int64) {
	for i := range e.logs {
		n += e.logs[i].size
	}
	return n
}

// closeLog ends the file that is written to. It is called with writing held.
func (e *Engine) closeLog() error {
	if e.current == nil {
		return nil
	}
	err := e.current.f.Close()
	e.current = nil
	return err
}

// wakeUp asks for maintenance and does not wait.
func (e *Engine) wakeUp() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}
