package sockdiag

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

var (
	// errRefused: the kernel does not know the request.
	errRefused = errors.New("request refused")
	// errInterrupted: the tables changed under the dump (NLM_F_DUMP_INTR).
	errInterrupted = errors.New("the kernel's tables changed during the dump")
)

// dump calls visit for every socket of c's namespace in one of states, and
// after each datagram between, if not nil.
func (c *conn) dump(ctx context.Context, ext uint8, states uint32,
	visit func(*diagMessage) error, between func() error,
) error {
	err := c.dumpOne(ctx, tcpDiagGetSock, appendBothRequest(nil, ext, states), visit, between)
	if !errors.Is(err, errRefused) {
		return err
	}
	// The kernel may lack the older request, or one of the families.
	var id sockID
	err = c.dumpOne(ctx, sockDiagByFamily, appendRequest(nil, afInet, ext, states, &id), visit, between)
	if err != nil {
		return err
	}
	err = c.dumpOne(ctx, sockDiagByFamily, appendRequest(nil, afInet6, ext, states, &id), visit, between)
	if errors.Is(err, errRefused) {
		return nil // ipv6.disable=1
	}
	return err
}

// dumpOne makes one request for a dump and reads the answer to its end. A
// malformed message does not stop it, but is its error.
func (c *conn) dumpOne(ctx context.Context, typ uint16, request []byte,
	visit func(*diagMessage) error, between func() error,
) error {
	if err := c.send(typ, nlDump, request); err != nil {
		return err
	}
	d := dumpReader{typ: typ, seq: c.seq, visit: visit}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := c.next()
		if err != nil {
			return err
		}
		if done, err := d.read(b); done || err != nil {
			return err
		}
		if between != nil {
			if err := between(); err != nil {
				return err
			}
		}
	}
}

// dumpReader reads the datagrams that answer one request.
type dumpReader struct {
	typ   uint16
	seq   uint32
	visit func(*diagMessage) error

	m           diagMessage
	interrupted bool
	broken      error
}

// read takes one datagram; done says that it was the last.
func (d *dumpReader) read(b []byte) (done bool, err error) {
	for len(b) > 0 {
		h, body, rest, err := cutMessage(b)
		if err != nil {
			return true, fmt.Errorf("dump: %w", err)
		}
		b = rest
		if h.seq != d.seq {
			continue
		}
		d.interrupted = d.interrupted || h.flags&nlInterrupted != 0
		switch h.typ {
		case d.typ:
			if err := d.m.parse(body); err != nil {
				d.broken = err
				continue
			}
			if err := d.visit(&d.m); err != nil {
				return true, err
			}
		case nlError, nlDone:
			return true, d.end(h.typ, body)
		case nlOverrun:
			return true, fmt.Errorf("dump: %w", unix.ENOBUFS)
		}
	}
	return false, nil
}

// end is the result of the dump.
func (d *dumpReader) end(typ uint16, body []byte) error {
	errno, err := status(typ, body)
	switch {
	case err != nil:
		return fmt.Errorf("dump: %w", err)
	case errno == unix.ENOENT, errno == unix.EINVAL, errno == unix.EOPNOTSUPP:
		return fmt.Errorf("dump: %w: %w: %w", errRefused, tcp.ErrNotSupported, errno)
	case errno != 0:
		return fmt.Errorf("dump: %w", deny(errno))
	case d.broken != nil:
		return fmt.Errorf("dump: %w", d.broken)
	case d.interrupted:
		return errInterrupted
	default:
		return nil
	}
}
