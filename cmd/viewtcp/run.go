package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/track"
)

type runFlags struct {
	common
	report string
}

func newRun(e env) *cobra.Command {
	var c runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARG...]",
		Short: "Run a command and report its connections",
		Long: `Run a command and, when it has ended, report the TCP connections that it and its
children opened or accepted. The exit code is the command's. Where a control
group can be made for it (as root), children are found whatever they do; else by
their parents, which misses those that end within a second or so.`,
		Example: `  viewtcp run -- curl -s https://example.org
  viewtcp run -o jsonl --report conns.jsonl -- make test`,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.setup(cmd); err != nil {
				return err
			}
			if len(args) == 0 {
				return usagef("run: a command is missing, as in: viewtcp run -- curl -s https://example.org")
			}
			return runCommand(cmd.Context(), e, &c, args)
		},
	}
	// What follows the command's name are its own flags.
	cmd.Flags().SetInterspersed(false)
	c.addSource(cmd.Flags())
	c.addOutput(cmd.Flags())
	c.addOrder(cmd.Flags())
	cmd.Flags().StringVar(&c.report, "report", "", "write the report to this file instead of stdout")
	return cmd
}

// lastEvents is how long after the command's end its last closes are waited for.
const lastEvents = 200 * time.Millisecond

func runCommand(ctx context.Context, e env, c *runFlags, args []string) (err error) {
	f, err := c.parseFilter(nil, filterOptions())
	if err != nil {
		return err
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	out := e.stdout
	if c.report != "" {
		file, ferr := os.OpenFile(c.report, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if ferr != nil {
			return fmt.Errorf("run: %w", ferr)
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		out = file
	}
	p, err := newPrinter(env{stdout: out, stderr: e.stderr}, &c.common)
	if err != nil {
		return err
	}
	if p.table != nil {
		if p.table.Columns, err = c.tableColumns(reportColumns()); err != nil {
			return err
		}
	}
	// The source outlives an interrupt: it is the command's to die of.
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	l := newLook(e, &c.common)
	m := newMembers(f)
	ready := make(chan struct{})
	// A source that fails later is followed by the next one.
	l.ready = func(tcp.SourceKind) { m.ready.Do(func() { close(ready) }) }
	followed := make(chan struct{})
	following := false
	l.started = func(t *track.Tracker) {
		sub := t.Subscribe(readerBuffer)
		if following {
			return
		}
		following = true
		go func() {
			defer close(followed)
			defer sub.Close()
			m.follow(sub)
		}()
	}
	ended := make(chan error, 1)
	go func() { ended <- l.feed(watching, tcp.Source.Run) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done(): // before the command was started
		stop()
		return errors.Join(<-ended, exitError{exitInterrupted})
	case <-ready:
	}

	code, err := m.run(ctx, e, path, args)
	if err != nil {
		stop()
		<-ended
		return err
	}
	time.Sleep(lastEvents)
	stop()
	if err := <-ended; err != nil {
		return err
	}
	l.tracker.End()
	<-followed
	dns := newResolver(&c.common)
	defer dns.close()
	conns := dns.all(ctx, m.finish(l.tracker.Snapshot()))
	if m.gap {
		e.warn("run: events were lost, so connections of the command may be missing or lack their end")
	}
	p.sort(conns)
	if c.limit > 0 && len(conns) > c.limit {
		conns = conns[:c.limit]
	}
	if err := p.print(conns); err != nil {
		return err
	}
	if p.table != nil {
		if _, err := io.WriteString(out, summary(conns)+"\n"); err != nil {
			return err
		}
	}
	if code != 0 {
		return exitError{code}
	}
	if c.failEmpty && len(conns) == 0 {
		return exitError{exitEmpty}
	}
	return nil
}

func reportColumns() []output.Column {
	var cs []output.Column
	for _, n := range []string{
		"process", "pid", "local", "remote", "state", "handshake_us", "rtt_us", "retransmits",
		"bytes_sent", "bytes_received", "duration_us", "close_reason", "closed_by",
	} {
		if c, ok := output.ColumnByName(n); ok {
			c.Drop = 0
			cs = append(cs, c)
		}
	}
	return cs
}

// members are the connections of one command: those made in its control group,
// or by it and its descendants.
type members struct {
	match func(*tcp.Conn) bool
	ready sync.Once

	mu    sync.Mutex
	pids  map[int32]bool         // guarded by mu; processes of the command
	other map[tcp.ProcessID]bool // guarded by mu; processes that are not
	conns map[tcp.ID]*tcp.Conn   // guarded by mu
	group group                  // guarded by mu while the command is started
	gap   bool                   // guarded by mu
}

// maxOther bounds the processes that are remembered as no members.
const maxOther = 1 << 16

func newMembers(f *filter.Filter) *members {
	return &members{
		match: f.Predicate(), pids: make(map[int32]bool), other: make(map[tcp.ProcessID]bool),
		conns: make(map[tcp.ID]*tcp.Conn),
	}
}

// follow keeps the command's connections out of the events of the host, of
// which there may be any number.
func (m *members) follow(sub tcp.Subscription) {
	var events []tcp.Event
	for {
		var err error
		events, err = sub.Next(context.Background(), events[:0])
		m.mu.Lock()
		for i := range events {
			m.event(&events[i])
		}
		m.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// event takes in one event; the caller holds mu.
func (m *members) event(e *tcp.Event) {
	if e.Conn != nil {
		m.add(e.Conn)
	}
	m.gap = m.gap || e.Type == tcp.EventGap
}

// run runs the command to its end and returns its exit code.
func (m *members) run(ctx context.Context, e env, path string, args []string) (int, error) {
	cmd := exec.Command(path, args[1:]...) //nolint:noctx // the command gets its signals itself
	cmd.Args[0] = args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = e.stdin, e.stdout, e.stderr
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	// Its first connection may be seen before Start returns.
	m.mu.Lock()
	var err error
	if m.group, err = newGroup(cmd); err != nil {
		m.group = group{}
	}
	err = cmd.Start()
	if err == nil {
		m.pids[int32(cmd.Process.Pid)] = true
	}
	m.mu.Unlock()
	defer func() {
		if err := m.group.close(); err != nil {
			e.warn("run: " + err.Error())
		}
	}()
	if err != nil {
		return 0, fmt.Errorf("run: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			// A terminal's Ctrl-C reaches the command without us.
			if s != os.Interrupt || !isTerminal(e.stdin) {
				_ = cmd.Process.Signal(s)
			}
		case err := <-done:
			var exit *exec.ExitError
			switch {
			case err == nil:
				return 0, nil
			case errors.As(err, &exit):
				return exitCode(exit), nil
			default:
				return 0, fmt.Errorf("run: %w", err)
			}
		}
	}
}

// exitCode is the code that a shell would show.
func exitCode(exit *exec.ExitError) int {
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return exit.ExitCode()
}

// finish returns the command's connections in the order of their opening, as
// they were last seen.
func (m *members) finish(s *tcp.Snapshot) []*tcp.Conn {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range s.Conns {
		if _, ok := m.conns[c.ID]; ok || c.Direction == tcp.Listening {
			m.add(c)
		}
	}
	conns := make([]*tcp.Conn, 0, len(m.conns))
	for _, c := range m.conns {
		if m.match(c) {
			conns = append(conns, c)
		}
	}
	slices.SortFunc(conns, func(a, b *tcp.Conn) int {
		if d := a.Opened.Boot - b.Opened.Boot; d != 0 {
			return int(min(max(d, -1), 1))
		}
		return int(a.LocalPort) - int(b.LocalPort)
	})
	return conns
}

func (m *members) add(c *tcp.Conn) {
	if !m.owns(c) {
		return
	}
	if old := m.conns[c.ID]; old != nil && !old.Closed.IsZero() && c.Closed.IsZero() {
		return
	}
	m.conns[c.ID] = c
}

func (m *members) owns(c *tcp.Conn) bool {
	if m.group.id != 0 && c.CgroupID != 0 {
		return c.CgroupID == m.group.id
	}
	p := c.Process
	if p == nil || p.PID == 0 || len(m.pids) == 0 {
		return false
	}
	if m.pids[p.PID] {
		return true
	}
	if m.other[p.ProcessID] {
		return false
	}
	if m.pids[p.Parent] || parentIn(m.pids, p.Parent) {
		m.pids[p.PID] = true
		return true
	}
	if len(m.other) >= maxOther {
		clear(m.other)
	}
	m.other[p.ProcessID] = true
	return false
}

// summary says in one line what the connections were.
func summary(conns []*tcp.Conn) string {
	var sent, received, retransmits uint64
	var failed int
	for _, c := range conns {
		if c.Has&tcp.HasBytesSent != 0 {
			sent += c.Metrics.BytesSent
		}
		if c.Has&tcp.HasBytesReceived != 0 {
			received += c.Metrics.BytesReceived
		}
		if c.Has&tcp.HasRetransmits != 0 {
			retransmits += uint64(c.Metrics.Retransmits)
		}
		switch c.Reason {
		case tcp.CloseRefused, tcp.CloseTimeout, tcp.CloseUnreachable:
			failed++
		default:
		}
	}
	noun := "connections"
	if len(conns) == 1 {
		noun = "connection"
	}
	return fmt.Sprintf("%d %s, %d failed to connect or timed out, %s sent, %s received, %d retransmits",
		len(conns), noun, failed, output.AppendBytes(nil, sent), output.AppendBytes(nil, received), retransmits)
}
