package enrich

import (
	"sync"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Config says which names to find.
type Config struct {
	// Host is the name of this host.
	Host string
	// Services is a file of the form of services(5) whose names go before the
	// built-in ones; it need not exist.
	Services string
	// ReverseDNS, if not nil, finds the names of remote addresses. It causes
	// traffic, so it is only there when the user asked for it.
	ReverseDNS *ReverseDNS
	// MaxNames bounds how many different sets of names are shared.
	MaxNames int
}

// DefaultConfig returns the configuration for a Unix host, without a name.
func DefaultConfig() Config {
	return Config{Services: "/etc/services", MaxNames: 65536}
}

// Enricher finds the names of connections. It may be used from several
// goroutines.
type Enricher struct {
	host     string
	services Services
	reverse  *ReverseDNS
	max      int

	mu    sync.Mutex
	names map[tcp.Names]*tcp.Names
}

// New returns an enricher. A services file that is missing or broken only means
// that the built-in names stand.
func New(cfg Config) *Enricher {
	if cfg.MaxNames <= 0 {
		cfg.MaxNames = DefaultConfig().MaxNames
	}
	return &Enricher{
		host:     cfg.Host,
		services: ReadServices(cfg.Services),
		reverse:  cfg.ReverseDNS,
		max:      cfg.MaxNames,
		names:    make(map[tcp.Names]*tcp.Names),
	}
}

// Names returns the names of c: those it has, with the host, the service and
// the remote name brought up to date. Connections with equal names share one
// value, and nothing is allocated when c's names are current. The result must
// not be changed. It never blocks.
func (e *Enricher) Names(c *tcp.Conn) *tcp.Names {
	var n tcp.Names
	if c.Names != nil {
		n = *c.Names
	}
	if e.host != "" {
		n.Host = e.host
	}
	n.Service = e.Service(c)
	if e.reverse != nil && c.State != tcp.Listen {
		if name, known := e.reverse.Lookup(c.Remote); known {
			n.RemoteName = name
		}
	}
	if c.Names != nil && n == *c.Names {
		return c.Names
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if shared, ok := e.names[n]; ok {
		return shared
	}
	if len(e.names) >= e.max {
		// Those given out stay valid, and those still in use come back.
		clear(e.names)
	}
	shared := new(tcp.Names) // not &n, which would cost an allocation each call
	*shared = n
	e.names[n] = shared
	return shared
}
