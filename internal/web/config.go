package web

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/viewtcp/viewtcp/internal/api"
	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Config is what a Server answers with. Token is needed; what else is nil is
// honestly absent: who asks for it is told in one sentence.
type Config struct {
	// View is where live connections and events come from.
	View tcp.View
	// Store answers about the past; StoreStatus says how it does.
	Store       store.Querier
	StoreStatus func() store.Status
	// Health says how the daemon does. The server adds Status, Connections, Store
	// and Server.
	Health func() Health
	// Metrics writes the daemon's metrics in the text format of Prometheus. The
	// server adds its own.
	Metrics func(io.Writer) error
	// Mark keeps a note on the timeline.
	Mark func(context.Context, store.Mark) error
	// Packets finds recorded packets.
	Packets Packets
	// Usage knows how busy the host was.
	Usage Usage

	// Token is the secret that bearers present: at least 16 characters.
	Token string
	// Hosts are names by which the server may be called besides localhost, the
	// loopback addresses and the address that a request came to.
	Hosts []string
	// Version is that of ViewTCP.
	Version string
	// FilterOptions are what filters may refer to, asked for anew for each; nil
	// is the clock alone.
	FilterOptions func() filter.Options
	// Log takes what happens to the server itself; nil is nowhere.
	Log *slog.Logger
	// Limits that are 0 are those of DefaultLimits.
	Limits Limits
}

// Health is how the daemon does.
type Health = api.Health

// Limits bound what readers may take.
type Limits struct {
	// Streams is how many may follow events and live rows at a time.
	Streams int
	// Queries is how many questions to the store, and exports, run at a time;
	// QueryWait is how long others wait for their turn, QueryTime how long one
	// may take.
	Queries   int
	QueryWait time.Duration
	QueryTime time.Duration
	// QueryMemory is the most that a question may ask the store to hold, bytes.
	QueryMemory int64
	// Rows is the most rows that an answer from history has unless more are asked
	// for; MaxRows is the most that may be.
	Rows, MaxRows int
	// Replay is how many events are kept for readers that come back.
	Replay int
	// Write is how long a reader may take to take what is written to it.
	Write time.Duration
	// Heartbeat is how often an idle stream says that it is alive, Tick how often
	// live rows are sent.
	Heartbeat, Tick time.Duration
	// Body is the most bytes of a request's body.
	Body int64
	// Failures is how many wrong tokens an address may present a minute before it
	// is told to wait.
	Failures int
	// Launch is how long a launch URL is good; Session how long a login lasts
	// without being used.
	Launch, Session time.Duration
	// Sessions is how many logins are kept; the one not used for longest goes.
	Sessions int
}

// DefaultLimits returns limits that suit one host with a few readers.
func DefaultLimits() Limits {
	return Limits{
		Streams: 64, Queries: 4, QueryWait: 2 * time.Second, QueryTime: 5 * time.Minute, QueryMemory: 512 << 20,
		Rows: 10_000, MaxRows: 1_000_000, Replay: 16_384, Write: 10 * time.Second,
		Heartbeat: 15 * time.Second, Tick: time.Second, Body: 64 << 10, Failures: 10,
		Launch: 15 * time.Minute, Session: 7 * 24 * time.Hour, Sessions: 256,
	}
}

// Packets finds the packets that the recorder kept.
type Packets interface {
	// Export writes the packets that q chooses as pcapng. Nothing was written when
	// it returns an error that wraps fs.ErrNotExist: there are none.
	Export(ctx context.Context, w io.Writer, q PacketQuery) (Exported, error)
}

// PacketQuery chooses recorded packets. From is included, To is not; zero is
// without end.
type PacketQuery struct {
	From, To time.Time
	// IDs are the connections wanted; none is all.
	IDs []tcp.ID
	// Filter, if not nil, chooses packets as capture does.
	Filter *filter.Filter
	// MaxBytes bounds the file; 0 is no bound.
	MaxBytes int64
}

// Exported says what an export wrote.
type Exported struct {
	Packets, Bytes uint64
	Connections    int
	// First and Last are the times of the first and last packet.
	First, Last time.Time
	// Note says in one sentence what is missing; empty if nothing is.
	Note string
}

// Usage knows how busy the host and its processes were.
type Usage interface {
	// Usage calls fn for the samples of the range by time, until it returns an
	// error, which is returned.
	Usage(ctx context.Context, from, to time.Time, fn func(UsageSample) error) error
}

// UsageSample is one moment of the host or of a process.
type UsageSample struct {
	// Time is nanoseconds since 1970 UTC.
	Time int64
	Host string
	// Scope is "host" or "process"; PID and Process are those of a process.
	Scope   string
	PID     int32
	Process string
	// Values are what was known then. Names end in their unit.
	Values []UsageValue
}

// UsageValue is one number of a sample.
type UsageValue struct {
	Name  string
	Value float64
}
