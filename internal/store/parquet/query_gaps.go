package parquet

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// gapColumns are what gaps of observation follow from.
var gapColumns = func() []bool {
	cols := store.EventColumns()
	want := make([]bool, len(cols))
	for i := range cols {
		want[i] = slices.Contains([]string{"time", "since", "event", "source", "where", "closes", "text"}, cols[i].Name)
	}
	return want
}()

// gaps finds the parts of a range that nobody watched: events of type gap, and the
// time after an observer stopped. An event tells of what was before it, so that
// those after the range count too.
func (m *moment) gaps(ctx context.Context, s span, a *store.Answer) error {
	if m.lost {
		a.Gaps = append(a.Gaps, store.Gap{From: s.from, To: s.to, Reason: "a part of the log is damaged"})
	}
	var found []store.Event
	var scratch store.Answer
	err := m.eachSource(ctx, store.Events, span{s.from, math.MaxInt64}, &scratch, func(src source) error {
		return eachRow(ctx, src, store.EventColumns(), gapColumns, span{s.from, math.MaxInt64}, &scratch, func(e *store.Event) error {
			if e.Type == tcp.EventGap.String() || e.Type == store.EventObserver {
				found = append(found, *e)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	slices.SortStableFunc(found, func(a, b store.Event) int { return cmp.Compare(a.Time, b.Time) })
	stopped := int64(0)
	for i := range found {
		e := &found[i]
		if e.Type == store.EventObserver {
			if stopped = 0; e.Text == "stop" {
				stopped = e.Time
			}
			continue
		}
		g := store.Gap{From: e.Time, To: e.Time, Reason: gapReason(e)}
		if e.Since != 0 {
			g.From = min(e.Since, e.Time)
		}
		addGap(a, g, s)
	}
	if stopped != 0 && s.to != math.MaxInt64 {
		addGap(a, store.Gap{From: stopped, To: s.to, Reason: gapObserver}, s)
	}
	return nil
}

// gapObserver is the reason of gaps in which there was no observation at all.
const gapObserver = "nobody was watching"

// addGap adds what of a gap is in the range.
func addGap(a *store.Answer, g store.Gap, s span) {
	if g.From >= s.to || g.To < s.from {
		return
	}
	g.From, g.To = max(g.From, s.from), min(g.To, s.to)
	a.Gaps = append(a.Gaps, g)
}

func gapReason(e *store.Event) string {
	switch {
	case e.Where == "observer":
		return gapObserver
	case e.Where == "store":
		return fmt.Sprintf("%d ends of connections found no room", e.Closes)
	case e.Where != "":
		return "events were lost at " + e.Where
	case e.Source != "":
		return "events of source " + e.Source + " were lost"
	default:
		return "events were lost"
	}
}

func sortGaps(a *store.Answer) {
	slices.SortStableFunc(a.Gaps, func(x, y store.Gap) int {
		return cmp.Or(cmp.Compare(x.From, y.From), cmp.Compare(x.To, y.To))
	})
}
