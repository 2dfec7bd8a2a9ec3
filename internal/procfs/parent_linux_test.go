package procfs

import (
	"errors"
	"math"
	"os"
	"testing"
)

func TestParent(t *testing.T) {
	if p, err := Parent(int32(os.Getpid())); err != nil || p != int32(os.Getppid()) {
		t.Errorf("parent %d (%v), want %d", p, err, os.Getppid())
	}
	if p, err := Parent(math.MaxInt32); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a process that cannot be has parent %d (%v)", p, err)
	}
}
