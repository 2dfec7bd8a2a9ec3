package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/viewtcp/viewtcp/internal/analysis"
	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// analyzeFlags are the flags of analyze.
type analyzeFlags struct {
	common
	packets bool
	stream  int
	summary bool
	html    string
	write   string
	disguise
	localNets []string
	wireshark string
	maxExpand string

	// outputAsked says that -o was given; twice that one pass will not do.
	outputAsked, twice bool
}

func newAnalyze(e env) *cobra.Command {
	a := analyzeFlags{stream: -1}
	cmd := &cobra.Command{
		Use:   "analyze FILE... [FILTER]",
		Short: "Print the connections of a capture, with packet analysis",
		Long: `Reads pcap and pcapng files, also compressed with gzip or zstd, and prints each
TCP connection with what its packets show: who opened and closed it, round
trips, retransmissions, reordering, windows. "-" is standard input.

Leading arguments that are files are read; the rest is the filter.`,
		Example: `  viewtcp analyze trace.pcapng
  viewtcp analyze trace.pcap.gz 'retransmissions > 3' --sort initial_rtt
  viewtcp analyze trace.pcap --packets --stream 4
  viewtcp analyze trace.pcap --html report.html
  viewtcp analyze trace.pcap port 443 -w https.pcapng --anonymize
  tcpdump -w - -c 1000 | viewtcp analyze - --summary`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.setup(cmd); err != nil {
				return err
			}
			a.outputAsked = cmd.Flags().Changed("output")
			collectLess()
			return analyze(cmd.Context(), e, &a, args)
		},
	}
	fs := cmd.Flags()
	a.source, a.netns = "auto", "all"
	fs.StringVar(&a.config, "config", "", "file with defaults for these flags (default $XDG_CONFIG_HOME/viewtcp/config.yaml, if it is there)")
	a.addOutput(fs)
	a.addOrder(fs)
	fs.BoolVar(&a.packets, "packets", false, "list the packets, with the flags of the analysis")
	fs.IntVar(&a.stream, "stream", -1, "this connection only, by its number")
	fs.BoolVar(&a.summary, "summary", false, "print what stands out: states, talkers, slowest, lossiest, resets")
	fs.StringVar(&a.html, "html", "", "write a report with graphs to this file: one page that needs nothing else")
	fs.StringVarP(&a.write, "write", "w", "", "write the packets of the chosen connections to this file (.pcap, else pcapng)")
	a.addDisguise(fs, "with -w: other addresses, with the same common prefixes; leaves payload out", "with -w: leave the payload out")
	fs.StringSliceVar(&a.localNets, "local-net", nil, "addresses of the local end, as CIDR; else the end that opened a connection is local")
	fs.StringVar(&a.wireshark, "wireshark", "4.4", "whose definitions the flags follow where versions differ: 4.4 or 4.0")
	fs.StringVar(&a.maxExpand, "max-expand", "", "how much a compressed file may expand to, as 20GiB (default 10GiB, and 100 times its size)")
	return cmd
}

// check refuses flags that do not go together.
func (a *analyzeFlags) checkTogether() error {
	if a.wireshark != "4.4" && a.wireshark != "4.0" {
		return usagef("--wireshark %s: the versions are 4.4 and 4.0", a.wireshark)
	}
	if a.write == "" && (a.anonymize || a.headersOnly || a.key != "") {
		return usagef("--anonymize and --headers-only change what -w FILE writes, which is missing")
	}
	if err := a.checkKey(); err != nil {
		return err
	}
	if a.packets && a.summary {
		return usagef("--packets and --summary are two ways to print; choose one")
	}
	if a.packets && (a.sort != "" || a.reverse) {
		return usagef("--sort and --reverse are for connections; packets come as they were captured")
	}
	if a.packets && a.columns != "" {
		return usagef("--columns: packets have columns of their own; -o jsonl has all that is known of them")
	}
	if a.stream < -1 {
		return usagef("--stream %d: streams are numbered from 0", a.stream)
	}
	if a.html != "" && (a.packets || a.write != "") {
		return usagef("--html is a way of its own to show a capture; leave out --packets and -w")
	}
	if a.resolve {
		return usagef("--resolve: names of today say little about a capture, and asking would tell the name server of it")
	}
	return nil
}

// splitFiles separates the leading arguments that are files from the filter.
func splitFiles(args []string) (files, rest []string, err error) {
	for i, arg := range args {
		if arg == "-" && !slices.Contains(files, "-") {
			files = append(files, arg)
			continue
		}
		st, err := os.Stat(arg)
		switch {
		case err == nil && st.IsDir() && i == 0:
			return nil, nil, usagef("%s is a directory; name the files in it", arg)
		case err == nil && !st.IsDir():
			files = append(files, arg)
			continue
		case i == 0:
			return nil, nil, fmt.Errorf("opening the capture: %w", err)
		}
		return files, args[i:], nil
	}
	if len(files) == 0 {
		return nil, nil, usagef("a file is missing: viewtcp analyze FILE (\"-\" is standard input)")
	}
	return files, nil, nil
}

// localNet decides which end of a connection is local.
func localNet(cidrs []string) (func(tcp.Addr) bool, error) {
	if len(cidrs) == 0 {
		return nil, nil
	}
	nets := make([]netip.Prefix, 0, len(cidrs))
	for _, s := range cidrs {
		n, err := netip.ParsePrefix(s)
		if err != nil {
			ip, errIP := netip.ParseAddr(s)
			if errIP != nil {
				return nil, usagef("--local-net %s: it is a network such as 192.0.2.0/24 or an address", s)
			}
			n = netip.PrefixFrom(ip, ip.BitLen())
		}
		nets = append(nets, n)
	}
	return func(addr tcp.Addr) bool {
		ip := addr.IP()
		return slices.ContainsFunc(nets, func(n netip.Prefix) bool { return n.Contains(ip) })
	}, nil
}

func (a *analyzeFlags) analysis() analysis.Config {
	cfg := analysis.DefaultConfig()
	cfg.Wireshark40 = a.wireshark == "4.0"
	return cfg
}

func analyze(ctx context.Context, e env, a *analyzeFlags, args []string) error {
	if err := a.checkTogether(); err != nil {
		return err
	}
	files, rest, err := splitFiles(args)
	if err != nil {
		return err
	}
	f, err := a.parseFilter(rest, filterOptions())
	if err != nil {
		var ferr *filter.Error
		if errors.As(err, &ferr) && len(rest) > 0 && looksLikeFile(rest[0]) {
			return fmt.Errorf("%s: no such file, and no filter either: %w", rest[0], err)
		}
		return err
	}
	a.twice = a.write != "" || a.packets && f.NeedsConn()
	local, err := localNet(a.localNets)
	if err != nil {
		return err
	}
	r, err := newReading(ctx, e, a, files)
	if err != nil {
		return err
	}
	defer r.close()
	out := &analyzed{e: e, a: a, filter: f, local: local}
	err = out.print(r)
	switch {
	case err != nil && !errors.Is(err, context.Canceled):
		return err
	case len(r.problems) > 0:
		for _, p := range r.problems {
			e.warn(p)
		}
		return exitError{exitFailure}
	case err != nil:
		e.warn(fmt.Sprintf("interrupted after %d frames", r.frames()))
		return nil // the context gives the exit code
	case a.failEmpty && out.shown == 0:
		return exitError{exitEmpty}
	}
	return nil
}

// looksLikeFile reports whether a word was rather meant as a file.
func looksLikeFile(s string) bool {
	return strings.ContainsRune(s, '/') || strings.Contains(s, ".pcap") || strings.HasSuffix(s, ".cap") ||
		strings.HasSuffix(s, ".gz") || strings.HasSuffix(s, ".zst")
}
