package store

import (
	"context"
	"time"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Querier is the side of an engine that answers. It is safe for concurrent use
// with itself and with the Appender: an answer is of one moment and sees each
// acknowledged batch whole or not at all. Only what was durable when the query
// began is seen.
//
// Callbacks run on the caller's goroutine, one at a time. What they are handed is
// valid during the call only; an error of theirs ends the query and is returned.
// When ctx ends its error is returned within 100 ms of work. ErrMemory is
// returned before memory beyond Query.Memory is taken.
//
// A row tells of its connection from the row before it, or from the opening, until
// its own time, and the last row of an open connection of all that comes after it.
// What was open in a range, and with which values, follows from the rows that tell
// of a part of it and meet the filter: a filter on what changes, as the state
// does, sees the stretches of time for which it held.
type Querier interface {
	// Connections calls fn once for each connection that was open at some moment
	// of the range: the row with its newest values, its counters those of the
	// rows in the range. A connection that is still open, or was at the end of
	// the range, has no Closed. The order is by start, newest first, unless the
	// query says otherwise. Of one without a row in the range the counters are
	// unknown, and all else as well when its first row came later: then Time is the
	// end of the range.
	Connections(ctx context.Context, q *Query, fn func(*Record) error) (*Answer, error)
	// Records calls fn for each stored row whose Time is in the range, in no
	// particular order.
	Records(ctx context.Context, q *Query, fn func(*Record) error) (*Answer, error)
	// Aggregate groups rows and calls fn for each group and bucket, largest
	// first by the first aggregate, or by time and then so. Each bucket is what a
	// query of it alone would answer. A group of which no aggregate has a value, or
	// only counts of zero, is left out.
	Aggregate(ctx context.Context, q *Query, fn func(*Group) error) (*Answer, error)
	// Samples calls fn for the samples of a connection in the range, by time.
	Samples(ctx context.Context, id tcp.ID, from, to time.Time, fn func(*Sample) error) (*Answer, error)
	// Events calls fn for the events of the range, by time; of all types if none
	// is named.
	Events(ctx context.Context, from, to time.Time, types []string, fn func(*Event) error) (*Answer, error)
}

// Query says what to read. From is included, To is not.
type Query struct {
	From, To time.Time
	// Filter, if not nil, chooses rows. It sees each row's connection as it was
	// stored.
	Filter *filter.Filter
	// Fields are what Connections and Records fill in besides what identifies
	// the row; nil is all.
	Fields []*tcp.Field
	// GroupBy are the fields whose values make the groups; none is one group.
	GroupBy []*tcp.Field
	// Every cuts the range into buckets, aligned to multiples of it since 1970
	// UTC; 0 is one bucket.
	Every time.Duration
	// Aggregates are the numbers wanted of each group.
	Aggregates []Aggregate
	// Top, if not 0, keeps the groups that are largest by the first aggregate over
	// the whole range, and puts all others together in one with Other set, which
	// comes last. It has no meaning without GroupBy.
	Top int
	// OrderBy and Reverse order Connections; Limit ends them.
	OrderBy *tcp.Field
	Reverse bool
	Limit   int
	// Resolution chooses the table that is read.
	Resolution Resolution
	// Memory bounds what the query may hold, bytes; 0 is the engine's default.
	Memory int64
}

// Resolution is which table answers a query.
type Resolution uint8

// Resolutions. Auto takes the coarsest table that gives the same answer, apart
// from percentiles, which are then bounds of buckets.
const (
	Auto Resolution = iota
	Raw
	ByMinute
	ByHour
)

// Func is what an aggregate does with its values.
type Func uint8

// Functions. Sum is over deltas; Percentile, Min, Max and Avg take each connection
// once, by its newest row in the range. Count counts connections that were open
// in the range, Opened and Closed those whose opening or end is in it. MaxOpen is
// the most that were open at one moment.
const (
	Count Func = iota + 1
	Opened
	Closed
	Sum
	Min
	Max
	Avg
	Percentile
	MaxOpen
)

// Aggregate is one number of each group.
type Aggregate struct {
	Func Func
	// Field is what Sum, Min, Max, Avg and Percentile read.
	Field *tcp.Field
	// Q is the quantile of Percentile, 0 to 1.
	Q float64
}

// Group is one group of an answer, in one bucket.
type Group struct {
	// Time is the start of the bucket, nanoseconds since 1970; Query.From where
	// there are no buckets.
	Time int64
	// Key are the values of GroupBy as text, empty where unknown.
	Key []string
	// Other says that this is all that Top left out.
	Other bool
	// Values are the aggregates; Known says which have a value.
	Values []float64
	Known  []bool
	// At is when MaxOpen was reached, nanoseconds since 1970; 0 when it was not
	// asked for or is known by interval only.
	At int64
}

// Answer says where an answer came from and how far it can be trusted.
type Answer struct {
	Resolution Resolution
	// UpperBound says that MaxOpen is a sum of peaks and may be too high.
	UpperBound bool
	// Bucketed says that percentiles are upper bounds of buckets, of the
	// connections that ended in the range: roll-ups know those. The same goes for
	// Min, Max and Avg out of roll-ups, which are exact.
	Bucketed bool
	// Gaps are the parts of the range that nobody watched, or of which data was
	// lost, by time.
	Gaps []Gap
	// Segments were read, Pruned were left out by their statistics; Rows were
	// looked at.
	Segments, Pruned int
	Rows             uint64
	// Retained is the oldest row that there is, nanoseconds since 1970: a range
	// that begins before it is answered in part.
	Retained int64
}

// Complete reports whether nothing of the range is missing.
func (a *Answer) Complete() bool { return len(a.Gaps) == 0 }

// Gap is a stretch of time that an answer knows too little of.
type Gap struct {
	From, To int64
	// Reason is one sentence without a full stop.
	Reason string
}
