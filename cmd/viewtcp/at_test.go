package main

import (
	"strings"
	"testing"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// TestListAt travels through the day that was made by hand.
func TestListAt(t *testing.T) {
	dir := byHand(t)
	id := func(ids ...tcp.ID) string {
		var out []string
		for _, i := range ids {
			out = append(out, i.String())
		}
		return strings.Join(out, " ")
	}
	for _, tt := range []struct {
		at   string
		args []string
		want map[string]string
	}{
		// Of the pool the row of 12:04 tells, of the others only their end.
		{"2026-11-20T12:05:35Z", []string{"--sort", "opened", "--reverse"}, map[string]string{
			"id": id(4, 1, 2, 3), "bytes_sent": "1000200 - - -", "rtt_us": "3000 - - -", "state": "ESTABLISHED - - -",
			"process": "postgres nginx nginx curl", "closed": "- - - -", "close_reason": "- - - -",
			"duration_us": "3840000000 935000000 35000000 5000000",
		}},
		// An hour without rows of the pool: its last one tells.
		{"2026-11-20T12:29:00Z", nil, map[string]string{"id": id(4), "bytes_sent": "1000200", "state": "ESTABLISHED"}},
		{"2026-11-20T12:03:00Z", []string{"--sort", "opened", "--reverse"}, map[string]string{
			"id": id(4, 1), "bytes_sent": "1000000 -", "rtt_us": "1000 -",
		}},
		{"2026-11-20T12:05:30.001Z", []string{"process", "curl"}, map[string]string{"id": id(3), "state": "SYN_SENT"}},
		{"2026-11-20T12:05:35Z", []string{"process", "nginx", "--limit", "1"}, map[string]string{"process": "nginx"}},
		{"2026-11-20T12:05:35Z", []string{"bytes_sent", ">", "1"}, map[string]string{"id": id(4)}},
		{"2026-11-20T10:00:00Z", nil, map[string]string{"id": ""}},
	} {
		r := inProcess(t, append([]string{"list", "--data", dir, "--at", tt.at, "-o", "jsonl"}, tt.args...)...)
		rows := objects(t, r)
		for name, want := range tt.want {
			if got := column(rows, name); got != want {
				t.Errorf("at %s %q: %s is %q, want %q", tt.at, tt.args, name, got, want)
			}
		}
	}
}

func TestListAtSays(t *testing.T) {
	dir := byHand(t)
	for _, tt := range []struct{ at, want string }{
		{"2026-11-20T12:05:35Z", "of 3 of them only a later row tells"},
		{"2026-11-20T12:05:35Z", "the oldest 1m35s before"},
		{"2026-11-20T12:14:00Z", "a gap: nobody was watching"},
		{"2026-11-20T10:00:00Z", "nothing is stored"},
	} {
		r := inProcess(t, "list", "--data", dir, "--at", tt.at)
		if r.code != exitOK || !strings.Contains(r.stderr, tt.want) {
			t.Errorf("at %s: %v, want %q", tt.at, r, tt.want)
		}
	}
	for at, want := range map[string]string{
		"yesterday": "yesterday 14:00", "soon": "is not a time", "2099-01-01 12:00": "still to come",
	} {
		r := inProcess(t, "list", "--data", dir, "--at", at)
		if r.code != exitUsage || !strings.Contains(r.stderr, want) {
			t.Errorf("at %s: %v, want %q", at, r, want)
		}
	}
	r := inProcess(t, "list", "--data", dir, "--at", "2026-11-20T12:14:00Z", "--fail-empty", "process", "nobody")
	if r.code != exitEmpty {
		t.Errorf("nothing then: %v", r)
	}
}
