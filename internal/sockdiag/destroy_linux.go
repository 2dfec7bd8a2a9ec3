package sockdiag

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// reuseportTries bounds the attempts to hit one listener of several that share
// a port: the kernel picks one by a hash of the other end, which is ours to
// choose.
const reuseportTries = 256

// Destroy closes a socket as if its connection had been reset: the local
// process gets ECONNABORTED, the peer a RST. The cookie makes sure that no
// other socket is hit that has the same ends by now.
//
// The error wraps tcp.ErrPermission without CAP_NET_ADMIN (or, for another
// namespace, CAP_SYS_ADMIN), tcp.ErrNotSupported where the kernel cannot
// (CONFIG_INET_DIAG_DESTROY), and os.ErrNotExist where the socket is gone.
func Destroy(ns netns.Namespace, key tcp.Key, cookie uint64) error {
	if cookie == 0 || cookie == noCookie {
		return fmt.Errorf("closing a socket needs its cookie: %w", tcp.ErrNotSupported)
	}
	in := newReceiver(1, dumpBuffer)
	c, err := dial(ns, unix.NETLINK_SOCK_DIAG, in)
	if err != nil {
		return fmt.Errorf("closing a socket: %w", err)
	}
	defer func() { _ = c.close() }()
	family, id := makeSockID(key.Tuple, cookie)
	err = c.destroy(family, &id)
	if isGone(err) {
		// It may be bound to an interface, which the lookup wants to know, or
		// share its port.
		err = c.destroyByCookie(cookie, err)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, tcp.ErrPermission):
		return fmt.Errorf("closing a socket needs CAP_NET_ADMIN: %w", err)
	case errors.Is(err, tcp.ErrNotSupported):
		return fmt.Errorf("closing a socket needs a kernel with CONFIG_INET_DIAG_DESTROY: %w", err)
	case isGone(err):
		return fmt.Errorf("closing a socket: %w: %w", os.ErrNotExist, err)
	default:
		return fmt.Errorf("closing a socket: %w", err)
	}
}

// isGone says that no socket has these ends, or that the one found has another
// cookie.
func isGone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESTALE)
}

func (c *conn) destroy(family uint8, id *sockID) error {
	body := appendRequest(nil, family, 0, allStates, id)
	return c.call(sockDestroy, nlAck, body, func([]byte) error { return nil })
}

func (c *conn) destroyListener(family uint8, id sockID) (err error) {
	for port := range uint16(reuseportTries) {
		id[2], id[3] = byte(port>>8), byte(port)
		if err = c.destroy(family, &id); !isGone(err) {
			return err
		}
	}
	return err
}

// destroyByCookie looks for the socket and closes it by the identity that the
// kernel itself gives it. Where it is not there it returns why it was looked
// for.
func (c *conn) destroyByCookie(cookie uint64, why error) error {
	var (
		family uint8
		id     sockID
	)
	err := c.dump(context.Background(), 0, allStates, func(m *diagMessage) error {
		if m.id.cookie() == cookie {
			family, id = m.family, *m.id
		}
		return nil
	}, nil)
	if family == 0 {
		if err != nil && !errors.Is(err, errInterrupted) {
			return err
		}
		return why
	}
	err = c.destroy(family, &id)
	if isGone(err) && id[2] == 0 && id[3] == 0 {
		err = c.destroyListener(family, id)
	}
	return err
}
