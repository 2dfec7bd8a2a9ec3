package main

import (
	"bufio"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// What events have beside the fields of their connection.
var eventKeys = []string{"event", "seq", "time", "reset_by"}

// What a gap has.
var gapKeys = []string{
	"event", "seq", "time", "source", "where", "lost_closes", "lost_bytes_sent", "lost_bytes_received",
	"lost_events", "skipped_events", "exact",
}

// TestFieldContract: every key that is printed is in the registry and in
// docs/fields.md, and what is not known is absent.
func TestFieldContract(t *testing.T) {
	doc, err := os.ReadFile("../../docs/fields.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\|").FindAllStringSubmatch(string(doc), -1) {
		documented[m[1]] = true
	}
	for _, name := range tcp.FieldNames() {
		if f := tcp.FieldByName(name); f.Name == name && !documented[name] {
			t.Errorf("%s is not in docs/fields.md", name)
		}
	}

	ns := tcptest.NewNetNS(t)
	need.Programs(t, "nft")
	sockets := tcptest.States(t, ns)
	seen := map[string]map[string]bool{} // by source
	for _, source := range sourceNames {
		seen[source] = map[string]bool{}
		for _, row := range listed(t, "--source", source, "--netns", ns.Path()) {
			checkKeys(t, row, nil)
			for key := range row {
				seen[source][key] = true
			}
			checkAbsent(t, row)
		}
	}
	// What each source promises.
	for source, want := range map[string][]string{
		"ebpf":    {"id", "cookie", "pid", "process", "rtt_us", "cwnd", "bytes_sent", "retransmits", "mss", "snd_wnd", "send_queue", "uid"},
		"netlink": {"id", "cookie", "pid", "process", "rtt_us", "cwnd", "bytes_sent", "retransmits", "mss", "snd_wnd", "send_queue", "uid"},
		"procfs":  {"id", "pid", "process", "send_queue", "recv_queue", "uid", "inode"},
	} {
		for _, key := range want {
			if !seen[source][key] {
				t.Errorf("source %s never shows %s", source, key)
			}
		}
	}
	for _, key := range []string{"cookie", "rtt_us", "bytes_sent", "retransmits", "mss"} {
		if seen["procfs"][key] {
			t.Errorf("source procfs shows %s, which it cannot know", key)
		}
	}
	if len(sockets) == 0 {
		t.Error("no sockets")
	}

	// Events, with a gap among them.
	s := storm(t, ns, tcptest.StormConfig{Connections: 2000, Modes: tcptest.CloseModes()})
	w := watching(t, nil, "--source", "ebpf", "--netns", ns.Path(), "--ring", "4KiB", "--events", "all")
	rage(t, s)
	w.until(t, "all closes", func() bool {
		n := 0
		for _, line := range w.lines {
			if strings.HasPrefix(line, `{"event":"gap"`) {
				return true
			}
			n++
		}
		return w.closes >= 4000
	})
	w.interrupt(t)
	kinds := map[string]int{}
	for _, row := range rows(t, result{stdout: strings.Join(w.lines, "\n")}) {
		kind := text(row, "event")
		kinds[kind]++
		if kind != "gap" {
			checkKeys(t, row, eventKeys)
			checkAbsent(t, row)
			continue
		}
		for key := range row {
			if !slices.Contains(gapKeys, key) {
				t.Errorf("a gap has %s", key)
			}
		}
	}
	t.Logf("events %v", kinds)
	for _, kind := range []string{"opened", "established", "closed"} {
		if kinds[kind] == 0 {
			t.Errorf("no event %s", kind)
		}
	}
	r := inProcess(t, "list", "--netns", ns.Path(), "-o", "csv")
	head, _ := bufio.NewReader(strings.NewReader(r.stdout)).ReadString('\n')
	for name := range strings.SplitSeq(strings.TrimSuffix(head, "\n"), ",") {
		if !documented[name] {
			t.Errorf("column %s of CSV is not documented", name)
		}
	}
}

// checkKeys makes sure that each key is one of the registry's, by its own name.
func checkKeys(t *testing.T, row tcptest.Row, more []string) {
	t.Helper()
	for key, value := range row {
		f := tcp.FieldByName(key)
		switch {
		case slices.Contains(more, key):
		case f == nil || f.Name != key:
			t.Errorf("key %s is no field", key)
		case value == nil:
			t.Errorf("%s is null", key)
		}
	}
	for _, key := range []string{"id", "netns", "family", "direction", "source", "state", "local_ip", "attribution", "complete"} {
		if row[key] == nil {
			t.Errorf("%s is missing: %v", key, row)
		}
	}
}

// checkAbsent makes sure that nothing is said of what has no such value.
func checkAbsent(t *testing.T, row tcptest.Row) {
	t.Helper()
	absent := map[string][]string{
		"LISTEN":    {"remote_ip", "remote_port", "rtt_us", "bytes_sent", "bytes_received", "cwnd", "send_queue", "recv_queue", "closed"},
		"TIME_WAIT": {"rtt_us", "bytes_sent", "cwnd", "pid", "process", "inode"},
		"SYN_RECV":  {"rtt_us", "bytes_sent", "cwnd", "inode"},
		"SYN_SENT":  {"closed", "handshake_us", "close_reason"},
	}[text(row, "state")]
	if text(row, "event") != "" {
		absent = nil // an event tells of a connection, whatever is left of it
	}
	for _, key := range absent {
		if v := text(row, key); v != "" {
			t.Errorf("%s has %s=%s", text(row, "state"), key, v)
		}
	}
	for _, key := range []string{"pid", "process", "exe", "cmdline", "user", "container", "unit", "cgroup", "service", "local_port"} {
		if v, ok := row[key]; ok && (v == "" || text(row, key) == "0") {
			t.Errorf("%s is %q where it should be absent: %v", key, v, row)
		}
	}
}
