package parquet

import (
	"context"
	"fmt"
	"math"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// A querier answers queries, for the engine and for readers beside it.
//
// A row covers the time from its cover to its Time, see coverOf: the rows of a
// connection follow one another without overlap, and those of connections that
// are open go on for ever after their last one. Which connections were open in a
// range follows from the rows that cover a part of it.
type querier struct {
	// take holds what is stored now. use says of which segments the rows may be
	// needed.
	take func(ctx context.Context, use func(*segmentInfo) bool) (*moment, error)
}

// coverOf is from when a row tells of its connection: the time of the row before,
// or the opening.
func coverOf(r *store.Record) int64 {
	if r.Since != 0 {
		return min(r.Since, r.Time)
	}
	return min(r.Start(), r.Time)
}

// A covering is one row of a connection that covers a part of a range.
type covering struct {
	rec  store.Record
	from int64
	// tail says that the row is the last one of a connection that is open: it
	// tells of the time after it.
	tail bool
}

// covers reports whether a segment may have rows that cover a part of the range.
func (s span) covers(g *segmentInfo) bool {
	return g.Last >= s.from && (g.Cover == 0 || g.Cover < s.to)
}

// tails returns the last rows of the connections that are open; nil if there are
// none.
func (m *moment) tails() (*block, error) {
	var src blockSource
	if m.before != nil {
		src.blocks = append(src.blocks, *m.before)
	}
	for _, b := range m.view.unsealed {
		if b.blocks[0] != nil {
			src.blocks = append(src.blocks, *b.blocks[0])
		}
	}
	rows, _, err := openRows(src, nil)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	body, err := selectRows([]selection{{src, rows}})
	if err != nil {
		return nil, err
	}
	bl, err := parseBlock(uint64(len(rows)), body)
	return &bl, err
}

// check refuses queries that have no meaning.
func check(q *store.Query) error {
	if !q.From.IsZero() && !q.To.IsZero() && q.To.Before(q.From) {
		return fmt.Errorf("range ends before it begins: %w", store.ErrInvalid)
	}
	if q.Every < 0 || q.Top < 0 || q.Limit < 0 {
		return fmt.Errorf("negative interval or limit: %w", store.ErrInvalid)
	}
	for i := range q.Aggregates {
		g := &q.Aggregates[i]
		switch g.Func {
		case store.Count, store.Opened, store.Closed, store.MaxOpen:
		case store.Sum:
			if g.Field == nil || counterOf(g.Field) < 0 {
				return fmt.Errorf("sum of a field that is no counter: %w", store.ErrInvalid)
			}
		case store.Min, store.Max, store.Avg, store.Percentile:
			if g.Field == nil || g.Field.Num == nil {
				return fmt.Errorf("aggregate of a field that is no number: %w", store.ErrInvalid)
			}
			if g.Func == store.Percentile && (math.IsNaN(g.Q) || g.Q < 0 || g.Q > 1) {
				return fmt.Errorf("quantile %v is not within 0 and 1: %w", g.Q, store.ErrInvalid)
			}
		default:
			return fmt.Errorf("aggregate function %d: %w", g.Func, store.ErrInvalid)
		}
	}
	return nil
}

// counterOf finds the counter of a field, -1 if it has none.
func counterOf(f *tcp.Field) int {
	for i := range store.NumCounters {
		if store.CounterField(i) == f.Name {
			return i
		}
	}
	return -1
}

const (
	// connBytes is about what a connection with its names takes.
	connBytes = 1200
	// defaultMemory is what a query may hold unless it says otherwise.
	defaultMemory = 256 << 20
)

func budget(q *store.Query) int64 {
	if q.Memory > 0 {
		return q.Memory
	}
	return defaultMemory
}

// refuse says that a query has too much to hold, and what would help.
func refuse(q *store.Query, what string) error {
	help := "narrow the range or the filter"
	switch {
	case what == "groups" && q.Every > 0:
		help = "narrow the range, take longer intervals or group by fewer fields"
	case what == "groups":
		help = "narrow the range or group by fewer fields"
	case what == "connections" && q.Limit == 0:
		help = "narrow the range or the filter, or set a limit"
	}
	return fmt.Errorf("more %s than %d MiB hold: %s: %w", what, max(budget(q)>>20, 1), help, store.ErrMemory)
}

// uses reports whether a query of connections may read a segment.
func (s span) uses(g *segmentInfo) bool {
	switch g.Table {
	case store.Connections.String():
		return s.covers(g)
	case store.Events.String():
		return g.Last >= s.from
	default:
		return false
	}
}

// usesCoarse is uses for queries that roll-ups and peaks may answer.
func (s span) usesCoarse(g *segmentInfo) bool {
	switch g.Table {
	case store.Rollups1m.String(), store.Rollups1h.String(), store.Peaks.String():
		// Intervals begin before what they tell of.
		return span{s.from - min(store.Hour, s.from-math.MinInt64), s.to}.overlaps(g)
	default:
		return s.uses(g)
	}
}

// A mergedConn is a connection as the rows of a range show it.
type mergedConn struct {
	rec  store.Record
	from int64 // start
	// rank tells the rows apart that the newest values can come from: one in the
	// range is best, then one before it, then the first one after it.
	rank  int
	moved store.Counters
	has   tcp.Has
	since int64
	first int64 // cover of the first row
}

func (x *mergedConn) add(c *covering, s span) {
	rank := 3
	switch {
	case c.rec.Time < s.from:
		rank = 2
	case c.rec.Time >= s.to:
		rank = 1
	}
	if x.rec.Conn == nil || c.from < x.first {
		x.first, x.since = c.from, c.rec.Since
	}
	x.from = min(x.from, min(c.rec.Start(), c.from))
	better := rank > x.rank || rank == x.rank && (rank > 1 && c.rec.Time >= x.rec.Time || rank == 1 && c.rec.Time < x.rec.Time)
	if rank == 3 && !c.tail {
		for i := range x.moved {
			if v, ok := c.rec.Delta(i); ok {
				x.moved[i] += v
				x.has |= counterBits[i]
			}
		}
	}
	if better {
		x.rank, x.rec = rank, c.rec
	}
}

// counterBits are the bits of Conn.Has of each counter; counterMask all of them.
var counterBits, counterMask = func() (bits [store.NumCounters]tcp.Has, mask tcp.Has) {
	for i := range bits {
		bits[i] = tcp.FieldByName(store.CounterField(i)).Bit
		mask |= bits[i]
	}
	return bits, mask
}()

// finish makes the record of the connection out of its rows.
func (x *mergedConn) finish(s span) {
	r, c := &x.rec, x.rec.Conn
	r.Since, r.Deltas = x.since, nil
	setCounters(&c.Metrics, &x.moved)
	c.Has = c.Has&^counterMask | x.has
	if x.rank != 1 {
		return
	}
	// The row tells of the time after the range: how the connection did in it is
	// not known, only that it was open.
	r.Kind, r.Time = store.Snapshot, s.to
	if _, ok := c.Duration(); ok {
		c.Updated.Boot = c.Opened.Boot + max(s.to-x.from, 0)
	}
	c.Updated.Wall, c.Closed = s.to, tcp.Stamp{}
	c.ClosedBy, c.Reason = tcp.SideUnknown, tcp.CloseUnknown
	c.State = tcp.StateUnknown
	c.Has &= tcp.HasUID | tcp.HasCookie | tcp.HasHandshake
	c.Packets = nil
}

// setCounters sets the counters of a connection.
func setCounters(m *tcp.Metrics, n *store.Counters) {
	m.BytesSent, m.BytesReceived, m.BytesMissed = n[store.BytesSent], n[store.BytesReceived], n[store.BytesMissed]
	m.SegmentsSent, m.SegmentsReceived = clamp32(n[store.SegmentsSent]), clamp32(n[store.SegmentsReceived])
	m.Retransmits, m.BytesRetransmitted = clamp32(n[store.Retransmits]), n[store.BytesRetransmitted]
	m.DSACKDups, m.OOOReceived, m.ECNCE = clamp32(n[store.DSACKDups]), clamp32(n[store.OOOReceived]), clamp32(n[store.ECNCE])
	m.Busy, m.RwndLimited, m.SndbufLimited = n[store.Busy], n[store.RwndLimited], n[store.SndbufLimited]
	m.Recoveries, m.Timeouts = uint16(min(n[store.Recoveries], math.MaxUint16)), uint16(min(n[store.Timeouts], math.MaxUint16))
}

func clamp32(n uint64) uint32 { return uint32(min(n, math.MaxUint32)) }
