package api

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Types of server-sent events besides those of tcp.EventType.
const (
	// SSERows is a piece of an update of live rows.
	SSERows = "rows"
	// SSEError is a Problem that ends a stream.
	SSEError = "error"
)

// Live is a piece of an update of live rows: the first pieces, with Reset, are all
// rows, those after it what changed. An update is whole with the first piece that
// has no More.
type Live struct {
	Seq  uint64 `json:"seq"`
	Time int64  `json:"-"`
	// Boot is the boot clock at Time, nanoseconds: the ages of rows are by it.
	Boot  int64  `json:"-"`
	Reset bool   `json:"reset,omitempty"`
	More  bool   `json:"more,omitempty"`
	Stats Counts `json:"-"`
	// Rows are the connections that are new or changed.
	Rows []*tcp.Conn `json:"-"`
	// Removed are those that are gone.
	Removed []tcp.ID `json:"-"`
}

// Append appends the piece as JSON. w writes the rows.
func (l *Live) Append(b []byte, w *RowWriter) ([]byte, error) {
	b = append(b, `{"seq":`...)
	b = strconv.AppendUint(b, l.Seq, 10)
	b = append(b, `,"time":`...)
	b = appendMoment(b, l.Time)
	b = append(b, `,"boot_ns":`...)
	b = strconv.AppendInt(b, l.Boot, 10)
	b = append(b, `,"reset":`...)
	b = strconv.AppendBool(b, l.Reset)
	b = append(b, `,"more":`...)
	b = strconv.AppendBool(b, l.More)
	b = append(b, `,"stats":`...)
	stats, err := json.Marshal(&l.Stats)
	if err != nil {
		return b, fmt.Errorf("writing counts: %w", err)
	}
	b = append(b, stats...)
	b = append(b, `,"rows":[`...)
	for i, c := range l.Rows {
		if i > 0 {
			b = append(b, ',')
		}
		b = w.AppendLive(b, c)
	}
	b = append(b, `],"removed":[`...)
	for i, id := range l.Removed {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(id.AppendTo(append(b, '"')), '"')
	}
	return append(b, `]}`...), nil
}

// ReadLive reads what Append wrote. r reads the rows.
func ReadLive(data []byte, r *RowReader) (*Live, error) {
	l := &Live{}
	var rows []byte
	err := scanObject(data, func(key []byte, v value) (err error) {
		switch string(key) {
		case "seq":
			l.Seq, err = strconv.ParseUint(string(v.raw), 10, 64)
		case keyTime:
			l.Time, err = parseTime(v)
		case "boot_ns":
			l.Boot, err = strconv.ParseInt(string(v.raw), 10, 64)
		case "reset":
			l.Reset = string(v.raw) == "true"
		case "more":
			l.More = string(v.raw) == "true"
		case "stats":
			err = json.Unmarshal(v.raw, &l.Stats)
		case "rows":
			rows = v.raw
		case "removed":
			err = scanArray(v.raw, func(e []byte) error {
				if len(e) < 2 {
					return errSyntax
				}
				id, ok := tcp.ParseID(string(e[1 : len(e)-1]))
				if !ok {
					return fmt.Errorf("%s is no id of a connection", e)
				}
				l.Removed = append(l.Removed, id)
				return nil
			})
		}
		return err
	})
	if err == nil && rows != nil {
		// The rows come last, because their ages need the time.
		err = scanArray(rows, func(e []byte) error {
			c, err := r.Conn(e, l.Boot)
			l.Rows = append(l.Rows, c)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("reading live rows: %w", err)
	}
	return l, nil
}

// List is the head of an answer with live connections, whose rows follow.
type List struct {
	// Time is when the rows were true; Boot the boot clock then, nanoseconds.
	Time time.Time `json:"time"`
	Boot int64     `json:"boot_ns,omitempty"`
	// Matched is how many rows the filter chose; Total how many there are.
	Matched int `json:"matched"`
	Total   int `json:"total"`
	// Warning says in one sentence what is hidden; empty if nothing is.
	Warning string  `json:"warning,omitempty"`
	Answer  *Answer `json:"answer,omitempty"`
	// Connections are the rows.
	Connections []json.RawMessage `json:"connections"`
}

// AppendHead appends the list up to its rows; `]}` ends it.
func (l *List) AppendHead(b []byte) ([]byte, error) {
	head := *l
	head.Connections = []json.RawMessage{}
	text, err := json.Marshal(&head)
	if err != nil {
		return b, fmt.Errorf("writing a list: %w", err)
	}
	return append(b, text[:len(text)-2]...), nil
}

// Mark is a note for the timeline.
type Mark struct {
	// Time is when it holds; absent is now.
	Time time.Time `json:"time,omitzero"`
	Text string    `json:"text"`
	From string    `json:"from,omitempty"`
}

// FieldInfo is a field of the registry as the API tells of it.
type FieldInfo struct {
	Name    string   `json:"name"`
	Short   string   `json:"short,omitempty"`
	Aliases []string `json:"aliases,omitempty"`
	Column  string   `json:"column"`
	Group   string   `json:"group"`
	Kind    string   `json:"kind"`
	Enum    []string `json:"enum,omitempty"`
	Doc     string   `json:"doc"`
}

// FieldInfos describes the registry.
func FieldInfos() []FieldInfo {
	var fs []FieldInfo
	for _, f := range tcp.Fields() {
		fs = append(fs, FieldInfo{
			Name: f.Name, Short: f.Short, Aliases: f.Aliases, Column: f.Column,
			Group: f.Group.String(), Kind: f.Kind.String(), Enum: f.Enum, Doc: f.Doc,
		})
	}
	return fs
}

// AppendString appends a JSON string that may be shown on a terminal.
func AppendString(b []byte, s string) []byte { return output.AppendJSONString(b, s) }

// Exported says at the end of an export what it wrote.
type Exported struct {
	Packets     uint64    `json:"packets"`
	Bytes       uint64    `json:"bytes"`
	Connections int       `json:"connections"`
	First       time.Time `json:"first,omitzero"`
	Last        time.Time `json:"last,omitzero"`
	// Note says in one sentence what is missing; empty if nothing is.
	Note string `json:"note,omitempty"`
}
