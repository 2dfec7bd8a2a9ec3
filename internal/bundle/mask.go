package bundle

import (
	"path"
	"strconv"
	"strings"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// A Mask takes out of rows what names people, machines and places, and puts
// pseudonyms in its stead: the same for the same, in all files of one bundle.
// Addresses are handed to a function, so that those of packets agree. Ports,
// times, numbers, ids and the names of programs stay. It is used by one
// goroutine.
type Mask struct {
	addr  func(tcp.Addr) tcp.Addr
	names map[[2]string]string
	count map[string]int
}

// NewMask returns a mask whose addresses are those of addr.
func NewMask(addr func(tcp.Addr) tcp.Addr) *Mask {
	return &Mask{addr: addr, names: make(map[[2]string]string), count: make(map[string]int)}
}

// name is the pseudonym of a name of a kind: the kind and a number, in the order
// that names turn up.
func (m *Mask) name(kind, s string) string {
	if s == "" {
		return ""
	}
	k := [2]string{kind, s}
	if p, ok := m.names[k]; ok {
		return p
	}
	m.count[kind]++
	p := kind + "-" + strconv.Itoa(m.count[kind])
	m.names[k] = p
	return p
}

// Host is the pseudonym of a host.
func (m *Mask) Host(s string) string { return m.name("host", s) }

// Addr is the pseudonym of an address.
func (m *Mask) Addr(a tcp.Addr) tcp.Addr { return m.addr(a) }

// Record masks a row. What it points to is shared and is copied.
func (m *Mask) Record(r *store.Record) {
	r.Host, r.BootID = m.Host(r.Host), m.name("boot", r.BootID)
	c := *r.Conn
	r.Conn = &c
	c.Local, c.Remote = m.addr(c.Local), m.addr(c.Remote)
	container := ""
	if c.Process != nil {
		p := *c.Process
		c.Process = &p
		container = p.Container
		p.Cmdline, p.Cgroup = "", ""
		if p.Exe != "" {
			p.Exe = path.Base(p.Exe)
		}
		p.User = m.name("user", p.User)
		p.Container = m.name("container", p.Container)
		p.Unit = unitName(p.Unit)
	}
	if c.Names != nil {
		n := *c.Names
		c.Names = &n
		n.RemoteName, n.SNI, n.HTTPHost = m.name("name", n.RemoteName), m.name("name", n.SNI), m.name("name", n.HTTPHost)
		n.Host, n.Observer = m.Host(n.Host), m.name("observer", n.Observer)
		// An interface is named after its purpose at times; a place or a network
		// would show which prefix stands for which.
		n.Interface, n.Country, n.ASN, n.ASOrg = m.name("interface", n.Interface), "", 0, ""
		if n.NATRemote != (tcp.Addr{}) {
			n.NATRemote = m.addr(n.NATRemote)
		}
		if n.Service == container {
			n.Service = m.name("container", n.Service)
		} else {
			n.Service = unitName(n.Service)
		}
	}
}

// unitName leaves out for whom a unit runs: user@1000.service.
func unitName(unit string) string {
	before, after, ok := strings.Cut(unit, "@")
	if !ok {
		return unit
	}
	return before + "@" + path.Ext(after)
}

// Sample masks a sample.
func (m *Mask) Sample(s *store.Sample) { s.Host = m.Host(s.Host) }

// leftOut stands for a text that somebody wrote.
const leftOut = "(left out)"

// Event masks an event. What people and log files said is left out.
func (m *Mask) Event(e *store.Event) {
	e.Host = m.Host(e.Host)
	if e.Type == store.EventMark {
		e.Text = leftOut
		e.Source = m.name("source", e.Source)
	}
}

// Usage masks a row of usage.
func (m *Mask) Usage(u *store.Usage) {
	u.Host, u.User, u.Container = m.Host(u.Host), m.name("user", u.User), m.name("container", u.Container)
	u.Unit = unitName(u.Unit)
}
