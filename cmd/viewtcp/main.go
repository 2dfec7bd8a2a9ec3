// Command viewtcp shows the TCP connections of a host: each with its process,
// exact bytes, round-trip time, retransmissions and windows, from SYN to CLOSED.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Exit codes, the same for every command.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitEmpty       = 3
	exitPermission  = 4
	exitInterrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// Else the runtime dies of a reader that has seen enough (os/signal, SIGPIPE).
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	code := run(ctx, os.Args[1:], env{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr})
	stop()
	os.Exit(code)
}

// env is what a command has of the outside.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

// run executes a command line and returns its exit code.
func run(ctx context.Context, args []string, e env) int {
	root := newRoot(e)
	root.SetArgs(extcapArgs(args))
	err := root.ExecuteContext(ctx)
	return conclude(ctx, e, err)
}

// usageError is a mistake in the command line.
type usageError struct{ err error }

func (u usageError) Error() string { return u.err.Error() }
func (u usageError) Unwrap() error { return u.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exitError ends the program with a code of its own; the message, if there is
// one, was printed already.
type exitError struct{ code int }

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", e.code) }

// conclude prints an error and finds its exit code.
func conclude(ctx context.Context, e env, err error) int {
	var (
		ferr *filter.Error
		uerr usageError
		xerr exitError
	)
	switch {
	case errors.As(err, &xerr):
		return xerr.code
	case err == nil && ctx.Err() != nil:
		return exitInterrupted
	case err == nil:
		return exitOK
	case seenEnough(err):
		return exitOK
	case errors.As(err, &ferr):
		fmt.Fprintf(e.stderr, "viewtcp: filter error: %s\n", ferr.Caret())
		return exitUsage
	}
	fmt.Fprintf(e.stderr, "viewtcp: %s\n", output.Clean(err.Error()))
	switch {
	case errors.As(err, &uerr):
		return exitUsage
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, tcp.ErrPermission), errors.Is(err, os.ErrPermission):
		return exitPermission
	default:
		return exitFailure
	}
}

// seenEnough reports whether the reader of stdout is gone, as head is after its
// lines. Other pipes and sockets that break are failures.
func seenEnough(err error) bool {
	var write *fs.PathError
	return errors.As(err, &write) && errors.Is(write.Err, syscall.EPIPE) && write.Path == os.Stdout.Name()
}

// warn prints one sentence on stderr.
func (e env) warn(sentence string) {
	if sentence != "" {
		fmt.Fprintf(e.stderr, "viewtcp: %s\n", output.Clean(sentence))
	}
}
