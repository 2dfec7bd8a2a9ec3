package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/store/parquet"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

// A line is one figure of the report.
type line struct{ what, got, target string }

// queries asks what S2 to S5 ask and compares the answers with the truth.
func queries(ctx context.Context, o *options, e *parquet.Engine, begin time.Time) ([]line, error) {
	t := findTruth(o, begin)
	seq := uint64(1)
	err := t.measured(func(ps []store.Peak) error {
		b := store.Batch{ID: store.BatchID{Agent: "peaks", Epoch: 1, Sequence: seq}, Time: t.end.UnixNano(), Peaks: ps}
		seq++
		return e.Append(ctx, &b)
	})
	if err == nil {
		err = e.Maintain(true)
	}
	if err != nil {
		return nil, err
	}
	t.starts, t.ends = nil, nil
	if o.profile != "" && o.ask {
		stop, err := startProfile(o.profile)
		if err != nil {
			return nil, err
		}
		defer stop()
	}
	var out []line
	for _, c := range cases(t) {
		if !strings.Contains(c.name, o.only) {
			continue
		}
		text, err := measure(o.repeat, func() error { return c.ask(ctx, e) })
		if err != nil {
			return out, fmt.Errorf("%s: %w", c.name, err)
		}
		out = append(out, line{c.name, text, c.target})
	}
	if o.keep {
		return out, nil // what the dashboard needs would change the data
	}
	dash, err := dashboard(ctx, o, e, t)
	return append(out, dash), err
}

// measure runs fn several times and returns the medians, and how much more memory
// was resident at most than before: that of the reference is not counted.
func measure(repeat int, fn func() error) (string, error) {
	var wall, cpu []time.Duration
	canReset := resetPeak()
	before, _ := memory()
	for range max(repeat, 1) {
		w, c := time.Now(), processTime()
		if err := fn(); err != nil {
			return "", err
		}
		wall, cpu = append(wall, time.Since(w)), append(cpu, processTime()-c)
	}
	slices.Sort(wall)
	slices.Sort(cpu)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	text := fmt.Sprintf("%.1f ms wall, %.1f ms processor", ms(wall[len(wall)/2]), ms(cpu[len(cpu)/2]))
	if _, peak := memory(); canReset {
		text += fmt.Sprintf(", %.0f MB", float64(peak-min(before, peak))/1e6)
	}
	return text, nil
}

type queryCase struct {
	name, target string
	ask          func(context.Context, store.Querier) error
}

func fieldsOf(names ...string) (fs []*tcp.Field) {
	for _, n := range names {
		fs = append(fs, tcp.FieldByName(n))
	}
	return fs
}

var errWrong = errors.New("the answer is wrong")

func cases(t *truth) []queryCase {
	peak := store.Query{From: t.begin, To: t.end, GroupBy: fieldsOf("service"), Aggregates: []store.Aggregate{{Func: store.MaxOpen}}}
	peakRaw := peak
	peakRaw.Resolution = store.Raw
	top := store.Query{
		From: t.day, To: t.day.Add(24 * time.Hour), GroupBy: fieldsOf("remote_ip"), Top: 20, Resolution: store.Raw,
		Aggregates: []store.Aggregate{{Func: store.Sum, Field: tcp.FieldByName("bytes_sent")}},
	}
	hourly := store.Query{From: t.begin, To: t.end, Every: time.Hour, Aggregates: []store.Aggregate{
		{Func: store.Sum, Field: tcp.FieldByName("retransmits")}, {Func: store.Sum, Field: tcp.FieldByName("segments_sent")},
	}}
	hourlyRaw := hourly
	hourlyRaw.Resolution = store.Raw
	percentiles := store.Query{From: t.begin, To: t.end, GroupBy: fieldsOf("process"), Resolution: store.ByHour}
	for _, q := range [...]float64{0.5, 0.95, 0.99} {
		percentiles.Aggregates = append(percentiles.Aggregates, store.Aggregate{Func: store.Percentile, Field: tcp.FieldByName("rtt_us"), Q: q})
	}
	percentilesRaw := percentiles
	percentilesRaw.Resolution = store.Raw
	return []queryCase{
		{"S2 exact peak by service, whole range, from rows", "≤ 1.2 s", t.checkPeaks(&peakRaw)},
		{"S2 the same from measured peaks", "≤ 50 ms", t.checkPeaks(&peak)},
		{"S3 top 20 remotes of a day", "≤ 50 ms", t.checkTop(&top)},
		{"S3 retransmissions and segments by hour, whole range, from rows", "≤ 300 ms", t.checkHours(&hourlyRaw)},
		{"S3 the same from roll-ups", "≤ 50 ms", t.checkHours(&hourly)},
		{"S3 exact percentiles of RTT by process, whole range", "≤ 500 ms", t.checkPercentiles(&percentilesRaw, true)},
		{"S3 bounds of the same from roll-ups", "≤ 50 ms", t.checkPercentiles(&percentiles, false)},
		{"S3 last 100 of a rare remote, whole range", "≤ 150 ms", t.checkRare()},
	}
}

func ask(ctx context.Context, e store.Querier, q *store.Query) ([]store.Group, error) {
	groups, a, err := storetest.Groups(ctx, e, q)
	if err == nil && q.Resolution == store.Auto && a.Resolution == store.Raw {
		return nil, fmt.Errorf("answered from rows: %w", errWrong)
	}
	return groups, err
}

func (t *truth) checkPeaks(q *store.Query) func(context.Context, store.Querier) error {
	return func(ctx context.Context, e store.Querier) error {
		groups, err := ask(ctx, e, q)
		if err == nil && len(groups) != len(t.peaks) {
			err = fmt.Errorf("%d services, not %d: %w", len(groups), len(t.peaks), errWrong)
		}
		for _, g := range groups {
			if want := t.peaks[g.Key[0]]; g.Values[0] != float64(want) {
				return fmt.Errorf("peak of %q is %v, not %d: %w", g.Key[0], g.Values[0], want, errWrong)
			}
		}
		return err
	}
}

func (t *truth) checkTop(q *store.Query) func(context.Context, store.Querier) error {
	return func(ctx context.Context, e store.Querier) error {
		groups, err := ask(ctx, e, q)
		if err != nil {
			return err
		}
		var all []uint64
		sum := uint64(0)
		for _, n := range t.remotes {
			all = append(all, n)
			sum += n
		}
		slices.Sort(all)
		slices.Reverse(all)
		got := 0.0
		for i, g := range groups {
			got += g.Values[0]
			if !g.Other && g.Values[0] != float64(all[i]) {
				return fmt.Errorf("remote %d has %v bytes, not %d: %w", i, g.Values[0], all[i], errWrong)
			}
		}
		if got != float64(sum) {
			return fmt.Errorf("%v bytes in all, not %d: %w", got, sum, errWrong)
		}
		return nil
	}
}

func (t *truth) checkHours(q *store.Query) func(context.Context, store.Querier) error {
	return func(ctx context.Context, e store.Querier) error {
		groups, err := ask(ctx, e, q)
		if err == nil && len(groups) != len(t.segments) {
			err = fmt.Errorf("%d hours, not %d: %w", len(groups), len(t.segments), errWrong)
		}
		for _, g := range groups {
			if g.Values[0] != float64(t.retransmits[g.Time]) || g.Values[1] != float64(t.segments[g.Time]) {
				return fmt.Errorf("hour %d has %v: %w", g.Time, g.Values, errWrong)
			}
		}
		return err
	}
}

func (t *truth) checkPercentiles(q *store.Query, exact bool) func(context.Context, store.Querier) error {
	return func(ctx context.Context, e store.Querier) error {
		groups, err := ask(ctx, e, q)
		if err == nil && len(groups) != len(t.rtts) {
			err = fmt.Errorf("%d processes, not %d: %w", len(groups), len(t.rtts), errWrong)
		}
		for _, g := range groups {
			all := t.rtts[g.Key[0]]
			for i, agg := range q.Aggregates {
				want := float64(all[int(agg.Q*float64(len(all)-1))])
				// Roll-ups count the connections that ended; some are still open.
				if v := g.Values[i]; exact && v != want || !exact && (v < 0.95*want || v > 1.35*want) {
					return fmt.Errorf("quantile %v of %s is %v, not %v: %w", agg.Q, g.Key[0], v, want, errWrong)
				}
			}
		}
		return err
	}
}

func (t *truth) checkRare() func(context.Context, store.Querier) error {
	return func(ctx context.Context, e store.Querier) error {
		f, err := filter.Parse("remote_ip == " + t.rare.String())
		if err != nil {
			return err
		}
		var ids []tcp.ID
		_, err = e.Connections(ctx, &store.Query{From: t.begin, To: t.end, Filter: f, Limit: 100}, func(r *store.Record) error {
			ids = append(ids, r.Conn.ID)
			return nil
		})
		slices.Sort(ids)
		if err == nil && !slices.Equal(ids, t.few[:min(len(t.few), 100)]) {
			err = fmt.Errorf("%d connections of %s, not %d: %w", len(ids), t.rare, len(t.few), errWrong)
		}
		return err
	}
}

// dashboard asks for the last day again and again while 5,000 rows a second come
// in.
func dashboard(ctx context.Context, o *options, e *parquet.Engine, t *truth) (line, error) {
	l := line{"S5 dashboard of 24 h during 5,000 rows/s", "", "p99 ≤ 300 ms"}
	ctx, cancel := context.WithTimeout(ctx, o.dashboard)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	failed := make(chan error, 1)
	wg.Go(func() { failed <- feed(ctx, e, t) })
	from := t.end.Add(-24 * time.Hour)
	sum := func(name string) store.Aggregate {
		return store.Aggregate{Func: store.Sum, Field: tcp.FieldByName(name)}
	}
	qs := []*store.Query{
		{Every: time.Hour, GroupBy: fieldsOf("service"), Aggregates: []store.Aggregate{{Func: store.MaxOpen}}},
		{Every: 10 * time.Minute, GroupBy: fieldsOf("service"), Aggregates: []store.Aggregate{sum("bytes_sent"), sum("bytes_received")}},
		{Every: 10 * time.Minute, Aggregates: []store.Aggregate{sum("retransmits"), sum("segments_sent"), {Func: store.Closed}}},
		{GroupBy: fieldsOf("remote_ip"), Top: 10, Aggregates: []store.Aggregate{sum("bytes_sent")}},
		{GroupBy: fieldsOf("process"), Aggregates: []store.Aggregate{{Func: store.Percentile, Field: tcp.FieldByName("rtt_us"), Q: 0.95}}},
	}
	var took []time.Duration
	for ctx.Err() == nil {
		begin := time.Now()
		for _, q := range qs {
			q.From, q.To = from, t.end
			if _, _, err := storetest.Groups(ctx, e, q); err != nil && ctx.Err() == nil {
				return l, err
			}
		}
		if ctx.Err() == nil {
			took = append(took, time.Since(begin))
		}
	}
	if err := <-failed; err != nil {
		return l, err
	}
	if len(took) == 0 {
		l.got = "not one within " + o.dashboard.String()
		return l, nil
	}
	slices.Sort(took)
	l.got = fmt.Sprintf("p50 %d ms, p99 %d ms of %d, five queries each", took[len(took)/2].Milliseconds(), took[(len(took)*99)/100].Milliseconds(), len(took))
	return l, nil
}

// feed appends 5,000 rows a second, of the time that the dashboard shows.
func feed(ctx context.Context, e *parquet.Engine, t *truth) error {
	g := storetest.NewGenerator(2, 1<<30, t.end.Add(-24*time.Hour), 36500)
	var rows []store.Record
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for seq := uint64(1); ; seq++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		rows = g.Next(rows[:0], 1000)
		b := store.Batch{ID: store.BatchID{Agent: "feed", Epoch: 1, Sequence: seq}, Time: rows[len(rows)-1].Time, Records: rows}
		if err := e.Append(ctx, &b); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// printLines writes figures for people.
func printLines(out io.Writer, lines []line) {
	for _, l := range lines {
		fmt.Fprintf(out, "%-66s %-46s %s\n", l.what, l.got, l.target)
	}
}

var section = regexp.MustCompile(`(?s)<!-- bench store -->.*<!-- end store -->`)

// rewrite puts the figures into their section of a document.
func rewrite(path, head string, lines []line) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("<!-- bench store -->\n" + head + "\n\n| what | ViewTCP | target |\n|---|---|---|\n")
	for _, l := range lines {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", l.what, l.got, l.target)
	}
	b.WriteString("<!-- end store -->")
	if !section.Match(old) {
		old = append(old, "\n## S1 to S5: History\n\nThe targets are of 10,000,000 records. Each answer is compared with what another way\n"+
			"through the same records finds.\n\n<!-- bench store --><!-- end store -->\n"...)
	}
	return os.WriteFile(path, section.ReplaceAllLiteral(old, []byte(b.String())), 0o644)
}
