package main

import (
	"math"
	"strconv"
	"strings"

	"github.com/viewtcp/viewtcp/internal/api"
	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// quantiles are those that --percentiles shows.
var quantiles = []float64{0.5, 0.9, 0.95, 0.99}

// numbers are the aggregates that the flags ask for, the one that orders first.
func (h *historyFlags) numbers() ([]store.Aggregate, error) {
	var as []store.Aggregate
	add := func(more ...store.Aggregate) {
		for _, a := range more {
			twice := false
			for _, b := range as {
				twice = twice || a == b
			}
			if !twice {
				as = append(as, a)
			}
		}
	}
	if h.by != "" {
		a, err := numberBy(h.by)
		if err != nil {
			return nil, err
		}
		add(a)
	}
	if h.peak {
		add(store.Aggregate{Func: store.MaxOpen})
	}
	if h.count {
		add(store.Aggregate{Func: store.Count}, store.Aggregate{Func: store.Opened}, store.Aggregate{Func: store.Closed})
	}
	if h.sum != "" {
		fs, err := fieldsOf("--sum", h.sum)
		if err != nil {
			return nil, err
		}
		for _, f := range fs {
			if !isCounter(f) {
				return nil, usagef("--sum %s: only what goes up and never down can be summed, and %s does not; write --percentiles %s", f.Name, f.Name, f.Name)
			}
			add(store.Aggregate{Func: store.Sum, Field: f})
		}
	}
	if h.percentiles != "" {
		fs, err := fieldsOf("--percentiles", h.percentiles)
		if err != nil {
			return nil, err
		}
		add(store.Aggregate{Func: store.Count})
		for _, f := range fs {
			if !isNumber(f) {
				return nil, usagef("--percentiles %s: that is no number; write --group-by %s to count its values", f.Name, f.Name)
			}
			add(store.Aggregate{Func: store.Min, Field: f})
			for _, q := range quantiles {
				add(store.Aggregate{Func: store.Percentile, Field: f, Q: q})
			}
			add(store.Aggregate{Func: store.Max, Field: f})
		}
	}
	if !h.aggregates() {
		add(store.Aggregate{Func: store.Count})
		for _, name := range []string{"bytes_sent", "bytes_received", "retransmits"} {
			add(store.Aggregate{Func: store.Sum, Field: tcp.FieldByName(name)})
		}
	}
	return as, nil
}

// numberBy reads the number that --by names: a function, a function with a field,
// or a field, of which counters are summed and the largest of others counts.
func numberBy(by string) (store.Aggregate, error) {
	switch by {
	case "count", "connections":
		return store.Aggregate{Func: store.Count}, nil
	case "max_open", "peak":
		return store.Aggregate{Func: store.MaxOpen}, nil
	case "opened", "opened_count":
		return store.Aggregate{Func: store.Opened}, nil
	case "closed", "closed_count":
		return store.Aggregate{Func: store.Closed}, nil
	}
	if strings.Contains(by, ":") {
		as, err := api.ParseAggregates(by)
		switch {
		case err != nil:
			return store.Aggregate{}, usagef("--by %s: it is a field, count, max_open, opened, closed, or FUNCTION:FIELD with sum, min, max, avg, p95 and the like (%w)", by, err)
		case len(as) != 1:
			return store.Aggregate{}, usagef("--by %s: one number orders", by)
		case as[0].Func == store.Sum && !isCounter(as[0].Field):
			return store.Aggregate{}, usagef("--by %s: %s cannot be summed; write max:%s or avg:%s", by, as[0].Field.Name, as[0].Field.Name, as[0].Field.Name)
		}
		return as[0], nil
	}
	f := tcp.FieldByName(by)
	switch {
	case f == nil:
		return store.Aggregate{}, usagef("--by %s: there is no such field%s", by, didYouMean(by))
	case isCounter(f):
		return store.Aggregate{Func: store.Sum, Field: f}, nil
	case isNumber(f):
		return store.Aggregate{Func: store.Max, Field: f}, nil
	}
	return store.Aggregate{}, usagef("--by %s: that is no number; write --group-by %s --by count", by, f.Name)
}

// isCounter reports whether a field only goes up, so that it can be summed.
func isCounter(f *tcp.Field) bool {
	for i := range store.NumCounters {
		if store.CounterField(i) == f.Name {
			return true
		}
	}
	return false
}

// isNumber reports whether values of a field can be less and more.
func isNumber(f *tcp.Field) bool {
	switch f.Kind {
	case tcp.KindDuration, tcp.KindBytes, tcp.KindRate:
		return true
	case tcp.KindUint:
		switch f.Name {
		case "netns", "inode", "pid", "uid", "asn":
			return false // names that are numbers
		}
		return true
	default:
		return false
	}
}

// additive reports whether numbers of groups add up to that of all of them.
func additive(f store.Func) bool {
	switch f {
	case store.Count, store.Opened, store.Closed, store.Sum:
		return true
	default:
		return false
	}
}

// zeroWithout reports whether a group that has no rows has 0 of a number, and not
// an unknown one.
func zeroWithout(f store.Func) bool { return additive(f) || f == store.MaxOpen }

// headOf heads a number in tables and charts.
func headOf(a store.Aggregate) string {
	switch a.Func {
	case store.Count:
		return "COUNT"
	case store.Opened:
		return "OPENED"
	case store.Closed:
		return "CLOSED"
	case store.MaxOpen:
		return "PEAK"
	case store.Percentile:
		return a.Field.Column + " p" + strconv.FormatFloat(a.Q*100, 'g', 6, 64)
	case store.Min:
		return a.Field.Column + " MIN"
	case store.Max:
		return a.Field.Column + " MAX"
	case store.Avg:
		return a.Field.Column + " AVG"
	default:
		return a.Field.Column
	}
}

// humanNumber is a value for people, with a unit.
func humanNumber(a store.Aggregate, v float64, known bool) string {
	if !known || math.IsNaN(v) {
		return output.Unknown
	}
	kind := tcp.KindUint
	if a.Field != nil {
		kind = a.Field.Kind
	}
	switch {
	case v < 0:
	case kind == tcp.KindDuration:
		return string(output.AppendMicros(nil, whole(v)))
	case kind == tcp.KindBytes:
		return string(output.AppendBytes(nil, whole(v)))
	case kind == tcp.KindRate:
		return string(output.AppendBytes(nil, whole(v))) + "/s"
	}
	if v == math.Trunc(v) {
		return plainNumber(v)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// whole is a value without its fraction, as far as it can be counted.
func whole(v float64) uint64 { return uint64(min(v, 1<<63)) }

// plainNumber is a value for programs: without an exponent where it is whole.
func plainNumber(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}
