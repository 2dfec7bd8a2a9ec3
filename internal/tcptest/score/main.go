// Command score compares the analysis of packets with the truth: with what
// Wireshark says of the same captures, and with what the sending kernels really
// did.
//
//	score [-wireshark 4.0] [-show N] [DIR]
//
// DIR, or VIEWTCP_CAPTURES, holds captures and, below truth/, what is known of
// them: files.csv, streams.jsonl.gz, packets/*.csv.gz and kernel_packets.csv.gz.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/viewtcp/viewtcp/internal/analysis"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := command(ctx, os.Args[1:], os.Stdout)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "score:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("score", flag.ContinueOnError)
	version := flags.String("wireshark", "4.4", "follow Wireshark 4.4 or 4.0")
	show := flags.Int("show", 3, "packets to show of each of the worst files")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir := cmp.Or(flags.Arg(0), os.Getenv("VIEWTCP_CAPTURES"))
	if dir == "" {
		return errors.New("name a directory of captures, or set VIEWTCP_CAPTURES")
	}
	cfg := analysis.DefaultConfig()
	cfg.Wireshark40 = *version == "4.0"
	r, err := score(ctx, dir, cfg)
	if err != nil {
		return err
	}
	w := &printer{w: out}
	r.print(w, *show)
	return w.err
}

// printer keeps the first error of many writes.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) f(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (p *printer) share(name string, s share) {
	p.f("  %-28s %9.5f  %d of %d\n", name, s.part(), s.equal, s.all)
}

func (p *printer) tally(name string, t tally) {
	p.f("  %-28s %8.4f %8.4f %8.4f  %6d %6d %6d\n", name, t.recall(), t.precision(), t.f1(), t.hit, t.missed, t.wrong)
}

const tallyHead = "recall    prec.       F1     hit missed  wrong"

func (r *result) print(p *printer, show int) {
	p.f("Packets, against Wireshark\n")
	p.share("all flags equal", r.masks)
	p.share("stream number", r.numbered)
	p.share("direction", r.dirs)
	p.share("bytes in flight", r.flights)
	p.share("ack RTT", r.ackRTTs)
	p.share("number of duplicate ACK", r.dups)
	p.f("\n  %-28s %s\n", "flag", tallyHead)
	for i, t := range r.flags {
		p.tally(analysis.FlagName(i), t)
	}
	p.f("\nStreams that are not ambiguous\n")
	p.share("found", r.streams)
	p.share("packets", r.packets)
	p.share("wire bytes", r.bytes)
	p.share("payload bytes", r.payload)
	p.share("completeness", r.completeness)
	p.share("initial RTT", r.initialRTT)
	p.share("MSS, by side", r.mss)
	p.share("smallest window, by side", r.win)
	r.printWorst(p, show)
	if len(r.kernel) == 0 {
		return
	}
	p.f("\nRetransmissions, against the sending kernel\n  %-28s %s\n", "", tallyHead)
	p.tally("at the sender", r.sender)
	p.tally("at the far end", r.far)
	p.tally("copies made by the network", r.farCopies)
	p.share("ends exact at the sender", r.connections)
	p.f("\n  %-28s %s\n", "capture, sender's packets", tallyHead)
	for _, k := range r.kernel {
		p.tally(k.name, k.sender)
	}
	p.f("\n  %-28s %s\n", "capture, packets from afar", tallyHead)
	for _, k := range r.kernel {
		p.tally(k.name, k.far)
	}
}

const worstFiles = 20

func (r *result) printWorst(p *printer, show int) {
	worst := slices.Clone(r.files)
	slices.SortStableFunc(worst, func(x, y fileScore) int {
		return cmp.Compare(len(y.differences), len(x.differences))
	})
	p.f("\nFiles with most differences\n")
	for _, f := range worst[:min(len(worst), worstFiles)] {
		if len(f.differences) == 0 && f.streams.equal == f.streams.all {
			continue
		}
		p.f("  %6d of %6d  %s\n", len(f.differences), f.masks.all, f.name)
		if n := f.streams.all - f.streams.equal; n > 0 {
			p.f("%24s%d in another stream\n", "", n)
		}
		for _, d := range f.differences[:min(len(f.differences), show)] {
			p.f("%24sframe %d: %s, want %s\n", "", d.frame, names(d.got), names(d.want))
		}
	}
	for _, f := range r.files {
		if f.err != "" {
			p.f("  %s: %s\n", f.name, f.err)
		}
	}
}

func names(f analysis.Flags) string {
	if f == 0 {
		return "none"
	}
	return strings.Join(f.AppendNames(nil), "+")
}
