package api

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// QueryParameters are the parameters of a question to the store, as ParseQuery
// reads them.
func QueryParameters() []string {
	return []string{
		"since", "until", "filter", "columns", "group_by", "every", "aggregates", "top",
		"sort", "reverse", "limit", "resolution", "memory",
	}
}

// Most groups, aggregates and buckets that a question may name.
const (
	maxGroupBy    = 8
	maxAggregates = 64
	maxBuckets    = 100_000
)

// ParseQuery reads a question to the store. Without since it is about the last
// hour. now is the end of a range without one, and what relative times are
// relative to. Its error is a *Problem or a *filter.Error.
func ParseQuery(v url.Values, now time.Time, o filter.Options) (*store.Query, error) {
	q := &store.Query{}
	var err error
	if q.From, q.To, err = ParseRange(v, now, time.Hour); err != nil {
		return nil, err
	}
	if text := v.Get("filter"); text != "" {
		if q.Filter, err = filter.ParseWith(text, o); err != nil {
			return nil, err
		}
	}
	if q.Fields, err = ParseFields(v, "columns"); err != nil {
		return nil, err
	}
	if q.GroupBy, err = ParseFields(v, "group_by"); err != nil {
		return nil, err
	}
	if len(q.GroupBy) > maxGroupBy {
		return nil, badParameter("group_by", "groups have at most %d fields", maxGroupBy)
	}
	if q.Every, err = parseEvery(v, q.To.Sub(q.From)); err != nil {
		return nil, err
	}
	if q.Aggregates, err = ParseAggregates(v.Get("aggregates")); err != nil {
		return nil, err
	}
	if q.Top, err = ParseCount(v, "top", 0, 1<<20); err != nil {
		return nil, err
	}
	if q.Limit, err = ParseCount(v, "limit", 0, 1<<40); err != nil {
		return nil, err
	}
	if name := v.Get("sort"); name != "" {
		if q.OrderBy, err = parseField("sort", name); err != nil {
			return nil, err
		}
	}
	if q.Reverse, err = ParseBool(v, "reverse"); err != nil {
		return nil, err
	}
	if q.Resolution, err = parseResolution(v.Get("resolution")); err != nil {
		return nil, err
	}
	if text := v.Get("memory"); text != "" {
		n, err := filter.ParseSize(text)
		if err != nil || n > 1<<62 {
			return nil, badParameter("memory", "%q is no size such as 256MiB", text)
		}
		q.Memory = int64(n)
	}
	return q, nil
}

// QueryValues is the inverse of ParseQuery.
func QueryValues(q *store.Query) url.Values {
	v := url.Values{}
	setRange(v, q.From, q.To)
	if q.Filter != nil {
		v.Set("filter", q.Filter.String())
	}
	if q.Fields != nil {
		v.Set("columns", joinFields(q.Fields))
	}
	if len(q.GroupBy) > 0 {
		v.Set("group_by", joinFields(q.GroupBy))
	}
	if q.Every != 0 {
		v.Set("every", q.Every.String())
	}
	if len(q.Aggregates) > 0 {
		v.Set("aggregates", formatAggregates(q.Aggregates))
	}
	setCount(v, "top", int64(q.Top))
	setCount(v, "limit", int64(q.Limit))
	if q.OrderBy != nil {
		v.Set("sort", q.OrderBy.Name)
	}
	if q.Reverse {
		v.Set("reverse", "true")
	}
	if q.Resolution != store.Auto {
		v.Set("resolution", ResolutionName(q.Resolution))
	}
	setCount(v, "memory", q.Memory)
	return v
}

func setCount(v url.Values, name string, n int64) {
	if n != 0 {
		v.Set(name, strconv.FormatInt(n, 10))
	}
}

func setRange(v url.Values, from, to time.Time) {
	v.Set("since", from.UTC().Format(time.RFC3339Nano))
	v.Set("until", to.UTC().Format(time.RFC3339Nano))
}

// RangeValues are the parameters of a range.
func RangeValues(from, to time.Time) url.Values {
	v := url.Values{}
	setRange(v, from, to)
	return v
}

// badParameter is a problem with one parameter.
func badParameter(name, format string, args ...any) *Problem {
	p := NewProblem(400, ProblemBadRequest, name+": "+fmt.Sprintf(format, args...))
	p.Parameter = name
	return p
}

// BadParameter is a problem with one parameter.
func BadParameter(name, detail string) *Problem { return badParameter(name, "%s", detail) }

// ParseRange reads since and until. usual is how long a range is without since.
func ParseRange(v url.Values, now time.Time, usual time.Duration) (from, to time.Time, err error) {
	if to, err = ParseMoment(v, "until", now, now); err != nil {
		return from, to, err
	}
	if from, err = ParseMoment(v, "since", now, to.Add(-usual)); err != nil {
		return from, to, err
	}
	if !from.Before(to) {
		return from, to, badParameter("since", "the range ends (%s) before it begins (%s)", to.UTC().Format(time.RFC3339), from.UTC().Format(time.RFC3339))
	}
	return from, to, nil
}

// Moments that fit into 64 bits of nanoseconds, less a margin for reckoning.
var (
	firstMoment = time.Date(1700, 1, 1, 0, 0, 0, 0, time.UTC)
	lastMoment  = time.Date(2250, 1, 1, 0, 0, 0, 0, time.UTC)
)

// ParseMoment reads a time: RFC 3339, seconds since 1970, "now", or how long ago
// it is, as in 90s, 2h or 7d. Without one it is usual.
func ParseMoment(v url.Values, name string, now, usual time.Time) (time.Time, error) {
	text := strings.TrimSpace(v.Get(name))
	if text == "" {
		return usual, nil
	}
	if text == "now" {
		return now, nil
	}
	if d, ok := parseDuration(text); ok {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		secs, ferr := strconv.ParseFloat(text, 64)
		if ferr != nil || secs < -1e10 || secs > 1e10 {
			return t, badParameter(name, "%q is no time: it is RFC 3339 (2026-11-23T14:00:00Z), seconds since 1970, now, or how long ago as in 90s, 2h or 7d", cut(text))
		}
		t = time.Unix(0, 0).Add(time.Duration(secs * float64(time.Second)))
		if secs > 9e9 || secs < -8e9 {
			return t, badParameter(name, "%q is out of range", cut(text))
		}
	}
	if t.Before(firstMoment) || t.After(lastMoment) {
		return t, badParameter(name, "%q is out of range", cut(text))
	}
	return t.UTC(), nil
}

// cut shortens what a stranger wrote, for a message.
func cut(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

// parseDuration reads a duration as time.ParseDuration does, and days and weeks.
func parseDuration(text string) (time.Duration, bool) {
	text = strings.TrimPrefix(text, "-")
	for suffix, unit := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if n, ok := strings.CutSuffix(text, suffix); ok {
			days, err := strconv.ParseUint(n, 10, 16)
			return time.Duration(days) * unit, err == nil
		}
	}
	if strings.Trim(text, "0123456789.") == "" {
		return 0, false // seconds since 1970
	}
	d, err := time.ParseDuration(text)
	return d, err == nil && d >= 0
}

func parseEvery(v url.Values, span time.Duration) (time.Duration, error) {
	text := v.Get("every")
	if text == "" {
		return 0, nil
	}
	d, ok := parseDuration(text)
	if !ok || d <= 0 {
		return 0, badParameter("every", "%q is no duration such as 30s, 5m or 1h", cut(text))
	}
	if span/d > maxBuckets {
		return 0, badParameter("every", "%s cuts the range into more than %d pieces: take a longer one", cut(text), maxBuckets)
	}
	return d, nil
}

// ParseCount reads a number; without one it is usual.
func ParseCount(v url.Values, name string, usual int, most int64) (int, error) {
	text := v.Get(name)
	if text == "" {
		return usual, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > most {
		return 0, badParameter(name, "%q is no whole number from 0 to %d", cut(text), most)
	}
	return int(n), nil
}

// ParseBool reads true or false; given without a value it is true.
func ParseBool(v url.Values, name string) (bool, error) {
	if !v.Has(name) {
		return false, nil
	}
	switch text := v.Get(name); text {
	case "", "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	default:
		return false, badParameter(name, "%q is neither true nor false", cut(text))
	}
}

func parseField(parameter, name string) (*tcp.Field, error) {
	f := tcp.FieldByName(name)
	if f == nil {
		return nil, noField(parameter, name)
	}
	return f, nil
}

func noField(parameter, name string) *Problem {
	p := badParameter(parameter, "there is no field %q", cut(name))
	p.Suggestion = filter.Nearest(name, tcp.FieldNames())
	return p
}

// ParseFields reads a list of fields separated by commas; nil when there is none.
// local and remote stand for both parts of an end.
func ParseFields(v url.Values, name string) ([]*tcp.Field, error) {
	text := v.Get(name)
	if text == "" {
		return nil, nil
	}
	var fs []*tcp.Field
	for n := range strings.SplitSeq(text, ",") {
		n = strings.TrimSpace(n)
		if n == "" {
			continue
		}
		named := tcp.FieldsByName(n)
		if len(named) == 0 {
			return nil, noField(name, n)
		}
		for _, f := range named {
			if !slices.Contains(fs, f) {
				fs = append(fs, f)
			}
		}
	}
	return fs, nil
}

func joinFields(fs []*tcp.Field) string {
	var names []string
	for _, f := range fs {
		names = append(names, f.Name)
	}
	return strings.Join(names, ",")
}

var resolutionNames = [...]string{store.Auto: "auto", store.Raw: "raw", store.ByMinute: "1m", store.ByHour: "1h"}

// ResolutionName is how a resolution is written.
func ResolutionName(r store.Resolution) string {
	if int(r) < len(resolutionNames) {
		return resolutionNames[r]
	}
	return ""
}

func parseResolution(text string) (store.Resolution, error) {
	if text == "" {
		return store.Auto, nil
	}
	for i, n := range resolutionNames {
		if n == text {
			return store.Resolution(i), nil
		}
	}
	return 0, badParameter("resolution", "%q is none of auto, raw, 1m and 1h", cut(text))
}
