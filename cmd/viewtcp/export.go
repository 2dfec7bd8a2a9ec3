package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/moment"
	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/store/parquet"
)

// exportFlags are the flags of export.
type exportFlags struct {
	common
	write, dir, data string
	since, until     string
	disguise
	packetTimes

	daemon daemonFlags
}

// packetTimes are the times of the first and the last packet that may be taken, in
// nanoseconds since 1970; 0 is no bound.
type packetTimes struct{ from, to int64 }

func newExport(e env) *cobra.Command {
	var x exportFlags
	var from bundleFlag
	cmd := &cobra.Command{
		Use:   "export [FILTER|ID] -w FILE",
		Short: "Write the recorded packets of chosen connections to a file",
		Long: `Writes the packets that viewtcp serve, or capture --record DIR, kept of the chosen
connections to a file: exactly those, each with its process and connection beside
it. The history that serve keeps says which connections a filter or an id means,
also long after their end. Without it there is what the recording holds: headers,
addresses, times, and the process and id of each connection; what else a filter
asks for is worked out from the packets.

With --server a daemon elsewhere chooses the packets and sends them.`,
		Example: `  viewtcp export c6qm2doitf2qbf -w one.pcapng
  viewtcp export process curl and retransmits ">" 3 --since 10m -w curl.pcapng
  viewtcp export --record-dir DIR 'port 443 and retransmissions > 3' -w bad.pcapng --anonymize`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := x.setup(cmd); err != nil {
				return err
			}
			collectLess()
			return from.with(cmd.Context(), &x.daemon, func(o *openedBundle) error {
				now := time.Now()
				if o != nil {
					now = o.end()
				}
				if x.asksServer() {
					return exportFromServer(cmd.Context(), e, &x, args, now)
				}
				return export(cmd.Context(), e, &x, args, now)
			})
		},
	}
	fs := cmd.Flags()
	x.source = "auto"
	fs.StringVarP(&x.write, "write", "w", "", `file to write (.pcap, else pcapng); "-" is stdout`)
	fs.StringVar(&x.dir, "record-dir", "", "directory that capture --record wrote to")
	fs.StringVar(&x.data, "data", "", "data directory of viewtcp serve (default VIEWTCP_DATA, else the usual one)")
	from.add(fs)
	x.daemon.add(fs)
	fs.StringVar(&x.since, "since", "", `packets from this time on: 10m (ago), 14:05, "yesterday 14:00", RFC 3339`)
	fs.StringVar(&x.until, "until", "", "packets until this time")
	x.addDisguise(fs, "other addresses, with the same common prefixes; leaves payload and names out", "leave out payload that was recorded")
	fs.StringVar(&x.filterArg, "filter", "", "the filter, instead of as arguments")
	fs.BoolVar(&x.failEmpty, "fail-empty", false, "exit with code 3 when nothing matched")
	fs.StringVar(&x.config, "config", "", "file with defaults for these flags (default $XDG_CONFIG_HOME/viewtcp/config.yaml, if it is there)")
	return cmd
}

// checkTogether refuses what does not go together, and reads the times.
func (x *exportFlags) checkTogether(e env, now time.Time) error {
	switch {
	case x.asksServer() && x.dir != "":
		return usagef("--record-dir and --server are two places; name one")
	case x.write == "":
		return usagef("export: -w FILE is missing")
	case x.write == "-" && isTerminal(e.stdout):
		return usagef("-w -: a capture would upset the terminal; send it into a file or a program")
	case x.dir != "" && x.data != "":
		return usagef("--record-dir and --data are two places; name one")
	}
	err := x.checkKey()
	if err != nil {
		return err
	}
	if x.dir == "" && !x.asksServer() {
		if x.data, err = dataDir(x.data); err != nil {
			return err
		}
		x.dir = filepath.Join(x.data, packetsDir)
	}
	from, to, err := moment.Bounds(x.since, x.until, now)
	if err != nil {
		return usageError{err}
	}
	x.setRange(from, to)
	return nil
}

// setRange takes the packets from one moment on until before another; zero is no
// bound.
func (t *packetTimes) setRange(from, to time.Time) {
	if !from.IsZero() {
		t.from = from.UnixNano()
	}
	if !to.IsZero() {
		t.to = to.UnixNano() - 1
	}
}

func export(ctx context.Context, e env, x *exportFlags, args []string, now time.Time) error {
	if err := x.checkTogether(e, now); err != nil {
		return err
	}
	f, err := x.parseFilter(args, filterOptions())
	if err != nil {
		return err
	}
	rec, err := capture.OpenRecording(x.dir)
	switch {
	case rec == nil && x.data != "" && errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("there are no recorded packets in %s: viewtcp serve records them; --data DIR names its data directory, --record-dir DIR that of capture --record", x.data)
	case rec == nil:
		return err
	case err != nil:
		e.warn("some of the recording cannot be read: " + err.Error())
	}
	r := &recorded{ctx: ctx, e: e, rec: rec, packetTimes: x.packetTimes, filter: f}
	if x.data != "" {
		past, err := parquet.OpenReadOnly(filepath.Join(x.data, storeDir))
		if err == nil {
			r.past = past
		} else if !errors.Is(err, os.ErrNotExist) {
			e.warn("history cannot be read, so packets are chosen by themselves: " + err.Error())
		}
	}
	return x.export(r)
}

// export writes what is chosen of a recording, or says that nothing is.
func (x *exportFlags) export(r *recorded) error {
	chosen, err := r.choose()
	if err != nil {
		return err
	}
	if len(chosen) == 0 {
		return x.nothing(r.e, r.span())
	}
	return x.save(r, chosen)
}

// nothing says that nothing matches, and what there is.
func (x *exportFlags) nothing(e env, there string) error {
	e.warn("nothing recorded matches" + there)
	if x.failEmpty {
		return exitError{exitEmpty}
	}
	return nil
}

// span says what of the past there is.
func (r *recorded) span() string {
	first, last := int64(0), int64(0)
	for _, s := range r.rec.Segments() {
		if s.Packets == 0 {
			continue
		}
		if first == 0 || s.First < first {
			first = s.First
		}
		last = max(last, s.Last)
	}
	if last == 0 {
		return ": the recording is empty"
	}
	at := func(ns int64) string { return time.Unix(0, ns).Format(time.DateTime) }
	return "; the recording goes from " + at(first) + " to " + at(last)
}

// save writes the packets of the chosen connections to the file.
func (x *exportFlags) save(r *recorded, chosen chosenConns) error {
	out, err := newExporter(x.write, x.disguise)
	if err != nil {
		return err
	}
	conns := 0
	write := func(w io.Writer) (err error) {
		conns, err = r.writeTo(w, out, chosen, nil)
		return err
	}
	if x.write == "-" {
		err = write(r.e.stdout)
	} else {
		for _, s := range r.rec.Segments() {
			if sameFile(filepath.Join(r.rec.Dir(), s.Name), x.write) {
				return usagef("-w %s: that is a file of the recording", x.write)
			}
		}
		err = replaceFile(x.write, write)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", x.write, err)
	}
	if out.payload {
		r.e.warn(fmt.Sprintf("the file holds payload of %d packets, as it was recorded; --headers-only leaves it out", out.withPayload))
	}
	if s := r.leftOut(); s != "" {
		r.e.warn(s)
	}
	fmt.Fprintf(r.e.stderr, "viewtcp: wrote %s of %s to %s\n", counted(out.packets, "packets"), counted(conns, "connections"), output.Clean(x.write))
	return nil
}

// writeTo writes the packets of the chosen connections and returns how many
// connections had some. each, if it is not nil, is asked after each packet whether
// to go on.
func (r *recorded) writeTo(w io.Writer, out *exporter, chosen chosenConns, each func(p *recordedPacket) error) (int, error) {
	if err := out.begin(w, cmp.Or(r.origin, "the recording in "+r.rec.Dir())); err != nil {
		return 0, err
	}
	conns := make(map[*chosenConn]bool)
	err := r.each(r.query(chosen.tuples()), func(p *recordedPacket) error {
		c := chosen.of(&p.seg, p.frame.Time)
		if c == nil {
			return nil
		}
		conns[c] = true
		comment := ""
		if !out.pcap {
			comment = verdictComment(c.comment(&p.seg, out.anonymized()), &p.v)
		}
		f := p.frame
		f.Comment = ""
		err := out.frame(&f, interfaceOf{number: f.Interface}, r.rec.Interfaces(), len(p.seg.Payload) > 0, comment)
		if err == nil && each != nil {
			err = each(p)
		}
		return err
	})
	return len(conns), errors.Join(err, out.end())
}

// leftOut says what the recording never had; empty is nothing.
func (r *recorded) leftOut() string {
	var lost uint64
	var kinds []string
	for _, s := range r.rec.Segments() {
		lost += s.Lost
		if s.SampleRate > 1 {
			kinds = append(kinds, fmt.Sprintf("one in %d connections is recorded", s.SampleRate))
		}
		if s.Cutoff.Packets > 0 {
			kinds = append(kinds, fmt.Sprintf("after %d packets of a direction most were cut off", s.Cutoff.Packets))
		}
		if s.Cutoff.Bytes > 0 {
			kinds = append(kinds, fmt.Sprintf("after %d bytes of a direction most packets were cut off", s.Cutoff.Bytes))
		}
	}
	slices.Sort(kinds)
	kinds = slices.Compact(kinds)
	if lost > 0 {
		kinds = append(kinds, fmt.Sprintf("%d packets are missing, which the kernel dropped or the disk did not take", lost))
	}
	if len(kinds) == 0 {
		return ""
	}
	return "the recording does not have everything: " + strings.Join(kinds, "; ")
}
