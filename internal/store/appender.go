package store

import (
	"context"
	"time"
)

// Appender is the side of an engine that keeps rows. It is safe for concurrent
// use; batches of one agent must be sent one after the other.
type Appender interface {
	// Append keeps a batch. When it returns nil the batch is durable: it was
	// synced to disk, or it had been before under the same ID. After an error
	// none of it is kept, unless ctx ended or ErrClosed came while the batch was
	// on its way: then it may be, and sending it again finds out. ErrUnavailable
	// asks the caller to try again later. The engine keeps nothing of the batch
	// after it returns.
	//
	// Engines derive the roll-ups from the records; nobody appends those.
	Append(ctx context.Context, b *Batch) error

	// Open calls fn with the last row of each connection that has rows but no
	// end, in any order, until fn returns false: the baselines of whoever goes on
	// observing. The record is valid during the call only.
	Open(ctx context.Context, fn func(*Record) bool) error

	// LastBatch returns until when an agent's connections were known to be alive,
	// by its newest batch; ok is false when it never sent one.
	LastBatch(agent string) (last BatchID, alive int64, ok bool)

	// Status says how the engine does. It never blocks on I/O.
	Status() Status

	// Close makes all that was acknowledged ready for the next start and frees
	// what the engine holds. Appends that wait return ErrClosed.
	Close() error
}

// State is whether an engine can write.
type State uint8

// States of engines.
const (
	StateOK State = iota
	// StateFull: the disk is full. Writing goes on when there is space again.
	StateFull
	// StateFailing: the last write failed for another reason. It is tried again.
	StateFailing
	// StateClosed: after Close.
	StateClosed
)

var stateNames = [...]string{"ok", "full", "failing", "closed"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return ""
}

// Status is what an engine tells of itself.
type Status struct {
	State State
	// Reason is the error behind a state other than ok; Since is when it began.
	Reason string
	Since  time.Time
	// Batches and Rows count what was acknowledged since the engine was opened;
	// Duplicates batches that were kept before; Refused batches that were not
	// acknowledged.
	Batches, Rows, Duplicates, Refused uint64
	// Replayed is rows found in the log at opening.
	Replayed uint64
	// Unsealed is rows that are durable but not in a segment yet.
	Unsealed uint64
	// Log is the size of the log that holds them, bytes. Parts of its files may be
	// sealed already.
	Log int64
	// Seals, Compactions and Expired count segments that were written, merged and
	// dropped for age or size; SealErrors failed attempts.
	Seals, Compactions, Expired, SealErrors uint64
	// Tables is what is stored, in the order of Tables().
	Tables []TableStatus
	// Damage tells of data that did not match its checksum, oldest first. At
	// most 100 are kept; Damages counts all.
	Damage  []Damage
	Damages uint64
}

// TableStatus is the size of one table.
type TableStatus struct {
	Table    Table
	Segments int
	Rows     uint64
	Bytes    int64
	// First and Last are the times of the rows, nanoseconds since 1970; 0 when
	// there is none.
	First, Last int64
}

// Damage is one place where stored data was wrong.
type Damage struct {
	Found time.Time
	// File is below the data directory; Offset is where the damage begins and
	// Bytes how much was set aside.
	File          string
	Offset, Bytes int64
	// What says what was wrong; Kept is the file that has the damaged bytes, ""
	// if they are still in place.
	What, Kept string
}
