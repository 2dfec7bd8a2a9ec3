package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/output"
)

// extcapInterface is the name of the interface that Wireshark shows.
const extcapInterface = "viewtcp"

// extcapHelp is where Wireshark sends those who ask for help.
const extcapHelp = "https://github.com/viewtcp/viewtcp/blob/main/docs/wireshark.md"

// extcapFlags are what Wireshark calls an extcap program with (extcap(4)), and
// the options that this one has.
type extcapFlags struct {
	interfaces, dlts, config, capture bool
	iface, fifo, captureFilter        string
	install                           bool
	dir                               string

	// What the user chooses in Wireshark.
	filter, on, netns, comments string
	snaplen                     uint32
	promiscuous, noProcess      bool
}

// extcapArgs turns the command line of Wireshark, which names no command, into
// one of ours.
func extcapArgs(args []string) []string {
	if len(args) > 0 && (strings.HasPrefix(args[0], "--extcap-") || args[0] == "--capture") {
		return slices.Insert(slices.Clone(args), 0, "extcap")
	}
	return args
}

func newExtcap(e env) *cobra.Command {
	var x extcapFlags
	cmd := &cobra.Command{
		Use:   "extcap --install",
		Short: "Be a capture interface of Wireshark",
		Long: `Makes ViewTCP an interface of Wireshark and tshark, called viewtcp: all packets,
each with the process and the connection that it belongs to, chosen by filters on
processes and containers. --install links this program into your own extcap
folders. The other flags are how Wireshark talks to it (extcap(4)).`,
		Example: `  viewtcp extcap --install
  tshark -i viewtcp -f 'process curl' -T fields -e frame.comment`,
		Args: noArgs,
		// Newer Wiresharks say more than this program knows of.
		FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true},
		RunE:               func(cmd *cobra.Command, _ []string) error { return extcap(cmd.Context(), e, &x) },
	}
	fs := cmd.Flags()
	fs.BoolVar(&x.install, "install", false, "link this program into your extcap folders")
	fs.StringVar(&x.dir, "dir", "", "with --install: link it into this folder instead")
	fs.BoolVar(&x.interfaces, "extcap-interfaces", false, "list the interfaces")
	fs.String("extcap-version", "", "version of Wireshark")
	fs.StringVar(&x.iface, "extcap-interface", "", "interface that the rest is about")
	fs.BoolVar(&x.dlts, "extcap-dlts", false, "list the link types of the interface")
	fs.BoolVar(&x.config, "extcap-config", false, "list the options of the interface")
	fs.String("extcap-reload-option", "", "list the values of one option again")
	fs.StringVar(&x.captureFilter, "extcap-capture-filter", "", "the capture filter; alone it is checked")
	fs.String("extcap-control-in", "", "not used")
	fs.String("extcap-control-out", "", "not used")
	fs.BoolVar(&x.capture, "capture", false, "capture into --fifo")
	fs.StringVar(&x.fifo, "fifo", "", "pipe or file to write to")
	fs.StringVar(&x.filter, "filter", "", "ViewTCP's filter")
	fs.StringVar(&x.on, "interface", capture.AnyInterface, "interface of the host, several separated by commas")
	fs.StringVar(&x.netns, "netns", "self", "network namespace: self, all or the path of one")
	fs.StringVar(&x.comments, "comments", commentsAll, "packets that get a comment: all, first or none")
	fs.Uint32Var(&x.snaplen, "snaplen", 0, "keep so many bytes of each packet (0 is all)")
	fs.BoolVar(&x.promiscuous, "promiscuous", false, "also packets to other hosts")
	fs.BoolVar(&x.noProcess, "no-process", false, "do not look for processes")
	return cmd
}

func extcap(ctx context.Context, e env, x *extcapFlags) error {
	switch {
	case x.install:
		return x.link(e)
	case x.dir != "":
		return usagef("--dir is for --install")
	case x.interfaces:
		return x.print(e, func(b []byte) []byte {
			b = fmt.Appendf(b, "extcap {version=%s}{help=%s}{display=ViewTCP}\n", sentence(version), extcapHelp)
			return fmt.Appendf(b, "interface {value=%s}{display=ViewTCP: packets with their processes}\n", extcapInterface)
		})
	case x.iface == "":
		return usagef("extcap is for Wireshark: viewtcp extcap --install lets it find the program")
	case x.iface != extcapInterface:
		return usagef("--extcap-interface %s: the only one is %s", x.iface, extcapInterface)
	case x.dlts:
		return x.print(e, func(b []byte) []byte {
			return fmt.Appendf(b, "dlt {number=%d}{name=LINUX_SLL2}{display=Each interface has its own}\n", capture.LinkLinuxSLL2)
		})
	case x.config:
		return x.print(e, appendExtcapConfig)
	case x.capture:
		return x.run(ctx, e)
	}
	// What is printed is what is wrong with the filter.
	if _, err := x.parse(); err != nil {
		return x.print(e, func(b []byte) []byte { return append(append(b, sentence(err.Error())...), '\n') })
	}
	return nil
}

func (x *extcapFlags) print(e env, text func(b []byte) []byte) error {
	_, err := e.stdout.Write(text(nil))
	return err
}

// parse joins the option and the capture filter of Wireshark's own field.
func (x *extcapFlags) parse() (*filter.Filter, error) {
	var terms []string
	for _, s := range []string{x.captureFilter, x.filter} {
		if strings.TrimSpace(s) == "" {
			continue
		}
		// Each must be whole by itself, or parentheses could change the other.
		if _, err := filter.ParseWith(s, filterOptions()); err != nil {
			return nil, err
		}
		terms = append(terms, s)
	}
	if len(terms) == 2 {
		terms[0], terms[1] = "("+terms[0]+")", "("+terms[1]+")"
	}
	return filter.ParseWith(strings.Join(terms, " and "), filterOptions())
}

// run captures into the pipe until Wireshark has enough.
func (x *extcapFlags) run(ctx context.Context, e env) error {
	if x.fifo == "" {
		return usagef("--capture needs --fifo")
	}
	err := x.captureInto(ctx, e)
	if err != nil {
		endPipe(ctx, x.fifo)
	}
	return err
}

// pipeWait is how long the reader of a pipe may take to open it.
const pipeWait = 3 * time.Second

// endPipe lets the reader of a pipe see its end. One that nobody ever opened for
// writing has none: dumpcap would wait for the first packet until it is killed.
func endPipe(ctx context.Context, path string) {
	if st, err := os.Stat(path); err != nil || st.Mode()&os.ModeNamedPipe == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, pipeWait)
	defer cancel()
	for ctx.Err() == nil {
		// Without O_NONBLOCK it would wait for a reader that may never come.
		f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			_ = f.Close()
			return
		}
		if !errors.Is(err, syscall.ENXIO) {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (x *extcapFlags) captureInto(ctx context.Context, e env) error {
	f, err := x.parse()
	if err != nil {
		return err
	}
	c := &captureFlags{
		common: common{source: "auto", netns: x.netns}, write: x.fifo, snaplen: x.snaplen, promiscuous: x.promiscuous,
		noProcess: x.noProcess, comments: x.comments, wireshark: "4.4",
	}
	c.record.sample = 1
	for name := range strings.SplitSeq(x.on, ",") {
		if name = strings.TrimSpace(name); name != "" {
			c.interfaces = append(c.interfaces, name)
		}
	}
	if err := c.checkTogether(e); err != nil {
		return err
	}
	collectLess()
	// Wireshark takes whatever is said on stderr for the reason of a failure.
	err = newCapturing(env{stdin: e.stdin, stdout: e.stdout, stderr: io.Discard}, c, f).run(ctx)
	if errors.Is(err, syscall.EPIPE) {
		return nil // that is how it ends a capture
	}
	return err
}

// sentence makes a text fit for the lines that Wireshark reads.
func sentence(s string) string {
	return strings.NewReplacer("{", "(", "}", ")", "\n", " ").Replace(output.Clean(s))
}

// appendExtcapConfig lists the options.
func appendExtcapConfig(b []byte) []byte {
	b = append(b, "arg {number=0}{call=--filter}{display=Filter}{type=string}{placeholder=process curl and port 443}"+
		"{tooltip=ViewTCP's filter: ports and addresses, processes, containers, states}\n"...)
	b = append(b, "arg {number=1}{call=--interface}{display=Interface}{type=selector}{default="+capture.AnyInterface+"}\n"...)
	b = append(b, "arg {number=2}{call=--netns}{display=Network namespace}{type=selector}{default=self}"+
		"{tooltip=A container has a namespace of its own}\n"...)
	b = append(b, "arg {number=3}{call=--promiscuous}{display=Promiscuous mode}{type=boolflag}{default=false}\n"...)
	b = append(b, "arg {number=4}{call=--snaplen}{display=Bytes of each packet}{type=unsigned}{range=0,262144}{default=0}"+
		"{tooltip=0 is all}\n"...)
	b = append(b, "arg {number=5}{call=--comments}{display=Comments with the process}{type=selector}{default="+commentsAll+"}\n"...)
	value := func(arg int, value, display string, usual bool) {
		b = fmt.Appendf(b, "value {arg=%d}{value=%s}{display=%s}{default=%t}\n", arg, sentence(value), sentence(display), usual)
	}
	value(1, capture.AnyInterface, "any: all interfaces", true)
	if ifs, err := net.Interfaces(); err == nil {
		for _, i := range ifs {
			value(1, i.Name, i.Name, false)
		}
	}
	value(2, "self", "the one of this program", true)
	value(2, "all", "all", false)
	if list, _, err := netns.List(); err == nil {
		for _, ns := range list {
			if !ns.Self {
				value(2, ns.Path, ns.String()+" "+inhabitant(ns.Path), false)
			}
		}
	}
	value(5, commentsAll, "all packets", true)
	value(5, commentsFirst, "the first packet of a connection", false)
	value(5, commentsNone, "none", false)
	return b
}

// inhabitant tells a namespace from others: by a process in it, or its file.
func inhabitant(path string) string {
	dir, ok := strings.CutSuffix(path, "/ns/net")
	if !ok {
		return filepath.Base(path)
	}
	name, err := os.ReadFile(filepath.Join(dir, "comm"))
	if err != nil {
		return path
	}
	return "of " + strings.TrimSpace(string(name))
}
