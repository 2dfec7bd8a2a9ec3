package main

import (
	"testing"
	"time"
)

func TestProgressLine(t *testing.T) {
	for _, tt := range []struct {
		done, total int64
		packets     uint64
		took        time.Duration
		width       int
		want        string
	}{
		{512 << 20, 1 << 30, 900_000, 2 * time.Second, 100, "[####################....................]  50%  512M, 900k packets, 256M/s, 2s left"},
		{512 << 20, 1 << 30, 900_000, 2 * time.Second, 64, "[#########.........]  50%  512M, 900k packets, 256M/s, 2s left"},
		{512 << 20, 1 << 30, 900_000, 2 * time.Second, 50, " 50%  512M, 900k packets, 256M/s, 2s left"},
		{512 << 20, 1 << 30, 900_000, 2 * time.Second, 20, " 50%  512M, 900k pa"},
		{1024, -1, 7, time.Second, 80, "1.00K, 7 packets, 1.00K/s"},
		{2048, 1024, 12_345_678, time.Second, 80, "2.00K, 12.3M packets, 2.00K/s"}, // it grew
		{0, 1024, 0, 0, 80, "[........................................]   0%  0, 0 packets, 0/s"},
	} {
		if got := progressLine(tt.done, tt.total, tt.packets, tt.took, tt.width); got != tt.want {
			t.Errorf("got  %q\nwant %q", got, tt.want)
		}
	}
}
