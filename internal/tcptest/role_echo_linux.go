package tcptest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// ServerConfig is for the role "server": a listener of the standard library.
type ServerConfig struct {
	// Network is "tcp" (the default), "tcp4" or "tcp6"; Addr is "host:port",
	// by default the loopback address and a free port.
	Network, Addr string
	// Plain asks for TCP; else it is what Go makes by default, which is
	// MPTCP since Go 1.24.
	Plain bool
	// Sink keeps what comes; else it is sent back.
	Sink bool
}

// Listening is the first answer of every role that listens.
type Listening struct {
	Addr netip.AddrPort
	// Workers are the pids of a pre-fork server's workers.
	Workers []int
}

// Op is a request to the roles "server" and "client".
type Op struct {
	// Op is "ledger" (answers with the Ledger), "send" (client: Bytes more on
	// each connection, and back; answers with the Ledger), "close" or "abort"
	// (all connections, by FIN or RST; answers with the Ledger), or "unlisten"
	// (server; answers with the Ledger).
	Op    string
	Bytes int
}

type tracked struct {
	conn           *net.TCPConn
	end            End
	sent, received atomic.Uint64
}

func track(conn *net.TCPConn, side string) (*tracked, error) {
	t := &tracked{conn: conn, end: End{
		Side: side, PID: os.Getpid(),
		Local: unmapped(conn.LocalAddr()), Remote: unmapped(conn.RemoteAddr()),
	}}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	if err := raw.Control(func(fd uintptr) { t.end.Cookie = cookie(int(fd)) }); err != nil {
		return nil, err
	}
	return t, conn.SetKeepAlive(false)
}

func unmapped(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// conns is the connections of one process.
type conns struct {
	mu   sync.Mutex
	list []*tracked // guarded by mu
}

func (c *conns) add(t *tracked) {
	c.mu.Lock()
	c.list = append(c.list, t)
	c.mu.Unlock()
}

func (c *conns) all() []*tracked {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.list[:len(c.list):len(c.list)]
}

func (c *conns) ledger() Ledger {
	l := Ledger{}
	for _, t := range c.all() {
		e := t.end
		e.Sent, e.Received = t.sent.Load(), t.received.Load()
		l = append(l, e)
	}
	return l
}

func (c *conns) close(abort bool) {
	for _, t := range c.all() {
		if abort {
			_ = t.conn.SetLinger(0)
		}
		_ = t.conn.Close()
	}
}

func serverRole(c *Control) error {
	var cfg ServerConfig
	if err := c.Recv(&cfg); err != nil {
		return err
	}
	if cfg.Network == "" {
		cfg.Network = "tcp"
	}
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
		if cfg.Network == "tcp6" {
			cfg.Addr = "[::1]:0"
		}
	}
	lc := net.ListenConfig{KeepAlive: -1}
	if cfg.Plain {
		lc.SetMultipathTCP(false)
	}
	ln, err := lc.Listen(context.Background(), cfg.Network, cfg.Addr)
	if err != nil {
		return err
	}
	var cs conns
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			t, err := track(conn.(*net.TCPConn), "server")
			if err != nil {
				_ = conn.Close()
				continue
			}
			cs.add(t)
			go t.serve(cfg.Sink)
		}
	}()
	if err := c.Send(Listening{Addr: unmapped(ln.Addr())}); err != nil {
		return err
	}
	for {
		var op Op
		if err := c.Recv(&op); err != nil {
			cs.close(true)
			return err
		}
		switch op.Op {
		case "ledger":
		case "unlisten":
			_ = ln.Close()
		case "close", "abort":
			cs.close(op.Op == "abort")
		default:
			return fmt.Errorf("unknown request %q", op.Op)
		}
		if err := c.Send(cs.ledger()); err != nil {
			return err
		}
	}
}

// serve answers until the peer ends the connection, and then ends it too.
func (t *tracked) serve(sink bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := t.conn.Read(buf)
		t.received.Add(uint64(n))
		if n > 0 && !sink {
			// Counted first: the client may have the answer, and the test ask for
			// the ledger, before Write returns.
			t.sent.Add(uint64(n))
			m, err := t.conn.Write(buf[:n])
			t.sent.Add(uint64(m) - uint64(n))
			if err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	_ = t.conn.Close()
}

// ClientConfig is for the role "client". Its first answer is the Ledger, when
// all connections stand and Send bytes went over each of them and back.
type ClientConfig struct {
	To netip.AddrPort
	// Network is "tcp" by default.
	Network string
	Count   int
	Send    int
	// NoEcho says that the server sends nothing back.
	NoEcho bool
	// Name becomes the process's comm, when set.
	Name string
}

func clientRole(c *Control) error {
	var cfg ClientConfig
	if err := c.Recv(&cfg); err != nil {
		return err
	}
	if cfg.Network == "" {
		cfg.Network = "tcp"
	}
	if cfg.Name != "" {
		// The thread leader's name is the process's.
		if err := os.WriteFile("/proc/self/comm", []byte(cfg.Name), 0); err != nil {
			return err
		}
	}
	d := net.Dialer{KeepAlive: -1}
	var cs conns
	for range cfg.Count {
		conn, err := d.DialContext(context.Background(), cfg.Network, cfg.To.String())
		if err != nil {
			return err
		}
		t, err := track(conn.(*net.TCPConn), "client")
		if err != nil {
			return err
		}
		cs.add(t)
		if err := t.exchange(cfg.Send, !cfg.NoEcho); err != nil {
			return err
		}
	}
	for {
		if err := c.Send(cs.ledger()); err != nil {
			return err
		}
		var op Op
		if err := c.Recv(&op); err != nil {
			cs.close(true)
			return err
		}
		switch op.Op {
		case "ledger":
		case "send":
			for _, t := range cs.all() {
				if err := t.exchange(op.Bytes, !cfg.NoEcho); err != nil {
					return err
				}
			}
		case "close", "abort":
			cs.close(op.Op == "abort")
		default:
			return fmt.Errorf("unknown request %q", op.Op)
		}
	}
}

// exchange sends n bytes and, if the server echoes, reads them back.
func (t *tracked) exchange(n int, echo bool) error {
	buf := make([]byte, min(max(n, 1), 32<<10))
	for n > 0 {
		part := buf[:min(n, len(buf))]
		m, err := t.conn.Write(part)
		t.sent.Add(uint64(m))
		if err != nil {
			return err
		}
		if echo {
			m, err := io.ReadFull(t.conn, part)
			t.received.Add(uint64(m))
			if err != nil {
				return err
			}
		}
		n -= len(part)
	}
	return nil
}

// PreforkConfig is for the role "prefork": a parent that listens and workers
// that accept, as in Apache and PostgreSQL. Its first answer is Listening; then
// it sends an End for every connection, from the worker that accepted it and
// read the first bytes of it. Each worker sends 50 bytes back and keeps the
// connection.
type PreforkConfig struct {
	Workers int
	Family  Family
}

const preforkReply = 50

func preforkRole(c *Control) error {
	var cfg PreforkConfig
	if err := c.Recv(&cfg); err != nil {
		return err
	}
	fd, addr, err := listen(cfg.Family, netip.AddrPortFrom(cfg.Family.loopback(), 0), 1024)
	if err != nil {
		return err
	}
	listener := os.NewFile(uintptr(fd), "listener")
	hello := Listening{Addr: addr}
	var workers []*Child
	defer func() {
		for _, w := range workers {
			_ = w.Close()
		}
	}()
	for range cfg.Workers {
		w, err := Launch("prefork-worker", nil, WithFiles(listener))
		if err != nil {
			return err
		}
		workers = append(workers, w)
		hello.Workers = append(hello.Workers, w.PID)
	}
	if err := c.Send(hello); err != nil {
		return err
	}
	for _, w := range workers {
		go func() {
			for {
				var e End
				if w.recv(&e, 0) != nil || c.Send(e) != nil {
					return
				}
			}
		}()
	}
	c.wait()
	return nil
}

func preforkWorkerRole(c *Control) error {
	const listener = 3
	unix.CloseOnExec(listener)
	var cs []int
	var mu sync.Mutex
	go func() {
		buf := make([]byte, 4096)
		for {
			fd, err := accept(listener)
			if err != nil {
				return
			}
			mu.Lock()
			cs = append(cs, fd)
			mu.Unlock()
			n, err := unix.Read(fd, buf)
			for errors.Is(err, unix.EINTR) {
				n, err = unix.Read(fd, buf)
			}
			m, _ := writeFull(fd, buf[:preforkReply])
			e := End{
				Side: "server", PID: os.Getpid(), Cookie: cookie(fd),
				Local: localAddr(fd), Remote: remoteAddr(fd),
				Sent: uint64(m), Received: uint64(max(n, 0)),
			}
			if c.Send(e) != nil {
				return
			}
		}
	}()
	c.wait()
	mu.Lock()
	defer mu.Unlock()
	for _, fd := range cs {
		abort(fd)
	}
	return nil
}
