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
	"time"

	"golang.org/x/sys/unix"
)

// A Flow is one connection over a Link, opened by end 0 to a listener at end 1.
type Flow struct {
	// Rounds of a request of Send bytes and an answer of Reply bytes; 0 is one.
	Send, Reply, Rounds int
	// Texts are what each request and each answer begin with; the rest is zeros.
	Texts [2]string
	// Pause is before each request but the first.
	Pause time.Duration
	// ReadPause is the server's before it reads 16 KiB, with a receive buffer of
	// ReadBuffer bytes; 0 is the kernel's own.
	ReadPause  time.Duration
	ReadBuffer int
	// KeepAlive probes each second of a pause.
	KeepAlive bool
	// Abort says that the server resets the connection in the middle of the last
	// request.
	Abort bool
	// Refused says that nobody listens.
	Refused bool
}

// A FlowEnd is one end of a Flow, when both were done with it.
type FlowEnd struct {
	Local, Remote netip.AddrPort
	Cookie        uint64
	// Info is what the kernel counted, to the last acknowledgment of a FIN.
	Info unix.TCPInfo
}

// A FlowResult is what became of a Flow.
type FlowResult struct {
	// Ends are the client's and the server's.
	Ends [2]FlowEnd
}

// flowPatience bounds a flow: many times what the worst link takes.
const flowPatience = 90 * time.Second

// Run opens all flows at once and waits for their end.
func (l *Link) Run(flows ...Flow) ([]FlowResult, error) {
	results := make([]FlowResult, len(flows))
	errs := make([]error, len(flows))
	var wg sync.WaitGroup
	for i := range flows {
		wg.Go(func() {
			if err := l.run(&flows[i], &results[i]); err != nil {
				errs[i] = fmt.Errorf("flow %d: %w", i, err)
			}
		})
	}
	wg.Wait()
	return results, errors.Join(errs...)
}

// RunOneByOne opens each flow when the one before it has ended.
func (l *Link) RunOneByOne(flows ...Flow) ([]FlowResult, error) {
	results := make([]FlowResult, len(flows))
	for i := range flows {
		if err := l.run(&flows[i], &results[i]); err != nil {
			return results, fmt.Errorf("flow %d: %w", i, err)
		}
	}
	return results, nil
}

func (l *Link) run(f *Flow, result *FlowResult) error {
	family := IPv4
	if l.cfg.IPv6 {
		family = IPv6
	}
	var client, server int
	var addr netip.AddrPort
	var err error
	errDo := l.Ends[1].Do(func() {
		if server, err = socket(family, 0); err != nil {
			return
		}
		if f.ReadBuffer > 0 {
			err = unix.SetsockoptInt(server, unix.SOL_SOCKET, unix.SO_RCVBUF, f.ReadBuffer)
		}
		err = errors.Join(err, unix.Bind(server, family.sockaddr(netip.AddrPortFrom(l.Addrs[1], 0))))
		if !f.Refused {
			err = errors.Join(err, unix.Listen(server, 1))
		}
		addr = localAddr(server)
	})
	if err := errors.Join(errDo, err); err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	errDo = l.Ends[0].Do(func() { client, err = socket(family, 0) })
	if err := errors.Join(errDo, err); err != nil {
		unix.Close(server)
		return err
	}
	if f.Refused {
		defer unix.Close(server)
		defer unix.Close(client)
		if err := unix.Connect(client, family.sockaddr(addr)); !errors.Is(err, unix.ECONNREFUSED) {
			return fmt.Errorf("connecting where nobody listens: %w", err)
		}
		// The socket keeps its counters, but not its addresses.
		result.Ends[0].Remote = addr
		return result.Ends[0].countFD(client)
	}
	ln, err := fileListener(server)
	if err != nil {
		unix.Close(client)
		return err
	}
	defer ln.Close()
	serverDone := make(chan error, 1)
	deadline := time.Now().Add(flowPatience)
	_ = ln.SetDeadline(deadline)
	go func() {
		end, err := f.serve(ln, deadline)
		result.Ends[1] = end
		if err != nil {
			err = fmt.Errorf("server: %w", err)
		}
		serverDone <- err
	}()
	end, err := f.request(client, family, addr, deadline)
	result.Ends[0] = end
	if err != nil {
		_ = ln.Close()
		return errors.Join(fmt.Errorf("client: %w", err), <-serverDone)
	}
	return <-serverDone
}

// fileListener takes fd over.
func fileListener(fd int) (*net.TCPListener, error) {
	file := os.NewFile(uintptr(fd), "listener")
	defer file.Close()
	ln, err := net.FileListener(file)
	if err != nil {
		return nil, err
	}
	return ln.(*net.TCPListener), nil
}

func (f *Flow) rounds() int { return max(f.Rounds, 1) }

// request is the client's part. It takes fd over.
func (f *Flow) request(fd int, family Family, to netip.AddrPort, deadline time.Time) (end FlowEnd, err error) {
	file := os.NewFile(uintptr(fd), "client")
	defer file.Close()
	patience := unix.NsecToTimeval(int64(flowPatience))
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &patience)
	if err := unix.Connect(fd, family.sockaddr(to)); err != nil {
		return end, fmt.Errorf("connecting to %s: %w", to, err)
	}
	fc, err := net.FileConn(file)
	if err != nil {
		return end, err
	}
	conn := fc.(*net.TCPConn)
	defer conn.Close()
	_ = file.Close()
	if end, err = flowEnd(conn); err != nil { // the addresses go with the connection
		return end, err
	}
	_ = conn.SetDeadline(deadline)
	// The standard library turns keep-alive on.
	ka := net.KeepAliveConfig{Enable: f.KeepAlive, Idle: time.Second, Interval: time.Second, Count: 20}
	if err := conn.SetKeepAliveConfig(ka); err != nil {
		return end, err
	}
	zeros := make([]byte, 64<<10)
	for i := range f.rounds() {
		if i > 0 {
			time.Sleep(f.Pause)
		}
		err = sendText(conn, zeros, f.Texts[0], f.Send)
		if err == nil {
			_, err = io.CopyN(io.Discard, conn, int64(f.Reply))
		}
		if err != nil {
			break
		}
	}
	if err == nil {
		err = conn.CloseWrite()
	}
	if err == nil {
		_, err = io.Copy(io.Discard, conn)
	}
	if f.Abort && (errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE)) {
		err = nil
	}
	if err != nil {
		return end, err
	}
	return end.closed(conn, deadline)
}

// serve is the server's part.
func (f *Flow) serve(ln *net.TCPListener, deadline time.Time) (end FlowEnd, err error) {
	conn, err := ln.AcceptTCP()
	if err != nil {
		return end, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(deadline)
	if err := conn.SetKeepAlive(false); err != nil {
		return end, err
	}
	if end, err = flowEnd(conn); err != nil {
		return end, err
	}
	buf, zeros := make([]byte, 64<<10), make([]byte, 64<<10)
	for i := range f.rounds() {
		wanted := f.Send
		if f.Abort && i == f.rounds()-1 {
			wanted /= 2
		}
		for wanted > 0 && err == nil {
			part := buf[:min(wanted, len(buf))]
			if f.ReadPause > 0 {
				time.Sleep(f.ReadPause)
				part = part[:min(len(part), 16<<10)]
			}
			var n int
			n, err = io.ReadAtLeast(conn, part, 1)
			wanted -= n
		}
		if err == nil && f.Abort && i == f.rounds()-1 {
			return end.abort(conn)
		}
		if err == nil {
			err = sendText(conn, zeros, f.Texts[1], f.Reply)
		}
		if err != nil {
			return end, err
		}
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		return end, err
	}
	if err := conn.CloseWrite(); err != nil {
		return end, err
	}
	return end.closed(conn, deadline)
}

// sendText sends n bytes that begin with a text and go on with zeros.
func sendText(conn net.Conn, zeros []byte, text string, n int) error {
	part := zeros[:min(n, len(zeros))]
	copy(part, text)
	m, err := conn.Write(part)
	clear(zeros[:min(len(text), len(part))])
	for err == nil && m < n {
		var more int
		more, err = conn.Write(zeros[:min(n-m, len(zeros))])
		m += more
	}
	return err
}

// flowEnd describes an end of a connection that stands.
func flowEnd(conn *net.TCPConn) (e FlowEnd, err error) {
	e.Local, e.Remote = unmapped(conn.LocalAddr()), unmapped(conn.RemoteAddr())
	return e, e.count(conn)
}

// count reads the kernel's counters.
func (e *FlowEnd) count(conn *net.TCPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	errControl := raw.Control(func(fd uintptr) { err = e.countFD(int(fd)) })
	return errors.Join(errControl, err)
}

func (e *FlowEnd) countFD(fd int) error {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return fmt.Errorf("reading TCP_INFO: %w", err)
	}
	e.Cookie, e.Info = cookie(fd), *info
	return nil
}

// closed waits until the kernel is done with a connection that was shut down in
// both directions: then nothing is sent any more, and the counters are final.
func (e FlowEnd) closed(conn *net.TCPConn, deadline time.Time) (FlowEnd, error) {
	for {
		if err := e.count(conn); err != nil || e.Info.State == unix.BPF_TCP_CLOSE {
			return e, err
		}
		if time.Now().After(deadline) {
			return e, fmt.Errorf("state %d: %w", e.Info.State, context.DeadlineExceeded)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// abort resets a connection whose end has nothing under way, so that its
// counters are final.
func (e FlowEnd) abort(conn *net.TCPConn) (FlowEnd, error) {
	err := e.count(conn)
	return e, errors.Join(err, conn.SetLinger(0), conn.Close())
}
