package wire

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// TestRefused: a collector that closes at once is a refusal, whether the
// consumer notices while it writes, while it reads, or by a reset for what was
// never read.
func TestRefused(t *testing.T) {
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	for range 300 {
		_, err := Dial(t.Context(), func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", ln.Addr().String())
		}, "auto", "all")
		if !errors.Is(err, tcp.ErrPermission) {
			t.Fatalf("got %v", err)
		}
	}
	_ = ln.Close()
	<-done
}
