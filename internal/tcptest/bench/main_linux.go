package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/tcptest"
)

// options are the command line.
type options struct {
	viewtcp   string
	build     bool
	run       []string
	write     string
	sizes     []int
	full      bool
	reps      int
	sockets   int
	window    time.Duration
	storm     int
	rate      int
	benchtime string
	captures  string
	clean     bool
	soak      time.Duration
	soakRate  int
}

// A figure measures one line of the list of targets, or several of a kind.
type figure struct {
	section
	// product says that the program itself is measured, not one of its packages.
	product bool
	// asked says that it takes long and is measured only when it is named.
	asked   bool
	measure func(context.Context, *options) (*report, error)
}

var figures = []figure{
	{section{"P1", "One-shot list"}, true, false, measureList},
	{section{"P2", "Refresh each second"}, true, false, measureRefresh},
	{section{"P2b", "Refresh over many namespaces"}, true, false, measureNamespaces},
	{section{"P3", "Daemon on an idle host"}, true, false, measureServe},
	{section{"P4", "Short connections"}, true, false, measureStorm},
	{section{"P5", "Filter"}, false, false, measureFilter},
	{section{"P6", "Analysis of a capture"}, true, false, measureAnalyze},
	{section{"P9", "Live view in a terminal"}, true, false, measureTUI},
	{section{"P11", "Recorder"}, true, false, measureRecord},
	{section{"soak", "Daemon for long"}, true, true, measureSoak},
}

func main() {
	if code, is := tcptest.PlayRole(append(recordRoles(), tcptest.Role{Name: "build capture", Run: buildCaptureRole})...); is {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	chosen := slices.DeleteFunc(slices.Clone(figures), func(f figure) bool {
		return (len(o.run) > 0 || f.asked) && !slices.Contains(o.run, f.id)
	})
	if o.build && slices.ContainsFunc(chosen, func(f figure) bool { return f.product }) {
		if err := buildViewTCP(ctx, o.viewtcp); err != nil {
			return err
		}
	}
	m := machine()
	var failed []error
	for _, f := range chosen {
		fmt.Fprintf(os.Stderr, "bench: measuring %s, %s\n", f.id, strings.ToLower(f.title))
		r, err := f.measure(ctx, o)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", f.id, err))
			if r == nil {
				r = &report{}
			}
			r.note("Not measured to the end: %v", err)
		}
		text := r.markdown(m)
		fmt.Fprintf(out, "## %s: %s\n\n%s\n", f.id, f.title, text)
		if o.write != "" {
			if err := rewrite(o.write, f.section, text); err != nil {
				failed = append(failed, err)
			}
		}
	}
	return errors.Join(failed...)
}

func parseOptions(args []string) (*options, error) {
	o := &options{}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.StringVar(&o.viewtcp, "viewtcp", "bin/viewtcp", "the `program` to measure")
	fs.BoolVar(&o.build, "build", true, "build it first")
	only := fs.String("run", "", "measure these `figures` only, as P1,P4")
	fs.StringVar(&o.write, "w", "", "rewrite the sections of this `file`, docs/benchmarks.md")
	sizes := fs.String("sizes", "1000,5000,20000", "P1: `numbers` of sockets")
	fs.BoolVar(&o.full, "full", false, "P1: 100,000 sockets too")
	fs.IntVar(&o.reps, "reps", 7, "P1, P6: repetitions, of which the median counts")
	fs.IntVar(&o.sockets, "sockets", 20000, "P2: sockets")
	fs.DurationVar(&o.window, "window", 30*time.Second, "P2, P2b, P3, P11: how long to watch")
	fs.IntVar(&o.storm, "storm", 20000, "P4: connections")
	fs.IntVar(&o.rate, "rate", 8000, "P4: connections a second, at most")
	fs.StringVar(&o.benchtime, "benchtime", "1s", "P5: -benchtime of go test")
	fs.StringVar(&o.captures, "captures", "", "P6: `directory` that keeps the captures, 2 GB; viewtcp-bench in the user's cache by default")
	fs.DurationVar(&o.soak, "soak", 2*time.Minute, "soak: how long")
	fs.IntVar(&o.soakRate, "soak-rate", 1000, "soak: connections a second")
	fs.BoolVar(&o.clean, "clean", false, "P6: remove the captures instead")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if *only != "" {
		o.run = strings.Split(*only, ",")
		for _, id := range o.run {
			if !slices.ContainsFunc(figures, func(f figure) bool { return f.id == id }) {
				return nil, fmt.Errorf("no figure %q", id)
			}
		}
	}
	for s := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 2 {
			return nil, fmt.Errorf("-sizes: %q is no number of sockets", s)
		}
		o.sizes = append(o.sizes, n)
	}
	if o.full {
		o.sizes = append(o.sizes, 100_000)
	}
	slices.Sort(o.sizes)
	return o, nil
}
