package parquet

import (
	"fmt"
	"slices"
	"time"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// A plan says which tables answer a query of aggregates.
type plan struct {
	resolution store.Resolution
	// interval is that of the roll-ups and peaks, 0 for rows; inner the part of the
	// range that consists of whole intervals. What is left is read from rows.
	interval int64
	inner    span
	// set is where peaks are taken from, of the fields named.
	set store.GroupingSet
}

// bucketedFrom is from which range on percentiles are taken from roll-ups without
// being asked: rows of shorter ranges are read quickly, and are exact.
const bucketedFrom = 24 * time.Hour

// planOf chooses the tables. exact says that peaks have to be told of groups
// together, which their own numbers do not allow.
func planOf(q *store.Query, s span, exact bool) (plan, error) {
	raw := plan{resolution: store.Raw}
	if q.Resolution == store.Raw {
		return raw, nil
	}
	set, why := coarse(q, s)
	if why == "" && exact && set != 0 {
		why = "the peak of several groups together does not follow from theirs"
	}
	if why != "" {
		if q.Resolution != store.Auto {
			return raw, fmt.Errorf("%s: %w", why, store.ErrInvalid)
		}
		return raw, nil
	}
	for _, r := range [...]struct {
		resolution store.Resolution
		interval   int64
	}{{store.ByHour, store.Hour}, {store.ByMinute, store.Minute}} {
		if q.Resolution != store.Auto && q.Resolution != r.resolution {
			continue
		}
		if int64(q.Every)%r.interval != 0 {
			if q.Resolution != store.Auto {
				return raw, fmt.Errorf("interval of %v is not made of whole ones of the roll-ups: %w", q.Every, store.ErrInvalid)
			}
			continue
		}
		p := plan{r.resolution, r.interval, s.whole(r.interval), set}
		if p.inner.from < p.inner.to || q.Resolution != store.Auto {
			return p, nil
		}
	}
	return raw, nil
}

// whole is the part of a range that consists of whole intervals, perhaps none.
func (s span) whole(interval int64) span {
	w := span{s.from + floorMod(-s.from, interval), s.to - floorMod(s.to, interval)}
	w.to = max(w.to, w.from)
	return w
}

// rest is what an inner part leaves of a range.
func (s span) rest(inner span) []span {
	if inner.from >= inner.to {
		return []span{s}
	}
	var rest []span
	if s.from < inner.from {
		rest = append(rest, span{s.from, inner.from})
	}
	if inner.to < s.to {
		rest = append(rest, span{inner.to, s.to})
	}
	return rest
}

// coarse says why roll-ups and peaks cannot answer a query; if they can, it names
// the set that peaks are taken from, 0 if none are asked for.
func coarse(q *store.Query, s span) (set store.GroupingSet, why string) {
	peaks, sums := false, false
	for i := range q.Aggregates {
		switch g := &q.Aggregates[i]; g.Func {
		case store.MaxOpen:
			peaks = true
		case store.Closed:
			sums = true
		case store.Sum:
			sums = true
			if !slices.Contains(rolled[:], counterOf(g.Field)) {
				return 0, "roll-ups do not have " + g.Field.Name
			}
		case store.Percentile, store.Min, store.Max, store.Avg:
			sums = true
			if distributionOf(g.Field) < 0 {
				return 0, "roll-ups do not have " + g.Field.Name
			}
			if q.Resolution == store.Auto && (g.Func != store.Percentile || s.to-s.from <= int64(bucketedFrom)) {
				return 0, "rows tell more of " + g.Field.Name
			}
		default:
			return 0, "roll-ups cannot tell which connections there were"
		}
	}
	fields := slices.Clone(q.GroupBy)
	if q.Filter != nil {
		fields = q.Filter.Fields(fields)
	}
	if sums {
		for _, f := range fields {
			if tables[store.Rollups1m].place(f.Name) < 0 || f.Kind != tcp.KindString && f.Kind != tcp.KindEnum ||
				f.Name == "country" || f.Name == "remote_class" {
				return 0, "roll-ups do not tell " + f.Name + " apart"
			}
		}
	}
	if !peaks {
		return 0, ""
	}
	return peakSet(q)
}

// peakSet finds the grouping set whose peaks answer a query.
func peakSet(q *store.Query) (store.GroupingSet, string) {
	by := make(map[string]bool)
	for _, f := range q.GroupBy {
		by[f.Name] = true
	}
	if q.Filter != nil && !q.Filter.MatchesAll() {
		if c, ok := q.Filter.Node().(*filter.Compare); ok && c.Op == filter.Eq && c.Ref.Field != nil {
			by[c.Ref.Field.Name] = true // it leaves one group
		}
		for _, f := range q.Filter.Fields(nil) {
			if f.Name != "host" && !by[f.Name] {
				return 0, "peaks of groups do not add up"
			}
		}
	}
	host := by["host"]
	delete(by, "host")
	switch {
	case len(by) == 0:
		return store.ByHost, ""
	case len(by) == 1 && by["service"] && host:
		return store.ByHostService, ""
	case len(by) == 1 && by["service"]:
		return store.ByService, ""
	case len(by) == 1 && by["process"]:
		return store.ByProcess, ""
	default:
		return 0, "no peaks are measured for these groups"
	}
}

// distributionOf finds the distribution of roll-ups that has a field, -1 if none
// does.
func distributionOf(f *tcp.Field) int {
	return slices.Index([]string{"rtt_us", "duration_us", "handshake_us"}, f.Name)
}

// distributionNames are how the columns of distributions begin.
var distributionNames = [...]string{"rtt", "duration", "handshake"}
