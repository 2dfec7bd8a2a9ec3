package tui

import (
	"context"
	"io"
	"time"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Colors is how many colors the terminal has.
type Colors int

// Numbers of colors.
const (
	NoColors  Colors = 0
	Colors16  Colors = 16
	Colors256 Colors = 256
)

// Config is what a terminal interface shows and what it can do. View alone is
// needed; an action whose function is nil says that it is not possible here.
type Config struct {
	// View is where connections come from.
	View tcp.View
	// Status says where they really come from; it may be called at any time.
	Status func() Status
	// Host is the name of the machine that is shown, Version that of ViewTCP.
	Host, Version string
	// Filter is the expression to begin with.
	Filter string
	// FilterOptions are what expressions may refer to, asked for anew for each.
	FilterOptions func() filter.Options

	// Input and Output are the terminal; Environ its environment.
	Input   io.Reader
	Output  io.Writer
	Environ []string
	Colors  Colors
	// ASCII is for terminals that cannot show other characters.
	ASCII bool
	// Keys are the bindings that differ from the usual ones, by name of action.
	Keys map[string][]string
	// Layout is what was saved; SaveLayout keeps it.
	Layout     Layout
	SaveLayout func(Layout) error

	// Close closes a socket.
	Close func(ctx context.Context, c *tcp.Conn) error
	// Export writes rows to a file, in the format that its name ends in.
	Export func(path string, conns []*tcp.Conn, fields []*tcp.Field) error
	// Name returns a connection with the name of its remote end, once that is
	// known, and never blocks.
	Name func(c *tcp.Conn) *tcp.Conn
	// Resolve says that names are asked for from the beginning.
	Resolve bool
	// Parents returns the processes above one, the nearest first.
	Parents func(pid int32) []Parent
	// Counters reads the kernel's own counts.
	Counters func() (Counters, error)
	// Capture records the packets of a connection until ctx ends, and tells of
	// each. It returns the file that they are in.
	Capture func(ctx context.Context, c *tcp.Conn, tell func(Packet)) (path string, err error)
	// CanSuspend reports whether a shell would wake a process that stopped; nil
	// is yes.
	CanSuspend func() bool

	// Poll is how often it is asked for news; FPS how often the screen may
	// change a second.
	Poll time.Duration
	FPS  int
}

// DefaultConfig returns the configuration but for what is specific to a host.
func DefaultConfig() Config {
	return Config{
		Status:        func() Status { return Status{} },
		FilterOptions: func() filter.Options { return filter.Options{} },
		Colors:        Colors256,
		Poll:          200 * time.Millisecond,
		FPS:           10,
	}
}

// Status is how the collection goes.
type Status struct {
	// Source is where the connections come from.
	Source tcp.SourceKind
	// Warning says in one sentence what is hidden; empty if nothing is.
	Warning string
	// Err is why the collection ended; nil while it goes on.
	Err error
}

// Parent is a process above the one at hand.
type Parent struct {
	PID  int32
	Name string
}

// Counters are the kernel's totals since boot, of the namespace that ViewTCP runs
// in (/proc/net/snmp and /proc/net/netstat).
type Counters struct {
	// RetransSegs is Tcp RetransSegs, OutSegs Tcp OutSegs, OutRsts Tcp OutRsts.
	RetransSegs, OutSegs, OutRsts uint64
	// ListenOverflows and ListenDrops are those of TcpExt: an accept queue was
	// full; a connection was dropped for it or another reason.
	ListenOverflows, ListenDrops uint64
}

// Packet is one packet of a connection that is being captured.
type Packet struct {
	// Time is wall time, nanoseconds since 1970.
	Time int64
	// Sent says that the local end sent it.
	Sent bool
	// Flags are the TCP flags as "SYN,ACK"; Notes what the analysis says.
	Flags, Notes     string
	Seq, Ack, Window uint32
	Len              uint32
}

// Layout is what a user arranged, kept between runs.
type Layout struct {
	Columns []string `json:"columns,omitempty"`
	Sort    string   `json:"sort,omitempty"`
	Reverse bool     `json:"reverse,omitempty"`
	Theme   string   `json:"theme,omitempty"`
	// KeepClosed keeps connections on the screen after their end.
	KeepClosed bool `json:"keep_closed,omitempty"`
	// Filters are those saved, History those used, newest last.
	Filters []string `json:"filters,omitempty"`
	History []string `json:"history,omitempty"`
}
