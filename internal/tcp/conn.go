package tcp

import (
	"sync/atomic"
	"time"
)

// Conn is the merged view of one connection (or LISTEN socket). A published
// Conn is immutable: readers may keep it for as long as they like.
type Conn struct {
	Key
	ID     ID
	PeerID ID
	Cookie uint64
	// Opened, Closed and Updated: zero is unknown, or not yet.
	Opened, Closed, Updated Stamp
	Process                 *Process
	Names                   *Names
	// Clock, if not nil, is the boot time until which the tracker knows the
	// connection to be alive. It moves on while the rest of an idle Conn stays.
	Clock   *atomic.Int64
	Packets *PacketStats
	Has     Has
	Metrics Metrics
	// Handshake is in microseconds; see Observation.
	Handshake uint32
	// CgroupID is the inode number of the cgroup v2 directory that the socket
	// was made in; 0 is unknown.
	CgroupID uint64
	Inode    uint32
	UID      uint32

	State       State
	Direction   Direction
	Source      SourceKind
	Attribution Attribution
	ClosedBy    Side
	Reason      CloseReason
	// OpenedExact says that Opened was seen, not inferred from two dumps.
	OpenedExact bool
	// Complete says that nothing that the source could have shown was missed.
	Complete bool
	// IPv6 says that the socket's family is AF_INET6; its traffic may be IPv4.
	IPv6 bool
	// Remnant marks a TIME_WAIT or FIN_WAIT2 mini-socket, left by a connection
	// that is closed: it is listed but not open.
	Remnant bool
	// SawReset says that a RST was seen in either direction.
	SawReset bool
}

// Clone is a copy for longer than c is valid, as with those that a store lends:
// it shares the clock, which is the tracker's, and nothing else.
func (c *Conn) Clone() *Conn {
	own := *c
	own.Process, own.Names, own.Packets = cloned(c.Process), cloned(c.Names), cloned(c.Packets)
	return &own
}

func cloned[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

// Open reports whether the connection counts as open: neither closed, nor a
// listener, nor a remnant.
func (c *Conn) Open() bool {
	return !c.Remnant && c.Closed.IsZero() && c.State != Listen && c.State != Closed
}

// Duration is the time from Opened to Closed, or until now while it is alive;
// ok is false when the opening was not seen.
func (c *Conn) Duration() (d time.Duration, ok bool) {
	if c.Opened.IsZero() {
		return 0, false
	}
	end := c.Closed.Boot
	if end == 0 {
		end = c.Updated.Boot
		if c.Clock != nil {
			end = max(end, c.Clock.Load())
		}
	}
	if end == 0 {
		return 0, false
	}
	return time.Duration(max(end-c.Opened.Boot, 0)), true
}

// Names are what a connection is called by, beyond its numbers. Shared between
// connections and immutable once published.
type Names struct {
	Host       string
	RemoteName string
	SNI        string
	ALPN       string
	HTTPHost   string
	Service    string
	Country    string
	ASN        uint32
	ASOrg      string
	Observer   string
	Interface  string
	NATRemote  Addr
	NATPort    uint16
	// SampleRate is n of "one in n connections is recorded"; 0 is not sampled.
	SampleRate uint32
}
