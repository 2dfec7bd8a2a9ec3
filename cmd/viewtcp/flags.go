package main

import (
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// common are the flags that every command which shows connections has.
type common struct {
	format    string
	columns   string
	noHeader  bool
	noNames   bool
	resolve   bool
	sort      string
	reverse   bool
	limit     int
	source    string
	netns     string
	color     string
	config    string
	collector string
	failEmpty bool
	filterArg string
}

const (
	formatTable = "table"
	formatWide  = "wide"
	formatJSON  = "json"
	formatJSONL = "jsonl"
	formatCSV   = "csv"
)

var formats = []string{formatTable, formatWide, formatJSON, formatJSONL, formatCSV}

// addSource defines the flags that choose what is looked at.
func (c *common) addSource(fs *pflag.FlagSet) {
	fs.StringVar(&c.source, "source", "auto", "where to look: auto, ebpf, netlink or procfs")
	fs.StringVar(&c.netns, "netns", "all", "network namespaces: all, self or the path of one (/run/netns/NAME, /proc/PID/ns/net)")
	fs.StringVar(&c.collector, "collector", os.Getenv("VIEWTCP_COLLECTOR"), "ask the collector at this Unix socket instead of looking oneself")
	fs.StringVar(&c.config, "config", "", "file with defaults for these flags (default $XDG_CONFIG_HOME/viewtcp/config.yaml, if it is there)")
}

// addOutput defines the flags that choose how connections are shown.
func (c *common) addOutput(fs *pflag.FlagSet) {
	fs.StringVarP(&c.format, "output", "o", formatTable, "format: "+strings.Join(formats, ", "))
	fs.StringVar(&c.columns, "columns", "", "fields to show, separated by commas; +FIELD adds to the usual ones (docs/fields.md lists all)")
	fs.BoolVar(&c.noHeader, "no-header", false, "no line of column names")
	fs.BoolVarP(&c.noNames, "numeric", "n", false, "no names of services and hosts")
	fs.BoolVar(&c.resolve, "resolve", false, "ask DNS for the names of remote addresses")
	fs.StringVar(&c.color, "color", "auto", "auto, always or never; NO_COLOR means never")
	fs.StringVar(&c.filterArg, "filter", "", "the filter, instead of as arguments")
	fs.BoolVar(&c.failEmpty, "fail-empty", false, "exit with code 3 when nothing matched")
}

// addOrder defines the flags that order and cut a list.
func (c *common) addOrder(fs *pflag.FlagSet) {
	fs.StringVar(&c.sort, "sort", "", "field to sort by, largest first for numbers")
	fs.BoolVar(&c.reverse, "reverse", false, "reverse the order")
	fs.IntVar(&c.limit, "limit", 0, "print at most this many (0 is all)")
}

// check refuses values that no command can work with.
func (c *common) check() error {
	if c.format != "" && !slices.Contains(formats, c.format) {
		return usagef("-o %s: the formats are %s", c.format, strings.Join(formats, ", "))
	}
	switch c.color {
	case "", "auto", "always", "never":
	default:
		return usagef("--color %s: it is auto, always or never", c.color)
	}
	switch c.source {
	case "auto", "ebpf", "netlink", "procfs":
	default:
		return usagef("--source %s: the sources are auto, ebpf, netlink and procfs", c.source)
	}
	if c.limit < 0 {
		return usagef("--limit %d: it cannot be negative", c.limit)
	}
	if c.sort != "" && tcp.FieldByName(c.sort) == nil {
		return usagef("--sort %s: there is no such field%s", c.sort, didYouMean(c.sort))
	}
	return nil
}

// parseFilter reads the filter of a command line.
func (c *common) parseFilter(args []string, o filter.Options) (*filter.Filter, error) {
	if c.filterArg != "" {
		if len(args) > 0 {
			return nil, usagef("the filter is given twice: as --filter and as %q", strings.Join(args, " "))
		}
		args = []string{c.filterArg}
	}
	return filter.ParseArgsWith(args, o)
}

// fields are the fields of JSON and CSV.
func (c *common) fields() ([]*tcp.Field, error) {
	names, add := c.columnNames()
	if len(names) == 0 || add {
		return tcp.Fields(), nil // all fields are there already
	}
	return fieldsNamed("--columns", names)
}

// fieldsNamed finds the fields that a flag names.
func fieldsNamed(flag string, names []string) ([]*tcp.Field, error) {
	var fs []*tcp.Field
	for _, name := range names {
		named := tcp.FieldsByName(name)
		if len(named) == 0 {
			return nil, usagef("%s: there is no field %q%s", flag, name, didYouMean(name))
		}
		fs = append(fs, named...)
	}
	return fs, nil
}

// tableColumns are the columns of a table; usual are those of the format.
func (c *common) tableColumns(usual []output.Column) ([]output.Column, error) {
	names, add := c.columnNames()
	if len(names) == 0 {
		return usual, nil
	}
	var cs []output.Column
	if add {
		cs = slices.Clone(usual)
	}
	for _, name := range names {
		col, ok := output.ColumnByName(name)
		if !ok {
			return nil, usagef("--columns: there is no field %q%s", name, didYouMean(name))
		}
		if !add {
			col.Drop = 0 // asked for by name
		}
		cs = append(cs, col)
	}
	return cs, nil
}

// columnNames splits --columns; add says that they come after the usual ones.
func (c *common) columnNames() (names []string, add bool) {
	for name := range strings.SplitSeq(c.columns, ",") {
		name = strings.TrimSpace(name)
		if rest, ok := strings.CutPrefix(name, "+"); ok {
			name, add = rest, true
		}
		if name != "" {
			names = append(names, name)
		}
	}
	return names, add
}

func didYouMean(name string) string {
	names := append(tcp.FieldNames(), "local", "remote")
	if s := filter.Nearest(name, names); s != "" {
		return ": did you mean " + s + "?"
	}
	return " (docs/fields.md lists all)"
}

// useColor decides on colours for a stream.
func (c *common) useColor(w any) bool {
	switch c.color {
	case "always":
		return true
	case "never":
		return false
	}
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(w)
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// width is the width of the terminal that w is; 0 if it is none.
func width(w any) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	n, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return n
}

// setup reads the configuration file and checks the flags of a command.
func (c *common) setup(cmd *cobra.Command) error {
	if err := applyConfig(cmd.Flags(), c.config); err != nil {
		return err
	}
	return c.check()
}
