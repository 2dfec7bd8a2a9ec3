package parquet

import (
	"log/slog"
	"time"

	"github.com/viewtcp/viewtcp/internal/store"
)

// Config says where an engine keeps its data and how much of it.
type Config struct {
	// Dir is the data directory; it is made if it does not exist.
	Dir string
	// SealRows and SealAge are how many rows, and how old ones, are sealed into
	// segments.
	SealRows int
	SealAge  time.Duration
	// LogBytes is the size at which a new file of the log begins.
	LogBytes int64
	// CompactRows is how large a segment must be to be left alone.
	CompactRows int
	// Retention bounds each table; one that is missing is kept for ever.
	Retention map[store.Table]Retention
	// Damaged bounds what was set aside because it was damaged; the zero value
	// keeps it for ever.
	Damaged Retention
	// Now is the clock for what is shown and for expiry; nil is the system's.
	Now func() time.Time
	// Logger hears of seals, damage and trouble; nil is nobody.
	Logger *slog.Logger
}

// Retention bounds a table by age and size; 0 is without bound.
type Retention struct {
	Age   time.Duration
	Bytes int64
}

const day = 24 * time.Hour

// DefaultConfig returns the bounds of a host with 28 GB to spare. Dir, Now and
// Logger are the caller's.
func DefaultConfig() Config {
	const gb = 1_000_000_000
	return Config{
		SealRows: 128 << 10, SealAge: time.Hour, LogBytes: 16 << 20, CompactRows: 32 << 10,
		Retention: map[store.Table]Retention{
			store.Connections: {90 * day, 20 * gb},
			store.Samples:     {7 * day, 1 * gb},
			store.Events:      {90 * day, 1 * gb},
			store.Peaks:       {90 * day, 1 * gb},
			store.Rollups1m:   {90 * day, 2 * gb},
			store.Rollups1h:   {90 * day, 1 * gb},
			store.UsageTable:  {7 * day, 1 * gb},
		},
		Damaged: Retention{90 * day, 1 * gb},
	}
}
