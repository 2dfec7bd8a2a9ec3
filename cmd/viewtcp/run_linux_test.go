package main

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// actor returns the command line of an act for run: a copy of this program that
// every user may start.
func actor(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(built.dir, "actor")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	b, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(path, b, 0o755) //nolint:gosec // see above
	}
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

// stage is a place for run tests: a namespace, a server, and where actors leave
// their marks.
type stage struct {
	ns   *tcptest.NetNS
	to   string
	mark string
}

func newStage(tb testing.TB) *stage {
	tb.Helper()
	ns := tcptest.NewNetNS(tb)
	_, at := serve(tb, ns, tcptest.ServerConfig{})
	dir, err := os.MkdirTemp("", "viewtcp-run-") //nolint:usetesting // TempDir is closed to other users
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil { //nolint:gosec // other users play here
		tb.Fatal(err)
	}
	return &stage{ns: ns, to: at.Addr.String(), mark: filepath.Join(dir, "mark")}
}

// run runs viewtcp run with an act inside the namespace.
func (s *stage) run(tb testing.TB, act string, hows []how, args ...string) (r result) {
	tb.Helper()
	inside(tb, s.ns, func() {
		hows := append([]how{s.env(act)}, hows...)
		r = viewtcpWith(tb, hows, append(append([]string{"run", "--netns", "self"}, args...), "--", actor(tb))...)
	})
	_ = os.Remove(s.mark)
	return r
}

func (s *stage) env(act string) how {
	return withEnv(actVariable+"="+act+" "+s.to, markVariable+"="+s.mark)
}

// groupsLeft lists the control groups that run made and left.
func groupsLeft(tb testing.TB) []string {
	tb.Helper()
	own, err := unifiedGroup()
	if err != nil {
		return nil
	}
	left, err := filepath.Glob(filepath.Join(own, "viewtcp-run-*"))
	if err != nil {
		tb.Fatal(err)
	}
	return left
}

// TestRunTree: the connections of a command, of its child, and of a grandchild
// that has lost its parent, and none of others.
func TestRunTree(t *testing.T) {
	s := newStage(t)
	_, err := unifiedGroup()
	need.That(t, err == nil, "a unified control group hierarchy")
	_, _ = connectTo(t, s.ns, tcptest.ClientConfig{To: mustAddrPort(t, s.to), Count: 2, Send: 10, Name: "stranger"})
	want := map[string]int{"5": 2, "7": 1} // tree, once and late; middle
	for _, format := range []string{"jsonl", "json", "csv"} {
		t.Run(format, func(t *testing.T) {
			r := s.run(t, "tree", nil, "-o", format)
			if r.code != actCode || len(r.warnings()) > 0 {
				t.Fatalf("%v", r)
			}
			got := parseReport(t, format, r.stdout)
			sizes := map[string]int{}
			pids := map[string]bool{}
			for _, row := range got {
				sizes[text(row, "bytes_sent")]++
				pids[text(row, "pid")] = true
				if text(row, "direction") != "outbound" || text(row, "state") != "CLOSED" || text(row, "close_reason") != "fin" ||
					text(row, "bytes_sent") != text(row, "bytes_received") || text(row, "remote_port") != s.to[strings.LastIndexByte(s.to, ':')+1:] {
					t.Errorf("row %v", row)
				}
			}
			if len(got) != 4 || sizes["5"] != 3 || sizes["7"] != 1 || len(pids) != 4 {
				t.Errorf("%d connections of %d processes with sizes %v, want %v and one more of 5", len(got), len(pids), sizes, want)
			}
		})
	}
	t.Run("table", func(t *testing.T) {
		r := s.run(t, "tree", nil)
		lines := strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
		if r.code != actCode || len(lines) != 6 || !strings.HasPrefix(lines[0], "PROCESS") ||
			lines[5] != "4 connections, 0 failed to connect or timed out, 22 sent, 22 received, 0 retransmits" {
			t.Errorf("%v", r)
		}
	})
	t.Run("report", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "report")
		r := s.run(t, "once", nil, "--report", path, "-o", "jsonl", "--columns", "bytes_sent")
		b, err := os.ReadFile(path)
		if err != nil || r.code != actCode || r.stdout != "" || string(b) != `{"bytes_sent":5}`+"\n" {
			t.Errorf("%v: %q, %v", r, b, err)
		}
	})
	t.Run("filter", func(t *testing.T) {
		r := s.run(t, "tree", nil, "-o", "jsonl", "--columns", "bytes_sent", "--filter", "bytes_sent == 7B")
		if r.code != actCode || r.stdout != `{"bytes_sent":7}`+"\n" {
			t.Errorf("%v", r)
		}
	})
	if left := groupsLeft(t); len(left) > 0 {
		t.Errorf("control groups left: %v", left)
	}
}

func parseReport(tb testing.TB, format, out string) []tcptest.Row {
	tb.Helper()
	var got []tcptest.Row
	switch format {
	case "jsonl":
		return rows(tb, result{stdout: out})
	case "json":
		dec := json.NewDecoder(strings.NewReader(out))
		dec.UseNumber()
		if err := dec.Decode(&got); err != nil {
			tb.Fatalf("%v: %s", err, out)
		}
	case "csv":
		lines, err := csv.NewReader(strings.NewReader(out)).ReadAll()
		if err != nil || len(lines) == 0 {
			tb.Fatalf("%v: %s", err, out)
		}
		for _, line := range lines[1:] {
			row := tcptest.Row{}
			for i, v := range line {
				if v != "" {
					row[lines[0][i]] = v
				}
			}
			got = append(got, row)
		}
	}
	return got
}

// TestRunByParents: where no control group can be made, the command's own
// connections and its children's are found, if the processes live for as long as
// it takes to look at them.
func TestRunByParents(t *testing.T) {
	t.Run("as another user", func(t *testing.T) {
		t.Parallel()
		s := newStage(t)
		r := s.run(t, "tree", []how{as(nobody), withEnv(holdVariable + "=2s")}, "-o", "jsonl")
		got := rows(t, result{stdout: r.stdout})
		if r.code != actCode || len(r.warnings()) != 1 || !strings.Contains(r.stderr, "partial view") {
			t.Fatalf("%v", r)
		}
		if len(got) < 3 {
			t.Errorf("%d connections, want those of the command and its two children at least: %v", len(got), r)
		}
	})
	t.Run("without the hierarchy", func(t *testing.T) {
		t.Parallel()
		s := newStage(t)
		need.Programs(t, "unshare", "umount")
		var r result
		inside(t, s.ns, func() {
			r = viewtcpWith(t, []how{s.env("tree"), withEnv(holdVariable + "=2s"), wrapped(
				"unshare", "--mount", "sh", "-c",
				`while read -r _ at type _; do case $type in cgroup2) umount "$at" || exit 9 ;; esac; done </proc/mounts; exec "$@"`, "sh",
			)}, "run", "--netns", "self", "-o", "jsonl", "--", actor(t))
		})
		_ = os.Remove(s.mark)
		need.That(t, r.code != 9, "the right to unmount the hierarchy in a mount namespace of its own")
		got := rows(t, result{stdout: r.stdout})
		if r.code != actCode || len(got) < 3 {
			t.Errorf("%d connections: %v", len(got), r)
		}
	})
}

// TestRunSignals: signals reach the command, whose end is the exit code, and the
// report comes all the same.
func TestRunSignals(t *testing.T) {
	s := newStage(t)
	for sig, code := range map[syscall.Signal]int{syscall.SIGTERM: 143, syscall.SIGINT: 130, syscall.SIGHUP: 129} {
		t.Run(sig.String(), func(t *testing.T) {
			var p *program
			inside(t, s.ns, func() {
				p = start(t, []how{s.env("wait")}, "run", "--netns", "self", "-o", "jsonl", "--columns", "bytes_sent,close_reason", "--", actor(t))
			})
			p.until(t, "that the command waits", func() bool { return len(p.lines) > 0 && p.lines[0] == "waiting" })
			p.signal(t, sig)
			r := p.wait(t)
			if r.code != code || !strings.Contains(r.stdout, `"bytes_sent":5`) {
				t.Errorf("%v", r)
			}
		})
	}
	if left := groupsLeft(t); len(left) > 0 {
		t.Errorf("control groups left: %v", left)
	}
}

// TestRunOrphan: a process that outlives the command does not keep its control
// group.
func TestRunOrphan(t *testing.T) {
	s := newStage(t)
	begin := time.Now()
	r := s.run(t, "orphan", nil, "-o", "json")
	if r.code != actCode || r.stdout != "[]\n" || r.stderr != "" {
		t.Errorf("%v", r)
	}
	if left := groupsLeft(t); len(left) > 0 {
		t.Errorf("control groups left: %v after %v", left, time.Since(begin))
	}
}

// TestRunCodes: what is wrong before the command runs.
func TestRunCodes(t *testing.T) {
	need.Root(t)
	for _, tt := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"run"}, exitUsage, "a command is missing"},
		{[]string{"run", "--bogus", "--", "true"}, exitUsage, "unknown flag"},
		{[]string{"run", "--", "no-such-program-here"}, exitFailure, "no-such-program-here"},
		{[]string{"run", "--", "/proc/self/status"}, exitPermission, "permission denied"},
		{[]string{"run", "--report", "/no/such/dir/x", "--", "true"}, exitFailure, "/no/such/dir/x"},
		{[]string{"run", "--", "true"}, exitOK, ""},
		{[]string{"run", "--fail-empty", "--", "true"}, exitEmpty, ""},
		{[]string{"run", "--", "sh", "-c", "exit 42"}, 42, ""},
		{[]string{"run", "--", "sh", "-c", "kill -KILL $$"}, 137, ""},
	} {
		r := viewtcp(t, tt.args...)
		if r.code != tt.code || !strings.Contains(r.stderr, tt.text) || (tt.text == "" && r.stderr != "") {
			t.Errorf("%q: want code %d and %q: %v", tt.args, tt.code, tt.text, r)
		}
	}
	if left := groupsLeft(t); len(left) > 0 {
		t.Errorf("control groups left: %v", left)
	}
}

// TestMembersKeepTheirOwn: of the events of a whole host, only the command's are
// kept.
func TestMembersKeepTheirOwn(t *testing.T) {
	f, err := filter.Parse("")
	if err != nil {
		t.Fatal(err)
	}
	m := newMembers(f)
	m.pids[100] = true
	m.group.id = 5
	conn := func(id tcp.ID, group uint64, pid, parent int32) *tcp.Event {
		p := &tcp.Process{ProcessID: tcp.ProcessID{PID: pid, Start: 1}, Parent: parent}
		return &tcp.Event{Type: tcp.EventClosed, Conn: &tcp.Conn{ID: id, CgroupID: group, Process: p}}
	}
	for i := range 1000 {
		m.event(conn(tcp.ID(1000+i), 6, 100, 1)) // the cgroup decides
		m.event(conn(tcp.ID(5000+i), 0, int32(1<<22+i), 1))
	}
	m.event(conn(1, 5, 7, 1))
	m.event(conn(2, 0, 100, 1))
	m.event(conn(3, 0, 101, 100))
	m.event(conn(4, 0, 102, 101))
	if len(m.conns) != 4 {
		t.Errorf("%d connections are kept, want 4", len(m.conns))
	}
	if m.event(&tcp.Event{Type: tcp.EventGap, Gap: &tcp.Gap{}}); !m.gap {
		t.Error("a gap is forgotten")
	}
}
