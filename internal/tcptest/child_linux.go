package tcptest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// replyTimeout bounds every wait for a child: longer than any role takes on a
// loaded machine, shorter than the timeout of go test.
const replyTimeout = 2 * time.Minute

// setUp does what an Option asked for inside the child.
func setUp(what string) error {
	if what == "lo" {
		return loUp()
	}
	return nil
}

func builtinRoles() []Role {
	return []Role{
		{"server", serverRole},
		{"client", clientRole},
		{"prefork", preforkRole},
		{"prefork-worker", preforkWorkerRole},
		{"holder", holderRole},
		{"storm-server", stormServerRole},
		{"storm-client", stormClientRole},
		{"states", statesRole},
		{"halfopen", halfOpenRole},
		{"pidreuse", pidReuseRole},
	}
}

// A Child is a process that plays a role.
type Child struct {
	// PID is the process as this one's pid namespace numbers it.
	PID int
	// Name is the role.
	Name string

	cmd    *exec.Cmd
	in     *os.File // the child's standard input
	out    *os.File // the child's standard output
	dec    *json.Decoder
	enc    *json.Encoder
	stderr tail
	once   sync.Once
	err    error
}

// tail keeps the end of what a child says on standard error.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (w *tail) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.b = append(w.b, p...)
	if over := len(w.b) - 64<<10; over > 0 {
		w.b = w.b[over:]
	}
	return len(p), nil
}

func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(bytes.TrimSpace(w.b))
}

// Option changes how a child is started.
type Option func(*launch)

type launch struct {
	cmd *exec.Cmd
	ns  *NetNS
}

// InNetNS starts the child in a namespace.
func InNetNS(n *NetNS) Option { return func(l *launch) { l.ns = n } }

// InNewNetNS starts the child in a network namespace of its own with lo up,
// which nothing but the child keeps alive.
func InNewNetNS() Option {
	return func(l *launch) {
		l.cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWNET
		l.cmd.Env = append(l.cmd.Env, setupVariable+"=lo")
	}
}

// InNewPIDNS starts the child as process 1 of a pid namespace, with a mount
// namespace of its own.
func InNewPIDNS() Option {
	return func(l *launch) {
		l.cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWPID | unix.CLONE_NEWNS
	}
}

// AsUser starts the child with the user and group id n and no rights.
func AsUser(n uint32) Option {
	return func(l *launch) {
		l.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: n, Gid: n, NoSetGroups: true}
	}
}

// WithFiles hands open files to the child, from descriptor 3 on.
func WithFiles(files ...*os.File) Option {
	return func(l *launch) { l.cmd.ExtraFiles = files }
}

// Start starts a child that ends with the test.
func Start(tb testing.TB, role string, config any, opts ...Option) *Child {
	tb.Helper()
	c, err := Launch(role, config, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

// Launch starts this very program again, in a role. The caller must Close the
// child; it also ends by itself when this process does.
func Launch(role string, config any, opts ...Option) (*Child, error) {
	c := &Child{Name: role}
	// The child's life is bound to its standard input, not to a context, so
	// that it can take its connections down in order.
	c.cmd = exec.CommandContext(context.Background(), "/proc/self/exe")
	c.cmd.Args[0] = "viewtcp-test-" + role
	c.cmd.Env = append(os.Environ(), roleVariable+"="+role)
	if os.Getenv("GORACE") == "" {
		// The race detector lets every process sleep for a second at its end.
		c.cmd.Env = append(c.cmd.Env, "GORACE=atexit_sleep_ms=0")
	}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{}
	c.cmd.Stderr = &c.stderr
	l := launch{cmd: c.cmd}
	for _, o := range opts {
		o(&l)
	}
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("starting role %s: %w", role, err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		_, _ = inR.Close(), inW.Close()
		return nil, fmt.Errorf("starting role %s: %w", role, err)
	}
	c.cmd.Stdin, c.cmd.Stdout = inR, outW
	c.in, c.out = inW, outR
	start := func() { err = c.cmd.Start() }
	if l.ns == nil {
		start()
	} else if errDo := l.ns.Do(start); errDo != nil {
		err = errDo
	}
	_, _ = inR.Close(), outW.Close()
	if err != nil {
		_, _ = inW.Close(), outR.Close()
		return nil, fmt.Errorf("starting role %s: %w", role, err)
	}
	c.PID = c.cmd.Process.Pid
	c.dec, c.enc = json.NewDecoder(bufio.NewReader(c.out)), json.NewEncoder(c.in)
	if config == nil {
		config = struct{}{}
	}
	if err := c.Send(config); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Send hands a value to the child.
func (c *Child) Send(v any) error {
	if err := c.enc.Encode(v); err != nil {
		return fmt.Errorf("role %s: sending: %w: %s", c.Name, err, c.stderr.String())
	}
	return nil
}

// Recv waits for the child's next value. A child that failed gives its error.
func (c *Child) Recv(v any) error { return c.recv(v, replyTimeout) }

// recv waits for at most the timeout; 0 is for ever.
func (c *Child) recv(v any, timeout time.Duration) error {
	var deadline time.Time
	if timeout > 0 {
		deadline = time.Now().Add(timeout)
	}
	_ = c.out.SetReadDeadline(deadline)
	var e envelope
	if err := c.dec.Decode(&e); err != nil {
		return fmt.Errorf("role %s: waiting for its answer: %w: %s", c.Name, err, c.stderr.String())
	}
	if e.Error != "" {
		return fmt.Errorf("role %s: %s", c.Name, e.Error)
	}
	if v == nil {
		return nil
	}
	if err := json.Unmarshal(e.Value, v); err != nil {
		return fmt.Errorf("role %s: its answer: %w", c.Name, err)
	}
	return nil
}

// Call sends a request and waits for the answer.
func (c *Child) Call(request, answer any) error {
	if err := c.Send(request); err != nil {
		return err
	}
	return c.Recv(answer)
}

// Kill ends the child at once; its connections end as the kernel sees fit.
func (c *Child) Kill() error {
	_ = c.cmd.Process.Kill()
	_ = c.Close()
	return nil
}

// Close lets the child take its connections down and waits for its end.
func (c *Child) Close() error {
	c.once.Do(func() {
		_ = c.in.Close()
		timer := time.AfterFunc(30*time.Second, func() { _ = c.cmd.Process.Kill() })
		// Else a child that still has something to say would wait for ever.
		_ = c.out.SetReadDeadline(time.Time{})
		_, _ = io.Copy(io.Discard, c.out)
		err := c.cmd.Wait()
		timer.Stop()
		_ = c.out.Close()
		if err != nil {
			c.err = fmt.Errorf("role %s: %w: %s", c.Name, err, c.stderr.String())
		}
	})
	return c.err
}
