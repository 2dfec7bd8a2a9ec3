package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // zones on machines that have none

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// seen is what history shows on a terminal of a width, to somebody in a zone on
// the day that was made by hand.
func seen(tb testing.TB, dir, zone string, width int, args ...string) (stdout, stderr string) {
	tb.Helper()
	z, err := time.LoadLocation(zone)
	if err != nil {
		tb.Fatal(err)
	}
	var out, messages bytes.Buffer
	e := env{stdin: strings.NewReader(""), stdout: &out, stderr: &messages}
	var h historyFlags
	fs := pflag.NewFlagSet("history", pflag.ContinueOnError)
	h.define(fs)
	if err := fs.Parse(append([]string{"--data", dir}, args...)); err != nil {
		tb.Fatal(err)
	}
	if err := h.check(); err != nil {
		tb.Fatal(err)
	}
	h.sorted = fs.Changed("sort")
	x := &question{e: e, h: &h, now: noon.Add(time.Hour).In(z), width: width}
	if err := x.put(tb.Context(), fs.Args()); err != nil {
		tb.Fatal(err)
	}
	return out.String(), messages.String()
}

func wantText(tb testing.TB, what, got, want string) {
	tb.Helper()
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), got); diff != "" {
		tb.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestHistoryTables(t *testing.T) {
	dir := byHand(t)
	for _, tt := range []struct {
		name, zone string
		width      int
		args, want string
	}{
		{"groups", "UTC", 100, "--since 12:00 --until 12:30 --group-by service --peak --sum bytes_sent --sort service", `
SERVICE                      PEAK  AT                      TX
\x1b]0;owned\x07=evil\u202e     1  2026-11-20 12:20:00      1  ██████████
https                           1  2026-11-20 12:05:30     10  ██████████
nginx.service                   2  2026-11-20 12:05:00  1.46K  ████████████████████
postgresql.service              1  2026-11-20 12:00:00    200  ██████████
`},
		{"narrow", "Asia/Kolkata", 50, "--since 17:30 --until 18:00 --group-by service --peak --sum bytes_sent --sort service --filter port=443", `
SERVICE        PEAK  AT                      TX
https             1  2026-11-20 17:35:30     10
nginx.service     2  2026-11-20 17:35:00  1.46K
`},
		{"rows of time", "Europe/Berlin", 0, "--since 13:00 --until 13:30 --every 10m --count", `
TIME                 COUNT  OPENED  CLOSED
2026-11-20 13:00:00      4       2       2
2026-11-20 13:10:00      2       0       1
2026-11-20 13:20:00      2       1       1
`},
		{"others", "UTC", 100, "--since 12:00 --until 12:30 --group-by process --top 1 --by bytes_sent", `
PROCESS     TX  COUNT     RX  RETR
nginx    1.46K      2    150     0  ████████████████████
~other     211      3  1.95K     0  ██▉
`},
		{"changes", "UTC", 0, "--since 12:06 --until 12:12 --group-by process --count --compare --filter process=nginx", `
PROCESS  COUNT  BEFORE  CHANGE     %  OPENED  BEFORE  CHANGE       %  CLOSED  BEFORE  CHANGE   %
nginx        2       2       0  +0.0       0       1      -1  -100.0       2       0      +2  --
`},
		{"events", "UTC", 0, "--since 12:00 --until 12:30 --events", `
TIME                     EVENT       CONNECTION      HOST   WHAT
2026-11-20 12:05:40.000  reset       c0000000000003  web-1  reset by the remote end
2026-11-20 12:06:30.000  retransmit  c0000000000001  web-1  7 retransmissions within moments
2026-11-20 12:07:00.000  mark                        web-1  deploy \x1b]0;owned\x07=evil\u202e (ci)
2026-11-20 12:16:00.000  gap                         web-1  nobody was watching, since 2026-11-20 12:12:00
`},
		{"connections", "UTC", 0, "--since 12:05:50 --until 12:08 process nginx", `
OPENED                      AGE  STATE   LOCAL         REMOTE              RTT  RETR   TX  RX  REASON  PID  PROCESS  ID
2026-11-20 12:05:00.000   1m00s  CLOSED  10.0.0.1:443  192.0.2.2:40002  20.0ms     0  500  50  fin     702  nginx    c0000000000002
2026-11-20 11:50:00.000  18m00s  --      10.0.0.1:443  192.0.2.1:40001      --    --   --  --  --      701  nginx    c0000000000001
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := seen(t, dir, tt.zone, tt.width, strings.Fields(tt.args)...)
			wantText(t, tt.args, got, tt.want)
		})
	}
}

func TestHistoryCharts(t *testing.T) {
	dir := byHand(t)
	for _, tt := range []struct {
		name  string
		width int
		args  string
		want  string
	}{
		{"one", 60, "--since 12:00 --until 12:30 --every 1m --peak", `
PEAK  most 4 (12:05:00), last 1
       4          █
                  █
         ▄▄▄▄▄▄▄▄▄█▄▄▄▄▄▄▄                 ▄
         █████████████████▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂█▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂
       0 ██████████████████████████████████████████████████
         ╵12:00          ╵12:10           ╵12:20
`},
		{"many", 90, "--since 12:00 --until 12:30 --every 1m --group-by process --sum bytes_sent,bytes_received", `
nginx                       TX  ▁▁▁▁▁▁▄▁▁█▁    ▁▁▁▁▁▁▁▁▁▁▁▁  most 1000 (12:10:00), last 0
                            RX  ▁▁▁▁▁▁▄▁▁█▁    ▁▁▁▁▁▁▁▁▁▁▁▁  most 100 (12:10:00), last 0
postgres                    TX  ▁▁▁▁█▁▁▁▁▁▁    ▁▁▁▁▁▁▁▁▁▁▁▁  most 200 (12:04:00), last 0
                            RX  ▁▁▁▁▁▁▁▁▁▁▁    ▁▁▁▁▁▁▁▁▁▁▁▁  most 0 (12:00:00), last 0
curl                        TX  ▁▁▁▁▁█▁▁▁▁▁    ▁▁▁▁▁▁▁▁▁▁▁▁  most 10 (12:05:00), last 0
                            RX  ▁▁▁▁▁█▁▁▁▁▁    ▁▁▁▁▁▁▁▁▁▁▁▁  most 1.95K (12:05:00), last 0
\x1b]0;owned\x07=evil\u202e TX  ▁▁▁▁▁▁▁▁▁▁▁    ▁▁▁▁█▁▁▁▁▁▁▁  most 1 (12:21:00), last 0
                            RX  ▁▁▁▁▁▁▁▁▁▁▁    ▁▁▁▁█▁▁▁▁▁▁▁  most 1 (12:21:00), last 0
                                ╵12:00       ╵12:15
                                a column is the largest of up to 2 pieces
`},
		{"heatmap", 80, "--since 12:00 --until 12:30 --heatmap", `
COUNT of connections open in each 1m00s
:5432 in ██████████████████████████████████████████████████████
:443 in  ████████████████████··       ·························
:22 in   ······················       ·······████··············
:443 out ·········██···········       ·························
         ╵12:00            ╵12:10            ╵12:20
· none  █ from 1  blank: unknown
`},
		{"heatmap of bytes", 80, "--since 12:00 --until 12:30 --heatmap --group-by process --by bytes_sent --every 2m --top 2", `
TX in each 2m00s
nginx    ···········████···████       ·························
postgres ········███···········       ·························
~other   ········▒▒▒···········       ·······░░░░··············
         ╵12:00            ╵12:10            ╵12:20
· none  ░ from 1  ▒ from 2  ▓ from 11  █ from 101  blank: unknown
`},
		{"timeline", 100, "--timeline " + tcp.ID(1).String(), `
id c0000000000001  host web-1  direction inbound  local 10.0.0.1:443  remote 192.0.2.1:40001
process nginx  pid 701  service nginx.service

TIME                     EVENT        WHAT
2026-11-20 11:50:00.000  opened       SYN sent or received
2026-11-20 11:50:00.002  established  handshake took 2.00ms
2026-11-20 12:06:30.000  retransmit   7 retransmissions within moments
2026-11-20 12:07:00.000  mark         deploy \x1b]0;owned\x07=evil\u202e (ci)
2026-11-20 12:10:00.000  row          1000 sent, 100 received in 20m00s; rtt 10.0ms
2026-11-20 12:10:00.000  closed       fin, first by the local end, after 20m00s

TX/s  ▁▁▁▁▁▁▁▁▁▂▂▂▂▂▂▂▂▂▃▃▃▃▃▃▃▃▃▅▅▅▅▅▅▅▅▅▆▆▆▆▆▆▆▆▆█████████  0/s to 50/s
RX/s  ██████████████████████████████████████████████████████  1/s to 1/s
RTT   ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇█████████  10.0ms to 10.5ms
CWND  ██████████████████████████████████████████████████████  10 to 10
      ╵11:50:00    ╵11:50:15     ╵11:50:30    ╵11:50:45
`},
		{"timeline of a pool", 0, "--timeline " + tcp.ID(4).String(), `
id c0000000000004  host web-1  direction inbound  local 10.0.0.1:5432  remote 192.0.2.4:40004
process postgres  pid 704  service postgresql.service

TIME                     EVENT        WHAT
2026-11-20 11:00:00.000  opened       SYN sent or received
2026-11-20 11:00:00.000  observer     observation began
2026-11-20 11:00:00.002  established  handshake took 2.00ms
2026-11-20 11:59:00.000  row          976K sent, 500 received in 59m00s; rtt 1.00ms
2026-11-20 12:04:00.000  row          200 sent, 0 received in 5m00s; rtt 3.00ms
2026-11-20 12:07:00.000  mark         deploy \x1b]0;owned\x07=evil\u202e (ci)
2026-11-20 12:16:00.000  gap          nobody was watching, since 2026-11-20 12:12:00
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := seen(t, dir, "UTC", tt.width, strings.Fields(tt.args)...)
			wantText(t, tt.args, got, tt.want)
		})
	}
}

// TestChartsFit draws everything on terminals of every width.
func TestChartsFit(t *testing.T) {
	dir := byHand(t)
	for width := 20; width <= 140; width += 7 {
		for _, args := range []string{
			"--every 1m --peak", "--every 10s --group-by process --count", "--heatmap", "--timeline " + tcp.ID(1).String(),
		} {
			got, _ := seen(t, dir, "UTC", width, append(strings.Fields(args), "--since", "12:00", "--until", "12:30")...)
			for line := range strings.Lines(got) {
				if w := output.Width(strings.TrimSuffix(line, "\n")); w > max(width, 60) {
					t.Errorf("%s: %d columns on a terminal of %d: %q", args, w, width, line)
				}
			}
		}
	}
}

// TestColorsOfHistory checks that colours add nothing but colours.
func TestColorsOfHistory(t *testing.T) {
	dir := byHand(t)
	for _, args := range []string{"--every 1m --peak", "--heatmap", "--events", "--every 1m --group-by process --count"} {
		words := append(strings.Fields(args), "--since", "12:00", "--until", "12:30")
		plain, _ := seen(t, dir, "UTC", 100, words...)
		colored, _ := seen(t, dir, "UTC", 100, append(words, "--color", "always")...)
		if !strings.Contains(colored, "\x1b[") {
			t.Errorf("%s: no colours", args)
		}
		for _, c := range append(heatColors[1:], output.Off, output.Green, output.Dim) {
			colored = strings.ReplaceAll(colored, c, "")
		}
		wantText(t, args, colored, "\n"+plain)
	}
}

// TestGapsAreBlank checks that what nobody saw is not drawn as nothing.
func TestGapsAreBlank(t *testing.T) {
	q := &store.Query{
		From: noon, To: noon.Add(10 * time.Minute), Every: time.Minute,
		Aggregates: []store.Aggregate{{Func: store.Count}, {Func: store.Max, Field: tcp.FieldByName("rtt_us")}},
	}
	at := func(minute int) int64 { return noon.Add(time.Duration(minute) * time.Minute).UnixNano() }
	groups := []*store.Group{
		{Time: at(2), Values: []float64{5, 0}, Known: []bool{true, false}},
		{Time: at(5), Values: []float64{7, 9}, Known: []bool{true, true}},
	}
	a := &store.Answer{Retained: at(1), Gaps: []store.Gap{{From: at(5), To: at(8)}, {From: at(9), To: at(9)}}}
	all := seriesOf(q, groups, a)
	var got []string
	for _, s := range all {
		var cells []string
		for _, v := range s.values {
			cells = append(cells, humanNumber(s.number, v, true))
		}
		got = append(got, strings.Join(cells, " "))
	}
	want := []string{"-- 0 5 0 0 7 -- -- 0 0", "-- -- -- -- -- 9µs -- -- -- --"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}
}
