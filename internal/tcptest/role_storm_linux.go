package tcptest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// StormConfig describes many short connections between two or more processes.
type StormConfig struct {
	// Connections is how many in all; each has two ends on this host.
	Connections int
	// Clients is the number of connecting processes, 1 by default; Workers the
	// connections that each has at a time, 4 by default.
	Clients, Workers int
	// Rate is the most connections a second in all; 0 is no limit.
	Rate   int
	Family Family
	// Sent and Reply are the payload bytes by the client and by the server:
	// connection i has the smallest number plus i modulo the range. The client
	// sends stormHeader bytes at least. Zero is 100 and 50, always.
	Sent, Reply [2]int
	// Modes are used in turn; by default the client closes by FIN.
	Modes []CloseMode
	// Destinations spreads IPv4 connections over so many addresses of
	// 127.0.0.0/8; by default enough that no client port is used twice.
	Destinations int
	// GoListener accepts through the standard library, with its MPTCP default.
	GoListener bool
}

// stormHeader is the begin of what a client sends: its length, that of the
// reply, and the index of the close mode.
const stormHeader = 9

type stormClientConfig struct {
	StormConfig
	To    netip.AddrPort
	First int
}

func (c StormConfig) withDefaults() StormConfig {
	c.Clients = max(c.Clients, 1)
	if c.Workers <= 0 {
		c.Workers = 4
	}
	if c.Sent == [2]int{} {
		c.Sent = [2]int{100, 100}
	}
	if c.Reply == [2]int{} {
		c.Reply = [2]int{50, 50}
	}
	c.Sent[0] = max(c.Sent[0], stormHeader)
	c.Sent[1], c.Reply[1] = max(c.Sent[0], c.Sent[1]), max(c.Reply[0], c.Reply[1])
	if len(c.Modes) == 0 {
		c.Modes = []CloseMode{ClientFIN}
	}
	if c.Destinations == 0 {
		// An address has 28,232 client ports by default; the kernel is fast
		// while most of them are free.
		c.Destinations = min(c.Connections/2500+1, 250)
	}
	return c
}

// plan is what connection i carries.
func (c *StormConfig) plan(i int) (sent, reply int, mode CloseMode) {
	in := func(r [2]int) int { return r[0] + i%(r[1]-r[0]+1) }
	return in(c.Sent), in(c.Reply), c.Modes[i%len(c.Modes)]
}

// stormResult is a client's answer.
type stormResult struct {
	Ledger  Ledger
	Longest time.Duration
}

// A Storm is the processes, ready and quiet until Run.
type Storm struct {
	Server  *Child
	Clients []*Child
	// Addr is where the server listens.
	Addr netip.AddrPort
	cfg  StormConfig
}

// StormResult is what happened.
type StormResult struct {
	Ledger Ledger
	// Elapsed is the time of the whole storm, Longest that of its longest
	// connection, from connect to close, at the client.
	Elapsed, Longest time.Duration
}

// StartStorm starts the processes. The caller must Close the storm.
func StartStorm(cfg StormConfig, opts ...Option) (*Storm, error) {
	s := &Storm{cfg: cfg.withDefaults()}
	server, err := Launch("storm-server", s.cfg, opts...)
	if err != nil {
		return nil, err
	}
	s.Server = server
	var at Listening
	if err := server.Recv(&at); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.Addr = at.Addr
	for i := range s.cfg.Clients {
		cfg := stormClientConfig{StormConfig: s.cfg, To: s.Addr, First: i}
		client, err := Launch("storm-client", cfg, opts...)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.Clients = append(s.Clients, client)
		if err := client.Recv(nil); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// Run opens and closes all connections and returns both ends' ledger. It may be
// called again.
func (s *Storm) Run() (*StormResult, error) {
	begin := time.Now()
	for _, c := range s.Clients {
		if err := c.Send(struct{}{}); err != nil {
			return nil, err
		}
	}
	var r StormResult
	for _, c := range s.Clients {
		var part stormResult
		if err := c.Recv(&part); err != nil {
			return nil, err
		}
		r.Ledger = append(r.Ledger, part.Ledger...)
		r.Longest = max(r.Longest, part.Longest)
	}
	r.Elapsed = time.Since(begin)
	var ends Ledger
	if err := s.Server.Call(s.cfg.Connections, &ends); err != nil {
		return nil, err
	}
	r.Ledger = append(r.Ledger, ends...)
	return &r, nil
}

// Close ends the processes.
func (s *Storm) Close() error {
	errs := []error{s.Server.Close()}
	for _, c := range s.Clients {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

func stormClientRole(c *Control) error {
	var cfg stormClientConfig
	if err := c.Recv(&cfg); err != nil {
		return err
	}
	if err := c.Send(struct{}{}); err != nil {
		return err
	}
	for {
		var start struct{}
		if err := c.Recv(&start); err != nil {
			return err
		}
		r, err := cfg.storm()
		if err != nil {
			return err
		}
		if err := c.Send(r); err != nil {
			return err
		}
	}
}

// storm is the part of one client process: every Clients-th connection.
func (c *stormClientConfig) storm() (*stormResult, error) {
	type part struct {
		stormResult
		err error
	}
	parts := make([]part, c.Workers)
	begin := time.Now()
	var wg sync.WaitGroup
	for w := range parts {
		wg.Go(func() {
			p := &parts[w]
			buf := make([]byte, max(c.Sent[1], c.Reply[1]))
			step := c.Clients * c.Workers
			for i := c.First + w*c.Clients; i < c.Connections && p.err == nil; i += step {
				if c.Rate > 0 {
					time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Second / time.Duration(c.Rate))))
				}
				start := time.Now()
				var e End
				e, p.err = c.one(i, buf)
				p.Ledger = append(p.Ledger, e)
				p.Longest = max(p.Longest, time.Since(start))
			}
		})
	}
	wg.Wait()
	var r stormResult
	for i := range parts {
		if parts[i].err != nil {
			return nil, parts[i].err
		}
		r.Ledger = append(r.Ledger, parts[i].Ledger...)
		r.Longest = max(r.Longest, parts[i].Longest)
	}
	return &r, nil
}

// one is one connection from connect to close.
func (c *stormClientConfig) one(i int, buf []byte) (e End, err error) {
	sent, reply, mode := c.plan(i)
	fd, err := connect(c.Family, destination(c.To, i, c.Destinations))
	if err != nil {
		return e, err
	}
	e = End{
		Side: "client", PID: os.Getpid(), Cookie: cookie(fd),
		Local: localAddr(fd), Remote: remoteAddr(fd), Close: mode,
	}
	binary.BigEndian.PutUint32(buf[0:], uint32(sent))
	binary.BigEndian.PutUint32(buf[4:], uint32(reply))
	buf[8] = byte(slices.Index(CloseModes(), mode))
	n, err := writeFull(fd, buf[:sent])
	e.Sent = uint64(n)
	if err == nil {
		n, err = readFull(fd, buf[:reply])
		e.Received = uint64(n)
	}
	if err != nil || n != reply {
		unix.Close(fd)
		return e, fmt.Errorf("connection %d to %s: %d of %d bytes of the reply: %w", i, c.To, n, reply, err)
	}
	switch mode {
	case ClientRST:
		abort(fd)
	case ServerFIN, ServerRST:
		// Wait for the server's FIN or RST, so that it really is first.
		_, _ = unix.Read(fd, buf[:1])
		unix.Close(fd)
	default:
		unix.Close(fd)
	}
	return e, nil
}

// stormConn is a connection of the server, raw or of the standard library.
type stormConn interface {
	io.ReadWriteCloser
	abort()
	end() End
}

func stormServerRole(c *Control) error {
	var cfg StormConfig
	if err := c.Recv(&cfg); err != nil {
		return err
	}
	acceptOne, addr, err := cfg.listen()
	if err != nil {
		return err
	}
	var (
		mu     sync.Mutex
		cond   = sync.NewCond(&mu)
		ledger Ledger
	)
	// Twice the clients' workers: one that waits for the last FIN of a
	// connection keeps nobody from the next.
	for range 2 * cfg.Clients * cfg.Workers {
		go func() {
			buf := make([]byte, max(cfg.Sent[1], cfg.Reply[1]))
			for {
				conn, err := acceptOne()
				if err != nil {
					return
				}
				e := serveStorm(conn, buf)
				if e.Close == "" {
					continue // no part of the storm
				}
				mu.Lock()
				ledger = append(ledger, e)
				cond.Signal()
				mu.Unlock()
			}
		}()
	}
	if err := c.Send(Listening{Addr: addr}); err != nil {
		return err
	}
	for {
		var want int
		if err := c.Recv(&want); err != nil {
			return err
		}
		mu.Lock()
		for len(ledger) < want {
			cond.Wait()
		}
		l := ledger
		ledger = nil
		mu.Unlock()
		if err := c.Send(l); err != nil {
			return err
		}
	}
}

// serveStorm answers one connection and ends it as its client asked.
func serveStorm(conn stormConn, buf []byte) End {
	e := conn.end()
	n, err := io.ReadFull(conn, buf[:stormHeader])
	e.Received = uint64(n)
	if err != nil {
		_ = conn.Close() // a stranger, or a probe
		return e
	}
	sent, reply := int(binary.BigEndian.Uint32(buf[0:])), int(binary.BigEndian.Uint32(buf[4:]))
	e.Close = CloseModes()[int(buf[8])%len(CloseModes())]
	n, err = io.ReadFull(conn, buf[:min(max(sent-stormHeader, 0), len(buf))])
	e.Received += uint64(n)
	if err == nil {
		n, err = conn.Write(buf[:min(reply, len(buf))])
		e.Sent = uint64(n)
	}
	switch {
	case err == nil && e.Close == ServerRST:
		conn.abort()
		return e
	case err == nil && e.Close != ServerFIN:
		_, _ = conn.Read(buf[:1]) // the client's FIN or RST
	}
	_ = conn.Close()
	return e
}

func (c *StormConfig) listen() (acceptOne func() (stormConn, error), _ netip.AddrPort, err error) {
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(c.Family.loopback(), port) }
	if !c.GoListener {
		fd, addr, err := listen(c.Family, netip.AddrPort{}, 4096)
		if err != nil {
			return nil, addr, err
		}
		return func() (stormConn, error) {
			fd, err := accept(fd)
			return rawConn(fd), err
		}, at(addr.Port()), nil
	}
	network := "tcp4"
	if c.Family.domain() == unix.AF_INET6 {
		network = "tcp"
	}
	lc := net.ListenConfig{KeepAlive: -1}
	ln, err := lc.Listen(context.Background(), network, ":0")
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	return func() (stormConn, error) {
		conn, err := ln.Accept()
		if err != nil {
			return nil, err
		}
		tcp, ok := conn.(*net.TCPConn)
		if !ok {
			return nil, net.ErrClosed
		}
		return goConn{tcp}, nil
	}, at(unmapped(ln.Addr()).Port()), nil
}

type rawConn int

func (c rawConn) Read(b []byte) (int, error) {
	for {
		switch n, err := unix.Read(int(c), b); {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, err
		case n == 0 && len(b) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (c rawConn) Write(b []byte) (int, error) { return writeFull(int(c), b) }
func (c rawConn) Close() error                { return unix.Close(int(c)) }
func (c rawConn) abort()                      { abort(int(c)) }

func (c rawConn) end() End {
	return End{
		Side: "server", PID: os.Getpid(), Cookie: cookie(int(c)),
		Local: localAddr(int(c)), Remote: remoteAddr(int(c)),
	}
}

type goConn struct{ *net.TCPConn }

func (c goConn) abort() {
	_ = c.SetLinger(0)
	_ = c.Close()
}

func (c goConn) end() End {
	t, err := track(c.TCPConn, "server")
	if err != nil {
		return End{Side: "server", PID: os.Getpid()}
	}
	return t.end
}
