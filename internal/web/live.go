package web

import (
	"strconv"
	"time"

	"github.com/viewtcp/viewtcp/internal/api"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// rowsAtOnce is how many rows a piece of an update has.
const rowsAtOnce = 500

// Bounds of how often a viewer gets an update.
const (
	minInterval = 100 * time.Millisecond
	maxInterval = time.Minute
)

// live streams rows for viewers: first all of them, then what changed.
func (s *Server) live(w *response, r *request) error {
	if s.cfg.View == nil {
		return absent("this daemon follows no connections")
	}
	f, fields, err := s.wanted(r)
	if err != nil {
		return err
	}
	every := s.cfg.Limits.Tick
	if text := r.query.Get("interval"); text != "" {
		every, err = time.ParseDuration(text)
		if err != nil || every < minInterval || every > maxInterval {
			return api.BadParameter("interval", quote(text)+" is no duration from "+minInterval.String()+" to "+maxInterval.String())
		}
	}
	return s.stream(w, r, "", func(out *sse) error {
		v := &viewer{s: s, out: out, rows: api.NewRowWriter(fields), match: f.Predicate(), sent: make(map[tcp.ID]sentConn), reset: true}
		return v.run(r, every)
	})
}

// viewer is one reader of live rows. What it was sent last is compared with each
// snapshot, so that one who is slow gets fewer updates, and nothing is queued.
type viewer struct {
	s     *Server
	out   *sse
	rows  *api.RowWriter
	match func(*tcp.Conn) bool
	// sent are the rows that the reader has. Connections are immutable: one whose
	// address is the same has not changed.
	sent  map[tcp.ID]sentConn
	round uint64
	reset bool
	last  *tcp.Snapshot
	piece api.Live
	data  []byte
}

type sentConn struct {
	conn  *tcp.Conn
	round uint64
}

func (v *viewer) run(r *request, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := v.update(); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return r.Context().Err()
		case <-v.s.done.Done():
			return nil
		}
	}
}

// update sends what changed since the last snapshot.
func (v *viewer) update() error {
	snap := v.s.cfg.View.Snapshot()
	if snap == nil || snap == v.last || snap.Seq == 0 {
		if time.Since(v.out.last) >= v.s.cfg.Limits.Heartbeat {
			return v.out.beat("")
		}
		return nil
	}
	if v.last != nil && snap.Seq < v.last.Seq {
		// Another tracker, which knows nothing of the rows before.
		clear(v.sent)
		v.reset = true
	}
	v.last = snap
	v.round++
	v.piece = api.Live{
		Seq: snap.Seq, Time: snap.Time.Wall, Boot: snap.Time.Boot, Reset: v.reset,
		Stats: api.CountsOf(&snap.Stats), Rows: v.piece.Rows[:0], Removed: v.piece.Removed[:0],
	}
	v.reset = false
	for _, c := range snap.Conns {
		if !v.match(c) {
			continue
		}
		was, ok := v.sent[c.ID]
		v.sent[c.ID] = sentConn{c, v.round}
		if ok && was.conn == c {
			continue
		}
		if v.piece.Rows = append(v.piece.Rows, c); len(v.piece.Rows) >= rowsAtOnce {
			if err := v.send(true); err != nil {
				return err
			}
		}
	}
	for id, was := range v.sent {
		if was.round != v.round {
			delete(v.sent, id)
			v.piece.Removed = append(v.piece.Removed, id)
		}
	}
	err := v.send(false)
	clear(v.piece.Rows[:cap(v.piece.Rows)]) // connections that ended can be freed
	return err
}

// send sends a piece of the update.
func (v *viewer) send(more bool) (err error) {
	v.piece.More = more
	if v.data, err = v.piece.Append(v.data[:0], v.rows); err != nil {
		return err
	}
	v.out.add(strconv.FormatUint(v.piece.Seq, 10), api.SSERows, v.data)
	v.piece.Rows, v.piece.Removed = v.piece.Rows[:0], v.piece.Removed[:0]
	// Only the first piece resets.
	v.piece.Reset = false
	return v.out.send()
}
