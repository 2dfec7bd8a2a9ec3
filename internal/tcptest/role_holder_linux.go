package tcptest

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// HolderConfig is for the role "holder": it listens, connects when asked, and
// then keeps both kinds of connections open and quiet. Its first answer is
// Listening.
type HolderConfig struct {
	Family Family
	// Sent and Reply are the payload bytes of each connection, by the client
	// and by the server, both at its beginning.
	Sent, Reply int
}

// HolderRequest asks a holder for one thing.
type HolderRequest struct {
	// Connect opens so many connections to To; with Destinations > 1 and IPv4,
	// to that many addresses of 127.0.0.0/8, so that ports do not run out. The
	// answer is the number of open connections.
	Connect      int
	To           netip.AddrPort
	Destinations int
	// Accepted waits until so many connections were accepted in all.
	Accepted int
	// Chatter writes so many bytes on that many connections, the first ones
	// connected.
	Chatter, Bytes int
	// Ledger asks for the Ledger as the answer.
	Ledger bool
}

type holder struct {
	cfg HolderConfig

	mu       sync.Mutex
	cond     *sync.Cond
	accepted []int // guarded by mu
	made     []int // guarded by mu
	extra    map[int]uint64
	err      error // guarded by mu
}

func holderRole(c *Control) error {
	h := &holder{extra: make(map[int]uint64)}
	h.cond = sync.NewCond(&h.mu)
	if err := c.Recv(&h.cfg); err != nil {
		return err
	}
	fd, addr, err := listen(h.cfg.Family, netip.AddrPort{}, 4096)
	if err != nil {
		return err
	}
	addr = netip.AddrPortFrom(h.cfg.Family.loopback(), addr.Port())
	go h.accept(fd)
	if err := c.Send(Listening{Addr: addr}); err != nil {
		return err
	}
	for {
		var r HolderRequest
		if err := c.Recv(&r); err != nil {
			h.end()
			return err
		}
		answer, err := h.do(r)
		if err != nil {
			return err
		}
		if err := c.Send(answer); err != nil {
			return err
		}
	}
}

func (h *holder) do(r HolderRequest) (any, error) {
	if r.Connect > 0 {
		if err := h.connect(r); err != nil {
			return nil, err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.accepted) < r.Accepted && h.err == nil {
		h.cond.Wait()
	}
	if h.err != nil {
		return nil, h.err
	}
	for _, fd := range h.made[:min(r.Chatter, len(h.made))] {
		n, err := writeFull(fd, make([]byte, r.Bytes))
		h.extra[fd] += uint64(n)
		if err != nil {
			return nil, fmt.Errorf("chatting: %w", err)
		}
	}
	if r.Ledger {
		return h.ledger(), nil
	}
	return len(h.made) + len(h.accepted), nil
}

// connect opens the connections on a few threads: each system call waits for
// the other process.
func (h *holder) connect(r HolderRequest) error {
	const threads = 4
	var wg sync.WaitGroup
	errs := make([]error, threads)
	for i := range threads {
		wg.Go(func() {
			for n := i; n < r.Connect && errs[i] == nil; n += threads {
				errs[i] = h.connectOne(destination(r.To, n, r.Destinations))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// destination spreads connections over 127.0.0.1 to 127.0.of.1, each of which
// has all client ports to itself.
func destination(to netip.AddrPort, n, of int) netip.AddrPort {
	if of <= 1 || !to.Addr().Unmap().Is4() {
		return to
	}
	b := to.Addr().Unmap().As4()
	b[2] = byte(n % min(of, 250))
	return netip.AddrPortFrom(netip.AddrFrom4(b), to.Port())
}

func (h *holder) connectOne(to netip.AddrPort) error {
	fd, err := connect(h.cfg.Family, to)
	if err != nil {
		return err
	}
	buf := make([]byte, max(h.cfg.Sent, h.cfg.Reply))
	if _, err := writeFull(fd, buf[:h.cfg.Sent]); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	if n, err := readFull(fd, buf[:h.cfg.Reply]); n != h.cfg.Reply {
		return fmt.Errorf("got %d bytes of the reply: %w", n, err)
	}
	h.mu.Lock()
	h.made = append(h.made, fd)
	h.mu.Unlock()
	return nil
}

func (h *holder) accept(listener int) {
	buf := make([]byte, max(h.cfg.Sent, h.cfg.Reply))
	for {
		fd, err := accept(listener)
		if err == nil {
			_, err = readFull(fd, buf[:h.cfg.Sent])
		}
		if err == nil {
			_, err = writeFull(fd, buf[:h.cfg.Reply])
		}
		h.mu.Lock()
		if err != nil {
			h.err = fmt.Errorf("accepting: %w", err)
		} else {
			h.accepted = append(h.accepted, fd)
		}
		h.cond.Broadcast()
		h.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (h *holder) ledger() Ledger {
	l := make(Ledger, 0, len(h.made)+len(h.accepted))
	for _, fd := range h.made {
		l = append(l, h.endOf(fd, "client", h.cfg.Sent, h.cfg.Reply))
	}
	for _, fd := range h.accepted {
		l = append(l, h.endOf(fd, "server", h.cfg.Reply, h.cfg.Sent))
	}
	return l
}

func (h *holder) endOf(fd int, side string, sent, received int) End {
	return End{
		Side: side, PID: os.Getpid(), Cookie: cookie(fd),
		Local: localAddr(fd), Remote: remoteAddr(fd),
		Sent: uint64(sent) + h.extra[fd], Received: uint64(received),
	}
}

// end closes all with RST: 20,000 TIME_WAIT sockets would be a minute's load on
// whatever is measured next.
func (h *holder) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, fd := range append(h.made, h.accepted...) {
		abort(fd)
	}
	h.made, h.accepted = nil, nil
	h.err = unix.ECANCELED
}

// maxPairs is the most connections that one pair of holders keeps: the usual
// limit of open files is 20,000 or 1,048,576, and a few processes are more like
// a real host than one.
const maxPairs = 5000

// Hold is many quiet connections on this host.
type Hold struct {
	// Pairs is the processes: each accepting one is followed by the one that
	// connects to it.
	Pairs   []*Child
	sockets int
}

// HoldSockets opens connections whose two ends together are n sockets (rounded
// to even), and keeps them quiet. Each connection carried 100 bytes one way and
// 50 the other. The caller must Close the result.
func HoldSockets(n int, opts ...Option) (*Hold, error) {
	h := &Hold{}
	for left := (n + 1) / 2; left > 0; left -= maxPairs {
		if err := h.pair(min(left, maxPairs), opts); err != nil {
			return nil, errors.Join(err, h.Close())
		}
	}
	return h, nil
}

func (h *Hold) pair(n int, opts []Option) error {
	cfg := HolderConfig{Sent: 100, Reply: 50}
	server, err := Launch("holder", cfg, opts...)
	if err != nil {
		return err
	}
	h.Pairs = append(h.Pairs, server)
	var at Listening
	if err := server.Recv(&at); err != nil {
		return err
	}
	client, err := Launch("holder", cfg, opts...)
	if err != nil {
		return err
	}
	h.Pairs = append(h.Pairs, client)
	if err := client.Recv(nil); err != nil {
		return err
	}
	var open int
	if err := client.Call(HolderRequest{Connect: n, To: at.Addr, Destinations: 4}, &open); err != nil {
		return err
	}
	if err := server.Call(HolderRequest{Accepted: n}, &open); err != nil {
		return err
	}
	h.sockets += 2 * n
	return nil
}

// HoldSocketsAlone is HoldSockets with one process that holds both ends, so
// that it can be alone in a namespace (InNewNetNS). n is at most 10,000.
func HoldSocketsAlone(n int, opts ...Option) (*Hold, error) {
	h := &Hold{}
	c, err := Launch("holder", HolderConfig{Sent: 100, Reply: 50}, opts...)
	if err != nil {
		return nil, err
	}
	h.Pairs = []*Child{c}
	var at Listening
	if err := c.Recv(&at); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	if err := c.Call(HolderRequest{Connect: n / 2, To: at.Addr, Accepted: n / 2}, nil); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	h.sockets = n / 2 * 2
	return h, nil
}

// Sockets is the number of connected sockets held.
func (h *Hold) Sockets() int { return h.sockets }

// Ledger asks all processes what they hold.
func (h *Hold) Ledger() (Ledger, error) {
	var all Ledger
	for _, c := range h.Pairs {
		var l Ledger
		if err := c.Call(HolderRequest{Ledger: true}, &l); err != nil {
			return nil, err
		}
		all = append(all, l...)
	}
	return all, nil
}

// Chat writes some bytes on n of the connections.
func (h *Hold) Chat(n, bytes int) error {
	clients := max(len(h.Pairs)/2, 1)
	for i := range clients {
		c := h.Pairs[min(2*i+1, len(h.Pairs)-1)]
		if err := c.Call(HolderRequest{Chatter: n / clients, Bytes: bytes}, nil); err != nil {
			return err
		}
	}
	return nil
}

// Close ends all connections by RST and waits for the processes.
func (h *Hold) Close() error {
	var errs []error
	for _, c := range h.Pairs {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
