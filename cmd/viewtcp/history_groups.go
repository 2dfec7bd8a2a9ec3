package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/api"
	"github.com/viewtcp/viewtcp/internal/moment"
	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

const (
	// mostPieces is into how many pieces --every may cut a range.
	mostPieces = 100_000
	// drawnGroups is how many groups are drawn unless --top says how many.
	drawnGroups = 10
	// momentRange is how long a range is at most of which all rows are read to know
	// when peaks were; measured ones are known by interval only.
	momentRange = 2 * time.Hour
	// otherGroup is what tables call the group of all that --top left out.
	otherGroup = "~other"
)

// groupList prints groups: in tables and charts when all are known, in other
// formats as they come.
type groupList struct {
	x *question
	// draw says that a terminal shows charts.
	draw  bool
	codec *api.GroupCodec
	groups,
	before []*store.Group
	// blind says that nobody watched in the time before: its numbers are unknown,
	// not 0.
	blind bool
	buf   []byte
	n     int
}

// groupsView prints numbers of groups.
func (x *question) groupsView() (func(context.Context) error, error) {
	h := x.h
	var err error
	if h.groupBy != "" {
		if x.q.GroupBy, err = fieldsOf("--group-by", h.groupBy); err != nil {
			return nil, err
		}
	}
	if x.q.Aggregates, err = h.numbers(); err != nil {
		return nil, err
	}
	if x.q.Every, err = x.pieces(h.every); err != nil {
		return nil, err
	}
	if h.columns != "" {
		return nil, usagef("--columns chooses what is shown of connections; of groups say it with --group-by, --sum, --count, --peak and --percentiles")
	}
	l := &groupList{x: x, draw: x.q.Every > 0 && h.format == formatTable && x.width > 0}
	x.q.Top = h.top
	if l.draw && x.q.Top == 0 && len(x.q.GroupBy) > 0 {
		x.q.Top = drawnGroups
	}
	if x.q.Resolution == store.Auto && hasPeaks(&x.q) && x.q.To.Sub(x.q.From) <= momentRange {
		x.q.Resolution = store.Raw
	}
	l.codec = api.NewGroupCodec(&x.q)
	if h.sorted {
		if _, ok := l.order(h.sort); !ok {
			return nil, usagef("--sort %s: of groups there are %s", h.sort, strings.Join(l.names(), ", "))
		}
	}
	return l.run, nil
}

// hasPeaks reports whether peaks are asked for.
func hasPeaks(q *store.Query) bool {
	return slices.ContainsFunc(q.Aggregates, func(a store.Aggregate) bool { return a.Func == store.MaxOpen })
}

// pieces reads --every.
func (x *question) pieces(every string) (time.Duration, error) {
	if every == "" {
		return 0, nil
	}
	d, err := moment.Duration(every)
	if err != nil {
		return 0, usagef("--every: %w", err)
	}
	if d < time.Second {
		return 0, usagef("--every %s: a second is the least", every)
	}
	if n := x.q.To.Sub(x.q.From) / d; n > mostPieces {
		return 0, usagef("--every %s cuts the range into %d pieces: at most %d are possible, so take a longer one", every, n, mostPieces)
	}
	return d, nil
}

// keeps reports whether groups must be kept until all are known.
func (l *groupList) keeps() bool {
	c := &l.x.h.common
	return c.format == formatTable || c.format == formatWide || l.x.h.sorted || c.reverse || l.x.h.compare
}

func (l *groupList) run(ctx context.Context) error {
	x := l.x
	l.begin()
	a, err := x.ask.Aggregate(ctx, &x.q, func(g *store.Group) error {
		x.ask.progress.row()
		if l.keeps() {
			l.groups = append(l.groups, keptGroup(g))
			return nil
		}
		return l.write(g, nil)
	})
	if err != nil {
		return err
	}
	var before *store.Answer
	if x.h.compare {
		if before, err = l.readBefore(ctx); err != nil {
			return err
		}
	}
	x.ask.progress.stop()
	if err := l.finish(a); err != nil {
		return err
	}
	if before != nil {
		from, to := x.beforeRange()
		text := fmt.Sprintf("compared with %s; %s", spanText(from, to), x.readText(before, "groups"))
		if !before.Complete() || before.Retained > from.UnixNano() {
			text += ", which is not complete"
		}
		defer x.e.warn(text)
	}
	return x.foot(a, l.n, "groups")
}

// beforeRange is the range that --compare compares with.
func (x *question) beforeRange() (from, to time.Time) {
	return x.q.From.Add(-x.q.To.Sub(x.q.From)), x.q.From
}

// readBefore reads all groups of the time before.
func (l *groupList) readBefore(ctx context.Context) (*store.Answer, error) {
	q := l.x.q
	q.From, q.To = l.x.beforeRange()
	q.Top = 0
	a, err := l.x.ask.Aggregate(ctx, &q, func(g *store.Group) error {
		l.x.ask.progress.row()
		l.before = append(l.before, keptGroup(g))
		return nil
	})
	if err != nil {
		return nil, err
	}
	l.blind = len(l.before) == 0 && unwatched(a, q.From.UnixNano(), q.To.UnixNano())
	return a, nil
}

// unwatched reports whether an answer knows nothing of its range.
func unwatched(a *store.Answer, from, to int64) bool {
	at := max(from, a.Retained)
	for _, g := range a.Gaps { // by time
		if g.From > at {
			break
		}
		at = max(at, g.To)
	}
	return at >= to
}

// keptGroup is a group for longer than the callback.
func keptGroup(g *store.Group) *store.Group {
	k := *g
	k.Key, k.Values, k.Known = slices.Clone(g.Key), slices.Clone(g.Values), slices.Clone(g.Known)
	return &k
}

// names are what --sort knows of groups.
func (l *groupList) names() []string {
	var names []string
	if l.x.q.Every > 0 {
		names = append(names, "time")
	}
	for _, f := range l.x.q.GroupBy {
		names = append(names, f.Name)
	}
	return append(names, l.codec.Names()...)
}

// order is how groups compare by a name: numbers from the largest on. A name may
// leave out the unit or function where that is clear.
func (l *groupList) order(name string) (func(a, b *store.Group) int, bool) {
	if name == "time" {
		return func(a, b *store.Group) int { return cmp.Compare(a.Time, b.Time) }, l.x.q.Every > 0
	}
	for i, f := range l.x.q.GroupBy {
		if f.Name == name || f == tcp.FieldByName(name) {
			return func(a, b *store.Group) int { return cmp.Compare(a.Key[i], b.Key[i]) }, true
		}
	}
	for i, n := range l.codec.Names() {
		agg := l.x.q.Aggregates[i]
		if n == name || agg.Func == store.Sum && agg.Field == tcp.FieldByName(name) {
			return func(a, b *store.Group) int {
				if a.Known[i] != b.Known[i] {
					return turnIf(!a.Known[i])
				}
				return -cmp.Compare(a.Values[i], b.Values[i])
			}, true
		}
	}
	return nil, false
}

func turnIf(later bool) int {
	if later {
		return 1
	}
	return -1
}

// sort orders the groups that were kept as --sort and --reverse say; the group of
// all others stays last.
func (l *groupList) sort() {
	if l.x.h.sorted {
		order, _ := l.order(l.x.h.sort)
		slices.SortStableFunc(l.groups, order)
	}
	if l.x.h.reverse {
		slices.Reverse(l.groups)
	}
	if l.x.q.Every == 0 {
		slices.SortStableFunc(l.groups, func(a, b *store.Group) int {
			if a.Other == b.Other {
				return 0
			}
			return turnIf(a.Other)
		})
	}
}

func (l *groupList) begin() {
	c := &l.x.h.common
	switch {
	case c.format == formatJSON:
		l.buf = append(l.buf, '[')
	case c.format == formatCSV && !c.noHeader:
		l.buf = l.appendCSVHead(l.buf)
	}
}

// finish prints what was kept, and the end.
func (l *groupList) finish(a *store.Answer) error {
	c := &l.x.h.common
	if l.keeps() {
		var before map[string]*store.Group
		if l.x.h.compare {
			before = l.join()
		}
		l.sort()
		if c.limit > 0 && len(l.groups) > c.limit {
			l.groups = l.groups[:c.limit]
		}
		switch {
		case l.draw:
			l.n = l.distinct()
			l.buf = l.appendCharts(l.buf, a)
		case c.format == formatTable || c.format == formatWide:
			l.n = len(l.groups)
			l.buf = l.table(before).Append(l.buf)
		default:
			for _, g := range l.groups {
				if err := l.write(g, before[keyOf(g)]); err != nil {
					return err
				}
			}
		}
	}
	if c.format == formatJSON {
		l.buf = appendArrayEnd(l.buf, l.n)
	}
	_, err := l.x.e.stdout.Write(l.buf)
	return err
}

// distinct is how many groups there are, in however many pieces.
func (l *groupList) distinct() int {
	seen := make(map[string]bool)
	for _, g := range l.groups {
		seen[keyOf(g)] = true
	}
	return len(seen)
}

// keyOf is the key of a group in maps.
func keyOf(g *store.Group) string {
	if g.Other {
		return "\x01"
	}
	return strings.Join(g.Key, "\x00")
}

// join finds to each group what it was before. Groups that were there before only
// get one for now; all that --top left out is taken together, as far as it adds up.
func (l *groupList) join() map[string]*store.Group {
	now, before := make(map[string]bool), make(map[string]*store.Group)
	var other *store.Group
	for _, g := range l.groups {
		now[keyOf(g)] = true
		if g.Other {
			other = g
		}
	}
	rest := l.empty()
	rest.Other = true
	for _, g := range l.before {
		switch {
		case now[keyOf(g)]:
			before[keyOf(g)] = g
		case other == nil && l.x.q.Top == 0:
			gone := l.empty()
			gone.Time, gone.Key = l.x.q.From.UnixNano(), g.Key
			l.groups = append(l.groups, gone)
			before[keyOf(g)] = g
		default:
			for i, a := range l.x.q.Aggregates {
				rest.Values[i] += g.Values[i]
				rest.Known[i] = additive(a.Func)
			}
		}
	}
	if other != nil && !l.blind {
		before[keyOf(other)] = rest
	}
	for _, g := range l.groups {
		if before[keyOf(g)] == nil {
			none := l.empty()
			if l.blind {
				clear(none.Known)
			}
			before[keyOf(g)] = none
		}
	}
	return before
}

// empty is a group without rows.
func (l *groupList) empty() *store.Group {
	n := len(l.x.q.Aggregates)
	g := &store.Group{Key: make([]string, len(l.x.q.GroupBy)), Values: make([]float64, n), Known: make([]bool, n)}
	for i, a := range l.x.q.Aggregates {
		g.Known[i] = zeroWithout(a.Func)
	}
	return g
}

// change is how a number moved; percent is unknown when it was 0 before.
func change(now, before *store.Group, i int) (diff, percent float64, known, hasPercent bool) {
	if before == nil || !now.Known[i] || !before.Known[i] {
		return 0, 0, false, false
	}
	diff = now.Values[i] - before.Values[i]
	if before.Values[i] != 0 {
		return diff, diff / before.Values[i] * 100, true, true
	}
	return diff, 0, true, false
}

// write writes a group as JSON or CSV.
func (l *groupList) write(g, before *store.Group) error {
	c := &l.x.h.common
	if c.limit > 0 && l.n >= c.limit {
		return nil
	}
	l.n++
	switch c.format {
	case formatCSV:
		l.buf = l.appendCSV(l.buf, g, before)
	case formatJSON:
		l.buf = l.appendJSON(appendElement(l.buf, l.n-1), g, before)
	default:
		l.buf = append(l.appendJSON(l.buf, g, before), '\n')
	}
	if len(l.buf) < flushAt {
		return nil
	}
	_, err := l.x.e.stdout.Write(l.buf)
	l.buf = l.buf[:0]
	return err
}

func (l *groupList) appendJSON(b []byte, g, before *store.Group) []byte {
	b = l.codec.Append(b, g)
	if !l.x.h.compare {
		return b
	}
	b = b[:len(b)-1]
	for i, name := range l.codec.Names() {
		if before == nil || !before.Known[i] {
			continue
		}
		b = fmt.Appendf(b, `,"%s_before":%s`, name, plainNumber(before.Values[i]))
		diff, percent, known, hasPercent := change(g, before, i)
		if known {
			b = fmt.Appendf(b, `,"%s_change":%s`, name, plainNumber(diff))
		}
		if hasPercent {
			b = fmt.Appendf(b, `,"%s_change_percent":%.2f`, name, percent)
		}
	}
	return append(b, '}')
}

func (l *groupList) appendCSVHead(b []byte) []byte {
	var names []string
	names = append(names, "time")
	if l.x.q.Top > 0 {
		names = append(names, "other")
	}
	for _, f := range l.x.q.GroupBy {
		names = append(names, f.Name)
	}
	for i, n := range l.codec.Names() {
		names = append(names, n)
		if l.x.q.Aggregates[i].Func == store.MaxOpen {
			names = append(names, n+"_at")
		}
		if l.x.h.compare {
			names = append(names, n+"_before", n+"_change", n+"_change_percent")
		}
	}
	return append(append(b, strings.Join(names, ",")...), '\n')
}

func (l *groupList) appendCSV(b []byte, g, before *store.Group) []byte {
	b = tcp.AppendTime(b, g.Time)
	if l.x.q.Top > 0 {
		b = fmt.Appendf(b, ",%t", g.Other)
	}
	for i := range l.x.q.GroupBy {
		b = append(b, ',')
		if !g.Other {
			b = output.AppendCSVText(b, g.Key[i])
		}
	}
	for i, a := range l.x.q.Aggregates {
		b = append(b, ',')
		if g.Known[i] {
			b = append(b, plainNumber(g.Values[i])...)
		}
		if a.Func == store.MaxOpen {
			b = append(b, ',')
			if g.At != 0 {
				b = tcp.AppendTime(b, g.At)
			}
		}
		if !l.x.h.compare {
			continue
		}
		b = append(b, ',')
		if before != nil && before.Known[i] {
			b = append(b, plainNumber(before.Values[i])...)
		}
		diff, percent, known, hasPercent := change(g, before, i)
		b = append(b, ',')
		if known {
			b = append(b, plainNumber(diff)...)
		}
		b = append(b, ',')
		if hasPercent {
			b = fmt.Appendf(b, "%.2f", percent)
		}
	}
	return append(b, '\n')
}
