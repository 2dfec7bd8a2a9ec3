package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// notifier tells the service manager how a daemon does: lines of NAME=VALUE as
// one datagram to the Unix socket that NOTIFY_SOCKET names (sd_notify(3)). Without
// a manager it does nothing.
type notifier struct {
	addr *net.UnixAddr // nil without a manager
	// watchdog is how often the manager wants to hear; 0 is never.
	watchdog time.Duration
}

// newNotifier reads what the service manager asks for from the environment, and
// takes it out of there so that children do not answer for this process.
func newNotifier() *notifier {
	n := &notifier{}
	socket, usec, pid := os.Getenv("NOTIFY_SOCKET"), os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID")
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		_ = os.Unsetenv(name)
	}
	switch {
	case strings.HasPrefix(socket, "/"):
	case strings.HasPrefix(socket, "@"): // the abstract namespace
	default:
		return n // none, or of a kind that is not known
	}
	n.addr = &net.UnixAddr{Name: socket, Net: "unixgram"}
	if us, err := strconv.ParseInt(usec, 10, 64); err == nil && us > 0 && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		n.watchdog = time.Duration(us) * time.Microsecond
	}
	return n
}

// managed reports whether there is a service manager.
func (n *notifier) managed() bool { return n.addr != nil }

// tell sends one state. A manager that does not take it is no reason to stop.
func (n *notifier) tell(ctx context.Context, lines ...string) error {
	if n.addr == nil {
		return nil
	}
	var d net.Dialer
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := d.DialContext(ctx, "unixgram", n.addr.Name)
	if err == nil {
		_, err = conn.Write([]byte(strings.Join(lines, "\n")))
		if cerr := conn.Close(); err == nil {
			err = cerr
		}
	}
	if err != nil {
		return fmt.Errorf("telling the service manager %s: %w", lines[0], err)
	}
	return nil
}

// ready, reloading and stopping are the states of a daemon's life.
func (n *notifier) ready(ctx context.Context, status string) error {
	return n.tell(ctx, "READY=1", "STATUS="+status)
}

// reloading is followed by ready. The manager wants to know when it began, by the
// monotonic clock.
func (n *notifier) reloading(ctx context.Context) error {
	return n.tell(ctx, "RELOADING=1", "MONOTONIC_USEC="+strconv.FormatInt(monotonicMicros(), 10))
}

func (n *notifier) stopping(ctx context.Context) error { return n.tell(ctx, "STOPPING=1") }

// alive is what the watchdog waits for.
func (n *notifier) alive(ctx context.Context) error { return n.tell(ctx, "WATCHDOG=1") }
