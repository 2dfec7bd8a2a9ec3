package track

import "github.com/viewtcp/viewtcp/internal/tcp"

// Config bounds a tracker and gives it what it cannot know.
type Config struct {
	// IDs derives the ids of connections.
	IDs tcp.IDs
	// MaxConns bounds open connections and listeners together. More are
	// counted as rejected.
	MaxConns int
	// MaxHalfOpen bounds request sockets (SYN received, handshake not done).
	// They have their own table, so that a SYN flood pushes out its own oldest
	// and never an established connection.
	MaxHalfOpen int
	// MaxRemnants bounds TIME_WAIT and FIN_WAIT2 mini-sockets.
	MaxRemnants int
	// MaxTombstones bounds the closed connections remembered until a dump
	// confirms their close.
	MaxTombstones int
	// Expect is about how many sockets there will be, so that the tables need
	// not grow to it; 0 is unknown.
	Expect int
	// EphemeralLow and EphemeralHigh are the host's range of automatic ports
	// (net.ipv4.ip_local_port_range); both 0 when unknown.
	EphemeralLow, EphemeralHigh uint16
	// Names, if not nil, finds the names of a connection. It is called with the
	// tracker's lock held and must not block.
	Names func(*tcp.Conn) *tcp.Names
}

// DefaultConfig returns bounds for a host with up to a million connections.
func DefaultConfig() Config {
	return Config{MaxConns: 1 << 20, MaxHalfOpen: 65536, MaxRemnants: 262144, MaxTombstones: 65536}
}
