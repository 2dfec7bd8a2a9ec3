package host

import (
	"errors"
	"regexp"
	"runtime"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

func TestNow(t *testing.T) {
	before := time.Now().UnixNano()
	first := Now()
	for range 1000 {
		next := Now()
		if next.Boot < first.Boot {
			t.Fatalf("the boot clock went back from %d to %d", first.Boot, next.Boot)
		}
		first = next
	}
	after := time.Now().UnixNano()
	// Wall time may be set meanwhile, but hardly by an hour.
	const hour = int64(time.Hour)
	if first.Wall < before-hour || first.Wall > after+hour {
		t.Errorf("wall time %d, between %d and %d", first.Wall, before, after)
	}
	if first.Boot <= 0 || first.IsZero() {
		t.Errorf("boot time %d", first.Boot)
	}
}

func TestBootID(t *testing.T) {
	id, err := BootID()
	if runtime.GOOS != "linux" {
		if !errors.Is(err, tcp.ErrNotSupported) {
			t.Errorf("got %q, %v", id, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(id) {
		t.Errorf("boot id %q", id)
	}
	if again, err := BootID(); err != nil || again != id {
		t.Errorf("then %q, %v", again, err)
	}
}

func BenchmarkNow(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Now()
	}
}
