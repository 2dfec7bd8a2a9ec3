package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/moment"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// historyRange is how far back history looks when nobody says.
const historyRange = time.Hour

// historyFlags are the flags of history.
type historyFlags struct {
	common
	daemon       daemonFlags
	bundle       bundleFlag
	since, until string
	groupBy      string
	by           string
	percentiles  string
	every        string
	sum          string
	events       string
	timeline     string
	resolution   string
	peak         bool
	count        bool
	compare      bool
	heatmap      bool
	top          int

	// sorted says that --sort was given for this command, not for all of them in
	// the configuration.
	sorted bool
}

func newHistoryCommand(e env) *cobra.Command {
	var h historyFlags
	cmd := &cobra.Command{
		Use:   "history [FILTER|ID] [--since TIME] [--until TIME]",
		Short: "Print stored connections, and what they add up to",
		Long: `Prints the connections that were open at some moment of a range of time, or what
they add up to: in groups, over time, the most that were open at once, percentiles,
compared with the time before. viewtcp serve collects and stores them; history asks
it, or reads its data directory, also while it runs.

Times are 2h (ago), yesterday, "yesterday 14:00", monday, 2026-11-20,
"2026-11-20 14:05", RFC 3339 or seconds since 1970. Without --since it is the hour
before --until, and without --until that is now.`,
		Example: `  viewtcp history --since 10m
  viewtcp history process curl and 'bytes_received > 1MiB' --since yesterday
  viewtcp history --group-by process --peak --since 90d
  viewtcp history --top 10 --by bytes_sent --group-by remote_ip --since 1d
  viewtcp history --percentiles rtt --group-by service --every 1m
  viewtcp history --sum bytes_sent,bytes_received --group-by process --compare --since 1d
  viewtcp history --heatmap --since 1d
  viewtcp history --events --since today
  viewtcp history --timeline c6qm2doitf2qbf`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := h.setup(cmd); err != nil {
				return err
			}
			h.sorted = cmd.Flags().Changed("sort")
			collectLess()
			return askHistory(cmd.Context(), e, &h, args)
		},
	}
	h.define(cmd.Flags())
	return cmd
}

// define defines the flags.
func (h *historyFlags) define(fs *pflag.FlagSet) {
	h.source = "auto"
	h.addOutput(fs)
	h.addOrder(fs)
	fs.String("data", "", historyDataHelp)
	h.daemon.add(fs)
	h.bundle.add(fs)
	fs.StringVar(&h.config, "config", "", "file with defaults for these flags (default $XDG_CONFIG_HOME/viewtcp/config.yaml, if it is there)")
	fs.StringVar(&h.since, "since", "", `from this time on: 2h (ago), yesterday, "monday 14:00", 2026-11-20, RFC 3339`)
	fs.StringVar(&h.until, "until", "", "until this time; a day is included (default now)")
	fs.StringVarP(&h.groupBy, "group-by", "g", "", "one row for each value of these fields, separated by commas")
	fs.BoolVar(&h.peak, "peak", false, "the most connections that were open at once, exactly, and when")
	fs.BoolVar(&h.count, "count", false, "how many connections: open in the range, opened and closed in it")
	fs.StringVar(&h.sum, "sum", "", "what counters, separated by commas, went up in the range")
	fs.StringVar(&h.percentiles, "percentiles", "", "p50, p90, p95, p99, least and most of fields, each connection once")
	fs.IntVar(&h.top, "top", 0, "the N largest groups and all others in one; without groups the N largest connections")
	fs.StringVar(&h.by, "by", "", "with --top: the field, or count, max_open, opened, closed, p95:FIELD, avg:FIELD")
	fs.StringVar(&h.every, "every", "", "cut the range into pieces: 1m, 1h, 1d; a terminal shows charts")
	fs.BoolVar(&h.compare, "compare", false, "beside each number that of the time before, as long, and the change")
	fs.StringVar(&h.events, "events", "", "what happened, by time; of these types, separated by commas, or all")
	fs.Lookup("events").NoOptDefVal = allEvents
	fs.BoolVar(&h.heatmap, "heatmap", false, "a map of groups (default ports) over time; of --by FIELD, else the most open at once")
	fs.StringVar(&h.timeline, "timeline", "", "the story of the connection with this ID")
	fs.StringVar(&h.resolution, "resolution", "auto", "what to read: auto, raw rows, or roll-ups of 1m or 1h")
}

// A question is what the flags of history ask for.
type question struct {
	e env
	h *historyFlags
	q store.Query
	// now is when it was asked, and in which zone; width is that of the terminal,
	// 0 if there is none.
	now   time.Time
	width int
	// ask is whom it is put to.
	ask *historian
}

func askHistory(ctx context.Context, e env, h *historyFlags, args []string) error {
	return h.bundle.with(ctx, &h.daemon, func(o *openedBundle) error {
		x := &question{e: e, h: h, now: time.Now(), width: width(e.stdout)}
		if o != nil {
			x.now = o.end()
			if h.since == "" && h.until == "" {
				h.since = o.From.Format(time.RFC3339Nano)
			}
		}
		return x.put(ctx, args)
	})
}

// put reads the flags, finds the history, and prints the answer.
func (x *question) put(ctx context.Context, args []string) error {
	h, now := x.h, x.now
	if err := h.checkTogether(); err != nil {
		return err
	}
	f, err := h.parseFilter(args, filter.Options{Now: now, Services: filter.SystemServices()})
	if err != nil {
		return err
	}
	if !f.MatchesAll() {
		x.q.Filter = f
	}
	if x.q.Resolution, err = parseResolution(h.resolution); err != nil {
		return err
	}
	if x.q.From, x.q.To, err = moment.Range(h.since, h.until, historyRange, now); err != nil {
		return usageError{err}
	}
	show, err := x.view()
	if err != nil {
		return err
	}
	if x.ask, err = openHistory(ctx, x.e, &h.daemon); err != nil {
		return err
	}
	defer x.ask.end()
	return x.ask.interrupted(ctx, show(ctx))
}

// view chooses what is shown and reads the flags that it takes, so that a mistake
// is told before anything is opened.
func (x *question) view() (func(context.Context) error, error) {
	h := x.h
	switch {
	case h.timeline != "":
		return x.timelineView()
	case h.events != "":
		return x.eventsView()
	case h.heatmap:
		return x.heatmapView()
	case h.top > 0 && h.groupBy == "" && h.every == "" && !h.aggregates():
		return x.topConnections()
	case h.top > 0 || h.groupBy != "" || h.every != "" || h.compare || h.aggregates():
		return x.groupsView()
	default:
		return x.connectionsView()
	}
}

// aggregates reports whether numbers of groups are asked for.
func (h *historyFlags) aggregates() bool {
	return h.peak || h.count || h.sum != "" || h.percentiles != ""
}

// checkTogether refuses flags that contradict each other.
func (h *historyFlags) checkTogether() error {
	numbers := []flagGiven{
		{"--group-by", h.groupBy != ""},
		{"--peak", h.peak},
		{"--count", h.count},
		{"--sum", h.sum != ""},
		{"--percentiles", h.percentiles != ""},
		{"--top", h.top != 0},
		{"--every", h.every != ""},
		{"--compare", h.compare},
	}
	views := []flagGiven{{"--timeline", h.timeline != ""}, {"--events", h.events != ""}, {"--heatmap", h.heatmap}}
	for i, v := range views {
		if !v.given {
			continue
		}
		for _, w := range views[i+1:] {
			if w.given {
				return usagef("%s and %s are two views: ask for one after the other", v.name, w.name)
			}
		}
		for _, n := range numbers {
			switch {
			case !n.given, v.name == "--heatmap" && (n.name == "--group-by" || n.name == "--top" || n.name == "--every" || n.name == "--peak" || n.name == "--count"):
			case v.name == "--heatmap":
				return usagef("--heatmap shows one number: say which with --by FIELD, and leave %s out", n.name)
			default:
				return usagef("%s does not go with %s: leave one of them out", v.name, n.name)
			}
		}
	}
	switch {
	case h.top < 0:
		return usagef("--top %d: it cannot be negative", h.top)
	case h.by != "" && h.top == 0 && !h.heatmap:
		return usagef("--by %s is for --top N: add --top 10, or write --sort %s to order a list", h.by, h.by)
	case h.top > 0 && h.limit > 0:
		return usagef("--top %d and --limit %d both cut: leave --limit out", h.top, h.limit)
	case h.top > 0 && h.sorted && h.every == "":
		return usagef("--top orders by --by: leave --sort %s out, or write --top %d --by %s", h.sort, h.top, h.sort)
	case h.compare && h.every != "":
		return usagef("--compare compares whole ranges: leave --every out")
	case h.compare && h.until == "" && h.since == "":
		return usagef("--compare wants a range, such as --since 1d, which it compares with the day before")
	case h.timeline != "" && h.filterArg != "":
		return usagef("--timeline names the connection: leave --filter out")
	}
	return nil
}

type flagGiven struct {
	name  string
	given bool
}

func parseResolution(s string) (store.Resolution, error) {
	switch s {
	case "", "auto":
		return store.Auto, nil
	case "raw":
		return store.Raw, nil
	case "1m":
		return store.ByMinute, nil
	case "1h":
		return store.ByHour, nil
	}
	return 0, usagef("--resolution %s: it is auto, raw, 1m or 1h", s)
}

// fieldsOf reads a list of fields.
func fieldsOf(flag, list string) ([]*tcp.Field, error) {
	var names []string
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, usagef("%s: it wants the names of fields (docs/fields.md lists all)", flag)
	}
	return fieldsNamed(flag, names)
}
