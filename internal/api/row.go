package api

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Keys of rows that are no fields of the registry.
const (
	// keyRemnant, keySawReset and keyIPv6 are what viewers of live rows need
	// besides: tcp.Conn says what they mean. They are left out when false.
	keyRemnant  = "remnant"
	keySawReset = "saw_reset"
	keyIPv6     = "ipv6_socket"
	keyTime     = "time"
)

// A RowWriter writes connections as JSON objects with the registry's names as
// keys. It is for one goroutine.
type RowWriter struct {
	json *output.JSON
	// host says that host is among the fields, which history knows better.
	host bool
}

// NewRowWriter returns a writer of the given fields; nil is all.
func NewRowWriter(fields []*tcp.Field) *RowWriter {
	if fields == nil {
		fields = tcp.Fields()
	}
	return &RowWriter{json: output.NewJSON(fields), host: slices.Contains(fields, tcp.FieldByName("host"))}
}

// NewRecordWriter returns a writer of rows of history for AppendRecord. The fields
// are as for NewRowWriter.
func NewRecordWriter(fields []*tcp.Field) *RowWriter {
	w := NewRowWriter(fields)
	if w.host {
		if fields == nil {
			fields = tcp.Fields()
		}
		host := tcp.FieldByName("host")
		w.json = output.NewJSON(slices.DeleteFunc(slices.Clone(fields), func(f *tcp.Field) bool { return f == host }))
	}
	return w
}

// AppendConn appends the row of a connection.
func (w *RowWriter) AppendConn(b []byte, c *tcp.Conn) []byte { return w.json.AppendConn(b, c) }

// AppendEvent appends an event and the row of its connection.
func (w *RowWriter) AppendEvent(b []byte, e *tcp.Event) []byte { return w.json.AppendEvent(b, e) }

// AppendLive appends the row of a connection for a viewer, who needs a few things
// that are no fields: remnant, saw_reset and ipv6_socket, where they are true, and
// what only packets show.
func (w *RowWriter) AppendLive(b []byte, c *tcp.Conn) []byte {
	at := len(b)
	b = w.json.AppendConn(b, c)
	if !c.Remnant && !c.SawReset && !c.IPv6 && c.Packets == nil {
		return b
	}
	b, first := reopen(b, at)
	for _, m := range [...]struct {
		key string
		set bool
	}{{keyRemnant, c.Remnant}, {keySawReset, c.SawReset}, {keyIPv6, c.IPv6}} {
		if m.set {
			b, first = appendKey(b, m.key, first)
			b = append(b, "true"...)
		}
	}
	if c.Packets != nil {
		b, _ = appendColumns(b, &store.Record{Conn: c}, first, func(p store.Part) bool { return p == store.PartPackets })
	}
	return append(b, '}')
}

// AppendRecord appends a row of history: the fields of its connection, and the
// columns of the store that are no fields: kind, time, since, boot_id and, where
// the row covers a part of the connection's life, how far each counter went in it
// (COUNTER_delta).
func (w *RowWriter) AppendRecord(b []byte, r *store.Record) []byte {
	at := len(b)
	b, first := reopen(w.json.AppendConn(b, r.Conn), at)
	if w.host && r.Host != "" {
		b, first = appendKey(b, "host", first)
		b = output.AppendJSONString(b, r.Host)
	}
	b, _ = appendColumns(b, r, first, func(store.Part) bool { return true })
	return append(b, '}')
}

// appendColumns appends the columns that are no fields, of some parts.
func appendColumns(b []byte, r *store.Record, first bool, part func(store.Part) bool) ([]byte, bool) {
	parts := r.Parts()
	for i := range extraColumns {
		c := &extraColumns[i]
		if c.Part&^parts != 0 || !part(c.Part) {
			continue
		}
		if c.Str != nil {
			if s, ok := c.Str(r); ok {
				b, first = appendKey(b, c.Name, first)
				b = output.AppendJSONString(b, s)
			}
			continue
		}
		v, ok := c.Num(r)
		if !ok {
			continue
		}
		b, first = appendKey(b, c.Name, first)
		if c.Type == store.Time {
			b = appendMoment(b, int64(v))
		} else {
			b = strconv.AppendUint(b, v, 10)
		}
	}
	return b, first
}

// extraColumns are the columns of connections that are no fields of the registry.
var extraColumns = slices.DeleteFunc(slices.Clone(store.RecordColumns()), func(c store.Column[store.Record]) bool {
	f := tcp.FieldByName(c.Name)
	return f != nil && f.Name == c.Name
})

// ExtraColumns names the keys that rows of history have besides the registry's.
func ExtraColumns() []string {
	var names []string
	for i := range extraColumns {
		names = append(names, extraColumns[i].Name)
	}
	return names
}

// reopen takes the end of an object that begins at a place off again.
func reopen(b []byte, at int) (_ []byte, first bool) {
	b = b[:len(b)-1]
	return b, len(b) == at+1
}

func appendKey(b []byte, key string, first bool) ([]byte, bool) {
	if !first {
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(b, key...)
	return append(b, `":`...), false
}

func appendMoment(b []byte, ns int64) []byte {
	return append(tcp.AppendTime(append(b, '"'), ns), '"')
}

// A RowReader reads what a RowWriter wrote. It is for one goroutine.
type RowReader struct {
	// given are the columns that the row has, by their place.
	given []bool
	nums  []uint64
	texts []string
	addrs []tcp.Addr
	// follows guesses the column of a key by that of the one before, because rows
	// look like each other; at is that of the last key.
	follows []int
	at      int
	// known are texts that were read before: processes and hosts repeat, and a
	// text need not be made again.
	known map[string]string
	// event and gap are what was read of an event so far.
	event tcp.Event
	gap   tcp.Gap
	flags struct{ remnant, sawReset, ipv6 bool }
}

// NewRowReader returns a reader.
func NewRowReader() *RowReader {
	n := len(readColumns)
	return &RowReader{
		given: make([]bool, n), nums: make([]uint64, n), texts: make([]string, n), addrs: make([]tcp.Addr, n),
		follows: make([]int, n), known: make(map[string]string),
	}
}

// A readColumn is a key that a row may have, and what it changes. Their order is
// that in which the setters of the store want to be called.
type readColumn struct {
	store.Column[store.Record]
	kind tcp.Kind
}

var (
	readColumns = buildReadColumns()
	columnByKey = func() map[string]int {
		m := make(map[string]int, len(readColumns))
		for i := range readColumns {
			m[readColumns[i].Name] = i
		}
		return m
	}()
)

// buildReadColumns are the columns of the store and the fields that it does not
// keep, because only sockets alive have them.
func buildReadColumns() []readColumn {
	var cs []readColumn
	for _, c := range store.RecordColumns() {
		cs = append(cs, readColumn{Column: c, kind: kindOf(c)})
	}
	add := func(name string, set func(*tcp.Conn, uint64)) {
		f := tcp.FieldByName(name)
		bit := f.Bit
		cs = append(cs, readColumn{kind: f.Kind, Column: store.Column[store.Record]{
			Name: name, SetNum: func(r *store.Record, v uint64) {
				r.Conn.Has |= bit
				set(r.Conn, v)
			},
		}})
	}
	add("closed", func(c *tcp.Conn, v uint64) {
		c.Closed.Wall = int64(v)
		c.Closed.Boot = c.Updated.Boot
	})
	add("inode", func(c *tcp.Conn, v uint64) { c.Inode = uint32(v) })
	add("accept_queue", func(c *tcp.Conn, v uint64) { c.Metrics.AcceptQueue = uint32(v) })
	add("backlog", func(c *tcp.Conn, v uint64) { c.Metrics.Backlog = uint32(v) })
	add("stream", func(c *tcp.Conn, v uint64) {
		if c.Packets == nil {
			c.Packets = new(tcp.PacketStats)
		}
		c.Packets.Stream = uint32(v)
	})
	return cs
}

func kindOf(c store.Column[store.Record]) tcp.Kind {
	if f := tcp.FieldByName(c.Name); f != nil && f.Name == c.Name {
		return f.Kind
	}
	switch c.Type {
	case store.Time:
		return tcp.KindTime
	case store.String:
		return tcp.KindString
	default:
		return tcp.KindUint
	}
}

// Record reads a row of history into a record of its own. Keys that are not known
// are passed over: a newer daemon may have more.
func (r *RowReader) Record(data []byte) (*store.Record, error) {
	if err := r.scan(data); err != nil {
		return nil, err
	}
	return r.record()
}

// Conn reads the row of a live connection. boot is the time of the boot clock at
// which the row was true, so that its age goes on from there.
func (r *RowReader) Conn(data []byte, boot int64) (*tcp.Conn, error) {
	if err := r.scan(data); err != nil {
		return nil, err
	}
	return r.conn(boot)
}

// Event reads an event. boot is the time of the boot clock that belongs to the
// event's wall time.
func (r *RowReader) Event(data []byte, boot func(wall int64) int64) (tcp.Event, error) {
	if err := r.scan(data); err != nil {
		return tcp.Event{}, err
	}
	e := r.event
	if e.Type == 0 {
		return e, fmt.Errorf("reading an event: it has no type that is known")
	}
	if i := columnByKey[keyTime]; r.given[i] {
		e.Time.Wall = int64(r.nums[i])
		e.Time.Boot = boot(e.Time.Wall)
		r.given[i] = false
	}
	if e.Type == tcp.EventGap {
		g := r.gap
		if i := columnByKey["source"]; r.given[i] {
			g.Source = sourceKind(r.texts[i])
		}
		e.Gap = &g
		return e, nil
	}
	c, err := r.conn(e.Time.Boot)
	e.Conn = c
	return e, err
}

func sourceKind(name string) tcp.SourceKind {
	for k := tcp.SourceUnknown; k <= tcp.SourceCapture; k++ {
		if k.String() == name {
			return k
		}
	}
	return tcp.SourceUnknown
}

func (r *RowReader) conn(boot int64) (*tcp.Conn, error) {
	rec, err := r.record()
	if err != nil {
		return nil, err
	}
	c := rec.Conn
	if d, ok := c.Duration(); ok {
		c.Updated.Boot, c.Opened.Boot = boot, boot-int64(d)
	} else {
		c.Updated.Boot = boot
	}
	if c.Closed.Wall != 0 {
		c.Closed.Boot = boot
	}
	if rec.Host != "" {
		if c.Names == nil {
			c.Names = new(tcp.Names)
		}
		c.Names.Host = rec.Host
	}
	c.Remnant, c.SawReset, c.IPv6 = r.flags.remnant, r.flags.sawReset, r.flags.ipv6
	return c, nil
}

// record applies what was scanned.
func (r *RowReader) record() (*store.Record, error) {
	rec := &store.Record{Conn: new(tcp.Conn)}
	for i := range readColumns {
		if !r.given[i] {
			continue
		}
		switch c := &readColumns[i]; {
		case c.SetNum != nil:
			c.SetNum(rec, r.nums[i])
		case c.SetStr != nil:
			c.SetStr(rec, r.texts[i])
		default:
			c.SetAddr(rec, r.addrs[i])
		}
	}
	return rec, nil
}

func (r *RowReader) scan(data []byte) error {
	clear(r.given)
	r.at = 0
	r.event, r.gap = tcp.Event{}, tcp.Gap{}
	r.flags.remnant, r.flags.sawReset, r.flags.ipv6 = false, false, false
	return scanObject(data, r.member)
}

func (r *RowReader) member(key []byte, v value) error {
	i := r.follows[r.at]
	if readColumns[i].Name != string(key) {
		var ok bool
		if i, ok = columnByKey[string(key)]; !ok {
			return r.extra(string(key), v)
		}
		r.follows[r.at] = i
	}
	r.at = i
	if v.kind == valueNull {
		return nil
	}
	c := &readColumns[i]
	switch {
	case c.SetStr != nil:
		if v.kind != valueString {
			return fmt.Errorf("reading %s: %s is no string", key, v.raw)
		}
		r.texts[i] = r.text(v.raw)
	case c.SetAddr != nil:
		a, err := tcp.AddrOf(string(v.raw))
		if err != nil {
			return fmt.Errorf("reading %s: %w", key, err)
		}
		r.addrs[i] = a
	default:
		n, err := parseNum(c.kind, v)
		if err != nil {
			return fmt.Errorf("reading %s: %w", key, err)
		}
		r.nums[i] = n
	}
	r.given[i] = true
	return nil
}

const (
	// maxKnown bounds the texts that are remembered, knownLen their length.
	maxKnown = 1 << 14
	knownLen = 256
)

// text returns a text, the same one where it was read before.
func (r *RowReader) text(raw []byte) string {
	if s, ok := r.known[string(raw)]; ok {
		return s
	}
	s := string(raw)
	if len(raw) <= knownLen {
		if len(r.known) >= maxKnown {
			clear(r.known)
		}
		r.known[s] = s
	}
	return s
}

// extra takes the keys of viewers and of events.
func (r *RowReader) extra(key string, v value) (err error) {
	var n *uint64
	switch key {
	case keyRemnant:
		r.flags.remnant = string(v.raw) == "true"
	case keySawReset:
		r.flags.sawReset = string(v.raw) == "true"
	case keyIPv6:
		r.flags.ipv6 = string(v.raw) == "true"
	case "event":
		t, ok := tcp.ParseEventType(string(v.raw))
		if !ok {
			return fmt.Errorf("reading an event: type %q is not known", v.raw)
		}
		r.event.Type = t
	case "seq":
		n = &r.event.Seq
	case "reset_by":
		for s := tcp.SideUnknown; s <= tcp.SideRemote; s++ {
			if s.String() == string(v.raw) {
				r.event.By = s
			}
		}
	case "where":
		r.gap.Where = string(v.raw)
	case "exact":
		r.gap.Unknown = string(v.raw) == "false"
	case "lost_closes":
		n = &r.gap.Closes
	case "lost_bytes_sent":
		n = &r.gap.BytesSent
	case "lost_bytes_received":
		n = &r.gap.BytesReceived
	case "lost_events":
		n = &r.gap.Events
	case "skipped_events":
		n = &r.gap.Skipped
	}
	if n != nil {
		if *n, err = strconv.ParseUint(string(v.raw), 10, 64); err != nil {
			return fmt.Errorf("reading %s: %w", key, err)
		}
	}
	return nil
}

func parseNum(kind tcp.Kind, v value) (uint64, error) {
	switch kind {
	case tcp.KindBool:
		if v.kind != valueBool {
			return 0, fmt.Errorf("%q is neither true nor false", v.raw)
		}
		if v.raw[0] == 't' {
			return 1, nil
		}
		return 0, nil
	case tcp.KindTime:
		t, err := time.Parse(time.RFC3339Nano, string(v.raw))
		if err != nil {
			return 0, err
		}
		return uint64(t.UnixNano()), nil
	case tcp.KindID:
		id, ok := tcp.ParseID(string(v.raw))
		if !ok {
			return 0, fmt.Errorf("%q is no id of a connection", v.raw)
		}
		return uint64(id), nil
	default:
		return parseUint(v.raw)
	}
}

// parseUint is strconv.ParseUint, which would need a string.
func parseUint(b []byte) (n uint64, err error) {
	const most = 1<<64 - 1
	if len(b) == 0 {
		return 0, errSyntax
	}
	for _, c := range b {
		d := uint64(c - '0')
		if d > 9 || n > most/10 || n*10 > most-d {
			return 0, fmt.Errorf("%q is no number of 64 bits", b)
		}
		n = n*10 + d
	}
	return n, nil
}
