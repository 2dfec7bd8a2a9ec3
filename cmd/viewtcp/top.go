package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tui"
)

// topFlags are the flags of top beside the common ones.
type topFlags struct {
	common
	daemonFlags
	theme string
	ascii string
	keys  map[string][]string
}

func newTop(e env) *cobra.Command {
	var c topFlags
	cmd := &cobra.Command{
		Use:   "top [FILTER]",
		Short: "Show connections live in the terminal",
		Long: `Show connections live in the terminal: what is new is green, what changed yellow,
what closed red. viewtcp without arguments does the same. ? shows the keys, and
docs/tui.md tells what to do with them; the section "keys" of the configuration
file gives them other meanings. Columns, order, theme and filters are kept for
the next time in top.json beside that file.`,
		Example: `  viewtcp
  viewtcp top state established and port 443
  viewtcp top process nginx --theme light`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.setup(cmd); err != nil {
				return err
			}
			return top(cmd.Context(), e, &c, args)
		},
	}
	c.addSource(cmd.Flags())
	fs := cmd.Flags()
	c.add(fs)
	fs.BoolVarP(&c.noNames, "numeric", "n", false, "no names of services and hosts")
	fs.BoolVar(&c.resolve, "resolve", false, "ask DNS for the names of remote addresses")
	fs.StringVar(&c.color, "color", "auto", "auto, always or never; NO_COLOR means never")
	fs.StringVar(&c.filterArg, "filter", "", "the filter, instead of as arguments")
	fs.StringVar(&c.theme, "theme", "", "dark, light, contrast or mono (default: the one used last, or what suits the terminal)")
	fs.StringVar(&c.ascii, "ascii", "auto", "auto, always or never: draw with the characters of every terminal")
	return cmd
}

// setup is that of the common flags, and reads the keys of the configuration.
func (c *topFlags) setup(cmd *cobra.Command) (err error) {
	if err := c.common.setup(cmd); err != nil {
		return err
	}
	switch c.ascii {
	case "auto", "always", "never":
	default:
		return usagef("--ascii %s: it is auto, always or never", c.ascii)
	}
	switch c.theme {
	case "", "dark", "light", "contrast", "mono":
	default:
		return usagef("--theme %s: the themes are dark, light, contrast and mono", c.theme)
	}
	if c.keys, err = configuredKeys(c.config); err != nil {
		return err
	}
	if err := tui.CheckKeys(c.keys); err != nil {
		return usageError{err}
	}
	return nil
}

// bare is viewtcp without a command: on a terminal it is top.
func bare(e env, cmd *cobra.Command) error {
	if !isTerminal(e.stdin) || !isTerminal(e.stdout) {
		return cmd.Help()
	}
	t := newTop(e)
	t.SetContext(cmd.Context())
	return t.RunE(t, nil)
}

func top(ctx context.Context, e env, c *topFlags, args []string) error {
	f, err := c.parseFilter(args, filterOptions())
	if err != nil {
		return err
	}
	if !isTerminal(e.stdin) || !isTerminal(e.stdout) {
		return usagef("top needs a terminal; viewtcp list and viewtcp watch print for programs")
	}
	if os.Getenv("TERM") == "dumb" {
		return usagef("top cannot draw on TERM=dumb; viewtcp watch prints line by line")
	}
	collectLess()
	// A hang-up, too, shall put the terminal in order; it may be but a shell's.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP, syscall.SIGQUIT)
	defer stop()
	ctx, end := context.WithCancel(ctx)
	defer end()

	d, err := c.daemon(ctx, &c.daemonFlags)
	if err != nil {
		return err
	}
	if d != nil {
		defer d.Close()
		return topDaemon(ctx, e, c, d, f)
	}
	live := newLiveView()
	l := newLook(env{stdin: e.stdin, stdout: e.stdout, stderr: live}, &c.common)
	l.started = live.begin
	l.ready = live.ready
	fed := make(chan error, 1)
	go func() {
		err := l.feed(ctx, tcp.Source.Run)
		if err != nil && ctx.Err() == nil && live.fail(err) {
			end() // nothing was shown, and nothing will be
		}
		fed <- err
	}()

	names := newTopNames(c)
	defer names.close()
	terr := runTUI(ctx, e, topConfig(e, c, f, live, live.status, names))
	end()
	err = <-fed
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return terr
	case terr == nil || errors.Is(terr, err):
		return err
	}
	return errors.Join(terr, err)
}

// runTUI shows connections until the user has enough. Of a mistake of the program
// it prints where it was, for the report.
func runTUI(ctx context.Context, e env, cfg tui.Config) error {
	err := tui.Run(ctx, cfg)
	if p, ok := errors.AsType[*tui.PanicError](err); ok {
		fmt.Fprintf(e.stderr, "%s\n", p.Stack)
	}
	return err
}

// topConfig hands the terminal interface what it shows and may do.
func topConfig(e env, c *topFlags, f *filter.Filter, view tcp.View, status func() tui.Status, names *topNames) tui.Config {
	cfg := tui.DefaultConfig()
	cfg.View, cfg.Status = view, status
	cfg.Host, cfg.Version = hostname(), readBuild().Version
	cfg.Filter, cfg.FilterOptions = f.Text(), filterOptions
	cfg.Input, cfg.Output, cfg.Environ = e.stdin, e.stdout, os.Environ()
	cfg.Colors = c.terminalColors(e)
	cfg.ASCII = c.asciiOnly()
	cfg.Keys = c.keys
	store := newLayoutStore()
	cfg.Layout, cfg.SaveLayout = store.load(), store.save
	if c.theme != "" {
		cfg.Layout.Theme = c.theme
	}
	cfg.Close = func(ctx context.Context, conn *tcp.Conn) error {
		destroy, err := destroyer(ctx, &closeFlags{common: c.common})
		if err != nil {
			return err
		}
		return destroy(conn)
	}
	cfg.Export, cfg.CanSuspend = exportRows, hasShell
	if names != nil {
		cfg.Name, cfg.Resolve = names.name, c.resolve
	}
	if c.collector == "" { // else both are another machine's, or namespace's
		cfg.Parents, cfg.Counters, cfg.Capture = parents, kernelCounters, captureConn
	}
	return cfg
}

// terminalColors is how many colors the terminal has, by its name.
func (c *topFlags) terminalColors(e env) tui.Colors {
	if !c.useColor(e.stdout) {
		return tui.NoColors
	}
	term := os.Getenv("TERM")
	switch {
	case strings.Contains(term, "256color"), strings.Contains(term, "direct"), os.Getenv("COLORTERM") != "",
		strings.HasPrefix(term, "alacritty"), strings.Contains(term, "kitty"), strings.Contains(term, "ghostty"), os.Getenv("WT_SESSION") != "":
		return tui.Colors256
	case strings.HasPrefix(term, "vt1"), strings.HasPrefix(term, "vt2"):
		return tui.NoColors
	}
	return tui.Colors16
}

// asciiOnly reports whether the terminal shows nothing but ASCII: by the locale,
// and by its name, because the console of Linux has few other characters.
func (c *topFlags) asciiOnly() bool {
	switch c.ascii {
	case "always":
		return true
	case "never":
		return false
	}
	term := os.Getenv("TERM")
	if term == "linux" || strings.HasPrefix(term, "vt1") || strings.HasPrefix(term, "vt2") {
		return true
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := os.Getenv(name); v != "" {
			v = strings.ToLower(v)
			return !strings.Contains(v, "utf-8") && !strings.Contains(v, "utf8")
		}
	}
	return false // nothing is set in containers and over ssh, where UTF-8 is usual
}
