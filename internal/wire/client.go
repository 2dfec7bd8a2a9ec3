package wire

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Client is a tcp.Source that a collector in another process works for.
type Client struct {
	dial          func(context.Context) (net.Conn, error)
	source, netns string
	hello         Hello
}

var _ tcp.Source = (*Client)(nil)

// Dial finds out whether a collector answers at dial, and what it offers.
// Source and netns are passed on to it.
func Dial(ctx context.Context, dial func(context.Context) (net.Conn, error), source, netns string) (*Client, error) {
	c := &Client{dial: dial, source: source, netns: netns}
	return c, c.do(ctx, Request{Op: OpFeatures}, nil)
}

// Hello returns what the collector said of itself.
func (c *Client) Hello() Hello { return c.hello }

// Kind implements tcp.Source.
func (c *Client) Kind() tcp.SourceKind {
	for k := tcp.SourceEBPF; k <= tcp.SourceCapture; k++ {
		if k.String() == c.hello.Source {
			return k
		}
	}
	return tcp.SourceUnknown
}

// Features implements tcp.Source.
func (c *Client) Features() []tcp.Feature { return c.hello.Features }

// Once implements tcp.Source.
func (c *Client) Once(ctx context.Context, sink tcp.Sink) error {
	return c.do(ctx, Request{Op: OpOnce}, sink)
}

// Run implements tcp.Source.
func (c *Client) Run(ctx context.Context, sink tcp.Sink) error {
	err := c.do(ctx, Request{Op: OpRun}, sink)
	if ctx.Err() != nil {
		return nil
	}
	if err == nil {
		return errors.New("collector: ended the stream")
	}
	return err
}

// CloseSocket asks the collector to close a socket.
func (c *Client) CloseSocket(ctx context.Context, s Socket) error {
	return c.do(ctx, Request{Op: OpClose, Socket: &s}, nil)
}

// Close implements tcp.Source; a Client holds nothing between its calls.
func (c *Client) Close() error { return nil }

// do sends a request and follows the answer to its end.
func (c *Client) do(ctx context.Context, req Request, sink tcp.Sink) error {
	conn, err := c.dial(ctx)
	if err != nil {
		return fmt.Errorf("connecting to the collector: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	req.Source, req.NetNS = c.source, c.netns
	err = c.converse(conn, req, sink)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (c *Client) converse(conn net.Conn, req Request, sink tcp.Sink) error {
	r, w := bufio.NewReaderSize(conn, 64<<10), bufio.NewWriter(conn)
	err := greet(conn)
	if err == nil {
		err = greeted(r)
	}
	switch {
	case err == nil:
	case closedByPeer(err):
		// It looks at who asks before it reads anything.
		return fmt.Errorf("the collector refused this user: %w", tcp.ErrPermission)
	default:
		return err
	}
	if err := writeJSON(w, frameRequest, req); err != nil {
		return fmt.Errorf("sending the request: %w", err)
	}
	var (
		buf   []byte
		batch tcp.Batch
	)
	for {
		var (
			t   frameType
			err error
		)
		if t, buf, err = readFrame(r, buf); err != nil {
			return fmt.Errorf("reading from the collector: %w", err)
		}
		switch t {
		case frameHello:
			c.hello = Hello{}
			if err := json.Unmarshal(buf, &c.hello); err != nil {
				return fmt.Errorf("%w: hello: %w", ErrCorrupt, err)
			}
		case frameBatch:
			if sink == nil {
				continue
			}
			if err := DecodeBatch(buf, &batch); err != nil {
				return err
			}
			if err := sink(&batch); err != nil {
				return err
			}
		case frameError:
			var f failure
			if err := json.Unmarshal(buf, &f); err != nil {
				return fmt.Errorf("%w: error: %w", ErrCorrupt, err)
			}
			return f.err()
		case frameEnd:
			return nil
		default: // of a later version
		}
	}
}

// closedByPeer reports whether an error is that the other end closed: what we
// wrote before we knew may have found nobody, or have been thrown away unread.
func closedByPeer(err error) bool {
	for _, e := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.EPIPE, syscall.ECONNRESET} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
