package api

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// A GroupCodec writes and reads the groups that answer a question: flat objects
// with the time of the bucket, the fields of the group and the aggregates. What is
// unknown is left out.
type GroupCodec struct {
	fields []*tcp.Field
	names  []string
	keys   map[string]int
	every  time.Duration
	from   int64
}

// NewGroupCodec returns the codec of a question.
func NewGroupCodec(q *store.Query) *GroupCodec {
	g := &GroupCodec{fields: q.GroupBy, keys: make(map[string]int), every: q.Every, from: q.From.UnixNano()}
	for i, a := range q.Aggregates {
		name := AggregateKey(a)
		if _, twice := g.keys[name]; twice {
			name += "_" + strconv.Itoa(i+1)
		}
		g.keys[name] = i
		g.names = append(g.names, name)
	}
	return g
}

// Names are the keys of the aggregates, in the order of the question.
func (g *GroupCodec) Names() []string { return g.names }

// Append appends a group.
func (g *GroupCodec) Append(b []byte, group *store.Group) []byte {
	b = append(b, '{')
	first := true
	b, first = appendKey(b, keyTime, first)
	b = appendMoment(b, group.Time)
	if group.Other {
		b, first = appendKey(b, "other", first)
		b = append(b, "true"...)
	}
	for i, f := range g.fields {
		if group.Other || i >= len(group.Key) || group.Key[i] == "" {
			continue
		}
		b, first = appendKey(b, f.Name, first)
		b = appendKeyText(b, f, group.Key[i])
	}
	for i, name := range g.names {
		if i >= len(group.Values) || !group.Known[i] || math.IsNaN(group.Values[i]) || math.IsInf(group.Values[i], 0) {
			continue
		}
		b, first = appendKey(b, name, first)
		b = AppendNumber(b, group.Values[i])
	}
	if group.At != 0 {
		b, _ = appendKey(b, "max_open_at", first)
		b = appendMoment(b, group.At)
	}
	return append(b, '}')
}

// AppendNumber appends a number as JSON has it: whole ones without an exponent, as
// far as they are exact.
func AppendNumber(b []byte, v float64) []byte {
	if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		return strconv.AppendInt(b, int64(v), 10)
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64)
}

// appendKeyText writes the text of a field as the field itself is written.
func appendKeyText(b []byte, f *tcp.Field, text string) []byte {
	switch f.Kind {
	case tcp.KindUint, tcp.KindDuration, tcp.KindBytes, tcp.KindRate, tcp.KindPort:
		if _, err := strconv.ParseUint(text, 10, 64); err == nil {
			return append(b, text...)
		}
	case tcp.KindBool:
		if text == "true" || text == "false" {
			return append(b, text...)
		}
	default:
	}
	return output.AppendJSONString(b, text)
}

// Read reads what Append wrote, into a group of its own.
func (g *GroupCodec) Read(data []byte) (*store.Group, error) {
	group := &store.Group{
		Time: g.from, Key: make([]string, len(g.fields)),
		Values: make([]float64, len(g.names)), Known: make([]bool, len(g.names)),
	}
	err := scanObject(data, func(key []byte, v value) (err error) {
		switch string(key) {
		case keyTime:
			group.Time, err = parseTime(v)
			return err
		case "max_open_at":
			group.At, err = parseTime(v)
			return err
		case "other":
			group.Other = string(v.raw) == "true"
			return nil
		}
		if i, ok := g.keys[string(key)]; ok {
			group.Values[i], err = strconv.ParseFloat(string(v.raw), 64)
			group.Known[i] = true
			return err
		}
		for i, f := range g.fields {
			if f.Name == string(key) {
				group.Key[i] = string(v.raw)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading a group: %w", err)
	}
	return group, nil
}

func parseTime(v value) (int64, error) {
	t, err := time.Parse(time.RFC3339Nano, string(v.raw))
	return t.UnixNano(), err
}

// Answer is store.Answer as the API tells it: where an answer came from and how
// far it can be trusted.
type Answer struct {
	Resolution string `json:"resolution"`
	// Complete says that nothing of the range is missing.
	Complete   bool   `json:"complete"`
	UpperBound bool   `json:"upper_bound,omitempty"`
	Bucketed   bool   `json:"bucketed,omitempty"`
	Gaps       []Gap  `json:"gaps"`
	Segments   int    `json:"segments"`
	Pruned     int    `json:"pruned"`
	Rows       uint64 `json:"rows"`
	// Retained is the time of the oldest row that there is.
	Retained time.Time `json:"retained,omitzero"`
	// Limited is how many rows were sent when there were more than the limit of
	// the server; 0 is all.
	Limited int `json:"limited,omitempty"`
}

// Gap is a stretch of time that an answer knows too little of.
type Gap struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Reason string    `json:"reason"`
}

// AnswerOf converts an answer.
func AnswerOf(a *store.Answer) *Answer {
	out := &Answer{
		Resolution: ResolutionName(a.Resolution), Complete: a.Complete(), UpperBound: a.UpperBound,
		Bucketed: a.Bucketed, Gaps: []Gap{}, Segments: a.Segments, Pruned: a.Pruned, Rows: a.Rows,
		Retained: moment(a.Retained),
	}
	for _, g := range a.Gaps {
		out.Gaps = append(out.Gaps, Gap{From: time.Unix(0, g.From).UTC(), To: time.Unix(0, g.To).UTC(), Reason: g.Reason})
	}
	return out
}

// Store is the inverse of AnswerOf.
func (a *Answer) Store() (*store.Answer, error) {
	r, err := parseResolution(a.Resolution)
	if err != nil {
		return nil, fmt.Errorf("reading an answer: %w", err)
	}
	out := &store.Answer{
		Resolution: r, UpperBound: a.UpperBound, Bucketed: a.Bucketed,
		Segments: a.Segments, Pruned: a.Pruned, Rows: a.Rows,
	}
	if !a.Retained.IsZero() {
		out.Retained = a.Retained.UnixNano()
	}
	for _, g := range a.Gaps {
		out.Gaps = append(out.Gaps, store.Gap{From: g.From.UnixNano(), To: g.To.UnixNano(), Reason: g.Reason})
	}
	return out, nil
}

// End is the last line of a stream of rows: the answer, or why there is none.
type End struct {
	Answer *Answer  `json:"answer,omitempty"`
	Error  *Problem `json:"error,omitempty"`
}

// ReadEnd reads the last line of a stream of rows; ok is false for a row.
func ReadEnd(line []byte) (end End, ok bool, err error) {
	const answer, problem = `{"answer":`, `{"error":`
	if !hasPrefix(line, answer) && !hasPrefix(line, problem) {
		return end, false, nil
	}
	if err := json.Unmarshal(line, &end); err != nil {
		return end, true, fmt.Errorf("reading the end of an answer: %w", err)
	}
	return end, true, nil
}

func hasPrefix(b []byte, s string) bool { return len(b) >= len(s) && string(b[:len(s)]) == s }
