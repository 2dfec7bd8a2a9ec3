package wire

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Handler answers one request: it calls hello once, hands batches to sink, and
// returns when the request is done.
type Handler func(ctx context.Context, req Request, hello func(Hello) error, sink tcp.Sink) error

// greetTimeout bounds the time that a peer may take to say what it wants.
const greetTimeout = 5 * time.Second

// Serve speaks with one consumer until its request is done, it goes away or ctx
// ends. A consumer that reads slowly slows the handler, whose source then counts
// what it must drop.
func Serve(ctx context.Context, conn net.Conn, h Handler) error {
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()

	if err := conn.SetDeadline(time.Now().Add(greetTimeout)); err != nil {
		return fmt.Errorf("setting a deadline: %w", err)
	}
	r, w := bufio.NewReader(conn), bufio.NewWriterSize(conn, 64<<10)
	if err := greeted(r); err != nil {
		return err
	}
	if err := greet(conn); err != nil {
		return err
	}
	req, err := readRequest(r)
	if err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("clearing the deadline: %w", err)
	}
	gone := make(chan struct{})
	go func() { // a consumer says nothing more: the next read is its end
		defer close(gone)
		_, _ = io.Copy(io.Discard, r)
		cancel()
	}()
	defer func() {
		_ = conn.Close()
		<-gone
	}()

	var buf []byte
	sink := func(b *tcp.Batch) error {
		buf = AppendBatch(buf[:0], b)
		if err := writeFrame(w, frameBatch, buf); err != nil {
			return fmt.Errorf("sending a batch: %w", err)
		}
		return w.Flush()
	}
	err = h(ctx, req, func(hello Hello) error { return writeJSON(w, frameHello, hello) }, sink)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return errors.Join(err, writeJSON(w, frameError, newFailure(err)))
	}
	if err := writeFrame(w, frameEnd, nil); err != nil {
		return err
	}
	return w.Flush()
}

func readRequest(r *bufio.Reader) (Request, error) {
	var req Request
	t, payload, err := readFrame(r, nil)
	if err != nil {
		return req, fmt.Errorf("reading the request: %w", err)
	}
	if t != frameRequest {
		return req, fmt.Errorf("%w: frame type %d where a request belongs", ErrCorrupt, t)
	}
	if err := json.Unmarshal(payload, &req); err != nil {
		return req, fmt.Errorf("%w: request: %w", ErrCorrupt, err)
	}
	return req, nil
}
