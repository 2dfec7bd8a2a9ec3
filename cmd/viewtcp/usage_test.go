package main

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// TestMistakes: each wrong command line gives exit code 2 and a message that
// helps, on stderr alone.
func TestMistakes(t *testing.T) {
	for _, tt := range []struct {
		args string // separated by blanks; "␣" is one inside an argument
		want string
	}{
		{"list --bogus", "unknown flag: --bogus"},
		{"list -Z", "unknown shorthand flag: 'Z'"},
		{"list --limit x", `invalid argument "x" for "--limit" flag`},
		{"list --limit -1", "--limit -1: it cannot be negative"},
		{"list -o xml", "-o xml: the formats are table, wide, json, jsonl, csv"},
		{"list --color blue", "--color blue: it is auto, always or never"},
		{"list --source kernel", "--source kernel: the sources are auto, ebpf, netlink and procfs"},
		{"list --columns pdi", `--columns: there is no field "pdi": did you mean pid?`},
		{"list --columns pid,locl", `there is no field "locl": did you mean local?`},
		{"list -o json --columns rtt_u", "did you mean rtt_us?"},
		{"list -o csv --columns +zzzzzzzzz", ""}, // see below
		{"list --sort proc_ess", "--sort proc_ess: there is no such field: did you mean process?"},
		{"list --sort qqqqqqqqqqqqqqq", "docs/fields.md lists all"},
		{"list --filter pid=1 pid = 2", "the filter is given twice"},
		{"list state foo", "\"foo\" is not a state\n  state foo\n        ^~~\n"},
		{"list dport = :x", "  dport = :x\n          ^"},
		{"list pid = and", "\n  pid = and\n"},
		{"list ( pid = 1", "\n  ( pid = 1\n"},
		{"list rtt > 5", "unit"},
		{"list proc_ess = curl", "process"},
		{"watch state foo", "is not a state"},
		{"watch -o json", "use -o jsonl"},
		{"watch --events opend", `there is no event "opend": did you mean opened?`},
		{"watch --for soon", `invalid argument "soon"`},
		{"watch --for -1s", "cannot be negative"},
		{"watch --count -1", "cannot be negative"},
		{"watch --ring 5000", "--ring 5000: it is a power of two between 4KiB and 1GiB"},
		{"watch --ring many", "--ring many"},
		{"watch --sort pid", "unknown flag: --sort"},
		{"close", "a filter or id is needed"},
		{"close --yes", "a filter or id is needed"},
		{"close --yes state foo", "is not a state"},
		{"run", "a command is missing"},
		{"run --", "a command is missing"},
		{"doctor -o csv", "-o csv: doctor prints table, json or jsonl"},
		{"doctor now", `unknown command or argument "now"`},
		{"version -o xml", "-o xml: version prints table or json"},
		{"collector", "--socket PATH is missing"},
		{"collector --socket x --allow-uid me", `invalid argument "me"`},
		{"analyze", "a file is missing"},
		{"analyze - --wireshark 3", "--wireshark 3: the versions are 4.4 and 4.0"},
		{"analyze - --anonymize", "-w FILE"},
		{"analyze - --headers-only", "-w FILE"},
		{"analyze - -w x --anonymize-key k", "--anonymize-key is for --anonymize"},
		{"analyze - --packets --summary", "choose one"},
		{"analyze - --packets --sort pid", "packets come as they were captured"},
		{"analyze - --packets --columns pid", "packets have columns of their own"},
		{"analyze - --html x --packets", "--html is a way of its own"},
		{"analyze - --stream -2", "streams are numbered from 0"},
		{"analyze - --resolve", "--resolve"},
		{"analyze - --local-net 10.0.0.0/99", "--local-net 10.0.0.0/99: it is a network"},
		{"analyze - --max-expand lots", "--max-expand"},
		{"analyze - state foo", "is not a state"},
		{"capture -i l0 --bpf-dump", "no interface \"l0\""},
		{"capture -s 20", "less than 64 bytes hold no TCP header"},
		{"capture -c many", `invalid argument "many"`},
		{"capture --for -1s", "--for cannot be negative"},
		{"capture --comments some", "--comments some: it is all, first or none"},
		{"capture --wireshark 3", "--wireshark 3: the versions are 4.4 and 4.0"},
		{"capture -w - --connections", "both go to stdout"},
		{"capture -w - -o jsonl", "both go to stdout"},
		{"capture -C 1MB", "-C and -G are for -w FILE"},
		{"capture -w - -G 10", "-C and -G are for -w FILE"},
		{"capture -w x.pcapng -C 3", "-C 3: it is a size between"},
		{"capture -w x.pcapng -G soon", "-G soon: it is a number of seconds"},
		{"capture -w x.pcapng -G 0", "-G 0: it is a second at least"},
		{"capture -w x.pcapng -W 3", "-C or -G say"},
		{"capture -w x.pcapng -C 1MB -W -1", "-W -1: it cannot be negative"},
		{"capture --buffer 1", "--buffer 1: it is a size between"},
		{"capture --columns pid", "packets have columns of their own"},
		{"capture --resolve", "--resolve is for --connections"},
		{"capture --no-process --collector x", "--no-process asks no collector"},
		{"capture --cut-off 5", "--cut-off and --sample are for --record DIR"},
		{"capture --record x --cut-off some", "--cut-off some: it is a number of packets"},
		{"capture --record x --record-size 1", "--record-size 1: it is 256KiB at least"},
		{"capture --record x --record-age 1ms", "--record-age 1ms: it is a second at least"},
		{"capture --record x --sample 0", "--sample 0"},
		{"capture --local-net 10.0.0.0/99", "--local-net 10.0.0.0/99: it is a network"},
		{"capture --netns /no/such", "--netns /no/such: "},
		{"capture state foo", "is not a state"},
		{"export", "-w FILE is missing"},
		{"serve now", "unknown command or argument"},
		{"serve --listen here", "--listen here: it is an address and a port"},
		{"serve --source ebfp", "did you mean ebpf?"},
		{"serve --packets maybe", "--packets maybe: it is true or false"},
		{"serve --log-level loud", "--log-level loud: it is debug, info, warn or error"},
		{"export -w x --record-dir a --data b", "name one"},
		{"export -w x --record-dir a --anonymize-key k", "--anonymize-key is for --anonymize"},
		{"export -w x --record-dir a --since soon", "--since: "},
		{"export -w x --record-dir a --since 1m --until 2m", "is not before --until"},
		{"export -w x --record-dir a state foo", "is not a state"},
		{"extcap", "--install"},
		{"lsit", `unknown command "lsit": did you mean "list"?`},
		{"frobnicate", `unknown command or argument "frobnicate"`},
		{"man nothing", "man: no command"},
		{"man --dir x list", "--dir writes all pages"},
		{"completion tcsh", ""},
		{"list --config /no/such/file.yaml", ""}, // see TestConfig
	} {
		if tt.want == "" {
			continue
		}
		t.Run(tt.args, func(t *testing.T) {
			r := inProcess(t, strings.Fields(tt.args)...)
			if r.code != exitUsage || r.stdout != "" || !strings.Contains(r.stderr, tt.want) || !strings.HasPrefix(r.stderr, "viewtcp: ") {
				t.Errorf("want code 2 and %q: %v", tt.want, r)
			}
		})
	}
}

// TestCaret: the caret stands below the mistake, also where the shell has cut
// the filter into arguments.
func TestCaret(t *testing.T) {
	for _, args := range [][]string{
		{"list", "pid = 1 and stat established"},
		{"list", "pid", "=", "1", "and", "stat", "established"},
		{"list", "--filter", "pid = 1 and stat established"},
	} {
		r := inProcess(t, args...)
		lines := strings.Split(r.stderr, "\n")
		if r.code != exitUsage || len(lines) < 3 {
			t.Fatalf("%q: %v", args, r)
		}
		at := strings.IndexByte(lines[2], '^')
		if at < 0 || !strings.HasPrefix(lines[1][at:], "stat") || !strings.Contains(r.stderr, "state") {
			t.Errorf("%q:\n%s", args, r.stderr)
		}
	}
}

// TestConfig: a file sets defaults, the command line wins, and a mistake in it
// is fatal with its place.
func TestConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		text, want string
	}{
		{"output: json\ncolumn: pid\n", `config.yaml:2: unknown key "column": did you mean "columns"?`},
		{"zzzzzzzzzzz: 1\n", `config.yaml:1: unknown key "zzzzzzzzzzz"`},
		{"limit: many\n", "config.yaml:1: limit: "},
		{"\nlimit: [1]\n", "config.yaml:2: limit wants one value"},
		{"- a\n", "config.yaml:1: a mapping of flag names to values is expected"},
		{"a: [\n", "config.yaml: "},
		{"output: xml\n", "-o xml: the formats are"},
		{"yes: true\n", `unknown key "yes"`}, // close must be told each time
	} {
		write(tt.text)
		if r := inProcess(t, "list", "--config", path); r.code != exitUsage || !strings.Contains(r.stderr, tt.want) {
			t.Errorf("%q: want code 2 and %q: %v", tt.text, tt.want, r)
		}
	}
	r := inProcess(t, "list", "--config", path+".not-there")
	if r.code != exitFailure || !strings.Contains(r.stderr, "reading the configuration") {
		t.Errorf("%v", r)
	}
	for _, text := range []string{"", "# nothing\n", "\n"} {
		write(text)
		if r := inProcess(t, "version", "-o", "json"); r.code != exitOK {
			t.Errorf("%q: %v", text, r)
		}
	}
}

// TestDocuments: manual pages, completions and the version come out.
func TestDocuments(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"man", ".TH"},
		{"man list", "VIEWTCP-LIST"},
		{"completion bash", "__start_viewtcp"},
		{"completion zsh", "#compdef viewtcp"},
		{"completion fish", "complete -c viewtcp"},
		{"completion powershell", "Register-ArgumentCompleter"},
		{"--help", "Available Commands"},
		{"", "Available Commands"},
		{"list --help", "--columns"},
		{"version", "viewtcp "},
	} {
		r := inProcess(t, strings.Fields(tt.args)...)
		if r.code != exitOK || r.stderr != "" || !strings.Contains(r.stdout, tt.want) {
			t.Errorf("%q: want %q: %v", tt.args, tt.want, r)
		}
	}
	dir := t.TempDir()
	if r := inProcess(t, "man", "--dir", dir); r.code != exitOK {
		t.Errorf("%v", r)
	}
	for _, name := range []string{"viewtcp.1", "viewtcp-list.1", "viewtcp-watch.1", "viewtcp-run.1", "viewtcp-close.1", "viewtcp-doctor.1", "viewtcp-collector.1"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	var v buildInfo
	r := inProcess(t, "version", "-o", "json")
	if err := json.Unmarshal([]byte(r.stdout), &v); err != nil || v.Version == "" || v.Go == "" || v.OS == "" || v.Arch == "" {
		t.Errorf("%v: %v", err, r)
	}
}

// conns of a made-up list, for formats and orders.
func someConns() []*tcp.Conn {
	conn := func(port uint16, rtt uint32, known bool, name string) *tcp.Conn {
		c := &tcp.Conn{
			Key: tcp.Key{Tuple: tcp.Tuple{
				Local: tcp.AddrFrom4([4]byte{192, 0, 2, 1}), Remote: tcp.AddrFrom4([4]byte{198, 51, 100, 7}), LocalPort: port, RemotePort: 443,
			}, NetNS: 1},
			ID: tcp.ID(port), State: tcp.Established,
		}
		if known {
			c.Has, c.Metrics.RTT = tcp.HasRTT, rtt
		}
		if name != "" {
			c.Process = &tcp.Process{ProcessID: tcp.ProcessID{PID: int32(port)}, Name: name}
		}
		return c
	}
	return []*tcp.Conn{conn(1, 500, true, "b"), conn(2, 0, false, ""), conn(3, 900, true, "a"), conn(4, 100, true, "c"), conn(5, 0, false, "")}
}

// TestOrder: --sort puts the largest number first and unknown values last,
// whichever way the rest is turned.
func TestOrder(t *testing.T) {
	for _, tt := range []struct {
		sort    string
		reverse bool
		want    string // local ports
	}{
		{"rtt_us", false, "31425"},
		{"rtt", false, "31425"},
		{"rtt_us", true, "41352"},
		{"process", false, "31425"},
		{"process", true, "41352"},
		{"local_port", false, "12345"},
		{"local_port", true, "54321"},
		{"", false, "12345"},
	} {
		c := &common{format: formatJSON, source: "auto", sort: tt.sort, reverse: tt.reverse}
		if err := c.check(); tt.sort != "" && (err == nil) != (tcp.FieldByName(tt.sort) != nil) {
			t.Fatal(err)
		}
		p, err := newPrinter(env{}, c)
		if err != nil {
			t.Fatal(err)
		}
		conns := someConns()
		p.sort(conns)
		got := ""
		for _, c := range conns {
			got += string(rune('0' + c.LocalPort))
		}
		// Of the unknown ones only that they are last counts.
		if tt.sort != "" && tt.sort != "local_port" {
			got, tt.want = got[:3], tt.want[:3]
		}
		if got != tt.want {
			t.Errorf("--sort %q --reverse=%v: got %s, want %s", tt.sort, tt.reverse, got, tt.want)
		}
	}
}

// TestFormats: JSON is one array, also of nothing; CSV parses and has a header;
// tables say -- for unknown.
func TestFormats(t *testing.T) {
	show := func(c *common, conns []*tcp.Conn) string {
		t.Helper()
		var b strings.Builder
		p, err := newPrinter(env{stdout: &b}, c)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.print(conns); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for _, conns := range [][]*tcp.Conn{nil, someConns()} {
		var array []map[string]any
		if err := json.Unmarshal([]byte(show(&common{format: formatJSON}, conns)), &array); err != nil || array == nil || len(array) != len(conns) {
			t.Errorf("json of %d: %v", len(conns), err)
		}
		for _, noHeader := range []bool{false, true} {
			lines, err := csv.NewReader(strings.NewReader(show(&common{format: formatCSV, noHeader: noHeader}, conns))).ReadAll()
			want := len(conns) + 1
			if noHeader {
				want--
			}
			if err != nil || len(lines) != want || (!noHeader && lines[0][0] != "id") || (want > 0 && len(lines[0]) != len(tcp.Fields())) {
				t.Errorf("csv of %d: %d lines, %v", len(conns), len(lines), err)
			}
			text := show(&common{format: formatTable, noHeader: noHeader}, conns)
			if strings.Count(text, "\n") != want || strings.HasPrefix(text, "STATE") == noHeader {
				t.Errorf("table of %d: %q", len(conns), text)
			}
		}
		if n := strings.Count(show(&common{format: formatJSONL}, conns), "\n"); n != len(conns) {
			t.Errorf("%d lines of jsonl for %d", n, len(conns))
		}
	}
	for _, tt := range []struct {
		c    common
		want string
	}{
		{common{format: formatCSV, columns: "local,remote,rtt"}, "local_ip,local_port,remote_ip,remote_port,rtt_us\n192.0.2.1,1,198.51.100.7,443,500\n192.0.2.1,2,198.51.100.7,443,\n"},
		{common{format: formatJSONL, columns: "remote, process"}, `{"remote_ip":"198.51.100.7","remote_port":443,"process":"b"}` + "\n" + `{"remote_ip":"198.51.100.7","remote_port":443}` + "\n"},
		{common{format: formatJSONL, columns: "process"}, `{"process":"b"}` + "\n{}\n"},
		{common{format: formatTable, columns: "local,process,rtt"}, "LOCAL        PROCESS    RTT\n192.0.2.1:1  b        500µs\n192.0.2.1:2  --          --\n"},
		{common{format: formatTable, columns: "remote", noHeader: true}, "198.51.100.7:443\n198.51.100.7:443\n"},
	} {
		if got := show(&tt.c, someConns()[:2]); got != tt.want {
			t.Errorf("--columns %s: got %q, want %q", tt.c.columns, got, tt.want)
		}
	}
	if got := show(&common{format: formatTable, columns: "+user"}, someConns()); !strings.HasSuffix(strings.SplitN(got, "\n", 2)[0], "USER") {
		t.Errorf("+user does not add a column: %q", got)
	}
}

// TestColor: what decides.
func TestColor(t *testing.T) {
	for _, tt := range []struct {
		color, noColor string
		want           bool
	}{
		{"always", "", true}, {"always", "1", true}, {"never", "", false}, {"auto", "", false},
	} {
		t.Setenv("NO_COLOR", tt.noColor)
		if got := (&common{color: tt.color}).useColor(&strings.Builder{}); got != tt.want {
			t.Errorf("--color %s, NO_COLOR=%s: %v", tt.color, tt.noColor, got)
		}
	}
}
