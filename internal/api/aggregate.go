package api

import (
	"strconv"
	"strings"

	"github.com/viewtcp/viewtcp/internal/store"
)

// funcNames are the functions of aggregates as parameters have them. Percentiles
// are written pN (p99) or qN (q0.99) instead.
var funcNames = map[string]store.Func{
	"count": store.Count, "opened": store.Opened, "closed": store.Closed, "max_open": store.MaxOpen,
	"sum": store.Sum, "min": store.Min, "max": store.Max, "avg": store.Avg,
}

func nameOfFunc(f store.Func) string {
	for name, g := range funcNames {
		if g == f {
			return name
		}
	}
	return ""
}

// takesField says whether an aggregate reads a field.
func takesField(f store.Func) bool {
	switch f {
	case store.Sum, store.Min, store.Max, store.Avg, store.Percentile:
		return true
	default:
		return false
	}
}

// ParseAggregates reads aggregates separated by commas, as in
// count,max_open,sum:bytes_sent,p95:rtt_us. Without any it is nil.
func ParseAggregates(text string) ([]store.Aggregate, error) {
	if text == "" {
		return nil, nil
	}
	var as []store.Aggregate
	for part := range strings.SplitSeq(text, ",") {
		a, err := parseAggregate(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		if as = append(as, a); len(as) > maxAggregates {
			return nil, badParameter("aggregates", "at most %d can be asked for at once", maxAggregates)
		}
	}
	return as, nil
}

func parseAggregate(text string) (a store.Aggregate, err error) {
	name, field, _ := strings.Cut(text, ":")
	if a.Func = funcNames[name]; a.Func == 0 {
		var ok bool
		if a.Q, ok = parseQuantile(name); !ok {
			return a, badParameter("aggregates", "there is no %q: they are count, opened, closed, max_open, and with a field sum:F, min:F, max:F, avg:F and percentiles such as p95:F", cut(name))
		}
		a.Func = store.Percentile
	}
	if !takesField(a.Func) {
		if field != "" {
			return a, badParameter("aggregates", "%s takes no field", name)
		}
		return a, nil
	}
	if field == "" {
		return a, badParameter("aggregates", "%s wants a field, as in %s:rtt_us", cut(name), cut(name))
	}
	if a.Field, err = parseField("aggregates", field); err != nil {
		return a, err
	}
	if a.Field.Num == nil {
		return a, badParameter("aggregates", "%s is no number", a.Field.Name)
	}
	return a, nil
}

func parseQuantile(name string) (q float64, ok bool) {
	if len(name) < 2 || name[1] == '+' || name[1] == '-' {
		return 0, false
	}
	v, err := strconv.ParseFloat(name[1:], 64)
	if err != nil {
		return 0, false
	}
	switch name[0] {
	case 'p':
		v /= 100
	case 'q':
	default:
		return 0, false
	}
	return v, v >= 0 && v <= 1
}

func formatAggregates(as []store.Aggregate) string {
	parts := make([]string, len(as))
	for i, a := range as {
		parts[i] = nameOfFunc(a.Func)
		if a.Func == store.Percentile {
			parts[i] = "q" + strconv.FormatFloat(a.Q, 'g', -1, 64)
		}
		if a.Field != nil && takesField(a.Func) {
			parts[i] += ":" + a.Field.Name
		}
	}
	return strings.Join(parts, ",")
}

// AggregateKey is the key of an aggregate in the rows of groups: the function
// alone, or after the field as in bytes_sent_sum and rtt_us_p95. Openings and
// ends are opened_count and closed_count, because opened and closed are fields.
func AggregateKey(a store.Aggregate) string {
	switch a.Func {
	case store.Opened:
		return "opened_count"
	case store.Closed:
		return "closed_count"
	case store.Percentile:
		p := strconv.FormatFloat(a.Q*100, 'g', 6, 64)
		return a.Field.Name + "_p" + strings.ReplaceAll(p, ".", "_")
	default:
	}
	if a.Field != nil && takesField(a.Func) {
		return a.Field.Name + "_" + nameOfFunc(a.Func)
	}
	return nameOfFunc(a.Func)
}
