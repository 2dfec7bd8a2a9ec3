package filter

import (
	"math"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for s, want := range map[string]uint64{
		"0": 0, "1us": 1, "5µs": 5, "5μs": 5, "1000ns": 1, "1ms": 1000, "1.5ms": 1500, "0.001ms": 1,
		"1s": 1e6, "2m": 120e6, "2min": 120e6, "1h": 3600e6, "1d": 86400e6, "1w": 604800e6,
		"1h30m": 5400e6, "1m0.5s": 60.5e6, "100usec": 100,
	} {
		if got, msg := parseDuration(s); got != want || msg != "" {
			t.Errorf("%s is %d, %q; want %d", s, got, msg, want)
		}
	}
	for _, s := range []string{"", "1", "ms", "1.ms", "-1ms", "1xs", "1ms ", "1h1", "0.5us", "1e3ms", "99999999999999999999s", "9999999999999d", "1M", "1.2.3s"} {
		if got, msg := parseDuration(s); msg == "" {
			t.Errorf("%q is %d", s, got)
		}
	}
}

func TestParseBytes(t *testing.T) {
	for _, tt := range []struct {
		s    string
		rate bool
		want uint64
	}{
		{"0", false, 0},
		{"1500", false, 1500},
		{"1500B", false, 1500},
		{"1b", false, 1},
		{"1K", false, 1000},
		{"1kB", false, 1000},
		{"1KB", false, 1000},
		{"1kb", false, 1000},
		{"1KiB", false, 1024},
		{"1Ki", false, 1024},
		{"1.5MB", false, 1_500_000},
		{"2MiB", false, 2 << 20},
		{"3GB", false, 3e9},
		{"1GiB", false, 1 << 30},
		{"1TiB", false, 1 << 40},
		{"8bit", false, 1},
		{"8Kbit", false, 1000},
		{"0.3", false, 0},
		{"0.5", false, 1},
		{"18446744073709551615", false, math.MaxUint64},
		{"10MB/s", true, 10e6},
		{"10MBps", true, 10e6},
		{"10MB", true, 10e6},
		{"100Mbit/s", true, 12_500_000},
		{"100Mbps", true, 12_500_000},
		{"1Gbit", true, 125e6},
		{"1KiB/s", true, 1024},
		{"8bps", true, 1},
		{"100/s", true, 100},
	} {
		if got, msg := parseBytes(tt.s, tt.rate); got != tt.want || msg != "" {
			t.Errorf("%s is %d, %q; want %d", tt.s, got, msg, tt.want)
		}
	}
	for _, tt := range []struct {
		s    string
		rate bool
	}{
		{"", false},
		{"x", false},
		{"1Mb", false},
		{"1Mb/s", true},
		{"1MB/s", false},
		{"1Q", false},
		{"1KiBB", false},
		{"18446744073709551616", false},
		{"20000000TB", false},
		{"1xps", true},
		{"1ps", true},
		{"-1", false},
	} {
		if got, msg := parseBytes(tt.s, tt.rate); msg == "" {
			t.Errorf("%q is %d", tt.s, got)
		}
	}
}

func TestParseCount(t *testing.T) {
	for s, want := range map[string]uint64{
		"0": 0, "42": 42, "0x1F": 31, "1k": 1000, "2M": 2e6, "1.5K": 1500, "18446744073709551615": math.MaxUint64,
		"0xffffffffffffffff": math.MaxUint64,
	} {
		if got, msg := parseCount(s); got != want || msg != "" {
			t.Errorf("%s is %d, %q; want %d", s, got, msg, want)
		}
	}
	for _, s := range []string{"", "x", "0x", "0xg", "1.5", "-1", "1ms", "0x10000000000000000", "18446744073709551616"} {
		if got, msg := parseCount(s); msg == "" {
			t.Errorf("%q is %d", s, got)
		}
	}
}

func TestParseTime(t *testing.T) {
	ns := func(s string) uint64 {
		at, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return uint64(at.UnixNano())
	}
	for _, tt := range []struct{ s, lo, hi string }{
		{"now", "2026-07-31T10:00:00Z", ""},
		{"now-90s", "2026-07-31T09:58:30Z", ""},
		{"NOW+1h30m", "2026-07-31T11:30:00Z", ""},
		{"2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z", ""},
		{"2026-01-02t03:04:05.123456789z", "2026-01-02T03:04:05.123456789Z", ""},
		{"2026-01-02T03:04:05+01:00", "2026-01-02T02:04:05Z", ""},
		{"2026-01-02T03:04:05", "2026-01-02T01:04:05Z", ""},
		{"2026-01-02 03:04", "2026-01-02T01:04:00Z", ""},
		{"2026-01-02", "2026-01-01T22:00:00Z", "2026-01-02T21:59:59.999999999Z"},
		{"today", "2026-07-30T22:00:00Z", "2026-07-31T21:59:59.999999999Z"},
		{"Yesterday", "2026-07-29T22:00:00Z", "2026-07-30T21:59:59.999999999Z"},
	} {
		lo, hi, msg := parseTime(tt.s, now)
		if tt.hi == "" {
			tt.hi = tt.lo
		}
		if msg != "" || lo != ns(tt.lo) || hi != ns(tt.hi) {
			t.Errorf("%s is %d to %d, %q; want %s to %s", tt.s, lo, hi, msg, tt.lo, tt.hi)
		}
	}
	for _, s := range []string{"", "now-", "now-5", "now*5s", "nowhere", "1969-12-31", "2500-01-01", "12:00", "2026-13-01", "now-1000000d", "now+500000d"} {
		if lo, _, msg := parseTime(s, now); msg == "" {
			t.Errorf("%q is %d", s, lo)
		}
	}
}

func TestParseSize(t *testing.T) {
	if got, err := ParseSize("1.5MiB"); got != 1536<<10 || err != nil {
		t.Errorf("got %d, %v", got, err)
	}
	if got, err := ParseSize("lots"); err == nil {
		t.Errorf("got %d", got)
	}
}

func TestParseMoment(t *testing.T) {
	now := time.Date(2026, 7, 31, 12, 0, 0, 0, time.UTC)
	day := time.Date(2026, 7, 31, 0, 0, 0, 0, time.UTC).UnixNano()
	for text, want := range map[string][2]int64{
		"now-10m":              {now.Add(-10 * time.Minute).UnixNano(), now.Add(-10 * time.Minute).UnixNano()},
		"2026-07-31":           {day, day + 24*3600e9 - 1},
		"2026-07-31T00:00:01Z": {day + 1e9, day + 1e9},
	} {
		lo, hi, msg := parseTime(text, now)
		if from, to := int64(lo), int64(hi); msg != "" || from != want[0] || to != want[1] {
			t.Errorf("%q: %d to %d, %q; want %v", text, from, to, msg, want)
		}
	}
	if _, _, msg := parseTime("soon", now); msg == "" {
		t.Error("soon is a time")
	}
}
