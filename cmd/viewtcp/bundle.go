package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/viewtcp/viewtcp/internal/bundle"
	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/moment"
	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/store/parquet"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// bundleFlags are the flags of bundle.
type bundleFlags struct {
	common
	data, write  string
	since, until string
	disguise
	noPackets   bool
	serveConfig string
}

func newBundle(e env) *cobra.Command {
	var b bundleFlags
	cmd := &cobra.Command{
		Use:   "bundle [FILTER] --since TIME -o FILE",
		Short: "Put an incident into one file that any ViewTCP opens",
		Long: `Puts what viewtcp serve knows of a stretch of time into one file: connections,
samples, events and marks, what the host used, packets, and what this host can show.
list, history and export open it with --bundle FILE, on any machine; it is a zip of
JSON lines and a capture, which other programs read as well.

With --anonymize addresses, hosts, users, containers, names and marks are pseudonyms,
the same in all of its parts, and arguments, payload and configuration are left out.`,
		Example: `  viewtcp bundle --since 10m -o incident.zip
  viewtcp bundle --since 14:00 --until 14:30 -o incident.zip port 5432 --anonymize
  viewtcp history --bundle incident.zip --group-by process --peak`,
		RunE: func(cmd *cobra.Command, args []string) error {
			b.source, b.netns = "auto", "all"
			collectLess()
			return makeBundle(cmd.Context(), e, &b, args)
		},
	}
	fs := cmd.Flags()
	fs.StringVarP(&b.write, "output", "o", "", "file to write")
	fs.StringVar(&b.since, "since", "", `from this time on: 10m (ago), 14:05, "yesterday 14:00", RFC 3339`)
	fs.StringVar(&b.until, "until", "", "until this time (default now)")
	fs.StringVar(&b.filterArg, "filter", "", "the filter, instead of as arguments")
	fs.StringVar(&b.data, "data", "", "data directory of viewtcp serve (default VIEWTCP_DATA, else the usual one)")
	b.addDisguise(fs, "pseudonyms instead of addresses and names; leaves arguments, payload and configuration out", "leave out payload that was recorded")
	fs.BoolVar(&b.noPackets, "no-packets", false, "leave out packets")
	fs.StringVar(&b.serveConfig, "serve-config", "", "configuration file of viewtcp serve to put in as well, without comments and secrets")
	return cmd
}

// bundleRange is how long a bundle is when nobody says.
const bundleRange = 10 * time.Minute

func makeBundle(ctx context.Context, e env, b *bundleFlags, args []string) error {
	switch {
	case b.write == "":
		return usagef("bundle: -o FILE is missing: where shall it go?")
	case b.write == "-" && isTerminal(e.stdout):
		return usagef("-o -: a zip would upset the terminal; name a file")
	}
	if err := b.checkKey(); err != nil {
		return err
	}
	now := time.Now()
	f, err := b.parseFilter(args, filter.Options{Now: now, Services: filter.SystemServices()})
	if err != nil {
		return err
	}
	g := &gathering{ctx: ctx, e: e, b: b, filter: f, now: now, ids: make(map[tcp.ID]bool)}
	if g.from, g.to, err = moment.Range(b.since, b.until, bundleRange, now); err != nil {
		return usageError{err}
	}
	if g.dir, err = dataDir(b.data); err != nil {
		return err
	}
	if g.past, err = parquet.OpenReadOnly(filepath.Join(g.dir, storeDir)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("bundle: there is no history in %s: viewtcp serve collects and keeps it; --data DIR names its directory", g.dir)
		}
		return fmt.Errorf("bundle: reading the history in %s: %w", g.dir, err)
	}
	if g.anonymizer, err = b.anonymizer(); err != nil {
		return err
	}
	if g.anonymizer != nil {
		g.mask = bundle.NewMask(g.anonymizer.Addr)
	}
	if b.write == "-" {
		err = g.write(e.stdout)
	} else {
		err = replaceFile(b.write, g.write)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", b.write, err)
	}
	for _, s := range g.missing {
		e.warn("not in the bundle: " + s)
	}
	fmt.Fprintf(e.stderr, "viewtcp: wrote %d connections, %d events and %d packets of %s to %s to %s\n",
		len(g.ids), g.events, g.packets, g.from.Format(time.DateTime), g.to.Format(time.DateTime), output.Clean(b.write))
	return nil
}

// gathering is a bundle that is being written.
type gathering struct {
	ctx    context.Context //nolint:containedctx // of one command, whose calls it would follow everywhere
	e      env
	b      *bundleFlags
	filter *filter.Filter
	now    time.Time
	dir    string
	past   *parquet.Reader
	// from and to are the range asked for; rows of its connections from further
	// back and later are taken too.
	from, to time.Time

	anonymizer *capture.Anonymizer
	mask       *bundle.Mask // nil is none

	out     *bundle.Writer
	ids     map[tcp.ID]bool
	events  uint64
	packets int
	missing []string
}

const (
	// maxBundleConns bounds the connections of a bundle.
	maxBundleConns = 1 << 20
	// rowsReach is how far back the rows of a connection that is open are looked
	// for: it has one each day.
	rowsReach = 25 * time.Hour
)

// lacks notes what the bundle does not have.
func (g *gathering) lacks(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	g.missing = append(g.missing, s)
	g.out.Missing(s)
}

// write gathers everything into w.
func (g *gathering) write(w io.Writer) error {
	m := bundle.Manifest{
		ViewTCP: readBuild().Version, Created: g.now.UTC(), Host: hostname(), OS: runtime.GOOS + "/" + runtime.GOARCH,
		From: g.from.UTC(), To: g.to.UTC(), Filter: g.filter.Text(), Anonymized: g.b.anonymize,
		HeadersOnly: g.b.headersOnly || g.b.anonymize,
	}
	if g.mask != nil {
		m.Host = g.mask.Host(m.Host)
		if m.Filter != "" {
			m.Filter = "(left out)" // it may hold addresses
		}
	}
	g.out, g.missing, g.events, g.packets = bundle.NewWriter(w, m), nil, 0, 0
	for _, step := range []func() error{g.addReadme, g.addConnections, g.addSamples, g.addEvents, g.addUsage, g.addPackets, g.addDoctor, g.addConfig} {
		if err := step(); err != nil {
			return err
		}
		if err := g.ctx.Err(); err != nil {
			return err
		}
	}
	return g.out.Close()
}

func (g *gathering) addReadme() error {
	return g.out.Add(bundle.ReadmeName, func(w io.Writer) error {
		_, err := io.WriteString(w, `An incident file of ViewTCP: what was known of TCP connections in a stretch of time.

  viewtcp history --bundle FILE       connections, groups, events: all of viewtcp history
  viewtcp list --bundle FILE          connections that were open at its end
  viewtcp export --bundle FILE -w X   its packets

The .jsonl files have one JSON object a line, packets.pcapng opens in Wireshark, and
manifest.json says what is here, what is missing, and the checksum of each file.
`)
		return err
	})
}

// addConnections adds all rows of the connections that were open in the range.
func (g *gathering) addConnections() error {
	q := &store.Query{From: g.from, To: g.to, Fields: []*tcp.Field{tcp.FieldByName("id")}}
	if !g.filter.MatchesAll() {
		q.Filter = g.filter
	}
	a, err := g.past.Connections(g.ctx, q, func(r *store.Record) error {
		if g.ids[r.Conn.ID] = true; len(g.ids) > maxBundleConns {
			return usagef("more than %d connections: ask for a shorter time, or fewer with a filter", maxBundleConns)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, gap := range a.Gaps {
		g.out.Gap(bundle.Gap{From: time.Unix(0, gap.From).UTC(), To: time.Unix(0, gap.To).UTC(), Reason: gap.Reason})
	}
	if a.Retained == 0 || a.Retained > g.from.UnixNano() {
		g.lacks("history begins only after the range does")
	}
	if g.to.After(g.now.Add(-time.Minute)) {
		g.lacks("connections that were opened in the last moments may have no row yet")
	}
	all := &store.Query{From: g.from.Add(-rowsReach), To: g.now.Add(time.Minute)}
	return bundle.AddRows(g.out, bundle.ConnectionsName, store.RecordColumns(), func(add func(*store.Record) error) error {
		_, err := g.past.Records(g.ctx, all, func(r *store.Record) error {
			if !g.ids[r.Conn.ID] {
				return nil
			}
			if g.mask != nil {
				g.mask.Record(r)
			}
			return add(r)
		})
		return err
	})
}

func (g *gathering) addSamples() error {
	return bundle.AddRows(g.out, bundle.SamplesName, store.SampleColumns(), func(add func(*store.Sample) error) error {
		_, err := g.past.AllSamples(g.ctx, g.from, g.to, func(s *store.Sample) error {
			if !g.ids[s.ID] {
				return nil
			}
			if g.mask != nil {
				g.mask.Sample(s)
			}
			return add(s)
		})
		return err
	})
}

// addEvents adds what happened in the range to these connections, and to all.
func (g *gathering) addEvents() error {
	return bundle.AddRows(g.out, bundle.EventsName, store.EventColumns(), func(add func(*store.Event) error) error {
		_, err := g.past.Events(g.ctx, g.from, g.to, nil, func(ev *store.Event) error {
			if ev.ID != 0 && !g.ids[ev.ID] {
				return nil
			}
			g.events++
			if g.mask != nil {
				g.mask.Event(ev)
			}
			return add(ev)
		})
		return err
	})
}

func (g *gathering) addUsage() error {
	err := bundle.AddRows(g.out, bundle.UsageName, store.UsageColumns(), func(add func(*store.Usage) error) error {
		_, err := g.past.Usage(g.ctx, &store.UsageQuery{From: g.from, To: g.to}, func(u *store.Usage) error {
			if g.mask != nil {
				g.mask.Usage(u)
			}
			return add(u)
		})
		return err
	})
	if err == nil && g.out.Rows(bundle.UsageName) == 0 {
		g.lacks("nothing is known of what the host used in that time")
	}
	return err
}

// addPackets adds the recorded packets of the connections.
func (g *gathering) addPackets() error {
	if g.b.noPackets {
		g.lacks("packets were not asked for")
		return nil
	}
	dir := filepath.Join(g.dir, packetsDir)
	rec, err := capture.OpenRecording(dir)
	if rec == nil {
		if errors.Is(err, fs.ErrNotExist) {
			g.lacks("no packets were recorded")
			return nil
		}
		return err
	}
	if err != nil {
		g.lacks("some of the recorded packets cannot be read")
	}
	r := &recorded{ctx: g.ctx, e: env{stderr: io.Discard}, rec: rec, filter: g.filter, past: g.past}
	r.setRange(g.from, g.to)
	chosen, err := r.choose()
	if err != nil {
		return err
	}
	if len(chosen) == 0 {
		g.lacks("no packets of that time were recorded")
		return nil
	}
	if s := r.leftOut(); s != "" {
		g.lacks("%s", s)
	}
	out, err := newExporter(bundle.PacketsName, disguise{headersOnly: g.b.headersOnly || g.b.anonymize})
	if err != nil {
		return err
	}
	out.anonymizer = g.anonymizer // the one of the rows
	err = g.out.Add(bundle.PacketsName, func(w io.Writer) error {
		_, err := r.writeTo(w, out, chosen, nil)
		return err
	})
	g.packets = out.packets
	return err
}

// addDoctor adds what this host can show.
func (g *gathering) addDoctor() error {
	features, err := examine(g.ctx, &g.b.common)
	if err != nil {
		g.lacks("what this host can show: %v", err)
		return nil
	}
	if g.mask != nil {
		for i := range features {
			features[i].Reason = "" // it may name paths and users
		}
	}
	return g.out.Add(bundle.DoctorName, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(features)
	})
}

// addConfig adds how serve works here: its keys and their values, of which none is
// a secret, and none of what others wrote into the file.
func (g *gathering) addConfig() error {
	path := g.b.serveConfig
	switch {
	case path == "":
		return nil
	case g.mask != nil:
		g.lacks("the configuration names paths and hosts")
		return nil
	}
	c, err := loadServeConfig(path, serveSections())
	if err != nil {
		return err
	}
	return g.out.Add(bundle.ConfigName, func(w io.Writer) error {
		_, err := w.Write(appendServeConfig(nil, &c, nil))
		return err
	})
}
