package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestWaiting checks that a long reading shows, a short one does not, and that
// nothing of it stays on the terminal.
func TestWaiting(t *testing.T) {
	for _, took := range []time.Duration{500 * time.Millisecond, 2500 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			w := &waiting{e: env{stderr: &out}, end: make(chan struct{}), ended: make(chan struct{})}
			go w.draw()
			for range 12345 {
				w.row()
			}
			time.Sleep(took)
			synctest.Wait()
			w.stop()
			w.stop()
			got := out.String()
			if took < progressAfter {
				if got != "" {
					t.Errorf("a reading of %v drew %q", took, got)
				}
				return
			}
			if !strings.Contains(got, "12k rows so far") || !strings.HasSuffix(got, "\r\x1b[K") {
				t.Errorf("a reading of %v drew %q", took, got)
			}
		})
	}
	var none *waiting
	none.row()
	none.stop()
	if w := wait(env{stderr: new(bytes.Buffer)}); w != nil {
		t.Error("progress is drawn where there is no terminal")
	}
}
