package main

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// TestWithoutRights: a user without any gets a list that is right as far as it
// goes, and one line that says what is hidden and how to get it.
func TestWithoutRights(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	_, at := serve(t, ns, tcptest.ServerConfig{Plain: true})
	client := tcptest.Start(t, "client", tcptest.ClientConfig{To: at.Addr, Count: 4, Send: 1000},
		tcptest.InNetNS(ns), tcptest.AsUser(nobody))
	var own tcptest.Ledger
	if err := client.Recv(&own); err != nil {
		t.Fatal(err)
	}
	all := listed(t, "--netns", ns.Path())
	if len(all) != 9 {
		t.Fatalf("%d sockets, want a listener and 8 ends: %v", len(all), all)
	}
	for _, source := range []string{"auto", "netlink", "procfs"} {
		t.Run(source, func(t *testing.T) {
			var r result
			inside(t, ns, func() {
				r = viewtcpWith(t, []how{as(nobody)}, "list", "-o", "jsonl", "--source", source, "--sort", "local_port")
			})
			w := r.warnings()
			if len(w) != 1 || !strings.HasPrefix(w[0], "viewtcp: partial view: ") {
				t.Fatalf("want one warning: %v", r)
			}
			for _, part := range []string{"processes may not be read", "CAP_SYS_PTRACE", "namespaces", "CAP_SYS_ADMIN", "viewtcp doctor"} {
				if !strings.Contains(w[0], part) {
					t.Errorf("the warning does not speak of %q: %s", part, w[0])
				}
			}
			got := rows(t, r)
			sameSockets(t, all, got, source != "procfs")
			pids := 0
			for _, row := range got {
				if text(row, "pid") != "" {
					pids++
				}
			}
			ownersAgree(t, got, own)
			if pids != len(own) {
				t.Errorf("%d sockets have a process, want the own %d", pids, len(own))
			}
		})
	}
	t.Run("ebpf", func(t *testing.T) {
		r := viewtcpWith(t, []how{as(nobody)}, "list", "--source", "ebpf")
		if r.code == exitOK || !strings.HasPrefix(r.stderr, "viewtcp: source ebpf: ") || len(r.warnings()) != 1 || r.stdout != "" {
			t.Errorf("a source that was asked for by name has no substitute: %v", r)
		}
	})
	t.Run("somebody else's home", func(t *testing.T) {
		dir, err := os.MkdirTemp("", "viewtcp-home-") //nolint:usetesting // must be closed to other users
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		r := viewtcpWith(t, []how{as(nobody), withEnv("XDG_CONFIG_HOME="+dir, "HOME="+dir)}, "list", "--netns", "self")
		if r.code != exitOK {
			t.Errorf("%v", r)
		}
	})
	t.Run("watch", func(t *testing.T) {
		var w *program
		inside(t, ns, func() { w = watching(t, []how{as(nobody)}) })
		if err := client.Call(tcptest.Op{Op: "close"}, nil); err != nil {
			t.Fatal(err)
		}
		w.until(t, "the closes", func() bool { return w.closes == 8 })
		if r := w.interrupt(t); r.code != exitInterrupted || strings.Count(r.stderr, "partial view") != 1 {
			t.Errorf("%v", r)
		}
	})
}

// sameSockets makes sure that two lists show the same sockets; by id too, where
// both sources know cookies.
func sameSockets(tb testing.TB, want, got []tcptest.Row, ids bool) {
	tb.Helper()
	names := func(rows []tcptest.Row) []string {
		var keys []string
		for _, row := range rows {
			local, remote := row.Ends()
			key := text(row, "state") + " " + local.String() + " " + remote.String()
			if ids {
				key += " " + text(row, "id") + " " + text(row, "bytes_sent") + " " + text(row, "bytes_received")
			}
			keys = append(keys, key)
		}
		slices.Sort(keys)
		return keys
	}
	if w, g := names(want), names(got); !slices.Equal(w, g) {
		tb.Errorf("got %q\nwant %q", g, w)
	}
}

// TestCapabilities drops one capability after the other: each costs what it
// must, and no more.
func TestCapabilities(t *testing.T) {
	need.Root(t)
	all := map[string]uintptr{
		"bpf": unix.CAP_BPF, "perfmon": unix.CAP_PERFMON, "sys_admin": unix.CAP_SYS_ADMIN,
		"sys_ptrace": unix.CAP_SYS_PTRACE, "dac_read_search": unix.CAP_DAC_READ_SEARCH, "net_admin": unix.CAP_NET_ADMIN,
	}
	for name, c := range all {
		v, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
		need.That(t, err == nil && v == 1, "CAP_"+strings.ToUpper(name))
	}
	ns := tcptest.NewNetNS(t)
	_, at := serve(t, ns, tcptest.ServerConfig{Plain: true})
	_, ledger := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 3, Send: 10})
	want := listed(t, "--netns", ns.Path())
	for _, tt := range []struct {
		drop    []string
		source  string
		warning string
		// entered says that other namespaces can still be.
		entered, owners bool
	}{
		{nil, "ebpf", "", true, true},
		{[]string{"net_admin"}, "ebpf", "", true, true},
		{[]string{"sys_ptrace"}, "ebpf", "", true, true},
		{[]string{"sys_ptrace", "dac_read_search"}, "ebpf", "", true, true},
		{[]string{"sys_admin"}, "ebpf", "CAP_SYS_ADMIN", false, true},
		{[]string{"sys_admin", "bpf"}, "netlink", "CAP_BPF", false, true},
		{[]string{"sys_admin", "perfmon"}, "netlink", "CAP_PERFMON", false, true},
		{[]string{"sys_admin", "bpf", "sys_ptrace"}, "netlink", "CAP_SYS_PTRACE", false, false},
	} {
		t.Run("without "+strings.Join(tt.drop, " "), func(t *testing.T) {
			keep := maps.Clone(all)
			for _, name := range tt.drop {
				delete(keep, name)
			}
			hows := []how{as(nobody, slices.Collect(maps.Values(keep))...)}
			var r result
			inside(t, ns, func() { r = viewtcpWith(t, hows, "list", "-o", "jsonl", "netns", "=", strconv.Itoa(int(ns.Inode()))) })
			got := rows(t, r)
			sameSockets(t, want, got, true)
			for _, row := range got {
				if text(row, "source") != tt.source {
					t.Fatalf("source %s, want %s: %v", text(row, "source"), tt.source, r.stderr)
				}
			}
			if tt.owners {
				ownersAgree(t, got, ledger)
			}
			w := r.warnings()
			if tt.warning == "" && len(w) > 0 || tt.warning != "" && (len(w) != 1 || !strings.Contains(w[0], tt.warning)) {
				t.Errorf("warnings %q, want %q", w, tt.warning)
			}
			if !tt.entered {
				return
			}
			r = viewtcpWith(t, hows, "list", "-o", "jsonl", "netns", "=", strconv.Itoa(int(ns.Inode())))
			if n := len(rows(t, r)); n != len(want) {
				t.Errorf("from outside, %d sockets of %d: %v", n, len(want), r)
			}
		})
	}
}

// TestDoctor: each feature is an object, and what is missing has a reason and a
// remedy.
func TestDoctor(t *testing.T) {
	type feature struct {
		Feature   *string `json:"feature"`
		Available *bool   `json:"available"`
		Reason    string  `json:"reason"`
		Remedy    string  `json:"remedy"`
	}
	parse := func(t *testing.T, r result) map[string]feature {
		t.Helper()
		dec := json.NewDecoder(strings.NewReader(r.stdout))
		dec.DisallowUnknownFields()
		var fs []feature
		if err := dec.Decode(&fs); err != nil || r.code != exitOK || r.stderr != "" {
			t.Fatalf("%v: %v", err, r)
		}
		m := map[string]feature{}
		for _, f := range fs {
			if f.Feature == nil || f.Available == nil {
				t.Fatalf("an object without feature or available: %v", r.stdout)
			}
			if _, twice := m[*f.Feature]; twice {
				t.Errorf("%s twice", *f.Feature)
			}
			if !*f.Available && (f.Reason == "" || f.Remedy == "") {
				t.Errorf("%s is missing without a reason or a remedy: %+v", *f.Feature, f)
			}
			m[*f.Feature] = f
		}
		return m
	}
	check := func(t *testing.T, fs map[string]feature, want map[string]bool) {
		t.Helper()
		for name, available := range want {
			if f, ok := fs[name]; !ok || *f.Available != available {
				t.Errorf("%s: available should be %v: %+v", name, available, f)
			}
		}
	}
	t.Run("root", func(t *testing.T) {
		need.Root(t)
		fs := parse(t, viewtcp(t, "doctor", "-o", "json"))
		check(t, fs, map[string]bool{"ebpf": true, "netlink": true, "procfs": true})
		if len(fs) < 10 {
			t.Errorf("only %d features", len(fs))
		}
	})
	t.Run("nobody", func(t *testing.T) {
		need.Root(t)
		hows := []how{as(nobody)}
		fs := parse(t, viewtcpWith(t, hows, "doctor", "-o", "json"))
		check(t, fs, map[string]bool{"ebpf": false, "netlink": true, "procfs": true, "host.network_namespaces": false})
		if !strings.Contains(fs["ebpf"].Remedy, "root") || !strings.Contains(fs["ebpf"].Remedy, "CAP_BPF") {
			t.Errorf("how to get eBPF: %+v", fs["ebpf"])
		}
		if r := viewtcpWith(t, hows, "doctor"); r.code != exitOK || !strings.Contains(r.stdout, "no   ebpf") || !strings.Contains(r.stdout, "→ run as root") {
			t.Errorf("%v", r)
		}
		r := viewtcpWith(t, hows, "doctor", "-o", "jsonl")
		if n := strings.Count(r.stdout, "\n"); n != len(fs) {
			t.Errorf("%d lines of jsonl for %d features", n, len(fs))
		}
	})
	t.Run("one source", func(t *testing.T) {
		fs := parse(t, inProcess(t, "doctor", "-o", "json", "--source", "procfs"))
		if _, ok := fs["netlink"]; ok || fs["procfs"].Available == nil {
			t.Errorf("%v", fs)
		}
	})
	t.Run("wrong format", func(t *testing.T) {
		if r := inProcess(t, "doctor", "-o", "csv"); r.code != exitUsage {
			t.Errorf("%v", r)
		}
	})
}
