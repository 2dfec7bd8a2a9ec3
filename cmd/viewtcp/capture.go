package main

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/netns"
)

// captureFlags are the flags of capture.
type captureFlags struct {
	common
	interfaces  []string
	write       string
	snaplen     uint32
	count       uint64
	lasts       time.Duration
	size        string
	every       string
	files       int
	promiscuous bool
	buffer      string
	dump        bool
	localNets   []string
	noProcess   bool
	comments    string
	connections bool
	wireshark   string
	record      recordFlags

	// outputAsked says that -o was given.
	outputAsked bool
	// What the texts above say.
	maxSize   int64
	rotate    time.Duration
	ringBytes int
}

// Values of --comments.
const (
	commentsAll   = "all"
	commentsFirst = "first"
	commentsNone  = "none"
)

func newCapture(e env) *cobra.Command {
	var c captureFlags
	cmd := &cobra.Command{
		Use:   "capture [FILTER]",
		Short: "Capture packets, each with the process that it belongs to",
		Long: `Captures packets from interfaces and prints them, or writes them to a file that
Wireshark shows with the process of each packet beside it. It ends with Ctrl-C,
--for or --count; Ctrl-C is how a capture is meant to end, so its exit code is 0.

The filter may ask for the packet (port 443, tcp.flags.syn == 1) and for the
connection that it belongs to (process curl, container web, state established).
What the kernel can decide it does; the rest is checked for each packet that is
left. With a filter only TCP is captured; without one a file gets every frame.`,
		Example: `  viewtcp capture port 443
  viewtcp capture process curl -w curl.pcapng
  viewtcp capture -i eth0 -w ring.pcapng -C 100MB -W 10
  viewtcp capture -w - | tshark -r -
  viewtcp capture --connections -o jsonl --for 1m
  viewtcp capture --bpf-dump 'host 192.0.2.7 and tcp.flags.syn == 1'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.setup(cmd); err != nil {
				return err
			}
			c.outputAsked = cmd.Flags().Changed("output")
			collectLess()
			return captureCommand(cmd.Context(), e, &c, args)
		},
	}
	fs := cmd.Flags()
	c.addSource(fs)
	c.addOutput(fs)
	c.addCapture(fs)
	if f := fs.Lookup("netns"); f != nil {
		// Else a packet that crosses namespaces would be there several times.
		f.DefValue, c.netns = "self", "self"
		f.Usage = "network namespaces to capture in: self, all (those that there are when it begins) or the path of one"
	}
	return cmd
}

func (c *captureFlags) addCapture(fs *pflag.FlagSet) {
	fs.StringSliceVarP(&c.interfaces, "interface", "i", nil, "interface to capture from; several may be given (default any)")
	fs.StringVarP(&c.write, "write", "w", "", `write packets to this file (.pcap, else pcapng); "-" is stdout`)
	fs.Uint32VarP(&c.snaplen, "snaplen", "s", 0, "keep so many bytes of each packet (0 is all)")
	fs.Uint64VarP(&c.count, "count", "c", 0, "stop after so many packets were written or printed (0 is never)")
	fs.DurationVar(&c.lasts, "for", 0, "stop after this time, as in 90s or 10m")
	fs.StringVarP(&c.size, "rotate-size", "C", "", "with -w: begin the next file when one is so large, as in 100MB")
	fs.StringVarP(&c.every, "rotate-every", "G", "", "with -w: begin the next file after so many seconds, or a time as in 10m")
	fs.IntVarP(&c.files, "rotate-files", "W", 0, "with -C or -G: keep so many files and remove the oldest (0 is all)")
	fs.BoolVar(&c.promiscuous, "promiscuous", false, "also packets to other hosts, where the interface sees them")
	fs.StringVar(&c.buffer, "buffer", "", "memory of the ring between the kernel and ViewTCP, as in 128MiB (default 32MiB)")
	fs.BoolVar(&c.dump, "bpf-dump", false, "print the BPF program that the kernel would run, and do nothing else")
	fs.StringSliceVar(&c.localNets, "local-net", nil, "addresses of the local end where there is no socket, as CIDR; else the end that opened a connection is local")
	fs.BoolVar(&c.noProcess, "no-process", false, "packets alone: do not look for their sockets and processes")
	fs.StringVar(&c.comments, "comments", commentsAll, "packets that get a comment with their process: all, first (of each connection) or none")
	fs.BoolVar(&c.connections, "connections", false, "print connections as they end, instead of packets")
	fs.StringVar(&c.wireshark, "wireshark", "4.4", "whose definitions the flags follow where versions differ: 4.4 or 4.0")
	c.record.add(fs)
}

// checkTogether refuses values and flags that do not go together, and reads those
// that are texts.
func (c *captureFlags) checkTogether(e env) error {
	switch {
	case c.wireshark != "4.4" && c.wireshark != "4.0":
		return usagef("--wireshark %s: the versions are 4.4 and 4.0", c.wireshark)
	case c.lasts < 0:
		return usagef("--for cannot be negative")
	case c.snaplen != 0 && c.snaplen < 64:
		return usagef("-s %d: less than 64 bytes hold no TCP header", c.snaplen)
	case !slices.Contains([]string{commentsAll, commentsFirst, commentsNone}, c.comments):
		return usagef("--comments %s: it is all, first or none", c.comments)
	case c.write == "-" && (c.connections || c.outputAsked):
		return usagef("-w - and text both go to stdout; leave one of them out")
	case c.write == "-" && isTerminal(e.stdout):
		return usagef("-w -: a capture would upset the terminal; send it into a file or a program")
	case c.files < 0:
		return usagef("-W %d: it cannot be negative", c.files)
	case c.files > 0 && c.size == "" && c.every == "":
		return usagef("-W says how many files to keep; when one is full, -C or -G say")
	case (c.size != "" || c.every != "") && (c.write == "" || c.write == "-"):
		return usagef("-C and -G are for -w FILE")
	case c.columns != "" && !c.connections:
		return usagef("--columns: packets have columns of their own; --connections takes it")
	case c.resolve && !c.connections:
		return usagef("--resolve is for --connections: packets are printed as they come")
	case c.noProcess && c.collector != "":
		return usagef("--no-process asks no collector; leave out --collector")
	}
	if err := c.record.check(c); err != nil {
		return err
	}
	return c.checkTexts()
}

func (c *captureFlags) checkTexts() error {
	size := func(name, text string, least, most uint64) (int64, error) {
		if text == "" {
			return 0, nil
		}
		n, err := filter.ParseSize(text)
		if err != nil || n < least || n > most {
			return 0, usagef("%s %s: it is a size between %d and %d bytes, as in 64MiB", name, text, least, most)
		}
		return int64(n), nil
	}
	var err error
	if c.maxSize, err = size("-C", c.size, 1<<10, 1<<50); err != nil {
		return err
	}
	ring, err := size("--buffer", c.buffer, 256<<10, 1<<30)
	if err != nil {
		return err
	}
	c.ringBytes = int(ring)
	if c.every != "" {
		if n, err := strconv.ParseUint(c.every, 10, 31); err == nil {
			c.rotate = time.Duration(n) * time.Second
		} else if c.rotate, err = time.ParseDuration(c.every); err != nil {
			return usagef("-G %s: it is a number of seconds, or a time as in 10m", c.every)
		}
		if c.rotate < time.Second {
			return usagef("-G %s: it is a second at least", c.every)
		}
	}
	return nil
}

// liveConfig is how the packets of one namespace are captured; f is nil for every
// frame.
func (c *captureFlags) liveConfig(f *filter.Filter) capture.LiveConfig {
	cfg := capture.DefaultLiveConfig()
	cfg.Interfaces = c.interfaces
	cfg.Promiscuous = c.promiscuous
	cfg.Filter = f
	// Text shall come as it happens.
	cfg.BlockTimeout = liveBlock
	switch {
	case c.snaplen != 0:
		cfg.Snaplen = c.snaplen
	case c.onlyRecords():
		cfg.Snaplen = recordSnaplen
	}
	if c.onlyRecords() {
		cfg.BlockTimeout, cfg.Gather = recordBlock, recordBlock
	}
	if c.ringBytes != 0 {
		cfg.RingBytes = c.ringBytes
		cfg.BlockBytes = min(cfg.BlockBytes, 1<<(bits.Len(uint(c.ringBytes))-3))
	}
	return cfg
}

// recordBlock is the same where packets go to a recording and nowhere else, and how
// long it may leave them in the ring besides.
const recordBlock = 100 * time.Millisecond

// onlyRecords reports whether nothing needs more than headers.
func (c *captureFlags) onlyRecords() bool {
	return c.record.dir != "" && c.write == "" && !c.connections && !c.outputAsked
}

// liveBlock is how long the kernel may gather packets before it hands them over.
const liveBlock = 20 * time.Millisecond

// kernelFilter is what goes to the kernel: nil where every frame is asked for.
func kernelFilter(f *filter.Filter) *filter.Filter {
	if f.MatchesAll() && strings.TrimSpace(f.Text()) == "" {
		return nil
	}
	return f
}

func captureCommand(ctx context.Context, e env, c *captureFlags, args []string) error {
	if err := c.checkTogether(e); err != nil {
		return err
	}
	f, err := c.parseFilter(args, filterOptions())
	if err != nil {
		return err
	}
	if c.dump {
		return dumpProgram(e, c, f)
	}
	return newCapturing(e, c, f).run(ctx)
}

// dumpProgram prints the program of each interface.
func dumpProgram(e env, c *captureFlags, f *filter.Filter) error {
	found, err := capture.FindLiveInterfaces(c.interfaces, nil)
	if err != nil {
		return wrongInterface(err)
	}
	snaplen := c.snaplen
	if snaplen == 0 {
		snaplen = capture.MaxLiveSnaplen
	}
	for _, at := range found {
		p, err := capture.CompileProgram(kernelFilter(f), at.Link, snaplen)
		if err != nil {
			return err
		}
		if len(found) > 1 {
			fmt.Fprintf(e.stdout, "# %s\n", at.Name)
		}
		if _, err := fmt.Fprint(e.stdout, p.String()); err != nil {
			return err
		}
	}
	return nil
}

// wrongInterface makes a mistake in the command line of a name that is none.
func wrongInterface(err error) error {
	if errors.As(err, new(*capture.NoInterfaceError)) {
		return usageError{err}
	}
	return err
}

// captureNamespaces are those that --netns names.
func captureNamespaces(name string) (list []netns.Namespace, hidden int, err error) {
	if name == "all" {
		return netns.List()
	}
	list, err = choice{netns: name}.namespaces()
	if len(list) == 0 && err == nil {
		self, err := netns.Self()
		return []netns.Namespace{self}, 0, err
	}
	return list, 0, err
}
