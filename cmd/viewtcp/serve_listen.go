package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// tlsConfig names the certificate of serve, PEM files.
type tlsConfig struct {
	cert, key string
}

// listening is where a daemon answers: with TLS where it has a certificate, and
// then without on a port of the loopback interface too, for the commands of this
// host, which know the daemon by its token.
type listening struct {
	main, local net.Listener // local may be main
	tls         *tls.Config  // of main; nil is none
}

// listen opens the listeners. Beyond this host nothing is answered without TLS:
// the token and the history would pass by for all to read.
func listen(ctx context.Context, cfg *serveConfig) (l *listening, err error) {
	l = new(listening)
	defer func() {
		if err != nil {
			_ = l.close()
		}
	}()
	switch {
	case cfg.tls.cert != "" && cfg.tls.key != "":
		pair := &certificate{files: cfg.tls}
		if _, err := pair.get(nil); err != nil {
			return l, err
		}
		// The protocols must be there before the server sees the first listener.
		l.tls = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, GetCertificate: pair.get}
	case cfg.tls != tlsConfig{}:
		return l, errors.New("tls.cert and tls.key belong together: one of them is missing in the configuration")
	}
	var lc net.ListenConfig
	if l.main, err = lc.Listen(ctx, "tcp", cfg.listen); err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("%w: is another viewtcp serve running? --listen gives this one another address", err)
		}
		return l, err
	}
	if l.tls == nil {
		if !isLoopback(l.main.Addr()) {
			return l, fmt.Errorf("%s can be reached from other machines, which needs TLS: set tls.cert and tls.key in the configuration, or listen on 127.0.0.1 behind a proxy or ssh -L", cfg.listen)
		}
		l.local = l.main
		return l, nil
	}
	if l.local, err = lc.Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		l.local, err = lc.Listen(ctx, "tcp", "[::1]:0")
	}
	return l, err
}

func isLoopback(a net.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	return ok && t.IP.IsLoopback()
}

// url is where browsers find the daemon.
func (l *listening) url() string {
	if l.tls == nil {
		return "http://" + l.main.Addr().String()
	}
	a, ok := l.main.Addr().(*net.TCPAddr)
	if ok && a.IP.IsUnspecified() {
		return fmt.Sprintf("https://%s:%d", hostname(), a.Port)
	}
	return "https://" + l.main.Addr().String()
}

// names are what the daemon may be called, besides what the configuration says.
func (l *listening) names() []string {
	if isLoopback(l.main.Addr()) {
		return nil
	}
	return []string{hostname()}
}

func (l *listening) close() (err error) {
	for _, ln := range [...]net.Listener{l.main, l.local} {
		if ln == nil {
			continue
		}
		if e := ln.Close(); e != nil && !errors.Is(e, net.ErrClosed) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// certificate is a pair of files that are read again when they were changed, so
// that a renewal needs no restart.
type certificate struct {
	files tlsConfig

	mu   sync.Mutex
	pair *tls.Certificate
	read time.Time // when the files had changed last
}

// get returns what the files have now. While they are wrong, as in the middle of
// a renewal, the last good pair serves on.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed, err := c.changed()
	if err == nil && c.pair != nil && changed.Equal(c.read) {
		return c.pair, nil
	}
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.LoadX509KeyPair(c.files.cert, c.files.key)
	}
	switch {
	case err == nil:
		c.pair, c.read = &pair, changed
	case c.pair == nil:
		return nil, fmt.Errorf("the certificate of tls.cert and tls.key: %w", err)
	}
	return c.pair, nil
}

// changed is when the files changed last. A key that others may read is refused.
func (c *certificate) changed() (time.Time, error) {
	cert, err := os.Stat(c.files.cert)
	if err != nil {
		return time.Time{}, err
	}
	key, err := os.Stat(c.files.key)
	if err != nil {
		return time.Time{}, err
	}
	if runtime.GOOS != "windows" && key.Mode().Perm()&0o007 != 0 {
		return time.Time{}, fmt.Errorf("%s can be read by everybody: chmod o= %s: %w", c.files.key, c.files.key, errors.Join(fs.ErrPermission, tcp.ErrPermission))
	}
	if key.ModTime().After(cert.ModTime()) {
		return key.ModTime(), nil
	}
	return cert.ModTime(), nil
}
